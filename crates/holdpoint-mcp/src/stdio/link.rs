//! A session with a server that answers requests one by one, as streamable HTTP has them.
//!
//! # Rules
//! 1. Each message of the client is the body of a POST of its own, byte for byte without its line end. All of them are
//!    under way at once, but nothing is sent while `initialize` or `notifications/initialized` is: the session is not
//!    known before.
//! 2. Each message of the server, in a JSON body or in an event, becomes one line. Line ends between its tokens become
//!    spaces; nothing else changes. Within one stream their order is kept.
//! 3. Nothing is sent twice, and a session that the server has ended is not opened again behind the client's back.
//!    A stream that breaks off is read on where it stopped, if the server numbered its events; reading runs nothing.
//! 4. Whoever asked gets an answer, from the server or from here: what could not be sent is told apart from what may have
//!    been.
//! 5. In the stateless era a request is withdrawn by closing its stream, and a stream that breaks off takes its request
//!    with it.

mod events;
mod exchange;
mod failure;
mod headers;

use super::outbox::Sent;
use crate::{
    message::{CallFrame, Cancellation, IdKey, Single},
    protocol::SESSION_ID,
    upstream::Upstream,
};
use bytes::Bytes;
use futures_util::{
    future::{AbortHandle, AbortRegistration},
    task::AtomicWaker,
};
use http::{HeaderMap, HeaderValue};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// Requests on the wire; each has a connection of its own.
const ON_THE_WIRE_MAX: usize = 256;
/// Requests that wait for one of these places, and those that have one. Further ones are refused.
const REQUESTS_MAX: usize = 1_024;
/// Notifications and answers under way; the client is not heard before there are fewer.
const WORDS_MAX: usize = 1_024;
/// What waits may occupy.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A request is on the wire so long after its turn came.
const UNTIL_SENT: Duration = Duration::from_millis(100);

/// The way to one server.
pub(super) struct Link {
    upstream: Upstream,
    state: Mutex<State>,
    /// Of whoever sends what waits.
    pump: AtomicWaker,
    room: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    waiting_bytes: usize,
    requests: usize,
    /// As many of these are subscriptions.
    subscriptions: usize,
    on_the_wire: usize,
    words: usize,
    /// Until this one is through, nothing else is sent.
    barrier: Option<Serial>,
    under_way: HashMap<IdKey, UnderWay>,
    session_id: Option<HeaderValue>,
    /// What the last request that named its revision itself named.
    stateless: Option<HeaderValue>,
    serial_last: u64,
    closing: bool,
}

/// Which message, of all that were given to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serial(u64);

/// A request, by its id.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) raw: Box<str>,
    pub(super) key: IdKey,
}

/// What a message is.
#[derive(Debug)]
pub(super) enum Cargo {
    Initialize(Asked),
    Initialized,
    /// A request that is no tool call of the client's.
    Request(Asked),
    /// A request that is answered when nobody wants to hear any more.
    Subscribe(Asked),
    /// A tool call with its permit.
    Call(Arc<CallFrame>),
    Batch(Vec<Asked>),
    /// Withdraws a request.
    Cancel(IdKey),
    /// Another notification, or an answer: nothing comes back.
    Word,
    /// No message: the stream on which the server speaks unasked.
    Listen,
}

/// A message on its way.
#[derive(Debug)]
struct Parcel {
    serial: Serial,
    body: Bytes,
    cargo: Cargo,
}

#[derive(Debug)]
struct UnderWay {
    serial: Serial,
    era: Era,
    since: Instant,
    answered: bool,
    abort: AbortHandle,
}

/// Which of the two protocols a message is said in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Handshake,
    Stateless,
}

/// What became of a request that the client withdrew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withdrawn {
    TellServer,
    NotUnderWay,
    BeforeItWasSent,
    ItsStreamIsClosed,
}

/// There is no room for another request: this one.
struct Full(Serial, Cargo);

