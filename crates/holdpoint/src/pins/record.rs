//! What is kept of one server's tools, as it stands in its file.

use anyhow::{Context, Result};
use holdpoint_core::definition_digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

/// One server's tools.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct PinnedServer {
    /// The server's name in the configuration.
    pub(crate) server: String,
    /// Its tools.
    pub(crate) tools: BTreeMap<String, PinnedTool>,
    /// Tools that were looked at and not pinned yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) new: BTreeMap<String, NewTool>,
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
    /// Whether the server did not list it when its tools were last looked at as a whole.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) gone: bool,
    /// The difference that a person was shown. Nothing else is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<String>,
}

/// A tool that nobody called or pinned.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct NewTool {
    pub(crate) definition: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl PinnedTool {
    pub(crate) const fn new(definition: Value, accepted_at: Timestamp) -> Self {
        Self { definition, accepted_at, changed: None, gone: false, shown: None }
    }

    /// What is different now, if anything is.
    pub(crate) fn difference(&self) -> Option<Kind> {
        match &self.changed {
            _ if self.gone => Some(Kind::Gone { old: self.definition.clone() }),
            Some(new) => Some(Kind::Changed { old: self.definition.clone(), new: new.clone() }),
            None => None,
        }
    }
}

/// In which way a tool is not what was accepted.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// It was not there.
    New { new: Value },
    /// It is another one.
    Changed { old: Value, new: Value },
    /// It is not there any more.
    Gone { old: Value },
}

impl Kind {
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::New { .. } => "new",
            Self::Changed { .. } => "changed",
            Self::Gone { .. } => "gone",
        }
    }

    /// Tells this difference from every other one of the tool.
    pub(crate) fn digest(&self) -> String {
        match self {
            Self::New { new } => format!("new-{}", definition_digest(new)),
            Self::Changed { old, new } => format!("{}-{}", definition_digest(old), definition_digest(new)),
            Self::Gone { old } => format!("gone-{}", definition_digest(old)),
        }
    }
}

impl PinnedServer {
    /// Everything that is not what was accepted, by the tools' names.
    pub(crate) fn differences(&self) -> Vec<(String, Kind)> {
        let pinned = self.tools.iter().filter_map(|(name, tool)| Some((name.clone(), tool.difference()?)));
        let new = self.new.iter();
        let new = new.map(|(name, tool)| (name.clone(), Kind::New { new: tool.definition.clone() }));
        let mut all: Vec<_> = pinned.chain(new).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(crate) fn read_if_there(path: &Path) -> Result<Self> {
        match path.try_exists() {
            Ok(true) => Self::read(path),
            Ok(false) => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_str(&text).with_context(|| {
            format!("`{}` is damaged\n  hint: remove it to pin the server's tools anew", path.display())
        })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write a pinned definition")?;
        let draft = path.with_extension("draft");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, path))
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
}
