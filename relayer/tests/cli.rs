//! The binary as people and scripts meet it: exit codes, one line of error, JSON that can be read.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lockstep::keys::Keyring;
use lockstep_core::bls::{DST, SecretKey};
use serde_json::Value;

/// A transaction of the kernel's own tests, unsigned.
const TX: &str = concat!(
    "77770005b9f49cf777dc4d03bc54cd1367eebca319f8603ea1ce18910d09e2c540c630d80001c513ffcc684e9585c76bd76245aa7d2def3b",
    "9f147422b59ab91db7852c9d97dd000000000000000000010000000405f5e1000001a6c306c3137c2bf4a8bfc95ea5165f7777020916aa36",
    "ee6ec394beb9a1e6a164286d4f092015ea327ba12145edd40ddede1bdd80f777c249128d38176e352a130003fffe01000000000000000974",
    "6573742d6d656d6f0000",
);

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn lockstep_in(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep")).args(arguments).current_dir(folder).output();
    let Output { status, stdout, stderr } = output.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: status.code().expect("it ends by itself"), out: text(stdout), err: text(stderr) }
}

fn lockstep(arguments: &[&str]) -> Said {
    lockstep_in(Path::new("."), arguments)
}

fn must_refuse(arguments: &[&str], code: i32) -> String {
    let said = lockstep(arguments);
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{arguments:?}: {}", said.err);
    assert!(said.err.starts_with("error: ") && said.err.lines().count() == 1, "{arguments:?}: {}", said.err);
    said.err
}

fn json(arguments: &[&str]) -> Value {
    let said = lockstep(arguments);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&said.out).expect("JSON")
}

#[test]
fn malformed_input_should_end_with_1_and_one_line() {
    for what in ["tx", "memo", "address", "amount"] {
        must_refuse(&["inspect", what, ""], 1);
        must_refuse(&["inspect", what, "-1"], 1);
        must_refuse(&["inspect", what, "XIN-zz\u{e4}"], 1);
    }
    must_refuse(&["inspect", "tx", &TX[..TX.len() - 2]], 1);
    must_refuse(&["inspect", "tx", &format!("{TX}00")], 1);
    must_refuse(&["inspect", "amount", "0x000100"], 1);
}

