//! The embedded ledger of a development network: the Safe API and the kernel's RPC over one SQLite file.
//!
//! It speaks the real services' HTTP, takes their binary transactions and applies their rules, so that the production
//! client needs no test mode. Formats: `reference/mixin.md`; what the real service does where its sources are closed is
//! written down in LEDGER.md.
//!
//! ```text
//! api ─► auth ─► users, assets, ghosts, outputs, snapshots, requests ─► broadcast ─┐
//! admin ─► faucet (a deposit) ─────────────────────────────────────────────────────┼─► kernel::admit ─► listing
//! rpc, one a node ─► sendrawtransaction ───────────────────────────────────────────┘     (rules, locks)   (finality,
//!                                                                                           split          sequence)
//! ```
//!
//! The kernel has several nodes, each with an RPC of its own; they show the same as long as they are honest. What breaks
//! the rules is a [`Fault`]: set by the operator while the ledger runs, acting at one place each, forgotten at a restart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

use store::Ledger;

mod admin;
mod api;
mod assets;
mod auth;
mod faults;
mod ghosts;
mod kernel;
mod listing;
mod operator;
mod outputs;
mod refusal;
mod requests;
mod rpc;
mod secrets;
mod snapshots;
mod split;
mod store;
mod users;

pub use faults::{Answer, Disguise, Disturbance, Fault, FaultOrder, FaultRow, Lie, PAUSE_MS_MAX};
pub use kernel::KernelRefusal;
pub use operator::{Minted, Operator, OperatorError};
pub use refusal::{CallError, Refusal};

/// A call that takes longer is given up.
const CALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How often admitted transactions are looked at, when finality takes its time.
const FINALITY_POLL: Duration = Duration::from_millis(20);

/// What an embedded ledger needs to know.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The SQLite file. It is made where there is none, and held by one server at a time.
    pub database: PathBuf,
    /// Where the Safe API listens, on loopback; port 0 takes a free one.
    pub api: SocketAddr,
    /// Where the RPCs of the kernel's nodes listen, on loopback, the first node first; port 0 takes a free one.
    pub kernel: Vec<SocketAddr>,
    /// Everything random comes from here. A database belongs to one seed for ever.
    pub seed: [u8; 32],
    /// From admission to finality. Zero makes a transaction final in the call that brings it.
    pub finality_delay: Duration,
}

/// A ledger that is being served.
#[derive(Debug)]
pub struct RunningLedger {
    /// Where the Safe API and the administration listen.
    pub api: SocketAddr,
    /// Where the RPCs of the kernel's nodes listen, the first node first.
    pub kernel: Vec<SocketAddr>,
    ledger: Arc<Ledger>,
    tasks: JoinSet<Result<(), LedgerError>>,
    shutdown: CancellationToken,
}

impl RunningLedger {
    /// Addresses of the kernel's nodes, as a member's configuration names them.
    pub fn kernel_urls(&self) -> Vec<String> {
        self.kernel.iter().map(|node| format!("http://{node}")).collect()
    }

    /// Waits until all parts of the server ended, which the first one to fail brings about, and closes the database.
    ///
    /// # Errors
    /// The first failure.
    pub async fn stopped(mut self) -> Result<(), LedgerError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            self.shutdown.cancel();
            outcome = outcome.and(ended.unwrap_or_else(|error| Err(LedgerError::Task(error))));
        }
        self.ledger.close().await;
        outcome
    }
}

