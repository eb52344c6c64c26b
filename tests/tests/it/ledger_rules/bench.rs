//! A served ledger with users, and what a user does to pay.

use std::path::Path;
use std::time::Duration;

use lockstep::devnet::ledger::{FaultOrder, FaultRow, LedgerConfig, Minted, Operator, RunningLedger, serve};
use lockstep::http::{http_client, read_body};
use lockstep::ledger::wire::{
    Hex32, HexBytes, KernelTransaction, KeyRequest, KeysBody, OutputRow, RawRequest, RpcReply, View,
};
use lockstep::ledger::{KernelNodes, LedgerError, OutputQuery, SafeApi, Seed};
use lockstep_core::mixin::ids::members_hash;
use lockstep_core::mixin::{
    CoinKeys, GhostScalar, Input, Output, PrivateKey, RawKey, Script, SignedTransaction, Transaction,
};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, B256, Uuid};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::uuid;

pub(crate) const XIN: Uuid = uuid!("c94ac88f-4671-3976-b60a-09064f1811e8");
pub(crate) const BTC: Uuid = uuid!("c6d0c728-2624-429b-8e0d-d9d19b6592fa");

/// A ledger that is served from a temporary folder.
pub(crate) struct Bench {
    pub(crate) operator: Operator,
    pub(crate) running: RunningLedger,
    shutdown: CancellationToken,
    folder: TempDir,
    delay: Duration,
}

impl Bench {
    pub(crate) async fn start(delay: Duration) -> Self {
        Self::open(tempfile::tempdir().expect("a folder"), delay).await
    }

    async fn open(folder: TempDir, delay: Duration) -> Self {
        let shutdown = CancellationToken::new();
        let running = serve(config(folder.path(), delay, [7; 32]), shutdown.clone()).await.expect("a ledger");
        let operator = Operator::new(&format!("http://{}", running.api)).expect("an operator");
        Self { operator, running, shutdown, folder, delay }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        self.running.stopped().await.expect("a clean end");
        self.folder
    }

    pub(crate) async fn restart(self) -> Self {
        let delay = self.delay;
        Self::open(self.stop().await, delay).await
    }

    /// The user number `n`; the same one after a restart.
    pub(crate) async fn user(&self, n: u8) -> User {
        let seeds = (Seed::new([n; 32]), Seed::new([n | 0x80; 32]));
        let keystore = self.operator.add_user(&format!("user {n}"), seeds.0, seeds.1).await.expect("a user");
        User { api: SafeApi::new(&format!("http://{}", self.running.api), keystore).expect("a client") }
    }

    pub(crate) async fn users<const N: usize>(&self) -> [User; N] {
        let mut users = Vec::new();
        for n in 1..=N {
            users.push(self.user(u8::try_from(n).expect("few users")).await);
        }
        users.try_into().unwrap_or_else(|_| unreachable!("as many as asked for"))
    }

    /// A new coin of `owners`.
    pub(crate) async fn coin(&self, asset: Uuid, amount: &str, owners: &[&User], threshold: u8) -> OutputRow {
        let ids: Vec<Uuid> = owners.iter().map(|user| user.id()).collect();
        let amount: Amount = amount.parse().expect("an amount");
        let minted = self.operator.mint(Uuid::new_v4(), asset, amount, (&ids, threshold), b"").await;
        let Minted { output_id, .. } = minted.expect("a coin");
        self.operator.advance().await.expect("finality");
        owners.first().expect("an owner").api.output(output_id).await.expect("a listed coin")
    }

    /// Sets a fault.
    pub(crate) async fn fault(&self, order: FaultOrder) -> FaultRow {
        self.operator.set_fault(&order).await.expect("a fault")
    }

    /// How often the fault acted.
    pub(crate) async fn acted(&self, fault: &FaultRow) -> u64 {
        let rows = self.operator.faults().await.expect("the faults");
        rows.iter().find(|row| row.id == fault.id).expect("the fault").acted
    }

    /// The production client of the kernel's nodes.
    pub(crate) fn kernel(&self, quorum: usize) -> KernelNodes {
        KernelNodes::new(&self.running.kernel_urls(), quorum).expect("three nodes")
    }

    /// A call of the first kernel node: its data, or its error.
    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Result<Value, String> {
        self.rpc_at(1, method, params).await
    }

    /// A call of a kernel node: its data, or its error.
    pub(crate) async fn rpc_at(&self, node: usize, method: &str, params: Value) -> Result<Value, String> {
        let http = http_client(Duration::from_secs(10)).expect("a client");
        let body = json!({ "id": "1", "method": method, "params": params });
        let url = format!("http://{}", self.running.kernel[node.saturating_sub(1)]);
        let response = http.post(url).json(&body).send().await.expect("a reply");
        assert_eq!(response.status().as_u16(), 200);
        let reply = read_body(response, 1 << 24).await.expect("a body");
        let reply: RpcReply<Value> = serde_json::from_slice(&reply).expect("a reply");
        reply.error.map_or_else(|| Ok(reply.data.unwrap_or(Value::Null)), Err)
    }

