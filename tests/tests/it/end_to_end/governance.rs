//! Operators at their terminals: what three of four approve happens, from the command line to contract and ledger.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use lockstep::config::roster_path;
use lockstep::devnet::home::Home;
use lockstep::devnet::network::CHAIN;
use lockstep::keys::{KEY_FILE, Keyring, XIN};
use lockstep_core::govern::Subject;
use lockstep_core::mixin::ids::output_id;
use lockstep_core::operation::{DecisionBody, Memo, MemoKind, MemoRules, Operation, purpose};
use lockstep_core::output::CoinId;
use lockstep_core::{Amount, AssetId, Mix, Uuid};
use serde_json::{Value, json};
use tokio::process::Command;

use super::btc;
use super::town::{Place, Plan, Temper, Town, until};
use crate::binary::lockstep_binary;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_approve_should_happen_and_nothing_else() -> Result<()> {
    let town = Box::pin(Town::start()).await?;
    let [place, failing] = town.settle([Plan::new(Temper::Keeps), Plan::new(Temper::Reverts)]).await?;
    a_switch_to_people_without_shares_should_not_be_approved(&town).await?;
    what_nobody_could_mean_should_not_be_proposed(&town).await?;
    a_payout_above_a_cap_should_wait(&town, place).await?;
    a_halt_should_hold_payments_until_it_resumes(&town, place).await?;
    a_refused_recipient_should_give_the_payout_back(&town, place).await?;
    a_contract_should_take_names_and_limits(&town).await?;
    a_minimum_should_act_from_its_decision_on(&town, place).await?;
    a_process_should_be_governed_as_decided(&town, failing).await?;
    an_unclaimed_coin_should_be_released_once(&town).await?;
    members_that_stopped_themselves_should_sign_nothing(&town, place).await?;
    a_fresh_key_should_take_the_place_of_the_old_one(&town, place).await?;
    town.network.stop().await
}

/// What a command printed, and its exit code.
struct Said {
    text: String,
    error: String,
    code: Option<i32>,
}

/// Runs `lockstep` as the operator of a member.
async fn operator(town: &Town, member: usize, arguments: &[&str]) -> Result<Said> {
    let config = town.network.folder.join(format!("member-{member}")).join("member.toml");
    let output = Command::new(lockstep_binary()?)
        .args(arguments)
        .arg("--config")
        .arg(&config)
        .current_dir(&town.network.folder)
        .output()
        .await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { text: text(output.stdout), error: text(output.stderr), code: output.status.code() })
}

async fn done(town: &Town, member: usize, arguments: &[&str]) -> Result<String> {
    let said = operator(town, member, arguments).await?;
    ensure!(said.code == Some(0), "{arguments:?}: {:?} {}", said.code, said.error);
    Ok(said.text)
}

/// Member 1 proposes; the file and the digest. Which member is said behind the kind here, and before the verb elsewhere.
async fn proposed(town: &Town, name: &str, what: &[&str]) -> Result<(PathBuf, String)> {
    let path = town.network.folder.join(format!("{name}.json"));
    let out = path.to_string_lossy().into_owned();
    done(town, 1, &[&["govern", "propose"], what, &["--out", &out]].concat()).await?;
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    let digest = file["digest"].as_str().context("a digest")?.to_owned();
    Ok((path, digest))
}

async fn row(town: &Town, member: usize, digest: &str) -> Result<Option<Value>> {
    let mut listed: Value = serde_json::from_str(&done(town, member, &["govern", "list", "--json"]).await?)?;
    ensure!((&listed["turnover"], &listed["turnover_max"]) == (&0.into(), &2.into()), "nobody has left: {listed}");
    let rows = listed["proposals"].as_array_mut().context("proposals")?;
    Ok(rows.iter_mut().find(|row| row["digest"] == digest).map(Value::take))
}

/// Three operators approve: two by the file, one by what its own service saw of the others. Then anybody submits.
async fn approved(town: &Town, path: &Path, digest: &str) -> Result<()> {
    let file = path.to_string_lossy();
    let unasked = operator(town, 1, &["govern", "approve", &file]).await?;
    ensure!(unasked.code == Some(1), "nobody was asked: {}", unasked.text);
    for member in [1, 2] {
        done(town, member, &["govern", "approve", &file, "--yes"]).await?;
    }
    until("the proposal to be seen by others", async || row(town, 3, digest).await, Option::is_some).await?;
    let early = operator(town, 1, &["govern", "submit", digest, "--wait", "0"]).await?;
    ensure!(early.code == Some(75), "two of four are too few: {} {}", early.text, early.error);
    done(town, 3, &["govern", "approve", digest, "--yes"]).await?;
    Ok(())
}

