//! For each rule, bytes that break it and no rule before it.

use std::collections::BTreeSet;

use zone_crypto::sign::{Hash, KeyType, PrivateKey, SignatureScheme};

use super::draft::*;
use super::*;
use crate::asn1::wrap;

/// Which draft a row begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Root,
    Authority,
    Leaf,
}
use Kind::{Authority, Leaf, Root};

type Row = (&'static str, Kind, fn(&mut Draft));

/// A key usage of one octet, with `unused` bits at its end.
fn usage(unused: u8, bits: u8) -> Vec<u8> {
    vec![0x03, 0x02, unused, bits]
}

fn purposes(list: &[&str]) -> Vec<u8> {
    tlv(
        SEQUENCE,
        list.iter()
            .flat_map(|dotted| oid(dotted))
            .collect::<Vec<u8>>(),
    )
}

fn constraints(permitted: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0xa0, permitted)])
}

const FIELDS: &[Row] = &[
    ("certificate-der", Leaf, |d| {
        d.version = tlv(0xa0, tlv(INTEGER, [0, 2]))
    }),
    ("certificate-der", Leaf, |d| {
        d.serial = tlv(INTEGER, [&[0, 0][..], &[0x41; 18]].concat())
    }),
    ("certificate-der", Leaf, |d| {
        d.put(BASIC, true, sequence(&[&tlv(BOOLEAN, [0])]))
    }),
    ("certificate-der", Leaf, |d| {
        d.put(USAGE, true, usage(0, 0x80))
    }),
    ("certificate-der", Leaf, |d| {
        d.put(KEY_ID, false, vec![4, 0x81, 1, 9])
    }),
    ("certificate-der", Leaf, |d| {
        d.put(NAMES, false, sequence(&[&tlv(DNS, b"\xfc.example")]))
    }),
    ("certificate-der", Leaf, |d| d.unique_ids = tlv(0x84, [0])),
    ("version-3", Leaf, |d| {
        d.version = tlv(0xa0, tlv(INTEGER, [1]))
    }),
    ("version-3", Root, |d| d.version.clear()),
    ("serial-positive", Leaf, |d| {
        d.serial = tlv(INTEGER, [0x81; 20])
    }),
    ("serial-positive", Leaf, |d| d.serial = tlv(INTEGER, [0])),
    ("serial-20-octets", Leaf, |d| {
        d.serial = tlv(INTEGER, [0x41; 21])
    }),
    ("serial-64-bits", Leaf, |d| {
        d.serial = tlv(INTEGER, [0x7f; 8])
    }),
    ("signature-algorithm", Leaf, |d| {
        // SHA-1 with RSA.
        d.algorithm = sequence(&[&oid("1.2.840.113549.1.1.5"), &[5, 0]]);
    }),
    ("signature-algorithm", Leaf, |d| {
        // ECDSA with SHA-256 and a NULL that must not be there (RFC 5758 section 3.2).
        d.algorithm = sequence(&[&oid("1.2.840.10045.4.3.2"), &[5, 0]]);
    }),
    ("signature-algorithm", Leaf, |d| {
        // RSA with SHA-256 without the NULL that must be there (RFC 4055 section 5).
        d.algorithm = sequence(&[&oid("1.2.840.113549.1.1.11")]);
    }),
    ("signature-fits-issuer", Leaf, |d| {
        d.algorithm = SignatureScheme::Ed25519.algorithm_identifier().to_vec();
    }),
    ("signature-fits-issuer", Root, |d| {
        d.algorithm = SignatureScheme::Ecdsa(Hash::Sha384)
            .algorithm_identifier()
            .to_vec();
    }),
    ("issuer-name", Leaf, |d| d.issuer = vec![0x30, 0]),
    ("issuer-is-subject-of-issuer", Leaf, |d| {
        d.issuer = name("another")
    }),
    ("issuer-is-subject-of-issuer", Root, |d| {
        d.issuer = name("another")
    }),
    ("validity-form", Leaf, |d| {
        d.not_after = tlv(GENERALIZED, "20270101000000Z")
    }),
    ("validity-form", Leaf, |d| {
        d.not_after = tlv(UTC, "2701010000Z")
    }),
    ("validity-form", Leaf, |d| {
        d.not_before = tlv(UTC, "260101000000+0100")
    }),
    ("validity-order", Leaf, |d| {
        d.not_after = tlv(UTC, "251231235959Z")
    }),
    ("within-issuer", Leaf, |d| {
        d.not_after = tlv(UTC, "460101000001Z")
    }),
    ("within-issuer", Leaf, |d| {
        d.not_before = tlv(UTC, "251231235959Z")
    }),
    ("within-issuer", Authority, |d| {
        d.not_after = tlv(GENERALIZED, "20500101000000Z")
    }),
    ("ca-subject", Authority, |d| d.subject = vec![0x30, 0]),
    ("subject-attributes", Leaf, |d| {
        d.subject = attribute("1.2.840.113549.1.9.1", 0x16, "a@b.example");
    }),
    ("subject-attributes", Leaf, |d| {
        let one = sequence(&[&oid("2.5.4.3"), &tlv(UTF8, "a")]);
        let two = sequence(&[&oid("2.5.4.3"), &tlv(UTF8, "b")]);
        d.subject = sequence(&[&wrap(SET, &[&one, &two])]);
    }),
    ("subject-strings", Leaf, |d| {
        d.subject = attribute("2.5.4.3", 0x14, "teletex")
    }),
    ("subject-strings", Leaf, |d| {
        d.subject = attribute("2.5.4.3", PRINTABLE, "a_b")
    }),
    ("subject-strings", Leaf, |d| {
        d.subject = attribute("2.5.4.6", UTF8, "DE")
    }),
    ("subject-lengths", Leaf, |d| {
        d.subject = attribute("2.5.4.3", UTF8, &"x".repeat(65))
    }),
    ("subject-lengths", Leaf, |d| {
        d.subject = attribute("2.5.4.3", UTF8, "")
    }),
    ("subject-lengths", Leaf, |d| {
        d.subject = attribute("2.5.4.6", PRINTABLE, "DEU")
    }),
    ("subject-text", Leaf, |d| {
        d.subject = attribute("2.5.4.3", UTF8, "a\u{202e}b")
    }),
    ("subject-text", Leaf, |d| {
        d.subject = attribute("2.5.4.10", UTF8, "a\0b")
    }),
    ("subject-key", Leaf, |d| {
        // A point that is not on the curve.
        let last = d.spki.len() - 1;
        d.spki[last] ^= 1;
    }),
    ("subject-key", Leaf, |d| d.spki = short_rsa()),
    ("no-unique-ids", Leaf, |d| d.unique_ids = tlv(0x81, [0, 1])),
    ("extensions-not-empty", Root, |d| d.extensions.clear()),
    ("extensions-unique", Leaf, |d| {
        let value = d.extensions[0].value.clone();
        d.extensions.push(Extension {
            oid: d.extensions[0].oid,
            is_critical: true,
            value,
        });
    }),
];

