use std::os::unix::fs::PermissionsExt;

use super::*;

/// Bytes that differ at each call and repeat at each run.
pub(crate) fn counting() -> impl FnMut() -> [u8; 32] {
    let mut n = 0_u8;
    move || {
        n = n.wrapping_add(1);
        [n; 32]
    }
}

/// A dealt group on chain 31337 with the keys of its members, shares included.
pub(crate) struct Sample {
    pub(crate) file: lockstep_core::group::GroupFile,
    pub(crate) members: Vec<MemberKeys>,
}

pub(crate) fn dealt(count: u8) -> Sample {
    let mut random = counting();
    let keys = |index: u8| MemberKeys::generate(&format!("m{index}"), None, &mut random).expect("keys");
    let mut members: Vec<_> = (1..=count).map(keys).collect();
    let peer =
        |(port, keys): (u16, &MemberKeys)| DealMember { keys: keys.public(), peer: format!("http://127.0.0.1:{port}") };
    let public: Vec<_> = (7701..).zip(&members).map(peer).collect();
    let terms = DealTerms {
        threshold: None,
        chains: vec![31_337],
        fee_asset: XIN,
        fee_amount: "0.01".parse().expect("an amount"),
    };
    let Dealt { file, shares } = deal(&public, &terms, &mut random).expect("a group");
    for (member, share) in members.iter_mut().zip(shares) {
        member.share = Some(share);
    }
    Sample { file, members }
}

fn saved(keys: &MemberKeys) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys/member.json");
    keys.save(&path, false).expect("saved");
    (folder, path)
}

#[test]
fn file_that_others_can_read_should_be_refused() {
    let (_folder, path) = saved(&dealt(1).members[0]);
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    for mode in [0o644, 0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        assert!(matches!(MemberKeys::load(&path), Err(KeyError::Exposed { mode: found, .. }) if found == mode));
    }
}

#[test]
fn malformed_file_should_be_refused_without_quoting_it() {
    let (_folder, path) = saved(&dealt(1).members[0]);
    let good = std::fs::read_to_string(&path).expect("text");
    let json: serde_json::Value = serde_json::from_str(&good).expect("JSON");
    let changed = |pointer: &str, value: serde_json::Value| {
        let mut json = json.clone();
        *json.pointer_mut(pointer).expect(pointer) = value;
        json.to_string()
    };
    let mut wrong = vec![
        String::new(),
        good.replace("\"none\"", "\"hunter2\""),
        good.replacen("version", "hunter2", 1),
        changed("/version", 2.into()),
        changed("/bls/index", 65.into()),
    ];
    for key in ["/identity_seed", "/evm_secret_key", "/bls/share", "/ledger/spend_private_key"] {
        wrong.push(changed(key, "hunter2".into()));
        wrong.push(changed(key, serde_json::Value::Null));
    }
    wrong.extend(["/evm_secret_key", "/bls/share"].map(|key| changed(key, "ff".repeat(32).into())));
    for text in wrong {
        std::fs::write(&path, &text).expect("written");
        let error = MemberKeys::load(&path).expect_err("malformed");
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        assert!(!format!("{error:?}").contains("hunter2") && !format!("{error:?}").contains("ffff"), "{error:?}");
    }
    assert!(matches!(MemberKeys::load(&path.with_extension("none")), Err(KeyError::Read { .. })));
}

#[test]
fn keys_should_not_be_overwritten_by_accident() {
    let sample = dealt(2);
    let (_folder, path) = saved(&sample.members[0]);
    assert!(matches!(sample.members[1].save(&path, false), Err(KeyError::Write { .. })));
    assert_eq!(MemberKeys::load(&path).expect("still there").public(), sample.members[0].public());
    sample.members[1].save(&path, true).expect("replaced");
    assert_eq!(MemberKeys::load(&path).expect("the other").public(), sample.members[1].public());
    let left: Vec<_> = std::fs::read_dir(path.parent().expect("a folder")).expect("readable").collect();
    assert_eq!(left.len(), 1, "nothing half-written stays");
}

#[test]
fn keys_of_another_member_or_group_should_be_refused() {
    let group = Group::parse(&dealt(4).file).expect("a group");
    let refusal = |change: fn(&mut MemberKeys), index: u8| {
        let mut keys = dealt(4).members.remove(0);
        change(&mut keys);
        keys.into_member_of(&group, index).expect_err("it does not fit").to_string()
    };
    let other = |what: &str, index: u8| {
        format!("the key file is not that of member {index}: its {what} differs from the group file")
    };
    assert_eq!(refusal(|_| (), 2), other("identity key", 2));
    assert_eq!(refusal(|_| (), 5), other("index", 5));
    assert_eq!(refusal(|keys| keys.ledger.app_id = Uuid::nil(), 1), other("ledger user", 1));
    assert!(refusal(|keys| keys.share = None, 1).starts_with("the key file holds no share"));
    fn share(keys: &mut MemberKeys) -> &mut HeldShare {
        keys.share.as_mut().expect("dealt")
    }
    assert!(refusal(|keys| share(keys).group_id = B256::ZERO, 1).contains("belongs to group 0x00"));
    assert!(refusal(|keys| share(keys).generation = 1, 1).contains("of generation 1"));
    assert_eq!(refusal(|keys| keys.share = dealt(4).members.remove(1).share, 1), other("index of the share", 1));
    let foreign = |keys: &mut MemberKeys| {
        let group_id = share(keys).group_id;
        keys.share = dealt(5).members.remove(0).share;
        share(keys).group_id = group_id;
    };
    assert!(refusal(foreign, 1).starts_with("the share in the key file does not fit the group key"));
}

#[test]
fn saved_keys_should_be_those_of_the_member() {
    let sample = dealt(4);
    let group = Group::parse(&sample.file).expect("a group");
    assert!(group.is_dealer_made());
    assert_eq!((group.threshold(), group.members().len()), (3, 4));
    for (index, keys) in (1..).zip(&sample.members) {
        let (_folder, path) = saved(keys);
        let secrets = MemberKeys::load(&path).expect("a key file").into_member_of(&group, index).expect("a member");
        assert_eq!(secrets.share.index(), index);
        assert_eq!(secrets.evm.address(), keys.public().evm_address);
    }
}

#[test]
fn secrets_should_not_be_shown() {
    let keys = dealt(1).members.remove(0);
    let shown = format!("{keys:?}");
    for secret in [keys.ledger.spend_private_key.expose(), &keys.identity.to_bytes(), &keys.evm.to_bytes().0] {
        assert!(!shown.contains(&hex::encode(secret)) && !shown.contains(&format!("{secret:?}")), "{shown}");
    }
}

#[test]
fn group_without_majority_should_not_be_dealt() {
    let terms =
        DealTerms { threshold: Some(1), chains: vec![], fee_asset: XIN, fee_amount: "0".parse().expect("zero") };
    let member = DealMember { keys: dealt(1).members[0].public(), peer: "http://a".into() };
    assert!(matches!(deal(&[], &terms, &mut counting()), Err(DealError::Key(_))));
    assert!(matches!(deal(&[member.clone(), member], &terms, &mut counting()), Err(DealError::Key(_))));
}
