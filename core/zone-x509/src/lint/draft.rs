//! To-be-signed bytes for tests, put together without the builder, so that each field can be
//! wrong on its own.

use der::Encode;
use zone_crypto::sign::{KeyType, PrivateKey};

use crate::asn1::wrap;
use crate::{AltName, Certificate, Crl, Oid, Subject, key_id};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const UTF8: u8 = 0x0c;
pub(crate) const PRINTABLE: u8 = 0x13;
pub(crate) const UTC: u8 = 0x17;
pub(crate) const GENERALIZED: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const DNS: u8 = 0x82;
pub(crate) const URI: u8 = 0x86;

pub(crate) fn tlv(tag: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    wrap(tag, &[content.as_ref()])
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    wrap(SEQUENCE, parts)
}

pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    Oid::new_unwrap(dotted).to_der().unwrap()
}

pub(crate) fn name(common: &str) -> Vec<u8> {
    Subject::common(common).to_der().unwrap()
}

/// A name of one attribute.
pub(crate) fn attribute(kind: &str, tag: u8, text: &str) -> Vec<u8> {
    let pair = sequence(&[&oid(kind), &tlv(tag, text)]);
    sequence(&[&tlv(SET, pair)])
}

/// `GeneralNames`.
pub(crate) fn names(list: &[&str]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = list.iter().map(|text| general_name(text)).collect();
    sequence(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn general_name(text: &str) -> Vec<u8> {
    let name = if text.contains("://") {
        AltName::Uri(text.into())
    } else if text.contains('@') {
        AltName::Email(text.into())
    } else if let Ok(address) = text.parse() {
        AltName::Ip(address)
    } else {
        AltName::Dns(text.into())
    };
    name.to_general_name().unwrap().to_der().unwrap()
}

/// Distribution points, each of one URI.
pub(crate) fn points(uri: &str) -> Vec<u8> {
    let full = wrap(0xa0, &[&tlv(0xa0, tlv(URI, uri))]);
    sequence(&[&sequence(&[&full])])
}

/// RSA with a modulus of 1024 bits.
pub(crate) fn short_rsa() -> Vec<u8> {
    let modulus = tlv(INTEGER, [&[0][..], &[0xc1; 128]].concat());
    let key = sequence(&[&modulus, &tlv(INTEGER, [1, 0, 1])]);
    let algorithm = sequence(&[&oid("1.2.840.113549.1.1.1"), &[5, 0]]);
    sequence(&[&algorithm, &tlv(0x03, [vec![0], key].concat())])
}

/// One extension.
pub(crate) struct Extension {
    pub(crate) oid: &'static str,
    pub(crate) is_critical: bool,
    pub(crate) value: Vec<u8>,
}

fn extensions(list: &[Extension]) -> Vec<u8> {
    let mut all = Vec::new();
    for Extension {
        oid: dotted,
        is_critical,
        value,
    } in list
    {
        let flag = if *is_critical {
            tlv(BOOLEAN, [0xff])
        } else {
            Vec::new()
        };
        all.extend(sequence(&[&oid(dotted), &flag, &tlv(OCTETS, value)]));
    }
    tlv(SEQUENCE, all)
}

pub(crate) const KEY_ID: &str = "2.5.29.14";
pub(crate) const USAGE: &str = "2.5.29.15";
pub(crate) const NAMES: &str = "2.5.29.17";
pub(crate) const BASIC: &str = "2.5.29.19";
pub(crate) const SUBTREES: &str = "2.5.29.30";
pub(crate) const POINTS: &str = "2.5.29.31";
pub(crate) const POLICIES: &str = "2.5.29.32";
pub(crate) const AUTHORITY: &str = "2.5.29.35";
pub(crate) const PURPOSES: &str = "2.5.29.37";
pub(crate) const ACCESS: &str = "1.3.6.1.5.5.7.1.1";

/// A `TBSCertificate` in pieces, each a whole encoded value.
pub(crate) struct Draft {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Vec<u8>,
    pub(crate) not_after: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) unique_ids: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

impl Draft {
    /// A root that passes.
    pub(crate) fn root(key: &PrivateKey) -> Self {
        let id = key_id(key.public_key());
        let mut draft = Self {
            version: tlv(0xa0, tlv(INTEGER, [2])),
            serial: tlv(INTEGER, [0x41; 20]),
            algorithm: key.algorithm().scheme().algorithm_identifier().to_vec(),
            issuer: name("root"),
            not_before: tlv(UTC, "260101000000Z"),
            not_after: tlv(UTC, "460101000000Z"),
            subject: name("root"),
            spki: key.public_key_spki_der().to_vec(),
            unique_ids: Vec::new(),
            extensions: Vec::new(),
        };
        draft.put(USAGE, true, vec![0x03, 0x02, 0x01, 0x06]);
        draft.put(BASIC, true, sequence(&[&tlv(BOOLEAN, [0xff])]));
        draft.put(KEY_ID, false, tlv(OCTETS, id));
        draft
    }

    /// A CA below `issuer` that passes.
    pub(crate) fn authority(key: &PrivateKey, issuer: &Signer) -> Self {
        Self::root(key).below(issuer, "authority")
    }

    /// A leaf below `issuer` that passes.
    pub(crate) fn leaf(key: &PrivateKey, issuer: &Signer) -> Self {
        let mut draft = Self::root(key).below(issuer, "a.example");
        draft.not_after = tlv(UTC, "270101000000Z");
        draft.drop(BASIC);
        draft.put(USAGE, true, vec![0x03, 0x02, 0x07, 0x80]);
        let purposes = [oid("1.3.6.1.5.5.7.3.1"), oid("1.3.6.1.5.5.7.3.2")];
        draft.put(PURPOSES, false, sequence(&[&purposes[0], &purposes[1]]));
        draft.put(
            NAMES,
            false,
            names(&["a.example", "*.b.example", "10.0.0.1", "spiffe://z/a"]),
        );
        draft.put(POINTS, false, points("http://ca.example/crl/1"));
        draft
    }

    fn below(mut self, issuer: &Signer, subject: &str) -> Self {
        self.issuer = issuer.certificate.subject_der().to_vec();
        self.algorithm = issuer
            .key
            .algorithm()
            .scheme()
            .algorithm_identifier()
            .to_vec();
        self.subject = name(subject);
        let id = issuer.certificate.key_id().unwrap();
        self.put(AUTHORITY, false, sequence(&[&tlv(0x80, id)]));
        self
    }

    /// Sets an extension.
    pub(crate) fn put(&mut self, oid: &'static str, is_critical: bool, value: Vec<u8>) {
        self.drop(oid);
        self.extensions.push(Extension {
            oid,
            is_critical,
            value,
        });
    }

    /// Takes an extension out.
    pub(crate) fn drop(&mut self, oid: &str) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    pub(crate) fn tbs(&self) -> Vec<u8> {
        let validity = sequence(&[&self.not_before, &self.not_after]);
        let extensions = tlv(0xa3, extensions(&self.extensions));
        sequence(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &validity,
            &self.subject,
            &self.spki,
            &self.unique_ids,
            if self.extensions.is_empty() {
                &[]
            } else {
                &extensions
            },
        ])
    }

    /// The certificate, signed by `key`.
    pub(crate) fn sign(&self, key: &PrivateKey) -> Certificate {
        let tbs = self.tbs();
        let signature = key.sign(key.algorithm().scheme(), &tbs).unwrap();
        let der = crate::asn1::signed(&tbs, &self.algorithm, &signature);
        Certificate::from_der(&der).unwrap()
    }
}

/// A CA with its key.
pub(crate) struct Signer {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
}

impl Signer {
    /// A root, changed before it is signed.
    pub(crate) fn root(key_type: KeyType, change: impl Fn(&mut Draft)) -> Self {
        let key = PrivateKey::generate(key_type).unwrap();
        let mut draft = Draft::root(&key);
        change(&mut draft);
        Self {
            certificate: draft.sign(&key),
            key,
        }
    }
}

impl Signer {
    /// A CA below this one, changed before it is signed.
    pub(crate) fn authority(&self, change: impl Fn(&mut Draft)) -> Self {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let mut draft = Draft::authority(&key, self);
        change(&mut draft);
        Self {
            certificate: draft.sign(&self.key),
            key,
        }
    }

    /// A leaf below this CA, changed before it is signed.
    pub(crate) fn leaf(&self, change: impl Fn(&mut Draft)) -> Certificate {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let mut draft = Draft::leaf(&key, self);
        change(&mut draft);
        draft.sign(&self.key)
    }

    /// A complete list of these serials (each 20 octets of one value), changed before it is
    /// signed.
    pub(crate) fn list(&self, serials: &[u8], change: impl Fn(&mut ListDraft)) -> Crl {
        let mut draft = ListDraft::new();
        draft.issuer = self.certificate.subject_der().to_vec();
        draft.algorithm = self
            .key
            .algorithm()
            .scheme()
            .algorithm_identifier()
            .to_vec();
        draft.drop(ISSUING_POINT);
        let id = self.certificate.key_id().unwrap();
        draft.put(AUTHORITY, false, sequence(&[&tlv(0x80, id)]));
        let date = tlv(UTC, "260201000000Z");
        let entries = serials
            .iter()
            .map(|fill| entry(&[*fill; 20], &date, &[reason(1)]));
        draft.entries = Some(entries.collect::<Vec<_>>()).filter(|list| !list.is_empty());
        change(&mut draft);
        let tbs = draft.tbs();
        let signature = self.key.sign(self.key.algorithm().scheme(), &tbs).unwrap();
        Crl::from_der(&crate::asn1::signed(&tbs, &draft.algorithm, &signature)).unwrap()
    }
}

/// A `TBSCertList` in pieces.
pub(crate) struct ListDraft {
    pub(crate) version: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) this_update: Vec<u8>,
    pub(crate) next_update: Vec<u8>,
    /// Whole entries; `None` leaves the field out.
    pub(crate) entries: Option<Vec<Vec<u8>>>,
    pub(crate) extensions: Vec<Extension>,
}

