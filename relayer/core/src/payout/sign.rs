//! The group's signatures on a payout (DERIVATION.md C3).
//!
//! A member finds its key among those of each coin by deriving it, never by its position in a list; a wrong scalar from the
//! key service shows there. It serves its signatures to peers, and verifies each of theirs before it merges: one bad
//! signature among enough good ones spoils the whole transaction on the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::mixin::script::ScriptError;
use crate::mixin::{
    CoinKeys, GhostScalar, PrivateKey, SignError, Signature, Signatures, SignedTransaction, Transaction,
    TransactionError,
};

/// One member's signature on one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSignature {
    /// Index of its key among those of the coin.
    pub key: u16,
    /// Over the payload hash.
    pub signature: Signature,
}

/// The member's private key of input `input` and its index among the coin's keys, for the scalar that the key service gave
/// for this coin.
///
/// # Errors
/// [`PartError::NotOurs`] where none is: the scalar is that of another coin or of another member.
pub fn own_key(
    spend: &PrivateKey,
    view: &GhostScalar,
    coin: &CoinKeys,
    input: usize,
) -> Result<(u16, PrivateKey), PartError> {
    let private = view.private(spend).map_err(|_| PartError::NotOurs { input })?;
    let index = coin.position(&private.public().raw()).ok_or(PartError::NotOurs { input })?;
    Ok((index, private))
}

/// Signs every input with the member's spend key and its scalars, one for each input in order.
///
/// # Errors
/// [`PartError::Count`] and [`PartError::NotOurs`]. Nothing is signed unless everything can be.
pub fn sign(
    transaction: &Transaction,
    coins: &[CoinKeys],
    views: &[GhostScalar],
    spend: &PrivateKey,
) -> Result<Vec<InputSignature>, PartError> {
    check_count(transaction, coins.len())?;
    check_count(transaction, views.len())?;
    let own = |(input, (coin, view)): (usize, (&CoinKeys, &GhostScalar))| own_key(spend, view, coin, input);
    let keys = coins.iter().zip(views).enumerate().map(own).collect::<Result<Vec<_>, _>>()?;
    let hash = transaction.hash();
    Ok(keys
        .iter()
        .map(|(key, private)| InputSignature { key: *key, signature: Signature::sign(private, &hash) })
        .collect())
}

/// Checks what a peer signed: one signature for each input, under keys that the coins have.
///
/// # Errors
/// The first input that is wrong. It proves that this peer, whose message is signed, misbehaves.
pub fn verify_part(transaction: &Transaction, coins: &[CoinKeys], part: &[InputSignature]) -> Result<(), PartError> {
    check_count(transaction, coins.len())?;
    check_count(transaction, part.len())?;
    let hash = transaction.hash();
    for (input, (coin, signed)) in coins.iter().zip(part).enumerate() {
        coin.verify(input, signed.key, &signed.signature, &hash)?;
    }
    Ok(())
}

/// The transaction with as many signatures of each coin as its script asks for, by key index, out of the parts of several
/// members. Every part is verified; two parts under one key count once.
///
/// # Errors
/// [`PartError::Part`] names the first part that is wrong, [`PartError::TooFew`] the first input that lacks signatures.
pub fn merge(
    transaction: &Transaction,
    coins: &[CoinKeys],
    parts: &[Vec<InputSignature>],
) -> Result<SignedTransaction, PartError> {
    check_count(transaction, coins.len())?;
    for (part, signed) in parts.iter().enumerate() {
        verify_part(transaction, coins, signed).map_err(|error| PartError::Part { part, error: Box::new(error) })?;
    }
    let mut maps = Vec::with_capacity(coins.len());
    for (input, coin) in coins.iter().enumerate() {
        let signed = parts.iter().filter_map(|part| part.get(input));
        let all: BTreeMap<u16, Signature> = signed.map(|signed| (signed.key, signed.signature)).collect();
        let need = coin.script.threshold().map_err(|source| PartError::Script { input, source })?.into();
        if all.len() < need {
            return Err(PartError::TooFew { input, have: all.len(), need });
        }
        maps.push(all.into_iter().take(need).collect());
    }
    Ok(SignedTransaction::new(transaction.clone(), Signatures::Map(maps))?)
}

