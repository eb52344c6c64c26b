//! The kernel's RPC (`reference/kernel.md` 3): one POST, always HTTP 200, `{"data": …}` or `{"error": "text"}`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lockstep_core::B256;
use lockstep_core::mixin::{Input, Output, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::auth::BODY_BYTES_MAX;
use super::faults::{Fault, Lie, Place, disturb};
use super::kernel;
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex};
use crate::ledger::wire::{
    Hex32, HexBytes, KernelDeposit, KernelInput, KernelKey, KernelMint, KernelOutput, KernelTransaction, KernelUtxo,
    LedgerTime, RpcReply, RpcRequest, SentTransaction,
};

/// What the real service calls the version whose rules this one follows.
const VERSION: &str = "v0.19.2-lockstep";

/// One of the kernel's nodes.
#[derive(Clone, Debug)]
pub(super) struct Node {
    ledger: Arc<Ledger>,
    /// From 1.
    number: u16,
}

/// The one route of node `number`. A GET is `getinfo`.
pub(super) fn router(ledger: Arc<Ledger>, number: u16) -> Router {
    let node = Node { ledger, number };
    Router::new().route("/", get(info).post(call)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(node)
}

async fn info(State(node): State<Node>) -> Response {
    reply(None, node.getinfo().await)
}

async fn call(State(node): State<Node>, body: Bytes) -> Response {
    let request = match serde_json::from_slice::<RpcRequest>(&body) {
        Ok(request) => request,
        Err(error) => return reply(None, Err(Refusal::Malformed(error.to_string()).into())),
    };
    let disturbance = disturb::at_node(&node.ledger, node.number, &request.method).await;
    let too_many = || StatusCode::TOO_MANY_REQUESTS.into_response();
    let other = disturbance.as_ref().and_then(|how| disturb::answer(how.answer, too_many));
    let Some(other) = other else { return reply(request.id.clone(), node.answer(&request).await) };
    if disturbance.is_some_and(|how| how.applied)
        && let Err(error) = node.answer(&request).await
    {
        tracing::debug!(%error, "call refused, and not answered");
    }
    other
}

fn reply(id: Option<String>, result: Result<Value, CallError>) -> Response {
    let (data, error) = match result {
        Ok(data) => (Some(data), None),
        Err(CallError::Refused(Refusal::Malformed(text) | Refusal::Field(text))) => (None, Some(text)),
        Err(CallError::Refused(refusal)) => (None, Some(refusal.to_string())),
        // A node whose database fails does not answer like a healthy one.
        Err(error @ (CallError::Store(_) | CallError::Corrupt(_))) => return error.into_response(),
    };
    match error {
        Some(error) => Json(json!({ "id": id, "error": error })).into_response(),
        None => Json(RpcReply { id, data, error }).into_response(),
    }
}

impl Node {
    async fn answer(&self, request: &RpcRequest) -> Result<Value, CallError> {
        let params = &request.params;
        match request.method.as_str() {
            "getinfo" => self.getinfo().await,
            "sendrawtransaction" => {
                let [raw] = take::<1>(params)?;
                let raw: HexBytes = parameter(raw)?;
                self.send(&raw.0).await
            }
            "gettransaction" => {
                let [hash] = take::<1>(params)?;
                self.gettransaction(parameter(hash)?).await
            }
            "getutxo" => {
                let [hash, index] = take::<2>(params)?;
                self.getutxo(parameter(hash)?, parameter(index)?).await
            }
            "getkey" => {
                let [key] = take::<1>(params)?;
                self.getkey(parameter(key)?).await
            }
            method => {
                let method: String = method.chars().take(64).collect();
                Err(Refusal::Field(format!("invalid method {method}")).into())
            }
        }
    }

    /// True where this node is set to tell this lie about the transaction.
    fn lies(&self, about: Lie, transaction: Hex32) -> bool {
        let meant = |fault: &Fault| {
            let Fault::Lie { about: set, transaction: named } = fault else { return None };
            (*set == about && named.is_none_or(|named| named == transaction)).then_some(())
        };
        self.ledger.faults.act(Place::at(self.number), meant).is_some()
    }

    async fn getinfo(&self) -> Result<Value, CallError> {
        let ledger = &self.ledger;
        let mut tx = ledger.begin().await?;
        let (finals, caches): (i64, i64) =
            sqlx::query_as("select count(snapshot), count(*) - count(snapshot) from kernel_transaction")
                .fetch_one(&mut *tx)
                .await?;
        let (network, node) = (ledger.secrets.network(), ledger.secrets.node(self.number));
        let now = ledger.clock.now();
        let uptime_s = now.saturating_sub(ledger.started_at).div_euclid(1_000_000_000);
        Ok(json!({
            "network": hex::encode(network), "node": hex::encode(node), "version": VERSION,
            "uptime": format!("{uptime_s}s"), "epoch": LedgerTime(ledger.started_at), "timestamp": LedgerTime(now),
            "graph": { "topology": finals }, "queue": { "finals": finals, "caches": caches },
        }))
    }

    async fn send(&self, raw: &[u8]) -> Result<Value, CallError> {
        let named = Hex32(kernel::decode(raw)?.hash().0);
        if self.lies(Lie::Taken, named) {
            return value(&SentTransaction { hash: named });
        }
        let mut tx = self.ledger.begin().await?;
        let hash = kernel::admit(&self.ledger, &mut tx, raw, self.number).await?;
        tx.commit().await?;
        value(&SentTransaction { hash: Hex32(hash.0) })
    }

    async fn gettransaction(&self, hash: Hex32) -> Result<Value, CallError> {
        let mut tx = self.ledger.begin().await?;
        let found = kernel::find(&mut tx, B256::new(hash.0)).await?.filter(|found| found.is_known_at(self.number));
        let Some(found) = found else { return Ok(Value::Null) };
        if self.lies(Lie::Unknown, hash) {
            return Ok(Value::Null);
        }
        let mut signed = kernel::decode(&found.raw).map_err(|_| CallError::Corrupt("transaction"))?;
        let mut raw = found.raw;
        if self.lies(Lie::OtherBytes, hash) {
            signed = with_other_bytes(&signed)?;
            raw = signed.encode();
        }
        let own = || Hex32(self.ledger.secrets.snapshot_at(self.number, B256::new(hash.0)));
        let mut snapshot = found.snapshot.map(|snapshot| snapshot.0);
        if snapshot.is_some() && self.ledger.faults.acts(Place::at(self.number), &Fault::OwnSnapshots).is_some() {
            snapshot = Some(own());
        }
        if snapshot.is_none() && self.lies(Lie::Final, hash) {
            snapshot = Some(own());
        } else if snapshot.is_some() && self.lies(Lie::NotFinal, hash) {
            snapshot = None;
        }
        value(&KernelTransaction { hash, ..shown(&signed, raw, snapshot) })
    }

    async fn getutxo(&self, hash: Hex32, index: u16) -> Result<Value, CallError> {
        let mut tx = self.ledger.begin().await?;
        let id = CoinId { transaction: B256::new(hash.0), index };
        let found = kernel::coin(&self.ledger, &mut tx, &id, self.number).await?;
        let Some(coin) = found.filter(|_| !self.lies(Lie::Unknown, hash)) else { return Ok(Value::Null) };
        let lock = coin.locked_by.map(|holder| from_hex(&holder, "hash").map(Hex32)).transpose()?;
        value(&KernelUtxo {
            kind: coin.kind,
            hash,
            index,
            amount: coin.amount,
            keys: coin.keys.keys.iter().map(|key| Hex32(key.0)).collect(),
            mask: (coin.mask.0 != [0; 32]).then_some(coin.mask),
            script: HexBytes(coin.keys.script.0),
            lock,
        })
    }

    async fn getkey(&self, key: Hex32) -> Result<Value, CallError> {
        let mut tx = self.ledger.begin().await?;
        let holder = kernel::key_holder(&mut tx, &key.to_string()).await?;
        let mut transaction = holder.map(|holder| from_hex(&holder, "hash").map(Hex32)).transpose()?;
        if let Some(hash) = transaction {
            let found = kernel::find(&mut tx, B256::new(hash.0)).await?;
            let is_known = found.is_some_and(|found| found.is_known_at(self.number));
            transaction = transaction.filter(|_| is_known && !self.lies(Lie::Unknown, hash));
        }
        value(&KernelKey { transaction })
    }
}

/// A transaction that differs from this one by a byte of its extra, with the same signatures.
fn with_other_bytes(signed: &SignedTransaction) -> Result<SignedTransaction, CallError> {
    let right = signed.transaction();
    let mut extra = right.extra().to_vec();
    match extra.first_mut() {
        Some(first) => *first ^= 1,
        None => extra.push(1),
    }
    let parts = (right.inputs().to_vec(), right.outputs().to_vec(), right.references().to_vec());
    Transaction::new(right.asset(), parts.0, parts.1, parts.2, extra)
        .and_then(|other| SignedTransaction::new(other, signed.signatures().clone()))
        .map_err(|_| CallError::Corrupt("transaction"))
}

/// Exactly `N` parameters.
fn take<const N: usize>(params: &[Value]) -> Result<[&Value; N], CallError> {
    let params: Vec<&Value> = params.iter().collect();
    params.try_into().map_err(|_| Refusal::Field("invalid params count".into()).into())
}

fn parameter<T: DeserializeOwned>(value: &Value) -> Result<T, CallError> {
    serde_json::from_value(value.clone()).map_err(|error| Refusal::Field(error.to_string()).into())
}

fn value(data: &impl serde::Serialize) -> Result<Value, CallError> {
    serde_json::to_value(data).map_err(|_| CallError::Corrupt("reply"))
}

fn shown(signed: &SignedTransaction, raw: Vec<u8>, snapshot: Option<Hex32>) -> KernelTransaction {
    let transaction = signed.transaction();
    KernelTransaction {
        version: 5,
        asset: transaction.asset(),
        inputs: transaction.inputs().iter().map(shown_input).collect(),
        outputs: transaction.outputs().iter().map(shown_output).collect(),
        references: transaction.references().iter().map(|hash| Hex32(hash.0)).collect(),
        extra: HexBytes(transaction.extra().to_vec()),
        hash: Hex32(signed.hash().0),
        hex: HexBytes(raw),
        snapshot,
    }
}

fn shown_input(input: &Input) -> KernelInput {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    KernelInput {
        hash: input.is_coin().then_some(Hex32(input.coin.transaction.0)),
        index: input.is_coin().then_some(input.coin.index),
        deposit: input.deposit.as_ref().map(|deposit| KernelDeposit {
            chain: Hex32(deposit.chain.0),
            asset_key: text(&deposit.asset_key),
            transaction: text(&deposit.transaction),
            index: deposit.index,
            amount: deposit.amount,
        }),
        mint: input.mint.as_ref().map(|mint| KernelMint {
            group: text(&mint.group),
            batch: mint.batch,
            amount: mint.amount,
        }),
        genesis: (!input.genesis.is_empty()).then(|| HexBytes(input.genesis.clone())),
    }
}

fn shown_output(output: &Output) -> KernelOutput {
    KernelOutput {
        kind: output.kind.0,
        amount: output.amount,
        keys: output.keys.iter().map(|key| Hex32(key.0)).collect(),
        mask: (!output.mask.is_zero()).then_some(Hex32(output.mask.0)),
        script: HexBytes(output.script.0.clone()),
    }
}
