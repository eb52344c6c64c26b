//! The kernel: what makes a transaction valid, and what admitting it locks.
//!
//! [`check`] is the only judge. The API asks it about drafts before it shows views, and [`admit`] asks it about everything
//! that is sent, whichever way it came: the API's broadcasts, the RPC, the faucet's deposits. The kernel has several nodes,
//! counted from 1, which know the same as long as no fault keeps them apart.

use lockstep_core::mixin::sign::SignError;
use lockstep_core::mixin::structure::{self, StructureError, TransactionKind};
use lockstep_core::mixin::{CoinKeys, DecodeError, RawKey, Script, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256};
use sqlx::SqliteConnection;
use thiserror::Error;

use super::faults::{Fault, Place};
use super::refusal::CallError;
use super::store::{Ledger, from_hex, from_json, signed, unsigned};
use super::{listing, split};
use crate::ledger::wire::{Hex32, code};

/// The node that the API and the custodian send to.
pub(crate) const FIRST_NODE: u16 = 1;

/// Why the kernel does not admit a transaction, in its own words where they are known (`reference/kernel.md` 3).
#[derive(Clone, Debug, PartialEq, Error)]
pub enum KernelRefusal {
    /// Not the canonical bytes of a version 5 transaction.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// Against a rule that needs no state.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// A kind of transaction that only nodes send.
    #[error("invalid tx type {0}")]
    Kind(u8),
    /// A named transaction is unknown, or not final.
    #[error("reference not found {0}")]
    Reference(String),
    /// An input names no output of a final transaction.
    #[error("input not found {0}")]
    InputUnknown(String),
    /// An input that no user can spend.
    #[error("invalid utxo type {0}")]
    InputType(u8),
    /// An input of another asset.
    #[error("invalid input asset {0} {1}")]
    InputAsset(AssetId, AssetId),
    /// Another transaction was first.
    #[error("input locked for transaction {0}")]
    InputLocked(String),
    /// Too few signatures, or a wrong one.
    #[error(transparent)]
    Signature(#[from] SignError),
    /// More out than in, or less.
    #[error("invalid input output amount {0} {1}")]
    Sum(Amount, Amount),
    /// An output key that another transaction has.
    #[error("invalid output key {0}")]
    OutputKey(RawKey),
    /// A deposit of an asset that nobody registered.
    #[error("invalid deposit asset {0}")]
    DepositAsset(AssetId),
    /// A deposit that the custodian does not vouch for.
    #[error("invalid custodian signature on deposit")]
    DepositSignature,
    /// A deposit that was booked before.
    #[error("deposit locked for transaction {0}")]
    DepositLocked(String),
}

impl KernelRefusal {
    /// The API's code for this refusal.
    pub const fn api_code(&self) -> u32 {
        match self {
            Self::OutputKey(_) => code::OUTPUT_KEY_USED,
            Self::InputLocked(_) => code::INPUT_LOCKED,
            Self::Signature(_) | Self::DepositSignature => code::BAD_SIGNATURE,
            Self::Sum(given, taken) if given.units() < taken.units() => code::INSUFFICIENT,
            Self::Bytes(_)
            | Self::Structure(_)
            | Self::Kind(_)
            | Self::Reference(_)
            | Self::InputUnknown(_)
            | Self::InputType(_)
            | Self::InputAsset(..)
            | Self::Sum(..)
            | Self::DepositAsset(_)
            | Self::DepositLocked(_) => code::INVALID_FIELD,
        }
    }
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Signatures are still to come; those that are there are not judged.
    Draft,
    /// Complete.
    Signed,
}

/// An output of a final transaction.
#[derive(Clone, Debug)]
pub(crate) struct Coin {
    pub(crate) kind: u8,
    pub(crate) asset: AssetId,
    pub(crate) amount: Amount,
    pub(crate) keys: CoinKeys,
    pub(crate) mask: Hex32,
    /// The payload that the coin is promised to.
    pub(crate) locked_by: Option<String>,
}

/// A transaction that was admitted.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) raw: Vec<u8>,
    /// Snapshot and its time, once final.
    pub(crate) snapshot: Option<(Hex32, u64)>,
    /// The only node that shows it, while nodes are split.
    pub(crate) held_at: Option<u16>,
}

