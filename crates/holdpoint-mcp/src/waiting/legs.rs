//! A call that waits in legs: what each request of it comes with, and what is said where it would be told to come back.
//!
//! ```text
//! call ─► [link, as soon as it is held] ─► leg 1 ─► leg 2 ─► … ─► leg 9 ─► `pending`
//! ```
//!
//! Between two legs nobody waits, so nothing runs: an approval that comes then is acted on when the client is back.

use super::{
    Declined, LinkFirst, Waiting,
    state::{Kind, LinkShown, Progress, StateKey, Unsealed, kind_of},
};
use crate::{
    message::{CallFrame, CallMessage, Object, text_of},
    reply,
};
use bytes::Bytes;
use holdpoint_core::{CallDigest, Gate, Rejection, ToolCall};
use http::Uri;
use serde_json::{json, value::RawValue};
use std::sync::Arc;

/// The name of our one question.
const APPROVAL: &str = "approval";
/// What is longer is no link for people.
const LINK_BYTES_MAX: usize = 2_048;
/// Names of query parameters that make a link a key.
const SECRET_PARAMETERS: [&str; 8] =
    ["token", "key", "secret", "sig", "signature", "auth", "password", "session"];

/// What a request of a client that was told to come back comes with; our members are not part of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comeback {
    /// Nobody had decided.
    Waits(StillWaits),
    /// The call ran, and its server asked for more.
    GoesOn(GoesOn),
}

/// A request of a client that was told to ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StillWaits {
    state: Box<str>,
    link: LinkAnswer,
}

/// A request that brings what the server asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoesOn {
    pub(crate) state: Box<str>,
    /// The raw `inputResponses`.
    pub(crate) said: Option<Box<str>>,
}

/// What became of the link, if the client says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkAnswer {
    /// Opened, or nothing is said of it. Neither is an approval.
    Opened,
    Declined,
}

impl Comeback {
    /// Takes our members off a call that has them: the call as it was before, and what they said.
    pub(crate) fn take_off(call: &CallMessage<'_>, text: &[u8]) -> Option<(Bytes, Self)> {
        let state = call.extra_member("requestState").and_then(text_of)?;
        let said = call.extra_member("inputResponses");
        let comeback = match kind_of(&state)? {
            Kind::Progress => Self::Waits(StillWaits::new(&state, said)),
            Kind::Question => {
                Self::GoesOn(GoesOn { state: (*state).into(), said: said.map(|raw| raw.get().into()) })
            }
        };
        let call = call.without(text, &["requestState", "inputResponses"])?;
        Some((call.into(), comeback))
    }

    /// What it is, one or the other.
    pub(crate) fn sorted(comeback: Option<Self>) -> (Option<StillWaits>, Option<GoesOn>) {
        match comeback {
            Some(Self::Waits(waits)) => (Some(waits), None),
            Some(Self::GoesOn(goes_on)) => (None, Some(goes_on)),
            None => (None, None),
        }
    }
}

impl StillWaits {
    fn new(state: &str, said: Option<&RawValue>) -> Self {
        let answers = said.and_then(|raw| Object::read(raw.get()).ok());
        let answer = answers.and_then(|answers| Object::read(answers.get(APPROVAL)?.get()).ok());
        let action = answer.and_then(|answer| answer.get("action").and_then(text_of));
        let link = match action.as_deref() {
            Some("decline" | "cancel") => LinkAnswer::Declined,
            // Whatever else it says, it says that the client goes on.
            Some(_) | None => LinkAnswer::Opened,
        };
        Self { state: state.into(), link }
    }
}

/// Where a request stands among the legs of its call.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It waits; in legs, with what is said at the end of this one.
    Waits(Option<Arc<Later>>),
    /// The client's user does not want to see the link: the call ends.
    Declined(Declined),
}

/// What is said to a client whose call would be told to come back.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    key: StateKey,
    gate: Arc<Gate>,
    digest: CallDigest,
    tool: Box<str>,
    /// The leg of this request, from 1.
    leg: u8,
    legs_max: u8,
    link: LinkFirst,
}

