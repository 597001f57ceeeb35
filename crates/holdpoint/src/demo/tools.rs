//! Which tool server the demonstration uses: the reference file server from npm, or the bundled one.

use super::view::View;
use anyhow::{Context, Result};
use holdpoint_mcp::stdio::ChildCommand;
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

const PACKAGE: &str = "@modelcontextprotocol/server-filesystem@2026.8.31";
/// Fetching it the first time takes a while; no network must not take for ever.
const FETCH_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct ToolServer {
    pub(crate) command: ChildCommand,
    pub(crate) description: String,
}

pub(crate) async fn find(bundled: bool, work: &Path, view: &View) -> Result<ToolServer> {
    if !bundled {
        view.note("looking for the reference file server from npm…");
        if npm_has_it().await {
            let mut command = ChildCommand::new("npx", ["-y", PACKAGE]);
            command.arguments.push(work.into());
            return Ok(ToolServer { command, description: format!("{PACKAGE}, from npm") });
        }
        view.note("not there (no Node, or no network): using the bundled one");
    }
    let program = std::env::current_exe().context("cannot find this program again")?;
    let mut command = ChildCommand::new(program, ["demo-server"]);
    command.arguments.push(work.into());
    Ok(ToolServer { command, description: "the bundled file server".to_owned() })
}

/// Asks npm to have the package ready; the answer decides.
async fn npm_has_it() -> bool {
    let mut fetch = Command::new("npm");
    fetch.args(["exec", "--yes", "--package", PACKAGE, "--", "node", "--version"]);
    fetch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let status = tokio::time::timeout(FETCH_WITHIN, fetch.status()).await;
    status.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}
