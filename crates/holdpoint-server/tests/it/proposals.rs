//! The kernel over the real client, before this Gate on a socket: another proposal in the same thread, and what the
//! reviewer sees of it.

use std::sync::Arc;
use std::time::Duration;

use holdpoint_api::ApiKey;
use holdpoint_client::{
    ClientSettings, Closed, GateApprover, GateClient, GateUrl, LocalKey, PlainHttp, Timeline, TimelineOptions,
};
use holdpoint_core::{
    Admission, Arguments, Ask, Caller, EntryName, Gate, GateParts, HoldLimits, NoRecord, Outcome, Owner,
    Plan, PlanError, Policy, PolicyRevision, Principal, Rejection, Secrets, ServerName, TaskId, Tokens,
    ToolCall, ToolName, ToolWarning,
};
use holdpoint_store::{Folder, RevisionId, ThreadId, ThreadQuery, VerdictKind};
use holdpoint_testkit::{ManualClock, MemoryJournal};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Everything;

impl Policy for Everything {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        Ok(Plan::Gate(Box::new(Ask {
            entry: EntryName::new("refunds"),
            workflow_name: "Customer Support".to_owned(),
            task_label: "Refund request".to_owned(),
            tool_name: "issue_refund".to_owned(),
            subject: "Issue a refund".to_owned(),
            preview: None,
            risk_level: None,
            summary: Vec::new(),
            images: Vec::new(),
            payload: RawValue::from_string(call.arguments.raw().unwrap().to_string()).unwrap(),
            tokens: Tokens::Required,
            patience: None,
            effect: None,
            secrets: Secrets::default(),
        })))
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("r1")
    }
}

struct Proxy {
    gate: Arc<Gate>,
    timeline: Timeline,
}

impl Proxy {
    async fn before(world: &World, key: &ApiKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = world.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let url = GateUrl::parse(&url, PlainHttp::LoopbackOnly).unwrap();
        let client = GateClient::new(ClientSettings::new(url, key.clone())).unwrap();
        let approver = Arc::new(GateApprover::new(client, LocalKey::new(&[7; 32])));
        let clock = Arc::new(ManualClock::new());
        let options = TimelineOptions::default();
        let timeline = Timeline::start(approver.clone(), Arc::new(NoRecord), clock.clone(), options);
        let gate = Arc::new(Gate::new(GateParts {
            policy: Arc::new(Everything),
            approver,
            journal: Arc::new(MemoryJournal::new()),
            recorder: Arc::new(timeline.clone()),
            clock,
            owner: Owner("proxy".into()),
            limits: HoldLimits {
                patience: PATIENCE,
                held_max: 16,
                result_bytes_max: 1024,
                result_kept: Duration::from_hours(1),
            },
        }));
        Self { gate, timeline }
    }

    /// What ran, or why nothing did.
    async fn call(&self, amount: u64, patience: Duration) -> Result<String, Rejection> {
        match self.gate.admit_for(refund(amount), Caller::staying(patience)).await? {
            Admission::Run(permitted) => {
                let (call, _, completion) = permitted.into_parts();
                completion.finish(Outcome::succeeded(*b"ok")).await.delivered().await;
                Ok(call.arguments.raw().unwrap().to_string())
            }
            Admission::Replay(..) => panic!("nothing was left to collect"),
        }
    }
}

fn refund(amount: u64) -> ToolCall {
    ToolCall {
        principal: Principal::new("local"),
        server: ServerName::new("payments"),
        tool: ToolName::new("issue_refund"),
        arguments: Arguments::parse(paid(amount).as_str()).unwrap(),
        extra: serde_json::Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("t"),
    }
}

fn paid(amount: u64) -> String {
    format!(r#"{{"amount":{amount}.00}}"#)
}

/// The thread that waits, once its current proposal has this number.
async fn waiting(world: &World, number: i64) -> ThreadId {
    let query = ThreadQuery { folder: Folder::Open, search: String::new(), limit: 10 };
    let found = async {
        loop {
            let open = world.gate.threads(&query).await.unwrap();
            if let [one] = &open[..] {
                let thread = world.gate.thread(&one.id).await.unwrap().unwrap();
                if thread.revision.number == number {
                    return thread.id;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap()
}

/// A call of 900 whose reviewer asks for less.
async fn sent_back(world: &World, proxy: &Proxy) -> ThreadId {
    let (refused, thread) = tokio::join!(proxy.call(900, PATIENCE), async {
        let thread = waiting(world, 1).await;
        world.gate.ask_for_changes(&thread, &RevisionId::new("initial"), "anna", "Less").await.unwrap();
        thread
    });
    assert!(
        matches!(&refused, Err(Rejection::ChangesRequested { message: Some(words), .. }) if words == "Less")
    );
    thread
}

#[tokio::test]
async fn a_revised_call_runs_as_it_was_approved_and_its_thread_tells() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let proxy = Proxy::before(&world, &key).await;
    let thread = sent_back(&world, &proxy).await;
    let (ran, ()) = tokio::join!(proxy.call(400, PATIENCE), async {
        assert_eq!(waiting(&world, 2).await, thread);
        world.decide(thread.as_str(), VerdictKind::Approve, "anna").await;
    });
    assert_eq!(ran.unwrap(), paid(400));

    assert_eq!(proxy.timeline.close(PATIENCE).await, Closed::Empty);
    let page = world.page(&cookie, &format!("/threads/{thread}")).await;
    let (_, timeline) = page.text().split_once("What happened").unwrap();
    for told in [
        "task.started",
        "tool.requested",
        "The agent changed the request",
        "tool.completed",
        "ran, and answered after",
    ] {
        assert!(timeline.contains(told), "{told}");
    }
    // Approved once for one proposal: neither it nor the first one runs again on it.
    for amount in [400, 900] {
        assert!(matches!(proxy.call(amount, SHORT).await, Err(Rejection::Pending { .. })), "{amount}");
    }
}

#[tokio::test]
async fn a_first_proposal_that_is_approved_after_all_runs_neither() {
    let (world, key, _) = World::declared().await;
    let proxy = Proxy::before(&world, &key).await;
    let thread = sent_back(&world, &proxy).await;
    world.decide(thread.as_str(), VerdictKind::Approve, "anna").await;
    let asked_anew = proxy.call(400, SHORT).await;
    assert!(
        matches!(&asked_anew, Err(Rejection::Pending { thread: fresh, .. }) if fresh.as_str() != thread.as_str()),
        "{asked_anew:?}"
    );
    assert!(matches!(proxy.call(900, SHORT).await, Err(Rejection::Pending { .. })));
}

#[tokio::test]
async fn the_rules_reject_a_proposal_that_goes_too_far() {
    let (world, key, _) = World::declared().await;
    let proxy = Proxy::before(&world, &key).await;
    sent_back(&world, &proxy).await;
    assert!(matches!(proxy.call(9000, PATIENCE).await, Err(Rejection::Rejected { thread: Some(_), .. })));
}
