//! The rules. Each one names itself, what it forbids, a file that breaks it and one that keeps it.

use super::source::{Path, SourceFile};

/// Where a file breaks a rule: the line, counted from 1, and what stands there.
pub(super) type Finding = (usize, String);

/// A rule of the project.
pub(super) struct Rule {
    /// What people call it.
    pub(super) name: &'static str,
    /// What it says.
    pub(super) says: &'static str,
    /// Finds every breach of it in a file.
    pub(super) find: fn(&SourceFile) -> Vec<Finding>,
    /// Files that break it, each (path, text).
    pub(super) breaks: &'static [(&'static str, &'static str)],
    /// Files that keep it.
    pub(super) keeps: &'static [(&'static str, &'static str)],
}

/// Modules that face the world; what joins them stands above them.
const APART: [&str; 5] = ["ledger", "evm", "peer", "store", "api"];
/// Longest source file.
const LINES_MAX: usize = 600;
/// Crates with IO, a clock or entropy.
const IMPURE: [&str; 9] = ["tokio", "sqlx", "reqwest", "axum", "hyper", "alloy", "rand", "getrandom", "futures"];
/// What the core may not name.
const IMPURE_STD: [&str; 8] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
];
/// The one module that knows commonware's crates.
const COMMONWARE_ADAPTER: &str = "relayer/core/src/dkg/adapter.rs";
/// Packages that may depend on aws-lc. It comes with commonware's crate on every common machine, and is not our TLS.
const AWS_LC_USERS: [&str; 2] = ["aws-lc-rs", "commonware-cryptography"];
/// It looks for certificate files and holds no OpenSSL.
const PROBE: &str = "openssl-probe";
/// The only registry.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Beginnings of paths that exist on one machine only. Split, or this file would break its own rule.
const MACHINE_PATHS: [&str; 5] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/"), concat!("/wo", "rk/"), concat!("/mn", "t/")];

