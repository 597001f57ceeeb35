//! The feed of decisions: what it names, to whom, and that nothing is missed.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use holdpoint_api::{ApiKey, DecisionChanges};
use holdpoint_server::{GateServer, Options, router};
use holdpoint_store::{AgentState, RevisionId, ThreadId, VerdictKind};
use http::StatusCode;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::world::{HOST, Reply, World, declaration, get, post, send};

/// Long enough for a poll to be waiting, short enough not to be missed.
const MOMENT: Duration = Duration::from_millis(150);

/// Well below the pause after which a waiting poll reads again by itself.
const AT_ONCE: Duration = Duration::from_secs(3);

fn path(after: Option<&str>, wait: u64) -> String {
    holdpoint_api::paths::decision_changes(after, wait)
}

async fn changes(world: &World, key: &ApiKey, after: Option<&str>, wait: u64) -> DecisionChanges {
    let reply = world.send(get(&path(after, wait)).key(key)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

/// Where the feed is now.
async fn now(world: &World, key: &ApiKey) -> String {
    changes(world, key, None, 0).await.cursor
}

fn waiting(world: &World, key: &ApiKey, after: &str) -> JoinHandle<Reply> {
    tokio::spawn(send(world.router.clone(), get(&path(Some(after), 60)).key(key)))
}

#[tokio::test]
async fn it_is_announced_and_starts_with_a_cursor() {
    let (world, key, _) = World::declared().await;
    world.open(&key, "t").await;
    let started = Instant::now();
    let reply = world.send(get(&path(None, 60)).key(&key)).await;
    assert!(started.elapsed() < AT_ONCE, "there is nothing to wait for");
    assert_eq!((reply.header("gate-decision-feed"), reply.header("gate-long-poll")), (Some("1"), Some("60")));
    let first: DecisionChanges = serde_json::from_slice(&reply.body).unwrap();
    assert!(first.resync && first.threads.is_empty(), "{first:?}");
    let next = changes(&world, &key, Some(&first.cursor), 0).await;
    assert_eq!(next, DecisionChanges { resync: false, ..first }, "nothing happened since");
    for refused in ["wait=x", "wait=-1"] {
        let reply = world.send(get(&format!("/api/agent/decisions/changes?{refused}")).key(&key)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{refused}");
    }
}

#[tokio::test]
async fn it_names_what_happened_and_nothing_else() {
    let world = World::new().await;
    let mut with_ttl = declaration();
    with_ttl["review_ttl"] = json!("1h");
    let keys = world.apply(&with_ttl).await;
    let [key, other] = &keys[..] else { panic!("two agents") };
    let start = now(&world, key).await;
    let [approved, rejected, expired, asked] = [
        world.open(key, "a").await,
        world.open(key, "b").await,
        world.open(key, "c").await,
        world.open(key, "d").await,
    ];
    let foreign = world.open(other, "e").await;
    assert_eq!(changes(&world, key, Some(&start), 0).await.threads, [""; 0], "opening is no news");

    world.decide(&approved, VerdictKind::Approve, "anna").await;
    world.decide(&rejected, VerdictKind::Reject, "anna").await;
    world.decide(&foreign, VerdictKind::Approve, "anna").await;
    let id = ThreadId::new(asked.as_str());
    world.gate.ask_for_changes(&id, &RevisionId::new("initial"), "anna", "less").await.unwrap();
    let three = changes(&world, key, Some(&start), 60).await;
    assert_eq!(three.threads, [approved.clone(), rejected, asked.clone()], "all in one answer");
    assert!(!three.resync);

    let revision = json!({
        "event_type": format!("revision.d.{asked}"),
        "event_summary": "less",
        "payload": {"revision": {"revision_id": "rev-2", "request_payload": {"amount": 300}}},
    });
    let reply = world.send(post("/api/agent/tasks/d/events").key(key).json(&revision)).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    let revised = changes(&world, key, Some(&three.cursor), 0).await;
    assert_eq!(revised.threads, std::slice::from_ref(&asked));

    world.clock.advance(Duration::from_hours(1));
    world.gate.sweep().await.unwrap();
    let swept = changes(&world, key, Some(&revised.cursor), 0).await;
    assert_eq!(BTreeSet::from_iter(swept.threads), BTreeSet::from([expired, asked]));

    let token = world.poll(key, &approved).await["approval_token"].as_str().unwrap().to_owned();
    assert_eq!(world.validate(key, "a", &token).await.json()["valid"], true);
    let quiet = changes(&world, key, Some(&swept.cursor), 0).await;
    assert_eq!(quiet.threads, [""; 0], "a token is no news");
    assert_eq!(changes(&world, other, Some(&now(&world, other).await), 0).await.threads, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_wakes_its_own_agents_clients_and_no_others() {
    let (world, key, other) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let (start, others_start) = (now(&world, &key).await, now(&world, &other).await);
    let mut one = waiting(&world, &key, &start);
    let mut two = waiting(&world, &key, &start);
    let mut others = waiting(&world, &other, &others_start);
    for poll in [&mut one, &mut two, &mut others] {
        assert!(timeout(MOMENT, poll).await.is_err(), "it holds its answer");
    }
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    for poll in [one, two] {
        let answer = timeout(AT_ONCE, poll).await.expect("the bell wakes it").unwrap().json();
        assert_eq!(answer["threads"], json!([thread]));
    }
    assert!(timeout(MOMENT, &mut others).await.is_err());
    world.shutdown.cancel();
    let reply = timeout(AT_ONCE, others).await.unwrap().unwrap();
    assert_eq!((reply.status, &reply.json()["threads"]), (StatusCode::OK, &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_for_agents_in_good_standing() {
    let (world, key, other) = World::declared().await;
    assert_eq!(world.send(get(&path(None, 0))).await.status, StatusCode::UNAUTHORIZED);
    let stranger = ApiKey::generate(&[9; 32]);
    assert_eq!(world.send(get(&path(None, 0)).key(&stranger)).await.status, StatusCode::UNAUTHORIZED);
    let thread = world.open(&key, "t").await;
    let mut poll = waiting(&world, &key, &now(&world, &key).await);
    assert!(timeout(MOMENT, &mut poll).await.is_err());
    world.gate.set_agent_state("support", AgentState::Paused, "tests").await.unwrap();
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    let reply = timeout(AT_ONCE, poll).await.unwrap().unwrap();
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.text());
    world.gate.set_agent_state("plain", AgentState::Revoked, "tests").await.unwrap();
    for key in [&key, &other] {
        assert_eq!(world.send(get(&path(None, 0)).key(key)).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn cursors_outlive_a_restart_and_foreign_ones_start_anew() {
    let (world, key, other) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let start = now(&world, &key).await;
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    let options = Options::new(format!("http://{HOST}").parse().unwrap());
    let (store, clock) = (world.store.clone(), world.clock.clone());
    let again = GateServer::open(store, clock, options, CancellationToken::new()).await.unwrap();
    let reply = send(router(again), get(&path(Some(&start), 0)).key(&key)).await;
    assert_eq!(reply.json()["threads"], json!([thread]));

    let (head, at) = start.rsplit_once('-').unwrap();
    let ahead = format!("{head}-{}", at.parse::<u64>().unwrap() + 1_000_000);
    let others = now(&world, &other).await;
    let elsewhere = World::new().await;
    elsewhere.clock.advance(Duration::from_secs(1));
    let key_elsewhere = elsewhere.apply(&declaration()).await.remove(0);
    let restored = now(&elsewhere, &key_elsewhere).await;
    for cursor in
        [&ahead, &others, &restored, "", "x", "0", "-1", &format!("{start}0x"), &format!("{head}-+1")]
    {
        let answer = changes(&world, &key, Some(cursor), 60).await;
        assert!(answer.resync && answer.threads.is_empty(), "{cursor}: {answer:?}");
        let next = changes(&world, &key, Some(&answer.cursor), 0).await;
        assert_eq!(next, DecisionChanges { resync: false, ..answer }, "{cursor}");
    }
}

#[tokio::test]
async fn past_the_limit_it_answers_at_once() {
    let world = World::with(|options| options.limits.feeds_max = 0).await;
    let key = world.apply(&declaration()).await.remove(0);
    let start = now(&world, &key).await;
    let reply = timeout(AT_ONCE, waiting(&world, &key, &start)).await.unwrap().unwrap();
    assert_eq!(reply.json()["threads"], json!([]));
    let thread = world.open(&key, "t").await;
    world.decide(&thread, VerdictKind::Reject, "anna").await;
    assert_eq!(changes(&world, &key, Some(&start), 60).await.threads, [thread], "what there is it tells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_comes_in_pages_of_a_thousand() {
    let world = World::with(|options| options.limits.threads_burst = 2_000).await;
    let key = world.apply(&declaration()).await.remove(0);
    let start = now(&world, &key).await;
    let tasks: Vec<String> = (0..1_100).map(|number| format!("t-{number}")).collect();
    let threads = join_all(tasks.iter().map(|task| world.open(&key, task))).await;
    join_all(threads.iter().map(|thread| world.decide(thread, VerdictKind::Approve, "anna"))).await;
    let first = changes(&world, &key, Some(&start), 60).await;
    let second = changes(&world, &key, Some(&first.cursor), 60).await;
    assert_eq!((first.threads.len(), second.threads.len()), (1_000, 100));
    let told: BTreeSet<String> = first.threads.into_iter().chain(second.threads).collect();
    assert_eq!(told, BTreeSet::from_iter(threads));
}

/// Readers that only ever ask after the cursor they were given hear of every decision, however they interleave.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_missed_between_two_polls() {
    const THREADS: usize = 200;
    let (world, key, _) = World::declared().await;
    let tasks: Vec<String> = (0..THREADS).map(|number| format!("t-{number}")).collect();
    let threads = join_all(tasks.iter().map(|task| world.open(&key, task))).await;
    let start = now(&world, &key).await;
    let reader = async || {
        let (mut cursor, mut told) = (start.clone(), BTreeSet::new());
        while told.len() < THREADS {
            let answer = timeout(AT_ONCE, waiting(&world, &key, &cursor)).await;
            let answer: DecisionChanges =
                serde_json::from_slice(&answer.expect("a decision was missed").unwrap().body).unwrap();
            assert!(!answer.resync && !answer.threads.is_empty());
            cursor = answer.cursor;
            for thread in answer.threads {
                assert!(told.insert(thread.clone()), "{thread} was named twice");
            }
        }
        told
    };
    let world = &world;
    let decide = join_all(threads.chunks(20).map(|chunk| async move {
        for thread in chunk {
            world.decide(thread, VerdictKind::Approve, "anna").await;
        }
    }));
    let (one, two, three, _) = tokio::join!(reader(), reader(), reader(), decide);
    let all: BTreeSet<String> = threads.iter().cloned().collect();
    assert_eq!([&one, &two, &three], [&all; 3]);
}
