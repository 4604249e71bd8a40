//! What each key of Vault's files means here.

use std::collections::HashMap;
use std::path::PathBuf;

use zone_types::hcl::{Item, Kind};

use super::values::{At, Block};
use super::{blocks, foreign_store};
use crate::config::place::Place;
use crate::config::span::Span;
use crate::config::{
    Audit, AuditDurability, ConfigFault, File, ListenerTable, Log, LogFormat, LogLevel, Storage,
    TlsVersion,
};

/// Keys at the top that have no counterpart, and what takes their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cache_size", "remove it: caches have a fixed size"),
    ("cluster_addr", "remove it: a zone has one head"),
    (
        "disable_cache",
        "remove it: caches never lag behind a change that was acknowledged",
    ),
    ("disable_clustering", "remove it: a zone has one head"),
    (
        "enable_response_header_raft_node_id",
        "remove it: a zone has one head",
    ),
    ("entropy", "remove it: randomness comes from the kernel"),
    ("ha_storage", "remove it: a zone has one head"),
    ("hsm", "use seal \"shamir\", the only seal so far"),
    (
        "introspection_endpoint",
        "remove it: there is no such endpoint",
    ),
    ("license_path", "remove it: there is no licence to load"),
    (
        "log_file",
        "remove it: the log goes to standard error, which systemd keeps",
    ),
    (
        "log_requests_level",
        "remove it: each request stands in the audit trail",
    ),
    (
        "log_rotate_bytes",
        "remove it: the log goes to standard error, which systemd keeps",
    ),
    (
        "log_rotate_duration",
        "remove it: the log goes to standard error, which systemd keeps",
    ),
    (
        "log_rotate_max_files",
        "remove it: the log goes to standard error, which systemd keeps",
    ),
    (
        "pid_file",
        "remove it: systemd knows the process (Type=notify)",
    ),
    ("plugin_directory", "remove it: there are no plugins"),
    ("plugin_file_permissions", "remove it: there are no plugins"),
    ("plugin_file_uid", "remove it: there are no plugins"),
    ("reporting", "remove it: nothing is reported to anybody"),
    ("sentinel", "write ACL policies"),
    (
        "service_registration",
        "let the load balancer ask sys/health",
    ),
    (
        "user_lockout",
        "tune each auth mount: zonehead auth tune -user-lockout-threshold=…",
    ),
];

/// Keys that ask for what is so anyway: the key, the value that is taken, why another is not.
const SETTLED: &[(&str, bool, &str)] = &[
    (
        "allow_audit_log_prefixing",
        false,
        "audit lines are JSON without a prefix",
    ),
    ("disable_performance_standby", true, "a zone has one head"),
    (
        "disable_printable_check",
        false,
        "paths with unprintable characters are always refused",
    ),
    ("disable_sealwrap", true, "there is no seal wrapping"),
    (
        "enable_response_header_hostname",
        false,
        "answers do not name the machine",
    ),
    ("enable_ui", false, "there is no web interface yet"),
    ("ui", false, "there is no web interface yet"),
    (
        "unsafe_allow_api_audit_creation",
        true,
        "audit devices are made by the API, inside audit.directories",
    ),
];

/// Keys of a TCP listener that have no counterpart.
const LISTENER_ELSEWHERE: &[(&str, &str)] = &[
    ("agent_api", "remove it: this is a server"),
    ("cluster_address", "remove it: a zone has one head"),
    ("custom_response_headers", "let a proxy add headers"),
    (
        "http_idle_timeout",
        "remove it: limits are fixed (10 s for a request head, 90 s for a request)",
    ),
    (
        "http_read_header_timeout",
        "remove it: limits are fixed (10 s for a request head, 90 s for a request)",
    ),
    (
        "http_read_timeout",
        "remove it: limits are fixed (10 s for a request head, 90 s for a request)",
    ),
    (
        "http_write_timeout",
        "remove it: limits are fixed (10 s for a request head, 90 s for a request)",
    ),
    ("max_request_duration", "remove it: a request has 90 s"),
    ("max_request_size", "remove it: a body has at most 32 MiB"),
    ("profiling", "remove it: there is no profiling endpoint"),
    ("proxy_api", "remove it: this is a server"),
    (
        "proxy_protocol_authorized_addrs",
        "use x_forwarded_for_authorized_addrs",
    ),
    (
        "proxy_protocol_behavior",
        "use x_forwarded_for_authorized_addrs",
    ),
    (
        "telemetry",
        "remove it: sys/metrics needs a token with a policy for it",
    ),
    (
        "tls_cipher_suites",
        "remove it: rustls has safe suites only",
    ),
    (
        "tls_client_ca_file",
        "remove it: client certificates are judged by an auth method",
    ),
    ("tls_max_version", "remove it: TLS 1.3 is always offered"),
];