/// All of them.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "apart",
        says: "ledger, evm, peer, store and api never import one another",
        find: apart,
        breaks: &[
            ("relayer/src/ledger.rs", "use crate::evm::abi::Group;"),
            ("relayer/src/evm/watcher.rs", "use crate::{clock, store::Store};"),
            ("relayer/src/peer/client.rs", "fn f(x: crate::api::Status) {}"),
            ("relayer/src/store/rows.rs", "use super::super::ledger;"),
            ("relayer/src/api.rs", "use super::store::Store;"),
        ],
        keeps: &[
            ("relayer/src/evm/watcher.rs", "use crate::{clock, http, world::chain::Cursor};\nuse super::ledger;"),
            ("relayer/src/member.rs", "use crate::{api, evm, store::Store};"),
            ("relayer/src/peer.rs", "// crate::store\n#[cfg(test)]\nmod tests { use crate::store::Store; }"),
        ],
    },
    Rule {
        name: "sqlx-in-store",
        says: "only the store and the embedded ledger know SQL",
        find: |file| outside(file, &["store", "devnet/ledger"], &["sqlx"]),
        breaks: &[("relayer/src/api.rs", "fn f() { sqlx::query(\"\") }"), ("relayer/src/payouts.rs", "use sqlx::Row;")],
        keeps: &[("relayer/src/store/reads.rs", "use sqlx::Row;"), ("relayer/src/devnet/ledger.rs", "use sqlx::Row;")],
    },
    Rule {
        name: "reqwest-in-clients",
        says: "only http, the ledger client and the peer client know the HTTP library",
        find: |file| outside(file, &["http", "ledger", "peer"], &["reqwest"]),
        breaks: &[("relayer/src/evm/provider.rs", "use reqwest::Client;"), ("relayer/src/cli.rs", "use reqwest;")],
        keeps: &[
            ("relayer/src/ledger/safe.rs", "use reqwest::Method;"),
            ("relayer/src/http.rs", "use reqwest::Client;"),
        ],
    },
    Rule {
        name: "chain-clients-in-evm",
        says: "only evm and the development network ask a chain",
        find: |file| outside(file, &["evm", "devnet"], &CHAIN_CLIENTS),
        breaks: &[
            ("relayer/src/ledger/pay.rs", "use alloy::{primitives::Address, providers::Provider};"),
            ("relayer/src/member.rs", "fn f(r: alloy::rpc::types::Log) {}"),
        ],
        keeps: &[
            ("relayer/src/evm/watcher.rs", "use alloy::providers::Provider;"),
            ("relayer/src/keys.rs", "use alloy::{primitives::Address, signers::local::PrivateKeySigner};"),
        ],
    },
    Rule {
        name: "axum-in-servers",
        says: "only servers, and what hands them their listeners, know the HTTP server",
        find: |file| outside(file, &["api", "peer/server", "devnet/ledger", "member"], &["axum"]),
        breaks: &[("relayer/src/peer/client.rs", "use axum::http::StatusCode;")],
        keeps: &[("relayer/src/peer/server.rs", "use axum::Router;"), ("relayer/src/api.rs", "use axum::Json;")],
    },
    Rule {
        name: "one-clock",
        says: "only clock.rs asks what time it is",
        find: |file| named(file, file.is_shell() && !file.is_in(&["clock"]), |path| is_one_of(path, "SystemTime")),
        breaks: &[("relayer/src/evm.rs", "use std::time::{Duration, SystemTime};")],
        keeps: &[
            ("relayer/src/clock.rs", "use std::time::SystemTime;"),
            ("relayer/src/evm.rs", "use std::time::Instant;"),
        ],
    },
    Rule {
        name: "pure-core",
        says: "the core has no IO, clock, entropy, tasks or unordered iteration",
        find: |file| named(file, file.is_core(), is_impure),
        breaks: &[
            ("relayer/core/src/a.rs", "use std::{collections::HashMap, fmt};"),
            ("relayer/core/src/a.rs", "fn f() { std::time::Instant::now() }"),
            ("relayer/core/src/a/b.rs", "use std::fs::File;"),
            ("relayer/core/src/a/b.rs", "use rand::random;"),
        ],
        keeps: &[("relayer/core/src/a.rs", "use std::{collections::BTreeMap, fmt, time::Duration};\n// std::fs")],
    },
    Rule {
        name: "pure-core-crates",
        says: "the core depends on no crate with IO, a clock or entropy",
        find: core_crates,
        breaks: &[
            ("relayer/core/Cargo.toml", "[dependencies]\ntokio.workspace = true"),
            ("relayer/core/Cargo.toml", "[dependencies]\nalloy = { workspace = true }"),
            ("relayer/core/Cargo.toml", "[dependencies.alloy-provider]\nversion = \"1\""),
        ],
        keeps: &[(
            "relayer/core/Cargo.toml",
            "[dependencies]\nalloy-primitives.workspace = true\n# tokio\n[lints]\nrand = 1",
        )],
    },
    Rule {
        name: "commonware-in-its-adapter",
        says: "only dkg/adapter knows the crate of the key ceremony's polynomials",
        find: |file| {
            let concerns = file.is_core() && file.path != COMMONWARE_ADAPTER || file.is_shell();
            named(file, concerns, |path| path.parts.first().is_some_and(|part| part.starts_with("commonware")))
        },
        breaks: &[
            ("relayer/core/src/dkg/ceremony.rs", "use commonware_cryptography::bls12381::dkg;"),
            ("relayer/src/keys.rs", "fn f() { commonware_math::poly::Poly::commit(x) }"),
        ],
        keeps: &[("relayer/core/src/dkg/adapter.rs", "use commonware_math::poly::Poly;")],
    },
    Rule {
        name: "ring-only",
        says: "TLS is rustls with ring: nothing but commonware's own hashing uses aws-lc, nothing OpenSSL",
        find: foreign_tls,
        breaks: &[
            ("Cargo.toml", "rustls = { version = \"0.23\", features = [\"aws-lc-rs\"] }"),
            ("Cargo.lock", "[[package]]\nname = \"rustls\"\ndependencies = [\n \"aws-lc-rs\",\n]"),
            ("Cargo.lock", "[[package]]\nname = \"openssl-sys\""),
            ("Cargo.lock", "[[package]]\nname = \"native-tls\""),
        ],
        keeps: &[
            ("Cargo.lock", "name = \"openssl-probe\"\nname = \"ring\""),
            (
                "Cargo.lock",
                "name = \"aws-lc-rs\"\n \"aws-lc-sys\",\nname = \"commonware-cryptography\"\n \"aws-lc-rs\",",
            ),
            ("Cargo.toml", "# no aws-lc here"),
        ],
    },
    Rule {
        name: "no-git-dependencies",
        says: "crates come from the registry, in a version",
        find: git_dependencies,
        breaks: &[
            ("relayer/Cargo.toml", "a = { git = \"https://example.org/a\" }"),
            ("relayer/Cargo.toml", "[dependencies.a]\ngit = \"https://example.org/a\""),
            ("Cargo.lock", "source = \"git+https://example.org/a#0123\""),
        ],
        keeps: &[("Cargo.toml", "# git = \"x\"\ndigit = \"1\"\nrepository = \"https://github.com/a/b\"")],
    },
    Rule {
        name: "no-mod-rs",
        says: "a module is foo.rs beside foo/",
        find: |file| if file.path.ends_with("/mod.rs") { vec![(1, "mod.rs".to_owned())] } else { vec![] },
        breaks: &[("relayer/src/evm/mod.rs", "")],
        keeps: &[("relayer/src/evm/modes.rs", "")],
    },
    Rule {
        name: "short-files",
        says: "a source file has at most 600 lines",
        find: long_file,
        breaks: &[("contracts/src/Group.sol", LONG), ("tests/src/lib.rs", LONG)],
        keeps: &[("tests/vectors/bls.json", LONG), ("tests/src/lib.rs", "")],
    },
    Rule {
        name: "finished",
        says: "nothing is left to be written later",
        find: unfinished,
        breaks: &[("relayer/src/a.rs", "fn f() { todo!() }"), ("tests/src/a.rs", "fn f() { dbg ! (1) }")],
        keeps: &[("relayer/src/a.rs", "// todo!()\nfn f() { \"todo!\" }")],
    },
    Rule {
        name: "no-unwrap",
        says: "a failure is handled or explained, outside tests",
        find: unwraps,
        breaks: &[
            ("relayer/src/a.rs", "fn f() { g()\n.unwrap() }"),
            ("relayer/core/src/a.rs", "fn f() { g().unwrap() }"),
        ],
        keeps: &[
            ("relayer/src/a.rs", "fn f() { g().unwrap_or(1) }\n#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }"),
            ("tests/tests/it/a.rs", "fn f() { g().unwrap() }"),
        ],
    },
    Rule {
        name: "any-machine",
        says: "no tracked file names a folder of one machine, or a registry but the public ones",
        find: machine_bound,
        breaks: &[
            ("README.md", concat!("see /ho", "me/someone/lockstep")),
            ("Makefile", concat!("cd /wo", "rk/lockstep")),
            ("Cargo.lock", "source = \"registry+https://crates.example.org/index\""),
            ("package-lock.json", "      \"resolved\": \"https://npm.example.org/a.tgz\","),
            (".npmrc", "registry=https://npm.example.org/"),
            (".cargo/config.toml", "[source.crates-io]\nreplace-with = \"mirror\""),
        ],
        keeps: &[
            ("README.md", "https://example.org/home/page and ~/lockstep"),
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""),
            ("package-lock.json", "      \"integrity\": \"sha512-AAAA\","),
        ],
    },
];

