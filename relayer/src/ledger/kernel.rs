//! The client of the kernel's RPC: several nodes of different operators, none of them trusted alone.
//!
//! A transaction's content needs no trust: its hash is the hash of its bytes, which are decoded and hashed here. Only
//! whether it is final is a node's word, and there `quorum` nodes have to agree.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use lockstep_core::B256;
use lockstep_core::mixin::SignedTransaction;
use lockstep_core::output::CoinId;
use reqwest::{Client, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::LedgerError;
use super::safe::{ClientError, parse_base};
use super::wire::{Hex32, KernelKey, KernelTransaction, KernelUtxo, RpcReply, RpcRequest, SentTransaction};
use crate::http::{HttpError, patient_http_client, read_body};
use crate::world::ledger::{KernelView, LedgerFault, ReadKernel, SendTransaction};

/// A node that says nothing for so long is left out; a healthy one answers within 20 ms.
const SILENCE: Duration = Duration::from_secs(10);
/// For a whole reply: three nodes that each send the largest at once are through at 2.5 Mbit/s.
const TIMEOUT: Duration = Duration::from_secs(180);
/// A transaction with the largest extra (4 MiB) comes as hex twice: on its own and within the signed bytes.
const REPLY_BYTES_MAX: usize = 20 * 1024 * 1024;

/// The kernel, by several of its nodes.
#[derive(Debug)]
pub struct KernelNodes {
    http: Client,
    nodes: Vec<Url>,
    quorum: usize,
}

impl KernelNodes {
    /// The nodes at `urls`, of which `quorum` must say that a transaction is final.
    ///
    /// # Errors
    /// No node, a quorum they cannot reach, a text that is no HTTP address.
    pub fn new(urls: &[String], quorum: usize) -> Result<Self, ClientError> {
        if quorum == 0 || quorum > urls.len() {
            return Err(ClientError::Quorum { nodes: urls.len(), quorum });
        }
        let nodes = urls.iter().map(|url| parse_base(url)).collect::<Result<_, _>>()?;
        Ok(Self { http: patient_http_client(SILENCE, TIMEOUT).map_err(ClientError::Http)?, nodes, quorum })
    }

    /// The same, which leaves out a node that says nothing for as long as `silence`.
    ///
    /// # Errors
    /// A TLS set-up that cannot be loaded.
    pub fn within(self, silence: Duration) -> Result<Self, ClientError> {
        let http = patient_http_client(silence, TIMEOUT.max(silence)).map_err(ClientError::Http)?;
        Ok(Self { http, ..self })
    }

    /// The transaction `hash`, or `None` if no node knows it and at least a quorum answered.
    ///
    /// # Errors
    /// The first failure, if fewer nodes than a quorum answered.
    pub async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerError> {
        let answers: FuturesUnordered<_> = self.nodes.iter().map(|node| self.transaction_at(node, hash)).collect();
        judge(answers, self.nodes.len(), self.quorum).await
    }

    /// The transactions that nodes say have reserved the one-time key. It is a hint where to look: [`Self::transaction`]
    /// tells whether one of them is final and has the key.
    ///
    /// # Errors
    /// The first failure, if no node answered.
    pub async fn key_holders(&self, key: [u8; 32]) -> Result<Vec<B256>, LedgerError> {
        let held = |key: KernelKey| key.transaction;
        self.holders("getkey", || vec![json!(Hex32(key))], held).await
    }

    /// The transactions that nodes say have reserved the coin; again a hint.
    ///
    /// # Errors
    /// The first failure, if no node answered.
    pub async fn coin_holders(&self, coin: CoinId) -> Result<Vec<B256>, LedgerError> {
        let held = |utxo: KernelUtxo| utxo.lock;
        self.holders("getutxo", || vec![json!(Hex32(coin.transaction.0)), json!(coin.index)], held).await
    }

    /// Asks every node, and gives the different answers.
    async fn holders<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: impl Fn() -> Vec<Value>,
        held: impl Fn(T) -> Option<Hex32>,
    ) -> Result<Vec<B256>, LedgerError> {
        let answers = join_all(self.nodes.iter().map(|node| self.call::<T>(node, method, params()))).await;
        let answered = answers.iter().any(Result::is_ok);
        let mut holders = BTreeSet::new();
        for answer in answers {
            match answer {
                Ok(found) => holders.extend(found.and_then(&held).map(|hash| B256::new(hash.0))),
                Err(error) if !answered => return Err(error),
                Err(_) => {}
            }
        }
        Ok(holders.into_iter().collect())
    }

    /// Hands a signed transaction to the node number `turn` (modulo their number) and returns its payload hash. A node
    /// that has it already ignores it, so a repetition should go to the next one. It says admitted, not final.
    ///
    /// # Errors
    /// [`LedgerError::Kernel`] with the kernel's reason, and those of every call.
    pub async fn send(&self, turn: usize, raw: &[u8]) -> Result<B256, LedgerError> {
        let sent: Option<SentTransaction> =
            self.call(self.node(turn)?, "sendrawtransaction", vec![json!(hex::encode(raw))]).await?;
        match sent {
            Some(SentTransaction { hash: Hex32(hash) }) => Ok(B256::new(hash)),
            None => Err(LedgerError::malformed("sendrawtransaction", "no hash")),
        }
    }

    fn node(&self, turn: usize) -> Result<&Url, LedgerError> {
        // There is always one: the constructor refuses none.
        let index = turn.checked_rem(self.nodes.len()).unwrap_or(0);
        self.nodes.get(index).ok_or_else(|| LedgerError::malformed("kernel", "no node is configured"))
    }

    async fn transaction_at(&self, node: &Url, hash: B256) -> Result<Option<KernelView>, LedgerError> {
        let found = self.call(node, "gettransaction", vec![json!(Hex32(hash.0))]).await?;
        found.map(|found| read_transaction(&found, hash)).transpose()
    }

    async fn call<T: DeserializeOwned>(
        &self,
        node: &Url,
        method: &'static str,
        params: Vec<Value>,
    ) -> Result<Option<T>, LedgerError> {
        let failed = |source: HttpError| LedgerError::Http { call: method.to_owned(), source };
        let request = RpcRequest { id: Some(Uuid::new_v4().to_string()), method: method.to_owned(), params };
        let response =
            self.http.post(node.clone()).json(&request).send().await.map_err(|error| failed(error.into()))?;
        let status = response.status();
        let body = read_body(response, REPLY_BYTES_MAX).await.map_err(failed)?;
        decode_reply(method, status, &body)
    }
}

