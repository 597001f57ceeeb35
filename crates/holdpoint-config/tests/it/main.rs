//! Through the public doors: `load`, `check`, `PolicySet`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod folder;
mod fuzz;
mod loading;
mod mistakes;
mod policy;
mod shipped;
mod templates;
