//! Whatever is in the files, reading them ends with a configuration or with mistakes, never with a panic.

use crate::folder::Folder;
use proptest::prelude::*;
use std::fs;

const FILES: [&str; 5] = [
    "holdpoint.yaml",
    "gate.yaml",
    "tools/payments.yaml",
    "tools/payments.cases.yaml",
    "tools/payments/refund.schema.json",
];

fn shipped(name: &str) -> Vec<u8> {
    fs::read(format!("{}/../../config/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The shipped configuration with one file replaced.
fn read_with(file: usize, bytes: &[u8]) {
    let folder = Folder::new(&[("tools/payments/x", "")])
        .env("STACKSONA_GATE_URL", "https://g.example")
        .env("STACKSONA_API_KEY", "k");
    for (at, name) in FILES.iter().enumerate() {
        let bytes = if at == file { bytes.to_vec() } else { shipped(name) };
        fs::write(folder.path(name), bytes).unwrap();
    }
    let report = folder.check();
    let told = report.to_string();
    assert!(!told.is_empty());
    for mistake in &report.mistakes {
        assert!(mistake.hint.is_some(), "{mistake}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(file in 0..FILES.len(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_with(file, &bytes);
    }

    #[test]
    fn arbitrary_yaml(file in 0..FILES.len(), text in "[ \\n\\t:{}\\[\\]&*!|>'\"%@`#,?$<~a-c0-9-]{0,120}") {
        read_with(file, text.as_bytes());
    }

    /// Shipped files with a piece taken out, doubled or replaced.
    #[test]
    fn damaged_files(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        length in 0..40_usize,
        put in prop_oneof![Just(String::new()), Just("{{".to_owned()), Just(": ".to_owned()), Just("\u{202e}é".to_owned()), "[a-z\\n :-]{0,12}"],
    ) {
        let mut bytes = shipped(FILES[file]);
        let at = at.index(bytes.len());
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, put.bytes());
        read_with(file, &bytes);
    }
}
