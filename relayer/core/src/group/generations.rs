//! Which sharing of the group's key counts when: the rosters that a member knows, against the switches that it applied.
//!
//! Two counts run side by side. A *roster* has the generation that its ceremony gave it; the *ledger's* generation counts
//! the switches that acted ([`Addresses`]). They are the same number as long as each ceremony is followed by its switch, but
//! nothing relies on it: a roster belongs to the first switch to exactly its users and threshold that comes behind the one
//! of the roster before it. So a switch without a roster leaves the signing where it was, and a ceremony that was not
//! followed by a switch is passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use thiserror::Error;

use super::Addresses;
use super::roster::Roster;
use crate::Mix;
use crate::bls::PublicKey;

/// The rosters that a member knows, the group's opening included.
#[derive(Clone, Debug)]
pub struct Generations {
    genesis: Arc<Roster>,
    later: BTreeMap<u32, Arc<Roster>>,
}

impl Generations {
    /// Only the opening of the group.
    pub fn new(genesis: Roster) -> Self {
        Self { genesis: Arc::new(genesis), later: BTreeMap::new() }
    }

    /// Takes a certified roster in. False if it says nothing new: it is known, or a later round of its generation is.
    ///
    /// # Errors
    /// Refuses what is no outcome of this group's ceremonies.
    pub fn learn(&mut self, roster: Roster) -> Result<bool, LearnError> {
        let generation = roster.generation();
        if roster.group_id() != self.genesis.group_id() {
            return Err(LearnError::OtherGroup { generation, found: roster.group_id() });
        }
        if generation == 0 || roster.certificate().is_none() {
            return Err(LearnError::Uncertified { generation });
        }
        // The group signed under a key of before; whoever resharing follows has the same one.
        let signed = self.all().filter(|known| known.generation() < generation);
        let keys: Vec<_> = signed.map(|known| *known.key().key()).chain([*roster.key().key()]).collect();
        if !keys.iter().any(|key| roster.marks().verify(&roster.group_id(), key)) {
            return Err(LearnError::Marks { generation });
        }
        if self.later.get(&generation).is_some_and(|known| !roster.supersedes(known)) {
            return Ok(false);
        }
        self.later.insert(generation, Arc::new(roster));
        Ok(true)
    }

    /// The opening of the group.
    pub const fn genesis(&self) -> &Arc<Roster> {
        &self.genesis
    }

    /// The roster of the newest generation, whether it signs already or not.
    pub fn newest(&self) -> &Arc<Roster> {
        self.later.values().next_back().unwrap_or(&self.genesis)
    }

