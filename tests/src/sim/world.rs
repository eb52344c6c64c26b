//! The scheduler: one random effect after another, first with faults, then until everything is at rest.

use std::collections::BTreeMap;

use lockstep_core::group::roster::Roster;
use lockstep_core::trace::ChainId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::chain::Chain;
use super::checks::{self, Watch};
use super::ledger::Ledger;
use super::member::{Member, Outside};
use super::network::Network;
use super::setup::{
    CHAINS, DEVELOPERS, FEE, GENERATIONS, MEMBERS, PERSONS, STEP_NS, THRESHOLD, developer, index_in, roster,
};
use super::{Checked, Fault, Options, Tally, broken, liar, users};

/// Steps within which a world must come to rest once faults have stopped.
const DRAIN_STEPS: u64 = 150_000;
/// How often rest is looked for.
const DRAIN_LOOK: u64 = 50;

pub(super) struct World {
    options: Options,
    random: StdRng,
    step: u64,
    ledger: Ledger,
    chains: BTreeMap<ChainId, Chain>,
    network: Network,
    members: Vec<Member>,
    liars: Vec<u8>,
    watch: Watch,
    decided: Vec<Vec<u8>>,
    /// Steps at which ceremonies end and switches are decided, generation by generation from 1.
    plan: Vec<(u64, u64)>,
    made: Vec<Roster>,
    switched_at: u64,
    tally: Tally,
}

impl World {
    pub(super) fn new(options: Options) -> Checked<Self> {
        let mut random = StdRng::seed_from_u64(options.seed);
        let first: u8 = random.random_range(0..MEMBERS);
        let liars: Vec<u8> = (0..options.liars).map(|place| (first + place) % MEMBERS + 1).collect();
        // The one that breaks the discipline is honest otherwise.
        let faulty = (first + MEMBERS - 1) % MEMBERS + 1;
        let watch = Watch::default();
        let mut members = Vec::new();
        for index in 1..=PERSONS {
            let affected = index == faulty || options.fault == Some(Fault::PublicRequestsOnly);
            let fault = options.fault.filter(|_| affected && !liars.contains(&index));
            let mut member = Member::new(index, liars.contains(&index), fault);
            if member.is_enrolled {
                member.start(&watch)?;
            }
            members.push(member);
        }
        let plan = plan(&options, &mut random);
        let chains = CHAINS.iter().map(|chain| (*chain, Chain::new(*chain))).collect();
        let (network, tally) = (Network::default(), Tally::default());
        let ledger = Ledger::new(options.has_private);
        let decided = Vec::new();
        let made = Vec::new();
        Ok(Self {
            options,
            random,
            step: 0,
            ledger,
            chains,
            network,
            members,
            liars,
            watch,
            decided,
            plan,
            made,
            switched_at: 0,
            tally,
        })
    }

    pub(super) fn run(&mut self) -> Checked {
        for number in 0..DEVELOPERS {
            let (process, _, _) = developer(number);
            users::register(&mut self.ledger, number, lockstep_core::Mix::of_users([process], 1), FEE);
        }
        while self.step < self.options.steps {
            self.tick()?;
            self.change_members()?;
            self.disturb()?;
        }
        self.say("faults stop");
        self.restart_all()?;
        // More liars than the group bears: it is safe, and may stand still.
        if self.liars.len() > usize::from(MEMBERS - THRESHOLD) {
            return Ok(());
        }
        self.drain()
    }

    fn drain(&mut self) -> Checked {
        let mut why = String::new();
        // Contracts use what they got meanwhile, in fair weather.
        for _ in 0..self.options.steps / 2 {
            self.tick()?;
            self.change_members()?;
            if self.random.random_range(0..100) == 0 {
                self.send();
            }
        }
        for left in (0..DRAIN_STEPS).rev() {
            self.tick()?;
            // A switch waits until somebody has come to the one before.
            self.change_members()?;
            if left % DRAIN_LOOK != 0 {
                continue;
            }
            match checks::unrest(&self.members, &self.ledger, &self.chains) {
                Some(unrest) => why = unrest,
                None => return checks::everything_drained(&self.members, &self.ledger, &self.chains),
            }
            self.wake();
        }
        broken("everything_drained", format!("not at rest after {DRAIN_STEPS} steps: {why}"))
    }

    /// While an escrow waits and the ledger is quiet, the member of lowest rank moves ledger time.
    fn wake(&mut self) {
        let waits = self.members.iter().any(|member| !member.is_liar && !member.waiting().is_empty());
        if waits && self.ledger.is_quiet() {
            self.tally.count("ticks");
            users::tick(&mut self.ledger, 1);
        }
    }

