//! Hash-to-curve, and the digests of checkpoints and of governance: a group contract verifies the signatures that Rust made
//! over them, so digest, hash and signature must all be what it makes of them.

use alloy::primitives::Bytes;
use anyhow::Result;
use lockstep::evm::abi::Group;
use lockstep_core::bls::{self, SecretKey, hash_to_g1};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::govern::{Action, GAS_PER_BYTE_MAX, NAME_MAX, Place, SYMBOL_MAX, TIP_WEI_MAX, possession_digest};
use lockstep_core::{Address, AssetId, B256};
use rand::RngExt as _;

use super::harness::{Differential, Harness, salted};
use super::random::Random;

/// Cases of one call: what fits into the gas of a block.
const POINTS: usize = 100;
const CHECKPOINTS: usize = 80;
const DECISIONS: usize = 40;
/// What anything is made of that has a name.
const LETTERS: [char; 6] = ['a', 'Z', '0', ' ', 'ß', '字'];

#[tokio::test]
async fn points_of_digests_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("hash-to-curve").await?;
    let (_, contract) = harness.somewhere().await?;
    while let Some(size) = harness.batch(POINTS) {
        let digests: Vec<B256> = (0..size).map(|_| harness.random.word()).collect();
        let point = |digest: &B256| Ok(Bytes::copy_from_slice(&hash_to_g1(digest.as_slice(), bls::DST)?.to_eip2537()));
        let rust: Vec<Bytes> = digests.iter().map(point).collect::<Result<_>>()?;
        harness.compare(&rust, &contract.points(digests).call().await?);
    }
    harness.finish().await
}

#[tokio::test]
async fn digests_of_checkpoints_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("digests of checkpoints").await?;
    while let Some(size) = harness.batch(CHECKPOINTS) {
        let (_, contract) = harness.somewhere().await?;
        let random = &mut harness.random;
        let (group_id, instance, secret) = (random.word(), random.word(), secret(random)?);
        // A contract counts 40 bits, and keeps what is newer than all before.
        let mut sequence = random.number() >> 25;
        let (mut given, mut signatures, mut rust) = (vec![], vec![], vec![]);
        for _ in 0..size {
            sequence += 1 + (random.number() >> 33);
            let checkpoint = Checkpoint { sequence, history: random.word(), root: random.word() };
            let digest = checkpoint.digest(&group_id);
            let Checkpoint { sequence, history, root } = checkpoint;
            given.push(Differential::Checkpoint { sequence, history, root });
            signatures.push(Bytes::copy_from_slice(&secret.sign_digest(&digest).to_eip2537()));
            rust.push(digest);
        }
        let code = group_code(&harness, group_id, instance, &secret);
        harness.compare(&rust, &contract.checkpoints(code, given, signatures).call().await?);
    }
    harness.finish().await
}

#[tokio::test]
async fn digests_of_governance_should_be_equal() -> Result<()> {
    let mut harness = Harness::start("digests of governance").await?;
    while let Some(size) = harness.batch(DECISIONS) {
        let (chain, contract) = harness.somewhere().await?;
        let random = &mut harness.random;
        let (group_id, instance, mut secret) = (random.word(), random.word(), secret(random)?);
        let code = group_code(&harness, group_id, instance, &secret);
        let place = Place { group_id, chain, contract: salted(*contract.address(), &code), instance };
        let (mut kinds, mut data, mut signatures, mut generation) = (vec![], vec![], vec![], 0);
        for nonce in 0..u64::try_from(size)? {
            let (action, next) = action(&mut harness.random, &place, &mut generation)?;
            action.check(&place)?;
            kinds.push(action.kind());
            data.push(action.data()?.into());
            let signature = secret.sign_digest(&action.digest(&place, nonce)?);
            signatures.push(Bytes::copy_from_slice(&signature.to_eip2537()));
            secret = next.unwrap_or(secret);
        }
        // A wrong digest of any of them would have reverted, and named the case.
        let used = contract.govern(code, kinds, data, signatures).call().await?;
        let nonces: Vec<u64> = (1..=u64::try_from(size)?).collect();
        harness.compare(&nonces, &(1..=used).collect::<Vec<_>>());
    }
    harness.finish().await
}

/// Something to decide, and the key that signs from then on, if that is another one.
fn action(random: &mut Random, place: &Place, generation: &mut u32) -> Result<(Action, Option<SecretKey>)> {
    Ok(match random.below(5) {
        0 => (Action::Halt, None),
        1 => (Action::Resume, None),
        2 => {
            *generation += 1 + u32::try_from(random.number() >> 37)?;
            let next = secret(random)?;
            let key = next.public_key();
            let possession = next.sign_digest(&possession_digest(place, *generation, &key));
            let (key, possession) = (key.compress(), possession.compress());
            (Action::Rotate { generation: *generation, key, possession }, Some(next))
        }
        3 => {
            let mut asset = random.word();
            asset[0] |= 1;
            let (name, symbol) = (text(random, NAME_MAX), text(random, SYMBOL_MAX));
            (Action::Asset { asset: AssetId(asset.0), name, symbol }, None)
        }
        _ => {
            let tip_wei = random.rng.random_range(0..=TIP_WEI_MAX);
            (Action::Repay { tip_wei, gas_per_byte: random.rng.random_range(0..=GAS_PER_BYTE_MAX) }, None)
        }
    })
}

/// Of 1 to `most` bytes.
fn text(random: &mut Random, most: usize) -> String {
    let bytes = 1 + random.below(most);
    let mut text = String::new();
    loop {
        let letter = LETTERS[random.below(LETTERS.len())];
        if text.len() + letter.len_utf8() > bytes {
            return if text.is_empty() { "a".to_owned() } else { text };
        }
        text.push(letter);
    }
}

fn secret(random: &mut Random) -> Result<SecretKey> {
    Ok(SecretKey::derive(&random.rng.random(), b"differential")?)
}

/// What makes a group contract.
fn group_code(harness: &Harness, group_id: B256, instance: B256, secret: &SecretKey) -> Bytes {
    let key = Bytes::copy_from_slice(&secret.public_key().to_eip2537());
    Group::deploy_builder(&harness.provider, group_id, instance, key, Address::ZERO, 0).calldata().clone()
}
