//! pkilint finds nothing at WARNING or above in what a head issues, but for the waivers below.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zone_e2e::{root, tool};

use crate::zone::Zone;

/// A finding that is no fault of ours.
struct Waiver {
    code: &'static str,
    /// The message up to the value, and how the value begins.
    begins: &'static str,
    #[expect(dead_code, reason = "for readers")]
    reason: &'static str,
}

const WAIVERS: [Waiver; 3] = [
    Waiver {
        code: "pkix.invalid_uri_syntax",
        begins: "Invalid URI syntax: \"spiffe://",
        reason: "valid by RFC 3986 and prescribed by SPIFFE (X509-SVID, 2); pkilint's checker \
                 knows nine schemes, such as https and telnet, and takes all others for wrong",
    },
    Waiver {
        code: "pkix.invalid_uri_syntax",
        begins: "Invalid URI syntax: \"urn:zonehead:crl:",
        reason: "the same checker; this is the distribution point of a shard when none is \
                 configured, a name only (RFC 8141)",
    },
    Waiver {
        code: "pkix.invalid_domain_name_syntax",
        begins: "Invalid domain name syntax: \"*.",
        reason: "RFC 5280 (4.2.1.6) leaves wildcards to others; RFC 9525 (6.3) gives their form",
    },
];

/// Files with what a head issued.
struct Files {
    zone: Zone,
    files: Vec<PathBuf>,
}

impl Files {
    async fn new() -> Self {
        Self {
            zone: Zone::new().await,
            files: Vec::new(),
        }
    }

    /// Keeps what a path gives without a token.
    async fn fetch(&mut self, path: &str, name: &str) {
        let file = self.zone.fetch(path, name).await;
        self.files.push(file);
    }

    /// Keeps the certificate of an answer.
    fn keep(&mut self, name: &str, issued: &Value) {
        let text = issued["certificate"].as_str().expect("a certificate");
        self.files
            .push(self.zone.head.place.write(name, format!("{text}\n")));
    }

    async fn put(&self, path: &str, ask: &Value) -> Value {
        self.zone.root.put(path, ask).await.expect(200).data()
    }

    /// A PKI engine with a root, and URLs in what it issues.
    async fn authority(&mut self, mount: &str, root: Value) {
        self.zone.mount(mount).await;
        self.urls(mount).await;
        self.put(&format!("{mount}/root/generate/internal"), &root)
            .await;
        self.fetch(&format!("{mount}/ca/pem"), &format!("{mount}-root.crt"))
            .await;
    }

    /// Sets the URLs that stand in what an engine issues.
    async fn urls(&self, mount: &str) {
        let at = format!("http://pki.zone.test/v1/{mount}");
        let urls = json!({
            "issuing_certificates": format!("{at}/issuer/{{{{issuer_id}}}}/der"),
            "crl_distribution_points": format!("{at}/crl/shard/{{{{shard}}}}"),
            "ocsp_servers": "http://ocsp.zone.test",
            "enable_templating": true,
        });
        self.put(&format!("{mount}/config/urls"), &urls).await;
    }

    /// Issues by a role of its own and keeps the certificate; its serial number.
    async fn leaf(&mut self, mount: &str, name: &str, role: Value, ask: Value) -> Value {
        let mut full = json!({
            "allowed_domains": ["zone.test"], "allow_subdomains": true, "allow_bare_domains": true,
            "allowed_uri_sans": ["*"], "key_type": "ec",
        });
        for (field, value) in role.as_object().expect("fields") {
            full[field] = value.clone();
        }
        self.put(&format!("{mount}/roles/{name}"), &full).await;
        let issued = self.put(&format!("{mount}/issue/{name}"), &ask).await;
        self.keep(&format!("{mount}-{name}.crt"), &issued);
        issued["serial_number"].clone()
    }

