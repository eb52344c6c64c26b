//! The one loop that changes derived state: input → core → one transaction → progress.
//!
//! Watchers hand in outputs and records; the driver applies them, persists inputs and results together, and only then lets the
//! others (submitter, payouts, peers) see that there is something new. It never talks to a network.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::sync::Arc;

use lockstep_core::bls::{PublicKey, Signature};
use lockstep_core::derive::{Class, ConfigError, Record};
use lockstep_core::group::Addresses;
use lockstep_core::machine::{Advance, Machine, MachineError, Rules, Step};
use lockstep_core::mask::{MaskPair, masked};
use lockstep_core::operation::{Memo, MemoRules};
use lockstep_core::output::Output;
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{FixedBytes, Uuid};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::store::{Commit, MaskRow, Store, StoreError};
use crate::world::chain::Cursor;
use crate::world::doubt::SetAside;
use crate::world::unclaimed::Unclaimed;

/// Inputs that may wait for the driver: two pages a watcher, so that a watcher reads ahead but memory stays bounded.
pub const INPUTS_MAX: usize = 8;
/// Outputs behind one that waits for a mask whose masks are asked for together with it.
const LOOK_AHEAD: usize = 64;

/// What a watcher hands in.
#[derive(Clone, Debug)]
pub enum Input {
    /// The next outputs of the group, verified, ascending.
    Outputs {
        /// The sequence that they follow. What follows something else was read before the driver went back, and is dropped.
        after: u64,
        /// The outputs.
        outputs: Vec<Output>,
    },
    /// Outputs behind the order that all members share, verified: they wait for a decision. What is known is passed over.
    Late(Vec<Output>),
    /// Outputs were applied in an order that is not the group's: everything from this sequence on is given up and read again.
    Rewind {
        /// The first sequence that is given up.
        first: u64,
        /// An output that was applied there and that the group went on without: it waits for a decision from now on.
        aside: Option<Box<Output>>,
    },
    /// The mask that an output waits for is kept now.
    Masked,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest applied ledger sequence, 0 before the first.
    pub sequence: u64,
    /// Latest ledger time applied, in nanoseconds since 1970.
    pub ledger_time: u64,
    /// Ledger time at which the next escrow is due, in nanoseconds; `None` while none waits.
    pub escrow_due: Option<u64>,
    /// The key that decisions are verified with, compressed, where a decision made another one than the group's first.
    pub decided_key: Option<[u8; 96]>,
    /// The sequence of the last output that the driver has taken in: applied, found to be set aside already, or waiting for
    /// a mask.
    pub read: u64,
    /// How often the driver has gone back since the start.
    pub rewinds: u64,
    /// The output that waits for the mask of its sender, and everything behind it.
    pub unmasked: Option<Unmasked>,
    /// The group's keys as of the places of what can still be derived, of which `decided_key` is one ([`keys_to_come`]).
    ///
    /// [`keys_to_come`]: lockstep_core::derive::Core::keys_to_come
    pub keys_to_come: Arc<[Option<FixedBytes<96>>]>,
    /// Number of turns since the start: it changes whenever anything was persisted.
    pub turn: u64,
}

/// An output whose sender must be masked before it is applied, and who else will have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmasked {
    /// The output.
    pub output: Uuid,
    /// Its sequence.
    pub sequence: u64,
    /// The private process and the sender.
    pub pair: MaskPair,
    /// Those that outputs behind it will need, as far as can be said before it is applied.
    pub following: Arc<[MaskPair]>,
    /// The group's key in force there.
    pub key: PublicKey,
}

/// One member's derived state and the store behind it.
#[derive(Debug)]
pub struct Driver {
    machine: Machine,
    /// How memos are read before any decision.
    memo: MemoRules,
    store: Store,
    /// Position of the next record of each chain.
    positions: BTreeMap<ChainId, u64>,
    /// Taken in and not applied: the first one waits for the mask of its sender.
    pending: VecDeque<Output>,
    unmasked: Option<Unmasked>,
    progress: watch::Sender<Progress>,
    addresses: watch::Sender<Arc<Addresses>>,
    late: watch::Sender<Vec<SetAside>>,
    unclaimed: watch::Sender<Unclaimed>,
}

