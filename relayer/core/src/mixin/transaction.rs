//! Kernel transactions, version 5 (kernel `common/transaction.go`, `encoding.go`, `decoding.go`).

mod decode;
mod encode;

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::B256;
use thiserror::Error;

use super::address::XinAddress;
use super::amount::Wide;
use super::ghost::derive_public;
use super::hash::{blake3, for_network, sha3_256};
use super::key::{KeyError, PrivateKey, RawKey};
use super::script::Script;
use super::signature::Signature;
use crate::output::CoinId;
use crate::{Amount, AssetId};

/// The only version.
pub const VERSION: u8 = 5;
/// Most inputs, outputs, keys of an output, and references that can be encoded (kernel `SliceCountLimit`).
pub const SLICE_MAX: usize = 256;
/// Largest index of a spent output (kernel `InputIndexLimit`).
pub const INPUT_INDEX_MAX: u16 = 1_024;
/// Most bytes of a whole transaction, and of its extra (kernel `TransactionMaximumSize`, `ExtraSizeStorageCapacity`).
pub const SIZE_MAX: usize = 4 * 1_024 * 1_024;

/// What a transaction's hash covers: everything but the signatures. Its fields are fixed once it exists, and within the
/// bounds of the encoding, so its bytes and hash always exist.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    asset: AssetId,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    references: Vec<B256>,
    extra: Vec<u8>,
    wide: Wide,
    hash: B256,
}

impl Transaction {
    /// A transaction of these parts. Only what the encoding can hold is judged here; see
    /// [`structure`](super::structure) for what the kernel admits.
    ///
    /// # Errors
    /// Names the part that is above the kernel's bounds.
    pub fn new(
        asset: AssetId,
        inputs: Vec<Input>,
        outputs: Vec<Output>,
        references: Vec<B256>,
        extra: Vec<u8>,
    ) -> Result<Self, TransactionError> {
        Self::assemble(asset, inputs, outputs, (references, extra), Wide::default())
    }

    /// A transaction whose amounts are partly kept apart, in `wide`.
    fn assemble(
        asset: AssetId,
        inputs: Vec<Input>,
        outputs: Vec<Output>,
        (references, extra): (Vec<B256>, Vec<u8>),
        wide: Wide,
    ) -> Result<Self, TransactionError> {
        bounded("inputs", inputs.len(), SLICE_MAX)?;
        bounded("outputs", outputs.len(), SLICE_MAX)?;
        bounded("references", references.len(), SLICE_MAX)?;
        bounded("bytes of extra", extra.len(), SIZE_MAX)?;
        inputs.iter().try_for_each(Input::check_bounds)?;
        outputs.iter().try_for_each(Output::check_bounds)?;
        let mut transaction = Self { asset, inputs, outputs, references, extra, wide, hash: B256::ZERO };
        let payload = transaction.payload();
        bounded("bytes", payload.len(), SIZE_MAX)?;
        transaction.hash = blake3(&payload);
        Ok(transaction)
    }

    /// The one asset that moves.
    pub const fn asset(&self) -> AssetId {
        self.asset
    }

    /// What is spent.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The coins spent, in order, or `None` where an input is a deposit, mint or genesis.
    pub fn coins(&self) -> Option<Vec<CoinId>> {
        self.inputs.iter().map(|input| input.is_coin().then_some(input.coin)).collect()
    }

    /// What is made.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Transactions that must be final before this one.
    pub fn references(&self) -> &[B256] {
        &self.references
    }

    /// Bytes that every receiver sees.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The signed hash, BLAKE3 of [`Self::payload`]: the transaction's id, the same for any set of signatures.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Some amount is larger than [`Amount`] holds; it reads as [`Amount::MAX`].
    pub fn has_wide_amounts(&self) -> bool {
        !self.wide.is_empty()
    }

    /// The sum of the outputs, or `None` above any ledger amount.
    pub fn output_total(&self) -> Option<Amount> {
        if self.has_wide_amounts() {
            return None;
        }
        self.outputs.iter().try_fold(Amount::ZERO, |total, output| total.checked_add(output.amount))
    }

    /// The bytes with no signatures: what `/safe/multisigs` takes as `raw`.
    pub fn payload(&self) -> Vec<u8> {
        encode::transaction(self, &Signatures::default())
    }

    /// The transaction, without any signature yet.
    pub const fn unsigned(self) -> SignedTransaction {
        SignedTransaction { transaction: self, signatures: Signatures::Map(Vec::new()) }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("hash", &self.hash)
            .field("asset", &self.asset)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("references", &self.references)
            .field("extra", &hex::encode(&self.extra))
            .finish()
    }
}

