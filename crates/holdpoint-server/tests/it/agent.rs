//! The agent API, line by line of the contract's table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdpoint_store::AgentState;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Call, World, call, get, post, refund};

const REQUESTS: &str = "/api/agent/tasks/task-1/requests";
const EVENTS: &str = "/api/agent/tasks/task-1/events";

#[tokio::test]
async fn the_three_outcomes_of_a_request() {
    let (world, key, _) = World::declared().await;
    let allow = world.ask(&key, "task-1", &refund(250)).await;
    assert_eq!(allow.status, StatusCode::OK);
    let body = allow.json();
    assert_eq!((&body["status"], &body["task_id"]), (&json!("allow"), &json!("task-1")));
    assert!(body.get("thread_id").is_none() && body.get("approval_token").is_none());
    assert!(body["payload_digest"].as_str().unwrap().starts_with("sha256:"));

    let reject = world.ask(&key, "task-1", &refund(5001)).await.json();
    assert_eq!(reject["status"], "reject");
    assert!(reject.get("thread_id").is_none());
    assert!(!reject.to_string().contains("5000"), "rule text stays inside: {reject}");

    let pending = world.ask(&key, "task-1", &refund(251)).await.json();
    assert_eq!(pending["status"], "pending_review");
    let thread = pending["thread_id"].as_str().unwrap();
    assert!(thread.len() == 12 && thread.starts_with("THR-"), "{thread}");
    assert!(thread[4..].bytes().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit)));
    assert_eq!(pending["review_url"], format!("http://127.0.0.1:7878/threads/{thread}"));
    assert_eq!(pending["recommended_poll_after_seconds"], 5);
    assert_eq!(pending["revision_id"], "initial");
}

#[tokio::test]
async fn an_automatic_decision_is_on_record_and_opens_nothing() {
    let (world, key, _) = World::declared().await;
    world.ask(&key, "task-1", &refund(1)).await;
    world.ask(&key, "task-1", &refund(9999)).await;
    assert_eq!(world.gate.folder_counts().await.unwrap(), holdpoint_store::FolderCounts::default());
    let log =
        holdpoint_store::Decisions::log_after(&*world.store, holdpoint_store::LogSeq(0), 100).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|row| row.entry.kind()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "decided_by_rules").count(), 2, "{kinds:?}");
}

