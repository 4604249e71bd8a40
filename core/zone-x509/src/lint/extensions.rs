//! Rules about the extensions of a certificate.

use x509_cert::ext::pkix as ext;

use super::certificate::{KeyKind, key_kind};
use super::view::{Holds, View, oid};
use super::{Profile, Rule, names, rule};
use crate::{KeyUsage, Oid, Purpose};

pub(super) const RULES: &[Rule<Holds>] = &[
    rule(
        "extensions-known",
        "RFC 5280 section 4.2",
        "each extension is one that this CA issues",
        |v| {
            v.all()
                .iter()
                .all(|extension| KNOWN.contains(&extension.oid))
        },
    ),
    rule(
        "extensions-not-critical",
        "RFC 5280 sections 4.2.1.1, 4.2.1.2, 4.2.1.13 and 4.2.2.1",
        "key identifiers, CRL distribution points and access to the authority are not critical",
        |v| {
            [
                oid::KEY_ID,
                oid::AUTHORITY_KEY_ID,
                oid::POINTS,
                oid::AUTHORITY_ACCESS,
            ]
            .into_iter()
            .all(|oid| v.critical(oid) != Some(true))
        },
    ),
    rule(
        "ca-basic-constraints",
        "RFC 5280 section 4.2.1.9",
        "a CA says so in basic constraints, which are critical",
        |v| !v.profile.is_ca() || (v.says_ca() && v.critical(oid::BASIC_CONSTRAINTS) == Some(true)),
    ),
    rule(
        "leaf-is-no-ca",
        "RFC 5280 section 4.2.1.9",
        "a leaf does not say that it is a CA",
        |v| v.profile.is_ca() || !v.says_ca(),
    ),
    rule(
        "path-length",
        "RFC 5280 section 4.2.1.9",
        "only a CA has a path length",
        |v| {
            let length = v
                .known
                .constraints
                .as_ref()
                .and_then(|c| c.path_len_constraint);
            length.is_none() || v.says_ca()
        },
    ),
    rule(
        "key-usage-critical",
        "RFC 5280 section 4.2.1.3",
        "the key usage is critical",
        |v| v.critical(oid::KEY_USAGE) != Some(false),
    ),
    rule(
        "key-usage-not-empty",
        "RFC 5280 section 4.2.1.3",
        "a key usage that is there names at least one",
        |v| v.known.usage.is_none_or(|usage| !usage.is_empty()),
    ),
    rule(
        "ca-key-usage",
        "RFC 5280 section 4.2.1.3, BR section 7.1.2.10.7",
        "a CA has keyCertSign and cRLSign",
        |v| {
            let wanted = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
            !v.profile.is_ca() || v.known.usage.is_some_and(|usage| usage.contains(wanted))
        },
    ),
    rule(
        "leaf-key-usage",
        "RFC 5280 section 4.2.1.9",
        "a leaf signs neither certificates nor lists",
        |v| {
            let reserved = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
            v.profile.is_ca()
                || !v
                    .known
                    .usage
                    .is_some_and(|usage| usage.intersects(reserved))
        },
    ),
    rule(
        "key-usage-fits-key",
        "RFC 3279 section 2.3, RFC 8813 section 3, RFC 8410 section 5",
        "the key usage has nothing that the key cannot do",
        key_usage_fits,
    ),
    rule(
        "key-usage-only",
        "RFC 5280 section 4.2.1.3",
        "encipherOnly and decipherOnly stand with keyAgreement, and not together",
        key_usage_only,
    ),
    rule(
        "purposes-not-empty",
        "RFC 5280 section 4.2.1.12",
        "an extended key usage that is there names at least one purpose, none twice",
        |v| {
            v.known
                .purposes
                .as_ref()
                .is_none_or(|list| !list.is_empty() && is_unique(list.iter()))
        },
    ),
    rule(
        "root-has-no-purposes",
        "BR section 7.1.2.1.2",
        "a root has no extended key usage",
        |v| !matches!(v.profile, Profile::Root) || v.known.purposes.is_none(),
    ),
    rule(
        "any-purpose-not-critical",
        "RFC 5280 section 4.2.1.12",
        "an extended key usage with anyExtendedKeyUsage is not critical",
        |v| !has_purpose(v, ANY_PURPOSE) || v.critical(oid::PURPOSES) != Some(true),
    ),
    rule(
        "time-stamping-alone",
        "RFC 3161 section 2.3",
        "timeStamping is the only purpose, and the extended key usage is critical then",
        |v| {
            let alone = v
                .known
                .purposes
                .as_ref()
                .is_some_and(|list| list.len() == 1);
            !has_purpose(v, TIME_STAMPING) || (alone && v.critical(oid::PURPOSES) == Some(true))
        },
    ),
    rule(
        "purposes-fit-key-usage",
        "RFC 5280 section 4.2.1.12",
        "some purpose goes with some key usage",
        purposes_fit,
    ),
    rule(
        "subject-key-id",
        "RFC 5280 section 4.2.1.2",
        "there is a subject key identifier of 1 to 64 octets",
        |v| {
            v.known
                .key_id
                .as_ref()
                .is_some_and(|id| (1..=64).contains(&id.len()))
        },
    ),
    rule(
        "authority-key-id",
        "RFC 5280 section 4.2.1.1",
        "whatever is not self-signed has an authority key identifier",
        |v| v.profile.issuer().is_none() || v.known.authority.is_some(),
    ),
    rule(
        "authority-key-id-form",
        "RFC 5280 section 4.2.1.1, BR section 7.1.2.11.1",
        "the authority key identifier is a key identifier alone, with no issuer and serial",
        |v| v.known.authority.as_ref().is_none_or(is_key_id_alone),
    ),
    rule(
        "authority-key-id-is-issuers",
        "RFC 5280 section 4.2.1.1",
        "the authority key identifier is the subject key identifier of the certificate that signs",
        authority_key_id_is_issuers,
    ),
    rule(
        "names-or-subject",
        "RFC 5280 section 4.1.2.6",
        "a certificate without a subject has an alternative name",
        |v| !v.name.is_empty() || v.known.names.is_some(),
    ),
    rule(
        "names-not-empty",
        "RFC 5280 section 4.2.1.6",
        "subject alternative names that are there name at least one",
        |v| v.known.names.as_ref().is_none_or(|names| !names.is_empty()),
    ),
    rule(
        "names-critical",
        "RFC 5280 section 4.2.1.6",
        "subject alternative names are critical if the subject is empty, and only then",
        |v| {
            v.critical(oid::NAMES)
                .is_none_or(|critical| critical == v.name.is_empty())
        },
    ),
    rule(
        "names-wildcard",
        "RFC 9525 section 6.3, BR section 7.1.4.2",
        "a wildcard is the whole first label of a host name, and no other",
        |v| v.alternative_names().all(names::wildcard_is_right),
    ),
    rule(
        "names-form",
        "RFC 5280 section 4.2.1.6",
        "each alternative name is a host name, mailbox, absolute URI or address in its form",
        |v| {
            v.known
                .names
                .iter()
                .flatten()
                .all(|name| name.as_ref().is_some_and(names::is_valid))
        },
    ),
    rule(
        "names-unique",
        "RFC 5280 section 4.2.1.6",
        "no alternative name occurs twice",
        |v| is_unique(v.alternative_names()),
    ),
    rule(
        "names-within-issuer",
        "RFC 5280 section 4.2.1.10",
        "the name constraints of the certificate that signs allow each alternative name",
        names_within_issuer,
    ),
    rule(
        "name-constraints-ca",
        "RFC 5280 section 4.2.1.10",
        "only a CA has name constraints, and they are critical",
        |v| {
            v.critical(oid::NAME_CONSTRAINTS)
                .is_none_or(|critical| critical && v.profile.is_ca())
        },
    ),
    rule(
        "name-constraints-not-empty",
        "RFC 5280 section 4.2.1.10",
        "name constraints that are there have a subtree, and no empty list of them",
        |v| {
            v.known.subtrees.as_ref().is_none_or(|constraints| {
                let lists = [
                    &constraints.permitted_subtrees,
                    &constraints.excluded_subtrees,
                ];
                lists.iter().any(|list| list.is_some())
                    && lists.into_iter().flatten().all(|list| !list.is_empty())
            })
        },
    ),
    rule(
        "name-constraints-form",
        "RFC 5280 section 4.2.1.10",
        "each subtree is a domain, mailbox or network in its form, without minimum and maximum",
        |v| subtrees(v).all(names::subtree_is_valid),
    ),
    rule(
        "policies",
        "RFC 5280 section 4.2.1.4",
        "certificate policies that are there name at least one, none twice, without qualifiers",
        |v| {
            v.known.policies.as_ref().is_none_or(|policies| {
                let list: Vec<Oid> = policies.0.iter().map(|p| p.policy_identifier).collect();
                !list.is_empty()
                    && is_unique(list.iter())
                    && policies
                        .0
                        .iter()
                        .all(|policy| policy.policy_qualifiers.is_none())
            })
        },
    ),
    rule(
        "crl-points",
        "RFC 5280 section 4.2.1.13",
        "each CRL distribution point is one or more URIs, for all reasons, of the issuer itself",
        |v| {
            v.known.points.as_ref().is_none_or(|points| {
                !points.0.is_empty()
                    && points.0.iter().all(|point| {
                        point.reasons.is_none()
                            && point.crl_issuer.is_none()
                            && names::is_full_name(point.distribution_point.as_ref())
                    })
            })
        },
    ),
    rule(
        "authority-access",
        "RFC 5280 section 4.2.2.1",
        "access to the authority is OCSP or the issuer's certificate, at a URI",
        |v| {
            v.known.access.as_ref().is_none_or(|access| {
                !access.0.is_empty()
                    && access.0.iter().all(|description| {
                        [OCSP, CA_ISSUERS].contains(&description.access_method)
                            && names::is_location(&description.access_location)
                    })
            })
        },
    ),
];

