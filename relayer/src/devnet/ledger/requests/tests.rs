use std::path::Path;
use std::time::Duration;

use lockstep_core::mixin::{GhostScalar, Input, Output, PrivateKey, Transaction};
use lockstep_core::output::CoinId;
use tempfile::TempDir;

use super::*;
use crate::devnet::ledger::admin::{Pour, Source, deposit};
use crate::devnet::ledger::{kernel, snapshots, users};
use crate::ledger::wire::{KeyRequest, RawRequest, SnapshotRow};

const XIN: Uuid = lockstep_core::mixin::ids::XIN;

/// A ledger without its servers.
struct Bench {
    ledger: Ledger,
    folder: TempDir,
}

impl Bench {
    async fn open(folder: TempDir) -> Self {
        Self { ledger: open(folder.path()).await, folder }
    }

    async fn new() -> Self {
        Self::open(tempfile::tempdir().expect("a folder")).await
    }

    async fn restart(self) -> Self {
        self.ledger.close().await;
        Self::open(self.folder).await
    }

    async fn user(&self, n: u8) -> Uuid {
        let public = |seed: u8| Hex32(PrivateKey::from_ed25519_seed(&[seed; 32]).public().to_bytes());
        let id = Uuid::from_u128(n.into());
        let new = serde_json::json!({
            "user_id": id, "session_public_key": public(n | 0x80), "spend_public_key": public(n),
        });
        let new = serde_json::from_value(new).expect("a user");
        let mut tx = self.ledger.begin().await.expect("a transaction");
        users::register(&self.ledger, &mut tx, &new).await.expect("a user");
        tx.commit().await.expect("a commit");
        id
    }

    async fn coin(&self, owners: &[Uuid], threshold: u8) -> OutputRow {
        let pour = Pour {
            request_id: Uuid::new_v4(),
            asset: XIN.to_string(),
            amount: Amount::from_units(10),
            receivers: owners.to_vec(),
            threshold,
            extra: HexBytes::default(),
            from: Source::default(),
        };
        let mut tx = self.ledger.begin().await.expect("a transaction");
        let hash = deposit(&self.ledger, &mut tx, &pour).await.expect("a deposit");
        tx.commit().await.expect("a commit");
        self.coin_at(hash, 0).await.expect("a coin")
    }

    async fn coin_at(&self, hash: B256, index: u16) -> Option<OutputRow> {
        let mut tx = self.ledger.begin().await.expect("a transaction");
        outputs::of_coin(&mut tx, &hex::encode(hash), index).await.expect("a query")
    }

    /// A transaction of `coin` to `payees`, one output of `units` each.
    async fn transaction(&self, coin: &OutputRow, payees: &[(Uuid, u128)]) -> Transaction {
        let mut outputs = Vec::new();
        let mut tx = self.ledger.begin().await.expect("a transaction");
        for (index, (payee, units)) in payees.iter().enumerate() {
            let index = u16::try_from(index).expect("few outputs");
            let request = KeyRequest { receivers: vec![*payee], index, hint: Uuid::new_v4() };
            let ghost = ghosts::issue(&self.ledger, &mut tx, "test", &request).await.expect("keys");
            let keys = ghost.keys.iter().map(|key| RawKey(key.0)).collect();
            outputs.push(Output::of_keys(Amount::from_units(*units), keys, RawKey(ghost.mask.0), 1));
        }
        tx.commit().await.expect("a commit");
        let place = CoinId { transaction: B256::new(coin.transaction_hash.0), index: coin.output_index };
        Transaction::new(coin.kernel_asset_id, vec![Input::of_coin(place)], outputs, vec![], vec![]).expect("bounds")
    }

