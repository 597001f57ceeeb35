//! Whether what the records tell adds up.
//!
//! A dispatch is recorded while the journal decides whether it happens. A dispatch that lost there is refused behind it, by the
//! same process for the same call; then nothing ran, and it counts for nothing.
//!
//! A tool that asks for more says that it failed so far. What its run is sent after that is the same run, as long as it has not
//! succeeded; and one at a time, as far as one process can tell.

use super::{FINDINGS_MAX, Finding, Flaw, Report};
use crate::{
    body::{Body, Decided, Grounds, Kind, Ran, Redeemed, Resolution, Resolver},
    line::Record,
};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

/// One proposal of a review.
type Proposal = (String, Option<u32>);
/// A name of an effect, and of the server that has it.
type Effect = (String, String);
/// A process, and the digest of a call.
type Call = (Arc<str>, String);

#[derive(Default)]
pub(super) struct Meaning {
    calls: u64,
    runs: u64,
    revisions: HashMap<(String, i64), u32>,
    approved: HashSet<Proposal>,
    redeemed: HashSet<Proposal>,
    /// The last dispatch of each.
    ran: HashMap<Proposal, u64>,
    had: HashMap<Effect, u64>,
    /// Where its tool said that it succeeded.
    finished: HashMap<Proposal, u64>,
    /// Dispatched, and no outcome on record.
    open: HashMap<Call, Dispatch>,
    /// Dispatched, and the outcome is unknown.
    unknown: Vec<Dispatch>,
    overtaken: u64,
    suspicions: Vec<Suspicion>,
}

struct Dispatch {
    seq: u64,
    sent: Sent,
    proposal: Option<Proposal>,
    effect: Option<Effect>,
    /// Who had the effect before.
    had_before: Option<u64>,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Call,
    /// What its tool had asked for.
    More,
}

/// A finding, if the dispatch and the one before it are none that came to nothing.
struct Suspicion {
    seq: u64,
    before: Option<u64>,
    finding: Finding,
}

impl Meaning {
    /// One record, in its place.
    pub(super) fn see(&mut self, (file, line): (&str, u64), record: &Record) {
        let body = &record.body;
        match body.what {
            Kind::Proposed => self.calls += 1,
            Kind::Held | Kind::Joined => {
                if let (Some(thread), Some(hold), Some(revision)) = (&body.thread, body.hold, body.revision) {
                    self.revisions.insert((thread.clone(), hold), revision);
                }
            }
            // With an effect, a dispatch follows.
            Kind::Allowed => self.runs += u64::from(body.effect.is_none()),
            Kind::Decided if body.decision == Some(Decided::Approved) => {
                self.approved.extend(proposals(body));
            }
            Kind::Redeemed if body.redemption == Some(Redeemed::Valid) => {
                self.redeemed.extend(proposals(body));
            }
            Kind::Dispatching => self.dispatch((file, line), record),
            Kind::GoingOn => self.goes_on((file, line), record),
            Kind::Completed => match self.open.remove(&call(record)) {
                Some(dispatch) => {
                    let proposal = dispatch.proposal.filter(|_| body.ran == Some(Ran::Succeeded));
                    self.finished.extend(proposal.map(|proposal| (proposal, dispatch.seq)));
                }
                None => self.suspect(record.envelope.seq, None, (file, line), Flaw::NotDispatched),
            },
            Kind::OutcomeUnknown => match self.open.remove(&call(record)) {
                Some(dispatch) => self.unknown.push(dispatch),
                None => self.suspect(record.envelope.seq, None, (file, line), Flaw::NotDispatched),
            },
            Kind::Refused => self.refused(record),
            Kind::Resolved => self.resolved(record),
            Kind::Decided
            | Kind::Redeemed
            | Kind::Begun
            | Kind::Continued
            | Kind::Checkpoint
            | Kind::Torn
            | Kind::Gap
            | Kind::Withdrawn
            | Kind::TooLate
            | Kind::CallerCreated
            | Kind::CallerRevoked => {}
        }
    }