/// What the store's inputs lead to.
struct Replayed {
    machine: Machine,
    positions: BTreeMap<ChainId, u64>,
    sequence: u64,
    ledger_time: u64,
    advance: Advance,
}

impl Replayed {
    /// Derives everything again and compares with what was stored. Derived transactions that follow from no stored input, and
    /// for which nothing was promised, are left over from before the member went back: they are forgotten.
    async fn of(rules: Rules, store: &Store) -> Result<Self, DriverError> {
        let mut machine = Machine::new(rules)?;
        let mut positions = BTreeMap::new();
        let (mut applied, mut ledger_time) = (0, 0);
        let (mut named, mut position) = (Vec::new(), 0);
        loop {
            let page = store.replay().outputs(position).await?;
            let Some((last, _)) = page.last() else { break };
            position = *last;
            for (_, output) in &page {
                let memo = machine.read(output);
                if tell_masks(&mut machine, store, output, &memo).await?.is_some() {
                    return Err(StoreError::Corrupt { what: "mask of an applied output's sender" }.into());
                }
                if let Some(step) = machine.apply_read(output, &memo)? {
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
        let mut advance = machine.advance()?;
        named.append(&mut advance.derived);
        advance.derived = named;
        for named in &advance.derived {
            store.replay().check_derived(named).await?;
        }
        for id in store.forget_underived(advance.derived.iter().map(|named| named.id).collect()).await? {
            warn!(payout = %id, "forgotten: it follows from nothing that is stored, and no coin was promised to it");
        }
        let stored = store.replay().last_history().await?;
        if stored.is_some_and(|stored| stored != machine.history()) {
            return Err(DriverError::History { sequence: applied });
        }
        info!(sequence = applied, derived = advance.derived.len(), "replayed the store");
        Ok(Self { machine, positions, sequence: applied, ledger_time, advance })
    }
}

impl Driver {
    /// Derives everything that the store's inputs lead to, and compares with what was stored.
    ///
    /// # Errors
    /// A difference is a contradiction: this member must not sign again before a person has looked.
    pub async fn restore(rules: Rules, store: Store) -> Result<Self, DriverError> {
        let memo = rules.memo.clone();
        let Replayed { machine, positions, sequence, ledger_time, .. } = Replayed::of(rules, &store).await?;
        let (escrow_due, decided_key) = (escrow_due(&machine), decided_key(&machine));
        let keys_to_come = machine.core().keys_to_come().into();
        let (progress, _) = watch::channel(Progress {
            sequence,
            ledger_time,
            escrow_due,
            decided_key,
            keys_to_come,
            read: sequence,
            rewinds: 0,
            unmasked: None,
            turn: 0,
        });
        let (addresses, _) = watch::channel(Arc::new(Addresses::of(machine.core())));
        let (late, _) = watch::channel(set_aside(&machine));
        let (unclaimed, _) = watch::channel(unclaimed(&machine));
        let (pending, unmasked) = (VecDeque::new(), None);
        Ok(Self { machine, memo, store, positions, pending, unmasked, progress, addresses, late, unclaimed })
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

    /// The outputs that were set aside and wait for a decision, now and from now on.
    pub fn late(&self) -> watch::Receiver<Vec<SetAside>> {
        self.late.subscribe()
    }

    /// The coins that nobody could or may get back, now and from now on.
    pub fn unclaimed(&self) -> watch::Receiver<Unclaimed> {
        self.unclaimed.subscribe()
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
        let mut read = self.progress.borrow().read;
        for input in inputs {
            match input {
                Input::Outputs { after, outputs } if after == read => {
                    read = outputs.last().map_or(read, |output| output.sequence);
                    self.pending.extend(outputs);
                    self.apply(&mut commit).await?;
                }
                Input::Outputs { after, .. } => debug!(after, read, "outputs of before the driver went back"),
                Input::Masked => {
                    self.unmasked = None;
                    self.apply(&mut commit).await?;
                }
                Input::Late(outputs) => self.put_aside(outputs, &mut commit).await?,
                Input::Rewind { first, aside } => {
                    // Nothing of this turn is persisted yet, and what goes back goes back by itself.
                    self.persist(std::mem::take(&mut commit), read).await?;
                    self.rewind(first, aside).await?;
                    read = self.progress.borrow().read;
                }
                Input::Records { chain, records, cursor } => self.feed(chain, records, cursor, &mut commit)?,
            }
        }
        self.persist(commit, read).await
    }

    /// Derives what follows, and writes all of it down.
    async fn persist(&mut self, mut commit: Commit, read: u64) -> Result<(), DriverError> {
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
        let keys_to_come = self.machine.core().keys_to_come().into();
        let latest = commit.steps.iter().filter(|(_, step)| step.is_some()).map(|(output, _)| output.created_at).max();
        if commit.steps.iter().filter_map(|(_, step)| step.as_ref()).any(touches_unclaimed) {
            self.unclaimed.send_replace(unclaimed(&self.machine));
        }
        let aside = set_aside(&self.machine);
        self.late.send_if_modified(|late| {
            *late != aside && {
                *late = aside;
                true
            }
        });
        self.progress.send_modify(|progress| {
            progress.read = read;
            progress.unmasked = self.unmasked.clone();
            progress.escrow_due = escrow_due;
            progress.decided_key = decided_key;
            progress.keys_to_come = keys_to_come;
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

    /// Applies what is taken in, up to an output whose sender has no mask yet.
    async fn apply(&mut self, commit: &mut Commit) -> Result<(), DriverError> {
        while self.unmasked.is_none()
            && let Some(output) = self.pending.pop_front()
        {
            let (id, sequence) = (output.id, output.sequence);
            // Members that set it aside met it behind their cursor; here it comes in its place, and must wait all the same.
            if self.machine.core().is_late(&output.id) {
                debug!(output = %id, sequence, "set aside already");
                continue;
            }
            let memo = self.machine.read(&output);
            if let Some((pair, key)) = tell_masks(&mut self.machine, &self.store, &output, &memo).await? {
                debug!(output = %id, sequence, process = %pair.process, "waits for the mask of its sender");
                let following = self.following(pair, &key).await?;
                let pairs = iter::once(pair).chain(following.iter().copied());
                commit.unmasked.extend(pairs.map(|pair| (pair, key.compress())));
                self.unmasked = Some(Unmasked { output: id, sequence, pair, following, key });
                self.pending.push_front(output);
                return Ok(());
            }
            let step = self.machine.apply_read(&output, &memo)?;
            for (id, class) in step.iter().flat_map(|step| &step.classes) {
                info!(output = %id, sequence, class = ?class, asset = %output.asset,
                    amount = %output.amount, "output applied");
            }
            commit.steps.push((output, step));
        }
        Ok(())
    }

    /// The senders without a mask of what is taken in behind `first`. They are asked for together, so that many new senders
    /// wait once and not each for itself. Should one turn out to need no mask, or one under another key, what is made for it is
    /// not used.
    async fn following(&self, first: MaskPair, key: &PublicKey) -> Result<Arc<[MaskPair]>, DriverError> {
        let mut following = Vec::new();
        for output in self.pending.iter().take(LOOK_AHEAD).filter(|output| !self.machine.core().is_late(&output.id)) {
            let Some(pair) = self.machine.unmasked(output, &self.machine.read(output)) else { continue };
            let is_known = pair == first || following.contains(&pair);
            if !is_known && !matches!(self.store.mask(&pair, &key.compress()).await?, Some(MaskRow::Made(_))) {
                following.push(pair);
            }
        }
        Ok(following.into())
    }

    /// Sets outputs aside. Some are brought again after each start, or by more than one task.
    async fn put_aside(&mut self, outputs: Vec<Output>, commit: &mut Commit) -> Result<(), DriverError> {
        for output in outputs {
            let mut taken = commit.steps.iter().map(|(other, _)| other).chain(&self.pending);
            let is_taken = taken.any(|other| other.id == output.id);
            if is_taken || self.store.output(output.id).await?.is_some() {
                continue;
            }
            warn_of_late(&output);
            let step = self.machine.apply(&output)?;
            commit.steps.push((output, step));
        }
        Ok(())
    }

    /// Gives up everything from `first` on and derives the rest again.
    async fn rewind(&mut self, first: u64, aside: Option<Box<Output>>) -> Result<(), DriverError> {
        let rules = self.machine.rules();
        let Some(given_up) = self.store.rewind(first, aside.as_deref(), &rules.group_id).await? else {
            warn!(first, "this member has promised what it would have to give up: it stays where it is");
            return Ok(());
        };
        warn!(first, given_up, "went back: what was applied from this sequence on was not in the group's order");
        if let Some(output) = &aside {
            warn_of_late(output);
        }
        let (switches, key) = (self.machine.core().switches().len(), decided_key(&self.machine));
        let rules = Rules { memo: self.memo.clone(), ..self.machine.rules().clone() };
        let Replayed { machine, positions, sequence, ledger_time, advance } = Replayed::of(rules, &self.store).await?;
        let core = machine.core();
        self.store.mend(core.processes().map(|(id, process)| (*id, process.gas)), &advance.parked).await?;
        if (core.switches().len(), decided_key(&machine)) != (switches, key) {
            return Err(DriverError::Rewound { first });
        }
        (self.machine, self.positions) = (machine, positions);
        (self.pending, self.unmasked) = (VecDeque::new(), None);
        let (escrow_due, decided_key) = (escrow_due(&self.machine), decided_key(&self.machine));
        let keys_to_come = self.machine.core().keys_to_come().into();
        self.late.send_replace(set_aside(&self.machine));
        self.unclaimed.send_replace(unclaimed(&self.machine));
        self.progress.send_modify(|progress| {
            *progress = Progress {
                sequence,
                ledger_time,
                escrow_due,
                decided_key,
                keys_to_come,
                read: sequence,
                rewinds: progress.rewinds.wrapping_add(1),
                unmasked: None,
                turn: progress.turn.wrapping_add(1),
            };
        });
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

/// Tells the machine the masks that `output` needs, as far as they are kept. The first sender without one, and the group's key
/// in force.
async fn tell_masks(
    machine: &mut Machine,
    store: &Store,
    output: &Output,
    memo: &Memo,
) -> Result<Option<(MaskPair, PublicKey)>, DriverError> {
    while let Some(pair) = machine.unmasked(output, memo) {
        let key = *machine.key().ok_or(DriverError::NoKey(pair.process))?;
        let Some(MaskRow::Made(signature)) = store.mask(&pair, &key.compress()).await? else {
            return Ok(Some((pair, key)));
        };
        let signature = Signature::from_bytes(&signature).map_err(|_| StoreError::Corrupt { what: "mask" })?;
        machine.mask(pair, masked(&signature));
    }
    Ok(None)
}

fn warn_of_late(output: &Output) {
    warn!(output = %output.id, sequence = output.sequence, generation = output.generation, asset = %output.asset,
        amount = %output.amount, "output set aside: the group's order went on without it; only a decision admits it");
}

fn set_aside(machine: &Machine) -> Vec<SetAside> {
    machine.core().late().map(SetAside::from).collect()
}

fn unclaimed(machine: &Machine) -> Unclaimed {
    let listed = &machine.rules().derive.assets;
    Unclaimed::of(machine.core().unclaimed().map(|(_, coin)| *coin), |asset| listed.contains_key(asset))
}

/// True where one more coin is unclaimed, or one less.
fn touches_unclaimed(step: &Step) -> bool {
    step.classes.iter().any(|(_, class)| *class == Class::Unclaimed)
        || step.derived.iter().any(|named| matches!(named.derived.trace, Trace::Release { .. }))
}

fn decided_key(machine: &Machine) -> Option<[u8; 96]> {
    machine.core().decided_key().map(|(_, key)| key.0)
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
    /// A private process of a group without a key.
    #[error("process {0} is private, and the group has no key to mask its senders with")]
    NoKey(Uuid),
    /// The store refused.
    #[error("the driver cannot persist a turn")]
    Store(#[from] StoreError),
    /// What was given up had changed the members or their key, which other tasks know by now.
    #[error("went back to before sequence {first}, over a change of the members: the service starts anew")]
    Rewound {
        /// The first sequence that was given up.
        first: u64,
    },
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
            Self::Rules(_) | Self::NoKey(_) | Self::Rewound { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
