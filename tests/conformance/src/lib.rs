//! The suites that each backend of a port must pass.
//!
//! A backend calls the macro of its port in its own `tests/`:
//!
//! ```text
//! zone_conformance::store!(redb, |place| async move { Arc::new(RedbStore::open(place)…) as Arc<dyn Store> });
//! ```
//!
//! Each test gets a place of its own. What only makes sense with faults on demand (crash sweeps,
//! lost answers) runs on the store in memory, in this crate's `tests/`.

#![expect(clippy::unwrap_used, reason = "the whole crate is tests")]

pub mod crash;
pub mod store;