impl Cargo {
    /// `None`: there is nothing to send, or it needs a permit.
    pub(super) fn of(messages: &[Single<'_>]) -> Option<Self> {
        match messages {
            [] | [Single::Call(_)] => None,
            [Single::Answer] => Some(Self::Word),
            [Single::Other { method, id, params }] => Some(match (&**method, id.and_then(Asked::read)) {
                ("notifications/cancelled", None) => {
                    let cancellation = params.and_then(|params| Cancellation::read(params.get()));
                    cancellation.map_or(Self::Word, |cancellation| Self::Cancel(cancellation.request))
                }
                ("initialize", Some(asked)) => Self::Initialize(asked),
                ("notifications/initialized", None) => Self::Initialized,
                ("subscriptions/listen", Some(asked)) => Self::Subscribe(asked),
                (_, Some(asked)) => Self::Request(asked),
                (_, None) => Self::Word,
            }),
            many => Some(Self::Batch(many.iter().filter_map(Asked::of).collect())),
        }
    }

    fn asked(&self) -> Vec<Asked> {
        match self {
            Self::Initialize(asked) | Self::Request(asked) | Self::Subscribe(asked) => vec![asked.clone()],
            Self::Call(frame) => vec![Asked { raw: frame.id_raw.clone(), key: frame.id.clone() }],
            Self::Batch(asked) => asked.clone(),
            Self::Initialized | Self::Cancel(_) | Self::Word | Self::Listen => Vec::new(),
        }
    }

    fn frame(&self) -> Option<&CallFrame> {
        match self {
            Self::Call(frame) => Some(frame),
            Self::Initialize(_)
            | Self::Initialized
            | Self::Request(_)
            | Self::Subscribe(_)
            | Self::Batch(_)
            | Self::Cancel(_)
            | Self::Word
            | Self::Listen => None,
        }
    }

    const fn is_request(&self) -> bool {
        match self {
            Self::Initialize(_) | Self::Request(_) | Self::Subscribe(_) | Self::Call(_) => true,
            Self::Batch(asked) => !asked.is_empty(),
            Self::Initialized | Self::Cancel(_) | Self::Word | Self::Listen => false,
        }
    }

    const fn is_barrier(&self) -> bool {
        match self {
            Self::Initialize(_) | Self::Initialized => true,
            Self::Request(_)
            | Self::Subscribe(_)
            | Self::Call(_)
            | Self::Batch(_)
            | Self::Cancel(_)
            | Self::Word
            | Self::Listen => false,
        }
    }
}

impl Asked {
    fn read(raw: &str) -> Option<Self> {
        IdKey::read(raw).map(|key| Self { raw: raw.into(), key })
    }

    fn of(message: &Single<'_>) -> Option<Self> {
        match message {
            Single::Other { id, .. } => id.and_then(Self::read),
            Single::Call(_) | Single::Answer => None,
        }
    }
}

impl Link {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self { upstream, state: Mutex::default(), pump: AtomicWaker::new(), room: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message; it is sent when its turn comes.
    fn push(&self, body: Bytes, cargo: Cargo) -> Result<Serial, Full> {
        let mut state = self.lock();
        state.serial_last = state.serial_last.saturating_add(1);
        let serial = Serial(state.serial_last);
        if cargo.is_request() {
            let bytes = state.waiting_bytes.saturating_add(body.len());
            if state.requests >= REQUESTS_MAX || (bytes > WAITING_BYTES_MAX && !state.waiting.is_empty()) {
                return Err(Full(serial, cargo));
            }
        }
        state.arrives(&cargo);
        state.waiting_bytes = state.waiting_bytes.saturating_add(body.len());
        state.waiting.push_back(Parcel { serial, body, cargo });
        drop(state);
        self.pump.wake();
        Ok(serial)
    }

    /// Resolves when there is room for what the client says next.
    pub(super) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            if self.lock().has_room() {
                return;
            }
            notified.await;
        }
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.pump.wake();
    }

    /// The next message whose turn it is, and how to stop it.
    fn depart(&self) -> Option<(Departure<'_>, AbortRegistration)> {
        let mut state = self.lock();
        let parcel = state.next_departure().and_then(|at| state.waiting.remove(at))?;
        let Parcel { serial, body, cargo } = parcel;
        state.waiting_bytes = state.waiting_bytes.saturating_sub(body.len());
        let (abort, registration) = AbortHandle::new_pair();
        let asked = cargo.asked();
        for asked in &asked {
            let abort = abort.clone();
            let under_way =
                UnderWay { serial, era: Era::Handshake, since: Instant::now(), answered: false, abort };
            state.under_way.insert(asked.key.clone(), under_way);
        }
        if cargo.is_request() {
            state.on_the_wire = state.on_the_wire.saturating_add(1);
        }
        if cargo.is_barrier() {
            state.barrier = Some(serial);
        }
        Some((Departure { link: self, serial, body, cargo, asked }, registration))
    }

    fn can_depart(&self) -> bool {
        self.lock().next_departure().is_some()
    }

    /// Whether nothing more will come: all was said, and answered.
    fn is_over(&self) -> bool {
        let state = self.lock();
        state.closing && state.requests == state.subscriptions && state.words == 0
    }

    fn register(&self, waker: &Waker) {
        self.pump.register(waker);
    }

    /// Notes that `key` was answered. Who may now be sent is sent.
    fn answered(&self, key: &IdKey) {
        let mut state = self.lock();
        let Some(under_way) = state.under_way.get_mut(key) else {
            return;
        };
        under_way.answered = true;
        let serial = under_way.serial;
        if state.barrier == Some(serial) {
            state.barrier = None;
            drop(state);
            self.pump.wake();
        }
    }

    pub(super) fn withdraw(&self, key: &IdKey, has_session: bool) -> Withdrawn {
        let mut state = self.lock();
        let is_it = |parcel: &Parcel| {
            parcel.cargo.asked().iter().any(|asked| asked.key == *key && !parcel.cargo.is_barrier())
        };
        if let Some(at) = state.waiting.iter().position(is_it) {
            // Of a batch, the server can tell the one that is withdrawn from the others.
            if matches!(state.waiting.get(at), Some(Parcel { cargo: Cargo::Batch(_), .. })) {
                return Withdrawn::TellServer;
            }
            state.take_back(at);
            return Withdrawn::BeforeItWasSent;
        }
        match state.under_way.get(key) {
            Some(UnderWay { era: Era::Stateless, abort, .. }) => {
                abort.abort();
                Withdrawn::ItsStreamIsClosed
            }
            Some(UnderWay { era: Era::Handshake, .. }) => Withdrawn::TellServer,
            None if has_session => Withdrawn::TellServer,
            None => Withdrawn::NotUnderWay,
        }
    }

