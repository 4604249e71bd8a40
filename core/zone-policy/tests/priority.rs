//! Which rule decides: tables from Vault's and OpenBao's documentation, and a slow model of the
//! same sentences against which random rules are held.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;
use zone_policy::{Acl, Ask, Denial, Operation, Policy};
use zone_types::RequestPath;

const ALL: [Operation; 6] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Delete,
    Operation::List,
    Operation::Patch,
];

fn acl(texts: &[&str]) -> Acl {
    let policies: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| Policy::parse(&format!("p{at}"), text).expect("a policy"))
        .collect();
    Acl::compile(policies.iter())
}

/// `path:words` per line to HCL.
fn rules(lines: &str) -> String {
    let stanza = |line: &str| {
        let (path, words) = line.trim().split_once(':').expect("path: words");
        let words: Vec<_> = words
            .split_whitespace()
            .map(|word| format!("{word:?}"))
            .collect();
        format!(
            "path {path:?} {{ capabilities = [{}] }}\n",
            words.join(", ")
        )
    };
    lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(stanza)
        .collect()
}

fn allows(acl: &Acl, operation: Operation, path: &str) -> bool {
    let path = RequestPath::from_text(path).expect("a canonical path");
    let ask = Ask {
        path: &path,
        operation,
        parameters: None,
        wrap_ttl: None,
    };
    acl.check(&ask).allowed
}

#[track_caller]
fn check(lines: &str, cases: &[(&str, &str)]) {
    let acl = acl(&[&rules(lines)]);
    for (path, words) in cases {
        assert_eq!(
            acl.capabilities(path).join(" "),
            *words,
            "{path} under {lines}"
        );
    }
}

#[test]
fn documented_examples() {
    check(
        "secret/*: create read update patch delete list
         secret/super-secret: deny
         secret/restricted: create",
        &[
            ("secret/foo", "create delete list patch read update"),
            ("secret/super-secret", "deny"),
            ("secret/restricted", "create"),
            (
                "secret/restricted/x",
                "create delete list patch read update",
            ),
            ("other", "deny"),
        ],
    );
    check(
        "secret/bar/*: read\nsecret/zip-*: read",
        &[
            ("secret/bar/zip", "read"),
            ("secret/bar/zip/zap", "read"),
            ("secret/bars/zip", "deny"),
            ("secret/zip-zap/zong", "read"),
            ("secret/zip/zap", "deny"),
        ],
    );
    check(
        "secret/+/teamb: read\nsecret/+/+/teamb: update",
        &[
            ("secret/foo/teamb", "read"),
            ("secret/teamb", "deny"),
            ("secret/foo/bar/teamb", "update"),
            ("secret/a/b/c/teamb", "deny"),
        ],
    );
    check(
        "secret/*: read\nsecret/+/+/foo/*: list",
        &[("secret/foo", "read"), ("secret/a/b/foo/c", "read")],
    );
    check(
        "secret/+/+/foo/*: deny\nsecret/*: read",
        &[("secret/bar/baz/foo/x", "read")],
    );
}

#[test]
fn best_match_in_vaults_order() {
    check("a/+/c: read\na/b/*: update", &[("a/b/c", "update")]);
    check(
        "a/+/c: read\na/+/*: update",
        &[("a/b/c", "read"), ("a/b/d", "update")],
    );
    check("a/+/+/d: read\na/+/c/+: update", &[("a/b/c/d", "update")]);
    check(
        "a/+/+/d: read\na/+/c/d: update",
        &[("a/b/c/d", "update"), ("a/b/x/d", "read")],
    );
    check(
        "a/+/b*: read\na/+/bc*: update",
        &[("a/x/bcd", "update"), ("a/x/b", "read")],
    );
    check(
        "+/a: read\n*: update",
        &[("b/a", "read"), ("b/b", "update")],
    );
    check(
        "a*: read\na/b*: update\na/bc/*: list",
        &[
            ("a/bc/d", "list"),
            ("a/bd", "update"),
            ("a/c", "read"),
            ("abc", "read"),
            ("b", "deny"),
        ],
    );
}

