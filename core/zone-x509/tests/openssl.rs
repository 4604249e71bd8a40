//! OpenSSL as the other reader and the other CA: it accepts and refuses what this crate accepts
//! and refuses, and each reads what the other made.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_types::Timestamp;
use zone_x509::chain::{Question, Refusal, Revocation, Unlisted, Verified};
use zone_x509::inspect::{Report, inspect};
use zone_x509::{
    AltName, Certificate, CertificatePlan, Crl, CrlPlan, KeyUsage, Kind, NameConstraints, Purpose,
    Serial, Subject, Subtree, crl_pem,
};

const POINT: &str = "http://ca.example/crl/1";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn openssl(dir: &Path, args: &[&str]) -> Output {
    Command::new("openssl")
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap()
}

/// What it printed; it must succeed.
fn said(dir: &Path, args: &[&str]) -> String {
    let output = openssl(dir, args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "openssl {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn plan(kind: Kind, serial: u8, name: &str) -> CertificatePlan {
    let is_leaf = matches!(kind, Kind::Leaf { .. });
    let signs = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
    CertificatePlan {
        kind,
        serial: Serial::from_random([serial; 20]),
        subject: Subject::common(name),
        names: Vec::new(),
        not_before: at("2026-01-01T00:00:00Z"),
        not_after: at("2051-01-01T00:00:00Z"),
        usage: if is_leaf {
            KeyUsage::DIGITAL_SIGNATURE
        } else {
            signs
        },
        purposes: Vec::new(),
        policies: Vec::new(),
        issuer_urls: Vec::new(),
        ocsp_urls: Vec::new(),
        crl_points: Vec::new(),
    }
}

fn authority(serial: u8, name: &str, constraints: NameConstraints) -> CertificatePlan {
    plan(
        Kind::Authority {
            path_length: None,
            constraints,
        },
        serial,
        name,
    )
}

fn leaf(serial: u8) -> CertificatePlan {
    CertificatePlan {
        names: vec![
            AltName::Dns("a.example".into()),
            AltName::Dns("*.b.example".into()),
            AltName::Ip("10.0.0.1".parse().unwrap()),
            AltName::Uri("spiffe://zone.example/a".into()),
        ],
        not_after: at("2026-12-01T00:00:00Z"),
        purposes: vec![Purpose::SERVER_AUTH],
        crl_points: vec![POINT.into()],
        ..plan(Kind::Leaf { says_so: false }, serial, "a.example")
    }
}

struct Ca {
    key: PrivateKey,
    certificate: Certificate,
}

impl Ca {
    fn root(key_type: KeyType, constraints: NameConstraints) -> Self {
        let key = PrivateKey::generate(key_type).unwrap();
        let scheme = key.algorithm().scheme();
        let der = authority(0x51, "Root", constraints)
            .self_sign(&key, scheme)
            .unwrap();
        Self {
            certificate: Certificate::from_der(&der).unwrap(),
            key,
        }
    }

    fn below(&self, key_type: KeyType) -> Self {
        let key = PrivateKey::generate(key_type).unwrap();
        let plan = authority(0x52, "Middle", NameConstraints::default());
        Self {
            certificate: self.sign(&plan, &key),
            key,
        }
    }

    fn sign(&self, plan: &CertificatePlan, holder: &PrivateKey) -> Certificate {
        let scheme = self.key.algorithm().scheme();
        let der = plan
            .sign(holder.public_key(), &self.certificate, &self.key, scheme)
            .unwrap();
        Certificate::from_der(&der).unwrap()
    }

    fn list(&self, revoked: &[&Certificate], points: &[&str]) -> Crl {
        let revoked = revoked
            .iter()
            .map(|one| (one.serial().clone(), at("2026-01-20T00:00:00Z")));
        let plan = CrlPlan {
            number: 1_769_900_000_000,
            this_update: at("2026-02-01T00:00:00Z"),
            next_update: at("2026-02-04T00:00:00Z"),
            points: points.iter().map(|point| (*point).to_owned()).collect(),
            revoked: revoked.collect(),
        };
        let scheme = self.key.algorithm().scheme();
        Crl::from_der(&plan.sign(&self.certificate, &self.key, scheme).unwrap()).unwrap()
    }
}

/// One question, put to both.
struct Case<'a> {
    leaf: &'a Certificate,
    middle: &'a Certificate,
    root: &'a Certificate,
    lists: Vec<Crl>,
    at: &'a str,
    purpose: Purpose,
    name: AltName,
}

