//! What a member does next, from all that it knows. Each step is done once, whenever its conditions are there.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;

use super::super::adapter::{interpolate, sum};
use super::super::item::{Body, Item, Receipt, WANTS_MAX};
use super::super::outcome::{CheckedLog, public};
use super::super::proposal::Kind;
use super::super::report::{Effect, Failure, Fault, FaultKind, ITEM, OUTCOME, Phase, ROSTER, Receivers, VOTE};
use super::super::seal::seal;
use super::{Ceremony, HeldLog, Outcome};
use crate::bls::{SecretKey, SecretShare};
use crate::group::Member;
use crate::group::roster::Certificate;

/// Why a set of logs gives no outcome, as far as this member can tell.
enum Objection {
    /// Some of it is not here yet.
    Missing(Vec<B256>),
    /// No honest leader proposes it.
    Bad,
    /// Its outcome is refused by everybody.
    Refused(BTreeSet<Fault>),
    /// A dealing that this member acknowledged is gone, so it has no share of this outcome.
    Lost,
}

impl Ceremony {
    /// Does all that can be done now.
    pub(super) fn advance(&mut self) {
        self.begin();
        self.deal();
        self.log();
        self.propose();
        self.compare();
        self.vote();
        self.agree();
        self.finish();
        self.serve();
    }

    /// Everybody has joined, or the time to do so is over and those are there without whom nothing works.
    fn begin(&mut self) {
        if self.begun {
            return;
        }
        let all = self.terms.everybody().all(|member| self.joined.contains(member.identity.as_bytes()));
        let late = self.passed >= Some(Phase::Join);
        if !(all || (late && self.enough_joined())) {
            return;
        }
        self.begun = true;
        self.effects.push(Effect::Begun);
    }

    /// A player that is not there would have its share revealed, so all players must be.
    fn enough_joined(&self) -> bool {
        let there = |identity: &[u8; 32]| self.joined.contains(identity);
        let dealers = self.terms.dealers.iter().filter(|member| there(member.identity.as_bytes())).count();
        dealers >= self.terms.logs_needed && self.terms.players().iter().all(|member| there(member.identity.as_bytes()))
    }

    /// Sends every player its share.
    fn deal(&mut self) {
        let Some(own) = self.own.as_mut().filter(|own| self.begun && !own.dealt) else { return };
        own.dealt = true;
        let (commitment, digest) = (own.commitment.clone(), own.digest);
        for player in self.terms.players().iter().map(|member| member.index).collect::<Vec<_>>() {
            let share = self.own.as_ref().and_then(|own| own.polynomial.at(player).ok());
            let Some((share, receiver)) = share.zip(self.receiver(player)) else { continue };
            let sealed = seal(&share.to_bytes(), &receiver, &digest, &self.seed);
            let body = Body::Dealing { player, commitment: commitment.clone(), sealed };
            self.say(body, Receivers::One(receiver.to_bytes()));
        }
    }

    /// Publishes the own log: when all players have acknowledged, or when the time for that is over. With more shares to
    /// reveal than there can be bad players it publishes none.
    fn log(&mut self) {
        let Some((own, dealer)) = self.own.as_ref().zip(self.dealer) else { return };
        let written = self.logs.get(&dealer).is_some_and(|logs| logs.iter().any(|log| log.item.author == self.me));
        let all = self.acks.len() == self.terms.players().len();
        if own.logged || !own.dealt || !(all || written || self.passed >= Some(Phase::Deal)) {
            return;
        }
        let commitment = own.commitment.clone();
        let receipts: Option<Vec<_>> = self.terms.players().iter().map(|member| self.receipt(member.index)).collect();
        if let Some(own) = self.own.as_mut() {
            own.logged = true;
        }
        let Some(receipts) = receipts.filter(|_| !written) else { return };
        let silent = self.terms.players().iter().filter(|member| !self.acks.contains_key(&member.index));
        let silent: Vec<_> = silent.map(|member| *member.identity.as_bytes()).collect();
        for identity in &silent {
            self.fault(identity, FaultKind::NoAck);
        }
        if silent.len() > self.terms.bad_players {
            return;
        }
        let body = Body::Log { commitment, receipts, marks: self.marks.clone() };
        let item = Item::sign(&self.terms.binding, body, &self.identity);
        self.keep(ITEM, item.bytes());
        self.publish(&item, Receivers::All);
        self.handle(&item);
    }

