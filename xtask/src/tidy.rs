//! `cargo xtask tidy`: what a compiler does not see. Length of functions is clippy's
//! (`too_many_lines`); all else that can be read off the files is here.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::layers;

/// Most lines of a source file.
const LONGEST_FILE: usize = 800;
/// Files that are read as text.
const TEXT: &[&str] = &[
    "rs", "md", "toml", "sh", "hcl", "py", "txt", "yml", "yaml", "service", "",
];
/// Not ours, or not written by hand.
const SKIPPED: &[&str] = &["target", "Cargo.lock"];

/// Prints each finding; an error if there is one.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let mut found = layers::findings(root)?;
    let mut files = Vec::new();
    list(root, Path::new(""), &mut files)?;
    for file in &files {
        let bytes = std::fs::read(root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        found.extend(in_text(file, &text));
        if file.starts_with("docs/formats") {
            found.extend(in_format(root, file, &text));
        }
    }
    found.extend(undecided(root)?);
    for finding in &found {
        println!("{finding}");
    }
    match found.len() {
        0 => Ok(()),
        count => bail!("{count} finding(s) in {} files", files.len()),
    }
}

/// Files below `dir` with an extension of [`TEXT`], sorted. Hidden directories are left out,
/// but for CI's and cargo's own.
fn list(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(root.join(dir))
        .with_context(|| format!("cannot list {}", dir.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".cargo");
        if hidden || SKIPPED.contains(&&*name) {
            continue;
        }
        let path = dir.join(&*name);
        if entry.file_type()?.is_dir() {
            list(root, &path, files)?;
        } else if TEXT.contains(
            &path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .as_ref(),
        ) {
            files.push(path);
        }
    }
    Ok(())
}

fn in_text(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    if is_rust {
        if !text.starts_with("//!") {
            found.push(format!("{}:1: a file opens with '//!'", file.display()));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            found.push(format!(
                "{}: {lines} lines; {LONGEST_FILE} asks for a split",
                file.display()
            ));
        }
    }
    let mut in_tests = file.starts_with("tests") || file.iter().any(|part| part == "tests");
    for (at, line) in text.lines().enumerate() {
        in_tests |= is_rust && line.trim() == "#[cfg(test)]";
        for message in in_line(line, is_rust, in_tests) {
            found.push(format!("{}:{}: {message}", file.display(), at + 1));
        }
    }
    found
}

/// What is wrong with one line. The words are put together here, so that this file passes.
fn in_line(line: &str, is_rust: bool, in_tests: bool) -> Vec<&'static str> {
    let mut found = Vec::new();
    let home = ["/ho\u{6d}e/", "/ro\u{6f}t/", "/wo\u{72}k/", "/Us\u{65}rs/"];
    if home.iter().any(|path| mentions_path(line, path)) {
        found.push("a path of some machine");
    }
    if !is_rust {
        return found;
    }
    let marks = ["TO\u{44}O", "FIX\u{4d}E", "XX\u{58}"];
    if marks.iter().any(|mark| has_word(line, mark)) {
        found.push("a note to do it later: do it, or open an issue");
    }
    if line.contains("#[ig\u{6e}ore") {
        found.push("an ignored test");
    }
    if line.contains("#![al\u{6c}ow") || line.contains("#[al\u{6c}ow") {
        found.push("a lint switched off: #[expect(lint, reason = \"…\")]");
    }
    let sleeps = ["thread::sl\u{65}ep(", "time::sl\u{65}ep(", " sl\u{65}ep("];
    if in_tests && sleeps.iter().any(|sleep| line.contains(sleep)) {
        found.push("a test that sleeps: wait for a state");
    }
    found
}

/// Whether an absolute path begins here: not a part of a URL or of a longer path.
fn mentions_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '}' | '-' | '_' | '/'))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back())
            && !part_of_word(line[at + word.len()..].chars().next())
    })
}

