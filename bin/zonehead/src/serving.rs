//! Listeners of a running head: opened together, reloaded together, drained together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use zone_host_linux::unix_socket::{self, Rights};
use zone_http::server::Socket;
use zone_http::tls::{ListenerCertificate, server_config};
use zone_http::{App, ListenerRules};
use zone_ports::{Clock, Random};

use crate::config::{Certificate, Listener, Place, Settings, SocketRights};
use crate::identity::{self, ListenerCa, Pair};
use crate::passed::Passed;
use crate::wiring::Head;

/// How long open requests may take after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

/// The listeners, serving.
pub(crate) struct Serving {
    ca: ListenerCa,
    open: Vec<Open>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

struct Open {
    listener: Listener,
    /// `None` on a Unix socket.
    address: Option<SocketAddr>,
    /// `None` on a Unix socket, which has no TLS.
    certificate: Option<Arc<ListenerCertificate>>,
}

impl Serving {
    /// Opens every listener of `settings` and serves `head` on it.
    pub(crate) async fn start(head: &Head, settings: &Settings) -> anyhow::Result<Self> {
        let (clock, random) = (head.clock.clone(), head.zone.random.clone());
        let ca = ListenerCa::open(&settings.storage, &settings.zone, &*clock, &*random)?;
        let (stop, _) = watch::channel(false);
        let mut serving = Self {
            ca,
            open: Vec::new(),
            stop,
            tasks: JoinSet::new(),
            clock,
            random,
        };
        let mut passed = Passed::take();
        for listener in &settings.listeners {
            serving.listen(head, listener, &mut passed).await?;
        }
        for name in passed.left() {
            tracing::warn!(name, "systemd passed on a socket that no listener names");
        }
        Ok(serving)
    }

    async fn listen(
        &mut self,
        head: &Head,
        listener: &Listener,
        passed: &mut Passed,
    ) -> anyhow::Result<()> {
        let socket = open(listener, passed)
            .await
            .with_context(|| format!("listening on {}", listener.place))?;
        let (address, certificate) = match &socket {
            Socket::Tcp(socket) => (Some(socket.local_addr()?), Some(self.certified(listener)?)),
            Socket::Unix(_) => (None, None),
        };
        let tls = certificate
            .clone()
            .map(|certificate| server_config(certificate, listener.tls12))
            .transpose()?;
        let rules = ListenerRules {
            loopback_hosts_only: listener.loopback_hosts_only,
            trusted_proxies: listener.trusted_proxies.clone(),
            forwarded_only: listener.forwarded_only,
            forged_is_refused: listener.forged_is_refused,
            doors: zone_http::vault::Doors {
                rekey: listener.doors.rekey,
                generate_root: listener.doors.generate_root,
            },
        };
        let app = App::new(head.zone.clone(), rules);
        let served = zone_http::server::serve(socket, tls, app, self.stop.subscribe());
        self.tasks.spawn(served);
        self.open.push(Open {
            listener: listener.clone(),
            address,
            certificate,
        });
        Ok(())
    }

    fn certified(&self, listener: &Listener) -> anyhow::Result<Arc<ListenerCertificate>> {
        let (chain, key) = self.pair(listener)?;
        ListenerCertificate::new(chain, key)
            .context("the listener's certificate and key do not fit together")
    }

    fn pair(&self, listener: &Listener) -> anyhow::Result<Pair> {
        match &listener.certificate {
            Certificate::Own => self
                .ca
                .issue(&listener.names, self.clock.now(), &*self.random),
            Certificate::Files { chain, key } => identity::from_files(chain, key),
        }
    }

    /// The TCP addresses that were bound, in the order of the configuration.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|open| open.address).collect()
    }

    /// Every listener as a log line shows it.
    pub(crate) fn places(&self) -> Vec<String> {
        let shown = |open: &Open| match open.address {
            Some(address) => address.to_string(),
            None => open.listener.place.to_string(),
        };
        self.open.iter().map(shown).collect()
    }

    /// The CA of the listeners that have no certificate files.
    pub(crate) fn ca(&self) -> &ListenerCa {
        &self.ca
    }

    /// Reads or makes every listener's certificate again. New handshakes see it; on an error the
    /// old one stays.
    pub(crate) fn renew(&self) -> anyhow::Result<()> {
        for open in &self.open {
            let Some(certificate) = &open.certificate else {
                continue;
            };
            let (chain, key) = self.pair(&open.listener)?;
            certificate
                .replace(chain, key)
                .with_context(|| format!("the new certificate of {}", open.listener.place))?;
        }
        Ok(())
    }

    /// Takes no more connections and waits for open requests, within bounds.
    pub(crate) async fn drain(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("requests that took longer than 20 seconds were cut off");
        }
    }
}

/// Binds a listener, or takes over the socket that was passed on for it.
async fn open(listener: &Listener, passed: &mut Passed) -> anyhow::Result<Socket> {
    match &listener.place {
        Place::Tcp(address) => Ok(TcpListener::bind(address).await?.into()),
        Place::Passed(name) => passed.named(name),
        Place::Unix(path) => {
            let SocketRights { mode, user, group } = &listener.rights;
            let rights = Rights {
                mode: mode.unwrap_or(0o600),
                user: user.as_deref(),
                group: group.as_deref(),
            };
            let socket = unix_socket::listen(path, rights)?;
            socket.set_nonblocking(true)?;
            Ok(UnixListener::from_std(socket)?.into())
        }
    }
}
