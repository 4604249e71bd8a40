//! The cases of x509-limbo, which other verifiers are held to: each has the expected result, but
//! for a list of deviations with their reasons.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use serde_json::Value;
use zone_types::Timestamp;
use zone_x509::chain::{Question, Unlisted};
use zone_x509::{AltName, Certificate, Crl, Purpose};

/// Why a case has another result here, and which cases.
const DEVIATIONS: &[(&str, &[&str])] = &[
    (
        "accepted: what an issuer owes; the lint refuses to sign it, readers let it pass",
        &[
            "crl::crlnumber-missing",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::leaf-ku-keycertsign",
            "rfc5280::nc::invalid-dnsname-leading-period",
            "rfc5280::nc::not-allowed-in-ee-critical",
            "rfc5280::nc::not-allowed-in-ee-noncritical",
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::pc::ica-noncritical-pc",
            "rfc5280::root-non-critical-basic-constraints",
            "rfc5280::san::noncritical-with-empty-subject",
            "rfc5280::san::underscore-dns",
            "rfc5280::ski::intermediate-missing-ski",
            "rfc5280::ski::root-missing-ski",
        ],
    ),
    (
        "accepted: rules for public CAs, or about common names, which are not looked at",
        &[
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-ski-mismatch",
            "webpki::cn::case-mismatch",
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
            "webpki::eku::ee-anyeku",
            "webpki::eku::ee-critical-eku",
            "webpki::eku::ee-without-eku",
            "webpki::eku::root-has-eku",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
            "webpki::malformed-aia",
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
            "webpki::san::san-critical-with-nonempty-subject",
        ],
    ),
    (
        "accepted: nobody can ask for a shorter path than its certificates say",
        &[
            "pathlen::max-chain-depth-0-exhausted",
            "pathlen::max-chain-depth-1-exhausted",
        ],
    ),
    (
        "refused: a CA as the certificate of a server, which rustls refuses",
        &[
            "pathlen::validation-ignores-pathlen-in-leaf",
            "rfc5280::ca-as-leaf",
        ],
    ),
    (
        "refused: webpki holds self-issued CAs to path lengths and name constraints",
        &[
            "pathlen::self-issued-certs-pathlen",
            "rfc5280::nc::permitted-self-issued",
        ],
    ),
    (
        "refused: name constraints of a kind that is not judged",
        &[
            "rfc5280::nc::nc-forbids-othername-noop",
            "rfc5280::nc::permitted-dn-match",
        ],
    ),
];

/// Whether the certificate is accepted; what cannot be read is refused.
fn is_accepted(case: &Value) -> bool {
    let text = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or_default();
    let read = |key: &str| Certificate::all_from_pem(text(key));
    let (Ok(roots), Ok(intermediates), Ok(leaf), Ok(lists)) = (
        read("roots"),
        read("between"),
        read("leaf"),
        Crl::all_from_pem(text("lists")),
    ) else {
        return false;
    };
    let name = case.get("name").map(|name| {
        let name = name.as_str().unwrap();
        name.parse()
            .map_or_else(|_| AltName::Dns(name.to_owned()), AltName::Ip)
    });
    let at = case
        .get("at")
        .map_or("2026-11-26T00:00:00Z", |at| at.as_str().unwrap());
    let is_server = case["server"].as_bool().unwrap();
    let question = Question {
        certificate: &leaf[0],
        intermediates: &intermediates,
        roots: &roots,
        lists: &lists,
        at: Timestamp::parse_rfc3339(at).unwrap(),
        purpose: Some(if is_server {
            Purpose::SERVER_AUTH
        } else {
            Purpose::CLIENT_AUTH
        }),
        name: name.as_ref(),
        unlisted: Unlisted::Accept,
    };
    question.answer().is_ok()
}

#[test]
fn x509_limbo() {
    let cases = include_str!("limbo/cases.jsonl");
    let mut deviating = BTreeSet::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if is_accepted(&case) != case["good"].as_bool().unwrap() {
            deviating.insert(case["id"].as_str().unwrap().to_owned());
        }
    }
    let listed = DEVIATIONS.iter().flat_map(|(_, ids)| ids.iter());
    let listed: BTreeSet<String> = listed.map(|id| (*id).to_owned()).collect();
    assert_eq!(deviating, listed);
    assert_eq!(cases.lines().count(), 191);
}