const EXTENSIONS: &[Row] = &[
    ("extensions-known", Leaf, |d| {
        d.put("2.5.29.54", true, tlv(INTEGER, [0]))
    }),
    ("extensions-not-critical", Leaf, |d| {
        d.put(POINTS, true, points("http://ca.example/crl/1"));
    }),
    ("extensions-not-critical", Leaf, |d| {
        d.put(KEY_ID, true, tlv(OCTETS, [7; 20]))
    }),
    ("ca-basic-constraints", Root, |d| d.drop(BASIC)),
    ("ca-basic-constraints", Authority, |d| {
        d.put(BASIC, true, sequence(&[]))
    }),
    ("ca-basic-constraints", Authority, |d| {
        d.put(BASIC, false, sequence(&[&tlv(BOOLEAN, [0xff])]));
    }),
    ("leaf-is-no-ca", Leaf, |d| {
        d.put(BASIC, true, sequence(&[&tlv(BOOLEAN, [0xff])]))
    }),
    ("path-length", Leaf, |d| {
        d.put(BASIC, true, sequence(&[&tlv(INTEGER, [0])]))
    }),
    ("key-usage-critical", Leaf, |d| {
        d.put(USAGE, false, usage(7, 0x80))
    }),
    ("key-usage-not-empty", Leaf, |d| {
        d.put(USAGE, true, vec![0x03, 0x01, 0x00])
    }),
    ("ca-key-usage", Root, |d| d.drop(USAGE)),
    ("ca-key-usage", Authority, |d| {
        d.put(USAGE, true, usage(2, 0x04))
    }),
    ("leaf-key-usage", Leaf, |d| {
        d.put(USAGE, true, usage(2, 0x84))
    }),
    ("leaf-key-usage", Leaf, |d| {
        d.put(USAGE, true, usage(1, 0x82))
    }),
    ("key-usage-fits-key", Leaf, |d| {
        d.put(USAGE, true, usage(5, 0xa0))
    }),
    ("key-usage-only", Leaf, |d| {
        d.put(USAGE, true, usage(0, 0x81))
    }),
    ("key-usage-only", Leaf, |d| {
        d.put(USAGE, true, vec![0x03, 0x03, 0x07, 0x09, 0x80])
    }),
    ("purposes-not-empty", Leaf, |d| {
        d.put(PURPOSES, false, purposes(&[]))
    }),
    ("purposes-not-empty", Leaf, |d| {
        d.put(
            PURPOSES,
            false,
            purposes(&["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.1"]),
        );
    }),
    ("root-has-no-purposes", Root, |d| {
        d.put(PURPOSES, false, purposes(&["1.3.6.1.5.5.7.3.1"]))
    }),
    ("any-purpose-not-critical", Leaf, |d| {
        d.put(PURPOSES, true, purposes(&["2.5.29.37.0"]))
    }),
    ("time-stamping-alone", Leaf, |d| {
        d.put(PURPOSES, false, purposes(&["1.3.6.1.5.5.7.3.8"]))
    }),
    ("time-stamping-alone", Leaf, |d| {
        d.put(
            PURPOSES,
            true,
            purposes(&["1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.1"]),
        );
    }),
    ("purposes-fit-key-usage", Leaf, |d| {
        d.put(USAGE, true, usage(6, 0x40))
    }),
    ("subject-key-id", Leaf, |d| d.drop(KEY_ID)),
    ("subject-key-id", Root, |d| {
        d.put(KEY_ID, false, tlv(OCTETS, []))
    }),
    ("authority-key-id", Leaf, |d| d.drop(AUTHORITY)),
    ("authority-key-id-form", Leaf, |d| {
        let issuer = tlv(0xa1, tlv(0xa4, name("root")));
        let id = tlv(0x80, [7; 20]);
        d.put(AUTHORITY, false, sequence(&[&id, &issuer, &tlv(0x82, [1])]));
    }),
    ("authority-key-id-form", Root, |d| {
        d.put(AUTHORITY, false, sequence(&[]))
    }),
    ("authority-key-id-is-issuers", Leaf, |d| {
        d.put(AUTHORITY, false, sequence(&[&tlv(0x80, [7; 20])]));
    }),
    ("authority-key-id-is-issuers", Root, |d| {
        d.put(AUTHORITY, false, sequence(&[&tlv(0x80, [7; 20])]));
    }),
    ("names-or-subject", Leaf, |d| {
        d.subject = vec![0x30, 0];
        d.drop(NAMES);
    }),
    ("names-not-empty", Leaf, |d| d.put(NAMES, false, names(&[]))),
    ("names-critical", Leaf, |d| d.subject = vec![0x30, 0]),
    ("names-critical", Leaf, |d| {
        d.put(NAMES, true, names(&["a.example"]))
    }),
    ("names-wildcard", Leaf, |d| {
        d.put(NAMES, false, names(&["a*.example"]))
    }),
    ("names-wildcard", Leaf, |d| {
        d.put(NAMES, false, names(&["a.*.example"]))
    }),
    ("names-wildcard", Leaf, |d| {
        d.put(NAMES, false, names(&["*.*.example"]))
    }),
    ("names-wildcard", Leaf, |d| {
        d.put(NAMES, false, names(&["a@*.example"]))
    }),
    ("names-wildcard", Leaf, |d| {
        d.put(NAMES, false, names(&["*"]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, names(&["a_b.example"]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, names(&["a.example."]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, names(&["a b@c.example"]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, names(&["http://a b"]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, sequence(&[&tlv(URI, "relative")]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, sequence(&[&tlv(0x87, [10, 0, 1])]))
    }),
    ("names-form", Leaf, |d| {
        d.put(NAMES, false, sequence(&[&tlv(0xa4, name("a"))]))
    }),
    ("names-unique", Leaf, |d| {
        d.put(NAMES, false, names(&["a.example", "a.example"]))
    }),
    ("name-constraints-ca", Leaf, |d| {
        d.put(SUBTREES, true, constraints(&dns_tree("example")))
    }),
    ("name-constraints-ca", Root, |d| {
        d.put(SUBTREES, false, constraints(&dns_tree("example")))
    }),
    ("name-constraints-not-empty", Root, |d| {
        d.put(SUBTREES, true, sequence(&[]))
    }),
    ("name-constraints-not-empty", Root, |d| {
        d.put(SUBTREES, true, constraints(&[]))
    }),
    ("name-constraints-form", Root, |d| {
        d.put(SUBTREES, true, constraints(&dns_tree("*.example")));
    }),
    ("name-constraints-form", Root, |d| {
        let network = tlv(0x87, [10, 1, 0, 0, 255, 0, 0, 0]);
        d.put(SUBTREES, true, constraints(&sequence(&[&network])));
    }),
    ("name-constraints-form", Root, |d| {
        let tree = sequence(&[&tlv(DNS, "example"), &tlv(0x81, [3])]);
        d.put(SUBTREES, true, constraints(&tree));
    }),
    ("policies", Leaf, |d| d.put(POLICIES, false, sequence(&[]))),
    ("policies", Leaf, |d| {
        let policy = sequence(&[&oid("1.2.3")]);
        d.put(POLICIES, false, sequence(&[&policy, &policy]));
    }),
    ("crl-points", Leaf, |d| d.put(POINTS, false, sequence(&[]))),
    ("crl-points", Leaf, |d| {
        d.put(POINTS, false, points("not a uri"))
    }),
    ("crl-points", Leaf, |d| {
        d.put(POINTS, false, sequence(&[&sequence(&[])]))
    }),
    ("authority-access", Leaf, |d| {
        d.put(ACCESS, false, sequence(&[]))
    }),
    ("authority-access", Leaf, |d| {
        let location = [oid("1.3.6.1.5.5.7.48.1"), tlv(DNS, "ocsp.example")];
        d.put(
            ACCESS,
            false,
            sequence(&[&sequence(&[&location[0], &location[1]])]),
        );
    }),
];

fn dns_tree(domain: &str) -> Vec<u8> {
    sequence(&[&tlv(DNS, domain)])
}

fn draft(kind: Kind, key: &PrivateKey, issuer: &Signer) -> Draft {
    match kind {
        Root => Draft::root(key),
        Authority => Draft::authority(key, issuer),
        Leaf => Draft::leaf(key, issuer),
    }
}

fn profile(kind: Kind, issuer: &Signer) -> Profile<'_> {
    match kind {
        Root => Profile::Root,
        Authority => Profile::Authority(&issuer.certificate),
        Leaf => Profile::Leaf(&issuer.certificate),
    }
}

#[test]
fn c1_each_rule_refuses_what_breaks_it() {
    let issuer = Signer::root(KeyType::P256, |_| {});
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    for (at, (rule, kind, change)) in FIELDS.iter().chain(EXTENSIONS).enumerate() {
        let mut draft = draft(*kind, &key, &issuer);
        change(&mut draft);
        let found = check_certificate(&draft.tbs(), profile(*kind, &issuer));
        assert_eq!(
            found.map_err(|fault| fault.rule),
            Err(*rule),
            "row {at}, {kind:?}"
        );
    }
}

#[test]
fn each_rule_has_a_row() {
    let rows = FIELDS.iter().chain(EXTENSIONS).map(|(rule, ..)| *rule);
    let lists = LISTS.iter().map(|(rule, _)| *rule);
    let by_issuer = BY_ISSUER.iter().map(|(rule, ..)| *rule);
    let tried: BTreeSet<_> = rows.chain(lists).chain(by_issuer).collect();
    let all: BTreeSet<_> = rules().map(|fault| fault.rule).collect();
    assert_eq!(tried, all);
    assert_eq!(rules().count(), all.len(), "names are unique");
}

#[test]
fn good_certificates_of_each_key_type_pass() {
    use KeyType::{Ed25519, P256, P384, P521, Rsa2048};
    for key_type in [Rsa2048, P256, P384, P521, Ed25519] {
        let issuer = Signer::root(key_type, |_| {});
        let key = PrivateKey::generate(key_type).unwrap();
        for kind in [Root, Authority, Leaf] {
            let tbs = draft(kind, &key, &issuer).tbs();
            assert_eq!(
                check_certificate(&tbs, profile(kind, &issuer)),
                Ok(()),
                "{key_type:?}"
            );
        }
    }
}

#[test]
fn what_may_be_there_passes() {
    let issuer = Signer::root(KeyType::P256, |_| {});
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let good: &[Row] = &[
        ("", Leaf, |d| d.put(BASIC, true, sequence(&[]))),
        ("", Leaf, |d| d.drop(USAGE)),
        ("", Leaf, |d| d.drop(PURPOSES)),
        ("", Leaf, |d| d.drop(POINTS)),
        ("", Leaf, |d| {
            d.put(PURPOSES, false, purposes(&["2.5.29.37.0"]))
        }),
        ("", Leaf, |d| {
            d.put(PURPOSES, true, purposes(&["1.3.6.1.5.5.7.3.8"]));
        }),
        ("", Leaf, |d| d.put(USAGE, true, usage(3, 0x88))),
        ("", Leaf, |d| {
            d.put(POLICIES, false, sequence(&[&sequence(&[&oid("1.2.3")])]))
        }),
        ("", Leaf, |d| {
            d.subject = vec![0x30, 0];
            d.put(NAMES, true, names(&["spiffe://zone.example/a"]));
        }),
        ("", Leaf, |d| {
            let place = [oid("1.3.6.1.5.5.7.48.2"), tlv(URI, "http://ca.example/ca")];
            d.put(
                ACCESS,
                false,
                sequence(&[&sequence(&[&place[0], &place[1]])]),
            );
        }),
        ("", Root, |d| {
            d.not_after = tlv(GENERALIZED, "20560101000000Z")
        }),
        ("", Root, |d| {
            d.put(SUBTREES, true, constraints(&dns_tree(".example")))
        }),
        ("", Authority, |d| {
            d.put(
                BASIC,
                true,
                sequence(&[&tlv(BOOLEAN, [0xff]), &tlv(INTEGER, [0])]),
            );
        }),
    ];
    for (at, (_, kind, change)) in good.iter().enumerate() {
        let mut draft = draft(*kind, &key, &issuer);
        change(&mut draft);
        assert_eq!(
            check_certificate(&draft.tbs(), profile(*kind, &issuer)),
            Ok(()),
            "row {at}"
        );
    }
}

/// What an issuer is that cannot have issued a good draft.
const BY_ISSUER: &[Row] = &[
    ("issuer-may-sign", Leaf, |d| d.drop(BASIC)),
    ("issuer-may-sign", Leaf, |d| {
        d.put(USAGE, true, usage(1, 0x02))
    }),
    ("issuer-may-sign", Authority, |d| {
        d.put(
            BASIC,
            true,
            sequence(&[&tlv(BOOLEAN, [0xff]), &tlv(INTEGER, [0])]),
        );
    }),
    ("names-within-issuer", Leaf, |d| {
        d.put(SUBTREES, true, constraints(&dns_tree("c.example")))
    }),
    ("names-within-issuer", Leaf, |d| {
        // Nobody here can judge directory names.
        let tree = sequence(&[&tlv(0xa4, name("a"))]);
        d.put(SUBTREES, true, constraints(&tree));
    }),
];

#[test]
fn c1_issuers_that_may_not_sign_are_refused() {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    for (at, (rule, kind, change)) in BY_ISSUER.iter().enumerate() {
        let issuer = Signer::root(KeyType::P256, change);
        let tbs = draft(*kind, &key, &issuer).tbs();
        let found = check_certificate(&tbs, profile(*kind, &issuer));
        assert_eq!(found.map_err(|fault| fault.rule), Err(*rule), "row {at}");
    }
}

#[test]
fn usages_that_a_key_has_not_are_refused() {
    let rows = [
        (KeyType::Rsa2048, usage(3, 0x88), false),
        (KeyType::Rsa2048, usage(4, 0xb0), true),
        (KeyType::P384, usage(4, 0x90), false),
        (KeyType::P384, usage(3, 0x88), true),
        (KeyType::Ed25519, usage(3, 0x88), false),
        (KeyType::Ed25519, usage(6, 0xc0), true),
    ];
    let issuer = Signer::root(KeyType::P256, |_| {});
    for (key_type, value, good) in rows {
        let mut draft = Draft::leaf(&PrivateKey::generate(key_type).unwrap(), &issuer);
        draft.put(USAGE, true, value.clone());
        let found = check_certificate(&draft.tbs(), Profile::Leaf(&issuer.certificate));
        let wanted = if good {
            Ok(())
        } else {
            Err("key-usage-fits-key")
        };
        assert_eq!(
            found.map_err(|fault| fault.rule),
            wanted,
            "{key_type:?} {value:02x?}"
        );
    }
}

type ListRow = (&'static str, fn(&mut ListDraft));

fn date() -> Vec<u8> {
    tlv(UTC, "260201000000Z")
}

fn scope(flags: &[u8]) -> Vec<u8> {
    let full = tlv(0xa0, tlv(0xa0, tlv(URI, "http://ca.example/crl/1")));
    sequence(&[&full, flags])
}

const LISTS: &[ListRow] = &[
    ("crl-der", |d| d.version = tlv(INTEGER, [0, 1])),
    ("crl-der", |d| d.entries = Some(vec![tlv(SEQUENCE, [])])),
    ("crl-der", |d| d.put(NUMBER, false, tlv(INTEGER, [0, 1]))),
    ("crl-der", |d| {
        d.put(ISSUING_POINT, true, scope(&[0x81, 1, 0]))
    }),
    ("crl-version-2", |d| d.version.clear()),
    ("crl-version-2", |d| d.version = tlv(INTEGER, [2])),
    ("crl-signature-algorithm", |d| {
        d.algorithm = sequence(&[&oid("1.2.840.10045.4.1")]);
    }),
    ("crl-issuer", |d| d.issuer = vec![0x30, 0]),
    ("crl-next-update", |d| d.next_update.clear()),
    ("crl-times-form", |d| {
        d.next_update = tlv(GENERALIZED, "20260205000000Z")
    }),
    ("crl-times-order", |d| {
        d.next_update = tlv(UTC, "260202000000Z")
    }),
    ("crl-entries-not-empty", |d| d.entries = Some(Vec::new())),
    ("crl-entry-serial", |d| {
        d.entries = Some(vec![entry(&[0], &date(), &[])])
    }),
    ("crl-entry-serial", |d| {
        d.entries = Some(vec![entry(&[0x80], &date(), &[])])
    }),
    ("crl-entry-serial", |d| {
        d.entries = Some(vec![entry(&[0x41; 21], &date(), &[])])
    }),
    ("crl-entry-unique", |d| {
        let twice = entry(&[0x41; 20], &date(), &[]);
        d.entries = Some(vec![twice.clone(), entry(&[9], &date(), &[]), twice]);
    }),
    ("crl-entry-date", |d| {
        d.entries = Some(vec![entry(&[9], &tlv(GENERALIZED, "20260201000000Z"), &[])]);
    }),
    ("crl-entry-extensions", |d| {
        let unknown = Extension {
            oid: "1.2.3",
            is_critical: false,
            value: tlv(INTEGER, [1]),
        };
        d.entries = Some(vec![entry(&[9], &date(), &[unknown])]);
    }),
    ("crl-entry-extensions", |d| {
        let critical = Extension {
            is_critical: true,
            ..reason(1)
        };
        d.entries = Some(vec![entry(&[9], &date(), &[critical])]);
    }),
    ("crl-entry-extensions", |d| {
        d.entries = Some(vec![entry(&[9], &date(), &[reason(1), reason(4)])]);
    }),
    ("crl-entry-reason", |d| {
        d.entries = Some(vec![entry(&[9], &date(), &[reason(0)])])
    }),
    ("crl-entry-reason", |d| {
        d.entries = Some(vec![entry(&[9], &date(), &[reason(6)])])
    }),
    ("crl-extensions-unique", |d| {
        d.extensions.push(Extension {
            oid: NUMBER,
            is_critical: false,
            value: tlv(INTEGER, [9]),
        });
    }),
    ("crl-extensions-known", |d| {
        d.put("2.5.29.27", true, tlv(INTEGER, [1]))
    }),
    ("crl-number", |d| d.drop(NUMBER)),
    ("crl-number", |d| d.put(NUMBER, true, tlv(INTEGER, [1]))),
    ("crl-number", |d| d.put(NUMBER, false, tlv(INTEGER, [0x80]))),
    ("crl-number", |d| {
        d.put(NUMBER, false, tlv(INTEGER, [0x41; 21]))
    }),
    ("crl-authority-key-id", |d| d.drop(AUTHORITY)),
    ("crl-authority-key-id", |d| {
        d.put(AUTHORITY, false, sequence(&[]))
    }),
    ("crl-issuing-point-critical", |d| {
        d.put(ISSUING_POINT, false, scope(&[]))
    }),
    ("crl-issuing-point-scope", |d| {
        d.put(ISSUING_POINT, true, sequence(&[]))
    }),
    ("crl-issuing-point-scope", |d| {
        d.put(ISSUING_POINT, true, scope(&[0x84, 1, 0xff]))
    }),
    ("crl-issuing-point-scope", |d| {
        d.put(ISSUING_POINT, true, scope(&[0x81, 1, 0xff, 0x82, 1, 0xff]));
    }),
];

#[test]
fn each_rule_of_lists_refuses_what_breaks_it() {
    for (at, (rule, change)) in LISTS.iter().enumerate() {
        let mut draft = ListDraft::new();
        change(&mut draft);
        let found = check_crl(&draft.tbs());
        assert_eq!(found.map_err(|fault| fault.rule), Err(*rule), "row {at}");
    }
}

#[test]
fn good_lists_pass() {
    let mut list = ListDraft::new();
    assert_eq!(check_crl(&list.tbs()), Ok(()));
    list.entries = None;
    list.drop(ISSUING_POINT);
    assert_eq!(check_crl(&list.tbs()), Ok(()));
    list.put(ISSUING_POINT, true, scope(&[0x82, 1, 0xff]));
    list.next_update = tlv(GENERALIZED, "20500101000000Z");
    assert_eq!(check_crl(&list.tbs()), Ok(()));
}

#[test]
fn the_fault_names_rule_and_section() {
    let text = check_crl(b"").unwrap_err().to_string();
    assert_eq!(
        text,
        "the list and its extensions are in canonical DER (rule crl-der, RFC 5280 section 5.1, \
         X.690 sections 10 and 11)"
    );
}

#[test]
fn no_cut_and_no_flipped_bit_makes_the_reader_panic() {
    let issuer = Signer::root(KeyType::P256, |_| {});
    let leaf = Draft::leaf(&PrivateKey::generate(KeyType::P256).unwrap(), &issuer).tbs();
    for tbs in [leaf, Draft::root(&issuer.key).tbs(), ListDraft::new().tbs()] {
        for at in 0..tbs.len() {
            fuzz_lint(&tbs[..at]);
            for bit in 0..8 {
                let mut changed = tbs.clone();
                changed[at] ^= 1 << bit;
                fuzz_lint(&changed);
                let _ = check_certificate(&changed, Profile::Leaf(&issuer.certificate));
            }
        }
    }
}
