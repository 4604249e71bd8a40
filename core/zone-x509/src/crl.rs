//! Certificate revocation lists (RFC 5280 section 5), read and made.
//!
//! What holds of a [`Crl`] that was read: canonical DER, version 2, all reasons, no delta, not
//! indirect, no critical extension that is not understood, each serial once or more (the first
//! counts). The signature is not checked: see [`Crl::signed_by`].

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT;
use der::asn1::{AnyRef, OctetString};
use der::{Decode, Encode, Sequence, Tag};
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix as ext;
use x509_cert::ext::pkix::crl::dp::{DistributionPoint, IssuingDistributionPoint};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::name::Name;
use x509_cert::time::Time;
use zone_crypto::sign::{PrivateKey, PublicKey, SignatureScheme};
use zone_types::Timestamp;

use crate::build::{self, BuildFault};
use crate::certificate::{ParseFault, Signed, find, name_text, repeats};
use crate::usage::KeyUsage;
use crate::{Certificate, Serial, asn1, lint, pem};

/// Longest list that is read, in octets: about 1.5 million entries.
pub const MAX_CRL: usize = 64 * 1024 * 1024;

/// `TBSCertList` (RFC 5280 section 5.1), to be read. The entries are decoded one by one.
#[derive(Sequence)]
struct Body<'a> {
    version: Version,
    signature: AnyRef<'a>,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Option<Time>,
    revoked: Option<Vec<Entry<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Vec<Extension>>,
}

/// One of `revokedCertificates`, in both directions.
#[derive(Sequence)]
struct Entry<'a> {
    serial: AnyRef<'a>,
    at: Time,
    extensions: Option<Vec<Extension>>,
}

/// A revoked certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlEntry {
    /// Its serial.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// The reason's code (RFC 5280 section 5.3.1); `None` if none is given.
    pub reason: Option<u32>,
}

/// A list that was read.
#[derive(Clone)]
pub struct Crl {
    der: Box<[u8]>,
    body: Range<usize>,
    signature: Box<[u8]>,
    scheme: Option<SignatureScheme>,
    issuer: Box<[u8]>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    entries: Vec<CrlEntry>,
    by_serial: HashMap<Serial, usize>,
    number: Option<Box<[u8]>>,
    authority_key_id: Option<Vec<u8>>,
    scope: Scope,
}

/// What the issuing distribution point says that the list covers.
#[derive(Clone, Debug, Default)]
struct Scope {
    uris: Vec<String>,
    only_users: bool,
    only_authorities: bool,
}

