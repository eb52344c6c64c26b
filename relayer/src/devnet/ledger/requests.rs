//! Requests: transactions that the API knows by a client's id, from draft to finality (`reference/mixin.md` 1.5, 1.6).

use lockstep_core::mixin::ids::members_hash;
use lockstep_core::mixin::{CoinKeys, PublicKey, RawKey, Script, SignedTransaction};
use lockstep_core::{Amount, AssetId, B256, Uuid};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::faults::{Fault, Place};
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex, from_json, signed, to_json, unsigned};
use super::{assets, ghosts, outputs};
use crate::ledger::wire::{
    Hex32, HexBytes, LedgerTime, MULTISIG_TYPE, MultisigRow, OutputRow, OutputState, ReceiverRow, TRANSACTION_TYPE,
    TransactionRow, View,
};

mod create;
mod sign;

pub(crate) use create::create;
pub(crate) use sign::{revoke, send_next, sign, submit, unlock};

/// Requests that one call may carry.
pub(crate) const BATCH_MAX: usize = 16;

/// Which calls a request belongs to. Both kinds share one space of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `/safe/transaction/requests`: the caller alone owns the coins.
    Single,
    /// `/safe/multisigs`: the caller is one of the owners.
    Multisig,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Multisig => "multisig",
        }
    }
}

/// A request as the database holds it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) hash: B256,
    /// With the signatures collected so far.
    pub(crate) raw: Vec<u8>,
    pub(crate) creator: Uuid,
    pub(crate) asset: AssetId,
    /// What output 0 holds.
    pub(crate) amount: Amount,
    pub(crate) extra: Vec<u8>,
    pub(crate) senders: Vec<Uuid>,
    pub(crate) threshold: u8,
    pub(crate) receivers: Vec<ReceiverRow>,
    /// Senders that signed every input.
    pub(crate) signers: Vec<Uuid>,
    pub(crate) inscription: Option<Hex32>,
    pub(crate) state: OutputState,
    pub(crate) revoked_by: Option<Uuid>,
    pub(crate) created_at: u64,
    pub(crate) updated_at: u64,
    pub(crate) snapshot: Option<Hex32>,
    pub(crate) snapshot_at: Option<u64>,
}

impl Request {
    /// The transaction, with the signatures collected so far.
    fn transaction(&self) -> Result<SignedTransaction, CallError> {
        SignedTransaction::decode(&self.raw).map_err(|_| CallError::Corrupt("request"))
    }

    /// True while signatures are missing and may still come.
    fn is_open(&self) -> bool {
        self.state == OutputState::Unspent && self.revoked_by.is_none()
    }
}

/// The coins that a transaction spends, all owned alike.
pub(crate) struct Funds {
    pub(crate) owners: Vec<Uuid>,
    pub(crate) threshold: u8,
    pub(crate) coins: Vec<Held>,
}

/// A coin of [`Funds`].
pub(crate) struct Held {
    pub(crate) row: OutputRow,
    /// The owner of each key.
    pub(crate) key_owners: Vec<Uuid>,
}

impl Held {
    /// What the kernel checks signatures against.
    pub(crate) fn keys(&self) -> CoinKeys {
        let keys = self.row.keys.iter().map(|key| RawKey(key.0)).collect();
        CoinKeys { keys, script: Script::of_threshold(self.row.receivers_threshold) }
    }

    /// The place of a user's key.
    pub(crate) fn key_index(&self, user: Uuid) -> Option<u16> {
        self.key_owners.iter().position(|owner| *owner == user).and_then(|index| u16::try_from(index).ok())
    }
}

