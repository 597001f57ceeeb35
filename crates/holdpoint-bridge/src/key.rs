//! Numbers of operations: the same for the same question of the same caller, and nobody can guess one.

use hmac::{Hmac, KeyInit, Mac};
use holdpoint_core::{OperationId, Principal};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

const OPERATION_DOMAIN: &[u8] = b"holdpoint/operation/v1";
const TOKEN_DOMAIN: &[u8] = b"holdpoint/operation-token/v1";
/// 160 bits.
const ID_BYTES: usize = 20;
const ID_PREFIX: &str = "op_";
const TOKEN_PREFIX: &str = "hpt_";

/// By what name a caller's question is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QuestionName {
    /// The caller named it.
    Key(String),
    /// The caller named its job and its call.
    Call { task: String, call: String },
    /// It is known by where the answer goes.
    Callback(String),
    /// Nobody named it: the same question of the same job, after it was answered so many times.
    Same { task: String, digest: String, times: u32 },
}

impl QuestionName {
    fn parts(&self) -> ([&[u8]; 3], u32) {
        match self {
            Self::Key(key) => ([b"key", key.as_bytes(), b""], 0),
            Self::Call { task, call } => ([b"call", task.as_bytes(), call.as_bytes()], 0),
            Self::Callback(url) => ([b"callback", url.as_bytes(), b""], 0),
            Self::Same { task, digest, times } => ([b"same", task.as_bytes(), digest.as_bytes()], *times),
        }
    }
}

#[derive(Clone)]
pub(crate) struct OperationKey(Hmac<Sha256>);

impl OperationKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        // 32 bytes are less than a block of SHA-256: padded, not hashed.
        let mut block = [0; 64];
        for (place, byte) in block.iter_mut().zip(bytes) {
            *place = *byte;
        }
        Self(Hmac::new(&block.into()))
    }

    /// The number of the operation that `principal` calls `name`.
    pub(crate) fn operation(&self, principal: &Principal, name: &QuestionName) -> OperationId {
        let ([kind, first, second], times) = name.parts();
        let (principal, times) = (principal.as_str().as_bytes(), times.to_be_bytes());
        let mac = self.mac(&[OPERATION_DOMAIN, principal, kind, first, second, &times]);
        let number: Vec<u8> = mac.into_iter().take(ID_BYTES).collect();
        OperationId::new(format!("{ID_PREFIX}{}", hex::encode(number)))
    }

    /// A one-time proof that an operation was allowed. It carries the number, so that it can be found again; one that was
    /// forgotten and opened again has another proof.
    pub(crate) fn token(&self, id: &OperationId, opened_at: Timestamp) -> String {
        let number = id.as_str().strip_prefix(ID_PREFIX).unwrap_or_default();
        format!("{TOKEN_PREFIX}{number}{}", hex::encode(self.token_mac(id, opened_at)))
    }

    /// The operation that a token may be of.
    pub(crate) fn operation_of(token: &str) -> Option<OperationId> {
        let number = token.strip_prefix(TOKEN_PREFIX)?.get(..2 * ID_BYTES)?;
        Some(OperationId::new(format!("{ID_PREFIX}{number}")))
    }

    /// Whether `token` is the one of this operation.
    pub(crate) fn is_token(&self, token: &str, id: &OperationId, opened_at: Timestamp) -> bool {
        self.token(id, opened_at).as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn token_mac(&self, id: &OperationId, opened_at: Timestamp) -> [u8; 32] {
        self.mac(&[TOKEN_DOMAIN, id.as_str().as_bytes(), &opened_at.as_microsecond().to_be_bytes()])
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperationKey(…)")
    }
}

/// Of what a caller named: enough to tell it from another, and nothing that could be used.
pub(crate) fn fingerprint(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
