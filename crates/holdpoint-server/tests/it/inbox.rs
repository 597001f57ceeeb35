//! The pages people decide on.

use std::time::Duration;

use holdpoint_store::VerdictKind;
use http::StatusCode;
use serde_json::json;

use crate::world::{World, post, refund};

#[tokio::test]
async fn the_list_shows_what_waits_with_escalated_ones_on_top() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    assert!(world.page(&cookie, "/").await.text().contains("Nothing waits for a decision"));
    let urgent = world.ask(&key, "t", &refund(2000)).await.json()["thread_id"].as_str().unwrap().to_owned();
    world.clock.advance(Duration::from_mins(3));
    let plain = world.open(&key, "t").await;
    let page = world.page(&cookie, "/").await;
    let text = page.text();
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("no {needle} in {text}"));
    assert!(at("Escalated") < at(&format!("/threads/{urgent}")));
    assert!(at(&format!("/threads/{urgent}")) < at(&format!("/threads/{plain}")));
    for needle in [
        "3 min ago",
        "high risk",
        "issue_refund",
        "support",
        "Item never arrived per carrier.",
        "2 waiting",
        "(2) Inbox",
    ] {
        at(needle);
    }
    world.decide(&plain, VerdictKind::Approve, "anna").await;
    let approved = world.page(&cookie, "/?folder=approved").await;
    assert!(
        approved.text().contains(&plain)
            && approved.text().contains("anna")
            && !approved.text().contains(&urgent)
    );
    assert!(!world.page(&cookie, "/").await.text().contains(&plain));
    assert_eq!(world.page(&cookie, "/?folder=nonsense").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn search_finds_and_says_what_it_searched() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let thread = world.open(&key, "needle-task").await;
    world.ask(&key, "other", &refund(700)).await;
    let found = world.page(&cookie, "/?folder=all&q=NEEDLE").await;
    assert!(found.text().contains(&thread) && !found.text().contains("$700"));
    let odd = world.page(&cookie, "/?folder=all&q=%3Cscript%3E%22%27%25_%5C").await;
    assert_eq!(odd.status, StatusCode::OK);
    assert!(!odd.text().contains("<script>\"") && odd.text().contains("Nothing here matches"));
}

#[tokio::test]
async fn more_than_fits_is_said() {
    let world = World::with(|options| options.limits.threads_shown = 2).await;
    let keys = world.apply(&crate::world::declaration()).await;
    let cookie = world.sign_in().await;
    for _ in 0..2 {
        world.open(&keys[0], "t").await;
    }
    assert!(!world.page(&cookie, "/").await.text().contains("Only the first"));
    world.open(&keys[0], "t").await;
    assert!(world.page(&cookie, "/").await.text().contains("Only the first 2 are shown"));
}

