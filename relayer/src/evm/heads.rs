//! Heads of mailboxes, as the contract stores them.

use std::collections::BTreeMap;

use alloy::eips::BlockId;
use alloy::primitives::{Address, Bytes};
use alloy::providers::Provider;
use alloy::rpc::client::BatchRequest;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use lockstep_core::{B256, Uuid};

use crate::evm::abi::Group;
use crate::evm::calldata::process_word;
use crate::evm::provider::EvmProvider;
use crate::world::chain::ChainError;

/// Calls in one HTTP request: endpoints commonly refuse batches above a hundred.
const CALLS_MAX: usize = 50;
const DOING: &str = "reading the heads of mailboxes";

/// The head of each of `processes` at `block`.
///
/// The newest block says what still has to be delivered: a reorganisation only makes a delivery pending again. What is
/// never to be looked at again must be read at a final block. The pending block is of no use: anybody can put a
/// transaction there that is never mined.
///
/// # Errors
/// Where the endpoint fails or answers with something other than heads.
pub async fn read_heads(
    provider: &EvmProvider,
    contract: Address,
    processes: &[Uuid],
    block: BlockId,
) -> Result<BTreeMap<Uuid, B256>, ChainError> {
    let mut heads = BTreeMap::new();
    for chunk in processes.chunks(CALLS_MAX) {
        let failed = |error| ChainError::Endpoint { doing: DOING, source: Box::new(error) };
        let mut batch = BatchRequest::new(provider.client());
        let mut answers = Vec::with_capacity(chunk.len());
        for process in chunk {
            let call = Group::headCall { process: process_word(*process) };
            let request = TransactionRequest::default().to(contract).input(call.abi_encode().into());
            let answer = batch.add_call::<_, Bytes>("eth_call", &(request, block)).map_err(failed)?;
            answers.push((*process, answer));
        }
        batch.send().await.map_err(failed)?;
        for (process, answer) in answers {
            let word = answer.await.map_err(failed)?;
            let head = B256::try_from(word.as_ref()).map_err(|_| ChainError::Incomplete {
                doing: DOING,
                what: format!("the head of process {process} has {} bytes", word.len()),
            })?;
            heads.insert(process, head);
        }
    }
    Ok(heads)
}
