//! Every figure of `mixin.json`: from the tests of the ledger's own clients, or derived by their rules.

use std::collections::BTreeMap;

use lockstep_core::account::MixMember;
use lockstep_core::mixin::address::{XinKeys, view_of_seed, xin_text};
use lockstep_core::mixin::encoding::Writer;
use lockstep_core::mixin::hash::{blake3, sha3_256};
use lockstep_core::mixin::ids::{XIN, members_hash, output_id, storage_cost, unique_id, unique_object_id};
use lockstep_core::mixin::structure::extra_limit;
use lockstep_core::mixin::{
    CoinKeys, GhostScalar, Input, MixAddress, Output, PrivateKey, PublicKey, RawKey, Script, Signature, Signatures,
    SignedTransaction, Transaction, XinAddress, ghost, inspect,
};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, B256, Uuid};
use serde_json::{Value, json};

use crate::figures::{array, bytes, load, number, only, parsed, rows, text};

/// Figures of formats that Lockstep has no codec for.
const SKIPPED: [(&str, &str); 7] = [
    ("invoice", "invoices (MIN…) are not part of Lockstep"),
    ("mvm-event", "MVM's event format; Lockstep's messages are its own (DESIGN.md section 9)"),
    ("mvm-halt", "MVM's halt message; Lockstep's contract has none"),
    ("mvm-topic", "names of MVM's registry, which Lockstep's contract replaces"),
    ("mvm-user-contract", "an address on MVM's own chain, not verified by the figures' author either"),
    ("mvm-h2p-event", "MVM hashes to alt_bn128; Lockstep signs on BLS12-381"),
    ("safe-operation", "the operation format of another application of the ledger"),
];

/// Which figures each check takes in, so that none passes unseen: the fields of `input`, and those of `expected`.
const FIELDS: [(&str, &[&str], &[&str]); 29] = [
    ("asset-id-XIN asset-id-BTC", &["uuid"], &["kernel_asset_id"]),
    ("enc-ints", &["u16", "u32", "u64", "int(u16)"], &["hex"]),
    ("integer-1 integer-3 integer-5 integer-7", &["decimal"], &["string"]),
    ("key-seed", &["seed64"], &["private", "public"]),
    ("xin-ones xin-burn-ruby", &["seed64"], &["address"]),
    ("xin-public-spend", &["public_spend"], &["private_view(derived)", "address"]),
    ("sig-2 sig-4", &["private", "public", "message_hash"], &["signature"]),
    ("tx5-stage-0 tx5-stage-1 tx5-stage-3", &["steps"], &["payload_hash"]),
    ("tx5-marshal-740", &["steps", "account_seeds"], &["hex", "length"]),
    (
        "ghost-priv",
        &["mask", "view_priv", "spend_priv", "output_index"],
        &["ghost_private", "ghost_public", "view_ghost_output_key"],
    ),
    ("tx5-withdrawal", &["hex"], &["withdrawal_address", "tag", "payload_hash(ref)", "payload_equals_raw"]),
    ("aggsig-0 aggsig-2", &["signers", "signature"], &["hex"]),
    ("tx5-cm-roundtrip", &["hex"], &["roundtrip", "extra_limit", "payload_hash(ref)"]),
    ("extra-limit-1 extra-limit-3 extra-limit-5", &["asset", "output_amount", "script", "keys"], &["limit"]),
    ("mtg-withdrawal-raw", &["asset_uuid", "input", "withdrawal", "change", "extra"], &["hex", "transaction_hash"]),
    ("mtg-genesis-id", &["members", "threshold", "epoch"], &["genesis_id"]),
    ("mtg-output-id", &["transaction_hash", "output_index"], &["output_id"]),
    ("unique-ba unique-conv-node", &["a", "b"], &["id"]),
    ("unique-ruby-3", &["ids"], &["id"]),
    ("uobj-lixv", &["args"], &["id"]),
    (
        "keygen-op-ids",
        &["request_id", "genesis", "signers_sorted", "threshold", "rule"],
        &["operation_ids", "trace_ids"],
    ),
    ("members-hash-1", &["members"], &["hash"]),
    ("mix-0 mix-2 mix-storage mix-ruby", &["members", "threshold"], &["address"]),
    ("storage-cost-256 storage-cost-1024", &["extra_len"], &["xin"]),
    (
        "safe-sign",
        &["unsigned_raw", "views", "spend_seed", "signer_index"],
        &["payload_hash(ref)", "ghost_private(ref)", "signed_raw"],
    ),
    ("safe-xin-ghost", &["address", "seed64", "output_index"], &["mask", "key"]),
    ("sdkgo-pledge sdkgo-rpc", &["hex"], &["hash"]),
    ("crate-tx-refs", &["asset", "input", "output", "references", "extra"], &["hex"]),
    ("bot-xin-ghost-trace", &["trace_id", "index", "spend_private_key", "address"], &["mask", "key"]),
];

