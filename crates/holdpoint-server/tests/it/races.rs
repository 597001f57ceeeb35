//! Many at once.

use std::collections::HashSet;

use futures_util::future::join_all;
use holdpoint_store::{DecideOutcome, ThreadState, VerdictKind};
use http::StatusCode;

use crate::world::{World, post, refund};

const RACERS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn of_many_reviewers_one_wins_and_the_others_are_told_who() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let names: Vec<String> = (0..RACERS).map(|number| format!("reviewer-{number}")).collect();
    let decisions = names.iter().enumerate().map(|(number, name)| {
        let kind = if number % 2 == 0 { VerdictKind::Approve } else { VerdictKind::Reject };
        world.decide(&thread, kind, name)
    });
    let mut winners = Vec::new();
    let mut told = HashSet::new();
    for outcome in join_all(decisions).await {
        match outcome {
            DecideOutcome::Won(thread) => winners.push(thread.state),
            DecideOutcome::AlreadyDecided(thread) => {
                assert!(told.insert(format!("{:?}", thread.state)) || told.len() == 1);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(told, HashSet::from([format!("{:?}", winners[0])]));
    let answer = world.poll(&key, &thread).await;
    let approved = matches!(winners[0], ThreadState::Approved(_));
    assert_eq!(answer["status"], if approved { "approved" } else { "rejected" });
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_forms_one_counts() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let cookie = world.sign_in().await;
    let path = format!("/threads/{thread}/decision");
    let forms = (0..RACERS).map(|number| {
        let verdict = if number % 2 == 0 { "approve" } else { "reject" };
        world.send(post(&path).cookie(&cookie).form(&format!("verdict={verdict}&revision=initial&note=n")))
    });
    let replies = join_all(forms).await;
    let won = replies.iter().filter(|reply| reply.status == StatusCode::SEE_OTHER).count();
    let told = replies
        .iter()
        .filter(|reply| {
            reply.status == StatusCode::CONFLICT && reply.text().contains("by operator at 2026-11-22")
        })
        .count();
    assert_eq!((won, told), (1, RACERS - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_validations_one_is_valid() {
    let (world, key, _) = World::declared().await;
    let (_, token) = world.approved(&key, "t").await;
    let replies = join_all((0..RACERS).map(|_| world.validate(&key, "t", &token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.json()["valid"] == true).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.json()["reason"] == "used").count(), RACERS - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered_and_recorded() {
    let (world, key, _) = World::declared().await;
    let bodies: Vec<_> = (0..512_u64).map(|number| refund(number % 300)).collect();
    let replies = join_all(bodies.iter().map(|body| world.ask(&key, "t", body))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    let pending = replies.iter().filter(|reply| reply.json()["status"] == "pending_review").count();
    assert_eq!(world.gate.open_threads().await.unwrap().len(), pending);
    assert_eq!(
        pending,
        bodies.iter().filter(|body| body["payload"]["amount"].as_u64().unwrap() > 250).count()
    );
}
