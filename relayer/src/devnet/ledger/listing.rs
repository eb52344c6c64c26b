//! Finality: an admitted transaction becomes final, its outputs become coins, and the API lists those of its users.

use lockstep_core::mixin::ids::{members_hash, output_id, unique_object_id};
use lockstep_core::mixin::{Output, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, B256, Uuid};
use sqlx::SqliteConnection;

use super::ghosts;
use super::kernel;
use super::refusal::CallError;
use super::store::{Ledger, from_json, signed, to_json, unsigned};

/// What the API knows about the transaction whose outputs it lists.
struct Origin {
    hash: B256,
    request: Option<Uuid>,
    senders: Vec<Uuid>,
    threshold: u8,
    inscription: Option<String>,
    now: u64,
}

/// Makes due transactions final, in the order in which they are due; all that are admitted when `all` is set. Returns how
/// many.
pub(crate) async fn finalize_due(ledger: &Ledger, db: &mut SqliteConnection, all: bool) -> Result<usize, CallError> {
    let due = if all { i64::MAX } else { signed(ledger.clock.now()) };
    let open: Vec<(String,)> = sqlx::query_as(
        "select raw from kernel_transaction where snapshot is null and final_at <= $1 order by final_at, number",
    )
    .bind(due)
    .fetch_all(&mut *db)
    .await?;
    for (raw,) in &open {
        let raw = hex::decode(raw).map_err(|_| CallError::Corrupt("transaction"))?;
        let transaction = kernel::decode(&raw).map_err(|_| CallError::Corrupt("transaction"))?;
        finalize(ledger, db, transaction.transaction()).await?;
    }
    Ok(open.len())
}

/// Makes one transaction final: its inputs are spent, its outputs exist and are listed, its request is done.
pub(crate) async fn finalize(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    transaction: &Transaction,
) -> Result<(), CallError> {
    let (hash, now) = (transaction.hash(), ledger.clock.now());
    let name = hex::encode(hash);
    let snapshot = hex::encode(ledger.secrets.snapshot(hash));
    sqlx::query("update kernel_transaction set snapshot = $1, snapshot_at = $2 where hash = $3")
        .bind(&snapshot)
        .bind(signed(now))
        .bind(&name)
        .execute(&mut *db)
        .await?;
    let inscription = spend(db, transaction, &name, now).await?;

    // Only a request that was completed at the API tells it who paid; what others sent to the kernel has no senders.
    let request: Option<(String, String, u8)> = sqlx::query_as(
        "select id, senders, threshold from request where hash = $1 and state <> 'unspent' order by created_at limit 1",
    )
    .bind(&name)
    .fetch_optional(&mut *db)
    .await?;
    let mut origin = Origin { hash, request: None, senders: Vec::new(), threshold: 0, inscription, now };
    if let Some((id, senders, threshold)) = request {
        origin.request = Some(Uuid::try_parse(&id).map_err(|_| CallError::Corrupt("id"))?);
        origin.senders = from_json(&senders, "senders")?;
        origin.threshold = threshold;
    }
    for (index, output) in transaction.outputs().iter().enumerate() {
        let index = u16::try_from(index).map_err(|_| CallError::Corrupt("index"))?;
        create(db, transaction, &name, index, output).await?;
        list(ledger, db, transaction, &origin, index, output).await?;
    }
    settle(db, hash).await?;
    tracing::debug!(hash = name, "transaction final");
    Ok(())
}

/// Requests that were completed are done once their transaction is final, whoever sent it.
pub(crate) async fn settle(db: &mut SqliteConnection, hash: B256) -> Result<(), CallError> {
    sqlx::query(
        "update request set state = 'spent', snapshot = final.snapshot, snapshot_at = final.snapshot_at,
            updated_at = max(request.updated_at, final.snapshot_at)
         from kernel_transaction as final
         where final.hash = $1 and final.snapshot is not null and request.hash = $1 and request.state = 'signed'",
    )
    .bind(hex::encode(hash))
    .execute(db)
    .await?;
    Ok(())
}

