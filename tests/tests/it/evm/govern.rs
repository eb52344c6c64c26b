//! Governance of the contract, signed by three of four members: worth nothing anywhere else, nor twice; and a key that was rotated.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use anyhow::{Context as _, Result, bail, ensure};
use lockstep::evm::abi::Group;
use lockstep::evm::check::check_chain;
use lockstep::evm::governance::{
    ContractState, GovernTxError, SignedAction, read_contract, read_governed, send_action,
};
use lockstep::evm::submitter::Step;
use lockstep_core::bls::{Dealing, RecoverError, SecretKey};
use lockstep_core::govern::{Action, Place, possession_digest};
use lockstep_core::group::Finality;
use lockstep_core::{AssetId, Uuid};

use super::chain::{CHAIN_ID, Chain, GROUP_ID, INSTANCE};
use super::members::{Ledger, Rows};
use super::submitter::{deliver_all, submitter};

const A: Uuid = Uuid::from_u128(0xa);
/// An account that anvil funds; the submitters of these tests are others.
const SENDER: &str = "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";
const PATIENCE: Duration = Duration::from_secs(60);

/// Three of four, whose key is this one.
pub(super) fn members(key: &SecretKey) -> Result<Dealing> {
    let key = SecretKey::from_bytes(key.to_bytes().as_slice())?;
    let others = [1, 2].map(|seed| SecretKey::derive(&[seed; 32], b"coefficient"));
    let [second, third] = others;
    Ok(Dealing::from_coefficients(&[key, second?, third?], 4)?)
}

pub(super) fn new_key() -> Result<SecretKey> {
    Ok(SecretKey::derive(&[0x77; 32], b"test")?)
}

/// The digest as `signers` of the members sign it together.
fn recovered(members: &Dealing, signers: &[usize], digest: &B256) -> Result<[u8; 128], RecoverError> {
    let parts: Vec<_> = signers.iter().map(|index| members.shares[*index].sign_digest(digest)).collect();
    let recovered = members.group.recover_digest(digest, &parts, &BTreeSet::new())?;
    Ok(recovered.signature.to_eip2537())
}

pub(super) fn place(contract: Address) -> Place {
    Place { group_id: GROUP_ID, chain: CHAIN_ID, contract, instance: INSTANCE }
}

/// An action for the contract, signed as if for `place` and `nonce`.
pub(super) fn signed(members: &Dealing, place: &Place, nonce: u64, action: &Action) -> Result<SignedAction> {
    let digest = action.digest(place, nonce)?;
    let signature = recovered(members, &[3, 0, 2], &digest)?;
    Ok(SignedAction { contract: place.contract, nonce, kind: action.kind(), data: action.data()?, signature })
}

pub(super) async fn send(chain: &Chain, action: &SignedAction) -> Result<(), GovernTxError> {
    let signer: PrivateKeySigner = SENDER.parse().expect("a key");
    let chain_id = chain.provider.get_chain_id().await.expect("an answer");
    send_action(&chain.provider, signer, (chain_id, Finality::Finalized), action, PATIENCE).await.map(|_| ())
}

/// What the contract says to an action that it refuses.
async fn refusal(chain: &Chain, action: &SignedAction) -> Result<String> {
    match send(chain, action).await {
        Err(GovernTxError::Refused(reason)) => Ok(reason),
        other => bail!("not refused: {other:?}"),
    }
}

pub(super) async fn state(chain: &Chain) -> Result<ContractState> {
    Ok(read_contract(&chain.provider, chain.contract).await?)
}

pub(super) fn rotate(place: &Place, generation: u32, key: &SecretKey) -> Result<Action> {
    let members = members(key)?;
    let public = members.group.key();
    let possession = recovered(&members, &[1, 2, 3], &possession_digest(place, generation, public))?;
    let possession = lockstep_core::bls::Signature::from_bytes(&possession)?.compress();
    Ok(Action::Rotate { generation, key: public.compress(), possession })
}