impl ReadKernel for KernelNodes {
    async fn transaction(&self, hash: B256) -> Result<Option<KernelView>, LedgerFault> {
        Self::transaction(self, hash).await.map_err(|error| error.during("gettransaction"))
    }

    async fn key_holders(&self, key: [u8; 32]) -> Result<Vec<B256>, LedgerFault> {
        Self::key_holders(self, key).await.map_err(|error| error.during("getkey"))
    }

    async fn coin_holders(&self, coin: CoinId) -> Result<Vec<B256>, LedgerFault> {
        Self::coin_holders(self, coin).await.map_err(|error| error.during("getutxo"))
    }
}

impl SendTransaction for KernelNodes {
    async fn send_transaction(&self, turn: usize, signed: &SignedTransaction) -> Result<(), LedgerFault> {
        let sent = self.send(turn, &signed.encode()).await.and_then(|hash| match hash == signed.hash() {
            true => Ok(()),
            false => Err(LedgerError::malformed("sendrawtransaction", "the node names another transaction")),
        });
        sent.map_err(|error| error.during("sendrawtransaction"))
    }
}

impl<T: SendTransaction> SendTransaction for std::sync::Arc<T> {
    async fn send_transaction(&self, turn: usize, signed: &SignedTransaction) -> Result<(), LedgerFault> {
        (**self).send_transaction(turn, signed).await
    }
}

/// Takes a node's answer for what its bytes say, which must be those of the transaction `hash`.
///
/// # Errors
/// Bytes that are no transaction, or another one.
pub fn read_transaction(found: &KernelTransaction, hash: B256) -> Result<KernelView, LedgerError> {
    const CALL: &str = "gettransaction";
    let transaction = SignedTransaction::decode(&found.hex.0).map_err(|error| LedgerError::malformed(CALL, error))?;
    if transaction.hash() != hash {
        return Err(LedgerError::malformed(CALL, "the bytes are those of another transaction"));
    }
    Ok(KernelView { transaction, is_final: found.snapshot.is_some() })
}

