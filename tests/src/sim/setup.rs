//! What is fixed in every world: the group, its keys, two chains, the developers.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use lockstep_core::bls::{Dealing, PartialSignature, Signature};
use lockstep_core::derive::{AssetRule, ChainRule, Config, DAY_NS, Fee, HOUR_NS, MEMO_MAX};
use lockstep_core::machine::{ContractPlace, Rules};
use lockstep_core::mixin::{PrivateKey, PublicKey};
use lockstep_core::operation::{Caps, MemoRules};
use lockstep_core::trace::{ChainId, Trace};
use lockstep_core::{Address, Amount, AssetId, B256, Mix, Uuid};

/// Members of the group.
pub(super) const MEMBERS: u8 = 5;
/// n − ⌊(n − 1) / 3⌋.
pub(super) const THRESHOLD: u8 = 4;
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
    Mix::of_users((1..=MEMBERS).map(member_user), THRESHOLD)
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

/// Dealing takes a while and is the same in every world.
pub(super) fn dealing() -> &'static Dealing {
    static DEALING: OnceLock<Dealing> = OnceLock::new();
    DEALING.get_or_init(|| Dealing::from_seed(&[0x5e; 32], THRESHOLD, MEMBERS).expect("a legal size"))
}

/// The group's signature, made by members `signers`; `None` where they are too few.
pub(super) fn group_signature(digest: &B256, signers: &[u8]) -> Option<Signature> {
    let shares = dealing().shares.iter().filter(|share| signers.contains(&share.index()));
    let partials: Vec<PartialSignature> = shares.map(|share| share.sign_digest(digest)).collect();
    dealing().group.recover_digest(digest, &partials, &Default::default()).ok().map(|recovered| recovered.signature)
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
        memo: MemoRules { group_id: GROUP_ID, group_key: Some(*dealing().group.key()), aliases: BTreeMap::new() },
        places: CHAINS.iter().map(|chain| (*chain, place(*chain))).collect(),
        group_id: GROUP_ID,
        group_digest: B256::repeat_byte(0x68),
    }
}
