//! A canary: known values go through every endpoint, in success and in error, and then stand in
//! no log, no audit line, no error, no metric and no byte of the data directory.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::Method;
use serde_json::{Map, Value, json};
use zone_e2e::{Answer, Api, Config, Head, Place};

use crate::limits::FIELDS;

/// The value of each secret.
const CANARY: &str = "cAnAry7Zq9XvT2mWkR4bLdYh3nPs";
/// The canary as a token, which may be chosen by the caller.
const TOKEN: &str = "cAnAry7Zq9XvT2mWkR4bLdYh3nPs-token";

/// Fields that hold names and not secrets: an error may repeat them, and they stand in
/// certificates, mounts and lists for everybody.
const NAMES: &[&str] = &[
    "policies",
    "type",
    "paths",
    "path",
    "allowed_domains",
    "key_type",
    "key_usage",
    "country",
    "ext_key_usage_oids",
    "not_after",
    "common_name",
    "alt_names",
    "ip_sans",
    "uri_sans",
    "other_sans",
    "issuing_certificates",
    "crl_distribution_points",
    "ocsp_servers",
    "default",
    "permitted_dns_domains",
    "serial_number",
    "format",
];

/// What must not be found, and in which spellings.
#[derive(Default)]
struct Needles(Vec<(String, String)>);

impl Needles {
    fn add(&mut self, what: &str, bytes: &[u8]) {
        let mut spell = |form: &str, text: String| self.0.push((format!("{what}, {form}"), text));
        spell("plain", latin1(bytes));
        spell("hex", hex(bytes));
        spell("HEX", hex(bytes).to_uppercase());
        for shift in 0..3 {
            // What stays the same in base64 of any text around it.
            let padded = [&vec![0; shift][..], bytes].concat();
            let (from, to) = ((shift * 4).div_ceil(3), padded.len() * 4 / 3);
            for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
                spell(form, engine.encode(&padded)[from..to].to_owned());
            }
        }
    }

    /// Names of the needles in `bytes`.
    fn found(&self, bytes: &[u8]) -> Vec<&str> {
        let text = latin1(bytes);
        let hits = self.0.iter().filter(|(_, needle)| text.contains(needle));
        hits.map(|(what, _)| what.as_str()).collect()
    }
}

#[test]
fn needles_are_found_in_each_spelling() {
    let mut needles = Needles::default();
    needles.add("canary", CANARY.as_bytes());
    for around in ["", "a", "ab", "abc"] {
        let text = format!("{around}{CANARY}{around}");
        for spelling in [
            text.clone(),
            hex(text.as_bytes()),
            hex(text.as_bytes()).to_uppercase(),
            STANDARD.encode(&text),
            URL_SAFE.encode(&text),
        ] {
            assert!(!needles.found(spelling.as_bytes()).is_empty(), "{spelling}");
        }
    }
    assert!(needles.found(&CANARY.as_bytes()[1..]).is_empty());
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every answer that is an error, to be searched at the end.
#[derive(Default)]
struct Errors(Vec<Answer>);

impl Errors {
    fn keep(&mut self, answer: Answer) -> u16 {
        let status = answer.status;
        // The 404 of a deleted version is an answer, with metadata that the caller may see.
        if status >= 400 && answer.data().is_null() {
            self.0.push(answer);
        }
        status
    }
}

#[tokio::test]
async fn cve_2025_62513_canary_values_stand_nowhere() {
    let config = Config {
        log_level: "debug".into(),
        ..Config::default()
    };
    let head = Place::with(&config).start();
    let mut errors = Errors::default();
    let mut needles = Needles::default();
    needles.add("canary", CANARY.as_bytes());
    before_init(&head, &mut errors).await;
    let keys = head.init(3, 2).await;
    for share in &keys.base64 {
        needles.add("key share", &STANDARD.decode(share).unwrap());
    }
    needles.add("root token", keys.root_token.as_bytes());
    let root = head.with_token(&keys.root_token);
    while_sealed(&head, &root, &mut errors).await;
    head.unseal(&keys).await;
    prepare(&root, &mut needles).await;
    kv(&root, &mut errors).await;
    tokens(&head, &root, &mut errors).await;
    wrapped(&root, &mut errors, &mut needles).await;
    every_field(&root, &mut errors).await;
    broken_bodies(&root, &mut errors).await;
    let hash = root
        .put("sys/audit-hash/file", &json!({ "input": CANARY }))
        .await
        .expect(200);
    let hash = hash.field("hash");
    let accessor = root
        .get("auth/token/lookup-self")
        .await
        .expect(200)
        .field("accessor");
    needles.add("accessor", accessor.as_bytes());
    let metrics = root.get("sys/metrics?format=prometheus").await.expect(200);
    root.put("sys/rotate", &json!({})).await.expect(204);

    let place = head.place.clone();
    let mut process = head.process;
    process.signal(rustix::process::Signal::TERM);
    process.wait();
    let log = process.log();
    assert!(errors.0.len() > 150, "errors of {} kinds", errors.0.len());
    for answer in &errors.0 {
        let headers = format!("{:?}", answer.headers);
        let found = [
            needles.found(&answer.body),
            needles.found(headers.as_bytes()),
        ]
        .concat();
        assert!(
            found.is_empty(),
            "{}: {found:?} in {}",
            answer.request,
            answer.text()
        );
    }
    assert_eq!(needles.found(&metrics.body), [""; 0], "metrics");
    assert!(log.contains("DEBUG") && !log.contains("panicked"), "{log}");
    assert_eq!(needles.found(log.as_bytes()), [""; 0], "{log}");
    let audit = std::fs::read_to_string(place.audit_log()).unwrap();
    assert!(
        audit.matches(&hash).count() > 20,
        "the canary did pass the audit trail, as HMAC"
    );
    let mut files = Vec::new();
    search(&place.data(), &needles, &mut files);
    assert!(files.iter().any(|file| file == "zone.redb") && files.contains(&"audit.log".into()));
}

/// Searches each file below a directory, and sees to it that nobody else may read it.
fn search(dir: &Path, needles: &Needles, files: &mut Vec<String>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(
            mode & 0o077 == 0 || name == "listener-ca.pem",
            "{name} has mode {mode:o}"
        );
        if path.is_dir() {
            search(&path, needles, files);
        } else {
            assert_eq!(
                needles.found(&std::fs::read(&path).unwrap()),
                [""; 0],
                "{name}"
            );
            files.push(name);
        }
    }
}