#[test]
fn deny_wins_inside_a_pattern_and_only_there() {
    let read = rules("secret/x*: read");
    let deny = rules("secret/x*: deny\nsecret/y: read deny");
    for texts in [[&*read, &*deny], [&*deny, &*read]] {
        let acl = acl(&texts);
        assert_eq!(acl.capabilities("secret/x1"), ["deny"]);
        assert_eq!(acl.capabilities("secret/y"), ["deny"]);
    }
    check(
        "secret/*: deny\nsecret/a: read",
        &[("secret/a", "read"), ("secret/b", "deny")],
    );
}

#[test]
fn the_same_pattern_unites() {
    let acl = acl(&[
        &rules("s/*: read"),
        &rules("s/*: update sudo"),
        &rules("/s/*: list"),
    ]);
    assert_eq!(acl.capabilities("s/a"), ["list", "read", "sudo", "update"]);
    let path = RequestPath::from_text("s/a").unwrap();
    let ask = Ask {
        path: &path,
        operation: Operation::Read,
        parameters: None,
        wrap_ttl: None,
    };
    let decision = acl.check(&ask);
    assert!(decision.allowed && decision.sudo);
    assert_eq!(decision.rule.unwrap().to_string(), "\"s/*\" (p0 line 1)");
}

#[test]
fn the_text_of_the_grounds_is_kept_for_each_operation() {
    let acl = acl(&[&rules("s/*: read"), &rules("s/*: update")]);
    let path = RequestPath::from_text("s/a").unwrap();
    for operation in ALL.into_iter().chain(ALL) {
        let ask = Ask {
            path: &path,
            operation,
            parameters: None,
            wrap_ttl: None,
        };
        let grounds = acl.check(&ask).rule.unwrap();
        assert_eq!(*grounds.text(), *grounds.to_string(), "{operation:?}");
        let root = Acl::root();
        assert_eq!(*root.check(&ask).rule.unwrap().text(), *"root");
    }
}

#[test]
fn ghsa_xp3c_a_list_does_not_escape_a_deny_in_either_spelling() {
    let cases = [
        "s/*: list\ns/deep/*: deny",
        "s/*: list\ns/deep: deny",
        "s/*: list\ns/deep/: deny",
        "s/*: list\ns/dee*: deny",
        "s/*: list\n+/deep/: deny\ns/deep*: deny",
        "+/+: list\ns/+/: deny",
        "s/+: list\ns/deep/*: deny",
        "*: list\n+/deep: deny",
    ];
    for lines in cases {
        let acl = acl(&[&rules(lines)]);
        assert!(!allows(&acl, Operation::List, "s/deep/"), "{lines}");
        assert_eq!(acl.capabilities("s/deep/"), ["deny"], "{lines}");
    }
}

#[test]
fn a_list_is_granted_in_either_spelling() {
    for lines in [
        "s/deep: list",
        "s/deep/: list",
        "s/deep*: list",
        "s/+: list",
        "s/+/: list",
    ] {
        assert!(
            allows(&acl(&[&rules(lines)]), Operation::List, "s/deep/"),
            "{lines}"
        );
    }
    // The exact spelling of the request comes first.
    let acl = acl(&[&rules("s/deep: read\ns/deep/: list")]);
    assert!(allows(&acl, Operation::List, "s/deep/"));
    // A read has one spelling.
    assert!(!allows(&acl, Operation::Read, "s/deep/"));
}

#[test]
fn root_is_a_flag() {
    let root = Acl::root();
    for operation in ALL {
        assert!(allows(&root, operation, "sys/raw/x"));
    }
    assert_eq!(root.capabilities("anything"), ["root"]);
    assert!(root.reaches("x/"));
    assert!(acl(&[]).capabilities("x") == ["deny"]);
}

