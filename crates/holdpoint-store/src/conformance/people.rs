use std::sync::Arc;

use holdpoint_api::declare::Role;

use super::{later, race, secret, start};
use crate::{CreateUser, LinkOutcome, NewUser, Store, User};

async fn user(store: &dyn Store, name: &str) -> User {
    let new = NewUser {
        name: name.to_owned(),
        password_hash: Some("$argon2id$x".to_owned()),
        role: Role::Admin,
        now: start(),
    };
    match store.create_user(new).await.unwrap() {
        CreateUser::Created(user) => user,
        CreateUser::NameTaken(_) => panic!("`{name}` is taken"),
    }
}

pub(super) async fn names_and_sessions(store: Arc<dyn Store>) {
    let ann = user(&*store, "ann").await;
    let again = NewUser { name: "ann".to_owned(), password_hash: None, role: Role::Reviewer, now: later(1) };
    assert_eq!(store.create_user(again).await.unwrap(), CreateUser::NameTaken(ann.clone()));
    assert_eq!(store.user_by_name("ann").await.unwrap(), Some(ann.clone()));
    assert_eq!(store.user_by_name("bob").await.unwrap(), None);
    assert_eq!(store.users().await.unwrap(), std::slice::from_ref(&ann));
    assert!(!format!("{ann:?}").contains("argon2"), "the password hash shows");

    store.create_session(ann.id, secret("s1"), later(60), start()).await.unwrap();
    store.create_session(ann.id, secret("s2"), later(60), start()).await.unwrap();
    assert_eq!(store.session(secret("s1"), later(59)).await.unwrap(), Some(ann.clone()));
    assert_eq!(store.session(secret("s1"), later(60)).await.unwrap(), None);
    assert_eq!(store.session(secret("s3"), later(1)).await.unwrap(), None);
    store.end_session(secret("s1")).await.unwrap();
    store.end_session(secret("s1")).await.unwrap();
    assert_eq!(store.session(secret("s1"), later(1)).await.unwrap(), None);
    assert!(store.change_user(ann.id, Role::Reviewer, None, later(1)).await.unwrap());
    assert_eq!(
        store.session(secret("s2"), later(1)).await.unwrap(),
        None,
        "a changed role needs a new session"
    );
    let changed = store.user_by_name("ann").await.unwrap().unwrap();
    assert_eq!((changed.role, changed.password_hash), (Role::Reviewer, ann.password_hash));
    assert!(!store.change_user(crate::UserId(999), Role::Admin, None, later(1)).await.unwrap());
}

pub(super) async fn a_link_signs_in_once(store: Arc<dyn Store>) {
    let ann = user(&*store, "ann").await;
    store.create_link(ann.id, secret("link"), later(60), start()).await.unwrap();
    store.create_link(ann.id, secret("old"), later(60), start()).await.unwrap();
    let outcomes = race(|_| {
        let store = Arc::clone(&store);
        async move { store.redeem_link(secret("link"), later(1)).await.unwrap() }
    })
    .await;
    let signed_in = outcomes.iter().filter(|outcome| **outcome == LinkOutcome::SignedIn(ann.clone())).count();
    assert_eq!(signed_in, 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == LinkOutcome::Used).count(), outcomes.len() - 1);
    assert_eq!(store.redeem_link(secret("old"), later(60)).await.unwrap(), LinkOutcome::Expired);
    assert_eq!(store.redeem_link(secret("none"), later(1)).await.unwrap(), LinkOutcome::Invalid);
    store.forget_expired(later(61)).await.unwrap();
    assert_eq!(store.redeem_link(secret("old"), later(1)).await.unwrap(), LinkOutcome::Invalid);
}
