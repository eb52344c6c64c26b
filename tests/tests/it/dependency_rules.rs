//! The project's own rules about what may know what (ARCHITECTURE.md), held over every tracked file. They are read off
//! the text, so `make lint` needs nothing installed for them.

mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use rules::{RULES, Rule};
use source::SourceFile;

/// Left out where Git cannot say what is tracked: what .gitignore names, and Git's own.
const NOT_OURS: [&str; 7] = [".git", "target", "node_modules", "out", "cache", "broadcast", ".devnet"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the project's folder")
}

/// Paths of all files that are tracked or about to be.
fn tracked(project: &Path) -> Vec<String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(arguments).current_dir(project).output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
        return names.split_terminator('\0').map(str::to_owned).collect();
    }
    let (mut files, mut folders) = (Vec::new(), vec![project.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, name) = (entry.path(), entry.file_name());
            if NOT_OURS.iter().any(|other| name == *other) {
                continue;
            } else if entry.file_type().expect("its type").is_dir() {
                folders.push(path);
            } else {
                let inner = path.strip_prefix(project).expect("within the project");
                files.push(inner.to_str().expect("a name in UTF-8").to_owned());
            }
        }
    }
    files
}

/// Every tracked text.
fn files() -> Vec<SourceFile> {
    let project = project();
    let read = |path: String| {
        // A file that is deleted but not committed yet is still listed; one that is no text has nothing to read.
        let text = std::fs::read_to_string(project.join(&path)).ok()?;
        Some(SourceFile { path, text })
    };
    tracked(&project).into_iter().filter_map(read).collect()
}

fn breaches(rule: &Rule, file: &SourceFile) -> Vec<String> {
    let found = (rule.find)(file).into_iter();
    found.map(|(line, what)| format!("{}:{line}: {what} [{}: {}]", file.path, rule.name, rule.says)).collect()
}

#[test]
fn each_rule_should_hold_in_every_file() {
    let files = files();
    assert!(files.iter().filter(|file| file.is_shell()).count() > 50, "the service is not where it was");
    assert!(files.iter().filter(|file| file.is_core()).count() > 30, "the core is not where it was");
    let found: Vec<String> = RULES.iter().flat_map(|rule| files.iter().flat_map(|file| breaches(rule, file))).collect();
    assert!(found.is_empty(), "{} breaches of the project's rules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn each_rule_should_catch_what_it_forbids_and_nothing_else() {
    for rule in RULES {
        let found = |(path, text): &(&str, &str)| {
            breaches(rule, &SourceFile { path: (*path).to_owned(), text: (*text).to_owned() })
        };
        for sample in rule.breaks {
            let found = found(sample);
            assert_eq!(found.len(), 1, "{}: {} {:.80} gives {found:?}", rule.name, sample.0, sample.1);
            assert!(found[0].starts_with(sample.0) && found[0].contains(rule.name), "{}", found[0]);
        }
        for sample in rule.keeps {
            assert_eq!(found(sample), [""; 0], "{}: {} {:.80}", rule.name, sample.0, sample.1);
        }
    }
}
