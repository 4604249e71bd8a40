//! What envelopes look like.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::testing::Lab;

fn check(format: Format, field: Option<&str>, document: Value, expected: Expect) {
    let mut lab = Lab::new(&[]);
    let output = Output {
        format,
        field: field.map(str::to_owned),
    };
    let reply = Reply::read(document).unwrap();
    let shown = match output.reply(&mut lab.console, &reply) {
        Ok(code) => format!("{}exit {code}\n", lab.stdout()),
        Err(failure) => format!("error {}: {}\n", failure.code, failure.text),
    };
    expected.assert_eq(&(shown + &lab.stderr()));
}

fn secret() -> Value {
    json!({
        "request_id": "r-1", "lease_id": "", "renewable": false, "lease_duration": 2764800,
        "data": { "b": [1, 2], "a": "x", "ttl": 60 }, "wrap_info": null,
        "warnings": ["Look\u{1b}[2J out"], "auth": null,
    })
}

fn token() -> Value {
    json!({
        "request_id": "r-1", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": null, "wrap_info": null, "warnings": null,
        "auth": {
            "client_token": "hvs.x", "accessor": "acc", "policies": ["default", "app"],
            "token_policies": ["default", "app"], "identity_policies": null,
            "metadata": { "who": "me" }, "orphan": true, "entity_id": "",
            "lease_duration": 3600, "renewable": true,
        },
    })
}

#[test]
fn secrets_as_tables() {
    check(
        Format::Table,
        None,
        secret(),
        expect![[r#"
        Key                 Value
        ---                 -----
        refresh_interval    768h
        a                   x
        b                   [1 2]
        ttl                 1m
        exit 0
        WARNING! The following warnings were returned from the server:

          * Look�[2J out

    "#]],
    );
    check(
        Format::Table,
        None,
        token(),
        expect![[r#"
        Key                  Value
        ---                  -----
        token                hvs.x
        token_accessor       acc
        token_duration       1h
        token_renewable      true
        token_policies       ["default" "app"]
        identity_policies    []
        policies             ["default" "app"]
        token_meta_who       me
        exit 0
    "#]],
    );
}

#[test]
fn secrets_as_documents() {
    check(
        Format::Json,
        None,
        secret(),
        expect![[r#"
        {
          "request_id": "r-1",
          "lease_id": "",
          "lease_duration": 2764800,
          "renewable": false,
          "data": {
            "a": "x",
            "b": [
              1,
              2
            ],
            "ttl": 60
          },
          "warnings": [
            "Look\u001b[2J out"
          ]
        }
        exit 0
    "#]],
    );
    check(
        Format::Json,
        None,
        token(),
        expect![[r#"
            {
              "request_id": "r-1",
              "lease_id": "",
              "lease_duration": 0,
              "renewable": false,
              "data": null,
              "warnings": null,
              "auth": {
                "client_token": "hvs.x",
                "accessor": "acc",
                "policies": [
                  "default",
                  "app"
                ],
                "token_policies": [
                  "default",
                  "app"
                ],
                "identity_policies": null,
                "metadata": {
                  "who": "me"
                },
                "orphan": true,
                "entity_id": "",
                "lease_duration": 3600,
                "renewable": true
              }
            }
            exit 0
        "#]],
    );
    check(
        Format::Yaml,
        None,
        token(),
        expect![[r#"
            request_id: r-1
            lease_id: ""
            lease_duration: 0
            renewable: false
            data: null
            warnings: null
            auth:
              client_token: hvs.x
              accessor: acc
              policies:
              - default
              - app
              token_policies:
              - default
              - app
              identity_policies: null
              metadata:
                who: me
              orphan: true
              entity_id: ""
              lease_duration: 3600
              renewable: true
            exit 0
        "#]],
    );
}

#[test]
fn fields_are_raw() {
    check(
        Format::Table,
        Some("a"),
        secret(),
        expect![[r#"
        xexit 0
        WARNING! The following warnings were returned from the server:

          * Look�[2J out

    "#]],
    );
    check(
        Format::Table,
        Some("b"),
        secret(),
        expect![[r#"
        [1 2]exit 0
        WARNING! The following warnings were returned from the server:

          * Look�[2J out

    "#]],
    );
    check(
        Format::Json,
        Some("b"),
        secret(),
        expect![[r#"
        [
          1,
          2
        ]exit 0
    "#]],
    );
    check(
        Format::Table,
        Some("data"),
        secret(),
        expect![[r#"
        map[a:x b:[1 2] ttl:60]exit 0
        WARNING! The following warnings were returned from the server:

          * Look�[2J out

    "#]],
    );
    check(
        Format::Table,
        Some("none"),
        secret(),
        expect![[r#"
        error 1: Field "none" not present in secret
        WARNING! The following warnings were returned from the server:

          * Look�[2J out

    "#]],
    );
    check(
        Format::Table,
        Some("token"),
        token(),
        expect![[r#"
        hvs.xexit 0
    "#]],
    );
    check(
        Format::Json,
        Some("token_policies"),
        token(),
        expect![[r#"
            [
              "default",
              "app"
            ]exit 0
        "#]],
    );
}

#[test]
fn a_field_ends_in_a_newline_on_a_terminal_only() {
    let mut lab = Lab::new(&[]);
    lab.console.stdout_is_terminal = true;
    raw(&mut lab.console, b"x").unwrap();
    assert_eq!(lab.stdout(), "x\n");
}

#[test]
fn values_cannot_steer_a_terminal() {
    let mut lab = Lab::new(&[]);
    let output = Output {
        format: Format::Table,
        field: None,
    };
    let reply = Reply::read(json!({ "data": { "a": "\u{1b}]0;evil\u{7}" } })).unwrap();
    output.reply(&mut lab.console, &reply).unwrap();
    assert!(
        lab.stdout().contains('\u{1b}'),
        "a pipe gets the value as it is"
    );
    lab.console.stdout_is_terminal = true;
    output.reply(&mut lab.console, &reply).unwrap();
    assert!(!lab.stdout().contains('\u{1b}'));
}
