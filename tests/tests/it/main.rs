//! End to end: real clients, real tool servers, the real binary, a real browser.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

mod without_holdpoint;