#[test]
fn every_figure_should_match_or_be_skipped_with_a_reason() {
    let file = load("mixin.json");
    only(&file, &["about", "vectors"]);
    let (mut checked, mut skipped) = (0, 0);
    for row in rows(&file["vectors"]) {
        only(row, &["id", "category", "source", "test", "input", "expected", "verified_by_ref", "note"]);
        let id = text(row, "id");
        if SKIPPED.iter().any(|(name, _)| *name == id) {
            skipped += 1;
            continue;
        }
        check(id, &row["input"], &row["expected"]);
        checked += 1;
    }
    assert_eq!((checked, skipped), (rows(&file["vectors"]).len() - SKIPPED.len(), SKIPPED.len()));
}

fn check(id: &str, input: &Value, expected: &Value) {
    let fields = FIELDS.iter().find(|(ids, ..)| ids.split(' ').any(|known| known == id));
    let (_, of_input, of_expected) = fields.unwrap_or_else(|| panic!("no check knows the figure `{id}`"));
    only(input, of_input);
    only(expected, of_expected);
    match id {
        "asset-id-XIN" | "asset-id-BTC" => {
            assert_eq!(AssetId::from_uuid(parsed(input, "uuid")), parsed(expected, "kernel_asset_id"));
        }
        "enc-ints" => check_numbers(input, expected),
        "integer-1" | "integer-3" | "integer-5" | "integer-7" => {
            let (amount, _) = Amount::parse_floored(text(input, "decimal")).expect("a decimal");
            assert_eq!(amount.to_string(), text(expected, "string"));
        }
        "key-seed" => {
            let key = PrivateKey::from_seed(&array(input, "seed64")).expect("a seed");
            assert_eq!(*key.to_bytes(), array::<32>(expected, "private"));
            assert_eq!(key.public(), parsed(expected, "public"));
        }
        "xin-ones" => {
            let keys = XinKeys::from_seed(&array(input, "seed64")).expect("a seed");
            assert_eq!(keys.address().to_string(), text(expected, "address"));
        }
        "xin-burn-ruby" => check_burn_address(input, expected),
        "xin-public-spend" => {
            let spend: PublicKey = parsed(input, "public_spend");
            let view = spend.derive_private().expect("a key");
            assert_eq!(*view.to_bytes(), array::<32>(expected, "private_view(derived)"));
            assert_eq!(XinAddress { spend, view: view.public() }.to_string(), text(expected, "address"));
        }
        "sig-2" | "sig-4" => check_signature(input, expected),
        "tx5-stage-0" | "tx5-stage-1" | "tx5-stage-3" => {
            assert_eq!(staged(input).hash().0, array::<32>(expected, "payload_hash"));
        }
        "tx5-marshal-740" => {
            assert_eq!(text(input, "account_seeds"), "account 0: 64 bytes with last byte 1; account i: byte i = i");
            let payload = staged(input).payload();
            assert_eq!(
                (hex::encode(&payload).as_str(), json!(payload.len())),
                (text(expected, "hex"), expected["length"].clone())
            );
        }
        "ghost-priv" => check_ghost_private(input, expected),
        "tx5-withdrawal" => check_withdrawal(input, expected),
        "aggsig-0" | "aggsig-2" => check_aggregated(input, expected),
        "tx5-cm-roundtrip" => check_round_trip(input, expected),
        "extra-limit-1" | "extra-limit-3" | "extra-limit-5" => check_extra_limit(input, expected),
        "mtg-withdrawal-raw" => check_mtg_withdrawal(input, expected),
        "mtg-genesis-id" => {
            let mut members: Vec<&str> = rows(&input["members"]).iter().filter_map(Value::as_str).collect();
            members.sort_unstable();
            let genesis = format!("{}:{}:{}", members.concat(), input["threshold"], input["epoch"]);
            assert_eq!(sha3_256(genesis.as_bytes()).0, array::<32>(expected, "genesis_id"));
        }
        "mtg-output-id" => {
            let index = u16::try_from(number(input, "output_index")).expect("a small index");
            let coin = CoinId { transaction: B256::new(array(input, "transaction_hash")), index };
            assert_eq!(output_id(&coin), parsed::<Uuid>(expected, "output_id"));
        }
        "unique-ba" | "unique-conv-node" => {
            assert_eq!(unique_id(text(input, "a"), text(input, "b")), parsed::<Uuid>(expected, "id"));
        }
        "unique-ruby-3" => {
            let ids = rows(&input["ids"]).iter().map(|id| id.as_str().expect("an id").to_owned());
            let folded = ids.reduce(|left, right| unique_id(&left, &right).to_string());
            assert_eq!(folded.as_deref(), expected["id"].as_str());
        }
        "uobj-lixv" => {
            let args: Vec<&str> = rows(&input["args"]).iter().filter_map(Value::as_str).collect();
            assert_eq!(unique_object_id(&args), parsed::<Uuid>(expected, "id"));
        }
        "keygen-op-ids" => check_operation_ids(input, expected),
        "members-hash-1" => {
            let members: Vec<Uuid> = serde_json::from_value(input["members"].clone()).expect("members");
            assert_eq!(members_hash(&members).0, array::<32>(expected, "hash"));
        }
        "mix-0" | "mix-2" | "mix-storage" | "mix-ruby" => check_mix(input, expected),
        "storage-cost-256" | "storage-cost-1024" => {
            let length = usize::try_from(number(input, "extra_len")).expect("a length");
            assert_eq!(storage_cost(length).to_string(), text(expected, "xin"));
        }
        "safe-sign" => check_user_signature(input, expected),
        "safe-xin-ghost" => {
            let r = PrivateKey::from_seed(&array(input, "seed64")).expect("a seed");
            check_address_key(&r, input, number(input, "output_index"), expected);
        }
        "sdkgo-pledge" | "sdkgo-rpc" => {
            let signed = SignedTransaction::decode(&bytes(input, "hex")).expect("a transaction");
            assert_eq!(signed.hash().0, array::<32>(expected, "hash"));
            assert_eq!(signed.encode(), bytes(input, "hex"));
        }
        "crate-tx-refs" => check_reference(input, expected),
        "bot-xin-ghost-trace" => check_traced_key(input, expected),
        other => panic!("no check knows the figure `{other}`"),
    }
}

