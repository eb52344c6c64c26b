//! A ledger user's own payment: choose coins, make keys, register, sign, send, wait.
//!
//! The trace names the payment. Whoever calls again with the same one after a crash or a lost reply goes on where it stood
//! and never pays twice.

use std::cmp::Reverse;
use std::time::Duration;

use lockstep_core::mixin::ids::{XIN, members_hash, output_id};
use lockstep_core::mixin::structure::EXTRA_MAX;
use lockstep_core::mixin::{CoinKeys, GhostScalar, RawKey, Script, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::payout::{self, GhostKeys, PartError, Plan, PlanError, PlannedOutput, ResolvedCoin, Seed};
use lockstep_core::{Amount, AssetId, B256, Mix, Uuid};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::error::{LedgerError, Refusal};
use super::safe::{OutputQuery, SafeApi};
use super::wire::{
    HexBytes, KeyRequest, KeysBody, OutputRow, OutputState, PAGE_ROWS_MAX, RawRequest, TransactionRow, View,
};
use crate::backoff::Backoff;

/// Most coins of one payment (kernel: 256 inputs).
const COINS_MAX: usize = 255;
/// Pages of coins that are looked through: 100,000 coins.
const PAGES_MAX: usize = 200;
/// First and longest pause between two questions whether a payment is final.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Domain of the seed of a payment's keys.
const SEED_DOMAIN: &[u8] = b"lockstep/v1/payment";
/// Names the payment of what a payment stores, within the payment's own trace.
const STORAGE: &[u8] = b"storage";

/// What to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who gets it.
    pub receivers: Mix,
    /// In what.
    pub asset: AssetId,
    /// How much.
    pub amount: Amount,
    /// The memo, as bytes of the transaction. More than 256 of them need XIN, and burn 0.0001 XIN for each KiB begun.
    pub extra: Vec<u8>,
    /// Final transactions that it refers to, at most 16.
    pub references: Vec<B256>,
    /// Names the payment for ever.
    pub trace: Uuid,
}

/// A payment that is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Payload hash.
    pub transaction: B256,
    /// Ids of its outputs at the ledger's API: the payment, then the change if there is any.
    pub outputs: Vec<Uuid>,
}

/// Pays as the user of `api`, and waits at most `patience` for finality.
///
/// # Errors
/// See [`PayError`]. After [`PayError::NotFinal`] or a retryable one the same call may be made again.
pub async fn pay(api: &SafeApi, payment: &Payment, patience: Duration) -> Result<Paid, PayError> {
    let (transaction, is_sent) = match api.transaction(payment.trace).await {
        Ok(row) => (known(&row, payment)?, row.state != OutputState::Unspent),
        Err(error) if error.refusal() == Some(Refusal::NotFound) => (build(api, payment).await?, false),
        Err(error) => return Err(error.into()),
    };
    if !is_sent {
        send(api, payment.trace, &transaction).await?;
    }
    wait(api, payment.trace, transaction.hash(), patience).await?;
    let count = u16::try_from(transaction.outputs().len()).unwrap_or(u16::MAX);
    let id = |index| output_id(&CoinId { transaction: transaction.hash(), index });
    Ok(Paid { transaction: transaction.hash(), outputs: (0..count).map(id).collect() })
}

/// Stores a payload that does not fit a memo: the extra of a transaction of its own, for 0.0001 XIN a KiB begun, which nobody
/// gets. Gives the transaction that a payment then refers to. `trace` names that payment.
///
/// # Errors
/// As [`pay`].
pub async fn store(api: &SafeApi, payload: &[u8], trace: Uuid, patience: Duration) -> Result<B256, PayError> {
    let PlannedOutput { receivers, amount } = PlannedOutput::storage(payload.len()).map_err(PlanError::from)?;
    let (asset, trace) = (AssetId::from_uuid(XIN), Uuid::new_v5(&trace, STORAGE));
    let payment = Payment { receivers, asset, amount, extra: payload.to_vec(), references: Vec::new(), trace };
    Ok(pay(api, &payment, patience).await?.transaction)
}