/// The transaction with one member's signatures alone, as the ledger's API takes them.
///
/// # Errors
/// As [`verify_part`].
pub fn with_part(
    transaction: &Transaction,
    coins: &[CoinKeys],
    part: &[InputSignature],
) -> Result<SignedTransaction, PartError> {
    verify_part(transaction, coins, part)?;
    let maps = part.iter().map(|signed| BTreeMap::from([(signed.key, signed.signature)])).collect();
    Ok(SignedTransaction::new(transaction.clone(), Signatures::Map(maps))?)
}

fn check_count(transaction: &Transaction, found: usize) -> Result<(), PartError> {
    let inputs = transaction.inputs().len();
    if found == inputs && inputs > 0 { Ok(()) } else { Err(PartError::Count { inputs, found }) }
}

/// Why a payout is not signed, or a member's signatures are not taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PartError {
    /// Not one coin, scalar or signature for each input.
    #[error("{found} of something that each of {inputs} inputs needs one of")]
    Count {
        /// Inputs of the transaction.
        inputs: usize,
        /// What came.
        found: usize,
    },
    /// No key of the coin is the member's.
    #[error("input {input} has no key of this member under the scalar given for it")]
    NotOurs {
        /// Which input.
        input: usize,
    },
    /// An index without a key, or a signature that does not verify.
    #[error("a signature is invalid")]
    Invalid(#[from] SignError),
    /// A part that may not be merged.
    #[error("part {part} is refused")]
    Part {
        /// Its position among the parts.
        part: usize,
        /// Why.
        #[source]
        error: Box<Self>,
    },
    /// A coin that no number of signatures can spend.
    #[error("the coin of input {input} has no threshold")]
    Script {
        /// Which input.
        input: usize,
        /// What is wrong with its script.
        #[source]
        source: ScriptError,
    },
    /// Not enough members signed.
    #[error("input {input} has {have} signatures and needs {need}")]
    TooFew {
        /// Which input.
        input: usize,
        /// Different keys that signed.
        have: usize,
        /// The coin's threshold.
        need: usize,
    },
    /// Above the kernel's bounds.
    #[error("the signed transaction is too large")]
    Transaction(#[from] TransactionError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixin::{Input, Output, RawKey, Script};
    use crate::output::CoinId;
    use crate::{Amount, AssetId, B256};

    const THRESHOLD: u8 = 3;

    struct Group {
        spends: Vec<PrivateKey>,
        views: Vec<Vec<GhostScalar>>,
        coins: Vec<CoinKeys>,
        transaction: Transaction,
    }

    /// Four members and two coins, with the keys of the second coin in the opposite order.
    fn group() -> Group {
        let member = |i: u8| PrivateKey::from_ed25519_seed(&[i; 32]);
        // A scalar of its own for each member and coin.
        let view = |i: u8, coin: u8| {
            let seed: [u8; 32] = std::array::from_fn(|at| if at == 0 { 100 | coin } else { i });
            GhostScalar::from_bytes(*PrivateKey::from_ed25519_seed(&seed).to_bytes()).expect("a scalar")
        };
        let key = |i: u8, coin: u8| view(i, coin).public(&member(i).public()).expect("a key").raw();
        let coin = |keys| CoinKeys { keys, script: Script::of_threshold(THRESHOLD) };
        let coins = vec![coin((0..4).map(|i| key(i, 0)).collect()), coin((0..4).rev().map(|i| key(i, 1)).collect())];
        let inputs = (0..2).map(|index| Input::of_coin(CoinId { transaction: B256::ZERO, index })).collect();
        let outputs = vec![Output::of_keys(Amount::from_units(5), vec![member(9).public().raw()], RawKey::ZERO, 1)];
        let transaction = Transaction::new(AssetId([1; 32]), inputs, outputs, Vec::new(), Vec::new()).expect("bounds");
        let views = (0..4).map(|i| vec![view(i, 0), view(i, 1)]).collect();
        Group { spends: (0..4).map(member).collect(), views, coins, transaction }
    }

    impl Group {
        fn part(&self, member: usize) -> Vec<InputSignature> {
            sign(&self.transaction, &self.coins, &self.views[member], &self.spends[member]).expect("a member's part")
        }
    }

    #[test]
    fn scalars_of_another_coin_or_member_should_sign_nothing() {
        let group = group();
        let mut swapped = group.views[0].clone();
        swapped.reverse();
        let refused = |views: &[GhostScalar]| sign(&group.transaction, &group.coins, views, &group.spends[0]);
        assert_eq!(refused(&swapped), Err(PartError::NotOurs { input: 0 }));
        assert_eq!(refused(&group.views[1]), Err(PartError::NotOurs { input: 0 }));
        assert_eq!(refused(&group.views[0][..1]), Err(PartError::Count { inputs: 2, found: 1 }));
    }

    #[test]
    fn a_bad_signature_should_be_named_and_never_merged() {
        let group = group();
        let mut parts = vec![group.part(0), group.part(1), group.part(2)];
        let mut bad = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        bad[0].clone_from(&parts[1]);
        bad[0][1].signature.0[5] ^= 1;
        bad[1].clone_from(&parts[1]);
        bad[1][1].key = 0;
        bad[2].clone_from(&parts[1]);
        bad[2][1].key = 4;
        bad[3].clone_from(&parts[1]);
        bad[3][1].key = u16::MAX;
        for bad in bad {
            let error = verify_part(&group.transaction, &group.coins, &bad).expect_err("a bad part");
            let PartError::Invalid(SignError::Invalid { input, .. } | SignError::KeyIndex { input, .. }) = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!(*input, 1);
            parts[1] = bad;
            let refused = merge(&group.transaction, &group.coins, &parts);
            assert_eq!(refused, Err(PartError::Part { part: 1, error: Box::new(error) }));
        }
        let short = vec![group.part(0), group.part(1)[..1].to_vec()];
        assert!(matches!(merge(&group.transaction, &group.coins, &short), Err(PartError::Part { part: 1, .. })));
    }

    #[test]
    fn one_member_should_count_once_however_often_it_signs() {
        let group = group();
        let parts = vec![group.part(0), group.part(1), group.part(0), group.part(1)];
        let refused = merge(&group.transaction, &group.coins, &parts);
        assert_eq!(refused, Err(PartError::TooFew { input: 0, have: 2, need: 3 }));
    }

    #[test]
    fn any_threshold_of_members_should_complete_the_transaction() {
        let group = group();
        for left_out in 0..4 {
            let parts: Vec<_> = (0..4).filter(|member| *member != left_out).map(|member| group.part(member)).collect();
            let signed = merge(&group.transaction, &group.coins, &parts).expect("three of four");
            assert_eq!((signed.hash(), signed.verify(&group.coins)), (group.transaction.hash(), Ok(())));
            let Signatures::Map(maps) = signed.signatures() else { panic!("a map for each input") };
            assert!(maps.len() == 2 && maps.iter().all(|map| map.len() == 3));
            assert_eq!(SignedTransaction::decode(&signed.encode()), Ok(signed));
        }
    }

    #[test]
    fn a_part_alone_should_carry_one_signature_an_input() {
        let group = group();
        let mut part = group.part(1);
        let alone = with_part(&group.transaction, &group.coins, &part).expect("a member's part");
        assert_eq!(alone.input_signatures(0).map(|map| map.keys().copied().collect()), Some(vec![1]));
        assert_eq!(alone.input_signatures(1).map(|map| map.keys().copied().collect()), Some(vec![2]));
        part[0].key = 0;
        assert!(with_part(&group.transaction, &group.coins, &part).is_err());
    }
}
