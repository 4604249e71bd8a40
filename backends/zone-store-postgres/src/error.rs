//! What goes wrong between here and the server, and what that means to a caller of the port.

use std::fmt;
use std::io;

use tokio_postgres::error::{DbError, SqlState};
use zone_ports::StoreError;

/// The backend's name.
pub(crate) const KIND: &str = "postgresql";

/// Any failure here.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The group is not the next one, or comes with an old fence.
    Fenced,
    /// Somebody has asked for the last group since this store did; nothing was written.
    Superseded,
    /// Another head has the store open.
    Held,
    /// The server is not as it must be.
    Unsafe(String),
    /// The schema was made by a newer zonehead.
    Newer(i32),
    /// The tables are not those of a store.
    Layout(&'static str),
    /// A copy is damaged, or no copy.
    Copy(&'static str),
    /// A copy is to be restored over a store that is in use.
    InUse,
    /// No answer came in time.
    Silent,
    /// A connection could not be had: all are busy, or the runtime ends.
    Pool(&'static str),
    /// A file of the configuration.
    File(String),
    Io(io::Error),
    /// The server said no.
    Server(Refusal),
    /// The connection failed.
    Connection(tokio_postgres::Error),
}

/// What the server said: its code and its first line. Its detail can name keys, so it is dropped.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: SqlState,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced => f.write_str("the group is not the next one"),
            Self::Superseded => f.write_str(
                "the last group was asked for elsewhere since; the group was not written",
            ),
            Self::Held => f.write_str("another head has the store open: stop it first"),
            Self::Unsafe(what) => write!(f, "the server would lose what it acknowledged: {what}"),
            Self::Newer(format) => write!(
                f,
                "the schema has format {format}, which a newer zonehead made: run that one"
            ),
            Self::Layout(what) => write!(f, "the schema holds no store: {what}"),
            Self::Copy(what) => write!(f, "the copy cannot be restored: {what}"),
            Self::InUse => f.write_str("the schema holds a store: give the name of a new one"),
            Self::Silent => f.write_str("no answer came in time"),
            Self::Pool(what) => write!(f, "no connection: {what}"),
            Self::File(what) => f.write_str(what),
            Self::Io(error) => write!(f, "input or output failed: {error}"),
            Self::Server(Refusal { code, message }) => write!(f, "{message} ({})", code.code()),
            Self::Connection(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Connection(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl Fault {
    /// Whether the connection is gone, so that another one may do.
    pub(crate) fn is_of_connection(&self) -> bool {
        match self {
            Self::Connection(_) => true,
            // The server ends the session with these.
            Self::Server(refusal) => refusal.code.code().starts_with("57P"),
            _ => false,
        }
    }

    /// The same for who asked for the last group: `Full` would tell him that a group was not written.
    pub(crate) fn of_question(self) -> StoreError {
        match StoreError::from(self) {
            StoreError::Full { backend, source } => StoreError::Unavailable { backend, source },
            other => other,
        }
    }

    fn is_corrupt(&self) -> bool {
        match self {
            Self::Layout(_) | Self::Copy(_) => true,
            Self::Server(refusal) => CORRUPT.contains(&refusal.code),
            _ => false,
        }
    }
}

/// Damaged pages and indexes (checksums among them), and tables that somebody took away.
const CORRUPT: &[SqlState] = &[
    SqlState::DATA_CORRUPTED,
    SqlState::INDEX_CORRUPTED,
    SqlState::UNDEFINED_TABLE,
    SqlState::UNDEFINED_COLUMN,
    SqlState::UNDEFINED_FUNCTION,
    SqlState::INVALID_SCHEMA_NAME,
];

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        let backend = KIND;
        match fault {
            Fault::Fenced => Self::Fenced,
            Fault::Server(Refusal { ref code, .. }) if *code == SqlState::DISK_FULL => Self::Full {
                backend,
                source: fault.into(),
            },
            fault if fault.is_corrupt() => Self::Corrupt {
                backend,
                source: fault.into(),
            },
            fault => Self::Unavailable {
                backend,
                source: fault.into(),
            },
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::Server(Refusal::from(said)),
            None => Self::Connection(error),
        }
    }
}

impl From<&DbError> for Refusal {
    fn from(said: &DbError) -> Self {
        Self {
            code: said.code().clone(),
            message: said.message().to_owned(),
        }
    }
}

impl Refusal {
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.code == SqlState::LOCK_NOT_AVAILABLE
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
