//! The journal's contract, as plainly as it can be put.

use super::Operation;
use holdpoint_core::{
    EffectId, EffectKey, EffectRun, EffectState, Found, HeldCall, HoldId, HoldState, Identity, Moved,
    NewEffect, NewHold, Opened, Ran, Resolution, ServerName, Settled, Step, Taken, TaskId, Ticket,
};
use jiff::Timestamp;

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) holds: Vec<HeldCall>,
    /// When each hold last changed.
    changed_at: Vec<Timestamp>,
    pub(super) effects: Vec<EffectRun>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) operations: Vec<holdpoint_core::Operation>,
}

impl Rows {
    pub(super) fn find(&self, identity: &Identity, task: &TaskId) -> Found {
        let (live, ended): (Vec<_>, Vec<_>) =
            self.holds.iter().filter(|row| row.identity == *identity).partition(|row| is_live(row));
        Found {
            live: live.first().map(|row| Box::new((*row).clone())),
            ended: ended.len() as u64,
            revises: self.revises(identity, task).cloned().map(Box::new),
        }
    }

    fn revises(&self, identity: &Identity, task: &TaskId) -> Option<&HeldCall> {
        let last = self.holds.iter().rev().find(|row| {
            row.state == HoldState::ChangesRequested
                && row.hold.task == *task
                && row.identity.principal == identity.principal
                && row.identity.server == identity.server
                && row.identity.tool == identity.tool
        })?;
        let taken_by_another = last.taken_up_by.is_some_and(|digest| digest != identity.digest);
        let has_a_later_one = self.of_thread(last).any(|row| row.hold.revision > last.hold.revision);
        (!taken_by_another && !has_a_later_one).then_some(last)
    }

    fn of_thread<'a>(&'a self, of: &'a HeldCall) -> impl Iterator<Item = &'a HeldCall> {
        self.holds.iter().filter(|row| row.hold.task == of.hold.task && row.hold.thread == of.hold.thread)
    }

    pub(super) fn open(&mut self, new: NewHold) -> Opened {
        if let Some(first) = self.holds.iter().find(|row| row.identity == new.identity && is_live(row)) {
            return Opened::Joined(first.clone());
        }
        let spent = |row: &HeldCall| {
            row.hold.task == new.hold.task
                && row.hold.thread == new.hold.thread
                && (is_live(row) || row.hold.revision == new.hold.revision)
        };
        if self.holds.iter().any(spent) {
            return Opened::Spent;
        }
        let row = HeldCall {
            id: HoldId(number(self.holds.len())),
            state: HoldState::Pending,
            identity: new.identity,
            hold: new.hold,
            arguments: new.arguments,
            definition: new.definition,
            policy: new.policy,
            question: Some(new.question),
            effect: new.effect,
            opened_at: new.at,
            claim: None,
            result: None,
            delivered: false,
            words: None,
            taken_up_by: None,
        };
        self.holds.push(row.clone());
        self.changed_at.push(new.at);
        Opened::Mine(row)
    }

    pub(super) fn advance(&mut self, id: HoldId, step: Step, at: Timestamp) -> Moved {
        let Some(place) = self.holds.iter().position(|row| row.id == id) else {
            return Moved::No;
        };
        if !may_step(&self.holds[place], &step) {
            return Moved::No;
        }
        if matches!(step, Step::Dispatch { .. }) && !self.take_with_hold(place, at) {
            return Moved::No;
        }
        if let Some(settled) = effect_of(&step)
            && let Some(run) = self.effects.iter_mut().find(|run| run.hold == Some(id))
            && settled.from().contains(&run.state)
        {
            run.state = settled.to();
            run.changed_at = at;
        }
        take_step(&mut self.holds[place], step, at);
        self.changed_at[place] = at;
        Moved::Yes
    }

    /// `false`: the hold has an effect, and somebody else has it.
    fn take_with_hold(&mut self, place: usize, at: Timestamp) -> bool {
        let held = self.holds[place].clone();
        let (Some(key), Some((owner, _))) = (held.effect, held.claim) else {
            return true;
        };
        let Identity { principal, server, tool, digest } = held.identity;
        if self.effect(&server, &key).is_some() {
            return false;
        }
        self.effects.push(EffectRun {
            id: EffectId(number(self.effects.len())),
            key,
            state: EffectState::Taken,
            principal,
            server,
            tool,
            digest,
            task: held.hold.task,
            thread: Some(held.hold.thread),
            hold: Some(held.id),
            owner,
            taken_at: at,
            changed_at: at,
        });
        true
    }

    pub(super) fn live(&self, limit: usize) -> Vec<HeldCall> {
        self.holds.iter().filter(|row| is_live(row)).take(limit).cloned().collect()
    }

    pub(super) fn withdrawn(&self, since: Timestamp, limit: usize) -> Vec<HeldCall> {
        let rows = self.holds.iter().zip(&self.changed_at);
        let mut withdrawn: Vec<_> = rows
            .filter(|(row, changed_at)| row.state == HoldState::Cancelled && **changed_at >= since)
            .collect();
        withdrawn.sort_by_key(|(_, changed_at)| **changed_at);
        withdrawn.into_iter().map(|(row, _)| row.clone()).take(limit).collect()
    }

