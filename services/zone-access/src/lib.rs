//! Who may do what: namespaces, mounts, policies, tokens, expiry. The only maker of [`Permit`]s.
//!
//! # Invariants
//!
//! * A2. Service code takes a [`Permit`]; only this crate makes one.
//! * A3. The path that the policy judged is the path that the router serves: both are the one
//!   [`zone_types::RequestPath`] inside the permit.

pub mod mount;
pub mod permit;

pub use mount::{Mount, MountConfig, MountKind};
pub use permit::Permit;
pub use zone_policy::Operation;
