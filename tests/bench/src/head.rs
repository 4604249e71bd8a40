//! A head under measurement: its process, its memory, its CPU time, its system calls.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use zone_cli::client::{Address, Client, Settings, roots_of_file};
use zone_testkit::Postgres;
use zone_types::Secret;

use crate::Options;

/// A child process that ends with this value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Seconds of CPU time so far, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name in parentheses can hold spaces; fields are counted behind it.
        let rest = stat.rsplit_once(") ").context("no stat line")?.1;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        let both = ticks(11)
            .zip(ticks(12))
            .context("no CPU times in the stat line")?;
        Ok((both.0 + both.1) / 100.0)
    }

    /// Resident memory in MiB.
    pub(crate) fn rss(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .context("no VmRSS")?;
        let kib = line.split_whitespace().nth(1).context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    /// Starts `command` and waits for a line on its standard output or error that `found` takes.
    pub(crate) fn start<T>(
        command: &mut Command,
        found: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<(Self, T)> {
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let process = Self(child);
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            if let Some(value) = found(&line) {
                // Somebody has to read on, or the pipe fills.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok((process, value));
            }
            seen.push(line);
        }
        bail!("the process ended early:\n{}", seen.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Which store a head keeps its zone in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StoreKind {
    /// A file of its own.
    Embedded,
    /// A PostgreSQL server on this machine, by a Unix socket, with its files on the same disk.
    Postgresql,
}

impl StoreKind {
    /// The server that this store needs, with its files below `directory`.
    pub(crate) fn server(self, directory: &Path) -> anyhow::Result<Option<Postgres>> {
        std::fs::create_dir_all(directory)?;
        Ok(match self {
            Self::Embedded => None,
            Self::Postgresql => Some(Postgres::start_in(&directory.canonicalize()?)),
        })
    }
}

/// A running, unsealed head.
pub(crate) struct Head {
    pub(crate) process: Process,
    pub(crate) client: Client,
    pub(crate) address: String,
    pub(crate) ca: PathBuf,
    pub(crate) token: Secret<String>,
    share: String,
    directory: PathBuf,
    binary: PathBuf,
    server: Option<Postgres>,
    /// From the start of the process to the answer that it is unsealed.
    pub(crate) start: Duration,
}

impl Head {
    /// A new zone below `directory`.
    pub(crate) async fn create(options: &Options, directory: &Path) -> anyhow::Result<Self> {
        let binary = &options.zonehead;
        let server = options.store.server(directory)?;
        let (process, address) = spawn(binary, directory, server.as_ref())?;
        let ca = directory.join("data/listener-ca.pem");
        let client = client(&address, &ca, None)?;
        let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = client
            .document(http::Method::PUT, "sys/init", Some(&ask))
            .await?;
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .context("init answered oddly")
        };
        let share = text(&made["keys_base64"][0])?;
        let token = Secret::new(text(&made["root_token"])?);
        unseal(&client, &share).await?;
        let client = client.with_token(token.clone())?;
        let (binary, directory) = (binary.clone(), directory.canonicalize()?);
        let start = Duration::ZERO;
        Ok(Self {
            process,
            client,
            address,
            ca,
            token,
            share,
            directory,
            binary,
            server,
            start,
        })
    }

    /// Where its audit files may be.
    pub(crate) fn audit_directory(&self) -> PathBuf {
        self.directory.join("data/audit")
    }

    /// The same zone in a new process, after `kill -9`.
    pub(crate) async fn restart(self) -> anyhow::Result<Self> {
        let Self {
            process,
            ca,
            token,
            share,
            directory,
            binary,
            server,
            ..
        } = self;
        drop(process);
        let begun = Instant::now();
        let (process, address) = spawn(&binary, &directory, server.as_ref())?;
        let client = client(&address, &ca, Some(token.clone()))?;
        unseal(&client, &share).await?;
        let start = begun.elapsed();
        Ok(Self {
            process,
            client,
            address,
            ca,
            token,
            share,
            directory,
            binary,
            server,
            start,
        })
    }
}

fn spawn(
    binary: &Path,
    directory: &Path,
    server: Option<&Postgres>,
) -> anyhow::Result<(Process, String)> {
    std::fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let config = directory.join("zonehead.toml");
    let store = server.map_or_else(String::new, |server| {
        let url = server.url();
        format!("type = \"postgresql\"\nconnection_url = \"{url}\"\n")
    });
    let text = format!(
        "zone = \"bench.zone\"\n[storage]\npath = \"{0}/data\"\n{store}[[listener]]\n\
         address = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n",
        directory.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(binary);
    command.arg("server").arg("--config").arg(&config);
    Process::start(&mut command, |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["fields"]["address"].as_str().map(str::to_owned)
    })
}

fn client(address: &str, ca: &Path, token: Option<Secret<String>>) -> anyhow::Result<Client> {
    let mut settings = Settings::new(Address::parse(&format!("https://{address}"))?);
    settings.tls.roots = roots_of_file(ca)?;
    settings.token = token;
    Ok(Client::new(settings)?)
}

async fn unseal(client: &Client, share: &str) -> anyhow::Result<()> {
    let ask = json!({ "key": share });
    let status = client
        .document(http::Method::PUT, "sys/unseal", Some(&ask))
        .await?;
    match status["sealed"] == json!(false) {
        true => Ok(()),
        false => bail!("the zone stays sealed"),
    }
}
