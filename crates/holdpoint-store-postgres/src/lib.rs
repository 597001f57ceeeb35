//! The middleware's journal ([`PostgresJournal`]) in PostgreSQL, for several processes on several machines.
//!
//! 1. Each step is one conditional statement, or one transaction whose first statement locks the hold; `READ COMMITTED`
//!    and unique indexes do the rest. Of any number that try the same step one makes it.
//! 2. What was answered is on the server's disk: commits wait for it, whatever the server's default is.
//! 3. A write whose answer is lost is an error, and is never sent a second time.
//! 4. Every wait has a limit, on the server and here: a server that hangs refuses.
//! 5. Checks and triggers refuse impossible rows and changes to what is final, whoever makes them.
//!
//! Not promised: what a server with `fsync = off`, or a failover to a standby that lags behind, forgets. Between us and the
//! server there must be no pooler that shares sessions out by transaction: who is alive is told by a lock of a session.
//!
//! # The queries are checked when they are compiled
//!
//! `sqlx`'s macros compare every statement with the schema, from the descriptions in `.sqlx/`, so that a build needs
//! no database. After a statement or a migration was changed:
//!
//! 1. Make an empty database, `CREATE SCHEMA holdpoint` in it, and run `migrations/journal/*.sql` into it, in order.
//! 2. Delete `.sqlx/*.json`, and `touch src/lib.rs` so that the macros run again.
//! 3. Run `cargo check -p holdpoint-store-postgres` with `HOLDPOINT_POSTGRES_URL=postgres://…` of that database and
//!    `SQLX_OFFLINE_DIR=/absolute/path/of/crates/holdpoint-store-postgres/.sqlx` set.
//!
//! Files in `.sqlx/` that this leaves changed are to be committed.

mod error;
mod journal;
mod lease;
mod server;

pub use crate::error::OpenError;
pub use crate::journal::PostgresJournal;