pub(crate) const NUMBER: &str = "2.5.29.20";
pub(crate) const REASON: &str = "2.5.29.21";
pub(crate) const ISSUING_POINT: &str = "2.5.29.28";

/// An entry of a list.
pub(crate) fn entry(serial: &[u8], date: &[u8], list: &[Extension]) -> Vec<u8> {
    let extensions = if list.is_empty() {
        Vec::new()
    } else {
        extensions(list)
    };
    sequence(&[&tlv(INTEGER, serial), date, &extensions])
}

pub(crate) fn reason(code: u8) -> Extension {
    Extension {
        oid: REASON,
        is_critical: false,
        value: tlv(ENUMERATED, [code]),
    }
}

impl ListDraft {
    /// A list of one shard that passes.
    pub(crate) fn new() -> Self {
        let date = tlv(UTC, "260201000000Z");
        let full = wrap(0xa0, &[&tlv(0xa0, tlv(URI, "http://ca.example/crl/1"))]);
        let extension = |oid, is_critical, value| Extension {
            oid,
            is_critical,
            value,
        };
        Self {
            version: tlv(INTEGER, [1]),
            algorithm: KeyType::P256
                .algorithm()
                .scheme()
                .algorithm_identifier()
                .to_vec(),
            issuer: name("root"),
            this_update: tlv(UTC, "260202000000Z"),
            next_update: tlv(UTC, "260205000000Z"),
            entries: Some(vec![
                entry(&[0x42; 20], &date, &[reason(1)]),
                entry(&[0x41; 20], &date, &[]),
            ]),
            extensions: vec![
                extension(AUTHORITY, false, sequence(&[&tlv(0x80, [7; 20])])),
                extension(NUMBER, false, tlv(INTEGER, [1, 2, 3])),
                extension(ISSUING_POINT, true, sequence(&[&full])),
            ],
        }
    }

    pub(crate) fn put(&mut self, oid: &'static str, is_critical: bool, value: Vec<u8>) {
        self.extensions.retain(|extension| extension.oid != oid);
        self.extensions.push(Extension {
            oid,
            is_critical,
            value,
        });
    }

    pub(crate) fn drop(&mut self, oid: &str) {
        self.extensions.retain(|extension| extension.oid != oid);
    }

    pub(crate) fn tbs(&self) -> Vec<u8> {
        let entries = self
            .entries
            .as_ref()
            .map(|list| tlv(SEQUENCE, list.concat()));
        sequence(&[
            &self.version,
            &self.algorithm,
            &self.issuer,
            &self.this_update,
            &self.next_update,
            entries.as_deref().unwrap_or_default(),
            &tlv(0xa0, extensions(&self.extensions)),
        ])
    }
}
