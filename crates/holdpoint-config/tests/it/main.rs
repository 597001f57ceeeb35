//! Through the public doors: `load`, `check`, `PolicySet`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod effects;
mod folder;
mod fuzz;
mod loading;
mod mistakes;
mod notes;
mod policy;
mod reload;
mod shipped;
mod templates;
mod words;
