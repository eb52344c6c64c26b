//! What only a development network has: users, assets and money from nowhere. The server listens on loopback alone, and
//! a body must say that it is JSON, which a web page of another origin cannot without asking.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use lockstep_core::mixin::ids::XIN;
use lockstep_core::mixin::{Deposit, Input, Output, RawKey, Signature, Signatures, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256, Uuid};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::api::{Reply, data};
use super::assets::{self, NewAsset};
use super::faults::{FaultOrder, FaultRow};
use super::kernel::FIRST_NODE;
use super::refusal::{CallError, Refusal};
use super::store::Ledger;
use super::users::{self, NewUser, Registered};
use super::{ghosts, kernel, listing, split};
use crate::ledger::wire::{AssetRow, GhostKeyRow, Hex32, HexBytes, KeyRequest};

/// The routes under `/admin`.
pub(super) fn routes() -> Router<Arc<Ledger>> {
    Router::new()
        .route("/admin/users", post(create_user))
        .route("/admin/assets", post(create_asset))
        .route("/admin/faucet", post(faucet))
        .route("/admin/outputs/{id}/inscription", post(inscribe))
        .route("/admin/advance", post(advance))
        .route("/admin/faults", get(list_faults).post(set_fault).delete(clear_faults))
        .route("/admin/faults/{id}", delete(clear_fault))
        .route("/admin/transactions/{hash}/release", post(release))
}

/// The body of a call, or a refusal in the API's form.
fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, CallError> {
    body.map(|body| body.0).map_err(|error| Refusal::Malformed(error.body_text()).into())
}

async fn create_user(
    State(ledger): State<Arc<Ledger>>,
    posted: Result<Json<NewUser>, JsonRejection>,
) -> Reply<Registered> {
    let new = body(posted)?;
    let mut tx = ledger.begin().await?;
    let registered = users::register(&ledger, &mut tx, &new).await?;
    tx.commit().await?;
    data(registered)
}

async fn create_asset(
    State(ledger): State<Arc<Ledger>>,
    posted: Result<Json<NewAsset>, JsonRejection>,
) -> Reply<AssetRow> {
    let new = body(posted)?;
    let mut tx = ledger.begin().await?;
    let asset = assets::register(&mut tx, &new).await?;
    tx.commit().await?;
    data(asset)
}

/// Body of `POST /admin/faucet`: a deposit, which has no senders.
#[derive(Debug, Deserialize)]
pub(super) struct Pour {
    /// Names the deposit: the same id again is the same deposit.
    pub(super) request_id: Uuid,
    /// UUID or kernel id of a registered asset.
    pub(super) asset: String,
    pub(super) amount: Amount,
    pub(super) receivers: Vec<Uuid>,
    #[serde(default = "one")]
    pub(super) threshold: u8,
    /// A memo, as of a payment that has no senders.
    #[serde(default)]
    pub(super) extra: HexBytes,
    /// What `GET /safe/outputs/:id/deposit` says about it.
    #[serde(flatten)]
    pub(super) from: Source,
}

/// Where a deposit came from on its own chain.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) sender: String,
    pub(super) destination: String,
    pub(super) tag: String,
}

const fn one() -> u8 {
    1
}

/// Reply to [`Pour`].
#[derive(Debug, Serialize)]
struct Poured {
    transaction_hash: Hex32,
    output_id: Uuid,
}

async fn faucet(State(ledger): State<Arc<Ledger>>, posted: Result<Json<Pour>, JsonRejection>) -> Reply<Poured> {
    let pour = body(posted)?;
    let mut tx = ledger.begin().await?;
    let hash = deposit(&ledger, &mut tx, &pour).await?;
    tx.commit().await?;
    let output_id = lockstep_core::mixin::ids::output_id(&CoinId { transaction: hash, index: 0 });
    data(Poured { transaction_hash: Hex32(hash.0), output_id })
}

/// Makes a deposit as the custodian would, and sends it to the kernel like any other transaction.
pub(super) async fn deposit(ledger: &Ledger, db: &mut SqliteConnection, pour: &Pour) -> Result<B256, CallError> {
    if pour.threshold == 0 || usize::from(pour.threshold) > pour.receivers.len() {
        return Err(Refusal::Field(format!("threshold is 1 to {}", pour.receivers.len())).into());
    }
    let asset = assets::find(db, &pour.asset).await?;
    let request = KeyRequest { receivers: pour.receivers.clone(), index: 0, hint: pour.request_id };
    let ghost = ghosts::issue(ledger, db, "faucet", &request).await?;
    let keys = ghost.keys.iter().map(|key| RawKey(key.0)).collect();
    let output = Output::of_keys(pour.amount, keys, RawKey(ghost.mask.0), pour.threshold);
    let signed = custodian_sign(ledger, &asset, &pour.request_id.to_string(), output, pour.extra.0.clone())?;
    let hash = kernel::admit(ledger, db, &signed.encode(), FIRST_NODE).await?;
    sqlx::query("update kernel_deposit set sender = $1, destination = $2, tag = $3 where hash = $4")
        .bind(&pour.from.sender)
        .bind(&pour.from.destination)
        .bind(&pour.from.tag)
        .bind(hex::encode(hash))
        .execute(db)
        .await?;
    Ok(hash)
}

