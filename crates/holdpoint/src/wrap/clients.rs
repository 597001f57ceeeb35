//! Where each client keeps its configuration.

use crate::cli::ClientName;
use anyhow::{Context, Result};
use std::{
    env,
    path::{Path, PathBuf},
};

/// The files of a client, those of the current folder first. Not all need exist.
pub(crate) fn places(client: ClientName) -> Result<Vec<PathBuf>> {
    let home = home()?;
    let here = env::current_dir().context("where are we?")?;
    Ok(match client {
        ClientName::ClaudeDesktop => vec![programs(&home, "Claude").join("claude_desktop_config.json")],
        ClientName::ClaudeCode => vec![here.join(".mcp.json"), home.join(".claude.json")],
        ClientName::Cursor => vec![here.join(".cursor/mcp.json"), home.join(".cursor/mcp.json")],
        ClientName::Vscode => {
            vec![here.join(".vscode/mcp.json"), programs(&home, "Code").join("User/mcp.json")]
        }
        ClientName::Codex => {
            let folder = env::var_os("CODEX_HOME").map_or_else(|| home.join(".codex"), PathBuf::from);
            vec![folder.join("config.toml")]
        }
    })
}

fn home() -> Result<PathBuf> {
    let home =
        env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).filter(|home| !home.is_empty());
    home.map(PathBuf::from)
        .context("the home folder is not known\n  hint: name the file with --config-file PATH")
}

/// Where programs with a window keep what they know.
fn programs(home: &Path, name: &str) -> PathBuf {
    let folder = if cfg!(target_os = "macos") {
        home.join("Library/Application Support")
    } else if cfg!(windows) {
        env::var_os("APPDATA").map_or_else(|| home.join("AppData/Roaming"), PathBuf::from)
    } else {
        env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from)
    };
    folder.join(name)
}