    /// Keeps the three kinds of lists; the empty one is of before `serial` was revoked.
    async fn lists(&mut self, mount: &str, serial: &Value) {
        self.fetch(&format!("{mount}/crl"), &format!("{mount}-empty.crl"))
            .await;
        let ask = json!({ "serial_number": serial });
        self.put(&format!("{mount}/revoke"), &ask).await;
        self.fetch(
            &format!("{mount}/crl/pem"),
            &format!("{mount}-complete.crl"),
        )
        .await;
        let shard = format!("{mount}/crl/shard/1");
        self.fetch(&shard, &format!("{mount}-shard.crl")).await;
        for kind in ["complete", "shard"] {
            let file = self.zone.head.place.file(&format!("{mount}-{kind}.crl"));
            let text = shown(&file);
            assert!(text.contains("Revoked Certificates:"), "{text}");
        }
    }
}

/// A list as openssl prints it.
fn shown(list: &Path) -> String {
    let mut crl = tool::program("openssl");
    tool::text(crl.args(["crl", "-noout", "-text", "-in"]).arg(list))
}

/// What pkilint finds in files.
fn findings(files: &[PathBuf]) -> Vec<Value> {
    let mut lint = tool::python();
    lint.arg(root().join("tests/e2e/clients/lint.py"));
    let found = tool::text(lint.args(files));
    serde_json::from_str(&found).expect("a list of findings")
}

/// The codes alone.
fn codes(files: &[PathBuf]) -> Vec<String> {
    let code = |finding: Value| finding["code"].as_str().expect("a code").to_owned();
    findings(files).into_iter().map(code).collect()
}

fn is_waived(waiver: &Waiver, finding: &Value) -> bool {
    let message = finding["message"].as_str().unwrap_or_default();
    finding["code"] == waiver.code && message.starts_with(waiver.begins)
}

/// Fails for each finding that has no waiver.
fn lint(files: &[PathBuf]) -> Vec<Value> {
    let (waived, left): (Vec<_>, Vec<_>) = findings(files)
        .into_iter()
        .partition(|finding| WAIVERS.iter().any(|waiver| is_waived(waiver, finding)));
    assert!(left.is_empty(), "{left:#?}");
    waived
}

#[tokio::test]
async fn pkilint_finds_nothing_whatever_the_type_of_key() {
    let mut files = Files::new().await;
    for (family, bits) in [
        ("rsa", 2048),
        ("rsa", 3072),
        ("rsa", 4096),
        ("ec", 256),
        ("ec", 384),
        ("ec", 521),
        ("ed25519", 0),
    ] {
        let mount = format!("{family}{bits}");
        let root = json!({
            "common_name": "zone root", "key_type": family, "key_bits": bits, "ttl": "8760h",
        });
        files.authority(&mount, root).await;
        let ask = json!({
            "common_name": "a.zone.test", "alt_names": "b.zone.test,ops@zone.test",
            "ip_sans": "127.0.0.1,2001:db8::1", "uri_sans": "https://a.zone.test/service",
        });
        let role = json!({ "key_type": family, "key_bits": bits });
        let serial = files.leaf(&mount, "full", role, ask).await;
        files.lists(&mount, &serial).await;
    }
    assert_eq!(files.files.len(), 7 * 5);
    let waived = lint(&files.files);
    assert!(waived.is_empty(), "{waived:#?}");
}

