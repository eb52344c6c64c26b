//! The users and coins behind the recorded answers: fixed keys, and what follows from them.

use std::collections::BTreeMap;

use lockstep::ledger::wire::Hex32;
use lockstep::ledger::{KernelNodes, Keystore, SafeApi, Seed};
use lockstep_core::mixin::ids::{XIN, members_hash, output_id};
use lockstep_core::mixin::{
    Deposit, GhostScalar, Input, Output, PrivateKey, PublicKey, Signature, Signatures, Transaction,
};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256, Uuid};

use super::{PAYMENT, PAYOUT, REVOKED, Service};

/// Somebody, as the server knows it: with the view key that only the server has.
struct Person {
    name: &'static str,
    id: Uuid,
    spend: PrivateKey,
    view: PrivateKey,
    seed: u8,
}

impl Person {
    fn new(name: &'static str, seed: u8) -> Self {
        let (spend, view) =
            (PrivateKey::from_ed25519_seed(&[seed; 32]), PrivateKey::from_ed25519_seed(&[seed | 0x40; 32]));
        Self { name, id: Uuid::from_u128(seed.into()), spend, view, seed }
    }

    fn keystore(&self) -> Keystore {
        Keystore {
            app_id: self.id,
            session_id: Uuid::from_u128(u128::from(self.seed) << 64),
            session_private_key: Seed::new([self.seed | 0x80; 32]),
            server_public_key: Hex32([9; 32]),
            spend_private_key: Seed::new([self.seed; 32]),
            is_spend_private_sum: false,
        }
    }
}

/// Values for the placeholders.
pub(super) type Names = BTreeMap<String, String>;

pub(super) struct Scene {
    people: [Person; 4],
    names: Names,
}

impl Scene {
    pub(super) fn new() -> Self {
        let people = [Person::new("alice", 1), Person::new("a", 2), Person::new("b", 3), Person::new("bob", 4)];
        let mut scene = Self { people, names: Names::new() };
        let [alice, a, b, bob] = [0, 1, 2, 3];
        scene.name_people();
        scene.name("payment", PAYMENT);
        scene.name("payout", PAYOUT);
        scene.name("revoked", REVOKED);
        scene.coin("coin", 11, &[alice]);
        scene.coin("shared", 12, &[a, b]);
        scene.keys("paid", 13, &[bob]);
        scene.keys("out", 14, &[bob]);
        scene
    }

    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }

    /// The clients of the scene's users, at these addresses.
    pub(super) fn service(&self, api: &str, node: &str) -> Service {
        let [alice, a, b, bob] = &self.people;
        let client = |person: &Person| SafeApi::new(api, person.keystore()).expect("a client");
        let kernel = KernelNodes::new(&[node.to_owned()], 1).expect("one node");
        Service { alice: client(alice), members: [client(a), client(b)], bob: bob.id, kernel }
    }

    fn name(&mut self, name: &str, value: impl ToString) {
        self.names.insert(name.to_owned(), value.to_string());
    }

    fn name_people(&mut self) {
        let known: Vec<_> = self.people.iter().map(|one| (one.name, one.id, one.spend.public())).collect();
        for (name, id, spend) in known {
            self.name(name, id);
            self.name(&format!("{name}.hash"), hex::encode(members_hash(&[id])));
            self.name(&format!("{name}.spend"), hex::encode(spend.to_bytes()));
        }
        let group = [self.people[1].id, self.people[2].id];
        self.name("group.hash", hex::encode(members_hash(&group)));
    }

    /// One-time keys for the receivers of output 0, from a secret of the key service.
    fn keys(&mut self, name: &str, secret: u8, receivers: &[usize]) -> (Vec<PublicKey>, PublicKey) {
        let r = PrivateKey::from_ed25519_seed(&[secret; 32]);
        let mask = r.public();
        let mut keys = Vec::new();
        for (at, receiver) in receivers.iter().enumerate() {
            let person = &self.people[*receiver];
            let scalar = GhostScalar::of_receiver(&person.view, &mask, 0);
            let key = scalar.public(&person.spend.public()).expect("a key");
            let (view, whose) = (hex::encode(scalar.to_bytes()), person.name);
            self.name(&format!("{name}.view.{whose}"), view);
            self.name(&format!("{name}.key.{at}"), hex::encode(key.to_bytes()));
            keys.push(key);
        }
        self.name(&format!("{name}.mask"), hex::encode(mask.to_bytes()));
        (keys, mask)
    }

    /// A deposit of 10 XIN, as the custodian made it.
    fn coin(&mut self, name: &str, secret: u8, owners: &[usize]) {
        let (keys, mask) = self.keys(name, secret, owners);
        let amount: Amount = "10".parse().expect("an amount");
        let deposit = Deposit {
            chain: B256::new(AssetId::from_uuid(Uuid::from_u128(0x43d6_1dcd_e413_450d_80b8_101d_5e90_3357)).0),
            asset_key: b"0xa974c709cfb4566686553a20790685a47aceaa33".to_vec(),
            transaction: format!("0x{}", hex::encode([secret; 32])).into_bytes(),
            index: 0,
            amount,
        };
        let threshold = u8::try_from(owners.len()).expect("few");
        let output = Output::of_keys(amount, keys.iter().map(PublicKey::raw).collect(), mask.raw(), threshold);
        let inputs = vec![Input::of_deposit(deposit)];
        let made = Transaction::new(AssetId::from_uuid(XIN), inputs, vec![output], Vec::new(), Vec::new());
        let transaction = made.expect("bounds");
        let hash = transaction.hash();
        let custodian = Signature::sign(&PrivateKey::from_ed25519_seed(&[0x77; 32]), &hash);
        let signatures = Signatures::Map(vec![BTreeMap::from([(0, custodian)])]);
        let signed = lockstep_core::mixin::SignedTransaction::new(transaction, signatures).expect("bounds");
        self.name(&format!("{name}.hash"), hex::encode(hash));
        self.name(&format!("{name}.raw"), hex::encode(signed.encode()));
        self.name(&format!("{name}.id"), output_id(&CoinId { transaction: hash, index: 0 }));
    }
}
