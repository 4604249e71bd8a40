//! Stored records of version 1 stay readable: `tests/golden/records-1.txt` has one of each kind.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;
use zone_types::Timestamp;

use crate::record::{
    AuthorityConfig, CertRecord, CrlConfig, CrlNumber, IssuerRecord, IssuerUsage, KeyRecord,
    LeafNotAfter, Octets, RevokedRecord, SecretOctets, ShardCount, ShardCursor, ShardRecord, Urls,
    decode, encode,
};
use crate::role::Role;

const RECORDS: &str = include_str!("../tests/golden/records-1.txt");
const ID: &str = "0a1b2c3d-0000-4000-8000-000000000001";
const KEY_ID: &str = "0a1b2c3d-0000-4000-8000-000000000002";

/// The record of `kind` in the golden file.
fn stored(kind: &str) -> &'static str {
    let lines = RECORDS.lines().filter_map(|line| line.split_once(' '));
    let found: Vec<_> = lines.filter(|(found, _)| *found == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0].1
}

/// Version 1 reads as it always did, and is what is written today.
fn holds<T: Serialize + DeserializeOwned>(kind: &'static str, record: &T) {
    let written = String::from_utf8(encode(record).unwrap()).unwrap();
    assert_eq!(written, stored(kind), "{kind}");
    let read: T = decode(kind, stored(kind).as_bytes()).unwrap();
    assert_eq!(encode(&read).unwrap(), written.as_bytes(), "{kind}");
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn urls() -> Urls {
    Urls {
        issuing_certificates: vec!["https://h/v1/pki/issuer/{{issuer_id}}/der".into()],
        crl_distribution_points: vec!["https://h/v1/pki/crl/shard/{{shard}}".into()],
        ocsp_servers: vec!["http://h/ocsp".into()],
        enable_templating: true,
    }
}

#[test]
fn golden_settings() {
    holds(
        "config/issuers",
        &AuthorityConfig {
            default_issuer: Some(ID.into()),
            default_follows_latest: true,
            default_key: Some(KEY_ID.into()),
        },
    );
    holds("config/urls", &urls());
    let crl = CrlConfig {
        expiry_secs: 86_400,
        auto_rebuild: true,
        grace_secs: 3600,
    };
    holds("config/crl", &crl);
}

#[test]
fn golden_authorities() {
    let issuer = IssuerRecord {
        id: ID.into(),
        name: "root-2026".into(),
        key_id: Some(KEY_ID.into()),
        certificate: Octets(vec![0x30, 0x00]),
        manual_chain: vec![ID.into()],
        usage: IssuerUsage {
            ocsp_signing: false,
            ..IssuerUsage::default()
        },
        leaf_not_after: LeafNotAfter::Truncate,
        urls: urls(),
    };
    holds("issuer", &issuer);
    let pkcs8 = SecretOctets(Zeroizing::new(vec![0x30, 0x00]));
    holds(
        "key",
        &KeyRecord {
            id: KEY_ID.into(),
            name: "root-key".into(),
            pkcs8,
        },
    );
    let role = Role {
        allowed_domains: vec!["example.com".into()],
        allow_subdomains: true,
        key_type: "ec".into(),
        key_bits: 256,
        ttl: 86_400,
        ..Role::default()
    };
    holds("role", &role);
}

#[test]
fn golden_certificates_and_lists() {
    let certificate = CertRecord {
        certificate: Octets(vec![0x30, 0x00]),
        issuer: ID.into(),
        shard: 42,
        is_root: false,
        not_after: at("2027-01-01T00:00:00Z"),
        role: "web".into(),
    };
    holds("cert", &certificate);
    let (at, not_after) = (at("2026-02-03T04:05:06Z"), at("2027-01-01T00:00:00Z"));
    holds("revoked", &RevokedRecord { at, not_after });
    holds("dirty", &());
    holds("config/shard-count", &ShardCount { opened: 43 });
    holds(
        "shard-cursor",
        &ShardCursor {
            shard: 43,
            reserved: 2048,
        },
    );
    let points = urls().crl_distribution_points;
    holds(
        "shard",
        &ShardRecord {
            issuer: ID.into(),
            points,
        },
    );
    holds(
        "crl-number",
        &CrlNumber {
            number: 1_798_000_000_000,
        },
    );
}
