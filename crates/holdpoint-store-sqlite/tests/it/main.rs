//! Gate's state and the journal on real files.

mod gate;
mod journal;
mod opening;
