//! What the kernel asks of a transaction by itself, without the ledger's state (kernel `common/validation.go`).
//!
//! Errors are in the kernel's own words, so that an embedded ledger answers as the real one does.

use std::collections::BTreeSet;

use thiserror::Error;

use super::ids::{STORAGE_PRICE_STEP, XIN, storage_room};
use super::key::RawKey;
use super::script::{Script, ScriptError};
use super::transaction::{Deposit, Mint, Output, OutputType, SIZE_MAX, Signatures, SignedTransaction, Transaction};
use crate::output::CoinId;
use crate::{Amount, AssetId};

/// Most references of an admitted transaction (kernel `ReferencesCountLimit`).
pub const REFERENCES_MAX: usize = 16;
/// Most bytes of extra without a storage output (kernel `ExtraSizeGeneralLimit`).
pub const EXTRA_MAX: usize = 256;
/// Threshold of a storage output: with one key, nobody can ever spend it.
pub const STORAGE_THRESHOLD: u8 = 64;

/// What a transaction does (kernel `TransactionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum TransactionKind {
    Script,
    Mint,
    Deposit,
    WithdrawalSubmit,
    WithdrawalClaim,
    NodePledge,
    NodeAccept,
    NodeRemove,
    NodeCancel,
    CustodianUpdateNodes,
    CustodianSlashNodes,
    Unknown,
}

impl TransactionKind {
    /// The kernel's number of the kind.
    pub const fn number(self) -> u8 {
        match self {
            Self::Script => 0x00,
            Self::Mint => 0x01,
            Self::Deposit => 0x02,
            Self::WithdrawalSubmit => 0x03,
            Self::WithdrawalClaim => 0x05,
            Self::NodePledge => 0x06,
            Self::NodeAccept => 0x07,
            Self::NodeRemove => 0x09,
            Self::NodeCancel => 0x12,
            Self::CustodianUpdateNodes => 0x13,
            Self::CustodianSlashNodes => 0x14,
            Self::Unknown => 0xff,
        }
    }

    /// What a transaction is, by its first telling input, else its first telling output.
    pub fn of(transaction: &Transaction) -> Self {
        for input in transaction.inputs() {
            if input.mint.is_some() {
                return Self::Mint;
            }
            if input.deposit.is_some() {
                return Self::Deposit;
            }
            if !input.genesis.is_empty() {
                return Self::Unknown;
            }
        }
        let mut kind = Self::Script;
        for output in transaction.outputs() {
            match output.kind {
                OutputType::SCRIPT => {}
                OutputType::WITHDRAWAL_SUBMIT => return Self::WithdrawalSubmit,
                OutputType::WITHDRAWAL_CLAIM => return Self::WithdrawalClaim,
                OutputType::NODE_PLEDGE => return Self::NodePledge,
                OutputType::NODE_CANCEL => return Self::NodeCancel,
                OutputType::NODE_ACCEPT => return Self::NodeAccept,
                OutputType::NODE_REMOVE => return Self::NodeRemove,
                OutputType::CUSTODIAN_UPDATE_NODES => return Self::CustodianUpdateNodes,
                OutputType::CUSTODIAN_SLASH_NODES => return Self::CustodianSlashNodes,
                OutputType(_) => kind = Self::Unknown,
            }
        }
        kind
    }
}

/// The bytes of extra that a transaction may carry: 256, or what its largest storage output paid for in XIN.
pub fn extra_limit(transaction: &Transaction) -> usize {
    if transaction.asset() != AssetId::from_uuid(XIN) {
        return EXTRA_MAX;
    }
    let storage = Script::of_threshold(STORAGE_THRESHOLD);
    let outputs = transaction.outputs().iter().filter(|output| output.keys.len() == 1 && output.script == storage);
    // The first of the largest, as the kernel chooses.
    let chosen = outputs.reduce(|chosen, next| if next.amount > chosen.amount { next } else { chosen });
    match chosen.map(|output| (output.kind, output.amount)) {
        Some((OutputType::CUSTODIAN_UPDATE_NODES, _)) => SIZE_MAX,
        Some((OutputType::SCRIPT, amount)) if amount.units() >= STORAGE_PRICE_STEP => {
            storage_room(amount).min(SIZE_MAX)
        }
        _ => EXTRA_MAX,
    }
}