impl Later {
    /// Reads what a request came with. The error: it is not ours, or not for this call.
    pub(crate) fn of(
        waiting: &Waiting,
        comeback: Option<&StillWaits>,
        declined: Declined,
        call: &ToolCall,
        (key, gate): (&StateKey, &Arc<Gate>),
    ) -> Result<Turn, Unsealed> {
        let progress = match comeback {
            None => None,
            Some(comeback) => Some(key.open(&comeback.state, &call.digest(), gate.now().as_millisecond())?),
        };
        if let (Some(Progress { link: LinkShown::Now, .. }), Some(LinkAnswer::Declined)) =
            (progress, comeback.map(|comeback| comeback.link))
        {
            return Ok(Turn::Declined(declined));
        }
        let Waiting::Legs { most, link, .. } = waiting else {
            return Ok(Turn::Waits(None));
        };
        let later = Self {
            key: key.clone(),
            gate: Arc::clone(gate),
            digest: call.digest(),
            tool: call.tool.as_str().into(),
            leg: progress.map_or(1, |progress| progress.leg),
            legs_max: *most,
            // Once: whoever came back has seen it, or could not.
            link: if progress.is_none() { *link } else { LinkFirst::No },
        };
        Ok(Turn::Waits(Some(Arc::new(later))))
    }

    /// Whether the client is to be shown `url` as soon as its call is held.
    pub(crate) fn shows(&self, url: Option<&str>) -> bool {
        self.link == LinkFirst::Yes && url.is_some_and(is_fit)
    }

    /// The answer to a call that is `rejected` because nobody has decided yet. `None`: it is told so, as any other ending.
    pub(crate) fn answer(&self, frame: &CallFrame, rejection: &Rejection) -> Option<Vec<u8>> {
        let Rejection::Pending { review_url, .. } = rejection else {
            return None;
        };
        // Who asks again by itself would only find the door closed.
        if self.gate.is_closed() {
            return None;
        }
        let link = review_url.as_deref().filter(|url| self.shows(Some(url)));
        let progress = match link {
            Some(_) => Progress { leg: self.leg, link: LinkShown::Now },
            None => Progress { leg: self.leg.saturating_add(1), link: LinkShown::No },
        };
        if progress.leg > self.legs_max {
            return None;
        }
        let state = self.key.seal(progress, &self.digest, self.gate.now().as_millisecond());
        let mut result = json!({ "resultType": "input_required", "requestState": state });
        if let (Some(url), Some(members)) = (link, result.as_object_mut()) {
            members.insert("inputRequests".into(), json!({ APPROVAL: self.question(url) }));
        }
        Some(reply::answer(&frame.id_raw, format!(r#""result":{result}"#).as_bytes()))
    }

    fn question(&self, url: &str) -> serde_json::Value {
        let tool: String = self.tool.chars().filter(|c| !c.is_control()).take(80).collect();
        let message = format!(
            "A person has to approve this call of `{tool}` before it runs. Open the review? Opening it approves nothing \
             by itself."
        );
        json!({ "method": "elicitation/create", "params": { "mode": "url", "url": url, "message": message } })
    }
}

/// Whether a link may be shown by a client: encrypted outside this machine, and nothing in it that would open a door.
fn is_fit(url: &str) -> bool {
    let Some(parsed) = url.parse::<Uri>().ok().filter(|_| url.len() <= LINK_BYTES_MAX) else {
        return false;
    };
    let (Some(scheme), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else {
        return false;
    };
    let loopback = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
    let encrypted = scheme == "https" || (scheme == "http" && loopback);
    let secret = parsed.query().is_some_and(|query| {
        query.split('&').any(|pair| {
            let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
            SECRET_PARAMETERS.iter().any(|secret| name.contains(secret))
        })
    });
    encrypted && !authority.as_str().contains('@') && !url.contains('#') && !secret
}
