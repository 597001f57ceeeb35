//! Events come out whole, in order and with their own bytes, however the stream is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, cut) = input;
    holdpoint_mcp::fuzzing::events(&bytes, usize::from(cut).max(1));
});
