//! What a holdpoint shares or sends beside its calls: journal, audit log, timeline, webhooks.

use crate::{
    env::{Substitution, literal},
    load::Located,
    mistake::{Finding, Findings},
    settings::{AuditSettings, JournalSettings, TimelineResults, TimelineSettings, WebhookSettings},
    written::{Audit, Journal, ShownResults, Timeline, Webhook},
};
use holdpoint_api::webhook::WebhookSecret;
use std::net::SocketAddr;
use url::Url;

/// Where Gate's webhooks are received if nothing is said.
const WEBHOOK_PATH: &str = "/webhooks/gate";
/// Tool servers are reached below this.
const SERVERS_PATH: &str = "/servers/";
/// Smaller files would be more files than records.
const ROTATE_BYTES_MIN: u64 = 64 * 1024;

pub(super) fn journal(
    written: Option<&Journal>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<JournalSettings> {
    let written = &written?.url;
    if holds_password(&written.value) {
        let finding = Finding::at(written.span, "a password does not belong in the file itself");
        findings.push(finding.hint(
            "put the whole address into an environment variable and write `${NAME}`, or into a file and write `${file:PATH}`",
        ));
        return None;
    }
    let url = substitution.secret(written, "the address of a database", findings)?;
    let is_postgres =
        Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "postgres" | "postgresql"));
    if !is_postgres && !substitution.is_stand_in(written) {
        let finding = Finding::at(written.span, "this comes to no address of a PostgreSQL database");
        findings.push(finding.hint(
            "it starts with `postgres://`; for SQLite, remove `journal`: it is in the data folder then",
        ));
        return None;
    }
    Some(JournalSettings { url })
}

/// Whether the text before an `@` has a password in it that comes from nowhere else.
fn holds_password(written: &str) -> bool {
    let Some((_, rest)) = written.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !literal(password).is_empty())
}

pub(super) fn audit(written: Option<&Audit>, findings: &mut Findings) -> AuditSettings {
    let rotate_bytes = written.and_then(|audit| audit.rotate_bytes.as_ref());
    if let Some(small) = rotate_bytes.filter(|bytes| bytes.value < ROTATE_BYTES_MIN) {
        let message = format!("a file of the audit log has at least {ROTATE_BYTES_MIN} bytes");
        findings.push(Finding::at(small.span, message).hint("write more, such as 67108864 for 64 MiB"));
    }
    AuditSettings { rotate_bytes: rotate_bytes.map(|bytes| bytes.value) }
}

pub(super) const fn timeline(written: &Timeline) -> TimelineSettings {
    let results = match written.results {
        ShownResults::Excerpt => TimelineResults::Excerpt,
        ShownResults::None => TimelineResults::None,
    };
    TimelineSettings { results }
}

/// `None` if something is wrong with it. `notes`: what may not be meant.
pub(super) fn webhook(
    written: &Located<Webhook>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
    notes: &mut Findings,
) -> Option<WebhookSettings> {
    let webhook = &written.value;
    let listen = webhook.listen.as_ref().map(|listen| address(listen, findings).ok_or(()));
    let path = match &webhook.path {
        None => Some(WEBHOOK_PATH.to_owned()),
        Some(written) => path(written, findings),
    };
    let secret = webhook.secret.as_ref().map(|secret| signed(secret, substitution, findings).ok_or(()));
    if secret.is_none() {
        let note = "these webhooks are not signed: anybody who reaches the address can make Gate be asked, \
                    though nothing that they say is believed";
        notes.push(
            Finding::at(written.span, note).hint("add `secret: ${NAME}` with the secret that Gate shows"),
        );
    }
    Some(WebhookSettings {
        listen: listen.transpose().ok()?,
        path: path?,
        secret: secret.transpose().ok()?.flatten(),
    })
}

fn address(written: &Located<String>, findings: &mut Findings) -> Option<SocketAddr> {
    let address = written.value.parse().ok();
    if address.is_none() {
        let finding = Finding::at(written.span, "this is no address to listen on");
        findings.push(finding.hint("write an IP address and a port, such as `127.0.0.1:8790`"));
    }
    address
}

fn path(written: &Located<String>, findings: &mut Findings) -> Option<String> {
    let path = &written.value;
    let plain =
        |char: char| char.is_ascii_graphic() && !matches!(char, '?' | '#' | '%' | '"' | '<' | '>' | '\\');
    let (message, hint) = if !path.starts_with('/') {
        ("a path starts with `/`".to_owned(), format!("write `/{path}`"))
    } else if !path.chars().all(plain) {
        (
            "this path has characters in it that an address writes another way".to_owned(),
            format!("write letters, digits, `-`, `_` and `/`, such as `{WEBHOOK_PATH}`"),
        )
    } else if format!("{path}/").starts_with(SERVERS_PATH) {
        (
            format!("what is below `{SERVERS_PATH}` belongs to the tool servers"),
            format!("write `{WEBHOOK_PATH}`"),
        )
    } else {
        return Some(path.clone());
    };
    findings.push(Finding::at(written.span, message).hint(&hint));
    None
}

/// `Some(None)`: a stand-in, which signs nothing.
#[expect(clippy::option_option, reason = "the outer one is the mistake, as everywhere here")]
pub(super) fn signed(
    written: &Located<String>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<Option<WebhookSecret>> {
    let secret = substitution.secret(written, "a secret", findings)?;
    if substitution.is_stand_in(written) {
        return Some(None);
    }
    match WebhookSecret::parse(secret.expose().trim()) {
        Ok(secret) => Some(Some(secret)),
        Err(error) => {
            let finding = Finding::at(written.span, format!("this comes to no usable secret: {error}"));
            findings.push(finding.hint("check the variable or file it comes from"));
            None
        }
    }
}
