//! Every figure of `kernel.json`, made by the kernel v0.19.2.

use lockstep_core::mixin::address::{XinKeys, view_of_seed, xin_text};
use lockstep_core::mixin::hash::{blake3, for_network, sha3_256};
use lockstep_core::mixin::inspect::TransactionView;
use lockstep_core::mixin::{
    CoinKeys, Output, OutputType, PrivateKey, PublicKey, RawKey, Script, Signature, Signatures, SignedTransaction,
    TransactionKind, XinAddress, amount, ghost, inspect,
};
use lockstep_core::{Amount, AssetId, B256, Uuid};
use serde_json::{Value, json};

use crate::figures::{array, bytes, load, number, only, parsed, rows, text};

/// Sections and figures that are not checked, and why.
const SKIPPED: [(&str, &str); 3] = [
    ("about", "prose"),
    ("aggregate_seed", "entropy of an aggregated signature, which Lockstep verifies but never makes"),
    ("error", "the kernel's text; ours names the same cause with its place"),
];

const SECTIONS: [&str; 8] = [
    "addresses",
    "ghost_keys",
    "integers",
    "invalid_addresses",
    "invalid_integers",
    "invalid_transactions",
    "transactions",
    "misc",
];

fn section(name: &str) -> Value {
    assert!(SECTIONS.contains(&name));
    load("kernel.json")[name].take()
}

fn private(row: &Value, field: &str) -> PrivateKey {
    PrivateKey::from_bytes(array(row, field)).unwrap_or_else(|error| panic!("{field} of {row}: {error}"))
}

#[test]
fn every_section_should_be_checked_or_skipped_with_a_reason() {
    let known: Vec<&str> = SECTIONS.into_iter().chain(SKIPPED.map(|(name, _)| name)).collect();
    only(&load("kernel.json"), &known);
}

#[test]
fn addresses_should_match() {
    for row in rows(&section("addresses")) {
        only(
            row,
            &[
                "address",
                "hash",
                "hash_for_network",
                "network",
                "seed",
                "spend_private",
                "spend_public",
                "view_derived_from_spend",
                "view_private",
                "view_public",
            ],
        );
        let keys = XinKeys::from_seed(&array(row, "seed")).expect("a seed");
        let address = keys.address();
        assert_eq!(address.to_string(), text(row, "address"));
        assert_eq!(parsed::<XinAddress>(row, "address"), address);
        assert_eq!(*keys.spend.to_bytes(), array::<32>(row, "spend_private"));
        assert_eq!(*keys.view.to_bytes(), array::<32>(row, "view_private"));
        assert_eq!(address.spend, parsed(row, "spend_public"));
        assert_eq!(address.view, parsed(row, "view_public"));
        assert_eq!(address.hash().0, array::<32>(row, "hash"));
        let network = B256::new(array(row, "network"));
        assert_eq!(for_network(network, address.hash()).0, array::<32>(row, "hash_for_network"));
        let derived = address.spend.derive_private().expect("a key");
        assert_eq!(row["view_derived_from_spend"], json!(derived.to_bytes() == keys.view.to_bytes()));
        let shown = serde_json::to_value(inspect::address(text(row, "address")).expect("an address")).expect("json");
        for field in ["address", "spend_public", "view_public", "hash"] {
            assert_eq!(shown[field], row[field]);
        }
    }
}

#[test]
fn ghost_keys_should_match() {
    for row in rows(&section("ghost_keys")) {
        only(
            row,
            &[
                "address",
                "ghost_private",
                "ghost_public",
                "index",
                "mask",
                "message_hash",
                "r",
                "scalar",
                "seed",
                "shared",
                "signature",
                "spend_private",
                "spend_public",
                "stranger_recovers",
                "stranger_view_private",
                "view_private",
                "view_public",
                "view_recovers_spend",
            ],
        );
        let address: XinAddress = parsed(row, "address");
        assert_eq!((address.spend, address.view), (parsed(row, "spend_public"), parsed(row, "view_public")));
        let (spend, view, index) = (private(row, "spend_private"), private(row, "view_private"), number(row, "index"));
        assert_eq!((spend.public(), view.public()), (address.spend, address.view));
        let r = PrivateKey::from_seed(&array(row, "seed")).expect("a seed");
        assert_eq!(*r.to_bytes(), array::<32>(row, "r"));
        let mask: PublicKey = parsed(row, "mask");
        assert_eq!(r.public(), mask);
        let shared = ghost::shared_point(&r, &address.view);
        assert_eq!(shared, parsed(row, "shared"));
        assert_eq!(*ghost::hash_scalar(&shared, index).to_bytes(), array::<32>(row, "scalar"));
        let public: PublicKey = parsed(row, "ghost_public");
        assert_eq!(ghost::derive_public(&r, &address.view, &address.spend, index), Ok(public));
        let secret = ghost::derive_private(&mask, &view, &spend, index).expect("a key");
        assert_eq!(*secret.to_bytes(), array::<32>(row, "ghost_private"));
        assert_eq!(secret.public(), public);
        let recovered = ghost::GhostScalar::of_receiver(&view, &mask, index).spend(&public);
        assert_eq!(recovered, Ok(parsed(row, "view_recovers_spend")));
        assert!(ghost::recognise(&view, &mask, &public, index, &address.spend));
        let stranger = private(row, "stranger_view_private");
        let recovered = ghost::GhostScalar::of_receiver(&stranger, &mask, index).spend(&public);
        assert_eq!(recovered, Ok(parsed(row, "stranger_recovers")));
        let hash = B256::new(array(row, "message_hash"));
        let signature = Signature::sign(&secret, &hash);
        assert_eq!(signature, parsed(row, "signature"));
        assert!(signature.verify(&public, &hash));
    }
}

