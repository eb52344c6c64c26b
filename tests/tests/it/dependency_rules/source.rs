//! A file as the rules read it: Rust without comments, literals and tests, and the paths that it names.

#![expect(clippy::arithmetic_side_effects, reason = "places in a file; a panic is how a test fails")]

use std::ops::Range;

/// One tracked file.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// Relative to the project, with `/`.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
}

/// A word or a mark of Rust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Counted from 1.
    pub(super) line: usize,
    /// A word, `::`, or one character.
    pub(super) text: String,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
    }
}

/// A path that is named somewhere: `crate::world::chain`, resolved where it begins with `self` or `super`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Counted from 1.
    pub(super) line: usize,
    /// Its parts.
    pub(super) parts: Vec<String>,
}

impl Path {
    /// True for `prefix` and everything below it.
    pub(super) fn is_below(&self, prefix: &str) -> bool {
        let mut parts = self.parts.iter();
        prefix.split("::").all(|wanted| parts.next().is_some_and(|part| part == wanted))
    }
}

impl SourceFile {
    /// Non-test Rust of the service: `relayer/src` without the core.
    pub(super) fn is_shell(&self) -> bool {
        self.path.starts_with("relayer/src/") && self.is_rust()
    }

    /// Rust of the core.
    pub(super) fn is_core(&self) -> bool {
        self.path.starts_with("relayer/core/src/") && self.is_rust()
    }

    /// Rust that is not a file of tests.
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs") && !self.path.ends_with("/tests.rs") && !self.path.contains("/tests/")
    }

    /// True where the file is one of `places` within the service: `evm` is `evm.rs` and all of `evm/`.
    pub(super) fn is_in(&self, places: &[&str]) -> bool {
        let Some(inner) = self.path.strip_prefix("relayer/src/") else { return false };
        let of = |place: &&str| inner.strip_prefix(*place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
        places.iter().any(of)
    }

    /// The modules that lead to this file: `["evm", "watcher"]`.
    fn module(&self) -> Vec<String> {
        let inner = self.path.split_once("src/").map_or("", |(_, inner)| inner);
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let names = inner.split('/').filter(|name| !matches!(*name, "lib" | "main" | ""));
        names.map(str::to_owned).collect()
    }

    /// The lines with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// Everything but comments, literals and what is for tests only.
    pub(super) fn tokens(&self) -> Vec<Token> {
        without_tests(tokens(&self.text))
    }

    /// Every path in [`Self::tokens`], `use` trees spelt out. A single word counts only after `use`.
    pub(super) fn paths(&self) -> Vec<Path> {
        let (tokens, module) = (self.tokens(), self.module());
        let mut paths = Vec::new();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let after_use = at.checked_sub(1).is_some_and(|before| tokens[before].text == "use");
            if !token.is_word() && token.text != "::" && !after_use {
                at += 1;
                continue;
            }
            let mut found = Vec::new();
            at = tree(&tokens, at, &[], &mut found);
            found.retain(|path: &Path| after_use || path.parts.len() > 1);
            paths.extend(found.into_iter().map(|path| Path { parts: resolved(path.parts, &module), ..path }));
        }
        paths
    }
}

/// Reads the path or tree of paths at `at`, writes what it names below `prefix`, and gives the place after it.
fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let start = at;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut parts = prefix.to_vec();
    if text(at) == "::" {
        at += 1;
    }
    loop {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                at = if text(at) == "as" {
                    at + 2
                } else if tokens[at].is_word() || matches!(text(at), "{" | "::") {
                    tree(tokens, at, &parts, found)
                } else {
                    at + 1
                };
            }
            return at + 1;
        }
        let Some(token) = tokens.get(at).filter(|token| token.is_word() || token.text == "*") else { break };
        parts.push(token.text.clone());
        at += 1;
        if text(at) != "::" {
            break;
        }
        at += 1;
    }
    if let Some(token) = tokens.get(start)
        && parts.len() > prefix.len()
    {
        found.push(Path { line: token.line, parts });
    }
    at.max(start + 1)
}

