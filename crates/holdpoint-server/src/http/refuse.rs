use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::gate::Refusal;

impl IntoResponse for Refusal {
    /// Plain text, as the agent API's reference has it.
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status(), self.retry_after_seconds());
        let mut response = (status, self.words()).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after } => Some(retry_after.as_secs().saturating_add(1)),
            Self::Busy => Some(1),
            Self::BadRequest(_)
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::TooLarge(_)
            | Self::Internal => None,
        }
    }

    fn words(self) -> String {
        match self {
            Self::BadRequest(words) => words.into_owned(),
            Self::Unauthorized => "missing or invalid API key".to_owned(),
            Self::Forbidden(words) | Self::NotFound(words) => words.to_owned(),
            Self::TooLarge(words) => words,
            Self::TooMany { .. } => "this agent opens threads faster than people can read them".to_owned(),
            Self::Busy => "this Gate is busy or shutting down; nothing was recorded".to_owned(),
            Self::Internal => "something went wrong in this Gate; ask its administrator".to_owned(),
        }
    }
}