/// Switches of a listener that ask for what is so anyway.
const LISTENER_SETTLED: &[(&str, bool, &str)] = &[
    (
        "tls_disable_client_certs",
        false,
        "client certificates are asked for and never demanded",
    ),
    ("tls_prefer_server_cipher_suites", true, "rustls decides"),
    (
        "tls_require_and_verify_client_cert",
        false,
        "client certificates are judged by an auth method",
    ),
];

/// What was read so far, and where each key stood first.
#[derive(Default)]
pub(super) struct Reader {
    seen: HashMap<String, (PathBuf, Option<u32>)>,
    zone: Option<String>,
    cluster_name: Option<String>,
    api_addr: Option<String>,
    default_lease_ttl: Option<Span>,
    max_lease_ttl: Option<Span>,
    storage: Option<Storage>,
    listeners: Vec<ListenerTable>,
    audit: Audit,
    log: Log,
}

impl Reader {
    /// One item at the top of a file.
    pub(super) fn take(&mut self, at: &At<'_>, item: Item) -> Result<(), ConfigFault> {
        if item.key != "listener" {
            self.once(at, &item.key)?;
        }
        match item.key.as_str() {
            "zone" => self.zone = Some(at.text(&item)?),
            "cluster_name" => self.cluster_name = Some(at.text(&item)?),
            "api_addr" => self.api_addr = Some(at.text(&item)?),
            "default_lease_ttl" => self.default_lease_ttl = Some(Span(at.text(&item)?)),
            "max_lease_ttl" => self.max_lease_ttl = Some(Span(at.text(&item)?)),
            // Only key pages are locked, a few KiB; there is nothing to turn off.
            "disable_mlock" => drop(at.flag(&item)?),
            "log_level" => self.log.level = level(at, &at.text(&item)?)?,
            "log_format" => self.log.format = format(at, &at.text(&item)?)?,
            "storage" | "backend" => self.storage = Some(storage(at, item)?),
            "listener" => {
                for block in blocks(at, item)? {
                    self.listeners.push(listener(at, block)?);
                }
            }
            "audit" => self.audit = audit(at, item)?,
            "seal" => seal(at, item)?,
            "telemetry" => telemetry(at, item)?,
            _ => no_counterpart(at, &item, "", ELSEWHERE, SETTLED)?,
        }
        Ok(())
    }

    fn once(&mut self, at: &At<'_>, key: &str) -> Result<(), ConfigFault> {
        let here = (at.file.to_owned(), at.line);
        match self.seen.insert(key.to_owned(), here) {
            None => Ok(()),
            Some((file, line)) => {
                let line = line.map_or(String::new(), |line| format!(" line {line}"));
                let text = format!("'{key}' stands already in {}{line}", file.display());
                Err(at.fault(&text))
            }
        }
    }

    pub(super) fn finish(self, at: &At<'_>) -> Result<File, ConfigFault> {
        let zone = self.zone.or(self.cluster_name).ok_or_else(|| {
            at.fault("key 'zone' is missing: the zone's trust domain, such as zone = \"zone.example.org\"")
        })?;
        let storage = self.storage.ok_or_else(|| {
            at.fault("expected a block: storage \"file\" { path = \"/var/lib/zonehead\" }")
        })?;
        if let Some(what) = foreign_store(&storage) {
            return Err(at.fault(&format!(
                "storage: {} holds {what}, which cannot be taken over: give an empty directory",
                storage.path.display()
            )));
        }
        Ok(File {
            zone,
            api_addr: self.api_addr,
            default_lease_ttl: self.default_lease_ttl,
            max_lease_ttl: self.max_lease_ttl,
            yes_i_want_raw_storage_endpoint: false,
            storage,
            listener: self.listeners,
            audit: self.audit,
            log: self.log,
        })
    }
}

