//! What keeps a member's keys from signing twice and from being seen: real processes, paused, doubled, restored and aborted.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use lockstep::config::read_group;
use lockstep::keys::{Floor, KEY_FILE, Keyring, Source};
use lockstep::store::Store;
use lockstep_core::Uuid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::btc;
use super::secrets::{Secret, find, secrets_of, secrets_of_payout, secrets_of_user};
use super::town::{PATIENCE, Place, Plan, Temper, Town, until};
use crate::binary::lockstep_binary;

/// Members of the network, from 0.
const DOUBLED: usize = 0;
const RESTORED: usize = 1;
const GONE: usize = 2;
const ABORTED: usize = 3;
const REASON: &str = "the disk died and this is the newest backup";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_should_sign_once_and_tell_nobody_their_keys() -> Result<()> {
    let mut town = Box::pin(Town::start()).await?;
    let mut secrets = member_secrets(&town)?;
    secrets.push(Secret::token());
    secrets.extend(town.network.users.iter().flat_map(|(name, keystore)| secrets_of_user(name, keystore)));
    // From here on members log all they can.
    for member in &mut town.network.members {
        member.kill().await?;
        let text = std::fs::read_to_string(member.config())?;
        std::fs::write(member.config(), format!("{text}\n[log]\nfilter = \"trace\"\n"))?;
    }
    for member in &mut town.network.members {
        member.restart(PATIENCE).await?;
    }
    let [place] = town.settle([Plan::new(Temper::Keeps)]).await?;
    let mut said = Vec::new();
    a_second_process_should_say_who_is_first(&town, &mut said).await?;
    a_paused_process_should_not_come_back(&mut town, place, &mut said).await?;
    a_restored_database_should_sign_nothing_until_told(&mut town, place, &mut said).await?;
    a_restored_folder_should_sign_nothing_until_told(&mut town, place, &mut said).await?;
    a_payout_should_use_all_keys(&town, place).await?;
    said.extend(errors(&town).await?);
    said.extend(answers(&town).await?);
    an_aborted_member_should_leave_no_core(&mut town).await?;
    let seeds = seeds(&town).await?;
    nothing_written_or_said_should_hold_a_secret(&town, &secrets, &seeds, said)?;
    town.network.members[ABORTED].restart(PATIENCE).await?;
    town.network.stop().await
}

fn folder(town: &Town, member: usize) -> PathBuf {
    town.network.folder.join(format!("member-{}", member + 1))
}

/// What must be seen nowhere.
fn member_secrets(town: &Town) -> Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    for member in 0..town.network.members.len() {
        let keys = folder(town, member).join("keys");
        let passphrase = Source { file: Some(keys.join("passphrase")), ..Source::default() }.read()?;
        let ring = Keyring::open(&keys.join(KEY_FILE), &passphrase, Floor::Development)?;
        secrets.extend(secrets_of(&ring.keys(), &passphrase));
    }
    Ok(secrets)
}

/// What the keys of payouts were made from, as the members' databases have it.
async fn seeds(town: &Town) -> Result<Vec<Secret>> {
    let group = read_group(&town.network.folder.join("group.toml"))?;
    let key = group.roster().key().key().compress();
    let mut seeds = Vec::new();
    for member in 0..town.network.members.len() {
        let home = folder(town, member);
        let log = std::fs::read_to_string(home.join("member.log"))?;
        let built = log.lines().filter(|line| line.contains("payout built"));
        let ids: BTreeSet<Uuid> =
            built.filter_map(|line| line.split_once(" payout=")?.1.split_whitespace().next()?.parse().ok()).collect();
        let store = Store::open_unclaimed(&home.join("lockstep.db")).await?;
        for id in ids {
            if let Some(signature) = store.seed((id, 0), &key).await? {
                seeds.extend(secrets_of_payout(id, &signature));
            }
        }
        store.close().await;
    }
    ensure!(!seeds.is_empty(), "no member made a payout's seed");
    Ok(seeds)
}

/// Runs the binary to its end.
async fn lockstep(arguments: &[&str], config: &Path) -> Result<Output> {
    let mut command = Command::new(lockstep_binary()?);
    command.args(arguments).arg("--config").arg(config).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.context("it runs on")?.context("it does not run")
}

fn last_line(said: &Output) -> String {
    String::from_utf8_lossy(&said.stderr).lines().last().unwrap_or_default().to_owned()
}

async fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("sh").args(["-c", "kill -\"$2\" \"$1\"", "sh", &pid.to_string(), name]).status().await?;
    ensure!(sent.success(), "cannot send {name}");
    Ok(())
}

/// Ports of its own, or the second process would fail for the first one's.
const OTHER_PORTS: [&str; 4] = ["--set", "listen.peer=127.0.0.1:0", "--set", "listen.api=127.0.0.1:0"];

