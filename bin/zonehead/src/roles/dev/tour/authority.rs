//! What the services of the tour ask of the zone's CA at `pki/`.

use std::sync::Arc;

use anyhow::{Context, bail};
use http::Method;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use serde_json::json;
use zone_cli::client::{Client, Reply, Request};
use zone_x509::Certificate;

/// Life of a service's certificate.
pub(super) const TTL: &str = "1h";

/// A certificate with its key.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// As `pki/revoke` takes it.
    pub(super) serial: String,
    /// When it ends, RFC 3339.
    pub(super) until: String,
}

impl Identity {
    /// The service's own certificate.
    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }
}

/// Whom a service believes: certificates of the zone's CA that are on no revocation list.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) anchors: Arc<RootCertStore>,
    pub(super) revoked: Vec<CertificateRevocationListDer<'static>>,
}

/// The zone's CA.
pub(super) struct Authority<'a>(pub(super) &'a Client);

impl Authority<'_> {
    /// A new key and certificate for `name`.
    pub(super) async fn issue(&self, name: &str) -> anyhow::Result<Identity> {
        let ask = json!({ "common_name": name, "ttl": TTL });
        let reply = self.0.write("pki/issue/service", &ask).await?;
        let reply = reply.context("pki/issue/service gave no certificate")?;
        let leaf = Certificate::from_pem(text(&reply, "certificate")?)?;
        let key = PrivateKeyDer::from_pem_slice(text(&reply, "private_key")?.as_bytes())?;
        Ok(Identity {
            chain: vec![CertificateDer::from(leaf.der().to_vec())],
            key,
            serial: text(&reply, "serial_number")?.to_owned(),
            until: leaf.not_after().to_string(),
        })
    }

    /// Revokes a certificate; the id of the request, as the audit trail knows it.
    pub(super) async fn revoke(&self, serial: &str) -> anyhow::Result<String> {
        let ask = json!({ "serial_number": serial });
        let reply = self.0.write("pki/revoke", &ask).await?;
        let reply = reply.context("pki/revoke gave no answer")?;
        match text(&reply, "state")? {
            "revoked" => Ok(reply.request_id),
            other => bail!("pki/revoke left {serial} in the state {other:?}"),
        }
    }

    /// The CA and its revocation lists as they are now.
    pub(super) async fn trust(&self) -> anyhow::Result<Trust> {
        let ca = self
            .0
            .read("pki/cert/ca", &[])
            .await?
            .context("pki/ has no CA")?;
        let mut anchors = RootCertStore::empty();
        anchors.add(CertificateDer::from_pem_slice(
            text(&ca, "certificate")?.as_bytes(),
        )?)?;
        Ok(Trust {
            anchors: Arc::new(anchors),
            revoked: self.revoked().await?,
        })
    }

    async fn revoked(&self) -> anyhow::Result<Vec<CertificateRevocationListDer<'static>>> {
        let path = "pki/crl/chain";
        let request = Request {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            plain: true,
        };
        let response = self.0.send(&request).await?;
        let lists = CertificateRevocationListDer::pem_slice_iter(&response.body);
        let lists = lists
            .collect::<Result<Vec<_>, _>>()
            .context("reading pki/crl/chain")?;
        match (response.status, lists.is_empty()) {
            (200, false) => Ok(lists),
            (status, _) => bail!("{path} gave no revocation list (status {status})"),
        }
    }
}

fn text<'a>(reply: &'a Reply, name: &str) -> anyhow::Result<&'a str> {
    let value = reply.field(name).and_then(|value| value.as_str());
    value.with_context(|| format!("the answer has no {name}"))
}
