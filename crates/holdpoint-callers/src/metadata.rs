//! What clients need to know to get a token for a server: protected resource metadata, RFC 9728.

use crate::OAuth;
use holdpoint_core::ServerName;
use serde_json::json;
use std::net::IpAddr;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// One server, as callers see it.
#[derive(Clone, Debug)]
pub struct Resource {
    server: ServerName,
    url: String,
    metadata_url: String,
}

impl Resource {
    /// The server that callers reach at `url`.
    #[must_use]
    pub fn new(server: ServerName, url: String) -> Self {
        let metadata_url = protected_resource_url(&url);
        Self { server, url, metadata_url }
    }

    /// Its name.
    #[must_use]
    pub const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Its identifier (RFC 8707): the address that callers use.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its metadata is.
    #[must_use]
    pub fn metadata_url(&self) -> &str {
        &self.metadata_url
    }
}

/// Where the metadata of the resource at `url` is: between its host and its path (RFC 9728, section 3.1).
#[must_use]
pub fn protected_resource_url(url: &str) -> String {
    let (origin, path) = split_origin(url);
    format!("{origin}{WELL_KNOWN}{path}")
}

impl OAuth {
    /// The metadata of the resource at `url` (RFC 9728, section 2), as JSON.
    #[must_use]
    pub fn metadata(&self, url: &str, name: &str) -> String {
        let mut document = json!({
            "resource": url,
            "resource_name": name,
            "authorization_servers": [self.issuer()],
            "bearer_methods_supported": ["header"],
        });
        if let (Some(document), false) = (document.as_object_mut(), self.scopes().is_empty()) {
            document.insert("scopes_supported".into(), json!(self.scopes()));
        }
        document.to_string()
    }
}

/// `scheme://authority`, and the rest without a slash that ends it.
pub(crate) fn split_origin(url: &str) -> (&str, &str) {
    let from = url.find("://").map_or(0, |at| at + 3);
    let slash = url.get(from..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| from + at);
    let (origin, path) = url.split_at(slash);
    (origin, path.trim_end_matches('/'))
}

/// Whether a URL's host is this machine by its name or address: `localhost`, 127.0.0.0/8, `[::1]`.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}
