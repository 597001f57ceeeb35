use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;

use super::page::Message;
use crate::gate::GateError;

/// Why a page was not shown.
#[derive(Debug)]
pub(crate) enum PageFailure {
    /// Nobody is signed in; to the sign-in page.
    SignIn,
    /// Nobody is signed in, and the browser may just have kept the cookie back; see [`super::session`].
    ComeAgain,
    /// Nobody is signed in, and this is no page to go to.
    Unauthorized,
    NotFound,
    /// Cannot be read; and what the reader says of it.
    BadForm(StatusCode, String),
    Gate(GateError),
}

impl From<GateError> for PageFailure {
    fn from(error: GateError) -> Self {
        Self::Gate(error)
    }
}

impl IntoResponse for PageFailure {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn => Redirect::to("/sign-in").into_response(),
            Self::ComeAgain => super::sign_in::come_again(),
            Self::Unauthorized => Message::new("You are not signed in")
                .say("Nothing was changed. Sign in, then try again.")
                .link("/sign-in", "Sign in")
                .answer(StatusCode::UNAUTHORIZED),
            Self::NotFound => Message::new("There is nothing here")
                .say("This thread or page does not exist.")
                .link("/", "To the inbox")
                .answer(StatusCode::NOT_FOUND),
            Self::BadForm(status, words) => Message::new("That did not work")
                .say(&words)
                .say("Nothing was changed.")
                .link("/", "To the inbox")
                .answer(match status {
                    StatusCode::PAYLOAD_TOO_LARGE => status,
                    _ => StatusCode::BAD_REQUEST,
                }),
            Self::Gate(error) => {
                tracing::error!(%error, "a page failed");
                Message::new("Something went wrong")
                    .say("This Gate could not do that just now; its log says why.")
                    .link("/", "To the inbox")
                    .answer(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}
