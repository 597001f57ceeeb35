//! Pinned tool definitions, one JSON file per server in the data folder. Several proxies share them.
//!
//! What is not the accepted definition stays a difference until a person accepts it, and only the very difference that
//! they were shown ([`PinFolder::note_shown`]) can be accepted: a server that changes again in between gains nothing.

mod compare;
mod record;
mod show;

pub(crate) use compare::{Change, compare};
pub(crate) use record::{Kind, PinnedServer};
pub(crate) use show::show;

use crate::{clock, data::DataFolder};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use holdpoint_core::{DefinitionDigest, ServerName, ToolName, definition_digest};
use holdpoint_mcp::{Pinned, Pins, PinsError, Survey};
use record::{NewTool, PinnedTool};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions, TryLockError},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// Each holds the lock for one small file; one that was stopped meanwhile must not stop the others.
const LOCKED_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The folder of pins.
#[derive(Clone, Debug)]
pub(crate) struct PinFolder(PathBuf);

/// What becomes of a tool that was never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OfNew {
    /// It is accepted as it is.
    Pinned,
    /// It is a difference like others.
    Shown,
}

/// How a tool compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    New,
    Same,
    Changed,
    Gone,
}

/// What was accepted, and what was not, since nobody was shown it.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    pub(crate) accepted: Vec<(String, Kind)>,
    pub(crate) not_shown: Vec<String>,
}

