//! One member's service: every task, wired and supervised.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use lockstep_core::group::Group;
use lockstep_core::group::roster::Roster;
use lockstep_core::machine::{ContractPlace, Rules};
use lockstep_core::mixin::PrivateKey;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::answers::{Answers, OwnStatus};
use crate::ceremony::{Ceremonies, Places};
use crate::checkpoints::{CheckpointError, Checkpoints};
use crate::config::MemberConfig;
use crate::divergence::{DivergenceError, Doubts, LookBack};
use crate::driver::{Driver, DriverError, INPUTS_MAX, Input};
use crate::evm::fees::FeePolicy;
use crate::evm::submission::Patience;
use crate::evm::submitter::{Submitter, SubmitterConfig};
use crate::evm::watcher::ChainReader;
use crate::exit::Exit;
use crate::generations::Follower;
use crate::govern::{Constitution, Governance};
use crate::ledger::{KernelNodes, SafeApi, Watcher};
use crate::masks::{MaskError, Masks};
use crate::offer::{OfferError, Offers};
use crate::payouts::{Owner, PayoutError, Payouts, Seeds};
use crate::peer::{self, Directory, Local, PeerClient};
use crate::rosters::Rosters;
use crate::signer::Signer;
use crate::startup::{Ready, ReadyChain};
use crate::store::{self, Identity, Store, StoreError};
use crate::supervisor::{DRAIN, Supervisor, SupervisorError, stop_signal};
use crate::ticks::Ticker;
use crate::wanted::Wanted;
use crate::watch::{self, Pace, WatchError};
use crate::witnesses::{Witnesses, Word};
use crate::world::chain::{ChainError, Cursor};
use crate::{api, clock};

/// When a submission that is not mined is looked at again: an endpoint may forget one, a base fee may rise.
const PATIENCE: Patience = Patience { resend_ms: 15_000, bump_ms: 30_000 };

/// The rules of a group, as every member derives by them.
///
/// # Errors
/// Names a chain without a contract.
pub fn rules(group: &Group) -> Result<Rules, NotDeployed> {
    let place = |(id, chain): (&ChainId, &lockstep_core::group::Chain)| {
        let contract = chain.contract.ok_or(NotDeployed(*id))?;
        Ok((*id, ContractPlace { contract, instance: chain.instance }))
    };
    Ok(Rules {
        derive: group.derivation(),
        memo: group.memo_rules(),
        places: group.chains().iter().map(place).collect::<Result<_, _>>()?,
        group_id: group.id(),
        group_digest: group.digest(),
    })
}

/// What governance reads of a group file.
///
/// # Errors
/// Names a chain without a contract.
pub fn constitution(group: &Group) -> Result<Constitution, NotDeployed> {
    Ok(Constitution { group_id: group.id(), places: rules(group)?.places, first_key: *group.key().key() })
}

/// A chain of the group file that has no contract yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("chain {0} has no contract in the group file")]
pub struct NotDeployed(pub ChainId);

/// Runs a member until a signal, a failure or a contradiction.
///
/// # Errors
/// Why it could not go on; [`MemberError::exit`] gives the exit code.
pub async fn run(ready: Ready) -> Result<&'static str, MemberError> {
    let signal = stop_signal().map_err(MemberError::Signal)?;
    let parts = Parts::new(ready).await?;
    let store = parts.store.clone();
    let outcome = parts.spawn()?.run(signal, DRAIN).await;
    store.close().await;
    let signal = outcome?.unwrap_or("a task");
    info!(signal, "stopped");
    Ok(signal)
}

/// The ledger as all tasks read it.
type Reader = Arc<Watcher<Arc<SafeApi>, Arc<KernelNodes>>>;

/// Everything that tasks share.
struct Parts {
    config: MemberConfig,
    group: Arc<Group>,
    evm: PrivateKeySigner,
    spend: PrivateKey,
    ledger: Arc<SafeApi>,
    kernel: Arc<KernelNodes>,
    chains: BTreeMap<ChainId, ReadyChain>,
    peer: TcpListener,
    api: TcpListener,
    store: Store,
    driver: Driver,
    peers: PeerClient,
    local: Local,
    rosters: Rosters,
    signer: Signer,
    word: Word,
    ceremonies: Ceremonies,
    checkpoints: Checkpoints,
    governance: Governance,
}

