//! Items as they come in: each is judged and remembered; nothing is decided here but the ack of a dealing.

use alloy_primitives::B256;
use ed25519_dalek::VerifyingKey;

use super::super::adapter::check_dealing;
use super::super::item::{Body, Commitment, Item, ItemError};
use super::super::outcome::CheckedLog;
use super::super::report::{FaultKind, ITEM, Receivers};
use super::super::seal::{SEALED, open};
use super::{Ceremony, HeldDealing, HeldLog};
use crate::account::MEMBERS_MAX;
use crate::bls::SecretKey;

/// Different logs of one dealer, and different votes of one player, that are remembered: the second is the evidence.
const VERSIONS_MAX: usize = 2;
/// Digests that one member may be waiting for: a set with all its logs, for each set that a leader may sign.
const PENDING_MAX: usize = VERSIONS_MAX * (MEMBERS_MAX + 1);

impl Ceremony {
    /// Refuses what the author may not say, or not to this member.
    pub(super) fn check_author(&self, item: &Item) -> Result<(), ItemError> {
        let author = &item.author;
        let (dealer, player) = (self.terms.dealer_index(author), self.terms.player_index(author));
        let leads = self.terms.leader().is_some_and(|leader| leader.identity.as_bytes() == author);
        let may = match &item.body {
            Body::Join | Body::Want { .. } => dealer.or(player).is_some(),
            Body::Dealing { player, .. } => dealer.is_some() && Some(*player) == self.player,
            Body::Ack { dealer, .. } => player.is_some() && Some(*dealer) == self.dealer,
            Body::Log { .. } => dealer.is_some(),
            Body::Set { .. } => leads,
            Body::Vote { .. } | Body::Ready { .. } => player.is_some(),
        };
        if may { Ok(()) } else { Err(ItemError::Stranger { what: item.body.what(), author: *author }) }
    }

    /// Remembers an item whose author may say it.
    pub(super) fn handle(&mut self, item: &Item) {
        // Who says anything has approved.
        self.joined.insert(item.author);
        let author = &item.author;
        match (&item.body, self.terms.dealer_index(author), self.terms.player_index(author)) {
            (Body::Dealing { commitment, sealed, .. }, Some(dealer), _) => {
                self.handle_dealing(item, dealer, commitment, sealed);
            }
            (Body::Ack { commitment, .. }, _, Some(player)) if self.deals(commitment) => {
                self.acks.insert(player, item.signature);
            }
            (Body::Log { .. }, Some(dealer), _) => self.handle_log(item, dealer),
            (Body::Set { .. }, _, _) => self.handle_set(item),
            (Body::Vote { set }, _, Some(player)) => {
                let votes = self.votes.entry(player).or_default();
                if votes.len() < VERSIONS_MAX {
                    votes.insert(*set);
                }
                if votes.len() > 1 {
                    self.fault(author, FaultKind::TwoVotes);
                }
            }
            (Body::Ready { .. }, _, Some(player)) => {
                self.ready.entry(player).or_insert_with(|| item.clone());
            }
            (Body::Want { digests }, _, _) => self.handle_want(author, digests),
            _ => {}
        }
    }

    /// True if this is the commitment that this member deals under.
    fn deals(&self, commitment: &B256) -> bool {
        self.own.as_ref().is_some_and(|own| own.digest == *commitment)
    }

    /// Checks a share. The first dealing of a dealer counts, for ever: it is a record before the ack goes out.
    fn handle_dealing(&mut self, item: &Item, dealer: u8, commitment: &Commitment, sealed: &[u8; SEALED]) {
        if let Some(held) = self.dealings.get(&dealer) {
            if held.item != item.digest() {
                self.fault(&item.author, FaultKind::TwoDealings);
            }
            return;
        }
        // A ceremony that is over has forgotten its shares, and needs no more.
        if self.done {
            return;
        }
        let digest = commitment.digest(&self.terms.binding, &item.author);
        let share = match self.check_share(dealer, commitment, &digest, sealed) {
            Ok(share) => Some(share),
            Err(kind) => {
                self.fault(&item.author, kind);
                None
            }
        };
        let good = share.is_some();
        self.dealings.insert(dealer, HeldDealing { item: item.digest(), commitment: digest, share });
        if good {
            self.keep(ITEM, item.bytes());
            self.say(Body::Ack { dealer, commitment: digest }, Receivers::One(item.author));
        }
    }

    fn check_share(
        &self,
        dealer: u8,
        commitment: &Commitment,
        digest: &B256,
        sealed: &[u8; SEALED],
    ) -> Result<SecretKey, FaultKind> {
        let player = self.player.ok_or(FaultKind::Share)?;
        let opened = open(sealed, &self.identity, digest);
        let share = opened.and_then(|share| SecretKey::from_bytes(share.as_slice()).ok());
        // Without a share the commitment is judged all the same, so that the worse fault is named.
        let Some(share) = share else {
            self.terms.check_commitment(dealer, commitment)?;
            return Err(FaultKind::Share);
        };
        let threshold = self.terms.proposal.threshold();
        check_dealing(&commitment.points, threshold, self.terms.constant(dealer), player, &share)?;
        self.terms.check_possession(dealer, commitment)?;
        Ok(share)
    }

    fn handle_log(&mut self, item: &Item, dealer: u8) {
        let digest = item.digest();
        let known = self.logs.entry(dealer).or_default();
        if known.iter().any(|log| log.item.digest() == digest) {
            return;
        }
        if known.len() >= VERSIONS_MAX && !self.wanted.contains(&digest) {
            return;
        }
        let second = !known.is_empty();
        let checked = CheckedLog::new(&self.terms, dealer, item);
        let mut faults: Vec<_> = second.then_some(FaultKind::TwoLogs).into_iter().collect();
        match &checked {
            Err(kind) => faults.push(kind.clone()),
            Ok(log) => {
                let held = self.dealings.get(&dealer);
                if held.is_some_and(|held| held.commitment != log.commitment) {
                    faults.push(FaultKind::TwoDealings);
                }
            }
        }
        self.logs.entry(dealer).or_default().push(HeldLog { item: item.clone(), checked });
        for kind in faults {
            self.fault(&item.author, kind);
        }
    }

    fn handle_set(&mut self, item: &Item) {
        if self.sets.len() < VERSIONS_MAX || self.wanted.contains(&item.digest()) {
            self.sets.insert(item.digest(), item.clone());
        }
        if self.sets.len() > 1 {
            self.fault(&item.author, FaultKind::TwoSets);
        }
    }

    /// Remembers who asks for what, each thing once for each.
    fn handle_want(&mut self, author: &[u8; 32], digests: &[B256]) {
        if *author == self.me {
            return;
        }
        let wants = self.wants.entry(*author).or_default();
        for digest in digests {
            if wants.len() < PENDING_MAX {
                wants.entry(*digest).or_default();
            }
        }
    }

    /// The key that a player's share is sealed to.
    pub(super) fn receiver(&self, player: u8) -> Option<VerifyingKey> {
        self.terms.player(player).map(|member| member.identity)
    }
}
