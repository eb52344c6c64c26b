//! Kernel nodes that disagree: each keeps the transactions that it is sent, with locks of its own, and none of them
//! becomes final. It happens at the real kernel when two payloads over one coin reach two nodes within a second
//! (`reference/kernel.md` 0.3); here under [`Fault::SplitLocks`] only.

use lockstep_core::B256;
use lockstep_core::mixin::Transaction;
use lockstep_core::output::CoinId;
use sqlx::SqliteConnection;

use super::faults::Fault;
use super::kernel::{self, Admitted, KernelRefusal};
use super::refusal::{CallError, Refusal};
use super::store::Ledger;

/// The payload that `node` promised the coin to by itself. Where it promised nothing, another node's promise counts, unless
/// nodes are kept apart just now.
pub(crate) async fn holder(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    coin: &CoinId,
    node: u16,
) -> Result<Option<String>, CallError> {
    let rows: Vec<(u16, String)> =
        sqlx::query_as("select node, payload from kernel_split where hash = $1 and position = $2 order by node")
            .bind(hex::encode(coin.transaction))
            .bind(coin.index)
            .fetch_all(db)
            .await?;
    let own = rows.iter().find(|(at, _)| *at == node);
    let other = rows.first().filter(|_| !ledger.faults.is_on(&Fault::SplitLocks));
    Ok(own.or(other).map(|(_, payload)| payload.clone()))
}

/// Promises the coins to a payload at one node.
pub(crate) async fn lock(
    db: &mut SqliteConnection,
    transaction: &Transaction,
    payload: &str,
    node: u16,
) -> Result<(), CallError> {
    for coin in transaction.coins().unwrap_or_default() {
        sqlx::query(
            "insert into kernel_split (hash, position, node, payload) values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(hex::encode(coin.transaction))
        .bind(coin.index)
        .bind(node)
        .bind(payload)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// A payload that another node keeps comes to `node`: it is refused where this one promised a coin to a rival.
pub(crate) async fn heard(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    known: &Admitted,
    transaction: &Transaction,
    node: u16,
) -> Result<(), CallError> {
    if known.snapshot.is_some() || known.held_at.is_none_or(|at| at == node) {
        return Ok(());
    }
    let payload = hex::encode(transaction.hash());
    for coin in transaction.coins().unwrap_or_default() {
        if let Some(rival) = holder(ledger, db, &coin, node).await?.filter(|holder| *holder != payload) {
            return Err(KernelRefusal::InputLocked(rival).into());
        }
    }
    lock(db, transaction, &payload, node).await
}

/// Hands payloads that have no rival to all nodes, once these are not kept apart any more.
pub(crate) async fn unite(ledger: &Ledger, db: &mut SqliteConnection) -> Result<(), CallError> {
    if ledger.faults.is_on(&Fault::SplitLocks) {
        return Ok(());
    }
    let held: Vec<(String,)> = sqlx::query_as(
        "select raw from kernel_transaction where held_at is not null and snapshot is null order by number",
    )
    .fetch_all(&mut *db)
    .await?;
    for (raw,) in held {
        let raw = hex::decode(raw).map_err(|_| CallError::Corrupt("transaction"))?;
        let signed = kernel::decode(&raw).map_err(|_| CallError::Corrupt("transaction"))?;
        if rivals(db, signed.transaction()).await?.is_empty() {
            join(db, signed.transaction()).await?;
        }
    }
    Ok(())
}

/// What operators do who clear the locks of all nodes in favour of one payload: its rivals are forgotten, and it goes on.
pub(crate) async fn release(db: &mut SqliteConnection, hash: B256) -> Result<(), CallError> {
    let known = kernel::find(db, hash).await?.filter(|known| known.held_at.is_some() && known.snapshot.is_none());
    let known = known.ok_or(Refusal::NotFound("transaction between split nodes"))?;
    let signed = kernel::decode(&known.raw).map_err(|_| CallError::Corrupt("transaction"))?;
    for rival in rivals(db, signed.transaction()).await? {
        for statement in [
            "delete from kernel_split where payload = $1",
            "delete from kernel_key where hash = $1",
            "delete from kernel_transaction where hash = $1",
        ] {
            sqlx::query(statement).bind(&rival).execute(&mut *db).await?;
        }
    }
    join(db, signed.transaction()).await
}

/// Other payloads over the same coins.
async fn rivals(db: &mut SqliteConnection, transaction: &Transaction) -> Result<Vec<String>, CallError> {
    let mut rivals = Vec::new();
    for coin in transaction.coins().unwrap_or_default() {
        let others: Vec<(String,)> = sqlx::query_as(
            "select distinct payload from kernel_split where hash = $1 and position = $2 and payload <> $3",
        )
        .bind(hex::encode(coin.transaction))
        .bind(coin.index)
        .bind(hex::encode(transaction.hash()))
        .fetch_all(&mut *db)
        .await?;
        rivals.extend(others.into_iter().map(|(payload,)| payload));
    }
    Ok(rivals)
}

/// All nodes have the transaction, and its coins are promised to it.
async fn join(db: &mut SqliteConnection, transaction: &Transaction) -> Result<(), CallError> {
    let payload = hex::encode(transaction.hash());
    kernel::lock_coins(db, transaction, &payload).await?;
    sqlx::query("delete from kernel_split where payload = $1").bind(&payload).execute(&mut *db).await?;
    sqlx::query("update kernel_transaction set held_at = null where hash = $1").bind(&payload).execute(db).await?;
    Ok(())
}