impl Crl {
    /// Reads DER.
    pub fn from_der(der: &[u8]) -> Result<Self, ParseFault> {
        if der.len() > MAX_CRL {
            return Err(ParseFault::TooLong { limit: MAX_CRL });
        }
        let signed = Signed::parse(der)?;
        let body = Body::from_der(signed.body)?;
        if body.version != Version::V2 {
            return Err(ParseFault::Profile("the list is not of version 2"));
        }
        if body.signature.to_der()? != signed.algorithm {
            return Err(ParseFault::Profile("the two signature algorithms differ"));
        }
        let issuer = asn1::raw(body.issuer)?;
        Name::from_der(&issuer)?;
        let extensions = body.extensions.unwrap_or_default();
        let scope = scope(&extensions)?;
        let entries = read_entries(&body.revoked.unwrap_or_default())?;
        let mut by_serial = HashMap::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            by_serial.entry(entry.serial.clone()).or_insert(i);
        }
        let number: Option<ext::CrlNumber> = find(&extensions, ext::CrlNumber::OID);
        let authority: Option<ext::AuthorityKeyIdentifier> =
            find(&extensions, ext::AuthorityKeyIdentifier::OID);
        let start = signed.body.as_ptr() as usize - der.as_ptr() as usize;
        Ok(Self {
            body: start..start + signed.body.len(),
            signature: signed.signature.into(),
            scheme: SignatureScheme::from_algorithm_identifier(signed.algorithm),
            issuer: issuer.into(),
            this_update: asn1::timestamp(body.this_update),
            next_update: body.next_update.map(asn1::timestamp),
            entries,
            by_serial,
            number: number.map(|number| number.0.as_bytes().into()),
            authority_key_id: authority
                .and_then(|id| id.key_identifier)
                .map(|id| id.as_bytes().to_vec()),
            scope,
            der: der.into(),
        })
    }

    /// Reads each `X509 CRL` block of a PEM text; other blocks are passed over.
    pub fn all_from_pem(text: &str) -> Result<Vec<Self>, ParseFault> {
        let blocks = pem::blocks_within(text, pem::CRL, MAX_CRL)?;
        blocks.iter().map(|der| Self::from_der(der)).collect()
    }

    /// The whole list.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The issuer's name in DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// The issuer's name for people (RFC 4514).
    pub fn issuer(&self) -> String {
        name_text(&self.issuer)
    }

    /// When it was made.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// When the next one will be there at the latest.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// The list's number, big-endian.
    pub fn number(&self) -> Option<&[u8]> {
        self.number.as_deref()
    }

    /// The key identifier of who signed it, if it says.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.authority_key_id.as_deref()
    }

    /// How it was signed; `None` for schemes that are not supported (SHA-1…).
    pub fn scheme(&self) -> Option<SignatureScheme> {
        self.scheme
    }

    /// The revoked certificates.
    pub fn entries(&self) -> &[CrlEntry] {
        &self.entries
    }

    /// The entry of a serial.
    pub fn entry(&self, serial: &Serial) -> Option<&CrlEntry> {
        self.by_serial.get(serial).map(|at| &self.entries[*at])
    }

    /// URIs of the issuing distribution point; empty for a complete list.
    pub fn distribution_points(&self) -> Vec<String> {
        self.scope.uris.clone()
    }

    /// Whether the list would name `certificate` if it were revoked: same issuer, right kind, and
    /// for a partial list a common distribution point (RFC 5280 section 6.3.3 b).
    pub fn covers(&self, certificate: &Certificate) -> bool {
        let points = || certificate.crl_distribution_points();
        let is_authority = certificate.authority().is_some();
        *self.issuer == *certificate.issuer_der()
            && !(self.scope.only_users && is_authority)
            && (!self.scope.only_authorities || is_authority)
            && (self.scope.uris.is_empty() || points().iter().any(|p| self.scope.uris.contains(p)))
    }

    /// Whether `key` made the signature.
    pub fn signed_by(&self, key: &PublicKey) -> bool {
        self.scheme.is_some_and(|scheme| {
            key.verify(scheme, &self.der[self.body.clone()], &self.signature)
                .is_ok()
        })
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({}, {} entries)", self.issuer(), self.entries.len())
    }
}

fn read_entries(revoked: &[Entry<'_>]) -> Result<Vec<CrlEntry>, ParseFault> {
    let read = |entry: &Entry<'_>| {
        let extensions = entry.extensions.as_deref().unwrap_or_default();
        // An unknown critical entry extension (certificateIssuer…) changes what the entry means.
        if repeats(extensions) || extensions.iter().any(|extension| extension.critical) {
            return Err(ParseFault::Profile(
                "an entry has a critical or repeated extension",
            ));
        }
        let reason: Option<ext::CrlReason> = find(extensions, ext::CrlReason::OID);
        Ok(CrlEntry {
            serial: Serial::from_der(entry.serial)?,
            at: asn1::timestamp(entry.at),
            reason: reason.map(|reason| reason as u32),
        })
    };
    revoked.iter().map(read).collect()
}

fn scope(extensions: &[Extension]) -> Result<Scope, ParseFault> {
    if repeats(extensions) {
        return Err(ParseFault::Profile("an extension occurs twice"));
    }
    if extensions
        .iter()
        .any(|e| e.critical && e.extn_id != ID_CE_ISSUING_DISTRIBUTION_POINT)
    {
        return Err(ParseFault::Profile(
            "a critical extension is not understood",
        ));
    }
    let is_there = extensions
        .iter()
        .any(|e| e.extn_id == ID_CE_ISSUING_DISTRIBUTION_POINT);
    if !is_there {
        return Ok(Scope::default());
    }
    let found: Option<IssuingDistributionPoint> =
        find(extensions, ID_CE_ISSUING_DISTRIBUTION_POINT);
    let found = found.ok_or(ParseFault::Profile("its distribution point is malformed"))?;
    let partial = found.only_some_reasons.is_some() || found.only_contains_attribute_certs;
    if found.indirect_crl || partial {
        return Err(ParseFault::Profile(
            "indirect lists and lists of some reasons are not read",
        ));
    }
    let uris = found.distribution_point.as_ref().map(uris_of);
    if uris.as_ref().is_some_and(Vec::is_empty) {
        return Err(ParseFault::Profile("its distribution point has no URI"));
    }
    Ok(Scope {
        uris: uris.unwrap_or_default(),
        only_users: found.only_contains_user_certs,
        only_authorities: found.only_contains_ca_certs,
    })
}

