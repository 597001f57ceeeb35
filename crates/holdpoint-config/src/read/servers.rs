use super::shared;
use crate::{
    env::{Substitution, has_reference, literal},
    load::{Entries, Located, Node, NodeKind},
    mistake::{Finding, Findings},
    secret::Secret,
    settings::{GateSettings, ServerEra, ServerSettings},
    source::Sources,
    written::{self, Gate, Server},
};
use holdpoint_core::ServerName;
use std::collections::BTreeMap;
use url::Url;

/// Headers that belong to the connection.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Parts of names whose values are credentials.
const SENSITIVE: [&str; 9] =
    ["auth", "cookie", "credential", "key", "passwd", "password", "secret", "session", "token"];

/// Whether what is called so is a credential, by its name: it has to come from the environment or a file, and is shown to
/// nobody.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let name = name.to_lowercase();
    SENSITIVE.iter().any(|part| name.contains(part))
}

/// Credentials that stand in the file by mistake are not shown, whatever else is wrong with their line.
pub(super) fn hide_secrets(root: &Node, sources: &mut Sources) {
    let text = |node: &Node| match &node.kind {
        NodeKind::Text(text) => Some(text.clone()),
        NodeKind::Null | NodeKind::Bool(_) | NodeKind::Number(_) | NodeKind::List(_) | NodeKind::Map(_) => {
            None
        }
    };
    let gate = root.get("gate");
    let webhook = gate.and_then(|gate| gate.get("webhook"));
    let bridge = root.get("bridge");
    let callbacks = bridge.and_then(|bridge| bridge.get("callbacks"));
    let mut secrets: Vec<_> = [
        gate.and_then(|gate| gate.get("api_key")),
        webhook.and_then(|webhook| webhook.get("secret")),
        callbacks.and_then(|callbacks| callbacks.get("secret")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let targets = bridge.and_then(|bridge| bridge.get("targets"));
    let servers = [root.get("servers"), targets];
    for server in servers.iter().flatten().flat_map(|servers| servers.entries()) {
        let lists = ["headers", "env"].into_iter().filter_map(|list| server.value.get(list));
        let entries = lists.flat_map(|list| list.entries()).filter(|entry| is_credential(&entry.key));
        secrets.extend(entries.map(|entry| &entry.value));
    }
    for secret in secrets {
        if text(secret).is_some_and(|text| !has_reference(&text)) {
            sources.hide(secret.span);
        }
    }
    // A password stands in the middle of it.
    let journal = root.get("journal").and_then(|journal| journal.get("url"));
    if let Some(url) = journal.filter(|url| text(url).is_some_and(|text| !literal(&text).is_empty())) {
        sources.hide(url.span);
    }
}

pub(super) fn gate(
    written: Option<&Gate>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
    notes: &mut Findings,
) -> Option<GateSettings> {
    let written = written?;
    let url = url(&written.url, substitution, findings);
    let api_key = substitution.secret(&written.api_key, "a key", findings);
    let webhook = written.webhook.as_ref();
    let webhook = webhook.map(|webhook| shared::webhook(webhook, substitution, findings, notes).ok_or(()));
    let (url, api_key, webhook) = (url?, api_key?, webhook.transpose().ok()?);
    if holdpoint_api::ApiKey::foreign(api_key.expose()).is_err() {
        let finding = Finding::at(
            written.api_key.span,
            "this comes to no usable key: a key is visible ASCII without spaces",
        );
        findings.push(finding.hint("check the variable or file it comes from"));
        return None;
    }
    Some(GateSettings { url, api_key, webhook })
}

pub(super) fn all(
    written: &Entries<Located<Server>>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> BTreeMap<ServerName, ServerSettings> {
    let mut servers = BTreeMap::new();
    for (name, server) in &written.0 {
        check_name(name, findings);
        if name.value == super::bridge::CHECKS {
            let finding =
                Finding::at(name.span, "`bridge` is the name of what the bridge only answers about");
            findings.push(finding.hint("give the server another name"));
        }
        if let Some(settings) = one(name, server, substitution, findings) {
            servers.insert(ServerName::new(name.value.as_str()), settings);
        }
    }
    servers
}

/// Server names go into paths and file names.
pub(super) fn check_name(name: &Located<String>, findings: &mut Findings) {
    let usual = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if name.value.is_empty() || name.value.starts_with('.') || !name.value.chars().all(usual) {
        let finding = Finding::at(name.span, format!("`{}` cannot be the name of a server", name.value));
        findings.push(finding.hint("use letters, digits, `-`, `_` and `.`"));
    }
}

fn one(
    name: &Located<String>,
    written: &Located<Server>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<ServerSettings> {
    let server = &written.value;
    match (&server.url, &server.command) {
        (Some(address), None) => {
            refuse(
                &[("env", first(&server.env)), ("cwd", server.cwd.as_ref().map(Located::span))],
                "url",
                findings,
            );
            let url = url(address, substitution, findings);
            let headers = headers(&server.headers, substitution, findings);
            Some(ServerSettings::Http { url: url?, headers: headers?, era: era(server) })
        }
        (None, Some(command)) => {
            refuse(&[("headers", first(&server.headers))], "command", findings);
            stdio(server, command, substitution, findings)
        }
        (Some(address), Some(command)) => {
            url(address, substitution, findings);
            headers(&server.headers, substitution, findings);
            variables(&server.env, substitution, findings);
            let finding =
                Finding::at(command.span, format!("server `{}` has both `url` and `command`", name.value));
            findings.push(finding.hint("keep the one that reaches it"));
            None
        }
        (None, None) => {
            // For their mistakes.
            headers(&server.headers, substitution, findings);
            variables(&server.env, substitution, findings);
            if !findings.any_within(written.span) {
                let finding = Finding::at(
                    name.span,
                    format!("server `{}` has neither `url` nor `command`", name.value),
                );
                findings.push(finding.hint("write `url: https://…`, or `command: [PROGRAM, ARGUMENT, …]`"));
            }
            None
        }
    }
}

fn era(server: &Server) -> ServerEra {
    match server.era.as_ref().map(|era| era.value) {
        None | Some(written::ServerEra::Auto) => ServerEra::Auto,
        Some(written::ServerEra::Legacy) => ServerEra::Legacy,
        Some(written::ServerEra::Modern) => ServerEra::Modern,
    }
}

fn first<T>(entries: &Entries<T>) -> Option<crate::source::Span> {
    entries.0.first().map(|(name, _)| name.span)
}

fn refuse(fields: &[(&str, Option<crate::source::Span>)], kind: &str, findings: &mut Findings) {
    for (name, span) in fields {
        if let Some(span) = span {
            let finding = Finding::at(*span, format!("`{name}` has no use beside `{kind}`"));
            findings.push(finding.hint("remove it"));
        }
    }
}

fn stdio(
    server: &Server,
    command: &Located<Vec<Located<String>>>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<ServerSettings> {
    let words: Vec<Option<String>> =
        command.value.iter().map(|word| substitution.text(word, findings)).collect();
    let env = variables(&server.env, substitution, findings);
    let cwd = server.cwd.as_ref().map(|cwd| substitution.text(cwd, findings));
    if command.value.is_empty() && !findings.any_within(command.span) {
        let finding = Finding::at(command.span, "this command is empty");
        findings.push(finding.hint("write the program and its arguments: `[npx, -y, some-server]`"));
        return None;
    }
    if let Some(program) = command.value.first().filter(|program| program.value.contains(char::is_whitespace))
    {
        let is_path = std::path::Path::new(&program.value).exists();
        if !is_path {
            let finding = Finding::at(
                program.span,
                "a command is no shell line: this is taken for the name of one program",
            );
            findings.push(finding.hint("write program and arguments one by one: `[npx, -y, some-server]`"));
        }
    }
    let mut words = words.into_iter().collect::<Option<Vec<String>>>()?.into_iter();
    let program = words.next()?;
    if program.trim().is_empty() {
        let span = command.value.first().map_or(command.span, |program| program.span);
        findings.push(Finding::at(span, "the program has no name").hint("write the program to start"));
        return None;
    }
    let cwd = match cwd {
        None => None,
        Some(cwd) => Some(substitution.base.join(cwd?)),
    };
    Some(ServerSettings::Stdio { program, arguments: words.collect(), env: env?, cwd, era: era(server) })
}

fn variables(
    written: &Entries<Located<String>>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<Vec<(String, Secret)>> {
    let values = written.0.iter().map(|(name, value)| {
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            let finding = Finding::at(name.span, "this cannot be the name of an environment variable");
            findings.push(finding.hint("use letters, digits and `_`"));
        }
        credential(&name.value, value, substitution, findings).map(|value| (name.value.clone(), value))
    });
    values.collect::<Vec<_>>().into_iter().collect()
}

pub(super) fn headers(
    written: &Entries<Located<String>>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<Vec<(String, Secret)>> {
    let values = written.0.iter().map(|(name, value)| {
        let lower = name.value.to_lowercase();
        check_header(name, findings);
        let value_text = credential(&lower, value, substitution, findings)?;
        if http::HeaderValue::from_str(value_text.expose()).is_err() {
            let finding = Finding::at(
                value.span,
                "this comes to no valid header value: it has control characters in it",
            );
            findings.push(finding.hint("check the variable or file it comes from"));
        }
        Some((lower, value_text))
    });
    values.collect::<Vec<_>>().into_iter().collect()
}

pub(super) fn check_header(name: &Located<String>, findings: &mut Findings) {
    let lower = name.value.to_lowercase();
    if OWN_HEADERS.contains(&lower.as_str()) {
        let finding = Finding::at(name.span, format!("the header `{lower}` is set by the connection itself"));
        findings.push(finding.hint("remove it"));
    } else if http::HeaderName::from_bytes(lower.as_bytes()).is_err() {
        let finding = Finding::at(name.span, "this cannot be the name of a header");
        findings.push(finding.hint("use letters, digits and `-`"));
    }
}

/// A value that must come from outside if its name says that it is a credential.
fn credential(
    name: &str,
    value: &Located<String>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<Secret> {
    if is_credential(name) {
        substitution.secret(value, "a credential", findings)
    } else {
        substitution.text(value, findings).map(Secret::new)
    }
}

pub(super) fn url(
    written: &Located<String>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<Url> {
    let text = substitution.text(written, findings)?;
    let (message, hint) = match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            (format!("`{}` is no way to reach a server", url.scheme()), "use http or https".to_owned())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => (
            "credentials do not belong in a URL: it is shown in logs".to_owned(),
            "send them in a header".to_owned(),
        ),
        Ok(url) => return Some(url),
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            ("this is no whole URL".to_owned(), "start it with `https://` or `http://`".to_owned())
        }
        Err(error) => {
            (format!("this is no URL: {error}"), "write it like `https://tools.example.com/mcp`".to_owned())
        }
    };
    findings.push(Finding::at(written.span, message).hint(&hint));
    None
}
