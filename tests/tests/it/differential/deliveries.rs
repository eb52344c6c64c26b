//! Whole deliveries by the code that members run, to the group contract itself: what Rust packs, proves and signs is what
//! the contract unpacks, checks, calls with, and writes into its events and memos.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, Bytes, LogData, U256, keccak256};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use alloy::sol_types::{SolCall as _, SolEvent as _};
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::DEVELOPER;
use lockstep::evm::abi::{Group, Vault};
use lockstep::evm::calldata::deliver_calldata;
use lockstep::world::chain::{Batch, Delivery, SignedCheckpoint};
use lockstep_core::bls::SecretKey;
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::frontier::Frontier;
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{FIRST_HEAD, Message, MessageKind, flags, register_payload, update_payload};
use lockstep_core::operation::{Policy, contract_refund_memo};
use lockstep_core::{Account, Amount, Uuid};
use rand::RngExt as _;

use super::harness::{CHAIN_ID, Harness};
use super::random::Random;

const GROUP_ID: B256 = B256::repeat_byte(0x33);
const INSTANCE: B256 = B256::repeat_byte(0x44);
/// Messages of one delivery, beside the registration.
const BATCH: usize = 100;
/// Gas of a call, at most, whatever was registered: the contract cuts it to this.
const CALL_GAS_MAX: u32 = 8_000_000;
/// What a process's contract does here: it logs all that it is called with.
const ECHO: &str = "0x365f5f37365fa000";

/// A group contract and who signs for it.
struct Town {
    harness: Harness,
    secret: SecretKey,
    group: Address,
    sequence: u64,
    outbounds: u64,
}

impl Town {
    async fn start(what: &'static str) -> Result<Self> {
        let harness = Harness::start(what).await?;
        let secret = SecretKey::derive(&[3; 32], b"differential")?;
        let key = Bytes::copy_from_slice(&secret.public_key().to_eip2537());
        let group = Group::deploy_builder(&harness.provider, GROUP_ID, INSTANCE, key, Address::ZERO, 0);
        let group = harness.deploy(group.into_transaction_request()).await?;
        Ok(Self { harness, secret, group, sequence: 0, outbounds: 0 })
    }

    /// Puts a contract that only logs at an address, and binds it.
    async fn bind(&mut self, process: Uuid) -> Result<Address> {
        let target = Address::new(self.harness.random.rng.random());
        let harness = &self.harness;
        harness.rpc::<()>("anvil_setCode", (target, ECHO)).await?;
        harness.rpc::<()>("anvil_impersonateAccount", (target,)).await?;
        harness.rpc::<()>("anvil_setBalance", (target, U256::from(10).pow(U256::from(20)))).await?;
        let call = Group::bindCall { process: word(process) }.abi_encode();
        harness.mine(TransactionRequest::default().from(target).to(self.group).input(call.into())).await?;
        Ok(target)
    }

    /// Signs and delivers all messages of a mailbox, somewhere in a tree, and compares what the contract has then.
    async fn deliver(&mut self, process: Uuid, messages: Vec<Message>) -> Result<(Vec<LogData>, TransactionReceipt)> {
        let random = &mut self.harness.random;
        let mailbox = messages.iter().try_fold(Mailbox::EMPTY, Mailbox::after)?;
        let place = MailboxPlace { chain: CHAIN_ID, contract: self.group, instance: INSTANCE, process };
        let mut leaves: Vec<B256> = (0..=random.below(300)).map(|_| B256::new(random.rng.random())).collect();
        let index = random.below(leaves.len());
        leaves[index] = place.leaf(&mailbox);
        let index = u32::try_from(index)?;
        let frontier = Frontier::from_leaves(leaves).context("a tree has leaves")?;
        self.sequence += 1 + (random.number() >> 44);
        let checkpoint = Checkpoint { sequence: self.sequence, history: random.word(), root: frontier.root() };
        let signature = self.secret.sign_digest(&checkpoint.digest(&GROUP_ID)).to_eip2537();
        let proof = frontier.proof(index)?;
        let batch = Batch { process, index, head: FIRST_HEAD, messages, proof };
        let delivery = Delivery { checkpoint: SignedCheckpoint { checkpoint, signature }, batches: vec![batch] };
        let calldata = deliver_calldata(&delivery)?;
        let request = TransactionRequest::default().from(DEVELOPER).to(self.group).input(calldata.into());
        let receipt = self.harness.mine(request).await?;
        let head = Group::new(self.group, &self.harness.provider).head(word(process)).call().await?;
        ensure!(head == mailbox.head, "the contract has another head");
        let Checkpoint { sequence, history, root } = checkpoint;
        Ok((vec![Group::Accepted { sequence, history, root }.encode_log_data()], receipt))
    }

    async fn info(&self, process: Uuid) -> Result<Group::ProcessInfo> {
        Ok(Group::new(self.group, &self.harness.provider).processInfo(word(process)).call().await?)
    }

    /// All events of a delivery, in their order; each of `cases` stands for some of them.
    fn compare(&mut self, expected: &[LogData], receipt: &TransactionReceipt, cases: usize) {
        let found: Vec<LogData> = receipt.logs().iter().map(|log| log.inner.data.clone()).collect();
        assert_eq!(found, expected, "left: the contract, right: Rust");
        self.harness.compare(&vec![(); cases], &vec![(); cases]);
    }
}