/// Checks everything that the kernel checks without its state, and gives the kind. For the kinds that run the kernel
/// itself (nodes, custodians, claims) only what all kinds share is checked.
///
/// # Errors
/// The first rule that is broken, in the kernel's words.
pub fn validate(transaction: &Transaction) -> Result<TransactionKind, StructureError> {
    let kind = TransactionKind::of(transaction);
    if kind == TransactionKind::Unknown {
        return Err(StructureError::Kind(kind.number()));
    }
    if transaction.has_wide_amounts() {
        return Err(StructureError::Total);
    }
    let (inputs, outputs) = (transaction.inputs().len(), transaction.outputs().len());
    if inputs == 0 || outputs == 0 {
        return Err(StructureError::Empty { inputs, outputs });
    }
    let extra = transaction.extra().len();
    if extra > extra_limit(transaction) {
        return Err(StructureError::Extra(extra));
    }
    if transaction.references().len() > REFERENCES_MAX {
        return Err(StructureError::References(transaction.references().len()));
    }
    match kind {
        TransactionKind::Deposit => validate_deposit(transaction)?,
        TransactionKind::Mint => validate_mint(transaction)?,
        TransactionKind::WithdrawalSubmit | TransactionKind::WithdrawalClaim => validate_withdrawal(transaction, kind)?,
        TransactionKind::Script
        | TransactionKind::NodePledge
        | TransactionKind::NodeAccept
        | TransactionKind::NodeRemove
        | TransactionKind::NodeCancel
        | TransactionKind::CustodianUpdateNodes
        | TransactionKind::CustodianSlashNodes
        | TransactionKind::Unknown => {}
    }
    if !matches!(kind, TransactionKind::Deposit | TransactionKind::Mint) {
        validate_coins(transaction)?;
    }
    validate_outputs(transaction)?;
    Ok(kind)
}

/// [`validate`], and as many signature maps as inputs.
///
/// # Errors
/// The first rule that is broken, in the kernel's words.
pub fn validate_signed(signed: &SignedTransaction) -> Result<TransactionKind, StructureError> {
    let kind = validate(signed.transaction())?;
    let inputs = signed.transaction().inputs().len();
    match signed.signatures() {
        Signatures::Map(maps) if maps.len() != inputs && kind != TransactionKind::NodeRemove => {
            Err(StructureError::Signatures { inputs, maps: maps.len(), kind: kind.number() })
        }
        Signatures::Map(_) | Signatures::Aggregated { .. } => Ok(kind),
    }
}

fn validate_coins(transaction: &Transaction) -> Result<(), StructureError> {
    let mut seen = BTreeSet::new();
    for input in transaction.inputs() {
        if !seen.insert(input.coin) {
            return Err(StructureError::DoubleInput(input.coin));
        }
    }
    Ok(())
}

fn validate_outputs(transaction: &Transaction) -> Result<(), StructureError> {
    let mut seen = BTreeSet::new();
    for output in transaction.outputs() {
        if output.amount.is_zero() {
            return Err(StructureError::OutputAmount(output.amount));
        }
        for key in &output.keys {
            if !seen.insert(*key) {
                return Err(StructureError::DoubleKey(*key));
            }
            key.check().map_err(|_| StructureError::Key(*key))?;
        }
        validate_output(output)?;
    }
    transaction.output_total().map(|_| ()).ok_or(StructureError::Total)
}

fn validate_output(output: &Output) -> Result<(), StructureError> {
    let keyless = [
        OutputType::WITHDRAWAL_SUBMIT,
        OutputType::WITHDRAWAL_CLAIM,
        OutputType::NODE_PLEDGE,
        OutputType::NODE_CANCEL,
        OutputType::NODE_ACCEPT,
    ];
    if keyless.contains(&output.kind) {
        if !output.keys.is_empty() {
            return Err(StructureError::KernelKeys(output.keys.len()));
        }
        if !output.script.0.is_empty() {
            return Err(StructureError::KernelScript(output.script.clone()));
        }
        if !output.mask.is_zero() {
            return Err(StructureError::KernelMask(output.mask));
        }
        return Ok(());
    }
    output.script.threshold()?;
    if output.mask.is_zero() {
        return Err(StructureError::NoMask);
    }
    output.mask.check().map_err(|_| StructureError::Mask(output.mask))?;
    match &output.withdrawal {
        Some(withdrawal) => Err(StructureError::ScriptWithdrawal(lossy(&withdrawal.address))),
        None => Ok(()),
    }
}

