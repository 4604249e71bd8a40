//! Policy texts: what is read, what is refused and how the refusal reads, constraints on
//! requests, the default policy, and texts that no one would write.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use zone_policy::{Acl, Ask, DEFAULT_POLICY, Denial, Operation, Policy};
use zone_types::RequestPath;

fn fault(text: &str) -> String {
    match Policy::parse("p", text) {
        Ok(_) => "no fault".to_owned(),
        Err(fault) => fault.to_string(),
    }
}

fn acl(text: &str) -> Acl {
    Acl::compile(std::iter::once(
        &Policy::parse("p", text).expect("a policy"),
    ))
}

fn judge(
    text: &str,
    operation: Operation,
    fields: &Value,
    wrap: Option<u64>,
) -> Result<(), Denial> {
    let path = RequestPath::from_text("x").expect("a canonical path");
    let acl = acl(text);
    let decision = acl.check(&Ask {
        path: &path,
        operation,
        parameters: fields.as_object(),
        wrap_ttl: wrap.map(Duration::from_secs),
    });
    decision.denied_because.map_or(Ok(()), Err)
}

#[test]
fn reads_each_form_that_vault_reads() {
    let texts = [
        "path \"x\" { capabilities = [\"read\", \"list\"] }",
        "path \"x\" { policy = \"read\" }",
        "# comment\npath \"/x\" {\n  // comment\n  policy = \"read\"\n  comment = \"why\"\n}\n",
        "name = \"P\" path \"x\" { capabilities = [\"read\"] } path \"x\" { capabilities = [\"list\"] }",
        "path \"x\" { capabilities = [\"read\"] policy = \"read\" }",
        "path = { \"x\" = { policy = \"read\" } }",
        "{\"path\": {\"x\": {\"capabilities\": [\"read\", \"list\"]}}}",
        "{\"path\": {\"x\": {\"policy\": \"read\"}}, \"name\": \"p\"}",
        " {\"path\": [{\"x\": [{\"policy\": \"read\"}]}]}",
    ];
    for text in texts {
        assert_eq!(acl(text).capabilities("x"), ["list", "read"], "{text}");
    }
    for text in [
        "",
        "# nothing",
        "{}",
        "path \"x\" {}",
        "path \"x\" { capabilities = [] }",
    ] {
        assert_eq!(acl(text).capabilities("x"), ["deny"], "{text}");
    }
}

#[test]
fn older_words_stand_for_vaults_capabilities() {
    let cases = [
        ("deny", "deny"),
        ("read", "list read"),
        ("write", "create delete list read update"),
        ("sudo", "create delete list read sudo update"),
    ];
    for (word, expected) in cases {
        let text = format!("path \"x\" {{ policy = {word:?} }}");
        assert_eq!(acl(&text).capabilities("x").join(" "), expected);
    }
}

#[track_caller]
fn check_faults(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert!(
            fault(text).starts_with(expected),
            "{text}\n  {}",
            fault(text)
        );
    }
}

#[test]
fn a_fault_tells_where_and_what_was_expected() {
    let cases = [
        ("pth \"x\" {}", "line 1: unknown key 'pth': expected path"),
        (
            "\n\npath \"x\" { capabilites = [] }",
            "line 3: path \"x\": unknown attribute 'capabilites': expected capabilities, ",
        ),
        (
            "path \"x\" {\n capabilities = [\"raed\"]\n}",
            "line 2: path \"x\": unknown capability 'raed': expected create, delete, ",
        ),
        (
            "path \"x\" { policy = \"all\" }",
            "line 1: path \"x\": unknown policy 'all': expected deny, read, write or sudo",
        ),
        (
            "path \"x\" { capabilities = \"read\" }",
            "line 1: path \"x\": 'capabilities': expected a list: [\"…\", …], found a string",
        ),
        (
            "path \"x\" { capabilities = [1] }",
            "line 1: path \"x\": a capability: expected a quoted word, found a number",
        ),
        (
            "path \"x\" {\n policy = \"read\"\n policy = \"deny\"\n}",
            "line 3: path \"x\": the same key stands here twice",
        ),
        (
            "path \"x\" { allowed_parameters = { a = [] a = [1] } }",
            "line 1: path \"x\": the same key stands here twice",
        ),
        (
            "path \"x\" { allowed_parameters = { a = [{ b = 1, b = 2 }] } }",
            "line 1: path \"x\": the same key stands here twice",
        ),
        (
            "path \"x\" { allowed_parameters = { a = 1 } }",
            "line 1: path \"x\": a parameter: expected a list",
        ),
        (
            "path \"x\" { control_group = {} }",
            "line 1: path \"x\": 'control_group' is not supported",
        ),
        (
            "path \"x\" { mfa_methods = [] }",
            "line 1: path \"x\": 'mfa_methods' is not supported",
        ),
        (
            "path \"x\" { expiration = \"2030-01-01\" }",
            "line 1: path \"x\": 'expiration' is not supported",
        ),
        (
            "path \"x\" { min_wrapping_ttl = \"soon\" }",
            "line 1: path \"x\": 'min_wrapping_ttl': not a duration",
        ),
        (
            "path \"x\" { min_wrapping_ttl = -1 }",
            "line 1: path \"x\": 'min_wrapping_ttl': a duration must not be negative",
        ),
        (
            "path \"x\" { min_wrapping_ttl = 10 max_wrapping_ttl = \"5s\" }",
            "line 1: path \"x\": max_wrapping_ttl is below",
        ),
    ];
    check_faults(&cases);
}