    /// Resolves when the request `key` can be taken to be on the wire: it may have to wait for a connection, while what
    /// withdraws it finds one that is open.
    async fn until_sent(&self, key: &IdKey) {
        let since = self.lock().under_way.get(key).map(|under_way| under_way.since);
        if let Some(since) = since {
            tokio::time::sleep_until(since + UNTIL_SENT).await;
        }
    }

    /// Takes a message back if it is still here; ends its exchange if it is not.
    pub(super) fn abandon(&self, serial: Serial) -> Sent {
        let mut state = self.lock();
        if let Some(at) = state.waiting.iter().position(|parcel| parcel.serial == serial) {
            state.take_back(at);
            return Sent::Never;
        }
        for under_way in state.under_way.values().filter(|under_way| under_way.serial == serial) {
            under_way.abort.abort();
        }
        Sent::Maybe
    }

    /// The server opened a session, or none, in its answer to `initialize`.
    fn opened(&self, headers: &HeaderMap) {
        self.lock().session_id = headers.get(SESSION_ID).cloned();
    }

    fn session_id(&self) -> Option<HeaderValue> {
        self.lock().session_id.clone()
    }
}

impl State {
    fn next_departure(&self) -> Option<usize> {
        if self.barrier.is_some() {
            return None;
        }
        let has_place = self.on_the_wire < ON_THE_WIRE_MAX;
        // Words that follow requests which wait for a place may be what those on the wire wait for.
        let mut before_barrier = self.waiting.iter().enumerate().scan(true, |open, (at, parcel)| {
            let first = at == 0;
            *open &= first || !parcel.cargo.is_barrier();
            open.then_some((at, parcel))
        });
        before_barrier.find(|(_, parcel)| has_place || !parcel.cargo.is_request()).map(|(at, _)| at)
    }

    fn has_room(&self) -> bool {
        self.words < WORDS_MAX && self.waiting_bytes <= WAITING_BYTES_MAX
    }

    fn take_back(&mut self, at: usize) {
        if let Some(parcel) = self.waiting.remove(at) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(parcel.body.len());
            self.leaves(&parcel.cargo);
        }
    }

    fn arrives(&mut self, cargo: &Cargo) {
        if matches!(cargo, Cargo::Subscribe(_)) {
            self.subscriptions = self.subscriptions.saturating_add(1);
        }
        if let Some(count) = self.count_of(cargo) {
            *count = count.saturating_add(1);
        }
    }

    fn leaves(&mut self, cargo: &Cargo) {
        if matches!(cargo, Cargo::Subscribe(_)) {
            self.subscriptions = self.subscriptions.saturating_sub(1);
        }
        if let Some(count) = self.count_of(cargo) {
            *count = count.saturating_sub(1);
        }
    }

    /// Among which it counts; the stream on which the server speaks unasked is nobody's errand.
    const fn count_of(&mut self, cargo: &Cargo) -> Option<&mut usize> {
        if matches!(cargo, Cargo::Listen) {
            None
        } else if cargo.is_request() {
            Some(&mut self.requests)
        } else {
            Some(&mut self.words)
        }
    }
}

/// A message under way. Dropped, it is not any more.
struct Departure<'a> {
    link: &'a Link,
    serial: Serial,
    body: Bytes,
    cargo: Cargo,
    asked: Vec<Asked>,
}

impl Departure<'_> {
    fn is_in(&self, era: Era) {
        let mut state = self.link.lock();
        for asked in &self.asked {
            if let Some(under_way) =
                state.under_way.get_mut(&asked.key).filter(|way| way.serial == self.serial)
            {
                under_way.era = era;
            }
        }
    }

    /// The requests in it that have no answer yet.
    fn unanswered(&self) -> Vec<&Asked> {
        let state = self.link.lock();
        let waits = |asked: &&Asked| {
            state.under_way.get(&asked.key).is_some_and(|way| way.serial == self.serial && !way.answered)
        };
        self.asked.iter().filter(waits).collect()
    }

    fn waits(&self) -> bool {
        !self.unanswered().is_empty()
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        state.leaves(&self.cargo);
        if self.cargo.is_request() {
            state.on_the_wire = state.on_the_wire.saturating_sub(1);
        }
        for asked in &self.asked {
            if state.under_way.get(&asked.key).is_some_and(|way| way.serial == self.serial) {
                state.under_way.remove(&asked.key);
            }
        }
        if state.barrier == Some(self.serial) {
            state.barrier = None;
        }
        drop(state);
        self.link.pump.wake();
        self.link.room.notify_one();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