async fn before_init(head: &Head, errors: &mut Errors) {
    let api = head.api();
    for field in [
        "pgp_keys",
        "root_token_pgp_key",
        "age_recipients",
        "secret_shares",
    ] {
        for value in [json!(CANARY), json!([CANARY])] {
            assert_eq!(
                errors.keep(api.put("sys/init", &one(field, value)).await),
                400,
                "{field}"
            );
        }
    }
    errors.keep(api.put("sys/unseal", &json!({ "key": CANARY })).await);
}

async fn while_sealed(head: &Head, root: &Api, errors: &mut Errors) {
    let api = head.api();
    for key in [
        CANARY.to_owned(),
        hex(CANARY.as_bytes()),
        STANDARD.encode(CANARY),
    ] {
        assert_eq!(
            errors.keep(api.put("sys/unseal", &json!({ "key": key })).await),
            400
        );
    }
    for body in [
        json!({ "reset": CANARY }),
        json!({ "reset": true, "nonce": CANARY }),
    ] {
        errors.keep(api.put("sys/unseal", &body).await);
    }
    errors.keep(
        root.put("secret/data/a", &json!({ "data": { "v": CANARY } }))
            .await,
    );
    errors.keep(api.token(TOKEN).get("secret/data/a").await);
    errors.keep(api.get(&format!("sys/health?sealedcode={CANARY}")).await);
}

/// Mounts, and key material that is to be searched too.
async fn prepare(root: &Api, needles: &mut Needles) {
    let kv = json!({ "type": "kv-v2", "description": CANARY });
    root.put("sys/mounts/secret", &kv).await.expect(204);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ask = json!({ "common_name": "root", "key_type": "ec", "ttl": "24h" });
    let made = root
        .put("pki/root/generate/exported", &ask)
        .await
        .expect(200);
    needles.add("CA key", &pem(&made.field("private_key")));
    let role = json!({ "allow_any_name": true, "key_type": "ed25519", "ttl": "1h" });
    root.put("pki/roles/t", &role).await.expect(200);
    let issued = root
        .put("pki/issue/t", &json!({ "common_name": "a.test" }))
        .await
        .expect(200);
    needles.add("issued key", &pem(&issued.field("private_key")));
    let policy = format!("# {CANARY}\npath \"secret/*\" {{ capabilities = [\"read\"] }}");
    root.put("sys/policies/acl/commented", &json!({ "policy": policy }))
        .await
        .expect(204);
}

