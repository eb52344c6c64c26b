//! The kernel's RPC (`reference/kernel.md` 3): one POST, always HTTP 200, `{"data": …}` or `{"error": "text"}`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use lockstep_core::B256;
use lockstep_core::mixin::{Input, Output, SignedTransaction};
use lockstep_core::output::CoinId;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::auth::BODY_BYTES_MAX;
use super::kernel;
use super::refusal::{CallError, Refusal};
use super::store::{Ledger, from_hex};
use crate::ledger::wire::{
    Hex32, HexBytes, KernelDeposit, KernelInput, KernelKey, KernelMint, KernelOutput, KernelTransaction, KernelUtxo,
    LedgerTime, RpcReply, RpcRequest, SentTransaction,
};

/// What the real service calls the version whose rules this one follows.
const VERSION: &str = "v0.19.2-lockstep";

/// The one route. A GET is `getinfo`.
pub(super) fn router(ledger: Arc<Ledger>) -> Router {
    Router::new().route("/", get(info).post(call)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(ledger)
}

async fn info(State(ledger): State<Arc<Ledger>>) -> Response {
    reply(None, getinfo(&ledger).await)
}

async fn call(State(ledger): State<Arc<Ledger>>, body: Bytes) -> Response {
    match serde_json::from_slice::<RpcRequest>(&body) {
        Ok(request) => reply(request.id.clone(), answer(&ledger, &request).await),
        Err(error) => reply(None, Err(Refusal::Malformed(error.to_string()).into())),
    }
}

fn reply(id: Option<String>, result: Result<Value, CallError>) -> Response {
    use axum::response::IntoResponse;
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

async fn answer(ledger: &Ledger, request: &RpcRequest) -> Result<Value, CallError> {
    let params = &request.params;
    match request.method.as_str() {
        "getinfo" => getinfo(ledger).await,
        "sendrawtransaction" => {
            let [raw] = take::<1>(params)?;
            let raw: HexBytes = parameter(raw)?;
            let mut tx = ledger.begin().await?;
            let hash = kernel::admit(ledger, &mut tx, &raw.0).await?;
            tx.commit().await?;
            value(&SentTransaction { hash: Hex32(hash.0) })
        }
        "gettransaction" => {
            let [hash] = take::<1>(params)?;
            gettransaction(ledger, parameter(hash)?).await
        }
        "getutxo" => {
            let [hash, index] = take::<2>(params)?;
            getutxo(ledger, parameter(hash)?, parameter(index)?).await
        }
        "getkey" => {
            let [key] = take::<1>(params)?;
            let key: Hex32 = parameter(key)?;
            let mut tx = ledger.begin().await?;
            let holder = kernel::key_holder(&mut tx, &key.to_string()).await?;
            let transaction = holder.map(|holder| from_hex(&holder, "hash").map(Hex32)).transpose()?;
            value(&KernelKey { transaction })
        }
        method => Err(Refusal::Field(format!("invalid method {}", method.chars().take(64).collect::<String>())).into()),
    }
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

async fn getinfo(ledger: &Ledger) -> Result<Value, CallError> {
    let mut tx = ledger.begin().await?;
    let (finals, caches): (i64, i64) =
        sqlx::query_as("select count(snapshot), count(*) - count(snapshot) from kernel_transaction")
            .fetch_one(&mut *tx)
            .await?;
    let network = ledger.secrets.network();
    let now = ledger.clock.now();
    let uptime_s = now.saturating_sub(ledger.started_at).div_euclid(1_000_000_000);
    Ok(json!({
        "network": hex::encode(network), "node": hex::encode(network), "version": VERSION,
        "uptime": format!("{uptime_s}s"), "epoch": LedgerTime(ledger.started_at), "timestamp": LedgerTime(now),
        "graph": { "topology": finals }, "queue": { "finals": finals, "caches": caches },
    }))
}

async fn gettransaction(ledger: &Ledger, hash: Hex32) -> Result<Value, CallError> {
    let mut tx = ledger.begin().await?;
    let Some(found) = kernel::find(&mut tx, B256::new(hash.0)).await? else { return Ok(Value::Null) };
    let signed = kernel::decode(&found.raw).map_err(|_| CallError::Corrupt("transaction"))?;
    value(&shown(&signed, found.raw, found.snapshot.map(|snapshot| snapshot.0)))
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

async fn getutxo(ledger: &Ledger, hash: Hex32, index: u16) -> Result<Value, CallError> {
    let mut tx = ledger.begin().await?;
    let id = CoinId { transaction: B256::new(hash.0), index };
    let Some(coin) = kernel::coin(&mut tx, &id).await? else { return Ok(Value::Null) };
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
