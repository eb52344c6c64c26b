//! Signatures of requests: collecting, taking back, and the broadcast that the last one sets off.

use std::collections::BTreeMap;

use lockstep_core::Uuid;
use lockstep_core::mixin::sign::SignError;
use lockstep_core::mixin::{CoinKeys, Signature, Signatures, SignedTransaction};
use sqlx::SqliteConnection;

use super::create::{create, free};
use super::{Funds, Held, Kind, Request, find, funds, update};
use crate::devnet::ledger::faults::{Fault, Place};
use crate::devnet::ledger::kernel::{self, FIRST_NODE, KernelRefusal, Stage};
use crate::devnet::ledger::listing;
use crate::devnet::ledger::refusal::{CallError, Refusal};
use crate::devnet::ledger::store::{Ledger, from_json, signed, to_json};
use crate::ledger::wire::{OutputState, RawRequest};

/// Signatures of one input by index of its key.
type Map = BTreeMap<u16, Signature>;

/// `POST /safe/multisigs/:id/sign`: takes the caller's signatures, and every other valid one that comes along. Which form
/// the client sends (only its own, or all that it saw) does not matter.
pub(crate) async fn sign(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    name: &str,
    raw: &[u8],
) -> Result<Request, CallError> {
    let mut request = multisig(db, caller, name).await?;
    let posted = kernel::decode(raw)?;
    if posted.hash() != request.hash {
        return Err(Refusal::Field(format!("raw: {} stands for transaction {}", request.id, request.hash)).into());
    }
    if request.revoked_by.is_some() {
        return Err(Refusal::Forbidden("the request was revoked").into());
    }
    if !request.is_open() || request.signers.contains(&caller) {
        return Ok(request);
    }
    let funds = funds(db, &posted).await?;
    free(&funds, request.hash)?;
    for (input, coin) in funds.coins.iter().enumerate() {
        let index = coin.key_index(caller).ok_or(CallError::Corrupt("keys"))?;
        let own = posted.input_signatures(input).and_then(|map| map.get(&index));
        let missing = SignError::NotEnough { input, have: 0, need: 1 };
        coin.keys()
            .verify(input, index, own.ok_or(KernelRefusal::Signature(missing))?, &request.hash)
            .map_err(KernelRefusal::from)?;
    }
    if kernel::find(db, request.hash).await?.is_none() {
        kernel::check(ledger, db, &posted, Stage::Draft, FIRST_NODE).await?;
    }
    absorb(ledger, db, &mut request, &posted, &funds).await?;
    Ok(request)
}

/// Merges the valid signatures of `posted` by index of their keys. The first one promises the coins to this payload; the
/// last one that the script asks for hands the transaction to the broadcaster.
pub(super) async fn absorb(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: &mut Request,
    posted: &SignedTransaction,
    funds: &Funds,
) -> Result<(), CallError> {
    single_signatures(posted)?;
    let coins: Vec<CoinKeys> = funds.coins.iter().map(Held::keys).collect();
    let mut merged = request.transaction()?;
    merged.merge(posted, &coins).map_err(KernelRefusal::from)?;
    keep(ledger, db, request, funds, maps_of(&merged, funds)?).await
}

/// `POST /safe/multisigs/:id/unlock`: the caller takes its signatures back, while they are too few to broadcast.
pub(crate) async fn unlock(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    name: &str,
) -> Result<Request, CallError> {
    let mut request = multisig(db, caller, name).await?;
    if request.state != OutputState::Unspent {
        return Err(Refusal::Forbidden("the request has all its signatures").into());
    }
    let funds = funds(db, &request.transaction()?).await?;
    let mut maps = maps_of(&request.transaction()?, &funds)?;
    let is_signed = maps.iter().any(|map| !map.is_empty());
    if is_signed && ledger.faults.acts(Place::of(&[caller]), &Fault::UnlockRevokes).is_some() {
        request.revoked_by = Some(caller);
        maps.iter_mut().for_each(Map::clear);
    }
    for (map, coin) in maps.iter_mut().zip(&funds.coins) {
        if let Some(index) = coin.key_index(caller) {
            map.remove(&index);
        }
    }
    keep(ledger, db, &mut request, &funds, maps).await?;
    Ok(request)
}

