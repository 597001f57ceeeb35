//! Revisions, contract 6.

use holdpoint_api::ApiKey;
use holdpoint_store::{DecideOutcome, RevisionId, ThreadId, VerdictKind};
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Reply, World, post};

async fn revise(world: &World, key: &ApiKey, task: &str, event_type: &str, revision: Value) -> Reply {
    let body =
        json!({"event_type": event_type, "event_summary": "Revised", "payload": {"revision": revision}});
    world.send(post(&format!("/api/agent/tasks/{task}/events")).key(key).json(&body)).await
}

fn revision(id: &str, amount: u64) -> Value {
    json!({"revision_id": id, "subject": "Changed", "request_payload": {"amount": amount, "extra": "new"}})
}

#[tokio::test]
async fn a_revision_supersedes_the_one_before() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "task.1").await;
    let event = format!("revision.task.1.{thread}");
    assert_eq!(
        revise(&world, &key, "task.1", &event, revision("rev-002", 400)).await.status,
        StatusCode::CREATED
    );
    let answer = world.poll(&key, &thread).await;
    assert_eq!((&answer["status"], &answer["revision_id"]), (&json!("pending_review"), &json!("rev-002")));
    assert_eq!(answer["payload_digest"], holdpoint_api::payload_digest(r#"{"amount":400,"extra":"new"}"#));
    // What was not sent stays as it was.
    let now = world.gate.thread(&ThreadId::new(thread.as_str())).await.unwrap().unwrap().revision;
    assert_eq!(
        (now.subject.as_str(), now.tool_name.as_str(), now.summary.len()),
        ("Changed", "issue_refund", 2)
    );

    assert_eq!(
        revise(&world, &key, "task.1", &event, revision("rev-002", 400)).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        revise(&world, &key, "task.1", &event, revision("rev-002", 401)).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(world.poll(&key, &thread).await["payload_digest"], answer["payload_digest"]);
}

#[tokio::test]
async fn the_rules_look_at_a_revision_too() {
    let (world, key, _) = World::declared().await;
    for (amount, status, state) in [
        (1, "pending_review", "needs_review"),
        (500, "pending_review", "needs_review"),
        (2000, "pending_review", "escalated"),
        (9000, "rejected", "rejected"),
    ] {
        let thread = world.open(&key, "t").await;
        let event = format!("revision.t.{thread}");
        assert_eq!(
            revise(&world, &key, "t", &event, revision("r2", amount)).await.status,
            StatusCode::CREATED
        );
        let answer = world.poll(&key, &thread).await;
        assert_eq!((&answer["status"], &answer["thread_state"]), (&json!(status), &json!(state)), "{amount}");
        assert!(!answer["message"].as_str().unwrap().contains("5000"), "no rule text");
    }
}

#[tokio::test]
async fn a_decision_is_made_on_what_was_seen() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    revise(&world, &key, "t", &format!("revision.t.{thread}"), revision("r2", 400)).await;
    let cookie = world.sign_in().await;
    let path = format!("/threads/{thread}/decision");
    let stale = world
        .send(post(&path).cookie(&cookie).form("verdict=approve&revision=initial&note=fine+by+me"))
        .await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert!(stale.text().contains("changed the request while you were reading"));
    assert!(
        stale.text().contains(r#"name="revision" value="r2""#)
            && stale.text().contains("fine by me</textarea>")
    );
    assert!(stale.text().contains(r#"class="changed""#), "what changed is marked");
    assert_eq!(world.poll(&key, &thread).await["status"], "pending_review");
    let fresh = world.send(post(&path).cookie(&cookie).form("verdict=approve&revision=r2&note=")).await;
    assert_eq!(fresh.status, StatusCode::SEE_OTHER);
    assert_eq!(world.poll(&key, &thread).await["revision_id"], "r2");
}

#[tokio::test]
async fn a_closed_thread_takes_no_revision() {
    let (world, key, _) = World::declared().await;
    for kind in [VerdictKind::Approve, VerdictKind::Reject] {
        let thread = world.open(&key, "t").await;
        world.decide(&thread, kind, "anna").await;
        let before = world.poll(&key, &thread).await;
        let event = format!("revision.t.{thread}");
        let reply = revise(&world, &key, "t", &event, revision("r2", 9000)).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        let after = world.poll(&key, &thread).await;
        assert_eq!(
            (&after["status"], &after["payload_digest"]),
            (&before["status"], &before["payload_digest"])
        );
    }
}

#[tokio::test]
async fn a_revision_for_nothing_is_refused() {
    let (world, key, other) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let event = format!("revision.t.{thread}");
    for (key, task, event, revision, status) in [
        (&other, "t", event.clone(), revision("r2", 1), 404),
        (&key, "t", "revision.t.THR-00000000".to_owned(), revision("r2", 1), 404),
        (&key, "t", "revision.other.THR-00000000".to_owned(), revision("r2", 1), 400),
        (&key, "t", "revision.t".to_owned(), revision("r2", 1), 400),
        (&key, "u", format!("revision.u.{thread}"), revision("r2", 1), 404),
        (&key, "t", event.clone(), json!({"revision_id": "r2"}), 400),
        (&key, "t", event.clone(), json!({"request_payload": {}}), 400),
        (&key, "t", event.clone(), revision("initial", 1), 400),
    ] {
        assert_eq!(
            revise(&world, key, task, &event, revision.clone()).await.status,
            status,
            "{event} {revision}"
        );
    }
    let bare = json!({"event_type": event, "event_summary": "no payload"});
    assert_eq!(world.send(post("/api/agent/tasks/t/events").key(&key).json(&bare)).await.status, 400);
    assert_eq!(world.poll(&key, &thread).await["revision_id"], "initial");
}

#[tokio::test]
async fn feedback_ends_with_the_next_revision() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let id = ThreadId::new(thread.as_str());
    world.gate.ask_for_changes(&id, &RevisionId::new("initial"), "anna", "Less, please").await.unwrap();
    assert_eq!(world.poll(&key, &thread).await["message"], "Less, please");
    revise(&world, &key, "t", &format!("revision.t.{thread}"), revision("r2", 300)).await;
    assert_eq!(world.poll(&key, &thread).await["message"], "");
    assert!(matches!(world.decide(&thread, VerdictKind::Approve, "anna").await, DecideOutcome::Won(_)));
}

#[tokio::test]
async fn what_earlier_versions_said_and_showed_stays_to_be_seen() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut body = crate::world::refund(500);
    body["images"] = json!(["iVBORw0KGgoAAAA="]);
    let asked = world.ask(&key, "t", &body).await.json();
    let thread = asked["thread_id"].as_str().unwrap();
    revise(&world, &key, "t", &format!("revision.t.{thread}"), revision("r2", 400)).await;
    let page = world.page(&cookie, &format!("/threads/{thread}")).await;
    let (now, earlier) = page.text().split_once("Earlier versions").unwrap();
    assert!(
        now.contains("was <s><bdi>500</bdi></s>")
            && now.contains("No longer there: <code><bdi>currency</bdi>")
    );
    assert!(!now.contains("/images/") && earlier.contains("/images/"));
    assert!(earlier.contains("Issue refund of $500 to customer cus_99"));
}

/// What was said of the first proposal must not stand above the next one.
#[tokio::test]
async fn a_revision_can_take_preview_and_summary_away() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut body = crate::world::refund(500);
    body["preview"] = json!("The whole sum, at once.");
    let thread = world.ask(&key, "t", &body).await.json()["thread_id"].as_str().unwrap().to_owned();
    let mut bare = revision("r2", 400);
    bare["preview"] = json!("");
    bare["summary"] = json!([]);
    revise(&world, &key, "t", &format!("revision.t.{thread}"), bare).await;
    let now = world.gate.thread(&ThreadId::new(thread.as_str())).await.unwrap().unwrap().revision;
    assert_eq!((now.preview, now.summary), (None, vec![]));
    let page = world.page(&cookie, &format!("/threads/{thread}")).await;
    let (now, earlier) = page.text().split_once("Earlier versions").unwrap();
    assert!(now.contains("Nothing but the title."));
    assert!(!now.contains("The whole sum") && earlier.contains("The whole sum"));
}