async fn a_second_process_should_say_who_is_first(town: &Town, said: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let first = &town.network.members[DOUBLED];
    let pid = first.pid().context("it runs")?;
    for ports in [&OTHER_PORTS[..], &[]] {
        let second = lockstep(&[&["run"], ports].concat(), first.config()).await?;
        let line = last_line(&second);
        assert_eq!(second.status.code(), Some(75), "{line}");
        assert!(line.contains(&format!("this member runs already: process {pid} on ")), "{line}");
        said.push(("a second process".into(), second.stderr));
    }
    Ok(())
}

/// The first is stopped in its tracks, another takes its place, and the first wakes up.
async fn a_paused_process_should_not_come_back(
    town: &mut Town,
    place: Place,
    said: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let (config, first) = {
        let member = &town.network.members[DOUBLED];
        (member.config().to_path_buf(), member.pid().context("it runs")?)
    };
    signal(first, "STOP").await?;
    let mut second = Command::new(lockstep_binary()?);
    second.arg("run").args(OTHER_PORTS).arg("--config").arg(&config).kill_on_drop(true);
    let log = folder(town, DOUBLED).join("second.log");
    // It is refused until the first was silent for long enough.
    let mut running = until_started(&mut second, &log, first).await?;
    town.call(&town.alice, place, btc(1), b"with the second").await?;
    let arrived = async || Ok(town.payloads(place).await?.contains(&b"with the second".to_vec()));
    until("a message while the first is paused", arrived, |arrived| *arrived).await?;

    signal(first, "CONT").await?;
    let member = &mut town.network.members[DOUBLED];
    let status = tokio::time::timeout(PATIENCE, member.wait()).await.context("the first goes on")??;
    let words = std::fs::read_to_string(folder(town, DOUBLED).join("member.log"))?;
    let line = words.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(75), "{line}");
    assert!(line.contains("took this member's lease") && line.contains("nothing is written, and it stops"), "{line}");
    assert!(running.try_wait()?.is_none(), "the second goes on");
    signal(running.id().context("it runs")?, "TERM").await?;
    let status = tokio::time::timeout(PATIENCE, running.wait()).await.context("it does not stop")??;
    assert!(status.success(), "{status}");
    said.push(("the second process".into(), std::fs::read(log)?));
    town.network.members[DOUBLED].restart(PATIENCE).await
}

