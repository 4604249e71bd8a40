//! Certificates and lists that this crate makes, read back by it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use zone_crypto::sign::{Hash, KeyType, PrivateKey, SignatureScheme};
use zone_types::Timestamp;
use zone_x509::{
    AltName, BuildFault, Certificate, CertificatePlan, Crl, CrlPlan, KeyUsage, Kind,
    NameConstraints, Oid, Purpose, Serial, Subject, Subtree, crl_pem, key_id,
};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn plan(kind: Kind, name: &str) -> CertificatePlan {
    let usage = match kind {
        Kind::Leaf { .. } => KeyUsage::DIGITAL_SIGNATURE,
        Kind::Authority { .. } => KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN,
    };
    CertificatePlan {
        kind,
        serial: Serial::from_random([0x55; 20]),
        subject: Subject::common(name),
        names: Vec::new(),
        not_before: at("2026-01-01T00:00:00Z"),
        not_after: at("2049-12-31T23:59:59Z"),
        usage,
        purposes: Vec::new(),
        policies: Vec::new(),
        issuer_urls: Vec::new(),
        ocsp_urls: Vec::new(),
        crl_points: Vec::new(),
    }
}

fn authority(path_length: Option<u8>) -> Kind {
    Kind::Authority {
        path_length,
        constraints: NameConstraints::default(),
    }
}

fn leaf(name: &str) -> CertificatePlan {
    CertificatePlan {
        names: vec![AltName::Dns(name.into())],
        ..plan(Kind::Leaf { says_so: false }, name)
    }
}

struct Ca {
    key: PrivateKey,
    scheme: SignatureScheme,
    certificate: Certificate,
}

fn root(key_type: KeyType, kind: Kind) -> Ca {
    let key = PrivateKey::generate(key_type).unwrap();
    let scheme = key.algorithm().scheme();
    let der = plan(kind, "Root").self_sign(&key, scheme).unwrap();
    Ca {
        key,
        scheme,
        certificate: Certificate::from_der(&der).unwrap(),
    }
}

impl Ca {
    fn sign(&self, plan: &CertificatePlan, holder: &PrivateKey) -> Result<Certificate, BuildFault> {
        let der = plan.sign(
            holder.public_key(),
            &self.certificate,
            &self.key,
            self.scheme,
        )?;
        Ok(Certificate::from_der(&der).unwrap())
    }

    fn list(&self, plan: &CrlPlan) -> Result<Crl, BuildFault> {
        let der = plan.sign(&self.certificate, &self.key, self.scheme)?;
        Ok(Crl::from_der(&der).unwrap())
    }
}

fn list(revoked: Vec<(Serial, Timestamp)>) -> CrlPlan {
    CrlPlan {
        number: 1 << 40,
        this_update: at("2026-02-01T00:00:00Z"),
        next_update: at("2026-02-04T00:00:00Z"),
        points: Vec::new(),
        revoked,
    }
}

