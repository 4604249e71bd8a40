//! `orders.svc.test`: calls the ledger over mutual TLS, once or all the time.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::authority::{Identity, Trust};

/// A caller of the ledger.
#[derive(Clone)]
pub(super) struct Orders {
    tls: TlsConnector,
    ledger: SocketAddr,
    name: ServerName<'static>,
}

/// One connection to the ledger.
pub(super) struct Connection {
    stream: BufReader<TlsStream<TcpStream>>,
    /// The certificate that the ledger proved to hold.
    pub(super) leaf: CertificateDer<'static>,
}

impl Orders {
    /// A caller who proves to be `identity`, or nobody. The ledger must prove to be `name`.
    pub(super) fn new(
        identity: Option<&Identity>,
        trust: &Trust,
        ledger: SocketAddr,
        name: &'static str,
    ) -> anyhow::Result<Self> {
        let servers = WebPkiServerVerifier::builder(trust.anchors.clone())
            .with_crls(trust.revoked.clone())
            .enforce_revocation_expiration()
            .build()
            .context("orders cannot use the CA's revocation lists")?;
        let config =
            ClientConfig::builder_with_protocol_versions(&[&TLS13]).with_webpki_verifier(servers);
        let mut config = match identity {
            Some(own) => config.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
            None => config.with_no_client_auth(),
        };
        // Each connection proves everything again.
        config.resumption = Resumption::disabled();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self {
            tls,
            ledger,
            name: ServerName::try_from(name)?,
        })
    }

    /// Opens a connection. In TLS 1.3 the ledger's refusal of the caller comes later, as the
    /// answer to the first request.
    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        let socket = TcpStream::connect(self.ledger).await?;
        socket.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), socket).await?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let leaf = leaf
            .context("the ledger showed no certificate")?
            .clone()
            .into_owned();
        Ok(Connection {
            stream: BufReader::new(stream),
            leaf,
        })
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, line: &str) -> anyhow::Result<String> {
        self.connect().await?.ask(line).await
    }

    /// The alert by which the ledger refuses this caller.
    ///
    /// # Errors
    ///
    /// It was answered, or failed in another way.
    pub(super) async fn refusal(&self) -> anyhow::Result<AlertDescription> {
        match self.ask("balance").await {
            Ok(answer) => bail!("the ledger should have refused, but answered {answer:?}"),
            Err(error) => alert(&error)
                .ok_or_else(|| error.context("the ledger should have refused with a TLS alert")),
        }
    }
}

impl Connection {
    /// Sends a line; the line that comes back.
    pub(super) async fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .await?;
        self.stream.flush().await?;
        let mut answer = String::new();
        match self.stream.read_line(&mut answer).await? {
            0 => Err(anyhow!(
                "the ledger closed the connection without an answer"
            )),
            _ => Ok(answer.trim_end().to_owned()),
        }
    }
}

/// Whether this error says that the ledger has another name than was expected.
pub(super) fn is_wrong_name(error: &anyhow::Error) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        tls_error(error),
        Some(rustls::Error::InvalidCertificate(
            NotValidForName | NotValidForNameContext { .. }
        ))
    )
}

fn alert(error: &anyhow::Error) -> Option<AlertDescription> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn tls_error(error: &anyhow::Error) -> Option<&rustls::Error> {
    error
        .downcast_ref::<std::io::Error>()?
        .get_ref()?
        .downcast_ref()
}
