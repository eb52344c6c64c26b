//! Collecting and checking the signatures of a transaction (kernel `common/validation.go`).
//!
//! One bad signature among enough good ones spoils a transaction at the kernel, so nothing enters a transaction here that
//! was not verified against the coin it spends.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use thiserror::Error;

use super::aggregate;
use super::key::{KeyError, PrivateKey, RawKey};
use super::script::{Script, ScriptError};
use super::signature::Signature;
use super::transaction::{Output, Signatures, SignedTransaction};

/// Who may spend a coin: the keys and script of the output that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinKeys {
    /// The one-time keys, in the output's order.
    pub keys: Vec<RawKey>,
    /// How many of them must sign.
    pub script: Script,
}

impl CoinKeys {
    /// The place of a public key among the coin's.
    pub fn position(&self, key: &RawKey) -> Option<u16> {
        self.keys.iter().position(|own| own == key).and_then(|at| u16::try_from(at).ok())
    }

    /// Checks one signature of input `input` by the key at `index`.
    ///
    /// # Errors
    /// Says which key is missing or bad, or that it did not sign this hash.
    pub fn verify(&self, input: usize, index: u16, signature: &Signature, hash: &B256) -> Result<(), SignError> {
        let keys = self.keys.len();
        let key = self.keys.get(usize::from(index)).ok_or(SignError::KeyIndex { input, index, keys })?;
        let key = key.check().map_err(|source| SignError::CoinKey { input, index, source })?;
        if signature.verify(&key, hash) { Ok(()) } else { Err(SignError::Invalid { input, index }) }
    }
}

impl From<&Output> for CoinKeys {
    fn from(output: &Output) -> Self {
        Self { keys: output.keys.clone(), script: output.script.clone() }
    }
}

/// What [`SignedTransaction::merge`] did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Signatures that are new.
    pub added: usize,
    /// Signatures that were left out, each with its reason: whoever gave them is at fault.
    pub refused: Vec<SignError>,
}

impl SignedTransaction {
    /// The signatures of one input by key index; none for an aggregated signature.
    pub fn input_signatures(&self, input: usize) -> Option<&BTreeMap<u16, Signature>> {
        match &self.signatures {
            Signatures::Map(maps) => maps.get(input),
            Signatures::Aggregated { .. } => None,
        }
    }

    /// Signs input `input` with the private key of one of its coin's keys and gives that key's index.
    ///
    /// # Errors
    /// [`SignError::NotOwner`] if the key is none of the coin's: the views of the ledger's API are wrong, or the coin is
    /// not ours.
    pub fn sign_input(&mut self, input: usize, coin: &CoinKeys, key: &PrivateKey) -> Result<u16, SignError> {
        let index = coin.position(&key.public().raw()).ok_or(SignError::NotOwner { input })?;
        let signature = Signature::sign(key, &self.hash());
        self.map(input)?.insert(index, signature);
        Ok(index)
    }

    /// Puts in a signature of another signer after verifying it. A signature that is there already stays if it is valid.
    ///
    /// # Errors
    /// Says why the signature cannot enter; the transaction is then unchanged.
    pub fn insert(
        &mut self,
        input: usize,
        index: u16,
        signature: Signature,
        coin: &CoinKeys,
    ) -> Result<bool, SignError> {
        let hash = self.hash();
        coin.verify(input, index, &signature, &hash)?;
        let map = self.map(input)?;
        if map.get(&index).is_some_and(|own| *own == signature || coin.verify(input, index, own, &hash).is_ok()) {
            return Ok(false);
        }
        map.insert(index, signature);
        Ok(true)
    }

    /// Takes over every valid signature of another copy of the same transaction. `coins` are those of the inputs, in order.
    ///
    /// # Errors
    /// Refuses another transaction, aggregated signatures, and a number of coins that differs from the inputs.
    pub fn merge(&mut self, other: &Self, coins: &[CoinKeys]) -> Result<Merged, SignError> {
        if self.hash() != other.hash() {
            return Err(SignError::OtherTransaction { ours: self.hash(), theirs: other.hash() });
        }
        self.check_coins(coins)?;
        let Signatures::Map(maps) = &other.signatures else {
            return Err(SignError::Aggregated);
        };
        let mut merged = Merged::default();
        for (input, map) in maps.iter().enumerate() {
            let Some(coin) = coins.get(input) else {
                return Err(SignError::Input { input, inputs: coins.len() });
            };
            for (index, signature) in map {
                match self.insert(input, *index, *signature, coin) {
                    Ok(added) => merged.added = merged.added.saturating_add(added.into()),
                    Err(reason) => merged.refused.push(reason),
                }
            }
        }
        Ok(merged)
    }

    /// Checks that the signatures allow to spend `coins`, the coins of the inputs in order, as the kernel does: every
    /// signature is valid and each input has as many as its script asks for.
    ///
    /// # Errors
    /// Names the first input that is not allowed, in the kernel's words where it has some.
    pub fn verify(&self, coins: &[CoinKeys]) -> Result<(), SignError> {
        self.check_coins(coins)?;
        match &self.signatures {
            Signatures::Map(maps) => self.verify_maps(maps, coins),
            Signatures::Aggregated { signature, signers } => self.verify_aggregated(signature, signers, coins),
        }
    }

