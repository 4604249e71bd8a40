//! `zonehead dev`: a whole zone on this machine, durable below one directory.
//!
//! ```text
//! DIR/data/          the store and the listener's CA
//! DIR/audit/         the audit trail
//! DIR/unseal-key     the one share of the unseal key: whoever has DIR has the zone
//! DIR/token          the root token
//! DIR/ca.pem         what clients trust
//! DIR/env            shell lines: address, token, CA
//! ```

mod shell;
#[cfg(test)]
mod tests;
mod tour;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zone_cli::client::{Address, Client, Settings as ClientSettings, roots_of_file};
use zone_system::InitOptions;
use zone_types::Secret;

use self::shell::{quoted, shell_word};
use crate::args::DevOptions;
use crate::config::{LogFormat, LogLevel, Settings};
use crate::identity::write_whole;
use crate::logging::Logging;
use crate::serving::Serving;
use crate::wiring::{self, Head};

/// Where clients expect a zone.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8200);
/// Life of the example CA.
const CA_TTL: &str = "8760h";

/// The directory of one dev zone.
struct Place {
    path: PathBuf,
    /// Removed at the end, if nobody chose it.
    temporary: bool,
}

impl Place {
    fn open(chosen: Option<PathBuf>) -> anyhow::Result<Self> {
        let (path, temporary) = match chosen {
            Some(path) => (std::path::absolute(path)?, false),
            None => (
                std::env::temp_dir().join(format!("zonehead-dev-{}", std::process::id())),
                true,
            ),
        };
        if temporary && path.exists() {
            bail!(
                "{} is there already: remove it, or choose a directory with --dir",
                path.display()
            );
        }
        wiring::private_directory(&path)?;
        Ok(Self { path, temporary })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read(&self, name: &str) -> anyhow::Result<Secret<String>> {
        let file = self.file(name);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "reading {}; if the directory is half made, remove it and begin again",
                file.display()
            )
        })?;
        Ok(Secret::new(text.trim().to_owned()))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        write_whole(&self.file(name), text.as_bytes(), 0o600)
    }

    fn say_farewell(&self) {
        let text = match self.temporary {
            true => format!("The zone is gone, and {} with it.", self.path.display()),
            false => {
                let directory = shell_word(&self.path);
                format!("Stopped. Resume with: zonehead dev --dir {directory}")
            }
        };
        // Nobody may be there to read it any more.
        let _ = writeln!(std::io::stdout(), "\n{text}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running dev zone, as the tour sees it.
pub(super) struct DevZone {
    /// Its directory.
    pub(super) directory: PathBuf,
    /// Its address.
    pub(super) address: SocketAddr,
    /// A client with the root token.
    pub(super) client: Client,
}

/// Runs until it is interrupted.
pub(crate) async fn run(options: DevOptions) -> anyhow::Result<()> {
    let listen = address_of(options.listen).await?;
    let mut stop = StopSignals::catch()?;
    let place = Place::open(options.dir)?;
    let logging = Logging::start(LogLevel::Warn, LogFormat::Text)?;
    zone_host_linux::harden_process().context("hardening the process")?;
    let settings = Settings::for_dev(&place.path, listen);
    let head = wiring::assemble(&settings, logging).await?;
    let serving = Serving::start(&head, &settings).await?;
    let address = serving
        .addresses()
        .first()
        .copied()
        .context("no listener")?;
    let zone = head.zone.clone();
    let background = tokio::spawn(async move { zone.system.background().await });
    let up = async {
        start(&head, &serving, &place, address, options.no_tour).await?;
        std::future::pending().await
    };
    let stopped = tokio::select! {
        () = stop.received() => Ok(()),
        failed = up => failed,
    };
    serving.drain().await;
    background.abort();
    head.close().await;
    place.say_farewell();
    stopped
}

async fn start(
    head: &Head,
    serving: &Serving,
    place: &Place,
    address: SocketAddr,
    no_tour: bool,
) -> anyhow::Result<()> {
    let zone = prepare(head, serving, place, address).await?;
    greet(place, address)?;
    if !no_tour {
        tour::run(&zone).await?;
    }
    let up = format!("The zone stays up at https://{address} until you press Ctrl-C.");
    writeln!(std::io::stdout(), "\n{up}")?;
    Ok(())
}

/// Unseals the zone, writes the files for clients, mounts the engines.
async fn prepare(
    head: &Head,
    serving: &Serving,
    place: &Place,
    address: SocketAddr,
) -> anyhow::Result<DevZone> {
    open(head, place).await?;
    let ca = std::fs::read_to_string(serving.ca().file())?;
    write_whole(&place.file("ca.pem"), ca.as_bytes(), 0o644)?;
    let token = place.read("token")?;
    place.write("env", &env_lines(place, address, &token))?;
    let client = client(place, address, token)?;
    furnish(&client).await?;
    Ok(DevZone {
        directory: place.path.clone(),
        address,
        client,
    })
}

/// Ctrl-C and SIGTERM, caught from the first moment: a temporary directory is then removed.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The address that was asked for, which must be a loopback one; else the usual one, or a free
/// port if that is taken.
async fn address_of(asked: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    match asked {
        Some(address) if address.ip().is_loopback() => Ok(address),
        Some(address) => Err(anyhow!(
            "--listen {address}: a dev zone listens on loopback only; `zonehead server` is for the rest"
        )),
        None => match tokio::net::TcpListener::bind(USUAL).await {
            Ok(_free) => Ok(USUAL),
            Err(_) => Ok(SocketAddr::new(USUAL.ip(), 0)),
        },
    }
}

/// Initialises the zone if it is new, and unseals it.
async fn open(head: &Head, place: &Place) -> anyhow::Result<()> {
    let system = &head.zone.system;
    if !system.seal_status("").await?.initialized {
        let options = InitOptions {
            shares: 1,
            threshold: 1,
            age_recipients: Vec::new(),
        };
        let made = system
            .init(options)
            .await
            .context("initialising the zone")?;
        let share = made
            .shares
            .keys_base64()
            .into_iter()
            .next()
            .context("init gave no share")?;
        place.write("token", made.root_token())?;
        place.write("unseal-key", &share)?;
    }
    let share = place.read("unseal-key")?;
    system
        .unseal(&share, "dev")
        .await
        .context("unsealing the zone")?;
    Ok(())
}

fn client(place: &Place, address: SocketAddr, token: Secret<String>) -> anyhow::Result<Client> {
    let mut settings = ClientSettings::new(Address::parse(&format!("https://{address}"))?);
    settings.tls.roots = roots_of_file(&place.file("ca.pem"))?;
    settings.token = Some(token);
    settings.timeout = Duration::from_secs(60);
    Ok(Client::new(settings)?)
}

/// Mounts what a newcomer expects, unless it is there.
async fn furnish(client: &Client) -> anyhow::Result<()> {
    let mounts = client
        .read("sys/mounts", &[])
        .await?
        .context("no answer from sys/mounts")?;
    if mounts.field("secret/").is_none() {
        let kv = json!({ "type": "kv", "options": { "version": "2" }, "description": "secrets" });
        client.write("sys/mounts/secret", &kv).await?;
    }
    if mounts.field("pki/").is_none() {
        let pki = json!({
            "type": "pki",
            "description": "the zone's CA",
            "config": { "max_lease_ttl": CA_TTL },
        });
        client.write("sys/mounts/pki", &pki).await?;
    }
    if client
        .read("pki/config/issuers", &[])
        .await?
        .is_none_or(|reply| no_default(&reply))
    {
        let root = json!({ "common_name": "dev zone CA", "key_type": "ec", "key_bits": 256, "ttl": CA_TTL });
        client.write("pki/root/generate/internal", &root).await?;
    }
    let role = json!({
        "allowed_domains": "svc.test",
        "allow_subdomains": true,
        "key_type": "ec",
        "key_bits": 256,
        "max_ttl": "72h",
    });
    client.write("pki/roles/service", &role).await?;
    Ok(())
}

fn no_default(issuers: &zone_cli::client::Reply) -> bool {
    issuers
        .field("default")
        .and_then(|value| value.as_str())
        .unwrap_or_default()
        .is_empty()
}

fn env_lines(place: &Place, address: SocketAddr, token: &Secret<String>) -> String {
    let ca = place.file("ca.pem").display().to_string();
    let mut lines = String::new();
    for (name, value) in [
        ("VAULT_ADDR", format!("https://{address}")),
        ("VAULT_TOKEN", token.expose().clone()),
        ("VAULT_CACERT", ca),
    ] {
        lines.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    lines
}

fn greet(place: &Place, address: SocketAddr) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let directory = shell_word(&place.path);
    writeln!(
        out,
        "zonehead dev: a zone for trying, not for real secrets."
    )?;
    writeln!(out, "  address    https://{address}")?;
    writeln!(out, "  directory  {}", place.path.display())?;
    writeln!(
        out,
        "  use it     eval \"$(zonehead dev env --dir {directory})\""
    )
}

/// `zonehead dev env`.
pub(crate) fn print_env(directory: &Path) -> anyhow::Result<()> {
    let file = directory.join("env");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "reading {}; is `zonehead dev --dir` running there?",
            file.display()
        )
    })?;
    print!("{text}");
    Ok(())
}
