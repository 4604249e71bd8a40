//! Secret engines: KV version 2 in [`kv2`], version 1 in [`kv1`].
//!
//! # Invariants
//!
//! * A2. Every method takes a `Permit`, but [`kv2::KvService::exists`], which chooses between the
//!   capabilities `create` and `update` before anybody is judged and says one bit.
//! * A3. What a method serves comes from `permit.rest()` alone; there is no second path to pass.
//! * S1. A write is one batch: metadata, version and pruning, whole or not at all.
//! * E1. No error holds a path, a key or a value that a client sent.
//!
//! # Deliberately absent
//!
//! No HTTP and no cache: nothing outlives a seal (B2).

pub mod kv1;
pub mod kv2;

pub use kv1::Upgrades;
pub use kv2::{KvError, KvService};