/// Opens the ledger and serves it until `shutdown`. What a stopped server still owed the kernel is sent first.
///
/// # Errors
/// An address that is taken or not loopback, or a database that cannot be opened or belongs to another seed.
pub async fn serve(config: LedgerConfig, shutdown: CancellationToken) -> Result<RunningLedger, LedgerError> {
    if config.kernel.is_empty() {
        return Err(LedgerError::NoNode);
    }
    let api = bind(config.api).await?;
    let (api_address, mut kernel_addresses, mut listeners) = (local(&api, config.api)?, Vec::new(), Vec::new());
    for address in &config.kernel {
        let listener = bind(*address).await?;
        kernel_addresses.push(local(&listener, *address)?);
        listeners.push(listener);
    }
    let nodes = u16::try_from(listeners.len()).unwrap_or(u16::MAX);
    let ledger = Arc::new(Ledger::open(&config.database, &config.seed, config.finality_delay, nodes).await?);
    ledger.broadcast().await.map_err(LedgerError::Work)?;
    ledger.finalize_due(false).await.map_err(LedgerError::Work)?;

    let mut tasks = JoinSet::new();
    let shutdown = shutdown.child_token();
    let nodes = (1..).zip(listeners).map(|(number, listener)| (listener, rpc::router(Arc::clone(&ledger), number)));
    for (listener, router) in nodes.chain([(api, api::router(Arc::clone(&ledger)))]) {
        let stop = shutdown.clone();
        let timeout = TimeoutLayer::with_status_code(axum::http::StatusCode::SERVICE_UNAVAILABLE, CALL_TIME_MAX);
        let server = axum::serve(listener, router.layer(timeout));
        let server = server.with_graceful_shutdown(async move { stop.cancelled().await });
        tasks.spawn(async move { server.await.map_err(LedgerError::Serve) });
    }
    tasks.spawn(finalize_due(Arc::clone(&ledger), shutdown.clone()));
    tracing::info!(api = %api_address, kernel = ?kernel_addresses, "ledger serves");
    Ok(RunningLedger { api: api_address, kernel: kernel_addresses, ledger, tasks, shutdown })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, LedgerError> {
    // Whoever reaches the administration can make money.
    if !address.ip().is_loopback() {
        return Err(LedgerError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| LedgerError::Bind { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, LedgerError> {
    listener.local_addr().map_err(|source| LedgerError::Bind { address, source })
}

/// Makes transactions final, and lists rows, when their time has come.
async fn finalize_due(ledger: Arc<Ledger>, shutdown: CancellationToken) -> Result<(), LedgerError> {
    while shutdown.run_until_cancelled(tokio::time::sleep(FINALITY_POLL)).await.is_some() {
        if ledger.has_work() {
            ledger.finalize_due(false).await.map_err(LedgerError::Work)?;
        }
    }
    Ok(())
}

impl Ledger {
    /// Sends the kernel what the API owes it, each transaction by itself.
    pub(crate) async fn broadcast(&self) -> Result<(), CallError> {
        loop {
            let mut tx = self.begin().await?;
            let sent = requests::send_next(self, &mut tx).await?;
            tx.commit().await?;
            if !sent {
                return Ok(());
            }
        }
    }

    /// Makes final and lists what is due, or everything; says how many transactions became final.
    pub(crate) async fn finalize_due(&self, all: bool) -> Result<usize, CallError> {
        let mut tx = self.begin().await?;
        self.forget_work();
        let count = listing::finalize_due(self, &mut tx, all).await?;
        if listing::is_work_left(&mut tx).await? {
            self.expect_work();
        }
        tx.commit().await?;
        Ok(count)
    }
}

/// Why a ledger does not start, or ends.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The administration makes money, so nobody else's machine may reach it.
    #[error("the ledger listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// Nobody could ask the kernel anything.
    #[error("the ledger's kernel has no node")]
    NoNode,
    /// The address is taken.
    #[error("the ledger cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is no database, or another server holds it.
    #[error("the ledger's database {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: sqlx::Error,
    },
    /// The file is the database of another program or version.
    #[error("the ledger's database {} has another schema", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: sqlx::migrate::MigrateError,
    },
    /// The database was made with another seed; its users' coins would be lost.
    #[error("the ledger's database was made with another seed")]
    OtherSeed,
    /// The database failed.
    #[error("the ledger's database failed")]
    Database(#[source] sqlx::Error),
    /// Work between calls failed.
    #[error("the ledger failed")]
    Work(#[source] CallError),
    /// A listener failed.
    #[error("the ledger's server failed")]
    Serve(#[source] std::io::Error),
    /// A task panicked.
    #[error("a task of the ledger failed")]
    Task(#[source] tokio::task::JoinError),
}
