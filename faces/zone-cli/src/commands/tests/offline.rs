//! `audit verify|search` and `pki …`: no server is asked.

use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use zone_crypto::sign::PrivateKey;

use crate::testing::{Chain, Lab, Script};

fn run_in(directory: &Path, lab: &Lab, code: u8, expected: Expect) {
    let shown = format!("exit {code}\n{}{}", lab.stdout(), lab.stderr());
    expected.assert_eq(&shown.replace(directory.to_str().unwrap(), "DIR"));
}

/// Runs a command without a server; files are named by their place in `directory`.
async fn check(directory: &Path, arguments: &[&str], expected: Expect) {
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("DIR", directory.to_str().unwrap()))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut lab = Lab::new(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
    let code = lab.run(&arguments).await;
    run_in(directory, &lab, code, expected);
}

/// The golden audit file of the format, and the key that signed its checkpoints.
fn trail() -> (tempfile::TempDir, String) {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../services/zone-audit/tests/audit/golden/audit-v1.jsonl");
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(golden, directory.path().join("audit.log")).unwrap();
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend_from_slice(&[9; 32]);
    let key = PrivateKey::from_pkcs8_der(&der).unwrap();
    (directory, hex::encode(key.public_key().key_bytes()))
}

#[tokio::test]
async fn audit_verify_proves_the_golden_file() {
    let (directory, key) = trail();
    let key = format!("-key={key}");
    let verify = ["audit", "verify", &key, "DIR/audit.log"];
    check(directory.path(), &verify, expect![[r#"
        exit 0
        Audit trail    intact
        Files          1
        Good lines     8 of 8
        Checkpoints    3, signatures checked
        Epochs         2
        Time           2026-11-18T11:06:40Z to 2026-11-18T11:06:40.12Z
        Last line      8 b8864aba0704ad8042468148db0bde57b2f4cf349a098db87ffaf8150c309b08
        Last commit    42

        * A tail that was cut off cannot be seen in the files alone: compare the last line with the head's, or with a later copy.
    "#]]).await;
    let other = format!("-key={}", "01".repeat(32));
    let verify = ["audit", "verify", &other, "DIR/audit.log"];
    check(directory.path(), &verify, expect![[r#"
        exit 2
        Audit trail    BROKEN
        Files          1
        Good lines     1 of 8
        Checkpoints    0, signatures checked
        Epochs         1
        Time           2026-11-18T11:06:40Z to 2026-11-18T11:06:40Z
        Last line      1 0147a84d38101ecea6ef1907598eefa60bd221d8642b825f077f7af55bf5f3e7

        * 1 lines after the last checkpoint are covered by the chain only: whoever can write the file can have replaced them.

        Broken at DIR/audit.log:2: the checkpoint's signature is wrong, or made with another key.
    "#]]).await;
    check(
        directory.path(),
        &["audit", "verify", "DIR/none"],
        expect![[r#"
            exit 1
            DIR/none cannot be read: No such file or directory (os error 2)
        "#]],
    )
    .await;
    check(
        directory.path(),
        &["audit", "verify", "-key=zz", "DIR/audit.log"],
        expect![[r#"
            exit 1
            the key zz cannot be read: No such file or directory (os error 2)
        "#]],
    )
    .await;
}

#[tokio::test]
async fn audit_verify_names_the_first_broken_line() {
    let (directory, _) = trail();
    let file = directory.path().join("audit.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replacen("secret/data/app", "secret/data/apq", 1),
    )
    .unwrap();
    check(
        directory.path(),
        &["audit", "verify", "DIR/audit.log"],
        expect![[r#"
            exit 2
            Audit trail    BROKEN
            Files          1
            Good lines     2 of 8
            Checkpoints    1, signatures not checked
            Epochs         1
            Time           2026-11-18T11:06:40Z to 2026-11-18T11:06:40Z
            Last line      2 0a4afcbf769c9abd056a94df8cf8afd28475c1cfac2ac5a7c3de4be77edb0c7c
            Last commit    42

            * Signatures were not checked: no key was given. Whoever can write the file can have rewritten all of it.

            Broken at DIR/audit.log:3: the line was changed.
        "#]],
    )
    .await;
    let verify = ["audit", "verify", "-format=json", "DIR/audit.log"];
    check(directory.path(), &verify, expect![[r#"
        exit 2
        {
          "broken": {
            "fault": "the line was changed",
            "file": "DIR/audit.log",
            "line": 3
          },
          "checkpoints": 1,
          "earliest": "2026-11-18T11:06:40Z",
          "epochs": 1,
          "files": [
            "DIR/audit.log"
          ],
          "first_seq": 1,
          "good_lines": 2,
          "intact": false,
          "last_hash": "0a4afcbf769c9abd056a94df8cf8afd28475c1cfac2ac5a7c3de4be77edb0c7c",
          "last_revision": 42,
          "last_seq": 2,
          "latest": "2026-11-18T11:06:40Z",
          "lines": 8,
          "lines_after_checkpoint": 0,
          "notices": [
            "Signatures were not checked: no key was given. Whoever can write the file can have rewritten all of it."
          ],
          "signatures_checked": false
        }
    "#]]).await;
}

#[tokio::test]
async fn audit_search_finds_lines_by_hmac() {
    let (directory, _) = trail();
    const HMAC: &str =
        "hmac-sha256:51211d93d541311e47c8bd294154dbb77ca97e0e568a6e726ce0f8e48b1202bd";
    let file = directory.path().join("audit.log");
    let file = file.to_str().unwrap();
    let mut lab = Lab::new(&[]);
    assert_eq!(lab.run(&["audit", "search", HMAC, file]).await, 0);
    let found = lab.stdout();
    // The width of the first column depends on where the test runs.
    let row: Vec<&str> = found.lines().nth(2).unwrap().split_whitespace().collect();
    let place = format!("{file}:4");
    assert_eq!(
        row,
        [
            &*place,
            "2026-11-18T11:06:40.12Z",
            "response",
            "update",
            "secret/data/app",
            "token",
            "02020202-0202-4202-8202-020202020202"
        ]
    );
    let flag = format!("-hmac={HMAC}");
    assert_eq!(
        lab.run(&["audit", "search", "-format=json", &flag, file])
            .await,
        0
    );
    let lines: serde_json::Value = serde_json::from_str(&lab.stdout()).unwrap();
    assert_eq!(
        (&lines[0]["line"], &lines[0]["text"]["chain"]["seq"]),
        (&4.into(), &4.into())
    );
    let none = format!("hmac-sha256:{}", "0".repeat(64));
    assert_eq!(lab.run(&["audit", "search", &none, file]).await, 2);
    assert_eq!(
        lab.run(&["audit", "search", "hmac-sha256:x", file]).await,
        1
    );
    assert_eq!(lab.run(&["audit", "search", file]).await, 1);
    assert_eq!(
        lab.run(&["audit", "search", "-device=file", "-value=hunter2", file])
            .await,
        1
    );
    assert!(!lab.stderr().contains("hunter2"));
}

#[tokio::test]
async fn audit_search_asks_the_device_for_the_hmac() {
    let (directory, _) = trail();
    let script = Script::start(&[(
        "PUT /v1/sys/audit-hash/file",
        200,
        r#"{"data":{"hash":
        "hmac-sha256:51211d93d541311e47c8bd294154dbb77ca97e0e568a6e726ce0f8e48b1202bd"}}"#,
    )])
    .await;
    let mut lab = script.lab();
    lab.input("hunter2\n");
    let file = directory.path().join("audit.log");
    let arguments = [
        "audit",
        "search",
        "-device=file/",
        "-value=-",
        file.to_str().unwrap(),
    ];
    assert_eq!(lab.run(&arguments).await, 0);
    assert!(lab.stdout().contains("audit.log:4 "));
    assert_eq!(
        script.seen(),
        ["PUT /v1/sys/audit-hash/file\n{\"input\":\"hunter2\\n\"}"]
    );
}

/// A root, a certificate and lists, as files.
fn pki() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new("db.example");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(directory.path().join(name), content).unwrap();
    };
    write("ca.pem", chain.root.pem().as_bytes());
    write("ca.der", chain.root.der());
    write("leaf.pem", chain.leaf.pem().as_bytes());
    write("empty.pem", b"");
    write("crl.pem", chain.list(&[]).as_bytes());
    write(
        "revoked.pem",
        chain.list(&[chain.leaf.serial().clone()]).as_bytes(),
    );
    directory
}

const AT: &str = "-at=2026-11-26T12:00:00Z";

#[tokio::test]
async fn pki_verify_accepts() {
    let directory = pki();
    let verify = ["pki", "verify", AT, "-ca=DIR/ca.der", "DIR/leaf.pem"];
    check(directory.path(), &verify, expect![[r#"
        exit 0
        The chain is good at 2026-11-26T12:00:00Z.
          0: CN=db.example
             serial 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42, valid until 2049-12-31T00:00:00Z
             revocation not checked: no list of CN=Test root, serial 41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41 was given
          1: CN=Test root
             serial 41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41, valid until 2049-12-31T00:00:00Z
             trusted
        Note: CN=db.example, serial 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42: revocation not checked, no list of CN=Test root, serial 41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41 was given.
    "#]]).await;
    let verify = [
        "pki",
        "verify",
        AT,
        "-ca=DIR/ca.pem",
        "-require-crl",
        "-crl=DIR/crl.pem",
        "-purpose=server",
        "-name=db.example",
        "-format=json",
        "DIR/leaf.pem",
    ];
    check(
        directory.path(),
        &verify,
        expect![[r#"
        exit 0
        {
          "good": true,
          "verified": {
            "at": "2026-11-26T12:00:00Z",
            "name": "DNS:db.example",
            "notes": [],
            "path": [
              {
                "not_after": "2049-12-31T00:00:00Z",
                "revocation": {
                  "next_update": "2026-11-29T02:00:00Z",
                  "number": "7",
                  "state": "good",
                  "this_update": "2026-11-26T02:00:00Z"
                },
                "serial": "42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42",
                "subject": "CN=db.example"
              },
              {
                "not_after": "2049-12-31T00:00:00Z",
                "revocation": {
                  "state": "trusted"
                },
                "serial": "41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41",
                "subject": "CN=Test root"
              }
            ],
            "purpose": "ServerAuth"
          }
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn pki_verify_names_the_rule_that_is_broken() {
    let directory = pki();
    let revoked = [
        "pki",
        "verify",
        AT,
        "-ca=DIR/ca.pem",
        "-crl=DIR/revoked.pem",
        "DIR/leaf.pem",
    ];
    check(directory.path(), &revoked, expect![[r#"
        exit 2
        CN=db.example, serial 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42: it was revoked at 2026-11-26T01:00:00Z, says list 7 (rule revoked, RFC 5280 section 6.1.3 (a)(3)). Use another certificate.
    "#]]).await;
    let named = [
        "pki",
        "verify",
        AT,
        "-ca=DIR/ca.pem",
        "-name=other.example",
        "DIR/leaf.pem",
    ];
    check(directory.path(), &named, expect![[r#"
        exit 2
        CN=db.example, serial 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42: it does not bear the name DNS:other.example; it has DNS:db.example (rule name, RFC 9525 section 6). A common name does not count. Issue it with that alternative name.
    "#]]).await;
    let late = [
        "pki",
        "verify",
        "-at=2056-11-26T12:00:00Z",
        "-ca=DIR/ca.pem",
        "-format=json",
        "DIR/leaf.pem",
    ];
    check(directory.path(), &late, expect![[r#"
        exit 2
        {
          "good": false,
          "refusal": {
            "certificate": "CN=db.example, serial 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42",
            "next_step": "Have it issued again.",
            "rule": "validity",
            "section": "RFC 5280 section 6.1.3 (a)(2)",
            "text": "it expired at 2049-12-31T00:00:00Z, before 2056-11-26T12:00:00Z"
          }
        }
    "#]]).await;
}

#[tokio::test]
async fn pki_verify_says_what_it_cannot_read() {
    let directory = pki();
    check(
        directory.path(),
        &["pki", "verify", "-ca=DIR/empty.pem", "DIR/leaf.pem"],
        expect![[r#"
            exit 1
            DIR/empty.pem: not a well-formed DER structure
        "#]],
    )
    .await;
    check(
        directory.path(),
        &["pki", "verify", "DIR/leaf.pem"],
        expect![[r#"
        exit 1
        Not enough arguments: -ca is missing

        Run 'zonehead pki verify -help' for its flags and examples.
    "#]],
    )
    .await;
    let wrong = [
        "pki",
        "verify",
        "-purpose=x",
        "-ca=DIR/ca.pem",
        "DIR/leaf.pem",
    ];
    check(
        directory.path(),
        &wrong,
        expect![[r#"
        exit 1
        -purpose: "x" is none; ServerAuth and ClientAuth are
    "#]],
    )
    .await;
}

#[tokio::test]
async fn pki_inspect_shows_certificates_and_lists() {
    let chain = Chain::new("db.example");
    let mut lab = Lab::new(&[]);
    lab.input(&format!("{}{}", chain.leaf.pem(), chain.list(&[])));
    assert_eq!(
        lab.run(&["pki", "inspect", "-at=2026-11-26T12:00:00Z", "-"])
            .await,
        0
    );
    let shown = lab.stdout();
    assert!(shown.contains("DNS:db.example"), "{shown}");
    lab.input(&chain.leaf.pem());
    assert_eq!(lab.run(&["pki", "inspect", "-format=json", "-"]).await, 0);
    let document: serde_json::Value = serde_json::from_str(&lab.stdout()).unwrap();
    assert_eq!(document[0]["kind"], "certificate");
    lab.input("no certificate");
    assert_eq!(lab.run(&["pki", "inspect", "-"]).await, 1);
}