/// What is issued; anything else has no rule here.
const KNOWN: [Oid; 10] = [
    oid::KEY_ID,
    oid::KEY_USAGE,
    oid::NAMES,
    oid::BASIC_CONSTRAINTS,
    oid::NAME_CONSTRAINTS,
    oid::POINTS,
    oid::POLICIES,
    oid::AUTHORITY_KEY_ID,
    oid::PURPOSES,
    oid::AUTHORITY_ACCESS,
];

const ANY_PURPOSE: Oid = Oid::new_unwrap("2.5.29.37.0");
const TIME_STAMPING: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.8");
const OCSP: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.2");

const ENCIPHER_ONLY: &str = "EncipherOnly";
const DECIPHER_ONLY: &str = "DecipherOnly";

pub(super) fn is_unique<T: Ord>(list: impl Iterator<Item = T>) -> bool {
    let mut list: Vec<T> = list.collect();
    list.sort_unstable();
    list.windows(2).all(|pair| pair[0] != pair[1])
}

fn key_usage_fits(view: &View<'_>) -> bool {
    let Some(usage) = view.known.usage else {
        return true;
    };
    let encipherment = KeyUsage::KEY_ENCIPHERMENT | KeyUsage::DATA_ENCIPHERMENT;
    match key_kind(view.spki) {
        Some(KeyKind::Rsa) => !usage.contains(KeyUsage::KEY_AGREEMENT),
        Some(KeyKind::P256 | KeyKind::P384 | KeyKind::P521) => !usage.intersects(encipherment),
        Some(KeyKind::Ed25519) => !usage.intersects(encipherment | KeyUsage::KEY_AGREEMENT),
        None => false,
    }
}