/// Refuses a key that means nothing here, or takes one that asks for what is so anyway.
fn no_counterpart(
    at: &At<'_>,
    item: &Item,
    place: &str,
    elsewhere: &[(&str, &str)],
    settled: &[(&str, bool, &str)],
) -> Result<(), ConfigFault> {
    let key = item.key.as_str();
    if let Some((_, instead)) = elsewhere.iter().find(|(name, _)| *name == key) {
        return Err(at.fault(&format!("'{place}{key}' is not supported: {instead}")));
    }
    match settled.iter().find(|(name, _, _)| *name == key) {
        Some((_, taken, _)) if at.flag(item)? == *taken => Ok(()),
        Some((_, taken, why)) => {
            Err(at.fault(&format!("'{place}{key}' can only be {taken}: {why}")))
        }
        None => Err(at.fault(&format!("unknown key '{place}{key}'"))),
    }
}

fn level(at: &At<'_>, text: &str) -> Result<LogLevel, ConfigFault> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "error" | "err" => LogLevel::Error,
        "warn" | "warning" => LogLevel::Warn,
        "info" | "" => LogLevel::Info,
        "debug" | "trace" => LogLevel::Debug,
        _ => return Err(at.fault("key 'log_level': expected trace, debug, info, warn or error")),
    })
}

fn format(at: &At<'_>, text: &str) -> Result<LogFormat, ConfigFault> {
    match text {
        "" | "standard" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(at.fault("key 'log_format': expected standard or json")),
    }
}

/// The one block of its kind, and its label.
fn single(at: &At<'_>, item: Item, example: &str) -> Result<Block, ConfigFault> {
    let key = item.key.clone();
    let mut all = blocks(at, item)?;
    match (all.pop(), all.is_empty()) {
        (Some(block), true) => Ok(block),
        _ => Err(at.fault(&format!("'{key}': expected one block: {example}"))),
    }
}

fn storage(at: &At<'_>, item: Item) -> Result<Storage, ConfigFault> {
    let example = "storage \"file\" { path = \"/var/lib/zonehead\" }";
    let block = single(at, item, example)?;
    let kind = block.label.clone().unwrap_or_default();
    match kind.as_str() {
        "file" => {}
        "postgresql" => return on_server(at, block),
        "raft" => {
            let text = format!(
                "storage \"raft\" is not supported: write {example}, with an empty directory"
            );
            return Err(at.fault(&text));
        }
        "inmem" => {
            return Err(
                at.fault("storage \"inmem\" is not supported: try a zone with zonehead dev")
            );
        }
        other => {
            return Err(at.fault(&format!(
                "storage \"{other}\" is not supported: write {example}"
            )));
        }
    }
    let mut path = None;
    for item in block.items {
        let at = at.of(&item);
        match item.key.as_str() {
            "path" => path = Some(PathBuf::from(at.text(&item)?)),
            _ => no_counterpart(&at, &item, "storage.", &[], &[])?,
        }
    }
    let path = path.ok_or_else(|| at.fault("storage: 'path' is missing"))?;
    Ok(Storage::at(path))
}

/// Keys of storage "postgresql" that have no counterpart.
const OF_SERVERS: &[(&str, &str)] = &[
    ("ha_table", "remove it: a zone has one head"),
    (
        "max_connect_retries",
        "remove it: a head goes on trying as long as it runs",
    ),
    (
        "max_idle_connections",
        "remove it: connections are kept; max_parallel says how many",
    ),
    (
        "table",
        "give schema = \"zonehead\": a head makes its own tables there",
    ),
    (
        "upsert_function",
        "remove it: PostgreSQL 15 or newer needs none",
    ),
];

fn on_server(at: &At<'_>, block: Block) -> Result<Storage, ConfigFault> {
    let mut storage = Storage::on_server(PathBuf::new());
    for item in block.items {
        let at = at.of(&item);
        let text = || at.text(&item);
        match item.key.as_str() {
            "path" => storage.path = text()?.into(),
            "connection_url" => storage.connection_url = Some(text()?),
            "schema" => storage.schema = Some(text()?),
            "password_file" => storage.password_file = Some(text()?.into()),
            "ca_file" => storage.ca_file = Some(text()?.into()),
            "cert_file" => storage.cert_file = Some(text()?.into()),
            "key_file" => storage.key_file = Some(text()?.into()),
            "max_parallel" => {
                let most = text()?.parse();
                let most = most.map_err(|_| at.fault("key 'max_parallel': expected a number"))?;
                storage.max_connections = Some(most);
            }
            _ => {
                let settled = [("ha_enabled", false, "a zone has one head")];
                no_counterpart(&at, &item, "storage.", OF_SERVERS, &settled)?;
            }
        }
    }
    match storage.path.as_os_str().is_empty() {
        true => Err(at.fault(
            "storage: 'path' is missing: a directory for the lock, the audit trail and the \
             listener's own CA, such as /var/lib/zonehead",
        )),
        false => Ok(storage),
    }
}

