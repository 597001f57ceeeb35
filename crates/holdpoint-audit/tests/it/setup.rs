use async_trait::async_trait;
use holdpoint_audit::{AuditKey, AuditLog, Options, Report, Trust, verify};
use holdpoint_core::{
    CallDigest, Clock, Decision, EffectKey, Event, Facts, Grounds, Hold, HoldId, Owner, PolicyRevision,
    Principal, Ran, RecordError, Recorder as _, Redemption, Secrets, ServerName, StoredResult, TaskId,
    ThreadId, ToolName, What,
};
use jiff::Timestamp;
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::Notify;

/// A folder for one log and its key.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

/// An open log, and the time it knows.
pub(crate) struct Desk {
    pub(crate) log: AuditLog,
    pub(crate) clock: Arc<StillClock>,
}

/// A clock that moves by hand only. Nobody wakes from a sleep unless woken, so nothing happens because a test is slow.
#[derive(Debug)]
pub(crate) struct StillClock(Mutex<Timestamp>, Notify);

impl StillClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()), Notify::new())
    }

    pub(crate) fn pass(&self, milliseconds: u64) {
        *self.0.lock().unwrap() += Duration::from_millis(milliseconds);
    }

    /// Whoever sleeps now has slept for long enough.
    pub(crate) fn wake(&self) {
        self.1.notify_waiters();
    }
}

#[async_trait]
impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, _: Duration) {
        self.1.notified().await;
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.root.path().join("audit")
    }

    pub(crate) fn key(&self) -> AuditKey {
        AuditKey::load_or_make(&self.root.path().join("audit.key")).unwrap()
    }

    pub(crate) async fn open(&self) -> Desk {
        self.open_as("process-1", |_| {}).await
    }

    pub(crate) async fn open_as(&self, owner: &str, change: impl FnOnce(&mut Options)) -> Desk {
        let clock = Arc::new(StillClock::new());
        let mut options = Options::new(Owner(owner.into()), Arc::clone(&clock) as Arc<_>);
        change(&mut options);
        Desk { log: AuditLog::open(&self.folder(), self.key(), options).await.unwrap(), clock }
    }

    /// Checked with the right key.
    pub(crate) fn verify(&self) -> Report {
        verify(&self.folder(), &self.trust()).unwrap()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust { keys: vec![self.key().public()], kept: None }
    }

    /// Checked, and nothing is wrong.
    #[track_caller]
    pub(crate) fn verify_sound(&self) -> Report {
        let report = self.verify();
        assert!(report.is_sound(), "{}", findings(&report).join("\n"));
        report
    }

    pub(crate) fn current(&self) -> PathBuf {
        self.folder().join("current.jsonl")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.current()).unwrap().lines().map(str::to_owned).collect()
    }
}

pub(crate) fn findings(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

impl Desk {
    pub(crate) async fn record(&self, facts: &Facts, what: What<'_>) -> Result<(), RecordError> {
        let at = self.clock.now();
        self.log.record(Event { at, facts, what }).await
    }

    /// A call that a person approved, from proposal to outcome.
    pub(crate) async fn approved(&self, facts: &Facts, id: i64, thread: &str) {
        let hold = hold(thread);
        self.record(facts, What::Proposed).await.unwrap();
        self.record(facts, What::Held { id: HoldId(id), hold: &hold }).await.unwrap();
        self.decided(facts, &hold, Decision::Approved).await;
        self.redeemed(facts, &hold).await;
        self.dispatching(facts, Some(id), &Grounds::Approved(ThreadId::new(thread))).await;
        self.completed(facts, Some(thread)).await;
    }

    pub(crate) async fn decided(&self, facts: &Facts, hold: &Hold, decision: Decision) {
        self.record(facts, What::Decided { hold, decision, message: Some("fine") }).await.unwrap();
    }

    pub(crate) async fn redeemed(&self, facts: &Facts, hold: &Hold) {
        let what = What::Redeemed { hold, token: [7; 32], answer: Some(Redemption::Valid) };
        self.record(facts, what).await.unwrap();
    }

    pub(crate) async fn dispatching(&self, facts: &Facts, id: Option<i64>, grounds: &Grounds) {
        self.record(facts, What::Dispatching { id: id.map(HoldId), grounds }).await.unwrap();
    }

    pub(crate) async fn going_on(&self, facts: &Facts, id: i64, grounds: &Grounds) {
        self.record(facts, What::GoingOn { id: HoldId(id), grounds }).await.unwrap();
    }

    pub(crate) async fn completed(&self, facts: &Facts, thread: Option<&str>) {
        self.answered(facts, thread, Ran::Succeeded).await;
    }

    pub(crate) async fn answered(&self, facts: &Facts, thread: Option<&str>, ran: Ran) {
        let (thread, result) = (thread.map(ThreadId::new), StoredResult::new(&b"{\"ok\":true}"[..]));
        let took = Duration::from_millis(42);
        let what = What::Completed {
            thread: thread.as_ref(),
            ran,
            took,
            result: &result,
            excerpt: Some("refunded"),
        };
        self.record(facts, what).await.unwrap();
    }
}

pub(crate) fn facts(call: u8) -> Facts {
    Facts {
        principal: Principal::new("alice"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        task: TaskId::new("order 7"),
        digest: CallDigest::from_bytes([call; 32]),
        definition: None,
        policy: PolicyRevision::new("p1"),
        effect: None,
        secrets: Secrets::default(),
    }
}

pub(crate) fn with_effect(call: u8, effect: &str) -> Facts {
    Facts { effect: Some(EffectKey::new(effect)), ..facts(call) }
}

pub(crate) fn hold(thread: &str) -> Hold {
    Hold {
        task: TaskId::new("order 7"),
        thread: ThreadId::new(thread),
        binding: "b1".to_owned(),
        review_url: Some(format!("http://gate/threads/{thread}")),
        revision: 0,
    }
}
