//! What an operator's own tools ask a member: no secrets, no writes, meant for loopback or a private network.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lockstep_core::B256;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::store::{Store, StoreError};

/// How far a member has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its index, 1..=n.
    pub member: u32,
    /// The newest applied ledger sequence, 0 before the first.
    pub sequence: u64,
    /// The history there: equal at all members that have applied the same sequence.
    pub history: B256,
    /// Derived transactions that are not final on the ledger yet.
    pub open_payouts: u64,
    /// Outbounds parked for good, as (chain, nonce): each needs a person.
    pub parked: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Api {
    member: u32,
    store: Store,
}

/// Serves `/healthz` and `/status` on `listener` until `stop`.
///
/// # Errors
/// Whatever stops the listener.
pub async fn serve(listener: TcpListener, member: u32, store: Store, stop: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/status", get(status))
        .with_state(Api { member, store });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn status(State(api): State<Api>) -> Response {
    match read_status(&api).await {
        Ok(status) => Json(status).into_response(),
        Err(error) => {
            error!(error = %error, "status cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be read\n").into_response()
        }
    }
}

async fn read_status(api: &Api) -> Result<Status, StoreError> {
    let step = api.store.last_step().await?;
    Ok(Status {
        member: api.member,
        sequence: step.map_or(0, |step| step.checkpoint.sequence),
        history: step.map_or(B256::ZERO, |step| step.checkpoint.history),
        open_payouts: api.store.open_payout_count().await?,
        parked: api.store.parked().await?,
    })
}
