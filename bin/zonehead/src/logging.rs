//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogFormat, LogLevel};

/// The running log, whose level can change.
pub(crate) struct Logging(reload::Handle<Targets, Registry>);

impl Logging {
    /// Begins to log.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(filter_of(level));
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
        Ok(Self(handle))
    }

    /// Changes what is logged from now on.
    pub(crate) fn set_level(&self, level: LogLevel) -> anyhow::Result<()> {
        Ok(self.0.reload(filter_of(level))?)
    }
}

/// Our own lines at `level`; those of libraries at most at info.
fn filter_of(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::INFO))
        .with_target("zone", own)
}