    fn receipt(&self, player: u8) -> Option<Receipt> {
        if let Some(signature) = self.acks.get(&player) {
            return Some(Receipt::Ack(*signature));
        }
        self.own.as_ref()?.polynomial.at(player).ok().map(|share| Receipt::Reveal(share.to_bytes()))
    }

    /// The leader proposes the logs: when all dealers' are there and good, or when the time for that is over. It prefers
    /// all, because a dealer without a log is blamed.
    fn propose(&mut self) {
        let leads = self.terms.leader().is_some_and(|leader| *leader.identity.as_bytes() == self.me);
        if !leads || !self.sets.is_empty() || !self.begun || self.abandoned {
            return;
        }
        let good = |(dealer, logs): (&u8, &Vec<HeldLog>)| {
            let log = logs.iter().find(|log| log.checked.is_ok())?;
            Some((*dealer, log.item.digest()))
        };
        let logs: Vec<_> = self.logs.iter().filter_map(good).collect();
        let all = logs.len() == self.terms.dealers.len();
        let enough = self.passed >= Some(Phase::Log) && logs.len() >= self.terms.logs_needed;
        if !(all || enough) {
            return;
        }
        let item = Item::sign(&self.terms.binding, Body::Set { logs }, &self.identity);
        self.keep_set(&item);
        self.publish(&item, Receivers::All);
        self.handle(&item);
    }

    /// Asks for sets that others voted for: a leader that shows its set to some only is helped out, one that shows two is
    /// found out.
    fn compare(&mut self) {
        let unseen = self.votes.values().flatten().filter(|set| !self.sets.contains_key(*set)).copied();
        self.want(unseen.collect());
    }

    /// Votes for the leader's set, for one only.
    fn vote(&mut self) {
        if self.player.is_none() || self.voted.is_some() || self.abandoned || self.agreed.is_some() {
            return;
        }
        for set in self.sets.values().cloned().collect::<Vec<_>>() {
            match self.judge_set(&set) {
                Ok(outcome) => {
                    self.candidate = Some(outcome);
                    self.keep_set(&set);
                    self.keep(VOTE, set.digest().as_slice());
                    self.voted = Some(set.digest());
                    self.say(Body::Vote { set: set.digest() }, Receivers::All);
                    return;
                }
                Err(objection) => self.object(&set, objection),
            }
        }
    }

    /// What a set that is not good, or not yet, leads to.
    fn object(&mut self, set: &Item, objection: Objection) {
        match objection {
            Objection::Missing(digests) => self.want(digests),
            Objection::Bad => self.fault(&set.author, FaultKind::Set),
            Objection::Lost => self.fail(BTreeSet::from([self.terms.fault(&self.me, FaultKind::Lost)])),
            Objection::Refused(faults) => self.fail(faults),
        }
    }

    /// Follows a set that a quorum voted for, also when it did not vote itself, and says so when it holds its share.
    fn agree(&mut self) {
        if self.outcome.is_some() || self.done {
            return;
        }
        self.agreed = self.agreed.or_else(|| self.elected());
        let Some(digest) = self.agreed else { return };
        let Some(set) = self.sets.get(&digest).cloned() else {
            self.want(vec![digest]);
            return;
        };
        let candidate = self.candidate.take().filter(|outcome| outcome.set == digest);
        match candidate.map_or_else(|| self.judge_set(&set), Ok) {
            Ok(outcome) => {
                self.keep_set(&set);
                self.keep(OUTCOME, digest.as_slice());
                let ready = outcome.ready.clone();
                self.outcome = Some(outcome);
                if self.player.is_some() {
                    self.say(ready, Receivers::All);
                }
            }
            Err(objection) => self.object(&set, objection),
        }
    }

