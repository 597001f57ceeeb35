//! Sign-in links and sessions.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use crate::world::{World, get, post};

async fn token(world: &World, user: Option<&str>) -> String {
    world.gate.sign_in_link(user).await.unwrap().url.split_once("token=").unwrap().1.to_owned()
}

#[tokio::test]
async fn looking_at_a_link_does_not_use_it_up() {
    let world = World::new().await;
    let token = token(&world, None).await;
    for _ in 0..3 {
        let page = world.send(get(&format!("/sign-in?token={token}"))).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(
            page.text().contains(r#"<form method="post" action="/sign-in">"#) && page.text().contains(&token)
        );
        assert!(page.header("set-cookie").is_none());
    }
    let entered = world.send(post("/sign-in").form(&format!("token={token}"))).await;
    assert_eq!((entered.status, entered.header("location")), (StatusCode::SEE_OTHER, Some("/")));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("holdpoint-7878=")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict")
    );
    assert!(!cookie.contains("Secure"), "a browser would drop it on plain http");
    assert_eq!(world.page(&entered.cookie(), "/").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_signs_in_once() {
    let world = World::new().await;
    let form = format!("token={}", token(&world, None).await);
    let replies = join_all((0..64).map(|_| world.send(post("/sign-in").form(&form)))).await;
    let entered = replies.iter().filter(|reply| reply.status == StatusCode::SEE_OTHER).count();
    assert_eq!(entered, 1);
    assert!(
        replies
            .iter()
            .filter(|reply| reply.status == StatusCode::FORBIDDEN)
            .all(|reply| reply.text().contains("used before"))
    );
}

#[tokio::test]
async fn links_and_sessions_end() {
    let world = World::new().await;
    let old = token(&world, None).await;
    world.clock.advance(Duration::from_mins(15));
    let late = world.send(post("/sign-in").form(&format!("token={old}"))).await;
    assert_eq!(late.status, StatusCode::FORBIDDEN);
    assert!(late.text().contains("too old"));
    for wrong in ["", "token=", "token=abc", "other=1"] {
        assert_eq!(world.send(post("/sign-in").form(wrong)).await.status, StatusCode::FORBIDDEN, "{wrong}");
    }
    let cookie = world.sign_in().await;
    world.clock.advance(Duration::from_hours(7 * 24 - 1));
    assert_eq!(world.page(&cookie, "/").await.status, StatusCode::OK);
    world.clock.advance(Duration::from_hours(1));
    let over = world.page(&cookie, "/").await;
    assert_eq!((over.status, over.header("location")), (StatusCode::SEE_OTHER, Some("/sign-in")));
}

#[tokio::test]
async fn signing_out_ends_the_session_itself() {
    let world = World::new().await;
    let cookie = world.sign_in().await;
    let out = world.send(post("/sign-out").cookie(&cookie)).await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(world.page(&cookie, "/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(world.send(post("/threads/T/decision").cookie(&cookie).form("a=b")).await.status, 401);
}

#[tokio::test]
async fn behind_https_the_cookie_is_locked_to_it() {
    let world = World::with(|options| options.public_url = "https://gate.example".parse().unwrap()).await;
    let token = token(&world, None).await;
    let entered =
        world.send(post("/sign-in").header("host", "gate.example").form(&format!("token={token}"))).await;
    let cookie = entered.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-holdpoint=") && cookie.contains("; Secure") && cookie.contains("Path=/;")
    );
}

#[tokio::test]
async fn a_link_followed_from_another_site_comes_again_from_here() {
    let world = World::new().await;
    let away = world.send(get("/threads/THR-1").header("sec-fetch-site", "cross-site")).await;
    assert_eq!(away.status, StatusCode::OK);
    assert!(away.text().contains(r#"http-equiv="refresh""#));
    let here = world.send(get("/threads/THR-1").header("sec-fetch-site", "same-origin")).await;
    assert_eq!(here.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn only_declared_users_get_in() {
    let world = World::new().await;
    assert!(world.gate.sign_in_link(Some("anna")).await.is_err());
    world.apply(&json!({"users": [{"name": "anna"}]})).await;
    let anna = token(&world, Some("anna")).await;
    let unused = token(&world, Some("anna")).await;
    let cookie = world.send(post("/sign-in").form(&format!("token={anna}"))).await.cookie();
    assert!(world.page(&cookie, "/").await.text().contains("anna"));
    world.apply(&json!({})).await;
    assert_eq!(world.page(&cookie, "/").await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        world.send(post("/sign-in").form(&format!("token={unused}"))).await.status,
        StatusCode::FORBIDDEN
    );
    assert!(world.gate.sign_in_link(Some("anna")).await.is_err());
    world.sign_in().await;
}

#[tokio::test]
async fn secrets_do_not_show_in_debug() {
    let world = World::new().await;
    let link = world.gate.sign_in_link(None).await.unwrap();
    assert!(!format!("{link:?}").contains("token="));
    assert!(!format!("{:?}", world.gate).contains(crate::world::ADMIN));
}