/// What the user of `api` holds of `asset` and can spend now.
///
/// # Errors
/// Those of every call; [`PayError::TooManyCoins`] beyond 100,000 coins.
pub async fn balance(api: &SafeApi, asset: AssetId) -> Result<Amount, PayError> {
    let coins = unspent(api, asset).await?;
    let total = coins.iter().try_fold(Amount::ZERO, |total, coin| total.checked_add(coin.amount));
    Ok(total.ok_or_else(|| LedgerError::malformed("outputs", "more of an asset than can exist"))?)
}

/// Registers the transaction, signs with the views that come back, and hands it in.
async fn send(api: &SafeApi, trace: Uuid, transaction: &Transaction) -> Result<(), PayError> {
    let request = RawRequest { request_id: trace, raw: HexBytes(transaction.payload()) };
    let row = api.request_transaction(&request).await?;
    if row.transaction_hash.0 != transaction.hash().0 {
        return Err(PayError::TraceTaken(trace));
    }
    if row.state == OutputState::Unspent {
        let signed = sign(api, transaction, &row.views).await?;
        api.send_transaction(&RawRequest { raw: HexBytes(signed.encode()), ..request }).await?;
    }
    Ok(())
}

/// The transaction of a request that exists already, if it makes this payment.
fn known(row: &TransactionRow, payment: &Payment) -> Result<Transaction, PayError> {
    let taken = || PayError::TraceTaken(payment.trace);
    let signed = SignedTransaction::decode(&row.raw_transaction.0).map_err(|_| taken())?;
    let transaction = signed.transaction().clone();
    let first = transaction.outputs().first().ok_or_else(taken)?;
    let script = Script::of_threshold(payment.receivers.threshold());
    let same = transaction.asset() == payment.asset
        && transaction.extra() == payment.extra
        && transaction.references() == payment.references
        && first.amount == payment.amount
        && first.script == script
        && first.keys.len() == payment.receivers.members().len();
    let receivers = row.receivers.first().filter(|receivers| !receivers.members.is_empty());
    let to = receivers.map(|receivers| Mix::of_users(receivers.members.iter().copied(), receivers.threshold));
    if same && to.is_none_or(|to| to == payment.receivers) { Ok(transaction) } else { Err(taken()) }
}

async fn build(api: &SafeApi, payment: &Payment) -> Result<Transaction, PayError> {
    let paid = PlannedOutput { receivers: payment.receivers.clone(), amount: payment.amount };
    let stores = payment.extra.len() > EXTRA_MAX && !paid.is_storage();
    let mut outputs = vec![paid];
    if stores {
        outputs.push(PlannedOutput::storage(payment.extra.len()).map_err(PlanError::from)?);
    }
    let need = outputs.iter().try_fold(Amount::ZERO, |sum, output| sum.checked_add(output.amount));
    let need = need.ok_or(PlanError::Unbalanced)?;
    let (coins, total) = choose(unspent(api, payment.asset).await?, need)?;
    let change = total.checked_sub(need).unwrap_or_default();
    if !change.is_zero() {
        outputs.push(PlannedOutput { receivers: Mix::of_users([api.user()], 1), amount: change });
    }
    let seed = seed(api, payment.trace);
    let plan = Plan::of_parts((payment.trace, 0), payment.asset, &coins, outputs, payment.extra.clone())?;
    let plan = plan.with_references(payment.references.clone());
    let requests = plan.key_requests(&seed).into_iter();
    let requests = requests.map(|key| KeyRequest { receivers: key.receivers, index: key.index, hint: key.hint });
    let rows = match requests.collect::<Vec<_>>() {
        none if none.is_empty() => Vec::new(),
        some => api.keys(&KeysBody::Own(some)).await?,
    };
    let raw = |key: &super::wire::Hex32| RawKey(key.0);
    let answers = rows.iter().map(|row| GhostKeys { mask: raw(&row.mask), keys: row.keys.iter().map(raw).collect() });
    Ok(plan.build(&seed, &answers.collect::<Vec<_>>())?)
}

