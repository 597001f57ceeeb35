//! The model: what the port's documentation says, as plainly as it can be put.

use std::cmp::Reverse;
use std::sync::Arc;

use holdpoint_core::{
    CallDigest, EffectState, HoldState, Owner, Ran, Resolution, Settled, Step, StoredResult,
};
use jiff::Timestamp;

use super::{Action, at, digest, tickets::ModelTicket};

#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) holds: Vec<ModelHold>,
    pub(super) effects: Vec<ModelEffect>,
    pub(super) tickets: Vec<ModelTicket>,
    /// Seconds; one passes with each transition.
    pub(super) now: i64,
}

#[derive(Clone, Debug)]
pub(super) struct ModelHold {
    pub(super) call: u8,
    pub(super) thread: u8,
    pub(super) revision: u32,
    pub(super) effect: Option<u8>,
    pub(super) state: HoldState,
    pub(super) claim: Option<(Owner, Timestamp)>,
    pub(super) result: Option<StoredResult>,
    pub(super) delivered: bool,
    pub(super) words: Option<Arc<str>>,
    pub(super) taken_up_by: Option<CallDigest>,
    pub(super) changed_at: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct ModelEffect {
    pub(super) name: u8,
    pub(super) state: EffectState,
    pub(super) hold: Option<usize>,
    pub(super) changed_at: Timestamp,
}

/// What a process is told. Holds and effects by their place in the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    #[default]
    Nothing,
    Opened(usize),
    Joined(usize),
    Spent,
    Moved,
    NotMoved,
    Mine(usize),
    Theirs(usize),
    Ticket,
    Refused,
    Forgot(u64),
}

impl ModelHold {
    pub(super) fn is_live(&self) -> bool {
        use HoldState::{Approved, Dispatched, Done, Pending, Unknown};
        matches!(self.state, Pending | Approved | Dispatched | Unknown)
            || (self.state == Done && !self.delivered)
    }
}

impl Rows {
    pub(super) fn apply(&mut self, action: &Action) -> Outcome {
        self.now += 1;
        match action {
            Action::Open { call, thread, revision, effect } => self.open(*call, *thread, *revision, *effect),
            Action::Advance { back, step } => match self.holds.len().checked_sub(back + 1) {
                Some(place) => moved(self.advance(place, step)),
                None => Outcome::Nothing,
            },
            Action::TakeEffect { effect, .. } => match self.had_by(*effect) {
                Some(place) => Outcome::Theirs(place),
                None => Outcome::Mine(self.take(*effect, None)),
            },
            Action::Settle { back, settled } => match self.effects.len().checked_sub(back + 1) {
                Some(place) => moved(self.settle(place, *settled)),
                None => Outcome::Nothing,
            },
            Action::Ticket(action) => self.apply_to_tickets(action),
            Action::Restart => Outcome::Nothing,
        }
    }

    pub(super) fn live_of(&self, call: u8) -> Option<usize> {
        self.holds.iter().position(|hold| hold.call == call && hold.is_live())
    }

    pub(super) fn ended_of(&self, call: u8) -> usize {
        self.holds.iter().filter(|hold| hold.call == call && !hold.is_live()).count()
    }

    pub(super) fn revised_by(&self, call: u8) -> Option<usize> {
        let place = self.holds.iter().rposition(|hold| hold.state == HoldState::ChangesRequested)?;
        let hold = &self.holds[place];
        let is_later = |other: &ModelHold| other.thread == hold.thread && other.revision > hold.revision;
        let is_taken = hold.taken_up_by.is_some_and(|taken_up_by| taken_up_by != digest(call));
        (!is_taken && !self.holds.iter().any(is_later)).then_some(place)
    }

    pub(super) fn had_by(&self, name: u8) -> Option<usize> {
        self.effects.iter().position(|effect| effect.name == name && effect.state != EffectState::Void)
    }

    pub(super) fn withdrawn(&self) -> Vec<usize> {
        let mut places: Vec<_> =
            (0..self.holds.len()).filter(|place| self.holds[*place].state == HoldState::Cancelled).collect();
        places.sort_by_key(|place| self.holds[*place].changed_at);
        places
    }