/// A payment to a process that never agreed to be one comes back with the memo that the group derives, and its
/// registration names the target that was meant.
#[tokio::test]
async fn memos_of_refunds_and_registrations_should_be_equal() -> Result<()> {
    let mut town = Town::start("memos of refunds").await?;
    while let Some(size) = town.harness.batch(BATCH) {
        let random = &mut town.harness.random;
        let (process, target, gas) = (random.uuid(), Address::new(random.rng.random()), random.rng.random());
        let (private, policy) = (random.percent(50), policy(random));
        let mut messages = vec![register(random, register_payload(target, private, policy, gas))];
        for nonce in 1..=u64::try_from(size)? {
            let kind = if random.percent(90) { MessageKind::Call } else { MessageKind::Bounce };
            messages.push(random.message(kind, nonce));
        }
        let (mut expected, receipt) = town.deliver(process, messages.clone()).await?;
        expected.push(Group::Rejected { process: word(process), target }.encode_log_data());
        let mut custody = BTreeMap::new();
        for message in messages.iter().skip(1) {
            let failed = Group::Failed { process: word(process), nonce: message.nonce, policy: 0, gasUsed: U256::ZERO };
            expected.push(failed.encode_log_data());
            let refunded = message.kind == MessageKind::Call && message.sender != Account::ZERO;
            if refunded && message.amount != Amount::ZERO {
                expected.push(outbound(town.outbounds, town.sequence, process, message).encode_log_data());
                town.outbounds += 1;
            } else {
                *custody.entry(message.asset.0).or_insert(U256::ZERO) += U256::from(message.amount.units());
            }
        }
        let count = u64::try_from(messages.len())?;
        expected.push(Group::Delivered { process: word(process), first: 0, count }.encode_log_data());
        let info = town.info(process).await?;
        assert_eq!((info.target, info.gasLimit, info.flags), (target, gas.min(CALL_GAS_MAX), flags(private, policy)));
        for (asset, amount) in custody {
            let group = Group::new(town.group, &town.harness.provider);
            assert_eq!(group.custody(word(process), B256::from(asset)).call().await?, amount);
        }
        town.compare(&expected, &receipt, size);
    }
    town.harness.finish().await
}

/// A process that lives gets the very bytes whose hash is the leaf, and updates are read as they were written.
#[tokio::test]
async fn calls_and_updates_should_be_equal() -> Result<()> {
    let mut town = Town::start("calls and updates").await?;
    while let Some(size) = town.harness.batch(BATCH) {
        let process = town.harness.random.uuid();
        let target = town.bind(process).await?;
        let random = &mut town.harness.random;
        let mut now = Now { private: random.percent(50), policy: policy(random), gas: gas(random) };
        let mut messages = vec![register(random, register_payload(target, now.private, now.policy, now.gas))];
        let mut events = vec![now.registered(process, target).encode_log_data()];
        for nonce in 1..=u64::try_from(size)? {
            if random.percent(50) {
                let kept = random.percent(30);
                let next = Now { private: random.percent(50), policy: policy(random), gas: gas(random) };
                let told = if kept { 0 } else { next.gas };
                now = Now { gas: if kept { now.gas } else { next.gas }, ..next };
                let payload = update_payload(now.private, now.policy, told);
                messages.push(Message { payload, ..random.message(MessageKind::Update, nonce) });
                let (limit, flags) = (now.gas.min(CALL_GAS_MAX), now.flags());
                events.push(Group::Updated { process: word(process), gasLimit: limit, flags }.encode_log_data());
            } else {
                let kind = if random.percent(80) { MessageKind::Call } else { MessageKind::Bounce };
                let message = random.message(kind, nonce);
                let call = [Vault::onMessageCall::SELECTOR.as_slice(), &message.abi_encode()].concat();
                ensure!(message.leaf() == keccak256(&call[4..]), "a call is what is hashed");
                events.push(LogData::new_unchecked(vec![], call.into()));
                messages.push(message);
            }
        }
        let count = u64::try_from(messages.len())?;
        let (mut expected, receipt) = town.deliver(process, messages).await?;
        expected.extend(events);
        expected.push(Group::Delivered { process: word(process), first: 0, count }.encode_log_data());
        let info = town.info(process).await?;
        assert_eq!((info.target, info.gasLimit, info.flags), (target, now.gas.min(CALL_GAS_MAX), now.flags()));
        assert_eq!(info.policy, now.policy as u8);
        town.compare(&expected, &receipt, size);
    }
    town.harness.finish().await
}

/// How a process wants to be called.
struct Now {
    private: bool,
    policy: Policy,
    gas: u32,
}

impl Now {
    fn flags(&self) -> u8 {
        flags(self.private, self.policy)
    }

    fn registered(&self, process: Uuid, target: Address) -> Group::Registered {
        let (gas, flags) = (self.gas.min(CALL_GAS_MAX), self.flags());
        Group::Registered { process: word(process), target, gasLimit: gas, flags }
    }
}

fn policy(random: &mut Random) -> Policy {
    [Policy::Refund, Policy::Park, Policy::Strict][random.below(3)]
}

/// Enough for a call to succeed; at times more than the contract allows.
fn gas(random: &mut Random) -> u32 {
    random.rng.random_range(200_000..10_000_000)
}

fn register(random: &mut Random, payload: Vec<u8>) -> Message {
    Message { payload, ..random.message(MessageKind::Register, 0) }
}

fn outbound(nonce: u64, sequence: u64, process: Uuid, message: &Message) -> Group::Outbound {
    Group::Outbound {
        nonce,
        process: word(process),
        sequence,
        asset: B256::from(message.asset.0),
        amount: U256::from(message.amount.units()),
        recipient: message.sender.0.into(),
        memo: contract_refund_memo(process, message.nonce).into(),
    }
}

fn word(process: Uuid) -> B256 {
    B256::left_padding_from(process.as_bytes())
}