/// Nobody else can know the keys of a payment before it is made, and a repetition has the same ones.
fn seed(api: &SafeApi, trace: Uuid) -> Seed {
    let secret = api.keystore().spend_private_key.expose();
    let hasher = Sha256::new().chain_update(SEED_DOMAIN).chain_update(secret).chain_update(trace.as_bytes());
    Seed::new(hasher.finalize().into())
}

/// The largest coins that cover `amount`, and their sum.
fn choose(mut rows: Vec<OutputRow>, amount: Amount) -> Result<(Vec<ResolvedCoin>, Amount), PayError> {
    rows.sort_by_key(|row| (Reverse(row.amount), row.sequence));
    let (mut coins, mut total) = (Vec::new(), Amount::ZERO);
    for row in rows {
        if total >= amount && !coins.is_empty() {
            break;
        }
        if coins.len() == COINS_MAX {
            return Err(PayError::TooManyCoins);
        }
        let id = CoinId { transaction: B256::new(row.transaction_hash.0), index: row.output_index };
        total = total.checked_add(row.amount).ok_or(PayError::TooManyCoins)?;
        coins.push(ResolvedCoin { id, amount: row.amount });
    }
    if total < amount { Err(PayError::Insufficient { have: total, need: amount }) } else { Ok((coins, total)) }
}

/// All unspent coins of one asset that are not collectibles.
async fn unspent(api: &SafeApi, asset: AssetId) -> Result<Vec<OutputRow>, PayError> {
    let members = hex::encode(members_hash(&[api.user()]));
    let state = Some(OutputState::Unspent);
    let mut query =
        OutputQuery { members, threshold: 1, offset: 0, limit: PAGE_ROWS_MAX, asset: Some(asset.to_string()), state };
    let mut coins: Vec<OutputRow> = Vec::new();
    for _ in 0..PAGES_MAX {
        let rows = api.outputs(&query).await?;
        let whole = rows.len() < query.limit;
        let last = rows.last().map(|last| last.sequence);
        // A collectible is one coin and stays one: it is not money to pay with.
        coins.extend(rows.into_iter().filter(|row| row.inscription_hash.is_none()));
        match last {
            Some(last) if !whole => query.offset = last.saturating_add(1),
            Some(_) | None => return Ok(coins),
        }
    }
    Err(PayError::TooManyCoins)
}

async fn sign(api: &SafeApi, transaction: &Transaction, views: &[View]) -> Result<SignedTransaction, PayError> {
    let mut coins = Vec::with_capacity(transaction.inputs().len());
    for coin in transaction.coins().unwrap_or_default() {
        let row = api.output(output_id(&coin)).await?;
        let keys = row.keys.iter().map(|key| RawKey(key.0)).collect();
        coins.push(CoinKeys { keys, script: Script::of_threshold(row.receivers_threshold) });
    }
    let scalar = |view: &View| GhostScalar::from_bytes(view.0);
    let views = views.iter().map(scalar).collect::<Result<Vec<_>, _>>().map_err(|_| PayError::Views)?;
    let spend = api.keystore().spend_key();
    let part = payout::sign(transaction, &coins, &views, &spend)?;
    Ok(payout::merge(transaction, &coins, &[part])?)
}

async fn wait(api: &SafeApi, trace: Uuid, transaction: B256, patience: Duration) -> Result<(), PayError> {
    let started = Instant::now();
    let mut looks = Backoff::new(POLL.0, POLL.1);
    loop {
        match api.transaction(trace).await {
            Ok(row) if row.state == OutputState::Spent => return Ok(()),
            Ok(_) => {}
            Err(error) if error.retryable() => {}
            Err(error) => return Err(error.into()),
        }
        if started.elapsed() >= patience {
            return Err(PayError::NotFinal { transaction });
        }
        sleep(looks.pause()).await;
    }
}

