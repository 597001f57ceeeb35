//! A command that was run to its end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lines::PATIENCE;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Ran {
    /// Runs a command whose input stays open until it has ended by itself.
    pub fn to_end(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start `{program}`"))?;
        let open = child.stdin.take();
        let output = child.wait_with_output().with_context(|| format!("cannot wait for `{program}`"))?;
        drop(open);
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).context("standard output is not UTF-8")?,
            stderr: String::from_utf8(output.stderr).context("standard error is not UTF-8")?,
        })
    }

    /// Standard output, of a command that went well.
    pub fn success(self) -> Result<String> {
        anyhow::ensure!(self.code == Some(0), "ended with {:?}: {}{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// The same as JSON.
    pub fn json(self) -> Result<Value> {
        let text = self.success()?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

/// A command that still runs, and can be listened to. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Stays open until it has ended by itself.
    _stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    talk: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts a command whose output is read line by line.
    pub fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start `{program}`"))?;
        let (said, mut talk) =
            (child.stdout.take().context("a pipe")?, child.stderr.take().context("a pipe")?);
        let stdout = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&stdout);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let talk = std::thread::spawn(move || {
            let mut text = String::new();
            let _ended = talk.read_to_string(&mut text);
            text
        });
        Ok(Self { _stdin: child.stdin.take(), child, stdout, reader: Some(reader), talk: Some(talk) })
    }

    /// Waits until it has printed these words.
    pub fn says(&self, words: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.said().contains(words) {
            ensure!(Instant::now() < deadline, "it never said `{words}`, only: {}", self.said());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Ran> {
        let status = self.child.wait().context("the command cannot be waited for")?;
        let read = self.reader.take().map(JoinHandle::join);
        ensure!(matches!(read, Some(Ok(()))), "nobody read its output");
        let stderr = self.talk.take().and_then(|talk| talk.join().ok()).context("nobody read its errors")?;
        Ok(Ran { code: status.code(), stdout: self.said(), stderr })
    }

    fn said(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