#[test]
fn integers_should_match() {
    for row in rows(&section("integers")) {
        only(row, &["encoded", "input", "string", "units"]);
        let (value, floored) = Amount::parse_floored(text(row, "input")).expect("a decimal");
        assert_eq!(value.to_string(), text(row, "string"));
        assert_eq!(value.units().to_string(), text(row, "units"));
        assert_eq!(hex::encode(amount::encode(value)), text(row, "encoded"));
        assert_eq!(amount::decode(&bytes(row, "encoded")), Ok(value));
        let shown = inspect::amount(text(row, "input")).expect("a decimal");
        assert_eq!((shown.encoded.as_str(), shown.floored), (text(row, "encoded"), floored));
        let back = inspect::amount(&format!("0x{}", text(row, "encoded"))).expect("an encoding");
        assert_eq!((back.amount, back.units.as_str()), (value, text(row, "units")));
    }
    for row in rows(&section("invalid_integers")) {
        only(row, &["error", "input", "value"]);
        assert!(row["value"].is_null(), "the kernel made no value of it: {row}");
        assert!(Amount::parse_floored(text(row, "input")).is_err(), "{row}");
        assert!(inspect::amount(text(row, "input")).is_err(), "{row}");
    }
}

#[test]
fn invalid_addresses_should_be_refused() {
    for row in rows(&section("invalid_addresses")) {
        only(row, &["address", "error"]);
        assert!(text(row, "address").parse::<XinAddress>().is_err(), "{row}");
        assert!(inspect::address(text(row, "address")).is_err(), "{row}");
    }
}

#[test]
fn malformed_transactions_should_be_refused() {
    for row in rows(&section("invalid_transactions")) {
        only(row, &["error", "hex", "kind", "payload_hash"]);
        let decoded = SignedTransaction::decode(&bytes(row, "hex"));
        if text(row, "kind") == "valid" {
            assert_eq!(decoded.expect("valid").hash().0, array::<32>(row, "payload_hash"));
        } else {
            assert!(decoded.is_err(), "{row}");
        }
    }
}

#[test]
fn transactions_should_match() {
    for row in rows(&section("transactions")) {
        only(
            row,
            &[
                "aggregate_seed",
                "aggregated",
                "asset",
                "custodian",
                "extra",
                "inputs",
                "kind",
                "outputs",
                "payload_hash",
                "payload_hex",
                "references",
                "signature_kind",
                "signatures",
                "signed_hex",
                "transaction_type",
                "version",
            ],
        );
        let signed = SignedTransaction::decode(&bytes(row, "signed_hex")).expect("a transaction");
        assert_eq!(hex::encode(signed.encode()), text(row, "signed_hex"));
        assert_eq!(hex::encode(signed.transaction().payload()), text(row, "payload_hex"));
        assert_eq!(signed.hash().0, array::<32>(row, "payload_hash"));
        let payload = SignedTransaction::decode(&bytes(row, "payload_hex")).expect("a payload");
        assert_eq!(payload, signed.transaction().clone().unsigned());
        let kind = TransactionKind::of(signed.transaction());
        assert_eq!(u64::from(kind.number()), number(row, "transaction_type"));
        assert_eq!(format!("{kind:?}").to_lowercase().replace("submit", ""), text(row, "kind"));
        check_view(row, &signed);
        check_outputs(row, &signed);
        match text(row, "kind") {
            "deposit" => check_deposit(row, &signed),
            _ => check_signatures(row, &signed),
        }
    }
}