/// Marks the inputs' rows spent. Returns the inscription, which only a transaction of one input and one output carries on.
async fn spend(
    db: &mut SqliteConnection,
    transaction: &Transaction,
    spender: &str,
    now: u64,
) -> Result<Option<String>, CallError> {
    let mut inscription = None;
    for coin in transaction.coins().unwrap_or_default() {
        let row: Option<(Option<String>,)> = sqlx::query_as(
            "update output set state = 'spent', signed_by = $1, spent_at = $2, updated_at = $2
             where hash = $3 and position = $4 returning inscription",
        )
        .bind(spender)
        .bind(signed(now))
        .bind(hex::encode(coin.transaction))
        .bind(coin.index)
        .fetch_optional(&mut *db)
        .await?;
        inscription = row.and_then(|row| row.0);
    }
    let carried = transaction.inputs().len() == 1 && transaction.outputs().len() == 1;
    Ok(inscription.filter(|_| carried))
}

/// The output exists from now on, whoever can spend it.
async fn create(
    db: &mut SqliteConnection,
    transaction: &Transaction,
    hash: &str,
    index: u16,
    output: &Output,
) -> Result<(), CallError> {
    sqlx::query(
        "insert into kernel_output (hash, position, kind, asset, amount, keys, mask, script)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(hash)
    .bind(index)
    .bind(output.kind.0)
    .bind(transaction.asset().to_string())
    .bind(output.amount.to_string())
    .bind(to_json(&output.keys)?)
    .bind(output.mask.to_string())
    .bind(output.script.to_string())
    .execute(db)
    .await?;
    Ok(())
}

/// Lists the output, when all its keys were made for users here and its script asks for a number of them that exists.
async fn list(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    transaction: &Transaction,
    origin: &Origin,
    index: u16,
    output: &Output,
) -> Result<(), CallError> {
    let keys: Vec<_> = output.keys.iter().map(|key| key.0).collect();
    let Some(mut receivers) = ghosts::owners(db, &keys, &output.mask.0, index).await? else { return Ok(()) };
    let threshold = output.script.threshold().unwrap_or(0);
    if threshold == 0 || usize::from(threshold) > receivers.len() {
        return Ok(());
    }
    receivers.sort_unstable();
    let last: Option<i64> = sqlx::query_scalar("select max(sequence) from output").fetch_one(&mut *db).await?;
    let last = last.map_or(0, unsigned);
    let sequence = last.saturating_add(ledger.secrets.gap(last));
    let now = ledger.clock.now();
    let coin = CoinId { transaction: origin.hash, index };
    sqlx::query(
        "insert into output (sequence, id, hash, position, asset, amount, keys, mask, members_hash, receivers, threshold,
            senders, senders_threshold, extra, inscription, request, state, signers, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'unspent', '[]', $17, $17)",
    )
    .bind(signed(sequence))
    .bind(output_id(&coin).to_string())
    .bind(hex::encode(origin.hash))
    .bind(index)
    .bind(transaction.asset().to_string())
    .bind(output.amount.to_string())
    .bind(to_json(&output.keys)?)
    .bind(output.mask.to_string())
    .bind(hex::encode(members_hash(&receivers)))
    .bind(to_json(&receivers)?)
    .bind(threshold)
    .bind(to_json(&origin.senders)?)
    .bind(origin.threshold)
    .bind(hex::encode(transaction.extra()))
    .bind(&origin.inscription)
    .bind(origin.request.map(|id| id.to_string()))
    .bind(signed(now))
    .execute(&mut *db)
    .await?;
    note(db, transaction, origin, index, &receivers, output.amount).await
}

/// Writes the snapshots (an account's statement) of the users that a payment between single users, or to one, concerns.
async fn note(
    db: &mut SqliteConnection,
    transaction: &Transaction,
    origin: &Origin,
    index: u16,
    receivers: &[Uuid],
    amount: Amount,
) -> Result<(), CallError> {
    let single = |users: &[Uuid]| match users {
        [user] => Some(*user),
        _ => None,
    };
    let (payer, payee) = (single(&origin.senders), single(receivers));
    if payer == payee {
        return Ok(());
    }
    let sides = [(payer, payee, format!("-{amount}")), (payee, payer, amount.to_string())];
    for (user, opponent, amount) in sides {
        let Some(user) = user else { continue };
        let place = format!("{}:{index}", hex::encode(origin.hash));
        sqlx::query(
            "insert into snapshot (id, user, opponent, hash, asset, amount, memo, request, created_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(unique_object_id(&[&place, &user.to_string()]).to_string())
        .bind(user.to_string())
        .bind(opponent.map(|user| user.to_string()))
        .bind(hex::encode(origin.hash))
        .bind(transaction.asset().to_string())
        .bind(amount)
        .bind(hex::encode(transaction.extra()))
        .bind(origin.request.map(|id| id.to_string()))
        .bind(signed(origin.now))
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
