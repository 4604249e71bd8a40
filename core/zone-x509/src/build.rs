//! Making certificates: from a plan to signed DER (RFC 5280 section 4).
//!
//! What holds: the key that signs is the one in the issuer's certificate, the issuer is a CA, and
//! no certificate ends after its issuer (C1). The bytes that are signed are the bytes that were
//! linted.

use const_oid::AssociatedOid;
use const_oid::db::rfc5280::{ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_KP_TIME_STAMPING};
use der::asn1::{AnyRef, Ia5String, OctetString};
use der::{Decode, Encode, Tag};
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix as ext;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use zone_crypto::sign::{KeyFault, PrivateKey, PublicKey, SignatureScheme};
use zone_types::Timestamp;

use crate::certificate::{Body, Validity, key_id};
use crate::constraints::NameConstraints;
use crate::lint::{self, LintFault, Profile};
use crate::names::{AltName, Subject};
use crate::usage::{KeyUsage, Purpose};
use crate::{Certificate, Oid, Serial, asn1};

/// Why a certificate or list was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildFault {
    /// The plan contradicts itself, its issuer, or RFC 5280.
    #[error("{0}")]
    Plan(&'static str),
    /// A value of the plan has no encoding: a text that is not ASCII, an instant before 1970…
    #[error("a field cannot be encoded")]
    Der(#[source] der::Error),
    /// The to-be-signed bytes break a rule of the fixed profile.
    #[error("{0}")]
    Lint(#[from] LintFault),
    /// The key does not sign.
    #[error("signing failed: {0}")]
    Key(#[from] KeyFault),
}

impl From<der::Error> for BuildFault {
    fn from(error: der::Error) -> Self {
        Self::Der(error)
    }
}

/// What a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An end entity.
    Leaf {
        /// Whether basic constraints stand in it to say that it is no CA.
        says_so: bool,
    },
    /// A CA.
    Authority {
        /// How many CAs may stand between it and a leaf; `None` for any number.
        path_length: Option<u8>,
        /// Which names may be certified below it.
        constraints: NameConstraints,
    },
}

/// What a certificate will say. Key identifiers and the issuer's name are not planned: they follow
/// from the keys and the issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePlan {
    /// Leaf or CA.
    pub kind: Kind,
    /// The serial number.
    pub serial: Serial,
    /// The subject; if it is empty the alternative names are critical.
    pub subject: Subject,
    /// The alternative names.
    pub names: Vec<AltName>,
    /// The first second of validity.
    pub not_before: Timestamp,
    /// The last second of validity.
    pub not_after: Timestamp,
    /// The key usages; none leaves the extension out.
    pub usage: KeyUsage,
    /// The purposes; none leaves the extension out.
    pub purposes: Vec<Purpose>,
    /// Certificate policies.
    pub policies: Vec<Oid>,
    /// Where the issuer's certificate can be fetched (AIA `caIssuers`).
    pub issuer_urls: Vec<String>,
    /// Where an OCSP responder answers (AIA `ocsp`).
    pub ocsp_urls: Vec<String>,
    /// CRL distribution points, one for each URI.
    pub crl_points: Vec<String>,
}

impl CertificatePlan {
    /// A certificate for `holder`, signed by `key`, which must be the key of `issuer`.
    ///
    /// # Errors
    ///
    /// [`BuildFault::Plan`] if `issuer` cannot have issued this.
    pub fn sign(
        &self,
        holder: &PublicKey,
        issuer: &Certificate,
        key: &PrivateKey,
        scheme: SignatureScheme,
    ) -> Result<Vec<u8>, BuildFault> {
        check_issuer(issuer, key, KeyUsage::CERT_SIGN)?;
        let Some(path_length) = issuer.authority() else {
            return Err(BuildFault::Plan("the issuer is not a CA"));
        };
        if matches!(self.kind, Kind::Authority { .. }) && path_length == Some(0) {
            return Err(BuildFault::Plan(
                "the issuer's path length allows no CA below it",
            ));
        }
        if self.not_after > issuer.not_after() {
            return Err(BuildFault::Plan("it would end after its issuer"));
        }
        let by = Signer {
            name: issuer.subject_der(),
            key_id: &issuer_key_id(issuer, key),
        };
        let profile = match self.kind {
            Kind::Leaf { .. } => Profile::Leaf(issuer),
            Kind::Authority { .. } => Profile::Authority(issuer),
        };
        let body = self.body(holder, &by, scheme)?;
        lint::check_certificate(&body, profile)?;
        sign_body(&body, key, scheme)
    }

    /// A certificate for `key`, signed by itself: a root.
    pub fn self_sign(
        &self,
        key: &PrivateKey,
        scheme: SignatureScheme,
    ) -> Result<Vec<u8>, BuildFault> {
        let holder = key.public_key();
        let by = Signer {
            name: &self.subject.to_der()?,
            key_id: &key_id(holder),
        };
        let body = self.body(holder, &by, scheme)?;
        lint::check_certificate(&body, Profile::Root)?;
        sign_body(&body, key, scheme)
    }

    /// The DER `TBSCertificate`.
    fn body(
        &self,
        holder: &PublicKey,
        by: &Signer<'_>,
        scheme: SignatureScheme,
    ) -> Result<Vec<u8>, BuildFault> {
        self.check()?;
        let serial = self.serial.der_content();
        let subject = self.subject.to_der()?;
        let body = Body {
            version: Version::V3,
            serial: AnyRef::new(Tag::Integer, &serial)?,
            signature: AnyRef::from_der(scheme.algorithm_identifier())?,
            issuer: AnyRef::from_der(by.name)?,
            validity: Validity {
                not_before: asn1::time_or_fault(self.not_before)?,
                not_after: asn1::time_or_fault(self.not_after)?,
            },
            subject: AnyRef::from_der(&subject)?,
            public_key: AnyRef::from_der(holder.spki_der())?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions(holder, by)?),
        };
        Ok(body.to_der()?)
    }

    fn check(&self) -> Result<(), BuildFault> {
        if self.not_after < self.not_before {
            return Err(BuildFault::Plan("it would end before it begins"));
        }
        let signs = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
        match &self.kind {
            Kind::Leaf { .. } if self.subject.is_empty() && self.names.is_empty() => Err(
                BuildFault::Plan("it has neither a subject nor an alternative name"),
            ),
            Kind::Leaf { .. } if self.usage.intersects(signs) => Err(BuildFault::Plan(
                "a leaf cannot sign certificates or revocation lists",
            )),
            Kind::Authority { .. } if self.subject.is_empty() => {
                Err(BuildFault::Plan("a CA needs a subject"))
            }
            Kind::Authority { .. } if !self.usage.contains(KeyUsage::CERT_SIGN) => {
                Err(BuildFault::Plan("a CA needs the key usage CertSign"))
            }
            _ => Ok(()),
        }
    }

    /// In the order in which Go writes them.
    fn extensions(&self, holder: &PublicKey, by: &Signer<'_>) -> der::Result<Vec<Extension>> {
        let mut list = Vec::with_capacity(10);
        if !self.usage.is_empty() {
            list.push(extension(true, &self.usage.to_extension())?);
        }
        if !self.purposes.is_empty() {
            let oids: Vec<Oid> = self.purposes.iter().map(|purpose| purpose.oid()).collect();
            // RFC 3161 section 2.3: critical in the certificate of a time stamping authority.
            let critical = oids == [ID_KP_TIME_STAMPING];
            list.push(extension(critical, &ext::ExtendedKeyUsage(oids))?);
        }
        self.push_constraints(&mut list)?;
        let own = OctetString::new(key_id(holder))?;
        list.push(extension(false, &ext::SubjectKeyIdentifier(own))?);
        list.push(authority_key_id(by.key_id)?);
        self.push_access(&mut list)?;
        if !self.names.is_empty() {
            let names = self.names.iter().map(AltName::to_general_name);
            let names = ext::SubjectAltName(names.collect::<der::Result<_>>()?);
            list.push(extension(self.subject.is_empty(), &names)?);
        }
        if !self.policies.is_empty() {
            let policies = self.policies.iter().map(|oid| PolicyInformation {
                policy_identifier: *oid,
                policy_qualifiers: None,
            });
            list.push(extension(
                false,
                &ext::CertificatePolicies(policies.collect()),
            )?);
        }
        if !self.crl_points.is_empty() {
            let points = self.crl_points.iter().map(|url| point(url));
            let points = ext::CrlDistributionPoints(points.collect::<der::Result<_>>()?);
            list.push(extension(false, &points)?);
        }
        Ok(list)
    }

    fn push_constraints(&self, list: &mut Vec<Extension>) -> der::Result<()> {
        match &self.kind {
            Kind::Leaf { says_so: false } => {}
            Kind::Leaf { says_so: true } => {
                let basic = ext::BasicConstraints {
                    ca: false,
                    path_len_constraint: None,
                };
                list.push(extension(true, &basic)?);
            }
            Kind::Authority {
                path_length,
                constraints,
            } => {
                let basic = ext::BasicConstraints {
                    ca: true,
                    path_len_constraint: *path_length,
                };
                list.push(extension(true, &basic)?);
                if !constraints.is_empty() {
                    list.push(extension(true, &constraints.to_extension()?)?);
                }
            }
        }
        Ok(())
    }

    fn push_access(&self, list: &mut Vec<Extension>) -> der::Result<()> {
        let ocsp = self.ocsp_urls.iter().map(|url| (ID_AD_OCSP, url));
        let issuers = self.issuer_urls.iter().map(|url| (ID_AD_CA_ISSUERS, url));
        let mut access = Vec::new();
        for (access_method, url) in ocsp.chain(issuers) {
            access.push(ext::AccessDescription {
                access_method,
                access_location: uri(url)?,
            });
        }
        if !access.is_empty() {
            list.push(extension(false, &ext::AuthorityInfoAccessSyntax(access))?);
        }
        Ok(())
    }
}