/// The fields of the kernel's RPC.
fn check_view(row: &Value, signed: &SignedTransaction) {
    let view = inspect::transaction(text(row, "signed_hex")).expect("a transaction");
    assert_eq!(view, TransactionView::from(signed));
    let shown = serde_json::to_value(view).expect("json");
    for field in ["asset", "extra", "references", "version"] {
        assert_eq!(shown[field], row[field], "{field}");
    }
    assert_eq!(shown["hash"], row["payload_hash"]);
    assert_eq!(shown["hex"], row["signed_hex"]);
    let aggregated = text(row, "signature_kind") == "aggregated";
    assert_eq!(shown.get("aggregated"), row.get("aggregated"));
    assert_eq!(shown.get("signatures"), row.get("signatures"));
    assert_eq!(aggregated, matches!(signed.signatures(), Signatures::Aggregated { .. }));
    assert_eq!(rows(&shown["inputs"]).len(), rows(&row["inputs"]).len());
    for (shown, input) in rows(&shown["inputs"]).iter().zip(rows(&row["inputs"])) {
        only(input, &["accounts", "deposit", "hash", "index", "signers", "utxo"]);
        assert_eq!((shown.get("hash"), shown.get("index")), (input.get("hash"), input.get("index")));
        if let Some(deposit) = input.get("deposit") {
            only(deposit, &["amount", "asset_key", "chain", "index", "transaction", "unique_key"]);
            for field in ["amount", "asset_key", "chain", "index", "transaction"] {
                assert_eq!(shown["deposit"][field], deposit[field]);
            }
        }
    }
    for (shown, output) in rows(&shown["outputs"]).iter().zip(rows(&row["outputs"])) {
        only(output, &["accounts", "amount", "keys", "mask", "script", "seed", "type", "withdrawal"]);
        for field in ["amount", "type"] {
            assert_eq!(shown[field], output[field]);
        }
        assert_eq!(shown.get("withdrawal"), output.get("withdrawal"));
        // The kernel leaves out what is empty; the figures write it.
        assert_eq!(shown.get("keys").unwrap_or(&json!([])), &output["keys"]);
        assert_eq!(shown.get("script").unwrap_or(&json!("")), &output["script"]);
        assert_eq!(shown.get("mask").unwrap_or(&json!(RawKey::ZERO)), &output["mask"]);
    }
}

/// The keys of outputs follow from the accounts paid and the seed.
fn check_outputs(row: &Value, signed: &SignedTransaction) {
    let outputs = signed.transaction().outputs();
    assert_eq!(outputs.len(), rows(&row["outputs"]).len());
    for (index, (output, figures)) in outputs.iter().zip(rows(&row["outputs"])).enumerate() {
        if output.kind != OutputType::SCRIPT {
            let sent = output.withdrawal.clone().expect("a withdrawal");
            assert_eq!(*output, Output::of_withdrawal(output.amount, sent.address, sent.tag));
            continue;
        }
        let accounts: Vec<XinAddress> =
            rows(&figures["accounts"]).iter().map(|account| keys_of(account).address()).collect();
        let r = PrivateKey::from_seed(&array(figures, "seed")).expect("a seed");
        let threshold = output.script.threshold().expect("a threshold script");
        let index = u16::try_from(index).expect("few outputs");
        assert_eq!(Output::of_addresses(output.amount, &accounts, threshold, &r, index).as_ref(), Ok(output));
    }
}

fn keys_of(account: &Value) -> XinKeys {
    only(account, &["address", "spend_private", "spend_public", "view_private", "view_public"]);
    let keys = XinKeys { spend: private(account, "spend_private"), view: private(account, "view_private") };
    assert_eq!(keys.address(), parsed(account, "address"));
    assert_eq!(keys.address().spend, parsed(account, "spend_public"));
    assert_eq!(keys.address().view, parsed(account, "view_public"));
    keys
}

