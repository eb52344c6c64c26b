//! Files that come from other people, or back from a backup.

use std::path::Path;

use lockstep::ceremony::plan::{Plan, Terms};
use lockstep::config::MemberConfig;
use lockstep::evm::accounts::DeployedAccounts;
use lockstep::govern::ProposalFile;
use lockstep::keys::{Web3File, named_keys};
use lockstep::ledger::wire::Hex32;
use lockstep::ledger::{Keystore, Seed};
use lockstep_core::group::roster::{Roster, RosterFile};
use lockstep_core::group::{AssetFile, CapsFile, ChainFile, DelaysFile, FeeFile, Finality, Group, GroupFile, Recovery};
use lockstep_core::{Address, Amount, B256, Uuid};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::operations::subjects;
use super::{
    ASSET, Target, Verdict, binding, dealing, json as bytes_of, json_target, member, roster, same, target, text,
};

const MEMBER: &str = include_str!("../../../../deploy/member.example.toml");

pub(super) fn targets() -> Vec<Target> {
    vec![
        target("roster file", vec![toml_of(&roster().to_file())], |bytes| {
            let file = text(bytes).and_then(|text| toml::from_str::<RosterFile>(text).ok());
            let Some(roster) = file.and_then(|file| Roster::parse(&file).ok()) else { return Verdict::Refused };
            same(roster.to_file().is_some_and(|file| Roster::parse(&file) == Ok(roster)))
        }),
        target("group file", vec![toml_of(&group_file())], |bytes| {
            let Some(file) = text(bytes).and_then(|text| toml::from_str::<GroupFile>(text).ok()) else {
                return Verdict::Refused;
            };
            let again = toml::to_string(&file).ok().and_then(|text| toml::from_str::<GroupFile>(&text).ok());
            let Ok(group) = Group::parse(&file) else { return Verdict::Refused };
            let digest = again.as_ref().and_then(|again| Group::parse(again).ok()).map(|again| again.digest());
            same(again == Some(file) && digest == Some(group.digest()))
        }),
        target("ceremony proposal file", plans(), |bytes| {
            let Some(plan) = text(bytes).and_then(|text| Plan::parse(text).ok()) else { return Verdict::Refused };
            let again = plan.to_text().ok().and_then(|text| Plan::parse(&text).ok());
            same(again.is_some_and(|again| again == plan && again.id() == plan.id()))
        }),
        target("governance proposal file", proposals(), |bytes| {
            let Some(file) = text(bytes).and_then(|text| ProposalFile::parse(text).ok()) else {
                return Verdict::Refused;
            };
            let again = serde_json::to_string(&file).ok().and_then(|text| ProposalFile::parse(&text).ok());
            same(again.is_some_and(|again| again == file))
        }),
        target("member configuration", vec![member_file()], |bytes| {
            let Some(text) = text(bytes) else { return Verdict::Refused };
            match MemberConfig::parse(text, Path::new("member.toml"), [], &[]) {
                Ok(_) => Verdict::Taken,
                // It is shown to a person in one line.
                Err(error) if error.to_string().contains('\n') => Verdict::Broken("an error of several lines"),
                Err(_) => Verdict::Refused,
            }
        }),
        target("ledger keystore", keystores().iter().map(bytes_of).collect(), |bytes| {
            let Some(read) = text(bytes).and_then(|text| Keystore::parse(text).ok()) else { return Verdict::Refused };
            let again = serde_json::to_string(&read).ok().and_then(|text| Keystore::parse(&text).ok());
            same(again.is_some_and(|again| again == read))
        }),
        // The checksum that damage breaks is mended; without that, nothing behind it would be read.
        target("key file", vec![key_file()], |bytes| {
            let sum = hex::encode(Sha256::digest(bytes));
            let Ok(keys) = named_keys(&[bytes, sum.as_bytes(), b"\n"].concat()) else { return Verdict::Refused };
            let _ = named_keys(bytes);
            let again = serde_json::to_vec(&keys).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            same(again == Some(keys))
        }),
        target("wallet key file", wallet_files(), |bytes| match Web3File::parse(bytes) {
            Ok(_) => Verdict::Taken,
            Err(_) => Verdict::Refused,
        }),
        json_target("deployed accounts", vec![deployed()]),
    ]
}