const CHAIN_CLIENTS: [&str; 7] = [
    "alloy::providers",
    "alloy::rpc",
    "alloy::transports",
    "alloy::network",
    "alloy::contract",
    "alloy::pubsub",
    "alloy::node_bindings",
];
/// One line too many.
const LONG: &str = {
    const NEWLINES: [u8; LINES_MAX + 1] = [b'\n'; LINES_MAX + 1];
    match str::from_utf8(&NEWLINES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

/// The paths of a file that `forbidden` holds for, where the rule `concerns` the file.
fn named(file: &SourceFile, concerns: bool, forbidden: impl Fn(&Path) -> bool) -> Vec<Finding> {
    if !concerns {
        return Vec::new();
    }
    let found = file.paths().into_iter().filter(|path| forbidden(path));
    found.map(|path| (path.line, path.parts.join("::"))).collect()
}

/// Uses of `crates` in the service outside `places`.
fn outside(file: &SourceFile, places: &[&str], crates: &[&str]) -> Vec<Finding> {
    let concerns = file.is_shell() && !file.is_in(places);
    named(file, concerns, |path| crates.iter().any(|prefix| path.is_below(prefix)))
}

fn apart(file: &SourceFile) -> Vec<Finding> {
    let own = APART.into_iter().find(|module| file.is_in(&[module]));
    let other =
        |path: &Path| APART.iter().any(|module| Some(*module) != own && path.is_below(&format!("crate::{module}")));
    named(file, file.is_shell() && own.is_some(), other)
}

fn is_one_of(path: &Path, word: &str) -> bool {
    path.parts.iter().any(|part| part == word)
}

fn is_impure(path: &Path) -> bool {
    IMPURE.iter().chain(&IMPURE_STD).any(|prefix| path.is_below(prefix))
        || ["HashMap", "HashSet"].iter().any(|word| is_one_of(path, word))
}

/// Lines of TOML that hold something, each with its table's name.
fn toml_lines(file: &SourceFile) -> Vec<(usize, String, &str)> {
    let mut table = String::new();
    let mut lines = Vec::new();
    for (number, line) in file.lines() {
        let line = line.split(" #").next().unwrap_or(line).trim();
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
        }
        if !line.is_empty() && !line.starts_with('#') {
            lines.push((number, table.clone(), line));
        }
    }
    lines
}

fn core_crates(file: &SourceFile) -> Vec<Finding> {
    if file.path != "relayer/core/Cargo.toml" {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, table, line) in toml_lines(file) {
        let name = match table.strip_suffix("]").unwrap_or(&table) {
            "dependencies" | "build-dependencies" => line.split(['.', '=', ' ']).next(),
            table => table.strip_prefix("dependencies.").filter(|_| line.starts_with('[')),
        };
        let Some(name) = name else { continue };
        let impure = IMPURE.iter().any(|crate_| name == *crate_ || name.strip_prefix(crate_).is_some_and(below));
        if impure && name != "alloy-primitives" {
            found.push((number, name.to_owned()));
        }
    }
    found
}

/// `tokio-util` goes with `tokio`.
fn below(rest: &str) -> bool {
    rest.starts_with(['-', '_'])
}

fn is_manifest(file: &SourceFile) -> bool {
    file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml")
}

fn foreign_tls(file: &SourceFile) -> Vec<Finding> {
    let of_manifest = |line: &str| ["aws-lc", "aws_lc", "native-tls", "openssl"].iter().any(|bad| line.contains(bad));
    let mut package = "";
    let mut found = Vec::new();
    for (number, _, line) in toml_lines(file) {
        if let Some(name) = line.strip_prefix("name = ") {
            package = name.trim_matches('"');
        }
        let bad = ["openssl", "native-tls"].iter().any(|bad| package.starts_with(bad)) && package != PROBE;
        let user = line.starts_with("\"aws-lc-") && !AWS_LC_USERS.contains(&package);
        if (file.path == "Cargo.lock" && (user || (bad && line.starts_with("name = "))))
            || (is_manifest(file) && of_manifest(line))
        {
            found.push((number, line.to_owned()));
        }
    }
    found
}

fn git_dependencies(file: &SourceFile) -> Vec<Finding> {
    let of_manifest = |line: &str| line.starts_with("git =") || line.contains("{ git =") || line.contains(", git =");
    let bad = |line: &str| {
        (file.path == "Cargo.lock" && line.starts_with("source = \"git+")) || (is_manifest(file) && of_manifest(line))
    };
    let lines = toml_lines(file).into_iter();
    lines.filter(|(_, _, line)| bad(line)).map(|(number, _, line)| (number, line.to_owned())).collect()
}

fn long_file(file: &SourceFile) -> Vec<Finding> {
    let lines = file.text.lines().count();
    let is_source = file.path.ends_with(".rs") || file.path.ends_with(".sol");
    if is_source && lines > LINES_MAX { vec![(lines, format!("{lines} lines"))] } else { Vec::new() }
}

fn unfinished(file: &SourceFile) -> Vec<Finding> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let tokens = file.tokens();
    let pairs = tokens
        .windows(2)
        .filter(|pair| matches!(pair[0].text.as_str(), "todo" | "unimplemented" | "dbg") && pair[1].text == "!");
    pairs.map(|pair| (pair[0].line, format!("{}!", pair[0].text))).collect()
}