/// From the root of the crate, where a path begins within it.
fn resolved(parts: Vec<String>, module: &[String]) -> Vec<String> {
    let ups = parts.iter().take_while(|part| *part == "super").count();
    let from_here = usize::from(parts.first().is_some_and(|part| part == "self"));
    if ups + from_here == 0 {
        return parts;
    }
    let base = module.iter().take(module.len().saturating_sub(ups));
    let rest = parts.iter().skip(ups.max(from_here));
    std::iter::once("crate".to_owned()).chain(base.chain(rest).cloned()).collect()
}

/// Leaves out each item that stands behind `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens.get(at..at + MARK.len()).is_some_and(|some| some.iter().map(|one| &one.text).eq(MARK));
        if marked {
            at = item(&tokens, at + MARK.len()).end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The item at `at`: to the first `;`, or to the end of the first braces.
fn item(tokens: &[Token], start: usize) -> Range<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            ";" if depth == 0 => return start..at + 1,
            "{" => depth += 1,
            "}" if depth <= 1 => return start..at + 1,
            "}" => depth -= 1,
            _ => {}
        }
    }
    start..tokens.len()
}

/// Words and marks, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(&char) = chars.get(at) {
        let rest = &chars[at..];
        let length = if let Some(length) = comment(rest).or_else(|| literal(rest)) {
            length
        } else if char.is_alphanumeric() || char == '_' {
            let length = rest.iter().take_while(|char| char.is_alphanumeric() || **char == '_').count();
            tokens.push(Token { line, text: rest[..length].iter().collect() });
            length
        } else if rest.starts_with(&[':', ':']) {
            tokens.push(Token { line, text: "::".to_owned() });
            2
        } else {
            if !char.is_whitespace() {
                tokens.push(Token { line, text: char.to_string() });
            }
            1
        };
        line += rest[..length].iter().filter(|char| **char == '\n').count();
        at += length;
    }
    tokens
}

/// Length of the comment that `rest` begins with.
fn comment(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().take_while(|char| **char != '\n').count());
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(&['/', '*']) {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(&['*', '/']) {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// Length of the text or character that `rest` begins with; a lifetime is neither.
fn literal(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|char| matches!(**char, 'b' | 'c' | 'r')).count();
    let raw = rest[..prefix].contains(&'r');
    let hashes = if raw { rest[prefix..].iter().take_while(|char| **char == '#').count() } else { 0 };
    let open = prefix + hashes;
    match rest.get(open)? {
        '"' if raw => {
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let inner = rest[open + 1..].windows(close.len()).position(|some| some == close);
            Some(inner.map_or(rest.len(), |inner| open + 1 + inner + close.len()))
        }
        '"' => Some(quoted(rest, open, '"')),
        '\'' if rest.get(open + 1) == Some(&'\\') || rest.get(open + 2) == Some(&'\'') => {
            Some(quoted(rest, open, '\''))
        }
        _ => None,
    }
}

fn quoted(rest: &[char], open: usize, mark: char) -> usize {
    let mut at = open + 1;
    while at < rest.len() && rest[at] != mark {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
        file.paths().into_iter().map(|path| format!("{} {}", path.line, path.parts.join("::"))).collect()
    }

    #[test]
    fn trees_and_relative_paths_should_be_spelt_out() {
        let text = "use crate::{api, evm::{self, abi as a}, world::*};\nuse super::{b, super::c};\nuse sqlx;";
        let expected = [
            "1 crate::api",
            "1 crate::evm::self",
            "1 crate::evm::abi",
            "1 crate::world::*",
            "2 crate::x::b",
            "2 crate::c",
            "3 sqlx",
        ];
        assert_eq!(paths("relayer/src/x/y.rs", text), expected);
        assert_eq!(
            paths("relayer/src/x.rs", "fn f(a: super::store::S) { ::sqlx::query(b) }"),
            ["1 crate::store::S", "1 sqlx::query"]
        );
    }

    #[test]
    fn comments_literals_and_tests_should_be_left_out() {
        let text = "// a::b\n/* c::d /* e::f */ g::h */ let x: &'static T = (\"i::j \\\" k::l\", r#\"m::n \"o::p\"#, ':', '\\'');\n\
            #[cfg(test)]\nmod tests { use q::r; fn f() { s::t() } }\n#[cfg(test)]\nmod more;\nuse u::v;";
        assert_eq!(paths("relayer/src/x.rs", text), ["7 u::v"]);
    }
}