#[tokio::test]
async fn a_thread_shows_the_payload_before_the_agents_words() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut body = refund(500);
    body["payload"]["like_a_number"] = json!("500");
    body["payload"]["nested"] = json!({"deep": [1, {"x": null}]});
    body["payload"]["big"] = serde_json::from_str("12345678901234567890123.50").unwrap();
    let asked = world.ask(&key, "t", &body).await.json();
    let page = world.page(&cookie, &format!("/threads/{}", asked["thread_id"].as_str().unwrap())).await;
    let text = page.text();
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("no {needle} in {text}"));
    assert!(at("What will run") < at("What the agent says about it"));
    at(r#"<span class="plainvalue">500</span>"#);
    at(r#"<span class="text quoted"><bdi>&quot;500&quot;</bdi></span> <span class="kind">text</span>"#);
    at("12345678901234567890123.50");
    at("&quot;deep&quot;");
    at("A rule says review: <code>amount</code> is above 250.");
    at("did not match");
    at(asked["payload_digest"].as_str().unwrap());
    at("Order placed 14 days ago via web");
    at(r#"<button name="verdict" value="approve""#);
}

#[tokio::test]
async fn nothing_an_agent_sends_becomes_markup_or_hides() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let corpus = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</textarea></pre></td><svg/onload=alert(1)>",
        "{{7*7}}{% raw %}",
        "javascript:alert(1)",
        "pay \u{202e}001$\u{202c} now",
        "a\u{200b}b\u{feff}c\u{2066}d\u{e0041}\u{e0042}e",
        "\u{1b}[2J\u{7}bell\u{0}nul\rcr",
        "line\nbreak\u{2028}sep",
    ];
    for text in corpus {
        let body = json!({
            "workflow_name": text, "task_label": text, "tool_name": text, "subject": text, "preview": text,
            "summary": [text], "payload": {text: text, "nested": {text: [text]}}, text: text,
        });
        let event = json!({"event_type": text, "event_summary": text, "payload": {"k": text}});
        assert_eq!(world.send(post("/api/agent/tasks/x/events").key(&key).json(&event)).await.status, 201);
        let asked = world.ask(&key, "x", &body).await.json();
        let thread = asked["thread_id"].as_str().unwrap().to_owned();
        let note = format!("verdict=reject&revision=initial&note={}", urlencode(text));
        let pages = [
            world.page(&cookie, "/").await,
            world.page(&cookie, &format!("/threads/{thread}")).await,
            world.send(post(&format!("/threads/{thread}/decision")).cookie(&cookie).form(&note)).await,
            world.page(&cookie, &format!("/threads/{thread}")).await,
            world.send(post(&format!("/threads/{thread}/decision")).cookie(&cookie).form(&note)).await,
            world.page(&cookie, "/?folder=rejected").await,
            world.page(&cookie, &format!("/?folder=all&q={}", urlencode(text))).await,
        ];
        for page in &pages {
            let html = page.text();
            assert!(page.status != 500, "{text:?}");
            for bad in ["<script>alert", "<img src=x", "<svg/onload", "' onmouseover='", "\"><img"] {
                assert!(!html.contains(bad), "{text:?} gave {bad}");
            }
            // What the visitor searched for stays in its field as they typed it.
            let typed = html
                .split_once("name=\"q\"")
                .and_then(|(before, rest)| Some((before, rest.split_once('>')?.1)));
            let html = typed.map_or_else(|| html.to_owned(), |(before, after)| format!("{before}{after}"));
            let hidden = html.chars().find(|c| {
                (c.is_control() && *c != '\n' && *c != '\t')
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
            });
            assert_eq!(hidden, None, "{text:?}");
        }
        if text.contains('\u{202e}') {
            assert!(pages[1].text().contains("U+202E"));
        }
    }
}

fn urlencode(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}

#[tokio::test]
async fn a_large_payload_is_shown_whole() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let mut body = refund(500);
    body["payload"]["long"] = json!(format!("{}END", "x".repeat(400_000)));
    let asked = world.ask(&key, "t", &body).await.json();
    let page = world.page(&cookie, &format!("/threads/{}", asked["thread_id"].as_str().unwrap())).await;
    assert!(page.text().contains("xEND") && page.text().contains("too large for a table"));
}

