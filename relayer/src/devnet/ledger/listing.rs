//! Finality: an admitted transaction becomes final, its outputs become coins, and the API lists those of its users.

use lockstep_core::mixin::ids::{members_hash, output_id, unique_object_id};
use lockstep_core::mixin::{Output, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, B256, Uuid};
use sqlx::SqliteConnection;

use super::faults::{Fault, Place};
use super::refusal::CallError;
use super::store::{Ledger, from_json, signed, to_json, unsigned};
use super::{ghosts, kernel, split};

/// What the API knows about the transaction whose outputs it lists.
struct Origin {
    hash: B256,
    request: Option<Uuid>,
    senders: Vec<Uuid>,
    threshold: u8,
    inscription: Option<String>,
    /// Members hash and threshold of the owners of its first input, where they are users.
    payer: Option<(String, u8)>,
    now: u64,
}

impl Origin {
    async fn of(ledger: &Ledger, db: &mut SqliteConnection, transaction: &Transaction) -> Result<Self, CallError> {
        let hash = transaction.hash();
        let mut origin = Self {
            hash,
            request: None,
            senders: Vec::new(),
            threshold: 0,
            inscription: None,
            payer: None,
            now: ledger.clock.now(),
        };
        if let Some(coin) = transaction.coins().unwrap_or_default().first() {
            let input: Option<(String, u8, Option<String>)> = sqlx::query_as(
                "select members_hash, threshold, inscription from output where hash = $1 and position = $2",
            )
            .bind(hex::encode(coin.transaction))
            .bind(coin.index)
            .fetch_optional(&mut *db)
            .await?;
            // Only a transaction of one input and one output carries an inscription on.
            let carried = transaction.inputs().len() == 1 && transaction.outputs().len() == 1;
            if let Some((members, threshold, inscription)) = input {
                origin.payer = Some((members, threshold));
                origin.inscription = inscription.filter(|_| carried);
            }
        }
        // Only a request that was completed at the API tells it who paid; what others sent to the kernel has no senders.
        let request: Option<(String, String, u8)> = sqlx::query_as(
            "select id, senders, threshold from request where hash = $1 and state <> 'unspent'
             order by created_at limit 1",
        )
        .bind(hex::encode(hash))
        .fetch_optional(db)
        .await?;
        if let Some((id, senders, threshold)) = request {
            origin.request = Some(Uuid::try_parse(&id).map_err(|_| CallError::Corrupt("id"))?);
            origin.senders = from_json(&senders, "senders")?;
            origin.threshold = threshold;
        }
        Ok(origin)
    }
}

/// Makes due transactions final and lists due rows, in the order in which they are due; all that are admitted when `all`
/// is set. Returns how many became final.
pub(crate) async fn finalize_due(ledger: &Ledger, db: &mut SqliteConnection, all: bool) -> Result<usize, CallError> {
    let due = if all { i64::MAX } else { signed(ledger.clock.now()) };
    let mut count = 0_usize;
    if !ledger.faults.is_on(&Fault::Stall) {
        split::unite(ledger, db).await?;
        let open = "select raw from kernel_transaction
            where snapshot is null and held_at is null and final_at <= $1 order by final_at, number";
        for transaction in transactions(db, open, due).await? {
            finalize(ledger, db, &transaction).await?;
            count = count.saturating_add(1);
        }
    }
    let unlisted = "select raw from kernel_transaction where listed = 0 and list_at <= $1 order by list_at, number";
    for transaction in transactions(db, unlisted, due).await? {
        list_all(ledger, db, &transaction).await?;
    }
    list_withheld(ledger, db).await?;
    Ok(count)
}

/// True while there is something that time, or the end of a fault, will finish.
pub(crate) async fn is_work_left(db: &mut SqliteConnection) -> Result<bool, CallError> {
    let left: bool = sqlx::query_scalar(
        "select exists (select 1 from kernel_transaction where snapshot is null)
            or exists (select 1 from kernel_transaction where listed = 0) or exists (select 1 from withheld)",
    )
    .fetch_one(db)
    .await?;
    Ok(left)
}

async fn transactions(db: &mut SqliteConnection, query: &'static str, due: i64) -> Result<Vec<Transaction>, CallError> {
    let rows: Vec<(String,)> = sqlx::query_as(query).bind(due).fetch_all(db).await?;
    rows.iter().map(|(raw,)| read(raw)).collect()
}

fn read(raw: &str) -> Result<Transaction, CallError> {
    let raw = hex::decode(raw).map_err(|_| CallError::Corrupt("transaction"))?;
    let signed = kernel::decode(&raw).map_err(|_| CallError::Corrupt("transaction"))?;
    Ok(signed.transaction().clone())
}

