//! Finds, sets up and starts a server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Running, USER, random, wire};

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A disk that has much to write, as it has while something is built, keeps a server waiting for longer than a journal waits
/// for its server, with and without `fsync`.
const IN_MEMORY: &str = "/dev/shm";
/// In mebibytes: what databases of a few hundred tests take.
const ROOM_IN_MEMORY: u64 = 4_096;

/// Twice in a row nobody needed it: between two tests there are moments without any.
const WATCHDOG: &str = r#"
idle=0
while [ "$(head -n 1 "$FOLDER/server/data/postmaster.pid" 2>/dev/null)" = "$PID" ]; do
    sleep 5
    if flock --exclusive --nonblock "$FOLDER/users" true; then idle=$((idle + 1)); else idle=0; fi
    if [ "$idle" -ge 2 ]; then
        flock --exclusive --nonblock "$FOLDER/users" \
            sh -c 'rm -f "$FOLDER/ready"; kill -QUIT "$PID"; sleep 1; rm -rf "$FOLDER/server"'
        idle=0
    fi
done
"#;

/// The folder of this user's tests. Where other users cannot put one in its place before us.
pub(super) fn folder(name: &str) -> PathBuf {
    let me = fs::metadata("/proc/self").expect("this process").uid();
    let folder = if has_room(IN_MEMORY) { PathBuf::from(IN_MEMORY) } else { std::env::temp_dir() };
    let folder = folder.join(format!("{name}-{me}"));
    // Passable, since a server does not run as root; what is secret in it has rights of its own.
    if let Err(error) = fs::DirBuilder::new().mode(0o755).create(&folder) {
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "cannot create {}", folder.display());
    }
    let found = fs::symlink_metadata(&folder).expect("the tests' folder");
    assert!(found.is_dir() && found.uid() == me, "{} belongs to somebody else", folder.display());
    folder
}

fn has_room(folder: &str) -> bool {
    let left = Command::new("df").args(["-m", "--output=avail", folder]).output();
    let left = left.ok().filter(|left| left.status.success()).map(|left| left.stdout);
    let left = left.and_then(|left| String::from_utf8_lossy(&left).lines().nth(1)?.trim().parse().ok());
    left.is_some_and(|left: u64| left >= ROOM_IN_MEMORY)
}

/// Starts a server and the watchdog that ends it.
#[expect(clippy::zombie_processes, reason = "the server outlives this process")]
pub(super) fn start(folder: &Path) -> Running {
    let programs = programs();
    let user = Unprivileged::find();
    let server = folder.join("server");
    let _of_a_run_that_was_cut_short = fs::remove_dir_all(&server);
    fs::DirBuilder::new().mode(0o700).create(&server).expect("a folder for the server");
    user.own(&server);

    let password = random();
    let password_file = server.join("password");
    fs::write(&password_file, &password).expect("a password file");
    user.own(&password_file);
    let mut initdb = user.command(&programs.join("initdb"));
    initdb
        .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--username", USER])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(server.join("data"));
    let output = initdb.output().expect("initdb starts");
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));

    let port = free_port();
    let mut postgres = user.command(&programs.join("postgres"));
    let child = postgres
        .arg("-D")
        .arg(server.join("data"))
        .arg("-k")
        .arg(&server)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300"])
        // Nobody cuts the power of a test.
        .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB"])
        .args(["-c", "logging_collector=on", "-c", "log_directory=../", "-c", "log_filename=log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("postgres starts");
    // `setpriv` becomes the server, so this is the server's number.
    let running = Running { folder: folder.to_owned(), port, password, pid: child.id() };
    let until = Instant::now() + READY_WITHIN;
    while !wire::answers(&running) {
        assert!(Instant::now() < until, "the server does not answer; its log is in {}", server.display());
        sleep(LOOK_AGAIN);
    }
    watch(&running);
    let ready = folder.join("ready");
    fs::write(&ready, "").expect("a file in the tests' folder");
    fs::set_permissions(&ready, fs::Permissions::from_mode(0o600)).expect("a file of our own");
    fs::write(&ready, format!("{port} {} {}", running.password, running.pid)).expect("a file of our own");
    running
}

/// In a session of its own: it outlives the test, and is not taken for a part of it.
fn watch(running: &Running) {
    Command::new("setsid")
        .args(["--fork", "sh", "-c", WATCHDOG])
        .env("PID", running.pid.to_string())
        .env("FOLDER", &running.folder)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setsid starts");
}

/// Where the server's programs are.
fn programs() -> PathBuf {
    let mut folders = vec![PathBuf::from("/usr/local/bin")];
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.sort();
    let has_both = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    folders
        .into_iter()
        .rfind(has_both)
        .expect("there is no PostgreSQL server on this machine; `cargo xtask install` installs one")
}

/// A server refuses to run as root.
enum Unprivileged {
    /// We are not.
    Ourselves,
    Another(String),
}

impl Unprivileged {
    fn find() -> Self {
        if fs::metadata("/proc/self").expect("this process").uid() != 0 {
            return Self::Ourselves;
        }
        let users = fs::read_to_string("/etc/passwd").expect("the users");
        let has = |name: &str| users.lines().any(|line| line.split(':').next() == Some(name));
        let name = ["postgres", "nobody"].into_iter().find(|name| has(name));
        Self::Another(name.expect("a user that is not root").to_owned())
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Self::Ourselves => Command::new(program),
            Self::Another(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        command
    }

    fn own(&self, path: &Path) {
        if let Self::Another(user) = self {
            let changed = Command::new("chown").arg(user).arg(path).status().expect("chown starts");
            assert!(changed.success(), "cannot give {} to {user}", path.display());
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
