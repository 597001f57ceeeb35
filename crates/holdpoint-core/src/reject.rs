use crate::{EffectKey, EntryName, Refusal, ThreadId};
use std::fmt;

/// Why a call did not run. Safe to show to the agent: no rule text, no reviewer names, no causes.
///
/// Exhaustive on purpose: an adapter that forgets an ending must not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Our configuration says no, or does not fit the call.
    DeniedByConfig {
        /// The entry that says so.
        entry: EntryName,
        /// What does not fit; `None`: the entry denies the call outright.
        problem: Option<String>,
    },
    /// Gate's rules or a reviewer say no.
    Rejected {
        /// The review; `None`: a rule, and there was none.
        thread: Option<ThreadId>,
        /// Their words.
        message: Option<String>,
    },
    /// Nobody decided in time.
    Expired {
        /// The review.
        thread: ThreadId,
        /// Gate's words.
        message: Option<String>,
    },
    /// Nobody has decided yet; the question stays open, and the same call sent again joins it.
    Pending {
        /// The review.
        thread: ThreadId,
        /// Where a person can decide.
        review_url: Option<String>,
    },
    /// The reviewer wants another proposal.
    ChangesRequested {
        /// The review.
        thread: ThreadId,
        /// The reviewer's words.
        message: Option<String>,
    },
    /// No usable answer, or no way to record one.
    Unavailable {
        /// What could not be done.
        what: Unavailable,
        /// The review, if there is one.
        thread: Option<ThreadId>,
    },
    /// Approved, but the approval did not hold up.
    TokenInvalid {
        /// The review.
        thread: ThreadId,
        /// What was wrong with it.
        flaw: Flaw,
    },
    /// Something changed between the question and the run.
    Mismatch {
        /// The review.
        thread: ThreadId,
        /// What.
        what: Mismatch,
    },
    /// The caller withdrew the call.
    Cancelled {
        /// The review, if there is one.
        thread: Option<ThreadId>,
    },
    /// Too many calls are waiting.
    Busy {
        /// The review; the call may be sent again to join it.
        thread: ThreadId,
    },
    /// The call went to the tool, and what came of it is not known.
    OutcomeUnknown {
        /// The review; `None`: nobody was asked.
        thread: Option<ThreadId>,
        /// What it does in the world; `None`: nobody named it.
        effect: Option<EffectKey>,
    },
    /// Another call has had the effect of this one, or was this very call at the same time, and got the result.
    AlreadyDone {
        /// What it does in the world; `None`: nobody named it.
        effect: Option<EffectKey>,
        /// The review of the other call; `None`: nobody was asked.
        thread: Option<ThreadId>,
    },
}

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Asking Gate.
    Ask,
    /// Reading the decision.
    Decision,
    /// Redeeming the token.
    Redemption,
    /// Reading or writing our journal.
    Journal,
    /// Writing the evidence.
    Record,
    /// Anything: the process is about to end.
    Stopping,
}

/// Why an approval was not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A token is required and there was none.
    Missing,
    /// The approval answers another question.
    OtherThread,
    /// The token had expired before it was redeemed.
    Expired,
    /// Gate refused the token.
    Refused(Refusal),
}

impl Flaw {
    /// One word, and the words for the agent.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("token_missing", "it came without a token"),
            Self::OtherThread => ("token_of_another_review", "it was for another review"),
            Self::Expired | Self::Refused(Refusal::Expired) => ("token_expired", "its token had expired"),
            Self::Refused(Refusal::Used) => ("token_used", "its token had been used before"),
            Self::Refused(Refusal::Invalid) => ("token_unknown", "its token is not good for this call"),
        }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The tool's definition.
    Definition,
    /// The payload or revision that the decision is about.
    Payload,
    /// What our configuration makes of the call.
    Configuration,
    /// What the caller may do.
    Principal,
}

/// What the agent can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Send the same call again, later: it joins the question that is already open.
    SameCall,
    /// Sending the same call again asks anew.
    AskAgain,
    /// Propose something else.
    OtherCall,
    /// Nothing; a person has to look first.
    No,
}