impl Case<'_> {
    fn ours(&self) -> Result<Verified, Refusal> {
        Question {
            certificate: self.leaf,
            intermediates: std::slice::from_ref(self.middle),
            roots: std::slice::from_ref(self.root),
            lists: &self.lists,
            at: at(self.at),
            purpose: Some(self.purpose),
            name: Some(&self.name),
            unlisted: Unlisted::Refuse,
        }
        .answer()
    }

    fn theirs(&self) -> Result<(), String> {
        let dir = TempDir::new().unwrap();
        let lists: String = self.lists.iter().map(|list| crl_pem(list.der())).collect();
        for (name, text) in [
            ("leaf", self.leaf.pem()),
            ("middle", self.middle.pem()),
            ("root", self.root.pem()),
            ("lists", lists),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let epoch = at(self.at).secs().to_string();
        let purpose = if self.purpose == Purpose::SERVER_AUTH {
            "sslserver"
        } else {
            "sslclient"
        };
        let (kind, name) = match &self.name {
            AltName::Dns(host) => ("-verify_hostname", host.clone()),
            AltName::Ip(address) => ("-verify_ip", address.to_string()),
            other => panic!("{other}"),
        };
        let mut args = vec![
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-attime",
            &epoch,
        ];
        args.extend([
            "-purpose",
            purpose,
            kind,
            &name,
            "-no-CApath",
            "-no-CAstore",
        ]);
        args.extend(["-CAfile", "root", "-untrusted", "middle"]);
        if !self.lists.is_empty() {
            args.extend(["-CRLfile", "lists"]);
        }
        args.push("leaf");
        let output = openssl(dir.path(), &args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Both accept, or both refuse and ours by `rule`.
    #[track_caller]
    fn agree(&self, rule: Option<&str>) {
        let (ours, theirs) = (self.ours(), self.theirs());
        let found = ours.as_ref().err().map(|refusal| refusal.rule);
        assert_eq!(found, rule, "ours: {ours:?}\ntheirs: {theirs:?}");
        assert_eq!(
            theirs.is_err(),
            rule.is_some(),
            "ours: {ours:?}\ntheirs: {theirs:?}"
        );
    }
}

#[test]
fn both_say_the_same_of_every_key_type() {
    use KeyType::{Ed25519, P256, P384, P521, Rsa2048};
    for key_type in [Rsa2048, P256, P384, P521, Ed25519] {
        let root = Ca::root(key_type, NameConstraints::default());
        let middle = root.below(key_type);
        let end = middle.sign(&leaf(0x53), &PrivateKey::generate(key_type).unwrap());
        let case = |revoked: &[&Certificate]| Case {
            leaf: &end,
            middle: &middle.certificate,
            root: &root.certificate,
            lists: vec![root.list(revoked, &[]), middle.list(revoked, &[])],
            at: "2026-02-02T00:00:00Z",
            purpose: Purpose::SERVER_AUTH,
            name: AltName::Dns("a.example".into()),
        };
        case(&[]).agree(None);
        case(&[&end]).agree(Some("revoked"));
        case(&[&middle.certificate]).agree(Some("revoked"));
    }
}

/// A root, a CA and a leaf, the same for many cases.
struct Zone {
    root: Ca,
    middle: Ca,
    leaf: Certificate,
}

impl Zone {
    fn new(constraints: NameConstraints) -> Self {
        let root = Ca::root(KeyType::P256, constraints);
        let middle = root.below(KeyType::P256);
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        Self {
            leaf: middle.sign(&leaf(0x53), &key),
            middle,
            root,
        }
    }

    /// A case that is good.
    fn case(&self) -> Case<'_> {
        Case {
            leaf: &self.leaf,
            middle: &self.middle.certificate,
            root: &self.root.certificate,
            lists: vec![self.root.list(&[], &[]), self.middle.list(&[], &[])],
            at: "2026-02-02T00:00:00Z",
            purpose: Purpose::SERVER_AUTH,
            name: AltName::Dns("a.example".into()),
        }
    }
}

#[test]
fn both_say_the_same_of_names_and_purposes() {
    let zone = Zone::new(NameConstraints::default());
    let dns = |text: &str| AltName::Dns(text.into());
    let ip = |text: &str| AltName::Ip(text.parse().unwrap());
    let rows = [
        (dns("a.example"), None),
        (dns("A.EXAMPLE"), None),
        (dns("x.b.example"), None),
        (dns("x.y.b.example"), Some("name")),
        (dns("b.example"), Some("name")),
        (ip("10.0.0.1"), None),
        (ip("10.0.0.2"), Some("name")),
    ];
    for (name, rule) in rows {
        Case {
            name,
            ..zone.case()
        }
        .agree(rule);
    }
    let purpose = Purpose::CLIENT_AUTH;
    Case {
        purpose,
        ..zone.case()
    }
    .agree(Some("purpose"));
}

#[test]
fn both_say_the_same_of_times_and_issuers() {
    let zone = Zone::new(NameConstraints::default());
    let rows = [
        ("2026-02-04T00:00:01Z", "crl-fresh"),
        ("2026-01-31T23:59:59Z", "crl-fresh"),
        ("2025-12-31T23:59:59Z", "validity"),
        ("2026-12-01T00:00:01Z", "validity"),
    ];
    for (at, rule) in rows {
        Case { at, ..zone.case() }.agree(Some(rule));
    }
    let stranger = Ca::root(KeyType::P256, NameConstraints::default()).certificate;
    Case {
        root: &stranger,
        ..zone.case()
    }
    .agree(Some("signature"));
    Case {
        middle: &stranger,
        ..zone.case()
    }
    .agree(Some("issuer-known"));
}

#[test]
fn both_say_the_same_of_missing_and_partial_lists() {
    let zone = Zone::new(NameConstraints::default());
    let of_root = || zone.root.list(&[], &[]);
    let part = |point: &str| vec![of_root(), zone.middle.list(&[], &[point])];
    let rows = [
        (vec![], Some("crl-given")),
        (vec![of_root()], Some("crl-given")),
        (part(POINT), None),
        (part("http://ca.example/crl/2"), Some("crl-scope")),
        (part("urn:zonehead:crl:x:1"), Some("crl-scope")),
        (
            vec![of_root(), zone.middle.list(&[&zone.leaf], &[POINT])],
            Some("revoked"),
        ),
    ];
    for (lists, rule) in rows {
        Case {
            lists,
            ..zone.case()
        }
        .agree(rule);
    }
}

#[test]
fn both_say_the_same_of_name_constraints() {
    let limits = |permitted: &[&str], excluded: &[&str]| {
        let trees = |list: &[&str]| {
            let tree = |text: &&str| {
                Subtree::parse_cidr(text).unwrap_or_else(|| Subtree::Dns((*text).to_owned()))
            };
            list.iter().map(tree).collect()
        };
        NameConstraints {
            permitted: trees(permitted),
            excluded: trees(excluded),
        }
    };
    let rows = [
        (limits(&["example"], &[]), None),
        (limits(&["a.example", "b.example"], &[]), None),
        (limits(&["a.example"], &[]), Some("name-constraints")),
        (limits(&[], &["b.example"]), Some("name-constraints")),
        (limits(&[], &["c.example"]), None),
        (limits(&["10.0.0.0/24"], &[]), None),
        (limits(&["fd00::/8"], &[]), Some("name-constraints")),
        (limits(&[], &["fd00::/8"]), None),
        (limits(&["10.1.0.0/16"], &[]), Some("name-constraints")),
        (limits(&[], &["10.0.0.0/8"]), Some("name-constraints")),
    ];
    for (constraints, rule) in rows {
        Zone::new(constraints).case().agree(rule);
    }
}

const CONFIG: &str = "
[ca]
default_ca = this
[this]
database = index
crlnumber = number
default_md = sha256
crl_extensions = list
[list]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = DNS:client.example, email:a@b.example, dirName:who
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
certificatePolicies = 1.2.3.4
crlDistributionPoints = URI:http://their.example/crl
[who]
CN = someone
";

/// A root, a leaf and a list made by OpenSSL in `dir`.
fn their_ca(dir: &Path) {
    std::fs::write(dir.join("cnf"), CONFIG).unwrap();
    std::fs::write(dir.join("index"), "").unwrap();
    std::fs::write(dir.join("number"), "07\n").unwrap();
    let curve = [
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
    ];
    for name in ["root.key", "leaf.key"] {
        said(dir, &[&["genpkey"], &curve[..], &[name]].concat());
    }
    said(
        dir,
        &[
            "req",
            "-new",
            "-key",
            "root.key",
            "-subj",
            "/O=Their/CN=Root",
            "-out",
            "root.csr",
        ],
    );
    said(
        dir,
        &[
            "req",
            "-new",
            "-key",
            "leaf.key",
            "-subj",
            "/CN=Client",
            "-out",
            "leaf.csr",
        ],
    );
    let sign = ["x509", "-req", "-extfile", "cnf", "-days", "30"];
    let root = [
        "-in",
        "root.csr",
        "-signkey",
        "root.key",
        "-extensions",
        "root",
        "-out",
        "root",
    ];
    said(dir, &[&sign[..], &root].concat());
    let leaf = [
        "-in",
        "leaf.csr",
        "-CA",
        "root",
        "-CAkey",
        "root.key",
        "-CAcreateserial",
    ];
    said(
        dir,
        &[&sign[..], &leaf, &["-extensions", "leaf", "-out", "leaf"]].concat(),
    );
}

fn their_list(dir: &Path) -> Crl {
    let keys = ["-config", "cnf", "-cert", "root", "-keyfile", "root.key"];
    said(
        dir,
        &[
            &["ca"],
            &keys[..],
            &["-gencrl", "-crldays", "3", "-out", "list"],
        ]
        .concat(),
    );
    let text = std::fs::read_to_string(dir.join("list")).unwrap();
    Crl::all_from_pem(&text).unwrap().remove(0)
}

fn read(dir: &Path, name: &str) -> Certificate {
    Certificate::from_pem(&std::fs::read_to_string(dir.join(name)).unwrap()).unwrap()
}

#[test]
fn what_openssl_makes_is_verified_here() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    their_ca(dir);
    let (root, leaf) = (read(dir, "root"), read(dir, "leaf"));
    let name = AltName::Email("a@b.example".into());
    let answer = |lists: &[Crl]| {
        Question {
            certificate: &leaf,
            intermediates: &[],
            roots: std::slice::from_ref(&root),
            lists,
            at: leaf.not_before().plus(std::time::Duration::from_secs(60)),
            purpose: Some(Purpose::CLIENT_AUTH),
            name: Some(&name),
            unlisted: Unlisted::Refuse,
        }
        .answer()
    };
    let verified = answer(&[their_list(dir)]).unwrap();
    assert!(
        matches!(&verified.path[0].revocation, Revocation::Good { number, .. } if number == "7")
    );
    let keys = ["-config", "cnf", "-cert", "root", "-keyfile", "root.key"];
    said(
        dir,
        &[
            &["ca"],
            &keys[..],
            &["-revoke", "leaf", "-crl_reason", "superseded"],
        ]
        .concat(),
    );
    let refusal = answer(&[their_list(dir)]).unwrap_err();
    assert_eq!(refusal.rule, "revoked");
    assert!(refusal.text.contains("(superseded)"), "{refusal}");
}

