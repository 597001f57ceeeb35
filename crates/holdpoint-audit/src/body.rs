//! What a record says, as written and as read. Flat, so that `grep` and `jq` find their way.

use serde::{Deserialize, Serialize};

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
        Withdrawn, TooLate, Resolved, GoingOn,
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
        /// One record's own text. Which members there are depends on `what`.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Body {
            pub(crate) what: Kind,
            $(
                $(#[$doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub(crate) $field: Option<$kind>,
            )+
        }

        impl Body {
            pub(crate) const fn new(what: Kind) -> Self {
                Self { what, $($field: None),+ }
            }
        }
    };
}

body! {
    /// Gate's review.
    thread: String,
    /// The journal's number of the hold.
    hold: i64,
    /// Which proposal of the review.
    revision: u32,
    principal: String,
    server: String,
    tool: String,
    task: String,
    /// Of the call.
    digest: String,
    /// The digest of the tool's definition.
    definition: String,
    /// The configuration in force.
    policy: String,
    effect: String,
    /// What an approval must be about.
    binding: String,
    review_url: String,
    grounds: Grounds,
    /// The configuration's entry, where nobody was asked or the rules allowed it.
    entry: String,
    decision: Decided,
    /// The words of a reviewer or of Gate.
    message: String,
    /// The SHA-256 of the token.
    token: String,
    redemption: Redeemed,
    ran: Ran,
    took_ms: u64,
    /// The SHA-256 of the result.
    result: String,
    result_bytes: u64,
    excerpt: String,
    /// How a call was refused, and what was the matter.
    status: String,
    reason: String,
    resolution: Resolution,
    by: Resolver,
    name: String,
    /// The log's id.
    log: String,
    /// The number of the file that this one continues.
    continues: u32,
    /// Ed25519.
    key: String,
    signature: String,
    /// What was moved aside.
    file: String,
    bytes: u64,
    sha256: String,
    /// How many records could not be kept while nothing could be written.
    lost: u64,
}

impl Body {
    /// The members of the object, without its braces.
    pub(crate) fn members(&self) -> String {
        // A flat struct of text and numbers always serializes; an empty text is refused by whoever appends it.
        let object = serde_json::to_string(self).unwrap_or_default();
        object.trim_start_matches('{').strip_suffix('}').unwrap_or_default().to_owned()
    }
}
