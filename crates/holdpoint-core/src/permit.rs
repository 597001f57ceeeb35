use crate::{
    CallDigest, EffectId, EntryName, Event, Facts, Gate, HoldId, Journal, JournalError, Moved, NewTicket,
    PolicyRevision, Ran, Recorder, Rejection, Resolution, Resolver, Settled, Step, StoredResult, ThreadId,
    Ticket, TicketId, TicketRequest, ToolCall, What,
    flight::{Flight, Landing},
    ports::Clock,
    ticket,
};
use jiff::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

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

/// What a tool answered.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, in the adapter's encoding.
    pub result: StoredResult,
    /// What it says of itself.
    pub ran: Ran,
    /// A short piece of it for people; not redacted yet.
    pub excerpt: Option<String>,
}

impl Outcome {
    /// The tool did what it was asked.
    pub fn succeeded(result: impl Into<Arc<[u8]>>) -> Self {
        Self { result: StoredResult::new(result), ran: Ran::Succeeded, excerpt: None }
    }

    /// The tool says that it failed.
    pub fn failed(result: impl Into<Arc<[u8]>>) -> Self {
        Self { ran: Ran::Failed, ..Self::succeeded(result) }
    }

    /// With a piece of it for people.
    #[must_use]
    pub fn with_excerpt(self, excerpt: Option<String>) -> Self {
        Self { excerpt, ..self }
    }
}

/// Records what came of a permitted call. Dropped without a word, the outcome of a held call, and of one with an effect,
/// is *unknown*.
#[must_use = "dropped without a word, the outcome is unknown"]
pub struct Completion(Option<Box<Record>>);

struct Record {
    journal: Arc<dyn Journal>,
    recorder: Arc<dyn Recorder>,
    clock: Arc<dyn Clock>,
    facts: Facts,
    from: Timestamp,
    run: Run,
    result_bytes_max: usize,
}

enum Run {
    Held {
        id: HoldId,
        thread: ThreadId,
        flight: Flight,
    },
    Effect(EffectId),
    /// What a caller said to the answer of a run that is over for its hold.
    More {
        thread: ThreadId,
        effect: Option<EffectId>,
    },
}

impl Completion {
    /// For calls that no person decided and that have no effect by name: nothing is recorded.
    pub(crate) const fn unrecorded() -> Self {
        Self(None)
    }

    pub(crate) fn of_hold(gate: &Gate, facts: Facts, id: HoldId, thread: ThreadId, flight: Flight) -> Self {
        Self::recorded(gate, facts, Run::Held { id, thread, flight })
    }

    pub(crate) fn of_effect(gate: &Gate, facts: Facts, id: EffectId) -> Self {
        Self::recorded(gate, facts, Run::Effect(id))
    }

    pub(crate) fn of_more(gate: &Gate, facts: Facts, thread: ThreadId, effect: Option<EffectId>) -> Self {
        Self::recorded(gate, facts, Run::More { thread, effect })
    }

    fn recorded(gate: &Gate, facts: Facts, run: Run) -> Self {
        let parts = &gate.parts;
        Self(Some(Box::new(Record {
            journal: Arc::clone(&parts.journal),
            recorder: Arc::clone(&parts.recorder),
            clock: Arc::clone(&parts.clock),
            facts,
            from: parts.clock.now(),
            run,
            result_bytes_max: parts.limits.result_bytes_max,
        })))
    }

    /// Which call it is about; `None`: nothing is recorded of it.
    #[must_use]
    pub fn digest(&self) -> Option<CallDigest> {
        self.0.as_ref().map(|record| record.facts.digest)
    }

    /// Opens a ticket for the caller of a call that a person approved, whose tool asks for more before it answers. `None`: no
    /// person was asked, or the ticket is there already.
    ///
    /// # Errors
    /// It is not on record: nobody may be told its number.
    pub async fn open_ticket(
        &self,
        id: TicketId,
        request: TicketRequest,
        kept: Duration,
    ) -> Result<Option<Ticket>, JournalError> {
        let Some(record) = self.0.as_deref() else {
            return Ok(None);
        };
        let hold = match &record.run {
            Run::Held { id, .. } => *id,
            Run::Effect(_) | Run::More { .. } => return Ok(None),
        };
        let at = record.clock.now();
        let expires_at = ticket::after(at, kept);
        let (principal, server) = (record.facts.principal.clone(), record.facts.server.clone());
        let new = NewTicket { id, principal, server, hold, request, at, expires_at };
        record.journal.open_ticket(new).await.map(Some)
    }