#[test]
fn a_fault_about_patterns_and_shapes() {
    let cases = [
        (
            "path \"a/*/b\" {}",
            "line 1: path \"a/*/b\": '*' stands for any rest and only at the end",
        ),
        (
            "path \"a/+*\" {}",
            "line 1: path \"a/+*\": '+*' is forbidden",
        ),
        (
            "path \"a/../b\" {}",
            "line 1: path \"a/../b\": no request can match this",
        ),
        (
            "path \"a/{{identity.entity.id\" {}",
            "line 1: path \"a/{{identity.entity.id\": a template is '{{', a value's name, and '}}'",
        ),
        (
            "path \"a/{{identity.entity.metadata}}\" {}",
            "line 1: path \"a/{{identity.entity.metadata}}\": a list or map cannot stand in a path: name one value",
        ),
        (
            "path \"a\" \"b\" {}",
            "line 1: expected one pattern after 'path'",
        ),
        (
            "path { policy = \"read\" }",
            "line 1: path \"policy\": a path: expected a block",
        ),
        (
            "path \"x\" { capabilities \"y\" {} }",
            "line 1: path \"x\": an attribute has no label",
        ),
        (
            "name = \"other\"",
            "line 1: 'name' is not the name under which",
        ),
        (
            "{\"path\": {\"x\": {\"policy\": \"read\", \"policy\": \"deny\"}}}",
            "a JSON object has the same key twice",
        ),
        (
            "{\"path\": {\"x\": {\"raed\": 1}}}",
            "path \"x\": unknown attribute 'raed'",
        ),
        (
            "{\"path\": {}} x",
            "line 1: not one JSON document (column 14)",
        ),
        (
            "{\"path\": 1}",
            "'path': expected a block: path \"…\" { … }, found a number",
        ),
        (
            "{\"path\": {\"x\": null}}",
            "path \"x\": a path: expected a block with attributes, found null",
        ),
    ];
    for (text, expected) in cases {
        assert!(
            fault(text).starts_with(expected),
            "{text}\n  {}",
            fault(text)
        );
    }
}

#[test]
fn root_has_no_text_in_any_spelling() {
    for name in ["root", " Root\u{2003}"] {
        let fault = Policy::parse(name, "").unwrap_err().to_string();
        assert_eq!(fault, "the policy 'root' has no text");
    }
    assert_eq!(Policy::parse(" Dev\n", "").unwrap().name().as_str(), "dev");
}

#[test]
fn e1_a_fault_never_quotes_a_value() {
    let canary = "hunter2-Xy7";
    let texts = [
        canary.to_owned(),
        format!("{canary} = 1"),
        format!("path \"x\" {{ capabilities = [{canary:?}] }}"),
        format!("path \"x\" {{ policy = {canary:?} }}"),
        format!("path \"x\" {{ min_wrapping_ttl = {canary:?} }}"),
        format!("path \"x\" {{ {canary:?} = 1 }}"),
        format!("{{\"{canary}\": 1}}"),
        format!("\"{canary}"),
        format!("name = {canary:?}"),
    ];
    for text in texts {
        assert!(!fault(&text).contains(canary), "{text}: {}", fault(&text));
        assert_ne!(fault(&text), "no fault", "{text}");
    }
}