    /// All rosters, oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<Roster>> {
        std::iter::once(&self.genesis).chain(self.later.values())
    }

    /// The roster that signs checkpoints once the switches of `addresses` are applied.
    pub fn active(&self, addresses: &Addresses) -> &Arc<Roster> {
        self.walk(addresses).fold(&self.genesis, |active, (_, next)| next.unwrap_or(active))
    }

    /// The roster whose members sign with a group key, where somebody asks for that key: the one that signs now, if it is its
    /// key. Else the last one that signed with it, whose shares are kept while a contract or decisions ask for them. A
    /// fresh key may be asked for before its switch; then it is the first roster that has it. The shares of any other roster
    /// that was not switched to stay silent, so that parts of two sharings of one key never meet.
    pub fn signing(&self, addresses: &Addresses, key: &PublicKey) -> Option<&Arc<Roster>> {
        let holds = |roster: &&Arc<Roster>| roster.key().key() == key;
        let signed = self.walk(addresses).filter_map(|(_, roster)| roster).filter(holds).last();
        signed.or_else(|| self.all().find(holds))
    }

    /// The rosters whose members hold shares of a group key, the one whose turn it is ([`Self::signing`]) first, then those
    /// that signed with it before, newest first. Empty where no roster with that key is known.
    pub fn sharings(&self, addresses: &Addresses, key: &PublicKey) -> Vec<&Arc<Roster>> {
        let holds = |roster: &&Arc<Roster>| roster.key().key() == key;
        let mut signed: Vec<_> = self.walk(addresses).filter_map(|(_, roster)| roster).filter(holds).collect();
        signed.reverse();
        if signed.is_empty() { self.all().find(holds).into_iter().collect() } else { signed }
    }

    /// The roster that would sign after one more switch, to `group`, if that brings in another one.
    pub fn next(&self, addresses: &Addresses, group: &Mix) -> Option<&Arc<Roster>> {
        let next = self.active(&addresses.then(u64::MAX, group.clone()));
        (next.generation() > self.active(addresses).generation()).then_some(next)
    }

    /// The roster of those who can spend what came to the group's address of a ledger generation. `None` where this member
    /// knows of no such roster.
    pub fn spenders(&self, addresses: &Addresses, generation: u32) -> Option<&Arc<Roster>> {
        let own = self.walk(addresses).find(|(at, _)| *at == generation).and_then(|(_, roster)| roster);
        let group = addresses.group(generation)?;
        // The same people under another number can spend it as well.
        own.or_else(|| self.all().rev().find(|roster| roster.mix() == *group))
    }

    /// The ledger generation since which the key that signs now is the group's.
    pub fn key_since(&self, addresses: &Addresses) -> u32 {
        let (mut key, mut since) = (self.genesis.key().key(), 0);
        for (generation, roster) in self.walk(addresses) {
            if let Some(roster) = roster.filter(|roster| roster.key().key() != key) {
                (key, since) = (roster.key().key(), generation);
            }
        }
        since
    }

    /// Each ledger generation with the roster that its switch brought in.
    fn walk<'a, 'b>(
        &'a self,
        addresses: &'b Addresses,
    ) -> impl Iterator<Item = (u32, Option<&'a Arc<Roster>>)> + use<'a, 'b> {
        addresses.all().scan(None, |last: &mut Option<u32>, (generation, _, group)| {
            let fits =
                |roster: &&Arc<Roster>| last.is_none_or(|last| roster.generation() > last) && roster.mix() == *group;
            let found = match last {
                None => Some(&self.genesis),
                Some(_) => self.later.values().find(fits),
            };
            *last = found.map(|roster| roster.generation()).or(*last);
            Some((generation, found))
        })
    }
}

