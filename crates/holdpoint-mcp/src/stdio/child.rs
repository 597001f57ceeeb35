//! The server as a child process: a fixed command, a clean environment, no shell.

use std::{
    collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::ExitStatus, process::Stdio,
    time::Duration,
};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

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
    pub(crate) fn start(&self) -> io::Result<(Child, ChildStdin, ChildStdout)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(&self.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        // An interrupt from the terminal is for us; we end the server in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok((child, stdin, stdout)),
            (_, _) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Its input is closed; most servers end now. Then it is asked, then it is killed.
pub(crate) async fn stop(child: &mut Child, grace: Duration) -> Option<ExitStatus> {
    if let Ok(ended) = tokio::time::timeout(grace, child.wait()).await {
        return ended.ok();
    }
    terminate(child);
    if let Ok(ended) = tokio::time::timeout(grace, child.wait()).await {
        return ended.ok();
    }
    let _already_gone = child.start_kill();
    child.wait().await.ok()
}

/// The whole group: a launcher such as `npx` leaves its own children otherwise.
#[cfg(unix)]
fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _already_gone = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_child: &Child) {}
