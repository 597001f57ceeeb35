//! The kernel's steps as records.

use crate::{
    AuditLog,
    body::{self, Body, Kind, Said},
    log::Demand,
};
use async_trait::async_trait;
use holdpoint_core::{
    Decision, Event, Facts, Flaw, Grounds, Hold, HoldId, Mismatch, Ran, RecordError, Recorder, Redemption,
    Refusal, Rejection, Resolution, Resolver, StoredResult, Unavailable, What,
};
use sha2::{Digest as _, Sha256};
use std::{borrow::Cow, time::Duration};

#[async_trait]
impl Recorder for AuditLog {
    async fn record(&self, event: Event<'_>) -> Result<(), RecordError> {
        let members = body(&event).members();
        let appended = self.append(event.at, members, demand(&event.what)).await;
        appended.map_err(|error| RecordError(Box::new(error)))
    }
}

/// What hangs on the record. A line brings those before it to the disk, so a run's whole story is there before it starts.
const fn demand(what: &What<'_>) -> Demand {
    match what {
        // A rule decided, or nothing comes of it; or a dispatch follows, which waits for the disk.
        What::Proposed
        | What::Joined { .. }
        | What::Allowed
        | What::Decided { decision: Decision::Approved, .. }
        | What::Redeemed { .. }
        | What::Refused(_)
        | What::Withdrawn { .. }
        | What::TooLate { .. } => Demand::Queued,
        What::Held { .. }
        | What::Decided {
            decision:
                Decision::Rejected | Decision::Expired | Decision::ChangesRequested | Decision::OtherPayload,
            ..
        }
        | What::Completed { .. }
        | What::OutcomeUnknown { .. } => Demand::OnDiskOrLater,
        What::Dispatching { .. } | What::GoingOn { .. } | What::Resolved { .. } => Demand::OnDiskOrNever,
    }
}

fn body<'a>(event: &Event<'a>) -> Said<'a> {
    let facts = event.facts;
    let step = match event.what {
        What::Proposed => Body::new(Kind::Proposed),
        What::Held { id, hold } => waits(Kind::Held, id, hold),
        What::Joined { id, hold } => waits(Kind::Joined, id, hold),
        What::Allowed => Body::new(Kind::Allowed),
        What::Decided { hold, decision, message } => Body {
            decision: Some(decided(decision)),
            message: message.map(|words| facts.secrets.redact(words).into()),
            ..of_hold(Kind::Decided, hold)
        },
        What::Redeemed { hold, token, answer } => Body {
            token: Some(hex::encode(token).into()),
            redemption: Some(redeemed(answer)),
            ..of_hold(Kind::Redeemed, hold)
        },
        What::Dispatching { id, grounds } => dispatching(Kind::Dispatching, id, grounds),
        What::GoingOn { id, grounds } => dispatching(Kind::GoingOn, Some(id), grounds),
        What::Completed { thread, ran, took, result, excerpt } => Body {
            thread: thread.map(|thread| thread.as_str().into()),
            excerpt: excerpt.map(Cow::Borrowed),
            ..completed(ran, took, result)
        },
        What::OutcomeUnknown { thread, took } => Body {
            thread: thread.map(|thread| thread.as_str().into()),
            took_ms: Some(milliseconds(took)),
            ..Body::new(Kind::OutcomeUnknown)
        },
        What::Refused(rejection) => refused(rejection, facts),
        What::Withdrawn { hold } => of_hold(Kind::Withdrawn, hold),
        What::TooLate { hold } => of_hold(Kind::TooLate, hold),
        What::Resolved { thread, resolution, by } => {
            Body { thread: thread.map(|thread| thread.as_str().into()), ..resolved(resolution, by) }
        }
    };
    Body {
        principal: Some(facts.principal.as_str().into()),
        server: Some(facts.server.as_str().into()),
        tool: Some(facts.tool.as_str().into()),
        task: Some(facts.task.as_str().into()),
        digest: Some(facts.digest.to_string().into()),
        definition: facts.definition.map(|definition| definition.to_string().into()),
        policy: Some(facts.policy.as_str().into()),
        effect: facts.effect.as_ref().map(|effect| effect.as_str().into()),
        ..step
    }
}

fn of_hold(what: Kind, hold: &Hold) -> Said<'_> {
    Body { thread: Some(hold.thread.as_str().into()), revision: Some(hold.revision), ..Body::new(what) }
}

fn waits(what: Kind, id: HoldId, hold: &Hold) -> Said<'_> {
    Body {
        hold: Some(id.0),
        binding: Some((&*hold.binding).into()),
        review_url: hold.review_url.as_deref().map(Cow::Borrowed),
        ..of_hold(what, hold)
    }
}

