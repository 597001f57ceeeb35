//! A configuration is read or refused with a place, and never ends the process.
#![no_main]

use std::collections::BTreeMap;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let path = folder.path().join("holdpoint.yaml");
    std::fs::write(&path, text).expect("written");
    let env: BTreeMap<String, String> = BTreeMap::new();
    if let Err(mistakes) = holdpoint_config::load(&path, &env) {
        assert!(!mistakes.to_string().is_empty());
    }
});
