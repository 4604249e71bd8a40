//! Log lines on standard error, and their levels.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};
use zone_ports::{LogControl, LogLevel as Level};

use crate::config::{LogFormat, LogLevel};

/// The parts of the program whose levels can be changed while it runs: the targets of their
/// lines, which are the names of the crates.
const PARTS: &[&str] = &[
    "zone_access",
    "zone_audit",
    "zone_auth",
    "zone_barrier",
    "zone_cli",
    "zone_host_linux",
    "zone_http",
    "zone_pki",
    "zone_secrets",
    "zone_store_postgres",
    "zone_store_redb",
    "zone_system",
    "zonehead",
];

/// The running log, whose levels can change.
#[derive(Debug)]
pub(crate) struct Logging {
    filter: reload::Handle<Targets, Registry>,
    levels: Mutex<Levels>,
}

#[derive(Clone, Debug)]
struct Levels {
    /// As it is configured.
    usual: Level,
    /// Parts with another one.
    own: BTreeMap<&'static str, Level>,
}

impl Logging {
    /// Begins to log.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> anyhow::Result<Arc<Self>> {
        let levels = Levels {
            usual: usual(level),
            own: BTreeMap::new(),
        };
        let (filter, handle) = reload::Layer::new(levels.filter());
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Text => lines.with_ansi(colours).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()?;
        Ok(Arc::new(Self {
            filter: handle,
            levels: Mutex::new(levels),
        }))
    }

    /// One that writes nothing.
    #[cfg(test)]
    pub(crate) fn silent() -> Arc<Self> {
        let levels = Levels {
            usual: Level::Error,
            own: BTreeMap::new(),
        };
        let (_, filter) = reload::Layer::new(levels.filter());
        Arc::new(Self {
            filter,
            levels: Mutex::new(levels),
        })
    }

    /// Changes what is logged from now on, but for parts that have a level of their own.
    pub(crate) fn set_level(&self, level: LogLevel) -> anyhow::Result<()> {
        let mut levels = self.levels.lock();
        let mut next = levels.clone();
        next.usual = usual(level);
        self.filter.reload(next.filter())?;
        *levels = next;
        Ok(())
    }

    /// `false` if there is no such part, or the log is gone.
    fn change(&self, part: Option<&str>, level: Option<Level>) -> bool {
        let mut levels = self.levels.lock();
        let mut next = levels.clone();
        let mut found = false;
        for known in PARTS {
            if part.is_none_or(|part| part == *known) {
                found = true;
                match level {
                    Some(level) => next.own.insert(known, level),
                    None => next.own.remove(known),
                };
            }
        }
        if !found || self.filter.reload(next.filter()).is_err() {
            return false;
        }
        *levels = next;
        true
    }
}

impl LogControl for Logging {
    fn levels(&self) -> Vec<(&'static str, Level)> {
        let levels = self.levels.lock();
        let level = |part| levels.own.get(part).copied().unwrap_or(levels.usual);
        PARTS.iter().map(|part| (*part, level(part))).collect()
    }

    fn set(&self, part: Option<&str>, level: Level) -> bool {
        self.change(part, Some(level))
    }

    fn reset(&self, part: Option<&str>) -> bool {
        self.change(part, None)
    }
}

impl Levels {
    /// Our own lines at their levels; those of libraries at most at info.
    fn filter(&self) -> Targets {
        let usual = filter_of(self.usual);
        let mut targets = Targets::new()
            .with_default(usual.min(LevelFilter::INFO))
            .with_target("zone", usual);
        for (part, level) in &self.own {
            targets = targets.with_target(*part, filter_of(*level));
        }
        targets
    }
}

const fn usual(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warn,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    }
}

const fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level as Line;

    use super::*;

    /// Every crate that may write lines can be named.
    #[test]
    fn each_crate_of_the_workspace_that_logs_is_a_part() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for layer in ["services", "backends", "faces", "bin"] {
            for entry in std::fs::read_dir(root.join(layer)).unwrap() {
                let directory = entry.unwrap().path();
                let manifest = std::fs::read_to_string(directory.join("Cargo.toml"));
                if manifest.is_ok_and(|text| text.contains("\ntracing.workspace")) {
                    let name = directory
                        .file_name()
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .replace('-', "_");
                    assert!(PARTS.contains(&&*name), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_part_has_its_own_level_until_it_is_reset() {
        let levels = Levels {
            usual: Level::Warn,
            own: BTreeMap::from([("zone_http", Level::Trace)]),
        };
        let filter = levels.filter();
        let logs = |target, level| filter.would_enable(target, &level);
        assert!(logs("zone_http::app", Line::TRACE));
        assert!(logs("zone_access", Line::WARN) && !logs("zone_access", Line::INFO));
        assert!(logs("zonehead", Line::WARN) && !logs("zonehead", Line::INFO));
        assert!(logs("hyper", Line::WARN) && !logs("hyper", Line::INFO));
    }

    #[test]
    fn levels_are_changed_while_the_log_runs() {
        let levels = Levels {
            usual: Level::Info,
            own: BTreeMap::new(),
        };
        let (layer, filter) = reload::Layer::new(levels.filter());
        let log = Logging {
            filter,
            levels: Mutex::new(levels),
        };
        let logs = |target: &str, level: Line| {
            log.filter
                .with_current(|filter| filter.would_enable(target, &level))
                .unwrap()
        };
        assert!(!logs("zone_pki", Line::DEBUG));
        assert!(log.set(Some("zone_pki"), Level::Debug));
        assert!(logs("zone_pki", Line::DEBUG) && !logs("zone_http", Line::DEBUG));
        log.set_level(LogLevel::Error).unwrap();
        assert!(logs("zone_pki", Line::DEBUG) && !logs("zone_http", Line::WARN));
        assert!(log.reset(Some("zone_pki")) && !logs("zone_pki", Line::WARN));
        assert!(log.set(None, Level::Trace));
        assert!(log.levels().iter().all(|(_, level)| *level == Level::Trace));
        assert!(log.reset(None) && !log.set(Some("nothing"), Level::Info));
        drop(layer);
        assert!(!log.set(None, Level::Info), "the log is gone");
    }
}
