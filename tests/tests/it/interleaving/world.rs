//! The world: users, contracts, governance and five members that read as they please.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::derive::{
    Applied, AssetRule, ChainRule, Config, Core, DeriveError, Derived, Effect, Fee, Outbound, Record,
};
use lockstep_core::message::Message;
use lockstep_core::operation::{Caps, Decision, DecisionBody, MemoKind, Policy, Registration};
use lockstep_core::output::CoinId;
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix, Uuid};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::ledger::{Listing, SimLedger, group, id, is_ghost, operation, plain, single};
use super::{Broken, Checked, broken};

const MEMBERS: usize = 5;
const THRESHOLD: usize = 4;
const STEPS: usize = 600;
/// Rounds in which nobody acts and everybody catches up.
const QUIET: usize = 40;
pub(crate) const CHAINS: [ChainId; 2] = [1, 2];
pub(crate) const ASSETS: [AssetId; 2] = [AssetId([1; 32]), AssetId([2; 32])];
const PROCESSES: [(&str, ChainId); 4] = [("p1", 1), ("p2", 1), ("p3", 2), ("p4", 2)];
/// Seconds are as good as nanoseconds here.
pub(crate) const DELAY_UNKNOWN: u64 = 20;

/// How member 0 breaks the rule of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Two neighbouring outputs change places.
    Order,
    /// Its records see the ledger as far as it has applied it.
    Knowledge,
    /// It reads its own clock where the ledger's time belongs.
    Clock,
}

/// One member and all that it derived.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) core: Core,
    pub(crate) applied: Vec<Applied>,
    pub(crate) mailboxes: BTreeMap<Uuid, Vec<Message>>,
    pub(crate) of_ledger: Vec<Derived>,
    pub(crate) of_chains: BTreeMap<ChainId, Vec<Derived>>,
    /// By outbound, moves before the end.
    pub(crate) of_escrows: BTreeMap<(ChainId, u64), Vec<Derived>>,
    read: usize,
    fed: BTreeMap<ChainId, usize>,
}

/// A group contract as it is seen from outside.
#[derive(Debug, Default)]
pub(crate) struct Contract {
    custody: BTreeMap<(Uuid, AssetId), u128>,
    delivered: BTreeMap<Uuid, usize>,
    accepted: u64,
    k: u64,
    pub(crate) records: Vec<Record>,
}

#[derive(Debug)]
pub(crate) struct World {
    random: SmallRng,
    fault: Option<Fault>,
    now: u64,
    number: u64,
    pub(crate) ledger: SimLedger,
    pub(crate) contracts: BTreeMap<ChainId, Contract>,
    pub(crate) members: Vec<Member>,
    pub(crate) by_trace: BTreeMap<Trace, Derived>,
    by_coin: BTreeMap<CoinId, Trace>,
    votes: BTreeMap<Trace, BTreeSet<usize>>,
    digests: BTreeMap<u64, B256>,
    /// Outbound → sequence of the first decision to bounce it.
    pub(crate) verdicts: BTreeMap<(ChainId, u64), u64>,
}

fn config() -> Config {
    let caps = Caps { payout: Amount::from_units(30), hour: Amount::from_units(35), day: Amount::from_units(60) };
    let rule = AssetRule { minimum: Amount::from_units(3), floor: Amount::from_units(2) };
    Config {
        group: group(),
        fee: Fee { asset: ASSETS[0], amount: Amount::from_units(9) },
        default: rule,
        assets: BTreeMap::new(),
        chains: CHAINS.map(|chain| (chain, ChainRule { payload_max: 3, gas_max: 5_000_000 })).into(),
        caps: CHAINS.map(|chain| (chain, ASSETS.map(|asset| (asset, caps)).into())).into(),
        delay_unknown_ns: DELAY_UNKNOWN,
        delay_over_ns: 60,
        window_hour_ns: 80,
        window_day_ns: 200,
        inputs_max: 3,
        sweep_max: 1,
        memo_max: 30,
    }
}

impl From<DeriveError> for Broken {
    fn from(error: DeriveError) -> Self {
        Self { check: 'S', what: format!("a core halted: {error}") }
    }
}