async fn submitted(town: &Town, digest: &str) -> Result<()> {
    done(town, 3, &["govern", "submit", digest]).await?;
    let acted = |row: &Option<Value>| row.as_ref().is_some_and(|row| row["state"] == "acted");
    until("it to have acted", async || row(town, 1, digest).await, acted).await?;
    Ok(())
}

/// Proposes, has it approved by three, and submits.
pub(super) async fn govern(town: &Town, name: &str, what: &[&str]) -> Result<()> {
    let (path, digest) = proposed(town, name, what).await?;
    let file = path.to_string_lossy();
    for member in [1, 2, 3] {
        done(town, member, &["govern", "approve", &file, "--yes"]).await?;
    }
    submitted(town, &digest).await
}

/// The switch itself would be well-formed, and is signed for by nobody who knows of no ceremony.
async fn a_switch_to_people_without_shares_should_not_be_approved(town: &Town) -> Result<()> {
    let group = Mix::of_users((0..64).map(|user| Uuid::from_u128(0xabc0 + user)), 43);
    let subject =
        Subject::Decision { group_id: town.network.group.id(), number: 99, body: DecisionBody::Switch { group } };
    let path = town.network.folder.join("switch.json");
    let file = json!({ "says": [], "digest": subject.digest()?, "proposal": subject });
    std::fs::write(&path, serde_json::to_string(&file)?)?;
    let refused = operator(town, 2, &["govern", "approve", &path.to_string_lossy(), "--yes"]).await?;
    assert_eq!(refused.code, Some(2), "{}", refused.error);
    assert!(refused.error.contains("no ceremony is known here"), "{}", refused.error);
    Ok(())
}

/// Refused where it is proposed, so that nobody is asked for it.
async fn what_nobody_could_mean_should_not_be_proposed(town: &Town) -> Result<()> {
    let chain = CHAIN.to_string();
    let process = Uuid::from_u128(1).to_string();
    let genesis = town.network.group_path.to_string_lossy();
    let limits = |payout, hour| {
        ["limits", "--chain", &chain, "--asset", "BTC", "--payout", payout, "--hour", hour, "--day", "9"]
    };
    let cases: [(&[&str], &str); 9] = [
        (&limits("2", "1"), "a cap per payout is at most that per hour"),
        (&["bounce", "--chain", "5", "--outbound", "0"], "chain 5 is not in the group file"),
        (&["halt", "--chain", "5"], "chain 5 is not in the group file"),
        (&["minimum", "--asset", "BTC", "--minimum", "0.1", "--floor", "0.2"], "above the minimum"),
        (&["minimum", "--asset", "DOGE", "--minimum", "1", "--floor", "1"], "DOGE"),
        (&["policy", "--process", &process, "--policy", "loose"], "`loose` is neither refund, park nor strict"),
        (&["asset-name", "--chain", &chain, "--asset", "BTC", "--name", "", "--symbol", "BTC"], "the name has 0 bytes"),
        (&["repay", "--chain", &chain, "--tip-wei", "1", "--gas-per-byte", "1001"], "1001 gas for one byte"),
        (&["switch", "--roster", &genesis], "group.toml"),
    ];
    for (what, reason) in cases {
        let said = operator(town, 1, &[&["govern", "propose", "--out", "never.json"], what].concat()).await?;
        assert!(said.code.is_some_and(|code| code != 0) && said.error.contains(reason), "{what:?}: {}", said.error);
        assert!(!town.network.folder.join("never.json").exists(), "{what:?}");
    }
    // A file that was changed on its way names another digest than that of what it proposes.
    let (path, _) = proposed(town, "changed", &["close", "--process", &process]).await?;
    let text = std::fs::read_to_string(&path)?.replace("\"number\": 1", "\"number\": 2");
    std::fs::write(&path, text)?;
    let refused = operator(town, 2, &["govern", "approve", &path.to_string_lossy(), "--yes"]).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.error);
    assert!(refused.error.contains("but what it proposes has"), "{}", refused.error);
    Ok(())
}

