//! What goes wrong in redb, and what that means to a caller of the port.

use std::io;

use zone_ports::StoreError;

/// The backend's name.
pub(crate) const KIND: &str = "redb";

/// Any failure here.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The group is not the next one.
    Fenced,
    /// The file is closed, or could not be opened again.
    Closed,
    /// The tables are not those of this version.
    Layout,
    /// The journal that belongs to the file is not there.
    NoJournal,
    /// The journal lacks a group, or holds a damaged one before a whole one.
    Journal,
    /// redb gave up over the file's content.
    Panicked,
    /// The files could not be opened, or opened again.
    NotOpened(Box<Fault>),
    /// Too little space is left.
    Room,
    Io(io::Error),
    Redb(Box<redb::Error>),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fenced => f.write_str("the group is not the next one"),
            Self::Closed => f.write_str("the file is closed"),
            Self::Layout => f.write_str("the file holds no store of a version known here"),
            Self::NoJournal => f.write_str(
                "the store was not closed and the journal files beside it are missing: put them back, or restore a snapshot",
            ),
            Self::Journal => f.write_str("the journal beside the store is damaged or of another time"),
            Self::Panicked => f.write_str("the file is damaged: the engine could not read it"),
            Self::NotOpened(fault) => fault.fmt(f),
            Self::Room => f.write_str("the file system has too little space left"),
            Self::Io(error) => write!(f, "input or output failed: {error}"),
            Self::Redb(error) => match **error {
                redb::Error::DatabaseAlreadyOpen => {
                    f.write_str("another process has the file open: stop it first")
                }
                ref error => write!(f, "the engine failed: {error}"),
            },
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Redb(error) => Some(error),
            Self::NotOpened(fault) => fault.source(),
            _ => None,
        }
    }
}

impl Fault {
    fn io(&self) -> Option<&io::Error> {
        match self {
            Self::Io(error) => Some(error),
            Self::Redb(error) => match &**error {
                redb::Error::Io(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        use io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull};
        if let Fault::NotOpened(fault) = fault {
            return match Self::from(*fault) {
                // `Full` would say that a group was not written, and nobody could look.
                Self::Full { backend, source } => Self::Unavailable { backend, source },
                other => other,
            };
        }
        let kind = fault.io().map(io::Error::kind);
        let corrupt = match &fault {
            Fault::Layout | Fault::NoJournal | Fault::Journal | Fault::Panicked => true,
            Fault::Redb(error) => matches!(
                **error,
                redb::Error::Corrupted(_)
                    | redb::Error::UpgradeRequired(_)
                    | redb::Error::TableTypeMismatch { .. }
                    | redb::Error::TableDoesNotExist(_)
            ),
            _ => false,
        };
        match (&fault, kind) {
            (Fault::Fenced, _) => Self::Fenced,
            (Fault::Room, _) | (_, Some(StorageFull | QuotaExceeded | FileTooLarge)) => {
                Self::Full {
                    backend: KIND,
                    source: fault.into(),
                }
            }
            // redb's word for a file that never was one of its own.
            (_, Some(InvalidData)) => Self::Corrupt {
                backend: KIND,
                source: fault.into(),
            },
            _ if corrupt => Self::Corrupt {
                backend: KIND,
                source: fault.into(),
            },
            _ => Self::Unavailable {
                backend: KIND,
                source: fault.into(),
            },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {$(
        impl From<redb::$name> for Fault {
            fn from(error: redb::$name) -> Self {
                Self::Redb(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(
    StorageError,
    TableError,
    DatabaseError,
    TransactionError,
    CommitError,
    SetDurabilityError
);