impl World {
    pub(crate) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let member = || Member {
            core: Core::new(config()).expect("a sound configuration"),
            applied: Vec::new(),
            mailboxes: BTreeMap::new(),
            of_ledger: Vec::new(),
            of_chains: BTreeMap::new(),
            of_escrows: BTreeMap::new(),
            read: 0,
            fed: BTreeMap::new(),
        };
        let mut world = Self {
            random: SmallRng::seed_from_u64(seed),
            fault,
            now: 0,
            number: 0,
            ledger: SimLedger::default(),
            contracts: CHAINS.map(|chain| (chain, Contract::default())).into(),
            members: (0..MEMBERS).map(|_| member()).collect(),
            by_trace: BTreeMap::new(),
            by_coin: BTreeMap::new(),
            votes: BTreeMap::new(),
            digests: BTreeMap::new(),
            verdicts: BTreeMap::new(),
        };
        for (name, chain) in PROCESSES {
            let registration = Registration {
                chain,
                address: Address::from_slice(&[name.as_bytes()[1]; 20]),
                private: false,
                policy: Policy::Refund,
                gas: 300_000,
                assets: None,
            };
            world.list(ASSETS[0], 9, Some(single(name)), MemoKind::Register(registration), 0);
        }
        world
    }

    pub(crate) fn run(&mut self) -> Checked {
        let switches: Vec<usize> =
            (0..self.random.random_range(0..=2)).map(|_| self.random.random_range(100..STEPS)).collect();
        for step in 0..STEPS {
            self.now += self.random.random_range(0..=1);
            match self.random.random_range(0..100) {
                0..14 => self.pay(),
                14..20 => self.deliver(),
                20..28 => self.send(),
                28..30 => self.govern(),
                30..34 => self.submit()?,
                _ => {
                    let member = self.random.random_range(0..MEMBERS);
                    self.act(member)?;
                }
            }
            if switches.contains(&step) {
                self.decide(DecisionBody::Switch { group: group() });
            }
        }
        for round in 0..QUIET {
            self.now += 5;
            self.list(ASSETS[0], 1, Some(single("gov")), MemoKind::Tick, 0);
            if round == 0 {
                for (chain, k) in self.waiting(true) {
                    self.decide(DecisionBody::Refused { chain, k });
                }
            }
            self.catch_up(round < 3)?;
            self.submit()?;
        }
        self.check()
    }

    /// Kinds of everything that was derived, bounces and parked outbounds besides.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        let parked = CHAINS.iter().flat_map(|chain| self.members[0].core.parked(*chain)).map(|_| "parked");
        let bounces = self.verdicts.keys().map(|_| "bounce");
        self.by_trace.keys().map(kind).chain(bounces).chain(parked).collect()
    }

    pub(crate) fn digest(&self) -> B256 {
        self.members[0].core.state_digest()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())].clone()
    }

    /// True `percent` times of a hundred.
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// True `part` times of `whole`, for lists of weighted choices.
    fn one_of(&mut self, part: u32, whole: u32) -> bool {
        self.random.random_range(0..whole) < part
    }

    // ------------------------------------------------------------------ the ledger's users

    fn list(&mut self, asset: AssetId, units: u128, senders: Option<Mix>, kind: MemoKind, generation: u32) -> u64 {
        let amount = Amount::from_units(units);
        let listing = Listing { asset, amount, senders, memo: plain(kind), generation, inscription: None };
        self.ledger.add(&mut self.random, self.now, listing, None)
    }

    fn pay(&mut self) {
        let who = if self.one_of(12, 16) {
            format!("u{}", self.random.random_range(0..6))
        } else {
            format!("late{}", self.random.random_range(0..4))
        };
        let process = self.pick(&["p1", "p1", "p1", "p2", "p3", "p4", "zz"]);
        let payload = vec![b'd'; self.pick(&[2, 3, 3, 4])];
        let mut memo = plain(MemoKind::Call { process: id(process), payload });
        if self.chance(15) {
            let unsigned = Decision { number: 1, valid: false, body: DecisionBody::Close { process: id("p1") } };
            let stray = MemoKind::Call { process: id("zz"), payload: Vec::new() };
            memo = match self.random.random_range(0..6) {
                0 => plain(MemoKind::Undecodable),
                1 => plain(MemoKind::RefundMark),
                2 => plain(MemoKind::Tick),
                3 => plain(MemoKind::Bounce { process: id("p1") }),
                4 => plain(MemoKind::Decision(unsigned)),
                _ => lockstep_core::operation::Memo { return_address: Some(single("u1").to_payload()), ..plain(stray) },
            };
        }
        // People still use the address that they know.
        let reader = self.random.random_range(0..MEMBERS);
        let newest = self.members[reader].core.groups().len() - 1;
        let generation = u32::try_from(newest.saturating_sub(self.random.random_range(0..=1))).expect("few switches");
        let listing = Listing {
            asset: self.pick(&ASSETS),
            amount: Amount::from_units(self.pick(&[1, 2, 3, 3, 4, 5, 8, 40, 90])),
            senders: (!self.chance(5)).then(|| single(&who)),
            memo,
            generation,
            inscription: self.chance(3).then_some(B256::repeat_byte(7)),
        };
        self.ledger.add(&mut self.random, self.now, listing, None);
    }

    fn decide(&mut self, body: DecisionBody) {
        self.number += 1;
        let decision = Decision { number: self.number, valid: true, body: body.clone() };
        let sequence = self.list(ASSETS[0], 1, Some(single("gov")), MemoKind::Decision(decision), 0);
        if let DecisionBody::Bounce { chain, k } | DecisionBody::Refused { chain, k } = body {
            self.verdicts.entry((chain, k)).or_insert(sequence);
        }
    }

    fn govern(&mut self) {
        let (chain, asset) = (self.pick(&CHAINS), self.pick(&ASSETS));
        match self.random.random_range(0..6) {
            which @ 0..=1 => {
                let waiting = self.waiting(which == 1);
                if !waiting.is_empty() {
                    let (chain, k) = self.pick(&waiting);
                    let bounce = DecisionBody::Bounce { chain, k };
                    self.decide(if which == 0 { bounce } else { DecisionBody::Refused { chain, k } });
                }
            }
            2 => {
                let payout = Amount::from_units(self.random.random_range(5..=40));
                let caps = Caps { payout, hour: Amount::from_units(35), day: Amount::from_units(60) };
                self.decide(DecisionBody::Limits { chain, asset, caps });
            }
            3 => {
                let gas = self.pick(&[0, 60_000, 6_000_000]);
                let process = id(self.pick(&["p1", "p2", "p9"]));
                self.decide(DecisionBody::Policy { process, policy: Policy::Park, gas });
            }
            4 => {
                // One member's view: what it does not hold any more, or not yet, is released once or not at all.
                let unclaimed: Vec<Uuid> = self.members[0].core.unclaimed().map(|(output, _)| *output).collect();
                if !unclaimed.is_empty() {
                    let output = self.pick(&unclaimed);
                    self.decide(DecisionBody::Release { output, to: single("kept") });
                }
            }
            _ if self.chance(30) => {
                let minimum = Amount::from_units(self.random.random_range(2..=4));
                self.decide(DecisionBody::Minimum { asset, minimum, floor: Amount::from_units(2) });
            }
            _ => {}
        }
    }

    /// Outbounds that wait in anybody's view.
    fn waiting(&self, ghosts: bool) -> Vec<(ChainId, u64)> {
        let mut waiting = BTreeSet::new();
        for (member, chain) in self.members.iter().flat_map(|member| CHAINS.map(|chain| (member, chain))) {
            let escrows = member.core.waiting(chain);
            let ghost = single("ghost");
            waiting.extend(escrows.filter(|(_, escrow)| !ghosts || escrow.to == ghost).map(|(k, _)| (chain, k)));
        }
        waiting.into_iter().collect()
    }

    // ------------------------------------------------------------------ the contracts

    /// The newest sequence that a quorum has applied.
    fn signed(&self) -> u64 {
        let mut applied: Vec<u64> = self.members.iter().map(|member| member.core.applied()).collect();
        applied.sort_unstable();
        applied[MEMBERS - THRESHOLD]
    }

    fn accept(&mut self, chain: ChainId, sequence: u64) {
        let time = self.now;
        let contract = self.contracts.get_mut(&chain).expect("a chain");
        contract.accepted = contract.accepted.max(sequence);
        contract.records.push(Record::Accepted { s: contract.accepted, time });
    }

    /// Anyone delivers any prefix under any signed checkpoint.
    fn deliver(&mut self) {
        let (chain, mut checkpoint) = (self.pick(&CHAINS), self.signed());
        if self.chance(30) {
            checkpoint = self.random.random_range(0..=checkpoint);
        }
        let ahead = self.members.iter().max_by_key(|member| member.core.applied()).expect("five members");
        let contract = self.contracts.get_mut(&chain).expect("a chain");
        for (name, _) in PROCESSES.iter().filter(|(_, of)| *of == chain) {
            let process = id(name);
            let delivered = contract.delivered.entry(process).or_default();
            let mailbox = ahead.mailboxes.get(&process).map_or(&[][..], Vec::as_slice);
            let most = self.random.random_range(0..=4);
            for message in mailbox.iter().skip(*delivered).take(most) {
                if message.sequence > checkpoint {
                    break;
                }
                *delivered += 1;
                *contract.custody.entry((process, message.asset)).or_default() += message.amount.units();
            }
        }
        self.accept(chain, checkpoint);
    }

    fn send(&mut self) {
        let chain = self.pick(&CHAINS);
        let custody = &self.contracts[&chain].custody;
        let have: Vec<_> = custody.iter().filter(|(_, held)| **held > 0).map(|(key, held)| (*key, *held)).collect();
        if have.is_empty() {
            return;
        }
        let ((process, asset), held) = self.pick(&have);
        let part = self.random.random_range(1..=held);
        let mut amount = if self.one_of(24, 25) { self.pick(&[1, held, part, held.min(70)]) } else { 0 };
        let spent = amount;
        if self.chance(6) {
            // A broken contract: parked.
            amount += self.random.random_range(1..=30);
        }
        let number = self.random.random_range(0..6);
        let recipient = match self.random.random_range(0..12) {
            0..4 => Account::of(&single(&format!("u{number}"))).0.to_vec(),
            4..8 => single(&format!("u{number}")).to_payload(),
            8..10 => single(&format!("late{}", number % 4)).to_payload(),
            10 => single("ghost").to_payload(),
            _ => self.pick(&[Mix::of_users([id("u1"), id("u2")], 3), group()]).to_payload(),
        };
        let own = |purpose| operation(purpose, process);
        let memo = if self.one_of(15, 16) { self.pick(&[b"hi".to_vec(), own(1), own(14)]) } else { vec![b'x'; 31] };
        let time = self.now;
        let contract = self.contracts.get_mut(&chain).expect("a chain");
        *contract.custody.entry((process, asset)).or_default() -= spent;
        let amount = Amount::from_units(amount);
        let outbound = Outbound { k: contract.k, process, asset, amount, recipient, memo, s: contract.accepted, time };
        contract.k += 1;
        contract.records.push(Record::Outbound(outbound));
    }

    // ------------------------------------------------------------------ the members

    fn act(&mut self, who: usize) -> Checked {
        match self.random.random_range(0..100) {
            0..50 => {
                for _ in 0..self.random.random_range(1..=6) {
                    self.read_one(who)?;
                }
            }
            50..65 => {
                let (chain, count) = (self.pick(&CHAINS), self.random.random_range(0..=3));
                for _ in 0..count {
                    self.feed_one(who, chain)?;
                }
            }
            _ => {
                let chain = self.pick(&CHAINS);
                if let Some(effects) = self.members[who].core.step(chain)? {
                    self.keep(who, Some(chain), effects)?;
                }
                let effects = self.members[who].core.settle()?;
                self.keep(who, None, effects)?;
            }
        }
        Ok(())
    }

    fn catch_up(&mut self, accept: bool) -> Checked {
        for who in 0..MEMBERS {
            while self.read_one(who)? {}
        }
        for chain in CHAINS.iter().filter(|_| accept) {
            self.accept(*chain, self.signed());
        }
        for who in 0..MEMBERS {
            for chain in CHAINS {
                while self.feed_one(who, chain)? {}
                while let Some(effects) = self.members[who].core.step(chain)? {
                    self.keep(who, Some(chain), effects)?;
                }
            }
            let effects = self.members[who].core.settle()?;
            self.keep(who, None, effects)?;
        }
        Ok(())
    }

    fn read_one(&mut self, who: usize) -> Checked<bool> {
        let place = self.members[who].read;
        let Some((output, memo)) = self.ledger.rows.get(place) else {
            return Ok(false);
        };
        let (mut output, mut memo) = (output.clone(), memo.clone());
        let fault = self.fault.filter(|_| who == 0);
        if fault == Some(Fault::Order) && place > 4 {
            // Pairs change places, under the sequences that the pair has.
            if let Some((other, its_memo)) = self.ledger.rows.get(place ^ 1) {
                (output, memo) =
                    (lockstep_core::output::Output { sequence: output.sequence, ..other.clone() }, its_memo.clone());
            }
        }
        if fault == Some(Fault::Clock) {
            output.created_at += 7;
        }
        let member = &mut self.members[who];
        member.read += 1;
        let all = member.core.apply(&output, &memo)?;
        let digest = member.core.state_digest();
        let mut derived = Vec::new();
        for applied in all {
            for posted in &applied.posted {
                member.mailboxes.entry(posted.process).or_default().push(posted.message.clone());
            }
            derived.extend(applied.derived.iter().cloned());
            member.applied.push(applied);
        }
        member.of_ledger.extend(derived.iter().cloned());
        if *self.digests.entry(output.sequence).or_insert(digest) != digest {
            return broken('D', format!("state digests differ at sequence {}", output.sequence));
        }
        for derived in derived {
            self.note(who, derived)?;
        }
        Ok(true)
    }

    fn feed_one(&mut self, who: usize, chain: ChainId) -> Checked<bool> {
        let member = &mut self.members[who];
        let fed = member.fed.entry(chain).or_default();
        let Some(record) = self.contracts[&chain].records.get(*fed) else {
            return Ok(false);
        };
        *fed += 1;
        let mut record = record.clone();
        if self.fault == Some(Fault::Knowledge) && who == 0 {
            let (Record::Accepted { s, .. } | Record::Outbound(Outbound { s, .. })) = &mut record;
            *s = member.core.applied().max(*s);
        }
        member.core.feed(chain, record)?;
        Ok(true)
    }

    /// Notes what a member derived; without a chain it follows escrows.
    fn keep(&mut self, who: usize, chain: Option<ChainId>, effects: Vec<Effect>) -> Checked {
        for effect in effects {
            let Effect::Derived(derived) = effect else {
                continue;
            };
            let member = &mut self.members[who];
            match (chain, derived.trace) {
                (None, Trace::Settle { chain, k } | Trace::Move { chain, k, .. }) => {
                    member.of_escrows.entry((chain, k)).or_default().push(derived.clone());
                }
                (Some(chain), _) => member.of_chains.entry(chain).or_default().push(derived.clone()),
                (None, other) => return broken('S', format!("{other:?} does not follow an escrow")),
            }
            self.note(who, derived)?;
        }
        Ok(())
    }

    /// One trace, one transaction; one coin, one transaction; no trace twice.
    fn note(&mut self, who: usize, derived: Derived) -> Checked {
        let trace = derived.trace;
        match self.by_trace.get(&trace) {
            Some(first) if *first == derived => {}
            Some(first) => return broken('D', format!("{trace:?} diverges: {first:?} and {derived:?}")),
            None => {
                for coin in &derived.inputs {
                    if let Some(other) = self.by_coin.insert(self.ledger.coin(coin), trace) {
                        return broken('C', format!("{other:?} and {trace:?} spend one coin"));
                    }
                }
                self.by_trace.insert(trace, derived);
            }
        }
        if !self.votes.entry(trace).or_default().insert(who) {
            return broken('D', format!("{trace:?} derived twice by one member"));
        }
        Ok(())
    }

    fn submit(&mut self) -> Checked {
        for (trace, votes) in &self.votes {
            if votes.len() >= THRESHOLD {
                self.ledger.send(&mut self.random, &self.by_trace[trace], self.now)?;
            }
        }
        Ok(())
    }

    /// Pays somebody who has no keys: a refusal after q* holds that coin alone.
    pub(crate) fn is_held(&self, trace: &Trace) -> bool {
        self.by_trace[trace].outputs.iter().any(|(payee, _)| is_ghost(payee))
    }
}

const fn kind(trace: &Trace) -> &'static str {
    match trace {
        Trace::Refund { .. } => "refund",
        Trace::Return { .. } => "return",
        Trace::Forward { .. } => "forward",
        Trace::Release { .. } => "release",
        Trace::Pay { .. } => "pay",
        Trace::Escrow { .. } => "escrow",
        Trace::Settle { .. } => "settle",
        Trace::Move { .. } => "move",
        Trace::Consolidate { .. } => "consolidate",
        Trace::Migrate { .. } => "migrate",
    }
}
