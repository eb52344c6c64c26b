//! The one loop that changes derived state: input → core → one transaction → progress.
//!
//! Watchers hand in outputs and records; the driver applies them, persists inputs and results together, and only then lets the
//! others (submitter, payouts, peers) see that there is something new. It never talks to a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_core::derive::{ConfigError, Record};
use lockstep_core::group::Addresses;
use lockstep_core::machine::{Advance, Machine, MachineError, Rules};
use lockstep_core::output::Output;
use lockstep_core::trace::ChainId;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::store::{Commit, Store, StoreError};
use crate::world::chain::Cursor;

/// Inputs that may wait for the driver: two pages a watcher, so that a watcher reads ahead but memory stays bounded.
pub const INPUTS_MAX: usize = 8;

/// What a watcher hands in.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next outputs of the group, verified, ascending.
    Outputs(Vec<Output>),
    /// The next final records of a chain, and where its watcher goes on.
    Records {
        /// The chain.
        chain: ChainId,
        /// In the chain's order; may be empty when only the cursor moves.
        records: Vec<Record>,
        /// Where the watcher goes on.
        cursor: Cursor,
    },
}

/// How far the driver has come. Published after the transaction that makes it true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest applied ledger sequence, 0 before the first.
    pub sequence: u64,
    /// Latest ledger time applied, in nanoseconds since 1970.
    pub ledger_time: u64,
    /// Ledger time at which the next escrow is due, in nanoseconds; `None` while none waits.
    pub escrow_due: Option<u64>,
    /// The key that decisions are verified with, compressed, where a decision made another one than the group's first.
    pub decided_key: Option<[u8; 96]>,
    /// Number of turns since the start: it changes whenever anything was persisted.
    pub turn: u64,
}

/// One member's derived state and the store behind it.
#[derive(Debug)]
pub struct Driver {
    machine: Machine,
    store: Store,
    /// Position of the next record of each chain.
    positions: BTreeMap<ChainId, u64>,
    progress: watch::Sender<Progress>,
    addresses: watch::Sender<Arc<Addresses>>,
}

impl Driver {
    /// Derives everything that the store's inputs lead to, and compares with what was stored.
    ///
    /// # Errors
    /// A difference is a contradiction: this member must not sign again before a person has looked.
    pub async fn restore(rules: Rules, store: Store) -> Result<Self, DriverError> {
        let mut machine = Machine::new(rules)?;
        let mut positions = BTreeMap::new();
        let (mut applied, mut ledger_time) = (0, 0);
        let (mut named, mut position) = (Vec::new(), 0);
        loop {
            let page = store.replay().outputs(position).await?;
            let Some((last, _)) = page.last() else { break };
            position = *last;
            for (_, output) in &page {
                if let Some(step) = machine.apply(output)? {
                    applied = step.checkpoint.sequence;
                    ledger_time = output.created_at.max(ledger_time);
                    named.extend(step.derived);
                }
            }
        }
        for chain in machine.rules().places.keys().copied().collect::<Vec<_>>() {
            let mut next = 0_u64;
            loop {
                let page = store.replay().records(chain, next).await?;
                if page.is_empty() {
                    break;
                }
                for record in page {
                    machine.feed(chain, record)?;
                    next = next.saturating_add(1);
                }
            }
            positions.insert(chain, next);
        }
        named.extend(machine.advance()?.derived);
        for named in &named {
            store.replay().check_derived(named).await?;
        }
        let stored = store.replay().last_history().await?;
        if stored.is_some_and(|stored| stored != machine.history()) {
            return Err(DriverError::History { sequence: applied });
        }
        info!(sequence = applied, derived = named.len(), "replayed the store");
        let (escrow_due, decided_key) = (escrow_due(&machine), decided_key(&machine));
        let (progress, _) =
            watch::channel(Progress { sequence: applied, ledger_time, escrow_due, decided_key, turn: 0 });
        let (addresses, _) = watch::channel(Arc::new(Addresses::of(machine.core())));
        Ok(Self { machine, store, positions, progress, addresses })
    }

    /// How far the driver has come, now and from now on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// The ledger addresses that the group has had so far, now and from now on. They are published before the progress
    /// that they belong to.
    pub fn addresses(&self) -> watch::Receiver<Arc<Addresses>> {
        self.addresses.subscribe()
    }