#[test]
fn parameters_bind_reads_and_writes_but_not_deletes_and_lists() {
    let text = "path \"x\" {
        capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\"]
        allowed_parameters = { \"a\" = [\"1\", \"2*\"], \"b\" = [] }
        denied_parameters = { \"b\" = [\"bad\"] }
        required_parameters = [\"a\"]
    }";
    use Operation::{Create, Delete, List, Patch, Read, Update};
    for operation in [Create, Read, Update, Patch] {
        let judge = |fields| judge(text, operation, &fields, None);
        assert_eq!(judge(json!({"a": "1"})), Ok(()));
        assert_eq!(judge(json!({"a": "22", "B": "good"})), Ok(()));
        assert_eq!(judge(json!({"a": "3"})), Err(Denial::ParameterNotAllowed));
        assert_eq!(
            judge(json!({"a": "1", "c": 1})),
            Err(Denial::ParameterNotAllowed)
        );
        assert_eq!(
            judge(json!({"a": "1", "b": "bad"})),
            Err(Denial::ParameterDenied)
        );
        assert_eq!(judge(json!({"b": "x"})), Err(Denial::ParameterMissing));
        assert_eq!(judge(json!(null)), Err(Denial::ParameterMissing));
    }
    for operation in [Delete, List] {
        assert_eq!(judge(text, operation, &json!({"c": 1}), None), Ok(()));
    }
}

#[test]
fn parameters_of_one_pattern_unite() {
    let text = "path \"x\" { capabilities = [\"update\"] allowed_parameters = { a = [\"1\"] } }
        path \"x\" { allowed_parameters = { a = [\"2\"], b = [] } required_parameters = [\"a\"] }
        path \"x\" { capabilities = [\"read\"] }";
    let judge = |fields| judge(text, Operation::Update, &fields, None);
    assert_eq!(judge(json!({"a": "1"})), Ok(()));
    assert_eq!(judge(json!({"a": "2", "b": 7})), Ok(()));
    assert_eq!(judge(json!({"a": "3"})), Err(Denial::ParameterNotAllowed));
    assert_eq!(judge(json!({"b": 7})), Err(Denial::ParameterMissing));
}

#[test]
fn wrapping_bounds_make_wrapping_obligatory() {
    let text = "path \"x\" { policy = \"read\" min_wrapping_ttl = \"10s\" max_wrapping_ttl = 60 }
        path \"x\" { max_wrapping_ttl = \"1m30s\" }";
    let judge = |wrap| judge(text, Operation::Read, &json!({}), wrap);
    assert_eq!(judge(None), Err(Denial::Wrapping));
    assert_eq!(judge(Some(9)), Err(Denial::Wrapping));
    assert_eq!(judge(Some(10)), Ok(()));
    assert_eq!(judge(Some(60)), Ok(()));
    assert_eq!(judge(Some(61)), Err(Denial::Wrapping));
}

#[test]
fn attack_8_constraints_count_when_rules_are_compared() {
    let free = acl("path \"x\" { policy = \"write\" }");
    let bound = acl("path \"x\" { policy = \"write\" allowed_parameters = { a = [\"1\"] } }");
    let widened = acl("path \"x\" { allowed_parameters = { a = [] } }");
    let wrapped = acl("path \"x\" { policy = \"write\" max_wrapping_ttl = 60 }");
    assert!(free.covers(&bound) && free.covers(&wrapped) && bound.covers(&bound));
    assert!(!bound.covers(&free) && !wrapped.covers(&free) && !bound.covers(&wrapped));
    assert!(
        !bound.covers(&widened),
        "united with the bound rule it would lift its bound"
    );
}

#[test]
fn attack_8_denials_are_known_by_their_patterns() {
    let text = r#"path "a/*" { capabilities = ["read"] }
        path "/a/b" { capabilities = ["deny", "read"] }
        path "+/c" { policy = "deny" }"#;
    let policy = Policy::parse("p", text).unwrap();
    assert_eq!(policy.denials().collect::<Vec<_>>(), ["a/b", "+/c"]);
}

#[test]
fn attack_8_a_proof_that_takes_too_long_is_no_proof() {
    let many = |word: &str| -> String {
        (0..3000)
            .map(|at| format!("path \"a{at}\" {{ policy = {word:?} }}\n"))
            .collect()
    };
    assert!(!acl(&many("read")).covers(&acl(&many("read"))));
    assert!(acl("path \"*\" { policy = \"read\" }").covers(&acl(&many("read"))));
}

#[test]
fn the_default_policy_is_read_and_small() {
    let acl = Acl::compile(std::iter::once(
        &Policy::parse("default", DEFAULT_POLICY).unwrap(),
    ));
    assert_eq!(acl.capabilities("auth/token/lookup-self"), ["read"]);
    assert_eq!(acl.capabilities("auth/token/renew-self"), ["update"]);
    assert_eq!(acl.capabilities("sys/capabilities-self"), ["update"]);
    assert_eq!(
        acl.capabilities("cubbyhole/a/b"),
        ["create", "delete", "list", "read", "update"]
    );
    for path in [
        "auth/token/create",
        "sys/policies/acl/x",
        "secret/data/x",
        "sys/mounts",
        "sys/",
    ] {
        assert_eq!(acl.capabilities(path), ["deny"], "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        zone_policy::fuzz_policy(text.as_bytes());
    }

    #[test]
    fn no_shuffle_of_the_languages_own_words_panics(words in prop::collection::vec(
        prop::sample::select(vec![
            "path", "\"a/+/b*\"", "\"x\"", "{", "}", "=", "[", "]", ",", "capabilities", "policy",
            "\"read\"", "\"list\"", "\"deny\"", "allowed_parameters", "\n", "1", "-1e9", "true",
            "name", "#", "/*", "*/", "\"\\u0041\"", "null", ":", "\"path\"", "\"policy\"",
        ]), 0..40,
    )) {
        zone_policy::fuzz_policy(words.join(" ").as_bytes());
    }
}
