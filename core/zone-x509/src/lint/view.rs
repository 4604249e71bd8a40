//! A `TBSCertificate` taken apart for the rules: each field as it stands.

use der::Tag;
use x509_cert::ext::pkix as ext;
use x509_cert::name::Name;

use super::Profile;
use super::pieces::{self, Extension, Instant, Piece};
use crate::usage::KeyUsage;
use crate::{AltName, Oid};

/// What the rules look at.
pub(super) struct View<'a> {
    pub(super) profile: Profile<'a>,
    /// The content of the version; `None` for the default, which is 1.
    pub(super) version: Option<&'a [u8]>,
    /// The content of the serial.
    pub(super) serial: &'a [u8],
    /// The whole `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    /// The whole name of the issuer. It is not decoded: a rule compares it with the subject that
    /// it must be, which was.
    pub(super) issuer: &'a [u8],
    pub(super) not_before: Instant<'a>,
    pub(super) not_after: Instant<'a>,
    /// The whole name of the subject, and read.
    pub(super) subject: &'a [u8],
    pub(super) name: Name,
    /// The whole `SubjectPublicKeyInfo`.
    pub(super) spki: &'a [u8],
    pub(super) has_unique_id: bool,
    /// The extensions as they stand; `None` if there is no such field.
    pub(super) extensions: Option<Vec<Extension<'a>>>,
    pub(super) known: Known,
}

/// What decides a rule about certificates.
pub(super) type Holds = fn(&View<'_>) -> bool;

/// The extensions of a certificate that the profile knows, read. `None` if absent.
#[derive(Default)]
pub(super) struct Known {
    pub(super) constraints: Option<ext::BasicConstraints>,
    pub(super) usage: Option<KeyUsage>,
    pub(super) purposes: Option<Vec<Oid>>,
    pub(super) key_id: Option<Vec<u8>>,
    pub(super) authority: Option<ext::AuthorityKeyIdentifier>,
    /// `None` in the list for names of kinds that are not issued.
    pub(super) names: Option<Vec<Option<AltName>>>,
    pub(super) subtrees: Option<ext::NameConstraints>,
    pub(super) policies: Option<ext::CertificatePolicies>,
    pub(super) points: Option<ext::CrlDistributionPoints>,
    pub(super) access: Option<ext::AuthorityInfoAccessSyntax>,
}

/// Object identifiers of the extensions in [`Known`].
pub(super) mod oid {
    use crate::Oid;

    pub(crate) const KEY_ID: Oid = Oid::new_unwrap("2.5.29.14");
    pub(crate) const KEY_USAGE: Oid = Oid::new_unwrap("2.5.29.15");
    pub(crate) const NAMES: Oid = Oid::new_unwrap("2.5.29.17");
    pub(crate) const BASIC_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.19");
    pub(crate) const NAME_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.30");
    pub(crate) const POINTS: Oid = Oid::new_unwrap("2.5.29.31");
    pub(crate) const POLICIES: Oid = Oid::new_unwrap("2.5.29.32");
    pub(crate) const AUTHORITY_KEY_ID: Oid = Oid::new_unwrap("2.5.29.35");
    pub(crate) const PURPOSES: Oid = Oid::new_unwrap("2.5.29.37");
    pub(crate) const AUTHORITY_ACCESS: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.1.1");
}

impl<'a> View<'a> {
    /// `None` if the bytes are not the canonical DER of a `TBSCertificate`.
    pub(super) fn read(tbs: &'a [u8], profile: Profile<'a>) -> Option<Self> {
        let mut parts = pieces::inside(tbs)?.into_iter().peekable();
        let version = match parts.next_if(|piece| piece.tag == pieces::context(0, true)) {
            Some(version) => Some(integer(pieces::only(version.value)?)?),
            None => None,
        };
        let serial = integer(parts.next()?)?;
        let mut sequence = || parts.next().filter(|piece| piece.tag == Tag::Sequence);
        let [algorithm, issuer, validity, subject, spki] = [
            sequence()?,
            sequence()?,
            sequence()?,
            sequence()?,
            sequence()?,
        ];
        let [not_before, not_after] = pieces::all(validity.value)?[..] else {
            return None;
        };
        let mut has_unique_id = false;
        for number in [1, 2] {
            has_unique_id |= parts
                .next_if(|piece| piece.tag == pieces::context(number, false))
                .is_some();
        }
        let extensions = match parts.next_if(|piece| piece.tag == pieces::context(3, true)) {
            Some(field) => Some(pieces::extensions(field.value)?),
            None => None,
        };
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            profile,
            version,
            serial,
            algorithm: algorithm.tlv,
            issuer: issuer.tlv,
            not_before: Instant::read(not_before)?,
            not_after: Instant::read(not_after)?,
            subject: subject.tlv,
            name: pieces::canonical(subject.tlv)?,
            spki: spki.tlv,
            has_unique_id,
            known: Known::read(extensions.as_deref().unwrap_or_default())?,
            extensions,
        })
    }

    /// The extensions, if there are any.
    pub(super) fn all(&self) -> &[Extension<'a>] {
        self.extensions.as_deref().unwrap_or_default()
    }

    /// Whether the extension is critical; `None` if it is absent.
    pub(super) fn critical(&self, oid: Oid) -> Option<bool> {
        self.all()
            .iter()
            .find(|extension| extension.oid == oid)
            .map(|e| e.is_critical)
    }

    /// The alternative names of kinds that are issued.
    pub(super) fn alternative_names(&self) -> impl Iterator<Item = &AltName> {
        self.known.names.iter().flatten().flatten()
    }

    /// Whether the basic constraints say CA.
    pub(super) fn says_ca(&self) -> bool {
        self.known
            .constraints
            .as_ref()
            .is_some_and(|constraints| constraints.ca)
    }
}

impl Known {
    fn read(extensions: &[Extension<'_>]) -> Option<Self> {
        let mut known = Self::default();
        for Extension { oid, value, .. } in extensions {
            match *oid {
                oid::BASIC_CONSTRAINTS => known.constraints = Some(pieces::canonical(value)?),
                oid::KEY_USAGE => {
                    let usage: ext::KeyUsage = pieces::canonical(value)?;
                    known.usage = Some(KeyUsage::from_extension(&usage));
                }
                oid::PURPOSES => {
                    known.purposes = Some(pieces::canonical::<ext::ExtendedKeyUsage>(value)?.0);
                }
                oid::KEY_ID => {
                    let id: ext::SubjectKeyIdentifier = pieces::canonical(value)?;
                    known.key_id = Some(id.0.as_bytes().to_vec());
                }
                oid::AUTHORITY_KEY_ID => known.authority = Some(pieces::canonical(value)?),
                oid::NAMES => {
                    let names: ext::SubjectAltName = pieces::canonical(value)?;
                    known.names = Some(names.0.iter().map(AltName::from_general_name).collect());
                }
                oid::NAME_CONSTRAINTS => known.subtrees = Some(pieces::canonical(value)?),
                oid::POLICIES => known.policies = Some(pieces::canonical(value)?),
                oid::POINTS => known.points = Some(pieces::canonical(value)?),
                oid::AUTHORITY_ACCESS => known.access = Some(pieces::canonical(value)?),
                _ => {
                    pieces::only(value)?;
                }
            }
        }
        Some(known)
    }
}

/// The content of an `INTEGER`.
fn integer(piece: Piece<'_>) -> Option<&[u8]> {
    (piece.tag == Tag::Integer && pieces::is_minimal(piece.value)).then_some(piece.value)
}
