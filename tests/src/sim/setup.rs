//! What is fixed in every world: the group, its keys, two chains, the developers.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ed25519_dalek::SigningKey;
use lockstep_core::bls::{Dealing, PartialSignature, SecretKey, SecretShare, Signature, default_threshold};
use lockstep_core::derive::{AssetRule, ChainRule, Config, DAY_NS, Fee, HOUR_NS, MEMO_MAX};
use lockstep_core::dkg::{Binding, Body, Item};
use lockstep_core::group::Member;
use lockstep_core::group::roster::{Certificate, Marks, Roster};
use lockstep_core::machine::{ContractPlace, Rules};
use lockstep_core::mixin::{PrivateKey, PublicKey};
use lockstep_core::operation::{Caps, MemoRules};
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{Address, Amount, AssetId, B256, Mix, Uuid};

/// Members of the group as it opens.
pub(super) const MEMBERS: u8 = 5;
/// n − ⌊(n − 1) / 3⌋ of them.
pub(super) const THRESHOLD: u8 = 4;
/// Everybody who may ever be a member, by number.
pub(super) const PERSONS: u8 = 7;
/// Who is a member, generation by generation: one is replaced, one joins, one leaves. A member's index is its place here.
pub(super) const GENERATIONS: [&[u8]; 4] = [&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 6], &[1, 2, 3, 4, 6, 7], &[2, 3, 4, 6, 7]];
pub(super) const CHAINS: [ChainId; 2] = [31_337, 31_338];
/// The asset of fees; processes take it too.
pub(super) const FEE_ASSET: AssetId = AssetId([1; 32]);
pub(super) const ASSETS: [AssetId; 2] = [FEE_ASSET, AssetId([2; 32])];
pub(super) const FEE: u128 = 1_000;
pub(super) const MINIMUM: u128 = 100;
pub(super) const FLOOR: u128 = 20;
/// A payout above it waits.
pub(super) const CAP: u128 = 1_500;
/// One step of the scheduler, in nanoseconds.
pub(super) const STEP_NS: u64 = 20_000_000;
/// Escrow of an unknown recipient.
const DELAY_NS: u64 = 2_000_000_000;
pub(super) const GROUP_ID: B256 = B256::repeat_byte(0x67);

/// Developers by number: process id, chain, contract. The last one never binds.
pub(super) const DEVELOPERS: u8 = 5;

pub(super) fn developer(number: u8) -> (Uuid, ChainId, Address) {
    (user(200 + u128::from(number)), CHAINS[usize::from(number % 2)], Address::repeat_byte(0xd0 + number))
}

/// The contract of the last developer does not call `bind`.
pub(super) fn has_bound(process: Uuid) -> bool {
    process != developer(DEVELOPERS - 1).0
}

pub(super) const fn user(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The ledger user of a member.
pub(super) fn member_user(index: u8) -> Uuid {
    user(index.into())
}

pub(super) fn single(number: u128) -> Mix {
    Mix::of_users([user(number)], 1)
}

pub(super) fn group() -> Mix {
    group_of(0)
}

fn threshold_of(generation: usize) -> u8 {
    default_threshold(GENERATIONS[generation].len() as u8)
}

/// The group's address in a generation.
pub(super) fn group_of(generation: usize) -> Mix {
    Mix::of_users(GENERATIONS[generation].iter().copied().map(member_user), threshold_of(generation))
}

/// The generation whose address this is.
pub(super) fn generation_of(mix: &Mix) -> Option<usize> {
    (0..GENERATIONS.len()).find(|generation| group_of(*generation) == *mix)
}

/// The persons behind an address, and how many of them sign.
pub(super) fn persons_of(mix: &Mix) -> (Vec<u8>, usize) {
    let users = mix.users().unwrap_or_default();
    (users.into_iter().map(|user| user.as_u128() as u8).collect(), mix.threshold().into())
}

/// A person's index in a generation.
pub(super) fn index_in(generation: u32, person: u8) -> Option<u8> {
    let place = GENERATIONS.get(generation as usize)?.iter().position(|member| *member == person)?;
    u8::try_from(place + 1).ok()
}

/// A person's share in a generation.
pub(super) fn share(generation: u32, person: u8) -> Option<&'static SecretShare> {
    let index = index_in(generation, person)?;
    dealing(generation as usize).shares.get(usize::from(index - 1))
}

fn identity(person: u8) -> SigningKey {
    SigningKey::from_bytes(&[0x40 | person; 32])
}

