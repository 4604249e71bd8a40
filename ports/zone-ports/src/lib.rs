//! What a zone needs from the world: one file per seam, each a trait with its errors and contract.
//!
//! Traits here are few-methoded and `dyn`-safe and have no default bodies: what a backend cannot
//! do, its constructor refuses. The suites are in `tests/conformance`.

pub mod audit;
pub mod clock;
pub mod host;
pub mod log;
pub mod memory;
pub mod random;
pub mod recipients;
pub mod store;

pub use audit::{AuditRoom, AuditSink, AuditSinkError, AuditStream, AuditTail};
pub use clock::Clock;
pub use host::{Host, HostFacts};
pub use log::{LogControl, LogLevel};
pub use memory::{LockedBytes, MemoryError, SecretMemory};
pub use random::Random;
pub use recipients::{RecipientError, Recipients};
pub use store::{Key, KeyFault, KeyRange, Store, StoreError};

/// A cause of any kind, for `source()`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;
