//! Users, sign-in links, sessions.

use async_trait::async_trait;
use holdpoint_api::SecretHash;
use holdpoint_api::declare::Role;
use holdpoint_store::{CreateUser, LinkOutcome, LogEntry, NewUser, People, StoreError, User, UserId};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::log::{self, LogInsert};
use super::rows::{self, RawUser};
use crate::error::WriteError;
use crate::writer::reading;

fn access(user: &str, what: &str, now: Timestamp) -> Result<LogInsert, StoreError> {
    LogInsert::new(now, &LogEntry::Access { user: user.to_owned(), what: what.to_owned() })
}

async fn create(connection: &mut SqliteConnection, new: NewUser) -> Result<CreateUser, WriteError> {
    let NewUser { name, password_hash, role, now } = new;
    let (word, at) = (role.as_str(), now.as_microsecond());
    let done = sqlx::query!(
        "INSERT INTO users (name, password_hash, role, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
        name,
        password_hash,
        word,
        at
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        let taken = sqlx::query_as!(
            RawUser,
            "SELECT id, name, password_hash, role, created_at FROM users WHERE name = $1",
            name
        )
        .fetch_one(connection)
        .await?;
        return Ok(CreateUser::NameTaken(User::try_from(taken)?));
    }
    let id = UserId(done.last_insert_rowid());
    log::insert(connection, access(&name, "created", now)?).await?;
    let created_at = rows::instant("users", &id.0, at)?;
    Ok(CreateUser::Created(User { id, name, password_hash, role, created_at }))
}

async fn redeem(
    connection: &mut SqliteConnection,
    hash: SecretHash,
    now: Timestamp,
) -> Result<LinkOutcome, WriteError> {
    let (hash, at) = (hash.as_bytes().as_slice(), now.as_microsecond());
    let redeemed = sqlx::query!(
        r#"UPDATE sign_in_links SET used_at = $2 WHERE hash = $1 AND used_at IS NULL AND expires_at > $2
        RETURNING user_id AS "user_id!: i64""#,
        hash,
        at
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = redeemed {
        let found = sqlx::query_as!(
            RawUser,
            "SELECT id, name, password_hash, role, created_at FROM users WHERE id = $1",
            row.user_id
        )
        .fetch_one(&mut *connection)
        .await?;
        let user = User::try_from(found)?;
        log::insert(connection, access(&user.name, "signed in by link", now)?).await?;
        return Ok(LinkOutcome::SignedIn(user));
    }
    let link = sqlx::query!("SELECT used_at FROM sign_in_links WHERE hash = $1", hash)
        .fetch_optional(connection)
        .await?;
    Ok(match link {
        None => LinkOutcome::Invalid,
        Some(row) if row.used_at.is_some() => LinkOutcome::Used,
        Some(_) => LinkOutcome::Expired,
    })
}

#[async_trait]
impl People for SqliteStore {
    async fn create_user(&self, user: NewUser) -> Result<CreateUser, StoreError> {
        self.writer.many(move |transaction| Box::pin(create(&mut transaction.connection, user))).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query_as!(
            RawUser,
            "SELECT id, name, password_hash, role, created_at FROM users ORDER BY name"
        )
        .fetch_all(&self.readers)
        .await
        .map_err(reading)?;
        rows.into_iter().map(User::try_from).collect()
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let row = sqlx::query_as!(
            RawUser,
            "SELECT id, name, password_hash, role, created_at FROM users WHERE name = $1",
            name
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(reading)?;
        row.map(User::try_from).transpose()
    }

    async fn change_user(
        &self,
        id: UserId,
        role: Role,
        password_hash: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let password_hash = password_hash.map(str::to_owned);
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let connection = &mut transaction.connection;
                    let word = role.as_str();
                    let changed = sqlx::query!(
                        r#"UPDATE users SET role = $2, password_hash = coalesce($3, password_hash) WHERE id = $1
                        RETURNING name AS "name!: String""#,
                        id.0,
                        word,
                        password_hash
                    )
                    .fetch_optional(&mut *connection)
                    .await?;
                    let Some(user) = changed else { return Ok(false) };
                    sqlx::query!("DELETE FROM sessions WHERE user_id = $1", id.0).execute(&mut *connection).await?;
                    log::insert(connection, access(&user.name, "changed", now)?).await?;
                    Ok(true)
                })
            })
            .await
    }

    async fn create_link(
        &self,
        user: UserId,
        hash: SecretHash,
        expires_at: Timestamp,
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .one(move |transaction| {
                Box::pin(async move {
                    let (hash, expires_at) = (hash.as_bytes().as_slice(), expires_at.as_microsecond());
                    sqlx::query!(
                        "INSERT INTO sign_in_links (hash, user_id, expires_at) VALUES ($1, $2, $3)",
                        hash,
                        user.0,
                        expires_at
                    )
                    .execute(&mut transaction.connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn redeem_link(&self, hash: SecretHash, now: Timestamp) -> Result<LinkOutcome, StoreError> {
        self.writer.many(move |transaction| Box::pin(redeem(&mut transaction.connection, hash, now))).await
    }

    async fn create_session(
        &self,
        user: UserId,
        hash: SecretHash,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .one(move |transaction| {
                Box::pin(async move {
                    let hash = hash.as_bytes().as_slice();
                    let (at, expires_at) = (now.as_microsecond(), expires_at.as_microsecond());
                    sqlx::query!(
                        "INSERT INTO sessions (hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)",
                        hash,
                        user.0,
                        at,
                        expires_at
                    )
                    .execute(&mut transaction.connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn session(&self, hash: SecretHash, now: Timestamp) -> Result<Option<User>, StoreError> {
        let (hash, at) = (hash.as_bytes().as_slice(), now.as_microsecond());
        let row = sqlx::query_as!(
            RawUser,
            "SELECT u.id, u.name, u.password_hash, u.role, u.created_at
            FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1 AND s.expires_at > $2",
            hash,
            at
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(reading)?;
        row.map(User::try_from).transpose()
    }

    async fn end_session(&self, hash: SecretHash) -> Result<(), StoreError> {
        self.writer
            .one(move |transaction| {
                Box::pin(async move {
                    let hash = hash.as_bytes().as_slice();
                    sqlx::query!("DELETE FROM sessions WHERE hash = $1", hash)
                        .execute(&mut transaction.connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer
            .many(move |transaction| {
                Box::pin(async move {
                    let at = now.as_microsecond();
                    let connection = &mut transaction.connection;
                    sqlx::query!("DELETE FROM sessions WHERE expires_at <= $1", at)
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query!("DELETE FROM sign_in_links WHERE expires_at <= $1", at)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}
