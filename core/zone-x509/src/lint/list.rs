//! Rules about a revocation list.

use der::{Reader, SliceReader, Tag};
use x509_cert::ext::pkix as ext;
use x509_cert::name::Name;
use zone_crypto::sign::SignatureScheme;

use super::extensions::is_key_id_alone;
use super::pieces::{self, Extension, Instant};
use super::{Rule, names, rule};
use crate::{Oid, asn1};

const NUMBER: Oid = Oid::new_unwrap("2.5.29.20");
const REASON: Oid = Oid::new_unwrap("2.5.29.21");
const INVALIDITY_DATE: Oid = Oid::new_unwrap("2.5.29.24");
const ISSUING_POINT: Oid = Oid::new_unwrap("2.5.29.28");
const AUTHORITY_KEY_ID: Oid = Oid::new_unwrap("2.5.29.35");

/// A `TBSCertList` taken apart.
pub(super) struct List<'a> {
    version: Option<&'a [u8]>,
    algorithm: &'a [u8],
    issuer: &'a [u8],
    this_update: Instant<'a>,
    next_update: Option<Instant<'a>>,
    /// The content of `revokedCertificates`.
    revoked: Option<&'a [u8]>,
    extensions: Option<Vec<Extension<'a>>>,
    number: Option<&'a [u8]>,
    authority: Option<ext::AuthorityKeyIdentifier>,
    point: Option<ext::crl::IssuingDistributionPoint>,
    entries: Entries,
}

/// What holds of all entries, found in one pass.
struct Entries {
    serials: bool,
    unique: bool,
    dates: bool,
    extensions: bool,
    reasons: bool,
}

