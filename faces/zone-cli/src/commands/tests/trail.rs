//! `why`, `policy test`, `policy suggest`: a trail and policies from files, no server.

use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use zone_audit::{
    AuditEntry, AuthPart, Broker, Decision, Device, DeviceConfig, DeviceKeys, Durability,
    EntryKind, MountPart, RequestPart, ResponsePart,
};
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_policy::{Acl, Ask, Operation, Policy};
use zone_testkit::FakeClock;
use zone_types::{NamespaceId, RequestId, RequestPath, Secret, Timestamp};

use crate::testing::Lab;

/// A request of the trail. `rule`: of an allowed one; `Err`: of a denied one.
struct Request {
    id: u8,
    path: &'static str,
    operation: &'static str,
    mount: (&'static str, &'static str),
    outcome: Result<&'static str, Option<&'static str>>,
}

const KV: (&str, &str) = ("secret/", "kv");
const SYS: (&str, &str) = ("sys/", "system");

const fn allowed(id: u8, operation: &'static str, path: &'static str) -> Request {
    Request {
        id,
        path,
        operation,
        mount: KV,
        outcome: Ok("\"secret/*\" (app line 3)"),
    }
}

const REQUESTS: &[Request] = &[
    allowed(1, "read", "secret/data/app/a"),
    allowed(2, "read", "secret/data/app/b"),
    allowed(3, "read", "secret/data/app/c"),
    allowed(4, "update", "secret/data/app/c"),
    allowed(5, "list", "secret/metadata/app/"),
    allowed(6, "read", "secret/data/we*ird"),
    allowed(7, "read", "secret/data/{{identity.entity.id}}"),
    Request {
        mount: SYS,
        outcome: Ok("\"sys/audit\" (ops line 1, ops line 9)"),
        ..allowed(8, "read", "sys/audit")
    },
    Request {
        outcome: Err(Some("\"secret/data/top/*\" (base line 7)")),
        ..allowed(9, "read", "secret/data/top/x")
    },
    Request {
        outcome: Err(None),
        ..allowed(10, "delete", "other/x")
    },
    Request {
        outcome: Ok("open endpoint"),
        mount: ("pki/", "pki"),
        ..allowed(11, "read", "pki/ca/pem")
    },
];

/// A trail on disk, and the key of its checkpoints.
struct Trail {
    directory: tempfile::TempDir,
    key: String,
}

impl Trail {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let clock = Arc::new(FakeClock::default());
        let sink = zone_host_linux::FileSink::open(&path, &[directory.path().to_owned()]).unwrap();
        let keys = DeviceKeys {
            hmac: Secret::new([7; 32]),
            signer: PrivateKey::generate(KeyType::Ed25519).unwrap(),
        };
        let key = hex::encode(keys.signer.public_key_spki_der());
        let config = DeviceConfig {
            name: "file".into(),
            zone: "zone".into(),
            head: "head".into(),
            hmac_accessor: false,
            elide_lists: false,
            durability: Durability::System,
            rotate_bytes: None,
            remembered: None,
            counts: true,
        };
        let device = Device::start(config, keys, Box::new(sink), clock.clone(), Arc::new(|| 1));
        let broker = Broker::new(clock);
        broker.add(device.await.unwrap()).unwrap();
        for request in REQUESTS {
            record(&broker, request).await;
        }
        broker.close().await;
        Self { directory, key }
    }

    async fn run(&self, arguments: &[&str]) -> (u8, String, String) {
        run_in(self.directory.path(), arguments, &self.key).await
    }

    async fn shows(&self, arguments: &[&str], expected: Expect) {
        let (code, out, err) = self.run(arguments).await;
        expected.assert_eq(&format!("exit {code}\n{out}{err}"));
    }
}

