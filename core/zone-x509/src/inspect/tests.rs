//! Reports word for word, and what must not come through.

use zone_crypto::sign::{KeyType, PrivateKey};

use super::*;
use crate::crl_pem;
use crate::lint::draft::*;

const NOW: &str = "2026-02-03T00:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// The text with what differs from run to run (keys) blotted out.
fn steady(report: &Report) -> String {
    let text = report.to_string();
    let lines = text.lines().map(|line| {
        let changes = ["SHA-256:", "Key id:", "key id:"]
            .iter()
            .any(|label| line.contains(label));
        if changes {
            format!("{}…", &line[..21])
        } else {
            line.to_owned()
        }
    });
    lines.map(|line| line + "\n").collect()
}

fn one(input: &[u8]) -> Report {
    let mut reports = inspect(input, at(NOW)).unwrap();
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

#[test]
fn a_leaf_word_for_word() {
    let root = Signer::root(KeyType::P384, |_| {});
    let leaf = root.leaf(|draft| {
        let places = [
            (
                oid("1.3.6.1.5.5.7.48.1"),
                tlv(URI, "http://ca.example/ocsp"),
            ),
            (oid("1.3.6.1.5.5.7.48.2"), tlv(URI, "http://ca.example/ca")),
        ];
        let places = places.map(|(method, place)| sequence(&[&method, &place]));
        draft.put(ACCESS, false, sequence(&[&places[0], &places[1]]));
        draft.put(POLICIES, false, sequence(&[&sequence(&[&oid("1.2.3.4")])]));
        draft.put("1.2.3.5", false, vec![5, 0]);
    });
    let report = one(leaf.pem().as_bytes());
    assert_eq!(report, one(leaf.der()), "PEM and DER are one object");
    let expected = "\
Certificate
  Subject:           CN=a.example
  Issuer:            CN=root
  Serial:            41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41:41
  Valid from:        2026-01-01T00:00:00Z
  Valid until:       2027-01-01T00:00:00Z (332 days left)
  Key:               ECDSA P-256
  Signature:         ECDSA with SHA-384
  Name:              DNS:a.example
  Name:              DNS:*.b.example
  Name:              IP:10.0.0.1
  Name:              URI:spiffe://z/a
  CA:                no
  Key usage:         DigitalSignature
  Purposes:          ServerAuth, ClientAuth
  Policy:            1.2.3.4
  Key id:            …
  Issuer's key id:   …
  Revocation list:   http://ca.example/crl/1
  OCSP:              http://ca.example/ocsp
  Issuer at:         http://ca.example/ca
  SHA-256:           …
  Key SHA-256:       …
  Extension:         2.5.29.14 subjectKeyIdentifier
  Extension:         2.5.29.35 authorityKeyIdentifier
  Extension:         2.5.29.15 keyUsage, critical
  Extension:         2.5.29.37 extKeyUsage
  Extension:         2.5.29.17 subjectAltName
  Extension:         2.5.29.31 cRLDistributionPoints
  Extension:         1.3.6.1.5.5.7.1.1 authorityInfoAccess
  Extension:         2.5.29.32 certificatePolicies
  Extension:         1.2.3.5
";
    assert_eq!(steady(&report), expected);
}

#[test]
fn a_root_says_its_limits() {
    let root = Signer::root(KeyType::Ed25519, |draft| {
        let networks = tlv(0x87, [10, 0, 0, 0, 255, 0, 0, 0]);
        let trees = [sequence(&[&tlv(DNS, "example")]), sequence(&[&networks])];
        let permitted = tlv(0xa0, trees.concat());
        let excluded = tlv(0xa1, sequence(&[&tlv(DNS, "bad.example")]));
        draft.put(SUBTREES, true, sequence(&[&permitted, &excluded]));
        draft.put(
            BASIC,
            true,
            sequence(&[&tlv(BOOLEAN, [0xff]), &tlv(INTEGER, [1])]),
        );
    });
    let text = one(root.certificate.der()).to_string();
    for line in [
        "  Issuer:            CN=root (self-signed)\n",
        "  CA:                yes, path length 1\n",
        "  Key usage:         CertSign, CRLSign\n",
        "  Purposes:          any (not limited)\n",
        "  Names below it:    permitted DNS:example\n",
        "  Names below it:    permitted IP:10.0.0.0/8\n",
        "  Names below it:    excluded DNS:bad.example\n",
        "  Extension:         2.5.29.30 nameConstraints, critical\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_days_that_are_left() {
    let root = Signer::root(KeyType::P256, |draft| {
        draft.not_after = tlv(UTC, "260203000000Z")
    });
    let standing = |now: &str| {
        let report = CertificateReport::new(&root.certificate, at(now));
        let text = report.to_string();
        let from = text.find('(').unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.contains("Valid until"))
            .unwrap_or(&text[from..]);
        let (_, tail) = line.split_once('(').unwrap();
        (
            report.standing,
            report.seconds_left,
            tail.trim_end_matches(')').to_owned(),
        )
    };
    assert_eq!(
        standing("2026-01-04T00:00:00Z"),
        (Standing::Valid, 2_592_000, "30 days left".into())
    );
    assert_eq!(
        standing("2026-02-02T22:58:59Z"),
        (Standing::Valid, 3661, "1 h 1 min left".into())
    );
    assert_eq!(
        standing("2026-02-03T00:00:00Z"),
        (Standing::Valid, 0, "0 min left".into())
    );
    assert_eq!(
        standing("2026-02-03T00:00:01Z"),
        (Standing::Expired, -1, "expired 0 min ago".into())
    );
    assert_eq!(standing("2026-02-06T01:00:00Z").2, "expired 3 days ago");
    let (state, _, text) = standing("2025-12-01T00:00:00Z");
    assert_eq!(
        (state, &*text),
        (Standing::NotYetValid, "not yet valid, begins in 31 days")
    );
}

#[test]
fn a_list_word_for_word() {
    let root = Signer::root(KeyType::P256, |_| {});
    let list = root.list(&[0x42, 0x43], |draft| {
        let full = tlv(0xa0, tlv(0xa0, tlv(URI, "http://ca.example/crl/1")));
        draft.put(ISSUING_POINT, true, sequence(&[&full]));
    });
    let report = one(crl_pem(list.der()).as_bytes());
    assert_eq!(report, one(list.der()));
    let expected = "\
Revocation list
  Issuer:            CN=root
  Number:            66051
  Made:              2026-02-02T00:00:00Z
  Good until:        2026-02-05T00:00:00Z (2 days left)
  Signature:         ECDSA with SHA-256
  Issuer's key id:   …
  Covers:            http://ca.example/crl/1
  SHA-256:           …
  Revoked:           2
    at:              2026-02-01T00:00:00Z 42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42:42 keyCompromise
    at:              2026-02-01T00:00:00Z 43:43:43:43:43:43:43:43:43:43:43:43:43:43:43:43:43:43:43:43 keyCompromise
";
    assert_eq!(steady(&report), expected);
    let late = inspect(list.der(), at("2026-02-05T00:00:00Z")).unwrap();
    assert!(
        late[0].to_string().contains("(expired 0 min ago)"),
        "{}",
        late[0]
    );
}

#[test]
fn a_bundle_gives_each_object_and_no_key() {
    let root = Signer::root(KeyType::P256, |_| {});
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let secret = key.to_pem_pkcs8().unwrap();
    let bundle = format!(
        "{}{}{}{}",
        crl_pem(root.list(&[], |_| {}).der()),
        secret.expose(),
        root.leaf(|_| {}).pem(),
        root.certificate.pem()
    );
    let reports = inspect(bundle.as_bytes(), at(NOW)).unwrap();
    let kinds: Vec<_> = reports
        .iter()
        .map(|r| r.to_string().lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["Certificate", "Certificate", "Revocation list"]);
    let fault = inspect(secret.expose().as_bytes(), at(NOW)).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "no certificate, revocation list or request in this PEM"
    );
    assert!(inspect(b"", at(NOW)).is_err());
    assert!(inspect(b"\x30\x03\x02\x01\x00", at(NOW)).is_err());
}

