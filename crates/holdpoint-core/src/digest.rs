//! The digest of a call: what an approval is about.
//!
//! Length-prefixed, keys sorted, domain-separated and versioned. It hashes the *text* of numbers, not their value as
//! doubles: 9007199254740992 and …993 are different calls, and so are 1 and 1.0. Vectors: `tests/vectors/digest.json`.
//! Changing anything here needs a new version prefix.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::fmt;

const CALL_DOMAIN: &str = "holdpoint/call/v1";
const DEFINITION_DOMAIN: &str = "holdpoint/definition/v1";
const QUESTION_DOMAIN: &str = "holdpoint/question/v1";

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Takes a digest as it was stored.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of SHA-256.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// 64 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 64];
                // Two digits a byte: there is room.
                let _fits = hex::encode_to_slice(self.0, &mut digits);
                f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("…")
            }
        }
    )+};
}

digests! {
    /// Covers principal, server, tool, arguments and every further parameter that could change the effect.
    CallDigest,
    /// Covers one tool definition as its server sent it.
    DefinitionDigest,
    /// Covers everything that Gate is asked about a call, and what its approval must come with.
    QuestionDigest,
}

/// What a [`CallDigest`] is made of.
pub(crate) struct CallParts<'a> {
    pub(crate) principal: &'a str,
    pub(crate) server: &'a str,
    pub(crate) tool: &'a str,
    /// `None`: the call has no arguments at all, which is not the same as `{}`.
    pub(crate) arguments: Option<&'a Map<String, Value>>,
    pub(crate) extra: &'a Map<String, Value>,
}

pub(crate) fn call_digest(parts: &CallParts<'_>) -> CallDigest {
    let mut hash = Sha256::new();
    for text in [CALL_DOMAIN, parts.principal, parts.server, parts.tool] {
        text_into(text, &mut hash);
    }
    match parts.arguments {
        None => hash.update(b"-"),
        Some(map) => map_into(map, &mut hash),
    }
    map_into(parts.extra, &mut hash);
    CallDigest(hash.finalize().into())
}

/// The digest of a tool definition (MCP `Tool`), whatever the order of its keys.
#[must_use]
pub fn definition_digest(definition: &Value) -> DefinitionDigest {
    let mut hash = Sha256::new();
    text_into(DEFINITION_DOMAIN, &mut hash);
    value_into(definition, &mut hash);
    DefinitionDigest(hash.finalize().into())
}

/// The digest of a question: what the reviewer is shown and on what terms.
pub(crate) fn question_digest(ask: &crate::Ask) -> QuestionDigest {
    let mut hash = Sha256::new();
    text_into(QUESTION_DOMAIN, &mut hash);
    for text in [
        &ask.workflow_name,
        &ask.task_label,
        &ask.tool_name,
        &ask.subject,
        ask.preview.as_deref().unwrap_or_default(),
        ask.risk_level.map(crate::RiskLevel::as_str).unwrap_or_default(),
        ask.payload.get(),
        ask.tokens.as_str(),
        ask.effect.as_ref().map(|effect| effect.key.as_str()).unwrap_or_default(),
    ] {
        text_into(text, &mut hash);
    }
    length_into(ask.summary.len(), &mut hash);
    for bullet in &ask.summary {
        text_into(bullet, &mut hash);
    }
    // Questions without pictures keep the digest that they had before there were any.
    if !ask.images.is_empty() {
        length_into(ask.images.len(), &mut hash);
        ask.images.iter().for_each(|image| text_into(image, &mut hash));
    }
    QuestionDigest(hash.finalize().into())
}

fn value_into(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(false) => hash.update(b"f"),
        Value::Bool(true) => hash.update(b"t"),
        Value::Number(number) => {
            hash.update(b"#");
            text_into(number.as_str(), hash);
        }
        Value::String(text) => {
            hash.update(b"\"");
            text_into(text, hash);
        }
        Value::Array(items) => {
            hash.update(b"[");
            length_into(items.len(), hash);
            for item in items {
                value_into(item, hash);
            }
        }
        Value::Object(map) => map_into(map, hash),
    }
}

/// Sorts here on purpose: `serde_json/preserve_order` is one unified Cargo feature away from changing map order.
fn map_into(map: &Map<String, Value>, hash: &mut Sha256) {
    hash.update(b"{");
    length_into(map.len(), hash);
    let mut member_into = |(key, value): (&String, &Value)| {
        text_into(key, hash);
        value_into(value, hash);
    };
    if map.keys().is_sorted() {
        map.iter().for_each(member_into);
    } else {
        let mut members: Vec<(&String, &Value)> = map.iter().collect();
        members.sort_unstable_by_key(|(key, _)| *key);
        members.into_iter().for_each(&mut member_into);
    }
}

fn text_into(text: &str, hash: &mut Sha256) {
    length_into(text.len(), hash);
    hash.update(text.as_bytes());
}

fn length_into(length: usize, hash: &mut Sha256) {
    hash.update((length as u64).to_be_bytes());
}