/// Who signs: the issuer's DER name and key identifier.
struct Signer<'a> {
    name: &'a [u8],
    key_id: &'a [u8],
}

/// `body`, which was linted, with the signature of `key`.
pub(crate) fn sign_body(
    body: &[u8],
    key: &PrivateKey,
    scheme: SignatureScheme,
) -> Result<Vec<u8>, BuildFault> {
    let signature = key.sign(scheme, body)?;
    Ok(asn1::signed(
        body,
        scheme.algorithm_identifier(),
        &signature,
    ))
}

/// Refuses a key that is not the one in `issuer`, and an issuer whose usages lack `usage`.
pub(crate) fn check_issuer(
    issuer: &Certificate,
    key: &PrivateKey,
    usage: KeyUsage,
) -> Result<(), BuildFault> {
    if key.public_key_spki_der() != issuer.spki_der() {
        return Err(BuildFault::Plan("the key is not that of the issuer"));
    }
    if issuer.key_usage().is_some_and(|own| !own.contains(usage)) {
        return Err(BuildFault::Plan(
            "the issuer's key usage does not allow this signature",
        ));
    }
    Ok(())
}

/// The identifier that the issuer's own certificate gives its key, else the usual one.
pub(crate) fn issuer_key_id(issuer: &Certificate, key: &PrivateKey) -> Vec<u8> {
    issuer
        .key_id()
        .unwrap_or_else(|| key_id(key.public_key()).to_vec())
}

pub(crate) fn extension<T: AssociatedOid + Encode>(
    critical: bool,
    value: &T,
) -> der::Result<Extension> {
    let extn_value = OctetString::new(value.to_der()?)?;
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value,
    })
}

pub(crate) fn authority_key_id(key_id: &[u8]) -> der::Result<Extension> {
    let id = ext::AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(key_id)?),
        ..ext::AuthorityKeyIdentifier::default()
    };
    extension(false, &id)
}

pub(crate) fn uri(text: &str) -> der::Result<GeneralName> {
    Ok(GeneralName::UniformResourceIdentifier(Ia5String::new(
        text,
    )?))
}

fn point(url: &str) -> der::Result<DistributionPoint> {
    let name = DistributionPointName::FullName(vec![uri(url)?]);
    Ok(DistributionPoint {
        distribution_point: Some(name),
        reasons: None,
        crl_issuer: None,
    })
}
