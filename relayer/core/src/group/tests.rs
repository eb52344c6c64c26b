use super::*;
use crate::bls::Dealing;

/// A group that breaks no rule: four members, three of whom sign.
fn file() -> GroupFile {
    let dealing = Dealing::from_seed(&[7; 32], 3, 4).expect("a dealing");
    let member = |index: u8, share: &crate::bls::PublicKey| MemberFile {
        index,
        name: format!("m{index}"),
        user: Uuid::from_u128(index.into()),
        identity: hex::encode(ed25519_dalek::SigningKey::from_bytes(&[index; 32]).verifying_key().as_bytes()),
        peer: format!("http://127.0.0.1:770{index}"),
        public_share: hex::encode(share.to_eip2537()),
    };
    let chain = |id: ChainId, byte: u8| ChainFile {
        id,
        contract: Some(Address::repeat_byte(byte)),
        instance: hex::encode([byte; 32]),
        start_block: 3,
        finality: Finality::Finalized,
        payload_max: 65_536,
        gas_max: 5_000_000,
        aliases: vec![format!("chain-{byte}")],
        recovery: None,
    };
    GroupFile {
        group_id: hex::encode([9; 32]),
        generation: 0,
        threshold: 3,
        key: hex::encode(dealing.group.key().to_eip2537()),
        fee: FeeFile { asset: Uuid::from_u128(100), amount: Amount::from_units(1_000_000) },
        delays: DelaysFile { unknown: 60, over: 600 },
        members: (1..).zip(dealing.group.shares()).map(|(index, share)| member(index, share)).collect(),
        chains: vec![chain(31_337, 1), chain(31_338, 2)],
        assets: vec![AssetFile {
            id: Uuid::from_u128(100),
            symbol: "XIN".into(),
            minimum: Amount::from_units(5),
            floor: Amount::from_units(6),
        }],
        caps: vec![CapsFile {
            chain: 31_338,
            asset: Uuid::from_u128(100),
            payout: Amount::from_units(1),
            hour: Amount::from_units(2),
            day: Amount::from_units(3),
        }],
    }
}

fn refusal(change: impl FnOnce(&mut GroupFile)) -> String {
    let mut file = file();
    change(&mut file);
    Group::parse(&file).expect_err("the file breaks a rule").to_string()
}

fn digest(change: impl FnOnce(&mut GroupFile)) -> B256 {
    let mut file = file();
    change(&mut file);
    Group::parse(&file).expect("the file breaks no rule").digest()
}

#[test]
fn malformed_values_should_be_refused_with_their_place() {
    assert_eq!(refusal(|f| f.group_id = "ab".into()), "`group_id` must be 32 bytes of hex, got `ab`");
    assert_eq!(refusal(|f| f.group_id = "00".repeat(32)), "`group_id` is zero");
    assert_eq!(refusal(|f| f.key = "00".repeat(256)), "`key` is not a BLS public key");
    assert_eq!(
        refusal(|f| f.members[1].public_share = "12".into()),
        "`members[1].public_share` is not a BLS public key"
    );
    let weak = "`members[0].identity` is not an ed25519 public key that can be trusted";
    assert_eq!(refusal(|f| f.members[0].identity = format!("01{}", "00".repeat(31))), weak);
    assert!(refusal(|f| f.members[0].name = "Alice".into()).starts_with("`members[0].name` is `Alice`"));
    for peer in ["127.0.0.1:7701", "http://", "http://a/b", "ftp://a", "http://user@a", "http://a b"] {
        assert!(refusal(|f| f.members[0].peer = peer.into()).starts_with("`members[0].peer`"), "{peer}");
    }
    assert_eq!(refusal(|f| f.chains[0].contract = Some(Address::ZERO)), "`chains[0].contract` is zero");
    assert_eq!(refusal(|f| f.chains[0].payload_max = 65_537), "`chains[0].payload_max` is 65537, expected 0 to 65536");
    assert_eq!(refusal(|f| f.chains[1].gas_max = 49_999), "`chains[1].gas_max` is 49999, expected 50000 to 5000000");
    assert!(refusal(|f| f.delays.over = u64::MAX).starts_with("`delays.over`"));
    assert_eq!(refusal(|f| f.generation = 1), "generation 1: this version knows generation 0 only");
}