fn check_numbers(input: &Value, expected: &Value) {
    let mut writer = Writer::default();
    writer.u16(u16::try_from(number(input, "u16")).expect("u16"));
    writer.u32(u32::try_from(number(input, "u32")).expect("u32"));
    writer.u64(number(input, "u64"));
    writer.count(usize::try_from(number(input, "int(u16)")).expect("a count"));
    assert_eq!(writer.into_bytes(), bytes(expected, "hex"));
}

/// The former storage address has the identity as its spend key: it can be written, but must not be paid.
fn check_burn_address(input: &Value, expected: &Value) {
    let view = view_of_seed(&array(input, "seed64")).expect("a key").public();
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(xin_text(&identity, &view.to_bytes()), text(expected, "address"));
    assert!(text(expected, "address").parse::<XinAddress>().is_err());
}

fn check_signature(input: &Value, expected: &Value) {
    let key = PrivateKey::from_bytes(array(input, "private")).expect("a key");
    assert_eq!(key.public(), parsed(input, "public"));
    let hash = B256::new(array(input, "message_hash"));
    let signature = Signature::sign(&key, &hash);
    assert_eq!(signature, parsed(expected, "signature"));
    assert!(signature.verify(&key.public(), &hash));
}

/// The transactions of the kernel's own test, built step by step.
fn staged(input: &Value) -> Transaction {
    let seed = [1; 64];
    let mask = PrivateKey::from_seed(&seed).expect("a seed");
    let ten_thousand = "10000".parse().expect("a decimal");
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for step in rows(&input["steps"]) {
        match step.as_str().expect("a step") {
            "empty v5 tx, asset XIN" => {}
            "+input (0x00*32, 0)" => inputs.push(Input::of_coin(CoinId { transaction: B256::ZERO, index: 0 })),
            "+input (0x00*32, 1)" => inputs.push(Input::of_coin(CoinId { transaction: B256::ZERO, index: 1 })),
            "+script output 10000, script fffe0d, no keys, mask=pub(NewKeyFromSeed(01*64))" => {
                outputs.push(Output::of_keys(ten_thousand, Vec::new(), mask.public().raw(), 13));
            }
            "+AddScriptOutput(16 accounts, fffe0d, 10000, seed 01*64) at output index 1" => {
                let accounts: Vec<XinAddress> = (0..16).map(|index| account(index).address()).collect();
                outputs.push(Output::of_addresses(ten_thousand, &accounts, 13, &mask, 1).expect("keys"));
            }
            other => panic!("no step `{other}`"),
        }
    }
    Transaction::new(AssetId::from_uuid(XIN), inputs, outputs, Vec::new(), Vec::new()).expect("within bounds")
}