#[test]
fn wrong_usage_should_end_with_1_and_help_with_0() {
    for arguments in
        [&[][..], &["frobnicate"], &["inspect", "tx"], &["inspect", "tx", "00", "11"], &["verify-signature"]]
    {
        assert_eq!(lockstep(arguments).code, 1, "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["ceremony", "start", "--help"], &["inspect", "memo", "--help"]]
    {
        assert_eq!(lockstep(arguments).code, 0, "{arguments:?}");
    }
}

#[test]
fn inspected_things_should_be_shown_as_json() {
    let tx = json(&["inspect", "tx", TX]);
    assert_eq!((&tx["version"], &tx["hex"]), (&5.into(), &TX.into()));
    assert_eq!(json(&["inspect", "tx", &format!("0x{}", TX.to_uppercase())])["hash"], tx["hash"]);
    let amount = json(&["inspect", "amount", "10.000000019"]);
    assert_eq!((&amount["amount"], &amount["floored"]), (&"10.00000001".into(), &true.into()));
    let encoded = amount["encoded"].as_str().expect("hex").to_owned();
    assert_eq!(json(&["inspect", "amount", &format!("0x{encoded}")])["amount"], amount["amount"]);
    let memo = format!("0001{}00000000{}", "11".repeat(16), "0002cafe");
    let shown = json(&["inspect", "memo", &memo]);
    assert_eq!((&shown["purpose"], &shown["extra"]), (&1.into(), &"cafe".into()), "{shown}");
}

#[test]
fn memos_for_wallets_should_say_what_they_are_made_of() {
    let (process, address) = ("405e0689-33ca-574b-9b98-86f6a64fda80", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    must_refuse(&["memo", "encode", "call", "--process", process, "--payload", "0xzz"], 1);
    must_refuse(&["memo", "encode", "register", "--chain", "31337", "--address", address, "--gas", "1"], 1);

    let meaning = |arguments: &[&str]| {
        let memo = json(arguments);
        let text = memo["memo"].as_str().expect("text").to_owned();
        assert_eq!(memo["bytes"], text.len());
        json(&["inspect", "memo", &text])["meaning"].clone()
    };
    let call = meaning(&["memo", "encode", "call", "--process", process, "--payload", "0xcafe"]);
    assert_eq!((&call["kind"], &call["process"], &call["payload"]), (&"call".into(), &process.into(), &"cafe".into()));
    let stored = meaning(&["memo", "encode", "call", "--process", process, "--payload", "0xcafe", "--reference", "3"]);
    assert_eq!((&stored["kind"], &stored["reference"]), (&"stored_call".into(), &3.into()), "{stored}");
    let register = meaning(&[
        "memo",
        "encode",
        "register",
        "--chain",
        "31337",
        "--address",
        address,
        "--gas",
        "70000",
        "--policy",
        "park",
    ]);
    assert_eq!((&register["kind"], &register["gas"]), (&"register".into(), &70_000.into()), "{register}");
    assert_eq!(register["policy"], "park", "{register}");
}

#[test]
fn links_for_wallets_should_name_everything_that_is_paid() {
    let group = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/group.example.toml");
    let call = ["memo", "encode", "call", "--process", "405e0689-33ca-574b-9b98-86f6a64fda80", "--payload", "0x01"];
    let with = |more: &[&'static str]| [&call[..], more].concat();
    must_refuse(&with(&["--group", group]), 1);
    must_refuse(&with(&["--group", group, "--asset", "no such", "--amount", "1"]), 1);
    must_refuse(&with(&["--group", group, "--asset", "BTC", "--amount", "0"]), 1);
    for no_group in [&["--asset", "BTC", "--amount", "1"][..], &["--qr"]] {
        assert_eq!(lockstep(&with(no_group)).code, 1, "{no_group:?}");
    }

    let asset = "c6d0c728-2624-429b-8e0d-d9d19b6592fa";
    let trace = "7c5e9ee0-2a33-43cf-b9b7-0cac2e3b6538";
    let more = ["--group", group, "--asset", asset, "--amount", "0.5", "--trace", trace];
    let shown = json(&with(&more));
    let (memo, receivers) = (shown["memo"].as_str().expect("memo"), shown["receivers"].as_str().expect("address"));
    let link = format!("https://mixin.one/pay/{receivers}?asset={asset}&amount=0.50000000&memo={memo}&trace={trace}");
    assert_eq!(shown["link"], link);
    assert_eq!(json(&["memo", "decode", memo])["meaning"]["kind"], "call");
    assert_eq!(json(&["inspect", "address", receivers])["threshold"], 3, "the example group signs with three");

    let Said { code, out, err } = lockstep(&with(&[&more[..], &["--qr"]].concat()));
    assert_eq!(code, 0, "{err}");
    let rows: Vec<_> = out.lines().collect();
    assert_eq!(rows.last(), Some(&link.as_str()));
    assert!(rows.len() > 20 && rows.iter().any(|row| row.contains('█')), "{out}");

    let address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    let fee = json(&["memo", "encode", "register", "--chain", "31337", "--address", address, "--group", group]);
    assert_eq!(fee["amount"], "0.01000000", "{fee}");
}

#[test]
fn signatures_should_be_valid_invalid_or_malformed() {
    let key = SecretKey::derive(&[1; 32], b"cli").expect("a key");
    let public = hex::encode(key.public_key().compress());
    let signature = key.sign(&[0xab], DST);
    let verify = |public: &str, message: &str, signature: &str| {
        ["verify-signature", "--public-key", public, "--message", message, "--signature", signature].map(str::to_owned)
    };
    let said = |arguments: [String; 7]| lockstep(&arguments.each_ref().map(String::as_str));
    for form in [&signature.compress()[..], &signature.serialize(), &signature.to_eip2537()] {
        let valid = said(verify(&public, "ab", &hex::encode(form)));
        assert_eq!((valid.code, valid.out.as_str()), (0, "{\"valid\":true}\n"));
    }
    let wrong = said(verify(&public, "ac", &hex::encode(signature.compress())));
    assert_eq!((wrong.code, wrong.out.as_str(), wrong.err.as_str()), (2, "{\"valid\":false}\n", ""));
    let infinity = format!("c0{}", "00".repeat(47));
    for malformed in ["", "zz", &hex::encode(&signature.compress()[1..]), &infinity, &"11".repeat(96)] {
        let arguments = verify(&public, "ab", malformed);
        must_refuse(&arguments.each_ref().map(String::as_str), 1);
    }
}

#[test]
fn wrong_configuration_should_end_with_64() {
    must_refuse(&["check", "--config", "/nowhere/member.toml"], 64);
    must_refuse(&["run", "--config", "/nowhere/member.toml"], 64);
    must_refuse(&["group", "check", "/nowhere/group.toml"], 64);
    must_refuse(&["check", "--set", "no-value"], 64);
}

/// As an operator makes one.
fn write_passphrase(path: &Path) {
    std::fs::write(path, "correct horse battery staple\n").expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("changed");
}

#[test]
fn operators_should_make_a_group_without_anybody_who_knows_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let lockstep = |arguments: &[&str]| lockstep_in(folder.path(), arguments);
    write_passphrase(&folder.path().join("passphrase"));
    let names = ["alice", "bob", "carol", "dave"];
    let listeners = names.map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let ports = listeners.map(|listener| listener.local_addr().expect("bound").port());
    for name in names {
        let said = lockstep(&["keygen", "member", "--out", name, "--name", name, "--passphrase-file", "passphrase"]);
        assert_eq!(said.code, 0, "{}", said.err);
    }
    let again = lockstep(&["keygen", "member", "--out", "alice", "--name", "alice", "--passphrase-file", "passphrase"]);
    assert_eq!(again.code, 64, "keys are not overwritten");

    let members: Vec<_> =
        names.iter().zip(ports).map(|(name, port)| format!("{name}@http://127.0.0.1:{port}")).collect();
    let start =
        [&["ceremony", "start", "--members"][..], members.iter().map(String::as_str).collect::<Vec<_>>().as_slice()]
            .concat();
    assert_eq!(lockstep(&["ceremony", "start"]).code, 1, "whose key?");
    let minority = lockstep(&[&start[..], &["--threshold", "2"]].concat());
    assert!(minority.code == 1 && minority.err.contains("`threshold`"), "{}", minority.err);
    let started = lockstep(&start);
    assert_eq!(started.code, 0, "{}", started.err);
    assert_eq!(lockstep(&start).code, 64, "a proposal is not overwritten");
    let again = ["ceremony", "start", "--again", "proposal.toml"];
    let next = lockstep(&[&again[..], &["--out", "proposal-2.toml"]].concat());
    let next: Value = serde_json::from_str(&next.out).expect("JSON");
    assert_eq!((&next["round"], &next["members"][3]), (&2.into(), &"dave".into()), "{next}");
    assert_eq!(lockstep(&[&again[..], &["--round", "1"]].concat()).code, 1, "no round is used twice");

    for (index, (name, port)) in (1..).zip(names.iter().zip(ports)) {
        let config = format!(
            "member = {index}\npassphrase_file = \"../passphrase\"\nkeys = \"member.keys\"\ndata = \".\"\n\
             group = \"group.toml\"\n[ledger]\napi = \"http://127.0.0.1:1\"\nkernel = [\"http://127.0.0.1:2\"]\n\
             [listen]\npeer = \"127.0.0.1:{port}\"\n[chains.31337]\nrpc = [\"http://127.0.0.1:3\"]\n"
        );
        std::fs::write(folder.path().join(name).join("member.toml"), config).expect("written");
    }
    let alone = lockstep(&["ceremony", "status", "--config", "alice/member.toml"]);
    assert_eq!((alone.code, alone.out.contains("no ceremony")), (75, true), "{}", alone.err);
    let join = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        let config = format!("{name}/member.toml");
        command.current_dir(folder.path()).args(["ceremony", "join", "proposal.toml", "--config", &config]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    let early = ["alice", "bob", "carol"].map(join);
    let (status, begun) = (["ceremony", "status", "--config", "alice/member.toml"], Instant::now());
    loop {
        let shown = lockstep(&status);
        assert_eq!(shown.code, 75, "not over: {}", shown.err);
        if shown.out.contains("phase join: waiting for dave\n") && shown.out.contains("joined        answers") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "who is missing? {}", shown.out);
    }
    let outputs = early.into_iter().chain([join("dave")]).map(|child| child.wait_with_output().expect("ended"));
    let outputs: Vec<_> = outputs.collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let files = names.map(|name| std::fs::read_to_string(folder.path().join(name).join("group.toml")).expect("there"));
    assert!(files.iter().all(|file| *file == files[0]), "the same file at all members");
    let check = lockstep(&["group", "check", "alice/group.toml"]);
    let summary: Value = serde_json::from_str(&check.out).expect("JSON");
    assert_eq!(summary["threshold"], 3);
    let dave = Keyring::peek(&folder.path().join("dave/member.keys")).expect("a key file");
    assert_eq!(dave.shares.iter().map(|share| share.index).collect::<Vec<_>>(), [4]);
    let status = lockstep(&["ceremony", "status", "--config", "alice/member.toml", "--json"]);
    let status: Value = serde_json::from_str(&status.out).expect("JSON");
    assert_eq!(status[0]["outcome"]["ended"], "done");
}

#[test]
fn keys_should_be_looked_after_from_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write_passphrase(&at("first"));
    std::fs::write(at("second"), "another passphrase").expect("written");
    std::fs::set_permissions(at("second"), std::fs::Permissions::from_mode(0o600)).expect("changed");
    let lockstep = |arguments: &[&str]| lockstep_in(folder.path(), arguments);
    let refusal = |arguments: &[&str], words: &str| {
        let said = lockstep(arguments);
        assert_eq!((said.code, said.out.as_str()), (64, ""), "{arguments:?}: {}", said.err);
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    };
    let of = |said: Said| -> Value {
        assert_eq!(said.code, 0, "{}", said.err);
        serde_json::from_str(&said.out).expect("JSON")
    };
    let first = ["--keys", "member.keys", "--passphrase-file", "first"];
    let made = of(lockstep(&["keygen", "member", "--out", ".", "--name", "anna", "--passphrase-file", "first"]));
    assert_eq!(of(lockstep(&[&["keys", "show"], &first[..]].concat())), made);
    assert_eq!(of(lockstep(&["keys", "show", "--keys", "member.keys", "--locked"])), made);
    refusal(&["keys", "show", "--keys", "member.keys", "--passphrase-file", "second"], "wrong passphrase");
    refusal(&["keys", "show", "--keys", "member.keys", "--passphrase-file", "nowhere"], "cannot read the passphrase");
    refusal(&["keys", "show", "--keys", "member.keys"], "no passphrase for the member's keys");

    let backup = [&["keys", "backup", "--out", "backup.keys"], &first[..]].concat();
    assert_eq!(of(lockstep(&backup))["keys"], made);
    refusal(&backup, "cannot write the key file `backup.keys`");
    let change = [&["keys", "change-passphrase", "--new-passphrase-file", "second"], &first[..]].concat();
    of(lockstep(&change));
    refusal(&change, "wrong passphrase");
    let second = ["--keys", "member.keys", "--passphrase-file", "second"];
    let export = [&["keys", "export", "--out", "export.keys", "--new-passphrase-file", "first"], &second[..]].concat();
    assert_eq!(of(lockstep(&export))["keys"], made);
    let import = ["keys", "import", "--keys", "moved.keys", "--passphrase-file", "first", "--new-passphrase-file"];
    for (from, code) in [("backup.keys", 0), ("export.keys", 64)] {
        let said = lockstep(&[&import[..], &["second", "--from", from]].concat());
        assert_eq!(said.code, code, "the key file is there at the second time: {}", said.err);
    }
    assert_eq!(of(lockstep(&["keys", "show", "--keys", "moved.keys", "--passphrase-file", "second"])), made);

    let mut damaged = std::fs::read(at("moved.keys")).expect("bytes");
    damaged[200] ^= 1;
    std::fs::write(at("moved.keys"), damaged).expect("written");
    refusal(&["keys", "show", "--keys", "moved.keys", "--locked"], "changed or damaged: its checksum does not fit");
    std::fs::set_permissions(at("moved.keys"), std::fs::Permissions::from_mode(0o640)).expect("changed");
    refusal(&["keys", "show", "--keys", "moved.keys", "--locked"], "others have access to it (mode 640)");
}

#[test]
fn other_accounts_should_be_imported_into_a_key_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(folder.path().join(name), private).expect("changed");
    };
    write_passphrase(&folder.path().join("passphrase"));
    write("evm-passphrase", "testpassword");
    // The scrypt vector of the Web3 Secret Storage Definition.
    write(
        "evm.json",
        r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,
        "salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"version":3}"#,
    );
    let user = "11111111-1111-4111-8111-111111111111";
    let (session, server, spend) = ("a1".repeat(32), "b2".repeat(32), "c3".repeat(32));
    write(
        "ledger.json",
        &format!(
            r#"{{"app_id":"{user}","session_id":"{user}","session_private_key":"{session}","server_public_key":"{server}",
            "spend_private_key":"{spend}"}}"#
        ),
    );
    let lockstep = |arguments: &[&str]| lockstep_in(folder.path(), arguments);
    let made = lockstep(&["keygen", "member", "--out", ".", "--name", "anna", "--passphrase-file", "passphrase"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let import = ["keys", "import", "--keys", "member.keys", "--passphrase-file", "passphrase"];
    let wrong =
        lockstep(&[&import[..], &["--evm-keystore", "evm.json", "--new-passphrase-file", "passphrase"]].concat());
    assert!(wrong.code == 64 && wrong.err.contains("wrong passphrase of the EVM keystore file"), "{}", wrong.err);
    let evm =
        lockstep(&[&import[..], &["--evm-keystore", "evm.json", "--new-passphrase-file", "evm-passphrase"]].concat());
    let ledger = lockstep(&[&import[..], &["--ledger-keystore", "ledger.json"]].concat());
    assert_eq!((evm.code, ledger.code), (0, 0), "{}{}", evm.err, ledger.err);
    let shown: Value = serde_json::from_str(&ledger.out).expect("JSON");
    let before: Value = serde_json::from_str(&made.out).expect("JSON");
    assert_eq!(shown["evm_address"], "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b");
    assert_eq!((&shown["user"], &shown["identity"]), (&user.into(), &before["identity"]));
}

/// Who processes run as in this test where it runs as root, for whom nothing is private: "nobody".
const NOBODY: u32 = 65_534;

/// A command as a user without rights.
fn unprivileged(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if std::fs::metadata("/proc/self").expect("this process").uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether another process of the same user can read the memory of this one; its environment is there.
fn is_readable(pid: u32) -> bool {
    unprivileged("cat").arg(format!("/proc/{pid}/environ")).status().expect("it runs").success()
}

#[test]
fn process_that_holds_keys_should_be_read_and_dumped_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // Everybody may run it, and it waits for a passphrase that never comes.
    std::fs::copy(env!("CARGO_BIN_EXE_lockstep"), at("lockstep")).expect("copied");
    assert!(Command::new("mkfifo").arg(at("passphrase")).status().expect("it runs").success());
    for (name, mode) in [("", 0o777), ("lockstep", 0o755), ("passphrase", 0o666)] {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).expect("changed");
    }
    let arguments = ["keys", "show", "--keys", "member.keys", "--passphrase-file"];
    // It may leave a core, as far as this test is concerned.
    let mut allowed = unprivileged("sh");
    allowed.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(at("lockstep")).args(arguments);
    let mut holder = allowed.arg(at("passphrase")).current_dir(folder.path()).spawn().expect("it runs");
    let mut other = unprivileged("sleep").arg("600").spawn().expect("it runs");
    let (pid, begun) = (holder.id(), Instant::now());
    // What a process that cannot be dumped has under /proc belongs to root, whoever runs it.
    let owner = |pid: u32| std::fs::metadata(format!("/proc/{pid}/environ")).expect("it runs").uid();
    while owner(pid) != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "its memory is for everybody");
        std::thread::sleep(Duration::from_millis(20));
    }
    let user = std::fs::metadata(format!("/proc/{}", other.id())).expect("it runs").uid();
    assert!(user != 0 && owner(other.id()) == user, "or else this test could not fail");
    assert!(!is_readable(pid) && is_readable(other.id()));
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{core}");

    assert!(Command::new("kill").args(["-ABRT", &pid.to_string()]).status().expect("it runs").success());
    let ended = holder.wait().expect("it ends");
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    names.retain(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("core")));
    assert!(names.is_empty(), "{names:?}");
    other.kill().expect("it runs");
    other.wait().expect("it ends");
}
