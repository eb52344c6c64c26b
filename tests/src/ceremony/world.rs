//! The network between members, and time: when nothing moves any more, the next deadline passes.

use std::collections::BTreeMap;

use lockstep_core::dkg::{Binding, Body, Item, Phase, Receipt, Receivers, observe};
use lockstep_core::group::roster::Roster;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::node::{Crash, Node};
use super::people::{Holder, copy, group_of};
use super::{Plan, number_of};

/// How a ceremony ended.
#[derive(Debug)]
pub enum Ending {
    /// All honest members have the same roster.
    Key(BTreeMap<u8, Holder>),
    /// No honest member has one.
    Retry,
}

/// One ceremony.
#[derive(Debug)]
pub struct World {
    pub(super) nodes: BTreeMap<u8, Node>,
    /// Items of earlier rounds.
    stale: Vec<Vec<u8>>,
    /// Everything that was ever shown, with who was meant.
    heard: Vec<Vec<u8>>,
    pub(super) previous: Option<Roster>,
    /// From whom to whom nothing comes yet.
    cuts: BTreeMap<(u8, u8), Phase>,
}

impl World {
    pub(super) fn new(plan: &Plan<'_>, random: &mut StdRng, stale: &[Vec<u8>]) -> Self {
        let previous = (!plan.holders.is_empty()).then(|| group_of(plan.holders).clone());
        let mut numbers = number_of(&plan.proposal, plan.people);
        if plan.proposal.kind() == lockstep_core::dkg::Kind::Reshare {
            numbers.extend(plan.holders.keys());
        }
        let mut nodes = BTreeMap::new();
        for number in numbers {
            let person = plan.people[usize::from(number) - 1].clone();
            let share = plan.holders.get(&number).map(|holder| &holder.share);
            let mut node = Node::new(person, &plan.proposal, previous.as_ref(), share, random.random());
            node.bad = plan.bad.get(&number).cloned();
            if node.bad.is_none() && random.random_bool(0.4) {
                node.crash = Some(Crash { at: random.random_range(1..24), after: random.random_bool(0.5) });
            }
            nodes.insert(number, node);
        }
        Self { nodes, stale: stale.to_vec(), heard: Vec::new(), previous, cuts: plan.cuts.clone() }
    }

    /// Runs to the end.
    pub(super) fn run(&mut self, random: &mut StdRng) -> Result<Ending, String> {
        self.restart()?;
        self.replay()?;
        self.settle(random)?;
        loop {
            while let Some((number, phase)) = self.next_deadline(random) {
                if let Some(node) = self.nodes.get_mut(&number) {
                    node.deadline(phase);
                }
                // Whoever has come back counts its time anew, and hears something before it is over.
                let fell = self.restart()?;
                // Deadlines of one phase pass at about the same time, so not everything is heard between two of them.
                let level = self.nodes.values().all(|node| node.next_deadline().is_none_or(|next| next > phase));
                if level || fell || random.random_bool(0.3) {
                    self.settle(random)?;
                }
            }
            // In the end everything comes through.
            self.cuts.clear();
            self.settle(random)?;
            if self.next_deadline(random).is_none() {
                break;
            }
        }
        self.replay()?;
        self.ending()
    }

    /// Whose deadline passes next: the earliest phase first.
    fn next_deadline(&self, random: &mut StdRng) -> Option<(u8, Phase)> {
        let next = |number: &u8| Some((*number, self.nodes.get(number)?.next_deadline()?));
        self.order(random).iter().filter_map(next).min_by_key(|(_, phase)| *phase)
    }

    /// Whoever crashed comes back, and the others read it from the beginning. True if somebody did.
    fn restart(&mut self) -> Result<bool, String> {
        let fallen: Vec<_> = self.nodes.iter().filter(|(_, node)| node.ceremony.is_none()).map(|it| *it.0).collect();
        let fell = !fallen.is_empty();
        for number in fallen {
            // It may fall again while it starts.
            while let Some(node) = self.nodes.get_mut(&number).filter(|node| node.ceremony.is_none()) {
                node.start()?;
            }
            for node in self.nodes.values_mut() {
                node.read.remove(&number);
            }
        }
        Ok(fell)
    }

    fn order(&self, random: &mut StdRng) -> Vec<u8> {
        let mut numbers: Vec<_> = self.nodes.keys().copied().collect();
        for place in (1..numbers.len()).rev() {
            numbers.swap(place, random.random_range(0..=place));
        }
        numbers
    }