/// The coins behind the inputs of a transaction. Coins that the API does not list, or of different owners, are refused.
pub(crate) async fn funds(db: &mut SqliteConnection, transaction: &SignedTransaction) -> Result<Funds, CallError> {
    let coins = transaction.transaction().coins();
    let coins = coins.ok_or_else(|| Refusal::Field("raw: every input must be a coin".into()))?;
    let mut held: Vec<Held> = Vec::with_capacity(coins.len());
    for coin in coins {
        let hash = hex::encode(coin.transaction);
        let row = outputs::of_coin(db, &hash, coin.index).await?;
        let row = row.ok_or_else(|| Refusal::Field(format!("raw: input not found {hash}:{}", coin.index)))?;
        let keys: Vec<_> = row.keys.iter().map(|key| key.0).collect();
        let key_owners = ghosts::owners(db, &keys, &row.mask.0, coin.index).await?;
        held.push(Held { row, key_owners: key_owners.ok_or(CallError::Corrupt("keys"))? });
    }
    let first = held.first().map(|coin| (coin.row.receivers.clone(), coin.row.receivers_threshold));
    let (owners, threshold) = first.ok_or_else(|| Refusal::Field("raw: no inputs".into()))?;
    if held.iter().any(|coin| coin.row.receivers != owners || coin.row.receivers_threshold != threshold) {
        return Err(Refusal::Field("raw: the inputs have different owners".into()).into());
    }
    Ok(Funds { owners, threshold, coins: held })
}

/// The request that an id names, or the newest living one for a payload hash.
pub(crate) async fn find(db: &mut SqliteConnection, name: &str) -> Result<Request, CallError> {
    let row = match Uuid::try_parse(name).ok().filter(|_| name.len() != 64) {
        Some(id) => by_id(db, id).await?,
        None => {
            sqlx::query_as(
                "select * from request where hash = $1 order by revoked_by is not null, created_at desc limit 1",
            )
            .bind(name)
            .fetch_optional(db)
            .await?
        }
    };
    Ok(row.ok_or(Refusal::NotFound("request"))?)
}

/// The request `id`.
pub(crate) async fn by_id(db: &mut SqliteConnection, id: Uuid) -> Result<Option<Request>, CallError> {
    Ok(sqlx::query_as("select * from request where id = $1").bind(id.to_string()).fetch_optional(db).await?)
}

/// Writes the parts of a request that change.
async fn update(ledger: &Ledger, db: &mut SqliteConnection, request: &mut Request) -> Result<(), CallError> {
    request.updated_at = ledger.clock.now();
    sqlx::query(
        "update request set raw = $1, signers = $2, state = $3, revoked_by = $4, updated_at = $5 where id = $6",
    )
    .bind(hex::encode(&request.raw))
    .bind(to_json(&request.signers)?)
    .bind(request.state.as_str())
    .bind(request.revoked_by.map(|user| user.to_string()))
    .bind(signed(request.updated_at))
    .bind(request.id.to_string())
    .execute(db)
    .await?;
    Ok(())
}

/// What `user` needs to sign each input; nothing once it signed, or where there is nothing to sign any more.
async fn views(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: &Request,
    user: Uuid,
) -> Result<Vec<View>, CallError> {
    if !request.is_open() || request.signers.contains(&user) || !request.senders.contains(&user) {
        return Ok(Vec::new());
    }
    let funds = funds(db, &request.transaction()?).await?;
    // The view of another output opens nothing.
    let wrong = u16::from(ledger.faults.acts(Place::of(&[user]), &Fault::WrongViews).is_some());
    let view = |coin: &Held| {
        let mask = PublicKey::from_bytes(coin.row.mask.0).map_err(|_| CallError::Corrupt("mask"))?;
        ledger.secrets.view(user, &mask, coin.row.output_index.saturating_add(wrong)).map(View)
    };
    funds.coins.iter().map(view).collect()
}

