//! PKI under `/v1/<mount>/`: Vault's paths, fields and shapes outside, [`zone_pki`] inside.
//!
//! Absent: `sign-verbatim`, intermediates, OCSP, delta lists, ACME, tidy; they answer as
//! unsupported paths.

mod authority;
mod config;
mod fetch;
mod issue;
mod role;
#[cfg(test)]
mod tests;

use zone_access::Operation;
use zone_pki::{PkiError, PkiService};

use super::exchange::{Call, Fault, Reply};
use super::sys::access_fault;

/// Answers one permitted call below a PKI mount.
pub(crate) async fn handle(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let path = call.permit.rest().to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    match call.permit.operation() {
        Operation::Read => read(pki, call, &segments).await,
        Operation::List => list(pki, call, &segments).await,
        Operation::Create | Operation::Update => update(pki, call, &segments).await,
        Operation::Patch => match segments[..] {
            ["roles", name] => role::patch(pki, call, name).await,
            ["issuer", reference] => authority::update_issuer(pki, call, reference).await,
            _ => Err(other_operation(&segments)),
        },
        Operation::Delete => match segments[..] {
            ["roles", name] => role::delete(pki, call, name).await,
            ["issuer", reference] => authority::delete_issuer(pki, call, reference).await,
            ["key", reference] => authority::delete_key(pki, call, reference).await,
            _ => Err(other_operation(&segments)),
        },
    }
}

async fn read(pki: &PkiService, call: &Call, segments: &[&str]) -> Result<Reply, Fault> {
    use fetch::Form;
    match segments[..] {
        ["ca"] | ["cert", "ca", "raw"] => fetch::ca(pki, call, "default", Form::Der).await,
        ["ca", "pem"] | ["cert", "ca", "raw", "pem"] => {
            fetch::ca(pki, call, "default", Form::Pem).await
        }
        ["cert", "ca"] => fetch::ca(pki, call, "default", Form::Json).await,
        ["ca_chain"] => fetch::chain(pki, call, Form::Pem).await,
        ["cert", "ca_chain"] => fetch::chain(pki, call, Form::Json).await,
        ["crl"] | ["cert", "crl", "raw"] => fetch::crl(pki, call, "default", Form::Der).await,
        ["crl", "pem"] | ["cert", "crl", "raw", "pem"] => {
            fetch::crl(pki, call, "default", Form::Pem).await
        }
        ["cert", "crl"] => fetch::crl_as_certificate(pki, call).await,
        ["crl", "chain"] => fetch::crl_chain(pki, call).await,
        ["crl", "rotate"] => fetch::rotate(pki, call).await,
        ["crl", "shard", number] => fetch::crl_shard(pki, call, number).await,
        ["cert", serial] => fetch::certificate(pki, call, serial, Form::Json).await,
        ["cert", serial, "raw"] => fetch::certificate(pki, call, serial, Form::Der).await,
        ["cert", serial, "raw", "pem"] => fetch::certificate(pki, call, serial, Form::Pem).await,
        ["issuer", reference] => authority::read_issuer(pki, call, reference).await,
        ["issuer", reference, "json"] => fetch::issuer(pki, call, reference).await,
        ["issuer", reference, "der"] => fetch::ca(pki, call, reference, Form::Der).await,
        ["issuer", reference, "pem"] => fetch::ca(pki, call, reference, Form::Pem).await,
        ["issuer", reference, "crl"] => fetch::crl(pki, call, reference, Form::Json).await,
        ["issuer", reference, "crl", "der"] => fetch::crl(pki, call, reference, Form::Der).await,
        ["issuer", reference, "crl", "pem"] => fetch::crl(pki, call, reference, Form::Pem).await,
        ["key", reference] => authority::read_key(pki, call, reference).await,
        ["roles", name] => role::read(pki, call, name).await,
        ["config", name] => config::read(pki, call, name).await,
        _ => Err(other_operation(segments)),
    }
}

async fn list(pki: &PkiService, call: &Call, segments: &[&str]) -> Result<Reply, Fault> {
    match segments[..] {
        ["roles", ""] => role::list(pki, call).await,
        ["issuers", ""] => authority::list_issuers(pki, call).await,
        ["keys", ""] => authority::list_keys(pki, call).await,
        ["certs", ""] => fetch::serials(pki, call).await,
        ["certs", "revoked", ""] => fetch::revoked(pki, call).await,
        _ => Err(other_operation(segments)),
    }
}

async fn update(pki: &PkiService, call: &Call, segments: &[&str]) -> Result<Reply, Fault> {
    match segments[..] {
        ["issue", role] => issue::issue(pki, call, role, None).await,
        ["issuer", issuer, "issue", role] => issue::issue(pki, call, role, Some(issuer)).await,
        ["sign", role] => issue::sign(pki, call, role, None).await,
        ["issuer", issuer, "sign", role] => issue::sign(pki, call, role, Some(issuer)).await,
        ["revoke"] => issue::revoke(pki, call).await,
        ["roles", name] => role::write(pki, call, name).await,
        ["root", "generate", kind] | ["issuers", "generate", "root", kind] => {
            authority::generate_root(pki, call, kind).await
        }
        ["root", "replace"] => config::replace_root(pki, call).await,
        ["config", "ca"] | ["issuers", "import", "bundle"] => {
            authority::import(pki, call, true).await
        }
        ["issuers", "import", "cert"] => authority::import(pki, call, false).await,
        ["issuer", reference] => authority::update_issuer(pki, call, reference).await,
        ["key", reference] => authority::update_key(pki, call, reference).await,
        ["config", name] => config::write(pki, call, name).await,
        ["crl", "rotate"] => fetch::rotate(pki, call).await,
        _ => Err(other_operation(segments)),
    }
}

/// 405 where the path exists under another operation, else 404.
fn other_operation(segments: &[&str]) -> Fault {
    match segments {
        ["ca" | "ca_chain" | "crl" | "revoke" | "roles" | "issuers" | "keys" | "certs"]
        | ["ca" | "crl", "pem"]
        | ["crl", "chain" | "rotate"]
        | ["crl", "shard", _]
        | ["certs", "revoked"]
        | ["roles" | "issue" | "sign" | "issuer" | "key" | "cert", _]
        | ["root", "replace"]
        | ["root", "generate", _]
        | ["issuers", "import", _]
        | ["config", "ca" | "issuers" | "keys" | "urls" | "crl"] => Fault::unsupported_operation(),
        _ => Fault::unsupported_path(),
    }
}

impl From<PkiError> for Fault {
    fn from(error: PkiError) -> Self {
        match error {
            PkiError::Refused(text) => Self::bad_request(text),
            PkiError::NotFound => Self::not_found(),
            PkiError::NoIssuer => Self::bad_request(
                "no default issuer currently configured; generate a root or import a CA first",
            ),
            PkiError::Lease(error) => access_fault(&error),
            PkiError::Busy => Self::new(409, error.to_string()),
            PkiError::Barrier(error) => Self::from(error),
            other => Self::internal(super::exchange::chain(&other)),
        }
    }
}
