//! Signals, and who is whose child.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Instant;

use crate::lines::PATIENCE;

/// A signal that a process may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// Ends it in order.
    Term,
    /// Ends it at this very instruction.
    Nine,
    /// Has it read its configuration again.
    Hup,
}

/// Sends a signal to one process.
pub fn kill(pid: u32, how: Kill) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    let signal = match how {
        Kill::Term => Signal::TERM,
        Kill::Nine => Signal::KILL,
        Kill::Hup => Signal::HUP,
    };
    kill_process(pid, signal).with_context(|| format!("process {pid} is gone"))
}

/// The only child of a process: what a stdio client started.
pub fn only_child(pid: u32) -> Result<u32> {
    match children(pid)?.as_slice() {
        [child] => Ok(*child),
        children => anyhow::bail!("process {pid} has the children {children:?}"),
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task");
    let mut children = Vec::new();
    for thread in std::fs::read_dir(&path).with_context(|| format!("cannot list {path}"))? {
        // A thread may end while we look.
        let listed = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// Waits until a process that is not our child has ended; whether anybody has taken note of that does not matter.
pub fn until_ended(pid: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "process {pid} still runs: {stat}");
    }
}