/// The request as `/safe/multisigs` shows it to `user`.
pub(crate) async fn multisig_row(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: Request,
    user: Uuid,
) -> Result<MultisigRow, CallError> {
    let views = views(ledger, db, &request, user).await?;
    let asset = assets::find(db, &request.asset.to_string()).await?;
    Ok(MultisigRow {
        kind: MULTISIG_TYPE.into(),
        request_id: request.id,
        transaction_hash: Hex32(request.hash.0),
        asset_id: Some(asset.asset_id),
        kernel_asset_id: request.asset,
        amount: request.amount,
        senders_hash: Some(Hex32(members_hash(&request.senders).0)),
        senders: request.senders,
        senders_threshold: request.threshold,
        signers: request.signers,
        extra: HexBytes(request.extra),
        raw_transaction: HexBytes(request.raw),
        receivers: request.receivers,
        created_at: LedgerTime(request.created_at),
        updated_at: LedgerTime(request.updated_at),
        views,
        revoked_by: request.revoked_by,
        inscription_hash: request.inscription,
    })
}

/// The request as `/safe/transactions` shows it to `user`.
pub(crate) async fn transaction_row(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: Request,
    user: Uuid,
) -> Result<TransactionRow, CallError> {
    let views = views(ledger, db, &request, user).await?;
    Ok(TransactionRow {
        kind: TRANSACTION_TYPE.into(),
        request_id: request.id,
        transaction_hash: Hex32(request.hash.0),
        user_id: Some(request.creator),
        asset: request.asset,
        amount: request.amount,
        extra: HexBytes(request.extra),
        receivers: request.receivers,
        senders_hash: Some(Hex32(members_hash(&request.senders).0)),
        senders: request.senders,
        senders_threshold: request.threshold,
        signers: request.signers,
        state: request.state,
        raw_transaction: HexBytes(request.raw),
        created_at: LedgerTime(request.created_at),
        updated_at: LedgerTime(request.updated_at),
        snapshot_hash: request.snapshot,
        snapshot_at: request.snapshot_at.map(LedgerTime),
        views,
        revoked_by: request.revoked_by,
    })
}

impl FromRow<'_, SqliteRow> for Request {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        read(row).map_err(|error| match error {
            CallError::Store(error) => error,
            other @ (CallError::Refused(_) | CallError::Corrupt(_)) => sqlx::Error::Decode(other.into()),
        })
    }
}

fn read(row: &SqliteRow) -> Result<Request, CallError> {
    let text = |column: &str| -> Result<&str, CallError> { Ok(row.try_get(column)?) };
    let optional = |column: &str| -> Result<Option<&str>, CallError> { Ok(row.try_get(column)?) };
    let uuid = |text: &str| Uuid::try_parse(text).map_err(|_| CallError::Corrupt("id"));
    let hash = |text: &str| from_hex(text, "hash").map(Hex32);
    let bytes = |text: &str| hex::decode(text).map_err(|_| CallError::Corrupt("bytes"));
    Ok(Request {
        id: uuid(text("id")?)?,
        kind: if text("kind")? == Kind::Single.as_str() { Kind::Single } else { Kind::Multisig },
        hash: B256::new(hash(text("hash")?)?.0),
        raw: bytes(text("raw")?)?,
        creator: uuid(text("creator")?)?,
        asset: AssetId(hash(text("asset")?)?.0),
        amount: text("amount")?.parse().map_err(|_| CallError::Corrupt("amount"))?,
        extra: bytes(text("extra")?)?,
        senders: from_json(text("senders")?, "senders")?,
        threshold: row.try_get("threshold")?,
        receivers: from_json(text("receivers")?, "receivers")?,
        signers: from_json(text("signers")?, "signers")?,
        inscription: optional("inscription")?.map(hash).transpose()?,
        state: from_json(&format!("\"{}\"", text("state")?), "state")?,
        revoked_by: optional("revoked_by")?.map(uuid).transpose()?,
        created_at: unsigned(row.try_get("created_at")?),
        updated_at: unsigned(row.try_get("updated_at")?),
        snapshot: optional("snapshot")?.map(hash).transpose()?,
        snapshot_at: row.try_get::<Option<i64>, _>("snapshot_at")?.map(unsigned),
    })
}

#[cfg(test)]
mod tests;