impl Parts {
    async fn new(ready: Ready) -> Result<Self, MemberError> {
        let Ready { config, group, keys, known, secrets, ledger, kernel, chains, peer, api } = ready;
        let identity = Identity { group_digest: group.digest().0, member: config.member.into() };
        let store = Store::open(&config.database(), identity).await?;
        // Until peers have said how far they saw this member.
        store.hold_back();
        let rules = rules(&group)?;
        let driver = tokio::select! {
            driver = Driver::restore(rules, store.clone()) => driver?,
            Err(error) = keep_lease(store.clone(), CancellationToken::new()) => return Err(error.into()),
        };
        let seconds: peer::Clock = Arc::new(clock::unix_seconds);
        let word = Word::new(group.id(), secrets.identity.clone());
        let directory = Directory::of_group(&group);
        let own = secrets.identity.verifying_key().to_bytes();
        let rosters = Rosters::new(own, known, driver.addresses(), directory.clone());
        let local = Local::new(directory, secrets.identity, seconds).map_err(MemberError::Peer)?;
        let places = Places { group: config.group.clone(), data: config.data.clone() };
        let peers = PeerClient::new(local.clone(), &config.peer).map_err(MemberError::PeerClient)?;
        let spend = secrets.ledger.spend_key();
        let signer = Signer::new(rosters.clone(), keys.clone(), store.clone());
        let governance = Governance::new(constitution(&group)?, signer.clone(), store.clone());
        let ceremonies = Ceremonies::new(store.clone(), local.clone(), &config.peer, keys, places);
        let ceremonies = ceremonies.map_err(MemberError::PeerClient)?;
        let ceremonies = ceremonies.of_service(rosters.clone(), governance.clone());
        let checkpoints = Checkpoints::new(group.id(), signer.clone(), store.clone(), peers.clone());
        let (ledger, kernel) = (Arc::new(ledger), Arc::new(kernel));
        let evm = secrets.evm;
        Ok(Self {
            config,
            group,
            evm,
            spend,
            ledger,
            kernel,
            chains,
            peer,
            api,
            store,
            driver,
            peers,
            local,
            rosters,
            signer,
            word,
            ceremonies,
            checkpoints,
            governance,
        })
    }

    /// Looks which keys are asked for; nobody knows without the contracts of all chains.
    fn wanted(&self) -> Option<Wanted> {
        let contracts = self.chains.values().map(contract_reader).collect::<Option<Vec<_>>>()?;
        let (signer, store) = (self.signer.clone(), self.store.clone());
        Some(Wanted { signer, store, contracts, progress: self.driver.progress() })
    }

    /// What keeps a second process from promising for this member, and shares that nobody asks for from lying about.
    fn keep_watch(&self, tasks: &mut Supervisor) {
        if let Some(wanted) = self.wanted() {
            tasks.spawn("keys.wanted", |stop| async move {
                wanted.run(stop).await;
                Ok(())
            });
        }
        let store = self.store.clone();
        tasks.spawn("lease.keeper", |stop| async move { Ok(keep_lease(store, stop).await?) });
        let witnesses = Witnesses {
            group_id: self.group.id(),
            rosters: self.rosters.clone(),
            identity: self.local.key(),
            peers: self.peers.clone(),
            store: self.store.clone(),
        };
        tasks.spawn("guards.witnesses", |stop| async move { Ok(witnesses.run(stop).await?) });
    }

    /// What reads the ledger.
    fn watcher(&self) -> Reader {
        Arc::new(Watcher::new(Arc::clone(&self.ledger), Arc::clone(&self.kernel)))
    }

    /// What looks behind the cursor.
    fn look_back(&self, ledger: &Reader, inputs: mpsc::Sender<Input>, doubts: Doubts) -> LookBack<Reader> {
        LookBack {
            group_id: self.group.id(),
            ledger: Arc::clone(ledger),
            store: self.store.clone(),
            rosters: self.rosters.clone(),
            peers: self.peers.clone(),
            progress: self.driver.progress(),
            addresses: self.driver.addresses(),
            inputs,
            doubts,
            pause: self.config.ledger.reread(),
        }
    }

    /// What its operator is told.
    fn own_status(&self, doubts: Doubts) -> OwnStatus {
        let (rosters, store) = (self.rosters.clone(), self.store.clone());
        let governance = self.governance.clone();
        let (late, unclaimed) = (self.driver.late(), self.driver.unclaimed());
        OwnStatus::new(self.config.member.into(), rosters, store, governance, doubts, late, unclaimed)
    }

