//! Live updates.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use holdpoint_store::VerdictKind;
use http::StatusCode;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::world::{World, get};

const SOON: Duration = Duration::from_secs(5);

async fn listen(world: &World, cookie: &str) -> BodyDataStream {
    let call = get("/live").cookie(cookie).header("last-event-id", "no such id");
    let response = world.router.clone().oneshot(call.request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    response.into_body().into_data_stream()
}

async fn next(stream: &mut BodyDataStream) -> Option<String> {
    let chunk = timeout(SOON, stream.next()).await.expect("an event comes");
    chunk.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
}

/// Reads events until one is about this thread.
async fn next_about(stream: &mut BodyDataStream, thread: &str) -> String {
    loop {
        let event = next(stream).await.expect("the stream goes on");
        if event.contains(thread) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hear_of_new_requests_and_decisions() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut stream = listen(&world, &cookie).await;
    assert!(next(&mut stream).await.unwrap().contains("event: resync"));
    let thread = world.open(&key, "t").await;
    assert!(next_about(&mut stream, &thread).await.contains("event: thread"));
    world.decide(&thread, VerdictKind::Approve, "anna").await;
    next_about(&mut stream, &thread).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_fell_behind_is_told_to_fetch_itself() {
    let (world, ..) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut stream = listen(&world, &cookie).await;
    next(&mut stream).await;
    let bell = holdpoint_store::Store::bell(&*world.store);
    for number in 0..5000 {
        let id = holdpoint_store::ThreadId::new(format!("THR-{number}"));
        let (agent, concerns) = (holdpoint_store::AgentId(1), holdpoint_store::Concerns::Onlookers);
        bell.ring(holdpoint_store::Change::Thread { id, agent, concerns });
    }
    let mut events = String::new();
    while !events.contains("event: resync") {
        events.push_str(&next(&mut stream).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_the_stream() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    let mut stream = listen(&world, &cookie).await;
    next(&mut stream).await;
    world.shutdown.cancel();
    while next(&mut stream).await.is_some() {}
}

#[tokio::test]
async fn nobody_listens_without_a_session_or_past_the_limit() {
    let world = World::with(|options| options.limits.live_max = 1).await;
    assert_eq!(world.send(get("/live")).await.status, StatusCode::SEE_OTHER);
    let cookie = world.sign_in().await;
    let first = listen(&world, &cookie).await;
    let refused = world.send(get("/live").cookie(&cookie)).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, Some("30"))
    );
    drop(first);
    drop(listen(&world, &cookie).await);
}