fn listener(at: &At<'_>, block: Block) -> Result<ListenerTable, ConfigFault> {
    match block.label.as_deref() {
        Some("tcp") => tcp(at, block.items),
        Some("unix") => unix(at, block.items),
        _ => Err(at.fault("listener: expected listener \"tcp\" { … } or listener \"unix\" { … }")),
    }
}

fn tcp(at: &At<'_>, items: Vec<Item>) -> Result<ListenerTable, ConfigFault> {
    let mut table = ListenerTable::at(Place::Tcp(([127, 0, 0, 1], 8200).into()));
    let (mut not_present, mut not_authorized) = (true, true);
    for item in items {
        let at = at.of(&item);
        match item.key.as_str() {
            "address" => {
                let text = at.text(&item)?;
                table.address = Place::parse(&with_port(&text)).ok_or_else(|| {
                    at.fault("key 'address': expected ADDRESS:PORT with an IP address")
                })?;
            }
            "names" => table.names = at.texts(&item)?,
            "tls_cert_file" => table.cert_file = Some(at.text(&item)?.into()),
            "tls_key_file" => table.key_file = Some(at.text(&item)?.into()),
            "tls_min_version" => table.tls_min_version = tls_version(&at, &at.text(&item)?)?,
            "tls_disable" if !at.flag(&item)? => {}
            "tls_disable" => {
                return Err(at.fault(
                    "'tls_disable' can only be false: without tls_cert_file the head makes its own \
                     certificate; plain HTTP is for listener \"unix\"",
                ));
            }
            "x_forwarded_for_authorized_addrs" => table.trusted_proxies = cidrs(&at, &item)?,
            "x_forwarded_for_reject_not_present" => not_present = at.flag(&item)?,
            "x_forwarded_for_reject_not_authorized" => not_authorized = at.flag(&item)?,
            "x_forwarded_for_hop_skips" => hop_skips(&at, &item)?,
            key if is_door(key) => door(&at, &item, &mut table)?,
            _ => no_counterpart(
                &at,
                &item,
                "listener.",
                LISTENER_ELSEWHERE,
                LISTENER_SETTLED,
            )?,
        }
    }
    // Vault looks at the header only where proxies are named, and is strict there by default.
    if !table.trusted_proxies.is_empty() {
        table.x_forwarded_for_reject_not_present = not_present;
        table.x_forwarded_for_reject_not_authorized = not_authorized;
    }
    Ok(table)
}

fn unix(at: &At<'_>, items: Vec<Item>) -> Result<ListenerTable, ConfigFault> {
    let mut table = ListenerTable::at(Place::Unix(PathBuf::new()));
    for item in items {
        let at = at.of(&item);
        match item.key.as_str() {
            "address" => {
                let text = at.text(&item)?;
                table.address = Place::parse(&format!("unix:{text}")).ok_or_else(|| {
                    at.fault("key 'address': expected an absolute path below 100 bytes")
                })?;
            }
            "socket_mode" => table.socket_mode = Some(at.text(&item)?),
            "socket_user" => table.socket_user = Some(at.text(&item)?),
            "socket_group" => table.socket_group = Some(at.text(&item)?),
            key if is_door(key) => door(&at, &item, &mut table)?,
            // There is no TLS on a Unix socket either way.
            "tls_disable" if at.flag(&item)? => {}
            "tls_disable" | "tls_cert_file" | "tls_key_file" => {
                return Err(at.fault("a Unix socket has no TLS: remove the key"));
            }
            _ => no_counterpart(
                &at,
                &item,
                "listener.",
                LISTENER_ELSEWHERE,
                LISTENER_SETTLED,
            )?,
        }
    }
    match &table.address {
        Place::Unix(path) if !path.as_os_str().is_empty() => Ok(table),
        _ => Err(at.fault("listener \"unix\": 'address' is missing")),
    }
}

fn is_door(key: &str) -> bool {
    matches!(
        key,
        "disable_unauthed_rekey_endpoints" | "disable_unauthed_generate_root_endpoints"
    )
}

