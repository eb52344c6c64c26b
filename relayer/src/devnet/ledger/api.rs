//! The Safe API: routes, bodies and replies (`reference/mixin.md` 1). Every handler is one call: who asks, one
//! transaction, one answer.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderName, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::auth::{BODY_BYTES_MAX, Call};
use super::faults::disturb;
use super::refusal::{CallError, Refusal};
use super::requests::{BATCH_MAX, Kind, Request as Asked};
use super::store::Ledger;
use super::{admin, assets, ghosts, outputs, requests, snapshots, users};
use crate::ledger::wire::{
    AssetRow, DepositRow, Envelope, GhostKeyRow, KeysBody, MultisigRow, OutputRow, RawRequest, SignBody, SnapshotRow,
    TransactionRow, UserRow,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler answers.
pub(super) type Reply<T> = Result<Json<Envelope<T>>, CallError>;

/// A reply with data.
pub(super) const fn data<T>(data: T) -> Reply<T> {
    Ok(Json(Envelope::Data(data)))
}

/// The routes of the API, and of the development network's administration.
pub(super) fn router(ledger: Arc<Ledger>) -> Router {
    Router::new()
        .route("/safe/me", get(me))
        .route("/safe/outputs", get(list_outputs))
        .route("/safe/outputs/fetch", post(fetch_outputs))
        .route("/safe/outputs/{id}", get(output))
        .route("/safe/outputs/{id}/deposit", get(output_deposit))
        .route("/safe/keys", post(keys))
        .route("/safe/transaction/requests", post(create_transactions))
        .route("/safe/transactions", post(submit_transactions))
        .route("/safe/transactions/{id}", get(transaction))
        .route("/safe/multisigs", post(create_multisigs))
        .route("/safe/multisigs/{id}", get(multisig))
        .route("/safe/multisigs/{id}/sign", post(sign))
        .route("/safe/multisigs/{id}/unlock", post(unlock))
        .route("/safe/multisigs/{id}/revoke", post(revoke))
        .route("/safe/multisigs/{id}/cancel", post(revoke))
        .route("/safe/assets/{id}", get(asset))
        .route("/network/assets/{id}", get(network_asset))
        .route("/safe/snapshots", get(list_snapshots))
        .route("/safe/snapshots/{id}", get(snapshot))
        .merge(admin::routes())
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&ledger), disturb::at_api))
        .layer(middleware::from_fn(echo_request_id))
        .with_state(ledger)
}

/// Clients refuse an answer that does not carry the id of their request (`sdkgo checkResponseRequestID`).
async fn echo_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn unknown() -> CallError {
    Refusal::NotFound("endpoint").into()
}

/// The query of a call.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, CallError> {
    let query = Query::<T>::try_from_uri(uri);
    query.map(|query| query.0).map_err(|error| Refusal::Field(error.body_text()).into())
}

