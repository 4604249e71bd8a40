//! Reading certificates: one strict decode, after which every field is a plain value.
//!
//! What holds: the bytes are canonical DER with nothing after them, version 3 or 1, both
//! algorithm fields agree, no extension occurs twice, the serial is positive and at most 20
//! octets long. The signature is not checked here: see [`Certificate::signed_by`].

use std::fmt;
use std::ops::Range;

use const_oid::AssociatedOid;
use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Encode, Reader, Sequence, SliceReader};
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix as ext;
use x509_cert::name::Name;
use x509_cert::time::Time;
use zone_crypto::sign::{KeyFault, PublicKey, SignatureScheme};
use zone_types::Timestamp;

use crate::constraints::NameConstraints;
use crate::names::{AltName, Subject};
use crate::usage::{KeyUsage, Purpose};
use crate::{Oid, Serial, asn1, pem};

/// Longest certificate, request or key that is read, in octets.
pub const MAX_OBJECT: usize = 64 * 1024;

/// Why bytes are not a certificate, request or list that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFault {
    /// Longer than the limit.
    #[error("too long: the limit is {limit} octets")]
    TooLong {
        /// The limit in octets.
        limit: usize,
    },
    /// The PEM frame is not right or has another label.
    #[error("not PEM with the label {label}")]
    Pem {
        /// The label that was expected.
        label: &'static str,
    },
    /// Not canonical DER of that type.
    #[error("not a well-formed DER structure")]
    Der(#[source] der::Error),
    /// Well-formed, but against RFC 5280 or the limits of this crate.
    #[error("{0}")]
    Profile(&'static str),
    /// The public key is of no use.
    #[error("the public key is refused: {0}")]
    Key(#[from] KeyFault),
}

impl From<der::Error> for ParseFault {
    fn from(error: der::Error) -> Self {
        Self::Der(error)
    }
}

/// `TBSCertificate` (RFC 5280 section 4.1), in both directions.
#[derive(Sequence)]
pub(crate) struct Body<'a> {
    #[asn1(context_specific = "0", default = "Default::default")]
    pub(crate) version: Version,
    pub(crate) serial: AnyRef<'a>,
    pub(crate) signature: AnyRef<'a>,
    pub(crate) issuer: AnyRef<'a>,
    pub(crate) validity: Validity,
    pub(crate) subject: AnyRef<'a>,
    pub(crate) public_key: AnyRef<'a>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) issuer_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    pub(crate) subject_unique_id: Option<BitStringRef<'a>>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    pub(crate) extensions: Option<Vec<Extension>>,
}

/// Beginning and end of a certificate's life.
#[derive(Clone, Copy, Sequence)]
pub(crate) struct Validity {
    pub(crate) not_before: Time,
    pub(crate) not_after: Time,
}

/// The three parts of a signed object.
pub(crate) struct Signed<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let parts = reader.sequence(|r| {
            let body = r.tlv_bytes()?;
            let algorithm = r.tlv_bytes()?;
            let signature: BitStringRef<'a> = r.decode()?;
            let signature = signature
                .as_bytes()
                .ok_or_else(|| der::Error::from(der::ErrorKind::Failed))?;
            Ok::<_, der::Error>(Self {
                body,
                algorithm,
                signature,
            })
        })?;
        reader.finish()?;
        Ok(parts)
    }
}

/// A certificate that was read.
#[derive(Clone)]
pub struct Certificate {
    der: Box<[u8]>,
    body: Range<usize>,
    signature: Box<[u8]>,
    scheme: Option<SignatureScheme>,
    serial: Serial,
    issuer: Box<[u8]>,
    subject: Box<[u8]>,
    not_before: Timestamp,
    not_after: Timestamp,
    spki: Box<[u8]>,
    version3: bool,
    extensions: Vec<Extension>,
}

