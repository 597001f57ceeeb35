use crate::lock;
use state::State;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

mod feed;
mod script;
mod serve;
mod state;

pub use script::{Decision, Endpoint, Initial, Moment, Recorded, Script};

/// A Gate on a loopback socket that keeps the agent API's contract, except where a test scripts it not to.
///
/// Unscripted, every request opens a thread `THR-00000001`, `THR-00000002`, …; decisions come from
/// [`Self::decide`]; an approval brings a token that is good once; every poll of an approved, unspent thread brings a
/// fresh token and revokes the one before. Dropped, it is gone with all its connections.
#[derive(Debug)]
pub struct ScriptedGate {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

impl ScriptedGate {
    /// The only key it takes.
    pub const KEY: &str = "sg_scripted";

    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        let gate = Self {
            address: listener.local_addr().expect("a bound socket has an address"),
            shared: Arc::new(Shared { state: Mutex::default(), changes: watch::Sender::new(()) }),
            listening: Mutex::new(None),
        };
        gate.listen(listener);
        gate
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses connections and cuts those that are open.
    pub async fn go_down(&self) {
        let listening = lock(&self.listening).take();
        if let Some(task) = listening {
            task.abort();
            // Only when the task is gone is its socket closed.
            task.await.expect_err("the accept loop never ends by itself");
        }
    }

    /// Comes back on the same port, remembering everything.
    pub async fn come_up(&self) {
        self.listen(bind(self.address).await);
    }

    /// Sends `Gate-Long-Poll: SECONDS` with every answer, and holds polls that ask for it; `None`: like the hosted Gate.
    pub fn announce_long_poll(&self, seconds: Option<u64>) {
        self.shared.change(|state| state.long_poll_seconds = seconds);
    }

    /// Sends `Gate-Decision-Feed: 1` with every answer; the feed is there in any case.
    pub fn announce_feed(&self, announce: bool) {
        self.shared.change(|state| state.feed.announced = announce);
    }

    /// Has the feed keep to itself what is decided from now on, as if it were broken.
    pub fn mute_feed(&self, mute: bool) {
        self.shared.change(|state| state.feed.muted = mute);
    }

    /// What to say to requests from now on. `Reject` goes for revisions as well; a thread that is open stays so on `Allow`.
    pub fn set_initial(&self, initial: Initial) {
        self.shared.change(|state| state.initial = initial);
    }

    /// Whether approvals bring tokens; they do unless a test says otherwise.
    pub fn issue_tokens(&self, issue: bool) {
        self.shared.change(|state| state.issues_tokens = issue);
    }

    /// Whether answers carry `payload_digest`; they do unless a test says otherwise.
    pub fn name_digests(&self, name: bool) {
        self.shared.change(|state| state.names.digests = name);
    }

    /// Whether answers carry `revision_id`; they do unless a test says otherwise.
    pub fn name_revisions(&self, name: bool) {
        self.shared.change(|state| state.names.revisions = name);
    }

    /// Whether answers carry `thread_state`; they do unless a test says otherwise.
    pub fn name_states(&self, name: bool) {
        self.shared.change(|state| state.names.states = name);
    }

    /// Whether a reviewer's words stay on a thread when the proposal that they asked for comes; they go unless a test
    /// says otherwise.
    pub fn keep_feedback(&self, keep: bool) {
        self.shared.change(|state| state.keeps_feedback = keep);
    }

    /// What pending answers recommend.
    pub fn recommend_poll_after(&self, seconds: Option<u64>) {
        self.shared.change(|state| state.poll_after_seconds = seconds);
    }

    /// How to answer the next request to `endpoint` that is not scripted yet.
    pub fn script(&self, endpoint: Endpoint, script: Script) {
        self.shared.change(|state| state.scripts.entry(endpoint).or_default().push_back(script));
    }

    /// How to answer every request to `endpoint` that is not scripted one by one; `None`: honestly again.
    pub fn script_all(&self, endpoint: Endpoint, script: Option<Script>) {
        self.shared.change(|state| match script {
            Some(script) => state.scripts_for_all.insert(endpoint, script),
            None => state.scripts_for_all.remove(&endpoint),
        });
    }

    /// Decides a thread. Long polls that wait for it are answered.
    pub fn decide(&self, thread: &str, decision: Decision) {
        self.shared.change(|state| state.decide(thread, decision));
    }

    /// Everything that arrived, in order.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.state).recorded.clone()
    }

    /// What arrived at one endpoint, in order.
    pub fn recorded_at(&self, endpoint: Endpoint) -> Vec<Recorded> {
        self.recorded().into_iter().filter(|request| request.endpoint == Some(endpoint)).collect()
    }

    /// How many requests arrived at one endpoint.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.recorded_at(endpoint).len()
    }

    /// Ids of all threads, in the order they were opened.
    pub fn threads(&self) -> Vec<String> {
        lock(&self.shared.state).threads.iter().map(|thread| thread.id.clone()).collect()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).connections
    }

    /// How many requests are being kept waiting, by a long poll or by [`Script::hang`].
    pub fn kept_waiting(&self) -> usize {
        lock(&self.shared.state).kept_waiting
    }

    /// Resolves when `count` requests have arrived at `endpoint`.
    pub async fn until_count(&self, endpoint: Endpoint, count: usize) {
        let arrived = |state: &State| {
            state.recorded.iter().filter(|request| request.endpoint == Some(endpoint)).count() >= count
        };
        self.shared.until(arrived).await;
    }

    /// Resolves when `count` threads are open.
    pub async fn until_threads(&self, count: usize) {
        self.shared.until(|state| state.threads.len() >= count).await;
    }

    /// Resolves when `count` revisions of `thread` were taken.
    pub async fn until_revised(&self, thread: &str, count: usize) {
        let taken = |state: &State| state.thread(thread).is_some_and(|thread| thread.revised() >= count);
        self.shared.until(taken).await;
    }

    /// Resolves when exactly `count` requests are being kept waiting.
    pub async fn until_kept_waiting(&self, count: usize) {
        self.shared.until(|state| state.kept_waiting == count).await;
    }

    fn listen(&self, listener: TcpListener) {
        let task = tokio::spawn(serve::accept(listener, Arc::clone(&self.shared)));
        *lock(&self.listening) = Some(task);
    }
}

impl Drop for ScriptedGate {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut lock(&self.state));
        self.changes.send_replace(());
        changed
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        while !reached(&lock(&self.state)) {
            changes.changed().await.expect("the sender lives as long as `self`");
        }
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).await.expect("a loopback port is free")
}
