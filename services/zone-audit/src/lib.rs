//! The audit trail.
//!
//! ```text
//! face ──AuditEntry──▶ Broker ──a line per device──▶ Device (queue, thread) ──▶ ports::AuditSink
//! ```
//!
//! # Invariants
//!
//! * A1. [`Broker::record`] returns `Ok` only when `write(2)` has returned for the line in at least one
//!   device that counts. No string value of a body, no token and no accessor stands in a line in
//!   the clear, whatever the shape of the JSON.
//! * Each line is chained to the one before, each 1,000 lines or 10 s are signed; `verify` finds
//!   any change, offline (docs/formats/audit.md).
//! * A full or stuck device never holds up another.
//! * A receiver from which nothing can be read back (syslog, a socket) has no chain and claims
//!   none; it satisfies A1 only if it acknowledges each line.
//!
//! # Deliberately absent
//!
//! Which devices there are and where their keys are kept (`zone-system`), files (a backend), and
//! what a failure means for the client (faces).
//!
//! Start at [`Broker::record`]; offline at [`verify::verify_files`].

mod broker;
mod chain;
mod device;
mod encode;
mod entry;
mod redact;
mod refusals;
mod stream;
pub mod verify;
mod writer;

pub use broker::{Broker, DeviceStatus};
pub use chain::{ChainHead, EpochReason, LINES_PER_CHECKPOINT, key_id};
pub use device::{Device, DeviceConfig, DeviceKeys, Durability};
pub use entry::{
    Alert, AuditEntry, AuthPart, Data, Decision, EntryKind, Header, MountPart, RequestPart,
    ResponsePart,
};
pub use stream::StreamConfig;

use std::io::ErrorKind;
use std::sync::Arc;

use zone_ports::AuditSinkError;

/// Tells the number of the last commit group. Must not block.
pub type RevisionSource = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why nothing was recorded, or a device was not changed. Holds nothing of the entry.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// There is no device that counts.
    #[error("there is no audit device")]
    NoDevice,
    /// The destination is full. Its reserve is kept for requests with root or sudo; free some
    /// space.
    #[error("the audit device {device} is full")]
    Full {
        /// Which device.
        device: String,
    },
    /// The device's queue is full: it is slower than the requests.
    #[error("the queue of the audit device {device} is full")]
    Busy {
        /// Which device.
        device: String,
    },
    /// The device did not answer in time. The line may be written later.
    #[error("the audit device {device} did not answer in time")]
    Stuck {
        /// Which device.
        device: String,
    },
    /// The device failed. It tries again with the next line.
    #[error("the audit device {device} failed")]
    Failed {
        /// Which device.
        device: String,
        /// Why.
        #[source]
        source: Arc<AuditSinkError>,
    },
    /// The device is closed.
    #[error("the audit device {device} is closed")]
    Closed {
        /// Which device.
        device: String,
    },
    /// The last device that counts cannot be removed (A1).
    #[error("the last audit device cannot be removed")]
    LastDevice,
    /// No device has that name.
    #[error("there is no audit device of that name")]
    Unknown,
    /// A device has that name already.
    #[error("there is an audit device of that name already")]
    Exists,
    /// The checkpoint key is no Ed25519 key.
    #[error("audit checkpoints need an Ed25519 key")]
    Key,
    /// The device's thread could not be started.
    #[error("the thread of an audit device cannot be started")]
    Thread,
}

impl AuditError {
    pub(crate) fn from_sink(device: &str, error: AuditSinkError) -> Self {
        let device = device.to_owned();
        match error.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { device }
            }
            _ => Self::Failed {
                device,
                source: Arc::new(error),
            },
        }
    }
}
