//! What the driver takes in, what it lets wait, and what it says of it.

mod unclaimed;

use lockstep_core::bls::SecretKey;
use lockstep_core::derive::{AssetRule, ChainRule, Config, DAY_NS, Fee, HOUR_NS, INPUTS_MAX, MEMO_MAX, SWEEP_MAX};
use lockstep_core::machine::ContractPlace;
use lockstep_core::mask::MASK_DST;
use lockstep_core::operation::{Operation, Policy, Registration};
use lockstep_core::output::CoinId;
use lockstep_core::{Account, Address, Amount, AssetId, B256, Mix};
use tempfile::TempDir;

use super::*;
use crate::store::Identity;

const CHAIN: ChainId = 31_337;
const GROUP_ID: B256 = B256::repeat_byte(7);
/// Who registers the private process.
const OWNER: u128 = 50;

fn key() -> SecretKey {
    SecretKey::derive(&[3; 32], b"test").expect("a key")
}

fn rules() -> Rules {
    let derive = Config {
        group: Mix::of_users((1..=4).map(Uuid::from_u128), 3),
        fee: Fee { asset: AssetId([1; 32]), amount: Amount::from_units(1_000) },
        default: AssetRule { minimum: Amount::from_units(100), floor: Amount::from_units(20) },
        assets: BTreeMap::new(),
        chains: BTreeMap::from([(CHAIN, ChainRule { payload_max: 1_024, gas_max: 5_000_000 })]),
        caps: BTreeMap::new(),
        delay_unknown_ns: 60,
        delay_over_ns: 600,
        window_hour_ns: HOUR_NS,
        window_day_ns: DAY_NS,
        inputs_max: INPUTS_MAX,
        sweep_max: SWEEP_MAX,
        memo_max: MEMO_MAX,
    };
    let place = ContractPlace { contract: Address::repeat_byte(0xcc), instance: B256::repeat_byte(0xdd) };
    Rules {
        derive,
        memo: MemoRules { group_id: GROUP_ID, group_key: Some(key().public_key()), aliases: BTreeMap::new() },
        places: BTreeMap::from([(CHAIN, place)]),
        group_id: GROUP_ID,
        group_digest: B256::repeat_byte(8),
    }
}

fn output(sequence: u64, sender: u128, memo: &Operation) -> Output {
    Output {
        id: Uuid::from_u128(u128::from(sequence)),
        sequence,
        created_at: sequence,
        coin: CoinId { transaction: B256::left_padding_from(&sequence.to_be_bytes()), index: 0 },
        asset: AssetId([1; 32]),
        amount: Amount::from_units(1_000),
        senders: Some(Mix::of_users([Uuid::from_u128(sender)], 1)),
        extra: memo.encode().expect("a small operation"),
        stored: None,
        inscription: None,
        spends: Vec::new(),
        generation: 0,
        late: false,
    }
}

fn registration(sequence: u64) -> Output {
    let address = Address::repeat_byte(0xab);
    let wanted =
        Registration { chain: CHAIN, address, private: true, policy: Policy::Refund, gas: 100_000, assets: None };
    output(sequence, OWNER, &Operation::register(Uuid::from_u128(OWNER), &wanted).expect("an operation"))
}

fn call(sequence: u64, sender: u128) -> Output {
    output(sequence, sender, &Operation::call(Uuid::from_u128(OWNER), b"act".to_vec()))
}

fn pair(sender: u128) -> MaskPair {
    MaskPair { process: Uuid::from_u128(OWNER), account: Account::of_user(Uuid::from_u128(sender)) }
}

async fn open(folder: &TempDir) -> (Driver, Store) {
    let us = Identity { group_digest: [7; 32], member: 1 };
    let store = Store::open(&folder.path().join("lockstep.db"), us).await.expect("a database");
    (Driver::restore(rules(), store.clone()).await.expect("sound"), store)
}

/// As task `masks` does: makes the masks of `senders` and says so.
async fn mask(driver: &mut Driver, store: &Store, senders: impl IntoIterator<Item = u128>) {
    for sender in senders {
        let signature = key().sign(pair(sender).digest(&GROUP_ID).as_slice(), MASK_DST).compress();
        store.save_mask(&pair(sender), &key().public_key().compress(), &signature).await.expect("kept");
    }
    driver.turn(vec![Input::Masked]).await.expect("a turn");
}

fn unmasked(driver: &Driver) -> Option<(u64, MaskPair, Vec<MaskPair>)> {
    let unmasked = driver.progress().borrow().unmasked.clone();
    unmasked.map(|Unmasked { sequence, pair, following, .. }| (sequence, pair, following.to_vec()))
}

/// How far outputs are taken in, and how far they are applied.
fn places(driver: &Driver) -> (u64, u64) {
    let progress = driver.progress().borrow().clone();
    (progress.read, progress.sequence)
}

