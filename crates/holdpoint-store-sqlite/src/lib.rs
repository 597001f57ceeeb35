//! Gate's state ([`SqliteStore`]) and the middleware's journal ([`SqliteJournal`]) in SQLite.
//!
//! 1. WAL, `synchronous=FULL`: what was answered survives a power cut.
//! 2. One writer per database and process, with group commit; other processes may write the same files.
//! 3. Every state change is one conditional statement. `STRICT` tables, checks and triggers refuse impossible rows and
//!    changes to what is final, whoever makes them.
//! 4. What is read on the path of every request comes from memory, and only while the WAL index says that nothing was
//!    committed since it was loaded.
//!
//! Not promised: network file systems, which have no shared memory; a database on one is refused at the start.
//!
//! # The queries are checked when they are compiled
//!
//! `sqlx`'s macros compare every statement with the schema, from the descriptions in `.sqlx/`, so that a build needs
//! no database. After a statement or a migration was changed:
//!
//! 1. Make an empty SQLite file and run into it, in order, `migrations/gate/*.sql` and `migrations/journal/*.sql`.
//! 2. Delete `.sqlx/*.json`, and `touch src/lib.rs` so that the macros run again.
//! 3. Run `cargo check -p holdpoint-store-sqlite` with `HOLDPOINT_SQLITE_URL=sqlite:///path/of/that/file` and
//!    `SQLX_OFFLINE_DIR=/absolute/path/of/crates/holdpoint-store-sqlite/.sqlx` set.
//!
//! Files in `.sqlx/` that this leaves changed are to be committed.

mod error;
mod gate;
mod journal;
mod open;
mod wal;
mod writer;

pub use crate::error::OpenError;
pub use crate::gate::SqliteStore;
pub use crate::journal::SqliteJournal;
