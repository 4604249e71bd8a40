//! `zonehead.toml`: the file's form, and the resolved form that the roles use.
//!
//! An unknown key is an error, so that a misspelt one never falls back to a default in silence.
//! `docs/how-to/zonehead.toml` is the documented example; a test reads it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zone_audit::Durability;

/// The file's form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    zone: String,
    api_addr: Option<String>,
    storage: Storage,
    #[serde(default)]
    listener: Vec<ListenerTable>,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Storage {
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerTable {
    address: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    #[serde(default)]
    tls_min_version: TlsVersion,
    #[serde(default)]
    trusted_proxies: Vec<IpAddr>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[default]
    #[serde(rename = "1.3")]
    Tls13,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    #[serde(default)]
    directories: Vec<PathBuf>,
    #[serde(default)]
    durability: AuditDurability,
    rotate_bytes: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AuditDurability {
    #[default]
    System,
    Batch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    #[serde(default)]
    level: LogLevel,
    #[serde(default)]
    format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// What a log line looks like.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
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
    /// The directory of the store and of the head's own listener key.
    pub(crate) storage: PathBuf,
    pub(crate) listeners: Vec<Listener>,
    /// Directories where audit files may be; the first one takes the built-in device's.
    pub(crate) audit_directories: Vec<PathBuf>,
    pub(crate) audit_durability: Durability,
    pub(crate) audit_rotate_bytes: Option<u64>,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Host names and addresses that the head's own certificate bears.
    pub(crate) names: Vec<String>,
    pub(crate) certificate: Certificate,
    pub(crate) tls12: bool,
    pub(crate) trusted_proxies: Vec<IpAddr>,
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

/// Reads and resolves `file`.
pub(crate) fn load(file: &Path) -> Result<Settings, ConfigFault> {
    let fault = |text: String| ConfigFault {
        file: file.to_owned(),
        text,
    };
    let text =
        std::fs::read_to_string(file).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let parsed: File = toml::from_str(&text).map_err(|error| fault(error.to_string()))?;
    resolve(parsed).map_err(fault)
}

fn resolve(file: File) -> Result<Settings, String> {
    let zone = file.zone.to_ascii_lowercase();
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    if zone.is_empty() || zone.len() > 255 || !zone.bytes().all(fits) {
        return Err("key 'zone': expected a trust domain, such as \"zone.example.org\"".into());
    }
    if !file.storage.path.is_absolute() {
        return Err("key 'storage.path': expected an absolute path".into());
    }
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
        api_addr: file
            .api_addr
            .unwrap_or_else(|| format!("https://{}", listeners[0].address)),
        storage: file.storage.path,
        listeners,
        audit_directories,
        audit_durability: match file.audit.durability {
            AuditDurability::System => Durability::System,
            AuditDurability::Batch => Durability::Batch,
        },
        audit_rotate_bytes: file.audit.rotate_bytes,
        log_level: file.log.level,
        log_format: file.log.format,
    })
}

fn listener(table: ListenerTable) -> Result<Listener, String> {
    let certificate = match (table.cert_file, table.key_file) {
        (None, None) => Certificate::Own,
        (Some(chain), Some(key)) => Certificate::Files { chain, key },
        _ => return Err("[[listener]]: 'cert_file' and 'key_file' belong together".into()),
    };
    let mut names = table.names;
    let ip = table.address.ip();
    if !ip.is_unspecified() && !names.contains(&ip.to_string()) {
        names.push(ip.to_string());
    }
    for loopback in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == loopback) {
            names.push(loopback.to_owned());
        }
    }
    Ok(Listener {
        address: table.address,
        names,
        certificate,
        tls12: table.tls_min_version == TlsVersion::Tls12,
        trusted_proxies: table.trusted_proxies,
        loopback_hosts_only: false,
    })
}

impl Settings {
    /// The settings of `zonehead dev` under `directory`.
    pub(crate) fn for_dev(directory: &Path, listen: SocketAddr) -> Self {
        let names = ["localhost", "127.0.0.1", "::1"]
            .map(str::to_owned)
            .to_vec();
        let listener = Listener {
            address: listen,
            names,
            certificate: Certificate::Own,
            tls12: false,
            trusted_proxies: Vec::new(),
            loopback_hosts_only: true,
        };
        Self {
            zone: "dev.zone".into(),
            api_addr: format!("https://{listen}"),
            storage: directory.join("data"),
            listeners: vec![listener],
            audit_directories: vec![directory.join("audit")],
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
mod tests {
    use super::*;

    fn fault_of(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("zonehead.toml");
        std::fs::write(&file, text).unwrap();
        load(&file).unwrap_err().to_string()
    }

    const GOOD: &str = "zone = \"zone.example\"\n[storage]\npath = \"/var/lib/zonehead\"\n\
                        [[listener]]\naddress = \"127.0.0.1:8200\"\n";

    #[test]
    fn the_documented_example_is_valid() {
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/how-to/zonehead.toml"
        );
        let settings = load(Path::new(example)).unwrap();
        assert_eq!(settings.zone, "zone.example.org");
    }

    #[test]
    fn a_fault_names_file_line_and_key() {
        let text = fault_of(&format!("{GOOD}colour = 1\n"));
        assert!(text.contains("zonehead.toml: "), "{text}");
        assert!(text.contains("line 6") && text.contains("colour"), "{text}");
        let text = fault_of(&GOOD.replace("127.0.0.1:8200", "somewhere"));
        assert!(text.contains("line 5"), "{text}");
        let text = fault_of(&GOOD.replace("/var/lib", "var/lib"));
        assert!(text.contains("'storage.path'"), "{text}");
        let text = fault_of(&format!("{GOOD}cert_file = \"/a\"\n"));
        assert!(text.contains("'key_file'"), "{text}");
        let text = fault_of("zone = \"a b\"\n[storage]\npath = \"/x\"\n");
        assert!(text.contains("'zone'"), "{text}");
        assert!(fault_of("").contains("zone"));
    }

    #[test]
    fn defaults_are_filled_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("zonehead.toml");
        std::fs::write(&file, GOOD).unwrap();
        let settings = load(&file).unwrap();
        assert_eq!(
            settings.audit_directories,
            [Path::new("/var/lib/zonehead/audit")]
        );
        assert_eq!(settings.api_addr, "https://127.0.0.1:8200");
        assert!(!settings.listeners[0].tls12);
        assert!(settings.head_names().contains(&"localhost".to_owned()));
    }
}