#[test]
fn members_should_be_one_to_n_and_different() {
    assert_eq!(refusal(|f| f.members.clear()), "`members` has 0 entries, expected 1 to 64");
    let missing = "member indexes must be 1 to 4, each once; 4 is missing";
    assert_eq!(refusal(|f| f.members[3].index = 5), missing);
    assert_eq!(refusal(|f| f.members[3].index = 0), missing);
    assert_eq!(refusal(|f| f.members[3].index = 3), "`members.index` stands twice: 3");
    let twice = |change: fn(&mut MemberFile, &MemberFile)| {
        refusal(|f| {
            let first = f.members[0].clone();
            change(&mut f.members[1], &first);
        })
    };
    assert!(twice(|to, from| to.user = from.user).starts_with("`members.user` stands twice"));
    assert!(twice(|to, from| to.identity.clone_from(&from.identity)).starts_with("`members.identity` stands twice"));
    assert!(twice(|to, from| to.peer.clone_from(&from.peer)).starts_with("`members.peer` stands twice"));
    assert!(twice(|to, from| to.public_share.clone_from(&from.public_share)).starts_with("`members.public_share`"));
}

#[test]
fn key_threshold_and_shares_should_fit() {
    for threshold in [0, 2, 5] {
        assert!(refusal(|f| f.threshold = threshold).contains("do not fit together"), "{threshold}");
    }
    let other = Dealing::from_seed(&[8; 32], 3, 4).expect("a dealing");
    assert!(refusal(|f| f.key = hex::encode(other.group.key().to_eip2537())).contains("do not fit together"));
}

#[test]
fn chains_assets_and_caps_should_be_named_once() {
    assert_eq!(refusal(|f| f.chains[1].id = 31_337), "`chains.id` stands twice: 31337");
    assert!(
        refusal(|f| f.chains[1].instance = f.chains[0].instance.clone()).starts_with("`chains.instance` stands twice")
    );
    assert_eq!(refusal(|f| f.chains[1].aliases = vec!["chain-1".into()]), "`chains.aliases` stands twice: chain-1");
    assert!(refusal(|f| f.assets.push(f.assets[0].clone())).starts_with("`assets.id` stands twice"));
    assert!(refusal(|f| f.caps.push(f.caps[0].clone())).starts_with("`caps` stands twice"));
    assert_eq!(refusal(|f| f.caps[0].chain = 1), "`caps[0].chain` names chain 1, which is not in `chains`");
}

#[test]
fn recovery_should_name_somebody_and_leave_time() {
    let with = |address, silence_days| {
        refusal(move |f: &mut GroupFile| f.chains[1].recovery = Some(Recovery { address, silence_days }))
    };
    assert!(with(Address::ZERO, 90).contains("chains[1].recovery.address"));
    assert!(with(Address::repeat_byte(1), 0).contains("chains[1].recovery.silence_days"));
}

#[test]
fn digest_should_not_depend_on_how_the_file_is_written() {
    let plain = digest(|_| ());
    let reordered = digest(|f| {
        f.members.reverse();
        f.chains.reverse();
        f.key = format!("0x{}", f.key.to_ascii_uppercase());
        f.group_id = format!("0x{}", f.group_id);
    });
    assert_eq!(reordered, plain);
    // Frozen: it opens the history of every group.
    assert_eq!(plain.to_string(), FROZEN_DIGEST);
}

const FROZEN_DIGEST: &str = "0x2a951ead6df699da40bdffe6922fcaa9d1e24a231d306c7825df5d790445b381";

