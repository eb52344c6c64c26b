use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use lockstep_core::B256;
use lockstep_core::group::Group;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::envelope::{Parsed, Sealer};
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
        member.hold(share).expect("a first share");
    }
    Sample { file, members }
}

fn right() -> Passphrase {
    Passphrase::new("correct horse")
}

/// A saved key file, and the folder that holds it.
fn saved(keys: &MemberKeys) -> (TempDir, PathBuf, Keyring) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys").join(KEY_FILE);
    let ring = Keyring::create(&path, &right(), Cost::QUICK, keys.clone()).expect("saved");
    (folder, path, ring)
}

fn open(path: &std::path::Path) -> Result<Keyring, KeyError> {
    Keyring::open(path, &right(), Floor::Development)
}

/// Why a file with these bytes does not open.
fn refusal(bytes: &[u8]) -> EnvelopeError {
    let opened = Parsed::read(bytes).and_then(|parsed| parsed.unlock(&right(), Floor::Development));
    opened.map(|_| ()).expect_err("it does not open")
}

/// The same bytes with a checksum that fits, as somebody would write who knows the format.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let (body, _) = bytes.split_last_chunk::<65>().expect("a checksum and its line end");
    [body, hex::encode(Sha256::digest(body)).as_bytes(), b"\n"].concat()
}

#[test]
fn file_that_others_can_read_should_be_refused() {
    let (_folder, path, _) = saved(&dealt(1).members[0]);
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    for mode in [0o644, 0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        let error = open(&path).expect_err("exposed");
        assert!(
            format!("{:#}", anyhow::Error::from(error))
                .contains(&format!("others have access to it (mode {mode:03o})"))
        );
    }
}

#[test]
fn wrong_passphrase_should_be_told_from_everything_else() {
    let (_folder, path, _) = saved(&dealt(1).members[0]);
    for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
        let error = Keyring::open(&path, &Passphrase::new(wrong), Floor::Development).expect_err("wrong");
        assert!(matches!(error, KeyError::Open { source: EnvelopeError::WrongPassphrase, .. }), "{error}");
    }
}

#[test]
fn every_changed_byte_should_be_found() {
    let (_folder, path, _) = saved(&dealt(1).members[0]);
    let good = std::fs::read(&path).expect("bytes");
    for place in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            assert_eq!(refusal(&bytes), EnvelopeError::Damaged, "byte {place}");
        }
    }
    for shorter in (1..good.len()).step_by(7) {
        let expected = if shorter < 14 { EnvelopeError::NoKeyFile } else { EnvelopeError::Damaged };
        assert_eq!(refusal(&good[..shorter]), expected, "{shorter} bytes");
    }
    std::fs::write(&path, &good).expect("written");
    open(&path).expect("the file as it was");
}