/// A transaction with its signatures, complete or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTransaction {
    transaction: Transaction,
    pub(super) signatures: Signatures,
}

impl SignedTransaction {
    /// Puts signatures to a transaction; whether they are right is judged elsewhere.
    ///
    /// # Errors
    /// Refuses more signatures than the encoding or a transaction's size can hold, and signers that do not ascend.
    pub fn new(transaction: Transaction, signatures: Signatures) -> Result<Self, TransactionError> {
        match &signatures {
            Signatures::Map(maps) => bounded("signature maps", maps.len(), SLICE_MAX)?,
            Signatures::Aggregated { signers, .. } => {
                bounded("signers", signers.len(), usize::from(u16::MAX))?;
                if !signers.is_sorted_by(|a, b| a < b) {
                    return Err(TransactionError::Signers);
                }
            }
        }
        let signed = Self { transaction, signatures };
        bounded("bytes", signed.encode().len(), SIZE_MAX)?;
        Ok(signed)
    }

    /// Reads a transaction and nothing else, as strictly as the kernel: one byte string for one transaction.
    ///
    /// # Errors
    /// Says at which byte, in which field, and why.
    pub fn decode(bytes: &[u8]) -> Result<Self, super::DecodeError> {
        decode::transaction(bytes)
    }

    /// The bytes, with signatures.
    pub fn encode(&self) -> Vec<u8> {
        encode::transaction(&self.transaction, &self.signatures)
    }

    /// The transaction without its signatures.
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The signatures.
    pub const fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// The hash that names the transaction; signatures do not change it.
    pub const fn hash(&self) -> B256 {
        self.transaction.hash
    }
}

/// What a transaction spends. In practice exactly one of the four forms; the encoding allows more, so they are fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The spent coin; zero for the other forms.
    pub coin: CoinId,
    /// Data of a genesis input; empty for none.
    pub genesis: Vec<u8>,
    /// Money that came from another chain.
    pub deposit: Option<Deposit>,
    /// Money that the kernel makes.
    pub mint: Option<Mint>,
}

impl Input {
    /// Spends a coin.
    pub const fn of_coin(coin: CoinId) -> Self {
        Self { coin, genesis: Vec::new(), deposit: None, mint: None }
    }

    /// Brings in money from another chain.
    pub const fn of_deposit(deposit: Deposit) -> Self {
        let coin = CoinId { transaction: B256::ZERO, index: 0 };
        Self { coin, genesis: Vec::new(), deposit: Some(deposit), mint: None }
    }

    /// True if it spends a coin and is nothing else.
    pub const fn is_coin(&self) -> bool {
        self.genesis.is_empty() && self.deposit.is_none() && self.mint.is_none()
    }

    fn check_bounds(&self) -> Result<(), TransactionError> {
        bounded("input index", self.coin.index.into(), INPUT_INDEX_MAX.into())?;
        bounded_bytes("bytes of genesis data", &self.genesis)?;
        if let Some(deposit) = &self.deposit {
            bounded_bytes("bytes of a deposit's asset key", &deposit.asset_key)?;
            bounded_bytes("bytes of a deposit's transaction", &deposit.transaction)?;
        }
        self.mint.iter().try_for_each(|mint| bounded_bytes("bytes of a mint's group", &mint.group))
    }
}

/// A deposit from another chain (kernel `common/deposit.go`). Texts are bytes, as the kernel keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Kernel asset id of the other chain.
    pub chain: B256,
    /// The asset's name on the other chain.
    pub asset_key: Vec<u8>,
    /// The other chain's transaction.
    pub transaction: Vec<u8>,
    /// Output or event index there.
    pub index: u64,
    /// What came.
    pub amount: Amount,
}

impl Deposit {
    /// The key under which the kernel takes a deposit once.
    pub fn unique_key(&self) -> B256 {
        let mut text = format!("{}:", hex::encode(self.chain)).into_bytes();
        text.extend_from_slice(&self.transaction);
        text.extend_from_slice(format!(":{}", self.index).as_bytes());
        for_network(self.chain, sha3_256(&text))
    }
}

/// New money of the kernel (kernel `common/mint.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// Who it is for, `UNIVERSAL` today.
    pub group: Vec<u8>,
    /// Number of the day.
    pub batch: u64,
    /// What is made.
    pub amount: Amount,
}

/// What an output is for (kernel `OutputType…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputType(pub u8);

