//! A client's word that it does not wait for a request any more.

use super::{IdKey, Object, text_of};
use holdpoint_core::InterestHandle;

/// Words in the reasons of clients whose own clock ran out. The SDKs say so; nothing else of a reason is read.
const CLOCK: [&str; 4] = ["timed out", "timeout", "time-out", "deadline exceeded"];

/// `notifications/cancelled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cancellation {
    pub(crate) request: IdKey,
    pub(crate) reason: Reason,
}

/// Why a client does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It does not want the call any more, or does not say.
    Withdrawn,
    /// It waited for as long as it does. It may well send the call again.
    OutOfTime,
}

impl Reason {
    /// Tells the kernel of a call that waits. Without a session, as the stateless era has none, giving up is withdrawing: who
    /// closes a stream there says no reason.
    pub(crate) fn tell(self, handle: &InterestHandle, modern: bool) {
        match self {
            Self::OutOfTime if !modern => handle.gone(),
            Self::OutOfTime | Self::Withdrawn => handle.cancel(),
        }
    }
}

impl Cancellation {
    /// From the `params`; `None`: it names no request.
    pub(crate) fn read(params: &str) -> Option<Self> {
        let params = Object::read(params).ok()?;
        let request = IdKey::read(params.get("requestId")?.get())?;
        let reason = params.get("reason").and_then(text_of).map(|reason| reason.to_ascii_lowercase());
        let of_the_clock = reason.is_some_and(|reason| CLOCK.iter().any(|words| reason.contains(words)));
        let reason = if of_the_clock { Reason::OutOfTime } else { Reason::Withdrawn };
        Some(Self { request, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cancellation, Reason};

    #[test]
    fn only_a_clock_that_ran_out_is_no_withdrawal() {
        let of = |reason: &str| {
            Cancellation::read(&format!(r#"{{"requestId":1{reason}}}"#))
                .map(|cancellation| cancellation.reason)
        };
        for reason in [
            r#","reason":"McpError: MCP error -32001: Request timed out""#,
            r#","reason":"SdkError: Request timed out""#,
            r#","reason":"timed out after 3.0s""#,
            r#","reason":"request timeout""#,
            r#","reason":"context deadline exceeded""#,
        ] {
            assert_eq!(of(reason), Some(Reason::OutOfTime), "{reason}");
        }
        for reason in ["", r#","reason":null"#, r#","reason":7"#, r#","reason":"the user pressed stop""#] {
            assert_eq!(of(reason), Some(Reason::Withdrawn), "{reason}");
        }
        assert_eq!(Cancellation::read(r#"{"reason":"timed out"}"#), None);
        assert_eq!(Cancellation::read(r#"{"requestId":1,"requestId":2}"#), None);
    }
}
