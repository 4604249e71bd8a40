//! Templates: what they are filled with, and that no value ever means more than itself.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zone_policy::{Acl, AliasFacts, Ask, DEFAULT_POLICY, GroupFacts, Identity, Operation, Policy};
use zone_types::RequestPath;

const ALL: [Operation; 6] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Delete,
    Operation::List,
    Operation::Patch,
];

/// `path: words` per line.
fn policy(lines: &str) -> Policy {
    let stanza = |line: &str| {
        let (path, words) = line.trim().rsplit_once(':').expect("path: words");
        let words: Vec<_> = words
            .split_whitespace()
            .map(|word| format!("{word:?}"))
            .collect();
        format!(
            "path {path:?} {{ capabilities = [{}] }}\n",
            words.join(", ")
        )
    };
    let text: String = lines
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(stanza)
        .collect();
    Policy::parse("p", &text).expect("a policy")
}

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn ada() -> Identity {
    Identity {
        id: "e1".into(),
        name: "ada".into(),
        metadata: metadata(&[("team", "blue"), ("a.b", "dotted")]),
        aliases: vec![AliasFacts {
            accessor: "userpass_1".into(),
            id: "a1".into(),
            name: "Ada@x".into(),
            metadata: metadata(&[("role", "web")]),
            custom_metadata: metadata(&[("rack", "r7")]),
        }],
        groups: vec![GroupFacts {
            id: "g1".into(),
            name: "ops".into(),
            metadata: metadata(&[("site", "fra")]),
        }],
    }
}

fn filled(lines: &str, identity: &Identity) -> Acl {
    Acl::compile_for(std::iter::once(&policy(lines)), Some(identity))
}

fn widest(lines: &str) -> Acl {
    Acl::widest(std::iter::once(&policy(lines)))
}

fn allows(acl: &Acl, path: &str, operation: Operation) -> bool {
    let path = RequestPath::from_text(path).expect("a path");
    let ask = Ask {
        path: &path,
        operation,
        parameters: None,
        wrap_ttl: None,
    };
    acl.check(&ask).allowed
}