#[test]
fn what_openssl_makes_is_shown_here() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    their_ca(dir);
    let leaf = read(dir, "leaf");
    let now = leaf.not_before();
    let print = said(
        dir,
        &["x509", "-in", "leaf", "-noout", "-fingerprint", "-sha256"],
    );
    let print = print.trim().split_once('=').unwrap().1.to_ascii_lowercase();
    let Report::Certificate(report) = inspect(leaf.der(), now).unwrap().remove(0) else {
        panic!()
    };
    assert_eq!(report.sha256, print);
    assert_eq!(
        report.names,
        [
            "DNS:client.example",
            "email:a@b.example",
            "dirName:CN=someone"
        ]
    );
    assert_eq!(report.policies, ["1.2.3.4"]);
    assert_eq!(report.crl_points, ["http://their.example/crl"]);
    assert_eq!(report.issuer, "CN=Root,O=Their");
    let request = std::fs::read(dir.join("leaf.csr")).unwrap();
    let text = inspect(&request, now).unwrap()[0].to_string();
    assert!(
        text.starts_with(
            "Certificate request, signed by its own key\n  Subject:           CN=Client\n"
        ),
        "{text}"
    );
    let Report::Crl(list) = inspect(their_list(dir).der(), now).unwrap().remove(0) else {
        panic!()
    };
    assert_eq!((list.number.as_deref(), list.entries), (Some("7"), 0));
}

#[test]
fn what_is_made_here_is_shown_by_openssl() {
    let root = Ca::root(KeyType::P521, NameConstraints::default());
    let end = root.sign(
        &leaf(0x53),
        &PrivateKey::generate(KeyType::Rsa2048).unwrap(),
    );
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("leaf"), end.pem()).unwrap();
    std::fs::write(
        dir.path().join("list"),
        crl_pem(root.list(&[&end], &[POINT]).der()),
    )
    .unwrap();
    let text = said(dir.path(), &["x509", "-in", "leaf", "-noout", "-text"]);
    for part in [
        "DNS:a.example, DNS:*.b.example, IP Address:10.0.0.1, URI:spiffe://zone.example/a",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication",
        "URI:http://ca.example/crl/1",
        "ecdsa-with-SHA512",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let text = said(dir.path(), &["crl", "-in", "list", "-noout", "-text"]);
    for part in [
        "X509v3 Issuing Distribution Point: critical",
        "X509v3 CRL Number",
        "Revocation Date: Jan 20 00:00:00 2026 GMT",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