    /// What is left at the end.
    pub(super) fn conclude(mut self, report: &mut Report) {
        report.calls = self.calls;
        report.runs = self.runs;
        report.open_runs = self.open.len() as u64 + self.unknown.len() as u64 + self.overtaken;
        self.suspicions.sort_by_key(|suspicion| suspicion.seq);
        let room = FINDINGS_MAX.saturating_sub(report.findings.len());
        report.findings.extend(self.suspicions.into_iter().map(|suspicion| suspicion.finding).take(room));
    }

    fn dispatch(&mut self, place: (&str, u64), record: &Record) {
        let (body, seq) = (&record.body, record.envelope.seq);
        self.runs += 1;
        let proposal = self.proposal(body);
        match body.grounds {
            Some(Grounds::Passed) => self.calls += 1,
            Some(Grounds::Allowed) => {}
            Some(Grounds::Approved | Grounds::ApprovedWithoutToken) | None => {
                let thread = body.thread.clone().unwrap_or_default();
                if proposal.as_ref().is_none_or(|proposal| !self.approved.contains(proposal)) {
                    self.suspect(seq, None, place, Flaw::NotApproved { thread: thread.clone() });
                }
                let needs_token = body.grounds != Some(Grounds::ApprovedWithoutToken);
                if needs_token && proposal.as_ref().is_none_or(|proposal| !self.redeemed.contains(proposal)) {
                    self.suspect(seq, None, place, Flaw::NoToken { thread });
                }
            }
        }
        if let Some(proposal) = &proposal
            && let Some(before) = self.ran.insert(proposal.clone(), seq)
        {
            self.suspect(seq, Some(before), place, Flaw::RanTwice { thread: proposal.0.clone(), before });
        }
        let effect = effect(body);
        let had_before = effect.as_ref().and_then(|effect| self.had.insert(effect.clone(), seq));
        if let (Some(before), Some((_, effect))) = (had_before, &effect) {
            self.suspect(seq, Some(before), place, Flaw::EffectTwice { effect: effect.clone(), before });
        }
        let dispatch = Dispatch { seq, sent: Sent::Call, proposal, effect, had_before };
        if self.open.insert(call(record), dispatch).is_some() {
            self.overtaken += 1;
        }
    }

    fn goes_on(&mut self, place: (&str, u64), record: &Record) {
        let (body, seq) = (&record.body, record.envelope.seq);
        let (proposal, thread) = (self.proposal(body), body.thread.clone().unwrap_or_default());
        let open = self.open.get(&call(record)).filter(|dispatch| dispatch.proposal == proposal);
        let begun = proposal.as_ref().and_then(|proposal| self.ran.get(proposal));
        let ended = proposal.as_ref().and_then(|proposal| self.finished.get(proposal));
        match (begun, ended.copied().or(open.map(|dispatch| dispatch.seq))) {
            (None, _) => self.suspect(seq, None, place, Flaw::NotBegun { thread }),
            (Some(_), Some(before)) => {
                self.suspect(seq, Some(before), place, Flaw::NotAsked { thread, before });
            }
            (Some(_), None) => {}
        }
        let dispatch = Dispatch { seq, sent: Sent::More, proposal, effect: effect(body), had_before: None };
        if self.open.insert(call(record), dispatch).is_some() {
            self.overtaken += 1;
        }
    }

    /// The proposal that a dispatch is of: the one that its hold was opened for.
    fn proposal(&self, body: &Body) -> Option<Proposal> {
        let thread = body.thread.clone()?;
        let revision = body.hold.and_then(|hold| self.revisions.get(&(thread.clone(), hold)).copied());
        Some((thread, revision))
    }

    fn refused(&mut self, record: &Record) {
        if let Entry::Occupied(dispatch) = self.open.entry(call(record))
            && dispatch.get().is_denied_by(&record.body)
        {
            let dispatch = dispatch.remove();
            self.take_back(&dispatch);
        }
    }

