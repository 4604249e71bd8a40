//! Configuration: the file's form, and the resolved form that the roles use.
//!
//! `zonehead.toml` is the native form; `docs/how-to/zonehead.toml` is its documented example, and a
//! test reads it. Vault's and OpenBao's HCL and JSON are read into the same form ([`vault`]). An
//! unknown key is an error, so that a misspelt one never falls back to a default in silence.

mod place;
mod span;
mod store;
mod vault;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zone_access::LeaseTimes;
use zone_audit::Durability;
use zone_types::Cidr;

pub(crate) use place::{Place, SocketRights};
use span::Span;
use store::Storage;
pub(crate) use store::{Server, Store};

/// The file's form.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    zone: String,
    api_addr: Option<String>,
    default_lease_ttl: Option<Span>,
    max_lease_ttl: Option<Span>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    yes_i_want_raw_storage_endpoint: bool,
    storage: Storage,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    listener: Vec<ListenerTable>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ListenerTable {
    address: Place,
    #[serde(default)]
    names: Vec<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    #[serde(default)]
    tls_min_version: TlsVersion,
    #[serde(default)]
    trusted_proxies: Vec<Cidr>,
    #[serde(default)]
    x_forwarded_for_reject_not_present: bool,
    #[serde(default)]
    x_forwarded_for_reject_not_authorized: bool,
    #[serde(default = "yes")]
    disable_unauthed_rekey_endpoints: bool,
    #[serde(default = "yes")]
    disable_unauthed_generate_root_endpoints: bool,
    socket_mode: Option<String>,
    socket_user: Option<String>,
    socket_group: Option<String>,
}

fn yes() -> bool {
    true
}

