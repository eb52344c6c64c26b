//! Start-up: each wrong thing has an error of its own, and local chains come up and go.

use std::path::Path;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::anvil::{Anvil, AnvilConfig, DEVELOPER, ForgeScript, ToolError, run_forge_script};
use lockstep::evm::check::{CheckError, ExpectedChain, check_chain};
use lockstep::evm::provider::provider;
use lockstep_core::Uuid;
use lockstep_core::bls::SecretKey;
use lockstep_core::group::Recovery;

use super::chain::{CHAIN_ID, Chain, GROUP_ID, INSTANCE};

#[tokio::test]
async fn each_wrong_chain_should_be_refused_in_its_own_words() -> Result<()> {
    let chain = Chain::start().await?;
    let (good, url) = (chain.expected(), chain.anvil.url());
    let check = async |expected: ExpectedChain| check_chain(&chain.provider, &url, &expected).await;

    let nobody = provider("http://127.0.0.1:9")?;
    let found = check_chain(&nobody, "http://127.0.0.1:9", &good).await;
    assert!(matches!(found, Err(CheckError::Unreachable { chain_id: CHAIN_ID, .. })), "{found:?}");

    let found = check(ExpectedChain { chain_id: 1, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::ChainId { expected: 1, found: CHAIN_ID })), "{found:?}");

    let found = check(ExpectedChain { contract: Address::repeat_byte(9), ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::NoCode { .. })), "{found:?}");

    let vault = chain.vault(Uuid::from_u128(1)).await?;
    let found = check(ExpectedChain { contract: vault, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::NotOurs { view: "groupId()", .. })), "{found:?}");

    let found = check(ExpectedChain { group_id: B256::ZERO, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::Group { .. })), "{found:?}");

    let found = check(ExpectedChain { instance: B256::ZERO, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::Instance { .. })), "{found:?}");

    let recovery = Some(Recovery { address: Address::repeat_byte(9), silence_days: 90 });
    let found = check(ExpectedChain { recovery, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::Recovery { found: None, .. })), "{found:?}");

    let group_key = SecretKey::derive(&[8; 32], b"other")?.public_key().to_eip2537();
    let found = check(ExpectedChain { group_key, ..good.clone() }).await;
    assert!(matches!(found, Err(CheckError::Key { .. })), "{found:?}");

    let identity = check(good).await?;
    assert_eq!((identity.chain_id, identity.accepted), (CHAIN_ID, 0));
    Ok(())
}

#[tokio::test]
async fn a_chain_without_bls_should_be_refused() -> Result<()> {
    let config = AnvilConfig { hardfork: "cancun".to_owned(), ..AnvilConfig::new(CHAIN_ID) };
    let anvil = Anvil::start(&config).await?;
    let expected = ExpectedChain {
        chain_id: CHAIN_ID,
        contract: Address::repeat_byte(1),
        group_id: B256::ZERO,
        instance: B256::ZERO,
        group_key: [0; 256],
        recovery: None,
    };
    let found = check_chain(&provider(&anvil.url())?, &anvil.url(), &expected).await;
    assert!(matches!(found, Err(CheckError::NoBls { .. })), "{found:?}");
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_should_be_named() -> Result<()> {
    let first = Anvil::start(&AnvilConfig::new(CHAIN_ID)).await?;
    let second = Anvil::start(&AnvilConfig { port: first.port(), ..AnvilConfig::new(CHAIN_ID) }).await;
    match second {
        Err(ToolError::NotUp(said)) => assert!(said.contains("in use"), "{said}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_dropped_chain_should_end_and_a_stopped_one_keep_its_state() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = AnvilConfig { state: Some(folder.path().join("state.json")), ..AnvilConfig::new(CHAIN_ID) };
    Anvil::start(&config).await?.stop().await?;
    ensure!(folder.path().join("state.json").is_file(), "no state was written");

    let anvil = Anvil::start(&config).await?;
    let port = anvil.port();
    drop(anvil);
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("anvil still listens on {port}");
}

#[tokio::test]
async fn a_script_that_fails_should_show_forges_own_words() -> Result<()> {
    let project = tempfile::tempdir()?;
    let script = ForgeScript {
        project: project.path(),
        script: "script/None.s.sol:None",
        rpc_url: "http://127.0.0.1:9",
        sender: DEVELOPER,
        variables: &[],
        timeout: Duration::from_secs(60),
    };
    match run_forge_script(&script).await {
        Err(ToolError::Failed { output, .. }) => assert!(output.contains("127.0.0.1:9"), "{output}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn the_deploy_script_should_put_the_group_of_the_file_on_the_chain() -> Result<()> {
    let anvil = Anvil::start(&AnvilConfig::new(CHAIN_ID)).await?;
    let folder = tempfile::tempdir()?;
    let key = SecretKey::derive(&[7; 32], b"test")?.public_key().to_eip2537();
    let file = format!(
        "group_id = \"{GROUP_ID}\"\nkey = \"0x{}\"\n[[chains]]\nid = {CHAIN_ID}\ninstance = \"{INSTANCE}\"\n\
         recovery = {{ address = \"{DEVELOPER}\", silence_days = 90 }}\n",
        hex::encode(key)
    );
    let (group_file, out) = (folder.path().join("group.toml"), folder.path().join("deployed.json"));
    std::fs::write(&group_file, file)?;
    let script = ForgeScript {
        project: &Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts"),
        script: "script/Deploy.s.sol",
        rpc_url: &anvil.url(),
        sender: DEVELOPER,
        variables: &[
            ("LOCKSTEP_GROUP_FILE", group_file.display().to_string()),
            ("LOCKSTEP_DEPLOY_OUT", out.display().to_string()),
        ],
        timeout: Duration::from_secs(300),
    };
    run_forge_script(&script).await?;
    let deployed: serde_json::Value = serde_json::from_slice(&std::fs::read(&out)?)?;
    let contract = deployed["contract"].as_str().context("a contract")?.parse()?;
    let expected = ExpectedChain {
        chain_id: CHAIN_ID,
        contract,
        group_id: GROUP_ID,
        instance: INSTANCE,
        group_key: key,
        recovery: Some(Recovery { address: DEVELOPER, silence_days: 90 }),
    };
    check_chain(&provider(&anvil.url())?, &anvil.url(), &expected).await?;
    Ok(())
}
