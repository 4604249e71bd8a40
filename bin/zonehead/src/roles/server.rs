//! `zonehead server`: a head under systemd or by hand.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Settings};
use crate::identity::RENEW_AFTER;
use crate::logging::Logging;
use crate::serving::Serving;
use crate::wiring::{self, Head};

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(files: &[PathBuf]) -> anyhow::Result<()> {
    let settings = config::load(files)?;
    let logging = Logging::start(settings.log_level, settings.log_format)?;
    zone_host_linux::harden_process().context("hardening the process")?;
    // Before READY: a SIGHUP that nobody catches ends the process.
    let signals = Signals::catch()?;
    let head = wiring::assemble(&settings, logging.clone()).await?;
    let serving = Serving::start(&head, &settings).await?;
    for address in serving.places() {
        tracing::info!(%address, zone = settings.zone, "serving, sealed");
    }
    tracing::info!(
        ca = %serving.ca().file().display(),
        sha256 = serving.ca().fingerprint(),
        "clients trust this CA (VAULT_CACERT)"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    let running = Running {
        files: files.to_owned(),
        settings,
        logging,
        head,
        serving,
    };
    running.until_stopped(signals).await
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Running {
    files: Vec<PathBuf>,
    settings: Settings,
    logging: Arc<Logging>,
    head: Head,
    serving: Serving,
}

impl Running {
    async fn until_stopped(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let zone = self.head.zone.clone();
        let background = tokio::spawn(async move { zone.system.background().await });
        let mut renew = tokio::time::interval(RENEW_AFTER);
        renew.tick().await;
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => self.reload().await,
                _ = renew.tick() => self.renew(),
            }
        }
        tracing::info!("stopping: open requests may end, then the zone is sealed");
        notify(&[sd_notify::NotifyState::Stopping]);
        self.serving.drain().await;
        background.abort();
        self.head.close().await;
        Ok(())
    }

    /// SIGHUP. A configuration that is wrong changes nothing.
    async fn reload(&mut self) {
        notify(&[sd_notify::NotifyState::Reloading]);
        match config::load(&self.files) {
            Ok(settings) => self.take(settings),
            Err(fault) => tracing::error!(%fault, "not reloaded: the old configuration stays"),
        }
        self.renew();
        if let Err(error) = self.head.zone.system.broker().reopen_all().await {
            tracing::error!(%error, "an audit file could not be opened again");
        }
        notify(&[sd_notify::NotifyState::Ready]);
    }

    fn take(&mut self, settings: Settings) {
        if let Err(error) = self.logging.set_level(settings.log_level) {
            tracing::error!(%error, "the log level stays");
        }
        for part in needs_restart(&self.settings, &settings) {
            tracing::warn!(
                part,
                "changed in the configuration; takes effect at the next start"
            );
        }
        self.settings.log_level = settings.log_level;
        tracing::info!("configuration reloaded");
    }

    fn renew(&self) {
        if let Err(error) = self.serving.renew() {
            tracing::error!(
                error = format!("{error:#}"),
                "the listeners keep their certificates"
            );
        }
    }
}

/// Parts that differ and that a running head cannot change.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differ = [
        ("zone", old.zone != new.zone),
        ("api_addr", old.api_addr != new.api_addr),
        (
            "yes_i_want_raw_storage_endpoint",
            old.raw_storage != new.raw_storage,
        ),
        (
            "default_lease_ttl, max_lease_ttl",
            old.lease_times != new.lease_times,
        ),
        (
            "storage",
            (&old.storage, &old.store) != (&new.storage, &new.store),
        ),
        ("listener", old.listeners != new.listeners),
        (
            "audit.directories",
            old.audit_directories != new.audit_directories,
        ),
        (
            "audit.durability",
            old.audit_durability != new.audit_durability,
        ),
        (
            "audit.rotate_bytes",
            old.audit_rotate_bytes != new.audit_rotate_bytes,
        ),
        ("log.format", old.log_format != new.log_format),
    ];
    differ
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(part, _)| part)
        .collect()
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
