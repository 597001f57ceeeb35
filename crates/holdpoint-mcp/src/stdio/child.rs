//! The server as a child process: a fixed command, a clean environment, no shell.

use std::{
    collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::ExitStatus, process::Stdio,
    time::Duration,
};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// What a program needs to find its files; everything else in our environment may be a secret.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "SYSTEMROOT"];

/// How to start a server. From the configuration file only: nothing that arrives over a wire ends up here.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    /// The program, found by `PATH`.
    pub program: OsString,
    /// Its arguments, as they are.
    pub arguments: Vec<OsString>,
    /// What it gets beside `PATH`, `HOME`, `LANG`, `TMPDIR` and `USER`.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where it starts; `None`: where we are.
    pub folder: Option<PathBuf>,
}

impl ChildCommand {
    /// A command without a further environment.
    pub fn new(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, environment: BTreeMap::new(), folder: None }
    }

    /// Starts it. What it writes to its standard error goes where ours goes.
    pub(crate) fn start(&self) -> io::Result<(ServerProcess, ChildStdin, ChildStdout)> {
        let Started { process, stdin, stdout, stderr: _ } = self.spawn(Stdio::inherit())?;
        Ok((process, stdin, stdout))
    }

    /// Starts it, with its standard error for us to read.
    pub(crate) fn start_heard(&self) -> io::Result<Started> {
        self.spawn(Stdio::piped())
    }

    fn spawn(&self, stderr: Stdio) -> io::Result<Started> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(&self.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        // An interrupt from the terminal is for us; we end the server in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => {
                let group = Group::of(&child);
                let stderr = child.stderr.take();
                Ok(Started { process: ServerProcess { child, group }, stdin, stdout, stderr })
            }
            (_, _) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// A server and its pipes.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: ServerProcess,
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    /// `None`: it goes where ours goes.
    pub(crate) stderr: Option<ChildStderr>,
}

/// A server that runs. Dropped, it is killed, with everything that it started.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    group: Group,
}

impl ServerProcess {
    /// Its input is closed; most servers end now. After `patience` they are asked, after `grace` they are killed. A launcher such as `npx` may
    /// end before what it launched, so the whole group has to be gone.
    pub(crate) async fn stop(mut self, patience: Duration, grace: Duration) -> Option<ExitStatus> {
        let mut status = tokio::time::timeout(patience, self.child.wait()).await.ok();
        self.group.signal(Signal::Terminate);
        let gone = async {
            if status.is_none() {
                status = Some(self.child.wait().await);
            }
            self.group.gone().await;
        };
        if tokio::time::timeout(grace, gone).await.is_err() {
            self.group.signal(Signal::Kill);
            let _already_gone = self.child.start_kill();
        }
        let status = match status {
            Some(status) => status,
            None => self.child.wait().await,
        };
        status.ok()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.group.signal(Signal::Kill);
    }
}

#[derive(Clone, Copy, Debug)]
enum Signal {
    Terminate,
    Kill,
}

/// The server and what it started, unless that left on purpose.
#[cfg(unix)]
#[derive(Debug)]
struct Group(Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    /// Between two looks at whether it is gone.
    const LOOK: Duration = Duration::from_millis(10);

    /// `child` was started in a group of its own.
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(rustix::process::Pid::from_raw))
    }

    /// Once the group is gone its number may become somebody else's.
    fn signal(&mut self, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        self.0 = self.0.filter(|group| rustix::process::kill_process_group(*group, signal).is_ok());
    }

    /// Resolves when nobody is left in it.
    async fn gone(&mut self) {
        while let Some(group) = self.0 {
            if rustix::process::test_kill_process_group(group).is_err() {
                self.0 = None;
                return;
            }
            tokio::time::sleep(Self::LOOK).await;
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Group;

#[cfg(not(unix))]
impl Group {
    fn of(_child: &Child) -> Self {
        Self
    }

    fn signal(&mut self, _signal: Signal) {}

    async fn gone(&mut self) {}
}
