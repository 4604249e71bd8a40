//! Vault's shapes, to the letter. What the calls do is proven in `zone-pki`.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zone_access::MountKind;
use zone_access::open::OPEN;
use zone_pki::ReservedNames;
use zone_ports::Clock as _;
use zone_testkit::Lab;
use zone_x509::Certificate;

use super::*;

use Operation::{Delete, List, Patch, Read, Update};

/// A PKI mount at `pki/`.
struct Bench {
    lab: Lab,
    pki: Arc<PkiService>,
}

/// An answer: its status, `data` or the list of errors, and warnings.
#[derive(Debug)]
struct Shown {
    status: u16,
    data: Value,
    warnings: Vec<String>,
}

impl Shown {
    fn fields(&self) -> Vec<&str> {
        self.data
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    fn text(&self, field: &str) -> &str {
        self.data[field].as_str().unwrap()
    }

    fn text_at(&self, pointer: &str) -> String {
        self.data
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.text("certificate")).unwrap()
    }
}

impl Bench {
    async fn new() -> Self {
        let lab = Lab::new().await;
        lab.mount(MountKind::Pki, "pki/").await;
        let reserved = ReservedNames::new("zone.example", &[]);
        let (clock, random) = (lab.clock.clone(), lab.random.clone());
        let pki = Arc::new(PkiService::new(
            lab.access.clone(),
            lab.barrier.clone(),
            clock,
            random,
            reserved,
        ));
        Self { lab, pki }
    }

    async fn with_ca() -> Self {
        let bench = Self::new().await;
        let root = json!({
            "common_name": "Test CA", "key_type": "ec", "ttl": "720h", "issuer_name": "root",
        });
        bench.call(Update, "root/generate/internal", root).await;
        let role = json!({
            "allowed_domains": "example.com", "allow_subdomains": "true", "key_type": "ec",
            "ttl": "1h",
        });
        bench.call(Update, "roles/web", role).await;
        bench
    }

    async fn reply(&self, operation: Operation, rest: &str, data: Value) -> Result<Reply, Fault> {
        let permit = self.lab.permit(operation, &format!("pki/{rest}")).await;
        let data: Map<String, Value> = serde_json::from_value(data).unwrap();
        let client = "127.0.0.1:40000".parse().unwrap();
        handle(
            &self.pki,
            &Call {
                permit,
                data,
                client,
                token: None,
                wants: crate::stream::Wants::Body,
            },
        )
        .await
    }

    async fn call(&self, operation: Operation, rest: &str, data: Value) -> Shown {
        match self.reply(operation, rest, data).await {
            Ok(Reply::NoContent) => Shown {
                status: 204,
                data: Value::Null,
                warnings: Vec::new(),
            },
            Ok(Reply::Data(answer)) => Shown {
                status: 200,
                data: answer
                    .data
                    .map_or(Value::Null, |d| serde_json::from_str(d.get()).unwrap()),
                warnings: answer.warnings,
            },
            Ok(_) => panic!("{rest}: no envelope"),
            Err(fault) => Shown {
                status: fault.status,
                data: fault.errors.into(),
                warnings: fault.warnings,
            },
        }
    }

    async fn raw(&self, rest: &str) -> (&'static str, Vec<u8>) {
        match self.reply(Read, rest, json!({})).await {
            Ok(Reply::Raw { content_type, body }) => (content_type, body),
            _ => panic!("{rest}: not raw"),
        }
    }
}

#[tokio::test]
async fn a_root_shows_its_key_only_if_exported() {
    let bench = Bench::new().await;
    let ask = json!({ "common_name": "A", "key_type": "ec", "key_bits": "384", "ttl": "24h" });
    let root = bench
        .call(Update, "root/generate/exported", ask.clone())
        .await;
    let mut fields = root.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "certificate",
            "expiration",
            "issuer_id",
            "issuer_name",
            "issuing_ca",
            "key_id",
            "key_name",
            "private_key",
            "private_key_type",
            "serial_number",
        ]
    );
    assert_eq!(root.text("private_key_type"), "ec");
    assert!(
        root.text("private_key")
            .starts_with("-----BEGIN EC PRIVATE KEY-----")
    );
    assert_eq!(root.text("certificate"), root.text("issuing_ca"));
    assert!(!root.text("certificate").ends_with('\n'));
    let certificate = root.certificate();
    assert_eq!(root.text("serial_number"), certificate.serial().to_string());
    assert_eq!(root.data["expiration"], certificate.not_after().secs());
    let kept = bench
        .call(Update, "root/generate/internal", ask.clone())
        .await;
    assert!(kept.data.get("private_key").is_none());
    let kms = bench.call(Update, "root/generate/kms", ask).await;
    assert_eq!(kms.status, 400);
}