/// Starts it again and again until it is let. A first that was stopped in the middle of a transaction keeps the database's write
/// lock, and is stopped once more.
async fn until_started(command: &mut Command, log: &Path, first: u32) -> Result<tokio::process::Child> {
    let begun = std::time::Instant::now();
    loop {
        let file = std::fs::File::create(log)?;
        let mut child = command.stdin(std::process::Stdio::null()).stderr(file).spawn()?;
        loop {
            if let Some(status) = child.try_wait()? {
                let words = std::fs::read_to_string(log)?;
                ensure!(status.code() == Some(75) && begun.elapsed() < PATIENCE, "{status}: {words}");
                if words.contains("keeps the write lock of its database") {
                    signal(first, "CONT").await?;
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    signal(first, "STOP").await?;
                }
                break;
            }
            if std::fs::read_to_string(log)?.contains("others have said how far they saw this member") {
                return Ok(child);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

/// A backup of its database comes back, and it has signed since.
async fn a_restored_database_should_sign_nothing_until_told(
    town: &mut Town,
    place: Place,
    said: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let database = folder(town, RESTORED).join("lockstep.db");
    let config = town.network.members[RESTORED].config().to_path_buf();
    stop(town, RESTORED).await?;
    let backup = std::fs::read(&database)?;
    town.network.members[RESTORED].restart(PATIENCE).await?;
    // Without a third one, nothing is signed but with it.
    town.network.members[GONE].kill().await?;
    deliver(town, place, b"after the backup").await?;
    stop(town, RESTORED).await?;
    std::fs::write(&database, backup)?;

    for _ in 0..2 {
        let refused = lockstep(&["run"], &config).await?;
        let line = last_line(&refused);
        assert_eq!(refused.status.code(), Some(70), "{line}");
        for words in ["older than what this member has signed: it lacks", "checkpoint", "the guard log"] {
            assert!(line.contains(words), "{line}");
        }
        said.push(("a restored member".into(), refused.stderr));
    }
    let short = lockstep(&["keys", "accept-restore", "--reason", "well"], &config).await?;
    assert_eq!(short.status.code(), Some(64), "{}", last_line(&short));
    town.network.members[RESTORED].accept_restore(REASON).await?;
    let again = lockstep(&["keys", "accept-restore", "--reason", REASON], &config).await?;
    assert!(last_line(&again).contains("nothing to accept"), "{}", last_line(&again));
    town.network.members[RESTORED].restart(PATIENCE).await?;
    deliver(town, place, b"after the restore").await?;
    town.network.members[GONE].restart(PATIENCE).await
}

/// A message that t members must sign.
async fn deliver(town: &Town, place: Place, payload: &[u8]) -> Result<()> {
    town.call(&town.alice, place, btc(1), payload).await?;
    let arrived = async || Ok(town.payloads(place).await?.contains(&payload.to_vec()));
    until("a message", arrived, |arrived| *arrived).await?;
    Ok(())
}

/// Stops it in order, so that its database is one file.
async fn stop(town: &mut Town, member: usize) -> Result<()> {
    let member = &mut town.network.members[member];
    signal(member.pid().context("it runs")?, "TERM").await?;
    let status = tokio::time::timeout(PATIENCE, member.wait()).await.context("it does not stop")??;
    ensure!(status.success(), "it stopped with {status}");
    Ok(())
}

/// How far a member saw the promises of another one.
async fn seen_of(witness: &Path, other: &Path) -> Result<u64> {
    let identity = Keyring::peek(&other.join("keys").join(KEY_FILE))?.identity;
    let store = Store::open_unclaimed(&witness.join("lockstep.db")).await?;
    let heads = store.heads_seen().await;
    store.close().await;
    let head = heads?.into_iter().find(|head| hex::encode(head.identity) == identity);
    Ok(head.map_or(0, |head| head.reach.count))
}

/// A backup of the whole folder comes back, guard log included. Only the others know better.
async fn a_restored_folder_should_sign_nothing_until_told(
    town: &mut Town,
    place: Place,
    said: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let (home, config) = (folder(town, RESTORED), town.network.members[RESTORED].config().to_path_buf());
    let (database, guards) = (home.join("lockstep.db"), home.join("lockstep.guards.log"));
    stop(town, RESTORED).await?;
    let backup = (std::fs::read(&database)?, std::fs::read(&guards)?);
    town.network.members[RESTORED].restart(PATIENCE).await?;
    town.network.members[GONE].kill().await?;
    deliver(town, place, b"after the whole backup").await?;
    // Both others have seen it when they have said so: each asks each other every few seconds.
    let count = std::fs::read_to_string(&guards)?.lines().last().and_then(|line| line.split(' ').next()?.parse().ok());
    let count: u64 = count.context("a promise")?;
    for witness in [DOUBLED, ABORTED] {
        let seen = async || seen_of(&folder(town, witness), &folder(town, RESTORED)).await;
        until("a witness", seen, |seen| *seen >= count).await?;
    }
    stop(town, RESTORED).await?;
    std::fs::write(&database, backup.0)?;
    std::fs::write(&guards, backup.1)?;

    let refused = lockstep(&["run"], &config).await?;
    let line = last_line(&refused);
    assert_eq!(refused.status.code(), Some(70), "{line}");
    for words in ["older than what this member has signed: it lacks the promises", "peers have seen", "accept-restore"]
    {
        assert!(line.contains(words), "{line}");
    }
    said.push(("a member restored as a whole".into(), refused.stderr));
    town.network.members[RESTORED].accept_restore(REASON).await?;
    town.network.members[RESTORED].restart(PATIENCE).await?;
    deliver(town, place, b"after the whole restore").await?;
    town.network.members[GONE].restart(PATIENCE).await
}

async fn an_aborted_member_should_leave_no_core(town: &mut Town) -> Result<()> {
    let member = &mut town.network.members[ABORTED];
    let pid = member.pid().context("it runs")?;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("a limit")?;
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What a process that may not be dumped holds belongs to root, whoever runs it: nobody else can open its memory.
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}/environ"))?);
    assert_eq!(owner, 0);
    let before = files(&folder(town, ABORTED))?;
    signal(pid, "ABRT").await?;
    let status = tokio::time::timeout(PATIENCE, town.network.members[ABORTED].wait()).await.context("it lives")??;
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    assert_eq!(files(&folder(town, ABORTED))?, before, "nothing new");
    Ok(())
}

/// All files but those that are there to hold secrets.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match (path.is_dir(), name) {
                (true, "keys" | "users") => {}
                (true, _) => folders.push(path),
                (false, _) => files.push(path),
            }
        }
    }
    Ok(files)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.path());
    }
    names.sort();
    Ok(names)
}

/// The group pays alice, whom it knows, so that the ledger keys of members have signed something.
async fn a_payout_should_use_all_keys(town: &Town, place: Place) -> Result<()> {
    let had = town.balance(&town.alice).await?;
    town.pay_out(place, btc(1), &town.alice, Vec::new()).await?;
    until("the payout", async || town.balance(&town.alice).await, |has| *has > had).await?;
    Ok(())
}