fn actions(place: &Place) -> Result<Vec<Action>> {
    let asset = Action::Asset { asset: AssetId([5; 32]), name: "Bitcoin".into(), symbol: "BTC".into() };
    let repay = Action::Repay { tip_wei: 7, gas_per_byte: 16 };
    Ok(vec![asset, repay, Action::Halt, Action::Resume, rotate(place, 1, &new_key()?)?])
}

#[tokio::test]
async fn governance_should_be_useless_elsewhere_and_after_its_use() -> Result<()> {
    let chain = Chain::start().await?;
    let members = members(&chain.group_key)?;
    let here = place(chain.contract);
    // All three differ from the first in one thing only.
    let other_chain = Chain::start_as(CHAIN_ID + 1).await?;
    ensure!(other_chain.contract == chain.contract, "the same address on another chain");
    let other_instance = chain.deploy_group(GROUP_ID, B256::repeat_byte(0x33)).await?;
    let other_group = chain.deploy_group(B256::repeat_byte(0x44), INSTANCE).await?;

    for (nonce, action) in (0..).zip(actions(&here)?) {
        let good = signed(&members, &here, nonce, &action)?;
        let digest = action.digest(&here, nonce)?;
        assert!(recovered(&members, &[0, 3], &digest).is_err(), "two of four are too few");
        for (elsewhere, contract) in [(&other_chain, chain.contract), (&chain, other_instance), (&chain, other_group)] {
            // Their nonces stand at 0, so that the signature is what they look at.
            let first = SignedAction { contract, nonce: 0, ..signed(&members, &here, 0, &action)? };
            assert_eq!(refusal(elsewhere, &first).await?, "InvalidSignature(InvalidSignature)", "{action:?}");
        }
        let places = [
            Place { group_id: B256::ZERO, ..here },
            Place { chain: CHAIN_ID + 1, ..here },
            Place { contract: other_instance, ..here },
            Place { instance: B256::ZERO, ..here },
        ];
        for foreign in places {
            let moved = SignedAction { contract: chain.contract, ..signed(&members, &foreign, nonce, &action)? };
            assert_eq!(refusal(&chain, &moved).await?, "InvalidSignature(InvalidSignature)", "{foreign:?}");
        }
        let early = SignedAction { nonce, ..signed(&members, &here, nonce + 1, &action)? };
        assert_eq!(refusal(&chain, &early).await?, "InvalidSignature(InvalidSignature)");
        let ahead = signed(&members, &here, nonce + 1, &action)?;
        let wrong = format!("WrongGovernanceNonce(WrongGovernanceNonce {{ next: {nonce}, nonce: {} }})", nonce + 1);
        assert_eq!(refusal(&chain, &ahead).await?, wrong);
        let renamed = SignedAction { kind: if action.kind() == 1 { 2 } else { 1 }, ..good.clone() };
        assert_eq!(refusal(&chain, &renamed).await?, "InvalidSignature(InvalidSignature)");
        let longer = SignedAction { data: [&good.data[..], &[0; 32]].concat(), ..good.clone() };
        assert_eq!(refusal(&chain, &longer).await?, "InvalidSignature(InvalidSignature)");

        send(&chain, &good).await?;
        assert_eq!(state(&chain).await?.nonce, nonce + 1);
        let done = read_governed(&chain.provider, chain.contract, nonce, 0).await?;
        assert_eq!(done, Some((good.kind, good.data.clone())));
        let used = format!("WrongGovernanceNonce(WrongGovernanceNonce {{ next: {}, nonce: {nonce} }})", nonce + 1);
        assert_eq!(refusal(&chain, &good).await?, used, "after its use");
        let again = SignedAction { nonce: nonce + 1, ..good };
        assert_eq!(refusal(&chain, &again).await?, "InvalidSignature(InvalidSignature)", "under the next nonce");
    }
    let group = Group::new(chain.contract, &chain.provider);
    let named = group.assetInfo(B256::repeat_byte(5)).call().await?;
    assert_eq!((named.name.as_str(), named.symbol.as_str()), ("Bitcoin", "BTC"));
    Ok(())
}