#[test]
fn each_selector_stands_for_its_value() {
    let cases = [
        ("identity.entity.id", "e1"),
        (" identity.entity.name ", "ada"),
        ("identity.entity.metadata.team", "blue"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.aliases.userpass_1.id", "a1"),
        ("identity.entity.aliases.userpass_1.name", "Ada@x"),
        ("identity.entity.aliases.userpass_1.metadata.role", "web"),
        (
            "identity.entity.aliases.userpass_1.custom_metadata.rack",
            "r7",
        ),
        ("identity.groups.ids.g1.id", "g1"),
        ("identity.groups.ids.g1.name", "ops"),
        ("identity.groups.names.ops.id", "g1"),
        ("identity.groups.names.ops.metadata.site", "fra"),
    ];
    for (selector, value) in cases {
        let acl = filled(&format!("s/{{{{{selector}}}}}/x: read"), &ada());
        let path = format!("s/{value}/x");
        assert_eq!(acl.capabilities(&path), ["read"], "{selector}");
        assert_eq!(acl.capabilities("s/other/x"), ["deny"], "{selector}");
    }
}

#[test]
fn values_stand_beside_text_and_wildcards() {
    let acl = filled(
        "/s/{{identity.entity.id}}-{{identity.entity.name}}/+/y*: list",
        &ada(),
    );
    assert_eq!(acl.capabilities("s/e1-ada/z/yy"), ["list"]);
    assert_eq!(acl.capabilities("s/e1-bob/z/yy"), ["deny"]);
}

#[test]
fn what_is_no_template_is_refused() {
    let refused = [
        "a/{{identity.entity.id",
        "a/identity.entity.id}}",
        "a/{{}}",
        "a/{{identity.entity}}",
        "a/{{identity.entity.groups.names}}",
        "a/{{identity.entity.metadata}}",
        "a/{{identity.entity.metadata.}}",
        "a/{{identity.entity.custom_metadata.x}}",
        "a/{{identity.entity.aliases.acc}}",
        "a/{{identity.groups.names.ops.custom_metadata.x}}",
        "a/{{time.now}}",
        "a//{{identity.entity.id}}",
        "a/{{identity.entity.id}}/../b",
        "a/*/{{identity.entity.id}}",
    ];
    for path in refused {
        let text = format!("path {path:?} {{ capabilities = [\"read\"] }}");
        let fault = Policy::parse("p", &text).expect_err(path).to_string();
        assert!(fault.starts_with("line 1: path"), "{fault}");
    }
}

#[test]
fn attack_ghsa_59w7_v8rr_pr4p_a_value_never_widens() {
    let values = [
        "",
        "*",
        "+",
        "a/b",
        "a,b",
        "a*",
        "+x",
        "..",
        ".",
        "/",
        "a\\b",
        "a\0",
        "a\u{202e}b",
        "a\u{200b}",
        "{{x}}",
        "a\nb",
    ];
    for value in values {
        let mut identity = ada();
        identity.name = value.to_owned();
        let acl = filled(
            "s/{{identity.entity.name}}/x: read\ns/{{identity.entity.name}}: read\nt/{{identity.entity.name}}*: read",
            &identity,
        );
        for path in ["s/a/x", "s/a", "s/x", "s/a/b", "t/a", "t/", "s/"] {
            assert_eq!(acl.capabilities(path), ["deny"], "{value:?} on {path}");
        }
    }
}

#[test]
fn a_value_in_doubt_fills_nothing() {
    let mut identity = ada();
    identity.aliases.push(AliasFacts {
        name: "other".into(),
        ..identity.aliases[0].clone()
    });
    let acl = filled(
        "s/{{identity.entity.aliases.userpass_1.name}}: read",
        &identity,
    );
    assert_eq!(acl.capabilities("s/Ada@x"), ["deny"]);
    assert_eq!(acl.capabilities("s/other"), ["deny"]);
}

#[test]
fn attack_a_denial_that_cannot_be_filled_denies_all_that_it_might_mean() {
    let lines = "s/*: read list\ns/app: read\ns/+/x: read\nother: read\n\
                 s/{{identity.entity.metadata.gone}}/x: deny";
    for acl in [
        filled(lines, &ada()),
        Acl::compile(std::iter::once(&policy(lines))),
    ] {
        for path in ["s/app", "s/app/x", "s/b", "s/"] {
            assert_eq!(acl.capabilities(path), ["deny"], "{path}");
        }
        assert!(!allows(&acl, "s/", Operation::List) && !acl.reaches("s/"));
        assert_eq!(acl.capabilities("other"), ["read"]);
    }
    let known = lines.replace("gone", "team");
    let acl = filled(&known, &ada());
    assert_eq!(acl.capabilities("s/blue/x"), ["deny"]);
    assert_eq!(acl.capabilities("s/red/x"), ["read"]);
}

#[test]
fn attack_8_a_template_counts_as_all_that_it_may_become() {
    let own = filled("s/*: read", &Identity::default());
    assert!(own.covers(&widest("s/{{identity.entity.id}}/x: read")));
    assert!(own.covers(&widest("s/{{identity.entity.id}}*: read")));
    assert!(!own.covers(&widest("s/{{identity.entity.id}}: update")));
    assert!(!own.covers(&widest("{{identity.entity.id}}/x: read")));
    let exact = filled("s/e1/x: read", &Identity::default());
    assert!(!exact.covers(&widest("s/{{identity.entity.id}}/x: read")));
    // A place of ours that gives less stands in the way, whatever else the new policy says.
    let held = filled("s/*: read update\ns/app: read", &Identity::default());
    assert!(!held.covers(&widest("s/{{identity.entity.id}}: read update")));
    assert!(!held.covers(&widest(
        "s/{{identity.entity.id}}: read update\ns/app: deny"
    )));
    assert!(!held.covers(&widest("s/*: read update\ns/{{identity.entity.id}}: deny")));
    // What a template grants is not hidden by a denial of the same widest pattern.
    assert!(!own.covers(&widest("s/{{identity.entity.id}}: update\ns/+: deny")));
}

#[test]
fn attack_8_a_denial_without_its_value_holds_back_its_holder_too() {
    let lines = "s/*: read\ns/{{identity.entity.id}}: deny";
    let own = Acl::compile(std::iter::once(&policy(lines)));
    assert!(own.covers(&own));
    assert!(!own.covers(&widest("s/a: read")));
    assert!(own.covers(&widest("t: deny")));
}

#[test]
fn the_default_policy_lets_a_token_read_its_own_entity() {
    let default = Policy::parse("default", DEFAULT_POLICY).unwrap();
    let acl = Acl::compile_for(std::iter::once(&default), Some(&ada()));
    for own in ["identity/entity/id/e1", "identity/entity/name/ada"] {
        assert_eq!(acl.capabilities(own), ["read"]);
    }
    assert_eq!(acl.capabilities("identity/entity/id/e2"), ["deny"]);
    let nobody = Acl::compile(std::iter::once(&default));
    assert_eq!(nobody.capabilities("identity/entity/id/"), ["deny"]);
    assert_eq!(nobody.capabilities("identity/entity/id/+"), ["deny"]);
}

const HOLE: &str = "{{identity.entity.metadata.v}}";

fn lines() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "+", "V", "aV", "Vb", "VV"]);
    let words = prop::sample::select(vec!["read", "read list", "update", "deny", "sudo read"]);
    let path = (prop::collection::vec(segment, 1..4), any::<bool>());
    let line = (path, words).prop_map(|((segments, star), words)| {
        let last_is_plus = segments.last() == Some(&"+");
        let star = if star && !last_is_plus { "*" } else { "" };
        format!("{}{star}: {words}", segments.join("/"))
    });
    prop::collection::vec(line, 1..6).prop_map(|lines| lines.join("\n"))
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "a", "b", "ab", "*", "+", "a/b", "", "a*", ".", "..", ",", "b+"
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Filled with any value, or with none, a policy allows nothing that it would not allow if
    /// its author had written some plain text in place of the template.
    #[test]
    fn attack_ghsa_59w7_no_value_allows_what_no_literal_could(
        lines in lines(),
        value in values(),
        path in "[ab]{1,2}(/[ab]{0,2}){0,3}",
    ) {
        let Ok(path) = RequestPath::from_text(&path) else { return Ok(()) };
        let mut identity = ada();
        identity.metadata.insert("v".into(), value);
        let acl = filled(&lines.replace('V', HOLE), &identity);
        let none = Acl::compile(std::iter::once(&policy(&lines.replace('V', HOLE))));
        let literals: Vec<Acl> = ["a", "b", "ab", "ba", "aa", "bb", "aaa", "other"]
            .iter()
            .map(|literal| filled(&lines.replace('V', literal), &identity))
            .collect();
        for operation in ALL {
            let by_literal = literals.iter().any(|acl| allows(acl, path.as_str(), operation));
            for acl in [&acl, &none] {
                prop_assert!(!allows(acl, path.as_str(), operation) || by_literal);
            }
        }
    }

    /// What is shared and what was filled in judge together as if all had been written out.
    #[test]
    fn ghsa_59w7_a_filled_template_is_as_its_literal(
        lines in lines(),
        value in "[ab]{1,2}",
        path in "[ab]{1,2}(/[ab]{0,2}){0,3}",
    ) {
        let Ok(path) = RequestPath::from_text(&path) else { return Ok(()) };
        let mut identity = ada();
        identity.metadata.insert("v".into(), value.clone());
        let acl = filled(&lines.replace('V', HOLE), &identity);
        let literal = filled(&lines.replace('V', &value), &identity);
        prop_assert_eq!(acl.capabilities(path.as_str()), literal.capabilities(path.as_str()));
        prop_assert_eq!(acl.reaches("a/"), literal.reaches("a/"));
        prop_assert!(acl.covers(&literal) == literal.covers(&literal));
        for operation in ALL {
            prop_assert_eq!(
                allows(&acl, path.as_str(), operation),
                allows(&literal, path.as_str(), operation)
            );
        }
    }

    /// Whoever holds what a policy could give at most may do all that it gives to anybody.
    #[test]
    fn attack_8_the_widest_form_covers_each_filling(
        mine in lines(),
        theirs in lines(),
        value in values(),
        path in "[ab]{1,2}(/[ab]{0,2}){0,3}",
    ) {
        let Ok(path) = RequestPath::from_text(&path) else { return Ok(()) };
        let own = filled(&mine.replace('V', "a"), &ada());
        let theirs = theirs.replace('V', HOLE);
        if own.covers(&widest(&theirs)) {
            let mut identity = ada();
            identity.metadata.insert("v".into(), value);
            let other = filled(&theirs, &identity);
            for operation in ALL {
                prop_assert!(
                    !allows(&other, path.as_str(), operation) || allows(&own, path.as_str(), operation)
                );
            }
        }
    }
}
