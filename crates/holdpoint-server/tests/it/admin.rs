//! The admin API.

use holdpoint_server::wire::{
    AppliedReport, CreatedAgent, Decided, OpenThread, Problem, SignInLinkReport, ThreadTimeline,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Reply, World, call, get, post, refund};

fn read<T: serde::de::DeserializeOwned>(reply: &Reply) -> T {
    serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
}

#[tokio::test]
async fn without_the_token_there_is_nothing() {
    let (world, key, _) = World::declared().await;
    for (method, path) in [
        (Method::GET, "/api/admin/threads"),
        (Method::GET, "/api/admin/threads/T"),
        (Method::POST, "/api/admin/threads/T/approve"),
        (Method::POST, "/api/admin/threads/T/reject"),
        (Method::POST, "/api/admin/agents"),
        (Method::PUT, "/api/admin/declaration"),
        (Method::POST, "/api/admin/sign-in-links"),
    ] {
        for authorization in
            ["", "Bearer ", "Bearer wrong", &format!("Bearer {}", key.expose()), crate::world::ADMIN]
        {
            let reply = world.send(call(method.clone(), path).header("authorization", authorization)).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path} {authorization}");
            assert!(read::<Problem>(&reply).hint.is_some());
        }
    }
    let closed = World::with(|options| options.admin_token = None).await;
    assert_eq!(closed.send(get("/api/admin/threads").admin()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn open_threads_are_listed_with_their_exact_payload() {
    let (world, key, _) = World::declared().await;
    let mut body = refund(500);
    body["payload"]["exact"] = serde_json::from_str("1.0").unwrap();
    let asked = world.ask(&key, "t", &body).await.json();
    let threads: Vec<OpenThread> = read(&world.send(get("/api/admin/threads").admin()).await);
    let [thread] = threads.as_slice() else { panic!("{threads:?}") };
    assert_eq!(Some(thread.thread_id.as_str()), asked["thread_id"].as_str());
    assert_eq!(
        (thread.task_id.as_str(), thread.tool_name.as_str(), thread.agent.as_str()),
        ("t", "issue_refund", "support")
    );
    assert_eq!(
        (thread.state.as_str(), thread.risk_level),
        ("needs_review", Some(holdpoint_api::RiskLevel::High))
    );
    assert_eq!(thread.subject, "Issue refund of $500 to customer cus_99");
    assert_eq!(thread.created_at.to_string(), "2026-11-22T20:00:00Z");
    assert_eq!(thread.payload.get(), body["payload"].to_string());
}

#[tokio::test]
async fn the_first_decision_counts_and_the_second_is_told() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let approve = format!("/api/admin/threads/{thread}/approve");
    let decided = world.send(post(&approve).admin().json(&json!({"note": "fine", "by": "anna"}))).await;
    let decided: Decided = read(&decided);
    assert_eq!((decided.state.as_str(), decided.decided_by.as_deref()), ("approved", Some("anna")));
    let reject = format!("/api/admin/threads/{thread}/reject");
    let second = world.send(post(&reject).admin().json(&json!({}))).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    let problem: Problem = read(&second);
    assert_eq!(problem.error, "already approved by anna at 2026-11-22T20:00:00Z");
    assert_eq!(problem.decided, Some(decided));
    assert_eq!(world.poll(&key, &thread).await["message"], "fine");
    let nothing = world.send(post("/api/admin/threads/THR-00000000/approve").admin().json(&json!({}))).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let odd = world.send(post(&reject).admin().json(&json!({"comment": "x"}))).await;
    assert_eq!(odd.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_decision_may_name_the_revision_it_was_made_on() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let path = format!("/api/admin/threads/{thread}/reject");
    let stale = world.send(post(&path).admin().json(&json!({"revision_id": "other"}))).await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert_eq!(read::<Problem>(&stale).revision_id.as_deref(), Some("initial"));
    let plain = world.send(post(&path).admin().json(&json!({"revision_id": "initial"}))).await;
    assert_eq!(read::<Decided>(&plain).decided_by.as_deref(), Some("operator"));
}

#[tokio::test]
async fn a_thread_comes_with_its_history() {
    let (world, key, _) = World::declared().await;
    let (thread, token) = world.approved(&key, "t").await;
    world.validate(&key, "t", &token).await;
    let report: ThreadTimeline =
        read(&world.send(get(&format!("/api/admin/threads/{thread}")).admin()).await);
    let kinds: Vec<_> = report.timeline.iter().map(|line| line.entry.kind()).collect();
    assert_eq!(kinds, ["thread_opened", "approved", "token_minted", "token_redeemed"]);
    assert_eq!(report.decision.unwrap().decided_by.as_deref(), Some("anna"));
    assert_eq!(world.send(get("/api/admin/threads/T").admin()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn agents_are_made_with_a_key_that_works() {
    let world = World::new().await;
    let made = world.send(post("/api/admin/agents").admin().json(&json!({"name": "new"}))).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made: CreatedAgent = read(&made);
    assert!(!format!("{made:?}").contains(&made.key));
    let key = holdpoint_api::ApiKey::parse(&made.key).unwrap();
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::OK);
    let again = world.send(post("/api/admin/agents").admin().json(&json!({"name": "new"}))).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    for bad in [json!({"name": " "}), json!({"name": "a\nb"}), json!({})] {
        assert!(
            world.send(post("/api/admin/agents").admin().json(&bad)).await.status.is_client_error(),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_declaration_is_applied_and_its_mistakes_are_all_listed() {
    let world = World::new().await;
    let put = |body: Value| world.send(call(Method::PUT, "/api/admin/declaration").admin().json(&body));
    let report = put(json!({"declaration": crate::world::declaration()})).await;
    let report: AppliedReport = read(&report);
    assert_eq!((report.revision, report.agents.len()), (1, 2));
    let again: AppliedReport = read(&put(json!({"declaration": crate::world::declaration()})).await);
    assert_eq!((again.changes.len(), again.agents.len()), (0, 0));
    let wrong = json!({"declaration": {"agents": [{"name": "a"}, {"name": "a"}], "tools": [
        {"name": "t", "rules": [{"type": "regex", "parameter": "p", "pattern": "(", "action": "review"}]}]}});
    let wrong = put(wrong).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let places: Vec<String> =
        read::<Problem>(&wrong).mistakes.into_iter().map(|mistake| mistake.at).collect();
    assert_eq!(places, ["/agents/1/name", "/tools/0/rules/0/pattern"]);
}

#[tokio::test]
async fn a_sign_in_link_can_be_had() {
    let world = World::new().await;
    let link: SignInLinkReport =
        read(&world.send(post("/api/admin/sign-in-links").admin().json(&json!({}))).await);
    assert_eq!(link.user, "operator");
    let token = link.url.split_once("token=").unwrap().1;
    let entered = world.send(post("/sign-in").form(&format!("token={token}"))).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    let nobody = world.send(post("/api/admin/sign-in-links").admin().json(&json!({"user": "nobody"}))).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}