/// Signing again gives the same bytes, and the kernel's own signatures verify against the coins.
fn check_signatures(row: &Value, signed: &SignedTransaction) {
    let mut again = signed.transaction().clone().unsigned();
    let mut coins = Vec::new();
    for (input, figures) in rows(&row["inputs"]).iter().enumerate() {
        let (utxo, index) = (&figures["utxo"], number(figures, "index"));
        only(utxo, &["keys", "mask", "mask_private", "script"]);
        let (r, mask): (_, PublicKey) = (private(utxo, "mask_private"), parsed(utxo, "mask"));
        assert_eq!(r.public(), mask);
        let keys: Vec<RawKey> = serde_json::from_value(utxo["keys"].clone()).expect("keys");
        let accounts: Vec<XinKeys> = rows(&figures["accounts"]).iter().map(keys_of).collect();
        let paid = accounts.iter().map(|account| {
            let to = account.address();
            ghost::derive_public(&r, &to.view, &to.spend, index).expect("a key").raw()
        });
        assert_eq!(paid.collect::<Vec<_>>(), keys);
        let coin = CoinKeys { keys, script: Script(bytes(utxo, "script")) };
        for signer in rows(&figures["signers"]) {
            let is_signer = |account: &&XinKeys| account.address().to_string() == signer.as_str().expect("text");
            let account = accounts.iter().find(is_signer).expect("a signer among the accounts");
            let key = ghost::derive_private(&mask, &account.view, &account.spend, index).expect("a key");
            again.sign_input(input, &coin, &key).expect("own coin");
        }
        coins.push(coin);
    }
    assert_eq!(signed.verify(&coins), Ok(()));
    if text(row, "signature_kind") == "map" {
        assert_eq!(&again, signed);
    } else {
        // Single signatures by the same signers are as good; the aggregated one belongs to these coins only.
        assert_eq!(again.verify(&coins), Ok(()));
        coins.reverse();
        assert!(signed.verify(&coins).is_err());
    }
}

fn check_deposit(row: &Value, signed: &SignedTransaction) {
    let [input] = signed.transaction().inputs() else { panic!("one input") };
    let deposit = input.deposit.as_ref().expect("a deposit");
    assert_eq!(deposit.unique_key().0, array::<32>(&row["inputs"][0]["deposit"], "unique_key"));
    let custodian = keys_of(&row["custodian"]);
    let signature = signed.input_signatures(0).expect("signatures")[&0];
    assert_eq!(signature, Signature::sign(&custodian.spend, &signed.hash()));
    assert!(signature.verify(&custodian.spend.public(), &signed.hash()));
}

#[test]
fn hashes_scripts_and_signatures_should_match() {
    let misc = section("misc");
    only(&misc, &["asset_ids", "burn_address", "hashes", "scripts", "signatures"]);
    for row in rows(&misc["asset_ids"]) {
        only(row, &["asset", "uuid"]);
        assert_eq!(AssetId::from_uuid(parsed::<Uuid>(row, "uuid")), parsed(row, "asset"));
    }
    for row in rows(&misc["hashes"]) {
        only(row, &["blake3", "data", "sha3_256"]);
        assert_eq!(blake3(&bytes(row, "data")).0, array::<32>(row, "blake3"));
        assert_eq!(sha3_256(&bytes(row, "data")).0, array::<32>(row, "sha3_256"));
    }
    for row in rows(&misc["scripts"]) {
        only(row, &["error", "script", "sum_ok"]);
        match Script(bytes(row, "script")).threshold() {
            Ok(threshold) => assert_eq!(u64::from(threshold), number(row, "sum_ok")),
            Err(error) => assert_eq!(error.to_string(), text(row, "error")),
        }
    }
    for row in rows(&misc["signatures"]) {
        only(
            row,
            &[
                "bad_signature",
                "bad_verifies",
                "deterministic_hash_derive",
                "hash",
                "private",
                "public",
                "seed",
                "signature",
            ],
        );
        let (secret, hash) =
            (PrivateKey::from_seed(&array(row, "seed")).expect("a seed"), B256::new(array(row, "hash")));
        assert_eq!(*secret.to_bytes(), array::<32>(row, "private"));
        let public: PublicKey = parsed(row, "public");
        assert_eq!(secret.public(), public);
        assert_eq!(Signature::sign(&secret, &hash), parsed(row, "signature"));
        assert!(parsed::<Signature>(row, "signature").verify(&public, &hash));
        assert_eq!(row["bad_verifies"], json!(parsed::<Signature>(row, "bad_signature").verify(&public, &hash)));
        let derived = public.derive_private().expect("a key");
        assert_eq!(*derived.to_bytes(), array::<32>(row, "deterministic_hash_derive"));
    }
}

#[test]
fn the_former_storage_address_should_be_shown_but_not_accepted() {
    let row = section("misc")["burn_address"].take();
    only(&row, &["address", "spend_public", "view_public"]);
    assert_eq!(xin_text(&array(&row, "spend_public"), &array(&row, "view_public")), text(&row, "address"));
    assert_eq!(view_of_seed(&[0; 64]).expect("a key").public(), parsed(&row, "view_public"));
    assert!(text(&row, "address").parse::<XinAddress>().is_err());
}
