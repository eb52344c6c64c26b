//! One group on two chains: deployed by the operators' script, compared with this build, and served under one signature.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::Provider;
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolError;
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::{Anvil, AnvilConfig, DEVELOPER, ForgeScript, run_forge_script};
use lockstep::evm::abi::{Group as GroupContract, Vault};
use lockstep::evm::calldata::{deliver_calldata, process_word};
use lockstep::evm::provider::{EvmProvider, provider};
use lockstep::keys::{DealMember, DealTerms, HeldShare, MemberKeys, XIN, deal, system_entropy};
use lockstep::world::chain::{Batch, Delivery, SignedCheckpoint};
use lockstep_core::checkpoint::Checkpoint;
use lockstep_core::frontier::{Frontier, state_leaf};
use lockstep_core::group::{Group, GroupFile, Recovery};
use lockstep_core::mailbox::{Mailbox, MailboxPlace};
use lockstep_core::message::{Message, MessageKind, register_payload};
use lockstep_core::operation::Policy;
use lockstep_core::{Account, Amount, AssetId, B256, Uuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::lockstep_binary;

const CHAINS: [u64; 2] = [31_337, 31_338];
const MEMBERS: u8 = 4;
const ASSET: AssetId = AssetId([5; 32]);
/// Who would register the accounts process.
const ACCOUNTS: Uuid = Uuid::from_u128(0xacc);
/// What the process of a chain is paid: another amount on each.
const PAID: [u128; 2] = [700, 900];

/// The group and its two chains.
struct World {
    folder: TempDir,
    anvils: Vec<Anvil>,
    providers: Vec<EvmProvider>,
    file: GroupFile,
    shares: Vec<HeldShare>,
}

#[tokio::test]
async fn one_signature_should_serve_two_chains_and_no_proof_both() -> Result<()> {
    let mut world = World::start().await?;
    world.deploy().await?;
    let group = Group::parse(&world.file)?;
    let contracts = CHAINS.map(|chain| group.contract(chain).unwrap_or_default());
    // By their deployer's nonce: only chain and instance tell the two apart.
    assert_eq!(contracts[0], contracts[1]);

    the_code_should_be_compared(&mut world, contracts[1]).await?;
    accounts_should_be_compared(&world, contracts).await?;
    one_checkpoint_should_be_delivered(&world, &group).await
}

/// What the operators' check says of right code, other code, and another recovery address.
async fn the_code_should_be_compared(world: &mut World, contract: Address) -> Result<()> {
    let (code, said) = world.code().await?;
    assert_eq!((code, &said["same"]), (0, &Value::Bool(true)), "{said}");
    assert_eq!(said["chains"][1]["recovery"]["silence_days"], 90);
    assert_eq!(said["chains"][0]["code_hash"], said["chains"][0]["expected_code_hash"]);

    let (code, _) = world.code_at(&world.anvils[..1]).await?;
    assert_eq!(code, 1, "a chain without an endpoint");

    let second = &world.providers[1];
    let good = second.get_code_at(contract).await?;
    for (wrong, word) in [
        ([&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat(), "the code differs from this build at byte"),
        ([&good[..], &[0]].concat(), "bytes of code"),
        (Vec::new(), "there is no contract"),
    ] {
        second.raw_request::<_, ()>("anvil_setCode".into(), (contract, Bytes::from(wrong))).await?;
        let (code, said) = world.code().await?;
        let differs = said["chains"][1]["differs"].as_str().unwrap_or_default();
        assert!(code == 2 && said["same"] == false && differs.contains(word), "{word}: {said}");
        assert_eq!(said["chains"][0]["same"], true, "{said}");
    }
    second.raw_request::<_, ()>("anvil_setCode".into(), (contract, good)).await?;

    // The right code of a contract that gives the key to somebody whom the file does not name.
    let agreed = world.file.chains[1].recovery.take();
    world.save()?;
    let (code, said) = world.code().await?;
    let differs = said["chains"][1]["differs"].as_str().unwrap_or_default();
    assert!(code == 2 && differs.contains("(90 days), by the group file to nobody"), "{said}");
    world.file.chains[1].recovery = agreed;
    world.save()
}

/// Smart accounts on both chains, and what the same check says of other code and of other places.
async fn accounts_should_be_compared(world: &World, groups: [Address; 2]) -> Result<()> {
    let mut files = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        files.push(world.deploy_accounts(number, group).await?);
    }
    let (code, said) = world.code_with(&files).await?;
    assert_eq!((code, &said["same"]), (0, &Value::Bool(true)), "{said}");
    let found = &said["chains"][1]["accounts"];
    assert_eq!(found["process"], serde_json::to_value(process_word(ACCOUNTS))?);
    let contracts = found["contracts"].as_array().context("a list")?;
    let names: Vec<_> = contracts.iter().filter_map(|contract| contract["name"].as_str()).collect();
    assert_eq!(names, ["Storage", "Accounts", "Bridge", "WrappedCoin", "Asset", "Account"]);

    let provider = &world.providers[1];
    for contract in contracts {
        let (name, address) = (&contract["name"], contract["address"].as_str().context("an address")?);
        let address: Address = address.parse()?;
        let good = provider.get_code_at(address).await?;
        let wrong = [&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat();
        provider.raw_request::<_, ()>("anvil_setCode".into(), (address, Bytes::from(wrong))).await?;
        let (code, said) = world.code_with(&files).await?;
        let all = said["chains"][1]["accounts"]["contracts"].as_array().context("a list")?.clone();
        let differs: Vec<_> = all.iter().filter(|found| !found["differs"].is_null()).collect();
        assert!(code == 2 && differs.len() == 1 && differs[0]["name"] == *name, "{name}: {said}");
        provider.raw_request::<_, ()>("anvil_setCode".into(), (address, good)).await?;
    }

    // The right code, made for another storage contract than the one that is named.
    let mut other: Value = serde_json::from_slice(&std::fs::read(&files[1])?)?;
    other["storage"] = other["coin"].clone();
    std::fs::write(&files[1], other.to_string())?;
    let (code, said) = world.code_with(&files).await?;
    assert!(code == 2 && said.to_string().contains("it was made with another storage than"), "{said}");
    Ok(())
}

async fn one_checkpoint_should_be_delivered(world: &World, group: &Group) -> Result<()> {
    let processes = [Uuid::from_u128(0xa), Uuid::from_u128(0xb)];
    let mut frontier = Frontier::new(state_leaf(&B256::repeat_byte(9)));
    let mut mailboxes = Vec::new();
    for (number, process) in processes.into_iter().enumerate() {
        let chain = group.chains().get(&CHAINS[number]).context("a chain of the file")?;
        let contract = chain.contract.context("deployed")?;
        let vault = Vault::deploy_builder(&world.providers[number], contract, process_word(process));
        let vault = world.send(number, vault.into_transaction_request()).await?.context("a vault")?;
        let messages = messages(vault, PAID[number]);
        let mailbox = messages.iter().try_fold(Mailbox::EMPTY, Mailbox::after)?;
        let place = MailboxPlace { chain: chain.id, contract, instance: chain.instance, process };
        let (index, _) = frontier.append(place.leaf(&mailbox))?;
        mailboxes.push((process, index, messages, vault));
    }
    let checkpoint = Checkpoint { sequence: 2, history: B256::repeat_byte(3), root: frontier.root() };
    let digest = checkpoint.digest(&group.id());
    let signers = world.shares.iter().take(group.threshold().into());
    let parts: Vec<_> = signers.map(|share| share.secret.sign_digest(&digest)).collect();
    let signature = group.key().recover_digest(&digest, &parts, &BTreeSet::new())?.signature.to_eip2537();
    let checkpoint = SignedCheckpoint { checkpoint, signature };
    let mut deliveries = Vec::new();
    for (process, index, messages, _) in &mailboxes {
        let (process, index, messages) = (*process, *index, messages.clone());
        let batch = Batch { process, index, head: B256::ZERO, messages, proof: frontier.proof(index)? };
        deliveries.push(deliver_calldata(&Delivery { checkpoint: checkpoint.clone(), batches: vec![batch] })?);
    }

    for number in 0..CHAINS.len() {
        let foreign = deliveries[1 - number].clone();
        let refusal = GroupContract::InvalidProof { process: process_word(processes[1 - number]) }.abi_encode();
        assert_eq!(world.refusal(number, foreign).await?, refusal, "chain {number} with the other's proof");
    }
    for (number, (process, _, _, vault)) in mailboxes.into_iter().enumerate() {
        world.deliver(number, deliveries[number].clone()).await?;
        let contract = GroupContract::new(world.contract(number)?, &world.providers[number]);
        assert_eq!(contract.sequence().call().await?, 2);
        assert_eq!(contract.checkpointDigest().call().await?, digest, "the same on both chains");
        let held = contract.custody(process_word(process), ASSET.0.into()).call().await?;
        assert_eq!(held, U256::from(PAID[number]));
        let alice = Account::of_user(Uuid::from_u128(0xa11ce)).0;
        let balance = Vault::new(vault, &world.providers[number]).balanceOf(alice, ASSET.0.into()).call().await?;
        assert_eq!(balance, U256::from(PAID[number]), "the process was called");
    }
    Ok(())
}

/// A registration and a payment.
fn messages(target: Address, units: u128) -> Vec<Message> {
    let registration = Message {
        kind: MessageKind::Register,
        nonce: 0,
        sequence: 1,
        timestamp: 1,
        sender: Account::ZERO,
        asset: AssetId::NONE,
        amount: Amount::ZERO,
        payload: register_payload(target, false, Policy::Refund, 300_000),
    };
    let payment = Message {
        kind: MessageKind::Call,
        nonce: 1,
        sequence: 2,
        timestamp: 2,
        sender: Account::of_user(Uuid::from_u128(0xa11ce)),
        asset: ASSET,
        amount: Amount::from_units(units),
        payload: Vec::new(),
    };
    vec![registration, payment]
}

impl World {
    /// Two chains without contracts, and a group that wants to be on both.
    async fn start() -> Result<Self> {
        let (mut anvils, mut providers) = (Vec::new(), Vec::new());
        for chain in CHAINS {
            let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(chain) }).await?;
            let provider = provider(&anvil.url())?;
            provider.client().set_poll_interval(Duration::from_millis(20));
            providers.push(provider);
            anvils.push(anvil);
        }
        let members: Vec<_> = (1..=MEMBERS).map(member).collect::<Result<_>>()?;
        let terms = DealTerms {
            threshold: None,
            chains: CHAINS.to_vec(),
            fee_asset: XIN,
            fee_amount: Amount::from_units(1_000_000),
        };
        let dealt = deal(&members, &terms, &mut system_entropy)?;
        let mut file = dealt.file;
        file.chains[1].recovery = Some(Recovery { address: DEVELOPER, silence_days: 90 });
        let world = Self { folder: tempfile::tempdir()?, anvils, providers, file, shares: dealt.shares };
        world.save()?;
        Ok(world)
    }

    fn group_path(&self) -> PathBuf {
        self.folder.path().join("group.toml")
    }

    fn save(&self) -> Result<()> {
        Ok(std::fs::write(self.group_path(), toml::to_string(&self.file)?)?)
    }

    /// As an operator does it, and then writes what it printed into the file.
    async fn deploy(&mut self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/deploy-contracts.sh");
        let urls: Vec<_> = self.anvils.iter().map(Anvil::url).collect();
        let sender = DEVELOPER.to_string();
        let mut command = tokio::process::Command::new(script);
        command.arg(self.group_path()).args(&urls).args(["--", "--unlocked", "--sender", &sender]);
        let output = tokio::time::timeout(Duration::from_secs(400), command.kill_on_drop(true).output()).await??;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout)?;
        for chain in &mut self.file.chains {
            let deployed = std::fs::read(self.folder.path().join(format!("deployed-{}.json", chain.id)))?;
            let deployed: Value = serde_json::from_slice(&deployed)?;
            let contract = deployed["contract"].as_str().context("an address")?;
            let lines = format!("id = {}\ncontract = \"{contract}\"\nstart_block = 0\n", chain.id);
            assert!(printed.contains(&lines), "{printed}");
            chain.contract = Some(contract.parse()?);
        }
        self.save()?;
        // What exists is not deployed again, whoever repeats the command.
        let mut again = tokio::process::Command::new("bash");
        again.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/deploy-contracts.sh"));
        again.arg(self.group_path()).arg(&urls[0]).args(["--", "--unlocked", "--sender", &sender]);
        let again = tokio::time::timeout(Duration::from_secs(400), again.kill_on_drop(true).output()).await??;
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        ensure!(!again.status.success() && said.contains("AlreadyDeployed"), "{said}");
        Ok(())
    }

    /// Deploys smart accounts, and returns what the script wrote down.
    async fn deploy_accounts(&self, number: usize, group: Address) -> Result<PathBuf> {
        let out = self.folder.path().join(format!("accounts-{}.json", CHAINS[number]));
        let url = self.anvils[number].url();
        let script = ForgeScript {
            project: &Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts"),
            script: "script/DeployAccounts.s.sol:DeployAccounts",
            rpc_url: &url,
            sender: DEVELOPER,
            variables: &[
                ("LOCKSTEP_GROUP_CONTRACT", group.to_string()),
                ("LOCKSTEP_ACCOUNTS_PROCESS", process_word(ACCOUNTS).to_string()),
                ("LOCKSTEP_DEPLOY_OUT", out.display().to_string()),
            ],
            timeout: Duration::from_secs(400),
        };
        run_forge_script(&script).await?;
        Ok(out)
    }

    /// `lockstep group code` with an endpoint of each chain.
    async fn code(&self) -> Result<(i32, Value)> {
        self.code_of(&self.anvils, &[]).await
    }

    async fn code_at(&self, anvils: &[Anvil]) -> Result<(i32, Value)> {
        self.code_of(anvils, &[]).await
    }

    async fn code_with(&self, accounts: &[PathBuf]) -> Result<(i32, Value)> {
        self.code_of(&self.anvils, accounts).await
    }

    async fn code_of(&self, anvils: &[Anvil], accounts: &[PathBuf]) -> Result<(i32, Value)> {
        let mut command = tokio::process::Command::new(lockstep_binary()?);
        command.args(["group", "code"]).arg(self.group_path());
        for anvil in anvils {
            command.args(["--rpc", &anvil.url()]);
        }
        for file in accounts {
            command.arg("--accounts").arg(file);
        }
        let Output { status, stdout, stderr } = command.output().await?;
        let code = status.code().context("it ends by itself")?;
        let said = if stdout.is_empty() { Value::Null } else { serde_json::from_slice(&stdout)? };
        ensure!(said.is_null() != stderr.is_empty(), "an answer or an error");
        Ok((code, said))
    }

    fn contract(&self, number: usize) -> Result<Address> {
        self.file.chains[number].contract.context("deployed")
    }

    async fn deliver(&self, number: usize, calldata: Vec<u8>) -> Result<()> {
        let request = TransactionRequest::default().to(self.contract(number)?).input(calldata.into());
        self.send(number, request).await.map(drop)
    }

    /// What a delivery would revert with.
    async fn refusal(&self, number: usize, calldata: Vec<u8>) -> Result<Vec<u8>> {
        let request = TransactionRequest::default().to(self.contract(number)?).input(calldata.into());
        let error = self.providers[number].call(request).await.err().context("it must be refused")?;
        let response = error.as_error_resp().context("the chain answers")?;
        Ok(response.as_revert_data().context("with data")?.to_vec())
    }

    /// Sends from an account that anvil holds; answers with the contract that it made.
    async fn send(&self, number: usize, request: TransactionRequest) -> Result<Option<Address>> {
        let sent = self.providers[number].send_transaction(request.from(DEVELOPER)).await?;
        let receipt = sent.with_timeout(Some(Duration::from_secs(30))).get_receipt().await?;
        ensure!(receipt.status(), "the transaction reverted");
        Ok(receipt.contract_address)
    }
}

fn member(index: u8) -> Result<DealMember> {
    let keys = MemberKeys::generate(&format!("member-{index}"), None, &mut system_entropy)?;
    Ok(DealMember { keys: keys.public(), peer: format!("http://127.0.0.1:{}", 7700 + u16::from(index)) })
}
