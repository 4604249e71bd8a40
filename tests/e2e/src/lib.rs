//! The harness of the end-to-end tests: real heads, real clients.
//!
//! ```text
//! Place (directory, configuration) ──start()──▶ Head (a process) ──api()──▶ Api (HTTP over TLS)
//!                                                   └──────────raw()──▶ Raw (bytes over TLS)
//! ```
//!
//! A test that needs a zone begins with [`Head::unsealed`]. A [`Place`] outlives its heads, so a
//! test can stop or kill one and start the next over the same data. Foreign programs are run by
//! [`tool`]; `cargo xtask setup` installs them. Nothing waits by time: heads are waited for by
//! their log lines, with a limit.
//!
//! The HTTP client is the harness's own, so that the product's client and server cannot agree on
//! a mistake.

pub mod api;
mod binary;
pub mod head;
pub mod place;
pub mod raw;
pub mod tool;

pub use api::{Answer, Api};
pub use binary::{root, zonehead};
pub use head::{Head, Keys};
pub use place::{Config, Place};
pub use raw::Raw;

use std::time::Duration;

/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(60);
