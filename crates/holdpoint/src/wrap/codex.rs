//! Codex keeps its servers in TOML.

use super::entries::{Args, Entry, Found, Text};
use anyhow::{Context, Result, anyhow};
use toml_edit::{Document, Item, TableLike, Value};

const BELOW: &str = "\nargs = ";
const BESIDE: &str = ", args = ";

/// Every server of a file.
pub(crate) fn entries(text: &str) -> Result<Vec<Found>> {
    let document: Document<&str> = Document::parse(text).context("it is not TOML")?;
    let Some(servers) = document.as_table().get("mcp_servers") else {
        return Ok(Vec::new());
    };
    let servers = servers.as_table_like().ok_or_else(|| anyhow!("`mcp_servers` is not a table"))?;
    Ok(servers.iter().map(|(name, server)| entry(name, server)).collect())
}

fn entry(name: &str, server: &Item) -> Found {
    match read(name, server) {
        Ok(found) => found,
        Err(why) => Found::Odd { name: name.to_owned(), why },
    }
}

fn read(name: &str, server: &Item) -> Result<Found, &'static str> {
    let args_key = if server.is_inline_table() { BESIDE } else { BELOW };
    let server: &dyn TableLike = server.as_table_like().ok_or("it is not a table")?;
    if server.contains_key("url") {
        return Ok(Found::Remote { name: name.to_owned() });
    }
    let command =
        server.get("command").and_then(Item::as_value).and_then(text_of).ok_or("it has no `command`")?;
    let args = match server.get("args").map(|args| args.as_value()) {
        None => None,
        Some(Some(Value::Array(args))) => {
            let items = args.iter().map(text_of).collect::<Option<Vec<Text>>>();
            let items = items.ok_or("one of its `args` is not a string")?;
            Some(Args { items, span: args.span().ok_or("its `args` cannot be found")? })
        }
        Some(_) => return Err("its `args` are not a list"),
    };
    let env = match server.get("env") {
        None => Vec::new(),
        Some(env) => {
            let env = env.as_table_like().ok_or("its `env` is not a table")?;
            env.iter().map(|(name, _)| name.to_owned()).collect()
        }
    };
    let mut env: Vec<String> = env;
    // Names of variables of the client itself that the server gets as well.
    if let Some(handed_down) = server.get("env_vars").and_then(Item::as_array) {
        env.extend(handed_down.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    Ok(Found::Stdio(Entry { name: name.to_owned(), command, args, env, args_key }))
}

fn text_of(value: &Value) -> Option<Text> {
    Some(Text { value: value.as_str()?.to_owned(), span: value.span()? })
}
