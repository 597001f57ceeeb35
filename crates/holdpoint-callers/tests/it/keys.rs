//! Keys of our own.

use crate::door::{Door, authorization, later, resource};
use holdpoint_callers::{Callers, KeyRing, KeyRingError, Refusal, Resource, Strangers};
use holdpoint_core::{Principal, ServerName, Standing as _, StillThere};
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

/// What was read is not older than this.
const SOON: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_key_opens_until_it_is_revoked() {
    let door = Door::new();
    let key = door.key("billing");
    assert!(key.starts_with("hpc_"), "{key}");
    let principal = door.principal(&key).await;
    assert!(principal.starts_with("caller:billing#"), "{principal}");
    let principal = Principal::new(principal);
    assert_eq!(door.callers.is_still(&principal).await, StillThere::Yes);

    door.keys.revoke("billing").unwrap();
    // What waits is not let go on by what was true a moment ago.
    assert_eq!(door.callers.is_still(&principal).await, StillThere::No);
    later(SOON).await;
    let gone = Refusal::Invalid("this key is not known, or was revoked");
    assert_eq!(door.bearer(&key).await, Err(gone));
}

/// Another process makes and revokes keys; this one sees it soon.
#[tokio::test]
async fn another_process_is_seen() {
    let door = Door::new();
    let elsewhere = KeyRing::new(door.folder.path());
    let (key, caller) = elsewhere.create("night", None, &[9; 32], Timestamp::UNIX_EPOCH).unwrap();
    later(SOON).await;
    assert_eq!(door.principal(key.expose()).await, caller.principal().as_str());
    elsewhere.revoke("night").unwrap();
    later(SOON).await;
    assert!(door.bearer(key.expose()).await.is_err());
}

/// Whoever gets the name later is somebody else: what waited for the key that was revoked does not run for the new one.
#[tokio::test]
async fn a_name_that_is_used_again_is_another_caller() {
    let door = Door::new();
    let old = door.principal(&door.key("billing")).await;
    door.keys.revoke("billing").unwrap();
    let (key, _) = door.keys.create("billing", None, &[77; 32], Timestamp::UNIX_EPOCH).unwrap();
    later(SOON).await;
    let new = door.principal(key.expose()).await;
    assert_ne!(old, new);
    assert_eq!(door.callers.is_still(&Principal::new(old)).await, StillThere::No);
    assert_eq!(door.callers.is_still(&Principal::new(new)).await, StillThere::Yes);
}

#[tokio::test]
async fn what_is_presented_is_never_ignored() {
    for door in [Door::new(), Door::open_to("local")] {
        let key = door.key("billing");
        let mistyped = format!("{}Q", &key[..key.len() - 1]);
        let unknown = KeyRing::new(tempfile::tempdir().unwrap().path());
        assert!(unknown.list().unwrap().is_empty());
        for wrong in [
            format!("Bearer {mistyped}"),
            format!("Bearer {}", &key[..20]),
            "Bearer sg_your_agent_key".to_owned(),
            "Bearer ".to_owned(),
            "Bearer".to_owned(),
            "Bearer a b".to_owned(),
            "Basic bG9jYWw6".to_owned(),
            key.clone(),
            String::new(),
            format!("Bearer {}", "x".repeat(20_000)),
        ] {
            let refused = door.knock(&authorization(&wrong)).await.unwrap_err();
            assert!(matches!(refused, Refusal::Invalid(_)), "{wrong}: {refused:?}");
        }
        let mut twice = authorization(&format!("Bearer {key}"));
        twice.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer other"));
        assert!(matches!(door.knock(&twice).await, Err(Refusal::Malformed(_))));
        assert!(door.knock(&authorization(&format!("bearer  {key}"))).await.is_ok());
    }
}

#[tokio::test]
async fn nothing_is_presented() {
    assert_eq!(Door::new().knock(&HeaderMap::new()).await, Err(Refusal::Missing));
    let open = Door::open_to("local");
    let known = open.knock(&HeaderMap::new()).await.unwrap();
    assert_eq!((known.principal.as_str(), known.good_for), ("local", None));
    assert_eq!(open.callers.is_still(&Principal::new("local")).await, StillThere::Yes);
    // Who is not let in does not have its calls run either.
    assert_eq!(Door::new().callers.is_still(&Principal::new("local")).await, StillThere::No);
}