/// A description of stored bytes names a golden file, and each one that it names is there.
fn in_format(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let names: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("/golden/"))
        .collect();
    if names.is_empty() {
        return vec![format!("{}: names no golden file", file.display())];
    }
    let missing = names
        .into_iter()
        .flat_map(spelled_out)
        .filter(|name| !root.join(name).is_file());
    missing
        .map(|name| format!("{}: {name} is not there", file.display()))
        .collect()
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn spelled_out(name: &str) -> Vec<String> {
    let parts = name
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    match parts {
        Some((head, (inner, tail))) => inner
            .split(',')
            .map(|one| format!("{head}{}{tail}", one.trim()))
            .collect(),
        None => vec![name.to_owned()],
    }
}

/// Crates from outside without a line in the decision about dependencies.
fn undecided(root: &Path) -> anyhow::Result<Vec<String>> {
    const DECISION: &str = "docs/decisions/0001-dependencies.md";
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let decision = std::fs::read_to_string(root.join(DECISION))
        .with_context(|| format!("cannot read {DECISION}"))?;
    Ok(undecided_in(&manifest, &decision)
        .into_iter()
        .map(|name| format!("Cargo.toml: {name} has no line in {DECISION}"))
        .collect())
}

fn undecided_in<'a>(manifest: &'a str, decision: &str) -> Vec<&'a str> {
    let table = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1);
    table
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !decision.contains(&format!("| {name} |")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(file: &str, text: &str) -> String {
        in_text(Path::new(file), text).join("\n")
    }

    #[test]
    fn each_rule_finds_what_it_forbids() {
        let cases = [
            ("a.rs", "use x;", "a.rs:1: a file opens with"),
            (
                "a.rs",
                "//! x\n// TO\u{44}O: later",
                "a.rs:2: a note to do it later",
            ),
            ("a.rs", "//! x\n#[ig\u{6e}ore]", "a.rs:2: an ignored test"),
            (
                "a.rs",
                "//! x\n#![al\u{6c}ow(dead_code)]",
                "a.rs:2: a lint switched off",
            ),
            (
                "c/tests/a.rs",
                "//! x\nstd::thread::sl\u{65}ep(d);",
                "c/tests/a.rs:2: a test that sleeps",
            ),
            (
                "a.rs",
                "//! x\n#[cfg(test)]\n{ tokio::time::sl\u{65}ep(d) }",
                "a.rs:3: a test that",
            ),
            (
                "a.md",
                "see `/ho\u{6d}e/me/x`",
                "a.md:1: a path of some machine",
            ),
            (
                ".ci/run",
                "cd /wo\u{72}k/x",
                ".ci/run:1: a path of some machine",
            ),
        ];
        for (file, text, expected) in cases {
            assert!(
                messages(file, text).starts_with(expected),
                "{text}: {}",
                messages(file, text)
            );
        }
        let long = format!("//! x\n{}", "\n".repeat(LONGEST_FILE));
        assert!(messages("a.rs", &long).contains("801 lines"));
    }

    #[test]
    fn what_only_looks_like_it_passes() {
        let fine = [
            ("a.rs", "//! x\nfn main() { tokio::time::sl\u{65}ep(d) }"),
            ("a.rs", "//! x\nlet xxx = \"XX\u{58}X\"; // AUTO\u{44}OC"),
            (
                "a.md",
                "https://example.com/ho\u{6d}e/x, docs/ho\u{6d}e/, $HOME/x",
            ),
        ];
        for (file, text) in fine {
            assert_eq!(messages(file, text), "", "{text}");
        }
    }

    #[test]
    fn names_in_braces_are_spelled_out() {
        assert_eq!(
            spelled_out("a/golden/{b-1.hex, c.json}"),
            ["a/golden/b-1.hex", "a/golden/c.json"]
        );
        assert_eq!(spelled_out("a/golden/b"), ["a/golden/b"]);
    }

    #[test]
    fn a_crate_without_a_decision_is_found() {
        let manifest = "[workspace.dependencies]\na = \"1\"\nb = { version = \"1\" }\n\
             c = { path = \"c\" }\n\n[profile.dev]\nd = 1\n";
        assert_eq!(undecided_in(manifest, "| a | why | MIT |"), ["b"]);
    }
}
