//! `issue`, `sign`, `revoke`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use zone_crypto::sign::PrivateKey;
use zone_pki::{IssueAsk, Issued, PkiService, Revoked};
use zone_types::Secret;
use zone_x509::{Certificate, Serial};

use super::super::exchange::{Answer, Call, Fault, LeaseShown, Reply, to_raw};
use super::super::fields::Fields;
use super::fetch::pem;

/// Fields that `issue` and `sign` know.
const KNOWN: [&str; 17] = [
    "role",
    "issuer_ref",
    "common_name",
    "alt_names",
    "ip_sans",
    "uri_sans",
    "other_sans",
    "user_ids",
    "serial_number",
    "ttl",
    "not_after",
    "format",
    "private_key_format",
    "exclude_cn_from_sans",
    "remove_roots_from_chain",
    "csr",
    "revoke_on_lease_expiry",
];

/// How certificates and keys are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Pem,
    Der,
    PemBundle,
}

/// The form of an answer.
#[derive(Clone, Copy)]
pub(super) struct Format {
    encoding: Encoding,
    pkcs8: bool,
    /// Whether `ca_chain` shows roots.
    roots: bool,
}

impl Format {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let encoding = match fields.text("format")?.as_deref() {
            None | Some("" | "pem") => Encoding::Pem,
            Some("der") => Encoding::Der,
            Some("pem_bundle") => Encoding::PemBundle,
            Some(_) => {
                return Err(Fault::bad_request(
                    "field 'format': expected pem, der or pem_bundle",
                ));
            }
        };
        let pkcs8 = match fields.text("private_key_format")?.as_deref() {
            None | Some("" | "der" | "pem") => false,
            Some("pkcs8") => true,
            Some(_) => {
                return Err(Fault::bad_request(
                    "field 'private_key_format': expected der, pem or pkcs8",
                ));
            }
        };
        let roots = !fields.flag("remove_roots_from_chain")?.unwrap_or(false);
        Ok(Self {
            encoding,
            pkcs8,
            roots,
        })
    }

    fn certificate(self, certificate: &Certificate) -> String {
        match self.encoding {
            Encoding::Der => BASE64.encode(certificate.der()),
            Encoding::Pem | Encoding::PemBundle => pem(certificate),
        }
    }

    fn key(self, key: &PrivateKey) -> Result<Secret<String>, Fault> {
        let failed = |_| Fault::internal("a private key cannot be encoded");
        Ok(Secret::new(match (self.encoding, self.pkcs8) {
            (Encoding::Der, true) => BASE64.encode(key.to_pkcs8_der().map_err(failed)?.expose()),
            (Encoding::Der, false) => {
                BASE64.encode(key.to_der_traditional().map_err(failed)?.expose())
            }
            (_, true) => key
                .to_pem_pkcs8()
                .map_err(failed)?
                .expose()
                .trim_end()
                .to_owned(),
            (_, false) => key
                .to_pem_traditional()
                .map_err(failed)?
                .expose()
                .trim_end()
                .to_owned(),
        }))
    }
}

/// Certificate, chain and key as `issue`, `sign` and `root/generate` show them.
#[derive(Serialize)]
pub(super) struct Bundle {
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_chain: Option<Vec<String>>,
    #[serde(serialize_with = "exposed")]
    certificate: Secret<String>,
    expiration: i64,
    issuing_ca: String,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed_if_any"
    )]
    private_key: Option<Secret<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_type: Option<&'static str>,
    serial_number: String,
}

fn exposed<S: Serializer>(text: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text.expose())
}

fn exposed_if_any<S: Serializer>(
    text: &Option<Secret<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) => serializer.serialize_some(text.expose()),
        None => serializer.serialize_none(),
    }
}

/// What a [`Bundle`] is made of.
pub(super) struct Parts<'a> {
    pub(super) der: &'a [u8],
    pub(super) issuing_ca: Option<&'a Certificate>,
    pub(super) chain: Option<Vec<&'a Certificate>>,
    pub(super) key: Option<&'a PrivateKey>,
}

impl Bundle {
    pub(super) fn new(format: Format, parts: &Parts<'_>) -> Result<Self, Fault> {
        let certificate = Certificate::from_der(parts.der)
            .map_err(|_| Fault::internal("a new certificate does not parse"))?;
        let key = parts.key.map(|key| format.key(key)).transpose()?;
        let chain: Option<Vec<String>> = parts
            .chain
            .as_ref()
            .map(|chain| chain.iter().map(|ca| format.certificate(ca)).collect());
        let mut text = Secret::new(format.certificate(&certificate));
        if format.encoding == Encoding::PemBundle {
            let mut all: Vec<&str> = Vec::new();
            all.extend(key.as_ref().map(|key| key.expose().as_str()));
            all.push(text.expose());
            all.extend(chain.iter().flatten().map(String::as_str));
            text = Secret::new(all.join("\n"));
        }
        Ok(Self {
            ca_chain: chain,
            certificate: text,
            expiration: certificate.not_after().secs(),
            issuing_ca: format.certificate(parts.issuing_ca.unwrap_or(&certificate)),
            private_key_type: parts.key.map(|key| key.algorithm().family()),
            private_key: key,
            serial_number: certificate.serial().to_string(),
        })
    }
}

