//! Why a request has no answer of the server's, and what its asker is told instead.

use super::{
    super::session::{Answered, Expect, Session, lock},
    Asked,
};
use crate::{
    catalog::ListError,
    message::{CallFrame, INTERNAL_ERROR},
    reply::{self, Ended},
};
use http::StatusCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Too many requests wait: it was not sent.
    Busy,
    /// No byte of it went out, for certain.
    Unsent,
    /// The server may have read it, and its answer broke off.
    Lost,
    /// The server refused, without a word that the client could read.
    Status(StatusCode),
    /// The server does not know the session any more.
    SessionEnded,
    /// What came back is no message.
    Unreadable(StatusCode),
    /// The answer is longer than is carried.
    TooLong,
}

impl Failure {
    /// For programs and people; never with anything that the server or the configuration said.
    fn problem(self) -> String {
        match self {
            Self::Busy => "too many requests are under way; this one was not sent".into(),
            Self::Unsent => "the tool server could not be reached; nothing was sent".into(),
            Self::Lost => {
                "the connection to the tool server broke off; whether it did what was asked is not known, and the \
                 request was not sent again"
                    .into()
            }
            Self::Status(status) => format!("the tool server answered with HTTP status {status}"),
            Self::SessionEnded => {
                "the tool server has ended the session (HTTP status 404 Not Found); a new one begins with `initialize`"
                    .into()
            }
            Self::Unreadable(status) => {
                format!("what the tool server answered is not JSON-RPC (HTTP status {status})")
            }
            Self::TooLong => "the tool server's answer is longer than is carried".into(),
        }
    }

    /// Whether the server may have done what it was asked.
    const fn to_runner(self) -> Answered {
        match self {
            Self::Busy | Self::Unsent => Answered::Unsent,
            Self::Lost | Self::Status(_) | Self::SessionEnded | Self::Unreadable(_) => Answered::Lost,
            Self::TooLong => Answered::TooLong,
        }
    }

    fn to_asker(self) -> ListError {
        match self {
            Self::Busy | Self::Unsent | Self::Lost => ListError::Unreachable,
            Self::Status(status) => ListError::Refused { status: Some(status.as_u16()), error: None },
            Self::SessionEnded => {
                let error = serde_json::json!({ "code": INTERNAL_ERROR, "message": self.problem() });
                ListError::Refused { status: None, error: Some(format!(r#""error":{error}"#).into_bytes()) }
            }
            Self::Unreadable(_) | Self::TooLong => ListError::Unreadable,
        }
    }

    /// The answer to a tool call of which no record is kept.
    fn to_caller(self, frame: &CallFrame) -> Vec<u8> {
        match self {
            Self::Busy => reply::ended(frame, &Ended::Busy),
            Self::Unsent => reply::ended(frame, &Ended::NotSent),
            Self::Lost | Self::Unreadable(_) => reply::lost(frame),
            Self::Status(status) if status.is_server_error() => {
                let problem = format!("{}; whether the call ran is not known", self.problem());
                reply::error(Some(&frame.id_raw), INTERNAL_ERROR, &problem)
            }
            Self::Status(_) | Self::SessionEnded => {
                reply::error(Some(&frame.id_raw), INTERNAL_ERROR, &self.problem())
            }
            Self::TooLong => reply::ended(frame, &Ended::AnswerTooLarge),
        }
    }
}

impl Session {
    /// Tells whoever waits for the answer that there will be none.
    pub(super) fn no_answer(&self, asked: &Asked, frame: Option<&CallFrame>, failure: Failure) {
        let expect = lock(&self.expected).answers.remove(&asked.key);
        match expect {
            Some(Expect::Own(waits)) => {
                let _may_have_given_up = waits.send(Err(failure.to_asker()));
            }
            Some(Expect::Recorded(runner)) => {
                let _runner_may_have_given_up = runner.send(failure.to_runner());
            }
            Some(Expect::Initialize | Expect::Discovery | Expect::Tools) | None => {
                self.owed.one_less();
                let answer = match frame {
                    Some(frame) => failure.to_caller(frame),
                    None => reply::error(Some(&asked.raw), INTERNAL_ERROR, &failure.problem()),
                };
                self.to_client.push_message(&answer);
            }
        }
    }
}