#[tokio::test]
async fn pkilint_finds_nothing_whatever_stands_in_a_certificate() {
    let mut files = Files::new().await;
    let root = json!({
        "common_name": "zone root", "key_type": "ec", "ttl": "8760h", "max_path_length": 1,
        "organization": "Zone, Inc.", "ou": "Trust", "country": "DE", "locality": "Köln",
        "province": "NRW", "street_address": "Weg 1", "postal_code": "50667",
        "permitted_dns_domains": "zone.test", "excluded_dns_domains": "bad.zone.test",
        "permitted_ip_ranges": "10.0.0.0/8", "permitted_email_addresses": "zone.test",
    });
    files.authority("ca", root).await;
    let name = json!({ "common_name": "a.zone.test" });
    for (kind, role, ask) in [
        ("bare", json!({}), &name),
        (
            "client",
            json!({ "server_flag": false, "key_usage": "DigitalSignature" }),
            &name,
        ),
        (
            "subject",
            json!({
                "organization": "Zone, Inc.", "ou": "Data", "country": "DE", "locality": "Köln",
                "province": "NRW", "street_address": "Weg 1", "postal_code": "50667",
            }),
            &name,
        ),
        (
            "policies",
            json!({
                "policy_identifiers": "1.3.6.1.4.1.32473.1.1", "code_signing_flag": true,
                "basic_constraints_valid_for_non_ca": true,
            }),
            &name,
        ),
        (
            "mail",
            json!({ "server_flag": false, "client_flag": false, "email_protection_flag": true }),
            &json!({ "common_name": "ops@zone.test" }),
        ),
        (
            "nameless",
            json!({ "require_cn": false }),
            &json!({ "alt_names": "a.zone.test" }),
        ),
    ] {
        files.leaf("ca", kind, role, ask.clone()).await;
    }
    let waived = lint(&files.files);
    assert!(waived.is_empty(), "{waived:#?}");
}

#[tokio::test]
async fn pkilint_finds_nothing_below_an_imported_authority() {
    let mut files = Files::new().await;
    files.zone.imported_authority("old").await;
    let issuers = files.zone.root.list("old/issuers").await.expect(200).data();
    for (at, id) in issuers["keys"].as_array().unwrap().iter().enumerate() {
        let path = format!("old/issuer/{}", id.as_str().unwrap());
        files
            .fetch(&format!("{path}/der"), &format!("{at}.crt"))
            .await;
        files
            .fetch(&format!("{path}/crl/der"), &format!("{at}.crl"))
            .await;
    }
    files.urls("old").await;
    let ask = json!({ "common_name": "a.zone.test" });
    let serial = files.leaf("old", "leaf", json!({}), ask).await;
    files.lists("old", &serial).await;
    assert_eq!(files.files.len(), 8);
    let waived = lint(&files.files);
    assert!(waived.is_empty(), "{waived:#?}");
}

#[tokio::test]
async fn pkilint_finds_what_is_waived_and_what_is_wrong() {
    let mut files = Files::new().await;
    files.zone.own_authority("ca").await;
    let spiffe = json!({ "common_name": "a.zone.test", "uri_sans": "spiffe://partner.test/a" });
    let serial = files.leaf("ca", "spiffe", json!({}), spiffe).await;
    files.lists("ca", &serial).await;
    let wildcard = json!({ "common_name": "*.a.zone.test" });
    files.leaf("ca", "wildcard", json!({}), wildcard).await;
    let waived = lint(&files.files);
    for waiver in &WAIVERS {
        let used = waived.iter().any(|finding| is_waived(waiver, finding));
        assert!(used, "{} … is no longer found", waiver.begins);
    }

    // Both programs do find what is wrong.
    assert_eq!(
        codes(&[wrong(&files.zone)]),
        ["pkix.certificate_serial_number_out_of_range"]
    );
    files
        .put("ca/config/crl", &json!({ "expiry": "480h" }))
        .await;
    files.zone.root.get("ca/crl/rotate").await.expect(200);
    files.fetch("ca/crl", "long.crl").await;
    let long = &files.files[files.files.len() - 1..];
    assert_eq!(codes(long), ["cabf.crl_invalid_validity_period"]);
}

/// A root with the serial number 0, which RFC 5280 (4.1.2.2) forbids.
fn wrong(zone: &Zone) -> PathBuf {
    let file = zone.head.place.file("wrong.crt");
    let mut openssl = tool::program("openssl");
    openssl
        .args([
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=a",
        ])
        .args(["-set_serial", "0", "-days", "1", "-keyout"])
        .arg(zone.head.place.file("wrong.key"))
        .args(["-addext", "keyUsage=critical,keyCertSign", "-out"]);
    tool::succeed(openssl.arg(&file));
    file
}
