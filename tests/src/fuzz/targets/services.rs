//! What the ledger's services answer: the API's rows, the kernel's RPC, and what a member makes of both.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use lockstep::ledger::kernel::read_transaction;
use lockstep::ledger::multisig::judge;
use lockstep::ledger::safe::OutputQuery;
use lockstep::ledger::watcher::ListOutputs;
use lockstep::ledger::wire::{
    AssetRow, DepositRow, Envelope, ErrorBody, ForeignText, GHOST_KEY_TYPE, GhostKeyRow, Hex32, HexBytes,
    KernelDeposit, KernelInput, KernelKey, KernelOutput, KernelTransaction, KernelUtxo, LedgerTime, MULTISIG_TYPE,
    Movement, MultisigRow, OUTPUT_TYPE, OutputRow, OutputState, ReceiverRow, RpcReply, SentTransaction, SnapshotRow,
    TRANSACTION_TYPE, TransactionRow, UserRow, View, WithdrawalRow, code,
};
use lockstep::ledger::{LedgerError, Watcher, kernel, safe};
use lockstep::world::ledger::{KernelView, LedgerFault, ReadKernel, ReadLedger as _};
use lockstep_core::group::Addresses;
use lockstep_core::mixin::ids::output_id;
use lockstep_core::mixin::{Input, Output, RawKey, SignedTransaction, Transaction};
use lockstep_core::operation::Operation;
use lockstep_core::output::CoinId;
use lockstep_core::payout::{GhostKeys, Plan, PlannedOutput, ResolvedCoin, Seed};
use lockstep_core::{Amount, B256, Mix, Uuid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use super::{ASSET, Target, Verdict, asset, json, key, same, stable, target, transactions};

const REQUEST: Uuid = Uuid::from_u128(2);
const HASH: Hex32 = Hex32([7; 32]);
const TIME: LedgerTime = LedgerTime(1_714_979_289_123_456_789);

pub(super) fn targets() -> Vec<Target> {
    let refusal = |code| ErrorBody { status: 202, code, description: "locked".to_owned(), extra: 10.into() };
    vec![
        api("API user", UserRow { user_id: REQUEST, has_safe: true, spend_public_key: Some(HASH) }),
        api(
            "API outputs",
            vec![output_row(), OutputRow { senders: Vec::new(), signed_by: Some(HASH), ..output_row() }],
        ),
        api("API output", output_row()),
        api("API deposit", deposit_row()),
        api("API statement", vec![snapshot_row()]),
        api("API asset", asset_row()),
        api("API keys", vec![GhostKeyRow { kind: GHOST_KEY_TYPE.to_owned(), mask: HASH, keys: vec![HASH, HASH] }]),
        target("API keys used", vec![json(&key_rows())], use_keys),
        api("API multisig", multisig_row()),
        api("API multisigs", vec![multisig_row()]),
        api("API transaction", transaction_row()),
        target("API refusal", refusals(refusal), read_refusal),
        target("API multisig judged", multisigs(), read_multisig),
        target("API page checked", vec![json(&vec![stored_row(), output_row()])], read_page()),
        rpc("RPC gettransaction", kernel_transaction()),
        rpc("RPC getutxo", kernel_utxo()),
        rpc("RPC getkey", KernelKey { transaction: Some(HASH) }),
        rpc("RPC sendraw", SentTransaction { hash: HASH }),
        target("RPC transaction read", vec![json(&kernel_transaction())], |bytes| {
            let Ok(found) = serde_json::from_slice::<KernelTransaction>(bytes) else { return Verdict::Refused };
            let hash = payment().hash();
            let view = read_transaction(&found, hash);
            view.map_or(Verdict::Refused, |view| {
                same(view.transaction.hash() == hash && view.transaction.encode() == found.hex.0)
            })
        }),
    ]
}

/// An answer of the API, as the client judges it.
fn api<T>(name: &'static str, sample: T) -> Target
where
    T: Serialize + DeserializeOwned + PartialEq + 'static,
{
    target(name, vec![json(&Envelope::Data(sample))], |bytes| {
        answer::<T>(bytes).map_or(Verdict::Refused, |read| stable(&Envelope::Data(read)))
    })
}

fn answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, LedgerError> {
    let echo = REQUEST.to_string();
    safe::decode_reply("GET /safe", StatusCode::OK, (REQUEST, Some(&echo)), body)
}

fn refusals(refusal: impl Fn(u32) -> ErrorBody) -> Vec<Vec<u8>> {
    let codes = [code::NOT_FOUND, code::TOO_MANY_REQUESTS, code::INPUT_LOCKED, 7];
    codes.map(|code| json(&Envelope::<UserRow>::Error(refusal(code)))).to_vec()
}

/// What the API says instead of an answer is shown to people, so it is short and of one line.
fn read_refusal(bytes: &[u8]) -> Verdict {
    match answer::<UserRow>(bytes) {
        Err(error @ LedgerError::Refused { .. }) => {
            let text = error.to_string();
            let shown = text.chars().count() < 300 && !text.chars().any(char::is_control);
            let fault = error.during("fuzz").to_string();
            if shown && !fault.is_empty() { Verdict::Taken } else { Verdict::Broken("a refusal that cannot be shown") }
        }
        Ok(_) | Err(_) => Verdict::Refused,
    }
}

/// An answer of a kernel node, as the client judges it.
fn rpc<T>(name: &'static str, sample: T) -> Target
where
    T: Serialize + DeserializeOwned + PartialEq + 'static,
{
    let reply = |data| RpcReply { id: Some("1".to_owned()), data, error: None };
    target(name, vec![json(&reply(Some(sample))), json(&reply(None))], move |bytes| {
        let read = kernel::decode_reply::<T>("call", StatusCode::OK, bytes);
        read.map_or(Verdict::Refused, |data| stable(&RpcReply { id: None, data, error: None }))
    })
}

fn multisigs() -> Vec<Vec<u8>> {
    let views = vec![View(*key(5).to_bytes()); payment().inputs().len()];
    vec![json(&multisig_row()), json(&MultisigRow { views, ..multisig_row() })]
}

fn key_rows() -> Vec<GhostKeyRow> {
    let row = |mask, keys: &[u8]| GhostKeyRow {
        kind: GHOST_KEY_TYPE.to_owned(),
        mask: Hex32(key(mask).public().to_bytes()),
        keys: keys.iter().map(|number| Hex32(key(*number).public().to_bytes())).collect(),
    };
    vec![row(1, &[2, 3, 4]), row(5, &[6])]
}

/// Keys that the service gives become the outputs of a payment to three users and its change, or there is none.
fn use_keys(bytes: &[u8]) -> Verdict {
    let Ok(rows) = serde_json::from_slice::<Vec<GhostKeyRow>>(bytes) else { return Verdict::Refused };
    let raw = |key: &Hex32| RawKey(key.0);
    let answer = |row: &GhostKeyRow| GhostKeys { mask: raw(&row.mask), keys: row.keys.iter().map(raw).collect() };
    let answers: Vec<_> = rows.iter().map(answer).collect();
    let planned = |users: &[u128], units| PlannedOutput {
        receivers: Mix::of_users(users.iter().copied().map(Uuid::from_u128), 1),
        amount: Amount::from_units(units),
    };
    let id = CoinId { transaction: B256::repeat_byte(5), index: 0 };
    let coin = ResolvedCoin { id, amount: Amount::from_units(5) };
    let outputs = vec![planned(&[1, 2, 3], 2), planned(&[4], 3)];
    let plan = Plan::of_parts((REQUEST, 0), asset(), &[coin], outputs, b"memo".to_vec()).expect("it is balanced");
    let Ok(transaction) = plan.build(&Seed::new([1; 32]), &answers) else { return Verdict::Refused };
    let used = transaction.outputs().iter().map(|output| GhostKeys { mask: output.mask, keys: output.keys.clone() });
    let signed = transaction.clone().unsigned();
    same(used.eq(answers) && SignedTransaction::decode(&signed.encode()) == Ok(signed) && plan.is_paid_by(&transaction))
}

/// A row, its transaction and its views belong together, or it says nothing.
fn read_multisig(bytes: &[u8]) -> Verdict {
    let Ok(row) = serde_json::from_slice::<MultisigRow>(bytes) else { return Verdict::Refused };
    let (raw, views) = (row.raw_transaction.0.clone(), row.views.len());
    match judge(row, REQUEST, payment().hash()) {
        Err(fault) => {
            let _ = fault.to_string();
            Verdict::Refused
        }
        Ok(registered) => {
            let collected = &registered.collected;
            let fits = views == 0 || views == collected.transaction().inputs().len();
            same(
                fits && registered.views.len() == views
                    && collected.encode() == raw
                    && collected.hash() == payment().hash(),
            )
        }
    }
}

/// Lists the same rows whatever is asked, and knows two final transactions.
struct Services {
    rows: Vec<OutputRow>,
    kernel: Arc<BTreeMap<B256, SignedTransaction>>,
}

impl ListOutputs for Services {
    async fn list(&self, _: &OutputQuery) -> Result<Vec<OutputRow>, LedgerError> {
        Ok(self.rows.clone())
    }

    async fn find(&self, _: Uuid) -> Result<OutputRow, LedgerError> {
        self.rows.first().cloned().ok_or_else(|| LedgerError::kernel("output", "there is none"))
    }
}

struct Nodes(Arc<BTreeMap<B256, SignedTransaction>>);

impl ReadKernel for Nodes {
    async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
        Ok(self.0.get(&hash).map(|transaction| KernelView { transaction: transaction.clone(), is_final: true }))
    }

    async fn key_holders(&self, _: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
        Ok(Vec::new())
    }

    async fn coin_holders(&self, _: CoinId) -> Result<Vec<B256>, LedgerFault> {
        Ok(Vec::new())
    }
}

/// Reads rows as the watcher does, up to the outputs that a member would apply.
fn read_page() -> impl Fn(&[u8]) -> Verdict + Send + Sync + 'static {
    let known = [payment().unsigned(), stored_payment().unsigned()];
    let kernel: Arc<BTreeMap<_, _>> = Arc::new(known.into_iter().map(|signed| (signed.hash(), signed)).collect());
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    move |bytes| {
        let Ok(rows) = serde_json::from_slice::<Vec<OutputRow>>(bytes) else { return Verdict::Refused };
        check_page(&runtime, Services { rows, kernel: Arc::clone(&kernel) })
    }
}

fn check_page(runtime: &Runtime, services: Services) -> Verdict {
    let (rows, kernel) = (services.rows.clone(), Arc::clone(&services.kernel));
    let group = Addresses::from_parts(group(), Vec::new());
    let watcher = Watcher::new(services, Nodes(Arc::clone(&kernel)));
    let (outputs, again) = runtime.block_on(async {
        let outputs = watcher.next_outputs(&group, 0).await;
        let known = outputs.as_deref().unwrap_or_default();
        let again = watcher.reread(&group, 0, u64::MAX, known).await;
        (outputs, again)
    });
    let _ = again.map_err(|error| error.to_string());
    let outputs = match outputs {
        Err(error) => {
            let _ = error.to_string();
            return Verdict::Refused;
        }
        Ok(outputs) => outputs,
    };
    // Amount, asset and extra are those of the transaction; order, time and senders are the row's.
    let fits = outputs.iter().all(|output| {
        let found = kernel.get(&output.coin.transaction).map(SignedTransaction::transaction);
        let listed = rows.iter().any(|row| (row.output_id, row.sequence) == (output.id, output.sequence));
        let is_made = found.is_some_and(|transaction| {
            let paid = transaction.outputs().get(usize::from(output.coin.index));
            paid.is_some_and(|paid| paid.amount == output.amount)
                && (output.asset, output.extra.as_slice()) == (transaction.asset(), transaction.extra())
        });
        listed && is_made && output.id == output_id(&output.coin)
    });
    if fits { Verdict::Taken } else { Verdict::Broken("an output that its transaction does not make") }
}

fn group() -> Mix {
    Mix::of_users([Uuid::from_u128(1)], 1)
}

/// A transaction that pays the group.
fn paying(extra: Vec<u8>, references: Vec<B256>) -> Transaction {
    let paid = Output::of_keys(Amount::from_units(1_000_000), vec![key(1).public().raw()], key(2).public().raw(), 1);
    let coin = CoinId { transaction: B256::repeat_byte(5), index: 0 };
    Transaction::new(asset(), vec![Input::of_coin(coin)], vec![paid], references, extra).expect("in bounds")
}

/// What the samples are about.
fn payment() -> Transaction {
    paying(b"memo".to_vec(), Vec::new())
}

/// A payment whose payload is the extra of [`payment`].
fn stored_payment() -> Transaction {
    let memo = Operation::stored_call(Uuid::from_u128(9), 0, b"memo").encode().expect("short fields");
    paying(memo, vec![payment().hash()])
}

fn row_of(transaction: &Transaction, sequence: u64) -> OutputRow {
    let coin = CoinId { transaction: transaction.hash(), index: 0 };
    let user = Uuid::from_u128(1);
    OutputRow {
        kind: OUTPUT_TYPE.to_owned(),
        output_id: output_id(&coin),
        request_id: Some(REQUEST),
        transaction_hash: Hex32(coin.transaction.0),
        output_index: coin.index,
        asset_id: ASSET,
        kernel_asset_id: asset(),
        amount: Amount::from_units(1_000_000),
        mask: Hex32(key(2).public().to_bytes()),
        keys: vec![Hex32(key(1).public().to_bytes())],
        senders_hash: Some(HASH),
        senders_threshold: 1,
        senders: vec![Uuid::from_u128(8)],
        receivers_hash: HASH,
        receivers_threshold: 1,
        receivers: vec![user],
        extra: HexBytes(transaction.extra().to_vec()),
        state: OutputState::Unspent,
        sequence,
        created_at: TIME,
        updated_at: TIME,
        signers: Vec::new(),
        signed_by: None,
        inscription_hash: None,
    }
}

fn snapshot_row() -> SnapshotRow {
    SnapshotRow {
        snapshot_id: REQUEST,
        user_id: REQUEST,
        opponent_id: Some(REQUEST),
        transaction_hash: HASH,
        asset_id: ASSET,
        kernel_asset_id: asset(),
        amount: Movement { is_out: true, amount: Amount::from_units(150_000_000) },
        memo: HexBytes(b"memo".to_vec()),
        request_id: None,
        created_at: TIME,
        deposit: Some(deposit_row()),
        withdrawal: Some(WithdrawalRow {
            withdrawal_hash: ForeignText::default(),
            receiver: ForeignText::new("0xb0b"),
        }),
        inscription_hash: Some(HASH),
    }
}

fn asset_row() -> AssetRow {
    AssetRow {
        asset_id: ASSET,
        chain_id: REQUEST,
        kernel_asset_id: asset(),
        symbol: ForeignText::new("BTC"),
        name: ForeignText::new("Bitcoin"),
        display_symbol: ForeignText::default(),
        display_name: ForeignText::default(),
        precision: 8,
        dust: Amount::from_units(10_000),
        confirmations: 3,
    }
}

fn output_row() -> OutputRow {
    row_of(&payment(), 4_655_227)
}

fn stored_row() -> OutputRow {
    OutputRow { inscription_hash: Some(HASH), ..row_of(&stored_payment(), 4_655_226) }
}

fn deposit_row() -> DepositRow {
    let [deposit_hash, sender, destination, tag] = ["0xabc", "0x1", "0x2", ""].map(str::to_owned);
    DepositRow { deposit_hash, deposit_index: 3, sender, destination, tag }
}

fn receivers() -> Vec<ReceiverRow> {
    vec![ReceiverRow { members: vec![REQUEST], members_hash: Some(HASH), threshold: 1 }]
}

fn multisig_row() -> MultisigRow {
    let payment = payment();
    MultisigRow {
        kind: MULTISIG_TYPE.to_owned(),
        request_id: REQUEST,
        transaction_hash: Hex32(payment.hash().0),
        asset_id: Some(ASSET),
        kernel_asset_id: asset(),
        amount: Amount::from_units(1_000_000),
        senders: vec![REQUEST],
        senders_hash: Some(HASH),
        senders_threshold: 1,
        signers: vec![REQUEST],
        extra: HexBytes(payment.extra().to_vec()),
        raw_transaction: HexBytes(payment.payload()),
        receivers: receivers(),
        created_at: TIME,
        updated_at: TIME,
        views: Vec::new(),
        revoked_by: None,
        inscription_hash: None,
    }
}

fn transaction_row() -> TransactionRow {
    let raw = transactions().first().map(SignedTransaction::encode).unwrap_or_default();
    TransactionRow {
        kind: TRANSACTION_TYPE.to_owned(),
        request_id: REQUEST,
        transaction_hash: HASH,
        user_id: Some(REQUEST),
        asset: asset(),
        amount: Amount::from_units(5),
        extra: HexBytes(b"memo".to_vec()),
        receivers: receivers(),
        senders: vec![REQUEST],
        senders_hash: Some(HASH),
        senders_threshold: 1,
        signers: Vec::new(),
        state: OutputState::Signed,
        raw_transaction: HexBytes(raw),
        created_at: TIME,
        updated_at: TIME,
        snapshot_hash: Some(HASH),
        snapshot_at: Some(TIME),
        views: vec![View([5; 32])],
        revoked_by: Some(REQUEST),
    }
}

fn kernel_transaction() -> KernelTransaction {
    let payment = payment();
    let deposit = KernelDeposit {
        chain: HASH,
        asset_key: "k".to_owned(),
        transaction: "t".to_owned(),
        index: 1,
        amount: Amount::from_units(2),
    };
    let coin = KernelInput { hash: Some(HASH), index: Some(1), ..KernelInput::default() };
    KernelTransaction {
        version: 5,
        asset: asset(),
        inputs: vec![coin, KernelInput { deposit: Some(deposit), ..KernelInput::default() }],
        outputs: vec![KernelOutput {
            kind: 0,
            amount: Amount::from_units(1_000_000),
            keys: vec![HASH],
            mask: Some(HASH),
            script: HexBytes(vec![0xff, 0xfe, 1]),
        }],
        references: Vec::new(),
        extra: HexBytes(payment.extra().to_vec()),
        hash: Hex32(payment.hash().0),
        hex: HexBytes(payment.unsigned().encode()),
        snapshot: Some(HASH),
    }
}

fn kernel_utxo() -> KernelUtxo {
    KernelUtxo {
        kind: 0,
        hash: HASH,
        index: 1,
        amount: Amount::from_units(2),
        keys: vec![HASH],
        mask: Some(HASH),
        script: HexBytes(vec![0xff, 0xfe, 1]),
        lock: Some(HASH),
    }
}
