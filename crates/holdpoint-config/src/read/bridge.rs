//! The bridge: how it waits, whom it calls back, and what it runs itself.

use super::{servers, shared};
use crate::{
    env::{Substitution, has_reference},
    load::{Entries, Located},
    mistake::{Finding, Findings},
    pointer::Pointer,
    settings::{
        BridgeSettings, CallbackSettings, TargetContent, TargetPath, TargetSettings, TargetSource,
        TargetToolSettings,
    },
    source::Span,
    written::{Bridge, Callbacks, Target, TargetMethod, TargetTool, TargetValue, WrittenBody},
};
use holdpoint_api::declare::HumaneDuration;
use holdpoint_core::ServerName;
use std::{collections::BTreeMap, time::Duration};

/// The server of calls that the bridge only answers about.
pub(crate) const CHECKS: &str = "bridge";
/// Whatever is in between gives up sooner.
const WAIT_LONGEST: Duration = Duration::from_mins(10);
/// Shorter lives would end between two tries of one caller.
const LIVES_AT_LEAST: Duration = Duration::from_mins(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const RESPONSE_BYTES_MAX: u32 = 1024 * 1024;

pub(super) fn bridge(
    written: &Bridge,
    servers: &[&str],
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<BridgeSettings> {
    let otherwise = BridgeSettings::default();
    let callbacks = written.callbacks.as_ref();
    let callbacks =
        callbacks.map(|callbacks| self::callbacks(&callbacks.value, substitution, findings).ok_or(()));
    let wait_max = written.wait_max.as_ref().map_or(otherwise.wait_max, |wait| wait.value.get());
    if let Some(long) = written.wait_max.as_ref().filter(|_| wait_max > WAIT_LONGEST) {
        let finding = Finding::at(long.span, "a request is held for 10 minutes at most");
        findings.push(
            finding.hint("write `10m` or less; a caller that waits longer asks again, or is called back"),
        );
    }
    if let Some(long) = written.wait.as_ref().filter(|wait| wait.value.get() > wait_max) {
        let finding = Finding::at(long.span, "`wait` is longer than `wait_max`");
        findings.push(finding.hint("write less, or raise `wait_max`"));
    }
    if let Some(none) = written.replays_max.as_ref().filter(|max| max.value == 0) {
        let finding = Finding::at(none.span, "with `replays_max: 0`, no caller could ever read a yes");
        findings.push(finding.hint("write how often one may be read, such as 20"));
    }
    if let Some(none) = written.open_max.as_ref().filter(|max| max.value == 0) {
        let finding = Finding::at(none.span, "with `open_max: 0`, nobody could ever ask");
        findings.push(finding.hint("write how many questions of one caller may be open, such as 5000"));
    }
    let short_lived = [("expires", &written.expires), ("kept", &written.kept)];
    for (name, short) in short_lived {
        if let Some(short) = short.as_ref().filter(|length| length.value.get() < LIVES_AT_LEAST) {
            let finding = Finding::at(short.span, format!("`{name}` is one minute at least"));
            findings
                .push(finding.hint("write `1m` or more: a caller that tries again has to find its question"));
        }
    }
    let denies_with_403 = match written.deny_status.as_ref().map(|status| (status.value, status.span)) {
        None | Some((200, _)) => false,
        Some((403, _)) => true,
        Some((_, span)) => {
            findings.push(Finding::at(span, "the status of a no is 200 or 403").hint("write one of the two"));
            return None;
        }
    };
    let short = |wait: Duration| wait.min(wait_max);
    Some(BridgeSettings {
        wait: written.wait.as_ref().map_or(short(otherwise.wait), |wait| wait.value.get()),
        wait_max,
        expires: written.expires.as_ref().map_or(otherwise.expires, |length| length.value.get()),
        kept: written.kept.as_ref().map_or(otherwise.kept, |length| length.value.get()),
        replays_max: written.replays_max.as_ref().map_or(otherwise.replays_max, |max| max.value),
        open_max: written.open_max.as_ref().map_or(otherwise.open_max, |max| max.value),
        denies_with_403,
        targets: targets(&written.targets, servers, substitution, findings),
        callbacks: callbacks.transpose().ok()?,
    })
}

fn callbacks(
    written: &Callbacks,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<CallbackSettings> {
    let secret = shared::signed(&written.secret, substitution, findings);
    if written.hosts.is_empty() && !findings.any_within(written.secret.span) {
        let finding =
            Finding::at(written.secret.span, "`callbacks` names no `hosts`, so nobody is called back");
        findings.push(finding.hint("write `hosts: [hooks.example.com]`, or remove `callbacks`"));
    }
    let hosts = written.hosts.iter().map(|host| {
        let name = host.value.strip_prefix("*.").unwrap_or(&host.value);
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_literal = literal.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_literal && !name.split('.').all(label) {
            let finding = Finding::at(host.span, "this is no name of a host");
            findings.push(finding.hint("write `hooks.example.com`, or `*.example.com` for all below it"));
        }
        host.value.to_ascii_lowercase()
    });
    let hosts = hosts.collect();
    Some(CallbackSettings { hosts, secret: secret?, private_addresses: written.private_addresses })
}

fn targets(
    written: &Entries<Located<Target>>,
    servers: &[&str],
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> BTreeMap<ServerName, TargetSettings> {
    let mut targets = BTreeMap::new();
    for (name, target) in &written.0 {
        servers::check_name(name, findings);
        if name.value == CHECKS {
            let finding =
                Finding::at(name.span, "`bridge` is the name of what the bridge only answers about");
            findings.push(finding.hint("give the target another name"));
        }
        if servers.contains(&name.value.as_str()) {
            let finding = Finding::at(name.span, format!("there is a server `{}` as well", name.value));
            findings.push(finding.hint("give the target another name: tools files go by it"));
        }
        if let Some(settings) = target_of(&target.value, substitution, findings) {
            targets.insert(ServerName::new(name.value.as_str()), settings);
        }
    }
    targets
}

fn target_of(
    written: &Target,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<TargetSettings> {
    let url = servers::url(&written.url, substitution, findings);
    if let Some(url) = &url {
        let host = url.host_str().unwrap_or_default();
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if url.scheme() == "http" && !is_here {
            let finding =
                Finding::at(written.url.span, "what is sent there could be read and changed on its way");
            findings.push(finding.hint("use `https://`; `http://` is for this machine alone"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            let finding =
                Finding::at(written.url.span, "the address of a target has no query and no fragment");
            findings.push(finding.hint("write the query at the tools: `query: { name: { value: … } }`"));
        }
    }
    let headers = servers::headers(&written.headers, substitution, findings);
    let mut tools = BTreeMap::new();
    for (name, tool) in &written.tools.0 {
        check_headers(&written.headers, &tool.value.headers, findings);
        if let Some(settings) = tool_of(name, &tool.value, findings) {
            tools.insert(name.value.clone(), settings);
        }
    }
    Some(TargetSettings {
        url: url?,
        headers: headers?,
        timeout: written.timeout.map_or(TIMEOUT, HumaneDuration::get),
        response_bytes_max: written.response_bytes_max.unwrap_or(RESPONSE_BYTES_MAX),
        tools,
    })
}

/// A header of a tool must not take the place of one of the target, or of another one.
fn check_headers(
    target: &Entries<Located<String>>,
    tool: &Entries<Located<TargetValue>>,
    findings: &mut Findings,
) {
    let mut taken: Vec<String> = target.0.iter().map(|(name, _)| name.value.to_lowercase()).collect();
    for (name, _) in &tool.0 {
        let lower = name.value.to_lowercase();
        if taken.contains(&lower) {
            let finding = Finding::at(name.span, format!("the header `{lower}` is sent already"));
            findings.push(finding.hint("remove one of the two"));
        }
        taken.push(lower);
    }
}

fn tool_of(
    name: &Located<String>,
    written: &TargetTool,
    findings: &mut Findings,
) -> Option<TargetToolSettings> {
    let before = findings.len();
    let path = path(&written.path, findings);
    let query = values(&written.query, findings);
    let headers = values(&written.headers, findings);
    for (header, _) in &written.headers.0 {
        servers::check_header(header, findings);
    }
    let headers = headers.into_iter().map(|(name, source)| (name.to_lowercase(), source)).collect();
    let (method, has_body) = match written.method {
        TargetMethod::Get => ("GET", false),
        TargetMethod::Post => ("POST", true),
        TargetMethod::Put => ("PUT", true),
        TargetMethod::Patch => ("PATCH", true),
        TargetMethod::Delete => ("DELETE", false),
    };
    let bodies = [
        written.body.as_ref().map(|body| body.span),
        written.json.as_ref().map(|json| json.span),
        written.form.as_ref().map(|form| form.span),
    ];
    if let [_, second, ..] = bodies.into_iter().flatten().collect::<Vec<Span>>()[..] {
        let finding = Finding::at(second, format!("`{}` has more than one body", name.value));
        findings.push(finding.hint("keep one of `body`, `json` and `form`"));
    }
    let body = match (&written.body, &written.json, &written.form) {
        (_, Some(json), _) => TargetContent::Json(values(&json.value, findings)),
        (_, None, Some(form)) => TargetContent::Form(values(&form.value, findings)),
        (Some(body), None, None) => match body.value {
            WrittenBody::Arguments => TargetContent::Arguments,
            WrittenBody::None => TargetContent::None,
        },
        (None, None, None) if has_body => TargetContent::Arguments,
        (None, None, None) => TargetContent::None,
    };
    (findings.len() == before).then_some(TargetToolSettings { method, path, query, headers, body })
}

fn values(written: &Entries<Located<TargetValue>>, findings: &mut Findings) -> Vec<(String, TargetSource)> {
    let values = written.0.iter().filter_map(|(name, value)| {
        let source = match (&value.value.at, &value.value.value) {
            (Some(at), None) => TargetSource::At {
                pointer: pointer(at, &at.value, findings)?,
                optional: value.value.optional,
            },
            (None, Some(constant)) => {
                check_constant(name, &constant.0, findings);
                TargetSource::Value(constant.0.clone())
            }
            (Some(_), Some(_)) | (None, None) => {
                let finding =
                    Finding::at(value.span, "a value is either `at` a place in the arguments, or a constant");
                findings.push(finding.hint("write `{ at: /name }` or `{ value: … }`"));
                return None;
            }
        };
        Some((name.value.clone(), source))
    });
    values.collect()
}

/// Constants are digested and shown as they are written.
fn check_constant(name: &Located<String>, constant: &serde_json::Value, findings: &mut Findings) {
    let holds_reference = constant.as_str().is_some_and(has_reference);
    if servers::is_credential(&name.value) || holds_reference {
        let finding =
            Finding::at(name.span, "a constant of a tool is no place for a credential or a variable");
        findings
            .push(finding.hint("write it under the target's `headers`: `authorization: \"Bearer ${NAME}\"`"));
    }
}

fn pointer(written: &Located<String>, text: &str, findings: &mut Findings) -> Option<String> {
    match Pointer::parse(text) {
        Ok(pointer) => Some(pointer.as_str().to_owned()),
        Err((message, hint)) => {
            findings.push(Finding::at(written.span, message).hint(&hint));
            None
        }
    }
}

/// Argument by argument: each is a whole segment, so that what is in it cannot make another path.
fn path(written: &Located<String>, findings: &mut Findings) -> Vec<TargetPath> {
    let mut wrong = |message: &str, hint: &str| {
        findings.push(Finding::at(written.span, message).hint(hint));
        Vec::new()
    };
    let text = &written.value;
    if !text.starts_with('/') {
        return wrong("a path starts with `/`", &format!("write `/{text}`"));
    }
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return wrong("`{` without its `}`", "write `{name}`, or `{/json/pointer}`");
        };
        if !before.ends_with('/') || !(after.is_empty() || after.starts_with('/')) {
            let hint = "write it between two `/`; what is glued to an argument could be changed by it";
            return wrong("an argument is a whole segment of the path", hint);
        }
        let parsed = if name.starts_with('/') {
            Pointer::parse(name).map(|pointer| pointer.as_str().to_owned())
        } else if name.is_empty() || name.contains(['/', '~', '{']) {
            Err((
                "this is no name of an argument".to_owned(),
                "write `{name}`, or `{/json/pointer}`".to_owned(),
            ))
        } else {
            Ok(format!("/{name}"))
        };
        match parsed {
            Ok(pointer) => parts.extend([TargetPath::Text(before.to_owned()), TargetPath::Argument(pointer)]),
            Err((message, hint)) => return wrong(&message, &hint),
        }
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(TargetPath::Text(rest.to_owned()));
    }
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@".contains(char);
    for part in &parts {
        let TargetPath::Text(text) = part else { continue };
        if !text.chars().all(is_plain) {
            let hint = "write letters, digits, `-`, `_` and `/`; a query has a key of its own";
            return wrong("this path has characters in it that an address writes another way", hint);
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return wrong("`.` and `..` are folded away by readers of addresses", "write the whole path");
        }
    }
    parts
}