#[test]
fn reasons_are_told() {
    let acl = acl(&[&rules("a: read\nb: deny")]);
    let reason = |text, operation| {
        let path = RequestPath::from_text(text).unwrap();
        let ask = Ask {
            path: &path,
            operation,
            parameters: None,
            wrap_ttl: None,
        };
        acl.check(&ask).denied_because
    };
    assert_eq!(reason("a", Operation::Read), None);
    assert_eq!(reason("a", Operation::Update), Some(Denial::NotGranted));
    assert_eq!(reason("b", Operation::Read), Some(Denial::Explicit));
    assert_eq!(reason("c", Operation::Read), Some(Denial::NoRule));
}

#[test]
fn reaches_a_mount_by_any_rule_below_it() {
    let cases = [
        ("kv/a/b: read", true),
        ("kv/*: list", true),
        ("k*: list", true),
        ("+/a: read", true),
        ("+/*: read", true),
        ("kv/+/x: read", true),
        ("kv/a: deny", false),
        ("kv/a: sudo", false),
        ("kv2/a: read", false),
        // The other spelling of a list of the mount itself.
        ("kv: list", true),
        ("kvs/*: list", false),
        ("*: read\nkv/*: deny", false),
        ("+: read", true),
    ];
    for (lines, expected) in cases {
        assert_eq!(acl(&[&rules(lines)]).reaches("kv/"), expected, "{lines}");
    }
}

#[test]
fn attack_8_covers_what_is_held_and_no_more() {
    let cases = [
        ("s/*: read", "s/a: read", true),
        ("s/*: read", "s/+: read", true),
        ("s/*: read list", "s/*: read", true),
        ("s/*: read", "s/*: read update", false),
        ("s/*: read", "s*: read", false),
        ("s/+: read", "s/*: read", false),
        ("s/*: read\ns/x: deny", "s/*: read", false),
        ("s/*: read\ns/x: deny", "s/*: read\ns/x: deny", true),
        ("s/*: read\ns/x/*: deny", "s/x/y: read", false),
        ("s/*: read\ns/x: list", "s/*: read", false),
        ("s/*: read", "s/a: deny", true),
        ("s/*: read", "t/a: deny", true),
        ("s/*: read", "s/a: sudo", false),
        ("s/*: read sudo", "s/a: sudo", true),
        ("s/*: list\ns/x: deny", "s/x/: list", false),
        ("*: read", "+/+: read", true),
    ];
    for (mine, theirs, expected) in cases {
        let covers = acl(&[&rules(mine)]).covers(&acl(&[&rules(theirs)]));
        assert_eq!(covers, expected, "{mine} covers {theirs}");
    }
    let some = acl(&[&rules("*: create read update delete list patch sudo")]);
    assert!(Acl::root().covers(&some) && !some.covers(&Acl::root()));
    assert!(Acl::root().covers(&Acl::root()));
}

// ---- the slow model -----------------------------------------------------------------------

/// A pattern as Vault's documentation speaks of it.
#[derive(Debug, Clone)]
struct Slow {
    text: String,
    words: Vec<&'static str>,
}

impl Slow {
    fn matches(&self, path: &str) -> bool {
        let (body, star) = match self.text.strip_suffix('*') {
            Some(body) => (body, true),
            None => (&*self.text, false),
        };
        let wanted: Vec<_> = body.split('/').collect();
        let given: Vec<_> = path.split('/').collect();
        if given.len() < wanted.len() || (!star && given.len() > wanted.len()) {
            return false;
        }
        let last = wanted.len() - 1;
        let whole = |at: usize| wanted[at] == "+" || wanted[at] == given[at];
        (0..last).all(whole) && (whole(last) || (star && given[last].starts_with(wanted[last])))
    }

    fn is_exact(&self) -> bool {
        !self.text.ends_with('*') && !self.text.split('/').any(|segment| segment == "+")
    }

    /// The order of the documentation, one sentence a line.
    fn beats(&self, other: &Self) -> bool {
        let first = |text: &str| text.find(['+', '*']);
        let star = |text: &str| text.ends_with('*');
        let pluses = |text: &str| text.matches('+').count();
        let body = |text: &str| text.trim_end_matches('*').to_owned();
        let (a, b) = (&*self.text, &*other.text);
        let order = first(a)
            .cmp(&first(b))
            .then(star(b).cmp(&star(a)))
            .then(pluses(b).cmp(&pluses(a)))
            .then(body(a).len().cmp(&body(b).len()))
            .then(body(a).cmp(&body(b)));
        order == Ordering::Greater
    }
}