/// The inner bytes of a PEM text.
fn pem(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

async fn kv(root: &Api, errors: &mut Errors) {
    let value = json!({ "data": { "v": CANARY, "deep": [{ "er": CANARY }], "long": CANARY.repeat(9_000) } });
    for _ in 0..3 {
        root.put("secret/data/a", &value).await.expect(200);
    }
    let read = root.get("secret/data/a").await.expect(200);
    assert_eq!(read.data()["data"], value["data"], "the canary is alive");
    root.patch("secret/data/a", &json!({ "data": { "w": CANARY } }))
        .await
        .expect(200);
    let custom = json!({ "custom_metadata": { "note": CANARY } });
    root.put("secret/metadata/a", &custom).await.expect(204);
    for (path, versions) in [("delete", [1]), ("undelete", [1]), ("destroy", [2])] {
        let body = json!({ "versions": versions });
        root.put(&format!("secret/{path}/a"), &body)
            .await
            .expect(204);
    }
    root.get("secret/subkeys/a").await.expect(200);
    for query in ["version", "list", "depth", "limit", "after"] {
        errors.keep(root.get(&format!("secret/data/a?{query}={CANARY}")).await);
        errors.keep(
            root.list(&format!("secret/metadata/nothing?{query}={CANARY}"))
                .await,
        );
    }
    let cas = json!({ "data": { "v": CANARY }, "options": { "cas": 77 } });
    assert_eq!(errors.keep(root.put("secret/data/a", &cas).await), 400);
    let big = json!({ "data": { "v": CANARY.repeat(40_000) } });
    assert_eq!(errors.keep(root.put("secret/data/a", &big).await), 413);
    root.delete("secret/data/a").await.expect(204);
    assert_eq!(errors.keep(root.get("secret/data/a").await), 404);
}

async fn tokens(head: &Head, root: &Api, errors: &mut Errors) {
    let ask = json!({ "id": TOKEN, "policies": ["commented"], "meta": { "why": "test" } });
    root.put("auth/token/create", &ask).await.expect(200);
    assert_eq!(
        errors.keep(root.put("auth/token/create", &ask).await),
        400,
        "taken"
    );
    let mine = head.with_token(TOKEN);
    mine.get("auth/token/lookup-self").await.expect(200);
    head.api()
        .header("authorization", &format!("Bearer {TOKEN}"))
        .get("secret/data/b")
        .await
        .expect(404);
    assert_eq!(
        errors.keep(
            mine.put("secret/data/b", &json!({ "data": { "v": CANARY } }))
                .await
        ),
        403
    );
    for path in ["lookup", "renew", "revoke"] {
        root.put(&format!("auth/token/{path}"), &json!({ "token": TOKEN }))
            .await;
    }
    // To revoke a token that is gone is no error.
    for path in ["lookup", "renew", "revoke-orphan"] {
        let body = json!({ "token": TOKEN });
        assert!(
            errors.keep(root.put(&format!("auth/token/{path}"), &body).await) >= 400,
            "{path}"
        );
    }
    for path in ["lookup-accessor", "renew-accessor", "revoke-accessor"] {
        let body = json!({ "accessor": CANARY });
        assert!(
            errors.keep(root.put(&format!("auth/token/{path}"), &body).await) >= 400,
            "{path}"
        );
    }
    let both = json!({ "token": TOKEN, "paths": "secret/data/a" });
    assert_eq!(errors.keep(root.put("sys/capabilities", &both).await), 400);
    // Strangers with the canary as a token, with a body, many times: each a refusal.
    for _ in 0..30 {
        assert_eq!(
            errors.keep(
                mine.put("secret/data/b", &json!({ "data": { "v": CANARY } }))
                    .await
            ),
            403
        );
        errors.keep(
            head.api()
                .header("authorization", &format!("Bearer {CANARY}"))
                .get("x/y")
                .await,
        );
    }
}

/// Each field of each endpoint, as text, in a list, in an object.
/// What is wrapped, kept in a cubbyhole, hashed and drawn; one answer stays wrapped.
async fn wrapped(root: &Api, errors: &mut Errors, needles: &mut Needles) {
    let wrapping = root.header("X-Vault-Wrap-TTL", "5m");
    let secret = json!({ "v": CANARY });
    let mut token = String::new();
    for (path, body) in [
        ("sys/wrapping/wrap", &secret),
        ("auth/token/create", &json!({})),
    ] {
        let answer = wrapping.put(path, body).await.expect(200).json();
        token = answer["wrap_info"]["token"].as_str().unwrap().to_owned();
        needles.add("wrapping token", token.as_bytes());
        let named = json!({ "token": token });
        root.put("sys/wrapping/lookup", &named).await.expect(200);
        let moved = root
            .put("sys/wrapping/rewrap", &named)
            .await
            .expect(200)
            .json();
        token = moved["wrap_info"]["token"].as_str().unwrap().to_owned();
        needles.add("wrapping token", token.as_bytes());
    }
    let named = json!({ "token": token });
    let inner = root.put("sys/wrapping/unwrap", &named).await;
    let inner = inner.expect(200).json();
    let inner = inner["auth"]["client_token"].as_str().unwrap();
    needles.add("wrapped token", inner.as_bytes());
    for path in ["unwrap", "rewrap", "lookup"] {
        for wrong in [CANARY, token.as_str()] {
            let body = json!({ "token": wrong });
            let answer = root.put(&format!("sys/wrapping/{path}"), &body).await;
            assert_eq!(errors.keep(answer), 400, "{path}");
        }
    }
    root.put("cubbyhole/notes", &secret).await.expect(204);
    root.get("cubbyhole/notes").await.expect(200);
    let input = json!({ "input": STANDARD.encode(CANARY) });
    root.put("sys/tools/hash", &input).await.expect(200);
    let name = "sys/config/auditing/request-headers/x-own";
    root.put(name, &json!({ "hmac": true })).await.expect(204);
    let audited = root.header("X-Own", CANARY);
    audited.get("sys/mounts").await.expect(200);
}

async fn every_field(root: &Api, errors: &mut Errors) {
    for (path, fields) in FIELDS {
        for field in fields.iter().filter(|field| !NAMES.contains(field)) {
            for value in [
                json!(CANARY),
                json!([CANARY]),
                json!({ "k": CANARY }),
                json!([[CANARY]]),
            ] {
                for api in [root.clone(), root.token("")] {
                    errors.keep(api.put(path, &one(field, value.clone())).await);
                }
            }
        }
    }
    for text in [
        format!("-----BEGIN CERTIFICATE-----\n{CANARY}\n-----END CERTIFICATE-----"),
        CANARY.into(),
    ] {
        for (path, field) in [
            ("pki/sign/t", "csr"),
            ("pki/config/ca", "pem_bundle"),
            ("pki/issuers/import/cert", "pem_bundle"),
            ("pki/revoke", "certificate"),
        ] {
            assert_eq!(
                errors.keep(root.put(path, &one(field, json!(text))).await),
                400,
                "{path}"
            );
        }
    }
}

fn one(field: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(field.to_owned(), value)]))
}