/// Why a payment was not made, or is not known to be.
#[derive(Debug, Error)]
pub enum PayError {
    /// The ledger did not do what was asked.
    #[error("the ledger did not take the payment")]
    Ledger(#[from] LedgerError),
    /// Not enough money in coins that are free now.
    #[error("{have} is free, {need} is needed")]
    Insufficient {
        /// In free coins.
        have: Amount,
        /// To be paid.
        need: Amount,
    },
    /// More coins than one transaction spends, or than are looked through.
    #[error("the money lies in too many coins: pay yourself first to join them")]
    TooManyCoins,
    /// The parts make no payment.
    #[error("this cannot be paid")]
    Plan(#[from] PlanError),
    /// The scalars of the key service do not open the coins.
    #[error("the payment cannot be signed")]
    Sign(#[from] PartError),
    /// Not a scalar.
    #[error("the ledger gave views that are no scalars")]
    Views,
    /// The trace stands for another payment.
    #[error("trace {0} stands for another payment")]
    TraceTaken(Uuid),
    /// It was sent and is not final yet.
    #[error("transaction {transaction} is not final yet")]
    NotFinal {
        /// Payload hash.
        transaction: B256,
    },
}

impl PayError {
    /// True where the same call may succeed later.
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Ledger(error) => error.retryable() || matches!(error.refusal(), Some(Refusal::InputLocked)),
            Self::Insufficient { .. } | Self::NotFinal { .. } => true,
            Self::TooManyCoins | Self::Plan(_) | Self::Sign(_) | Self::Views | Self::TraceTaken(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::wire::{Hex32, LedgerTime, OUTPUT_TYPE};

    fn coin(units: u128, sequence: u64) -> OutputRow {
        OutputRow {
            kind: OUTPUT_TYPE.to_owned(),
            output_id: Uuid::nil(),
            request_id: None,
            transaction_hash: Hex32::default(),
            output_index: u16::try_from(sequence).expect("a small number"),
            asset_id: Uuid::nil(),
            kernel_asset_id: AssetId::NONE,
            amount: Amount::from_units(units),
            mask: Hex32::default(),
            keys: Vec::new(),
            senders_hash: None,
            senders_threshold: 0,
            senders: Vec::new(),
            receivers_hash: Hex32::default(),
            receivers_threshold: 1,
            receivers: Vec::new(),
            extra: HexBytes::default(),
            state: OutputState::Unspent,
            sequence,
            created_at: LedgerTime(0),
            updated_at: LedgerTime(0),
            signers: Vec::new(),
            signed_by: None,
            inscription_hash: None,
        }
    }

    fn chosen(coins: Vec<OutputRow>, units: u128) -> Result<Vec<u16>, PayError> {
        Ok(choose(coins, Amount::from_units(units))?.0.iter().map(|coin| coin.id.index).collect())
    }

    #[test]
    fn too_little_or_too_scattered_money_should_be_told_apart() {
        assert!(
            matches!(chosen(vec![coin(3, 1), coin(4, 2)], 8), Err(PayError::Insufficient { have, .. }) if have.units() == 7)
        );
        assert!(matches!(chosen(Vec::new(), 1), Err(PayError::Insufficient { .. })));
        let dust = (0..300).map(|sequence| coin(1, sequence)).collect();
        assert!(matches!(chosen(dust, 256), Err(PayError::TooManyCoins)));
    }

    #[test]
    fn the_fewest_and_oldest_coins_should_be_spent() {
        let coins = || vec![coin(2, 1), coin(5, 2), coin(5, 3), coin(1, 4)];
        assert_eq!(chosen(coins(), 5).expect("covered"), [2]);
        assert_eq!(chosen(coins(), 11).expect("covered"), [2, 3, 1]);
    }
}