    fn spawn(self) -> Result<Supervisor, MemberError> {
        let mut tasks = Supervisor::new();
        let (inputs, from_watchers) = mpsc::channel(INPUTS_MAX);
        let (halt, halted) = mpsc::channel(1);
        let progress = self.driver.progress();
        let echo = watch::Echo {
            progress: progress.clone(),
            addresses: self.driver.addresses(),
            memo: self.group.memo_rules(),
        };
        let (watcher, doubts) = (self.watcher(), Doubts::default());
        let look_back = self.look_back(&watcher, inputs.clone(), doubts.clone());
        tasks.spawn("ledger.lookback", |stop| async move { Ok(look_back.run(stop).await?) });
        let status = self.own_status(doubts.clone());

        let served = self.chains.keys().copied().collect();
        self.keep_watch(&mut tasks);
        let governance = self.governance;
        let seeds = Seeds::new(Arc::clone(&self.group), self.signer.clone(), self.store.clone());
        let (store, checkpoints) = (self.store.clone(), self.checkpoints.clone());
        let masks = Masks::new(self.group.id(), self.signer.clone(), self.store.clone());
        let secrets = (seeds.clone(), masks.clone());
        let answers = Answers::new(store, checkpoints, secrets, governance.clone(), served, self.word, halt);
        let answers = Arc::new(answers);
        let guests = peer::ceremony_router(self.local.clone(), self.ceremonies.speaker());
        let router = peer::router(self.local, answers).merge(guests);
        tasks.spawn("peer.server", |stop| serve_peers(self.peer, router, stop));
        let (ceremonies, learner) = (self.ceremonies, self.rosters.clone());
        tasks.spawn(
            "ceremony",
            |stop| async move { Ok(ceremonies.serve(|roster| learn(&learner, roster), stop).await?) },
        );
        tasks.spawn("api.server", |stop| async move { Ok(api::serve(self.api, status, stop).await?) });
        tasks.spawn("halt", |stop| wait_for_contradiction(halted, stop));
        tasks.spawn("driver", |stop| async move { Ok(self.driver.run(from_watchers, stop).await?) });

        let pace = Pace { poll: self.config.ledger.poll(), settle: self.config.ledger.settle() };
        let (to_driver, told) = (inputs.clone(), doubts.clone());
        tasks.spawn("ledger.watcher", move |stop| async move {
            Ok(watch::ledger(watcher, pace, echo, to_driver, told, stop).await?)
        });
        let (peers, news, to_driver) = (self.peers.clone(), progress.clone(), inputs.clone());
        tasks.spawn("masks", move |stop| async move { Ok(masks.run(peers, news, to_driver, stop).await?) });
        let (govern, peers) = (governance.clone(), self.peers.clone());
        tasks.spawn("govern", move |stop| async move { Ok(govern.run(peers, stop).await?) });
        let owner = Owner {
            group: Arc::clone(&self.group),
            rosters: self.rosters.clone(),
            seeds,
            spend: self.spend,
            takeover: self.config.submit.takeover(),
        };
        let payouts = Payouts::new(owner, Arc::clone(&self.ledger), self.kernel, self.peers, self.store.clone());
        let payouts = payouts.telling(doubts);
        let (period, news) = (self.config.ledger.poll(), progress.clone());
        tasks.spawn("ledger.payouts", move |stop| async move { Ok(payouts.run(news, period, stop).await?) });

        let ticker = Ticker {
            group: Arc::clone(&self.group),
            rosters: self.rosters.clone(),
            takeover: self.config.submit.takeover(),
            ledger: Arc::clone(&self.ledger),
        };
        tasks.spawn("ledger.ticker", move |stop| async move {
            ticker.run(progress, stop).await;
            Ok(())
        });

        let (follower, turns) = Follower::new(self.signer, self.checkpoints.clone(), self.config.submit.takeover_ms);
        tasks.spawn("generations", |stop| async move { Ok(follower.run(stop).await?) });

        let offers = Offers::new(self.store.clone(), self.checkpoints);
        for (id, chain) in self.chains {
            let poll = self.config.chains.get(&id).map_or(Duration::from_secs(1), |chain| chain.poll());
            let Some(provider) = chain.providers.first().cloned() else { continue };
            let (watcher, contract, of) = (governance.clone(), chain.identity.contract, provider.clone());
            tasks.spawn(format!("evm.governance.{id}"), move |stop| async move {
                watcher.watch(id, contract, of, poll, stop).await;
                Ok(())
            });
            let signer = self.evm.clone();
            let (rows, config) = (self.store.clone(), submitter_config(&chain));
            let submitter = Submitter::new(provider, signer, rows, offers.clone(), config, turns.clone());
            tasks.spawn(format!("evm.submitter.{id}"), move |stop| async move { Ok(submitter.run(stop, poll).await?) });
            let (to_driver, store) = (inputs.clone(), self.store.clone());
            tasks.spawn(format!("evm.watcher.{id}"), move |stop| async move {
                watch_chain(chain, store, poll, to_driver, stop).await
            });
        }
        Ok(tasks)
    }
}

