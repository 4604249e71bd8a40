//! A fixed profile for what is about to be signed: each rule reads the final to-be-signed bytes
//! and names the section that it comes from.
//!
//! What holds: bytes that pass are canonical DER, have every field that RFC 5280 asks of their
//! kind and none beyond a closed set, and would pass a strict reader of today (C1). The rules
//! know nothing of how the bytes were made, so that a fault of the builder is seen here.
//!
//! Rules of the CA/Browser Forum's Baseline Requirements ("BR") are taken where they hold for a
//! private CA too. Absent by intent: rules about names in the public DNS, validation of domains,
//! longest lives, and certificate transparency.
//!
//! Start at [`check_certificate`]; the rules are the tables in `certificate`, `extensions` and
//! `list`.

mod certificate;
mod extensions;
mod list;
mod names;
mod pieces;
mod view;

#[cfg(test)]
pub(crate) mod draft;
#[cfg(test)]
mod tests;

use crate::Certificate;

pub(crate) use extensions::usages_of;

/// What a certificate is meant to be.
#[derive(Debug, Clone, Copy)]
pub enum Profile<'a> {
    /// A CA that signs itself.
    Root,
    /// A CA below this issuer.
    Authority(&'a Certificate),
    /// No CA, signed by this issuer.
    Leaf(&'a Certificate),
}

impl<'a> Profile<'a> {
    /// Who signs; `None` if it signs itself.
    fn issuer(self) -> Option<&'a Certificate> {
        match self {
            Self::Root => None,
            Self::Authority(issuer) | Self::Leaf(issuer) => Some(issuer),
        }
    }

    fn is_ca(self) -> bool {
        !matches!(self, Self::Leaf(_))
    }
}

/// The rule that to-be-signed bytes break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{text} (rule {rule}, {section})")]
pub struct LintFault {
    /// The rule's name.
    pub rule: &'static str,
    /// Where it comes from.
    pub section: &'static str,
    /// What must hold.
    pub text: &'static str,
}

/// One rule, with what decides it: a function of a `View` or of a `List`.
struct Rule<F> {
    fault: LintFault,
    holds: F,
}

/// A row of a table of rules.
const fn rule<F: Copy>(
    rule: &'static str,
    section: &'static str,
    text: &'static str,
    holds: F,
) -> Rule<F> {
    Rule {
        fault: LintFault {
            rule,
            section,
            text,
        },
        holds,
    }
}

/// The first rule that does not hold.
fn judge<F>(rules: &[Rule<F>], holds: impl Fn(&F) -> bool) -> Result<(), LintFault> {
    match rules.iter().find(|rule| !holds(&rule.holds)) {
        Some(broken) => Err(broken.fault),
        None => Ok(()),
    }
}

const CERTIFICATE_DER: LintFault = LintFault {
    rule: "certificate-der",
    section: "RFC 5280 section 4.1, X.690 sections 10 and 11",
    text: "the certificate and its extensions are in canonical DER",
};

const LIST_DER: LintFault = LintFault {
    rule: "crl-der",
    section: "RFC 5280 section 5.1, X.690 sections 10 and 11",
    text: "the list and its extensions are in canonical DER",
};

/// Checks a DER `TBSCertificate` that is about to be signed.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn check_certificate(tbs: &[u8], profile: Profile<'_>) -> Result<(), LintFault> {
    let view = view::View::read(tbs, profile).ok_or(CERTIFICATE_DER)?;
    judge(certificate::RULES, |holds| holds(&view))?;
    judge(extensions::RULES, |holds| holds(&view))
}

/// Checks a DER `TBSCertList` that is about to be signed. One pass over the entries.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn check_crl(tbs: &[u8]) -> Result<(), LintFault> {
    let list = list::List::read(tbs).ok_or(LIST_DER)?;
    judge(list::RULES, |holds| holds(&list))
}

/// Every rule, for the documentation and for tests.
pub fn rules() -> impl Iterator<Item = LintFault> {
    let certificate = certificate::RULES
        .iter()
        .chain(extensions::RULES)
        .map(|rule| rule.fault);
    let list = list::RULES.iter().map(|rule| rule.fault);
    [CERTIFICATE_DER]
        .into_iter()
        .chain(certificate)
        .chain([LIST_DER])
        .chain(list)
}

/// Fuzz target: reading any bytes never panics, and bytes that pass a rule set are canonical.
pub fn fuzz_lint(data: &[u8]) {
    let certificate = check_certificate(data, Profile::Root);
    let list = check_crl(data);
    assert!(
        certificate.is_err() || list.is_err(),
        "nothing is a certificate and a list"
    );
    if certificate.is_ok() {
        // What the lint lets through, the strict reader of this crate reads: only a signature is
        // missing. The signature's algorithm is the third field.
        let algorithm = pieces::inside(data).and_then(|parts| parts.get(2).copied());
        let algorithm = algorithm.map(|piece| piece.tlv).unwrap_or_default();
        let whole = crate::asn1::signed(data, algorithm, &[0; 64]);
        assert!(
            Certificate::from_der(&whole).is_ok(),
            "linted bytes are read"
        );
    }
}