    /// The set that a quorum voted for. Of two quorums one honest member would have voted twice, so there is one.
    fn elected(&self) -> Option<B256> {
        let votes = |set: &B256| self.votes.values().filter(|votes| votes.contains(set)).count();
        let sets: BTreeSet<_> = self.votes.values().flatten().copied().collect();
        sets.into_iter().find(|set| votes(set) >= self.terms.quorum())
    }

    /// A quorum holds its shares: the roster is certified.
    fn finish(&mut self) {
        let Some(outcome) = self.outcome.as_ref().filter(|_| !self.done) else { return };
        let (same, other): (Vec<_>, Vec<_>) = self.ready.iter().partition(|(_, item)| item.body == outcome.ready);
        let others: Vec<_> = other.into_iter().map(|(_, item)| item.author).collect();
        // All signatures are verified at once, and not before they can be enough.
        let enough = same.len() >= outcome.roster.quorum();
        let ready = same.into_iter().map(|(index, item)| (*index, item.signature)).collect();
        let certificate = Certificate {
            round: self.terms.binding.round,
            proposal: self.terms.binding.proposal,
            set: outcome.set,
            marks: outcome.marks.clone(),
            ready,
        };
        let roster = match &self.roster {
            Some(roster) => Some(roster.clone()),
            None if !enough => None,
            None => outcome.roster.clone().certified(certificate).ok(),
        };
        for author in others {
            self.fault(&author, FaultKind::OtherOutcome);
        }
        let Some(roster) = roster else { return };
        self.keep(ROSTER, &roster.encode().unwrap_or_default());
        self.roster = Some(roster.clone());
        let share = self.outcome.as_mut().and_then(|outcome| outcome.share.take());
        let share = share.zip(self.player).and_then(|(share, index)| SecretShare::new(index, share).ok());
        self.done = true;
        self.forget();
        self.effects.push(Effect::Done { roster: Box::new(roster), share });
    }

    /// Wipes what nobody needs after the end.
    fn forget(&mut self) {
        (self.own, self.share) = (None, None);
        self.seed.fill(0);
        for held in self.dealings.values_mut() {
            held.share = None;
        }
    }

    /// Judges a set, and computes its outcome if it is good.
    fn judge_set(&self, set: &Item) -> Result<Outcome, Objection> {
        let Body::Set { logs: named } = &set.body else { return Err(Objection::Bad) };
        if named.len() < self.terms.logs_needed {
            return Err(Objection::Bad);
        }
        let (mut logs, mut missing) = (BTreeMap::new(), Vec::new());
        for (dealer, digest) in named {
            if self.terms.dealer(*dealer).is_none() {
                return Err(Objection::Bad);
            }
            let held = self.logs.get(dealer).into_iter().flatten().find(|log| log.item.digest() == *digest);
            match held.map(|log| &log.checked) {
                Some(Ok(log)) => {
                    logs.insert(*dealer, log);
                }
                Some(Err(_)) => return Err(Objection::Bad),
                None => missing.push(*digest),
            }
        }
        if !missing.is_empty() {
            return Err(Objection::Missing(missing));
        }
        let (roster, marks) = public(&self.terms, &logs).map_err(Objection::Refused)?;
        let mut share = None;
        if let Some(player) = self.player {
            let own = self.own_share(player, &logs);
            // Shares come from another implementation than public shares, so this checks both.
            let fits = own.as_ref().map(SecretKey::public_key) == roster.key().share(player).copied();
            if own.is_none() || !fits {
                return Err(Objection::Lost);
            }
            share = own;
        }
        let ready = Body::Ready { set: set.digest(), roster: roster.digest(), marks: marks.digest() };
        Ok(Outcome { set: set.digest(), roster, marks, share, ready })
    }

    /// This member's new share: from the dealings that it acknowledged, and from what was revealed.
    fn own_share(&self, player: u8, logs: &BTreeMap<u8, &CheckedLog>) -> Option<SecretKey> {
        let mut parts = Vec::with_capacity(logs.len());
        for (dealer, log) in logs {
            let held = self.dealings.get(dealer).filter(|held| held.commitment == log.commitment);
            let held = held.and_then(|held| held.share.as_ref());
            let part = match held {
                Some(share) => SecretKey::from_bytes(share.to_bytes().as_slice()).ok(),
                None => log.revealed(player),
            };
            parts.push((*dealer, part?));
        }
        if self.terms.proposal.kind() == Kind::Reshare { interpolate(&parts) } else { sum(&parts) }
    }