pub(super) async fn issue(
    pki: &PkiService,
    call: &Call,
    role: &str,
    issuer: Option<&str>,
) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let format = Format::read(&fields)?;
    let ask = read_ask(&fields)?;
    let issued = pki.issue(&call.permit, role, issuer, &ask).await?;
    answer(format, &issued, unknown(&call.data, &KNOWN))
}

pub(super) async fn sign(
    pki: &PkiService,
    call: &Call,
    role: &str,
    issuer: Option<&str>,
) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let format = Format::read(&fields)?;
    let csr = fields.text("csr")?.filter(|csr| !csr.is_empty());
    let csr = csr.ok_or_else(|| Fault::bad_request("\"csr\" is empty"))?;
    let ask = read_ask(&fields)?;
    let issued = pki.sign(&call.permit, role, issuer, &csr, &ask).await?;
    answer(format, &issued, unknown(&call.data, &KNOWN))
}

fn answer(format: Format, issued: &Issued, unknown: Option<String>) -> Result<Reply, Fault> {
    let chain = issued
        .issuer
        .chain()
        .iter()
        .filter(|ca| format.roots || !ca.is_self_issued());
    let bundle = Bundle::new(
        format,
        &Parts {
            der: &issued.der,
            issuing_ca: Some(issued.issuer.certificate()),
            chain: Some(chain.collect()),
            key: issued.private_key.as_ref(),
        },
    )?;
    let warnings = issued.warnings.iter().cloned().chain(unknown).collect();
    let lease = issued.lease.as_ref();
    Ok(Reply::Data(Answer {
        data: Some(to_raw(&bundle)?),
        warnings,
        lease_duration: lease.map_or(0, |lease| lease.ttl(lease.issue_time)),
        lease: lease.map(LeaseShown::of),
        ..Answer::default()
    }))
}

/// The fields that leaves and roots have in common.
pub(super) fn read_ask(fields: &Fields<'_>) -> Result<IssueAsk, Fault> {
    let list = |name| fields.list(name).map(Option::unwrap_or_default);
    Ok(IssueAsk {
        common_name: fields.text("common_name")?.unwrap_or_default(),
        alt_names: list("alt_names")?,
        ip_sans: list("ip_sans")?,
        uri_sans: list("uri_sans")?,
        other_sans: list("other_sans")?,
        user_ids: list("user_ids")?,
        serial_number: fields.text("serial_number")?.unwrap_or_default(),
        ttl: fields.duration("ttl")?,
        not_after: fields.text("not_after")?.unwrap_or_default(),
        exclude_cn_from_sans: fields.flag("exclude_cn_from_sans")?.unwrap_or(false),
    })
}

/// Vault's warning about fields that nobody reads.
pub(super) fn unknown(data: &Map<String, Value>, known: &[&str]) -> Option<String> {
    let mut names: Vec<&str> = data
        .keys()
        .map(String::as_str)
        .filter(|name| !known.contains(name))
        .collect();
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    names.truncate(20);
    Some(format!(
        "Endpoint ignored these unrecognized parameters: {names:?}"
    ))
}

#[derive(Serialize)]
struct RevokedData {
    revocation_time: i64,
    revocation_time_rfc3339: String,
    state: &'static str,
}

pub(super) async fn revoke(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let filled = |name| {
        fields
            .text(name)
            .map(|text| text.filter(|text| !text.is_empty()))
    };
    let (serial, revoked) = match (filled("serial_number")?, filled("certificate")?) {
        (Some(serial), None) => {
            let serial = Serial::parse(&serial)
                .map_err(|fault| Fault::bad_request(format!("field 'serial_number': {fault}")))?;
            let revoked = pki.revoke(&call.permit, &serial).await?;
            (serial, revoked)
        }
        (None, Some(certificate)) => pki.revoke_certificate(&call.permit, &certificate).await?,
        (None, None) => {
            return Err(Fault::bad_request(
                "The serial number or certificate to revoke must be provided.",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Fault::bad_request(
                "Must provide either the certificate or the serial to revoke; not both.",
            ));
        }
    };
    match revoked {
        Revoked::At(at) => Reply::data(&RevokedData {
            revocation_time: at.secs(),
            revocation_time_rfc3339: at.to_string(),
            state: "revoked",
        }),
        Revoked::Expired(_) => Ok(Reply::Data(Answer {
            warnings: vec![format!(
                "certificate with serial {serial} already expired; refusing to add to CRL"
            )],
            ..Answer::default()
        })),
    }
}