    fn resolved(&mut self, record: &Record) {
        let body = &record.body;
        let did_not_run = body.resolution == Some(Resolution::DidNotRun);
        if did_not_run && let Some(effect) = effect(body) {
            self.had.remove(&effect);
        }
        if did_not_run && body.by == Some(Resolver::Adapter) {
            self.never_happened(record);
        }
        let is_it = |dispatch: &Dispatch| {
            let thread = dispatch.proposal.as_ref().map(|(thread, _)| thread);
            (thread.is_some() && thread == body.thread.as_ref())
                || (dispatch.effect.is_some() && dispatch.effect == effect(body))
        };
        let open = self.open.iter().find(|(_, dispatch)| is_it(dispatch)).map(|(call, _)| call.clone());
        let found = match open {
            Some(call) => self.open.remove(&call),
            None => self.unknown.iter().position(is_it).map(|at| self.unknown.swap_remove(at)),
        };
        let was_run = found.is_some_and(|dispatch| dispatch.sent == Sent::Call);
        self.runs -= u64::from(was_run && did_not_run).min(self.runs);
    }

    /// A process that died recorded a dispatch which the journal never learned of, and another one has taken over the claim:
    /// the same proposal may be sent for the first time now.
    fn never_happened(&mut self, record: &Record) {
        let by_somebody_else = self.open.iter().filter(|((owner, _), _)| *owner != record.envelope.owner);
        for (_, dispatch) in by_somebody_else {
            if let Some(proposal) = &dispatch.proposal
                && record.body.thread.as_ref() == Some(&proposal.0)
                && self.ran.get(proposal) == Some(&dispatch.seq)
            {
                self.ran.remove(proposal);
            }
        }
    }

    fn take_back(&mut self, dispatch: &Dispatch) {
        let seq = dispatch.seq;
        self.runs = self.runs.saturating_sub(1);
        self.suspicions.retain(|suspicion| suspicion.seq != seq && suspicion.before != Some(seq));
        if let Some(proposal) = &dispatch.proposal
            && self.ran.get(proposal) == Some(&seq)
        {
            self.ran.remove(proposal);
        }
        if let Some(effect) = &dispatch.effect
            && self.had.get(effect) == Some(&seq)
        {
            match dispatch.had_before {
                Some(before) => self.had.insert(effect.clone(), before),
                None => self.had.remove(effect),
            };
        }
    }

    fn suspect(&mut self, seq: u64, before: Option<u64>, (file, line): (&str, u64), flaw: Flaw) {
        if self.suspicions.len() < FINDINGS_MAX {
            let finding = Finding { file: file.to_owned(), line: Some(line), flaw };
            self.suspicions.push(Suspicion { seq, before, finding });
        }
    }
}

impl Dispatch {
    /// Whether that is how a held call is refused whose dispatch lost: another call had the effect, or the journal could not be
    /// written. Calls beside it, of the same process and with the same digest, are refused in other words, or name its own
    /// review where a loser names the winner's.
    fn is_denied_by(&self, refused: &Body) -> bool {
        let (Some((own, _)), Sent::Call) = (&self.proposal, self.sent) else {
            return false;
        };
        let is_own = refused.thread.as_ref() == Some(own);
        match refused.status.as_deref() {
            Some("already_done" | "outcome_unknown") => !is_own,
            Some("token_invalid") => is_own,
            Some("unavailable") => is_own && refused.reason.as_deref() == Some("journal"),
            Some(_) | None => false,
        }
    }
}

/// The proposal that a record names; also without its revision, for dispatches whose hold is older than the log.
fn proposals(body: &Body) -> Vec<Proposal> {
    let thread = body.thread.iter();
    thread.flat_map(|thread| [(thread.clone(), body.revision), (thread.clone(), None)]).collect()
}

fn effect(body: &Body) -> Option<Effect> {
    Some((body.server.clone()?, body.effect.clone()?))
}

fn call(record: &Record) -> Call {
    (record.envelope.owner.clone(), record.body.digest.clone().unwrap_or_default())
}