    pub(super) fn effect(&self, server: &ServerName, key: &EffectKey) -> Option<&EffectRun> {
        let is_it =
            |run: &&EffectRun| run.server == *server && run.key == *key && run.state != EffectState::Void;
        self.effects.iter().find(is_it)
    }

    pub(super) fn take_effect(&mut self, new: NewEffect) -> Taken {
        let NewEffect { key, identity, task, owner, at } = new;
        let Identity { principal, server, tool, digest } = identity;
        if let Some(run) = self.effect(&server, &key) {
            return Taken::Theirs(run.clone());
        }
        let id = EffectId(number(self.effects.len()));
        self.effects.push(EffectRun {
            id,
            key,
            state: EffectState::Taken,
            principal,
            server,
            tool,
            digest,
            task,
            thread: None,
            hold: None,
            owner,
            taken_at: at,
            changed_at: at,
        });
        Taken::Mine(id)
    }

    pub(super) fn settle(&mut self, id: EffectId, settled: Settled, at: Timestamp) -> Moved {
        let Some(run) =
            self.effects.iter_mut().find(|run| run.id == id && settled.from().contains(&run.state))
        else {
            return Moved::No;
        };
        run.state = settled.to();
        run.changed_at = at;
        let resolution = match settled {
            Settled::Done => Some(Resolution::Ran),
            Settled::Void => Some(Resolution::DidNotRun),
            Settled::Unknown => None,
        };
        if let (Some(hold), Some(resolution)) = (run.hold, resolution) {
            let _ended_already = self.advance(hold, Step::Resolve(resolution), at);
        }
        Moved::Yes
    }

    pub(super) fn all_effects(&self, limit: usize) -> Vec<EffectRun> {
        let rank = |run: &EffectRun| match run.state {
            EffectState::Unknown => 0,
            EffectState::Taken => 1,
            EffectState::Done | EffectState::Void => 2,
        };
        let mut runs: Vec<_> =
            self.effects.iter().filter(|run| run.state != EffectState::Void).cloned().collect();
        runs.sort_by_key(|run| (rank(run), std::cmp::Reverse((run.changed_at, run.id))));
        runs.truncate(limit);
        runs
    }
}

fn number(before: usize) -> i64 {
    i64::try_from(before).unwrap_or(i64::MAX).saturating_add(1)
}

fn is_live(row: &HeldCall) -> bool {
    match row.state {
        HoldState::Pending | HoldState::Approved | HoldState::Dispatched | HoldState::Unknown => true,
        HoldState::Done => !row.delivered,
        HoldState::Rejected
        | HoldState::Expired
        | HoldState::Cancelled
        | HoldState::ChangesRequested
        | HoldState::Void => false,
    }
}

fn may_step(row: &HeldCall, step: &Step) -> bool {
    step.from().contains(&row.state)
        && match step {
            Step::Claim { stale_before, .. } => {
                row.state == HoldState::Pending || row.claim.as_ref().is_some_and(|(_, at)| at < stale_before)
            }
            Step::Dispatch { owner } => row.claim.as_ref().is_some_and(|(claimed_by, _)| claimed_by == owner),
            Step::Deliver => !row.delivered,
            Step::TakeUp { digest } => row.taken_up_by.is_none_or(|taken_by| taken_by == *digest),
            Step::Finish { .. } | Step::Lose | Step::End { .. } | Step::Resolve(_) => true,
        }
}

/// What a step means for the hold's effect.
const fn effect_of(step: &Step) -> Option<Settled> {
    match step {
        Step::Finish { ran: Ran::Succeeded, .. } | Step::Resolve(Resolution::Ran) => Some(Settled::Done),
        Step::Finish { ran: Ran::Failed, .. } | Step::Lose => Some(Settled::Unknown),
        Step::Resolve(Resolution::DidNotRun) => Some(Settled::Void),
        Step::Claim { .. }
        | Step::Dispatch { .. }
        | Step::End { .. }
        | Step::Deliver
        | Step::TakeUp { .. } => None,
    }
}

fn take_step(row: &mut HeldCall, step: Step, at: Timestamp) {
    row.state = step.to();
    match step {
        Step::Claim { owner, .. } => row.claim = Some((owner, at)),
        Step::Finish { result, .. } => row.result = result,
        Step::Deliver => {
            row.delivered = true;
            row.result = None;
        }
        Step::End { words, .. } => row.words = words,
        Step::TakeUp { digest } => row.taken_up_by = Some(digest),
        Step::Dispatch { .. } | Step::Lose | Step::Resolve(_) => {}
    }
}

pub(super) const fn operation_of(step: &Step) -> Operation {
    match step {
        Step::Claim { .. } => Operation::Claim,
        Step::Dispatch { .. } => Operation::Dispatch,
        Step::Finish { .. } => Operation::Finish,
        Step::Lose => Operation::Lose,
        Step::End { .. } => Operation::End,
        Step::Deliver => Operation::Deliver,
        Step::TakeUp { .. } => Operation::TakeUp,
        Step::Resolve(_) => Operation::Resolve,
    }
}
