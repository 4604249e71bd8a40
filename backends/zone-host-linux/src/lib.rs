//! The Linux host: clock, randomness, files, Unix sockets, locked memory, facts.
//!
//! The one crate that may hold `unsafe` code, each block with its argument. Start at
//! [`LockedMemory`]. Nothing here knows what a zone is.

pub mod allocator;
pub mod audit_file;
pub mod audit_stream;
pub mod clock;
pub mod facts;
pub mod harden;
pub mod memory;
pub mod random;
pub mod unix_socket;

pub use allocator::return_freed_memory;
pub use audit_file::FileSink;
pub use audit_stream::{SocketAddress, SocketStream, SyslogAddress, SyslogStream};
pub use clock::HostClock;
pub use facts::LinuxHost;
pub use harden::harden_process;
pub use memory::{LockedMemory, Protection};
pub use random::OsRandom;