/// A deposit of `asset` into `output`, named by `transaction` on its own chain.
fn custodian_sign(
    ledger: &Ledger,
    asset: &AssetRow,
    transaction: &str,
    output: Output,
    extra: Vec<u8>,
) -> Result<SignedTransaction, CallError> {
    let deposit = Deposit {
        chain: B256::new(AssetId::from_uuid(asset.chain_id).0),
        asset_key: asset.asset_id.to_string().into_bytes(),
        transaction: transaction.as_bytes().to_vec(),
        index: 0,
        amount: output.amount,
    };
    let invalid = |error: lockstep_core::mixin::TransactionError| Refusal::Field(error.to_string());
    let inputs = vec![Input::of_deposit(deposit)];
    let transaction = Transaction::new(asset.kernel_asset_id, inputs, vec![output], Vec::new(), extra);
    let transaction = transaction.map_err(invalid)?;
    let signature = Signature::sign(&ledger.secrets.custodian()?, &transaction.hash());
    let signatures = Signatures::Map(vec![BTreeMap::from([(0, signature)])]);
    Ok(SignedTransaction::new(transaction, signatures).map_err(invalid)?)
}

/// Somebody else's final transaction that uses the keys of an answer of the key service.
pub(super) async fn strangers_transaction(
    ledger: &Ledger,
    db: &mut SqliteConnection,
    row: &GhostKeyRow,
) -> Result<(), CallError> {
    let asset = assets::find(db, &XIN.to_string()).await?;
    let keys = row.keys.iter().map(|key| RawKey(key.0)).collect();
    let output = Output::of_keys(Amount::from_units(1), keys, RawKey(row.mask.0), 1);
    let signed = custodian_sign(ledger, &asset, &format!("stranger {}", row.mask), output, Vec::new())?;
    let hash = kernel::admit(ledger, db, &signed.encode(), FIRST_NODE).await?;
    if kernel::find(db, hash).await?.is_some_and(|admitted| admitted.snapshot.is_none()) {
        listing::finalize(ledger, db, signed.transaction()).await?;
    }
    Ok(())
}

/// Body of `POST /admin/outputs/:id/inscription`.
#[derive(Debug, Deserialize)]
struct Inscription {
    inscription_hash: Hex32,
}

/// Makes an output a collectible.
async fn inscribe(
    State(ledger): State<Arc<Ledger>>,
    Path(id): Path<Uuid>,
    posted: Result<Json<Inscription>, JsonRejection>,
) -> Reply<Hex32> {
    let inscription = body(posted)?.inscription_hash;
    let mut tx = ledger.begin().await?;
    let marked = sqlx::query("update output set inscription = $1 where id = $2 and state = 'unspent'")
        .bind(inscription.to_string())
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
    if marked.rows_affected() == 0 {
        return Err(Refusal::NotFound("unspent output").into());
    }
    tx.commit().await?;
    data(inscription)
}

/// Makes everything final that was admitted, without waiting for the delay. Replies how many that were.
async fn advance(State(ledger): State<Arc<Ledger>>) -> Reply<usize> {
    ledger.broadcast().await?;
    data(ledger.finalize_due(true).await?)
}

async fn list_faults(State(ledger): State<Arc<Ledger>>) -> Reply<Vec<FaultRow>> {
    data(ledger.faults.list())
}

async fn set_fault(
    State(ledger): State<Arc<Ledger>>,
    posted: Result<Json<FaultOrder>, JsonRejection>,
) -> Reply<FaultRow> {
    let order = body(posted)?;
    order.check(ledger.nodes)?;
    let row = ledger.faults.set(order)?;
    tracing::info!(id = row.id, order = ?row.order, "fault set");
    data(row)
}

async fn clear_fault(State(ledger): State<Arc<Ledger>>, Path(id): Path<u64>) -> Reply<Vec<FaultRow>> {
    let cleared = ledger.faults.clear(Some(id));
    if cleared.is_empty() {
        return Err(Refusal::NotFound("fault").into());
    }
    honest_again(&ledger, cleared).await
}

async fn clear_faults(State(ledger): State<Arc<Ledger>>) -> Reply<Vec<FaultRow>> {
    let cleared = ledger.faults.clear(None);
    honest_again(&ledger, cleared).await
}

/// What a fault held up goes on before the answer that says it is cleared.
async fn honest_again(ledger: &Ledger, cleared: Vec<FaultRow>) -> Reply<Vec<FaultRow>> {
    ledger.finalize_due(false).await?;
    tracing::info!(faults = cleared.len(), "faults cleared");
    data(cleared)
}

/// Clears the locks of split nodes in favour of one transaction.
async fn release(State(ledger): State<Arc<Ledger>>, Path(hash): Path<Hex32>) -> Reply<Hex32> {
    let mut tx = ledger.begin().await?;
    split::release(&mut tx, B256::new(hash.0)).await?;
    tx.commit().await?;
    ledger.finalize_due(false).await?;
    data(hash)
}
