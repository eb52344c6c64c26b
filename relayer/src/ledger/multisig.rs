//! A group's payout at the ledger's API: register, sign, and what to do when somebody revokes it.
//!
//! Any member may create a request; all of them do, and whoever comes second gets an error or the first one's request. So
//! the reply of a creation decides nothing: the request is read back and its payload compared. The API adds signatures of
//! several members together and broadcasts at the threshold.

mod views;

use std::future::Future;
use std::sync::Arc;

use lockstep_core::mixin::{GhostScalar, RawKey, SignedTransaction, Transaction};
use lockstep_core::payout::{GhostKeys, GhostRequest};
use lockstep_core::{B256, Uuid};

use super::error::{LedgerError, Refusal};
use super::safe::SafeApi;
use super::wire::{HexBytes, KeyRequest, KeysBody, MultisigRow, RawRequest};
use crate::world::ledger::{IssueKeys, LedgerFault, Registered, SubmitPayout};

/// How often a revoked request is made again. One hostile member can revoke each of them; after these the payout goes to
/// the kernel directly (DERIVATION.md C6).
pub const REVOCATIONS_MAX: u32 = 3;

/// The id under which an attempt at a payout is registered, after `revocations` of its requests were revoked. A request id
/// stands for one payload for ever, so each attempt has its own; the first is the trace itself. No derivation reads it.
pub fn request_id(trace: Uuid, attempt: u32, revocations: u32) -> Uuid {
    if (attempt, revocations) == (0, 0) {
        return trace;
    }
    Uuid::new_v5(&trace, format!("request/{attempt}/{revocations}").as_bytes())
}

impl IssueKeys for SafeApi {
    async fn issue_keys(&self, senders: &[Uuid], requests: &[GhostRequest]) -> Result<Vec<GhostKeys>, LedgerFault> {
        let key = |request: &GhostRequest| KeyRequest {
            receivers: request.receivers.clone(),
            index: request.index,
            hint: request.hint,
        };
        let mut senders = senders.to_vec();
        senders.sort_unstable();
        let body = KeysBody::Senders { keys: requests.iter().map(key).collect(), senders };
        let rows = self.keys(&body).await.map_err(|error| error.during("keys"))?;
        let raw = |key: &super::wire::Hex32| RawKey(key.0);
        Ok(rows
            .iter()
            .map(|row| GhostKeys { mask: raw(&row.mask), keys: row.keys.iter().map(raw).collect() })
            .collect())
    }
}

impl SubmitPayout for SafeApi {
    async fn register(&self, request: Uuid, transaction: &Transaction) -> Result<Registered, LedgerFault> {
        const DOING: &str = "multisigs";
        let raw = RawRequest { request_id: request, raw: HexBytes(transaction.payload()) };
        let created = self.create_multisig(&raw).await;
        let mut row = match (self.multisig(request).await, created.as_ref()) {
            (Ok(row), _) => row,
            // The creation says why there is nothing to read.
            (Err(read), Err(_)) if read.refusal() == Some(Refusal::NotFound) => {
                return Err(created.err().unwrap_or(read).during(DOING));
            }
            (Err(read), _) => return Err(read.during(DOING)),
        };
        if let (true, Ok(created)) = (row.views.is_empty(), created) {
            row.views = created.views;
        }
        judge(row, request, transaction.hash())
    }

    async fn views(&self, transaction: &Transaction) -> Result<Vec<GhostScalar>, LedgerFault> {
        views::past_others(self, transaction).await
    }

    async fn add_signatures(&self, request: Uuid, signed: &SignedTransaction) -> Result<Registered, LedgerFault> {
        const DOING: &str = "multisigs sign";
        let raw = RawRequest { request_id: request, raw: HexBytes(signed.encode()) };
        let row = match self.sign_multisig(&raw).await {
            Ok(row) => row,
            Err(refused) => match self.multisig(request).await {
                // It was done before, or others were enough.
                Ok(row) if row.signers.contains(&self.user()) || is_complete(&row) => row,
                Ok(_) | Err(_) => return Err(refused.during(DOING)),
            },
        };
        judge(row, request, signed.hash())
    }
}

/// Several tasks of a member share one client.
impl<T: SubmitPayout> SubmitPayout for Arc<T> {
    fn register(
        &self,
        request: Uuid,
        transaction: &Transaction,
    ) -> impl Future<Output = Result<Registered, LedgerFault>> + Send {
        T::register(self, request, transaction)
    }

    fn views(&self, transaction: &Transaction) -> impl Future<Output = Result<Vec<GhostScalar>, LedgerFault>> + Send {
        T::views(self, transaction)
    }

    fn add_signatures(
        &self,
        request: Uuid,
        signed: &SignedTransaction,
    ) -> impl Future<Output = Result<Registered, LedgerFault>> + Send {
        T::add_signatures(self, request, signed)
    }
}

/// Several tasks of a member share one client.
impl<T: IssueKeys> IssueKeys for Arc<T> {
    fn issue_keys(
        &self,
        senders: &[Uuid],
        requests: &[GhostRequest],
    ) -> impl Future<Output = Result<Vec<GhostKeys>, LedgerFault>> + Send {
        T::issue_keys(self, senders, requests)
    }
}

