//! A child that prints lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// More lines than any test makes a child print before it reads them.
const UNREAD_MAX: usize = 10_000;
/// Far longer than anything here takes: who waits this long waits for something that does not come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Lines {
    child: Child,
    stdin: Option<ChildStdin>,
    received: Receiver<Vec<u8>>,
}

impl Lines {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{program}`; `cargo xtask install` brings it"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("a child without standard output")?;
        let (sender, received) = sync_channel(UNREAD_MAX);
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                match stdout.read_until(b'\n', &mut line) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, received })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, line: &Value) -> Result<()> {
        self.send_bytes(format!("{line}\n").as_bytes())
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(bytes).context("the child reads no more")
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// The next line, or an error once `deadline` has passed or the child has closed its output.
    pub(crate) fn next(&mut self, deadline: Instant) -> Result<Value> {
        let line = self.next_bytes(deadline)?;
        serde_json::from_slice(&line).with_context(|| format!("not JSON: {}", String::from_utf8_lossy(&line)))
    }

    /// The same, with its line end and unread.
    pub(crate) fn next_bytes(&mut self, deadline: Instant) -> Result<Vec<u8>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.received.recv_timeout(left) {
            Ok(line) => Ok(line),
            Err(_) => bail!("the child printed nothing more (it {})", self.state()),
        }
    }

    /// Waits for the child's end.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        // Its output ends with it; what it still says is not for us.
        while Instant::now() < deadline {
            if self.next_bytes(deadline).is_err() {
                break;
            }
        }
        if Instant::now() >= deadline {
            bail!("process {} does not end", self.pid());
        }
        self.child.wait().context("the child cannot be waited for")
    }

    /// How it ended; `None`: it still runs after `patience`.
    pub(crate) fn ended_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().context("the child cannot be waited for")? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn state(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => format!("ended: {status}"),
            Ok(None) => "still runs".to_owned(),
            Err(error) => format!("is gone: {error}"),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