#[tokio::test]
async fn polling_by_thread_and_by_task() {
    let (world, key, other) = World::declared().await;
    let first = world.open(&key, "task.with.dots").await;
    let second = world.open(&key, "task.with.dots").await;
    let by_thread = world.poll(&key, &first).await;
    assert_eq!(
        (&by_thread["status"], &by_thread["thread_state"]),
        (&json!("pending_review"), &json!("needs_review"))
    );
    assert_eq!(by_thread["task_id"], "task.with.dots");
    let by_task = world.send(get("/api/agent/decisions?task_id=task.with.dots").key(&key)).await.json();
    assert_eq!(by_task["thread_id"], second.as_str());
    let both = format!("/api/agent/decisions?task_id=task.with.dots&thread_id={first}");
    assert_eq!(world.send(get(&both).key(&key)).await.json()["thread_id"], first.as_str());

    for (path, status) in [
        ("/api/agent/decisions?task_id=none".to_owned(), 404),
        ("/api/agent/decisions?thread_id=THR-00000000".to_owned(), 404),
        ("/api/agent/decisions".to_owned(), 400),
        ("/api/agent/decisions?task_id=a&task_id=b".to_owned(), 400),
        ("/api/agent/decisions?task_id=a&wait=soon".to_owned(), 400),
    ] {
        assert_eq!(world.send(get(&path).key(&key)).await.status, status, "{path}");
    }
    // Another agent's thread is not there.
    for path in [
        format!("/api/agent/decisions?thread_id={first}"),
        "/api/agent/decisions?task_id=task.with.dots".into(),
    ] {
        assert_eq!(world.send(get(&path).key(&other)).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_task_id_may_hold_anything_a_path_can_carry() {
    let (world, key, _) = World::declared().await;
    let path = "/api/agent/tasks/a%2Fb%3Fc%23d%20%C3%BC.e/requests";
    let asked = world.send(post(path).key(&key).json(&refund(500))).await.json();
    assert_eq!(asked["task_id"], "a/b?c#d ü.e");
    for (task, status) in [("%2E%2E", 400), ("a%0Ab", 400), ("%FF", 400), (&"x".repeat(257), 400)] {
        let path = format!("/api/agent/tasks/{task}/requests");
        assert_eq!(world.send(post(&path).key(&key).json(&refund(500))).await.status, status, "{task}");
    }
}

#[tokio::test]
async fn events_answer_201_and_reach_the_timeline() {
    let (world, key, _) = World::declared().await;
    let event =
        json!({"event_type": "task.started", "event_summary": "Customer asked", "payload": {"order": 8821}});
    let reply = world.send(post(EVENTS).key(&key).json(&event)).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::CREATED, ""));
    let thread = world.open(&key, "task-1").await;
    let report = world.gate.report(&holdpoint_store::ThreadId::new(thread)).await.unwrap().unwrap();
    let timeline = format!("{:?}", report.timeline);
    assert!(timeline.contains("Customer asked") && timeline.contains("8821"), "{timeline}");
    for bad in [
        json!({"event_type": "a"}),
        json!({"event_summary": "b"}),
        json!([]),
        json!({"event_type": 1, "event_summary": "b"}),
    ] {
        assert_eq!(
            world.send(post(EVENTS).key(&key).json(&bad)).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn keys_decide_who_may_ask() {
    let (world, key, _) = World::declared().await;
    let calls = || {
        [
            post(REQUESTS).json(&refund(1)),
            post(EVENTS).json(&json!({"event_type": "a", "event_summary": "b"})),
            get("/api/agent/decisions?task_id=task-1"),
            post("/api/agent/approvals/validate").json(&json!({"task_id": "t", "signature": "s"})),
        ]
    };
    let mistyped = key.expose().replace("sg_", "sg_x");
    let unknown = holdpoint_api::ApiKey::generate(&[7; 32]);
    for header in ["", "Bearer ", "Basic abc", "Bearer sg_abc", &format!("Bearer {mistyped}"), key.expose()] {
        for call in calls() {
            let reply = world.send(call.header("authorization", header)).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{header}");
        }
    }
    for call in calls() {
        assert_eq!(world.send(call).await.status, StatusCode::UNAUTHORIZED);
    }
    for call in calls() {
        assert_eq!(world.send(call.key(&unknown)).await.status, StatusCode::UNAUTHORIZED);
    }
    for call in calls() {
        assert_eq!(
            world.send(call.key(&key).key(&unknown)).await.status,
            StatusCode::UNAUTHORIZED,
            "two keys"
        );
    }
    for state in [AgentState::Paused, AgentState::Active, AgentState::Revoked] {
        world.gate.set_agent_state("support", state, "tests").await.unwrap();
        for call in calls() {
            let status = world.send(call.key(&key)).await.status;
            assert_eq!(status == StatusCode::FORBIDDEN, state != AgentState::Active, "{state:?}: {status}");
        }
    }
}

#[tokio::test]
async fn a_new_key_ends_the_old_one() {
    let (world, _, old) = World::declared().await;
    let new = world.gate.regenerate_key("plain", "tests").await.unwrap();
    assert_eq!(world.ask(&old, "t", &refund(1)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.ask(&new, "t", &refund(1)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_ephemeral_key_works_here_and_follows_its_agent() {
    let (world, ..) = World::declared().await;
    let key = world.gate.ephemeral_key("support").await.unwrap();
    assert!(world.gate.ephemeral_key("nobody").await.is_err());
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::OK);
    world.gate.set_agent_state("support", AgentState::Paused, "tests").await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::FORBIDDEN);
    world.gate.set_agent_state("support", AgentState::Active, "tests").await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(1)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bad_bodies_are_refused_in_plain_text() {
    let (world, key, _) = World::declared().await;
    let with = |name: &str, value: Value| {
        let mut body = refund(1);
        body[name] = value;
        body.to_string()
    };
    let twice = refund(1).to_string().replace(r#""amount":1"#, r#""amount":1,"amount":9999"#);
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        with("subject", json!(null)),
        with("tool_name", json!("")),
        with("risk_level", json!("enormous")),
        with("summary", json!("not a list")),
        with("summary", json!(vec!["x"; 101])),
        with("preview", json!("x".repeat(4097))),
        with("images", json!(vec!["x"; 17])),
        with("images", json!(["not base64!"])),
        with("images", json!([STANDARD.encode("<svg></svg>")])),
        with("images", json!(["data:image/png,plain"])),
        twice,
        format!("{}{}", "[".repeat(65), "]".repeat(65)),
        format!("\u{feff}{}", refund(1)),
    ] {
        let reply = world.send(post(REQUESTS).key(&key).bytes(body.clone())).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}: {}", reply.text());
        assert!(reply.header("content-type").unwrap().starts_with("text/plain"));
        assert_eq!(reply.header("gate-long-poll"), Some("60"));
    }
    let large = vec![b' '; 8 * 1024 * 1024 + 1];
    for path in [REQUESTS, EVENTS] {
        let reply = world.send(post(path).key(&key).bytes(large.clone())).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(world.gate.open_threads().await.unwrap().len(), 0);
}

#[tokio::test]
async fn images_are_told_apart_by_their_bytes() {
    let (world, key, _) = World::declared().await;
    let png = b"\x89PNG\r\n\x1a\nrest";
    let (jpeg, gif, webp) = (b"\xff\xd8\xff\xe0", b"GIF89a..", b"RIFF\0\0\0\0WEBPVP8 ");
    let mut body = refund(500);
    body["images"] = json!([
        STANDARD.encode(png),
        STANDARD.encode(jpeg).trim_end_matches('='),
        format!("data:text/html;base64,{}", STANDARD.encode(gif)),
        format!("data:image/webp;base64,{}", STANDARD.encode(webp)),
    ]);
    let asked = world.ask(&key, "t", &body).await.json();
    let cookie = world.sign_in().await;
    let page = world.page(&cookie, &format!("/threads/{}", asked["thread_id"].as_str().unwrap())).await;
    let ids: Vec<&str> = page
        .text()
        .split("<img src=\"/images/")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    for (id, media_type) in ids.iter().zip(["image/png", "image/jpeg", "image/gif", "image/webp"]) {
        let image = world.page(&cookie, &format!("/images/{id}")).await;
        assert_eq!(image.header("content-type"), Some(media_type));
        assert_eq!(image.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(image.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            world.send(get(&format!("/images/{id}"))).await.status,
            StatusCode::SEE_OTHER,
            "without a session"
        );
    }
    body["images"] = json!([STANDARD.encode([png.as_slice(), &vec![0; 5 * 1024 * 1024]].concat())]);
    assert_eq!(world.ask(&key, "t", &body).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unknown_fields_are_kept_and_shown() {
    let (world, key, _) = World::declared().await;
    let mut body = refund(500);
    body["cost_center"] = json!({"n": "<b>4711</b>"});
    let asked = world.ask(&key, "t", &body).await.json();
    let cookie = world.sign_in().await;
    let page = world.page(&cookie, &format!("/threads/{}", asked["thread_id"].as_str().unwrap())).await;
    assert!(page.text().contains("cost_center") && page.text().contains("&lt;b&gt;4711&lt;/b&gt;"));
}

#[tokio::test]
async fn every_answer_of_the_agent_api_announces_long_polls() {
    let (world, key, _) = World::declared().await;
    let calls: [Call; 5] = [
        post(REQUESTS).key(&key).json(&refund(1)),
        post(REQUESTS).json(&refund(1)),
        get("/api/agent/decisions").key(&key),
        get("/api/agent/decisions?task_id=none").key(&key),
        post("/api/agent/approvals/validate").key(&key).json(&json!({})),
    ];
    for call in calls {
        let reply = world.send(call).await;
        assert_eq!(reply.header("gate-long-poll"), Some("60"), "{}", reply.status);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    assert_eq!(
        world.send(call(Method::PUT, REQUESTS).key(&key)).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(world.send(get("/api/agent/nothing").key(&key)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_agent_that_floods_reviewers_has_to_wait() {
    let world = World::with(|options| {
        options.limits.threads_burst = 3;
        options.limits.threads_per_minute = 60;
    })
    .await;
    let keys = world.apply(&crate::world::declaration()).await;
    for _ in 0..3 {
        world.open(&keys[0], "t").await;
    }
    let refused = world.ask(&keys[0], "t", &refund(500)).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert_eq!(world.ask(&keys[0], "t", &refund(1)).await.status, StatusCode::OK, "rules decide as before");
    world.open(&keys[1], "t").await;
    world.clock.advance(std::time::Duration::from_secs(1));
    world.open(&keys[0], "t").await;
    assert_eq!(world.ask(&keys[0], "t", &refund(500)).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn without_a_declaration_a_person_is_asked() {
    let world = World::new().await;
    let key = world.gate.create_agent("alone", true, "tests").await.unwrap();
    assert_eq!(world.ask(&key, "t", &refund(1)).await.json()["status"], "pending_review");
}

#[tokio::test]
async fn an_escalated_thread_says_so_but_stays_pending_on_the_wire() {
    let (world, key, _) = World::declared().await;
    let asked = world.ask(&key, "t", &refund(2000)).await.json();
    assert_eq!(asked["status"], "pending_review");
    let answer = world.poll(&key, asked["thread_id"].as_str().unwrap()).await;
    assert_eq!((&answer["status"], &answer["thread_state"]), (&json!("pending_review"), &json!("escalated")));
}
