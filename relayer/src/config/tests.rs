use std::error::Error as _;

use tempfile::TempDir;

use super::*;

const FILE: &str = r#"
data = "data"
group = "group.toml"
member = 2

[ledger]
api = "http://127.0.0.1:7700"
kernel = ["http://127.0.0.1:7690"]

[chains.31337]
rpc = ["http://127.0.0.1:8545"]

[log]
filter = "warn"
"#;

fn load_with(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<(TempDir, MemberConfig), ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("member.toml");
    std::fs::write(&path, file).expect("written");
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let flags: Vec<Setting> = flags.iter().map(|flag| flag.parse()).collect::<Result<_, _>>()?;
    MemberConfig::load(&path, environment, &flags).map(|config| (folder, config))
}

fn refusal(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let error = load_with(file, environment, flags).expect_err("it cannot be loaded");
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn unknown_keys_should_be_refused_with_their_place_and_the_known_ones() {
    let in_file = refusal(&FILE.replace("filter", "fliter"), &[], &[]);
    assert!(in_file.starts_with("unknown key `log.fliter` in `"), "{in_file}");
    assert!(in_file.ends_with("member.toml`: `log` has format, filter"), "{in_file}");
    let in_variable = refusal(FILE, &[("LOCKSTEP__LEDGER__URL", "x")], &[]);
    assert_eq!(
        in_variable,
        "unknown key `ledger.url` in the environment variable `LOCKSTEP__LEDGER__URL`: `ledger` has api, kernel, \
         kernel_quorum, settle_ms, poll_ms, reread_ms, timeout_ms"
    );
    for (key, known) in [
        ("chains.1.rcp", "`chains` has ID.rpc, ID.poll_ms, ID.timeout_ms"),
        ("chains.1", "`chains` has ID.rpc, ID.poll_ms, ID.timeout_ms"),
        ("legder.api", "the sections are chains, ledger, listen, log, peer, submit"),
        (
            "grup",
            "there are data, group, group_digest, member, keys, passphrase_file, and the sections chains, ledger, listen, \
             log, peer, submit",
        ),
    ] {
        let expected = format!("unknown key `{key}` in `--set {key}`: {known}");
        assert_eq!(refusal(FILE, &[], &[&format!("{key}=x")]), expected);
    }
    assert!(refusal(&format!("{FILE}\n[empty]\n"), &[], &[]).contains("unknown field `empty`"));
    assert!(load_with(FILE, &[("LOCKSTEP_TOOL_ANVIL", "x"), ("LOCKSTEP", "x")], &[]).is_ok(), "these are not settings");
}

#[test]
fn values_that_cannot_be_should_be_refused() {
    for (flag, expected) in [
        ("member=0", "`member` is 0, expected 1 to 64"),
        ("member=65", "`member` is 65, expected 1 to 64"),
        ("ledger.poll_ms=9", "`ledger.poll_ms` is 9, expected 10 to 600000"),
        ("submit.takeover_ms=600001", "`submit.takeover_ms` is 600001, expected 0 to 600000"),
        ("ledger.kernel_quorum=2", "`ledger.kernel_quorum` is 2, expected 1 to 1"),
        ("ledger.kernel=http://a,http://a/", "`ledger.kernel` names http://a twice"),
        (
            "chains.31337.rpc=http://10.0.0.1/secret",
            "`chains.31337.rpc` names http://10.0.0.1: chains 31337 to 31346 are for development, on loopback only",
        ),
        ("group_digest=ab", "`group_digest` is `ab`, expected 32 bytes of hex as `lockstep group digest` prints them"),
        ("listen.api=127.0.0.1:7702", "`listen.peer` and `listen.api` are both 127.0.0.1:7702"),
    ] {
        assert_eq!(refusal(FILE, &[], &[flag]), expected);
    }
    assert_eq!(refusal(FILE, &[], &["member"]), "`member` is not section.key=value");
    for flag in [
        "member=two",
        "ledger.poll_ms=-1",
        "listen.peer=7701",
        "log.format=xml",
        "ledger.api=ftp://x",
        "chains.x.rpc=http://a",
    ] {
        assert!(refusal(FILE, &[], &[flag]).contains("a value that cannot be"), "{flag}");
    }
}

#[test]
fn missing_and_broken_files_should_be_told_apart() {
    let nowhere = MemberConfig::load(Path::new("/nowhere/member.toml"), [], &[]).expect_err("not there");
    assert_eq!(nowhere.to_string(), "cannot read `/nowhere/member.toml`");
    let broken = refusal("member = 2\ndata = ", &[], &[]);
    assert!(broken.contains("cannot be understood at line 2: ") && !broken.contains('\n'), "{broken}");
    let incomplete = refusal(&FILE.replace("member = 2", ""), &[], &[]);
    assert!(incomplete.contains("is incomplete") && incomplete.contains("member"), "{incomplete}");
    let no_ledger = refusal(&FILE.replace("api = ", "#"), &[], &[]);
    assert!(no_ledger.contains("api"), "{no_ledger}");
}

#[test]
fn flag_should_win_over_environment_over_file() {
    let filter = |environment: &[(&str, &str)], flags: &[&str]| {
        load_with(FILE, environment, flags).expect("a configuration").1.log.filter
    };
    let variable = [("LOCKSTEP__LOG__FILTER", "info")];
    assert_eq!(filter(&[], &[]), "warn");
    assert_eq!(filter(&variable, &[]), "info");
    assert_eq!(filter(&variable, &["log.filter=debug"]), "debug");
}

#[test]
fn every_layer_should_reach_every_kind_of_value() {
    let environment = [
        ("LOCKSTEP__CHAINS__31337__RPC", "http://127.0.0.1:1,http://127.0.0.1:2"),
        ("LOCKSTEP__CHAINS__31338__RPC", "http://localhost:3"),
        ("LOCKSTEP__LEDGER__SETTLE_MS", "0"),
    ];
    let flags =
        ["chains.31337.poll_ms=50", "group_digest=0x0101010101010101010101010101010101010101010101010101010101010101"];
    let (_folder, config) = load_with(FILE, &environment, &flags).expect("a configuration");
    assert_eq!(config.chains[&31_337].rpc.len(), 2);
    assert_eq!(config.chains[&31_337].poll(), Duration::from_millis(50));
    assert_eq!(config.chains[&31_338].rpc[0].to_string(), "http://localhost:3");
    assert_eq!(config.ledger.settle(), Duration::ZERO);
    assert_eq!(config.group_digest, Some(B256::repeat_byte(1)));
}

#[test]
fn what_is_left_out_should_have_the_design_s_values() {
    let (folder, config) = load_with(FILE, &[], &[]).expect("a configuration");
    assert_eq!(config.listen_peer.to_string(), "127.0.0.1:7702");
    assert_eq!(config.listen_api.to_string(), "127.0.0.1:7802");
    assert_eq!(config.ledger.settle(), Duration::from_secs(5));
    assert_eq!(config.submit.takeover(), Duration::from_secs(12));
    assert_eq!(config.ledger.kernel_quorum(), 1);
    assert_eq!(config.database(), folder.path().join("data/lockstep.db"));
    assert_eq!(config.keys, folder.path().join("data/keys/member.keys"));
    assert_eq!(config.group, folder.path().join("group.toml"));
}

#[test]
fn every_known_key_should_be_read_by_somebody() {
    let value = |key: &str| match key {
        "data" | "group" | "keys" => "x",
        "group_digest" => "0101010101010101010101010101010101010101010101010101010101010101",
        "member" | "ledger.kernel_quorum" => "1",
        "listen.peer" => "127.0.0.1:1",
        "listen.api" => "127.0.0.1:2",
        "log.format" => "json",
        "log.filter" => "info",
        key if key.ends_with("_ms") => "10",
        _ => "http://127.0.0.1:1",
    };
    let flags: Vec<String> =
        layers::KEYS.iter().map(|key| format!("{}={}", key.replace('*', "31337"), value(key))).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    load_with("", &[], &flags).expect("every key has a reader, and no other is needed");
}

mod group_file {
    use super::*;
    use crate::keys::tests::dealt;

    fn load(change: impl FnOnce(&mut GroupFile), flags: &[&str]) -> Result<Group, String> {
        let (folder, _) = load_with(FILE, &[], &[]).expect("a configuration");
        let mut file = dealt(4).file;
        change(&mut file);
        std::fs::write(folder.path().join("group.toml"), toml::to_string(&file).expect("TOML")).expect("written");
        let flags: Vec<Setting> = flags.iter().map(|flag| flag.parse().expect("a flag")).collect();
        let config = MemberConfig::load(&folder.path().join("member.toml"), [], &flags).expect("a configuration");
        config.load_group().map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}").replace(&folder.path().display().to_string(), "")
        })
    }

    #[test]
    fn group_that_is_not_meant_should_be_refused() {
        let pinned = format!("group_digest={}", load(|_| (), &[]).expect("a group").digest());
        let other = load(|file| file.delays.over = 1, &[&pinned]).expect_err("another file");
        assert!(
            other.starts_with("the group file `/group.toml` has digest 0x") && other.contains("expects 0x"),
            "{other}"
        );
        assert!(load(|_| (), &[&pinned]).is_ok());
    }

    #[test]
    fn member_and_chains_should_be_those_of_the_group() {
        let stranger = load(|_| (), &["member=5"]).expect_err("there are four");
        assert_eq!(stranger, "`member` is 5, but the group in `/group.toml` has members 1 to 4");
        let foreign = load(|_| (), &["chains.31338.rpc=http://localhost"]).expect_err("not served");
        assert_eq!(foreign, "`chains.31338` is configured, but the group in `/group.toml` does not serve this chain");
        let missing = load(|file| file.chains[0].id = 31_340, &[]).expect_err("no endpoint");
        assert_eq!(missing, "`chains.31340.rpc` is missing: the group serves this chain");
    }

    #[test]
    fn rosters_should_be_the_files_of_the_members_folder_that_are_called_so() {
        let (_folder, config) = load_with(FILE, &[], &[]).expect("a configuration");
        assert_eq!(config.load_rosters().expect("no folder, no rosters"), []);
        std::fs::create_dir_all(&config.data).expect("a folder");
        for name in ["generation-1.toml.bak", "generation-x.toml", "other.toml"] {
            std::fs::write(config.data.join(name), "no roster").expect("written");
        }
        assert_eq!(config.load_rosters().expect("none of these"), []);
        std::fs::write(roster_path(&config.data, 3), "no roster").expect("written");
        let error = config.load_rosters().expect_err("no roster").to_string();
        assert!(error.contains("generation-3.toml"), "{error}");
    }

    #[test]
    fn broken_rule_should_be_named() {
        let error = load(|file| file.threshold = 2, &[]).expect_err("no majority");
        assert!(error.starts_with("the group file `/group.toml` is refused: `threshold`, `key` and"), "{error}");
    }
}
