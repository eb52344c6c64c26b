//! Users: the ledger knows their public keys, and computes their view keys itself.

use lockstep_core::Uuid;
use lockstep_core::mixin::PublicKey;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex, signed};
use crate::ledger::wire::{Hex32, UserRow};

/// Longest display name.
const NAME_BYTES_MAX: usize = 64;

/// A registered user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) session: Uuid,
    pub(crate) session_public: [u8; 32],
    pub(crate) spend_public: [u8; 32],
}

impl FromRow<'_, SqliteRow> for User {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let decode = |error: CallError| sqlx::Error::Decode(error.into());
        let uuid = |column: &str| -> sqlx::Result<Uuid> {
            Uuid::try_parse(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()))
        };
        Ok(Self {
            id: uuid("id")?,
            session: uuid("session")?,
            session_public: from_hex(row.try_get("session_public")?, "session key").map_err(decode)?,
            spend_public: from_hex(row.try_get("spend_public")?, "spend key").map_err(decode)?,
        })
    }
}

impl From<&User> for UserRow {
    fn from(user: &User) -> Self {
        Self { user_id: user.id, has_safe: true, spend_public_key: Some(Hex32(user.spend_public)) }
    }
}

/// The user `id`, where there is one.
pub(crate) async fn find(db: &mut SqliteConnection, id: Uuid) -> Result<Option<User>, CallError> {
    let query = sqlx::query_as("select id, session, session_public, spend_public from user where id = $1");
    Ok(query.bind(id.to_string()).fetch_optional(db).await?)
}

/// The user `id`; unknown ones cannot be paid.
pub(crate) async fn receiver(db: &mut SqliteConnection, id: Uuid) -> Result<User, CallError> {
    find(db, id).await?.ok_or_else(|| Refusal::UnknownUser(id).into())
}

/// Body of `POST /admin/users`: what the dashboard and `POST /safe/users` do at the real service.
#[derive(Debug, Deserialize)]
pub(crate) struct NewUser {
    /// The user's id; derived from the spend key when absent.
    user_id: Option<Uuid>,
    /// The session's id; derived from the session key when absent.
    session_id: Option<Uuid>,
    /// Ed25519 key that signs the tokens.
    session_public_key: Hex32,
    /// Ed25519 key that spends.
    spend_public_key: Hex32,
    /// For people.
    #[serde(default)]
    full_name: String,
}

/// Reply to [`NewUser`]: what goes into a key file beside the private keys.
#[derive(Debug, Serialize)]
pub(crate) struct Registered {
    user_id: Uuid,
    session_id: Uuid,
    spend_public_key: Hex32,
    server_public_key: Hex32,
}

/// Registers a user for ever. The same body again has the same answer; other keys for a known id are refused.
pub(crate) async fn register(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    new: &NewUser,
) -> Result<Registered, CallError> {
    let (session_public, spend_public) = (new.session_public_key.0, new.spend_public_key.0);
    for key in [session_public, spend_public] {
        if let Err(error) = PublicKey::from_bytes(key) {
            return Err(Refusal::Field(format!("{}: {error}", hex::encode(key))).into());
        }
    }
    if new.full_name.len() > NAME_BYTES_MAX {
        return Err(Refusal::Field(format!("full_name has at most {NAME_BYTES_MAX} bytes")).into());
    }
    let id = new.user_id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, &spend_public));
    let session = new.session_id.unwrap_or_else(|| Uuid::new_v5(&Uuid::NAMESPACE_OID, &session_public));
    sqlx::query(
        "insert into user (id, session, session_public, spend_public, name, created_at) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing",
    )
    .bind(id.to_string())
    .bind(session.to_string())
    .bind(hex::encode(session_public))
    .bind(hex::encode(spend_public))
    .bind(&new.full_name)
    .bind(signed(ledger.clock.now()))
    .execute(&mut *db)
    .await?;
    let same = |user: &User| {
        user.session == session && user.session_public == session_public && user.spend_public == spend_public
    };
    if !find(db, id).await?.as_ref().is_some_and(same) {
        return Err(Refusal::Field(format!("user {id} or session {session} exists with other keys")).into());
    }
    Ok(Registered {
        user_id: id,
        session_id: session,
        spend_public_key: new.spend_public_key,
        server_public_key: Hex32(ledger.secrets.server_public()?.to_bytes()),
    })
}
