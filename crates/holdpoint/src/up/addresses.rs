//! What a running process says to whom it can be reached.

use crate::print;
use anyhow::Result;
use holdpoint_config::{Config, ServerSettings};
use serde_json::{Map, Value, json};

/// Where clients and callers reach what is served beside Gate.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// `None`: none can be.
    servers: Option<Map<String, Value>>,
    bridge_url: Option<String>,
}

impl Addresses {
    pub(super) fn of(config: &Config, public_url: &str) -> Self {
        let describe = |name: &str, settings: &ServerSettings| {
            let mcp_url = format!("{public_url}/servers/{name}/mcp");
            match settings {
                ServerSettings::Http { .. } => json!({ "mcp_url": mcp_url }),
                ServerSettings::Stdio { .. } => {
                    json!({ "mcp_url": mcp_url, "command": ["holdpoint", "proxy", "--server", name] })
                }
            }
        };
        let servers = config.servers.iter();
        let servers =
            servers.map(|(name, settings)| (name.to_string(), describe(name.as_str(), settings))).collect();
        Self { servers: Some(servers), bridge_url: config.bridge.as_ref().map(|_| public_url.to_owned()) }
    }

    /// The one line that scripts wait for. `inbox`: its address, and the link that signs in.
    pub(super) fn ready(&self, gate_url: &str, inbox: Option<(&str, &str)>) -> Value {
        let (inbox_url, sign_in_url) = inbox.unzip();
        let first = [("event", Some("ready")), ("gate_url", Some(gate_url))];
        let first = first.into_iter().chain([("inbox_url", inbox_url), ("sign_in_url", sign_in_url)]);
        let servers = self.servers.clone().map(|servers| ("servers", Value::Object(servers)));
        let bridge = self.bridge_url.as_ref().map(|url| ("bridge_url", json!(url)));
        let members = first.map(|(name, text)| (name, json!(text))).chain(servers).chain(bridge);
        members.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The same for a person.
    pub(super) fn print(&self) -> Result<()> {
        if let Some(bridge_url) = &self.bridge_url {
            print::text(&format!("Bridge     {bridge_url}/v1/decisions"))?;
        }
        for (name, server) in self.servers.iter().flatten() {
            let url = server.get("mcp_url").and_then(Value::as_str).unwrap_or_default();
            print::text(&format!("{name:<10} {url}"))?;
            if server.get("command").is_some() {
                print::text(&format!(
                    "{:<10} or over stdio: holdpoint proxy --config PATH --server {name}",
                    ""
                ))?;
            }
        }
        Ok(())
    }
}