/// Account 0: a seed whose last byte is 1; account i: byte i is i.
fn account(index: u8) -> XinKeys {
    let mut seed = [0; 64];
    if index == 0 {
        seed[63] = 1;
    } else {
        seed[usize::from(index)] = index;
    }
    XinKeys::from_seed(&seed).expect("a seed")
}

fn check_ghost_private(input: &Value, expected: &Value) {
    let view = PrivateKey::from_bytes(array(input, "view_priv")).expect("a key");
    let spend = PrivateKey::from_bytes(array(input, "spend_priv")).expect("a key");
    let (mask, index) = (parsed(input, "mask"), number(input, "output_index"));
    let key = ghost::derive_private(&mask, &view, &spend, index).expect("a key");
    assert_eq!(*key.to_bytes(), array::<32>(expected, "ghost_private"));
    assert_eq!(key.public(), parsed(expected, "ghost_public"));
    let recovered = GhostScalar::of_receiver(&view, &mask, index).spend(&key.public()).expect("a key");
    assert_eq!((recovered, recovered), (spend.public(), parsed(expected, "view_ghost_output_key")));
}

fn check_withdrawal(input: &Value, expected: &Value) {
    let signed = SignedTransaction::decode(&bytes(input, "hex")).expect("a transaction");
    let sent = signed.transaction().outputs()[0].withdrawal.as_ref().expect("a withdrawal");
    assert_eq!(sent.address, text(expected, "withdrawal_address").as_bytes());
    assert_eq!(sent.tag, text(expected, "tag").as_bytes());
    assert_eq!(signed.hash().0, array::<32>(expected, "payload_hash(ref)"));
    assert_eq!(json!(signed.transaction().payload() == bytes(input, "hex")), expected["payload_equals_raw"]);
}

/// The signature part stands at the end of a transaction.
fn check_aggregated(input: &Value, expected: &Value) {
    let empty = Transaction::new(AssetId::NONE, Vec::new(), Vec::new(), Vec::new(), Vec::new()).expect("empty");
    let signers = serde_json::from_value(input["signers"].clone()).expect("signers");
    let signatures = Signatures::Aggregated { signature: parsed(input, "signature"), signers };
    let signed = SignedTransaction::new(empty, signatures).expect("ascending signers");
    let encoded = signed.encode();
    assert_eq!(SignedTransaction::decode(&encoded).as_ref(), Ok(&signed));
    assert!(encoded.ends_with(&bytes(expected, "hex")));
    // Before it stands the payload but for the two bytes of its empty signature part.
    let before = encoded.len().saturating_sub(bytes(expected, "hex").len());
    assert_eq!([&encoded[..before], &[0, 0]].concat(), signed.transaction().payload());
}