/// Bodies that are refused before there are fields.
async fn broken_bodies(root: &Api, errors: &mut Errors) {
    let bodies = [
        format!("{{\"data\":{{\"v\":\"{CANARY}\""),
        format!("{{\"data\":{{\"v\":\"{CANARY}\",\"v\":\"{CANARY}\"}}}}"),
        format!("{{\"data\":{CANARY}}}"),
        format!("\"{CANARY}\""),
        format!("[\"{CANARY}\"]"),
        format!(
            "{{\"data\":{}\"{CANARY}\"{}}}",
            "[".repeat(80),
            "]".repeat(80)
        ),
        format!("{{}} {CANARY}"),
        format!("{{\"data\":\"{CANARY}\\ud800\"}}"),
        CANARY.to_owned(),
    ];
    for body in bodies {
        for path in [
            "secret/data/a",
            "auth/token/create",
            "sys/unseal",
            "sys/init",
            "pki/issue/t",
            "no/such/mount",
        ] {
            for (method, kind) in [
                (Method::PUT, "application/json"),
                (Method::POST, "application/x-www-form-urlencoded"),
                (Method::PATCH, "application/merge-patch+json"),
                (Method::PATCH, "text/plain"),
            ] {
                errors.keep(root.send(method, path, kind, body.clone()).await);
            }
        }
    }
    errors.keep(
        root.put(
            &format!("secret/data/a?token={CANARY}&token={CANARY}"),
            &json!({}),
        )
        .await,
    );
    errors.keep(root.get(&format!("secret/data/a?v={CANARY}%zz")).await);
}
