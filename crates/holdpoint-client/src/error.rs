use holdpoint_api::TaskIdError;
use std::{error::Error, time::Duration};

type Cause = Box<dyn Error + Send + Sync>;

/// No usable answer. Never holds a body, a token or a key.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection: nothing was sent.
    #[error("gate cannot be reached")]
    Unreachable(#[source] Cause),
    /// No whole answer in time. What was asked may have been done.
    #[error("gate did not answer in time")]
    TimedOut,
    /// The connection broke before the answer was complete. What was asked may have been done.
    #[error("the connection to gate broke before its answer was complete")]
    Broken(#[source] Cause),
    /// Not a 2xx.
    #[error("gate answered with HTTP status {status}")]
    Status {
        /// Which.
        status: u16,
        /// When Gate wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// A 2xx that does not say what the contract makes it say.
    #[error("gate's answer cannot be read (line {line}, column {column})")]
    Unreadable {
        /// Where reading stopped.
        line: usize,
        /// Where reading stopped.
        column: usize,
    },
    /// More than [`ClientSettings::answer_bytes_max`](crate::ClientSettings::answer_bytes_max).
    #[error("gate's answer is larger than {0} bytes")]
    AnswerTooLarge(usize),
    /// A word that this version does not know.
    #[error("gate answered with an unknown status, `{0}`")]
    UnknownStatus(String),
    /// The answer is about something else than what was asked, or contradicts itself.
    #[error("gate's answer contradicts what was asked: {0}")]
    Contradiction(&'static str),
    /// More than [`ClientSettings::request_bytes_max`](crate::ClientSettings::request_bytes_max).
    #[error("the request is larger than {0} bytes")]
    RequestTooLarge(usize),
    /// The task id cannot travel.
    #[error("the task id cannot be used")]
    TaskId(#[from] TaskIdError),
    /// The token cannot be one that Gate made.
    #[error("the approval token has impossible characters")]
    Token,
    /// The URL made of base and path cannot be used.
    #[error("the request cannot be put together")]
    Assemble(#[source] Cause),
    /// What the journal remembers of a hold is not what this client wrote.
    #[error("the hold's binding cannot be read")]
    Binding,
    /// It is not known whether the request opened a thread, and finding out for certain is impossible, so it was not
    /// sent again.
    #[error("gate may or may not have taken the request")]
    OutcomeUnknown(#[source] Box<ClientError>),
    /// The task that polls has gone, with the runtime it ran on.
    #[error("waiting ended with the program")]
    Stopped,
}

impl ClientError {
    /// Whether Gate may have done what it was asked.
    pub(crate) const fn leaves_outcome_open(&self) -> bool {
        match self {
            Self::TimedOut | Self::Broken(_) => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Unreachable(_)
            | Self::Unreadable { .. }
            | Self::AnswerTooLarge(_)
            | Self::UnknownStatus(_)
            | Self::Contradiction(_)
            | Self::RequestTooLarge(_)
            | Self::TaskId(_)
            | Self::Token
            | Self::Assemble(_)
            | Self::Binding
            | Self::OutcomeUnknown(_)
            | Self::Stopped => false,
        }
    }

    /// Whether asking the same again later may bring an answer.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut | Self::Broken(_) => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            Self::Unreadable { .. }
            | Self::AnswerTooLarge(_)
            | Self::UnknownStatus(_)
            | Self::Contradiction(_)
            | Self::RequestTooLarge(_)
            | Self::TaskId(_)
            | Self::Token
            | Self::Assemble(_)
            | Self::Binding
            | Self::OutcomeUnknown(_)
            | Self::Stopped => false,
        }
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }

    /// An unknown word as it may be shown and logged: short, and nothing in it that a terminal obeys.
    pub(crate) fn unknown_status(word: &str) -> Self {
        const SHOWN_MAX: usize = 40;
        Self::UnknownStatus(word.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect())
    }

    /// What an operator can do about it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) => Some("check `STACKSONA_GATE_URL` and that Gate is running"),
            Self::Status { status: 401, .. } => {
                Some("check `STACKSONA_API_KEY`: Gate does not know this key")
            }
            Self::Status { status: 403, .. } => Some(
                "Gate knows the agent and refuses it: it is paused or revoked, or its API or polling is off",
            ),
            Self::Status { status: 300..=399, .. } => {
                Some("`STACKSONA_GATE_URL` points at something that redirects; redirects are not followed")
            }
            Self::Status { status: 413, .. } | Self::RequestTooLarge(_) => {
                Some("map fewer or smaller parameters into the payload")
            }
            Self::Unreadable { .. } => {
                Some("check that `STACKSONA_GATE_URL` points at Gate and not at a page before it")
            }
            Self::OutcomeUnknown(_) => {
                Some("look into Gate's inbox for a thread of this task before trying again")
            }
            Self::Status { .. }
            | Self::TimedOut
            | Self::Broken(_)
            | Self::AnswerTooLarge(_)
            | Self::UnknownStatus(_)
            | Self::Contradiction(_)
            | Self::TaskId(_)
            | Self::Token
            | Self::Assemble(_)
            | Self::Binding
            | Self::Stopped => None,
        }
    }
}

/// The client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be set up, mostly for want of root certificates.
    #[error("the HTTP client cannot be set up")]
    Http(#[source] Cause),
    /// The key does not fit into a header.
    #[error("the API key cannot be sent")]
    Key,
}