impl Retry {
    /// The word in the decision that the agent sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameCall => "same_call",
            Self::AskAgain => "ask_again",
            Self::OtherCall => "other_call",
            Self::No => "no",
        }
    }
}

impl Rejection {
    /// The ending, in one word. The set is stable.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        match self {
            Self::DeniedByConfig { .. } => "denied_by_config",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Pending { .. } => "pending",
            Self::ChangesRequested { .. } => "changes_requested",
            Self::Unavailable { .. } => "unavailable",
            Self::TokenInvalid { .. } => "token_invalid",
            Self::Mismatch { .. } => "mismatch",
            Self::Cancelled { .. } => "cancelled",
            Self::Busy { .. } => "busy",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::AlreadyDone { .. } => "already_done",
        }
    }

    /// What exactly, where the ending alone does not say it. The set is stable.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TokenInvalid { flaw, .. } => Some(flaw.told().0),
            Self::Mismatch { what: Mismatch::Definition, .. } => Some("definition_changed"),
            Self::Mismatch { what: Mismatch::Payload, .. } => Some("other_payload"),
            Self::Mismatch { what: Mismatch::Configuration, .. } => Some("configuration_changed"),
            Self::Mismatch { what: Mismatch::Principal, .. } => Some("caller_changed"),
            Self::DeniedByConfig { .. }
            | Self::Rejected { .. }
            | Self::Expired { .. }
            | Self::Pending { .. }
            | Self::ChangesRequested { .. }
            | Self::Unavailable { .. }
            | Self::Cancelled { .. }
            | Self::Busy { .. }
            | Self::OutcomeUnknown { .. }
            | Self::AlreadyDone { .. } => None,
        }
    }

    /// The review, if there is one.
    #[must_use]
    pub const fn thread(&self) -> Option<&ThreadId> {
        match self {
            Self::DeniedByConfig { .. } => None,
            Self::Rejected { thread, .. }
            | Self::Unavailable { thread, .. }
            | Self::Cancelled { thread }
            | Self::OutcomeUnknown { thread, .. }
            | Self::AlreadyDone { thread, .. } => thread.as_ref(),
            Self::Expired { thread, .. }
            | Self::Pending { thread, .. }
            | Self::ChangesRequested { thread, .. }
            | Self::TokenInvalid { thread, .. }
            | Self::Mismatch { thread, .. }
            | Self::Busy { thread } => Some(thread),
        }
    }

    /// The reviewer's or Gate's words.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Rejected { message, .. }
            | Self::Expired { message, .. }
            | Self::ChangesRequested { message, .. } => message.as_deref(),
            Self::DeniedByConfig { .. }
            | Self::Pending { .. }
            | Self::Unavailable { .. }
            | Self::TokenInvalid { .. }
            | Self::Mismatch { .. }
            | Self::Cancelled { .. }
            | Self::Busy { .. }
            | Self::OutcomeUnknown { .. }
            | Self::AlreadyDone { .. } => None,
        }
    }

    /// Where a person can decide.
    #[must_use]
    pub fn review_url(&self) -> Option<&str> {
        if let Self::Pending { review_url, .. } = self { review_url.as_deref() } else { None }
    }

    /// What the agent can do next.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        match self {
            Self::Pending { .. } | Self::Busy { .. } => Retry::SameCall,
            Self::Unavailable { .. }
            | Self::TokenInvalid { .. }
            | Self::Expired { .. }
            | Self::Cancelled { .. }
            | Self::Mismatch {
                what: Mismatch::Definition | Mismatch::Payload | Mismatch::Configuration,
                ..
            } => Retry::AskAgain,
            Self::Rejected { .. }
            | Self::ChangesRequested { .. }
            | Self::DeniedByConfig { problem: Some(_), .. } => Retry::OtherCall,
            Self::DeniedByConfig { problem: None, .. }
            | Self::Mismatch { what: Mismatch::Principal, .. }
            | Self::OutcomeUnknown { .. }
            | Self::AlreadyDone { .. } => Retry::No,
        }
    }
}