impl OutputType {
    /// A coin under a script.
    pub const SCRIPT: Self = Self(0x00);
    /// Money that leaves to another chain.
    pub const WITHDRAWAL_SUBMIT: Self = Self(0xa1);
    /// A node's pledge.
    pub const NODE_PLEDGE: Self = Self(0xa3);
    /// A pledged node is accepted.
    pub const NODE_ACCEPT: Self = Self(0xa4);
    /// A node is removed.
    pub const NODE_REMOVE: Self = Self(0xa6);
    /// A withdrawal was done on the other chain.
    pub const WITHDRAWAL_CLAIM: Self = Self(0xa9);
    /// A pledge is cancelled.
    pub const NODE_CANCEL: Self = Self(0xaa);
    /// Custodian nodes change.
    pub const CUSTODIAN_UPDATE_NODES: Self = Self(0xb1);
    /// Custodian nodes are slashed.
    pub const CUSTODIAN_SLASH_NODES: Self = Self(0xb2);
}

/// What a transaction makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What it is for.
    pub kind: OutputType,
    /// What it holds.
    pub amount: Amount,
    /// One-time keys of the receivers.
    pub keys: Vec<RawKey>,
    /// The sender's r·B, by which receivers find their keys; zero where there are none.
    pub mask: RawKey,
    /// How many keys must sign.
    pub script: Script,
    /// Where a withdrawal goes.
    pub withdrawal: Option<Withdrawal>,
}

impl Output {
    /// A coin under one-time keys that are known already, such as those of the ledger's API.
    pub fn of_keys(amount: Amount, keys: Vec<RawKey>, mask: RawKey, threshold: u8) -> Self {
        let script = Script::of_threshold(threshold);
        Self { kind: OutputType::SCRIPT, amount, keys, mask, script, withdrawal: None }
    }

    /// Output number `index` paying kernel addresses, its keys derived from the secret `r`, which must never be used for
    /// another output.
    ///
    /// # Errors
    /// [`KeyError::Identity`], which no address can aim at.
    pub fn of_addresses(
        amount: Amount,
        receivers: &[XinAddress],
        threshold: u8,
        r: &PrivateKey,
        index: u16,
    ) -> Result<Self, KeyError> {
        let key = |to: &XinAddress| Ok(derive_public(r, &to.view, &to.spend, index.into())?.raw());
        let keys = receivers.iter().map(key).collect::<Result<_, KeyError>>()?;
        Ok(Self::of_keys(amount, keys, r.public().raw(), threshold))
    }

    /// Money that leaves the ledger; must be output 0.
    pub const fn of_withdrawal(amount: Amount, address: Vec<u8>, tag: Vec<u8>) -> Self {
        Self {
            kind: OutputType::WITHDRAWAL_SUBMIT,
            amount,
            keys: Vec::new(),
            mask: RawKey::ZERO,
            script: Script(Vec::new()),
            withdrawal: Some(Withdrawal { address, tag }),
        }
    }

    fn check_bounds(&self) -> Result<(), TransactionError> {
        bounded("keys of an output", self.keys.len(), SLICE_MAX)?;
        bounded_bytes("bytes of a script", &self.script.0)?;
        if let Some(withdrawal) = &self.withdrawal {
            bounded_bytes("bytes of a withdrawal's address", &withdrawal.address)?;
            bounded_bytes("bytes of a withdrawal's tag", &withdrawal.tag)?;
        }
        Ok(())
    }
}

/// Where a withdrawal goes. Texts are bytes, as the kernel keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Address on the other chain.
    pub address: Vec<u8>,
    /// Its tag or memo; empty for none.
    pub tag: Vec<u8>,
}

/// The signatures of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// For each input, signatures by index of the coin's key; no maps at all while nothing is signed.
    Map(Vec<BTreeMap<u16, Signature>>),
    /// One signature of many keys.
    Aggregated {
        /// The signature.
        signature: Signature,
        /// Who signed: ascending indexes into the keys of all inputs in a row.
        signers: Vec<u16>,
    },
}

impl Default for Signatures {
    fn default() -> Self {
        Self::Map(Vec::new())
    }
}

fn bounded(what: &'static str, count: usize, max: usize) -> Result<(), TransactionError> {
    if count > max { Err(TransactionError::TooLarge { what, count, max }) } else { Ok(()) }
}

fn bounded_bytes(what: &'static str, bytes: &[u8]) -> Result<(), TransactionError> {
    bounded(what, bytes.len(), u16::MAX.into())
}

/// Why parts do not make a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// More than the encoding or the kernel's size limit holds.
    #[error("{count} {what}, at most {max}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Signers of an aggregated signature that do not ascend.
    #[error("the signers of an aggregated signature must ascend")]
    Signers,
}

#[cfg(test)]
mod tests;