    /// Members pull from one another, in any order, until nobody has anything new.
    fn settle(&mut self, random: &mut StdRng) -> Result<(), String> {
        loop {
            let mut moved = false;
            for to in self.order(random) {
                for from in self.order(random) {
                    if to != from {
                        moved |= self.pull(to, from, random)?;
                        self.restart()?;
                    }
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// One pull of one item, sometimes of an old one as well. True if it was new.
    fn pull(&mut self, to: u8, from: u8, random: &mut StdRng) -> Result<bool, String> {
        let (Some(reader), Some(shower)) = (self.nodes.get(&to), self.nodes.get(&from)) else { return Ok(false) };
        let is_cut = self.cuts.get(&(from, to)).is_some_and(|until| reader.passed.last() < Some(until));
        let (visible, read) = (shower.visible(), reader.read.get(&from).copied().unwrap_or_default());
        if is_cut || read >= visible {
            return Ok(false);
        }
        let me = reader.person.public();
        let meant = |(receivers, _): &&(Receivers, Vec<u8>)| {
            matches!(receivers, Receivers::All) || *receivers == Receivers::One(me)
        };
        // Sometimes a later item overtakes, and then comes twice.
        let place = if random.random_bool(0.1) { random.random_range(0..visible) } else { read };
        let item = shower.shown.get(place).filter(meant).map(|(_, item)| item.clone());
        let honest = shower.bad.is_none();
        let Some(reader) = self.nodes.get_mut(&to) else { return Ok(false) };
        if place == read {
            reader.read.insert(from, read + 1);
        }
        if let Some(item) = item {
            let heard = reader.receive(&item);
            self.heard.push(item);
            if let (true, Err(error)) = (honest, heard) {
                return Err(format!("m{to} refuses an item of m{from}: {error}"));
            }
        }
        Ok(true)
    }

    /// What was said in earlier rounds is refused and changes nothing.
    fn replay(&mut self) -> Result<(), String> {
        for node in self.nodes.values_mut() {
            let before = node.ceremony.as_ref().map(lockstep_core::dkg::Ceremony::progress);
            for item in &self.stale {
                if node.receive(item).is_ok() {
                    return Err(format!("{:?} takes an item of an earlier round", node.person));
                }
            }
            if before != node.ceremony.as_ref().map(lockstep_core::dkg::Ceremony::progress) {
                return Err(format!("{:?} is moved by items of an earlier round", node.person));
            }
        }
        Ok(())
    }

    /// Everything that anybody said.
    pub(super) fn said(&self) -> Vec<Vec<u8>> {
        // A sample is enough: every kind of item is among them.
        self.heard.iter().step_by(5).take(60).cloned().collect()
    }

    fn ending(&self) -> Result<Ending, String> {
        let honest = || self.nodes.values().filter(|node| node.bad.is_none());
        let done: Vec<_> = honest().filter_map(|node| node.done.as_ref().map(|done| (node, done))).collect();
        if done.is_empty() {
            return Ok(Ending::Retry);
        }
        if let Some(node) = honest().find(|node| node.done.is_none()) {
            let progress = node.ceremony.as_ref().map(lockstep_core::dkg::Ceremony::progress);
            return Err(format!("{:?} has no roster, others have: {progress:?}", node.person));
        }
        let mut holders = BTreeMap::new();
        for (node, (roster, share)) in done {
            if let Some(share) = share {
                holders.insert(node.person.number, Holder { roster: roster.clone(), share: copy(share) });
            }
        }
        // The others' shares are there, too; misbehaving members hold good ones unless they wanted none.
        for node in self.nodes.values().filter(|node| node.bad.is_some()) {
            if let Some((roster, Some(share))) = &node.done {
                holders.insert(node.person.number, Holder { roster: roster.clone(), share: copy(share) });
            }
        }
        Ok(Ending::Key(holders))
    }

    /// The outcome as anybody computes it who holds the logs that the certificate stands for.
    pub(super) fn observed(&self, plan: &Plan<'_>, roster: &Roster) -> Result<(), String> {
        let certificate = roster.certificate().ok_or("a roster without certificate")?;
        let proposal = &plan.proposal;
        let binding = Binding {
            group_id: proposal.group_id(),
            round: proposal.round(),
            generation: proposal.generation(),
            proposal: proposal.digest(),
        };
        let items: BTreeMap<_, _> = (self.heard.iter())
            .filter_map(|bytes| Item::decode(bytes, &binding).ok())
            .map(|item| (item.digest(), item))
            .collect();
        let set = items.get(&certificate.set).ok_or("nobody showed the set")?;
        let Body::Set { logs } = &set.body else { return Err("the set is no set".into()) };
        let logs: Vec<_> = logs.iter().filter_map(|(_, digest)| items.get(digest)).collect();
        stays_secret(plan, &logs)?;
        let logs: Vec<_> = logs.into_iter().map(Item::bytes).collect();
        let (seen, marks) = observe(proposal.clone(), self.previous.clone(), &logs).map_err(|it| it.to_string())?;
        if seen.digest() != roster.digest() || marks != certificate.marks {
            return Err("an observer computes another outcome from the logs".into());
        }
        Ok(())
    }
}

/// No honest player's share can be added up from what bad dealers dealt and what the others published.
fn stays_secret(plan: &Plan<'_>, logs: &[&Item]) -> Result<(), String> {
    let is_bad =
        |identity: &[u8; 32]| plan.bad.keys().any(|bad| plan.people[usize::from(*bad) - 1].public() == *identity);
    let honest = plan.proposal.members().iter().filter(|member| !is_bad(member.identity.as_bytes()));
    for player in honest {
        let known = |log: &&&Item| {
            let Body::Log { receipts, .. } = &log.body else { return true };
            let receipt = receipts.get(usize::from(player.index) - 1);
            is_bad(&log.author) || matches!(receipt, Some(Receipt::Reveal(_)) | None)
        };
        if logs.iter().filter(known).count() == logs.len() {
            return Err(format!("everybody knows the share of {}", player.name));
        }
    }
    Ok(())
}