    /// `transaction` of `coin`, signed by the users of these numbers.
    fn signed(&self, coin: &OutputRow, transaction: &Transaction, signers: &[u8]) -> SignedTransaction {
        let mut signed = transaction.clone().unsigned();
        let mask = PublicKey::from_bytes(coin.mask.0).expect("a mask");
        let keys = coin.keys.iter().map(|key| RawKey(key.0)).collect();
        let keys = CoinKeys { keys, script: Script::of_threshold(coin.receivers_threshold) };
        for n in signers {
            let view = self.ledger.secrets.view(Uuid::from_u128((*n).into()), &mask, coin.output_index);
            let spend = PrivateKey::from_ed25519_seed(&[*n; 32]);
            let key = GhostScalar::from_bytes(view.expect("a view")).expect("a scalar").private(&spend);
            signed.sign_input(0, &keys, &key.expect("a key")).expect("a signature");
        }
        signed
    }

    /// Takes a complete payment in, without the broadcast that follows a real call.
    async fn submit(&self, caller: Uuid, signed: &SignedTransaction) -> Uuid {
        let posted = RawRequest { request_id: Uuid::new_v4(), raw: HexBytes(signed.encode()) };
        let mut tx = self.ledger.begin().await.expect("a transaction");
        let request = submit(&self.ledger, &mut tx, caller, &posted).await.expect("a request");
        assert_eq!(request.state, OutputState::Signed);
        tx.commit().await.expect("a commit");
        request.id
    }

    async fn request(&self, id: Uuid) -> Request {
        let mut tx = self.ledger.begin().await.expect("a transaction");
        by_id(&mut tx, id).await.expect("a query").expect("a request")
    }
}

async fn open(folder: &Path) -> Ledger {
    Ledger::open(&folder.join("ledger.db"), &[1; 32], Duration::ZERO, 1).await.expect("a ledger")
}

#[tokio::test]
async fn a_transaction_that_was_not_sent_should_be_sent_after_a_restart() {
    let bench = Bench::new().await;
    let (alice, bob) = (bench.user(1).await, bench.user(2).await);
    let coin = bench.coin(&[alice], 1).await;
    let transaction = bench.transaction(&coin, &[(bob, 10)]).await;
    let id = bench.submit(alice, &bench.signed(&coin, &transaction, &[1])).await;

    let bench = bench.restart().await;
    assert!(bench.coin_at(transaction.hash(), 0).await.is_none());
    bench.ledger.broadcast().await.expect("a broadcast");
    assert_eq!(bench.request(id).await.state, OutputState::Spent);
    let received = bench.coin_at(transaction.hash(), 0).await.expect("a coin");
    assert_eq!((received.senders, received.request_id), (vec![alice], Some(id)));
}

#[tokio::test]
async fn a_broadcast_that_comes_too_late_should_leave_the_winner_alone() {
    let bench = Bench::new().await;
    let (alice, bob) = (bench.user(1).await, bench.user(2).await);
    let coin = bench.coin(&[alice], 1).await;
    let (slow, fast) =
        (bench.transaction(&coin, &[(bob, 10)]).await, bench.transaction(&coin, &[(bob, 4), (alice, 6)]).await);
    let id = bench.submit(alice, &bench.signed(&coin, &slow, &[1])).await;
    let mut tx = bench.ledger.begin().await.expect("a transaction");
    kernel::admit(&bench.ledger, &mut tx, &bench.signed(&coin, &fast, &[1]).encode(), 1).await.expect("the first");
    tx.commit().await.expect("a commit");

    bench.ledger.broadcast().await.expect("refusals are no failures");
    assert_eq!(bench.request(id).await.state, OutputState::Signed);
    assert!(bench.coin_at(slow.hash(), 0).await.is_none());
    let spent = bench.coin_at(B256::new(coin.transaction_hash.0), 0).await.expect("the coin");
    assert_eq!((spent.state, spent.signed_by), (OutputState::Spent, Some(Hex32(fast.hash().0))));
    assert!(bench.coin_at(fast.hash(), 0).await.expect("a coin").senders.is_empty());
}