/// Makes one transaction final: its inputs are spent, its outputs exist and are listed unless they have a time of their
/// own, its request is done.
pub(crate) async fn finalize(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    transaction: &Transaction,
) -> Result<(), CallError> {
    let (hash, now) = (transaction.hash(), ledger.clock.now());
    let name = hex::encode(hash);
    let snapshot = hex::encode(ledger.secrets.snapshot(hash));
    let list_at: Option<i64> = sqlx::query_scalar(
        "update kernel_transaction set snapshot = $1, snapshot_at = $2 where hash = $3 returning list_at",
    )
    .bind(&snapshot)
    .bind(signed(now))
    .bind(&name)
    .fetch_one(&mut *db)
    .await?;
    spend(db, transaction, &name, now).await?;
    for (index, output) in (0_u16..).zip(transaction.outputs()) {
        create(db, transaction, &name, index, output).await?;
    }
    if list_at.is_none() {
        list_all(ledger, db, transaction).await?;
    }
    settle(db, hash).await?;
    tracing::debug!(hash = name, "transaction final");
    Ok(())
}

/// Lists the outputs of a transaction.
pub(crate) async fn list_all(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    transaction: &Transaction,
) -> Result<(), CallError> {
    let origin = Origin::of(ledger, db, transaction).await?;
    for (index, output) in (0_u16..).zip(transaction.outputs()) {
        list(ledger, db, transaction, &origin, index, output).await?;
    }
    sqlx::query("update kernel_transaction set listed = 1 where hash = $1")
        .bind(hex::encode(origin.hash))
        .execute(db)
        .await?;
    Ok(())
}

/// Lists what a fault kept back that was cleared since.
async fn list_withheld(ledger: &Ledger, db: &mut SqliteConnection) -> Result<(), CallError> {
    let rows: Vec<(String, u16, i64, String)> = sqlx::query_as(
        "select hash, position, fault, raw from withheld join kernel_transaction using (hash) order by number, position",
    )
    .fetch_all(&mut *db)
    .await?;
    for (hash, index, fault, raw) in rows {
        if ledger.faults.knows(unsigned(fault)) {
            continue;
        }
        sqlx::query("delete from withheld where hash = $1 and position = $2")
            .bind(&hash)
            .bind(index)
            .execute(&mut *db)
            .await?;
        let transaction = read(&raw)?;
        let origin = Origin::of(ledger, db, &transaction).await?;
        let output = transaction.outputs().get(usize::from(index)).ok_or(CallError::Corrupt("index"))?;
        list(ledger, db, &transaction, &origin, index, output).await?;
    }
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

/// Marks the inputs' rows spent.
async fn spend(db: &mut SqliteConnection, transaction: &Transaction, spender: &str, now: u64) -> Result<(), CallError> {
    for coin in transaction.coins().unwrap_or_default() {
        sqlx::query(
            "update output set state = 'spent', signed_by = $1, spent_at = $2, updated_at = $2
             where hash = $3 and position = $4",
        )
        .bind(spender)
        .bind(signed(now))
        .bind(hex::encode(coin.transaction))
        .bind(coin.index)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
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
    let owners = (hex::encode(members_hash(&receivers)), threshold);
    if origin.payer.as_ref() == Some(&owners)
        && let Some(act) = ledger.faults.acts(Place::of(&receivers), &Fault::UnlistedChange)
    {
        return withhold(db, origin.hash, index, act.id).await;
    }
    let sequence = next_sequence(ledger, db, &receivers, &owners).await?;
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
    .bind(&owners.0)
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

/// Keeps an output from being listed while the fault with this id is set.
async fn withhold(db: &mut SqliteConnection, hash: B256, index: u16, fault: u64) -> Result<(), CallError> {
    sqlx::query("insert into withheld (hash, position, fault) values ($1, $2, $3)")
        .bind(hex::encode(hash))
        .bind(index)
        .bind(signed(fault))
        .execute(db)
        .await?;
    Ok(())
}

/// The sequence of a new row: a random step above the newest one, or where a fault puts it.
async fn next_sequence(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    receivers: &[Uuid],
    owners: &(String, u8),
) -> Result<u64, CallError> {
    let late = |fault: &Fault| if let Fault::LateRow { behind } = fault { Some(*behind) } else { None };
    if let Some(behind) = ledger.faults.peek(Place::of(receivers), late)
        && let Some(sequence) = free_below(db, owners, behind).await?
    {
        ledger.faults.act(Place::of(receivers), late);
        return Ok(sequence);
    }
    let last: Option<i64> = sqlx::query_scalar("select max(sequence) from output").fetch_one(db).await?;
    let last = last.map_or(0, unsigned);
    Ok(last.saturating_add(ledger.secrets.gap(last)))
}

/// The largest free sequence below the `behind` newest rows of the owners, if there are as many rows and one is free.
async fn free_below(
    db: &mut SqliteConnection,
    (members, threshold): &(String, u8),
    behind: u8,
) -> Result<Option<u64>, CallError> {
    let newest: Option<i64> = sqlx::query_scalar(
        "select sequence from output where members_hash = $1 and threshold = $2
         order by sequence desc limit 1 offset $3",
    )
    .bind(members)
    .bind(threshold)
    .bind(i64::from(behind).saturating_sub(1))
    .fetch_optional(&mut *db)
    .await?;
    let Some(newest) = newest else { return Ok(None) };
    let free: Option<i64> = sqlx::query_scalar(
        "select max(taken.sequence) - 1 from output as taken where taken.sequence <= $1 and taken.sequence > 1
         and not exists (select 1 from output as below where below.sequence = taken.sequence - 1)",
    )
    .bind(newest)
    .fetch_one(db)
    .await?;
    Ok(free.map(unsigned))
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
