//! The vector file that the Solidity tests read too, and properties of orders.

use alloy_primitives::{Address, B256, U256};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "note")]
    _note: String,
    #[serde(rename = "deployer")]
    _deployer: Address,
    registry: Address,
    token_implementation: Address,
    account_implementation: Address,
    users: Vec<B256>,
    accounts: Vec<Address>,
    assets: Vec<B256>,
    tokens: Vec<Address>,
    orders: Vec<OrderRow>,
    refused: Vec<RefusedRow>,
    process: B256,
    storage: Address,
    stored: String,
    key: B256,
    pointer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderRow {
    keep: bool,
    spender: String,
    targets: Vec<Address>,
    datas: Vec<String>,
    bytes: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedRow {
    bytes: String,
    error: String,
    args: Vec<usize>,
}

impl OrderRow {
    fn order(&self) -> Order {
        let call = |(target, data): (&Address, &String)| Call { target: *target, data: bytes(data) };
        Order {
            keep: self.keep,
            spender: (!self.spender.is_empty()).then(|| self.spender.parse().expect("address")),
            calls: self.targets.iter().zip(&self.datas).map(call).collect(),
        }
    }
}

fn vectors() -> Vectors {
    let text = include_str!("../../../../contracts/test/vectors/accounts.json");
    serde_json::from_str(text).expect("the vector file")
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).expect("hex")
}

fn process(vectors: &Vectors) -> Uuid {
    Uuid::from_u128(U256::from_be_bytes(vectors.process.0).to())
}

#[test]
fn refuses_what_accounts_refuse() {
    for row in vectors().refused {
        let error = Order::decode(&bytes(&row.bytes)).expect_err(&row.bytes);
        let told = match error {
            OrderError::Flags(flags) => ("UnknownFlags", vec![usize::from(flags)]),
            OrderError::Count(count) => ("InvalidCount", vec![count]),
            OrderError::Malformed { offset, length } => ("MalformedOrder", vec![offset, length]),
            OrderError::DataTooLong { .. } => ("not of decoding", vec![]),
        };
        assert_eq!(told, (row.error.as_str(), row.args), "{}", row.bytes);
    }
}

#[test]
fn refuses_to_write_what_has_no_bytes() {
    let call = Call { target: Address::ZERO, data: vec![0; DATA_MAX + 1] };
    let order = |calls| Order { keep: false, spender: None, calls };
    assert_eq!(order(vec![]).encode(), Err(OrderError::Count(0)));
    assert_eq!(order(vec![call.clone(); 17]).encode(), Err(OrderError::Count(17)));
    assert_eq!(order(vec![call; 1]).encode(), Err(OrderError::DataTooLong { index: 0, bytes: 65_536 }));
}

#[test]
fn addresses_follow_from_the_registry() {
    let vectors = vectors();
    let registry = Registry(vectors.registry);
    assert_eq!(created(registry.0, TOKEN_NONCE), vectors.token_implementation);
    assert_eq!(created(registry.0, ACCOUNT_NONCE), vectors.account_implementation);
    let accounts: Vec<_> = vectors.users.iter().map(|user| registry.account(Account(*user))).collect();
    assert_eq!(accounts, vectors.accounts);
    let tokens: Vec<_> = vectors.assets.iter().map(|asset| registry.token(AssetId(asset.0))).collect();
    assert_eq!(tokens, vectors.tokens);
}

#[test]
fn orders_have_the_bytes_of_the_vectors() {
    for row in vectors().orders {
        assert_eq!(row.order().encode(), Ok(bytes(&row.bytes)));
        assert_eq!(Order::decode(&bytes(&row.bytes)), Ok(row.order()));
    }
}

#[test]
fn a_pointer_is_read_for_its_own_process_only() {
    let vectors = vectors();
    let (process, pointer) = (process(&vectors), bytes(&vectors.pointer));
    let stored = StoredOrder::of(process, vectors.storage, &bytes(&vectors.stored));
    assert_eq!(stored.key, vectors.key);
    assert_eq!(stored.encode(), pointer);
    assert_eq!(Payload::decode(&pointer, process), Ok(Payload::Stored(stored)));
    assert_eq!(Payload::decode(&[], process), Ok(Payload::Deposit));
    // Elsewhere the same bytes are an order, and a bad one.
    let other = Uuid::from_u128(process.as_u128() ^ 1);
    assert!(matches!(Payload::decode(&pointer, other), Err(OrderError::Count(_) | OrderError::Flags(_))));
}

fn orders() -> impl Strategy<Value = Order> {
    let address = any::<[u8; 20]>().prop_map(Address::from);
    let call = (address.clone(), vec(any::<u8>(), 0..300)).prop_map(|(target, data)| Call { target, data });
    (any::<bool>(), option::of(address), vec(call, 1..=CALLS_MAX)).prop_map(|(keep, spender, calls)| Order {
        keep,
        spender,
        calls,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(order in orders()) {
        let bytes = order.encode().expect("within limits");
        prop_assert_eq!(Order::decode(&bytes), Ok(order));
    }

    #[test]
    fn no_part_and_no_more_of_an_order_is_one(order in orders(), cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let bytes = order.encode().expect("within limits");
        let part = &bytes[..cut.index(bytes.len())];
        let is_malformed = |bytes: &[u8]| {
            matches!(Order::decode(bytes), Err(OrderError::Malformed { length, .. }) if length == bytes.len())
        };
        prop_assert!(is_malformed(part));
        prop_assert!(is_malformed(&[bytes.as_slice(), &[more]].concat()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert_eq!(order.encode(), Ok(bytes));
        }
    }

    #[test]
    fn users_and_assets_share_no_address(left in any::<[u8; 32]>(), right in any::<[u8; 32]>(), registry in any::<[u8; 20]>()) {
        let registry = Registry(Address::from(registry));
        let account = registry.account(Account(B256::from(left)));
        prop_assert_ne!(account, registry.token(AssetId(left)));
        if left != right {
            prop_assert_ne!(account, registry.account(Account(B256::from(right))));
        }
    }
}
