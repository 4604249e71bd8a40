//! Finding paths: from the certificate in question to a root, by names and signatures.

use super::{Question, Refusal, label};
use crate::{Certificate, colon_hex};

/// A path, the certificate in question first.
pub(super) type Path<'a> = [&'a Certificate];

/// Most certificates in a path.
const LONGEST: usize = 10;
/// Most signatures that are checked while looking for a path.
const MOST_SIGNATURES: usize = 200;

const ISSUER: (&str, &str) = ("issuer-known", "RFC 5280 section 6.1");
const ROOT: (&str, &str) = ("root-trusted", "RFC 5280 section 6.1.1 (d)");
const SIGNATURE: (&str, &str) = ("signature", "RFC 5280 section 6.1.3 (a)(1)");
const ALGORITHM: (&str, &str) = ("signature-algorithm", "RFC 4055, RFC 5758, RFC 8410");
const EFFORT: (&str, &str) = ("effort", "RFC 4158 section 2.4");

/// The first path that `judge` accepts, with what it says of it.
///
/// # Errors
///
/// The first refusal by `judge`, or if no path came to a root, why the search ended.
pub(super) fn first_good<'a, T>(
    question: &Question<'a>,
    judge: impl FnMut(&Path<'a>) -> Result<T, Refusal>,
) -> Result<(Vec<&'a Certificate>, T), Refusal> {
    let mut search = Search {
        question,
        judge,
        path: vec![question.certificate],
        signatures: 0,
        judged: None,
        dead_end: None,
    };
    match search.go() {
        Some(found) => Ok((search.path, found)),
        None => Err(search.judged.or(search.dead_end).unwrap_or_else(|| {
            let text = "no path to a root was found";
            Refusal::new(
                ISSUER,
                question.certificate,
                text,
                "Give the certificates of its CAs.",
            )
        })),
    }
}

struct Search<'q, 'a, J> {
    question: &'q Question<'a>,
    judge: J,
    path: Vec<&'a Certificate>,
    signatures: usize,
    /// The first refusal of a path that reached a root.
    judged: Option<Refusal>,
    /// The latest reason why a path reached none.
    dead_end: Option<Refusal>,
}

impl<'a, T, J: FnMut(&Path<'a>) -> Result<T, Refusal>> Search<'_, 'a, J> {
    /// Extends the path; leaves it as it was if nothing came of it.
    fn go(&mut self) -> Option<T> {
        let head = self.path[self.path.len() - 1];
        if self.question.roots.contains(head) {
            match (self.judge)(&self.path) {
                Ok(found) => return Some(found),
                Err(refusal) => {
                    self.judged.get_or_insert(refusal);
                    return None;
                }
            }
        }
        let Question {
            roots,
            intermediates,
            ..
        } = *self.question;
        let mut issuers: Vec<&Certificate> = roots
            .iter()
            .chain(intermediates)
            .filter(|issuer| issuer.subject_der() == head.issuer_der())
            .filter(|issuer| !self.path.iter().any(|seen| is_same_authority(seen, issuer)))
            .collect();
        // Whoever has the key that the certificate names comes first; the others may still be it.
        issuers.sort_by_key(|issuer| !names_key(head, issuer));
        if issuers.is_empty() {
            self.dead_end = Some(no_issuer(head));
            return None;
        }
        let mut is_signed = false;
        for issuer in issuers {
            if self.path.len() >= LONGEST || self.signatures >= MOST_SIGNATURES {
                self.dead_end.get_or_insert_with(|| too_much(head));
                return None;
            }
            self.signatures += 1;
            if !issuer.public_key().is_ok_and(|key| head.signed_by(&key)) {
                continue;
            }
            is_signed = true;
            self.path.push(issuer);
            if let Some(found) = self.go() {
                return Some(found);
            }
            self.path.pop();
        }
        if !is_signed {
            self.dead_end = Some(not_signed(head, self.question));
        }
        None
    }
}

/// Two certificates of one key and name: going through both is going in a circle.
fn is_same_authority(one: &Certificate, other: &Certificate) -> bool {
    one.subject_der() == other.subject_der() && one.spki_der() == other.spki_der()
}

fn names_key(certificate: &Certificate, issuer: &Certificate) -> bool {
    let named = certificate.authority_key_id();
    named.is_some() && named == issuer.key_id()
}

fn no_issuer(head: &Certificate) -> Refusal {
    if head.is_self_issued() {
        let print = colon_hex(&zone_crypto::hash::sha256(head.der()));
        return Refusal::new(
            ROOT,
            head,
            "the path ends in this certificate, which names itself as issuer and is not trusted",
            format!("If it is the one that you trust (SHA-256 {print}), give it as a root."),
        );
    }
    Refusal::new(
        ISSUER,
        head,
        format!(
            "the certificate of its issuer, {}, is not here",
            head.issuer()
        ),
        "Give it as an intermediate, or as a root if you trust it.",
    )
}

fn not_signed(head: &Certificate, question: &Question<'_>) -> Refusal {
    if head.scheme().is_none() {
        return Refusal::new(
            ALGORITHM,
            head,
            "it is signed by an algorithm that is not accepted (SHA-1, MD5, or unknown)",
            "Have it issued again with SHA-256.",
        );
    }
    let weak = question
        .roots
        .iter()
        .chain(question.intermediates)
        .find(|issuer| issuer.subject_der() == head.issuer_der() && issuer.public_key().is_err());
    let text = match weak {
        Some(issuer) => format!(
            "the key of its issuer ({}) is refused as weak",
            label(issuer)
        ),
        None => format!(
            "no given certificate of {} has the key that signed it",
            head.issuer()
        ),
    };
    Refusal::new(
        SIGNATURE,
        head,
        text,
        "Either it was changed, or its issuer has a newer key: give that certificate.",
    )
}

fn too_much(head: &Certificate) -> Refusal {
    Refusal::new(
        EFFORT,
        head,
        "no path of at most ten certificates was found within 200 signature checks",
        "Give fewer certificates with the same name.",
    )
}
