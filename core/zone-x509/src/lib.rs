//! Certificates, requests and revocation lists (RFC 5280, RFC 2986): read strictly, built from a
//! plan, linted, signed.
//!
//! Pure as all of `core`: the caller brings the time, the serial and the key. DER is read and
//! written by `der` and `x509-cert`; what is read here was canonical DER without trailing bytes.
//!
//! # Deliberately absent
//!
//! MD5 and SHA-1 signatures, indirect and delta lists, unique identifiers, attributes of a
//! request other than the extensions that are asked for.

mod asn1;
mod build;
mod certificate;
pub mod chain;
mod constraints;
mod crl;
mod fuzz;
pub mod inspect;
pub mod lint;
mod names;
mod pem;
mod request;
mod serial;
mod usage;

/// An object identifier.
pub use der::asn1::ObjectIdentifier as Oid;

pub use build::{BuildFault, CertificatePlan, Kind};
pub use certificate::{Certificate, MAX_OBJECT, ParseFault, key_id};
pub use constraints::{NameConstraints, Subtree};
pub use crl::{Crl, CrlEntry, CrlPlan, MAX_CRL, crl_pem};
pub use fuzz::{fuzz_certificate, fuzz_crl, fuzz_csr};
pub use names::{AltName, Subject, dns_name, is_dns_name, is_email, is_plain_text, is_uri};
pub use request::Request;
pub use serial::{Serial, SerialFault, colon_hex};
pub use usage::{KeyUsage, Purpose};