    /// One effect of the world that goes on at all times.
    fn tick(&mut self) -> Checked {
        self.step += 1;
        self.ledger.now = self.step * STEP_NS;
        match self.random.random_range(0..100) {
            0..62 => {
                let who = self.random.random_range(0..self.members.len());
                let (member, mut out) = self.outside(who);
                member.step(&mut out)
            }
            62..88 => {
                self.carry();
                Ok(())
            }
            88..94 => self.snapshot(),
            94..97 => self.mine(),
            _ => self.finalize(),
        }
    }

    fn outside(&mut self, who: usize) -> (&mut Member, Outside<'_>) {
        let faults = self.step < self.options.steps;
        let Self { ledger, chains, network, watch, random, tally, members, made, .. } = self;
        (&mut members[who], Outside { ledger, chains, network, watch, random, tally, faults, made })
    }

    /// The network brings a packet, and more where many fly.
    fn carry(&mut self) {
        let faults = self.step < self.options.steps;
        for _ in 0..=self.network.len() / 20 {
            let (packet, fate) = self.network.next(&mut self.random, faults);
            self.tally.count(fate);
            if let Some(packet) = packet {
                self.members[usize::from(packet.to - 1)].receive(packet);
            }
        }
    }

    /// The ledger makes a transaction final, or lists an output.
    fn snapshot(&mut self) -> Checked {
        let (open, listable) = (self.ledger.admitted(), self.ledger.listable());
        if !open.is_empty() && (listable.is_empty() || self.random.random_range(0..2) == 0) {
            let hash = open[self.random.random_range(0..open.len())];
            if let Some(transaction) = self.ledger.finalize(hash) {
                self.tally.count("ledger transactions");
                self.watch.one_final_payout_per_outbound(&transaction, &self.ledger)?;
            }
        } else if !listable.is_empty() {
            let coin = listable[self.random.random_range(0..listable.len())];
            let gap = self.random.random_range(1..=3);
            self.ledger.list(coin, gap);
        }
        Ok(())
    }

    fn mine(&mut self) -> Checked {
        let id = CHAINS[self.random.random_range(0..CHAINS.len())];
        let Some(chain) = self.chains.get_mut(&id) else { return Ok(()) };
        let (certified, reverted) = chain.mine(self.ledger.now);
        for (sequence, digest) in certified {
            self.tally.count("deliveries mined");
            self.watch.one_checkpoint_per_sequence(sequence, digest)?;
        }
        for why in reverted {
            self.tally.count("calls reverted");
            self.say(&format!("chain {id} reverts: {why:?}"));
        }
        Ok(())
    }

    fn finalize(&mut self) -> Checked {
        let id = CHAINS[self.random.random_range(0..CHAINS.len())];
        let Some(chain) = self.chains.get_mut(&id) else { return Ok(()) };
        if chain.finalize() { self.watch.custody_is_what_was_delivered(chain, &self.members) } else { Ok(()) }
    }

    /// The ceremony of the next generation ends, or the switch to it is decided; which comes first is the plan's. A crash
    /// is likely then.
    fn change_members(&mut self) -> Checked {
        let generation = self.made.len() + 1;
        if self.plan.get(generation - 1).is_some_and(|(made_at, _)| self.step >= *made_at) {
            self.say(&format!("the ceremony of generation {generation} has ended"));
            self.made.push(roster(generation, self.watch.marks()));
            for member in self.members.iter_mut().filter(|member| !member.is_enrolled) {
                if index_in(generation as u32, member.index).is_some() {
                    member.is_enrolled = true;
                    member.start(&self.watch)?;
                }
            }
        }
        let generation = self.ledger.generation + 1;
        let is_planned = self.plan.get(generation - 1).is_some_and(|(_, switched_at)| self.step >= *switched_at);
        // One switch must have its place in the order before the next is decided.
        if is_planned && self.members.iter().any(|member| member.switches() >= generation - 1) {
            self.say(&format!("the switch to generation {generation} is decided"));
            users::switch(&mut self.ledger, generation, &mut self.decided, &mut self.tally);
            self.switched_at = self.step;
        }
        let is_faulty = self.step < self.options.steps && self.ledger.generation > 0;
        if is_faulty && self.step < self.switched_at + 400 && self.random.random_range(0..80) == 0 {
            self.crash();
        }
        Ok(())
    }