/// `POST /safe/multisigs/:id/revoke` and `/cancel`: the creator ends the request, and its coins are free again.
pub(crate) async fn revoke(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    name: &str,
) -> Result<Request, CallError> {
    let mut request = multisig(db, caller, name).await?;
    if request.creator != caller && ledger.faults.acts(Place::of(&[caller]), &Fault::AnyoneRevokes).is_none() {
        return Err(Refusal::Forbidden("only its creator ends a request").into());
    }
    if request.state != OutputState::Unspent {
        return Err(Refusal::Forbidden("the request has all its signatures").into());
    }
    let funds = funds(db, &request.transaction()?).await?;
    request.revoked_by = Some(caller);
    keep(ledger, db, &mut request, &funds, Vec::new()).await?;
    Ok(request)
}

/// `POST /safe/transactions`: a transaction with the caller's own signatures, complete.
pub(crate) async fn submit(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    caller: Uuid,
    posted: &RawRequest,
) -> Result<Request, CallError> {
    let mut request = create(ledger, db, caller, Kind::Single, posted).await?;
    if !request.is_open() {
        return Ok(request);
    }
    let transaction = kernel::decode(&posted.raw.0)?;
    single_signatures(&transaction)?;
    let funds = funds(db, &transaction).await?;
    free(&funds, request.hash)?;
    if kernel::find(db, request.hash).await?.is_none() {
        kernel::check(ledger, db, &transaction, Stage::Signed, FIRST_NODE).await?;
    }
    absorb(ledger, db, &mut request, &transaction, &funds).await?;
    Ok(request)
}

