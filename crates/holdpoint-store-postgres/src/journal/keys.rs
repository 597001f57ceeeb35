//! Keys that all processes of a journal have.

use sqlx::postgres::PgConnection;

use super::rows::impossible_in;
use crate::error::Failure;

/// See [`super::PostgresJournal::key`].
pub(super) async fn key(
    session: &mut PgConnection,
    name: &str,
    proposed: [u8; 32],
) -> Result<[u8; 32], Failure> {
    // Of two that make it at once the second waits here, and then reads what the first one made.
    sqlx::query!(
        "INSERT INTO holdpoint.keys (name, key) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        name,
        proposed.as_slice()
    )
    .execute(&mut *session)
    .await?;
    let key = sqlx::query_scalar!("SELECT key FROM holdpoint.keys WHERE name = $1", name)
        .fetch_one(session)
        .await?;
    key.try_into().map_err(|_| impossible_in("keys", 0, "a key has 32 bytes"))
}