impl Admitted {
    /// True where `node` knows of it.
    pub(crate) fn is_known_at(&self, node: u16) -> bool {
        self.snapshot.is_some() || self.held_at.is_none_or(|at| at == node)
    }
}

/// Takes a transaction in at `node`, or says why not. The first bytes of a payload stay: sending it again, with whatever
/// signatures, changes nothing (kernel `queue.go QueueTransaction`).
pub(crate) async fn admit(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    raw: &[u8],
    node: u16,
) -> Result<B256, CallError> {
    let transaction = decode(raw)?;
    let hash = transaction.hash();
    if let Some(known) = find(db, hash).await? {
        split::heard(ledger, db, &known, transaction.transaction(), node).await?;
        return Ok(hash);
    }
    check(ledger, db, &transaction, Stage::Signed, node).await?;
    let is_split = ledger.faults.is_on(&Fault::SplitLocks);
    lock(db, transaction.transaction(), is_split.then_some(node)).await?;

    let now = ledger.clock.now();
    let times = Times::of(ledger, hash, now);
    sqlx::query(
        "insert into kernel_transaction (hash, raw, admitted_at, final_at, list_at, held_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(hex::encode(hash))
    .bind(hex::encode(raw))
    .bind(signed(now))
    .bind(signed(times.final_at))
    .bind(times.list_at.map(signed))
    .bind(is_split.then_some(node))
    .execute(&mut *db)
    .await?;
    tracing::debug!(%hash, node, "transaction admitted");
    if times.list_at.is_some_and(|at| at <= now) {
        listing::list_all(ledger, db, transaction.transaction()).await?;
    }
    if times.final_at <= now && !is_split && !ledger.faults.is_on(&Fault::Stall) {
        listing::finalize(ledger, db, transaction.transaction()).await?;
    } else {
        ledger.expect_work();
    }
    Ok(hash)
}

/// When a transaction is final, and when its outputs are listed if that is another time.
struct Times {
    final_at: u64,
    list_at: Option<u64>,
}

impl Times {
    fn of(ledger: &Ledger, hash: B256, now: u64) -> Self {
        let after = |ms: u64| now.saturating_add(ms.saturating_mul(1_000_000));
        let act = ledger.faults.act(Place::default(), |fault| {
            let Fault::Delay { rows_ms, final_ms, jitter_ms } = fault else { return None };
            Some((*rows_ms, *final_ms, *jitter_ms))
        });
        let Some((rows_ms, final_ms, jitter_ms)) = act.map(|act| act.what) else {
            let delay = u64::try_from(ledger.finality_delay.as_nanos()).unwrap_or(u64::MAX);
            return Self { final_at: now.saturating_add(delay), list_at: None };
        };
        let jitter_ms = ledger.secrets.share(hash, jitter_ms);
        Self { final_at: after(final_ms.saturating_add(jitter_ms)), list_at: rows_ms.map(after) }
    }
}

/// Reads the bytes of a transaction, strictly.
pub(crate) fn decode(raw: &[u8]) -> Result<SignedTransaction, KernelRefusal> {
    Ok(SignedTransaction::decode(raw)?)
}

/// Judges a transaction that was not admitted before by all the kernel's rules: form, references, inputs with their
/// assets, locks (those that `node` sees) and signatures, sum, output keys.
pub(crate) async fn check(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    signed: &SignedTransaction,
    stage: Stage,
    node: u16,
) -> Result<(), CallError> {
    let transaction = signed.transaction();
    let kind = match stage {
        Stage::Draft => structure::validate(transaction),
        Stage::Signed => structure::validate_signed(signed),
    };
    let kind = kind.map_err(KernelRefusal::from)?;
    for reference in transaction.references() {
        let known = find(db, *reference).await?;
        if known.is_none_or(|known| known.snapshot.is_none()) {
            return Err(KernelRefusal::Reference(hex::encode(reference)).into());
        }
    }
    match kind {
        TransactionKind::Script | TransactionKind::WithdrawalSubmit => {
            check_coins(ledger, db, signed, (stage, node)).await?
        }
        TransactionKind::Deposit => check_deposit(ledger, db, signed).await?,
        TransactionKind::Mint
        | TransactionKind::WithdrawalClaim
        | TransactionKind::NodePledge
        | TransactionKind::NodeAccept
        | TransactionKind::NodeRemove
        | TransactionKind::NodeCancel
        | TransactionKind::CustodianUpdateNodes
        | TransactionKind::CustodianSlashNodes
        | TransactionKind::Unknown => return Err(KernelRefusal::Kind(kind.number()).into()),
    }
    for key in transaction.outputs().iter().flat_map(|output| &output.keys) {
        let holder = key_holder(db, &key.to_string()).await?;
        if holder.is_some_and(|holder| holder != hex::encode(transaction.hash())) {
            return Err(KernelRefusal::OutputKey(*key).into());
        }
    }
    Ok(())
}

async fn check_coins(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    signed: &SignedTransaction,
    (stage, node): (Stage, u16),
) -> Result<(), CallError> {
    let transaction = signed.transaction();
    let hash = hex::encode(transaction.hash());
    let mut total = Amount::ZERO;
    let mut owners = Vec::with_capacity(transaction.inputs().len());
    for input in transaction.inputs() {
        let name = || format!("{}:{}", hex::encode(input.coin.transaction), input.coin.index);
        let found = if input.is_coin() { coin(ledger, db, &input.coin, node).await? } else { None };
        let coin = found.ok_or_else(|| KernelRefusal::InputUnknown(name()))?;
        if coin.asset != transaction.asset() {
            return Err(KernelRefusal::InputAsset(coin.asset, transaction.asset()).into());
        }
        if let Some(holder) = coin.locked_by.filter(|holder| *holder != hash) {
            return Err(KernelRefusal::InputLocked(holder).into());
        }
        if coin.kind != 0 {
            return Err(KernelRefusal::InputType(coin.kind).into());
        }
        total = total.checked_add(coin.amount).ok_or(CallError::Corrupt("amount"))?;
        owners.push(coin.keys);
    }
    if stage == Stage::Signed {
        signed.verify(&owners).map_err(KernelRefusal::from)?;
    }
    let out = transaction.output_total().ok_or(StructureError::Total).map_err(KernelRefusal::from)?;
    if total == out { Ok(()) } else { Err(KernelRefusal::Sum(total, out).into()) }
}

/// A deposit is valid when the custodian signed for it, its asset is known, and it was not booked before.
async fn check_deposit(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    signed: &SignedTransaction,
) -> Result<(), CallError> {
    let transaction = signed.transaction();
    let deposit = transaction.inputs().iter().find_map(|input| input.deposit.as_ref());
    let deposit = deposit.ok_or(CallError::Corrupt("deposit"))?;
    let chain: Option<(i64,)> = sqlx::query_as("select 1 from asset where kernel_id = $1")
        .bind(transaction.asset().to_string())
        .fetch_optional(&mut *db)
        .await?;
    if chain.is_none() {
        return Err(KernelRefusal::DepositAsset(transaction.asset()).into());
    }
    let custodian = ledger.secrets.custodian()?.public();
    let signature = signed.input_signatures(0).and_then(|map| map.get(&0));
    if !signature.is_some_and(|signature| signature.verify(&custodian, &transaction.hash())) {
        return Err(KernelRefusal::DepositSignature.into());
    }
    let holder: Option<(String,)> = sqlx::query_as("select hash from kernel_deposit where key = $1")
        .bind(hex::encode(deposit.unique_key()))
        .fetch_optional(db)
        .await?;
    holder.map_or(Ok(()), |(holder,)| Err(KernelRefusal::DepositLocked(holder).into()))
}

/// Promises the inputs, the output keys and the deposit to one payload for ever; the inputs at one node only where nodes
/// are split.
async fn lock(db: &mut SqliteConnection, transaction: &Transaction, split_at: Option<u16>) -> Result<(), CallError> {
    let holder = hex::encode(transaction.hash());
    match split_at {
        Some(node) => split::lock(db, transaction, &holder, node).await?,
        None => lock_coins(db, transaction, &holder).await?,
    }
    for deposit in transaction.inputs().iter().filter_map(|input| input.deposit.as_ref()) {
        sqlx::query(r#"insert into kernel_deposit (key, hash, "transaction", position) values ($1, $2, $3, $4)"#)
            .bind(hex::encode(deposit.unique_key()))
            .bind(&holder)
            .bind(String::from_utf8_lossy(&deposit.transaction).into_owned())
            .bind(signed(deposit.index))
            .execute(&mut *db)
            .await?;
    }
    for key in transaction.outputs().iter().flat_map(|output| &output.keys) {
        sqlx::query("insert into kernel_key (key, hash) values ($1, $2)")
            .bind(key.to_string())
            .bind(&holder)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Promises the inputs to one payload at all nodes.
pub(crate) async fn lock_coins(
    db: &mut SqliteConnection,
    transaction: &Transaction,
    payload: &str,
) -> Result<(), CallError> {
    for coin in transaction.coins().unwrap_or_default() {
        sqlx::query("update kernel_output set locked_by = $1 where hash = $2 and position = $3")
            .bind(payload)
            .bind(hex::encode(coin.transaction))
            .bind(coin.index)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Bytes, snapshot, its time, the node that keeps it.
type KnownRow = (String, Option<String>, Option<i64>, Option<u16>);

/// The transaction, final or not, as all nodes together know it.
pub(crate) async fn find(db: &mut SqliteConnection, hash: B256) -> Result<Option<Admitted>, CallError> {
    let row: Option<KnownRow> =
        sqlx::query_as("select raw, snapshot, snapshot_at, held_at from kernel_transaction where hash = $1")
            .bind(hex::encode(hash))
            .fetch_optional(db)
            .await?;
    let Some((raw, snapshot, at, held_at)) = row else { return Ok(None) };
    let raw = hex::decode(raw).map_err(|_| CallError::Corrupt("transaction"))?;
    let snapshot = match (snapshot, at) {
        (Some(snapshot), Some(at)) => Some((Hex32(from_hex(&snapshot, "snapshot")?), unsigned(at))),
        _ => None,
    };
    Ok(Some(Admitted { raw, snapshot, held_at }))
}

/// Kind, asset, amount, keys, mask, script, lock.
type CoinRow = (u8, String, String, String, String, String, Option<String>);

/// The output, once its transaction is final, with the lock that `node` sees; spent ones stay.
pub(crate) async fn coin(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    id: &CoinId,
    node: u16,
) -> Result<Option<Coin>, CallError> {
    let row: Option<CoinRow> = sqlx::query_as(
        "select kind, asset, amount, keys, mask, script, locked_by from kernel_output where hash = $1 and position = $2",
    )
    .bind(hex::encode(id.transaction))
    .bind(id.index)
    .fetch_optional(&mut *db)
    .await?;
    let Some((kind, asset, amount, keys, mask, script, locked_by)) = row else { return Ok(None) };
    let locked_by = match locked_by {
        None => split::holder(ledger, db, id, node).await?,
        known => known,
    };
    let script = Script(hex::decode(script).map_err(|_| CallError::Corrupt("script"))?);
    Ok(Some(Coin {
        kind,
        asset: AssetId(from_hex(&asset, "asset")?),
        amount: amount.parse().map_err(|_| CallError::Corrupt("amount"))?,
        keys: CoinKeys { keys: from_json(&keys, "keys")?, script },
        mask: Hex32(from_hex(&mask, "mask")?),
        locked_by,
    }))
}

/// The payload that reserved an output key, final or not.
pub(crate) async fn key_holder(db: &mut SqliteConnection, key: &str) -> Result<Option<String>, CallError> {
    Ok(sqlx::query_scalar("select hash from kernel_key where key = $1").bind(key).fetch_optional(db).await?)
}
