//! What a halt stops, and what it does not: every function of the contract is on one of two lists.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::{SolCall as _, SolValue as _};
use anyhow::{Context as _, Result, ensure};
use lockstep::evm::abi::Group;
use lockstep::evm::calldata::{deliver_calldata, process_word};
use lockstep::evm::submitter::Step;
use lockstep::world::chain::OfferDeliveries as _;
use lockstep_core::govern::Action;
use lockstep_core::message::Message;
use lockstep_core::operation::Policy;
use lockstep_core::{AssetId, Uuid};
use serde_json::Value;

use self::generated::MockProcess;
use super::chain::{CHAIN_ID, Chain};
use super::govern::{called, members, new_key, place, rotate, send, signed, state};
use super::members::{Ledger, Rows};
use super::submitter::{deliver_all, submitter};

mod generated {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        MockProcess,
        "../contracts/abi/MockProcess.json"
    );
}

/// Parks what fails.
const A: Uuid = Uuid::from_u128(0xa);
/// Is closed.
const B: Uuid = Uuid::from_u128(0xb);
/// `MockProcess.Mode.Revert`.
const REVERTS: u8 = 1;
/// Four days: longer than a claim waits, and than the silence before a recovery.
const LATER_S: u64 = 345_600;
/// Who may recover the contract of this test.
const RECOVERY: Address = Address::repeat_byte(0x7e);

/// A chain with a contract that has seen everything that there is: a parked message, a closed process, filled tanks.
struct Scene {
    chain: Chain,
    ledger: Ledger,
    a: Address,
    b: Address,
    parked: Message,
}

impl Scene {
    async fn start() -> Result<Self> {
        let mut chain = Chain::start().await?;
        chain.contract = chain.deploy_recoverable(RECOVERY, 1).await?;
        let ledger = Ledger::of(&chain)?;
        let (a, b) = (mock(&chain, A).await?, mock(&chain, B).await?);
        ledger.register_with(A, a, Policy::Park);
        ledger.register(B, b);
        let mut submitter = submitter(&chain, &ledger, &Rows::default(), 0);
        deliver_all(&mut submitter).await?;
        for process in [A, B] {
            fund(&chain, process, 1_000_000_000).await?;
        }
        let contract = MockProcess::new(a, &chain.provider);
        chain.send(contract.setMode(REVERTS).into_transaction_request()).await?;
        let parked = ledger.pay(A, 100, vec![]);
        deliver_all(&mut submitter).await?;
        chain.send(contract.setMode(0).into_transaction_request()).await?;
        ledger.pay(A, 50, vec![]);
        ledger.close(B);
        deliver_all(&mut submitter).await?;
        chain.rpc::<Value>("evm_increaseTime", (LATER_S,)).await?;
        chain.mine(1).await?;
        Ok(Self { chain, ledger, a, b, parked })
    }

    fn group(&self) -> Group::GroupInstance<&lockstep::evm::provider::EvmProvider> {
        Group::new(self.chain.contract, &self.chain.provider)
    }

    /// A delivery of what waits for process A, as its members signed it.
    async fn delivery(&self, newest: u64) -> Result<Vec<u8>> {
        let head = self.group().head(process_word(A)).call().await?;
        let delivery = self.ledger.delivery(CHAIN_ID, newest, &[(A, head)]).await;
        let delivery = delivery.map_err(|error| anyhow::anyhow!("{error}"))?.context("a delivery")?;
        Ok(deliver_calldata(&delivery)?)
    }

    /// Calls that a halt stops: name, caller, data.
    async fn stopped(&self, newest: u64) -> Result<Vec<(&'static str, Address, Vec<u8>)>> {
        let anyone = Address::repeat_byte(0x55);
        let (process, message) = (process_word(A), on_chain(&self.parked));
        let (asset, amount) = (B256::from(self.parked.asset.0), U256::from(1));
        let recipient = Bytes::copy_from_slice(self.parked.sender.0.as_slice());
        // ERC-7930: version 1, chain type "LS", no chain reference, 32 bytes of address.
        let address: Bytes = [&[0, 1, 0x4c, 0x53, 0, 32][..], &recipient].concat().into();
        let transfer = keccak256("transfer(bytes32,uint256)").0;
        let attribute: Bytes = [&transfer[..4], &(asset, amount).abi_encode()].concat().into();
        let pay = Group::sendCall { asset, amount, recipient, memo: Bytes::new() };
        let message_out =
            Group::sendMessageCall { recipient: address, payload: Bytes::new(), attributes: vec![attribute] };
        Ok(vec![
            ("deliver", anyone, self.delivery(newest).await?),
            ("send", self.a, pay.abi_encode()),
            ("sendMessage", self.a, message_out.abi_encode()),
            ("retry", anyone, Group::retryCall { process, message: message.clone() }.abi_encode()),
            ("claim", anyone, Group::claimCall { process, message }.abi_encode()),
        ])
    }

