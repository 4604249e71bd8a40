//! Writes certificates and revocation lists of every kind that is issued into a directory, for
//! linters and other readers to judge: `cargo run -p zone-x509 --example samples -- DIR`.

use std::error::Error;
use std::path::Path;

use zone_crypto::sign::{Hash, KeyAlgorithm, KeyType, PrivateKey, SignatureScheme};
use zone_types::Timestamp;
use zone_x509::{
    AltName, Certificate, CertificatePlan, CrlPlan, KeyUsage, Kind, NameConstraints, Oid, Purpose,
    Serial, Subject, Subtree, crl_pem,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const KEYS: [(&str, KeyType); 7] = [
    ("rsa-2048", KeyType::Rsa2048),
    ("rsa-3072", KeyType::Rsa3072),
    ("rsa-4096", KeyType::Rsa4096),
    ("p-256", KeyType::P256),
    ("p-384", KeyType::P384),
    ("p-521", KeyType::P521),
    ("ed25519", KeyType::Ed25519),
];

fn main() -> Outcome<()> {
    let dir = std::env::args().nth(1).ok_or("usage: samples DIR")?;
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    for (name, key_type) in KEYS {
        let key = PrivateKey::generate(key_type)?;
        let scheme = key.algorithm().scheme();
        family(dir, name, &key, scheme)?;
        if matches!(key.algorithm(), KeyAlgorithm::Rsa { .. }) {
            family(
                dir,
                &format!("{name}-sha512"),
                &key,
                SignatureScheme::RsaPkcs1(Hash::Sha512),
            )?;
            family(
                dir,
                &format!("{name}-pss"),
                &key,
                SignatureScheme::RsaPss(Hash::Sha384),
            )?;
        }
    }
    Ok(())
}

/// A root, what is below it, and lists, all with keys of one type.
fn family(dir: &Path, name: &str, key: &PrivateKey, scheme: SignatureScheme) -> Outcome<()> {
    let put = |kind: &str, text: String| std::fs::write(dir.join(format!("{name}-{kind}")), text);
    let mut root = None;
    for (kind, plan) in roots() {
        let certificate = Certificate::from_der(&plan.sign_root(key, scheme)?)?;
        put(&format!("{kind}.crt"), certificate.pem())?;
        root.get_or_insert(certificate);
    }
    let root = root.ok_or("no root")?;
    for (kind, plan) in below_root(key.algorithm()) {
        let der = plan.0.sign(key.public_key(), &root, key, scheme)?;
        put(&format!("{kind}.crt"), Certificate::from_der(&der)?.pem())?;
    }
    for (kind, plan) in lists() {
        put(
            &format!("{kind}.crl"),
            crl_pem(&plan.sign(&root, key, scheme)?),
        )?;
    }
    Ok(())
}

struct Plan(CertificatePlan);

impl Plan {
    fn new(kind: Kind, name: &str, usage: KeyUsage) -> Self {
        Self(CertificatePlan {
            kind,
            serial: Serial::from_random(
                zone_crypto::hash::sha256(name.as_bytes())[..20]
                    .try_into()
                    .unwrap_or([7; 20]),
            ),
            subject: Subject::common(name),
            names: Vec::new(),
            not_before: date("2026-11-26T00:00:00Z"),
            not_after: date("2026-12-26T00:00:00Z"),
            usage,
            purposes: Vec::new(),
            policies: Vec::new(),
            issuer_urls: Vec::new(),
            ocsp_urls: Vec::new(),
            crl_points: Vec::new(),
        })
    }

    fn sign_root(&self, key: &PrivateKey, scheme: SignatureScheme) -> Outcome<Vec<u8>> {
        Ok(self.0.self_sign(key, scheme)?)
    }

    fn with(mut self, change: impl FnOnce(&mut CertificatePlan)) -> Self {
        change(&mut self.0);
        self
    }
}

fn date(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap_or_default()
}

fn authority(name: &str, path_length: Option<u8>, constraints: NameConstraints) -> Plan {
    let kind = Kind::Authority {
        path_length,
        constraints,
    };
    Plan::new(kind, name, KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN)
        .with(|plan| plan.not_after = date("2056-11-26T00:00:00Z"))
}

fn roots() -> Vec<(&'static str, Plan)> {
    let constraints = NameConstraints {
        permitted: vec![
            Subtree::Dns("zone.example".into()),
            Subtree::Email("zone.example".into()),
            Subtree::Ip {
                address: [10, 0, 0, 0].into(),
                prefix: 8,
            },
        ],
        excluded: vec![Subtree::Dns("bad.zone.example".into())],
    };
    let names = vec![AltName::Dns("ca.zone.example".into())];
    vec![
        (
            "root",
            authority("Zone root", None, NameConstraints::default()),
        ),
        (
            "root-path-1",
            authority("Zone root", Some(1), NameConstraints::default()),
        ),
        (
            "root-constrained",
            authority("Zone root", None, constraints),
        ),
        (
            "root-named",
            authority("ca.zone.example", None, NameConstraints::default())
                .with(|plan| plan.names = names),
        ),
    ]
}

fn below_root(algorithm: KeyAlgorithm) -> Vec<(&'static str, Plan)> {
    let fit = match algorithm {
        KeyAlgorithm::Rsa { .. } => KeyUsage::KEY_ENCIPHERMENT,
        KeyAlgorithm::Ed25519 => KeyUsage::NONE,
        _ => KeyUsage::KEY_AGREEMENT,
    };
    let leaf = |name: &str| {
        let kind = Kind::Leaf { says_so: false };
        Plan::new(kind, name, KeyUsage::DIGITAL_SIGNATURE | fit).with(|plan| {
            plan.names = vec![AltName::Dns(name.to_owned())];
            plan.purposes = vec![Purpose::SERVER_AUTH, Purpose::CLIENT_AUTH];
            plan.crl_points = vec!["http://ca.zone.example/v1/pki/crl/shard/1".into()];
        })
    };
    vec![
        (
            "authority",
            authority("Zone issuer", Some(0), NameConstraints::default()),
        ),
        ("leaf", leaf("a.zone.example")),
        ("leaf-bare", leaf("b.zone.example").with(bare)),
        (
            "leaf-local",
            leaf("localhost").with(|plan| {
                plan.names
                    .push(AltName::Dns("xn--bcher-kva.1.example".into()));
                plan.names.push(AltName::Ip([127, 0, 0, 1].into()));
                plan.crl_points = vec!["http://127.0.0.1:8200/v1/pki/issuer/x/crl/der".into()];
            }),
        ),
        ("leaf-full", leaf("c.zone.example").with(full)),
        (
            "leaf-no-subject",
            leaf("d.zone.example").with(|plan| {
                plan.subject = Subject::default();
                plan.names = vec![AltName::Uri("spiffe://zone.example/d".into())];
            }),
        ),
        (
            "leaf-mail",
            leaf("e.zone.example").with(|plan| {
                plan.names = vec![AltName::Email("e@zone.example".into())];
                plan.purposes = vec![Purpose::EMAIL_PROTECTION, Purpose::CODE_SIGNING];
            }),
        ),
        (
            "leaf-time-stamping",
            leaf("f.zone.example").with(|plan| {
                plan.usage = KeyUsage::DIGITAL_SIGNATURE;
                plan.purposes = Purpose::from_name("TimeStamping").into_iter().collect();
            }),
        ),
    ]
}

/// No usages, purposes or lists.
fn bare(plan: &mut CertificatePlan) {
    plan.usage = KeyUsage::NONE;
    plan.purposes.clear();
    plan.crl_points.clear();
}

/// Everything that a role can bring in.
fn full(plan: &mut CertificatePlan) {
    plan.kind = Kind::Leaf { says_so: true };
    plan.subject = Subject {
        common_name: "c.zone.example".into(),
        serial_number: "7-8".into(),
        country: vec!["DE".into()],
        organization: vec!["Zone & Söhne".into()],
        organizational_unit: vec!["Labor".into(), "Öfen".into()],
        locality: vec!["Köln".into()],
        province: vec!["NRW".into()],
        street_address: vec!["Domplatte 1".into()],
        postal_code: vec!["50667".into()],
    };
    plan.names.extend([
        AltName::Dns("*.c.zone.example".into()),
        AltName::Ip([10, 1, 2, 3].into()),
        AltName::Ip([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()),
        AltName::Uri("https://c.zone.example/x?y=1".into()),
        AltName::Other {
            oid: "1.3.6.1.4.1.311.20.2.3".into(),
            value: "c@zone".into(),
        },
    ]);
    plan.policies = ["1.3.6.1.4.1.99999.1", "2.23.140.1.2.1"]
        .map(Oid::new_unwrap)
        .to_vec();
    plan.issuer_urls = vec!["http://ca.zone.example/v1/pki/ca".into()];
    plan.ocsp_urls = vec!["http://ca.zone.example/v1/pki/ocsp".into()];
    plan.crl_points
        .push("http://ca2.zone.example/v1/pki/crl/shard/1".into());
}

fn lists() -> Vec<(&'static str, CrlPlan)> {
    let revoked = |count: u8| {
        let serial = |fill: u8| {
            (
                Serial::from_random([fill; 20]),
                date("2026-11-26T01:02:03Z"),
            )
        };
        (0..count).map(serial).collect::<Vec<_>>()
    };
    let list = |count, points: &[&str]| CrlPlan {
        number: 1_795_000_000_123,
        this_update: date("2026-11-26T02:00:00Z"),
        next_update: date("2026-11-29T02:00:00Z"),
        points: points.iter().map(|point| (*point).to_owned()).collect(),
        revoked: revoked(count),
    };
    vec![
        ("empty", list(0, &[])),
        ("complete", list(20, &[])),
        (
            "shard",
            list(3, &["http://ca.zone.example/v1/pki/crl/shard/1"]),
        ),
        (
            "shard-unnamed",
            list(
                3,
                &["urn:zonehead:crl:6b0c2a6e-1111-4222-8333-444455556666:1"],
            ),
        ),
        (
            "late",
            CrlPlan {
                this_update: date("2049-12-31T00:00:00Z"),
                next_update: date("2050-01-03T00:00:00Z"),
                ..list(1, &[])
            },
        ),
    ]
}