impl PinFolder {
    pub(crate) fn open(data: &DataFolder) -> Result<Self> {
        let path = data.path().join("pins");
        fs::create_dir_all(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Every server that was seen, or the one that is named.
    pub(crate) fn servers(&self, only: Option<&str>) -> Result<Vec<PinnedServer>> {
        let mut servers = Vec::new();
        for entry in fs::read_dir(&self.0).with_context(|| format!("cannot read `{}`", self.0.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                servers.push(PinnedServer::read(&path)?);
            }
        }
        servers.retain(|server: &PinnedServer| only.is_none_or(|only| only == server.server));
        servers.sort_by(|a, b| a.server.cmp(&b.server));
        Ok(servers)
    }

    /// Compares with all that a server offers now.
    pub(crate) fn look(&self, server: &str, survey: &Survey, of_new: OfNew) -> Result<Vec<(String, Seen)>> {
        self.edit(server, |pinned| {
            pinned.new.clear();
            let mut seen = Vec::new();
            for stated in &survey.tools {
                let definition = stated.definition.clone();
                let found = match pinned.tools.get_mut(&stated.name) {
                    None => {
                        match of_new {
                            OfNew::Pinned => {
                                let pin = PinnedTool::new(definition, clock::now());
                                pinned.tools.insert(stated.name.clone(), pin);
                            }
                            OfNew::Shown => {
                                let tool = NewTool { definition, shown: None };
                                pinned.new.insert(stated.name.clone(), tool);
                            }
                        }
                        Seen::New
                    }
                    Some(known) => {
                        known.gone = false;
                        let same = definition_digest(&known.definition) == stated.digest;
                        known.changed = (!same).then_some(definition);
                        if same { Seen::Same } else { Seen::Changed }
                    }
                };
                seen.push((stated.name.clone(), found));
            }
            for (name, known) in &mut pinned.tools {
                // What is listed in a way that cannot be used is listed.
                let listed = survey.tools.iter().any(|tool| tool.name == *name)
                    || survey.unusable.iter().any(|(unusable, _)| unusable == name);
                if !listed {
                    known.gone = true;
                    seen.push((name.clone(), Seen::Gone));
                }
            }
            seen.sort();
            Ok(seen)
        })
    }

    /// A person was shown these differences.
    pub(crate) fn note_shown(&self, server: &str, differences: &[(String, Kind)]) -> Result<()> {
        self.edit(server, |pinned| {
            for (name, kind) in differences {
                if let Some(known) = pinned.tools.get_mut(name) {
                    known.shown = Some(kind.digest());
                } else if let Some(new) = pinned.new.get_mut(name) {
                    new.shown = Some(kind.digest());
                }
            }
            Ok(())
        })
    }

    /// Accepts what is different, of one tool or of all, as far as exactly that was shown to a person.
    pub(crate) fn accept(&self, server: &str, tool: Option<&str>) -> Result<Accepted> {
        if !self.file(server).exists() {
            bail!("no server `{server}` was seen yet\n  hint: `holdpoint tools list` names those that were");
        }
        self.edit(server, |pinned| {
            if let Some(tool) = tool
                && !pinned.tools.contains_key(tool)
                && !pinned.new.contains_key(tool)
            {
                bail!(
                    "server `{server}` has no pinned tool `{tool}`\n  hint: `holdpoint tools list` names its tools"
                );
            }
            let mut outcome = Accepted::default();
            for (name, kind) in pinned.differences() {
                if tool.is_some_and(|tool| tool != name) {
                    continue;
                }
                let shown = match pinned.tools.get(&name) {
                    Some(known) => known.shown.as_ref(),
                    None => pinned.new.get(&name).and_then(|new| new.shown.as_ref()),
                };
                if shown.is_none_or(|shown| *shown != kind.digest()) {
                    outcome.not_shown.push(name);
                    continue;
                }
                pinned.new.remove(&name);
                match &kind {
                    Kind::New { new } | Kind::Changed { new, .. } => {
                        pinned.tools.insert(name.clone(), PinnedTool::new(new.clone(), clock::now()));
                    }
                    Kind::Gone { .. } => {
                        pinned.tools.remove(&name);
                    }
                }
                outcome.accepted.push((name, kind));
            }
            Ok(outcome)
        })
    }

    fn compare(
        &self,
        server: &str,
        tool: &str,
        definition: &Value,
        digest: DefinitionDigest,
    ) -> Result<Pinned> {
        if let Some(known) = PinnedServer::read_if_there(&self.file(server))?.tools.get(tool)
            && definition_digest(&known.definition) == digest
            && known.difference().is_none()
        {
            return Ok(Pinned::Same);
        }
        self.edit(server, |pinned| {
            Ok(match pinned.tools.get_mut(tool) {
                None => {
                    pinned.new.remove(tool);
                    let pin = PinnedTool::new(definition.clone(), clock::now());
                    pinned.tools.insert(tool.to_owned(), pin);
                    Pinned::New
                }
                Some(known) => {
                    known.gone = false;
                    let same = definition_digest(&known.definition) == digest;
                    known.changed = (!same).then(|| definition.clone());
                    if same { Pinned::Same } else { Pinned::Changed }
                }
            })
        })
    }

    /// One change of one file, while nobody else makes one.
    fn edit<T>(&self, server: &str, change: impl FnOnce(&mut PinnedServer) -> Result<T>) -> Result<T> {
        let _lock = self.lock()?;
        let path = self.file(server);
        let mut pinned = PinnedServer::read_if_there(&path)?;
        server.clone_into(&mut pinned.server);
        let outcome = change(&mut pinned)?;
        pinned.write(&path)?;
        Ok(outcome)
    }

    /// Server names are free text; file names are not.
    fn file(&self, server: &str) -> PathBuf {
        let mut name = String::new();
        for byte in server.bytes() {
            if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_' {
                name.push(char::from(byte));
            } else {
                let _infallible = write!(name, "%{byte:02x}");
            }
        }
        self.0.join(format!("{name}.json"))
    }

    fn lock(&self) -> Result<File> {
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open `{}`", path.display()))?;
        let until = Instant::now() + LOCKED_WITHIN;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOOK_AGAIN),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
                }
            }
        }
    }
}

#[async_trait]
impl Pins for PinFolder {
    async fn check(
        &self,
        server: &ServerName,
        tool: &ToolName,
        definition: &Value,
        digest: DefinitionDigest,
    ) -> Result<Pinned, PinsError> {
        let (pins, server, tool) = (self.clone(), server.clone(), tool.clone());
        let definition = definition.clone();
        // Not in the way of every other call while somebody else holds the lock.
        let compared = tokio::task::spawn_blocking(move || {
            pins.compare(server.as_str(), tool.as_str(), &definition, digest)
        });
        let compared = compared.await.map_err(|error| PinsError(Box::new(error)))?;
        compared.map_err(|error| PinsError(error.into_boxed_dyn_error()))
    }
}
