//! Who the server must be, and who the client is (RFC 8446).
//!
//! What must hold: without [`Tls::skip_verify`] no byte of a request leaves before the server
//! has proved its name by a certificate of a configured authority.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::ClientError;

/// Where Debian and most others keep the authorities that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How to speak TLS.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities whose certificates count.
    pub roots: Vec<CertificateDer<'static>>,
    /// The name that the server must prove; else the host of the address.
    pub server_name: Option<String>,
    /// Files with the client's certificate chain and its private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Takes any certificate.
    pub skip_verify: bool,
}

/// The certificates of a PEM file.
///
/// # Errors
///
/// The file cannot be read, or holds no certificate.
pub fn roots_of_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let text = std::fs::read(path).map_err(|error| unreadable("CA certificate", path, &error))?;
    let roots = certificates(&text);
    match roots.as_deref() {
        Ok([]) | Err(_) => Err(ClientError::Setup(format!(
            "{} holds no certificate in PEM\n\n-ca-cert and VAULT_CACERT name a file that begins \
             with -----BEGIN CERTIFICATE-----.",
            path.display()
        ))),
        Ok(_) => Ok(roots.unwrap_or_default()),
    }
}

/// The certificates of all files in a directory; files without one are passed over.
///
/// # Errors
///
/// The directory cannot be read, or holds no certificate.
pub fn roots_of_directory(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let unreadable = |error| unreadable("CA directory", path, &error);
    let mut roots = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.is_file()
            && let Ok(text) = std::fs::read(&file)
        {
            roots.extend(certificates(&text).unwrap_or_default());
        }
    }
    if roots.is_empty() {
        let text = format!("{} holds no certificate in PEM", path.display());
        return Err(ClientError::Setup(text));
    }
    Ok(roots)
}

/// The certificates of a PEM text.
///
/// # Errors
///
/// It holds no certificate.
pub fn roots_of_text(text: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    match certificates(text.as_bytes()) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(ClientError::Setup(
            "VAULT_CACERT_BYTES holds no certificate in PEM".into(),
        )),
    }
}

/// The authorities that the system trusts; none if it has no list.
pub fn roots_of_system() -> Vec<CertificateDer<'static>> {
    let text = std::fs::read(SYSTEM_ROOTS).unwrap_or_default();
    certificates(&text).unwrap_or_default()
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(text).collect()
}

fn unreadable(what: &str, path: &Path, error: &io::Error) -> ClientError {
    ClientError::Setup(format!(
        "the {what} {} cannot be read: {error}",
        path.display()
    ))
}

impl Tls {
    /// The configuration of the TLS library.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, ClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ClientError::Setup(format!("TLS cannot be set up: {error}")))?;
        let builder = if self.skip_verify {
            let any = Arc::new(AnyServer(provider));
            builder.dangerous().with_custom_certificate_verifier(any)
        } else {
            builder.with_root_certificates(self.store()?)
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = identity(chain, key)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    let text = format!("the client certificate cannot be used: {error}");
                    ClientError::Setup(text)
                })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn store(&self) -> Result<RootCertStore, ClientError> {
        let mut store = RootCertStore::empty();
        let (_added, refused) = store.add_parsable_certificates(self.roots.iter().cloned());
        if store.is_empty() {
            let why = match refused {
                0 => "there is no certificate authority to check the server with",
                _ => "no certificate authority that was given can be read",
            };
            return Err(ClientError::Setup(format!(
                "{why}\n\nName the server's authority with -ca-cert or VAULT_CACERT."
            )));
        }
        Ok(store)
    }

    /// The name that the server must prove.
    pub(super) fn name(&self, host: &str) -> Result<ServerName<'static>, ClientError> {
        let name = self.server_name.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned()).map_err(|_| {
            ClientError::Setup(format!("{name:?} is neither a DNS name nor an IP address"))
        })
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(chain: &Path, key: &Path) -> Result<Identity, ClientError> {
    let text =
        std::fs::read(chain).map_err(|error| unreadable("client certificate", chain, &error))?;
    let certificates = certificates(&text).unwrap_or_default();
    if certificates.is_empty() {
        let text = format!("{} holds no certificate in PEM", chain.display());
        return Err(ClientError::Setup(text));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|_| {
        ClientError::Setup(format!("{} holds no private key in PEM", key.display()))
    })?;
    Ok((certificates, key_der))
}

/// Takes any certificate, as `-tls-skip-verify` asks; the handshake itself is still checked.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
