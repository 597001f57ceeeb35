//! Clients that keep their servers in JSON, with or without comments.

use super::entries::{Args, Entry, Found, Text};
use crate::cli::ClientName;
use anyhow::{Result, anyhow};
use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Object, ObjectProp, StringLit, Value},
    common::Ranged,
    parse_to_ast,
};
use std::ops::Range;

const ARGS_KEY: &str = ", \"args\": ";

/// Every server of a file.
pub(crate) fn entries(text: &str, client: ClientName) -> Result<Vec<Found>> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default())
        .map_err(|error| anyhow!("{error}"))?;
    let Some(Value::Object(root)) = parsed.value else {
        return Err(anyhow!("it is not a JSON object"));
    };
    let mut found = Vec::new();
    if client == ClientName::Vscode {
        servers(&root, "servers", &mut found)?;
        return Ok(found);
    }
    servers(&root, "mcpServers", &mut found)?;
    if client == ClientName::ClaudeCode
        && let Some(Value::Object(projects)) = member(&root, "projects")
    {
        for project in &projects.properties {
            if let Value::Object(project) = &project.value {
                servers(project, "mcpServers", &mut found)?;
            }
        }
    }
    Ok(found)
}

fn servers(of: &Object<'_>, key: &str, found: &mut Vec<Found>) -> Result<()> {
    let Some(servers) = member(of, key) else {
        return Ok(());
    };
    let Value::Object(servers) = servers else {
        return Err(anyhow!("`{key}` is not an object"));
    };
    found.extend(servers.properties.iter().map(entry));
    Ok(())
}

fn entry(server: &ObjectProp<'_>) -> Found {
    let name = server.name.as_str().to_owned();
    match read(&name, server) {
        Ok(found) => found,
        Err(why) => Found::Odd { name, why },
    }
}

fn read(name: &str, server: &ObjectProp<'_>) -> Result<Found, &'static str> {
    let Value::Object(server) = &server.value else {
        return Err("it is not an object");
    };
    if ["url", "serverUrl", "httpUrl"].iter().any(|key| member(server, key).is_some()) {
        return Ok(Found::Remote { name: name.to_owned() });
    }
    if member(server, "envFile").is_some() {
        return Err("it has an `envFile`, whose variables would not reach the server");
    }
    let Some(Value::StringLit(command)) = member(server, "command") else {
        return Err("it has no `command`");
    };
    let args = match member(server, "args") {
        None => None,
        Some(Value::Array(args)) => Some(read_args(args)?),
        Some(_) => return Err("its `args` are not a list"),
    };
    let env = match member(server, "env") {
        None | Some(Value::NullKeyword(_)) => Vec::new(),
        Some(Value::Object(env)) => {
            env.properties.iter().map(|variable| variable.name.as_str().to_owned()).collect()
        }
        Some(_) => return Err("its `env` is not an object"),
    };
    Ok(Found::Stdio(Entry {
        name: name.to_owned(),
        command: text_of(command),
        args,
        env,
        args_key: ARGS_KEY,
    }))
}

fn read_args(args: &Array<'_>) -> Result<Args, &'static str> {
    let items = args.elements.iter().map(|item| match item {
        Value::StringLit(item) => Ok(text_of(item)),
        _ => Err("one of its `args` is not a string"),
    });
    Ok(Args { items: items.collect::<Result<_, _>>()?, span: span(args) })
}

fn text_of(text: &StringLit<'_>) -> Text {
    Text { value: text.value.clone().into_owned(), span: span(text) }
}

fn span(node: &impl Ranged) -> Range<usize> {
    node.start()..node.end()
}

/// The last one of that name, which is what clients read.
fn member<'o, 'a>(of: &'o Object<'a>, key: &str) -> Option<&'o Value<'a>> {
    of.properties.iter().rev().find(|property| property.name.as_str() == key).map(|property| &property.value)
}