async fn run_in(directory: &Path, arguments: &[&str], key: &str) -> (u8, String, String) {
    let place = directory.to_str().unwrap();
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("DIR", place).replace("KEY", key))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut lab = Lab::new(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
    let code = lab.run(&arguments).await;
    let shown = |text: String| text.replace(place, "DIR");
    (code, shown(lab.stdout()), shown(lab.stderr()))
}

fn id(number: u8) -> RequestId {
    RequestId::from_random([number; 16])
}

async fn record(broker: &Broker, asked: &Request) {
    let namespace = NamespaceId::root();
    let policies = ["app".to_owned(), "base".to_owned()];
    let auth = AuthPart {
        client_token: Some("hvs.x"),
        accessor: Some("an-accessor"),
        display_name: "approle-app",
        policies: &policies,
        token_type: "service",
        entity_id: "7d2e3179-f69b-450c-7179-ac8ee8bd8ca9",
        decision: Some(Decision {
            allowed: asked.outcome.is_ok(),
            policies: &[],
            rule: asked.outcome.map_or_else(|rule| rule, Some),
        }),
    };
    let (point, kind) = asked.mount;
    let request = RequestPart {
        id: id(asked.id),
        namespace: &namespace,
        operation: asked.operation,
        path: asked.path,
        mount: asked.outcome.is_ok().then_some(MountPart {
            path: point,
            kind,
            class: "secret",
            accessor: "kv_1",
        }),
        data: None,
        clear_keys: &[],
        remote_address: Some([203, 0, 113, 9].into()),
        remote_port: 40_000,
        headers: &[],
        client_certificate: None,
        wrap_ttl: 0,
    };
    let entry = AuditEntry {
        kind: EntryKind::Request,
        time: Timestamp::from_secs(1_795_000_000 - 3600 + i64::from(asked.id)),
        auth: Some(&auth),
        request: &request,
        response: None,
        error: asked.outcome.err().map(|rule| match rule {
            Some(_) => "the rule for the path denies",
            None => "no rule matches the path",
        }),
        operator: false,
    };
    broker.record(&entry).await.unwrap();
    if asked.outcome.is_ok() {
        let response = ResponsePart {
            status: 404,
            ..ResponsePart::default()
        };
        let entry = AuditEntry {
            kind: EntryKind::Response,
            response: Some(&response),
            ..entry
        };
        broker.record(&entry).await.unwrap();
    }
}

