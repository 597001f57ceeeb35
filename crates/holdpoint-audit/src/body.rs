//! What a record says, as written and as read. Flat, so that `grep` and `jq` find their way.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($word:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum $name { $($word),+ }
    )+};
}

words! {
    /// Which step, or which of the log's own affairs.
    Kind {
        Begun, Continued, Checkpoint, Torn, Gap,
        Proposed, Held, Joined, Allowed, Decided, Redeemed, Dispatching, Completed, OutcomeUnknown, Refused,
        Withdrawn, TooLate, Resolved, GoingOn, CallerCreated, CallerRevoked,
    }
    /// Why a call may run.
    Grounds { Passed, Allowed, Approved, ApprovedWithoutToken }
    /// What was decided.
    Decided { Approved, Rejected, Expired, ChangesRequested, OtherPayload }
    /// What Gate said of a token.
    Redeemed { Valid, Invalid, Expired, Used, AnswerLost }
    /// What a tool said of its own run.
    Ran { Succeeded, Failed }
    /// What came of a run.
    Resolution { Ran, DidNotRun }
    /// Who says so.
    Resolver { Person, Tool, Adapter }
}

macro_rules! body {
    ($($(#[$doc:meta])* $field:ident: $kind:ty),+ $(,)?) => {
        /// One record's own text. Which members there are depends on `what`. Texts are `T`: owned by what was read, borrowed by
        /// what is to be written.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Body<T = String> {
            pub(crate) what: Kind,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub(crate) $field: Option<$kind>,
            )+
        }

        impl<T> Body<T> {
            pub(crate) const fn new(what: Kind) -> Self {
                Self { what, $($field: None),+ }
            }
        }
    };
}

body! {
    /// Gate's review.
    thread: T,
    /// The journal's number of the hold.
    hold: i64,
    /// Which proposal of the review.
    revision: u32,
    principal: T,
    server: T,
    tool: T,
    task: T,
    /// Of the call.
    digest: T,
    /// The digest of the tool's definition.
    definition: T,
    /// The configuration in force.
    policy: T,
    effect: T,
    /// What an approval must be about.
    binding: T,
    review_url: T,
    grounds: Grounds,
    /// The configuration's entry, where nobody was asked or the rules allowed it.
    entry: T,
    decision: Decided,
    /// The words of a reviewer or of Gate.
    message: T,
    /// The SHA-256 of the token.
    token: T,
    redemption: Redeemed,
    ran: Ran,
    took_ms: u64,
    /// The SHA-256 of the result.
    result: T,
    result_bytes: u64,
    excerpt: T,
    /// How a call was refused, and what was the matter.
    status: T,
    reason: T,
    resolution: Resolution,
    by: Resolver,
    name: T,
    /// The log's id.
    log: T,
    /// The number of the file that this one continues.
    continues: u32,
    /// Ed25519.
    key: T,
    signature: T,
    /// What was moved aside.
    file: T,
    bytes: u64,
    sha256: T,
    /// How many records could not be kept while nothing could be written.
    lost: u64,
}

/// What is to be written.
pub(crate) type Said<'a> = Body<Cow<'a, str>>;

impl<T: Serialize> Body<T> {
    /// The members of the object, without its braces.
    pub(crate) fn members(&self) -> String {
        // What a step of a call comes to, as a rule.
        let mut object = Vec::with_capacity(512);
        // A flat struct of text and numbers always serializes; an empty text is refused by whoever appends it.
        let _infallible = serde_json::to_writer(&mut object, self);
        let mut members = String::from_utf8(object).unwrap_or_default();
        if members.pop().is_some() {
            members.remove(0);
        }
        members
    }
}