/// One payout keeps within the cap and is paid; the next waits in escrow for an hour, or for people.
async fn a_payout_above_a_cap_should_wait(town: &Town, place: Place) -> Result<()> {
    let chain = CHAIN.to_string();
    town.call(&town.alice, place, btc(30), b"money").await?;
    until("a message", async || town.payloads(place).await, |found| found.len() == 1).await?;
    let caps = ["limits", "--chain", &chain, "--asset", "BTC", "--payout", "0.05", "--hour", "0.5", "--day", "1"];
    govern(town, "limits", &caps).await?;
    // What the contract accepted last must lie behind the decision: caps are those of that place in the order.
    town.call(&town.alice, place, btc(1), b"behind it").await?;
    until("a message", async || town.payloads(place).await, |found| found.len() == 2).await?;
    let had = town.balance(&town.alice).await?;
    town.pay_out(place, btc(20), &town.alice, Vec::new()).await?;
    town.pay_out(place, btc(5), &town.alice, Vec::new()).await?;
    let expected = had.checked_add(btc(5)).context("money")?;
    until("the payout within the cap", async || town.balance(&town.alice).await, |found| *found == expected).await?;
    assert_eq!(town.custody(place).await?, btc(6), "both are debited");
    Ok(())
}

async fn halted(town: &Town, expected: bool) -> Result<()> {
    for member in &town.network.members {
        let look = async || Ok(member.status().await?.contracts.get(&CHAIN).map(|contract| contract.halted));
        until("a member to see the contract's state", look, |found| *found == Some(expected)).await?;
    }
    Ok(())
}

async fn a_halt_should_hold_payments_until_it_resumes(town: &Town, place: Place) -> Result<()> {
    let chain = CHAIN.to_string();
    let (path, digest) = proposed(town, "halt", &["halt", "--chain", &chain]).await?;
    approved(town, &path, &digest).await?;
    submitted(town, &digest).await?;
    halted(town, true).await?;
    let seen = town.payloads(place).await?.len();
    town.call(&town.alice, place, btc(2), b"while halted").await?;
    the_ledgers_side_should_go_on(town).await?;

    let (path, digest) = proposed(town, "resume", &["resume", "--chain", &chain]).await?;
    let (other, taken) = proposed(town, "again", &["halt", "--chain", &chain]).await?;
    approved(town, &path, &digest).await?;
    let refused = operator(town, 1, &["govern", "approve", &other.to_string_lossy(), "--yes"]).await?;
    assert_eq!(refused.code, Some(2), "another one has the nonce");
    assert!(refused.error.contains(&digest) && refused.error.contains(&taken), "{}", refused.error);
    assert_eq!(town.payloads(place).await?.len(), seen, "all members have the payment, and none delivers it");
    submitted(town, &digest).await?;
    halted(town, false).await?;
    until("what waited", async || town.payloads(place).await, |found| found.len() == seen + 2).await?;
    assert_eq!(town.payloads(place).await?[seen..], [b"while halted".to_vec(), Vec::new()], "and what was turned back");
    assert_eq!(town.custody(place).await?, btc(6 + 2 + 20));
    Ok(())
}

/// While the contract is halted: what is no message is refunded, decisions act, and the payout that waits is turned back.
async fn the_ledgers_side_should_go_on(town: &Town) -> Result<()> {
    let had = town.balance(&town.alice).await?;
    town.network.pay(&town.alice, town.btc, btc(7), b"no operation at all".to_vec()).await?;
    until("a refund", async || town.balance(&town.alice).await, |found| *found == had).await?;
    let chain = CHAIN.to_string();
    govern(town, "bounce", &["bounce", "--chain", &chain, "--outbound", "0"]).await?;
    let back = async || {
        let rows = town.group_outputs().await?;
        Ok(rows
            .iter()
            .any(|row| Operation::from_memo(&row.extra.0).is_ok_and(|(_, found)| found.purpose == purpose::BOUNCE)))
    };
    until("the payout to come back", back, |found| *found).await?;
    town.agreed().await?;
    assert_eq!(town.balance(&town.alice).await?, had, "it was not paid as well");
    Ok(())
}