#[tokio::test]
async fn why_tells_the_rule_that_allowed_or_denied() {
    let trail = Trail::new().await;
    let why = async |number: u8, expected: Expect| {
        let id = id(number).to_string();
        trail
            .shows(&["why", "-key=KEY", &id, "DIR/audit.log"], expected)
            .await;
    };
    why(8, expect![[r#"
        exit 0
        Request     08080808-0808-4808-8808-080808080808
        When        2026-11-18T10:06:48Z
        Who         approle-app (service token, entity 7d2e3179-f69b-450c-7179-ac8ee8bd8ca9, accessor an-accessor)
        From        203.0.113.9 port 40000
        What        read sys/audit (mount sys/, system)
        Policies    app, base
        Decision    allowed
        Rule        "sys/audit" (ops line 1, ops line 9)
        Outcome     status 404
        Trail       intact, signatures checked
    "#]]).await;
    why(9, expect![[r#"
        exit 0
        Request     09090909-0909-4909-8909-090909090909
        When        2026-11-18T10:06:49Z
        Who         approle-app (service token, entity 7d2e3179-f69b-450c-7179-ac8ee8bd8ca9, accessor an-accessor)
        From        203.0.113.9 port 40000
        What        read secret/data/top/x
        Policies    app, base
        Decision    denied: the rule for the path denies
        Rule        "secret/data/top/*" (base line 7)
        Outcome     not served
        Trail       intact, signatures checked
    "#]]).await;
    why(10, expect![[r#"
        exit 0
        Request     0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a
        When        2026-11-18T10:06:50Z
        Who         approle-app (service token, entity 7d2e3179-f69b-450c-7179-ac8ee8bd8ca9, accessor an-accessor)
        From        203.0.113.9 port 40000
        What        delete other/x
        Policies    app, base
        Decision    denied: no rule matches the path
        Rule        none matches
        Outcome     not served
        Trail       intact, signatures checked
    "#]]).await;
    why(
        99,
        expect![[r#"
        exit 2
        No line is about that request.
    "#]],
    )
    .await;
}

#[tokio::test]
async fn why_says_when_the_trail_is_broken() {
    let trail = Trail::new().await;
    let file = trail.directory.path().join("audit.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("203.0.113.9", "203.0.113.8", 1)).unwrap();
    let id = id(9).to_string();
    let (code, out, err) = trail
        .run(&["why", "-format=json", &id, "DIR/audit.log"])
        .await;
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &shown["allowed"]), (2, &false.into()));
    assert_eq!(shown["rule"], "\"secret/data/top/*\" (base line 7)");
    assert!(err.contains("BROKEN at DIR/audit.log:3"), "{err}");
}

#[tokio::test]
async fn suggest_writes_exactly_what_was_allowed() {
    let trail = Trail::new().await;
    let whose = "-entity=7d2e3179-f69b-450c-7179-ac8ee8bd8ca9";
    let suggest = [
        "policy",
        "suggest",
        "-key=KEY",
        whose,
        "-since=30d",
        "DIR/audit.log",
    ];
    trail
        .shows(
            &suggest,
            expect![[r#"
        exit 0
        # What policies allowed to the entity "7d2e3179-f69b-450c-7179-ac8ee8bd8ca9".
        # 8 requests, trail intact, signatures checked.
        # From 2026-11-18T10:06:41Z to 2026-11-18T10:06:48Z.
        # 2 requests were denied and are not in it.

        path "secret/data/app/a" {
          capabilities = ["read"]
        }

        path "secret/data/app/b" {
          capabilities = ["read"]
        }

        path "secret/data/app/c" {
          capabilities = ["read", "update"]
        }

        path "secret/metadata/app/" {
          capabilities = ["list"]
        }

        path "sys/audit" {
          capabilities = ["read", "sudo"]
        }
        No pattern means just this path, so it is left out: secret/data/we*ird
        No pattern means just this path, so it is left out: secret/data/{{identity.entity.id}}
    "#]],
        )
        .await;
    let (_, text, _) = trail.run(&suggest).await;
    let acl = Acl::compile(std::iter::once(&Policy::parse("suggested", &text).unwrap()));
    let operations = ["read", "update", "list", "delete", "create", "patch"];
    for request in REQUESTS {
        for word in operations {
            let used = |known: &&Request| {
                known.path == request.path && known.operation == word && known.outcome.is_ok()
            };
            let left_out = request.path.contains(['*', '{']) || request.path.starts_with("pki/");
            let wanted = REQUESTS.iter().any(|known| used(&known)) && !left_out;
            let operation: Operation = serde_json::from_value(word.into()).unwrap();
            let path = RequestPath::from_text(request.path).unwrap();
            let decision = acl.check(&Ask {
                path: &path,
                operation,
                parameters: None,
                wrap_ttl: None,
            });
            assert_eq!(decision.allowed, wanted, "{word} {}", request.path);
            assert_eq!(decision.sudo, wanted && request.path == "sys/audit");
        }
    }
    let none = [
        "policy",
        "suggest",
        "-key=KEY",
        whose,
        "-since=10m",
        "DIR/audit.log",
    ];
    assert_eq!(trail.run(&none).await.0, 2);
}

#[tokio::test]
async fn suggest_folds_only_when_asked() {
    let trail = Trail::new().await;
    let folded = async |least: &str| {
        let whose = "-token-accessor=an-accessor";
        let fold = format!("-fold={least}");
        let suggest = [
            "policy",
            "suggest",
            "-key=KEY",
            whose,
            &fold,
            "DIR/audit.log",
        ];
        let (code, text, _) = trail.run(&suggest).await;
        assert_eq!(code, 0);
        text
    };
    let two = folded("2").await;
    assert!(
        two.contains("path \"secret/data/app/+\" {\n  capabilities = [\"read\"]"),
        "{two}"
    );
    assert!(two.contains("path \"secret/data/app/c\" {\n  capabilities = [\"read\", \"update\"]"));
    let three = folded("3").await;
    assert!(!three.contains("path \"secret/data/app/+\""), "{three}");
    let (code, _, err) = trail
        .run(&[
            "policy",
            "suggest",
            "-fold=1",
            "-display-name=x",
            "DIR/audit.log",
        ])
        .await;
    assert!(code == 1 && err.contains("-fold"), "{err}");
}

#[tokio::test]
async fn attack_a_trail_that_is_not_proved_writes_no_policy() {
    let trail = Trail::new().await;
    let whose = "-display-name=approle-app";
    let (code, out, err) = trail
        .run(&["policy", "suggest", whose, "DIR/audit.log"])
        .await;
    assert!(
        code == 2 && out.is_empty() && err.contains("not checked"),
        "{err}"
    );
    let file = trail.directory.path().join("audit.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replacen("secret/data/app/a", "secret/data/app/z", 1),
    )
    .unwrap();
    let forged = ["policy", "suggest", "-key=KEY", whose, "DIR/audit.log"];
    let (code, out, err) = trail.run(&forged).await;
    assert!(
        code == 2 && out.is_empty() && err.contains("BROKEN"),
        "{err}"
    );
    let told = ["policy", "suggest", "-unverified", whose, "DIR/audit.log"];
    let (code, out, _) = trail.run(&told).await;
    assert!(
        code == 0 && out.contains("BROKEN") && out.contains("secret/data/app/z"),
        "{out}"
    );
}

const APP: &str = r#"path "secret/data/app/*" {
  capabilities = ["read"]
}
path "secret/data/{{identity.entity.name}}" {
  capabilities = ["update"]
}
path "auth/token/create" {
  capabilities = ["update"]
  denied_parameters = { "policies" = [] }
}
"#;
const BASE: &str = r#"path "secret/data/app/top" { capabilities = ["deny"] }
path "sys/audit" { capabilities = ["read", "sudo"] }
"#;

fn suite(cases: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("app.hcl", APP);
    write("base.hcl", BASE);
    let head = "[policies]\napp = \"app.hcl\"\nbase = \"base.hcl\"\n";
    write("cases.toml", &format!("{head}{cases}"));
    directory
}

#[tokio::test]
async fn test_shows_what_came_out_otherwise() {
    let directory = suite(
        r#"
        [[case]]
        name = "app reads its own"
        path = "secret/data/app/x"
        operation = "read"
        expect = "allow"
        by = "app:1"
        sudo = false
        [[case]]
        name = "base holds back"
        path = "secret/data/app/top"
        operation = "read"
        expect = "deny"
        by = "base:1"
        [[case]]
        name = "app alone may"
        policies = ["app"]
        path = "secret/data/app/top"
        operation = "read"
        expect = "deny"
        [[case]]
        name = "no more rights"
        path = "auth/token/create"
        operation = "update"
        parameters = { policies = ["root"] }
        expect = "deny"
        by = "app"
        [[case]]
        name = "its own"
        path = "secret/data/bob"
        operation = "update"
        entity = { name = "bob" }
        expect = "allow"
        [[case]]
        name = "auditors"
        path = "sys/audit"
        operation = "read"
        expect = "allow"
        by = "base:1"
        sudo = true
        [[case]]
        name = "nothing"
        path = "secret/data/bob"
        operation = "update"
        expect = "deny"
        by = "none"
        "#,
    );
    let show = async |arguments: &[&str], expected: Expect| {
        let (code, out, err) = run_in(directory.path(), arguments, "").await;
        expected.assert_eq(&format!("exit {code}\n{out}{err}"));
    };
    show(&["policy", "test", "DIR/cases.toml"], expect![[r#"
        exit 2
        n/a                 Case                 Operation    Path                   Expected                   Got                                   Rule
        n/a                 ----                 ---------    ----                   --------                   ---                                   ----
        ok                  app reads its own    read         secret/data/app/x      allow, no sudo by app:1    allow                                 "secret/data/app/*" (app line 1)
        ok                  base holds back      read         secret/data/app/top    deny by base:1             deny: the rule for the path denies    "secret/data/app/top" (base line 1)
        FAILED (verdict)    app alone may        read         secret/data/app/top    deny                       allow                                 "secret/data/app/*" (app line 1)
        ok                  no more rights       update       auth/token/create      deny by app                deny: a parameter is denied           "auth/token/create" (app line 7)
        ok                  its own              update       secret/data/bob        allow                      allow                                 "secret/data/bob" (app line 4)
        FAILED (rule)       auditors             read         sys/audit              allow, sudo by base:1      allow, sudo                           "sys/audit" (base line 2)
        ok                  nothing              update       secret/data/bob        deny by none               deny: no rule matches the path        none

        5 of 7 cases came out as expected
    "#]]).await;
    show(
        &[
            "policy",
            "test",
            "-failed",
            "-format=json",
            "DIR/cases.toml",
        ],
        expect![[r#"
            exit 2
            {
              "cases": [
                {
                  "differences": [
                    "verdict"
                  ],
                  "expected": "deny",
                  "got": "allow",
                  "name": "app alone may",
                  "operation": "read",
                  "passed": false,
                  "path": "secret/data/app/top",
                  "rule": "\"secret/data/app/*\" (app line 1)"
                },
                {
                  "differences": [
                    "rule"
                  ],
                  "expected": "allow, sudo by base:1",
                  "got": "allow, sudo",
                  "name": "auditors",
                  "operation": "read",
                  "passed": false,
                  "path": "sys/audit",
                  "rule": "\"sys/audit\" (base line 2)"
                }
              ],
              "failed": 2,
              "total": 7
            }
        "#]],
    )
    .await;
}

#[tokio::test]
async fn test_names_what_is_wrong_with_a_file() {
    let said = async |cases: &str| {
        let directory = suite(cases);
        let (code, _, err) =
            run_in(directory.path(), &["policy", "test", "DIR/cases.toml"], "").await;
        assert_eq!(code, 1, "{err}");
        err
    };
    assert!(said("").await.contains("holds no [[case]]"));
    let case = "[[case]]\npath = \"a\"\noperation = \"read\"\nexpect = \"allow\"\n";
    for (more, why) in [
        ("policies = [\"none\"]", "no policy 'none'"),
        ("colour = 1", "colour"),
        ("wrap_ttl = \"x\"", "wrap_ttl"),
    ] {
        let text = said(&format!("{case}{more}\n")).await;
        assert!(text.contains(why) && text.contains("cases.toml"), "{text}");
    }
    assert!(
        said(&case.replace("\"a\"", "\"a/../b\""))
            .await
            .contains("case 1")
    );
    let directory = suite(case);
    std::fs::write(directory.path().join("app.hcl"), "path \"x\" {").unwrap();
    let (code, _, err) = run_in(directory.path(), &["policy", "test", "DIR/cases.toml"], "").await;
    assert!(code == 1 && err.contains("app.hcl: line"), "{err}");
    // YAML by its name.
    let yaml =
        "policies: {base: base.hcl}\ncase:\n- {path: sys/audit, operation: read, expect: allow}\n";
    std::fs::write(directory.path().join("cases.yaml"), yaml).unwrap();
    let (code, out, err) =
        run_in(directory.path(), &["policy", "test", "DIR/cases.yaml"], "").await;
    assert!(code == 0 && out.contains("1 of 1"), "{out}{err}");
}
