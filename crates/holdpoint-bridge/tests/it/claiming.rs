//! Workflows in two halves: of all that would act on one yes, one does.

use crate::house::{House, With as _, request};
use holdpoint_testkit::Verdict;
use http::Method;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn of_all_claimants_one_gets_the_yes() {
    let house = House::new();
    let held = house.ask("k", "wait=0", json!({ "tool_name": "refund", "subject": "x" })).await;
    let place = format!("{}/claim", held.location());
    let claim = |who: &str| house.send(request(Method::POST, &place).header_of("idempotency-key", who));
    assert_eq!(claim("b1").await.words(), (202, "pending", "pending"), "not before it was decided");
    house.approver.decide("THR-1", Verdict::Approve);
    assert_eq!(house.get(&format!("{}?wait=9", held.location())).await.words().1, "allow");
    let (one, two, three) = tokio::join!(claim("b1"), claim("b2"), claim("b3"));
    let words: Vec<_> = [&one, &two, &three].iter().map(|said| said.words().1.to_owned()).collect();
    assert_eq!(words.iter().filter(|word| *word == "allow").count(), 1, "{words:?}");
    let (winner, loser) = if words[0] == "allow" { ("b1", "b2") } else { ("b2", "b1") };
    assert_eq!(claim(winner).await.words(), (200, "allow", "approved"), "again for the same");
    assert_eq!(claim(loser).await.words(), (200, "deny", "already_done"));
    assert_eq!(house.get(&held.location()).await.words(), (200, "deny", "already_done"));
    assert_eq!(house.send(request(Method::POST, &place)).await.status, 400, "a claimant has a name");
}

#[tokio::test(start_paused = true)]
async fn a_no_cannot_be_claimed() {
    let house = House::new();
    house.approver.decide("THR-1", Verdict::Reject(None));
    let no = house.ask("k", "wait=5", json!({ "tool_name": "refund", "subject": "x" })).await;
    let place = format!("/v1/decisions/{}/claim", no.body["id"].as_str().unwrap());
    let claimed = house.send(request(Method::POST, &place).header_of("idempotency-key", "b")).await;
    assert_eq!(claimed.words(), (200, "deny", "rejected"));
    let theirs = request(Method::POST, &place).header_of("idempotency-key", "b");
    assert_eq!(house.send_as("bob", theirs).await.status, 404);
}