fn unwraps(file: &SourceFile) -> Vec<Finding> {
    if !file.is_shell() && !file.is_core() {
        return Vec::new();
    }
    let tokens = file.tokens();
    let calls =
        tokens.windows(4).filter(|some| some.iter().map(|token| token.text.as_str()).eq([".", "unwrap", "(", ")"]));
    calls.map(|some| (some[1].line, ".unwrap()".to_owned())).collect()
}

fn machine_bound(file: &SourceFile) -> Vec<Finding> {
    let registry = |line: &str| match file.path.as_str() {
        "Cargo.lock" => {
            line.strip_prefix("source = \"").is_some_and(|source| source.trim_end_matches('"') != CRATES_IO)
        }
        "package-lock.json" => line.trim().starts_with("\"resolved\":"),
        path if path.ends_with(".npmrc") => line.contains("registry"),
        path if path.contains(".cargo/config") => line.contains("[source.") || line.contains("[registries"),
        _ => false,
    };
    file.lines()
        .filter(|(_, line)| registry(line) || has_machine_path(line))
        .map(|(at, line)| (at, line.to_owned()))
        .collect()
}

/// A machine's folder at the beginning of a path: what stands before it is no part of an address.
fn has_machine_path(line: &str) -> bool {
    let begins =
        |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-~)}".contains(before));
    MACHINE_PATHS.iter().any(|folder| line.match_indices(folder).any(|(at, _)| begins(at)))
}