/// A payout that waits and cannot be made: the process gets it back, once, and may send it elsewhere.
async fn a_refused_recipient_should_give_the_payout_back(town: &Town, place: Place) -> Result<()> {
    let (had, seen) = (town.custody(place).await?, town.payloads(place).await?.len());
    // Of two before, one was paid and one came back.
    town.pay_out(place, btc(8), &town.bob, Vec::new()).await?;
    assert_eq!(town.custody(place).await?, had.checked_sub(btc(8)).context("money")?);
    let chain = CHAIN.to_string();
    govern(town, "refused", &["refused", "--chain", &chain, "--outbound", "2"]).await?;
    until("the payout to come back", async || town.custody(place).await, |found| *found == had).await?;
    assert_eq!(town.payloads(place).await?.len(), seen + 1, "its process is told");
    Ok(())
}

async fn a_contract_should_take_names_and_limits(town: &Town) -> Result<()> {
    let chain = CHAIN.to_string();
    let name = ["asset-name", "--chain", &chain, "--asset", "BTC", "--name", "Bitcoin", "--symbol", "BTC"];
    govern(town, "name", &name).await?;
    assert_eq!(town.asset_name().await?, ("Bitcoin".to_owned(), "BTC".to_owned()));
    govern(town, "repay", &["repay", "--chain", &chain, "--tip-wei", "12345", "--gas-per-byte", "17"]).await?;
    assert_eq!(town.repay_limits().await?, (12_345, 17));
    Ok(())
}

/// The newest decision's memo, exactly as it stands on the ledger.
async fn newest_decision(town: &Town) -> Result<Vec<u8>> {
    let rows = town.outputs_of(AssetId::from_uuid(XIN)).await?;
    let mut decisions = rows
        .into_iter()
        .map(|row| row.extra.0)
        .filter(|extra| matches!(Memo::decode(extra, &MemoRules::default()).kind, MemoKind::Decision(_)));
    decisions.next_back().context("a decision")
}

/// A process that fails: its calls are parked as decided, then it takes only what was decided, then nothing. Each decision is
/// worth nothing a second time. The list of assets is too long for a memo without storage.
async fn a_process_should_be_governed_as_decided(town: &Town, place: Place) -> Result<()> {
    let process = place.process.to_string();
    let had = town.balance(&town.alice).await?;
    town.call(&town.alice, place, btc(3), b"fails").await?;
    until("a refund", async || town.balance(&town.alice).await, |found| *found == had).await?;
    govern(town, "policy", &["policy", "--process", &process, "--policy", "park"]).await?;
    let policy = newest_decision(town).await?;
    town.call(&town.alice, place, btc(3), b"fails again").await?;
    // Behind the registration, the call that was refunded, and the update.
    until("a parked message", async || town.is_parked(place, 3).await, |found| *found).await?;

    let others: Vec<_> = (1..=5).map(|asset| format!("{}=1", Uuid::from_u128(asset))).collect();
    let mut assets = vec!["assets", "--process", &process];
    others.iter().for_each(|one| assets.extend(["--accept", one]));
    govern(town, "assets", &assets).await?;
    assert!(newest_decision(town).await?.len() > 256, "it paid for storage");
    let had = town.balance(&town.alice).await?;
    town.call(&town.alice, place, btc(3), b"not on the list").await?;
    until("a refund", async || town.balance(&town.alice).await, |found| *found == had).await?;

    govern(town, "close", &["close", "--process", &process]).await?;
    until("the process to be closed", async || town.standing(place).await, |standing| *standing == 3).await?;
    town.network.pay(&town.alice, town.btc, btc(4), policy).await?;
    until("the refund of an old decision", async || town.balance(&town.alice).await, |found| *found == had).await?;
    Ok(())
}

async fn a_minimum_should_act_from_its_decision_on(town: &Town, place: Place) -> Result<()> {
    let seen = town.payloads(place).await?.len();
    town.call(&town.alice, place, btc(3), b"enough today").await?;
    until("a message", async || town.payloads(place).await, |found| found.len() == seen + 1).await?;
    let what = ["minimum", "--asset", "BTC", "--minimum", "0.5", "--floor", "0.0001"];
    govern(town, "minimum", &what).await?;
    let had = town.balance(&town.alice).await?;
    town.call(&town.alice, place, btc(3), b"too little tomorrow").await?;
    town.call(&town.alice, place, btc(50), b"enough").await?;
    let kept = had.checked_sub(btc(50)).context("money")?;
    until("the refund", async || town.balance(&town.alice).await, |found| *found == kept).await?;
    until("the message", async || town.payloads(place).await, |found| found.len() == seen + 2).await?;
    assert_eq!(town.payloads(place).await?.last().map(Vec::as_slice), Some(&b"enough"[..]));
    govern(town, "minimum-again", &["minimum", "--asset", "BTC", "--minimum", "0.0001", "--floor", "0.0001"]).await
}