impl ListenerTable {
    /// A listener of which nothing but the place is said.
    fn at(address: Place) -> Self {
        Self {
            address,
            names: Vec::new(),
            cert_file: None,
            key_file: None,
            tls_min_version: TlsVersion::default(),
            trusted_proxies: Vec::new(),
            x_forwarded_for_reject_not_present: false,
            x_forwarded_for_reject_not_authorized: false,
            disable_unauthed_rekey_endpoints: true,
            disable_unauthed_generate_root_endpoints: true,
            socket_mode: None,
            socket_user: None,
            socket_group: None,
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    #[serde(default)]
    directories: Vec<PathBuf>,
    #[serde(default)]
    receivers: Vec<String>,
    #[serde(default)]
    durability: AuditDurability,
    rotate_bytes: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum AuditDurability {
    #[default]
    System,
    Batch,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Log {
    #[serde(default)]
    level: LogLevel,
    #[serde(default)]
    format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// What a log line looks like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The resolved form: every default filled in, every rule checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The zone's name: its trust domain.
    pub(crate) zone: String,
    pub(crate) api_addr: String,
    /// The directory of the embedded store and of the head's own listener key.
    pub(crate) storage: PathBuf,
    /// Whether `sys/raw` is served.
    pub(crate) raw_storage: bool,
    /// How long leases and tokens live unless a mount says otherwise.
    pub(crate) lease_times: LeaseTimes,
    /// What holds the zone.
    pub(crate) store: Store,
    pub(crate) listeners: Vec<Listener>,
    /// Directories where audit files may be; the first one takes the built-in device's.
    pub(crate) audit_directories: Vec<PathBuf>,
    /// Addresses that syslog and socket devices may send to, beside `/dev/log`.
    pub(crate) audit_receivers: Vec<String>,
    pub(crate) audit_durability: Durability,
    pub(crate) audit_rotate_bytes: Option<u64>,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

/// What a listener serves without a token, as Vault did before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) rekey: bool,
    pub(crate) generate_root: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listener {
    pub(crate) place: Place,
    /// Of a Unix socket.
    pub(crate) rights: SocketRights,
    /// Host names and addresses that the head's own certificate bears.
    pub(crate) names: Vec<String>,
    pub(crate) certificate: Certificate,
    pub(crate) tls12: bool,
    pub(crate) trusted_proxies: Vec<Cidr>,
    /// See [`zone_http::ListenerRules`].
    pub(crate) forwarded_only: bool,
    /// See [`zone_http::ListenerRules`].
    pub(crate) forged_is_refused: bool,
    pub(crate) doors: Doors,
    pub(crate) loopback_hosts_only: bool,
}

/// Where a listener's certificate comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Certificate {
    /// The head makes it, from a CA of its own beside the store.
    Own,
    /// Files, read again at SIGHUP.
    Files { chain: PathBuf, key: PathBuf },
}

/// What is wrong with a configuration. `Display` names file, place, and what was expected.
#[derive(Debug)]
pub(crate) struct ConfigFault {
    file: PathBuf,
    text: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.text.trim_end())
    }
}

impl std::error::Error for ConfigFault {}

/// Reads and resolves the configuration: one file, several in Vault's form, or directories of
/// those (`.hcl` and `.json`, in the order of their names).
pub(crate) fn load(paths: &[PathBuf]) -> Result<Settings, ConfigFault> {
    let file = read(paths)?;
    resolve(file).map_err(|text| fault_in(&paths[0], text))
}

/// The configuration in the form of `zonehead.toml`, whatever form it is in.
pub(crate) fn as_toml(paths: &[PathBuf]) -> Result<String, ConfigFault> {
    load(paths)?;
    toml::to_string(&read(paths)?).map_err(|error| fault_in(&paths[0], error.to_string()))
}

fn fault_in(file: &Path, text: String) -> ConfigFault {
    ConfigFault {
        file: file.to_owned(),
        text,
    }
}

fn read(paths: &[PathBuf]) -> Result<File, ConfigFault> {
    let files = files_of(paths)?;
    let native = |file: &Path| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        !matches!(ending, Some("hcl" | "json"))
    };
    if let [file] = &files[..]
        && native(file)
    {
        return toml::from_str(&text_of(file)?).map_err(|error| fault_in(file, error.to_string()));
    }
    if let Some(file) = files.iter().find(|file| native(file)) {
        let text = "stands with other files: only .hcl and .json files can be read together";
        return Err(fault_in(file, text.into()));
    }
    let parse = |file: &PathBuf| vault::parse(file, &text_of(file)?);
    vault::read(files.iter().map(parse).collect::<Result<_, _>>()?)
}

fn text_of(file: &Path) -> Result<String, ConfigFault> {
    std::fs::read_to_string(file)
        .map_err(|error| fault_in(file, format!("cannot be read: {error}")))
}

/// The files themselves, with directories opened up.
fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigFault> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let cannot = |error: std::io::Error| fault_in(path, format!("cannot be read: {error}"));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path();
            let ending = file.extension().and_then(|ending| ending.to_str());
            if matches!(ending, Some("hcl" | "json")) && file.is_file() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(fault_in(path, "holds no .hcl and no .json file".into()));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

fn resolve(file: File) -> Result<Settings, String> {
    let zone = file.zone.to_ascii_lowercase();
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    if zone.is_empty() || zone.len() > 255 || !zone.bytes().all(fits) {
        return Err("key 'zone': expected a trust domain, such as \"zone.example.org\"".into());
    }
    let store = file.storage.resolve()?;
    let (usual, most) = (file.default_lease_ttl, file.max_lease_ttl);
    let lease_times = span::lease_times(usual.as_ref(), most.as_ref())?;
    if file.listener.is_empty() {
        return Err("expected at least one [[listener]] with an 'address'".into());
    }
    let listeners: Vec<Listener> = file
        .listener
        .into_iter()
        .map(listener)
        .collect::<Result<_, _>>()?;
    let mut audit_directories = file.audit.directories;
    if audit_directories
        .iter()
        .any(|directory| !directory.is_absolute())
    {
        return Err("key 'audit.directories': expected absolute paths".into());
    }
    if audit_directories.is_empty() {
        audit_directories.push(file.storage.path.join("audit"));
    }
    if file
        .audit
        .rotate_bytes
        .is_some_and(|bytes| bytes < 1024 * 1024)
    {
        return Err("key 'audit.rotate_bytes': expected at least 1048576 (1 MiB)".into());
    }
    Ok(Settings {
        zone,
        api_addr: file.api_addr.unwrap_or_else(|| api_addr(&listeners)),
        storage: file.storage.path,
        raw_storage: file.yes_i_want_raw_storage_endpoint,
        lease_times,
        store,
        listeners,
        audit_directories,
        audit_receivers: file.audit.receivers,
        audit_durability: match file.audit.durability {
            AuditDurability::System => Durability::System,
            AuditDurability::Batch => Durability::Batch,
        },
        audit_rotate_bytes: file.audit.rotate_bytes,
        log_level: file.log.level,
        log_format: file.log.format,
    })
}

/// The address that clients are told to use, unless the file says it.
fn api_addr(listeners: &[Listener]) -> String {
    let first = listeners.iter().find_map(|listener| listener.place.tcp());
    let first = first.unwrap_or_else(|| ([127, 0, 0, 1], 8200).into());
    format!("https://{first}")
}

fn listener(table: ListenerTable) -> Result<Listener, String> {
    let certificate = match (table.cert_file, table.key_file) {
        (None, None) => Certificate::Own,
        (Some(chain), Some(key)) => Certificate::Files { chain, key },
        _ => return Err("[[listener]]: 'cert_file' and 'key_file' belong together".into()),
    };
    let is_unix = matches!(table.address, Place::Unix(_));
    if is_unix && certificate != Certificate::Own {
        return Err(
            "[[listener]]: a Unix socket has no TLS: remove 'cert_file' and 'key_file'".into(),
        );
    }
    let rights = rights(
        table.socket_mode.as_deref(),
        table.socket_user,
        table.socket_group,
    )?;
    if !is_unix && rights != SocketRights::default() {
        return Err(
            "[[listener]]: 'socket_mode', 'socket_user' and 'socket_group' are for unix:/PATH"
                .into(),
        );
    }
    Ok(Listener {
        names: names(table.names, &table.address),
        place: table.address,
        rights,
        certificate,
        tls12: table.tls_min_version == TlsVersion::Tls12,
        trusted_proxies: table.trusted_proxies,
        forwarded_only: table.x_forwarded_for_reject_not_present,
        forged_is_refused: table.x_forwarded_for_reject_not_authorized,
        doors: Doors {
            rekey: !table.disable_unauthed_rekey_endpoints,
            generate_root: !table.disable_unauthed_generate_root_endpoints,
        },
        loopback_hosts_only: false,
    })
}

fn rights(
    mode: Option<&str>,
    user: Option<String>,
    group: Option<String>,
) -> Result<SocketRights, String> {
    let parse = |text| {
        let expected = "[[listener]]: 'socket_mode': expected octal digits such as \"0660\"";
        place::parse_mode(text).ok_or_else(|| expected.to_owned())
    };
    Ok(SocketRights {
        mode: mode.map(parse).transpose()?,
        user,
        group,
    })
}

/// The names in the certificate: those given, the address, and the loopback names.
fn names(mut names: Vec<String>, place: &Place) -> Vec<String> {
    let ip = place.tcp().map(|address| address.ip());
    let ip = ip.filter(|ip| !ip.is_unspecified());
    let more = ip.map(|ip| ip.to_string());
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in more.into_iter().chain(loopback) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl Settings {
    /// The settings of `zonehead dev` under `directory`.
    pub(crate) fn for_dev(directory: &Path, listen: SocketAddr) -> Self {
        let names = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        let listener = Listener {
            place: Place::Tcp(listen),
            rights: SocketRights::default(),
            names,
            certificate: Certificate::Own,
            tls12: false,
            trusted_proxies: Vec::new(),
            forwarded_only: false,
            forged_is_refused: false,
            doors: Doors::default(),
            loopback_hosts_only: true,
        };
        Self {
            zone: "dev.zone".into(),
            api_addr: format!("https://{listen}"),
            storage: directory.join("data"),
            raw_storage: false,
            lease_times: LeaseTimes::default(),
            store: Store::File,
            listeners: vec![listener],
            audit_directories: vec![directory.join("audit")],
            audit_receivers: Vec::new(),
            audit_durability: Durability::System,
            audit_rotate_bytes: Some(256 * 1024 * 1024),
            log_level: LogLevel::Warn,
            log_format: LogFormat::Text,
        }
    }

    /// The names under which this head is reached; PKI roles may not issue for them (C3).
    pub(crate) fn head_names(&self) -> Vec<String> {
        self.listeners
            .iter()
            .flat_map(|listener| listener.names.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests;