#[tokio::test]
async fn a_revoked_request_should_stay_dead_and_its_coin_be_free() {
    let bench = Bench::new().await;
    let members = [bench.user(1).await, bench.user(2).await, bench.user(3).await];
    let coin = bench.coin(&members, 2).await;
    let transaction = bench.transaction(&coin, &[(members[0], 10)]).await;
    let one = bench.signed(&coin, &transaction, &[1]);
    let posted = RawRequest { request_id: Uuid::new_v4(), raw: HexBytes(one.encode()) };
    let (ledger, name) = (&bench.ledger, posted.request_id.to_string());
    let mut tx = ledger.begin().await.expect("a transaction");
    let request = create(ledger, &mut tx, members[0], Kind::Multisig, &posted).await.expect("a request");
    assert_eq!(request.signers, [members[0]]);

    assert!(revoke(ledger, &mut tx, members[1], &name).await.is_err(), "only its creator");
    let dead = revoke(ledger, &mut tx, members[0], &name).await.expect("revoked");
    assert_eq!((dead.revoked_by, dead.signers.len()), (Some(members[0]), 0));
    let two = bench.signed(&coin, &transaction, &[2, 3]).encode();
    assert!(sign(ledger, &mut tx, members[1], &name, &two).await.is_err());
    let again = create(ledger, &mut tx, members[0], Kind::Multisig, &posted).await.expect("readable");
    assert_eq!((again.revoked_by, again.state), (Some(members[0]), OutputState::Unspent));

    let anew = RawRequest { request_id: Uuid::new_v4(), raw: HexBytes(two) };
    let anew = create(ledger, &mut tx, members[1], Kind::Multisig, &anew).await.expect("a new request");
    assert_eq!((anew.state, anew.signers.len()), (OutputState::Signed, 2));
    let by_hash = find(&mut tx, &hex::encode(transaction.hash())).await.expect("by hash");
    assert_eq!(by_hash.id, anew.id);
}

#[tokio::test]
async fn an_inscription_should_go_on_only_from_one_coin_to_one() {
    let bench = Bench::new().await;
    let (alice, bob) = (bench.user(1).await, bench.user(2).await);
    for (payees, carried) in [(vec![(bob, 10)], true), (vec![(bob, 4), (alice, 6)], false)] {
        let coin = bench.coin(&[alice], 1).await;
        let mut tx = bench.ledger.begin().await.expect("a transaction");
        sqlx::query("update output set inscription = $1 where id = $2")
            .bind("07".repeat(32))
            .bind(coin.output_id.to_string())
            .execute(&mut *tx)
            .await
            .expect("a mark");
        tx.commit().await.expect("a commit");
        let transaction = bench.transaction(&coin, &payees).await;
        bench.submit(alice, &bench.signed(&coin, &transaction, &[1])).await;
        bench.ledger.broadcast().await.expect("a broadcast");
        let received = bench.coin_at(transaction.hash(), 0).await.expect("a coin");
        assert_eq!(received.inscription_hash.is_some(), carried);
    }
}

#[tokio::test]
async fn a_statement_should_show_both_sides_of_a_payment() {
    let bench = Bench::new().await;
    let (alice, bob) = (bench.user(1).await, bench.user(2).await);
    let coin = bench.coin(&[alice], 1).await;
    let transaction = bench.transaction(&coin, &[(bob, 4), (alice, 6)]).await;
    bench.submit(alice, &bench.signed(&coin, &transaction, &[1])).await;
    bench.ledger.broadcast().await.expect("a broadcast");

    let mut tx = bench.ledger.begin().await.expect("a transaction");
    let amounts = |rows: Vec<SnapshotRow>| -> Vec<String> { rows.iter().map(|row| row.amount.to_string()).collect() };
    let newest = snapshots::Page::default();
    let rows = snapshots::list(&mut tx, alice, &newest).await.expect("a page");
    assert_eq!(amounts(rows), ["-0.00000004", "0.00000010"]);
    let rows = snapshots::list(&mut tx, bob, &newest).await.expect("a page");
    assert_eq!(amounts(rows), ["0.00000004"]);
    let too_many = serde_json::from_value(serde_json::json!({ "limit": 501 })).expect("a query");
    assert!(snapshots::list(&mut tx, bob, &too_many).await.is_err());
}
