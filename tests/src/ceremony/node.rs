//! One member: a durable part (its records) and a volatile one (everything else).

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, keccak256};
use lockstep_core::bls::SecretShare;
use lockstep_core::dkg::{
    Ceremony, Effect, Failure, Fault, Item, Phase, Proposal, Receivers, Record, Setup, carries_share,
};
use lockstep_core::group::roster::{Marks, Roster};

use super::bad::binding;
use super::people::copy;
use super::{Bad, PHASES, Person};

/// Where a member loses its volatile part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    /// At which record, counted from 1.
    pub(super) at: usize,
    /// Whether that record was durable already.
    pub(super) after: bool,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) person: Person,
    pub(super) bad: Option<Bad>,
    proposal: Proposal,
    previous: Option<Roster>,
    share: Option<SecretShare>,
    entropy: u8,
    records: Vec<Record>,
    pub(super) crash: Option<Crash>,
    pub(super) crashes: u32,
    /// At what it crashed, and whether that was durable.
    pub(super) fell: Vec<String>,
    pub(super) ceremony: Option<Ceremony>,
    /// A second self with another seed, of one that deals twice.
    twin: Option<Ceremony>,
    /// What it shows, in order.
    pub(super) shown: Vec<(Receivers, Vec<u8>)>,
    /// How far it has read of each other.
    pub(super) read: BTreeMap<u8, usize>,
    /// What it has shown of others, if that is what it does.
    replayed: BTreeSet<B256>,
    pub(super) passed: Vec<Phase>,
    /// It has heard from everybody since it last started, so its time counts.
    begun: bool,
    /// What it blamed others for before it crashed.
    blamed: BTreeSet<Fault>,
    pub(super) done: Option<(Roster, Option<SecretShare>)>,
    pub(super) failures: Vec<Failure>,
}

impl Node {
    pub(super) fn new(
        person: Person,
        proposal: &Proposal,
        previous: Option<&Roster>,
        share: Option<&SecretShare>,
        entropy: u8,
    ) -> Self {
        Self {
            person,
            bad: None,
            proposal: proposal.clone(),
            previous: previous.cloned(),
            share: share.map(copy),
            entropy,
            records: Vec::new(),
            crash: None,
            crashes: 0,
            fell: Vec::new(),
            ceremony: None,
            twin: None,
            shown: Vec::new(),
            read: BTreeMap::new(),
            replayed: BTreeSet::new(),
            passed: Vec::new(),
            begun: false,
            blamed: BTreeSet::new(),
            done: None,
            failures: Vec::new(),
        }
    }

    fn setup(&self) -> Setup {
        Setup {
            proposal: self.proposal.clone(),
            previous: self.previous.clone(),
            identity: self.person.identity.clone(),
            share: self.share.as_ref().map(copy),
            marks: Marks::default(),
        }
    }

    /// Starts, or starts again from its records. What it shows begins anew.
    pub(super) fn start(&mut self) -> Result<(), String> {
        // Time counts anew.
        (self.shown, self.read, self.passed) = (Vec::new(), BTreeMap::new(), Vec::new());
        self.begun = false;
        let started = if self.records.is_empty() {
            // A seed that was never kept is gone.
            self.entropy = self.entropy.wrapping_add(1);
            Ceremony::start(self.setup(), &[self.entropy; 32])
        } else {
            Ceremony::restore(self.setup(), &self.records)
        };
        let (ceremony, effects) = started.map_err(|error| format!("{:?} cannot start: {error}", self.person))?;
        self.ceremony = Some(ceremony);
        if self.bad.as_ref().is_some_and(Bad::has_twin) {
            let twin = Ceremony::start(self.setup(), &[self.entropy ^ 0x80; 32]).map_err(|error| error.to_string())?;
            self.twin = Some(twin.0);
        }
        self.act(effects);
        Ok(())
    }

    fn with(&mut self, input: impl FnOnce(&mut Ceremony) -> Vec<Effect>) {
        if let Some(effects) = self.ceremony.as_mut().map(input) {
            self.act(effects);
        }
    }