fn validate_deposit(transaction: &Transaction) -> Result<(), StructureError> {
    let ([input], [output]) = (transaction.inputs(), transaction.outputs()) else {
        let (inputs, outputs) = (transaction.inputs().len(), transaction.outputs().len());
        return Err(StructureError::DepositShape { inputs, outputs });
    };
    if output.kind != OutputType::SCRIPT {
        return Err(StructureError::DepositOutput(output.kind.0));
    }
    let Some(Deposit { chain, asset_key, transaction, amount, .. }) = &input.deposit else {
        return Err(StructureError::DepositShape { inputs: 1, outputs: 1 });
    };
    if chain.is_zero() || !is_trimmed(asset_key) {
        return Err(StructureError::DepositAsset(lossy(asset_key)));
    }
    if !is_trimmed(transaction) {
        return Err(StructureError::DepositTransaction(lossy(transaction)));
    }
    exact_sum(*amount, output.amount)
}

fn validate_mint(transaction: &Transaction) -> Result<(), StructureError> {
    let [input] = transaction.inputs() else {
        return Err(StructureError::MintInputs(transaction.inputs().len()));
    };
    if let Some(output) = transaction.outputs().iter().find(|output| output.kind != OutputType::SCRIPT) {
        return Err(StructureError::MintOutput(output.kind.0));
    }
    if transaction.asset() != AssetId::from_uuid(XIN) {
        return Err(StructureError::MintAsset(transaction.asset()));
    }
    match &input.mint {
        Some(Mint { group, amount, .. }) if group == b"UNIVERSAL" => {
            exact_sum(*amount, transaction.output_total().ok_or(StructureError::Total)?)
        }
        Some(Mint { group, .. }) => Err(StructureError::MintGroup(lossy(group))),
        None => Err(StructureError::MintInputs(1)),
    }
}

/// The first output says what leaves or left; all others are change.
fn validate_withdrawal(transaction: &Transaction, kind: TransactionKind) -> Result<(), StructureError> {
    let Some((first, change)) = transaction.outputs().split_first() else {
        return Err(StructureError::Empty { inputs: transaction.inputs().len(), outputs: 0 });
    };
    if let Some(output) = change.iter().find(|output| output.kind != OutputType::SCRIPT) {
        return Err(StructureError::WithdrawalChange(output.kind.0));
    }
    if first.kind == OutputType::SCRIPT {
        return Err(StructureError::WithdrawalOutput(first.kind.0));
    }
    if kind == TransactionKind::WithdrawalSubmit && first.withdrawal.is_none() {
        return Err(StructureError::NoWithdrawal);
    }
    Ok(())
}

fn exact_sum(input: Amount, output: Amount) -> Result<(), StructureError> {
    if input == output { Ok(()) } else { Err(StructureError::Sum { input, output }) }
}

