//! Text to typed values, with every mistake on the way collected. The only module that knows the YAML parser.
//!
//! 1. [`parse`] makes a tree of nodes with their places. Duplicate keys, tags, merge keys and second documents are
//!    mistakes. JSON is YAML here.
//! 2. [`decode`] reads a value of any `serde` type from the tree. A value that does not fit is noted and left out, and
//!    reading starts again without it, until what is left fits: so one run finds all mistakes.

mod access;
mod de;
mod error;
mod located;
mod parse;
mod tree;

pub(crate) use de::{decode, decode_noting};
pub(crate) use located::{Entries, JsonConstant, Located};
pub(crate) use parse::parse;
pub(crate) use tree::{Node, NodeKind};

/// Lists and mappings may nest this deep.
pub(crate) const DEPTH_MAX: usize = 64;

/// A file may have this many values, counting an alias as all that it stands for.
pub(crate) const NODES_MAX: u32 = 200_000;
