//! Who may call the servers over HTTP.

use crate::{
    env::Substitution,
    load::Located,
    mistake::{Finding, Findings},
    settings::{CallerSettings, Credentials, OAuthIssuer},
    written::{Callers, OAuth},
};
use std::net::IpAddr;
use url::{Host, Url};

pub(super) fn callers(
    written: &Callers,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> CallerSettings {
    let oauth = written.oauth.as_ref();
    let credentials = match (written.required, oauth) {
        (Some(true), _) | (None, Some(_)) => Credentials::Required,
        (Some(false), _) => Credentials::Optional,
        (None, None) => Credentials::Unsaid,
    };
    CallerSettings { credentials, oauth: oauth.and_then(|oauth| issuer(oauth, substitution, findings)) }
}

fn issuer(written: &OAuth, substitution: &Substitution<'_>, findings: &mut Findings) -> Option<OAuthIssuer> {
    let issuer = address(&written.issuer, substitution, findings).filter(|issuer| {
        // RFC 8414, section 2. A principal names the issuer up to the `#`.
        let plain = !issuer.contains(['?', '#']);
        if !plain {
            let finding = Finding::at(written.issuer.span, "an issuer has neither query nor fragment");
            findings.push(finding.hint("write it as it is in the tokens' `iss`"));
        }
        plain
    });
    let jwks_url = written.jwks_url.as_ref();
    let jwks_url = jwks_url.map(|url| address(url, substitution, findings).ok_or(())).transpose();
    let audience = written.audience.as_ref();
    let audience = audience.map(|audience| filled(audience, substitution, findings).ok_or(())).transpose();
    let scopes: Option<Vec<String>> = written.scopes.iter().map(|written| scope(written, findings)).collect();
    Some(OAuthIssuer { issuer: issuer?, audience: audience.ok()?, jwks_url: jwks_url.ok()?, scopes: scopes? })
}

/// As it is written: identifiers are compared letter for letter.
fn address(
    written: &Located<String>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let text = substitution.text(written, findings)?;
    let (message, hint) = match Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            ("credentials do not belong in a URL: it is shown in logs", "remove them")
        }
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(&url)) => {
            return Some(text);
        }
        Ok(_) => (
            "whoever is on the way there could say which tokens are good",
            "use https; http is for addresses of this machine",
        ),
        Err(_) => ("this is no whole URL", "start it with `https://`"),
    };
    findings.push(Finding::at(written.span, message).hint(hint));
    None
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

fn filled(
    written: &Located<String>,
    substitution: &Substitution<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let text = substitution.text(written, findings)?;
    if text.trim().is_empty() {
        let finding = Finding::at(written.span, "this is empty, and tokens are always for somebody");
        findings.push(finding.hint("write the `aud` of the tokens, or remove it"));
        return None;
    }
    Some(text)
}

/// `scope-token` of RFC 6749, section 3.3.
fn scope(written: &Located<String>, findings: &mut Findings) -> Option<String> {
    let usable = |char: char| char.is_ascii_graphic() && !matches!(char, '"' | '\\');
    if written.value.is_empty() || !written.value.chars().all(usable) {
        let finding = Finding::at(written.span, format!("`{}` is no scope", written.value));
        findings.push(finding.hint("write one scope for each entry, such as `[tools, refunds]`"));
        return None;
    }
    Some(written.value.clone())
}
