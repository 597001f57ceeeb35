//! Who calls the proxies over HTTP: bearer keys of our own, and access tokens of an OAuth issuer.
//!
//! # Rules
//! 1. What is presented is checked. A key or token that does not hold up is refused, wherever it comes from; nobody is
//!    taken for somebody else instead.
//! 2. A key has 256 random bits and is stored as its SHA-256. A slow hash is for what people choose and others can guess;
//!    here there is nothing to guess. It is looked up by that hash, so the time of a look-up tells nothing of a key.
//! 3. The file of keys is read again after a quarter of a second, and each time before a held call runs. One that cannot be
//!    read, or that others may write to, admits nobody.
//! 4. A principal names the very key: `caller:NAME#ID`. A key that is made later under the same name is somebody else, so
//!    what waited for the revoked one does not run for it. Of a token it is `oauth:ISSUER#SUBJECT`. Neither can be the
//!    other, or the one principal of a machine without keys.
//! 5. Tokens (RFC 7519, 9068) are signed with RS, PS, ES or `EdDSA`, by a key that the issuer publishes under the `kid` that
//!    the token names. The key says which algorithms it is for; the token's `alg` only has to agree. Nothing in a token
//!    leads anywhere: `jku`, `x5u`, `jwk` are not looked at, `crit` and `cnf` (RFC 9449, 8705) are refused.
//! 6. Signed comes first: claims of a token whose signature is wrong are not read.
//! 7. Only the issuer's own host is asked for its keys, or the address that the configuration names: over https, or over
//!    http on this machine; no redirects, with limits on time, size and how often. If it cannot be asked, nobody comes in.
//!
//! # Not guaranteed
//! That a token is still good at its issuer: it is until it expires. Short lives are the issuer's to give; a call does not
//! wait longer than the token that it was sent with, unless it waits as a task.

mod callers;
mod challenge;
mod key_ring;
mod metadata;
mod oauth;

pub use callers::{Callers, Known, Strangers};
pub use challenge::Refusal;
pub use key_ring::{Caller, KeyRing, KeyRingError};
pub use metadata::{Resource, is_this_machine, protected_resource_url};
pub use oauth::{OAuth, OAuthError, OAuthSettings};
