use crate::{
    CallDigest, EntryName, HoldId, Journal, Moved, PolicyRevision, Step, StoredResult, ThreadId, ToolCall,
    flight::{Flight, Landing},
    ports::Clock,
};
use jiff::Timestamp;
use std::{fmt, sync::Arc};

/// A call that may run, once. Only [`crate::Gate::admit`] makes one.
///
/// Neither `Clone` nor `Default` nor serializable, and no public field: see `tests/ui`.
#[derive(Debug)]
#[must_use = "a permitted call that is dropped never runs"]
pub struct PermittedCall {
    call: ToolCall,
    receipt: Receipt,
    completion: Completion,
}

impl PermittedCall {
    pub(crate) fn new(call: ToolCall, receipt: Receipt, completion: Completion) -> Self {
        Self { call, receipt, completion }
    }

    /// The call as it must run: its arguments are the ones that were approved.
    #[must_use]
    pub fn call(&self) -> &ToolCall {
        &self.call
    }

    /// Why it may run.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Gives up the permit for the call to run now. What came of it goes into the [`Completion`].
    pub fn into_parts(self) -> (ToolCall, Receipt, Completion) {
        (self.call, self.receipt, self.completion)
    }
}

/// The record of why a call ran. Evidence, not authority: holding one permits nothing.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What was permitted; `None` where nobody was asked.
    pub digest: Option<CallDigest>,
    /// Why.
    pub grounds: Grounds,
    /// Under which configuration.
    pub policy: PolicyRevision,
    /// When.
    pub at: Timestamp,
}

/// Why a call was permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// Our configuration asks nobody about it.
    Passed(EntryName),
    /// Gate's rules allowed it at once.
    Allowed(EntryName),
    /// A person approved it, and the token was used up for it.
    Approved(ThreadId),
    /// A person approved it; the configuration does without tokens.
    ApprovedWithoutToken(ThreadId),
}

/// Records what came of a permitted call. Dropped without a word, the outcome of a held call is *unknown*.
#[must_use = "dropped without a word, the outcome is unknown"]
pub struct Completion(Option<Record>);

struct Record {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    id: HoldId,
    flight: Flight,
    result_bytes_max: usize,
}

impl Completion {
    /// For calls that no person decided: nothing is recorded.
    pub(crate) const fn unrecorded() -> Self {
        Self(None)
    }

    pub(crate) fn of_hold(
        id: HoldId,
        flight: Flight,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        result_bytes_max: usize,
    ) -> Self {
        Self(Some(Record { journal, clock, id, flight, result_bytes_max }))
    }

    /// Whether the result is wanted: `false` for calls that nobody can come back for.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// The tool answered. Returns when that is recorded; a journal that fails leaves the hold `dispatched`, which
    /// reads as *unknown* later, so the answer may be passed on all the same.
    pub async fn finish(mut self, result: StoredResult) -> Delivery {
        let Some(record) = self.0.take() else {
            return Delivery(None);
        };
        let kept = (result.as_bytes().len() <= record.result_bytes_max).then(|| result.clone());
        let step = Step::Finish { result: kept };
        let moved = record.journal.advance(record.id, step, record.clock.now()).await;
        let flight = record.flight.land_for_delivery(Landing::Ran(result));
        Delivery(matches!(moved, Ok(Moved::Yes)).then_some(Record { flight, ..record }))
    }

    /// The tool's answer is lost: it may have run.
    pub async fn lose(mut self) {
        if let Some(record) = self.0.take() {
            // A write that fails changes nothing: `dispatched` without a live run reads as unknown too.
            let _unchanged = record.journal.advance(record.id, Step::Lose, record.clock.now()).await;
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completion").field(&self.0.as_ref().map(|record| record.id)).finish()
    }
}

/// Says whether the caller got the answer. Dropped without a word, the result is kept for the same call sent again.
#[must_use = "dropped without a word, the result is kept for the next identical call"]
pub struct Delivery(Option<Record>);

impl Delivery {
    pub(crate) fn of_hold(
        id: HoldId,
        flight: Flight,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Some(Record { journal, clock, id, flight, result_bytes_max: 0 }))
    }

    /// Somebody else answers for the delivery.
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    /// The caller has the answer: the same call sent again is a new call.
    pub async fn delivered(mut self) {
        if let Some(record) = self.0.take() {
            // A write that fails keeps the result for one more collection, which runs nothing.
            let _unchanged = record.journal.advance(record.id, Step::Deliver, record.clock.now()).await;
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.0.as_ref().map(|record| record.id)).finish()
    }
}
