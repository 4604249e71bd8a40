//! What the running head logs. The lines themselves go through `tracing`.

use std::fmt::Debug;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures that need somebody.
    Error,
    /// What may become one.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// From its name, or one of Vault's other names for it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "error" | "err" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" | "notice" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// The levels of a running log, by part of the program.
pub trait LogControl: Debug + Send + Sync {
    /// Each part and its level, in order.
    fn levels(&self) -> Vec<(&'static str, LogLevel)>;

    /// Logs `part` (`None`: each part) at `level` from now on. `false` if there is no such part.
    fn set(&self, part: Option<&str>, level: LogLevel) -> bool;

    /// Logs `part` (`None`: each part) as the configuration says. `false` if there is no such
    /// part.
    fn reset(&self, part: Option<&str>) -> bool;
}
