//! What an operator's own tools ask a member: no secrets, no writes, meant for loopback or a private network.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lockstep_core::B256;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::world::doubt::LedgerDoubts;
use crate::world::unclaimed::Unclaimed;

/// How far a member has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its index, 1..=n.
    pub member: u32,
    /// The sharing of the group's key that signs now.
    pub generation: u32,
    /// What this member is to it: `active`, `joining` or `leaving`.
    pub role: String,
    /// Members that left since the group's key was made.
    pub turnover: usize,
    /// With so many the key should be made anew.
    pub turnover_max: usize,
    /// The newest applied ledger sequence, 0 before the first.
    pub sequence: u64,
    /// The history there: equal at all members that have applied the same sequence.
    pub history: B256,
    /// Derived transactions that are not final on the ledger yet.
    pub open_payouts: u64,
    /// Outbounds parked for good, as (chain, nonce): each needs a person.
    pub parked: Vec<(u64, u64)>,
    /// Coins that nobody could or may get back, until a decision releases them.
    #[serde(default)]
    pub unclaimed: Unclaimed,
    /// Why this member signs nothing, since its operator said `lockstep stop-signing`.
    #[serde(default)]
    pub signing_stopped: Option<String>,
    /// Where each chain's contract stands, as last seen.
    #[serde(default)]
    pub contracts: BTreeMap<u64, ContractStatus>,
    /// What keeps it from going on with the ledger, and what others see differently.
    #[serde(default)]
    pub ledger: LedgerDoubts,
}

/// Where a group contract stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractStatus {
    /// It takes no deliveries and sends no outbounds.
    pub halted: bool,
    /// Nonce of the next governance action.
    pub governance_nonce: u64,
    /// Generation of its key; 0 until it is rotated.
    pub key_generation: u64,
}

/// Says how far this member has come.
pub trait ReadStatus: Clone + Send + Sync + 'static {
    /// Why it cannot be said now.
    type Error: Error + Send;

    /// As of now.
    fn status(&self) -> impl Future<Output = Result<Status, Self::Error>> + Send;
}

/// Serves `/healthz` and `/status` on `listener` until `stop`.
///
/// # Errors
/// Whatever stops the listener.
pub async fn serve(listener: TcpListener, member: impl ReadStatus, stop: CancellationToken) -> io::Result<()> {
    let status = get(async move || status(&member).await);
    let router = Router::new().route("/healthz", get(async || "ok\n")).route("/status", status);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn status(member: &impl ReadStatus) -> Response {
    match member.status().await {
        Ok(status) => Json(status).into_response(),
        Err(error) => {
            error!(%error, "status cannot be read");
            (StatusCode::INTERNAL_SERVER_ERROR, "the status cannot be read\n").into_response()
        }
    }
}
