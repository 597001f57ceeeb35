//! The measuring program measures: every role starts, answers and ends.

use std::process::Command;

#[test]
fn the_floor_of_every_route_is_measured_without_errors() {
    let results = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_holdpoint-bench"))
        .args(["run", "--floor", "--quick", "--seconds", "0.1", "--results"])
        .arg(results.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for route in ["HTTP → HTTP", "HTTP → stdio", "stdio → stdio", "stdio → HTTP"] {
        assert!(text.contains(&format!("\n## {route}\n")), "{text}");
    }
    for path in ["direct", "bare relay", "bare relay + question"] {
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("| {path} |"))).collect();
        assert_eq!(rows.len(), 4, "{text}");
        assert!(rows.iter().all(|row| row.ends_with("| 0 |")), "calls were lost: {text}");
    }
    assert!(text.contains("| HTTP → HTTP | 1000 | bare relay |"), "{text}");
    assert!(text.contains("decision that a rule allows"), "{text}");
    assert_eq!(std::fs::read_to_string(results.path().join("report.md")).unwrap(), text);
    // Three paths, four shapes, four routes; and the sessions of two.
    let samples = std::fs::read_to_string(results.path().join("samples.jsonl")).unwrap();
    let samples: Vec<serde_json::Value> =
        samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 3 * 4 * 4 + 2);
    for sample in samples {
        assert!(sample.pointer("/sample/calls").unwrap().as_u64().unwrap() > 0, "{sample}");
        assert_eq!(sample.pointer("/sample/lost"), Some(&0.into()), "{sample}");
    }
}

#[test]
fn an_unknown_argument_is_refused() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_holdpoint-bench")).args(["run", "--fast"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("usage: cargo xtask bench"));
}