/// What the second member's operator is shown of an unclaimed coin.
async fn unclaimed(town: &Town, output: &str, more: &[&str]) -> Result<Option<Value>> {
    let shown = done(town, 2, &[&["govern", "unclaimed", "--json"], more].concat()).await?;
    let mut shown: Value = serde_json::from_str(&shown)?;
    let coins = shown["coins"].as_array_mut().context("coins")?;
    Ok(coins.iter_mut().find(|coin| coin["output"] == output).map(Value::take))
}

async fn an_unclaimed_coin_should_be_released_once(town: &Town) -> Result<()> {
    let dust = Amount::from_units(1_000);
    let paid = town.network.pay(&town.alice, town.btc, dust, b"not worth a refund".to_vec()).await?;
    let output = output_id(&CoinId { transaction: paid.transaction, index: 0 }).to_string();
    // The operator of a member finds it there, beside the service.
    let coin = until("the coin to be listed", async || unclaimed(town, &output, &[]).await, Option::is_some).await?;
    let coin = coin.context("a coin")?;
    assert_eq!((&coin["amount"], &coin["symbol"]), (&json!("0.00001000"), &json!("BTC")), "{coin}");
    assert_eq!((&coin["state"], &coin["why"]), (&json!("unclaimed"), &json!("is below the refund floor of its asset")));
    assert!(coin["senders"].to_string().contains(&town.alice.user().to_string()), "{coin}");
    let shown = done(town, 2, &["govern", "unclaimed", "--asset", "BTC"]).await?;
    assert!(shown.contains(&output) && shown.contains("1 unclaimed: 0.00001000 of BTC"), "{shown}");
    let other = Uuid::from_u128(1).to_string();
    assert!(done(town, 2, &["govern", "unclaimed", "--asset", &other]).await?.starts_with("nothing is unclaimed"));
    let sum = async || Ok(town.network.members[1].status().await?.unclaimed.sums.get(&town.btc).copied());
    until("the status to have it", sum, |sum| *sum == Some(dust)).await?;

    let had = town.balance(&town.bob).await?;
    let to = town.bob.user().to_string();
    let expected = had.checked_add(dust).context("money")?;
    govern(town, "release", &["release", "--output", &output, "--to", &to]).await?;
    until("the released coin", async || town.balance(&town.bob).await, |found| *found == expected).await?;
    assert!(unclaimed(town, &output, &[]).await?.is_none(), "it is nobody's no more");
    let is_paid = |coin: &Option<Value>| coin.as_ref().is_some_and(|coin| coin["state"] == "paid");
    let coin = until("it to be known as paid", async || unclaimed(town, &output, &["--all"]).await, is_paid).await?;
    assert!(coin.is_some_and(|coin| coin["released_to"].to_string().contains(&to)));
    until("the status to be without it", sum, Option::is_none).await?;
    let somebody = Uuid::from_u128(0x5e).to_string();
    govern(town, "release-again", &["release", "--output", &output, "--to", &somebody]).await?;
    town.agreed().await?;
    assert_eq!(town.balance(&town.bob).await?, expected, "a coin is paid out once");
    Ok(())
}

