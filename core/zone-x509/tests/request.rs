//! What a certification request may and may not say (attack 1: a CSR is the client's word).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode};
use x509_cert::attr::Attribute;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_x509::{AltName, ParseFault, Request};

const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::P256).unwrap()
}

fn extension(extn_id: ObjectIdentifier, value: &impl Encode) -> Extension {
    let extn_value = OctetString::new(value.to_der().unwrap()).unwrap();
    Extension {
        extn_id,
        critical: false,
        extn_value,
    }
}

fn dns(name: &str) -> Extension {
    let name = der::asn1::Ia5String::new(name).unwrap();
    extension(ALT_NAME, &SubjectAltName(vec![GeneralName::DnsName(name)]))
}

fn asks(extensions: Vec<Extension>) -> Attribute {
    let values = SetOfVec::try_from(vec![Any::encode_from(&extensions).unwrap()]).unwrap();
    Attribute {
        oid: EXTENSION_REQUEST,
        values,
    }
}

/// A request for `holder`, signed by `signer`.
fn request(
    subject: &str,
    holder: &PrivateKey,
    signer: &PrivateKey,
    attributes: Vec<Attribute>,
) -> Vec<u8> {
    let mut set = SetOfVec::new();
    for attribute in attributes {
        set.insert(attribute).unwrap();
    }
    let info = CertReqInfo {
        version: Version::V1,
        subject: subject.parse::<Name>().unwrap(),
        public_key: Decode::from_der(holder.public_key_spki_der()).unwrap(),
        attributes: set,
    };
    let scheme = signer.algorithm().scheme();
    let signature = signer.sign(scheme, &info.to_der().unwrap()).unwrap();
    CertReq {
        info,
        algorithm: Decode::from_der(scheme.algorithm_identifier()).unwrap(),
        signature: BitString::from_bytes(&signature).unwrap(),
    }
    .to_der()
    .unwrap()
}

fn read(attributes: Vec<Attribute>) -> Result<Request, ParseFault> {
    let key = key();
    Request::from_der(&request("CN=a.example,O=A", &key, &key, attributes))
}

fn refusal(result: Result<Request, ParseFault>) -> &'static str {
    match result {
        Err(ParseFault::Profile(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn subject_names_and_key_are_read() {
    let key = key();
    let der = request(
        "CN=a.example,O=A",
        &key,
        &key,
        vec![asks(vec![dns("b.example")])],
    );
    let found = Request::from_der(&der).unwrap();
    assert_eq!(found.public_key(), key.public_key());
    assert_eq!(found.subject().common_name, "a.example");
    assert_eq!(found.subject().organization, ["A"]);
    assert_eq!(
        found.alternative_names(),
        [AltName::Dns("b.example".into())]
    );
    for label in ["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"] {
        let pem = der::pem::encode_string(label, der::pem::LineEnding::LF, &der).unwrap();
        assert!(Request::from_pem(&pem).is_ok(), "{label}");
        assert_eq!(
            refusal(Request::from_pem(&pem.repeat(2))),
            "more than one request"
        );
    }
    assert!(read(Vec::new()).unwrap().alternative_names().is_empty());
}

#[test]
fn attack_1_a_request_for_a_foreign_key_is_refused() {
    let (holder, thief) = (key(), key());
    let der = request("CN=a.example", &holder, &thief, Vec::new());
    assert!(refusal(Request::from_der(&der)).contains("own key"));
}

#[test]
fn attack_1_every_changed_octet_is_refused() {
    let key = key();
    let der = request(
        "CN=a.example",
        &key,
        &key,
        vec![asks(vec![dns("b.example")])],
    );
    for i in 0..der.len() {
        let mut copy = der.clone();
        copy[i] ^= 1;
        zone_x509::fuzz_csr(&copy);
        assert!(Request::from_der(&copy).is_err(), "octet {i}");
        assert!(Request::from_der(&der[..i]).is_err(), "cut at {i}");
    }
    assert!(Request::from_der(&[&der[..], &[0]].concat()).is_err());
}

#[test]
fn attack_1_a_request_for_a_ca_is_refused() {
    let ca = extension(
        BASIC,
        &BasicConstraints {
            ca: true,
            path_len_constraint: None,
        },
    );
    assert_eq!(
        refusal(read(vec![asks(vec![ca])])),
        "the request asks to be a CA"
    );
    let leaf = extension(
        BASIC,
        &BasicConstraints {
            ca: false,
            path_len_constraint: None,
        },
    );
    assert!(read(vec![asks(vec![leaf])]).is_ok());
}

#[test]
fn attack_1_two_readings_of_one_request_are_refused() {
    let twice = vec![asks(vec![dns("a.example"), dns("b.example")])];
    assert!(refusal(read(twice)).contains("twice"));
    let two_lists = vec![asks(vec![dns("a.example")]), asks(vec![dns("b.example")])];
    assert!(refusal(read(two_lists)).contains("more than once"));
    let mut values = asks(vec![dns("a.example")]);
    values
        .values
        .insert(Any::encode_from(&vec![dns("b.example")]).unwrap())
        .unwrap();
    assert!(refusal(read(vec![values])).contains("more than once"));
    let key = key();
    let der = request("CN=a.example,CN=b.example", &key, &key, Vec::new());
    assert!(refusal(Request::from_der(&der)).contains("common name"));
}

#[test]
fn names_that_cannot_be_judged_are_refused() {
    let directory = GeneralName::DirectoryName("CN=x".parse().unwrap());
    let names = extension(ALT_NAME, &SubjectAltName(vec![directory]));
    assert!(refusal(read(vec![asks(vec![names])])).contains("kind"));
    let broken = extension(ALT_NAME, &der::asn1::Null);
    assert!(refusal(read(vec![asks(vec![broken])])).contains("malformed"));
}

#[test]
fn other_attributes_are_passed_over() {
    let password = Attribute {
        oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7"),
        values: SetOfVec::try_from(vec![Any::encode_from(&String::from("x")).unwrap()]).unwrap(),
    };
    assert!(read(vec![password]).is_ok());
}

#[test]
fn long_requests_are_refused_before_they_are_read() {
    let long = vec![0x30; zone_x509::MAX_OBJECT + 1];
    assert!(matches!(
        Request::from_der(&long),
        Err(ParseFault::TooLong { .. })
    ));
}