fn dispatching(what: Kind, id: Option<HoldId>, grounds: &Grounds) -> Said<'_> {
    let (word, entry, thread) = match grounds {
        Grounds::Passed(entry) => (body::Grounds::Passed, Some(entry), None),
        Grounds::Allowed(entry) => (body::Grounds::Allowed, Some(entry), None),
        Grounds::Approved(thread) => (body::Grounds::Approved, None, Some(thread)),
        Grounds::ApprovedWithoutToken(thread) => (body::Grounds::ApprovedWithoutToken, None, Some(thread)),
    };
    Body {
        hold: id.map(|id| id.0),
        grounds: Some(word),
        entry: entry.map(|entry| entry.as_str().into()),
        thread: thread.map(|thread| thread.as_str().into()),
        ..Body::new(what)
    }
}

fn completed<'a>(ran: Ran, took: Duration, result: &StoredResult) -> Said<'a> {
    Body {
        ran: Some(match ran {
            Ran::Succeeded => body::Ran::Succeeded,
            Ran::Failed => body::Ran::Failed,
        }),
        took_ms: Some(milliseconds(took)),
        result: Some(hex::encode(Sha256::digest(result.as_bytes())).into()),
        result_bytes: Some(result.as_bytes().len() as u64),
        ..Body::new(Kind::Completed)
    }
}

fn refused<'a>(rejection: &'a Rejection, facts: &Facts) -> Said<'a> {
    Body {
        thread: rejection.thread().map(|thread| thread.as_str().into()),
        status: Some(rejection.status().into()),
        reason: reason(rejection),
        message: rejection.message().map(|words| facts.secrets.redact(words).into()),
        ..Body::new(Kind::Refused)
    }
}

/// What was the matter, where the status does not say it.
fn reason(rejection: &Rejection) -> Option<Cow<'_, str>> {
    let word = match rejection {
        Rejection::DeniedByConfig { problem, .. } => return problem.as_deref().map(Cow::Borrowed),
        Rejection::Unavailable { what, .. } => match what {
            Unavailable::Ask => "ask",
            Unavailable::Decision => "decision",
            Unavailable::Redemption => "redemption",
            Unavailable::Journal => "journal",
            Unavailable::Record => "record",
            Unavailable::Stopping => "stopping",
        },
        Rejection::TokenInvalid { flaw, .. } => match flaw {
            Flaw::Missing => "missing",
            Flaw::OtherThread => "other_thread",
            Flaw::Expired => "expired",
            Flaw::Refused(Refusal::Invalid) => "refused_as_invalid",
            Flaw::Refused(Refusal::Expired) => "refused_as_expired",
            Flaw::Refused(Refusal::Used) => "refused_as_used",
        },
        Rejection::Mismatch { what, .. } => match what {
            Mismatch::Definition => "definition",
            Mismatch::Payload => "payload",
            Mismatch::Configuration => "configuration",
            Mismatch::Principal => "principal",
        },
        Rejection::Rejected { .. }
        | Rejection::Expired { .. }
        | Rejection::Pending { .. }
        | Rejection::ChangesRequested { .. }
        | Rejection::Cancelled { .. }
        | Rejection::Busy { .. }
        | Rejection::OutcomeUnknown { .. }
        | Rejection::AlreadyDone { .. } => return None,
    };
    Some(word.into())
}

fn resolved(resolution: Resolution, by: Resolver<'_>) -> Said<'_> {
    let (by, name) = match by {
        Resolver::Person(name) => (body::Resolver::Person, Some(name.into())),
        Resolver::Tool(name) => (body::Resolver::Tool, Some(name.as_str().into())),
        Resolver::Adapter => (body::Resolver::Adapter, None),
    };
    Body {
        resolution: Some(match resolution {
            Resolution::Ran => body::Resolution::Ran,
            Resolution::DidNotRun => body::Resolution::DidNotRun,
        }),
        by: Some(by),
        name,
        ..Body::new(Kind::Resolved)
    }
}

const fn decided(decision: Decision) -> body::Decided {
    match decision {
        Decision::Approved => body::Decided::Approved,
        Decision::Rejected => body::Decided::Rejected,
        Decision::Expired => body::Decided::Expired,
        Decision::ChangesRequested => body::Decided::ChangesRequested,
        Decision::OtherPayload => body::Decided::OtherPayload,
    }
}

const fn redeemed(answer: Option<Redemption>) -> body::Redeemed {
    match answer {
        Some(Redemption::Valid) => body::Redeemed::Valid,
        Some(Redemption::Refused(Refusal::Invalid)) => body::Redeemed::Invalid,
        Some(Redemption::Refused(Refusal::Expired)) => body::Redeemed::Expired,
        Some(Redemption::Refused(Refusal::Used)) => body::Redeemed::Used,
        None => body::Redeemed::AnswerLost,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