    fn verify_maps(&self, maps: &[BTreeMap<u16, Signature>], coins: &[CoinKeys]) -> Result<(), SignError> {
        if maps.len() != coins.len() {
            return Err(SignError::Maps { inputs: coins.len(), maps: maps.len() });
        }
        for (input, (map, coin)) in maps.iter().zip(coins).enumerate() {
            enough(input, map.len(), &coin.script)?;
        }
        // A script may ask for nobody; the kernel still wants as many signatures as inputs.
        let total = maps.iter().map(BTreeMap::len).fold(0_usize, usize::saturating_add);
        if total < coins.len() {
            return Err(SignError::NotReady { inputs: coins.len(), signatures: total });
        }
        for (input, (map, coin)) in maps.iter().zip(coins).enumerate() {
            for (index, signature) in map {
                coin.verify(input, *index, signature, &self.hash())?;
            }
        }
        Ok(())
    }

    fn verify_aggregated(&self, signature: &Signature, signers: &[u16], coins: &[CoinKeys]) -> Result<(), SignError> {
        let mut offset = 0_usize;
        for (input, coin) in coins.iter().enumerate() {
            let end = offset.saturating_add(coin.keys.len());
            let count = signers.iter().filter(|signer| (offset..end).contains(&usize::from(**signer))).count();
            enough(input, count, &coin.script)?;
            offset = end;
        }
        if signers.len() < coins.len() {
            return Err(SignError::NotReady { inputs: coins.len(), signatures: signers.len() });
        }
        let keys: Vec<RawKey> = coins.iter().flat_map(|coin| coin.keys.iter().copied()).collect();
        let valid = aggregate::verify(signature, &keys, signers, &self.hash());
        if valid { Ok(()) } else { Err(SignError::InvalidAggregate) }
    }

    fn check_coins(&self, coins: &[CoinKeys]) -> Result<(), SignError> {
        let inputs = self.transaction().inputs().len();
        if inputs == coins.len() { Ok(()) } else { Err(SignError::Coins { inputs, coins: coins.len() }) }
    }

    /// The signatures of one input, all maps made where there were none yet.
    fn map(&mut self, input: usize) -> Result<&mut BTreeMap<u16, Signature>, SignError> {
        let inputs = self.transaction().inputs().len();
        let Signatures::Map(maps) = &mut self.signatures else {
            return Err(SignError::Aggregated);
        };
        if maps.len() > inputs {
            return Err(SignError::Maps { inputs, maps: maps.len() });
        }
        maps.resize_with(inputs, BTreeMap::new);
        maps.get_mut(input).ok_or(SignError::Input { input, inputs })
    }
}

fn enough(input: usize, have: usize, script: &Script) -> Result<(), SignError> {
    let need = script.threshold().map_err(|source| SignError::Script { input, source })?;
    if have < usize::from(need) { Err(SignError::NotEnough { input, have, need }) } else { Ok(()) }
}