/// What commands say that are given the wrong thing, and what users' commands say.
async fn errors(town: &Town) -> Result<Vec<(String, Vec<u8>)>> {
    let (home, users) = (folder(town, GONE), town.network.folder.join("users"));
    let keys = home.join("keys").join(KEY_FILE).display().to_string();
    let (right, wrong) = (home.join("keys/passphrase").display().to_string(), folder(town, RESTORED));
    let wrong = wrong.join("keys/passphrase").display().to_string();
    let broken = town.network.folder.join("broken.keys");
    let mut bytes = std::fs::read(&keys)?;
    bytes.iter_mut().skip(400).step_by(17).for_each(|byte| *byte ^= 1);
    std::fs::write(&broken, bytes)?;
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o600))?;
    let (broken, alice) = (broken.display().to_string(), users.join("alice.json").display().to_string());
    let group = town.network.group_path.display().to_string();
    let show = |keys: &str, passphrase: &str| {
        ["keys", "show", "--development", "--keys", keys, "--passphrase-file", passphrase].map(str::to_owned).to_vec()
    };
    let ledger = town.network.ledger_url();
    let balance = |user: &str, group: &str, asset: &str| {
        let of = ["balance", "--ledger", &ledger, "--user", user, "--group", group, "--asset", asset];
        of.map(str::to_owned).to_vec()
    };
    // Right, and with secrets where something else is wanted.
    let commands = [
        (true, show(&keys, &right)),
        (false, show(&keys, &wrong)),
        (false, show(&broken, &right)),
        (false, show(&right, &right)),
        (false, show(&alice, &right)),
        (false, show(&keys, &alice)),
        (true, balance(&alice, &group, "BTC")),
        (false, balance(&alice, &group, "nothing")),
        (false, balance(&alice, &alice, "BTC")),
        (false, balance(&alice, &keys, "BTC")),
        (false, balance(&right, &group, "BTC")),
    ];
    let mut said = Vec::new();
    for (is_right, arguments) in commands {
        let mut command = Command::new(lockstep_binary()?);
        let output = command.args(&arguments).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").output().await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() == is_right, "{arguments:?}: {}: {error}", output.status);
        said.push((format!("output of {}", arguments.join(" ")), [output.stdout, output.stderr].concat()));
    }
    Ok(said)
}

/// What the members answer to anybody, to the byte.
async fn answers(town: &Town) -> Result<Vec<(String, Vec<u8>)>> {
    let mut said = Vec::new();
    for member in &town.network.members {
        for (place, path) in [
            (member.api(), "/status"),
            (member.api(), "/healthz"),
            (member.api(), "/nothing"),
            (member.peer(), "/v1/peer/status"),
            (member.peer(), "/v1/peer/ceremony"),
        ] {
            let mut stream = TcpStream::connect(place).await?;
            let ask = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
            stream.write_all(ask.as_bytes()).await?;
            let mut answer = Vec::new();
            tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("no end")??;
            said.push((format!("answer of member {} to {path}", member.index()), answer));
        }
    }
    Ok(said)
}

/// Every byte of every database, log and file of the network, what was printed and answered; all but the files that are there
/// to hold secrets.
fn nothing_written_or_said_should_hold_a_secret(
    town: &Town,
    secrets: &[Secret],
    seeds: &[Secret],
    said: Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let mut texts = said;
    for path in files_below(&town.network.folder)? {
        texts.push((path.display().to_string(), std::fs::read(&path)?));
    }
    let names: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.len())).collect();
    for part in [
        "lockstep.db",
        "lockstep.db-wal",
        "member.log",
        "lockstep.guards.log",
        "group.toml",
        "second process",
        "answer of member 4 to /status",
        "answer of member 4 to /healthz",
        "answer of member 4 to /v1/peer/status",
        "output of keys show",
        "output of balance",
    ] {
        assert!(names.iter().any(|(name, length)| name.contains(part) && *length > 0), "{part} is not in {names:?}");
    }
    let logs = texts.iter().filter(|(name, _)| name.ends_with("member.log"));
    let traced = logs.filter(|(_, text)| String::from_utf8_lossy(text).contains("TRACE")).count();
    assert_eq!(traced, town.network.members.len(), "all members log all they can");
    // The search finds what is there: each key file opens to its secrets, and each user's file shows them.
    let alice = std::fs::read(town.network.folder.join("users/alice.json"))?;
    assert_eq!(find(&alice, secrets).len(), 2, "a session seed and a spend seed");
    for (name, text) in &texts {
        let mut found: Vec<_> = find(text, secrets);
        // What the keys of payouts are made from is a row of each member, and nothing else.
        if !name.contains("lockstep.db") {
            found.extend(find(text, seeds));
        }
        assert!(found.is_empty(), "{name} ({} bytes) holds {found:?}", text.len());
    }
    Ok(())
}