async fn me(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<UserRow> {
    let mut tx = ledger.begin().await?;
    data(UserRow::from(&users::receiver(&mut tx, call.user).await?))
}

async fn list_outputs(State(ledger): State<Arc<Ledger>>, uri: Uri, call: Call) -> Reply<Vec<OutputRow>> {
    let page = query(&uri)?;
    let mut tx = ledger.begin().await?;
    data(outputs::list(&ledger, &mut tx, call.user, &page).await?)
}

async fn fetch_outputs(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<Vec<OutputRow>> {
    let asked: outputs::Fetch = call.json()?;
    let mut tx = ledger.begin().await?;
    data(outputs::fetch(&ledger, &mut tx, call.user, &asked).await?)
}

async fn output(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<OutputRow> {
    let mut tx = ledger.begin().await?;
    data(outputs::find(&ledger, &mut tx, call.user, &id).await?)
}

async fn output_deposit(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, _: Call) -> Reply<DepositRow> {
    let mut tx = ledger.begin().await?;
    data(outputs::deposit(&mut tx, &id).await?)
}

async fn keys(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<Vec<GhostKeyRow>> {
    let body: KeysBody = call.json()?;
    let mut tx = ledger.begin().await?;
    let keys = ghosts::answer(&ledger, &mut tx, call.user, &body).await?;
    tx.commit().await?;
    data(keys)
}

/// The requests of a body: a list that is not empty.
fn batch(call: &Call) -> Result<Vec<RawRequest>, CallError> {
    let posted: Vec<RawRequest> = call.json()?;
    if posted.is_empty() || posted.len() > BATCH_MAX {
        return Err(Refusal::Field(format!("a call carries 1 to {BATCH_MAX} requests")).into());
    }
    Ok(posted)
}

async fn create_transactions(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<Vec<TransactionRow>> {
    let mut rows = Vec::new();
    let mut tx = ledger.begin().await?;
    for posted in batch(&call)? {
        let request = requests::create(&ledger, &mut tx, call.user, Kind::Single, &posted).await?;
        rows.push(requests::transaction_row(&ledger, &mut tx, request, call.user).await?);
    }
    tx.commit().await?;
    data(rows)
}

async fn submit_transactions(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<Vec<TransactionRow>> {
    let mut rows = Vec::new();
    let mut tx = ledger.begin().await?;
    for posted in batch(&call)? {
        let request = requests::submit(&ledger, &mut tx, call.user, &posted).await?;
        rows.push(requests::transaction_row(&ledger, &mut tx, request, call.user).await?);
    }
    tx.commit().await?;
    ledger.broadcast().await?;
    data(rows)
}

async fn transaction(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<TransactionRow> {
    let mut tx = ledger.begin().await?;
    let request = requests::find(&mut tx, &id).await?;
    data(requests::transaction_row(&ledger, &mut tx, request, call.user).await?)
}

async fn create_multisigs(State(ledger): State<Arc<Ledger>>, call: Call) -> Reply<Vec<MultisigRow>> {
    let mut rows = Vec::new();
    let mut tx = ledger.begin().await?;
    for posted in batch(&call)? {
        let request = requests::create(&ledger, &mut tx, call.user, Kind::Multisig, &posted).await?;
        rows.push(requests::multisig_row(&ledger, &mut tx, request, call.user).await?);
    }
    tx.commit().await?;
    ledger.broadcast().await?;
    data(rows)
}

async fn multisig(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<MultisigRow> {
    let mut tx = ledger.begin().await?;
    let request = requests::find(&mut tx, &id).await?;
    data(requests::multisig_row(&ledger, &mut tx, request, call.user).await?)
}

async fn sign(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<MultisigRow> {
    let body: SignBody = call.json()?;
    let mut tx = ledger.begin().await?;
    let request = requests::sign(&ledger, &mut tx, call.user, &id, &body.raw.0).await?;
    let row = requests::multisig_row(&ledger, &mut tx, request, call.user).await?;
    tx.commit().await?;
    ledger.broadcast().await?;
    data(row)
}

async fn unlock(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<MultisigRow> {
    let mut tx = ledger.begin().await?;
    let request = requests::unlock(&ledger, &mut tx, call.user, &id).await?;
    row(&ledger, tx, request, &call).await
}

async fn revoke(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<MultisigRow> {
    let mut tx = ledger.begin().await?;
    let request = requests::revoke(&ledger, &mut tx, call.user, &id).await?;
    row(&ledger, tx, request, &call).await
}

async fn row(
    ledger: &Ledger,
    mut tx: sqlx::Transaction<'_, sqlx::Sqlite>,
    request: Asked,
    call: &Call,
) -> Reply<MultisigRow> {
    let row = requests::multisig_row(ledger, &mut tx, request, call.user).await?;
    tx.commit().await?;
    data(row)
}

async fn asset(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, _: Call) -> Reply<AssetRow> {
    let mut tx = ledger.begin().await?;
    data(assets::find(&mut tx, &id).await?)
}

/// The only call of the API that needs no token.
async fn network_asset(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>) -> Reply<AssetRow> {
    let mut tx = ledger.begin().await?;
    data(assets::find(&mut tx, &id).await?)
}

async fn list_snapshots(State(ledger): State<Arc<Ledger>>, uri: Uri, call: Call) -> Reply<Vec<SnapshotRow>> {
    let page = query(&uri)?;
    let mut tx = ledger.begin().await?;
    data(snapshots::list(&mut tx, call.user, &page).await?)
}

async fn snapshot(State(ledger): State<Arc<Ledger>>, Path(id): Path<String>, call: Call) -> Reply<SnapshotRow> {
    let mut tx = ledger.begin().await?;
    data(snapshots::find(&mut tx, call.user, &id).await?)
}