impl fmt::Display for Rejection {
    /// Sentences that a model can act on: what happened, whether the tool ran, what to do next.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeniedByConfig { problem: None, .. } => {
                f.write_str("This tool is not allowed here. It did not run. Do not call it again.")
            }
            Self::DeniedByConfig { problem: Some(problem), .. } => {
                write!(f, "This call cannot be put before a reviewer: {problem}. It did not run. Correct the arguments.")
            }
            Self::Rejected { message, .. } => {
                f.write_str("This call was rejected. It did not run. Do not send it again unchanged.")?;
                words(f, message.as_deref())
            }
            Self::Expired { message, .. } => {
                f.write_str("Nobody decided about this call in time. It did not run. Sending it again asks again.")?;
                words(f, message.as_deref())
            }
            Self::Pending { thread, review_url } => {
                write!(
                    f,
                    "This call waits for a person to approve it (review {thread}). It has not run. To wait on or to \
                     collect the result, call the same tool again with exactly the same arguments.",
                )?;
                review_url.iter().try_for_each(|url| write!(f, " It can be approved at {url}"))
            }
            Self::ChangesRequested { message, .. } => {
                f.write_str("The reviewer asks for changes. The call did not run. Call the tool again with a changed proposal.")?;
                words(f, message.as_deref())
            }
            Self::Unavailable { what, .. } => {
                let what = match what {
                    Unavailable::Ask => "The approval service gave no usable answer",
                    Unavailable::Decision => "The decision could not be read from the approval service",
                    Unavailable::Redemption => "The approval could not be confirmed",
                    Unavailable::Journal | Unavailable::Record => "The call could not be recorded",
                    Unavailable::Stopping => "The approval proxy is about to stop",
                };
                write!(f, "{what}. The call did not run. It may be sent again later.")
            }
            Self::TokenInvalid { flaw, .. } => write!(
                f,
                "The approval of this call was not valid: {}. The call did not run. Sending it again asks for a fresh \
                 decision.",
                flaw.told().1,
            ),
            Self::Mismatch { what: Mismatch::Definition, .. } => f.write_str(
                "The tool's definition changed after this call was put before a reviewer. The call did not run. List \
                 the tools again; sending the call again asks for a fresh decision.",
            ),
            Self::Mismatch { what: Mismatch::Payload, .. } => f.write_str(
                "The decision was about another version of this call. The call did not run. Sending it again asks for \
                 a fresh decision.",
            ),
            Self::Mismatch { what: Mismatch::Configuration, .. } => f.write_str(
                "The rules for this call changed after it was put before a reviewer. The call did not run. Sending it \
                 again asks for a fresh decision.",
            ),
            Self::Mismatch { what: Mismatch::Principal, .. } => f.write_str(
                "The caller's access changed after this call was put before a reviewer. The call did not run.",
            ),
            Self::Cancelled { .. } => f.write_str("This call was cancelled. It did not run."),
            Self::Busy { .. } => {
                f.write_str("Too many calls wait for approval. This one has not run. Send the same call again later.")
            }
            Self::OutcomeUnknown { thread, effect } => {
                let sent = if thread.is_some() { "approved and sent" } else { "sent" };
                write!(f, "This call was {sent} to the tool, but what came of it is not known")?;
                in_brackets(f, thread.as_ref(), effect.as_ref())?;
                f.write_str(". It may have run. Do not send it again; a person has to check.")
            }
            Self::AlreadyDone { effect, thread } => {
                f.write_str("What this call would do has been done by an earlier call")?;
                in_brackets(f, thread.as_ref(), effect.as_ref())?;
                f.write_str(". This call did not run. Do not send it again.")
            }
        }
    }
}

fn words(f: &mut fmt::Formatter<'_>, message: Option<&str>) -> fmt::Result {
    message.iter().try_for_each(|message| write!(f, " Reason given: {message}"))
}

fn in_brackets(
    f: &mut fmt::Formatter<'_>,
    thread: Option<&ThreadId>,
    effect: Option<&EffectKey>,
) -> fmt::Result {
    match (thread, effect) {
        (Some(thread), Some(effect)) => write!(f, " (review {thread}, effect `{effect}`)"),
        (Some(thread), None) => write!(f, " (review {thread})"),
        (None, Some(effect)) => write!(f, " (effect `{effect}`)"),
        (None, None) => Ok(()),
    }
}