#[tokio::test]
async fn issue_takes_all_values_as_text_and_answers_in_vaults_shape() {
    let bench = Bench::with_ca().await;
    let ask = json!({
        "common_name": "a.example.com", "alt_names": "b.example.com,c.example.com",
        "ip_sans": "10.1.2.3", "ttl": "0h30m0s", "exclude_cn_from_sans": "true", "format": "pem",
        "private_key_format": "pkcs8", "nonsense": "1",
    });
    let issued = bench.call(Update, "issue/web", ask).await;
    let mut fields = issued.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "ca_chain",
            "certificate",
            "expiration",
            "issuing_ca",
            "private_key",
            "private_key_type",
            "serial_number",
        ]
    );
    assert!(
        issued
            .text("private_key")
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );
    assert_eq!(issued.warnings.len(), 1, "{:?}", issued.warnings);
    let names: Vec<_> = issued
        .certificate()
        .alternative_names()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        ["DNS:b.example.com", "DNS:c.example.com", "IP:10.1.2.3"]
    );
    let left = issued
        .certificate()
        .not_after()
        .since(bench.lab.clock.now());
    assert_eq!(left.as_secs(), 1800);
    assert_eq!(issued.data["ca_chain"][0], issued.data["issuing_ca"]);
}

#[tokio::test]
async fn formats_are_vaults() {
    use base64::Engine as _;
    let bench = Bench::with_ca().await;
    let ask = |format: &str| json!({ "common_name": "a.example.com", "format": format });
    let bundle = bench.call(Update, "issue/web", ask("pem_bundle")).await;
    let text = bundle.text("certificate");
    assert!(text.starts_with("-----BEGIN EC PRIVATE KEY-----"));
    assert_eq!(text.matches("-----BEGIN CERTIFICATE-----").count(), 2);
    let der = bench.call(Update, "issue/web", ask("der")).await;
    let octets = base64::engine::general_purpose::STANDARD
        .decode(der.text("certificate"))
        .unwrap();
    assert!(Certificate::from_der(&octets).is_ok());
    let other = bench.call(Update, "issue/web", ask("xml")).await;
    assert_eq!(
        (other.status, &other.data[0]),
        (
            400,
            &json!("field 'format': expected pem, der or pem_bundle")
        )
    );
}

#[tokio::test]
async fn a_flag_that_is_wrong_is_refused_before_anything_is_issued() {
    let bench = Bench::with_ca().await;
    let before = bench.call(List, "certs/", json!({})).await.data;
    for field in ["remove_roots_from_chain", "format", "private_key_format"] {
        let ask = json!({ "common_name": "a.example.com", field: "perhaps" });
        assert_eq!(
            bench.call(Update, "issue/web", ask).await.status,
            400,
            "{field}"
        );
    }
    assert_eq!(bench.call(List, "certs/", json!({})).await.data, before);
}