fn check_round_trip(input: &Value, expected: &Value) {
    let signed = SignedTransaction::decode(&bytes(input, "hex")).expect("a transaction");
    assert_eq!(json!(signed.encode() == bytes(input, "hex")), expected["roundtrip"]);
    assert_eq!(json!(extra_limit(signed.transaction())), expected["extra_limit"]);
    assert_eq!(signed.hash().0, array::<32>(expected, "payload_hash(ref)"));
}

fn check_extra_limit(input: &Value, expected: &Value) {
    assert_eq!((text(input, "asset"), number(input, "keys")), ("XIN", 1));
    let mut output = Output::of_keys(parsed(input, "output_amount"), vec![RawKey::ZERO], RawKey::ZERO, 0);
    output.script = Script(bytes(input, "script"));
    let transaction = Transaction::new(AssetId::from_uuid(XIN), Vec::new(), vec![output], Vec::new(), Vec::new());
    assert_eq!(json!(extra_limit(&transaction.expect("within bounds"))), expected["limit"]);
}

fn check_mtg_withdrawal(input: &Value, expected: &Value) {
    let decoded = SignedTransaction::decode(&bytes(expected, "hex")).expect("a transaction");
    let (hash, index) = text(input, "input").split_once(':').expect("hash:index");
    let coin = CoinId { transaction: hash.parse().expect("a hash"), index: index.parse().expect("an index") };
    let withdrawal = &input["withdrawal"];
    only(withdrawal, &["destination", "amount"]);
    let destination = text(withdrawal, "destination").as_bytes().to_vec();
    // The figure gives the change's keys only in the bytes.
    let change = &decoded.transaction().outputs()[1];
    assert_eq!(text(input, "change"), "0.0001 threshold 2");
    let change = Output::of_keys("0.0001".parse().expect("a decimal"), change.keys.clone(), change.mask, 2);
    let outputs = vec![Output::of_withdrawal(parsed(withdrawal, "amount"), destination, Vec::new()), change];
    let extra = text(input, "extra").as_bytes().to_vec();
    let asset = AssetId::from_uuid(parsed(input, "asset_uuid"));
    let built = Transaction::new(asset, vec![Input::of_coin(coin)], outputs, Vec::new(), extra).expect("bounds");
    assert_eq!(hex::encode(built.payload()), text(expected, "hex"));
    assert_eq!(built.hash().0, array::<32>(expected, "transaction_hash"));
}