#[tokio::test]
async fn a_key_may_be_for_some_servers() {
    let door = Door::new();
    let servers = vec![ServerName::new("files")];
    let (key, _) = door.keys.create("reader", Some(servers), &[3; 32], Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(door.bearer(key.expose()).await, Err(Refusal::OtherServer));
    let files = Resource::new(ServerName::new("files"), "http://127.0.0.1/servers/files/mcp".to_owned());
    let headers = authorization(&format!("Bearer {}", key.expose()));
    assert!(door.callers.authenticate(&headers, &files).await.is_ok());
}

#[test]
fn the_file_holds_no_key_and_is_nobody_elses() {
    let door = Door::new();
    let key = door.key("billing");
    let path = door.folder.path().join("callers.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&key[4..20]), "{text}");
    assert!(text.contains("key_sha256"), "{text}");
}

/// A file that is not what was written, or that others may write, lets nobody in, and nobody goes on.
#[tokio::test]
async fn a_file_that_cannot_be_trusted() {
    let door = Door::new();
    let key = door.key("billing");
    let principal = Principal::new(door.principal(&key).await);
    let path = door.folder.path().join("callers.json");
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "{",
        &good.replace("\"version\": 1", "\"version\": 2"),
        &good.replace("\"hint\"", "\"expires_at\": 0, \"hint\""),
        &good.replace("\"billing\"", "\"bill#ing\""),
        &good.replacen("\"key_sha256\": \"", "\"key_sha256\": \"zz", 1),
    ] {
        assert_ne!(bad, good);
        fs::write(&path, bad).unwrap();
        later(SOON).await;
        assert_eq!(door.bearer(&key).await, Err(Refusal::Unavailable), "{bad}");
        assert_eq!(door.callers.is_still(&principal).await, StillThere::No, "{bad}");
        assert!(door.keys.revoke("billing").is_err(), "{bad}");
    }
    fs::write(&path, &good).unwrap();
    later(SOON).await;
    assert!(door.bearer(&key).await.is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
    later(SOON).await;
    assert_eq!(door.bearer(&key).await, Err(Refusal::Unavailable));
    assert!(matches!(door.keys.list(), Err(KeyRingError::Open(_))));
}

#[test]
fn names() {
    let door = Door::new();
    let create = |name: &str| door.keys.create(name, None, &[1; 32], Timestamp::UNIX_EPOCH).map(drop);
    let long = "n".repeat(65);
    for no in ["", "local#1", "a:b", "a b", "-a", ".a", "ä", "a\n", &long] {
        assert!(matches!(create(no), Err(KeyRingError::Name(_))), "{no:?}");
    }
    create("billing.night-2_a").unwrap();
    assert!(matches!(create("billing.night-2_a"), Err(KeyRingError::Taken(_))));
    assert!(matches!(door.keys.revoke("nobody"), Err(KeyRingError::Nobody(_))));
}

#[test]
fn there_is_a_limit() {
    let door = Door::new();
    let entries: Vec<String> = (0..1_000)
        .map(|n| {
            format!(
                r#"{{"name":"c{n}","key_sha256":"{n:064x}","hint":"","created_at":"2026-01-01T00:00:00Z"}}"#
            )
        })
        .collect();
    let path = door.folder.path().join("callers.json");
    fs::write(&path, format!(r#"{{"version":1,"callers":[{}]}}"#, entries.join(","))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(door.keys.list().unwrap().len(), 1_000);
    let one_more = door.keys.create("x", None, &[1; 32], Timestamp::UNIX_EPOCH);
    assert!(matches!(one_more, Err(KeyRingError::Full)));
}

/// Whoever changes the file at the same time loses nothing of the other.
#[test]
fn keys_that_are_made_at_once_are_all_kept() {
    let door = Door::new();
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let keys = KeyRing::new(door.folder.path());
            scope.spawn(move || {
                keys.create(&format!("c{n}"), None, &[n; 32], Timestamp::UNIX_EPOCH).unwrap();
            });
        }
    });
    assert_eq!(door.keys.list().unwrap().len(), 8);
}

/// Debug output goes to logs.
#[test]
fn nothing_shows() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyRing::new(folder.path());
    let (key, _) = keys.create("a", None, &[5; 32], Timestamp::UNIX_EPOCH).unwrap();
    let callers = Callers::new(keys, None, Strangers::Refused);
    let shown = format!("{key:?} {callers:?} {:?}", resource());
    assert!(!shown.contains(&key.expose()[4..20]), "{shown}");
}
