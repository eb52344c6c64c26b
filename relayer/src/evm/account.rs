//! This member's account on one chain: what the chain shows of it, and how its transactions are signed and sent.

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::network::TxSignerSync;
use alloy::primitives::{Address, B256, TxKind, U256};
use alloy::providers::Provider;
use alloy::signers::local::PrivateKeySigner;
use alloy::transports::TransportError;
use lockstep_core::group::Finality;

use crate::evm::fees::Market;
use crate::evm::provider::EvmProvider;
use crate::world::chain::{ChainError, Purpose, Submission};

/// What the chain shows of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// The newest block, of whose state everything here is unless it says otherwise. Whatever is compared with it must be
    /// read at the same block: what is newest may differ between two calls, and between two nodes behind one endpoint.
    pub latest: B256,
    /// Its number.
    pub latest_number: u64,
    /// Transactions so far.
    pub latest_count: u64,
    /// Transactions in the newest final block's state.
    pub final_count: u64,
    /// Wei.
    pub balance: U256,
    /// What the chain asks for gas.
    pub market: Market,
}

/// An account of one chain and the key to it.
#[derive(Clone)]
pub struct Account {
    provider: EvmProvider,
    signer: PrivateKeySigner,
    chain_id: u64,
    contract: Address,
    finality: Finality,
}

/// The key stays out of logs.
impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("chain_id", &self.chain_id).field("address", &self.address()).finish()
    }
}

impl Account {
    /// The account of `signer`, which delivers to the group contract at `contract`.
    pub const fn new(
        provider: EvmProvider,
        signer: PrivateKeySigner,
        chain_id: u64,
        contract: Address,
        finality: Finality,
    ) -> Self {
        Self { provider, signer, chain_id, contract, finality }
    }

    /// Its address.
    pub const fn address(&self) -> Address {
        self.signer.address()
    }

    /// What the chain shows of it now.
    ///
    /// # Errors
    /// Where the endpoint fails.
    pub async fn view(&self) -> Result<AccountView, ChainError> {
        const DOING: &str = "reading the submitting account";
        let failed = endpoint(DOING);
        let address = self.address();
        let last_final = self.last_final().await?;
        // Asked first: a transaction that becomes final in between then is seen as mined, never the other way round.
        let final_count = self.provider.get_transaction_count(address).block_id(last_final).await.map_err(&failed)?;
        let incomplete = |what: &str| ChainError::Incomplete { doing: DOING, what: what.to_owned() };
        let newest = self.provider.get_block_by_number(BlockNumberOrTag::Latest).await.map_err(&failed)?;
        let newest = newest.ok_or_else(|| incomplete("the newest block is missing"))?.header;
        let latest = BlockId::hash(newest.hash);
        let latest_count = self.provider.get_transaction_count(address).block_id(latest).await.map_err(&failed)?;
        let balance = self.provider.get_balance(address).block_id(latest).await.map_err(&failed)?;
        // A chain with EIP-2537 has EIP-1559.
        let base_fee = newest.base_fee_per_gas.ok_or_else(|| incomplete("the newest block has no base fee"))?;
        // Some endpoints do not suggest a tip; the policy has a least one.
        let tip = self.provider.get_max_priority_fee_per_gas().await.unwrap_or(0);
        Ok(AccountView {
            latest: newest.hash,
            latest_number: newest.number,
            latest_count,
            final_count,
            balance,
            market: Market { base_fee: u128::from(base_fee), tip },
        })
    }

    /// The newest final block as this chain's configuration understands it.
    pub(super) async fn last_final(&self) -> Result<BlockId, ChainError> {
        match self.finality {
            Finality::Finalized => Ok(BlockId::finalized()),
            Finality::Depth(depth) => {
                let latest = self.provider.get_block_number().await.map_err(endpoint("reading the newest block"))?;
                Ok(BlockId::number(latest.saturating_sub(depth)))
            }
        }
    }

    /// How one of `hashes` was mined.
    ///
    /// # Errors
    /// Where the endpoint fails.
    pub async fn receipt(&self, hashes: &[B256]) -> Result<Option<Mined>, ChainError> {
        // The newest price is the likeliest to be mined.
        for hash in hashes.iter().rev() {
            let receipt = self.provider.get_transaction_receipt(*hash).await.map_err(endpoint("reading a receipt"))?;
            if let Some((receipt, block)) = receipt.and_then(|receipt| receipt.block_number.map(|n| (receipt, n))) {
                return Ok(Some(Mined { hash: *hash, success: receipt.status(), block }));
            }
        }
        Ok(None)
    }

    /// True when the endpoint knows the transaction, mined or pending.
    ///
    /// # Errors
    /// Where the endpoint fails.
    pub async fn is_known(&self, hash: B256) -> Result<bool, ChainError> {
        let found = self.provider.get_transaction_by_hash(hash).await.map_err(endpoint("looking for a transaction"))?;
        Ok(found.is_some())
    }

    /// Signs a submission as its row says. Signatures are deterministic (RFC 6979): a restarted member sends the same
    /// bytes.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn sign(&self, submission: &Submission) -> Result<Signed, ChainError> {
        let (to, input) = match &submission.purpose {
            Purpose::Deliver { calldata, .. } => (self.contract, calldata.clone()),
            Purpose::Cancel => (self.address(), Vec::new()),
        };
        let mut transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: submission.account_nonce,
            gas_limit: submission.gas_limit,
            max_fee_per_gas: submission.max_fee,
            max_priority_fee_per_gas: submission.tip,
            to: TxKind::Call(to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: input.into(),
        };
        let signature = self
            .signer
            .sign_transaction_sync(&mut transaction)
            .map_err(|error| ChainError::Endpoint { doing: "signing a transaction", source: Box::new(error) })?;
        let signed = transaction.into_signed(signature);
        let hash = *signed.hash();
        Ok(Signed { hash, bytes: TxEnvelope::from(signed).encoded_2718() })
    }

    /// Hands a transaction to the endpoint. What it says is no more than a hint: whether it was mined is read from the
    /// chain.
    ///
    /// # Errors
    /// What the endpoint says, also for a transaction that it has already.
    pub async fn send(&self, signed: &Signed) -> Result<(), TransportError> {
        self.provider.send_raw_transaction(&signed.bytes).await.map(|_| ())
    }
}

/// A transaction in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mined {
    /// Its hash.
    pub hash: B256,
    /// False where it reverted.
    pub success: bool,
    /// The block's number.
    pub block: u64,
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its hash.
    pub hash: B256,
    /// What goes over the wire.
    pub bytes: Vec<u8>,
}

fn endpoint(doing: &'static str) -> impl Fn(TransportError) -> ChainError {
    move |error| ChainError::Endpoint { doing, source: Box::new(error) }
}