fn is_complete(row: &MultisigRow) -> bool {
    row.signers.len() >= usize::from(row.senders_threshold)
}

/// Takes a row for what it says, once its payload is `ours`.
///
/// # Errors
/// The row of another request, or one whose transaction or views are malformed; [`LedgerFault::Conflict`] where the request
/// stands for another payload.
pub fn judge(row: MultisigRow, request: Uuid, ours: B256) -> Result<Registered, LedgerFault> {
    const DOING: &str = "multisigs";
    let malformed = |reason: String| LedgerError::malformed(DOING, reason).during(DOING);
    let collected = SignedTransaction::decode(&row.raw_transaction.0).map_err(|error| malformed(error.to_string()))?;
    let named = B256::new(row.transaction_hash.0);
    if row.request_id != request {
        return Err(malformed(format!("the row is that of request {}", row.request_id)));
    }
    if let Some(theirs) = [named, collected.hash()].into_iter().find(|hash| *hash != ours) {
        return Err(LedgerFault::Conflict { request, ours, theirs });
    }
    let (views, inputs) = (row.views.len(), collected.transaction().inputs().len());
    if views != 0 && views != inputs {
        return Err(malformed(format!("{views} views for {inputs} inputs")));
    }
    let view = |view: &super::wire::View| GhostScalar::from_bytes(view.0);
    let views = row.views.iter().map(view).collect::<Result<_, _>>().map_err(|_| malformed("a view".to_owned()))?;
    let signers = row.signers.into_iter().collect();
    Ok(Registered { views, signers, threshold: row.senders_threshold, revoked_by: row.revoked_by, collected })
}

#[cfg(test)]
mod tests {
    use lockstep_core::mixin::{Input, Output, PrivateKey};
    use lockstep_core::output::CoinId;
    use lockstep_core::{Amount, AssetId};

    use super::*;
    use crate::ledger::wire::{Hex32, LedgerTime, MULTISIG_TYPE, View};

    const REQUEST: Uuid = Uuid::from_u128(5);

    fn transaction(units: u128) -> Transaction {
        let key = PrivateKey::from_ed25519_seed(&[1; 32]).public().raw();
        let input = Input::of_coin(CoinId { transaction: B256::ZERO, index: 0 });
        let output = Output::of_keys(Amount::from_units(units), vec![key], key, 1);
        Transaction::new(AssetId([1; 32]), vec![input], vec![output], Vec::new(), Vec::new()).expect("in bounds")
    }

    fn row(transaction: &Transaction) -> MultisigRow {
        MultisigRow {
            kind: MULTISIG_TYPE.to_owned(),
            request_id: REQUEST,
            transaction_hash: Hex32(transaction.hash().0),
            asset_id: None,
            kernel_asset_id: transaction.asset(),
            amount: Amount::from_units(1),
            senders: vec![Uuid::from_u128(1)],
            senders_hash: None,
            senders_threshold: 1,
            signers: Vec::new(),
            extra: HexBytes::default(),
            raw_transaction: HexBytes(transaction.payload()),
            receivers: Vec::new(),
            created_at: LedgerTime(0),
            updated_at: LedgerTime(0),
            views: vec![View(*PrivateKey::from_ed25519_seed(&[2; 32]).to_bytes())],
            revoked_by: None,
            inscription_hash: None,
        }
    }

    #[test]
    fn a_request_of_another_payload_should_be_a_conflict_wherever_it_shows() {
        let (ours, theirs) = (transaction(1), transaction(2));
        let judged = |row| judge(row, REQUEST, ours.hash());
        let hash = MultisigRow { transaction_hash: Hex32(theirs.hash().0), ..row(&ours) };
        let raw = MultisigRow { raw_transaction: HexBytes(theirs.payload()), ..row(&ours) };
        for row in [hash, raw, row(&theirs)] {
            assert!(matches!(judged(row), Err(LedgerFault::Conflict { theirs: t, .. }) if t == theirs.hash()));
        }
    }

    #[test]
    fn a_row_that_cannot_be_used_should_be_refused() {
        let ours = transaction(1);
        let other = MultisigRow { request_id: Uuid::nil(), ..row(&ours) };
        let twice = MultisigRow { views: [row(&ours).views, row(&ours).views].concat(), ..row(&ours) };
        let wide = MultisigRow { views: vec![View([0xff; 32])], ..row(&ours) };
        let cut = MultisigRow { raw_transaction: HexBytes(vec![0x77]), ..row(&ours) };
        for row in [other, twice, wide, cut] {
            assert!(matches!(judge(row, REQUEST, ours.hash()), Err(fault) if !fault.retryable()));
        }
        let registered = judge(row(&ours), REQUEST, ours.hash()).expect("ours");
        assert_eq!((registered.views.len(), registered.collected.hash()), (1, ours.hash()));
    }

    #[test]
    fn each_attempt_and_revocation_should_have_an_id_of_its_own() {
        let trace = Uuid::from_u128(9);
        let ids = [(0, 0), (0, 1), (1, 0), (1, 1), (11, 1), (1, 11)].map(|(attempt, n)| request_id(trace, attempt, n));
        assert_eq!(ids[0], trace);
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
    }
}
