use async_trait::async_trait;
use holdpoint_api::SecretHash;
use holdpoint_api::declare::Role;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Which user. Given by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

/// Somebody who may sign in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Given by the store.
    pub id: UserId,
    /// Unique.
    pub name: String,
    /// An argon2 hash; absent: only links let them in.
    pub password_hash: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When they were made.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, name, password_hash: _, role, created_at } = self;
        f.debug_struct("User")
            .field("id", id)
            .field("name", name)
            .field("role", role)
            .field("created_at", created_at)
            .finish_non_exhaustive()
    }
}

/// Somebody to be let in.
#[derive(Clone)]
pub struct NewUser {
    /// Unique.
    pub name: String,
    /// An argon2 hash.
    pub password_hash: Option<String>,
    /// What they may do.
    pub role: Role,
    /// When.
    pub now: Timestamp,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// How making a user went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateUser {
    /// They are there.
    Created(User),
    /// The name is taken by this user; nothing was changed.
    NameTaken(User),
}

/// How following a sign-in link went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// It was good and is used now.
    SignedIn(User),
    /// It was used before.
    Used,
    /// It is too old.
    Expired,
    /// No such link.
    Invalid,
}

/// Reviewers and how they get in.
#[async_trait]
pub trait People: Send + Sync {
    /// Makes a user.
    async fn create_user(&self, user: NewUser) -> Result<CreateUser, StoreError>;

    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// A user by name.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError>;

    /// Changes role and, when given, password. Their sessions end. False when there is no such user.
    async fn change_user(
        &self,
        id: UserId,
        role: Role,
        password_hash: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Keeps the hash of a one-time link.
    async fn create_link(
        &self,
        user: UserId,
        hash: SecretHash,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Uses a link up; of any number at once one signs in.
    async fn redeem_link(&self, hash: SecretHash, now: Timestamp) -> Result<LinkOutcome, StoreError>;

    /// Keeps the hash of a session's id.
    async fn create_session(
        &self,
        user: UserId,
        hash: SecretHash,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whose session it is, while it lasts.
    async fn session(&self, hash: SecretHash, now: Timestamp) -> Result<Option<User>, StoreError>;

    /// Ends a session; one that is over already is fine.
    async fn end_session(&self, hash: SecretHash) -> Result<(), StoreError>;

    /// Forgets sessions and links whose time was over before `now`.
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError>;
}