#[tokio::test]
async fn sign_has_no_private_key() {
    let bench = Bench::with_ca().await;
    let csr = include_str!("../../../../../services/zone-pki/tests/data/plain.csr");
    bench
        .call(Patch, "roles/web", json!({ "allow_bare_domains": true }))
        .await;
    let signed = bench.call(Update, "sign/web", json!({ "csr": csr })).await;
    let mut fields = signed.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "ca_chain",
            "certificate",
            "expiration",
            "issuing_ca",
            "serial_number"
        ]
    );
    let by_issuer = bench
        .call(Update, "issuer/root/sign/web", json!({ "csr": csr }))
        .await;
    assert_eq!(by_issuer.status, 200);
    for (data, error) in [
        (json!({}), "\"csr\" is empty"),
        (
            json!({ "csr": "x" }),
            "field 'csr': not PEM with the label CERTIFICATE REQUEST",
        ),
    ] {
        let refused = bench.call(Update, "sign/web", data).await;
        assert_eq!((refused.status, &refused.data), (400, &json!([error])));
    }
    let verbatim = bench
        .call(Update, "sign-verbatim/web", json!({ "csr": csr }))
        .await;
    assert_eq!(verbatim.status, 404, "never a fake success");
}

#[tokio::test]
async fn a_certificate_is_read_revoked_and_listed() {
    let bench = Bench::with_ca().await;
    let issued = bench
        .call(
            Update,
            "issue/web",
            json!({ "common_name": "a.example.com" }),
        )
        .await;
    let serial = issued.text("serial_number").to_owned();
    let hyphens = serial.replace(':', "-");
    for form in [&serial, &hyphens] {
        let read = bench.call(Read, &format!("cert/{form}"), json!({})).await;
        assert_eq!(read.data["certificate"], issued.data["certificate"]);
        assert_eq!(read.data["revocation_time"], 0);
        assert_eq!(read.data["revocation_time_rfc3339"], "");
    }
    let listed = bench.call(List, "certs/", json!({})).await;
    assert!(
        listed.data["keys"]
            .as_array()
            .unwrap()
            .contains(&json!(serial))
    );
    assert_eq!(
        bench.call(List, "certs/revoked/", json!({})).await.status,
        404
    );

    let revoked = bench
        .call(Update, "revoke", json!({ "serial_number": hyphens }))
        .await;
    let now = bench.lab.clock.now();
    let at = zone_types::Timestamp::from_secs(now.secs());
    assert_eq!(
        revoked.data,
        json!({
            "revocation_time": at.secs(),
            "revocation_time_rfc3339": at.to_string(),
            "state": "revoked",
        })
    );
    let read = bench.call(Read, &format!("cert/{serial}"), json!({})).await;
    assert_eq!(read.data["revocation_time"], at.secs());
    let gone = bench.call(List, "certs/revoked/", json!({})).await;
    assert_eq!(gone.data, json!({ "keys": [serial] }));
    let unknown = bench
        .call(Update, "revoke", json!({ "serial_number": "01:02" }))
        .await;
    assert_eq!(unknown.status, 400);
    assert_eq!(
        unknown.data,
        json!(["certificate with serial 01:02 not found."])
    );
    assert_eq!(bench.call(Read, "cert/01:02", json!({})).await.status, 404);
    assert_eq!(bench.call(Update, "revoke", json!({})).await.status, 400);
}

#[tokio::test]
async fn raw_answers_have_vaults_types() {
    let bench = Bench::with_ca().await;
    let ca = Certificate::from_der(&bench.raw("ca").await.1).unwrap();
    for (path, content_type, begins) in [
        ("ca", "application/pkix-cert", "\u{30}"),
        (
            "ca/pem",
            "application/pem-certificate-chain",
            "-----BEGIN CERTIFICATE",
        ),
        (
            "ca_chain",
            "application/pkix-cert",
            "-----BEGIN CERTIFICATE",
        ),
        ("crl", "application/pkix-crl", "\u{30}"),
        ("crl/pem", "application/x-pem-file", "-----BEGIN X509 CRL"),
        ("crl/chain", "application/x-pem-file", "-----BEGIN X509 CRL"),
        ("issuer/root/der", "application/pkix-cert", "\u{30}"),
        ("issuer/root/crl/der", "application/pkix-crl", "\u{30}"),
    ] {
        let (found, body) = bench.raw(path).await;
        assert_eq!(found, content_type, "{path}");
        assert!(body.starts_with(begins.as_bytes()), "{path}");
    }
    let list = zone_x509::Crl::from_der(&bench.raw("crl").await.1).unwrap();
    assert!(list.signed_by(&ca.public_key().unwrap()));
}