#[test]
fn digest_should_depend_on_every_value() {
    let digests = BTreeSet::from([
        digest(|_| ()),
        digest(|f| f.group_id = hex::encode([8; 32])),
        digest(|f| f.members[0].name = "other".into()),
        digest(|f| f.members[0].user = Uuid::from_u128(77)),
        digest(|f| f.members[0].peer = "http://127.0.0.1:1".into()),
        digest(|f| f.chains[0].contract = None),
        digest(|f| f.chains[0].contract = Some(Address::repeat_byte(3))),
        digest(|f| f.chains[0].instance = hex::encode([3; 32])),
        digest(|f| f.chains[0].start_block = 4),
        digest(|f| f.chains[0].finality = Finality::Depth(0)),
        digest(|f| f.chains[0].finality = Finality::Depth(1)),
        digest(|f| f.chains[0].payload_max = 1),
        digest(|f| f.chains[0].gas_max = 50_000),
        digest(|f| f.chains[0].aliases.clear()),
        digest(|f| f.chains[0].recovery = Some(Recovery { address: Address::repeat_byte(1), silence_days: 1 })),
        digest(|f| f.chains[0].recovery = Some(Recovery { address: Address::repeat_byte(2), silence_days: 1 })),
        digest(|f| f.chains[0].recovery = Some(Recovery { address: Address::repeat_byte(1), silence_days: 2 })),
        digest(|f| f.assets[0].symbol = "X".into()),
        digest(|f| f.assets[0].minimum = Amount::from_units(6)),
        digest(|f| f.assets[0].floor = Amount::from_units(5)),
        digest(|f| f.fee.amount = Amount::from_units(1)),
        digest(|f| f.fee.asset = Uuid::from_u128(1)),
        digest(|f| f.caps[0].payout = Amount::from_units(9)),
        digest(|f| f.caps[0].hour = Amount::from_units(9)),
        digest(|f| f.caps[0].day = Amount::from_units(9)),
        digest(|f| f.caps.clear()),
        digest(|f| f.delays.unknown = 1),
        digest(|f| f.delays.over = 1),
    ]);
    assert_eq!(digests.len(), 28);
}

#[test]
fn finality_should_be_a_word_or_a_number() {
    let read = |text: &str| serde_json::from_str::<Finality>(text).map_err(|error| error.to_string());
    assert_eq!(read("\"finalized\""), Ok(Finality::Finalized));
    assert_eq!(read("12"), Ok(Finality::Depth(12)));
    for wrong in ["\"safe\"", "-1", "1.5", "null"] {
        assert!(read(wrong).expect_err(wrong).contains("finalized"), "{wrong}");
    }
}

#[test]
fn unknown_keys_should_be_refused() {
    let mut json = serde_json::to_value(file()).expect("JSON");
    json["chains"][0]["treshold"] = 1.into();
    let error = serde_json::from_value::<GroupFile>(json).expect_err("no such key");
    assert!(error.to_string().contains("unknown field `treshold`"), "{error}");
}

#[test]
fn group_should_be_readable_by_index_identity_and_alias() {
    let group = Group::parse(&file()).expect("the file breaks no rule");
    assert_eq!(group.member(2).map(|member| member.name.as_str()), Some("m2"));
    assert_eq!((group.member(0), group.member(5)), (None, None));
    let third = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).verifying_key();
    assert_eq!(group.member_by_identity(third.as_bytes()).map(|member| member.index), Some(3));
    assert_eq!(group.member_by_identity(&[0; 32]), None);
    assert_eq!(group.aliases(), BTreeMap::from([("chain-1".into(), 31_337), ("chain-2".into(), 31_338)]));
    assert_eq!(group.mix(), Mix::of_users((1..=4).map(Uuid::from_u128), 3));
    assert_eq!(group.terms(&AssetId::from_uuid(Uuid::from_u128(100))).floor, Amount::from_units(6));
    assert_eq!(group.terms(&AssetId::NONE), UNLISTED);
}

#[test]
fn derivation_should_read_the_group() {
    let group = Group::parse(&file()).expect("the file breaks no rule");
    let config = group.derivation();
    let xin = AssetId::from_uuid(Uuid::from_u128(100));
    assert_eq!(config.group, group.mix());
    assert_eq!(config.delay_unknown_ns, 60_000_000_000);
    assert_eq!(config.caps[&31_338][&xin].hour, Amount::from_units(2));
    assert_eq!(config.chains[&31_337].gas_max, 5_000_000);
    assert_eq!(config.default.minimum, Amount::from_units(10_000));
    assert!(derive::Core::new(config).is_ok());
}
