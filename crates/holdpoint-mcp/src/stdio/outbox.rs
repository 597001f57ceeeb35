//! Lines out, in order, as many as there are in one write.

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

const KEPT_BYTES: usize = 1 << 20;
const FULL_BYTES: usize = 256 << 10;

/// Takes lines from anybody at any time; whoever flushes writes what all have pushed.
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    sink: tokio::sync::Mutex<Sink>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many were pushed before these.
    before: u64,
    /// The last line has no end: its sender broke off in the middle of it.
    is_unfinished: bool,
}

/// Where a line stands among all bytes that were ever pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u64);

/// Whether a line reached the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// No byte of it, and none will.
    Never,
    /// Some of it, or all.
    Maybe,
}

struct Sink {
    /// `None`: closed.
    writer: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    leaving: Vec<u8>,
    /// How much of `leaving` is out: a flush may be dropped half-way.
    written: usize,
    /// How many bytes are out since the start.
    out: u64,
}

impl Outbox {
    pub(crate) fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let sink = Sink { writer: Some(Box::new(writer)), leaving: Vec::new(), written: 0, out: 0 };
        Self { waiting: Mutex::default(), sink: tokio::sync::Mutex::new(sink) }
    }

    /// Adds a line as it came: with its line end, unless it is its sender's last.
    pub(crate) fn push(&self, line: &[u8]) -> Place {
        let mut waiting = self.lock();
        let place = Place(waiting.before.saturating_add(waiting.bytes.len() as u64));
        waiting.bytes.extend_from_slice(line);
        waiting.is_unfinished = !line.ends_with(b"\n");
        place
    }

    /// Adds a message of our own.
    pub(crate) fn push_message(&self, message: &[u8]) {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.is_unfinished) {
            // Behind half a line, nobody could read it.
            waiting.bytes.push(b'\n');
        }
        waiting.bytes.extend_from_slice(message);
        waiting.bytes.push(b'\n');
    }

    /// Returns when all that was pushed before is written.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        if self.lock().bytes.is_empty() {
            // Somebody else may still be writing what we pushed; only those who need to know wait for it.
            return Ok(());
        }
        self.settle().await
    }

    /// Like [`Self::flush`], and waits for the writes of others as well.
    pub(crate) async fn settle(&self) -> io::Result<()> {
        let mut sink = self.sink.lock().await;
        let Sink { writer, leaving, written, out } = &mut *sink;
        let writer = writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        loop {
            while let Some(rest) = leaving.get(*written..).filter(|rest| !rest.is_empty()) {
                match writer.write(rest).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => {
                        *written += count;
                        *out = out.saturating_add(count as u64);
                    }
                }
            }
            leaving.clear();
            *written = 0;
            if leaving.capacity() > KEPT_BYTES {
                *leaving = Vec::new();
            }
            self.lock().take(leaving);
            if leaving.is_empty() {
                return writer.flush().await;
            }
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Whether so much waits that who adds more should wait as well.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().bytes.len() > FULL_BYTES
    }

    /// How many bytes wait for the peer to take those before them.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Ends the stream to a peer that is gone. Says whether the line at `place`, pushed here, got through before.
    pub(crate) fn abandon(&self, place: Place) -> Sent {
        // Who is writing now may be writing this very line.
        let Ok(mut sink) = self.sink.try_lock() else {
            return Sent::Maybe;
        };
        sink.writer = None;
        if sink.out <= place.0 { Sent::Never } else { Sent::Maybe }
    }

    /// Ends the stream; later lines go nowhere.
    pub(crate) async fn close(&self) {
        let writer = self.sink.lock().await.writer.take();
        if let Some(mut writer) = writer {
            let _peer_may_be_gone = writer.shutdown().await;
        }
    }

    /// Closes the pipe to a peer that is gone, unless somebody is writing to it.
    pub(crate) fn close_now(&self) {
        if let Ok(mut sink) = self.sink.try_lock() {
            sink.writer = None;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Swaps what waits for the empty `leaving`.
    fn take(&mut self, leaving: &mut Vec<u8>) {
        self.before = self.before.saturating_add(self.bytes.len() as u64);
        std::mem::swap(&mut self.bytes, leaving);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}