    /// What users, faults and liars do besides; at most one thing a step.
    fn disturb(&mut self) -> Checked {
        match self.random.random_range(0..1_000) {
            0..15 => users::act(&mut self.ledger, self.plan.len(), &mut self.random, &mut self.tally),
            100..130 => self.send(),
            // Each costs a pairing at each member, and again at each restart.
            22 if self.random.random_range(0..2) == 0 => {
                let waiting: Vec<_> = self.members.iter().flat_map(Member::waiting).collect();
                let late: Vec<_> = self.members.iter().flat_map(Member::set_aside).collect();
                users::decide(&mut self.ledger, &waiting, &late, &mut self.decided, &mut self.random, &mut self.tally);
            }
            24..29 => self.crash(),
            32..57 => self.restart()?,
            72..76 => self.reorganise(),
            76..84 if !self.liars.is_empty() => self.lie()?,
            84..86 => self.wake(),
            _ => {}
        }
        Ok(())
    }

    /// A contract asks for a payout.
    fn send(&mut self) {
        let id = CHAINS[self.random.random_range(0..CHAINS.len())];
        if let Some(chain) = self.chains.get_mut(&id) {
            users::send(chain, &mut self.random, &mut self.tally);
        }
    }

    fn crash(&mut self) {
        let who = self.random.random_range(0..self.members.len());
        if self.members[who].alive.is_some() {
            self.members[who].crash();
            self.tally.count("crashes");
            self.say(&format!("member {} crashes", who + 1));
        }
    }

    fn restart(&mut self) -> Checked {
        let down: Vec<usize> = (0..self.members.len()).filter(|who| self.members[*who].is_down()).collect();
        if down.is_empty() {
            return Ok(());
        }
        let who = down[self.random.random_range(0..down.len())];
        self.members[who].start(&self.watch)?;
        self.say(&format!("member {} starts again", who + 1));
        Ok(())
    }

    fn restart_all(&mut self) -> Checked {
        for member in self.members.iter_mut().filter(|member| member.is_enrolled) {
            // A last crash for all of them at once: what they know is what they wrote.
            member.crash();
            member.start(&self.watch)?;
        }
        Ok(())
    }

    fn reorganise(&mut self) {
        let id = CHAINS[self.random.random_range(0..CHAINS.len())];
        if self.chains.get_mut(&id).is_some_and(Chain::reorganise) {
            self.tally.count("blocks taken back");
        }
    }

    fn lie(&mut self) -> Checked {
        let who = self.liars[self.random.random_range(0..self.liars.len())];
        let liars = self.liars.clone();
        let (member, mut out) = self.outside(usize::from(who - 1));
        if member.alive.is_none() {
            return Ok(());
        }
        liar::mischief(member, &liars, &mut out)
    }

    #[expect(clippy::print_stdout, reason = "a replayed seed tells what happens")]
    fn say(&self, what: &str) {
        if self.options.verbose {
            println!("{:>7}  {what}", self.step);
        }
    }

    /// What happened so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.set("steps", usize::try_from(self.step).unwrap_or(usize::MAX));
        tally.set("outputs listed", self.ledger.listed.len());
        if let Some(member) = self.members.iter().find(|member| !member.is_liar) {
            let disk = &member.disk;
            tally.set("outbounds parked", disk.parked.len());
            tally.set("messages", disk.messages.values().map(Vec::len).sum());
            for payout in disk.payouts.values().filter(|payout| payout.final_hash.is_some()) {
                tally.count(checks::kind(&payout.derived));
            }
            for class in disk.classes.values() {
                tally.count(match class {
                    lockstep_core::derive::Class::Internal => "class: internal",
                    lockstep_core::derive::Class::Bounce => "class: bounce",
                    lockstep_core::derive::Class::Return => "class: return",
                    lockstep_core::derive::Class::Decision => "class: decision",
                    lockstep_core::derive::Class::Unclaimed => "class: unclaimed",
                    lockstep_core::derive::Class::Refund => "class: refund",
                    lockstep_core::derive::Class::Register => "class: register",
                    lockstep_core::derive::Class::Call => "class: call",
                });
            }
        }
        tally
    }
}

/// When the members change: up to three times, far enough from each other and from the end of the faults.
fn plan(options: &Options, random: &mut StdRng) -> Vec<(u64, u64)> {
    let most = if options.members_change { GENERATIONS.len() } else { 1 };
    let changes = random.random_range(0..most) as u64;
    let part = options.steps * 4 / 5 / changes.max(1);
    let times = (0..changes).map(|change| {
        let mut at = || change * part + part / 4 + random.random_range(0..part / 2);
        let (first, second) = (at(), at());
        // Mostly the ceremony is over before anybody decides.
        if random.random_range(0..5) > 0 { (first.min(second), first.max(second)) } else { (first, second) }
    });
    times.collect()
}
