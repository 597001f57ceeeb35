//! Which tool server the demonstration uses: the reference file server from npm, or the bundled one.

use super::script::{self, Scene};
use crate::print::note;
use anyhow::{Context, Result};
use holdpoint_mcp::stdio::ChildCommand;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

const PACKAGE: &str = "@modelcontextprotocol/server-filesystem@2026.8.31";
/// Fetching it the first time takes a while; no network must not take for ever.
const FETCH_WITHIN: Duration = Duration::from_mins(1);

pub(crate) struct ToolServer {
    pub(crate) command: ChildCommand,
    pub(crate) description: String,
    /// What the agent does with it, in a folder.
    pub(crate) script: fn(&Path) -> [Scene; 4],
}

pub(crate) async fn find(bundled: bool, work: &Path) -> Result<ToolServer> {
    if !bundled {
        note("looking for the reference file server from npm…");
        if npm_has_it().await {
            let mut command = ChildCommand::new("npx", ["-y", PACKAGE]);
            command.arguments.push(work.into());
            let description = format!("{PACKAGE}, from npm");
            return Ok(ToolServer { command, description, script: script::for_files });
        }
        note("not there (no Node, or no network): using the bundled one");
    }
    let program = std::env::current_exe().context("cannot find this program again")?;
    let mut command = ChildCommand::new(program, ["demo-server"]);
    command.arguments.push(work.into());
    let description = "the bundled one, which keeps notes and writes refunds down".to_owned();
    Ok(ToolServer { command, description, script: script::for_notes })
}

/// Asks npm to have the package ready; the answer decides.
async fn npm_has_it() -> bool {
    let mut fetch = Command::new("npm");
    fetch.args(["exec", "--yes", "--package", PACKAGE, "--", "node", "--version"]);
    fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let status = tokio::time::timeout(FETCH_WITHIN, fetch.status()).await;
    status.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}
