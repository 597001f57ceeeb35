//! The last word on an operation, as it is kept and as callers read it.

use holdpoint_core::{Grounds, Rejection, Unavailable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What may be compared with equality, and with nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Allow,
    Deny,
    Pending,
}

impl Word {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Pending => "pending",
        }
    }
}

/// Whether something happened, where the bridge runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Happened {
    Yes,
    No,
    /// It may have.
    Unknown,
}

/// The last word on an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) word: Word,
    pub(crate) status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    pub(crate) detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) happened: Option<Happened>,
    /// What the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
}

impl Answer {
    /// A yes whose caller runs it.
    pub(crate) fn allowed(grounds: &Grounds) -> Self {
        let (status, thread, detail) = match grounds {
            Grounds::Passed(_) => ("passed", None, "Nobody is asked about this. It may run."),
            Grounds::Allowed(_) => ("allowed", None, "The rules allow this. It may run."),
            Grounds::Approved(thread) | Grounds::ApprovedWithoutToken(thread) => {
                ("approved", Some(thread.to_string()), "A person approved this. It may run, once.")
            }
        };
        Self {
            word: Word::Allow,
            status: status.to_owned(),
            reason: None,
            thread,
            message: None,
            detail: detail.to_owned(),
            retry: None,
            happened: None,
            result: None,
        }
    }

    /// A no.
    pub(crate) fn refused(rejection: &Rejection) -> Self {
        Self {
            word: Word::Deny,
            status: rejection.status().to_owned(),
            reason: rejection.reason().map(str::to_owned),
            thread: rejection.thread().map(ToString::to_string),
            message: rejection.message().map(str::to_owned),
            detail: rejection.to_string(),
            retry: Some(rejection.retry().as_str().to_owned()),
            happened: None,
            result: None,
        }
    }

    /// A no of the bridge's own.
    pub(crate) fn denied(status: &str, detail: &str, retry: &str) -> Self {
        Self {
            word: Word::Deny,
            status: status.to_owned(),
            reason: None,
            thread: None,
            message: None,
            detail: detail.to_owned(),
            retry: Some(retry.to_owned()),
            happened: None,
            result: None,
        }
    }

    /// The answer was given as often as it is given.
    pub(crate) fn used_up() -> Self {
        Self::denied(
            "already_done",
            "This was allowed, and the answer has been given before. It must not run again.",
            "no",
        )
    }

    pub(crate) fn withdrawn() -> Self {
        Self::denied("cancelled", "This was withdrawn. It did not run.", "ask_again")
    }

    pub(crate) fn expired() -> Self {
        Self::denied("expired", "Nobody decided about this in time. It did not run.", "ask_again")
    }

    pub(crate) fn asked_anew() -> Self {
        Self::denied("already_done", "This was asked anew; only the answer to that counts.", "no")
    }

    pub(crate) fn unknown_caller() -> Self {
        Self::denied("mismatch", "Whoever asked this may not call any more. It did not run.", "no")
    }

    pub(crate) fn happened(self, happened: Happened) -> Self {
        Self { happened: Some(happened), ..self }
    }

    pub(crate) const fn is_allow(&self) -> bool {
        matches!(self.word, Word::Allow)
    }
}

/// A refusal that ends a question, or one after which the same question goes on.
pub(crate) enum Finality {
    Final,
    /// Whoever asks the same again is heard.
    Passing,
}

pub(crate) const fn finality(rejection: &Rejection) -> Finality {
    match rejection {
        Rejection::Pending { .. }
        | Rejection::Busy { .. }
        | Rejection::Unavailable {
            what:
                Unavailable::Ask
                | Unavailable::Decision
                | Unavailable::Journal
                | Unavailable::Record
                | Unavailable::Stopping,
            ..
        } => Finality::Passing,
        Rejection::Unavailable { what: Unavailable::Redemption, .. }
        | Rejection::DeniedByConfig { .. }
        | Rejection::Rejected { .. }
        | Rejection::Expired { .. }
        | Rejection::ChangesRequested { .. }
        | Rejection::TokenInvalid { .. }
        | Rejection::Mismatch { .. }
        | Rejection::Cancelled { .. }
        | Rejection::OutcomeUnknown { .. }
        | Rejection::AlreadyDone { .. } => Finality::Final,
    }
}