fn page(after: u64, outputs: impl IntoIterator<Item = Output>) -> Input {
    Input::Outputs { after, outputs: outputs.into_iter().collect() }
}

#[tokio::test]
async fn new_senders_should_wait_together() {
    let folder = TempDir::new().expect("a folder");
    let (mut driver, store) = open(&folder).await;
    let outputs = [registration(3), call(5, 60), call(7, 61), call(9, 60)];
    // Of the calls nothing can be said before there is the process. What was read meanwhile is taken in too.
    driver.turn(vec![page(0, outputs), page(9, [call(11, 62)])]).await.expect("a turn");
    assert_eq!((unmasked(&driver), places(&driver)), (Some((3, pair(OWNER), vec![])), (11, 0)));

    mask(&mut driver, &store, [OWNER]).await;
    let waits = Some((5, pair(60), vec![pair(61), pair(62)]));
    assert_eq!((unmasked(&driver), places(&driver)), (waits.clone(), (11, 3)));
    let compressed = key().public_key().compress();
    for sender in 60..63 {
        assert_eq!(store.mask(&pair(sender), &compressed).await.expect("rows"), Some(MaskRow::Wanted), "met");
    }
    assert_eq!(store.mask(&pair(63), &compressed).await.expect("rows"), None, "never met");

    // Pages go on behind what is taken in; an output that waits is not behind the cursor, whoever says so.
    let late = Output { late: true, ..call(7, 61) };
    driver.turn(vec![page(3, [call(5, 60)]), Input::Late(vec![late]), page(11, [call(13, 63)])]).await.expect("a turn");
    assert_eq!((unmasked(&driver), places(&driver), driver.late().borrow().len()), (waits, (13, 3), 0));

    // Some come, one does not: that one is waited for.
    mask(&mut driver, &store, [60, 61]).await;
    assert_eq!((unmasked(&driver), places(&driver)), (Some((11, pair(62), vec![pair(63)])), (13, 9)));

    // After a start the rest is read again; what was met is still known.
    drop(driver);
    store.close().await;
    let (mut driver, store) = open(&folder).await;
    assert_eq!(places(&driver), (9, 9));
    assert_eq!(store.mask(&pair(62), &compressed).await.expect("rows"), Some(MaskRow::Wanted));
    mask(&mut driver, &store, [62, 63]).await;
    driver.turn(vec![page(9, [call(11, 62), call(13, 63)])]).await.expect("a turn");
    assert_eq!((unmasked(&driver), places(&driver)), (None, (13, 13)));
}

#[tokio::test]
async fn going_back_should_forget_what_waits() {
    let folder = TempDir::new().expect("a folder");
    let (mut driver, store) = open(&folder).await;
    mask(&mut driver, &store, [OWNER]).await;
    driver.turn(vec![page(0, [registration(3), call(5, 60), call(7, 61)])]).await.expect("a turn");
    assert_eq!(unmasked(&driver), Some((5, pair(60), vec![pair(61)])));
    let rewinds = driver.progress().borrow().rewinds;
    driver.turn(vec![Input::Rewind { first: 3, aside: None }]).await.expect("a turn");
    assert_eq!((unmasked(&driver), places(&driver)), (None, (0, 0)));
    assert_eq!(driver.progress().borrow().rewinds, rewinds + 1);
    // A mask that was on its way changes nothing; what is read now may be something else.
    mask(&mut driver, &store, [60]).await;
    assert_eq!(places(&driver), (0, 0));
    driver.turn(vec![page(0, [call(2, 70), registration(3), call(5, 60)])]).await.expect("a turn");
    assert_eq!((unmasked(&driver), places(&driver)), (None, (5, 5)));
}

#[tokio::test]
async fn an_applied_output_without_its_mask_should_be_a_damaged_database() {
    let folder = TempDir::new().expect("a folder");
    let (mut driver, store) = open(&folder).await;
    mask(&mut driver, &store, [OWNER]).await;
    driver.turn(vec![Input::Outputs { after: 0, outputs: vec![registration(3)] }]).await.expect("a turn");
    store.close().await;
    let address = format!("sqlite:{}", folder.path().join("lockstep.db").display());
    let database = sqlx::SqlitePool::connect(&address).await.expect("a database");
    sqlx::query("delete from masks").execute(&database).await.expect("deleted");
    database.close().await;
    let us = Identity { group_digest: [7; 32], member: 1 };
    let store = Store::open(&folder.path().join("lockstep.db"), us).await.expect("a database");
    let error = Driver::restore(rules(), store).await.expect_err("no mask");
    assert!(
        matches!(error, DriverError::Store(StoreError::Corrupt { what: "mask of an applied output's sender" })),
        "{error:?}"
    );
}