impl Certificate {
    /// Reads DER.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseFault> {
        if der.len() > MAX_OBJECT {
            return Err(ParseFault::TooLong { limit: MAX_OBJECT });
        }
        let signed = Signed::parse(der)?;
        let body = Body::from_der(signed.body)?;
        if body.signature.to_der()? != signed.algorithm {
            return Err(ParseFault::Profile("the two signature algorithms differ"));
        }
        // Defaults that were written out, for one.
        if body.to_der()? != signed.body {
            return Err(ParseFault::Profile("not in the one form that DER allows"));
        }
        let serial = Serial::from_der(body.serial)?;
        if body.extensions.as_ref().is_some_and(Vec::is_empty) {
            return Err(ParseFault::Profile("the list of extensions is empty"));
        }
        let extensions = body.extensions.unwrap_or_default();
        if repeats(&extensions) {
            return Err(ParseFault::Profile("an extension occurs twice"));
        }
        // Both names are decoded once, so that printing them cannot fail later.
        Name::from_der(&asn1::raw(body.issuer)?)?;
        Name::from_der(&asn1::raw(body.subject)?)?;
        let start = signed.body.as_ptr() as usize - der.as_ptr() as usize;
        Ok(Self {
            body: start..start + signed.body.len(),
            signature: signed.signature.into(),
            scheme: SignatureScheme::from_algorithm_identifier(signed.algorithm),
            serial,
            issuer: asn1::raw(body.issuer)?.into(),
            subject: asn1::raw(body.subject)?.into(),
            not_before: asn1::timestamp(body.validity.not_before),
            not_after: asn1::timestamp(body.validity.not_after),
            spki: asn1::raw(body.public_key)?.into(),
            version3: body.version == Version::V3,
            extensions,
            der: der.into(),
        })
    }

    /// Reads the first `CERTIFICATE` block of a PEM text.
    pub fn from_pem(text: &str) -> Result<Self, ParseFault> {
        let all = Self::all_from_pem(text)?;
        all.into_iter().next().ok_or(ParseFault::Pem {
            label: pem::CERTIFICATE,
        })
    }

    /// Reads each `CERTIFICATE` block of a PEM text; other blocks are passed over.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, ParseFault> {
        pem::blocks(text, pem::CERTIFICATE)?
            .iter()
            .map(|der| Self::from_der(der))
            .collect()
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `CERTIFICATE` PEM with a newline at its end.
    pub fn pem(&self) -> String {
        pem::encode(pem::CERTIFICATE, &self.der)
    }

    /// The serial number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The issuer's name in DER; compare names by these bytes.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The subject's name in DER.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The issuer's name for people (RFC 4514).
    pub fn issuer(&self) -> String {
        name_text(&self.issuer)
    }

    /// The subject's name for people (RFC 4514); empty if there is none.
    pub fn subject(&self) -> String {
        name_text(&self.subject)
    }

    /// The subject in Vault's fields.
    pub fn subject_fields(&self) -> Subject {
        Subject::from_der(&self.subject).unwrap_or_default()
    }

    /// The first second of validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The last second of validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The subject's key, checked for strength.
    pub fn public_key(&self) -> Result<PublicKey, KeyFault> {
        PublicKey::from_spki(&self.spki)
    }

    /// The subject's key in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// How it was signed; `None` for schemes that are not supported (SHA-1…).
    pub fn scheme(&self) -> Option<SignatureScheme> {
        self.scheme
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether the basic constraints say CA, with their path length.
    pub fn authority(&self) -> Option<Option<u8>> {
        let constraints = self.extension::<ext::BasicConstraints>()?;
        constraints.ca.then_some(constraints.path_len_constraint)
    }

    /// The key usages; `None` if the extension is absent, which allows all.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extension::<ext::KeyUsage>()
            .map(|usage| KeyUsage::from_extension(&usage))
    }

    /// The purposes; empty if the extension is absent, which allows all.
    pub fn purposes(&self) -> Vec<Purpose> {
        let usage = self.extension::<ext::ExtendedKeyUsage>();
        usage
            .map(|usage| usage.0.into_iter().map(Purpose::from).collect())
            .unwrap_or_default()
    }

    /// The alternative names of the kinds that [`AltName`] has.
    pub fn alternative_names(&self) -> Vec<AltName> {
        let names = self.extension::<ext::SubjectAltName>();
        names
            .iter()
            .flat_map(|n| n.0.iter())
            .filter_map(AltName::from_general_name)
            .collect()
    }

    /// The name constraints; empty if the extension is absent.
    ///
    /// # Errors
    ///
    /// [`ParseFault::Profile`] for constraints that cannot be judged here: of another kind than
    /// [`crate::Subtree`] has, or malformed.
    pub fn name_constraints(&self) -> Result<NameConstraints, ParseFault> {
        let is_there = self
            .extensions
            .iter()
            .any(|e| e.extn_id == ext::NameConstraints::OID);
        let found = self.extension::<ext::NameConstraints>();
        match found.as_ref().map(NameConstraints::from_extension) {
            None if !is_there => Ok(NameConstraints::default()),
            Some(Some(constraints)) => Ok(constraints),
            _ => Err(ParseFault::Profile(
                "name constraints of a kind that is not supported",
            )),
        }
    }

    /// The subject key identifier, if there is one.
    pub fn key_id(&self) -> Option<Vec<u8>> {
        self.extension::<ext::SubjectKeyIdentifier>()
            .map(|id| id.0.as_bytes().to_vec())
    }

    /// The authority's key identifier, if there is one.
    pub fn authority_key_id(&self) -> Option<Vec<u8>> {
        let id = self.extension::<ext::AuthorityKeyIdentifier>()?;
        id.key_identifier.map(|id| id.as_bytes().to_vec())
    }

    /// URIs of the CRL distribution points.
    pub fn crl_distribution_points(&self) -> Vec<String> {
        let points = self.extension::<ext::CrlDistributionPoints>();
        points
            .iter()
            .flat_map(|p| p.0.iter())
            .flat_map(crate::crl::point_uris)
            .collect()
    }

    /// Whether `key` made the signature.
    pub fn signed_by(&self, key: &PublicKey) -> bool {
        self.scheme.is_some_and(|scheme| {
            key.verify(scheme, &self.der[self.body.clone()], &self.signature)
                .is_ok()
        })
    }

    /// Whether it is of version 3; version 1 has no extensions.
    pub fn is_version3(&self) -> bool {
        self.version3
    }

    pub(crate) fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// An extension that is absent or does not decode is `None`: what must be there is for the
    /// caller to demand.
    pub(crate) fn extension<T: AssociatedOid + for<'a> Decode<'a>>(&self) -> Option<T> {
        find(&self.extensions, T::OID)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, serial {})", self.subject(), self.serial)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// The key identifier of a public key: SHA-1 over its bits (RFC 5280 section 4.2.1.2, method 1),
/// as Vault and everybody else takes it. It identifies; nothing relies on it for safety.
pub fn key_id(key: &PublicKey) -> [u8; 20] {
    zone_crypto::hash::sha1(key.key_bytes())
}

/// A DER name for people; `?` where it is none.
pub(crate) fn name_text(der: &[u8]) -> String {
    Name::from_der(der).map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

pub(crate) fn find<T: for<'a> Decode<'a>>(extensions: &[Extension], oid: Oid) -> Option<T> {
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == oid)?;
    T::from_der(found.extn_value.as_bytes()).ok()
}

pub(crate) fn repeats(extensions: &[Extension]) -> bool {
    extensions.iter().enumerate().any(|(i, e)| {
        extensions[..i]
            .iter()
            .any(|other| other.extn_id == e.extn_id)
    })
}