    /// Reads an item. `Err` if its member refuses it.
    pub(super) fn receive(&mut self, item: &[u8]) -> Result<(), String> {
        let Some(ceremony) = &mut self.ceremony else { return Ok(()) };
        if self.bad == Some(Bad::Replays) && self.replayed.insert(keccak256(item)) {
            self.shown.push((Receivers::All, item.to_vec()));
        }
        let effects = ceremony.receive(item).map_err(|error| error.to_string())?;
        self.act(effects);
        if let Some(twin) = &mut self.twin {
            let effects = twin.receive(item).unwrap_or_default();
            self.act_twin(effects);
        }
        Ok(())
    }

    /// The phase whose deadline passes next. Later ones than the first are counted from when everybody has joined.
    pub(super) fn next_deadline(&self) -> Option<Phase> {
        PHASES.get(self.passed.len()).copied().filter(|phase| *phase == Phase::Join || self.begun)
    }

    /// How many of its items others can see by now.
    pub(super) fn visible(&self) -> usize {
        let hidden = self.bad.as_ref().and_then(|bad| bad.shows_only(self.passed.last().copied()));
        hidden.unwrap_or(usize::MAX).min(self.shown.len())
    }

    /// What it blames others for, or did before it crashed: operators read it when it is said.
    pub(super) fn faults(&self) -> BTreeSet<Fault> {
        let progress = self.ceremony.as_ref().map(Ceremony::progress);
        progress.into_iter().flat_map(|progress| progress.faults).chain(self.blamed.iter().cloned()).collect()
    }

    pub(super) fn deadline(&mut self, phase: Phase) {
        self.passed.push(phase);
        self.with(|ceremony| ceremony.deadline(phase));
    }

    /// Does what its ceremony wants, until it crashes.
    fn act(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => {
                    let crash = self.crash.filter(|crash| crash.at == self.records.len() + 1);
                    if let Some(Crash { after, .. }) = crash {
                        let when = if after { "after" } else { "before" };
                        self.fell.push(format!("{when} {}", self.what(&record)));
                    }
                    if crash.is_none_or(|crash| crash.after) {
                        self.records.push(record);
                    }
                    if crash.is_some() {
                        self.blamed = self.faults();
                        (self.crash, self.ceremony) = (None, None);
                        (self.shown, self.read) = (Vec::new(), BTreeMap::new());
                        self.crashes += 1;
                        return;
                    }
                }
                Effect::Publish { to, item } => match &self.bad {
                    None => self.shown.push((to, item)),
                    Some(bad) => self.shown.extend(bad.tamper(&self.person, &self.proposal, to, item)),
                },
                Effect::Begun => self.begun = true,
                Effect::Done { roster, share } => {
                    self.done = Some((*roster, share));
                    self.forget();
                }
                Effect::Failed(failure) => self.failures.push(failure),
            }
        }
    }

    /// With its outcome a member forgets what gives a share back, what it dealt to others included: who is behind must do
    /// without.
    fn forget(&mut self) {
        self.records.retain(|record| !record.is_secret());
        for (to, _) in self.shown.iter_mut().filter(|(_, item)| carries_share(item)) {
            *to = Receivers::One([0; 32]);
        }
    }

    /// What a record keeps.
    fn what(&self, record: &Record) -> String {
        let (kind, rest) = record.as_bytes().split_at(1);
        let item = |bytes| Item::decode(bytes, &binding(&self.proposal)).map_or("item", |item| item.body.what());
        match kind {
            [0] => "seed",
            [1] => item(rest),
            [2] => "vote",
            [3] => "outcome",
            _ => "roster",
        }
        .to_owned()
    }

    /// Of a twin only dealings are seen, and only by victims.
    fn act_twin(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let (Effect::Publish { to, item }, Some(bad)) = (effect, &self.bad) {
                self.shown.extend(bad.of_twin(&self.proposal, to, item));
            }
        }
    }
}
