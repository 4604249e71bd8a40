//! Listeners of a running head: opened together, reloaded together, drained together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use zone_http::tls::{ListenerCertificate, server_config};
use zone_http::{App, ListenerRules};
use zone_ports::{Clock, Random};

use crate::config::{Certificate, Listener, Settings};
use crate::identity::{self, ListenerCa, Pair};
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
    address: SocketAddr,
    certificate: Arc<ListenerCertificate>,
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
        for listener in &settings.listeners {
            serving.listen(head, listener).await?;
        }
        Ok(serving)
    }

    async fn listen(&mut self, head: &Head, listener: &Listener) -> anyhow::Result<()> {
        let (chain, key) = self.pair(listener)?;
        let certificate = ListenerCertificate::new(chain, key)
            .context("the listener's certificate and key do not fit together")?;
        let tls = server_config(certificate.clone(), listener.tls12)?;
        let socket = TcpListener::bind(listener.address)
            .await
            .with_context(|| format!("listening on {}", listener.address))?;
        let address = socket.local_addr()?;
        let rules = ListenerRules {
            loopback_hosts_only: listener.loopback_hosts_only,
            trusted_proxies: listener.trusted_proxies.clone(),
        };
        let app = App::new(head.zone.clone(), rules);
        self.tasks.spawn(zone_http::server::serve(
            socket,
            Some(tls),
            app,
            self.stop.subscribe(),
        ));
        self.open.push(Open {
            listener: listener.clone(),
            address,
            certificate,
        });
        Ok(())
    }

    fn pair(&self, listener: &Listener) -> anyhow::Result<Pair> {
        match &listener.certificate {
            Certificate::Own => self
                .ca
                .issue(&listener.names, self.clock.now(), &*self.random),
            Certificate::Files { chain, key } => identity::from_files(chain, key),
        }
    }

    /// The addresses that were bound, in the order of the configuration.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().map(|open| open.address).collect()
    }

    /// The CA of the listeners that have no certificate files.
    pub(crate) fn ca(&self) -> &ListenerCa {
        &self.ca
    }

    /// Reads or makes every listener's certificate again. New handshakes see it; on an error the
    /// old one stays.
    pub(crate) fn renew(&self) -> anyhow::Result<()> {
        for open in &self.open {
            let (chain, key) = self.pair(&open.listener)?;
            open.certificate
                .replace(chain, key)
                .with_context(|| format!("the new certificate of {}", open.address))?;
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