/// What decides a rule about lists.
pub(super) type Holds = fn(&List<'_>) -> bool;

pub(super) const RULES: &[Rule<Holds>] = &[
    rule(
        "crl-version-2",
        "RFC 5280 section 5.1.2.1",
        "the version is 2",
        |l| l.version == Some(&[1]),
    ),
    rule(
        "crl-signature-algorithm",
        "RFC 5280 section 5.1.2.2, RFC 4055, RFC 5758, RFC 8410",
        "the signature algorithm is SHA-2 with RSA, ECDSA, or Ed25519, in its one encoding",
        |l| SignatureScheme::from_algorithm_identifier(l.algorithm).is_some(),
    ),
    rule(
        "crl-issuer",
        "RFC 5280 section 5.1.2.3",
        "the issuer's name is not empty",
        |l| l.issuer != [0x30, 0],
    ),
    rule(
        "crl-next-update",
        "RFC 5280 section 5.1.2.5",
        "the list says when the next one comes",
        |l| l.next_update.is_some(),
    ),
    rule(
        "crl-times-form",
        "RFC 5280 sections 5.1.2.4 and 5.1.2.5",
        "both instants are in UTC with seconds, as UTCTime through 2049 and GeneralizedTime after",
        |l| l.this_update.has_form() && l.next_update.is_none_or(Instant::has_form),
    ),
    rule(
        "crl-times-order",
        "RFC 5280 section 5.1.2.5",
        "the next list comes after this one",
        |l| {
            let times = [Some(l.this_update), l.next_update].map(|t| t.and_then(Instant::time));
            let [this, next] = times.map(|time| time.map(asn1::timestamp));
            this < next
        },
    ),
    rule(
        "crl-entries-not-empty",
        "RFC 5280 section 5.1.2.6",
        "a list without entries has no field for them",
        |l| l.revoked.is_none_or(|content| !content.is_empty()),
    ),
    rule(
        "crl-entry-serial",
        "RFC 5280 sections 4.1.2.2 and 5.1.2.6",
        "each serial number is positive, with at most 20 octets",
        |l| l.entries.serials,
    ),
    rule(
        "crl-entry-unique",
        "RFC 5280 section 5.1.2.6",
        "no serial number occurs twice",
        |l| l.entries.unique,
    ),
    rule(
        "crl-entry-date",
        "RFC 5280 sections 5.1.2.4 and 5.1.2.6",
        "each date of revocation is in UTC with seconds, in the form of its year",
        |l| l.entries.dates,
    ),
    rule(
        "crl-entry-extensions",
        "RFC 5280 section 5.3",
        "an entry's extensions, if any, are a reason and an invalidity date, not critical",
        |l| l.entries.extensions,
    ),
    rule(
        "crl-entry-reason",
        "RFC 5280 section 5.3.1, BR section 7.2.2",
        "a reason is a real one: neither unspecified (0), nor a hold, nor a removal",
        |l| l.entries.reasons,
    ),
    rule(
        "crl-extensions-unique",
        "RFC 5280 section 5.2",
        "no extension occurs twice",
        |l| {
            let list = l.all();
            list.iter()
                .enumerate()
                .all(|(i, e)| list[..i].iter().all(|o| o.oid != e.oid))
        },
    ),
    rule(
        "crl-extensions-known",
        "RFC 5280 section 5.2",
        "each extension is one that this CA issues; deltas and indirect lists are not",
        |l| {
            let known = [NUMBER, AUTHORITY_KEY_ID, ISSUING_POINT];
            l.all()
                .iter()
                .all(|extension| known.contains(&extension.oid))
        },
    ),
    rule(
        "crl-number",
        "RFC 5280 section 5.2.3",
        "there is a list number of at most 20 octets, not negative, not critical",
        |l| {
            l.critical(NUMBER) == Some(false)
                && l.number
                    .is_some_and(|number| number[0] < 0x80 && number.len() <= 20)
        },
    ),
    rule(
        "crl-authority-key-id",
        "RFC 5280 section 5.2.1",
        "there is an authority key identifier, a key identifier alone, not critical",
        |l| {
            l.critical(AUTHORITY_KEY_ID) == Some(false)
                && l.authority.as_ref().is_some_and(is_key_id_alone)
        },
    ),
    rule(
        "crl-issuing-point-critical",
        "RFC 5280 section 5.2.5",
        "an issuing distribution point is critical",
        |l| l.critical(ISSUING_POINT) != Some(false),
    ),
    rule(
        "crl-issuing-point-scope",
        "RFC 5280 section 5.2.5, BR section 7.2.2.1",
        "an issuing distribution point names URIs; the list is neither indirect, nor for some \
         reasons, nor for attribute certificates, and not for both leaves alone and CAs alone",
        |l| l.point.as_ref().is_none_or(has_plain_scope),
    ),
];

fn has_plain_scope(point: &ext::crl::IssuingDistributionPoint) -> bool {
    names::is_full_name(point.distribution_point.as_ref())
        && !point.indirect_crl
        && point.only_some_reasons.is_none()
        && !point.only_contains_attribute_certs
        && !(point.only_contains_user_certs && point.only_contains_ca_certs)
}

impl<'a> List<'a> {
    /// `None` if the bytes are not the canonical DER of a `TBSCertList`.
    pub(super) fn read(tbs: &'a [u8]) -> Option<Self> {
        let mut parts = pieces::inside(tbs)?.into_iter().peekable();
        let is_minimal = |piece: &pieces::Piece<'_>| pieces::is_minimal(piece.value);
        let version = parts.next_if(|piece| piece.tag == Tag::Integer);
        let algorithm = parts.next().filter(|piece| piece.tag == Tag::Sequence)?;
        let issuer = parts.next()?;
        pieces::canonical::<Name>(issuer.tlv)?;
        let this_update = Instant::read(parts.next()?)?;
        let next_update = parts.next_if(|piece| Instant::read(*piece).is_some());
        let revoked = parts
            .next_if(|piece| piece.tag == Tag::Sequence)
            .map(|piece| piece.value);
        let extensions = match parts.next_if(|piece| piece.tag == pieces::context(0, true)) {
            Some(field) => Some(pieces::extensions(field.value)?),
            None => None,
        };
        if parts.next().is_some() || version.is_some_and(|version| !is_minimal(&version)) {
            return None;
        }
        let list = Self {
            version: version.map(|piece| piece.value),
            algorithm: algorithm.tlv,
            issuer: issuer.tlv,
            this_update,
            next_update: next_update.and_then(Instant::read),
            revoked,
            extensions,
            number: None,
            authority: None,
            point: None,
            entries: Entries::of(revoked.unwrap_or_default())?,
        };
        list.read_extensions()
    }

    fn read_extensions(mut self) -> Option<Self> {
        for extension in self.extensions.iter().flatten() {
            match extension.oid {
                NUMBER => {
                    let number = pieces::only(extension.value)?;
                    let is_right = number.tag == Tag::Integer && pieces::is_minimal(number.value);
                    self.number = Some(is_right.then_some(number.value)?);
                }
                AUTHORITY_KEY_ID => self.authority = Some(pieces::canonical(extension.value)?),
                ISSUING_POINT => self.point = Some(pieces::canonical(extension.value)?),
                _ => {
                    pieces::only(extension.value)?;
                }
            }
        }
        Some(self)
    }

    fn all(&self) -> &[Extension<'a>] {
        self.extensions.as_deref().unwrap_or_default()
    }

    fn critical(&self, oid: Oid) -> Option<bool> {
        self.all()
            .iter()
            .find(|extension| extension.oid == oid)
            .map(|e| e.is_critical)
    }
}

/// One revocation.
struct Entry<'a> {
    serial: &'a [u8],
    date: Instant<'a>,
    extensions: Option<Vec<Extension<'a>>>,
}