/// What the ceremony of a generation leaves; all its members vouch for it.
pub(super) fn roster(generation: usize, marks: Marks) -> Roster {
    let member = |(index, person): (u8, &u8)| Member {
        index,
        name: format!("m{person}"),
        user: member_user(*person),
        identity: identity(*person).verifying_key(),
        peer: format!("http://m{person}:7700"),
    };
    let persons = GENERATIONS[generation];
    let members = (1..).zip(persons).map(member).collect();
    let number = generation as u32;
    let roster = Roster::uncertified(GROUP_ID, number, members, dealing(generation).group.clone());
    if generation == 0 {
        return roster;
    }
    let (proposal, set) = (B256::repeat_byte(1), B256::repeat_byte(2));
    let binding = Binding { group_id: GROUP_ID, round: number, generation: number, proposal };
    let ready = Body::Ready { set, roster: roster.digest(), marks: marks.digest() };
    let sign = |person: &u8| Item::sign(&binding, ready.clone(), &identity(*person)).signature;
    let ready = (1..).zip(persons.iter().map(sign)).collect();
    let certificate = Certificate { round: number, proposal, set, marks, ready };
    roster.certified(certificate).expect("all of them vouch")
}

/// The identity key by which rosters know a person.
pub(super) fn identity_key(person: u8) -> [u8; 32] {
    identity(person).verifying_key().to_bytes()
}

pub(super) fn trace_id(trace: &Trace) -> Uuid {
    trace.id(&GROUP_ID, |chain| place(chain).contract)
}

pub(super) fn place(chain: ChainId) -> ContractPlace {
    let mark = if chain == CHAINS[0] { 1 } else { 2 };
    ContractPlace { contract: Address::repeat_byte(0xc0 + mark), instance: B256::repeat_byte(0xa0 + mark) }
}

/// A user's spend and view key; the view key stays with the key service.
pub(super) struct UserKeys {
    pub(super) spend: PrivateKey,
    pub(super) view: PrivateKey,
    pub(super) spend_public: PublicKey,
    pub(super) view_public: PublicKey,
}

impl UserKeys {
    pub(super) fn of(user: Uuid) -> Self {
        let key = |tag: u8| {
            let mut seed = [tag; 32];
            seed[..16].copy_from_slice(user.as_bytes());
            PrivateKey::from_ed25519_seed(&seed)
        };
        let (spend, view) = (key(1), key(2));
        let (spend_public, view_public) = (spend.public(), view.public());
        Self { spend, view, spend_public, view_public }
    }
}

/// The shares of each generation: of one key, under polynomials of their own. It takes a while, and is the same in every
/// world.
pub(super) fn dealing(generation: usize) -> &'static Dealing {
    static DEALINGS: OnceLock<Vec<Dealing>> = OnceLock::new();
    let deal = |generation: usize| {
        let coefficient = |place: u8| {
            let seed = if place == 0 { [0x5e; 32] } else { [generation as u8; 32] };
            SecretKey::derive(&seed, &[place]).expect("a scalar")
        };
        let coefficients: Vec<_> = (0..threshold_of(generation)).map(coefficient).collect();
        Dealing::from_coefficients(&coefficients, GENERATIONS[generation].len() as u8).expect("a legal size")
    };
    &DEALINGS.get_or_init(|| (0..GENERATIONS.len()).map(deal).collect())[generation]
}

/// The group's signature, made by members `signers` of the first generation; `None` where they are too few.
pub(super) fn group_signature(digest: &B256, signers: &[u8]) -> Option<Signature> {
    let shares = dealing(0).shares.iter().filter(|share| signers.contains(&share.index()));
    let partials: Vec<PartialSignature> = shares.map(|share| share.sign_digest(digest)).collect();
    dealing(0).group.recover_digest(digest, &partials, &Default::default()).ok().map(|recovered| recovered.signature)
}

/// The rules of the group file. Few inputs a transaction, so that consolidation happens.
pub(super) fn rules() -> Rules {
    let units = Amount::from_units;
    let chain = ChainRule { payload_max: 64, gas_max: 5_000_000 };
    let caps = Caps { payout: units(CAP), hour: units(CAP * 20), day: units(CAP * 40) };
    let derive = Config {
        group: group(),
        fee: Fee { asset: FEE_ASSET, amount: units(FEE) },
        default: AssetRule { minimum: units(MINIMUM), floor: units(FLOOR) },
        assets: BTreeMap::new(),
        chains: CHAINS.iter().map(|id| (*id, chain)).collect(),
        caps: CHAINS.iter().map(|id| (*id, BTreeMap::from([(ASSETS[1], caps)]))).collect(),
        delay_unknown_ns: DELAY_NS,
        delay_over_ns: 2 * DELAY_NS,
        window_hour_ns: HOUR_NS,
        window_day_ns: DAY_NS,
        inputs_max: 3,
        sweep_max: 2,
        memo_max: MEMO_MAX,
    };
    Rules {
        derive,
        memo: MemoRules { group_id: GROUP_ID, group_key: Some(*dealing(0).group.key()), aliases: BTreeMap::new() },
        places: CHAINS.iter().map(|chain| (*chain, place(*chain))).collect(),
        group_id: GROUP_ID,
        group_digest: B256::repeat_byte(0x68),
    }
}
