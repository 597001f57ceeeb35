//! The bridge, through its requests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![expect(clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

mod asking;
mod callbacks;
mod claiming;
mod executing;
mod house;
mod limits;
mod mistakes;
mod racing;
mod recipes;
mod restarts;
mod waiting;
