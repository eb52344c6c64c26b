//! Making a request: everything but signatures is judged here, so that nobody signs what the kernel would refuse.

use lockstep_core::mixin::ids::members_hash;
use lockstep_core::mixin::{Output, SignedTransaction};
use lockstep_core::{B256, Uuid};
use sqlx::SqliteConnection;

use super::{Funds, Kind, Request, by_id, funds, sign};
use crate::devnet::ledger::faults::{Fault, Place};
use crate::devnet::ledger::ghosts;
use crate::devnet::ledger::kernel::{self, FIRST_NODE, Stage};
use crate::devnet::ledger::refusal::{CallError, Refusal};
use crate::devnet::ledger::store::{Ledger, signed, to_json};
use crate::ledger::wire::{Hex32, OutputState, RawRequest, ReceiverRow};

/// Makes a request, or finds the one that was made of the same transaction under the same id. A multisig request may
/// already carry signatures: valid ones are taken over.
pub(crate) async fn create(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    kind: Kind,
    posted: &RawRequest,
) -> Result<Request, CallError> {
    let transaction = kernel::decode(&posted.raw.0)?;
    if let Some(request) = by_id(db, posted.request_id).await? {
        let mut request = same(request, caller, kind, transaction.hash())?;
        if kind == Kind::Multisig && request.is_open() && transaction.input_signatures(0).is_some() {
            let funds = funds(db, &transaction).await?;
            free(&funds, request.hash)?;
            sign::absorb(ledger, db, &mut request, &transaction, &funds).await?;
        }
        return Ok(request);
    }
    let funds = funds(db, &transaction).await?;
    if !funds.owners.contains(&caller) {
        return Err(Refusal::Forbidden("the inputs belong to others").into());
    }
    if kind == Kind::Single && funds.owners.len() != 1 {
        return Err(Refusal::Field("raw: coins of several owners are spent by /safe/multisigs".into()).into());
    }
    free(&funds, transaction.hash())?;
    let admitted = kernel::find(db, transaction.hash()).await?;
    if admitted.is_none() {
        kernel::check(ledger, db, &transaction, Stage::Draft, FIRST_NODE).await?;
    }

    let mut request = draft(ledger, db, caller, kind, posted.request_id, &transaction, &funds).await?;
    if let Some(admitted) = admitted {
        // The same payload went to the kernel on another way; there is nothing left to sign.
        request.raw = admitted.raw;
        request.state = OutputState::Signed;
        if let Some((snapshot, at)) = admitted.snapshot {
            request.state = OutputState::Spent;
            (request.snapshot, request.snapshot_at) = (Some(snapshot), Some(at));
        }
    }
    insert(db, &request).await?;
    tracing::debug!(id = %request.id, hash = %request.hash, "request made");
    if kind == Kind::Multisig && request.is_open() {
        sign::absorb(ledger, db, &mut request, &transaction, &funds).await?;
        if ledger.faults.acts(Place::of(&[caller]), &Fault::LockAtCreate).is_some() {
            sign::take_coins(ledger, db, &request, &funds).await?;
        }
    }
    Ok(request)
}

/// A known id stands for one transaction and one kind for ever.
fn same(request: Request, caller: Uuid, kind: Kind, hash: B256) -> Result<Request, CallError> {
    if !request.senders.contains(&caller) {
        return Err(Refusal::TraceTaken(request.id).into());
    }
    if request.kind != kind {
        return Err(Refusal::Field(format!("request_id: {} is a {} request", request.id, request.kind.as_str())).into());
    }
    if request.hash != hash {
        return Err(
            Refusal::Field(format!("request_id: {} stands for transaction {}", request.id, request.hash)).into()
        );
    }
    Ok(request)
}

/// None of the coins may be promised to another payload.
pub(super) fn free(funds: &Funds, hash: B256) -> Result<(), CallError> {
    let taken = funds.coins.iter().find(|coin| coin.row.signed_by.is_some_and(|by| by.0 != hash.0));
    taken.map_or(Ok(()), |coin| Err(Refusal::CoinTaken(coin.row.output_id.to_string()).into()))
}

async fn draft(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    creator: Uuid,
    kind: Kind,
    id: Uuid,
    signed: &SignedTransaction,
    funds: &Funds,
) -> Result<Request, CallError> {
    let transaction = signed.transaction();
    let mut receivers = Vec::with_capacity(transaction.outputs().len());
    for (index, output) in transaction.outputs().iter().enumerate() {
        receivers.push(receiver(db, index, output).await?);
    }
    let first = transaction.outputs().first().ok_or_else(|| Refusal::Field("raw: no outputs".into()))?;
    let now = ledger.clock.now();
    Ok(Request {
        id,
        kind,
        hash: transaction.hash(),
        raw: transaction.payload(),
        creator,
        asset: transaction.asset(),
        amount: first.amount,
        extra: transaction.extra().to_vec(),
        senders: funds.owners.clone(),
        threshold: funds.threshold,
        receivers,
        signers: Vec::new(),
        inscription: funds.coins.first().and_then(|coin| coin.row.inscription_hash),
        state: OutputState::Unspent,
        revoked_by: None,
        created_at: now,
        updated_at: now,
        snapshot: None,
        snapshot_at: None,
    })
}

/// Who gets an output; nobody by name where its keys were not made here.
async fn receiver(db: &mut SqliteConnection, index: usize, output: &Output) -> Result<ReceiverRow, CallError> {
    let keys: Vec<_> = output.keys.iter().map(|key| key.0).collect();
    let index = u16::try_from(index).map_err(|_| CallError::Corrupt("index"))?;
    let mut members = ghosts::owners(db, &keys, &output.mask.0, index).await?.unwrap_or_default();
    members.sort_unstable();
    let hash = (!members.is_empty()).then(|| Hex32(members_hash(&members).0));
    Ok(ReceiverRow { members, members_hash: hash, threshold: output.script.threshold().unwrap_or(0) })
}

async fn insert(db: &mut SqliteConnection, request: &Request) -> Result<(), CallError> {
    sqlx::query(
        "insert into request (id, kind, hash, raw, creator, asset, amount, extra, senders, threshold, receivers, signers,
            inscription, state, created_at, updated_at, snapshot, snapshot_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '[]', $12, $13, $14, $14, $15, $16)",
    )
    .bind(request.id.to_string())
    .bind(request.kind.as_str())
    .bind(hex::encode(request.hash))
    .bind(hex::encode(&request.raw))
    .bind(request.creator.to_string())
    .bind(request.asset.to_string())
    .bind(request.amount.to_string())
    .bind(hex::encode(&request.extra))
    .bind(to_json(&request.senders)?)
    .bind(request.threshold)
    .bind(to_json(&request.receivers)?)
    .bind(request.inscription.map(|hash| hash.to_string()))
    .bind(request.state.as_str())
    .bind(signed(request.created_at))
    .bind(request.snapshot.map(|hash| hash.to_string()))
    .bind(request.snapshot_at.map(signed))
    .execute(db)
    .await?;
    Ok(())
}