/// op = U(U(request, "%8d" i), "MTG:[signers]:threshold"), trace = U(genesis, op).
fn check_operation_ids(input: &Value, expected: &Value) {
    assert_eq!(text(input, "rule"), r#"op=U(U(req,"%8d" i),"MTG:[s0 s1 ..]:19"); trace=U(genesis,op)"#);
    let signers: Vec<&str> = rows(&input["signers_sorted"]).iter().filter_map(Value::as_str).collect();
    let group = format!("MTG:[{}]:{}", signers.join(" "), input["threshold"]);
    let operations = expected["operation_ids"].as_object().expect("ids");
    let traces = expected["trace_ids"].as_object().expect("ids");
    assert_eq!((operations.len(), traces.len()), (16, 16));
    for (index, id) in operations {
        let numbered = unique_id(text(input, "request_id"), &format!("{index:>8}")).to_string();
        let operation = unique_id(&numbered, &group).to_string();
        assert_eq!(json!(operation), *id);
        assert_eq!(json!(unique_id(text(input, "genesis"), &operation)), traces[index]);
    }
}

fn check_mix(input: &Value, expected: &Value) {
    let member = |text: &Value| match text.as_str().expect("a member") {
        xin if xin.starts_with("XIN") => xin.parse::<XinAddress>().expect("an address").member(),
        user => MixMember::User(user.parse().expect("a user")),
    };
    let members = rows(&input["members"]).iter().map(member).collect();
    let threshold = u8::try_from(number(input, "threshold")).expect("a threshold");
    let address = MixAddress { threshold, members };
    assert_eq!(address.to_string(), text(expected, "address"));
    assert_eq!(parsed::<MixAddress>(expected, "address"), address);
    let shown = serde_json::to_value(inspect::address(text(expected, "address")).expect("an address")).expect("json");
    assert_eq!((&shown["members"], &shown["threshold"]), (&input["members"], &input["threshold"]));
}

/// The whole way of a ledger user: the API's view plus the spend scalar signs.
fn check_user_signature(input: &Value, expected: &Value) {
    let mut signed = SignedTransaction::decode(&bytes(input, "unsigned_raw")).expect("a transaction");
    assert_eq!(signed.hash().0, array::<32>(expected, "payload_hash(ref)"));
    let [view] = rows(&input["views"]).as_slice() else { panic!("one view for one input") };
    let view = hex::decode(view.as_str().expect("a view")).expect("hex");
    let view = GhostScalar::from_bytes(view.try_into().expect("32 bytes")).expect("a scalar");
    let key = view.private(&PrivateKey::from_ed25519_seed(&array(input, "spend_seed"))).expect("a key");
    assert_eq!(*key.to_bytes(), array::<32>(expected, "ghost_private(ref)"));
    let coin = CoinKeys { keys: vec![key.public().raw()], script: Script::of_threshold(1) };
    assert_eq!(json!(signed.sign_input(0, &coin, &key).expect("own coin")), input["signer_index"]);
    assert_eq!(hex::encode(signed.encode()), text(expected, "signed_raw"));
    let Signatures::Map(maps) = signed.signatures() else { panic!("maps") };
    assert_eq!(maps.iter().map(BTreeMap::len).collect::<Vec<_>>(), [1]);
    assert_eq!(signed.verify(&[coin]), Ok(()));
}

fn check_address_key(r: &PrivateKey, input: &Value, index: u64, expected: &Value) {
    let address: XinAddress = parsed(input, "address");
    assert_eq!(r.public(), parsed(expected, "mask"));
    assert_eq!(ghost::derive_public(r, &address.view, &address.spend, index), Ok(parsed(expected, "key")));
}

/// 32 bytes of one value, written as `11*32`.
fn repeated(text: &str) -> [u8; 32] {
    let byte = text.strip_suffix("*32").unwrap_or_else(|| panic!("32 bytes alike, not {text}"));
    [u8::from_str_radix(byte, 16).unwrap_or_else(|error| panic!("{text}: {error}")); 32]
}

fn check_reference(input: &Value, expected: &Value) {
    let paid = &input["output"];
    only(paid, &["amount", "key", "mask", "script"]);
    let (key, mask) = (RawKey(repeated(text(paid, "key"))), RawKey(repeated(text(paid, "mask"))));
    let mut output = Output::of_keys(parsed(paid, "amount"), vec![key], mask, 0);
    output.script = Script(bytes(paid, "script"));
    let (hash, index) = text(input, "input").split_once(':').expect("hash:index");
    let coin = CoinId { transaction: B256::new(repeated(hash)), index: index.parse().expect("an index") };
    let references = rows(&input["references"]).iter().map(|hash| B256::new(repeated(hash.as_str().expect("a hash"))));
    let (inputs, extra) = (vec![Input::of_coin(coin)], text(input, "extra").as_bytes().to_vec());
    let asset = AssetId(repeated(text(input, "asset")));
    let built = Transaction::new(asset, inputs, vec![output], references.collect(), extra).expect("within bounds");
    assert_eq!(hex::encode(built.payload()), text(expected, "hex"));
    assert_eq!(SignedTransaction::decode(&built.payload()), Ok(built.unsigned()));
}

/// r of a client that derives it: seed = T ‖ blake3(blake3(T ‖ index) ‖ spend key), T = blake3(trace).
fn check_traced_key(input: &Value, expected: &Value) {
    let trace = blake3(text(input, "trace_id").as_bytes());
    let index = number(input, "index");
    let digits: Vec<u8> = index.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let inner = blake3(&[trace.as_slice(), &digits].concat());
    let outer = blake3(&[inner.as_slice(), &bytes(input, "spend_private_key")].concat());
    let seed: [u8; 64] = [trace.0, outer.0].concat().try_into().expect("64 bytes");
    check_address_key(&PrivateKey::from_seed(&seed).expect("a seed"), input, index, expected);
}