/// The URIs of a distribution point's full name.
pub(crate) fn point_uris(point: &DistributionPoint) -> Vec<String> {
    point
        .distribution_point
        .as_ref()
        .map(uris_of)
        .unwrap_or_default()
}

fn uris_of(name: &DistributionPointName) -> Vec<String> {
    let DistributionPointName::FullName(names) = name else {
        return Vec::new();
    };
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    names.iter().filter_map(uri).collect()
}

/// What a list will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlPlan {
    /// The list's number, above that of every earlier one.
    pub number: u64,
    /// When it is made.
    pub this_update: Timestamp,
    /// When the next one will be there at the latest.
    pub next_update: Timestamp,
    /// The distribution points that a partial list covers; empty for a complete one.
    pub points: Vec<String>,
    /// Serials with the time of their revocation.
    pub revoked: Vec<(Serial, Timestamp)>,
}

impl CrlPlan {
    /// The list, signed by `key`, which must be the key of `issuer`.
    ///
    /// # Errors
    ///
    /// [`BuildFault::Plan`] if `issuer` may not sign lists.
    pub fn sign(
        &self,
        issuer: &Certificate,
        key: &PrivateKey,
        scheme: SignatureScheme,
    ) -> Result<Vec<u8>, BuildFault> {
        build::check_issuer(issuer, key, KeyUsage::CRL_SIGN)?;
        if self.next_update <= self.this_update {
            return Err(BuildFault::Plan("the list would end before it begins"));
        }
        let body = self.body(issuer, key, scheme)?;
        lint::check_crl(&body)?;
        build::sign_body(&body, key, scheme)
    }

    /// The DER `TBSCertList`, its entries written in one pass.
    fn body(
        &self,
        issuer: &Certificate,
        key: &PrivateKey,
        scheme: SignatureScheme,
    ) -> Result<Vec<u8>, BuildFault> {
        let entries = self.entries()?;
        // RFC 5280 section 5.1.2.6: the list of nothing is absent, not empty.
        let entries = if entries.is_empty() {
            entries
        } else {
            asn1::wrap(asn1::SEQUENCE, &[&entries])
        };
        let extensions = self.extensions(issuer, key)?.to_der()?;
        let parts: [&[u8]; 7] = [
            &Version::V2.to_der()?,
            scheme.algorithm_identifier(),
            issuer.subject_der(),
            &asn1::time_or_fault(self.this_update)?.to_der()?,
            &asn1::time_or_fault(self.next_update)?.to_der()?,
            &entries,
            &asn1::wrap(asn1::EXPLICIT_0, &[&extensions]),
        ];
        Ok(asn1::wrap(asn1::SEQUENCE, &parts))
    }

    fn entries(&self) -> Result<Vec<u8>, BuildFault> {
        let mut out = Vec::with_capacity(self.revoked.len() * 40);
        for (serial, at) in &self.revoked {
            let serial = serial.der_content();
            let entry = Entry {
                serial: AnyRef::new(Tag::Integer, &serial)?,
                at: asn1::time_or_fault(*at)?,
                extensions: None,
            };
            entry.encode_to_vec(&mut out)?;
        }
        Ok(out)
    }

    fn extensions(&self, issuer: &Certificate, key: &PrivateKey) -> der::Result<Vec<Extension>> {
        let number = ext::CrlNumber::try_from(self.number)?;
        let mut list = vec![
            build::authority_key_id(&build::issuer_key_id(issuer, key))?,
            build::extension(false, &number)?,
        ];
        if !self.points.is_empty() {
            let uris = self.points.iter().map(|url| build::uri(url));
            let names = uris.collect::<der::Result<_>>()?;
            let point = IssuingDistributionPoint {
                distribution_point: Some(DistributionPointName::FullName(names)),
                only_contains_user_certs: false,
                only_contains_ca_certs: false,
                only_some_reasons: None,
                indirect_crl: false,
                only_contains_attribute_certs: false,
            };
            list.push(Extension {
                extn_id: ID_CE_ISSUING_DISTRIBUTION_POINT,
                critical: true,
                extn_value: OctetString::new(point.to_der()?)?,
            });
        }
        Ok(list)
    }
}

/// A DER list as `X509 CRL` PEM.
pub fn crl_pem(der: &[u8]) -> String {
    pem::encode(pem::CRL, der)
}
