//! Whatever a server writes reaches the client byte for byte.
#![no_main]

use holdpoint_fuzz::{LINE_BYTES_MAX, relayed};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.is_empty() || bytes.split(|byte| *byte == b'\n').any(|line| line.len() >= LINE_BYTES_MAX) {
        return;
    }
    let heard = relayed(b"", bytes);
    assert_eq!(heard.client, bytes);
});