    /// Whether the result is wanted: `false` for calls that nobody can come back for.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// `text` without the secret values of the call. For excerpts: in a text that was cut or escaped before, they are not
    /// found any more.
    #[must_use]
    pub fn redacted(&self, text: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |record| record.facts.secrets.redact(text))
    }

    /// What to tell of the call where its answer is lost; the same call sent again hears the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> Rejection {
        let record = self.0.as_deref();
        Rejection::OutcomeUnknown {
            thread: record.and_then(Record::thread).cloned(),
            effect: record.and_then(|record| record.facts.effect.clone()),
        }
    }

    /// The tool answered. Returns when that is recorded; a journal that fails leaves the hold `dispatched`, which
    /// reads as *unknown* later, so the answer may be passed on all the same.
    pub async fn finish(mut self, outcome: Outcome) -> Delivery {
        let Some(record) = self.0.take() else {
            return Delivery(None);
        };
        let at = record.clock.now();
        record.completed(&outcome, at).await;
        let Outcome { result, ran, .. } = outcome;
        let Record { journal, clock, run, result_bytes_max, .. } = *record;
        match run {
            Run::Held { id, flight, .. } => {
                let kept = (result.as_bytes().len() <= result_bytes_max).then(|| result.clone());
                let moved = journal.advance(id, Step::Finish { result: kept, ran }, at).await;
                let flight = flight.land_for_delivery(Landing::Ran(result));
                let undelivered = || Box::new(Undelivered { journal, clock, id, flight });
                Delivery(matches!(moved, Ok(Moved::Yes)).then(undelivered))
            }
            Run::Effect(id) => {
                let settled = match ran {
                    Ran::Succeeded => Settled::Done,
                    Ran::Failed => Settled::Unknown,
                };
                // A write that fails leaves the effect taken, and everybody else is refused.
                let _unchanged = journal.settle(id, settled, at).await;
                Delivery(None)
            }
            Run::More { effect, .. } => {
                if let (Some(id), Ran::Succeeded) = (effect, ran) {
                    // A write that fails leaves it unknown, as it was.
                    let _unchanged = journal.settle(id, Settled::Done, at).await;
                }
                Delivery(None)
            }
        }
    }

    /// The call was not sent, for certain: nothing can have happened, and the same call is asked about anew. `told` is what
    /// the caller hears. Only for adapters that know that no byte went out.
    pub async fn unsent(mut self, told: StoredResult) {
        let Some(record) = self.0.take() else {
            return;
        };
        let at = record.clock.now();
        if let Run::More { .. } = &record.run {
            // What went before was sent all the same.
            return record.lost(at).await;
        }
        let (thread, resolution) = (record.thread(), Resolution::DidNotRun);
        record.tell(What::Resolved { thread, resolution, by: Resolver::Adapter }, at).await;
        // Writes that fail leave it dispatched, which reads as *unknown*: refused until a person says that nothing ran.
        let Record { journal, run, .. } = *record;
        match run {
            Run::Held { id, mut flight, .. } => {
                let _unchanged = journal.advance(id, Step::Resolve(resolution), at).await;
                flight.land(Landing::Ran(told));
            }
            Run::Effect(id) => {
                let _unchanged = journal.settle(id, Settled::Void, at).await;
            }
            Run::More { .. } => {}
        }
    }

    /// The tool's answer is lost: it may have run.
    pub async fn lose(mut self) {
        if let Some(record) = self.0.take() {
            let at = record.clock.now();
            record.lost(at).await;
            // A write that fails changes nothing: `dispatched` without a live run reads as unknown too.
            let _unchanged = match &record.run {
                Run::Held { id, .. } => record.journal.advance(*id, Step::Lose, at).await,
                Run::Effect(id) => record.journal.settle(*id, Settled::Unknown, at).await,
                Run::More { .. } => Ok(Moved::No),
            };
        }
    }
}

impl Record {
    fn thread(&self) -> Option<&ThreadId> {
        match &self.run {
            Run::Held { thread, .. } | Run::More { thread, .. } => Some(thread),
            Run::Effect(_) => None,
        }
    }

    async fn completed(&self, outcome: &Outcome, at: Timestamp) {
        let excerpt = outcome.excerpt.as_deref().map(|text| self.facts.secrets.redact(text));
        let what = What::Completed {
            thread: self.thread(),
            ran: outcome.ran,
            took: self.took(at),
            result: &outcome.result,
            excerpt: excerpt.as_deref(),
        };
        self.tell(what, at).await;
    }

    async fn lost(&self, at: Timestamp) {
        self.tell(What::OutcomeUnknown { thread: self.thread(), took: self.took(at) }, at).await;
    }

    /// It ran: there is nothing left to refuse.
    async fn tell(&self, what: What<'_>, at: Timestamp) {
        let _too_late = self.recorder.record(Event { at, facts: &self.facts, what }).await;
    }

    fn took(&self, at: Timestamp) -> Duration {
        at.duration_since(self.from).try_into().unwrap_or_default()
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completion").field(&self.0.as_ref().map(|record| &record.facts.digest)).finish()
    }
}

/// Says whether the caller got the answer. Dropped without a word, the result is kept for the same call sent again.
#[must_use = "dropped without a word, the result is kept for the next identical call"]
pub struct Delivery(Option<Box<Undelivered>>);

struct Undelivered {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    id: HoldId,
    #[expect(dead_code, reason = "dropped with the rest, it tells the next identical call to go ahead")]
    flight: Flight,
}

impl Delivery {
    pub(crate) fn of_hold(
        id: HoldId,
        flight: Flight,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Some(Box::new(Undelivered { journal, clock, id, flight })))
    }

    /// Somebody else answers for the delivery.
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    /// The caller has the answer: the same call sent again is a new call.
    pub async fn delivered(self) {
        // A write that fails keeps the result for one more collection, which runs nothing.
        let _unchanged = self.note().await;
    }

    /// The same, and says whether it is on record.
    pub(crate) async fn note(mut self) -> Result<(), JournalError> {
        if let Some(done) = self.0.take() {
            // `No`: somebody else delivered it.
            let (Moved::Yes | Moved::No) =
                done.journal.advance(done.id, Step::Deliver, done.clock.now()).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delivery").field(&self.0.as_ref().map(|done| done.id)).finish()
    }
}