/// Two of four that stop themselves stop the group; nobody else has to agree.
async fn members_that_stopped_themselves_should_sign_nothing(town: &Town, place: Place) -> Result<()> {
    let seen = town.payloads(place).await?.len();
    let empty = operator(town, 3, &["stop-signing", "--reason", " "]).await?;
    assert_eq!(empty.code, Some(1), "a reason is needed");
    for member in [3, 4] {
        done(town, member, &["stop-signing", "--reason", "a laptop was lost"]).await?;
    }
    let status = town.network.members[3].status().await?;
    assert_eq!(status.signing_stopped.as_deref(), Some("a laptop was lost"));
    town.call(&town.alice, place, btc(4), b"two are too few").await?;
    let newest = town.group_outputs().await?.iter().map(|row| row.sequence).max().context("outputs")?;
    for member in &town.network.members {
        until("a member to apply it", async || Ok(member.status().await?.sequence), |found| *found >= newest).await?;
    }
    assert_eq!(town.payloads(place).await?.len(), seen, "t members are needed");
    done(town, 4, &["resume-signing", "--reason", "it was found, and had never been opened"]).await?;
    until("the message", async || town.payloads(place).await, |found| found.len() == seen + 1).await?;
    assert_eq!(town.network.members[2].status().await?.signing_stopped.as_deref(), Some("a laptop was lost"));
    done(town, 3, &["resume-signing", "--reason", "as well"]).await?;
    // No service went down by what its operator did beside it.
    town.agreed().await.map(drop)
}

/// The same members make a new key. The old one orders it, in the ledger's order and at the contract, and is worth nothing
/// afterwards; what each is still asked for is signed by those who hold it.
async fn a_fresh_key_should_take_the_place_of_the_old_one(town: &Town, place: Place) -> Result<()> {
    let chain = CHAIN.to_string();
    let group = town.network.group_path.to_string_lossy();
    let start = ["ceremony", "start", "--from", &group, "--fresh", "--out", "fresh.toml"];
    let said = Command::new(lockstep_binary()?).args(start).current_dir(&town.network.folder).output().await?;
    ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for member in 1..=town.network.members.len() {
        done(town, member, &["ceremony", "join", "fresh.toml"]).await?;
    }
    let roster = |home: &Home| roster_path(&home.folder, 1);
    for home in &town.network.homes {
        until("a fresh key", async || Ok(roster(home).exists()), |found| *found).await?;
    }
    let fresh = roster(&town.network.homes[0]);
    let file = fresh.to_string_lossy();

    // Ordered with the old key, before anything has changed.
    let (key, decided) = proposed(town, "key", &["key", "--roster", &file]).await?;
    approved(town, &key, &decided).await?;
    until(
        "the old key's signature",
        async || row(town, 3, &decided).await,
        |row| row.as_ref().is_some_and(|row| row["state"] == "signed"),
    )
    .await?;
    govern(town, "same-people", &["switch", "--roster", &file]).await?;
    for member in &town.network.members {
        let look = async || member.status().await;
        until("a member to change over", look, |status| status.generation == 1 && status.role == "active").await?;
    }
    submitted(town, &decided).await?;
    // The contract has the old key still, and who holds it signs for that alone.
    let seen = town.payloads(place).await?.len();
    town.call(&town.alice, place, btc(50), b"for the new key").await?;
    govern(town, "rotate", &["rotate", "--chain", &chain, "--roster", &file]).await?;
    until("a delivery with the new key", async || town.payloads(place).await, |found| found.len() == seen + 1).await?;
    for member in &town.network.members {
        let look = async || Ok(member.status().await?.contracts.get(&CHAIN).map(|contract| contract.key_generation));
        until("a member to see the contract's key", look, |found| *found == Some(1)).await?;
    }
    for home in &town.network.homes {
        let held = async || {
            let keys = Keyring::peek(&home.folder.join("keys").join(KEY_FILE))?;
            Ok(keys.shares.iter().map(|share| share.generation).collect::<Vec<_>>())
        };
        until("the old key's share to be erased", held, |found| *found == [1]).await?;
    }
    // Decisions and actions go on under the new one.
    govern(town, "last", &["minimum", "--asset", "BTC", "--minimum", "0.0002", "--floor", "0.0001"]).await?;
    govern(town, "last-limits", &["repay", "--chain", &chain, "--tip-wei", "7", "--gas-per-byte", "16"]).await?;
    assert_eq!(town.repay_limits().await?, (7, 16));
    // So do payouts: what their keys are made from is signed with it.
    let had = town.balance(&town.alice).await?;
    town.call(&town.alice, place, Amount::from_units(15_000), b"too little for the new minimum").await?;
    town.call(&town.alice, place, btc(50), b"enough").await?;
    let kept = had.checked_sub(btc(50)).context("money")?;
    until("the refund", async || town.balance(&town.alice).await, |found| *found == kept).await?;
    town.agreed().await.map(drop)
}