#[tokio::test]
async fn deciding_by_form() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let thread = world.open(&key, "t").await;
    let path = format!("/threads/{thread}/decision");
    let form = "verdict=approve&revision=initial&note=Verified%0D%0Awith+history";
    assert_eq!(world.send(post(&path).form(form)).await.status, StatusCode::UNAUTHORIZED);
    for bad in ["", "verdict=maybe&revision=initial", "verdict=approve", "revision=initial"] {
        assert_eq!(
            world.send(post(&path).cookie(&cookie).form(bad)).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    let long = format!("verdict=reject&revision=initial&note={}", "x".repeat(5000));
    assert_eq!(
        world.send(post(&path).cookie(&cookie).form(&long)).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let silent =
        world.send(post(&path).cookie(&cookie).form("verdict=changes&revision=initial&note=+")).await;
    assert_eq!(silent.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.poll(&key, &thread).await["status"], "pending_review");

    let done = world.send(post(&path).cookie(&cookie).form(form)).await;
    assert_eq!(done.header("location"), Some(format!("/threads/{thread}?done=approved").as_str()));
    let answer = world.poll(&key, &thread).await;
    assert_eq!(
        (&answer["status"], &answer["message"]),
        (&json!("approved"), &json!("Verified\nwith history"))
    );
    let page = world.page(&cookie, &format!("/threads/{thread}?done=approved")).await;
    for needle in
        ["You approved this", "Approved by", "operator", "Verified\nwith history", "2026-11-22 20:00:00 UTC"]
    {
        assert!(page.text().contains(needle), "{needle}");
    }
    assert!(!page.text().contains("name=\"verdict\""));

    world.clock.advance(Duration::from_mins(2));
    let second =
        world.send(post(&path).cookie(&cookie).form("verdict=reject&revision=initial&note=no")).await;
    assert_eq!(second.status, StatusCode::CONFLICT);
    assert!(second.text().contains("Already approved by operator at 2026-11-22 20:00:00 UTC (2 min ago)."));
    assert_eq!(world.poll(&key, &thread).await["status"], "approved");
    let gone = world.send(post("/threads/THR-00000000/decision").cookie(&cookie).form(form)).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_rejection_without_a_note_is_allowed() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let thread = world.open(&key, "t").await;
    let path = format!("/threads/{thread}/decision");
    world.send(post(&path).cookie(&cookie).form("verdict=reject&revision=initial&note=")).await;
    let answer = world.poll(&key, &thread).await;
    assert_eq!(
        (&answer["status"], &answer["message"]),
        (&json!("rejected"), &json!("Rejected by a reviewer, without a note."))
    );
}

#[tokio::test]
async fn what_happened_after_the_approval_is_on_the_page() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let (thread, _) = world.approved(&key, "t").await;
    let token = world.poll(&key, &thread).await["approval_token"].as_str().unwrap().to_owned();
    world.validate(&key, "t", &token).await;
    world.validate(&key, "t", &token).await;
    let page = world.page(&cookie, &format!("/threads/{thread}")).await;
    for needle in [
        "Put before a person",
        "Approved by",
        "Approval handed to the agent",
        "2 times",
        "Approval used",
        "no good any more",
    ] {
        assert!(page.text().contains(needle), "{needle}");
    }
    assert!(!page.text().contains(&token));
}

#[tokio::test]
async fn a_thread_that_is_not_there_is_a_page() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    for path in ["/threads/THR-00000000", "/threads/%FF", "/images/abc", "/images/99"] {
        let page = world.page(&cookie, path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.text().contains("To the inbox"));
    }
}

/// A task may have several threads: each page tells which thread an event is about.
#[tokio::test]
async fn what_became_of_a_call_is_told_in_its_thread() {
    let (world, key, _) = World::declared().await;
    let cookie = world.sign_in().await;
    let (mine, other) = (world.open(&key, "t").await, world.open(&key, "t").await);
    for (event_type, summary, about) in [
        ("task.started", "The first call of this task.", json!({})),
        (
            "tool.completed",
            "It ran, and answered after 12 ms.",
            json!({"thread_id": mine, "duration_ms": 12}),
        ),
        ("tool.failed", "Another one failed.", json!({"thread_id": other})),
        ("step.completed", "Something odd.", json!({"thread_id": "THR-1/../../admin"})),
        ("step.completed", "A number.", json!({"thread_id": 7})),
        ("step.completed", "A list.", json!([1])),
    ] {
        let event = json!({"event_type": event_type, "event_summary": summary, "payload": about});
        assert_eq!(world.send(post("/api/agent/tasks/t/events").key(&key).json(&event)).await.status, 201);
    }
    let page = world.page(&cookie, &format!("/threads/{mine}")).await;
    let (_, timeline) = page.text().split_once("What happened").unwrap();
    let moment = |said: &str| {
        let moment = timeline.split("<li").find(|moment| moment.contains(said));
        moment.unwrap_or_else(|| panic!("{said} is not told")).to_owned()
    };
    let link = format!("<a href=\"/threads/{other}\">");
    assert!(moment("It ran, and answered after 12 ms.").contains("tool.completed"));
    assert!(moment("Another one failed.").contains(&link));
    for said in ["The first call", "It ran, and", "Something odd.", "A number.", "A list."] {
        assert!(!moment(said).contains("<a href"), "{said}");
    }
}