fn slow_words(rules: &[Slow], path: &str, list: bool) -> Vec<&'static str> {
    let mut united: BTreeMap<&str, Slow> = BTreeMap::new();
    for rule in rules {
        let entry = united.entry(&rule.text).or_insert(Slow {
            words: Vec::new(),
            ..rule.clone()
        });
        entry.words.extend(&rule.words);
    }
    let bare = path.strip_suffix('/').filter(|_| list).unwrap_or(path);
    let exact = [path, bare]
        .into_iter()
        .find_map(|path| united.get(path).filter(|r| r.is_exact()));
    let best = exact.or_else(|| {
        let fits = |rule: &&Slow| !rule.is_exact() && (rule.matches(path) || rule.matches(bare));
        united
            .values()
            .filter(fits)
            .reduce(|a, b| if b.beats(a) { b } else { a })
    });
    let mut words = best.map(|rule| rule.words.clone()).unwrap_or_default();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() || words.contains(&"deny") {
        vec!["deny"]
    } else {
        words
    }
}

fn segments(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    (
        prop::collection::vec(prop::sample::select(of), 1..4),
        any::<bool>(),
    )
        .prop_map(|(parts, slash)| parts.join("/") + if slash { "/" } else { "" })
}

fn slow_rule() -> impl Strategy<Value = Slow> {
    let words = prop::sample::subsequence(vec!["read", "list", "update", "sudo", "deny"], 0..3);
    (segments(&["a", "b", "ab", "+"]), any::<bool>(), words).prop_map(|(body, star, words)| {
        let star = star && !body.ends_with('+');
        Slow {
            text: body + if star { "*" } else { "" },
            words,
        }
    })
}

fn compile(rules: &[Slow]) -> Acl {
    let lines: Vec<_> = rules
        .iter()
        .map(|rule| format!("{}: {}", rule.text, rule.words.join(" ")))
        .collect();
    acl(&[&self::rules(&lines.join("\n"))])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_slow_model(
        rules in prop::collection::vec(slow_rule(), 0..12),
        paths in prop::collection::vec(segments(&["a", "b", "ab", "abc"]), 1..6),
    ) {
        let acl = compile(&rules);
        for path in &paths {
            let expected = slow_words(&rules, path, true);
            prop_assert_eq!(&acl.capabilities(path), &expected, "{} {:?}", path, &rules);
            let listed = allows(&acl, Operation::List, path);
            prop_assert_eq!(listed, expected.contains(&"list"));
            for (operation, word) in [(Operation::Read, "read"), (Operation::Update, "update")] {
                let expected = slow_words(&rules, path, false).contains(&word);
                prop_assert_eq!(allows(&acl, operation, path), expected, "{} {}", word, path);
            }
        }
    }

    #[test]
    fn attack_8_covering_is_proved_by_every_request(
        mine in prop::collection::vec(slow_rule(), 0..5),
        theirs in prop::collection::vec(slow_rule(), 0..4),
        paths in prop::collection::vec(segments(&["a", "b", "ab", "abc"]), 1..24),
    ) {
        let (own, other) = (compile(&mine), compile(&theirs));
        prop_assert!(own.covers(&own));
        if own.covers(&other) {
            for path in &paths {
                for operation in ALL {
                    let path = RequestPath::from_text(path).unwrap();
                    // A list is asked with a slash at the end.
                    let path = if operation == Operation::List { path.as_prefix() } else { path };
                    let ask = Ask { path: &path, operation, parameters: None, wrap_ttl: None };
                    let (ours, theirs) = (own.check(&ask), other.check(&ask));
                    prop_assert!(ours.allowed || !theirs.allowed, "{} {:?}", path, operation);
                    prop_assert!(ours.sudo || !theirs.sudo, "sudo {} {:?}", path, operation);
                }
            }
        }
    }
}