    pub(super) fn listed_effects(&self) -> Vec<usize> {
        let order = [EffectState::Unknown, EffectState::Taken, EffectState::Done];
        let rank = |place: &usize| order.iter().position(|state| *state == self.effects[*place].state);
        let mut places: Vec<_> = (0..self.effects.len()).filter(|place| rank(place).is_some()).collect();
        places.sort_by_key(|place| (rank(place), Reverse((self.effects[*place].changed_at, *place))));
        places
    }

    fn open(&mut self, call: u8, thread: u8, revision: u32, effect: Option<u8>) -> Outcome {
        if let Some(place) = self.live_of(call) {
            return Outcome::Joined(place);
        }
        let stands_in_the_way =
            |hold: &ModelHold| hold.thread == thread && (hold.is_live() || hold.revision == revision);
        if self.holds.iter().any(stands_in_the_way) {
            return Outcome::Spent;
        }
        self.holds.push(ModelHold {
            call,
            thread,
            revision,
            effect,
            state: HoldState::Pending,
            claim: None,
            result: None,
            delivered: false,
            words: None,
            taken_up_by: None,
            changed_at: at(self.now),
        });
        Outcome::Opened(self.holds.len() - 1)
    }

    fn advance(&mut self, place: usize, step: &Step) -> bool {
        let now = at(self.now);
        let hold = &self.holds[place];
        let is_allowed = match step {
            Step::Claim { stale_before, .. } => hold.claim.as_ref().is_none_or(|(_, at)| at < stale_before),
            Step::Dispatch { owner } => {
                hold.claim.as_ref().is_some_and(|(claimed_by, _)| claimed_by == owner)
                    && hold.effect.is_none_or(|name| self.had_by(name).is_none())
            }
            Step::Deliver => !hold.delivered,
            Step::TakeUp { digest } => hold.taken_up_by.is_none_or(|taken_up_by| taken_up_by == *digest),
            Step::Finish { .. } | Step::Lose | Step::End { .. } | Step::Resolve(_) => true,
        };
        if !is_allowed || !step.from().contains(&hold.state) {
            return false;
        }
        let effect = hold.effect;
        let hold = &mut self.holds[place];
        (hold.state, hold.changed_at) = (step.to(), now);
        match step {
            Step::Claim { owner, .. } => hold.claim = Some((owner.clone(), now)),
            Step::Dispatch { .. } => {
                if let Some(name) = effect {
                    self.take(name, Some(place));
                }
            }
            Step::Finish { result, ran } => {
                hold.result.clone_from(result);
                let settled = match ran {
                    Ran::Succeeded => Settled::Done,
                    Ran::Failed => Settled::Unknown,
                };
                self.settle_of(place, settled);
            }
            Step::Lose => self.settle_of(place, Settled::Unknown),
            Step::End { words, .. } => hold.words.clone_from(words),
            Step::Deliver => (hold.delivered, hold.result) = (true, None),
            Step::TakeUp { digest } => hold.taken_up_by = Some(*digest),
            Step::Resolve(resolution) => self.settle_of(place, (*resolution).into()),
        }
        true
    }

    fn take(&mut self, name: u8, hold: Option<usize>) -> usize {
        self.effects.push(ModelEffect { name, state: EffectState::Taken, hold, changed_at: at(self.now) });
        self.effects.len() - 1
    }

    fn settle_of(&mut self, hold: usize, settled: Settled) {
        if let Some(place) = self.effects.iter().position(|effect| effect.hold == Some(hold)) {
            self.settle(place, settled);
        }
    }

    fn settle(&mut self, place: usize, settled: Settled) -> bool {
        let now = at(self.now);
        let effect = &mut self.effects[place];
        if !settled.from().contains(&effect.state) {
            return false;
        }
        (effect.state, effect.changed_at) = (settled.to(), now);
        let resolution = match settled {
            Settled::Done => Some(Resolution::Ran),
            Settled::Void => Some(Resolution::DidNotRun),
            Settled::Unknown => None,
        };
        if let (Some(hold), Some(resolution)) = (effect.hold, resolution) {
            self.advance(hold, &Step::Resolve(resolution));
        }
        true
    }
}

const fn moved(moved: bool) -> Outcome {
    if moved { Outcome::Moved } else { Outcome::NotMoved }
}