#[test]
fn terminals_see_escapes() {
    let root = Signer::root(KeyType::P256, |draft| {
        draft.subject = attribute("2.5.4.3", UTF8, "a\u{1b}[2J\u{202e}b");
        draft.put(NAMES, false, sequence(&[&tlv(DNS, "x\n  CA: yes")]));
    });
    let report = Report::of_certificate(&root.certificate, at(NOW));
    let text = report.to_string();
    assert!(text.contains("\\u{202e}"), "{text:?}");
    assert!(text.contains("DNS:x\\u{a}  CA: yes"), "{text:?}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
}

#[test]
fn the_data_are_the_same_as_the_text() {
    let root = Signer::root(KeyType::P256, |_| {});
    let data = serde_json::to_value(one(root.certificate.der())).unwrap();
    assert_eq!(data["kind"], "certificate");
    assert_eq!(data["subject"], "CN=root");
    assert_eq!(data["standing"], "valid");
    assert_eq!(data["not_after"], "2046-01-01T00:00:00Z");
    assert_eq!(data["extensions"][1]["name"], "basicConstraints");
    assert_eq!(data["extensions"][1]["critical"], true);
    let list = serde_json::to_value(one(root.list(&[0x42], |_| {}).der())).unwrap();
    assert_eq!(list["kind"], "crl");
    assert_eq!(list["revoked"][0]["reason"], "keyCompromise");
}