/// What is served without a token only if the file says so.
fn door(at: &At<'_>, item: &Item, table: &mut ListenerTable) -> Result<(), ConfigFault> {
    let closed = at.flag(item)?;
    match item.key.as_str() {
        "disable_unauthed_rekey_endpoints" => table.disable_unauthed_rekey_endpoints = closed,
        _ => table.disable_unauthed_generate_root_endpoints = closed,
    }
    Ok(())
}

/// Vault lets the port away.
fn with_port(text: &str) -> String {
    match text.parse::<std::net::IpAddr>() {
        Ok(ip) => std::net::SocketAddr::new(ip, 8200).to_string(),
        Err(_) => text.to_owned(),
    }
}

fn tls_version(at: &At<'_>, text: &str) -> Result<TlsVersion, ConfigFault> {
    match text {
        "tls12" => Ok(TlsVersion::Tls12),
        "tls13" => Ok(TlsVersion::Tls13),
        _ => Err(at.fault("key 'tls_min_version': expected tls12 or tls13")),
    }
}

fn cidrs(at: &At<'_>, item: &Item) -> Result<Vec<zone_types::Cidr>, ConfigFault> {
    let parse = |text: &String| text.parse();
    let all = at.texts(item)?;
    let parsed: Result<Vec<_>, zone_types::cidr::CidrFault> = all.iter().map(parse).collect();
    parsed.map_err(|fault| at.fault(&format!("key '{}': {fault}", item.key)))
}

/// The last address that is not a trusted proxy counts, so there is nothing to skip.
fn hop_skips(at: &At<'_>, item: &Item) -> Result<(), ConfigFault> {
    match at.text(item)?.as_str() {
        "0" => Ok(()),
        _ => Err(at.fault(
            "'x_forwarded_for_hop_skips' can only be 0: name each proxy in \
             x_forwarded_for_authorized_addrs, the last address that is none of them counts",
        )),
    }
}

/// Our own block: where audit files may be.
fn audit(at: &At<'_>, item: Item) -> Result<Audit, ConfigFault> {
    let block = single(at, item, "audit { directories = [\"/var/log/zonehead\"] }")?;
    if block.label.is_some() {
        return Err(
            at.fault("audit: devices are made with zonehead audit enable; here stand directories")
        );
    }
    let mut audit = Audit::default();
    for item in block.items {
        let at = at.of(&item);
        match item.key.as_str() {
            "directories" => {
                audit.directories = at.texts(&item)?.into_iter().map(Into::into).collect()
            }
            "durability" => {
                audit.durability = match at.text(&item)?.as_str() {
                    "system" => AuditDurability::System,
                    "batch" => AuditDurability::Batch,
                    _ => return Err(at.fault("key 'durability': expected system or batch")),
                }
            }
            "rotate_bytes" => {
                let bytes = at.text(&item)?.parse();
                let bytes =
                    bytes.map_err(|_| at.fault("key 'rotate_bytes': expected a whole number"))?;
                audit.rotate_bytes = Some(bytes);
            }
            _ => no_counterpart(&at, &item, "audit.", &[], &[])?,
        }
    }
    Ok(audit)
}

fn seal(at: &At<'_>, item: Item) -> Result<(), ConfigFault> {
    let block = single(at, item, "seal \"shamir\" {}")?;
    match block.label.as_deref() {
        Some("shamir") => Ok(()),
        other => Err(at.fault(&format!(
            "seal \"{}\" is not supported: remove the block; shares (Shamir) are the only seal so far",
            other.unwrap_or_default()
        ))),
    }
}

/// Only what asks for sys/metrics as it is.
fn telemetry(at: &At<'_>, item: Item) -> Result<(), ConfigFault> {
    let block = single(at, item, "telemetry { … }")?;
    for item in block.items {
        let at = at.of(&item);
        match item.key.as_str() {
            "prometheus_retention_time"
            | "disable_hostname"
            | "usage_gauge_period"
            | "maximum_gauge_cardinality" => match item.value.kind {
                Kind::Object(_) | Kind::List(_) => return Err(at.fault("expected a value")),
                _ => {}
            },
            key => {
                return Err(at.fault(&format!(
                    "'telemetry.{key}' is not supported: let Prometheus scrape sys/metrics?format=prometheus"
                )));
            }
        }
    }
    Ok(())
}
