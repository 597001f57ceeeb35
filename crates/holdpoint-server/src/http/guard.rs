//! Who may be spoken to as whom: against DNS rebinding, and pages of other origins.
//!
//! 1. The host a request names must be a loopback name, the public URL's, or one the operator listed. A page that
//!    rebinds its own name to this machine fails here, whatever it asks for.
//! 2. A request that says which page it comes from (`Origin`) must come from a page of this Gate.
//!
//! Not covered: a proxy in front that replaces `Host`. It has to be told to keep it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, Request, header};

use crate::options::{OptionsError, PublicUrl};

/// The names a Gate answers to.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: HashSet<String>,
    origin: String,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("this Gate does not go by that host name; list it under the allowed hosts if it should")]
    Host,
    #[error("this request comes from a page of another origin")]
    Origin,
}

impl Guard {
    pub(crate) fn new(public: &PublicUrl, allowed: &[String]) -> Result<Self, OptionsError> {
        let mut hosts = HashSet::from([public.host.clone()]);
        for host in allowed {
            let authority: Authority = host.parse().map_err(|_| OptionsError::Host(host.clone()))?;
            if authority.as_str().contains('@') || authority.host().is_empty() {
                return Err(OptionsError::Host(host.clone()));
            }
            hosts.insert(authority.host().to_ascii_lowercase());
        }
        Ok(Self { hosts, origin: public.origin.clone() })
    }

    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Stranger> {
        let headers = request.headers();
        let named = one_host(headers)?;
        let target = request.uri().authority().cloned();
        // With both given, a proxy and we might each believe another one.
        for host in [&named, &target].into_iter().flatten() {
            self.check_host(host)?;
        }
        let host = target.or(named).ok_or(Stranger::Host)?;
        self.check_origin(headers, &host)
    }

    fn check_host(&self, authority: &Authority) -> Result<(), Stranger> {
        if authority.as_str().contains('@') {
            return Err(Stranger::Host);
        }
        let host = authority.host().to_ascii_lowercase();
        if is_loopback(&host) || self.hosts.contains(&host) { Ok(()) } else { Err(Stranger::Host) }
    }

    fn check_origin(&self, headers: &HeaderMap, host: &Authority) -> Result<(), Stranger> {
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().map_err(|_| Stranger::Origin)?;
            let own = origin == self.origin
                || ["http://", "https://"]
                    .iter()
                    .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest == host.as_str()));
            if !own {
                return Err(Stranger::Origin);
            }
        }
        Ok(())
    }
}

fn one_host(headers: &HeaderMap) -> Result<Option<Authority>, Stranger> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return Ok(None) };
    if hosts.next().is_some() {
        return Err(Stranger::Host);
    }
    Authority::try_from(host.as_bytes()).map(Some).map_err(|_| Stranger::Host)
}

fn is_loopback(host: &str) -> bool {
    if host == "localhost" {
        return true;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok_and(|address| IpAddr::V6(address).is_loopback());
    }
    host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}