/// Why a signature cannot enter, or signatures are not enough.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SignError {
    /// The transaction has no such input.
    #[error("input {input} of a transaction with {inputs}")]
    Input {
        /// The input asked for.
        input: usize,
        /// Inputs there are.
        inputs: usize,
    },
    /// The number of coins given is not the number of inputs.
    #[error("{coins} coins given for {inputs} inputs")]
    Coins {
        /// Inputs there are.
        inputs: usize,
        /// Coins given.
        coins: usize,
    },
    /// The number of signature maps is not the number of inputs.
    #[error("invalid tx signature number {inputs} {maps}")]
    Maps {
        /// Inputs there are.
        inputs: usize,
        /// Maps there are.
        maps: usize,
    },
    /// The coin has no key of that index.
    #[error("invalid signature map index {index} {keys} of input {input}")]
    KeyIndex {
        /// The input.
        input: usize,
        /// The index.
        index: u16,
        /// Keys of its coin.
        keys: usize,
    },
    /// A key of the coin is no valid key, so nobody can sign for it.
    #[error("key {index} of the coin of input {input} is invalid: {source}")]
    CoinKey {
        /// The input.
        input: usize,
        /// The key's index.
        index: u16,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// The private key is none of the coin's.
    #[error("the key is none of the keys of the coin of input {input}")]
    NotOwner {
        /// The input.
        input: usize,
    },
    /// A signature of another key or another transaction.
    #[error("signature {index} of input {input} is invalid")]
    Invalid {
        /// The input.
        input: usize,
        /// The key's index.
        index: u16,
    },
    /// An aggregated signature that does not verify.
    #[error("aggregate verification failure")]
    InvalidAggregate,
    /// Signatures of another transaction.
    #[error("signatures of transaction {theirs} offered for {ours}")]
    OtherTransaction {
        /// Hash of this transaction.
        ours: B256,
        /// Hash of the other.
        theirs: B256,
    },
    /// An aggregated signature where single ones are needed.
    #[error("an aggregated signature cannot be merged")]
    Aggregated,
    /// The coin's script is none that can be spent.
    #[error("the coin of input {input} has no threshold script: {source}")]
    Script {
        /// The input.
        input: usize,
        /// What is wrong with the script.
        source: ScriptError,
    },
    /// Fewer signatures than the coin's script asks for.
    #[error("invalid signature keys {have} {need} of input {input}")]
    NotEnough {
        /// The input.
        input: usize,
        /// Signatures there are.
        have: usize,
        /// Signatures needed.
        need: u8,
    },
    /// Fewer signatures than inputs.
    #[error("batch verification not ready {inputs} {signatures}")]
    NotReady {
        /// Inputs there are.
        inputs: usize,
        /// Signatures there are.
        signatures: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixin::transaction::{Input, Transaction};
    use crate::output::CoinId;
    use crate::{Amount, AssetId};

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_ed25519_seed(&[byte; 32])
    }

    fn coin(keys: &[u8], threshold: u8) -> CoinKeys {
        CoinKeys {
            keys: keys.iter().map(|byte| key(*byte).public().raw()).collect(),
            script: Script::of_threshold(threshold),
        }
    }

    fn transaction() -> SignedTransaction {
        let coin = |byte| Input::of_coin(CoinId { transaction: B256::repeat_byte(byte), index: 0 });
        let out = Output::of_keys(Amount::from_units(3), vec![key(9).public().raw()], key(8).public().raw(), 1);
        let transaction = Transaction::new(AssetId::NONE, vec![coin(1), coin(2)], vec![out], Vec::new(), Vec::new());
        transaction.expect("within bounds").unsigned()
    }

    #[test]
    fn strangers_and_wrong_places_should_be_refused() {
        let (mut tx, coin) = (transaction(), coin(&[1, 2], 1));
        assert_eq!(tx.sign_input(0, &coin, &key(3)), Err(SignError::NotOwner { input: 0 }));
        assert_eq!(tx.sign_input(2, &coin, &key(1)), Err(SignError::Input { input: 2, inputs: 2 }));
        let signature = Signature::sign(&key(1), &tx.hash());
        assert_eq!(tx.insert(0, 1, signature, &coin), Err(SignError::Invalid { input: 0, index: 1 }));
        assert_eq!(tx.insert(0, 2, signature, &coin), Err(SignError::KeyIndex { input: 0, index: 2, keys: 2 }));
        assert_eq!(tx.signatures(), &Signatures::Map(vec![BTreeMap::new(); 2]));
    }

    #[test]
    fn too_few_signatures_should_not_spend() {
        let (mut tx, coins) = (transaction(), [coin(&[1, 2, 3], 2), coin(&[4], 0)]);
        assert_eq!(tx.verify(&coins[..1]), Err(SignError::Coins { inputs: 2, coins: 1 }));
        assert_eq!(tx.verify(&coins), Err(SignError::Maps { inputs: 2, maps: 0 }));
        assert_eq!(tx.sign_input(0, &coins[0], &key(3)), Ok(2));
        assert_eq!(tx.verify(&coins), Err(SignError::NotEnough { input: 0, have: 1, need: 2 }));
        let free = [coin(&[1, 2, 3], 0), coin(&[4], 0)];
        assert_eq!(tx.verify(&free), Err(SignError::NotReady { inputs: 2, signatures: 1 }));
        assert_eq!(tx.sign_input(0, &coins[0], &key(1)), Ok(0));
        assert_eq!(tx.verify(&coins), Ok(()));
    }

    #[test]
    fn merging_should_keep_what_is_valid_and_name_what_is_not() {
        let coins = [coin(&[1, 2, 3], 2), coin(&[4, 5], 1)];
        let (mut ours, mut theirs) = (transaction(), transaction());
        ours.sign_input(0, &coins[0], &key(1)).expect("our coin");
        theirs.sign_input(0, &coins[0], &key(2)).expect("their coin");
        theirs.sign_input(1, &coins[1], &key(5)).expect("their coin");
        let Signatures::Map(maps) = &mut theirs.signatures else { panic!("maps") };
        maps[1].insert(0, Signature([1; 64]));
        maps[0].insert(0, Signature([2; 64]));
        let merged = ours.merge(&theirs, &coins).expect("the same transaction");
        let refused = vec![SignError::Invalid { input: 0, index: 0 }, SignError::Invalid { input: 1, index: 0 }];
        assert_eq!(merged, Merged { added: 2, refused });
        assert_eq!(ours.verify(&coins), Ok(()));
        assert_eq!(ours.merge(&theirs, &coins).map(|merged| merged.added), Ok(0));
        assert_eq!(theirs.verify(&coins), Err(SignError::Invalid { input: 0, index: 0 }));
        // The bad signature that sits in the other copy gives way to a good one.
        assert_eq!(theirs.merge(&ours, &coins).map(|merged| merged.added), Ok(1));
    }

    #[test]
    fn another_transaction_should_not_be_merged() {
        let other = Transaction::new(AssetId::NONE, Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let other = other.expect("within bounds").unsigned();
        assert!(matches!(transaction().merge(&other, &[]), Err(SignError::OtherTransaction { .. })));
    }
}
