//! Reading certificates and revocation lists, in the envelope and raw.

use serde::Serialize;
use zone_pki::{List, Page, PkiError, PkiService};
use zone_x509::{Certificate, Serial};

use super::super::exchange::{Call, Fault, Reply};
use super::super::fields::Fields;

const CERTIFICATE: &str = "application/pkix-cert";
const CERTIFICATE_PEM: &str = "application/pem-certificate-chain";
const CRL: &str = "application/pkix-crl";
const CRL_PEM: &str = "application/x-pem-file";

/// In which form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Vault's envelope.
    Json,
    /// DER alone.
    Der,
    /// PEM alone.
    Pem,
}

/// A certificate in the envelope.
#[derive(Serialize)]
struct CertificateData {
    certificate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_chain: Option<String>,
    revocation_time: i64,
    revocation_time_rfc3339: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer_id: Option<String>,
}

impl CertificateData {
    fn plain(certificate: String) -> Self {
        Self {
            certificate,
            ca_chain: None,
            revocation_time: 0,
            revocation_time_rfc3339: String::new(),
            issuer_id: None,
        }
    }
}

/// PEM without the newline at its end, as Vault gives it.
pub(super) fn pem(certificate: &Certificate) -> String {
    certificate.pem().trim_end().to_owned()
}

/// A chain of PEM blocks.
pub(super) fn chain_pem(chain: &[Certificate]) -> String {
    chain.iter().map(pem).collect::<Vec<_>>().join("\n")
}

fn raw(content_type: &'static str, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Raw {
        content_type,
        body: body.into(),
    }
}

/// What a mount without a CA says to a raw read: 204, as Vault.
fn nothing<T>(result: Result<T, PkiError>) -> Result<Option<T>, PkiError> {
    match result {
        Err(PkiError::NoIssuer) => Ok(None),
        other => other.map(Some),
    }
}

pub(super) async fn ca(
    pki: &PkiService,
    call: &Call,
    issuer: &str,
    form: Form,
) -> Result<Reply, Fault> {
    let found = pki.issuer(&call.permit, issuer).await;
    if form == Form::Json {
        return Reply::data(&CertificateData::plain(pem(found?.certificate())));
    }
    let content_type = if form == Form::Der {
        CERTIFICATE
    } else {
        CERTIFICATE_PEM
    };
    Ok(match (nothing(found)?, form) {
        (None, _) => raw(content_type, ""),
        (Some(issuer), Form::Der) => raw(content_type, issuer.certificate().der()),
        (Some(issuer), _) => raw(content_type, pem(issuer.certificate())),
    })
}

pub(super) async fn chain(pki: &PkiService, call: &Call, form: Form) -> Result<Reply, Fault> {
    let found = pki.issuer(&call.permit, "default").await;
    if form == Form::Json {
        let text = chain_pem(found?.chain());
        let data = CertificateData {
            ca_chain: Some(text.clone()),
            ..CertificateData::plain(text)
        };
        return Reply::data(&data);
    }
    let body = nothing(found)?
        .map(|issuer| chain_pem(issuer.chain()))
        .unwrap_or_default();
    Ok(raw(CERTIFICATE, body))
}

/// `issuer/<ref>/json`: what may be known without a token.
pub(super) async fn issuer(pki: &PkiService, call: &Call, reference: &str) -> Result<Reply, Fault> {
    let issuer = pki.issuer(&call.permit, reference).await?;
    Reply::data(&serde_json::json!({
        "certificate": pem(issuer.certificate()),
        "ca_chain": issuer.chain().iter().map(pem).collect::<Vec<_>>(),
        "issuer_id": issuer.record().id,
        "issuer_name": issuer.record().name,
    }))
}

fn serial(text: &str) -> Result<Serial, Fault> {
    Serial::parse(text).map_err(|fault| Fault::bad_request(format!("serial number: {fault}")))
}

pub(super) async fn certificate(
    pki: &PkiService,
    call: &Call,
    text: &str,
    form: Form,
) -> Result<Reply, Fault> {
    let stored = pki.certificate(&call.permit, &serial(text)?).await?;
    if form == Form::Der {
        return Ok(raw(CERTIFICATE, stored.der));
    }
    let certificate = Certificate::from_der(&stored.der)
        .map_err(|_| Fault::internal("a stored certificate does not parse"))?;
    if form == Form::Pem {
        return Ok(raw(CERTIFICATE_PEM, pem(&certificate)));
    }
    Reply::data(&CertificateData {
        revocation_time: stored.revoked_at.map_or(0, |at| at.secs()),
        revocation_time_rfc3339: stored
            .revoked_at
            .map(|at| at.to_string())
            .unwrap_or_default(),
        issuer_id: Some(stored.issuer),
        ..CertificateData::plain(pem(&certificate))
    })
}

fn list_pem(list: &List) -> String {
    list.pem().trim_end().to_owned()
}

pub(super) async fn crl(
    pki: &PkiService,
    call: &Call,
    issuer: &str,
    form: Form,
) -> Result<Reply, Fault> {
    let found = pki.crl(&call.permit, issuer).await;
    if form == Form::Json {
        return Reply::data(&serde_json::json!({ "crl": list_pem(&*found?) }));
    }
    let content_type = if form == Form::Der { CRL } else { CRL_PEM };
    Ok(match (nothing(found)?, form) {
        (None, _) => raw(content_type, ""),
        (Some(list), Form::Der) => raw(content_type, list.der()),
        (Some(list), _) => raw(content_type, list_pem(&list)),
    })
}

/// `cert/crl`: the list where a certificate stands elsewhere.
pub(super) async fn crl_as_certificate(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let list = pki.crl(&call.permit, "default").await?;
    Reply::data(&CertificateData::plain(list_pem(&list)))
}

/// `crl/shard/<n>`: the part of the list that a certificate's distribution point names.
pub(super) async fn crl_shard(pki: &PkiService, call: &Call, number: &str) -> Result<Reply, Fault> {
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let shard = number.parse().ok().filter(|_| plain);
    let shard = shard.ok_or_else(|| Fault::bad_request("expected the number of a shard"))?;
    let list = pki.crl_shard(&call.permit, shard).await?;
    Ok(raw(CRL, list.der()))
}

/// `crl/chain`: a list for each CA of the chain, as `ssl_crl_file` of PostgreSQL wants them.
pub(super) async fn crl_chain(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let lists = nothing(pki.crl_chain(&call.permit).await)?.unwrap_or_default();
    Ok(raw(
        CRL_PEM,
        lists.iter().map(|list| list.pem()).collect::<String>(),
    ))
}

pub(super) async fn rotate(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    pki.rotate_crls(&call.permit).await?;
    Reply::data(&serde_json::json!({ "success": true }))
}

fn page(call: &Call) -> Result<Page, Fault> {
    let fields = Fields(&call.data);
    let after = match fields.text("after")?.as_deref() {
        None | Some("") => None,
        Some(text) => Some(serial(text)?),
    };
    let limit = fields.number("limit")?.unwrap_or(0);
    // As in OpenBao, zero and below mean all.
    Ok(Page {
        after,
        limit: usize::try_from(limit).unwrap_or(0),
    })
}

pub(super) async fn serials(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let serials = pki.serials(&call.permit, &page(call)?).await?;
    Reply::keys(&serials.iter().map(ToString::to_string).collect::<Vec<_>>())
}

pub(super) async fn revoked(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let serials = pki.revoked_serials(&call.permit, &page(call)?).await?;
    Reply::keys(&serials.iter().map(ToString::to_string).collect::<Vec<_>>())
}