/// Why a roster is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LearnError {
    /// Of another group.
    #[error("the roster of generation {generation} belongs to group {found}")]
    OtherGroup {
        /// Its generation.
        generation: u32,
        /// Its group.
        found: B256,
    },
    /// Nobody vouches for it.
    #[error("the roster of generation {generation} has no certificate")]
    Uncertified {
        /// Its generation.
        generation: u32,
    },
    /// The checkpoint in it has no signature of the group.
    #[error("the roster of generation {generation} names a checkpoint that the group did not sign")]
    Marks {
        /// Its generation.
        generation: u32,
    },
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use uuid::Uuid;

    use super::*;
    use crate::bls::Dealing;
    use crate::dkg::{Binding, Body, Item};
    use crate::group::Member;
    use crate::group::roster::{Certificate, Mark, Marks};

    const GROUP: B256 = B256::repeat_byte(7);

    fn identity(user: u8) -> SigningKey {
        SigningKey::from_bytes(&[user; 32])
    }

    fn mix(users: [u8; 4]) -> Mix {
        Mix::of_users(users.map(|user| Uuid::from_u128(user.into())), 3)
    }

    /// The roster of `users` under key number `key`, certified by all of them in `round`.
    fn roster(generation: u32, round: u32, users: [u8; 4], key: u8, marks: Marks) -> Roster {
        let member = |(index, user): (u8, u8)| Member {
            index,
            name: format!("m{user}"),
            user: Uuid::from_u128(user.into()),
            identity: identity(user).verifying_key(),
            peer: format!("http://m{user}:7700"),
        };
        let dealing = Dealing::from_seed(&[key; 32], 3, 4).expect("a dealing");
        let members = (1..).zip(users).map(member).collect();
        let roster = Roster::uncertified(GROUP, generation, members, dealing.group);
        if generation == 0 {
            return roster;
        }
        let (proposal, set) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let binding = Binding { group_id: GROUP, round, generation, proposal };
        let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
        let sign = |user| Item::sign(&binding, ready.clone(), &identity(user)).signature;
        let ready = (1..).zip(users.map(sign)).collect();
        roster.certified(Certificate { round, proposal, set, marks, ready }).expect("all vouch")
    }

    fn plain(generation: u32, users: [u8; 4]) -> Roster {
        roster(generation, generation, users, 1, Marks::default())
    }

    const A: [u8; 4] = [1, 2, 3, 4];
    const B: [u8; 4] = [1, 2, 3, 5];
    const C: [u8; 4] = [2, 3, 5, 6];

    fn knowing(rosters: impl IntoIterator<Item = Roster>) -> Generations {
        let mut known = Generations::new(plain(0, A));
        rosters.into_iter().for_each(|roster| assert_eq!(known.learn(roster), Ok(true)));
        known
    }

    fn switched(groups: &[[u8; 4]]) -> Addresses {
        Addresses::from_parts(mix(A), (100..).step_by(100).zip(groups.iter().map(|users| mix(*users))).collect())
    }

    /// The generation that signs, and those that can spend at each address.
    fn found(known: &Generations, groups: &[[u8; 4]]) -> (u32, Vec<Option<u32>>) {
        let addresses = switched(groups);
        let spenders = |generation| known.spenders(&addresses, generation).map(|roster| roster.generation());
        (known.active(&addresses).generation(), (0..=addresses.newest()).map(spenders).collect())
    }

    #[test]
    fn what_is_no_outcome_of_the_groups_ceremonies_should_be_refused() {
        let mut known = knowing([]);
        assert_eq!(known.learn(plain(0, B)), Err(LearnError::Uncertified { generation: 0 }));
        let foreign = Generations::new(Roster::uncertified(
            B256::ZERO,
            0,
            plain(0, A).members().to_vec(),
            plain(0, A).key().clone(),
        ));
        let mut foreign = foreign;
        assert_eq!(foreign.learn(plain(1, B)), Err(LearnError::OtherGroup { generation: 1, found: GROUP }));
        let checkpoint = crate::checkpoint::Checkpoint { sequence: 9, history: B256::ZERO, root: B256::ZERO };
        let of_key = |key: u8| {
            let dealing = Dealing::from_seed(&[key; 32], 3, 4).expect("a dealing");
            let digest = checkpoint.digest(&GROUP);
            let parts: Vec<_> = dealing.shares[..3].iter().map(|share| share.sign_digest(&digest)).collect();
            let recovered = dealing.group.recover_digest(&digest, &parts, &Default::default()).expect("three");
            Marks {
                checkpoint: Some(Mark { checkpoint, signature: recovered.signature.compress() }),
                ..Marks::default()
            }
        };
        let forged = roster(1, 1, B, 1, of_key(2));
        assert_eq!(known.learn(forged), Err(LearnError::Marks { generation: 1 }));
        assert_eq!(known.learn(roster(1, 1, B, 1, of_key(1))), Ok(true));
        assert_eq!(known.learn(roster(2, 2, C, 3, of_key(1))), Ok(true), "a fresh key, and what the old one signed");
    }

    #[test]
    fn a_later_round_should_count_instead_of_an_earlier_one_and_never_the_other_way_round() {
        let round = |round| roster(1, round, B, 1, Marks::default());
        let mut known = knowing([round(4)]);
        assert_eq!([round(3), round(4)].map(|roster| known.learn(roster)), [Ok(false), Ok(false)]);
        assert_eq!(known.learn(round(5)), Ok(true));
        assert_eq!(known.active(&switched(&[B])).round(), 5);
    }

    #[test]
    fn a_generation_should_sign_from_its_switch_on() {
        let known = knowing([plain(1, B), plain(2, C)]);
        assert_eq!(found(&known, &[]), (0, vec![Some(0)]));
        assert_eq!(found(&known, &[B]), (1, vec![Some(0), Some(1)]));
        assert_eq!(found(&known, &[B, C]), (2, vec![Some(0), Some(1), Some(2)]));
    }

    #[test]
    fn a_switch_should_be_told_whether_it_brings_in_a_roster() {
        let known = knowing([plain(1, B), plain(2, C)]);
        let next = |switched_to: &[[u8; 4]], users| {
            known.next(&switched(switched_to), &mix(users)).map(|roster| roster.generation())
        };
        assert_eq!(next(&[], [5, 6, 7, 8]), None, "there was no ceremony");
        assert_eq!(next(&[], A), None, "they sign already");
        assert_eq!((next(&[], B), next(&[], C), next(&[B], C)), (Some(1), Some(2), Some(2)));
        assert_eq!(next(&[C], B), None, "from before");
        let other = Mix::of_users(B.map(|user| Uuid::from_u128(user.into())), 4);
        assert_eq!(known.next(&switched(&[]), &other), None, "another threshold is another address");
    }

    /// Nobody knows of a ceremony for that switch: whoever signed goes on signing, or nobody could decide anything any more.
    #[test]
    fn a_switch_without_a_roster_should_leave_the_signing_where_it_was() {
        assert_eq!(found(&knowing([]), &[B]), (0, vec![Some(0), None]));
        assert_eq!(found(&knowing([plain(2, C)]), &[B, C]), (2, vec![Some(0), None, Some(2)]));
        assert_eq!(
            found(&knowing([plain(1, C)]), &[B, C]),
            (1, vec![Some(0), None, Some(1)]),
            "it was passed over once"
        );
    }

    #[test]
    fn members_that_come_back_should_count_as_a_new_generation() {
        let known = knowing([plain(1, B), plain(2, A)]);
        assert_eq!(found(&known, &[B]).0, 1);
        assert_eq!(found(&known, &[B, A]), (2, vec![Some(0), Some(1), Some(2)]));
        let refreshed = knowing([plain(1, A)]);
        assert_eq!(found(&refreshed, &[]).0, 0, "shares made anew for the same people wait for their switch, too");
        assert_eq!(found(&refreshed, &[A]), (1, vec![Some(0), Some(1)]));
        assert_eq!(found(&knowing([]), &[B, A]), (0, vec![Some(0), None, Some(0)]), "the same people can spend");
    }

    #[test]
    fn a_key_should_be_signed_with_by_those_who_hold_it_now() {
        let known = knowing([
            plain(1, B),
            plain(2, C),
            roster(3, 3, C, 9, Marks::default()),
            roster(4, 4, A, 9, Marks::default()),
        ]);
        let keys = [1, 9, 5].map(|key| *Dealing::from_seed(&[key; 32], 3, 4).expect("a dealing").group.key());
        let signing = |groups: &[[u8; 4]]| {
            keys.map(|key| known.signing(&switched(groups), &key).map(|roster| roster.generation()))
        };
        assert_eq!(signing(&[]), [Some(0), Some(3), None], "new shares of the same key are silent, a fresh key is not");
        assert_eq!(signing(&[B]), [Some(1), Some(3), None]);
        assert_eq!(signing(&[C]), [Some(2), Some(3), None], "one was passed over");
        assert_eq!(signing(&[B, C, C]), [Some(2), Some(3), None], "the old key, for contracts that have it still");
        assert_eq!(signing(&[B, C, C, A]), [Some(2), Some(4), None]);
    }

    #[test]
    fn a_key_should_be_signed_with_by_its_newest_sharing() {
        let known = knowing([plain(1, B), roster(2, 2, C, 9, Marks::default()), roster(3, 3, A, 9, Marks::default())]);
        let [first, fresh] = [0, 2].map(|place| *known.all().nth(place).expect("a roster").key().key());
        let sharings = |groups: &[[u8; 4]], key| {
            let found = known.sharings(&switched(groups), key).into_iter().map(|roster| roster.generation());
            found.collect::<Vec<_>>()
        };
        assert_eq!([sharings(&[], &first), sharings(&[B], &first)], [vec![0], vec![1, 0]]);
        assert_eq!(sharings(&[B, C, A], &first), [1, 0], "though others sign now");
        assert_eq!(sharings(&[B], &fresh), [2], "before its switch");
        assert_eq!([sharings(&[B, C], &fresh), sharings(&[B, C, A], &fresh)], [vec![2], vec![3, 2]]);
        let passed_over = knowing([plain(2, C)]);
        let found = passed_over.sharings(&switched(&[B]), &first).into_iter().map(|roster| roster.generation());
        assert_eq!(found.collect::<Vec<_>>(), [0], "a switch without a roster leaves the shares where they were");
        assert_eq!(
            passed_over.sharings(&switched(&[B]), &fresh),
            Vec::<&Arc<Roster>>::new(),
            "nobody said whose it is"
        );
    }

    #[test]
    fn turnover_should_count_from_the_newest_key() {
        let known = knowing([plain(1, B), roster(2, 2, C, 9, Marks::default())]);
        let since = |groups: &[[u8; 4]]| known.key_since(&switched(groups));
        assert_eq!([since(&[]), since(&[B]), since(&[B, C])], [0, 0, 2]);
    }
}