/// Not empty and without white space at its ends, which Go's `TrimSpace` would take away.
fn is_trimmed(text: &[u8]) -> bool {
    let text = lossy(text);
    !text.is_empty() && text.trim() == text
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Why the kernel would not admit a transaction, whatever the ledger's state; it never becomes right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each message says what the fields are")]
pub enum StructureError {
    #[error("invalid tx type {0}")]
    Kind(u8),
    #[error("invalid tx inputs or outputs {inputs} {outputs}")]
    Empty { inputs: usize, outputs: usize },
    #[error("invalid extra size {0}")]
    Extra(usize),
    #[error("too many references {0}")]
    References(usize),
    #[error("invalid tx signature number {inputs} {maps} {kind}")]
    Signatures { inputs: usize, maps: usize, kind: u8 },
    #[error("invalid input {}:{}", hex::encode(.0.transaction), .0.index)]
    DoubleInput(CoinId),
    #[error("invalid output amount {0}")]
    OutputAmount(Amount),
    #[error("invalid output key {0}")]
    DoubleKey(RawKey),
    #[error("invalid output key format {0}")]
    Key(RawKey),
    #[error("invalid output keys count {0} for kernel multisig transaction")]
    KernelKeys(usize),
    #[error("invalid output script {0} for kernel multisig transaction")]
    KernelScript(Script),
    #[error("invalid output empty mask {0} for kernel multisig transaction")]
    KernelMask(RawKey),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("invalid script output empty mask {}", RawKey::ZERO)]
    NoMask,
    #[error("invalid output mask format {0}")]
    Mask(RawKey),
    #[error("invalid script output with withdrawal {0}")]
    ScriptWithdrawal(String),
    #[error("the outputs hold more than any ledger amount")]
    Total,
    #[error("invalid input output amount {input} {output}")]
    Sum { input: Amount, output: Amount },
    #[error("invalid inputs count {inputs} or outputs count {outputs} for deposit")]
    DepositShape { inputs: usize, outputs: usize },
    #[error("invalid deposit output type {0}")]
    DepositOutput(u8),
    #[error("invalid asset data {0}")]
    DepositAsset(String),
    #[error("invalid transaction hash {0}")]
    DepositTransaction(String),
    #[error("invalid inputs count {0} for mint")]
    MintInputs(usize),
    #[error("invalid mint output type {0}")]
    MintOutput(u8),
    #[error("invalid mint asset {0}")]
    MintAsset(AssetId),
    #[error("invalid mint group {0}")]
    MintGroup(String),
    #[error("invalid change type {0} for withdrawal transaction")]
    WithdrawalChange(u8),
    #[error("invalid output type {0} for withdrawal transaction")]
    WithdrawalOutput(u8),
    #[error("invalid withdrawal submit data")]
    NoWithdrawal,
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::mixin::PrivateKey;
    use crate::mixin::transaction::Input;

    fn key(byte: u8) -> RawKey {
        PrivateKey::from_ed25519_seed(&[byte; 32]).public().raw()
    }

    fn coin(byte: u8) -> Input {
        Input::of_coin(CoinId { transaction: B256::repeat_byte(byte), index: 0 })
    }

    fn pay(units: u128) -> Output {
        Output::of_keys(Amount::from_units(units), vec![key(1)], key(2), 1)
    }

    fn made(asset: AssetId, inputs: Vec<Input>, outputs: Vec<Output>, extra: usize) -> Transaction {
        Transaction::new(asset, inputs, outputs, Vec::new(), vec![0; extra]).expect("within bounds")
    }

    fn judged(inputs: Vec<Input>, outputs: Vec<Output>) -> Result<TransactionKind, StructureError> {
        validate(&made(AssetId([1; 32]), inputs, outputs, 0))
    }

    fn refused_output(change: impl FnOnce(&mut Output)) -> StructureError {
        let mut output = pay(1);
        change(&mut output);
        judged(vec![coin(1)], vec![output]).expect_err("a refusal")
    }

    #[test]
    fn broken_outputs_should_be_refused_each_by_its_rule() {
        assert_eq!(refused_output(|out| out.amount = Amount::ZERO), StructureError::OutputAmount(Amount::ZERO));
        assert_eq!(refused_output(|out| out.keys.push(key(1))), StructureError::DoubleKey(key(1)));
        assert_eq!(refused_output(|out| out.keys.push(RawKey([2; 32]))), StructureError::Key(RawKey([2; 32])));
        assert_eq!(refused_output(|out| out.mask = RawKey::ZERO), StructureError::NoMask);
        assert_eq!(refused_output(|out| out.mask = RawKey([2; 32])), StructureError::Mask(RawKey([2; 32])));
        let script = refused_output(|out| out.script = Script::of_threshold(65));
        assert_eq!(script.to_string(), "invalid script threshold 65");
        assert_eq!(refused_output(|out| out.kind = OutputType(7)), StructureError::Kind(0xff));
        let sent = Output::of_withdrawal(Amount::from_units(1), b"there".to_vec(), Vec::new());
        assert_eq!(
            refused_output(|out| out.withdrawal = sent.withdrawal.clone()),
            StructureError::ScriptWithdrawal("there".to_owned())
        );
    }

    #[test]
    fn inputs_should_be_there_and_differ() {
        assert_eq!(judged(vec![], vec![pay(1)]), Err(StructureError::Empty { inputs: 0, outputs: 1 }));
        assert_eq!(judged(vec![coin(1)], vec![]), Err(StructureError::Empty { inputs: 1, outputs: 0 }));
        let double = judged(vec![coin(1), coin(1)], vec![pay(1)]);
        assert_eq!(double, Err(StructureError::DoubleInput(coin(1).coin)));
        assert_eq!(judged(vec![coin(1), coin(2)], vec![pay(1)]), Ok(TransactionKind::Script));
    }

    #[test]
    fn a_transaction_should_have_one_signature_map_for_each_input() {
        let unsigned = made(AssetId([1; 32]), vec![coin(1)], vec![pay(1)], 0).unsigned();
        let error = validate_signed(&unsigned).expect_err("unsigned");
        assert_eq!(error, StructureError::Signatures { inputs: 1, maps: 0, kind: 0 });
    }

    #[test]
    fn extra_should_be_short_unless_storage_is_paid_in_xin() {
        let xin = AssetId::from_uuid(XIN);
        let storage = |units| Output { script: Script::of_threshold(STORAGE_THRESHOLD), ..pay(units) };
        let judge = |asset, output, extra| validate(&made(asset, vec![coin(1)], vec![output], extra)).is_ok();
        assert!(judge(xin, pay(1_000_000), 256));
        assert!(!judge(xin, pay(1_000_000), 257));
        assert!(judge(xin, storage(9_999), 256) && !judge(xin, storage(9_999), 257));
        assert!(judge(xin, storage(29_999), 2_048) && !judge(xin, storage(29_999), 2_049));
        assert!(!judge(AssetId([1; 32]), storage(1_000_000), 257));
        assert_eq!(extra_limit(&made(xin, vec![], vec![storage(u128::MAX)], 0)), SIZE_MAX);
    }

    #[test]
    fn withdrawals_should_come_first_and_name_a_receiver() {
        let sent = || Output::of_withdrawal(Amount::from_units(1), b"there".to_vec(), Vec::new());
        let swapped = judged(vec![coin(1)], vec![pay(1), sent()]);
        assert_eq!(swapped, Err(StructureError::WithdrawalChange(0xa1)));
        let nowhere = Output { withdrawal: None, ..sent() };
        assert_eq!(judged(vec![coin(1)], vec![nowhere, pay(1)]), Err(StructureError::NoWithdrawal));
        let keyed = Output { keys: vec![key(3)], ..sent() };
        assert_eq!(judged(vec![coin(1)], vec![keyed]), Err(StructureError::KernelKeys(1)));
        assert_eq!(judged(vec![coin(1)], vec![sent(), pay(1)]), Ok(TransactionKind::WithdrawalSubmit));
    }

    #[test]
    fn deposits_should_keep_what_came() {
        let deposit = |amount, transaction: &str| {
            let (chain, asset_key) = (B256::repeat_byte(1), b"0xa974".to_vec());
            let transaction = transaction.as_bytes().to_vec();
            Input::of_deposit(Deposit { chain, asset_key, transaction, index: 0, amount: Amount::from_units(amount) })
        };
        let error = judged(vec![deposit(2, "0x1")], vec![pay(1)]).expect_err("a refusal").to_string();
        assert_eq!(error, "invalid input output amount 0.00000002 0.00000001");
        let blank = judged(vec![deposit(1, " 0x1")], vec![pay(1)]);
        assert_eq!(blank, Err(StructureError::DepositTransaction(" 0x1".to_owned())));
        let two = judged(vec![deposit(1, "0x1"), coin(1)], vec![pay(1)]);
        assert_eq!(two, Err(StructureError::DepositShape { inputs: 2, outputs: 1 }));
        assert_eq!(judged(vec![deposit(1, "0x1")], vec![pay(1)]), Ok(TransactionKind::Deposit));
    }
}
