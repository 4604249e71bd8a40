//! Plain functions that fuzzers drive: no bytes make a reader panic, and what was read is whole.

use crate::{Certificate, Crl, Request};

/// Feeds `data` to the reader of certification requests, as DER and as PEM.
pub fn fuzz_csr(data: &[u8]) {
    if let Ok(request) = Request::from_der(data) {
        assert!(!request.public_key().spki_der().is_empty());
        for name in request.alternative_names() {
            assert!(!name.to_string().is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Request::from_pem(text);
    }
}

/// Feeds `data` to the reader of certificates and asks for every field.
pub fn fuzz_certificate(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Certificate::all_from_pem(text);
    }
    let Ok(certificate) = Certificate::from_der(data) else {
        return;
    };
    assert_eq!(certificate.der(), data);
    assert_eq!(
        Certificate::from_pem(&certificate.pem()).as_ref(),
        Ok(&certificate)
    );
    let _ = (
        certificate.issuer(),
        certificate.subject(),
        certificate.subject_fields(),
    );
    let _ = (
        certificate.authority(),
        certificate.key_usage(),
        certificate.purposes(),
    );
    let _ = (
        certificate.alternative_names(),
        certificate.name_constraints(),
    );
    let _ = (certificate.key_id(), certificate.authority_key_id());
    let _ = certificate.crl_distribution_points();
    if let Ok(key) = certificate.public_key() {
        let _ = certificate.signed_by(&key);
    }
}

/// Feeds `data` to the reader of revocation lists.
pub fn fuzz_crl(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Crl::all_from_pem(text);
    }
    let Ok(list) = Crl::from_der(data) else {
        return;
    };
    assert_eq!(list.der(), data);
    for entry in list.entries() {
        assert!(list.entry(&entry.serial).is_some());
    }
    let _ = (list.issuer(), list.number(), list.distribution_points());
}