impl<'a> Entry<'a> {
    fn read(reader: &mut SliceReader<'a>) -> Option<Self> {
        let whole = pieces::next(reader).filter(|piece| piece.tag == Tag::Sequence)?;
        let mut inner = SliceReader::new(whole.value).ok()?;
        let serial = pieces::next(&mut inner)
            .filter(|piece| piece.tag == Tag::Integer && pieces::is_minimal(piece.value))?;
        let date = Instant::read(pieces::next(&mut inner)?)?;
        let extensions = if inner.is_finished() {
            None
        } else {
            Some(pieces::extensions(pieces::next(&mut inner)?.tlv)?)
        };
        inner.is_finished().then_some(Self {
            serial: serial.value,
            date,
            extensions,
        })
    }

    fn extensions_are_known(&self) -> bool {
        let Some(list) = &self.extensions else {
            return true;
        };
        let known = |extension: &Extension<'_>| {
            !extension.is_critical
                && match extension.oid {
                    REASON => pieces::canonical::<ext::CrlReason>(extension.value).is_some(),
                    INVALIDITY_DATE => pieces::only(extension.value)
                        .is_some_and(|piece| piece.tag == Tag::GeneralizedTime),
                    _ => false,
                }
        };
        let twice = matches!(list[..], [first, second] if first.oid == second.oid);
        (1..=2).contains(&list.len()) && !twice && list.iter().all(known)
    }

    fn reason_is_real(&self) -> bool {
        use ext::CrlReason::{CertificateHold, RemoveFromCRL, Unspecified};
        let mut reasons = self.extensions.iter().flatten().filter(|e| e.oid == REASON);
        reasons.all(|extension| {
            let reason = pieces::canonical(extension.value);
            !matches!(reason, Some(Unspecified | CertificateHold | RemoveFromCRL))
        })
    }
}

impl Entries {
    /// `None` if an entry cannot be read.
    fn of(content: &[u8]) -> Option<Self> {
        let mut all = Self {
            serials: true,
            unique: true,
            dates: true,
            extensions: true,
            reasons: true,
        };
        let mut serials: Vec<&[u8]> = Vec::new();
        let mut reader = SliceReader::new(content).ok()?;
        while !reader.is_finished() {
            let entry = Entry::read(&mut reader)?;
            all.serials &=
                entry.serial[0] < 0x80 && entry.serial != [0] && entry.serial.len() <= 20;
            all.dates &= entry.date.has_form();
            all.extensions &= entry.extensions_are_known();
            all.reasons &= entry.reason_is_real();
            serials.push(entry.serial);
        }
        serials.sort_unstable();
        all.unique = serials.windows(2).all(|pair| pair[0] != pair[1]);
        Some(all)
    }
}