fn fault<T: std::fmt::Debug>(result: Result<T, BuildFault>) -> String {
    match result {
        Err(BuildFault::Plan(text)) => text.to_owned(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_field_of_a_plan_is_read_back() {
    let ca = root(KeyType::P256, authority(Some(0)));
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    let names = vec![
        AltName::Dns("*.a.example".into()),
        AltName::Ip("10.0.0.1".parse().unwrap()),
        AltName::Ip("2001:db8::1".parse().unwrap()),
        AltName::Email("me@a.example".into()),
        AltName::Uri("spiffe://z.example/web".into()),
        AltName::Other {
            oid: "1.3.6.1.4.1.311.20.2.3".into(),
            value: "ü".into(),
        },
    ];
    let subject = Subject {
        common_name: "Jörg".into(),
        serial_number: "7".into(),
        country: vec!["DE".into()],
        organization: vec!["A".into(), "B".into()],
        organizational_unit: vec!["U".into()],
        locality: vec!["L".into()],
        province: vec!["P".into()],
        street_address: vec!["S 1".into()],
        postal_code: vec!["12345".into()],
    };
    let plan = CertificatePlan {
        subject: subject.clone(),
        names: names.clone(),
        purposes: vec![Purpose::SERVER_AUTH, Purpose::CLIENT_AUTH],
        policies: vec![Oid::new_unwrap("1.2.3.4")],
        issuer_urls: vec!["http://h/ca".into()],
        ocsp_urls: vec!["http://h/ocsp".into()],
        crl_points: vec!["http://h/crl/1".into(), "http://g/crl/1".into()],
        ..leaf("x")
    };
    let made = ca.sign(&plan, &key).unwrap();
    assert_eq!(made.serial(), &plan.serial);
    assert_eq!(made.subject_fields(), subject);
    assert_eq!(made.alternative_names(), names);
    assert_eq!(
        (made.not_before(), made.not_after()),
        (plan.not_before, plan.not_after)
    );
    assert_eq!(made.key_usage(), Some(KeyUsage::DIGITAL_SIGNATURE));
    assert_eq!(made.purposes(), plan.purposes);
    assert_eq!(made.crl_distribution_points(), plan.crl_points);
    assert_eq!(made.authority(), None);
    assert_eq!(made.spki_der(), key.public_key_spki_der());
    assert_eq!(made.issuer_der(), ca.certificate.subject_der());
    assert_eq!(made.key_id(), Some(key_id(key.public_key()).to_vec()));
    assert_eq!(made.authority_key_id(), ca.certificate.key_id());
    assert!(made.signed_by(ca.key.public_key()) && !made.signed_by(key.public_key()));
    assert_eq!(Certificate::from_pem(&made.pem()).unwrap(), made);
}

#[test]
fn every_key_type_signs_certificates_and_lists() {
    for key_type in [
        KeyType::Rsa2048,
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::Ed25519,
    ] {
        let mut ca = root(key_type, authority(None));
        let mut schemes = vec![ca.scheme];
        if key_type == KeyType::Rsa2048 {
            schemes.extend([Hash::Sha384, Hash::Sha512].map(SignatureScheme::RsaPkcs1));
            schemes.extend([Hash::Sha256, Hash::Sha512].map(SignatureScheme::RsaPss));
        }
        for scheme in schemes {
            ca.scheme = scheme;
            let made = ca.sign(&leaf("a.example"), &ca.key).unwrap();
            assert_eq!(made.scheme(), Some(scheme));
            assert!(made.signed_by(ca.key.public_key()), "{scheme}");
            assert!(
                ca.list(&list(Vec::new()))
                    .unwrap()
                    .signed_by(ca.key.public_key())
            );
        }
    }
}

#[test]
fn a_root_names_its_own_key_and_holds_its_constraints() {
    let constraints = NameConstraints {
        permitted: vec![Subtree::Dns("example.org".into())],
        excluded: vec![Subtree::parse_cidr("10.0.0.0/8").unwrap()],
    };
    let kind = Kind::Authority {
        path_length: Some(3),
        constraints: constraints.clone(),
    };
    let ca = root(KeyType::P256, kind).certificate;
    assert_eq!(ca.authority(), Some(Some(3)));
    assert_eq!(ca.name_constraints(), Ok(constraints));
    assert!(ca.is_self_issued() && ca.key_id().is_some());
    assert_eq!(ca.key_id(), ca.authority_key_id());
}

#[test]
fn c1_nothing_ends_after_its_issuer() {
    let ca = root(KeyType::P256, authority(None));
    let late = CertificatePlan {
        not_after: at("2050-01-01T00:00:00Z"),
        ..leaf("a.example")
    };
    assert!(fault(ca.sign(&late, &ca.key)).contains("after its issuer"));
}

#[test]
fn an_issuer_that_could_not_have_issued_it_is_refused() {
    let ca = root(KeyType::P256, authority(Some(0)));
    let other = PrivateKey::generate(KeyType::P256).unwrap();
    let by_leaf = Ca {
        certificate: ca.sign(&leaf("a.example"), &other).unwrap(),
        key: other,
        scheme: ca.scheme,
    };
    assert!(fault(by_leaf.sign(&leaf("b.example"), &ca.key)).contains("key usage"));
    assert!(fault(by_leaf.list(&list(Vec::new()))).contains("key usage"));
    let stolen = Ca {
        certificate: ca.certificate.clone(),
        ..by_leaf
    };
    assert!(fault(stolen.sign(&leaf("b.example"), &ca.key)).contains("not that of the issuer"));
    let below = plan(authority(None), "Below");
    assert!(fault(ca.sign(&below, &stolen.key)).contains("path length"));
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    let ca = root(KeyType::P256, authority(None));
    type Change = fn(&mut CertificatePlan);
    let cases: [(&str, Change); 5] = [
        ("before it begins", |p| {
            p.not_after = p.not_before.minus(std::time::Duration::from_secs(1))
        }),
        ("neither a subject", |p| {
            p.subject = Subject::default();
            p.names.clear();
        }),
        ("a leaf cannot sign", |p| p.usage = KeyUsage::CERT_SIGN),
        ("CertSign", |p| p.kind = authority(None)),
        ("1970", |p| p.not_before = Timestamp::from_secs(-1)),
    ];
    for (text, change) in cases {
        let mut plan = leaf("a.example");
        change(&mut plan);
        let found = fault(ca.sign(&plan, &ca.key));
        assert!(found.contains(text), "{found}");
    }
    let mut unencodable = leaf("a.example");
    unencodable.names = vec![AltName::Dns("bücher.example".into())];
    assert!(matches!(
        ca.sign(&unencodable, &ca.key),
        Err(BuildFault::Der(_))
    ));
}

#[test]
fn a_changed_certificate_has_no_signature() {
    let ca = root(KeyType::P256, authority(None));
    let made = ca.sign(&leaf("a.example"), &ca.key).unwrap();
    let mut read = 0;
    for i in 0..made.der().len() {
        let mut copy = made.der().to_vec();
        copy[i] ^= 1;
        zone_x509::fuzz_certificate(&copy);
        if let Ok(changed) = Certificate::from_der(&copy) {
            assert!(!changed.signed_by(ca.key.public_key()), "octet {i}");
            read += 1;
        }
        assert!(
            Certificate::from_der(&made.der()[..i]).is_err(),
            "cut at {i}"
        );
    }
    assert!(read > 100, "most changes still parse");
    let longer = [made.der(), &[0]].concat();
    assert!(Certificate::from_der(&longer).is_err());
}

#[test]
fn a_list_is_read_back() {
    let ca = root(KeyType::P256, authority(None));
    let revoked: Vec<_> = (1..=3u8)
        .map(|i| (Serial::from_random([i; 20]), at("2026-01-02T03:04:05Z")))
        .collect();
    let made = ca.list(&list(revoked.clone())).unwrap();
    let found: Vec<_> = made
        .entries()
        .iter()
        .map(|e| (e.serial.clone(), e.at))
        .collect();
    assert_eq!(found, revoked);
    assert!(made.entry(&revoked[1].0).is_some());
    assert!(made.entry(&Serial::from_random([9; 20])).is_none());
    assert_eq!(made.number(), Some(&[1, 0, 0, 0, 0, 0][..]));
    assert_eq!(made.this_update(), at("2026-02-01T00:00:00Z"));
    assert_eq!(made.next_update(), Some(at("2026-02-04T00:00:00Z")));
    assert_eq!(
        made.authority_key_id().map(<[u8]>::to_vec),
        ca.certificate.key_id()
    );
    assert!(made.distribution_points().is_empty());
    assert!(made.signed_by(ca.key.public_key()));
    let again = Crl::all_from_pem(&crl_pem(made.der())).unwrap();
    assert_eq!(again[0].der(), made.der());
    assert!(ca.list(&list(Vec::new())).unwrap().entries().is_empty());
}

#[test]
fn a_part_of_a_list_covers_only_its_own() {
    let ca = root(KeyType::P256, authority(None));
    let here = CertificatePlan {
        crl_points: vec!["http://h/1".into()],
        ..leaf("a.example")
    };
    let there = CertificatePlan {
        crl_points: vec!["http://h/2".into()],
        ..leaf("a.example")
    };
    let (here, there) = (
        ca.sign(&here, &ca.key).unwrap(),
        ca.sign(&there, &ca.key).unwrap(),
    );
    let part = CrlPlan {
        points: vec!["http://h/1".into()],
        ..list(Vec::new())
    };
    let part = ca.list(&part).unwrap();
    assert_eq!(part.distribution_points(), ["http://h/1"]);
    assert!(part.covers(&here) && !part.covers(&there));
    let whole = ca.list(&list(Vec::new())).unwrap();
    assert!(whole.covers(&here) && whole.covers(&there));
    let foreign = root(KeyType::P256, authority(None));
    let renamed = plan(authority(None), "Other")
        .self_sign(&foreign.key, foreign.scheme)
        .unwrap();
    assert!(!whole.covers(&Certificate::from_der(&renamed).unwrap()));
}

#[test]
fn a_list_that_ends_before_it_begins_is_refused() {
    let ca = root(KeyType::P256, authority(None));
    let plan = CrlPlan {
        next_update: at("2026-02-01T00:00:00Z"),
        ..list(Vec::new())
    };
    assert!(fault(ca.list(&plan)).contains("end before"));
}

#[test]
fn a_changed_list_has_no_signature() {
    let ca = root(KeyType::P256, authority(None));
    let revoked = vec![(Serial::from_random([7; 20]), at("2026-01-02T03:04:05Z"))];
    let made = ca
        .list(&CrlPlan {
            points: vec!["http://h/1".into()],
            ..list(revoked)
        })
        .unwrap();
    for i in 0..made.der().len() {
        let mut copy = made.der().to_vec();
        copy[i] ^= 1;
        zone_x509::fuzz_crl(&copy);
        if let Ok(changed) = Crl::from_der(&copy) {
            assert!(!changed.signed_by(ca.key.public_key()), "octet {i}");
        }
        assert!(Crl::from_der(&made.der()[..i]).is_err(), "cut at {i}");
    }
}

#[test]
fn c1_what_breaks_the_profile_is_not_signed() {
    let ca = root(KeyType::P256, authority(None));
    let mut long = leaf("a.example");
    long.subject.organization = vec!["a".repeat(65)];
    let mut double = leaf("a.example");
    double.names = vec![AltName::Dns("a.example".into()); 2];
    for (rule, plan) in [("subject-lengths", long), ("names-unique", double)] {
        match ca.sign(&plan, &ca.key) {
            Err(BuildFault::Lint(fault)) => assert_eq!(fault.rule, rule),
            other => panic!("{rule}: {other:?}"),
        }
    }
    let revoked = vec![(Serial::from_random([7; 20]), at("2026-01-02T03:04:05Z")); 2];
    assert!(matches!(ca.list(&list(revoked)), Err(BuildFault::Lint(_))));
}