/// Tells the member's tasks of a generation that a ceremony has made.
fn learn(rosters: &Rosters, roster: Roster) {
    let generation = roster.generation();
    if let Err(error) = rosters.learn(roster) {
        error!(generation, %error, "the roster of a ceremony is not taken in");
    }
}

fn submitter_config(chain: &ReadyChain) -> SubmitterConfig {
    SubmitterConfig {
        chain_id: chain.identity.chain_id,
        contract: chain.identity.contract,
        finality: chain.finality,
        patience: PATIENCE,
        fees: FeePolicy::default(),
        weights: BTreeMap::new(),
    }
}

fn contract_reader(chain: &ReadyChain) -> Option<ChainReader> {
    let provider = chain.providers.first()?.clone();
    Some(ChainReader::new(provider, chain.identity.contract, chain.finality))
}

async fn watch_chain(
    chain: ReadyChain,
    store: Store,
    poll: Duration,
    inputs: mpsc::Sender<Input>,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let ReadyChain { chain, identity, finality, providers } = chain;
    let Some(provider) = providers.into_iter().next() else { return Ok(()) };
    let cursor = store.chain_cursor(chain.id).await?.unwrap_or(Cursor::before(chain.start_block));
    let reader = ChainReader::new(provider, identity.contract, finality);
    Ok(watch::chain(chain.id, reader, cursor, poll, inputs, stop).await?)
}

async fn serve_peers(
    listener: TcpListener,
    router: axum::Router,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    Ok(axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await?)
}

/// Says that this process lives, until it is told to stop or another process has its lease.
async fn keep_lease(store: Store, stop: CancellationToken) -> Result<(), StoreError> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(store::BEAT) => match store.beat().await {
                Err(error) if error.is_lost_lease() => return Err(error),
                // Until it is given, another process may take the lease; that would be found here.
                Err(error) => warn!(%error, "no sign of life could be given"),
                Ok(()) => {}
            }
        }
    }
}

/// Ends with the contradiction that was met while answering a peer.
async fn wait_for_contradiction(
    mut halted: mpsc::Receiver<StoreError>,
    stop: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        Some(contradiction) = halted.recv() => Err(contradiction.into()),
    }
}

/// Why a member stopped.
#[derive(Debug, Error)]
pub enum MemberError {
    /// The system refuses a signal handler.
    #[error("cannot listen for signals")]
    Signal(#[source] std::io::Error),
    /// The store.
    #[error("the member's database cannot be used")]
    Store(#[from] StoreError),
    /// The replay.
    #[error("the member's state cannot be derived")]
    Driver(#[from] DriverError),
    /// The group file.
    #[error("the group file cannot be served")]
    NotDeployed(#[from] NotDeployed),
    /// The identity key.
    #[error("the member cannot speak to its peers")]
    Peer(#[source] peer::NotAMember),
    /// No HTTP client.
    #[error("the member cannot speak to its peers")]
    PeerClient(#[source] peer::PeerError),
    /// A task ended.
    #[error("the service stopped")]
    Task(#[from] SupervisorError),
}

impl MemberError {
    /// The exit code: 70 for a contradiction, 64 for what an operator must mend, 75 for everything else.
    pub fn exit(&self) -> Exit {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if is_contradiction(error) {
                return Exit::Halted;
            }
            cause = error.source();
        }
        match self {
            Self::Store(StoreError::Identity { .. }) | Self::NotDeployed(_) | Self::Peer(_) => Exit::Configuration,
            Self::Signal(_) | Self::Store(_) | Self::Driver(_) | Self::PeerClient(_) | Self::Task(_) => Exit::TryAgain,
        }
    }
}

/// True where an error says that a person must look.
fn is_contradiction(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<StoreError>().is_some_and(StoreError::is_contradiction)
        || error.downcast_ref::<DriverError>().is_some_and(DriverError::is_contradiction)
        || error.downcast_ref::<CheckpointError>().is_some_and(CheckpointError::is_contradiction)
        || error.downcast_ref::<PayoutError>().is_some_and(PayoutError::is_contradiction)
        || error.downcast_ref::<MaskError>().is_some_and(MaskError::is_contradiction)
        || error.downcast_ref::<OfferError>().is_some_and(OfferError::is_contradiction)
        || error.downcast_ref::<ChainError>().is_some_and(ChainError::is_contradiction)
        || error.downcast_ref::<DivergenceError>().is_some_and(DivergenceError::is_contradiction)
        || error.downcast_ref::<WatchError>().is_some()
}
