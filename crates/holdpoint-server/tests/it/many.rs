//! One client that holds many calls at once, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use holdpoint_api::ApiKey;
use holdpoint_client::{ClientSettings, GateApprover, GateClient, GateUrl, LocalKey, PlainHttp};
use holdpoint_core::{
    Answer, Approver, Ask, CallDigest, EntryName, Hold, Redemption, Repeat, Secrets, Submission, TaskId,
    Tokens,
};
use holdpoint_store::{ThreadId, VerdictKind};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::world::{World, declaration};

/// Far more than one client's long polls and short polls at once.
const HOLDS: u32 = 600;
const PATIENCE: Duration = Duration::from_mins(5);
/// Well below every interval at which a hold would be polled without a ring.
const AT_ONCE: Duration = Duration::from_millis(900);

fn ask() -> Ask {
    Ask {
        entry: EntryName::new("refunds"),
        workflow_name: "Customer Support".to_owned(),
        task_label: "Refund request".to_owned(),
        tool_name: "issue_refund".to_owned(),
        subject: "Issue refund of $500".to_owned(),
        preview: None,
        risk_level: None,
        summary: Vec::new(),
        images: Vec::new(),
        payload: RawValue::from_string(r#"{"amount":500}"#.to_owned()).unwrap(),
        tokens: Tokens::Required,
        patience: None,
        effect: None,
        secrets: Secrets::default(),
    }
}

async fn serve(world: &World, key: &ApiKey) -> GateApprover {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = GateUrl::parse(&format!("http://{}", listener.local_addr().unwrap()), PlainHttp::LoopbackOnly);
    let router = world.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = GateClient::new(ClientSettings::new(url.unwrap(), key.clone())).unwrap();
    GateApprover::new(client, LocalKey::new(&[7; 32]))
}

async fn submitted(approver: &GateApprover, number: u32) -> Hold {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    let repeat = Repeat { digest: CallDigest::from_bytes(digest), ended: 0 };
    match approver.submit(&ask(), &TaskId::new(format!("task-{number}")), repeat).await {
        Ok(Submission::Held(hold)) => hold,
        other => panic!("{other:?}"),
    }
}

/// Opens the holds, a few at a time.
async fn many(approver: &GateApprover) -> Vec<Hold> {
    let mut holds = Vec::new();
    let numbers: Vec<u32> = (0..HOLDS).collect();
    for chunk in numbers.chunks(50) {
        holds.extend(join_all(chunk.iter().map(|number| submitted(approver, *number))).await);
    }
    holds
}

async fn approve(world: &World, hold: &Hold) {
    world.decide(ThreadId::new(hold.thread.as_str()).as_str(), VerdictKind::Approve, "anna").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_holds_many_calls_and_each_hears_at_once() {
    let world = World::with(|options| {
        options.limits.threads_burst = HOLDS;
        // Nobody but the feed may wait: this client needs one place, however much it holds.
        options.limits.waiters_max = 0;
        options.limits.feeds_max = 1;
    })
    .await;
    let key = world.apply(&declaration()).await.remove(0);
    let approver = Arc::new(serve(&world, &key).await);
    let holds = many(&approver).await;
    let mut waits: Vec<_> = holds
        .iter()
        .map(|hold| {
            let (approver, hold) = (Arc::clone(&approver), hold.clone());
            tokio::spawn(async move { (approver.wait(&hold, PATIENCE).await, Instant::now()) })
        })
        .collect();
    // Until all were read once and rest.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let mut delays = Vec::new();
    for (hold, wait) in holds.iter().zip(&mut waits).step_by(20) {
        let decided_at = Instant::now();
        approve(&world, hold).await;
        let (answer, heard_at) = timeout(PATIENCE, wait).await.unwrap().unwrap();
        let Ok(Answer::Approved(approval)) = answer else { panic!("{answer:?}") };
        assert_eq!(approval.hold, *hold);
        let token = approval.token.unwrap();
        assert!(matches!(approver.redeem(&hold.task, &token).await, Ok(Redemption::Valid)));
        delays.push(heard_at - decided_at);
    }
    delays.sort();
    let (median, slowest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!("{HOLDS} holds: from click to decision {median:?} (median), {slowest:?} (slowest)");
    assert!(median < AT_ONCE, "{median:?}");

    // The rest in one go: all are heard, none twice.
    let rest: Vec<_> = waits.into_iter().enumerate().filter(|(at, _)| at % 20 != 0).collect();
    let decided_at = Instant::now();
    for chunk in rest.chunks(200) {
        join_all(chunk.iter().map(|(at, _)| approve(&world, &holds[*at]))).await;
    }
    println!("deciding took {:?}", decided_at.elapsed());
    for (at, wait) in rest {
        let (answer, _) = timeout(PATIENCE, wait).await.unwrap().unwrap();
        let Ok(Answer::Approved(approval)) = answer else { panic!("{answer:?}") };
        assert_eq!(approval.hold, holds[at]);
    }
    let took = decided_at.elapsed();
    println!("and all were heard after {took:?}");
    assert!(took < Duration::from_mins(1), "{took:?}");
}
