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

    /// A caller has as many open questions as it may. `max` is the operator's; all of a platform's users may be one caller.
    pub(crate) fn too_many_open(max: usize) -> Self {
        let detail = format!(
            "{max} questions of yours are open, and no more may be (`bridge.open_max`); wait for answers, or withdraw some; \
             nobody was asked about this one"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// All callers together have as many as this process goes on with.
    pub(crate) fn too_many_open_here() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many questions are open")
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
