//! A configuration in a folder of its own.

use holdpoint_config::{Config, FingerprintKey, Mistake, PolicySet, Report, check, load};
use holdpoint_core::{Arguments, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning};
use std::{collections::BTreeMap, fs, path::PathBuf};
use tempfile::TempDir;

/// Enough for the tools files of most tests.
pub(crate) const MAIN: &str = "servers:\n  payments: { url: 'https://tools.example.com/mcp' }\n";

pub(crate) struct Folder {
    folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { folder, env: BTreeMap::new() }
    }

    /// A tools file beside [`MAIN`].
    pub(crate) fn tools(text: &str) -> Self {
        Self::new(&[("holdpoint.yaml", MAIN), ("tools/payments.yaml", text)])
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn load(&self) -> Config {
        load(self.folder.path(), &self.env).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    pub(crate) fn policy(&self) -> PolicySet {
        self.load().policy(FingerprintKey::new([7; 32]))
    }

    pub(crate) fn mistakes(&self) -> Vec<Mistake> {
        load(self.folder.path(), &self.env).unwrap_err().as_slice().to_vec()
    }

    /// As a person sees it, with the folder's own path taken away.
    pub(crate) fn told(&self) -> String {
        let text = load(self.folder.path(), &self.env).unwrap_err().to_string();
        self.plain(&text)
    }

    pub(crate) fn check(&self) -> Report {
        check(self.folder.path(), &self.env)
    }

    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
            .replace(&self.folder.path().display().to_string(), ".")
    }
}

/// What is wrong with a main file.
pub(crate) fn main_file(text: &str) -> String {
    Folder::new(&[("holdpoint.yaml", text)]).told()
}

/// What is wrong with a tools file.
pub(crate) fn tools_file(text: &str) -> String {
    Folder::tools(text).told()
}

/// What is wrong with one field of a gated tool.
pub(crate) fn field(text: &str) -> String {
    tools_file(&gated(text))
}

/// A tools file with one gated tool that has these fields.
pub(crate) fn gated(fields: &str) -> String {
    let fields = fields.trim_end().replace('\n', "\n    ");
    format!("server: payments\ntools:\n  - name: issue_refund\n    action: gate\n    {fields}\n")
}

pub(crate) fn call(tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        principal: Principal::new("ada"),
        server: ServerName::new("payments"),
        tool: ToolName::new(tool),
        arguments: Arguments::parse(arguments).unwrap(),
        extra: serde_json::Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("task-1"),
    }
}