    /// Takes inputs until told to stop or until all watchers are gone.
    ///
    /// # Errors
    /// See [`Driver::turn`].
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>, stop: CancellationToken) -> Result<(), DriverError> {
        loop {
            // Cancel-safe: `recv` loses nothing, and a turn once begun is finished.
            let first = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                input = inputs.recv() => input,
            };
            let Some(first) = first else { return Ok(()) };
            let mut turn = vec![first];
            while let Ok(more) = inputs.try_recv() {
                turn.push(more);
            }
            self.turn(turn).await?;
        }
    }

    /// Applies inputs and persists everything they lead to in one transaction.
    ///
    /// # Errors
    /// Everything but a failing disk is a contradiction; in both cases the service stops and derives again at its next start.
    pub async fn turn(&mut self, inputs: Vec<Input>) -> Result<(), DriverError> {
        let mut commit = Commit::default();
        for input in inputs {
            match input {
                Input::Outputs(outputs) => self.apply(outputs, &mut commit).await?,
                Input::Records { chain, records, cursor } => self.feed(chain, records, cursor, &mut commit)?,
            }
        }
        let Advance { derived, parked } = self.machine.advance()?;
        for (chain, k) in &parked {
            error!(chain, k, "outbound parked: its process asked for more than its book holds");
        }
        commit.derived = derived;
        commit.parked = parked;
        self.store.commit(&commit).await?;
        let last = commit.steps.iter().rev().find_map(|(_, step)| step.as_ref());
        if let Some(step) = last {
            debug!(sequence = step.checkpoint.sequence, outputs = commit.steps.len(), "outputs applied");
        }
        self.turn_to_newest_address();
        let (escrow_due, decided_key) = (escrow_due(&self.machine), decided_key(&self.machine));
        let latest = commit.steps.iter().filter(|(_, step)| step.is_some()).map(|(output, _)| output.created_at).max();
        self.progress.send_modify(|progress| {
            progress.escrow_due = escrow_due;
            progress.decided_key = decided_key;
            progress.ledger_time = progress.ledger_time.max(latest.unwrap_or_default());
            progress.sequence = last.map_or(progress.sequence, |step| step.checkpoint.sequence);
            progress.turn = progress.turn.wrapping_add(1);
        });
        Ok(())
    }

    fn turn_to_newest_address(&self) {
        let switches = self.machine.core().switches();
        if switches.len() > self.addresses.borrow().all().skip(1).count() {
            let addresses = Arc::new(Addresses::of(self.machine.core()));
            info!(generation = addresses.newest(), sequence = switches.last(), "the group has a new ledger address");
            self.addresses.send_replace(addresses);
        }
    }

    async fn apply(&mut self, outputs: Vec<Output>, commit: &mut Commit) -> Result<(), DriverError> {
        for output in outputs {
            // Early ones are brought again after each start.
            if output.late && self.store.output(output.id).await?.is_some() {
                continue;
            }
            if output.late {
                warn!(output = %output.id, sequence = output.sequence, generation = output.generation,
                    asset = %output.asset, amount = %output.amount,
                    "output set aside: it came to an address before that was the group's; only a decision admits it");
            }
            let step = self.machine.apply(&output)?;
            for (id, class) in step.iter().flat_map(|step| &step.classes) {
                info!(output = %id, sequence = output.sequence, class = ?class, asset = %output.asset,
                    amount = %output.amount, "output applied");
            }
            commit.steps.push((output, step));
        }
        Ok(())
    }

    fn feed(
        &mut self,
        chain: ChainId,
        records: Vec<Record>,
        cursor: Cursor,
        commit: &mut Commit,
    ) -> Result<(), DriverError> {
        let next = self.positions.entry(chain).or_default();
        for record in records {
            info!(chain, position = *next, record = ?record, "record read");
            self.machine.feed(chain, record.clone())?;
            commit.records.push((chain, *next, record));
            *next = next.saturating_add(1);
        }
        commit.cursors.push((chain, cursor));
        Ok(())
    }
}

fn decided_key(machine: &Machine) -> Option<[u8; 96]> {
    machine.core().decided_key().map(|(_, key)| *key)
}

fn escrow_due(machine: &Machine) -> Option<u64> {
    let chains = machine.rules().places.keys();
    chains.flat_map(|chain| machine.core().waiting(*chain)).map(|(_, escrow)| escrow.due).min()
}

/// Why the driver stopped.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The rules of the group file.
    #[error("the group file's rules cannot start a derivation")]
    Rules(#[from] ConfigError),
    /// The inputs contradict each other.
    #[error("contradiction in what was read")]
    Machine(#[from] MachineError),
    /// The store refused.
    #[error("the driver cannot persist a turn")]
    Store(#[from] StoreError),
    /// The replay ends in another history than the one stored.
    #[error("contradiction: the replay up to sequence {sequence} ends in another history than this member stored")]
    History {
        /// The last applied sequence.
        sequence: u64,
    },
}

impl DriverError {
    /// True where a person must look before this member goes on (exit code 70).
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::Machine(_) | Self::History { .. } => true,
            Self::Store(error) => error.is_contradiction(),
            Self::Rules(_) => false,
        }
    }
}
