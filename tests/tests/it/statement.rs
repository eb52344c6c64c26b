//! `lockstep statement` as a user runs it, against the embedded ledger.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lockstep::devnet::users;
use lockstep::keys::{self, DealMember, DealTerms, MemberKeys, PublicKeys};
use lockstep::ledger::wire::Hex32;
use lockstep::ledger::{Payment, pay};
use lockstep_core::{AssetId, Mix, Uuid};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::binary::lockstep_binary;
use crate::ledger_rules::bench::{BTC, Bench, User, XIN};

const PATIENCE: Duration = Duration::from_secs(60);

/// A user's shell: the ledger, a group file and keystores in a folder.
struct Shell {
    bench: Bench,
    folder: tempfile::TempDir,
}

impl Shell {
    /// With a group of four that nobody runs: the file gives symbols, and an address to pay.
    async fn start(users: &[(&str, &User)], bench: Bench) -> Result<(Self, Mix)> {
        let folder = tempfile::tempdir()?;
        for (name, user) in users {
            users::save(folder.path(), name, user.api.keystore())?;
        }
        let mut members = Vec::new();
        for n in 11..=14_u8 {
            let keystore = bench.user(n).await.api.keystore().clone();
            let own = MemberKeys::generate("member", Some(keystore), &mut keys::system_entropy)?;
            let keys = PublicKeys { name: format!("m{n}"), ..own.public() };
            members.push(DealMember { keys, peer: format!("http://127.0.0.1:{n}") });
        }
        let terms = DealTerms { threshold: None, chains: vec![31_337], fee_asset: XIN, fee_amount: "1".parse()? };
        let dealt = keys::deal(&members, &terms, &mut keys::system_entropy)?.file;
        std::fs::write(folder.path().join("group.toml"), toml::to_string(&dealt)?)?;
        let group = lockstep_core::group::Group::parse(&dealt)?.mix();
        Ok((Self { bench, folder }, group))
    }

    async fn run(&self, user: &str, flags: &[&str]) -> Result<(Option<i32>, String, String)> {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(lockstep_binary()?);
        command
            .arg("statement")
            .arg("--user")
            .arg(path(&format!("{user}.json")))
            .arg("--group")
            .arg(path("group.toml"));
        command.arg("--ledger").arg(format!("http://{}", self.bench.running.api)).args(flags).kill_on_drop(true);
        let ended = tokio::time::timeout(PATIENCE, command.output()).await.context("it runs on")??;
        Ok((ended.status.code(), String::from_utf8(ended.stdout)?, String::from_utf8(ended.stderr)?))
    }

    async fn rows(&self, user: &str, flags: &[&str]) -> Result<Vec<Value>> {
        let (code, said, error) = self.run(user, flags).await?;
        ensure!(code == Some(0), "{code:?}: {error}");
        Ok(serde_json::from_str(&said)?)
    }
}

fn payment(receivers: Mix, asset: Uuid, amount: &str) -> Result<Payment> {
    let (asset, amount) = (AssetId::from_uuid(asset), amount.parse()?);
    Ok(Payment { receivers, asset, amount, extra: b"hi".to_vec(), references: Vec::new(), trace: Uuid::new_v4() })
}

fn amounts(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row["symbol"].as_str().unwrap_or("?"), row["amount"].as_str().unwrap_or("?"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_should_see_what_was_paid_and_got() -> Result<()> {
    let bench = Bench::start(Duration::ZERO).await;
    let [alice, bob] = bench.users().await;
    bench.coin(XIN, "10", &[&alice], 1).await;
    let collectible = bench.coin(BTC, "3", &[&alice], 1).await;
    bench.operator.inscribe(collectible.output_id, Hex32([7; 32])).await?;
    let (shell, group) = Shell::start(&[("alice", &alice), ("bob", &bob)], bench).await?;
    let to_bob = payment(Mix::of_users([bob.id()], 1), XIN, "1.5")?;
    let paid = pay(&alice.api, &to_bob, PATIENCE).await?;
    let to_group = payment(group, XIN, "2")?;
    pay(&alice.api, &to_group, PATIENCE).await?;

    let all = shell.rows("alice", &[]).await?;
    let newest_first = [("XIN", "-2.00000000"), ("XIN", "-1.50000000"), ("BTC", "3.00000000"), ("XIN", "10.00000000")];
    assert_eq!(amounts(&all), newest_first);
    assert_eq!((&all[0]["opponent_id"], &all[0]["request_id"]), (&Value::Null, &json!(to_group.trace)));
    assert_eq!((&all[1]["opponent_id"], &all[1]["memo"]), (&json!(bob.id()), &json!("6869")));
    assert_eq!(all[1]["transaction_hash"], hex::encode(paid.transaction));
    assert_eq!((&all[2]["inscription_hash"], &all[1]["inscription_hash"]), (&json!("07".repeat(32)), &Value::Null));
    assert!(all[3]["deposit"]["deposit_hash"].is_string() && all[1].get("deposit").is_none());

    // Page by page, by asset, by the other side, by id.
    let mut pages = shell.rows("alice", &["--limit", "3"]).await?;
    let last = pages[2]["created_at"].as_str().context("a time")?.to_owned();
    pages.extend(shell.rows("alice", &["--limit", "3", "--before", &last]).await?);
    assert_eq!(pages, all);
    assert_eq!(shell.rows("alice", &["--asset", &BTC.to_string()]).await?, all[2..3]);
    let with_bob = bob.id().to_string();
    assert_eq!(shell.rows("alice", &["--with", &with_bob]).await?, all[1..2]);
    let id = all[1]["snapshot_id"].as_str().context("an id")?;
    assert_eq!(shell.rows("alice", &["--snapshot", id]).await?, all[1..2]);

    let received = shell.rows("bob", &[]).await?;
    assert_eq!(amounts(&received), [("XIN", "1.50000000")]);
    assert_eq!(received[0]["opponent_id"], json!(alice.id()));
    for (flags, said) in [
        (["--snapshot", id].as_slice(), "refused with code 404: snapshot not found"),
        (["--asset", "nothing"].as_slice(), "no symbol of the group file"),
        (["--limit", "501"].as_slice(), "501 is not in 1..=500"),
        (["--before", "yesterday"].as_slice(), "time `yesterday`"),
    ] {
        let (code, out, error) = shell.run("bob", flags).await?;
        assert!(code == Some(1) && out.is_empty() && error.contains(said), "{code:?} {out} {error}");
    }
    Ok(())
}
