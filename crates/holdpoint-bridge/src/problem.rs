//! A request that is no question, as RFC 9457 has it.

use http::StatusCode;

/// Why a request gets no decision. Nothing was asked, and nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(crate) fn bad_request(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unsupported(detail: &str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such decision, or not any more, or it is not yours")
    }

    /// The journal cannot be read or written: nothing is known, so nothing is said.
    pub(crate) fn unrecordable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the journal cannot be read or written; send the same again",
        )
    }
}
