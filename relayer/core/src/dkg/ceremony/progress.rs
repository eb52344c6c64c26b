//! Where the ceremony stands, for people.

use std::collections::BTreeSet;

use super::super::item::Body;
use super::super::report::{FaultKind, MemberProgress, Phase, Progress, Step};
use super::Ceremony;
use crate::group::Member;

impl Ceremony {
    /// Where this member stands, how far everybody has come, and who is missing.
    pub fn progress(&self) -> Progress {
        let member = |member: &Member| {
            let identity = *member.identity.as_bytes();
            MemberProgress {
                name: member.name.clone(),
                identity,
                dealer: self.terms.dealer_index(&identity),
                player: self.terms.player_index(&identity),
                step: self.step(&identity),
            }
        };
        let missing = self.missing().into_iter().map(|(identity, kind)| self.terms.fault(&identity, kind).name);
        Progress {
            phase: self.phase(),
            members: self.terms.everybody().map(member).collect(),
            missing: missing.collect::<BTreeSet<_>>().into_iter().collect(),
            faults: self.faults.iter().cloned().collect(),
        }
    }

    /// Where this member stands. Deadlines have no part in it.
    pub fn phase(&self) -> Phase {
        if self.roster.is_some() {
            Phase::Done
        } else if self.outcome.is_some() {
            Phase::Finish
        } else if !self.sets.is_empty() || self.agreed.is_some() {
            Phase::Agree
        } else if !self.begun {
            Phase::Join
        } else if self.own.as_ref().is_some_and(|own| !own.logged) {
            Phase::Deal
        } else {
            Phase::Log
        }
    }

    fn step(&self, identity: &[u8; 32]) -> Step {
        let (dealer, player) = (self.terms.dealer_index(identity), self.terms.player_index(identity));
        let does = |is: bool, step: Step| is.then_some(step);
        let steps = [
            does(player.is_some_and(|player| self.ready.contains_key(&player)), Step::Ready),
            does(player.is_some_and(|player| self.votes.contains_key(&player)), Step::Voted),
            does(dealer.is_some_and(|dealer| self.logs.contains_key(&dealer)), Step::Logged),
            does(player.is_some_and(|player| self.acks.contains_key(&player)), Step::Acknowledged),
            does(dealer.is_some_and(|dealer| self.dealings.contains_key(&dealer)), Step::Dealt),
            does(self.joined.contains(identity), Step::Joined),
        ];
        steps.into_iter().flatten().next().unwrap_or(Step::Silent)
    }

    /// Whom this phase waits for, and for what.
    pub(super) fn missing(&self) -> Vec<([u8; 32], FaultKind)> {
        let identity = |member: &Member| *member.identity.as_bytes();
        let players = |there: &dyn Fn(u8) -> bool, kind: FaultKind| -> Vec<_> {
            let missing = self.terms.players().iter().filter(|member| !there(member.index));
            missing.map(|member| (identity(member), kind.clone())).collect()
        };
        match self.phase() {
            Phase::Join => {
                let silent = self.terms.everybody().filter(|member| !self.joined.contains(member.identity.as_bytes()));
                silent.map(|member| (identity(member), FaultKind::NotJoined)).collect()
            }
            Phase::Deal => players(&|index| self.acks.contains_key(&index), FaultKind::NoAck),
            Phase::Log => {
                let good =
                    |dealer| self.logs.get(&dealer).is_some_and(|logs| logs.iter().any(|log| log.checked.is_ok()));
                let silent = self.terms.dealers.iter().filter(|member| !good(member.index));
                let missing: Vec<_> = silent.map(|member| (identity(member), FaultKind::NoLog)).collect();
                let leader = self.terms.leader().filter(|leader| identity(leader) != self.me);
                let enough = self.terms.dealers.len().saturating_sub(missing.len()) >= self.terms.logs_needed;
                let leader = leader.filter(|_| enough).map(|leader| (identity(leader), FaultKind::NoSet));
                missing.into_iter().chain(leader).collect()
            }
            Phase::Agree => {
                let mut missing = players(&|index| self.votes.contains_key(&index), FaultKind::NoVote);
                missing.extend(self.unseen_logs());
                missing
            }
            Phase::Finish => players(&|index| self.ready.contains_key(&index), FaultKind::NotReady),
            Phase::Done => Vec::new(),
        }
    }

    /// Logs that the leader's set names, but which nobody has shown to this member. The leader must have had them.
    fn unseen_logs(&self) -> Vec<([u8; 32], FaultKind)> {
        let mut unseen = Vec::new();
        for set in self.sets.values() {
            let Body::Set { logs } = &set.body else { continue };
            for (dealer, digest) in logs {
                let held = self.logs.get(dealer).into_iter().flatten().any(|log| log.item.digest() == *digest);
                if !held {
                    unseen.push((set.author, FaultKind::UnseenLog { dealer: *dealer }));
                }
            }
        }
        unseen
    }
}
