//! The key service: one-time keys for receivers, the same for the same question (`reference/mixin.md` 1.4, 2.2).

use std::collections::BTreeSet;

use lockstep_core::Uuid;
use lockstep_core::account::MEMBERS_MAX;
use lockstep_core::mixin::ids::members_hash;
use sqlx::SqliteConnection;

use super::faults::{Fault, Place};
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex, from_json, to_json};
use super::{admin, kernel, users};
use crate::ledger::wire::{GHOST_KEY_TYPE, GhostKeyRow, Hex32, KeyRequest, KeysBody};

/// Most outputs asked for at once: as many as a transaction can have.
const REQUESTS_MAX: usize = 256;

/// A one-time key that this service made, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) user: Uuid,
    pub(crate) mask: [u8; 32],
    pub(crate) index: u16,
}

/// Answers `POST /safe/keys`.
pub(crate) async fn answer(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    body: &KeysBody,
) -> Result<Vec<GhostKeyRow>, CallError> {
    let (requests, scope) = match body {
        KeysBody::Own(keys) => (keys, caller.to_string()),
        KeysBody::Senders { keys, senders } => {
            if !senders.contains(&caller) {
                return Err(Refusal::Forbidden("the caller is none of the senders").into());
            }
            if senders.len() > MEMBERS_MAX {
                return Err(Refusal::Field(format!("there are at most {MEMBERS_MAX} senders")).into());
            }
            (keys, hex::encode(members_hash(senders)))
        }
    };
    if requests.is_empty() || requests.len() > REQUESTS_MAX {
        return Err(Refusal::Field(format!("keys are asked for 1 to {REQUESTS_MAX} outputs")).into());
    }
    let mut rows = Vec::with_capacity(requests.len());
    let place = Place::of(std::slice::from_ref(&caller));
    for request in requests {
        let row = match ledger.faults.acts(place, &Fault::FreshKeys) {
            // A scope that was never asked in has keys of its own.
            Some(_) => issue(ledger, db, &format!("{scope}/{}", ledger.clock.now()), request).await?,
            None => issue(ledger, db, &scope, request).await?,
        };
        steal(ledger, db, caller, request.index, &row).await?;
        rows.push(row);
    }
    Ok(rows)
}

/// A stranger who knew the keys before they were asked for makes a transaction of his own that uses them.
async fn steal(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    index: u16,
    row: &GhostKeyRow,
) -> Result<(), CallError> {
    for key in &row.keys {
        if kernel::key_holder(db, &key.to_string()).await?.is_some() {
            return Ok(());
        }
    }
    match ledger.faults.acts(Place::of(&[caller]), &Fault::StealKeys { index }) {
        Some(_) => admin::strangers_transaction(ledger, db, row).await,
        None => Ok(()),
    }
}

/// The keys for one output: those given before, or new ones.
pub(crate) async fn issue(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    scope: &str,
    request: &KeyRequest,
) -> Result<GhostKeyRow, CallError> {
    let receivers: BTreeSet<Uuid> = request.receivers.iter().copied().collect();
    if receivers.is_empty() || receivers.len() > MEMBERS_MAX || receivers.len() != request.receivers.len() {
        return Err(Refusal::Field(format!("an output has 1 to {MEMBERS_MAX} different receivers")).into());
    }
    let listed = to_json(&receivers)?;
    let hint = request.hint.to_string();
    let known: Option<(String, String, String)> =
        sqlx::query_as("select receivers, mask, keys from ghost where scope = $1 and hint = $2 and position = $3")
            .bind(scope)
            .bind(&hint)
            .bind(request.index)
            .fetch_optional(&mut *db)
            .await?;
    if let Some((before, mask, keys)) = known {
        if before != listed {
            return Err(Refusal::Field(format!("hint {hint} was used for other receivers")).into());
        }
        let mask = Hex32(from_hex(&mask, "mask")?);
        return Ok(GhostKeyRow { kind: GHOST_KEY_TYPE.into(), mask, keys: from_json(&keys, "keys")? });
    }

    let mut users = Vec::with_capacity(receivers.len());
    for receiver in &receivers {
        users.push(users::receiver(db, *receiver).await?);
    }
    let secret = ledger.secrets.mask_secret(scope, request.hint, request.index)?;
    let mask = secret.public().to_bytes();
    let mut keys = Vec::with_capacity(users.len());
    for user in &users {
        let key = ledger.secrets.one_time_key(&secret, user, request.index)?.to_bytes();
        sqlx::query("insert into ghost_key (key, user, mask, position) values ($1, $2, $3, $4)")
            .bind(hex::encode(key))
            .bind(user.id.to_string())
            .bind(hex::encode(mask))
            .bind(request.index)
            .execute(&mut *db)
            .await?;
        keys.push(Hex32(key));
    }
    sqlx::query("insert into ghost (scope, hint, position, receivers, mask, keys) values ($1, $2, $3, $4, $5, $6)")
        .bind(scope)
        .bind(&hint)
        .bind(request.index)
        .bind(&listed)
        .bind(hex::encode(mask))
        .bind(to_json(&keys)?)
        .execute(&mut *db)
        .await?;
    Ok(GhostKeyRow { kind: GHOST_KEY_TYPE.into(), mask: Hex32(mask), keys })
}

/// For whom this service made `key`, if it did.
pub(crate) async fn issued(db: &mut SqliteConnection, key: &[u8; 32]) -> Result<Option<Issued>, CallError> {
    let row: Option<(String, String, u16)> =
        sqlx::query_as("select user, mask, position from ghost_key where key = $1")
            .bind(hex::encode(key))
            .fetch_optional(db)
            .await?;
    let Some((user, mask, index)) = row else { return Ok(None) };
    let user = Uuid::try_parse(&user).map_err(|_| CallError::Corrupt("user"))?;
    Ok(Some(Issued { user, mask: from_hex(&mask, "mask")?, index }))
}

/// Who can spend an output with these `keys`: the users in the order of the keys, or `None` where one of the keys was not
/// made here for this mask and index, so that its owner could not find it.
pub(crate) async fn owners(
    db: &mut SqliteConnection,
    keys: &[[u8; 32]],
    mask: &[u8; 32],
    index: u16,
) -> Result<Option<Vec<Uuid>>, CallError> {
    let mut owners = Vec::with_capacity(keys.len());
    for key in keys {
        match issued(db, key).await? {
            Some(issued) if issued.mask == *mask && issued.index == index => owners.push(issued.user),
            Some(_) | None => return Ok(None),
        }
    }
    Ok(Some(owners))
}
