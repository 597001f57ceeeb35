//! Nothing that a client can write reaches a server as a tool call when every tool is denied.
#![no_main]

use holdpoint_fuzz::{relayed, some_reader_sees_a_call};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let heard = relayed(bytes, b"");
    assert!(!some_reader_sees_a_call(&heard.server), "{}", String::from_utf8_lossy(&heard.server));
});
