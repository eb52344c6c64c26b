//! What is wrong at start is said in its own words, and nothing is left half-started: against the embedded ledger and a
//! real chain with the real contract.

#![expect(clippy::arithmetic_side_effects, reason = "a panic is how a test fails")]

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::{Address, Bytes};
use alloy::providers::Provider;
use anyhow::{Context as _, Result};
use lockstep::config::{MemberConfig, Setting};
use lockstep::devnet::anvil::{Anvil, AnvilConfig};
use lockstep::devnet::ledger::{LedgerConfig, Operator, RunningLedger, serve};
use lockstep::evm::abi::Group as Contract;
use lockstep::evm::provider::provider;
use lockstep::exit::Exit;
use lockstep::keys::{self, Cost, DealMember, DealTerms, Keyring, MemberKeys, Passphrase, XIN};
use lockstep::ledger::{Keystore, Seed};
use lockstep::startup::{Ready, prepare};
use lockstep_core::group::{Group, GroupFile};
use lockstep_core::{B256, Uuid};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::binary::lockstep_binary;

const CHAIN: u64 = 31_337;
const PASSPHRASE: &str = "correct horse battery staple";
/// How long the binary may take until it has found out what is wrong.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that the first of four members needs.
struct World {
    folder: TempDir,
    group: GroupFile,
    contract: Address,
    keys: Vec<MemberKeys>,
    ledger: RunningLedger,
    anvil: Anvil,
}

impl World {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = LedgerConfig {
            database: folder.path().join("ledger.db"),
            api: loopback,
            kernel: vec![loopback],
            seed: [7; 32],
            finality_delay: Duration::ZERO,
        };
        let ledger = serve(config, CancellationToken::new()).await?;
        let operator = Operator::new(&format!("http://{}", ledger.api))?;
        let mut keys = Vec::new();
        for i in 1..=4_u8 {
            let name = format!("m{i}");
            let user = operator.add_user(&name, Seed::new([i; 32]), Seed::new([i + 100; 32])).await?;
            keys.push(MemberKeys::generate(&name, Some(user), &mut keys::system_entropy)?);
        }
        let public = (7701..)
            .zip(&keys)
            .map(|(port, keys): (u16, _)| DealMember { keys: keys.public(), peer: format!("http://127.0.0.1:{port}") });
        let public: Vec<_> = public.collect();
        let terms = DealTerms { threshold: None, chains: vec![CHAIN], fee_asset: XIN, fee_amount: "0.01".parse()? };
        let dealt = keys::deal(&public, &terms, &mut keys::system_entropy)?;
        for (member, share) in keys.iter_mut().zip(dealt.shares) {
            member.hold(share)?;
        }

        let anvil = Anvil::start(&AnvilConfig { block_time_s: None, ..AnvilConfig::new(CHAIN) }).await?;
        let contract = deploy(&anvil, &Group::parse(&dealt.file)?).await?;
        let mut group = dealt.file;
        group.chains[0].contract = Some(contract);
        let world = Self { folder, group, contract, keys, ledger, anvil };
        world.write(|_| ())?;
        let passphrase = world.folder.path().join("passphrase");
        std::fs::write(&passphrase, PASSPHRASE)?;
        std::fs::set_permissions(&passphrase, Permissions::from_mode(0o600))?;
        world.save(world.keys[0].clone())?;
        Ok(world)
    }

    fn key_file(&self) -> PathBuf {
        self.folder.path().join("data/keys/member.keys")
    }

    /// Writes the key file anew.
    fn save(&self, keys: MemberKeys) -> Result<()> {
        let path = self.key_file();
        if path.exists() {
            std::fs::remove_file(&path)?;
        }
        Keyring::create(&path, &Passphrase::new(PASSPHRASE), Cost::QUICK, keys)?;
        Ok(())
    }

    /// Writes the files, the group file changed.
    fn write(&self, change: impl FnOnce(&mut GroupFile)) -> Result<()> {
        let mut group = self.group.clone();
        change(&mut group);
        std::fs::write(self.folder.path().join("group.toml"), toml::to_string(&group)?)?;
        let (ledger, kernel, rpc) = (self.ledger.api, self.ledger.kernel[0], self.anvil.url());
        let member = format!(
            "data = \"data\"\ngroup = \"group.toml\"\nmember = 1\npassphrase_file = \"passphrase\"\n[ledger]\napi = \"http://{ledger}\"\n\
             kernel = \"http://{kernel}\"\n[chains.31337]\nrpc = \"{rpc}\"\n\
             [listen]\npeer = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\n"
        );
        std::fs::write(self.folder.path().join("member.toml"), member)?;
        Ok(())
    }

    async fn prepare(&self, flags: &[&str]) -> Result<Ready, (Exit, String)> {
        let flags: Vec<Setting> = flags.iter().map(|flag| flag.parse().expect("a flag")).collect();
        let config = MemberConfig::load(&self.folder.path().join("member.toml"), [], &flags).expect("a configuration");
        let outcome =
            prepare(config).await.map_err(|error| (error.exit(), format!("{:#}", anyhow::Error::from(error))));
        assert!(!self.folder.path().join("data/lockstep.db").exists(), "nothing is written by a check");
        outcome
    }

    /// The group file changed, and some settings: how the member is refused.
    async fn refusal(&self, change: impl FnOnce(&mut GroupFile), flags: &[&str]) -> (Exit, String) {
        self.write(change).expect("written");
        let refusal = self.prepare(flags).await.expect_err("something is wrong");
        self.write(|_| ()).expect("written");
        assert!(!refusal.1.contains('\n'), "{}", refusal.1);
        refusal
    }
}

