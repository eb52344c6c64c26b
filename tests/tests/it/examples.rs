//! The example configuration in `deploy/` is what the real loader takes, key by key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lockstep::cli::Exit;
use lockstep::config::{ConfigError, MemberConfig, Setting};
use lockstep::peer::PeerConfig;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn load(flags: &[&str]) -> Result<MemberConfig, ConfigError> {
    let flags: Vec<Setting> = flags.iter().map(|flag| flag.parse().expect("a setting")).collect();
    MemberConfig::load(&example("member.example.toml"), [], &flags)
}

/// All keys of a table with their sections; the name of a chain counts as any.
fn keys(table: &toml::Table, at: &str) -> BTreeSet<String> {
    let below = |(key, value): (&String, &toml::Value)| match value.as_table() {
        Some(section) => keys(section, &format!("{at}{key}.")),
        None => BTreeSet::from([format!("{at}{key}")]),
    };
    table.iter().flat_map(below).collect()
}

#[test]
fn another_group_file_than_the_one_meant_should_be_refused() {
    let other = format!("group_digest={}", "ab".repeat(32));
    let refused = load(&[&other]).expect("a configuration").load_group().expect_err("another digest");
    assert!(matches!(refused, ConfigError::OtherGroup { .. }), "{refused}");
    assert_eq!(Exit::Configuration.code(), 64);
}

#[test]
fn example_member_should_belong_to_the_example_group() {
    let member = load(&[]).expect("deploy/member.example.toml");
    let group = member.load_group().expect("deploy/group.example.toml with the digest of member.example.toml");
    assert_eq!((group.members().len(), group.threshold()), (4, 3));
    let peers: Vec<_> = group.members().iter().map(|member| member.peer.as_str()).collect();
    assert!(peers.contains(&format!("http://{}", member.listen_peer).as_str()), "{peers:?}");
}

#[test]
fn example_member_should_show_the_defaults() {
    let text = std::fs::read_to_string(example("member.example.toml")).expect("the file");
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    assert_eq!(keys(&table, "").len(), 22, "a key without a line in the example, or a line too many: {table:?}");

    let shown = load(&[]).expect("the example");
    // Without what has a default, the same configuration comes out.
    for section in ["listen", "submit", "peer", "log"] {
        table.remove(section).expect("a section");
    }
    table.remove("keys").expect("a key");
    for section in
        ["ledger.settle_ms", "ledger.poll_ms", "ledger.reread_ms", "ledger.timeout_ms", "ledger.kernel_quorum"]
    {
        let (section, key) = section.split_once('.').expect("two parts");
        table.get_mut(section).and_then(|section| section.as_table_mut()?.remove(key)).expect("a key");
    }
    let chain = table.get_mut("chains").and_then(|chains| chains.as_table_mut()?.get_mut("31337")?.as_table_mut());
    chain.expect("a chain").retain(|key, _| key == "rpc");
    let folder = tempfile::tempdir().expect("a folder");
    let short = folder.path().join("member.toml");
    std::fs::write(&short, table.to_string()).expect("a file");
    let mut short = MemberConfig::load(&short, [], &[]).expect("the rest of the example");
    assert_eq!(short.ledger.kernel_quorum(), shown.ledger.kernel_quorum());
    short.ledger.kernel_quorum = shown.ledger.kernel_quorum;
    short.group.clone_from(&shown.group);
    assert_eq!(short, shown);
    assert_eq!(shown.peer, PeerConfig::default());
}
