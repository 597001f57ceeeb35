//! The measuring program measures: every role starts, answers and ends.

use std::process::Command;

#[test]
fn the_floor_is_measured_without_errors() {
    let output = Command::new(env!("CARGO_BIN_EXE_holdpoint-bench"))
        .args(["run", "--floor", "--rounds", "1", "--seconds", "0.1"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("\nerrors: 0\n").count(), 2, "{text}");
    assert!(text.contains("bare relay + question"), "{text}");
    assert!(text.contains("decision that a rule allows"), "{text}");
}

#[test]
fn an_unknown_argument_is_refused() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_holdpoint-bench")).args(["run", "--fast"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("usage: cargo xtask bench"));
}
