//! One child that runs: what is written to it, and what it says.

use super::{
    ChildLimits,
    answer::Exchange,
    mailbox::{End, Mailbox},
    reading::{Kind, Reading, spliced},
    table::{Call, Era, General, Routed, Table, Token},
};
use crate::{
    message::{INTERNAL_ERROR, IdKey, METHOD_NOT_FOUND, Object},
    outcome::excerpt_of,
    random, reply,
    stdio::{Line, Lines, Outbox, Place, Sent},
};
use futures_util::FutureExt as _;
use holdpoint_core::ServerName;
use serde_json::value::RawValue;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncRead,
    sync::Notify,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// A server that was told of a cancellation may stay silent; after this its answer counts as lost.
const AFTER_CANCEL: Duration = Duration::from_secs(30);
/// Between two looks at whether a child has answered all.
const LOOK: Duration = Duration::from_millis(10);
/// Ids of requests of our own start with this.
const OWN_ID: &str = "\"holdpoint-";
pub(super) const LOG_TARGET: &str = "holdpoint::server";
/// Of a line that is no message, so much is logged.
const SHOWN_CHARS_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) server: ServerName,
    pub(super) limits: Arc<ChildLimits>,
    era: Era,
    outbox: Outbox,
    /// Something waits in the outbox that could not be written at once.
    unwritten: Notify,
    table: Mutex<Table>,
    /// Cancelled by whoever wants the child to end.
    pub(super) stop: CancellationToken,
    /// Requests of many clients are told apart by names of ours, which nobody can guess.
    prefix: String,
    /// Counts what makes lists of tools stale.
    epoch: Arc<AtomicU64>,
}

/// A request did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unasked {
    #[error("the tool server has ended")]
    Over,
    #[error("the tool server has too much to do")]
    Busy,
    #[error("a request with this id is under way")]
    Taken,
}

/// There is a stream already, or none can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStream {
    Taken,
    Over,
}