    /// Keeps a set with its logs, so that the outcome can be computed after a restart.
    fn keep_set(&mut self, set: &Item) {
        let Body::Set { logs } = &set.body else { return };
        let named: BTreeSet<_> = logs.iter().map(|(_, digest)| *digest).collect();
        let held = self.logs.values().flatten().filter(|log| named.contains(&log.item.digest()));
        let bytes: Vec<_> = held.map(|log| log.item.bytes().to_vec()).collect();
        for bytes in bytes {
            self.keep(ITEM, &bytes);
        }
        self.keep(ITEM, set.bytes());
    }

    /// Shows logs and sets to who asked for them.
    fn serve(&mut self) {
        let held: Vec<_> = self.logs.values().flatten().map(|log| &log.item).chain(self.sets.values()).collect();
        let mut found = Vec::new();
        for (author, digests) in &mut self.wants {
            for item in &held {
                if let Some(served) = digests.get_mut(&item.digest()).filter(|served| !**served) {
                    *served = true;
                    found.push((*author, (*item).clone()));
                }
            }
        }
        for (author, item) in found {
            self.publish(&item, Receivers::One(author));
        }
    }

    /// Asks for what is missing, for each thing once.
    fn want(&mut self, digests: Vec<B256>) {
        let new: Vec<_> = digests.into_iter().filter(|digest| self.wanted.insert(*digest)).collect();
        for digests in new.chunks(WANTS_MAX) {
            self.say(Body::Want { digests: digests.to_vec() }, Receivers::All);
        }
    }

    /// The outcome is refused: no vote, and nobody can have one.
    fn fail(&mut self, faults: BTreeSet<Fault>) {
        if self.abandoned {
            return;
        }
        self.abandoned = true;
        self.faults.extend(faults);
        self.report();
    }

    /// A deadline has passed, and this was due: whoever is late is named, whether the others can do without or not.
    pub(super) fn note_absent(&mut self, passed: Phase) {
        let is_absent = |member: &&Member| {
            let identity = member.identity.as_bytes();
            let spoke = match passed {
                Phase::Join => self.joined.contains(identity),
                Phase::Log => self.terms.dealer_index(identity).is_none_or(|dealer| self.logs.contains_key(&dealer)),
                Phase::Deal | Phase::Agree | Phase::Finish | Phase::Done => true,
            };
            *identity != self.me && !spoke
        };
        let absent = self.terms.everybody().filter(is_absent);
        let absent: Vec<_> = absent.map(|member| *member.identity.as_bytes()).collect();
        let kind = if passed == Phase::Join { FaultKind::NotJoined } else { FaultKind::NoLog };
        for identity in absent {
            self.fault(&identity, kind.clone());
        }
    }

    /// A deadline has passed: fails if the phase is not over.
    pub(super) fn judge(&mut self, passed: Phase) {
        let over = match passed {
            Phase::Join => self.begun,
            // Only the leader can tell.
            Phase::Deal | Phase::Log => true,
            Phase::Agree => self.outcome.is_some(),
            Phase::Finish | Phase::Done => self.roster.is_some(),
        };
        let leads = self.terms.leader().is_some_and(|leader| *leader.identity.as_bytes() == self.me);
        let stuck = passed == Phase::Log && leads && self.sets.is_empty();
        if self.abandoned || self.roster.is_some() || (over && !stuck) {
            return;
        }
        for (identity, kind) in self.missing() {
            self.fault(&identity, kind);
        }
        // Who comes late may still complete a ceremony that has not begun.
        self.abandoned = passed > Phase::Join;
        self.report();
    }

    fn report(&mut self) {
        let failure = Failure { phase: self.phase(), faults: self.faults.clone() };
        self.effects.push(Effect::Failed(failure));
    }
}
