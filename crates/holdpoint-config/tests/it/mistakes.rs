//! Every kind of mistake, as it is told, down to the underline.

mod bridge;
mod callers;
mod effects;
mod files;
mod gate;
mod main;
mod mapping;
mod servers;
mod shared;
mod tools;