/// Sends the oldest transaction that the API owes the kernel. False when there is none. A refusal is final: whatever the
/// kernel holds against a transaction that passed here (a lock that came in between) does not go away.
pub(crate) async fn send_next(ledger: &Ledger, db: &mut SqliteConnection) -> Result<bool, CallError> {
    let next: Option<(i64, String, String)> = sqlx::query_as(
        "select number, broadcast.raw, senders from broadcast join request on request.id = request
         where sent_at is null order by number limit 1",
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some((number, raw, senders)) = next else { return Ok(false) };
    let raw = hex::decode(raw).map_err(|_| CallError::Corrupt("broadcast"))?;
    let senders: Vec<Uuid> = from_json(&senders, "senders")?;
    let is_lost = ledger.faults.acts(Place::of(&senders), &Fault::LoseBroadcast).is_some();
    let refusal = if is_lost { Some("lost".to_owned()) } else { send(ledger, db, &raw).await? };
    if let Some(refusal) = &refusal {
        tracing::warn!(refusal, "the kernel refused a broadcast");
    }
    sqlx::query("update broadcast set sent_at = $1, refusal = $2 where number = $3")
        .bind(signed(ledger.clock.now()))
        .bind(refusal)
        .bind(number)
        .execute(db)
        .await?;
    Ok(true)
}

/// Sends a transaction to the kernel; gives its refusal.
async fn send(ledger: &Ledger, db: &mut SqliteConnection, raw: &[u8]) -> Result<Option<String>, CallError> {
    match kernel::admit(ledger, db, raw, FIRST_NODE).await {
        Ok(hash) => {
            listing::settle(db, hash).await?;
            Ok(None)
        }
        Err(CallError::Refused(refusal)) => Ok(Some(refusal.to_string())),
        Err(error @ (CallError::Store(_) | CallError::Corrupt(_))) => Err(error),
    }
}

/// The API collects signatures by key; an aggregated one has no place in its requests.
fn single_signatures(transaction: &SignedTransaction) -> Result<(), KernelRefusal> {
    match transaction.signatures() {
        Signatures::Map(_) => Ok(()),
        Signatures::Aggregated { .. } => Err(SignError::Aggregated.into()),
    }
}

/// A multisig request, for one of its senders.
async fn multisig(db: &mut SqliteConnection, caller: Uuid, name: &str) -> Result<Request, CallError> {
    let request = find(db, name).await?;
    if request.kind != Kind::Multisig {
        return Err(Refusal::NotFound("request").into());
    }
    if !request.senders.contains(&caller) {
        return Err(Refusal::Forbidden("the inputs belong to others").into());
    }
    Ok(request)
}

/// The signatures of a request's transaction, one map an input.
fn maps_of(transaction: &SignedTransaction, funds: &Funds) -> Result<Vec<Map>, CallError> {
    let mut maps = match transaction.signatures() {
        Signatures::Map(maps) => maps.clone(),
        Signatures::Aggregated { .. } => return Err(CallError::Corrupt("request")),
    };
    maps.resize(funds.coins.len(), Map::new());
    Ok(maps)
}

/// Writes a request's signatures and what follows from them.
async fn keep(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: &mut Request,
    funds: &Funds,
    mut maps: Vec<Map>,
) -> Result<(), CallError> {
    if let Some(user) = revoker(ledger, request, funds, &maps) {
        request.revoked_by = Some(user);
        maps.clear();
    }
    let signed_at = |user: Uuid, coin: &Held, at: usize| {
        coin.key_index(user).is_some_and(|index| maps.get(at).is_some_and(|map| map.contains_key(&index)))
    };
    let signers_of = |at: usize, coin: &Held| -> Vec<Uuid> {
        funds.owners.iter().copied().filter(|user| signed_at(*user, coin, at)).collect()
    };
    for (at, coin) in funds.coins.iter().enumerate() {
        promise(ledger, db, request, coin, &signers_of(at, coin)).await?;
    }
    let complete = |user: &Uuid| funds.coins.iter().enumerate().all(|(at, coin)| signed_at(*user, coin, at));
    request.signers = funds.owners.iter().copied().filter(complete).collect();

    let unsigned = maps.iter().all(Map::is_empty);
    let maps = if unsigned { Vec::new() } else { maps };
    let transaction = request.transaction()?.transaction().clone();
    let merged = SignedTransaction::new(transaction, Signatures::Map(maps));
    request.raw = merged.map_err(|error| Refusal::Field(format!("raw: {error}")))?.encode();
    if request.revoked_by.is_none() && request.signers.len() >= usize::from(request.threshold) {
        request.state = OutputState::Signed;
        sqlx::query("insert into broadcast (request, raw, created_at) values ($1, $2, $3)")
            .bind(request.id.to_string())
            .bind(hex::encode(&request.raw))
            .bind(signed(ledger.clock.now()))
            .execute(&mut *db)
            .await?;
        tracing::debug!(id = %request.id, hash = %request.hash, "request complete");
    }
    update(ledger, db, request).await
}

/// The hostile owner who revokes the request now: it has signatures, and not enough of them.
fn revoker(ledger: &Ledger, request: &Request, funds: &Funds, maps: &[Map]) -> Option<Uuid> {
    let most = maps.iter().map(Map::len).max().unwrap_or(0);
    if !request.is_open() || most == 0 || most >= usize::from(funds.threshold) {
        return None;
    }
    ledger.faults.acts(Place::of(&funds.owners), &Fault::Revoke).and_then(|act| act.user)
}

/// Promises free coins to a request that nobody signed yet.
pub(super) async fn take_coins(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: &Request,
    funds: &Funds,
) -> Result<(), CallError> {
    let now = signed(ledger.clock.now());
    for coin in &funds.coins {
        sqlx::query(
            "update output set state = 'signed', signed_by = $1, signed_at = $2, updated_at = $2
             where id = $3 and state = 'unspent'",
        )
        .bind(hex::encode(request.hash))
        .bind(now)
        .bind(coin.row.output_id.to_string())
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// A coin that somebody signed for is promised to that payload; it is free again when nobody is left.
async fn promise(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    request: &Request,
    coin: &Held,
    signers: &[Uuid],
) -> Result<(), CallError> {
    if signers.is_empty() && coin.row.signed_by.is_none() {
        return Ok(());
    }
    let promised = !signers.is_empty();
    let state = if promised { OutputState::Signed } else { OutputState::Unspent };
    let now = signed(ledger.clock.now());
    sqlx::query(
        "update output set state = $1, signed_by = $2, signed_at = $3, signers = $4, updated_at = $5
         where id = $6 and state <> 'spent' and coalesce(signed_by, $7) = $7",
    )
    .bind(state.as_str())
    .bind(promised.then(|| hex::encode(request.hash)))
    .bind(promised.then_some(now))
    .bind(to_json(&signers)?)
    .bind(now)
    .bind(coin.row.output_id.to_string())
    .bind(hex::encode(request.hash))
    .execute(db)
    .await?;
    Ok(())
}