/// What a quorum of `asked` nodes says. Whoever comes after an answer that cannot change any more is not waited for: one
/// node that hangs must not slow down every read.
async fn judge(
    mut answers: impl Stream<Item = Result<Option<KernelView>, LedgerError>> + Unpin,
    asked: usize,
    quorum: usize,
) -> Result<Option<KernelView>, LedgerError> {
    let (mut open, mut answered, mut final_at, mut found, mut failure) = (asked, 0_usize, 0_usize, None, None);
    let is_open = |open: usize, answered: usize, final_at: usize| {
        final_at < quorum && (answered < quorum || final_at.saturating_add(open) >= quorum)
    };
    while is_open(open, answered, final_at)
        && let Some(answer) = answers.next().await
    {
        open = open.saturating_sub(1);
        match answer {
            Ok(view) => {
                answered = answered.saturating_add(1);
                final_at = final_at.saturating_add(usize::from(view.as_ref().is_some_and(|view| view.is_final)));
                found = found.or(view);
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if answered < quorum => Err(error),
        Some(_) | None => Ok(found.map(|view| KernelView { is_final: final_at >= quorum, ..view })),
    }
}

/// Judges a node's reply: its status, its body, its refusal. `None` where the node knows no such thing.
///
/// # Errors
/// A status that is no success, a body that is none of the RPC's, and the kernel's own refusal.
pub fn decode_reply<T: DeserializeOwned>(
    call: &str,
    status: StatusCode,
    body: &[u8],
) -> Result<Option<T>, LedgerError> {
    if !status.is_success() {
        return Err(LedgerError::Status { call: call.to_owned(), status: status.as_u16() });
    }
    let reply: RpcReply<T> = serde_json::from_slice(body).map_err(|error| LedgerError::malformed(call, error))?;
    match reply.error {
        Some(text) => Err(LedgerError::kernel(call, &text)),
        None => Ok(reply.data),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use lockstep_core::AssetId;
    use lockstep_core::mixin::Transaction;

    use super::*;

    fn view(is_final: bool) -> KernelView {
        let parts = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let transaction = Transaction::new(AssetId([1; 32]), parts.0, parts.1, parts.2, parts.3).expect("in bounds");
        KernelView { transaction: transaction.unsigned(), is_final }
    }

    fn failed() -> Result<Option<KernelView>, LedgerError> {
        Err(LedgerError::Status { call: "gettransaction".to_owned(), status: 502 })
    }

    async fn judged(
        answers: Vec<Result<Option<KernelView>, LedgerError>>,
        asked: usize,
    ) -> Result<Option<KernelView>, LedgerError> {
        // Nodes that are not among the answers hang.
        let answers = stream::iter(answers).chain(stream::pending());
        let judged = tokio::time::timeout(Duration::from_secs(5), judge(answers, asked, 2)).await;
        judged.expect("does not wait for what cannot change anything")
    }

    #[tokio::test]
    async fn fewer_answers_than_a_quorum_should_be_no_answer() {
        let answers = stream::iter([failed(), Ok(Some(view(true))), failed()]);
        assert!(judge(answers, 3, 2).await.is_err());
        assert!(judged(vec![failed(), Ok(None), Ok(None)], 3).await.expect("two answers").is_none());
    }

    #[tokio::test]
    async fn a_transaction_should_be_final_only_where_a_quorum_says_so() {
        for (answers, is_final) in [
            (vec![Ok(Some(view(true))), Ok(Some(view(false))), Ok(None)], false),
            (vec![Ok(Some(view(true))), failed(), Ok(Some(view(true)))], true),
            (vec![Ok(None), Ok(Some(view(false)))], false),
        ] {
            let judged = judged(answers, 3).await.expect("answers");
            assert_eq!(judged.map(|view| view.is_final), Some(is_final));
        }
    }

    #[tokio::test]
    async fn a_node_that_hangs_should_not_be_waited_for() {
        let said = vec![Ok(Some(view(true))), Ok(Some(view(true)))];
        assert_eq!(judged(said, 9).await.expect("a quorum").map(|view| view.is_final), Some(true));
        assert!(
            judged(vec![Ok(None), Ok(None)], 3).await.expect("a quorum").is_none(),
            "one more cannot make it final"
        );
        let waited = judge(stream::iter([Ok(None), Ok(None)]).chain(stream::pending()), 4, 2);
        let waited = tokio::time::timeout(Duration::from_millis(20), waited).await;
        assert!(waited.is_err(), "two more can");
    }

    #[test]
    fn the_kernels_refusal_should_keep_its_words() {
        let refused = r#"{"error":"input locked for transaction 07"}"#;
        let error = decode_reply::<SentTransaction>("sendrawtransaction", StatusCode::OK, refused.as_bytes());
        assert!(matches!(error, Err(LedgerError::Kernel { text, .. }) if text == "input locked for transaction 07"));
        assert!(decode_reply::<SentTransaction>("x", StatusCode::OK, b"<html>").is_err());
        assert!(decode_reply::<SentTransaction>("x", StatusCode::BAD_GATEWAY, b"{}").is_err());
        assert_eq!(decode_reply::<SentTransaction>("x", StatusCode::OK, br#"{"data":null}"#).expect("null"), None);
    }

    #[test]
    fn a_quorum_that_cannot_be_reached_should_be_refused() {
        let urls = ["http://127.0.0.1:1".to_owned()];
        for quorum in [0, 2] {
            assert!(matches!(KernelNodes::new(&urls, quorum), Err(ClientError::Quorum { nodes: 1, .. })));
        }
        assert!(KernelNodes::new(&[], 1).is_err() && KernelNodes::new(&urls, 1).is_ok());
    }
}