fn key_usage_only(view: &View<'_>) -> bool {
    let Some(usage) = view.known.usage else {
        return true;
    };
    let limits = usage
        .names()
        .filter(|name| [ENCIPHER_ONLY, DECIPHER_ONLY].contains(name))
        .count();
    limits == 0 || (limits == 1 && usage.contains(KeyUsage::KEY_AGREEMENT))
}

fn has_purpose(view: &View<'_>, purpose: Oid) -> bool {
    view.known
        .purposes
        .as_ref()
        .is_some_and(|list| list.contains(&purpose))
}

/// Certificates whose purposes and usages have nothing in common must be used for nothing.
fn purposes_fit(view: &View<'_>) -> bool {
    let (Some(purposes), Some(usage)) = (&view.known.purposes, view.known.usage) else {
        return true;
    };
    purposes
        .iter()
        .any(|purpose| usages_of(Purpose::from(*purpose)).is_none_or(|any| usage.intersects(any)))
}

/// The usages that go with a purpose; `None` if nobody says.
pub(crate) fn usages_of(purpose: Purpose) -> Option<KeyUsage> {
    let signing = KeyUsage::DIGITAL_SIGNATURE;
    let firm = signing | KeyUsage::CONTENT_COMMITMENT;
    let exchange = KeyUsage::KEY_ENCIPHERMENT | KeyUsage::KEY_AGREEMENT;
    Some(match purpose {
        Purpose::SERVER_AUTH => signing | exchange,
        Purpose::CLIENT_AUTH => signing | KeyUsage::KEY_AGREEMENT,
        Purpose::CODE_SIGNING => signing,
        Purpose::EMAIL_PROTECTION => firm | exchange,
        Purpose::OCSP_SIGNING => firm,
        other if other.oid() == TIME_STAMPING => firm,
        _ => return None,
    })
}

pub(super) fn is_key_id_alone(id: &ext::AuthorityKeyIdentifier) -> bool {
    id.key_identifier
        .as_ref()
        .is_some_and(|key| !key.as_bytes().is_empty())
        && id.authority_cert_issuer.is_none()
        && id.authority_cert_serial_number.is_none()
}

fn authority_key_id_is_issuers(view: &View<'_>) -> bool {
    let Some(named) = view
        .known
        .authority
        .as_ref()
        .and_then(|id| id.key_identifier.as_ref())
    else {
        return true;
    };
    let wanted = match view.profile.issuer() {
        Some(issuer) => issuer.key_id(),
        None => view.known.key_id.clone(),
    };
    // An imported CA may have no identifier; then any will do, since nobody compares.
    wanted.is_none_or(|wanted| wanted == named.as_bytes())
}

/// Constraints that cannot be judged allow nothing.
fn names_within_issuer(view: &View<'_>) -> bool {
    let Some(issuer) = view.profile.issuer() else {
        return true;
    };
    issuer
        .name_constraints()
        .is_ok_and(|constraints| view.alternative_names().all(|name| constraints.allow(name)))
}

fn subtrees<'v>(
    view: &'v View<'_>,
) -> impl Iterator<Item = &'v ext::constraints::name::GeneralSubtree> {
    let constraints = view.known.subtrees.iter();
    constraints
        .flat_map(|c| [&c.permitted_subtrees, &c.excluded_subtrees])
        .flatten()
        .flatten()
}
