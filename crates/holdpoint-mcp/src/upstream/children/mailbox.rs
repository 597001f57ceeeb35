//! What a child says to one stream, until it is taken.

use bytes::Bytes;
use http::StatusCode;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// More than this are not kept, however short they are.
const PARCELS_MAX: usize = 16_384;

/// One message of a child, in the client's own ids.
#[derive(Debug)]
pub(super) enum Parcel {
    /// An answer, and the status that it has in a response of its own.
    Answer(Bytes, StatusCode),
    /// A notification, or a request of the server's.
    Other(Bytes),
}

/// Why no more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// The child is gone.
    #[error("the tool server ended before it answered")]
    Gone,
    /// Its session ended, or its request was cancelled.
    #[error("the request was given up")]
    GivenUp,
    /// The client did not take what it was sent.
    #[error("more was said than the client took")]
    Overrun,
}

#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Parcel>,
    bytes: usize,
    waker: Option<Waker>,
    end: Option<End>,
    /// Nobody will take anything any more.
    is_left: bool,
}

/// Whether there was room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Taken,
    Full,
    /// Nobody is there to take it.
    Left,
}

impl Parcel {
    fn len(&self) -> usize {
        let (Self::Answer(bytes, _) | Self::Other(bytes)) = self;
        bytes.len()
    }
}

impl Mailbox {
    pub(super) fn put(&self, parcel: Parcel, bytes_max: usize) -> Put {
        let mut inner = self.lock();
        if inner.is_left || inner.end.is_some() {
            return Put::Left;
        }
        let bytes = inner.bytes.saturating_add(parcel.len());
        // One message of any size has room.
        if !inner.waiting.is_empty() && (bytes > bytes_max || inner.waiting.len() >= PARCELS_MAX) {
            return Put::Full;
        }
        inner.bytes = bytes;
        inner.waiting.push_back(parcel);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Put::Taken
    }

    /// Makes room for what is newer; `false`: there was nothing to throw away.
    pub(super) fn drop_oldest(&self) -> bool {
        let mut inner = self.lock();
        let oldest = inner.waiting.pop_front();
        inner.bytes = inner.bytes.saturating_sub(oldest.as_ref().map_or(0, Parcel::len));
        oldest.is_some()
    }

    /// What was put before is still there to be taken.
    pub(super) fn end(&self, end: End) {
        let mut inner = self.lock();
        inner.end.get_or_insert(end);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn leave(&self) {
        let mut inner = self.lock();
        inner.is_left = true;
        inner.waiting = VecDeque::new();
        inner.bytes = 0;
    }

    pub(super) fn is_left(&self) -> bool {
        self.lock().is_left
    }

    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Result<Parcel, End>> {
        let mut inner = self.lock();
        if let Some(parcel) = inner.waiting.pop_front() {
            inner.bytes = inner.bytes.saturating_sub(parcel.len());
            return Poll::Ready(Ok(parcel));
        }
        if let Some(end) = inner.end {
            return Poll::Ready(Err(end));
        }
        if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inner.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