#[test]
fn every_changed_byte_should_be_found_also_behind_a_mended_checksum() {
    let (_folder, path, _) = saved(&dealt(1).members[0]);
    let good = std::fs::read(&path).expect("bytes");
    let text = String::from_utf8(good.clone()).expect("text");
    let at = |part: &str| text.find(part).expect(part);
    let secrets = text.match_indices('\n').nth(1).expect("two lines").0;
    let (kdf, cipher) = (at("\"salt\""), at("\"cipher\""));
    let mut tampered = 0;
    // The last line end before the checksum is what finds the checksum.
    for (place, flip) in (0..good.len() - 66).flat_map(|place| [0x01, 0x02, 0x40].map(|flip| (place, flip))) {
        let mut bytes = good.clone();
        // One digit for another keeps hex and numbers what they are; everything else breaks the form.
        bytes[place] ^= flip;
        let found = refusal(&mended(&bytes));
        tampered += usize::from(found == EnvelopeError::Tampered);
        match found {
            EnvelopeError::WrongPassphrase | EnvelopeError::Cost(_) => {
                assert!((kdf..cipher).contains(&place), "{place}")
            }
            EnvelopeError::NoKeyFile | EnvelopeError::Version(_) => assert!(place < 16, "{place}"),
            EnvelopeError::Malformed(_) | EnvelopeError::Tampered => {}
            EnvelopeError::Damaged | EnvelopeError::Resealed => panic!("byte {place}: {found}"),
        }
        if place > secrets && flip < 0x04 && good[place].is_ascii_digit() && bytes[place].is_ascii_digit() {
            assert_eq!(found, EnvelopeError::Tampered, "{place}");
        }
    }
    assert!(tampered > 300, "{tampered}");
    // What names a share is authenticated, too.
    for (part, other) in [
        ("\"generation\":0", "\"generation\":1"),
        ("\"index\":1", "\"index\":2"),
        ("\"threshold\":1", "\"threshold\":2"),
        ("\"name\":\"m1\"", "\"name\":\"m2\""),
    ] {
        assert_eq!(text.matches(part).count(), 1, "{part}");
        let changed = text.replace(part, other);
        assert_eq!(refusal(&mended(changed.as_bytes())), EnvelopeError::Tampered, "{part}");
    }
    assert_eq!(refusal(br#"{"version":1,"protection":"none"}"#), EnvelopeError::NoKeyFile);
    let later = text.replacen("lockstep-keys 1", "lockstep-keys 2", 1);
    assert_eq!(refusal(&mended(later.as_bytes())), EnvelopeError::Version("2".into()));
}

#[test]
fn quick_key_derivation_should_be_refused_outside_of_development() {
    let (_folder, path, _) = saved(&dealt(1).members[0]);
    let error = Keyring::open(&path, &right(), Floor::Standard).expect_err("weak");
    let KeyError::Open { source: EnvelopeError::Cost(CostError::Weak(found)), .. } = error else { panic!("{error}") };
    assert_eq!(found, Cost::QUICK);
    open(&path).expect("open").reseal(&right(), Cost::STANDARD).expect("stronger");
    Keyring::open(&path, &right(), Floor::Standard).expect("strong enough");
}

#[test]
fn secrets_of_other_public_keys_should_be_refused() {
    let sample = dealt(2);
    let (_folder, path, _) = saved(&sample.members[0]);
    let mut random = counting();
    let sealer = Sealer::new(&right(), Cost::QUICK, &mut random).expect("a key");
    let mut public = sample.members[0].public();
    public.shares[0].public_share = sample.members[1].public().shares[0].public_share;
    let bytes = sealer.seal(&public, &secrets::encode(&sample.members[0]), &mut random).expect("sealed");
    Parsed::read(&bytes).expect("whole").unlock(&right(), Floor::Development).expect("authentic");
    std::fs::write(&path, bytes).expect("written");
    assert!(matches!(open(&path), Err(KeyError::Inconsistent { .. })));
}

#[test]
fn keys_should_not_be_overwritten_by_accident() {
    let sample = dealt(2);
    let (_folder, path, _) = saved(&sample.members[0]);
    let again = Keyring::create(&path, &right(), Cost::QUICK, sample.members[1].clone());
    assert!(matches!(again, Err(KeyError::Write { .. })));
    assert_eq!(open(&path).expect("still there").keys().public(), sample.members[0].public());
}

#[test]
fn keys_of_another_member_group_or_generation_should_be_refused() {
    let group = Group::parse(&dealt(4).file).expect("a group");
    let refusal = |change: fn(&mut MemberKeys), index: u8| {
        let mut keys = dealt(4).members.remove(0);
        change(&mut keys);
        keys.member_of(&Generations::new(group.roster()), index).expect_err("it does not fit").to_string()
    };
    let other = |what: &str, index: u8| {
        format!("the key file is not that of member {index}: its {what} differs from the group file")
    };
    assert_eq!(refusal(|_| (), 2), other("identity key", 2));
    assert_eq!(refusal(|_| (), 5), other("index", 5));
    assert_eq!(refusal(|keys| keys.ledger.app_id = Uuid::nil(), 1), other("ledger user", 1));
    assert!(refusal(|keys| keys.shares.clear(), 1).starts_with("the key file holds no share"));
    fn share(keys: &mut MemberKeys) -> &mut HeldShare {
        keys.shares.get_mut(&0).expect("dealt")
    }
    assert!(refusal(|keys| share(keys).group_id = B256::ZERO, 1).contains("belongs to group 0x00"));
    let older = |keys: &mut MemberKeys| {
        let mut held = keys.shares.remove(&0).expect("dealt");
        held.generation = 7;
        keys.shares.insert(7, held);
    };
    assert_eq!(refusal(older, 1), "the key file holds a share of generation 7, expected 0");
    assert_eq!(refusal(|keys| keys.shares = dealt(4).members.remove(1).shares, 1), other("index of the share", 1));
    let foreign = |keys: &mut MemberKeys| {
        let group_id = share(keys).group_id;
        keys.shares = dealt(5).members.remove(0).shares;
        share(keys).group_id = group_id;
    };
    assert!(refusal(foreign, 1).starts_with("the share in the key file does not fit the group key"));
    assert!(refusal(|keys| share(keys).threshold = 2, 1).starts_with("the share in the key file does not fit"));
}

#[test]
fn every_cause_should_have_words_of_its_own() {
    let (sample, other) = (dealt(4), dealt(5));
    let (_folder, path, ring) = saved(&sample.members[0]);
    let good = std::fs::read(&path).expect("bytes");
    let text = String::from_utf8(good.clone()).expect("text");
    let mut causes = Vec::new();
    let mut note =
        |what: &str, error: KeyError| causes.push((format!("{:#}", anyhow::Error::from(error)), what.to_owned()));
    note("passphrase", Keyring::open(&path, &Passphrase::new("wrong horse"), Floor::Development).expect_err("wrong"));
    note("weak", Keyring::open(&path, &right(), Floor::Standard).expect_err("weak"));
    let mut with = |what: &str, bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        note(what, open(&path).expect_err(what));
    };
    let changed = |part: &str, by: &str| mended(text.replacen(part, by, 1).as_bytes());
    with("damaged", &good[..good.len() - 2]);
    with("tampered", &changed("\"index\":1", "\"index\":2"));
    with("malformed", &changed("{\"kdf\"", "{\"KDF\""));
    with("version", &changed("lockstep-keys 1", "lockstep-keys 2"));
    with("no key file", b"{}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
    note("exposed", open(&path).expect_err("exposed"));
    std::fs::remove_file(&path).expect("removed");
    note("missing", open(&path).expect_err("missing"));

    let share = |generation| HeldShare { generation, ..sample.members[0].shares[&0].clone() };
    let foreign = other.members[0].shares[&0].clone();
    let same_group = HeldShare { group_id: share(0).group_id, ..foreign.clone() };
    std::fs::write(&path, &good).expect("as it was");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
    note("another share", ring.save_share(&same_group).expect_err("another"));
    let group = Group::parse(&sample.file).expect("a group");
    let mut of = |what: &str, index: u8, shares: Vec<HeldShare>| {
        let shares = shares.into_iter().map(|share| (share.generation, share)).collect();
        let keys = MemberKeys { shares, ..sample.members[0].clone() };
        note(what, keys.member_of(&Generations::new(group.roster()), index).expect_err(what));
    };
    of("no share", 1, vec![]);
    of("another generation", 1, vec![share(7)]);
    of("another group", 1, vec![foreign]);
    of("another key", 1, vec![same_group]);
    of("another member", 2, vec![share(0)]);
    of("no member", 9, vec![share(0)]);
    causes.sort();
    let count = causes.len();
    causes.dedup_by(|next, before| next.0 == before.0);
    assert_eq!((causes.len(), count), (16, 16), "{causes:#?}");
}

#[test]
fn saved_keys_should_be_those_of_the_member() {
    let sample = dealt(4);
    let group = Group::parse(&sample.file).expect("a group");
    assert_eq!((group.threshold(), group.members().len()), (3, 4));
    for (index, keys) in (1..).zip(&sample.members) {
        let (_folder, path, _) = saved(keys);
        let opened = open(&path).expect("a key file").keys();
        assert_eq!((&opened.ledger, &opened.identity), (&keys.ledger, &keys.identity));
        let secrets = opened.member_of(&Generations::new(group.roster()), index).expect("a member");
        assert_eq!(secrets.evm.address(), keys.public().evm_address);
        assert_eq!(opened.shares[&0].secret.index(), index);
        assert_eq!(Keyring::peek(&path).expect("public"), keys.public());
    }
}

#[test]
fn shares_of_several_generations_should_be_kept_until_they_are_erased() {
    let (mut sample, other) = (dealt(4), dealt(5));
    let first = sample.members[0].shares.remove(&0).expect("dealt");
    let of = |generation: u32, share: &HeldShare| HeldShare { generation, ..share.clone() };
    let foreign = other.members[0].shares[&0].clone();
    let (_folder, path, ring) = saved(&sample.members[0]);
    assert!(ring.shares().is_empty());
    for generation in [1, 0] {
        ring.save_share(&of(generation, &first)).expect("saved");
        ring.save_share(&of(generation, &first)).expect("the same again");
    }
    let held = |ring: &Keyring| ring.shares().iter().map(|share| share.generation).collect::<Vec<_>>();
    assert_eq!((held(&ring), held(&open(&path).expect("open"))), (vec![0, 1], vec![0, 1]));

    let same_group = HeldShare { group_id: first.group_id, ..foreign.clone() };
    assert!(matches!(ring.save_share(&same_group), Err(KeyError::ShareExists { generation: 0 })));
    assert!(matches!(ring.save_share(&of(2, &foreign)), Err(KeyError::OtherGroup { .. })));

    // Another process has saved meanwhile: nothing of it is lost.
    open(&path).expect("open").save_share(&of(2, &first)).expect("saved elsewhere");
    assert!(ring.erase_share(0).expect("erased") && !ring.erase_share(0).expect("gone already"));
    assert_eq!((held(&ring), held(&open(&path).expect("open"))), (vec![1, 2], vec![1, 2]));

    open(&path).expect("open").reseal(&Passphrase::new("another passphrase"), Cost::QUICK).expect("resealed");
    let resealed = ring.erase_share(1).expect_err("the file has another key now");
    assert!(matches!(resealed, KeyError::Open { source: EnvelopeError::Resealed, .. }));
}

/// A fresh key needs nobody's old share, so a proposal that names an old roster must not take the place of what may sign.
#[test]
fn share_should_give_way_to_no_other_key() {
    let (mut sample, other) = (dealt(4), dealt(5));
    let first = sample.members[0].shares.remove(&0).expect("dealt");
    let again = sample.members[1].shares.remove(&0).expect("dealt");
    let fresh = HeldShare { group_id: first.group_id, ..other.members[0].shares[&0].clone() };
    let (_folder, _, ring) = saved(&sample.members[0]);
    for generation in [0, 1] {
        ring.save_share(&HeldShare { generation, ..first.clone() }).expect("saved");
    }
    for generation in [0, 1] {
        let refused = ring.renew_share(&HeldShare { generation, ..fresh.clone() });
        assert!(matches!(refused, Err(KeyError::ShareExists { .. })), "{refused:?}");
        assert_eq!(ring.share(generation).expect("held").group_key, first.group_key);
    }
    ring.renew_share(&HeldShare { generation: 1, ..again.clone() }).expect("a later round's, of the same key");
    assert_eq!(ring.share(1).expect("held").secret.index(), again.secret.index());
}

#[test]
fn secrets_should_not_be_shown_nor_stand_in_the_file() {
    let keys = dealt(1).members.remove(0);
    let (_folder, path, ring) = saved(&keys);
    let share = keys.shares[&0].secret.secret().to_bytes();
    let file = std::fs::read(&path).expect("bytes");
    let shown = format!("{keys:?} {ring:?} {:?} {:?}", ring.keys(), right());
    let ledger = &keys.ledger;
    let secrets = [
        ledger.spend_private_key.expose(),
        ledger.session_private_key.expose(),
        &keys.identity.to_bytes(),
        &keys.evm.to_bytes().0,
        &*share,
    ];
    for secret in secrets {
        assert!(!shown.contains(&hex::encode(secret)) && !shown.contains(&format!("{secret:?}")), "{shown}");
        let text = hex::encode(secret);
        assert!(
            !file.windows(32).any(|bytes| bytes == secret) && !file.windows(64).any(|bytes| bytes == text.as_bytes())
        );
    }
    assert!(!shown.contains("correct horse"));
}

#[test]
fn group_without_majority_should_not_be_dealt() {
    let terms =
        DealTerms { threshold: Some(1), chains: vec![], fee_asset: XIN, fee_amount: "0".parse().expect("zero") };
    let member = DealMember { keys: dealt(1).members[0].public(), peer: "http://a".into() };
    assert!(matches!(deal(&[], &terms, &mut counting()), Err(DealError::Key(_))));
    assert!(matches!(deal(&[member.clone(), member], &terms, &mut counting()), Err(DealError::Key(_))));
}
