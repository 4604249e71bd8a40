//! What tests share: a store in memory that fails on demand, a clock that stands still, a seeded
//! generator, key memory without locks, a whole zone over them, a PostgreSQL server and a network
//! before it that can be cut.
//!
//! Nothing here is for production: `bin` and `backends` must not depend on it.

#![expect(clippy::unwrap_used, reason = "the whole crate is tests")]

pub mod clock;
pub mod lab;
pub mod mem_store;
pub mod memory;
pub mod postgres;
pub mod proxy;
pub mod random;

pub use clock::FakeClock;
pub use lab::Lab;
pub use mem_store::{Fault, MemStore};
pub use memory::PlainMemory;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use random::SeededRandom;
