//! From what was decided to signed DER, and from a CSR to what has to be decided. All of X.509 is
//! `zone_x509`'s; here it meets issuers and refusals.

use zone_crypto::sign::{Hash, PrivateKey, PublicKey};
use zone_types::Timestamp;
use zone_x509::{
    AltName, BuildFault, CertificatePlan, CrlPlan, KeyUsage, Kind, NameConstraints, Oid, Purpose,
    Request, Serial, Subject,
};

use crate::PkiError;
use crate::authority::Issuer;
use crate::order::{self, Plan, Requested};

/// What a leaf will say; its issuer adds its addresses and identifiers.
pub(crate) struct LeafPlan {
    pub(crate) serial: Serial,
    pub(crate) subject: Subject,
    pub(crate) names: Vec<AltName>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) public: PublicKey,
    pub(crate) usage: KeyUsage,
    pub(crate) purposes: Vec<Purpose>,
    /// Dotted object identifiers.
    pub(crate) policies: Vec<String>,
    /// Whether basic constraints say that it is no CA.
    pub(crate) says_not_ca: bool,
    /// The hash under an RSA signature.
    pub(crate) hash: Hash,
    /// CRL distribution points.
    pub(crate) points: Vec<String>,
}

/// What a root will say.
pub(crate) struct RootPlan {
    pub(crate) serial: Serial,
    pub(crate) subject: Subject,
    pub(crate) names: Vec<AltName>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) max_path_length: Option<u8>,
    pub(crate) constraints: NameConstraints,
    /// The hash under an RSA signature.
    pub(crate) hash: Hash,
}

/// A leaf in DER, signed by `key`, the issuer's.
pub(crate) fn leaf(issuer: &Issuer, key: &PrivateKey, leaf: LeafPlan) -> Result<Vec<u8>, PkiError> {
    let policies = leaf.policies.iter().map(|dotted| Oid::new(dotted));
    let plan = CertificatePlan {
        kind: Kind::Leaf {
            says_so: leaf.says_not_ca,
        },
        serial: leaf.serial,
        subject: leaf.subject,
        names: leaf.names,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        usage: leaf.usage,
        purposes: leaf.purposes,
        policies: policies
            .collect::<Result<_, _>>()
            .map_err(|_| PkiError::Corrupt("role"))?,
        issuer_urls: issuer.urls.issuing_certificates.clone(),
        ocsp_urls: issuer.urls.ocsp_servers.clone(),
        crl_points: leaf.points,
    };
    let scheme = key.algorithm().scheme_with(leaf.hash, false);
    plan.sign(&leaf.public, &issuer.certificate, key, scheme)
        .map_err(refusal)
}

/// A root in DER, signed by its own key.
pub(crate) fn root(key: &PrivateKey, root: RootPlan) -> Result<Vec<u8>, PkiError> {
    let RootPlan {
        max_path_length: path_length,
        constraints,
        ..
    } = root;
    let plan = CertificatePlan {
        kind: Kind::Authority {
            path_length,
            constraints,
        },
        serial: root.serial,
        subject: root.subject,
        names: root.names,
        not_before: root.not_before,
        not_after: root.not_after,
        usage: KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN,
        purposes: Vec::new(),
        policies: Vec::new(),
        issuer_urls: Vec::new(),
        ocsp_urls: Vec::new(),
        crl_points: Vec::new(),
    };
    plan.self_sign(key, key.algorithm().scheme_with(root.hash, false))
        .map_err(refusal)
}

/// A revocation list in DER, signed by `key`, the issuer's.
pub(crate) fn crl(issuer: &Issuer, key: &PrivateKey, plan: &CrlPlan) -> Result<Vec<u8>, PkiError> {
    plan.sign(&issuer.certificate, key, key.algorithm().scheme())
        .map_err(refusal)
}

/// What a CSR (PEM) asks for. Its signature was checked.
pub(crate) fn read_csr(csr: &str) -> Result<(PublicKey, Requested), PkiError> {
    let request = Request::from_pem(csr).map_err(|fault| PkiError::field("csr", fault))?;
    let requested = Requested {
        subject: request.subject().clone(),
        names: request.alternative_names().to_vec(),
    };
    Ok((request.public_key().clone(), requested))
}

/// Refuses names that verifiers would refuse below the issuer: its name constraints, and those of
/// the CAs above it (RFC 5280 section 4.2.1.10). A common name that is a host name or a mailbox
/// counts as one.
pub(crate) fn check_constraints(issuer: &Issuer, plan: &Plan) -> Result<(), PkiError> {
    let common_name = order::name_of(&plan.subject.common_name);
    for authority in &issuer.chain {
        let constraints = authority.name_constraints().map_err(|fault| {
            PkiError::refused(format!(
                "the CA {} cannot issue here: {fault}",
                authority.subject()
            ))
        })?;
        let outside = plan
            .names
            .iter()
            .chain(&common_name)
            .find(|name| !constraints.allow(name));
        if let Some(name) = outside {
            return Err(PkiError::refused(format!(
                "the name constraints of the CA {} do not allow {name}",
                authority.subject()
            )));
        }
    }
    Ok(())
}

fn refusal(fault: BuildFault) -> PkiError {
    match fault {
        BuildFault::Key(_) => PkiError::Internal("signing"),
        fault => PkiError::refused(format!("not signed: {fault}")),
    }
}
