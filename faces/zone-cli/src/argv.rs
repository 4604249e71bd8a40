//! Flags as Vault writes them, for a parser that knows only `--long` ones.
//!
//! [`normalise`] walks the command tree, then turns `-name`, `-name=value`, `-name value` and the
//! same with two dashes into `--name=value`, wherever they stand among the arguments.
//!
//! What must hold: `-` (standard input), numbers like `-1`, and whatever follows `--` or is the
//! value of a flag, stay as they are.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// A flag that the command does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgvFault {
    #[error("'{command}' has no flag -{flag}{}", suggestion(.near.as_deref()))]
    Unknown {
        command: String,
        flag: String,
        near: Option<String>,
    },
    #[error("the flag -{flag} needs a value: -{flag}=…")]
    NoValue { flag: String },
}

fn suggestion(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean -{near}?"))
}

/// Rewrites `arguments` (without the program's name) for `root`, which has been built. Also tells
/// the words of the command that they name.
pub(crate) fn normalise(
    root: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> (String, Result<Vec<OsString>, ArgvFault>) {
    let mut command = root;
    let mut words = root.get_name().to_owned();
    let mut out = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        // An argument that is not UTF-8 is no flag of ours.
        let text = argument.to_str().unwrap_or_default();
        if text == "--" {
            out.push(argument);
            out.extend(rest);
            break;
        }
        if let Some((flag, value)) = split(text) {
            match joined(command, &words, flag, value, &mut rest) {
                Ok(flag) => out.push(flag),
                Err(fault) => return (words, Err(fault)),
            }
            continue;
        }
        if let Some(below) = command.find_subcommand(text) {
            command = below;
            words = format!("{words} {}", below.get_name());
        }
        out.push(argument);
    }
    (words, Ok(out))
}

/// `--name=value`; the value is the next argument if the flag wants one and none is joined.
fn joined(
    command: &Command,
    words: &str,
    flag: &str,
    value: Option<&str>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, ArgvFault> {
    let found = find(command, flag).ok_or_else(|| ArgvFault::Unknown {
        command: words.to_owned(),
        flag: flag.to_owned(),
        near: nearest(command, flag),
    })?;
    let value = match value {
        Some(value) => Some(OsString::from(value)),
        None if takes_value(found) => {
            let flag = flag.to_owned();
            Some(rest.next().ok_or(ArgvFault::NoValue { flag })?)
        }
        None => None,
    };
    let mut joined = OsString::from(format!("--{}", found.get_long().unwrap_or_default()));
    if let Some(value) = value {
        joined.push("=");
        joined.push(value);
    }
    Ok(joined)
}

/// The name and the value of a flag; `None` for anything else.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let first = flag.chars().next()?;
    if first.is_ascii_digit() || first == '.' {
        return None;
    }
    Some(match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    })
}

fn find<'a>(command: &'a Command, flag: &str) -> Option<&'a Arg> {
    let names = |argument: &&Arg| {
        let short = argument
            .get_short()
            .is_some_and(|short| flag == short.to_string());
        let aliases = argument.get_all_aliases().unwrap_or_default();
        short || argument.get_long() == Some(flag) || aliases.contains(&flag)
    };
    command.get_arguments().find(names)
}

/// Whether the next argument is the value if none is joined. Switches take one only with `=`.
fn takes_value(argument: &Arg) -> bool {
    let action = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    action && !argument.is_require_equals_set()
}

/// The flag that needs the fewest edits to become this one, if they are few.
fn nearest(command: &Command, flag: &str) -> Option<String> {
    let longs = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    let distances = longs
        .filter_map(Arg::get_long)
        .map(|long| (edits(flag, long), long));
    let (distance, long) = distances.min()?;
    (distance <= 1 + flag.len() / 4).then(|| long.to_owned())
}

/// Levenshtein's distance.
pub(crate) fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static TREE: std::sync::LazyLock<Command> = std::sync::LazyLock::new(|| {
        let mut command = crate::command();
        command.build();
        command
    });

    fn run(line: &str) -> Result<String, ArgvFault> {
        let arguments = line
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(OsString::from);
        let words = normalise(&TREE, arguments).1?;
        Ok(words
            .iter()
            .map(|word| word.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn flags_of_any_spelling_become_long_ones() {
        for (given, expected) in [
            ("status -format=json", "status --format=json"),
            ("status --format=json", "status --format=json"),
            ("status -format json", "status --format=json"),
            ("status --format json", "status --format=json"),
            ("kv get -mount=secret app", "kv get --mount=secret app"),
            ("kv get app -mount secret", "kv get app --mount=secret"),
            ("kv get -version=-1 app", "kv get --version=-1 app"),
            ("kv put -cas -1 a b=c", "kv put --cas=-1 a b=c"),
            ("kv put a b=-", "kv put a b=-"),
            ("kv put a -", "kv put a -"),
            ("kv put a -1", "kv put a -1"),
            ("kv put a -.5", "kv put a -.5"),
            ("kv put a -- -mount=b", "kv put a -- -mount=b"),
            ("write -f a", "write --force a"),
            ("write -force a", "write --force a"),
            (
                "token create -renewable=false",
                "token create --renewable=false",
            ),
            (
                "token create -orphan -ttl 1h",
                "token create --orphan --ttl=1h",
            ),
            ("token renew -i 1h", "token renew --increment=1h"),
            (
                "operator init -n 5 -t=3",
                "operator init --key-shares=5 --key-threshold=3",
            ),
            ("init -n 5", "init --key-shares=5"),
            (
                "kv metadata put -custom-metadata=a=b=c x",
                "kv metadata put --custom-metadata=a=b=c x",
            ),
            (
                "kv put -mount=secret kv kv=kv",
                "kv put --mount=secret kv kv=kv",
            ),
            ("status -h", "status --help"),
            ("-help", "--help"),
            ("kv -help", "kv --help"),
            ("", ""),
        ] {
            assert_eq!(run(given).as_deref(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn unknown_flags_are_named_with_a_suggestion() {
        let message = |line| run(line).unwrap_err().to_string();
        assert_eq!(
            message("kv get -mont=secret a"),
            "'zonehead kv get' has no flag -mont; did you mean -mount?"
        );
        assert_eq!(
            message("kv -mount=x get a"),
            "'zonehead kv' has no flag -mount"
        );
        assert_eq!(
            message("seal -pgp-keys=a"),
            "'zonehead seal' has no flag -pgp-keys"
        );
        assert_eq!(
            message("status -format"),
            "the flag -format needs a value: -format=…"
        );
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("mont", "mount"), 1);
        assert_eq!(edits("format", "format"), 0);
    }

    proptest! {
        /// Rewriting twice is rewriting once, nothing behind `--` changes, and nothing panics.
        #[test]
        fn rewriting_is_stable(
            words in proptest::collection::vec(
                "(kv|get|put|token|create|operator|init|-{0,3}[a-z-]{0,9}(=[a-z=-]{0,5})?|-1|-|.{0,6})",
                0..8,
            ),
        ) {
            let command = &*TREE;
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            if let (_, Ok(once)) = normalise(command, words.clone()) {
                let (_, twice) = normalise(command, once.clone());
                prop_assert_eq!(twice, Ok(once.clone()));
                let ends = |all: &[OsString]| -> Vec<usize> {
                    (0..all.len()).filter(|at| all[*at] == "--").collect()
                };
                let (before, after) = (ends(&words), ends(&once));
                // One of them may have been the value of a flag.
                if !before.is_empty() && before.len() == after.len() {
                    prop_assert_eq!(&words[before[0]..], &once[after[0]..]);
                }
            }
        }
    }
}
