//! Who is let in: hosts, origins, sites.

use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{Call, HOST, World, call, get, post, refund};

fn all_routes() -> Vec<(Method, &'static str)> {
    vec![
        (Method::GET, "/"),
        (Method::GET, "/threads/THR-00000000"),
        (Method::POST, "/threads/THR-00000000/decision"),
        (Method::GET, "/images/1"),
        (Method::GET, "/live"),
        (Method::GET, "/sign-in"),
        (Method::POST, "/sign-in"),
        (Method::POST, "/sign-out"),
        (Method::GET, "/assets/inbox.js"),
        (Method::GET, "/health"),
        (Method::POST, "/api/agent/tasks/t/events"),
        (Method::POST, "/api/agent/tasks/t/requests"),
        (Method::GET, "/api/agent/decisions?task_id=t"),
        (Method::POST, "/api/agent/approvals/validate"),
        (Method::GET, "/api/admin/threads"),
        (Method::GET, "/api/admin/threads/THR-00000000"),
        (Method::POST, "/api/admin/threads/THR-00000000/approve"),
        (Method::POST, "/api/admin/threads/THR-00000000/reject"),
        (Method::POST, "/api/admin/agents"),
        (Method::PUT, "/api/admin/declaration"),
        (Method::POST, "/api/admin/sign-in-links"),
        (Method::GET, "/nowhere"),
    ]
}

/// What is added to the administrators' routes is tried here as well.
#[test]
fn no_admin_route_is_forgotten() {
    let source = include_str!("../../src/http/admin.rs");
    let routes = source.split(".route(\"").skip(1).filter_map(|rest| rest.split_once("\", "));
    let mut there: Vec<_> = routes
        .map(|(path, rest)| {
            let method = rest.split('(').next().unwrap_or_default().to_uppercase();
            (method, path.replace("{thread_id}", "THR-00000000"))
        })
        .collect();
    let admin = all_routes().into_iter().filter(|(_, path)| path.starts_with("/api/admin"));
    let mut tried: Vec<_> = admin.map(|(method, path)| (method.to_string(), path.to_owned())).collect();
    there.sort();
    tried.sort();
    assert!(there.len() > 5, "{there:?}");
    assert_eq!(there, tried);
}

#[tokio::test]
async fn a_name_that_was_rebound_gets_nowhere() {
    let (world, key, _) = World::declared().await;
    for (method, path) in all_routes() {
        for host in [
            "evil.test",
            "evil.test:7878",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "a@127.0.0.1",
            "128.0.0.1",
            "[::2]",
        ] {
            let reply = world.send(call(method.clone(), path).header("host", host).key(&key)).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path} as {host}");
        }
        let origin = "https://evil.test";
        let reply = world.send(call(method.clone(), path).header("origin", origin).key(&key)).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path} from {origin}");
    }
    assert_eq!(world.gate.open_threads().await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_names_it_goes_by_are_let_in() {
    let world = World::with(|options| {
        options.public_url = "https://Gate.Example:8443".parse().unwrap();
        options.allowed_hosts = vec!["gate.internal".to_owned(), "10.0.0.7:8000".to_owned()];
    })
    .await;
    for host in [
        "127.0.0.1",
        "127.1.2.3:9",
        "localhost:1",
        "LOCALHOST",
        "[::1]:80",
        "gate.example",
        "GATE.example:8443",
        "gate.internal:99",
        "10.0.0.7",
    ] {
        assert_eq!(world.send(get("/health").header("host", host)).await.status, StatusCode::OK, "{host}");
    }
    assert_eq!(world.send(get("/health").header("host", "10.0.0.8")).await.status, StatusCode::FORBIDDEN);
    let two = get("/health").header("host", "localhost").header("host", "evil.test");
    assert_eq!(world.send(two).await.status, StatusCode::FORBIDDEN);
    let absolute = get("http://evil.test/health").header("host", "localhost");
    assert_eq!(world.send(absolute).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn forms_of_other_sites_do_nothing() {
    let (world, key, _) = World::declared().await;
    let thread = world.open(&key, "t").await;
    let cookie = world.sign_in().await;
    let path = format!("/threads/{thread}/decision");
    let form = || post(&path).cookie(&cookie).form("verdict=approve&revision=initial&note=");
    let refused: [(&str, Call); 5] = [
        ("cross-site", form().header("sec-fetch-site", "cross-site")),
        ("same-site", form().header("sec-fetch-site", "same-site")),
        ("other port", form().header("origin", "http://127.0.0.1:9999")),
        ("opaque", form().header("origin", "null")),
        ("both", form().header("origin", "http://evil.test").header("sec-fetch-site", "cross-site")),
    ];
    for (name, call) in refused {
        assert_eq!(world.send(call).await.status, StatusCode::FORBIDDEN, "{name}");
    }
    assert_eq!(world.poll(&key, &thread).await["status"], "pending_review");
    let own = form().header("origin", &format!("http://{HOST}")).header("sec-fetch-site", "same-origin");
    assert_eq!(world.send(own).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn pages_carry_their_policy() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    for path in ["/", "/?folder=all", "/threads/THR-00000000", "/sign-in"] {
        let page = world.page(&cookie, path).await;
        let policy = page.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        assert!(
            !page.text().contains("style=")
                && !page.text().contains("<script>")
                && !page.text().contains("onclick")
        );
    }
}

#[tokio::test]
async fn an_agents_key_opens_nothing_but_the_agent_api() {
    let (world, key, _) = World::declared().await;
    for (method, path) in all_routes().into_iter().filter(|(_, path)| path.starts_with("/api/admin")) {
        let reply = world.send(call(method, path).key(&key).json(&json!({}))).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(world.send(get("/").key(&key)).await.status, StatusCode::SEE_OTHER, "to the sign-in page");
    let cookie = world.sign_in().await;
    let with_cookie = post("/api/agent/tasks/t/requests").cookie(&cookie).json(&refund(1));
    assert_eq!(world.send(with_cookie).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.send(get("/api/admin/threads").cookie(&cookie)).await.status, StatusCode::UNAUTHORIZED);
}
