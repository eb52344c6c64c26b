//! A member's views where hostile members took every shared request, or locked the coins by signing something else.
//!
//! A view depends on the coin and the member alone (LEDGER.md), so any request over the coin shows it: one of our own under
//! an id that nobody can foresee; for a locked coin the very request that locks it; for a free coin beside a locked one a
//! draft that would pay the coin back to its owners. None of them is ever signed.

use lockstep_core::Uuid;
use lockstep_core::mixin::ids::output_id;
use lockstep_core::mixin::{GhostScalar, Input, Output, RawKey, SignedTransaction, Transaction};
use lockstep_core::output::CoinId;

use super::super::error::{LedgerError, Refusal};
use super::super::safe::SafeApi;
use super::super::wire::{HexBytes, KeyRequest, KeysBody, MultisigRow, OutputRow, RawRequest, View};
use crate::world::ledger::LedgerFault;

const CALL: &str = "multisigs";

/// The views of all inputs, in order; empty where there is nothing to sign any more.
pub(super) async fn past_others(api: &SafeApi, transaction: &Transaction) -> Result<Vec<GhostScalar>, LedgerFault> {
    let views = match request(api, transaction).await {
        Err(error) if error.refusal() == Some(Refusal::InputLocked) => coin_by_coin(api, transaction).await,
        answered => answered.map(|row| row.views),
    };
    let opened = |views: Vec<View>| {
        let view = |view: &View| GhostScalar::from_bytes(view.0).map_err(|_| LedgerError::malformed(CALL, "a view"));
        views.iter().map(view).collect::<Result<Vec<_>, _>>()
    };
    views.and_then(opened).map_err(|error| error.during(CALL))
}

/// Registers the transaction under a fresh id.
async fn request(api: &SafeApi, transaction: &Transaction) -> Result<MultisigRow, LedgerError> {
    let raw = HexBytes(transaction.payload());
    api.create_multisig(&RawRequest { request_id: Uuid::new_v4(), raw }).await
}

async fn coin_by_coin(api: &SafeApi, transaction: &Transaction) -> Result<Vec<View>, LedgerError> {
    let coins = transaction.coins().ok_or_else(|| LedgerError::malformed(CALL, "an input that is no coin"))?;
    let mut views = Vec::with_capacity(coins.len());
    for coin in coins {
        let output = api.output(output_id(&coin)).await?;
        let row = match output.signed_by {
            Some(holder) => api.multisig_of(holder.0.into()).await?,
            None => request(api, &draft(api, coin, &output).await?).await?,
        };
        let signed = SignedTransaction::decode(&row.raw_transaction.0);
        let signed = signed.map_err(|error| LedgerError::malformed(CALL, error))?;
        let inputs = signed.transaction().coins().unwrap_or_default();
        let view = inputs.iter().zip(row.views).find_map(|(input, view)| (*input == coin).then_some(view));
        // The holder's request shows no views to a member that signed it; that member has kept them.
        views.push(view.ok_or_else(|| LedgerError::malformed(CALL, "the request that locks a coin shows no view"))?);
    }
    Ok(views)
}

/// The coin to its owners, with keys of its own.
async fn draft(api: &SafeApi, coin: CoinId, output: &OutputRow) -> Result<Transaction, LedgerError> {
    let key = KeyRequest { receivers: output.receivers.clone(), index: 0, hint: Uuid::new_v4() };
    let rows = api.keys(&KeysBody::Own(vec![key])).await?;
    let row = rows.first().ok_or_else(|| LedgerError::malformed("keys", "no keys"))?;
    let keys = row.keys.iter().map(|key| RawKey(key.0)).collect();
    let back = Output::of_keys(output.amount, keys, RawKey(row.mask.0), output.receivers_threshold);
    Transaction::new(output.kernel_asset_id, vec![Input::of_coin(coin)], vec![back], Vec::new(), Vec::new())
        .map_err(|error| LedgerError::malformed(CALL, error))
}