#[tokio::test]
async fn a_mount_without_a_ca_says_so() {
    let bench = Bench::new().await;
    for path in ["ca", "ca/pem", "ca_chain", "crl", "crl/pem", "crl/chain"] {
        assert!(bench.raw(path).await.1.is_empty(), "{path}");
    }
    assert_eq!(bench.call(Read, "cert/ca", json!({})).await.status, 400);
    for path in ["issuers/", "keys/", "roles/", "certs/"] {
        let none = bench.call(List, path, json!({})).await;
        assert_eq!((none.status, none.data), (404, json!([])), "{path}");
    }
    assert_eq!(bench.call(Read, "roles/none", json!({})).await.status, 404);
}

#[tokio::test]
async fn issuers_keys_and_settings_have_vaults_shape() {
    let bench = Bench::with_ca().await;
    let listed = bench.call(List, "issuers/", json!({})).await;
    let id = listed.text_at("/keys/0");
    assert_eq!(listed.data["key_info"][&id]["issuer_name"], "root");
    assert_eq!(listed.data["key_info"][&id]["is_default"], true);
    let issuer = bench.call(Read, "issuer/default", json!({})).await;
    assert_eq!(issuer.text("issuer_id"), id);
    assert_eq!(issuer.text("leaf_not_after_behavior"), "err");
    assert_eq!(
        issuer.text("usage"),
        "crl-signing,issuing-certificates,ocsp-signing,read-only"
    );
    let key = bench
        .call(Read, &format!("key/{}", issuer.text("key_id")), json!({}))
        .await;
    assert_eq!(key.text("key_type"), "ec");
    let config = bench.call(Read, "config/issuers", json!({})).await;
    assert_eq!(
        config.data,
        json!({ "default": id, "default_follows_latest_issuer": false })
    );
    let urls = json!({ "crl_distribution_points": "http://h/v1/pki/crl" });
    let urls = bench.call(Update, "config/urls", urls).await;
    assert_eq!(
        urls.data["crl_distribution_points"],
        json!(["http://h/v1/pki/crl"])
    );
    let crl = bench
        .call(Update, "config/crl", json!({ "expiry": "24h" }))
        .await;
    assert_eq!(crl.text("expiry"), "24h");
    let delta = bench
        .call(Update, "config/crl", json!({ "enable_delta": true }))
        .await;
    assert_eq!(delta.status, 400, "what is not built is refused");
    assert_eq!(bench.call(Delete, "roles/web", json!({})).await.status, 204);
}

#[tokio::test]
async fn a2_every_open_endpoint_is_there() {
    let bench = Bench::with_ca().await;
    let issued = bench
        .call(
            Update,
            "issue/web",
            json!({ "common_name": "a.example.com" }),
        )
        .await;
    let serial = issued.text("serial_number").to_owned();
    let open = OPEN.iter().filter(|(kind, _)| *kind == MountKind::Pki);
    let mut served = 0;
    for pattern in open.flat_map(|(_, patterns)| patterns.iter()) {
        let value = match pattern.split('/').next() {
            Some("cert") => serial.as_str(),
            Some("issuer") => "root",
            _ => "1",
        };
        let path = pattern.replace('+', value);
        let reply = bench.reply(Read, &path, json!({})).await;
        assert!(
            matches!(reply, Ok(Reply::Data(_) | Reply::Raw { .. })),
            "{path}"
        );
        served += 1;
    }
    assert!(served >= 16);
}

#[tokio::test]
async fn other_operations_and_paths_are_told_apart() {
    let bench = Bench::with_ca().await;
    for (operation, path, status) in [
        (Delete, "ca", 405),
        (Update, "certs", 405),
        (Read, "issue/web", 405),
        (Read, "nonsense", 404),
        (Update, "tidy", 404),
        (Update, "intermediate/generate/internal", 404),
        (Read, "crl/shard/x", 400),
        (Read, "crl/shard/77", 404),
    ] {
        let found = bench.call(operation, path, json!({})).await;
        assert_eq!(
            found.status,
            status,
            "{} {path}: {found:?}",
            operation.as_str()
        );
    }
}