async fn deploy(anvil: &Anvil, group: &Group) -> Result<Address> {
    let provider = provider(&anvil.url())?;
    provider.client().set_poll_interval(Duration::from_millis(10));
    let deployer = *provider.get_accounts().await?.first().context("anvil has accounts")?;
    let key = Bytes::copy_from_slice(&group.key().key().to_eip2537());
    let contract =
        Contract::deploy_builder(&provider, group.id(), group.chains()[&CHAIN].instance, key, Address::ZERO, 0);
    let sent = provider.send_transaction(contract.into_transaction_request().from(deployer)).await?;
    sent.get_receipt().await?.contract_address.context("a deployment")
}

fn must_say((exit, message): (Exit, String), expected: Exit, words: &str) {
    assert!(message.contains(words), "`{message}` does not say `{words}`");
    assert_eq!(exit, expected, "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_start_should_be_refused_in_its_own_words() -> Result<()> {
    let world = World::start().await?;
    let contract = world.contract;
    let wrong = Exit::Configuration;

    let other = world.refusal(|_| (), &[&format!("group_digest={}", B256::repeat_byte(1))]).await;
    must_say(other, wrong, "but `group_digest` expects 0x0101");
    must_say(
        world.refusal(|_| (), &["member=2"]).await,
        wrong,
        "the key file is not that of member 2: its identity key",
    );
    must_say(world.refusal(|_| (), &["keys=nowhere.json"]).await, wrong, "cannot use the key file");
    let other_id = world.refusal(|group| group.group_id = "01".repeat(32), &[]).await;
    must_say(other_id, wrong, "the share in the key file belongs to group");
    let public: Vec<_> =
        world.keys.iter().map(|keys| DealMember { keys: keys.public(), peer: "http://a".into() }).collect();
    let terms = DealTerms { threshold: None, chains: vec![], fee_asset: XIN, fee_amount: "0".parse()? };
    let other_key = keys::deal(&public, &terms, &mut keys::system_entropy)?.file;
    let foreign = world.refusal(|group| group.key.clone_from(&other_key.key), &[]).await;
    must_say(foreign, wrong, "`threshold`, `key` and the members' `public_share` do not fit together");
    let reshared = |group: &mut GroupFile| {
        group.key.clone_from(&other_key.key);
        for (member, other) in group.members.iter_mut().zip(&other_key.members) {
            member.public_share.clone_from(&other.public_share);
        }
    };
    must_say(world.refusal(reshared, &[]).await, wrong, "the share in the key file does not fit the group key");
    must_say(world.refusal(|group| group.chains[0].contract = None, &[]).await, wrong, "chain 31337 has no `contract`");

    must_say(
        world.refusal(|_| (), &["ledger.api=http://127.0.0.1:9"]).await,
        Exit::TryAgain,
        "the ledger at http://127.0.0.1:9 cannot be reached",
    );
    must_say(
        world.refusal(|_| (), &["ledger.kernel=http://127.0.0.1:9"]).await,
        Exit::TryAgain,
        "fewer than 1 of the 1 kernel nodes answer",
    );
    let no_rpc = world.refusal(|_| (), &["chains.31337.rpc=http://127.0.0.1:9"]).await;
    must_say(no_rpc, Exit::TryAgain, "chain 31337: the RPC endpoint http://127.0.0.1:9 cannot be reached");

    let elsewhere = Address::repeat_byte(9);
    let no_code = world.refusal(|group| group.chains[0].contract = Some(elsewhere), &[]).await;
    must_say(no_code, wrong, &format!("there is no contract at {elsewhere}"));
    let instance = world.refusal(|group| group.chains[0].instance = "05".repeat(32), &[]).await;
    must_say(instance, wrong, &format!("the contract at {contract} is deployment"));
    let rpc = format!("chains.31338.rpc={}", world.anvil.url());
    let chain_id = {
        world.write(|group| group.chains[0].id = 31_338)?;
        let path = world.folder.path().join("member.toml");
        let member = std::fs::read_to_string(&path)?.replace("[chains.31337]", "[chains.31338]");
        std::fs::write(&path, member)?;
        let refusal = world.prepare(&[&rpc]).await.expect_err("another chain");
        world.write(|_| ())?;
        refusal
    };
    must_say(chain_id, wrong, "the group file says chain 31338 but the RPC endpoint serves chain 31337");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_sessions_should_be_checked_and_a_right_start_pass() -> Result<()> {
    let world = World::start().await?;
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?;
    for key in ["listen.peer", "listen.api"] {
        let refusal = world.refusal(|_| (), &[&format!("{key}={address}")]).await;
        must_say(refusal, Exit::Configuration, &format!("`{key}`: {address} is in use"));
    }
    drop(taken);

    // Another user's session with this member's user id, and another spend key.
    let mut keys = world.keys[0].clone();
    let user = keys.ledger.clone();
    keys.ledger.session_private_key = Seed::new([99; 32]);
    world.save(keys.clone())?;
    must_say(world.refusal(|_| (), &[]).await, Exit::Configuration, "does not take this member's session");
    keys.ledger = user.clone();
    keys.ledger.spend_private_key = Seed::new([99; 32]);
    world.save(keys.clone())?;
    must_say(world.refusal(|_| (), &[]).await, Exit::Configuration, "the spend key in the key file is not the one");
    // An old key: what the ledger knows is the public key of the scalar, and here it was taken for a seed.
    let scalar = user.spend_key().to_bytes();
    keys.ledger.spend_private_key = Seed::new(*scalar);
    world.save(keys.clone())?;
    let other_form = world.refusal(|_| (), &[]).await;
    must_say(other_form, Exit::Configuration, "set `is_spend_private_sum` to true in the keystore file");
    keys.ledger.is_spend_private_sum = true;
    world.save(keys.clone())?;
    world.prepare(&[]).await.map_err(|(_, message)| anyhow::anyhow!(message))?;
    keys.ledger = user;
    world.save(keys.clone())?;

    let ready = world.prepare(&[]).await.map_err(|(_, message)| anyhow::anyhow!(message))?;
    assert_eq!(ready.chains[&CHAIN].identity.contract, world.contract);
    // A spare endpoint may be down; the first may not.
    let spare = format!("chains.31337.rpc={},http://127.0.0.1:9", world.anvil.url());
    let ready = world.prepare(&[&spare]).await.map_err(|(_, message)| anyhow::anyhow!(message))?;
    assert_eq!(ready.chains[&CHAIN].providers.len(), 1);
    Ok(())
}

/// A member of a group on a real chain, in a folder of its own, with the ledger of the real network's form. No name below
/// `invalid` exists (RFC 6761), so nothing leaves this machine, and what is said is what is said off line.
fn real_looking_member(folder: &Path) -> Result<()> {
    let keystore = |index: u8| {
        let key = |part: u8| hex::encode([index, part].repeat(16));
        serde_json::json!({
            "app_id": Uuid::new_v5(&Uuid::NAMESPACE_OID, &[index]), "session_id": Uuid::new_v5(&Uuid::NAMESPACE_URL, &[index]),
            "session_private_key": key(1), "server_public_key": key(2), "spend_private_key": key(3),
        })
    };
    let private = |name: &str, text: &str| -> Result<()> {
        std::fs::write(folder.join(name), text)?;
        Ok(std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o600))?)
    };
    private("passphrase", PASSPHRASE)?;
    private("keystore.json", &keystore(1).to_string())?;
    let mut keys = Vec::new();
    for index in 1..=4 {
        let user = Keystore::parse(&keystore(index).to_string())?;
        keys.push(MemberKeys::generate(&format!("m{index}"), Some(user), &mut keys::system_entropy)?);
    }
    let peer = |keys: &MemberKeys| format!("https://{}.invalid", keys.name);
    let public: Vec<_> = keys.iter().map(|keys| DealMember { keys: keys.public(), peer: peer(keys) }).collect();
    let terms = DealTerms { threshold: None, chains: vec![1], fee_asset: XIN, fee_amount: "0.01".parse()? };
    let mut dealt = keys::deal(&public, &terms, &mut keys::system_entropy)?;
    dealt.file.chains[0].contract = Some(Address::repeat_byte(5));
    let mut own = keys.swap_remove(0);
    own.hold(dealt.shares.swap_remove(0))?;
    Keyring::create(&folder.join("keys/member.keys"), &Passphrase::new(PASSPHRASE), Cost::STANDARD, own)?;
    std::fs::write(folder.join("group.toml"), toml::to_string(&dealt.file)?)?;
    let member = "data = \".\"\ngroup = \"group.toml\"\nmember = 1\npassphrase_file = \"passphrase\"\n\n\
                  [ledger]\napi = \"https://api.mixin.invalid\"\n\
                  kernel = [\"https://one.kernel.invalid\", \"https://two.kernel.invalid\"]\n\n\
                  [chains.1]\nrpc = [\"https://rpc.invalid\"]\n";
    Ok(std::fs::write(folder.join("member.toml"), member)?)
}

