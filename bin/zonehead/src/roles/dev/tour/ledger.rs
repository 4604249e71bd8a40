//! `ledger.svc.test`: a small service that answers one line for each line, over mutual TLS.
//!
//! What must hold: a caller is answered only if its certificate comes from the zone's CA and
//! stands on no revocation list. No session is resumed: that would skip the question.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zone_x509::{AltName, Certificate};

use super::authority::{Identity, Trust};

/// How long a refused caller may take to read why.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest line of a caller.
const LONGEST_LINE: u64 = 1024;

/// The service; it ends when this is dropped.
pub(super) struct Ledger {
    /// Where it listens.
    pub(super) address: SocketAddr,
    config: watch::Sender<Arc<ServerConfig>>,
    _serving: JoinSet<()>,
}

impl Ledger {
    /// Starts on a free port.
    pub(super) async fn start(identity: &Identity, trust: &Trust) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (config, watched) = watch::channel(config(identity, trust)?);
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, watched));
        Ok(Self {
            address,
            config,
            _serving: serving,
        })
    }

    /// Takes another certificate or newer revocation lists. New connections see them at once;
    /// open ones go on as they began.
    pub(super) fn reload(&self, identity: &Identity, trust: &Trust) -> anyhow::Result<()> {
        self.config.send_replace(config(identity, trust)?);
        Ok(())
    }
}

fn config(identity: &Identity, trust: &Trust) -> anyhow::Result<Arc<ServerConfig>> {
    let callers = WebPkiClientVerifier::builder(trust.anchors.clone())
        .with_crls(trust.revoked.clone())
        .enforce_revocation_expiration()
        .build()
        .context("the ledger cannot use the CA's revocation lists")?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_client_cert_verifier(callers)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

async fn accept(listener: TcpListener, config: watch::Receiver<Arc<ServerConfig>>) {
    let mut open = JoinSet::new();
    while let Ok((socket, _caller)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(config.borrow().clone());
        open.spawn(serve(acceptor, socket));
        while open.try_join_next().is_some() {}
    }
}

async fn serve(acceptor: TlsAcceptor, socket: TcpStream) {
    // Small answers must not wait for more; without it they only come later.
    let _ = socket.set_nodelay(true);
    match acceptor.accept(socket).into_fallible().await {
        // The caller went away: nothing is left to do for it.
        Ok(stream) => drop(answer(stream).await),
        Err((_refusal, socket)) => dismiss(socket).await,
    }
}

/// Closes so that the alert, which is sent already, arrives: a close with bytes unread would
/// reset the connection and could discard it.
async fn dismiss(mut socket: TcpStream) {
    let farewell = async {
        socket.shutdown().await?;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

async fn answer(stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let caller = name_of_caller(&stream).unwrap_or_default();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while (&mut stream)
        .take(LONGEST_LINE)
        .read_line(&mut line)
        .await?
        > 0
    {
        let reply = format!("{} for {caller}\n", line.trim_end());
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    stream.shutdown().await
}

/// The first DNS name in the certificate that the caller proved to hold.
fn name_of_caller(stream: &TlsStream<TcpStream>) -> Option<String> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    let names = Certificate::from_der(leaf).ok()?.alternative_names();
    names.into_iter().find_map(|name| match name {
        AltName::Dns(name) => Some(name),
        _ => None,
    })
}
