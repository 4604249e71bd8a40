//! Values that every layer shares: ids, instants, durations, paths, secrets, JSON limits.
//!
//! Pure: no I/O, no clock, no randomness (ids are made from bytes that the caller drew from
//! `zone_ports::Random`). What the outside sent becomes one of these types at the face and is
//! never re-parsed below it (parse, don't validate).
//!
//! Start at [`RequestPath`] (invariant A3) and [`Secret`].

pub mod cidr;
pub mod duration;
pub mod hcl;
pub mod id;
pub mod json;
pub mod path;
pub mod secret;
pub mod time;

pub use cidr::Cidr;
pub use duration::parse_duration;
pub use id::{AliasId, EntityId, EntityIdFault, GroupId, MountId, NamespaceId, RequestId};
pub use path::{MountPath, PathFault, RequestPath};
pub use secret::Secret;
pub use time::Timestamp;