async fn lockstep_in(folder: &Path, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(lockstep_binary()?);
    command.args(arguments).current_dir(folder).kill_on_drop(true);
    let ended = tokio::time::timeout(RUN_TIMEOUT, command.output()).await.context("it runs on")??;
    let said = [String::from_utf8(ended.stdout)?, String::from_utf8(ended.stderr)?].concat();
    Ok((ended.status.code(), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_real_network_should_be_told_off_line_what_is_out_of_reach() -> Result<()> {
    let folder = tempfile::tempdir()?;
    real_looking_member(folder.path())?;
    let keygen = ["keygen", "member", "--name", "m1", "--passphrase-file", "passphrase", "--ledger-keystore"];
    let made = lockstep_in(folder.path(), &[&keygen[..], &["keystore.json", "--out", "taken-in"]].concat()).await?;
    assert!(made.0 == Some(0) && made.1.contains(&Uuid::new_v5(&Uuid::NAMESPACE_OID, &[1]).to_string()), "{made:?}");
    std::fs::write(folder.path().join("before-step-4.json"), r#"{"app_id":"x"}"#)?;
    let refused =
        lockstep_in(folder.path(), &[&keygen[..], &["before-step-4.json", "--out", "other"]].concat()).await?;
    assert!(refused.0 == Some(64) && refused.1.contains("register a spend key first"), "{refused:?}");

    for command in ["check", "run"] {
        let (code, said) = lockstep_in(folder.path(), &[command, "--config", "member.toml"]).await?;
        assert_eq!(code, Some(75), "{said}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        let [error] = errors.as_slice() else { panic!("one line: {said}") };
        for part in [
            "https://api.mixin.invalid",
            "cannot be reached, and nothing was started",
            "`ledger.api`",
            "deploy/ledger.md",
        ] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        assert!(!folder.path().join("lockstep.db").exists(), "nothing is written");
    }
    let url = ["check", "--config", "member.toml", "--set", "ledger.url=https://api.mixin.invalid"];
    let (code, said) = lockstep_in(folder.path(), &url).await?;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("unknown key `ledger.url`") && said.contains("`ledger` has api, kernel"), "{said}");
    Ok(())
}

/// What `lockstep run` says of a wrong start, and its exit code.
async fn run(world: &World, change: impl FnOnce(&mut GroupFile), flags: &[&str]) -> Result<(i32, String)> {
    world.write(change)?;
    let mut command = Command::new(lockstep_binary()?);
    command.arg("run").arg("--config").arg(world.folder.path().join("member.toml")).kill_on_drop(true);
    command.args(flags.iter().flat_map(|flag| ["--set", flag]));
    let ended = tokio::time::timeout(RUN_TIMEOUT, command.output()).await.context("it runs on")??;
    world.write(|_| ())?;
    let said = String::from_utf8(ended.stderr)?;
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line says what is wrong: {said}");
    assert!(said.ends_with(&format!("{}\n", errors[0])) && ended.stdout.is_empty(), "{said}");
    assert!(!world.folder.path().join("data/lockstep.db").exists(), "nothing is written");
    Ok((ended.status.code().context("it ends by itself")?, errors[0].to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_should_refuse_each_wrong_start_in_one_line_of_its_own() -> Result<()> {
    let world = World::start().await?;
    let elsewhere = Address::repeat_byte(9);
    let other_chain = Anvil::start(&AnvilConfig::new(CHAIN + 1)).await?;
    let old_rules = AnvilConfig { hardfork: "cancun".to_owned(), ..AnvilConfig::new(CHAIN) };
    let old_chain = Anvil::start(&old_rules).await?;
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    let public: Vec<_> =
        world.keys.iter().map(|keys| DealMember { keys: keys.public(), peer: "http://a".into() }).collect();
    let terms = DealTerms { threshold: None, chains: vec![], fee_asset: XIN, fee_amount: "0".parse()? };
    let other_key = keys::deal(&public, &terms, &mut keys::system_entropy)?.file;
    let reshared = |group: &mut GroupFile| {
        group.key.clone_from(&other_key.key);
        for (member, other) in group.members.iter_mut().zip(&other_key.members) {
            member.public_share.clone_from(&other.public_share);
        }
    };
    let rpc = |anvil: &Anvil| format!("chains.31337.rpc={}", anvil.url());
    let digest = format!("group_digest={}", B256::repeat_byte(1));
    let port = format!("listen.peer={}", taken.local_addr()?);

    let answers = [
        (run(&world, |group| group.chains[0].contract = Some(elsewhere), &[]).await?, 64, "there is no contract at"),
        (run(&world, |_| (), &[&rpc(&other_chain)]).await?, 64, "endpoint serves chain 31338"),
        (run(&world, |_| (), &["member=2"]).await?, 64, "the key file is not that of member 2"),
        (run(&world, reshared, &[]).await?, 64, "does not fit the group key"),
        (run(&world, |_| (), &[&digest]).await?, 64, "but `group_digest` expects"),
        (run(&world, |_| (), &["chains.31337.rpc=http://127.0.0.1:9"]).await?, 75, "RPC endpoint http://127.0.0.1:9"),
        (run(&world, |_| (), &["ledger.api=http://127.0.0.1:9"]).await?, 75, "the ledger at http://127.0.0.1:9"),
        (run(&world, |_| (), &[&rpc(&old_chain)]).await?, 64, "EIP-2537"),
        (run(&world, |_| (), &[&port]).await?, 64, "is in use"),
    ];
    for (index, ((code, line), expected, words)) in answers.iter().enumerate() {
        assert!(line.contains(words) && code == expected, "{code}, not {expected} with `{words}`: {line}");
        let alike =
            answers.iter().enumerate().filter(|(other, ((_, line), ..))| *other != index && line.contains(words));
        assert_eq!(alike.count(), 0, "`{words}` tells this cause from all others");
    }
    Ok(())
}

/// `check` shows what the ledger calls the fee's asset, and says so where the group file names one that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_should_name_the_asset_of_the_fee() -> Result<()> {
    let world = World::start().await?;
    let check = ["check", "--config", "member.toml", "--log-filter", "off"];
    let (code, said) = lockstep_in(world.folder.path(), &check).await?;
    let shown: serde_json::Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    assert_eq!((code, &shown["fee"]["amount"]), (Some(0), &serde_json::json!("0.01000000")));
    assert_eq!(
        (&shown["fee"]["asset"]["symbol"], &shown["fee"]["asset"]["asset_id"]),
        (&"XIN".into(), &XIN.to_string().into())
    );

    let unknown = Uuid::from_u128(404);
    world.write(|group| group.fee.asset = unknown)?;
    let (code, said) = lockstep_in(world.folder.path(), &check).await?;
    let words =
        format!("error: the ledger does not say what the asset {unknown} is, in which the group file asks its fee");
    assert!(code == Some(64) && said.starts_with(&words) && said.contains("asset not found"), "{code:?} {said}");
    Ok(())
}