    pub(crate) async fn transaction(&self, hash: B256) -> Option<KernelTransaction> {
        let data = self.rpc("gettransaction", json!([hex::encode(hash)])).await.expect("an answer");
        serde_json::from_value(data).expect("a transaction or null")
    }
}

pub(crate) fn config(folder: &Path, finality_delay: Duration, seed: [u8; 32]) -> LedgerConfig {
    let free = "127.0.0.1:0".parse().expect("an address");
    LedgerConfig { database: folder.join("ledger.db"), api: free, kernel: vec![free; 3], seed, finality_delay }
}

/// Somebody with an account.
pub(crate) struct User {
    pub(crate) api: SafeApi,
}

impl User {
    pub(crate) fn id(&self) -> Uuid {
        self.api.user()
    }

    /// Everything that was ever paid to `owners`, in order.
    pub(crate) async fn coins(&self, owners: &[Uuid], threshold: u8) -> Vec<OutputRow> {
        self.page(owners, threshold).await.expect("a page")
    }

    /// The same, with what may go wrong.
    pub(crate) async fn page(&self, owners: &[Uuid], threshold: u8) -> Result<Vec<OutputRow>, LedgerError> {
        let members = hex::encode(members_hash(owners));
        let query = OutputQuery { members, threshold, offset: 0, limit: 500, asset: None, state: None };
        self.api.outputs(&query).await
    }

    /// What this user alone was ever paid.
    pub(crate) async fn own_coins(&self) -> Vec<OutputRow> {
        self.coins(&[self.id()], 1).await
    }

    /// An output for `receivers` with fresh keys of the key service.
    pub(crate) async fn output(&self, index: u16, receivers: &[Uuid], threshold: u8, amount: &str) -> Output {
        let request = KeyRequest { receivers: receivers.to_vec(), index, hint: Uuid::new_v4() };
        let rows = self.api.keys(&KeysBody::Own(vec![request])).await.expect("keys");
        let row = rows.first().expect("a row");
        let keys = row.keys.iter().map(|key| RawKey(key.0)).collect();
        Output::of_keys(amount.parse().expect("an amount"), keys, RawKey(row.mask.0), threshold)
    }

    /// Signs every input with what the views open.
    pub(crate) fn sign(&self, signed: &mut SignedTransaction, coins: &[&OutputRow], views: &[View]) {
        let spend = PrivateKey::from_ed25519_seed(self.api.keystore().spend_private_key.expose());
        for (input, (coin, view)) in coins.iter().zip(views).enumerate() {
            let key = GhostScalar::from_bytes(view.0).expect("a scalar").private(&spend).expect("a key");
            signed.sign_input(input, &keys(coin), &key).expect("views that fit");
        }
    }

    /// Pays `amount` of one's own `coin` to `receivers`, with the rest back.
    pub(crate) async fn payment(
        &self,
        coin: &OutputRow,
        receivers: &[Uuid],
        threshold: u8,
        amount: &str,
    ) -> Transaction {
        let paid: Amount = amount.parse().expect("an amount");
        let mut outputs = vec![self.output(0, receivers, threshold, amount).await];
        let change = coin.amount.checked_sub(paid).expect("enough");
        if !change.is_zero() {
            outputs.push(self.output(1, &coin.receivers, coin.receivers_threshold, &change.to_string()).await);
        }
        spend(&[coin], outputs)
    }

    /// Registers, signs and sends a payment; gives it in signed form.
    pub(crate) async fn pay(&self, id: Uuid, coin: &OutputRow, transaction: Transaction) -> SignedTransaction {
        let request = raw(id, &transaction.clone().unsigned());
        let row = self.api.request_transaction(&request).await.expect("a request");
        let mut signed = transaction.unsigned();
        self.sign(&mut signed, &[coin], &row.views);
        self.api.send_transaction(&raw(id, &signed)).await.expect("a sent transaction");
        signed
    }
}

/// A transaction that spends `coins`.
pub(crate) fn spend(coins: &[&OutputRow], outputs: Vec<Output>) -> Transaction {
    let inputs = coins.iter().map(|coin| Input::of_coin(place(coin))).collect();
    let asset = coins.first().expect("a coin").kernel_asset_id;
    Transaction::new(asset, inputs, outputs, Vec::new(), b"memo".to_vec()).expect("a transaction")
}

pub(crate) fn place(coin: &OutputRow) -> CoinId {
    CoinId { transaction: B256::new(coin.transaction_hash.0), index: coin.output_index }
}

/// The keys of a coin as the kernel sees them.
pub(crate) fn keys(coin: &OutputRow) -> CoinKeys {
    let keys = coin.keys.iter().map(|Hex32(key)| RawKey(*key)).collect();
    CoinKeys { keys, script: Script::of_threshold(coin.receivers_threshold) }
}

/// A body of the API.
pub(crate) fn raw(request_id: Uuid, signed: &SignedTransaction) -> RawRequest {
    RawRequest { request_id, raw: HexBytes(signed.encode()) }
}