/// The example of all keys, without its comments: damage there is none.
fn member_file() -> Vec<u8> {
    let lines = MEMBER.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

fn toml_of(value: &impl Serialize) -> Vec<u8> {
    toml::to_string(value).expect("TOML").into_bytes()
}

fn terms() -> Terms {
    let chain = ChainFile {
        id: 31_337,
        contract: None,
        instance: B256::repeat_byte(4).to_string(),
        start_block: 3,
        finality: Finality::Depth(2),
        payload_max: 65_536,
        gas_max: 5_000_000,
        aliases: vec!["quorum".to_owned()],
        recovery: Some(Recovery { address: Address::repeat_byte(3), silence_days: 30 }),
    };
    let other = ChainFile {
        id: 1,
        instance: B256::repeat_byte(5).to_string(),
        finality: Finality::Finalized,
        aliases: Vec::new(),
        recovery: None,
        ..chain.clone()
    };
    let amount = Amount::from_units;
    Terms {
        fee: FeeFile { asset: ASSET, amount: amount(1_000_000) },
        delays: DelaysFile { unknown: 60, over: 3_600 },
        chains: vec![chain, other],
        assets: vec![AssetFile { id: ASSET, symbol: "XIN".to_owned(), minimum: amount(3), floor: amount(2) }],
        caps: vec![CapsFile { chain: 1, asset: ASSET, payout: amount(1), hour: amount(2), day: amount(3) }],
    }
}

/// A group file as its first ceremony leaves it.
fn group_file() -> GroupFile {
    let opening = Roster::uncertified(binding().group_id, 0, vec![member()], dealing().group);
    let mut file = terms().group_file(&opening);
    for chain in &mut file.chains {
        chain.contract = Some(Address::repeat_byte(8));
    }
    file
}

fn plans() -> Vec<Vec<u8>> {
    let person = crate::ceremony::Person::new(1);
    let first = crate::ceremony::proposal(
        lockstep_core::dkg::Kind::First,
        1,
        std::slice::from_ref(&person),
        1,
        &std::collections::BTreeMap::new(),
    );
    let first = Plan { proposal: first, terms: Some(terms()) };
    let later = format!(
        "group_id = \"{}\"\nround = 4\nkind = \"reshare\"\ngeneration = 3\nthreshold = 1\nprevious = \"{}\"\nabsent = [2]\n\n\
         [deadlines]\njoin = 600\ndeal = 60\nlog = 60\nagree = 60\nfinish = 60\n\n\
         [[members]]\nindex = 1\nname = \"one\"\nuser = \"{}\"\nidentity = \"{}\"\npeer = \"http://127.0.0.1:7701\"\n",
        binding().group_id,
        B256::repeat_byte(5),
        Uuid::from_u128(1),
        hex::encode(person.public()),
    );
    vec![first.to_text().expect("TOML").into_bytes(), later.into_bytes()]
}

fn proposals() -> Vec<Vec<u8>> {
    let file = |proposal: lockstep_core::govern::Subject| {
        let digest = proposal.digest().expect("a digest");
        bytes_of(&ProposalFile { says: vec!["in words".to_owned()], digest, proposal })
    };
    subjects().into_iter().map(file).collect()
}

fn keystores() -> Vec<Keystore> {
    let plain = Keystore {
        app_id: Uuid::from_u128(1),
        session_id: Uuid::from_u128(2),
        session_private_key: Seed::new([3; 32]),
        server_public_key: Hex32([4; 32]),
        spend_private_key: Seed::new([5; 32]),
        is_spend_private_sum: false,
    };
    // A scalar is below the order of the group.
    vec![Keystore { spend_private_key: Seed::new([6; 32]), is_spend_private_sum: true, ..plain.clone() }, plain]
}

/// A key file without its last line, the checksum.
fn key_file() -> Vec<u8> {
    let (key, share) = (hex::encode([5; 96]), hex::encode([6; 96]));
    let header = json!({
        "kdf": {
            "name": "argon2id", "salt": hex::encode([1; 16]), "check": hex::encode([2; 16]),
            "cost": { "memory_kib": 64, "passes": 1, "lanes": 1 },
        },
        "cipher": "xchacha20poly1305",
        "nonce": hex::encode([3; 24]),
        "keys": {
            "name": "one", "user": Uuid::from_u128(1), "identity": hex::encode([4; 32]),
            "spend_public_key": hex::encode([5; 32]), "evm_address": Address::repeat_byte(6),
            "shares": [{
                "group_id": B256::repeat_byte(7), "generation": 2, "index": 1, "threshold": 3, "group_key": key,
                "public_share": share,
            }],
        },
    });
    format!("lockstep-keys 1\n{header}\n{}\n", hex::encode([9; 240])).into_bytes()
}

fn wallet_files() -> Vec<Vec<u8>> {
    let hash = hex::encode([7; 32]);
    let file = |kdf: &str, parameters: serde_json::Value| {
        bytes_of(&json!({
            "version": 3, "id": Uuid::from_u128(1), "address": hex::encode([8; 20]),
            "crypto": {
                "cipher": "aes-128-ctr", "cipherparams": { "iv": hex::encode([9; 16]) }, "ciphertext": hash, "mac": hash,
                "kdf": kdf, "kdfparams": parameters,
            },
        }))
    };
    vec![
        file("scrypt", json!({ "dklen": 32, "n": 262_144, "r": 8, "p": 1, "salt": hash })),
        file("pbkdf2", json!({ "dklen": 32, "c": 262_144, "prf": "hmac-sha256", "salt": hash })),
    ]
}

fn deployed() -> DeployedAccounts {
    let [storage, accounts, coin, own_coin, bridge] = [1, 2, 3, 4, 5].map(Address::repeat_byte);
    DeployedAccounts { chain: 1, storage, accounts, coin, own_coin, bridge }
}