    /// Calls that a halt leaves alone.
    fn going_on(&self, deliverer: Address) -> Result<Vec<(&'static str, Address, Vec<u8>)>> {
        let here = place(self.chain.contract);
        let Action::Rotate { generation, .. } = rotate(&here, 9, &new_key()?)? else { unreachable!() };
        let data = rotate(&here, 9, &new_key()?)?.data()?;
        let (_, key, possession) = <(u64, Bytes, Bytes)>::abi_decode_params(&data)?;
        let recover = Group::recoverCall { generation: generation.into(), key_: key, possession };
        let bind = Group::bindCall { process: B256::repeat_byte(9) };
        Ok(vec![
            ("bind", Address::repeat_byte(0x55), bind.abi_encode()),
            ("reclaim", self.b, Group::reclaimCall {}.abi_encode()),
            ("withdraw", deliverer, Group::withdrawCall { to: deliverer }.abi_encode()),
            ("recover", RECOVERY, recover.abi_encode()),
        ])
    }
}

async fn mock(chain: &Chain, process: Uuid) -> Result<Address> {
    let mock = MockProcess::deploy_builder(&chain.provider, chain.contract, process_word(process));
    chain.deploy(mock.into_transaction_request()).await
}

async fn fund(chain: &Chain, process: Uuid, gwei: u64) -> Result<()> {
    let fund = Group::fundCall { process: process_word(process) }.abi_encode();
    let value = U256::from(gwei) * U256::from(1_000_000_000_u64);
    chain.send(TransactionRequest::default().to(chain.contract).value(value).input(fund.into())).await
}

fn on_chain(message: &Message) -> Group::Message {
    Group::Message {
        kind: message.kind as u8,
        nonce: message.nonce,
        sequence: message.sequence,
        timestamp: message.timestamp,
        sender: message.sender.0,
        asset: B256::from(message.asset.0),
        amount: U256::from(message.amount.units()),
        payload: message.payload.clone().into(),
    }
}

/// What the contract exports.
struct Functions {
    /// The names of those that change something.
    changing: BTreeSet<String>,
    /// Those that do not, each with a call of it.
    views: Vec<(String, Vec<u8>)>,
}

/// As the compiler exported them; parameters of views are zero.
fn functions() -> Result<Functions> {
    let exported: Value = serde_json::from_str(include_str!("../../../../contracts/abi/Group.json"))?;
    let (mut changing, mut views) = (BTreeSet::new(), Vec::new());
    for entry in exported["abi"].as_array().context("an ABI")?.iter().filter(|entry| entry["type"] == "function") {
        let name = entry["name"].as_str().context("a name")?.to_owned();
        if entry["stateMutability"] != "view" && entry["stateMutability"] != "pure" {
            changing.insert(name);
            continue;
        }
        let types: Vec<_> = entry["inputs"].as_array().context("inputs")?.iter().map(|input| &input["type"]).collect();
        let types: Vec<_> = types.into_iter().filter_map(Value::as_str).collect();
        let selector = keccak256(format!("{name}({})", types.join(","))).0;
        views.push((name, [&selector[..4], &vec![0; 32 * types.len()]].concat()));
    }
    Ok(Functions { changing, views })
}

