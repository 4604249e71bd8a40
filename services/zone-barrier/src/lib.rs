//! The barrier: whatever the zone stores passes through here, encrypted.
//!
//! ```text
//! services ──plain──▶ Barrier ──sealed──▶ Committer ──groups──▶ ports::Store ──▶ a backend
//! ```
//!
//! # Invariants
//!
//! * B1. No plaintext value and no key crosses `ports::Store`.
//! * B2. While sealed, every call fails with [`BarrierError::Sealed`].
//! * B3. A record is bound to format, zone and key, and to its key term; one term encrypts at
//!   most 2^32 records.
//! * S1. `commit` returning means durable; a batch applies whole or not at all.
//!
//! # Deliberately absent
//!
//! No HTTP, no policy, no clock: `zone-access` has decided who may ask before the barrier is
//! called. Start at [`Barrier`]; groups are made in [`commit`], keys in [`keyring`], shares come
//! in through [`unseal`].

pub mod barrier;
pub mod batch;
pub mod blob;
pub mod commit;
mod event;
mod fuzz;
pub mod init;
pub mod keyring;
pub mod quorum;
mod record;
pub mod rotate;
mod seal_record;
pub mod unseal;

pub use barrier::{Barrier, BarrierError};
pub use batch::{Batch, Plain};
pub use event::{EVENT_SLOTS, Events, Told};
pub use fuzz::fuzz_record;
pub use init::{InitAsk, InitError, Prepared};
pub use quorum::{Approval, Quorum, ShareNumbers};
pub use rotate::{KeyStatus, Rekey};
pub use unseal::{SealStatus, UnsealError, UnsealProgress};