impl Link {
    pub(super) fn new(
        server: &ServerName,
        limits: &Arc<ChildLimits>,
        era: Era,
        input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
        stop: CancellationToken,
        epoch: &Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            server: server.clone(),
            limits: Arc::clone(limits),
            era,
            outbox: Outbox::new(input),
            unwritten: Notify::new(),
            table: Mutex::new(Table::new(era, limits)),
            stop,
            prefix: random::token().chars().take(12).collect(),
            epoch: Arc::clone(epoch),
        })
    }

    /// Sends requests, each of which is to be answered. `line` is how they look where their own ids are used.
    pub(super) fn ask(
        self: &Arc<Self>,
        requests: &[&Reading<'_>],
        line: &str,
        streams: bool,
    ) -> Result<Exchange, Unasked> {
        let mailbox = Arc::new(Mailbox::default());
        let mut keys = Vec::with_capacity(requests.len());
        let mut changes = Vec::new();
        let names: Vec<Option<String>>;
        {
            let mut table = self.lock();
            self.has_room(&table, requests.len())?;
            table.used = Instant::now();
            names = requests.iter().map(|_| self.name(&mut table)).collect();
            let calls = requests.iter().zip(&names);
            let calls =
                calls.filter_map(|(request, name)| call_of(request, name.as_deref(), &mailbox, streams));
            let calls: Vec<_> = calls.collect();
            for (key, _) in &calls {
                if table.has(key) || keys.contains(key) {
                    return Err(Unasked::Taken);
                }
                keys.push(key.clone());
            }
            for (key, call) in calls {
                table.insert(key, call);
            }
        }
        for (request, name) in requests.iter().zip(&names) {
            if let (Some(id), Some(name)) = (request.id(), name) {
                changes.push((id, &**name));
                changes.extend(request.meta.token.map(|token| (token, &**name)));
            }
        }
        let mut line = spliced(line, &mut changes);
        line.push(b'\n');
        let place = self.outbox.push(&line);
        self.flush();
        Ok(Exchange::new(Arc::clone(self), mailbox, keys, place))
    }

    /// Sends what is not answered.
    pub(super) fn tell(&self, line: &str) -> Result<(), Unasked> {
        let mut table = self.lock();
        self.has_room(&table, 0)?;
        table.used = Instant::now();
        drop(table);
        let mut line = spliced(line, &mut []);
        line.push(b'\n');
        self.outbox.push(&line);
        self.flush();
        Ok(())
    }

    fn has_room(&self, table: &Table, requests: usize) -> Result<(), Unasked> {
        if table.is_over || self.stop.is_cancelled() {
            Err(Unasked::Over)
        } else if table.len().saturating_add(requests) > self.limits.requests_max
            || self.outbox.waiting_bytes() > self.limits.waiting_bytes_max
        {
            Err(Unasked::Busy)
        } else {
            Ok(())
        }
    }

    /// What a request is called at a child of many clients, as raw JSON.
    fn name(&self, table: &mut Table) -> Option<String> {
        match self.era {
            Era::Handshake => None,
            Era::Stateless => Some(format!("\"{}-{}\"", self.prefix, table.number())),
        }
    }

    /// The client withdraws a request. Its answer may come all the same, but need not.
    pub(super) fn cancelled(self: &Arc<Self>, key: IdKey) {
        let Some(mailbox) = self.lock().withdrawn(&key) else {
            return;
        };
        let link: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(AFTER_CANCEL).await;
            if let Some(link) = link.upgrade()
                && link.lock().remove_of(&key, &mailbox)
            {
                mailbox.end(End::GivenUp);
            }
        });
    }

    /// The client of these requests is gone. In the stateless era that withdraws them; in the other one they go on.
    pub(super) fn left(&self, keys: &[IdKey]) {
        if self.era == Era::Handshake {
            return;
        }
        let mut table = self.lock();
        let withdrawn: Vec<_> = keys.iter().filter(|key| table.remove(key).is_some()).collect();
        let is_over = table.is_over;
        drop(table);
        for key in withdrawn {
            self.withdraw(key, is_over);
        }
    }

    /// Tells the child that nobody waits for an answer any more.
    fn withdraw(&self, key: &IdKey, is_over: bool) {
        let IdKey::Text(name) = key else {
            return;
        };
        if is_over {
            return;
        }
        let params = format!(r#"{{"requestId":"{name}","reason":"the client is gone"}}"#);
        let cancelled =
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}"#);
        self.outbox.push_message(cancelled.as_bytes());
        self.flush();
    }

    /// The stream for what belongs to no request.
    pub(super) fn listen(&self) -> Result<Arc<Mailbox>, NoStream> {
        let mut table = self.lock();
        table.used = Instant::now();
        if table.is_over || self.stop.is_cancelled() {
            return Err(NoStream::Over);
        }
        let General { mailbox, is_taken } = &mut table.general;
        if std::mem::replace(is_taken, true) {
            return Err(NoStream::Taken);
        }
        Ok(Arc::clone(mailbox))
    }

    pub(super) fn listened(&self) {
        let mut table = self.lock();
        table.general.is_taken = false;
        table.used = Instant::now();
    }

    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over || self.stop.is_cancelled()
    }

    /// Somebody waits for something before a call is sent here.
    pub(super) fn keep(&self) {
        self.lock().kept += 1;
    }

    pub(super) fn unkeep(&self) {
        let mut table = self.lock();
        table.kept = table.kept.saturating_sub(1);
        table.used = Instant::now();
    }

    /// Whether a line got through before the child ended.
    pub(super) fn abandon(&self, place: Place) -> Sent {
        self.outbox.abandon(place)
    }

    /// Writes what there is, here and now; what the child does not take at once is written by [`Self::write`].
    fn flush(&self) {
        match self.outbox.flush().now_or_never() {
            Some(Ok(())) => {}
            Some(Err(_)) | None => self.unwritten.notify_one(),
        }
    }

    /// Until the child cannot be written to.
    async fn write(&self) {
        loop {
            self.unwritten.notified().await;
            if self.outbox.settle().await.is_err() {
                return;
            }
        }
    }

    /// Until the child closes its side.
    async fn read(self: &Arc<Self>, output: impl AsyncRead + Unpin) {
        let bytes_max = self.limits.line_bytes_max;
        let mut lines = Lines::new(output, bytes_max);
        while lines.fill().await.unwrap_or(false) {
            self.heard_all(&mut lines);
        }
        self.heard_all(&mut lines);
    }

    fn heard_all<R: AsyncRead + Unpin>(&self, lines: &mut Lines<R>) {
        while let Some(line) = lines.next() {
            match line {
                Line::Whole(line) => self.heard(line),
                Line::TooLong(id) => {
                    let bytes_max = self.limits.line_bytes_max;
                    tracing::warn!(server = %self.server, bytes_max, "a message of the server was too long and was dropped");
                    if let Some(id) = id {
                        let problem = format!("the server's answer is longer than {bytes_max} bytes");
                        self.heard(&reply::error(Some(&id), INTERNAL_ERROR, &problem));
                    }
                }
            }
        }
    }

    fn heard(&self, line: &[u8]) {
        let text = std::str::from_utf8(line).unwrap_or_default().trim_ascii();
        let parts = if text.starts_with('[') {
            serde_json::from_str::<Vec<&RawValue>>(text)
                .map(|parts| parts.into_iter().map(RawValue::get).collect())
        } else {
            Ok(vec![text])
        };
        let parts = parts.unwrap_or_default();
        let objects = parts.into_iter().map(|part| Object::read_leniently(part).map(|object| (part, object)));
        match objects.collect::<Result<Vec<_>, _>>() {
            Ok(messages) if !messages.is_empty() => {
                for (text, object) in messages {
                    self.message(text, &object);
                }
            }
            Ok(_) | Err(_) => {
                if !line.trim_ascii().is_empty() {
                    let line = excerpt_of(&String::from_utf8_lossy(line), SHOWN_CHARS_MAX);
                    tracing::warn!(target: LOG_TARGET, server = %self.server, line, "the server wrote what is no message");
                }
            }
        }
    }

    fn message(&self, text: &str, object: &Object<'_>) {
        if memchr::memmem::find(text.as_bytes(), b"list_changed").is_some() {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        let routed = self.lock().route(text, object);
        match routed {
            Routed::Delivered => {}
            Routed::Nobody => {
                tracing::debug!(server = %self.server, "the server said something that belongs to nobody");
            }
            // It asks and does not read: it gets no more answers than it takes.
            Routed::Unanswerable(_) if self.outbox.waiting_bytes() > self.limits.waiting_bytes_max => {}
            Routed::Unanswerable(id) => {
                let problem = "no client can be asked";
                self.outbox.push_message(&reply::error(Some(&id), METHOD_NOT_FOUND, problem));
                self.flush();
            }
            Routed::Overrun(key) => self.overrun(&key),
        }
    }

    fn overrun(&self, key: &IdKey) {
        tracing::warn!(server = %self.server, "a client does not take what the server says; its stream ends");
        if let Some(mailbox) = self.lock().mailbox(key) {
            mailbox.end(End::Overrun);
        }
        self.left(std::slice::from_ref(key));
    }

    /// Drives the child until it ends, or is told to.
    pub(super) async fn drive(self: Arc<Self>, mut child: Running, idle: Option<Duration>) -> Ending {
        if let Some(errors) = child.errors.take() {
            tokio::spawn(super::errors::log(self.server.clone(), errors));
        }
        let limits = Arc::clone(&self.limits);
        let mut pumps = Box::pin(self.pump(child.output));
        let told = tokio::select! {
            biased;
            () = &mut pumps => false,
            () = self.stop.cancelled() => true,
            () = self.until_idle(idle) => true,
        };
        if told {
            tokio::select! {
                () = &mut pumps => {}
                _patience_over = timeout(limits.drain, self.settled()) => {}
            }
            let _patience_over = timeout(limits.grace, self.outbox.close()).await;
            let _patience_over = timeout(limits.grace, &mut pumps).await;
        }
        drop(pumps);
        Ending { told, link: self, process: child.process }
    }

    async fn pump(self: &Arc<Self>, output: impl AsyncRead + Unpin) {
        let mut reading = std::pin::pin!(self.read(output));
        tokio::select! {
            () = &mut reading => {}
            // It may still have something to say.
            () = self.write() => drop(timeout(self.limits.grace, reading).await),
        }
    }

    /// Resolves when the child has answered all that it was asked.
    async fn settled(&self) {
        while self.lock().len() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resolves after the child was told to end, because nobody has used it for so long.
    async fn until_idle(&self, idle: Option<Duration>) {
        let Some(idle) = idle else {
            return std::future::pending().await;
        };
        loop {
            let due = {
                let table = self.lock();
                let now = Instant::now();
                let due = if table.is_in_use() { now + idle } else { table.used + idle };
                if due <= now {
                    self.stop.cancel();
                    return;
                }
                due
            };
            tokio::time::sleep_until(due).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A child that does not run any more, or will not for long.
#[derive(Debug)]
pub(super) struct Ending {
    /// Somebody wanted it to end.
    pub(super) told: bool,
    link: Arc<Link>,
    process: Option<crate::stdio::ServerProcess>,
}

impl Ending {
    /// Nobody gets an answer any more, and nothing of it is left behind.
    pub(super) async fn complete(self) {
        self.link.lock().end(End::Gone);
        self.link.outbox.close_now();
        if let Some(process) = self.process {
            let grace = self.link.limits.grace;
            let patience = if self.told { Duration::ZERO } else { grace };
            let status = process.stop(patience, grace).await;
            tracing::info!(server = %self.link.server, ?status, told = self.told, "a tool server ended");
        }
    }
}

/// The child's half of its pipes.
pub(super) struct Running {
    pub(super) output: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) errors: Option<Box<dyn AsyncRead + Send + Unpin>>,
    pub(super) process: Option<crate::stdio::ServerProcess>,
}

fn call_of(
    request: &Reading<'_>,
    name: Option<&str>,
    mailbox: &Arc<Mailbox>,
    streams: bool,
) -> Option<(IdKey, Call)> {
    let Kind::Request { id, key, .. } = &request.kind else {
        return None;
    };
    let named = name.and_then(IdKey::read);
    let token = request.meta.token.and_then(|raw| {
        let at_child = named.clone().or_else(|| IdKey::read(raw))?;
        Some(Token { at_child, raw: name.map(|_| raw.into()) })
    });
    let call = Call {
        mailbox: Arc::clone(mailbox),
        id: name.map(|_| (*id).into()),
        token,
        // What the server says beside its answers is not for us.
        streams: streams && !id.starts_with(OWN_ID),
        complete: request.meta.is_complete(),
        withdrawn: false,
    };
    Some((named.unwrap_or_else(|| key.clone()), call))
}
