//! A proxy with the helpers that it started, but without the tool behind it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{memory_kib, processor_time};

/// What a process tree occupies, in KiB.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    /// The part that is no file: without the program's own pages.
    pub(crate) anon_kib: u64,
}

/// The processes that are measured as one.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pids: Vec<u32>,
}

impl Tree {
    /// `root` and what descends from it, but for this program itself: that is the tool, which each proxy starts.
    pub(crate) fn of(root: u32) -> Result<Self> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && let Some(parent) = parent_of(pid)
            {
                children.entry(parent).or_default().push(pid);
            }
        }
        let this = std::env::current_exe().context("where is this program?")?;
        let mut pids = vec![root];
        let mut seen = HashSet::from([root]);
        let mut next = children.remove(&root).unwrap_or_default();
        while let Some(pid) = next.pop() {
            if seen.insert(pid) && program_of(pid).as_ref() != Some(&this) {
                pids.push(pid);
                next.extend(children.remove(&pid).unwrap_or_default());
            }
        }
        Ok(Self { pids })
    }

    /// User and system time of all so far. A helper that ended meanwhile counts no more.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let (root, helpers) = self.pids.split_first().context("a tree without root")?;
        let helpers: Duration = helpers.iter().filter_map(|pid| processor_time(*pid).ok()).sum();
        Ok(processor_time(*root)? + helpers)
    }

    /// What all occupy now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let (root, helpers) = self.pids.split_first().context("a tree without root")?;
        let mut memory = memory_of(*root)?;
        for helper in helpers.iter().filter_map(|pid| memory_of(*pid).ok()) {
            memory.rss_kib += helper.rss_kib;
            memory.anon_kib += helper.anon_kib;
        }
        Ok(memory)
    }
}

fn memory_of(pid: u32) -> Result<Memory> {
    Ok(Memory { rss_kib: memory_kib(pid, "VmRSS")?, anon_kib: memory_kib(pid, "RssAnon")? })
}

fn program_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(1)?.parse().ok()
}