#[tokio::test]
async fn a_halt_should_stop_deliveries_and_outbounds_and_nothing_else() -> Result<()> {
    let scene = Scene::start().await?;
    let Scene { chain, ledger, .. } = &scene;
    let (here, members) = (place(chain.contract), members(&chain.group_key)?);
    let waiting = ledger.pay(A, 7, vec![]);
    let mut deliverer = submitter(chain, ledger, &Rows::default(), 0);
    let stopped = scene.stopped(waiting.sequence).await?;
    let going_on = scene.going_on(deliverer.address())?;

    // Each function that changes something is on exactly one list; `fund` and `govern` are sent for real below.
    let Functions { changing, views } = functions()?;
    let named =
        |list: &[(&str, Address, Vec<u8>)]| list.iter().map(|(name, ..)| (*name).to_owned()).collect::<Vec<_>>();
    let known: Vec<_> = [named(&stopped), named(&going_on), vec!["fund".into(), "govern".into()]].concat();
    assert_eq!(known.len(), changing.len());
    assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), changing);

    for (name, from, call) in stopped.iter().chain(&going_on) {
        assert_eq!(called(chain, *from, call.clone()).await, Ok(()), "{name} works before");
    }
    send(chain, &signed(&members, &here, 0, &Action::Halt)?).await?;
    for (name, from, call) in &stopped {
        assert_eq!(called(chain, *from, call.clone()).await, Err("Some(Halted(Halted))".to_owned()), "{name}");
    }
    for (name, from, call) in &going_on {
        assert_eq!(called(chain, *from, call.clone()).await, Ok(()), "{name} goes on");
    }
    for (name, call) in &views {
        assert_eq!(called(chain, Address::ZERO, call.clone()).await, Ok(()), "{name} is still there to be read");
    }
    for _ in 0..3 {
        assert_eq!(deliverer.step(1_000_000).await?, Step::Halted, "members try no delivery");
    }
    assert_eq!(scene.group().outboundNonce().call().await?, 0);
    what_goes_on_should_have_its_effect(&scene).await?;

    send(chain, &signed(&members, &here, 1, &Action::Resume)?).await?;
    // The rotation and the recovery are not repeated; what was stopped is all there.
    for (name, from, call) in &stopped {
        assert_eq!(called(chain, *from, call.clone()).await, Ok(()), "{name} works again");
    }
    assert_eq!(deliver_all(&mut deliverer).await?, 1);
    let held = scene.group().custody(process_word(A), B256::from(waiting.asset.0)).call().await?;
    assert_eq!(held, U256::from(57), "nothing is lost and nothing comes twice");
    Ok(())
}

/// Transactions, not only calls: a tank is filled, contracts bind, and governance of every other kind acts.
async fn what_goes_on_should_have_its_effect(scene: &Scene) -> Result<()> {
    let Scene { chain, .. } = scene;
    let group = scene.group();
    let before = group.processInfo(process_word(A)).call().await?.tank;
    fund(chain, A, 5).await?;
    assert_eq!(group.processInfo(process_word(A)).call().await?.tank, before + U256::from(5_000_000_000_u64));
    let late = Uuid::from_u128(0xc);
    let bound = mock(chain, late).await?;
    assert_eq!(group.processOf(bound).call().await?, process_word(late));
    assert!(group.halted().call().await?);
    Ok(())
}

#[tokio::test]
async fn a_halted_contract_should_be_governed_as_any_other() -> Result<()> {
    let chain = Chain::start().await?;
    let (here, old, fresh) = (place(chain.contract), members(&chain.group_key)?, new_key()?);
    let new = members(&fresh)?;
    send(&chain, &signed(&old, &here, 0, &Action::Halt)?).await?;
    let asset = Action::Asset { asset: AssetId([5; 32]), name: "Bitcoin".into(), symbol: "BTC".into() };
    for (nonce, action) in (1..).zip([asset, Action::Repay { tip_wei: 3, gas_per_byte: 4 }, Action::Halt]) {
        send(&chain, &signed(&old, &here, nonce, &action)?).await?;
    }
    send(&chain, &signed(&old, &here, 4, &rotate(&here, 1, &fresh)?)?).await?;
    let found = state(&chain).await?;
    assert_eq!((found.halted, found.generation, found.nonce), (true, 1, 5), "another key is no way around a halt");
    send(&chain, &signed(&new, &here, 5, &Action::Resume)?).await?;
    let group = Group::new(chain.contract, &chain.provider);
    let limits = group.repayLimits().call().await?;
    assert_eq!((limits.tipWei, limits.gasPerByte), (3, 4));
    assert_eq!(group.assetInfo(B256::repeat_byte(5)).call().await?.symbol, "BTC");
    ensure!(!state(&chain).await?.halted, "resumed by the new key");
    Ok(())
}
