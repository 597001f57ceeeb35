//! Pinned tool definitions, one JSON file per server in the data folder. Several proxies share them.

use crate::{clock, data::DataFolder};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use holdpoint_core::{DefinitionDigest, ServerName, ToolName, definition_digest};
use holdpoint_mcp::{Pinned, Pins, PinsError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Each holds the lock for one small file; one that was stopped meanwhile must not stop the others.
const LOCKED_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The folder of pins.
#[derive(Clone, Debug)]
pub(crate) struct PinFolder(PathBuf);

/// One server's tools.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct PinnedServer {
    /// The server's name in the configuration.
    pub(crate) server: String,
    /// Its tools.
    pub(crate) tools: BTreeMap<String, PinnedTool>,
}

/// One tool as it was accepted.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PinnedTool {
    /// As the server stated it.
    pub(crate) definition: Value,
    /// Since when.
    pub(crate) accepted_at: Timestamp,
    /// What the server states now, if it is something else. Calls are refused until it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) changed: Option<Value>,
}

impl PinFolder {
    pub(crate) fn open(data: &DataFolder) -> Result<Self> {
        let path = data.path().join("pins");
        fs::create_dir_all(&path).with_context(|| format!("cannot create `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Every server that was seen.
    pub(crate) fn servers(&self) -> Result<Vec<PinnedServer>> {
        let mut servers = Vec::new();
        for entry in fs::read_dir(&self.0).with_context(|| format!("cannot read `{}`", self.0.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                servers.push(read(&path)?);
            }
        }
        servers.sort_by(|a: &PinnedServer, b: &PinnedServer| a.server.cmp(&b.server));
        Ok(servers)
    }

    /// Accepts what changed; returns the names of the tools.
    pub(crate) fn accept(&self, server: &str, tool: Option<&str>) -> Result<Vec<String>> {
        let _lock = self.lock()?;
        let path = self.file(server);
        if !path.exists() {
            bail!("no server `{server}` was seen yet\n  hint: `holdpoint tools list` names those that were");
        }
        let mut pinned = read(&path)?;
        if let Some(tool) = tool
            && !pinned.tools.contains_key(tool)
        {
            bail!(
                "server `{server}` has no pinned tool `{tool}`\n  hint: `holdpoint tools list` names its tools"
            );
        }
        let mut accepted = Vec::new();
        for (name, pin) in &mut pinned.tools {
            if tool.is_none_or(|tool| tool == name)
                && let Some(definition) = pin.changed.take()
            {
                pin.definition = definition;
                pin.accepted_at = clock::now();
                accepted.push(name.clone());
            }
        }
        write(&path, &pinned)?;
        Ok(accepted)
    }

    fn compare(
        &self,
        server: &str,
        tool: &str,
        definition: &Value,
        digest: DefinitionDigest,
    ) -> Result<Pinned> {
        let path = self.file(server);
        if let Some(known) = read_if_there(&path)?.tools.get(tool)
            && definition_digest(&known.definition) == digest
            && known.changed.is_none()
        {
            return Ok(Pinned::Same);
        }
        let _lock = self.lock()?;
        let mut pinned = read_if_there(&path)?;
        server.clone_into(&mut pinned.server);
        let verdict = match pinned.tools.get_mut(tool) {
            None => {
                let pin =
                    PinnedTool { definition: definition.clone(), accepted_at: clock::now(), changed: None };
                pinned.tools.insert(tool.to_owned(), pin);
                Pinned::New
            }
            Some(known) if definition_digest(&known.definition) == digest => {
                known.changed = None;
                Pinned::Same
            }
            Some(known) => {
                known.changed = Some(definition.clone());
                Pinned::Changed
            }
        };
        write(&path, &pinned)?;
        Ok(verdict)
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

fn read_if_there(path: &Path) -> Result<PinnedServer> {
    match path.try_exists() {
        Ok(true) => read(path),
        Ok(false) => Ok(PinnedServer::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn read(path: &Path) -> Result<PinnedServer> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("`{}` is damaged\n  hint: remove it to pin the server's tools anew", path.display())
    })
}

fn write(path: &Path, pinned: &PinnedServer) -> Result<()> {
    let text = serde_json::to_string_pretty(pinned).context("cannot write a pinned definition")?;
    let draft = path.with_extension("draft");
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
