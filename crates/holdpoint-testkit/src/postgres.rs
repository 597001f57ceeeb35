//! A PostgreSQL server for tests: started by the first test that needs it, shared by all, gone soon after the last.
//!
//! Each test process holds a shared lock on one file for as long as it lives. A watchdog that gets that lock for itself
//! twice in a row stops the server and removes it. So nothing is left behind, however the tests end.

mod start;
mod wire;

use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The user of every test database.
const USER: &str = "holdpoint";

/// What the tests share. One that leads to other servers needs another name.
const FOLDER: &str = "holdpoint-tests-postgres-1";

/// A server that runs.
#[derive(Clone, Debug)]
struct Running {
    folder: PathBuf,
    port: u16,
    password: String,
    pid: u32,
}

/// A database of one test's own, empty.
#[derive(Clone)]
pub struct PostgresDatabase {
    server: &'static Running,
    name: String,
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PostgresDatabase {
    /// Makes one, and starts the server if none runs. Blocks: about a second the first time, some milliseconds later.
    #[must_use]
    pub fn create() -> Self {
        let server = server();
        let name = format!("test_{}", random());
        wire::execute(server, &format!("CREATE DATABASE {name}"));
        Self { server, name }
    }

    /// How to reach it, password included.
    #[must_use]
    pub fn url(&self) -> String {
        let Running { port, password, .. } = self.server;
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{}", self.name)
    }

    /// The password in [`Self::url`], which no message may show.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.server.password
    }

    /// Ends all sessions with this database, as a restart of the server would.
    pub fn cut_sessions(&self) {
        let name = &self.name;
        wire::execute(
            self.server,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        );
    }
}

fn server() -> &'static Running {
    static SERVER: OnceLock<(Running, File)> = OnceLock::new();
    &SERVER
        .get_or_init(|| {
            let folder = start::folder(FOLDER);
            let users = open(&folder.join("users"));
            users.lock_shared().expect("a lock on a local file");
            let starting = open(&folder.join("starting"));
            starting.lock().expect("a lock on a local file");
            let running = found(&folder).unwrap_or_else(|| start::start(&folder));
            (running, users)
        })
        .0
}

/// The server that another test started, if it still answers.
fn found(folder: &Path) -> Option<Running> {
    let text = fs::read_to_string(folder.join("ready")).ok()?;
    let mut words = text.split_whitespace();
    let running = Running {
        folder: folder.to_owned(),
        port: words.next()?.parse().ok()?,
        password: words.next()?.to_owned(),
        pid: words.next()?.parse().ok()?,
    };
    wire::answers(&running).then_some(running)
}

fn open(path: &Path) -> File {
    File::options().create(true).truncate(false).write(true).open(path).expect("a file in the tests' folder")
}

/// Enough to be nobody else's.
fn random() -> String {
    let bits = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", bits(), bits())
}
