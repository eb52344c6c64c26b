//! Who may talk to whom: identities, by what names and addresses they go, and which seats they hold.
//!
//! A peer is an identity key. Members of any generation of the group's key have a *seat* there (generation and index);
//! somebody who takes part in a ceremony and holds no seat yet is a *guest* of that ceremony. Both may talk; only seats are
//! asked by index, and only who holds one is told what members tell each other.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ed25519_dalek::VerifyingKey;
use lockstep_core::B256;
use lockstep_core::group::{Group, Member};

/// An ed25519 public key, as a map key.
pub type IdentityKey = [u8; 32];

/// One identity, as this member knows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// For people.
    pub name: String,
    /// Verifies what it says.
    pub identity: VerifyingKey,
    /// Where it listens for peers, without a path.
    pub url: String,
    /// Its index in each generation that it is a member of.
    pub seats: BTreeMap<u32, u8>,
}

impl Peer {
    /// The identity key as bytes.
    pub fn key(&self) -> &IdentityKey {
        self.identity.as_bytes()
    }

    /// Whether it is, or was, a member.
    pub fn is_member(&self) -> bool {
        !self.seats.is_empty()
    }
}

/// An entry to be: who it is and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// For people.
    pub name: String,
    /// Verifies what it says.
    pub identity: VerifyingKey,
    /// Where it listens for peers, without a path.
    pub url: String,
}

impl From<&Member> for Listing {
    fn from(member: &Member) -> Self {
        Self { name: member.name.clone(), identity: member.identity, url: member.peer.clone() }
    }
}

/// All identities that this member talks to. Cheap to clone; clones see each other's changes.
#[derive(Clone, Debug)]
pub struct Directory {
    group_id: B256,
    book: Arc<RwLock<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    current: u32,
    /// The newest listing of each identity, by key.
    listings: BTreeMap<IdentityKey, Listing>,
    /// Identities by generation and index.
    seats: BTreeMap<(u32, u8), IdentityKey>,
    /// Identities by ceremony.
    guests: BTreeMap<B256, Vec<IdentityKey>>,
}

impl Directory {
    /// Nobody yet.
    pub fn new(group_id: B256) -> Self {
        Self { group_id, book: Arc::default() }
    }

    /// The members of the group file, in their generation, which is the current one.
    pub fn of_group(group: &Group) -> Self {
        let directory = Self::new(group.id());
        let generation = group.generation();
        directory.seat(generation, group.members().iter().map(|member| (member.index, member.into())));
        directory.turn_to(generation);
        directory
    }

    /// The group that all of them belong to or are about to join.
    pub const fn group_id(&self) -> B256 {
        self.group_id
    }

    /// The generation in which members are asked by index, where no other is named.
    pub fn current(&self) -> u32 {
        self.read().current
    }

    /// Makes another generation the current one.
    pub fn turn_to(&self, generation: u32) {
        self.write().current = generation;
    }

    /// Enters the members of a generation. Names and addresses replace older ones of the same identities.
    pub fn seat(&self, generation: u32, members: impl IntoIterator<Item = (u8, Listing)>) {
        let mut book = self.write();
        for (index, listing) in members {
            book.seats.insert((generation, index), *listing.identity.as_bytes());
            book.listings.insert(*listing.identity.as_bytes(), listing);
        }
    }

    /// Enters all who take part in a ceremony. Names and addresses replace older ones of the same identities.
    pub fn admit(&self, ceremony: B256, participants: impl IntoIterator<Item = Listing>) {
        let mut book = self.write();
        let mut guests = Vec::new();
        for listing in participants {
            guests.push(*listing.identity.as_bytes());
            book.listings.insert(*listing.identity.as_bytes(), listing);
        }
        book.guests.insert(ceremony, guests);
    }

    /// Ends a ceremony: who was only its guest is a stranger again.
    pub fn dismiss(&self, ceremony: B256) {
        let mut book = self.write();
        let Some(left) = book.guests.remove(&ceremony) else { return };
        for key in left {
            let stays = book.seats.values().chain(book.guests.values().flatten()).any(|held| *held == key);
            if !stays {
                book.listings.remove(&key);
            }
        }
    }

    /// The peer with an identity key.
    pub fn by_identity(&self, key: &IdentityKey) -> Option<Peer> {
        self.read().peer(key)
    }

    /// The member with an index of a generation.
    pub fn by_seat(&self, generation: u32, index: u8) -> Option<Peer> {
        let book = self.read();
        let key = book.seats.get(&(generation, index))?;
        book.peer(key)
    }

    /// Whether an identity takes part in a ceremony.
    pub fn takes_part(&self, ceremony: B256, key: &IdentityKey) -> bool {
        self.read().guests.get(&ceremony).is_some_and(|guests| guests.contains(key))
    }

    fn read(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn peer(&self, key: &IdentityKey) -> Option<Peer> {
        let Listing { name, identity, url } = self.listings.get(key)?.clone();
        let held = self.seats.iter().filter(|(_, held)| *held == key);
        Some(Peer { name, identity, url, seats: held.map(|((generation, index), _)| (*generation, *index)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn listing(seed: u8, url: &str) -> Listing {
        let identity = SigningKey::from_bytes(&[seed; 32]).verifying_key();
        Listing { name: format!("m{seed}"), identity, url: url.into() }
    }

    fn key(seed: u8) -> IdentityKey {
        *listing(seed, "").identity.as_bytes()
    }

    #[test]
    fn stranger_should_not_be_found() {
        let directory = Directory::new(B256::ZERO);
        directory.seat(0, [(1, listing(1, "http://a"))]);
        assert_eq!(directory.by_identity(&key(2)), None);
        assert_eq!(directory.by_seat(0, 2), None);
        assert_eq!(directory.by_seat(1, 1), None, "another generation");
    }

    #[test]
    fn guest_should_leave_with_its_last_ceremony_and_a_member_should_stay() {
        let directory = Directory::new(B256::ZERO);
        let (first, second) = (B256::repeat_byte(1), B256::repeat_byte(2));
        directory.seat(0, [(1, listing(1, "http://a"))]);
        directory.admit(first, [listing(1, "http://a"), listing(2, "http://b")]);
        directory.admit(second, [listing(2, "http://b")]);
        assert!(directory.takes_part(first, &key(1)) && !directory.takes_part(second, &key(1)));
        directory.dismiss(first);
        assert!(!directory.takes_part(first, &key(1)));
        assert!(directory.by_identity(&key(2)).is_some_and(|guest| !guest.is_member()));
        directory.dismiss(second);
        assert_eq!(directory.by_identity(&key(2)), None);
        assert!(directory.by_identity(&key(1)).is_some_and(|member| member.is_member()));
    }

    #[test]
    fn identity_should_keep_its_seats_over_generations_and_move_its_address() {
        let directory = Directory::new(B256::ZERO);
        let clone = directory.clone();
        directory.seat(0, [(1, listing(1, "http://a")), (2, listing(2, "http://b"))]);
        clone.seat(1, [(1, listing(2, "http://new"))]);
        clone.turn_to(1);
        assert_eq!(directory.current(), 1);
        let moved = directory.by_seat(0, 2).expect("a member");
        assert_eq!((moved.url.as_str(), moved.seats), ("http://new", BTreeMap::from([(0, 2), (1, 1)])));
    }
}