/// What the contract says to a call from an address, without sending it.
pub(super) async fn called(chain: &Chain, from: Address, call: Vec<u8>) -> Result<(), String> {
    let request = TransactionRequest::default().from(from).to(chain.contract).input(call.into());
    match chain.provider.call(request).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let answer = error.as_error_resp().map(|answer| answer.as_decoded_interface_error::<Group::GroupErrors>());
            Err(format!("{:?}", answer.flatten()))
        }
    }
}

#[tokio::test]
async fn a_rotated_key_should_leave_nothing_to_the_old_one() -> Result<()> {
    let chain = Chain::start().await?;
    let (old, fresh) = (members(&chain.group_key)?, new_key()?);
    let new = members(&fresh)?;
    let here = place(chain.contract);
    let vault = chain.vault(A).await?;
    // The same payments under either key.
    let ledgers = [Ledger::of(&chain)?, Ledger::with(chain.contract, new_key()?)];
    let mut last = None;
    for ledger in &ledgers {
        ledger.register(A, vault);
        last = Some(ledger.pay(A, 100, vec![]));
    }
    let last = last.context("a payment")?;
    let mut by_old = submitter(&chain, &ledgers[0], &Rows::default(), 0);
    deliver_all(&mut by_old).await?;

    let Action::Rotate { key, possession, .. } = rotate(&here, 1, &fresh)? else { bail!("a rotation") };
    let elsewhere = rotate(&Place { chain: CHAIN_ID + 1, ..here }, 1, &fresh)?;
    let unproved = [
        elsewhere,
        Action::Rotate { generation: 2, key, possession },
        Action::Rotate { generation: 1, key: old.group.key().compress(), possession },
    ];
    for action in &unproved {
        let refused = refusal(&chain, &signed(&old, &here, 0, action)?).await?;
        assert_eq!(refused, "InvalidPossession(InvalidPossession)", "{action:?}");
    }
    let rotation = rotate(&here, 1, &fresh)?;
    let by_itself = signed(&new, &here, 0, &rotation)?;
    assert_eq!(
        refusal(&chain, &by_itself).await?,
        "InvalidSignature(InvalidSignature)",
        "a key does not appoint itself"
    );
    send(&chain, &signed(&old, &here, 0, &rotation)?).await?;
    let ContractState { generation, key: held, .. } = state(&chain).await?;
    assert_eq!((generation, held), (1, fresh.public_key().to_eip2537().to_vec()));
    let checked = check_chain(&chain.provider, &chain.anvil.url(), &chain.expected()).await?;
    assert_eq!(checked.contract, chain.contract, "members start on, though the group file has the first key");

    // Neither what the old key signs now nor the checkpoint of before that the contract knew by heart.
    let halt = signed(&old, &here, 1, &Action::Halt)?;
    assert_eq!(refusal(&chain, &halt).await?, "InvalidSignature(InvalidSignature)");
    ledgers.iter().for_each(|ledger| drop(ledger.pay(A, 11, vec![])));
    assert_eq!(by_old.step(1_000_000).await?, Step::Refused);
    assert_eq!(chain.balance_of(vault, &last).await?, 100);
    let stale = rotate(&here, 1, &chain.group_key)?;
    let refused = refusal(&chain, &signed(&new, &here, 1, &stale)?).await?;
    assert_eq!(refused, "StaleGeneration(StaleGeneration { current: 1, generation: 1 })");

    let mut by_new = submitter(&chain, &ledgers[1], &Rows::default(), 1);
    deliver_all(&mut by_new).await?;
    assert_eq!(chain.balance_of(vault, &last).await?, 111);
    send(&chain, &signed(&new, &here, 1, &Action::Halt)?).await?;
    assert!(state(&chain).await?.halted);
    Ok(())
}
