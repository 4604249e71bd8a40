//! Access from outside: tokens, policies, mounts and permits over a store in memory that can die
//! at any write. Tests are named after what they keep from happening.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod authorize;
mod batch_tokens;
mod coherence;
mod common;
mod cubbyhole;
mod expiry;
mod granting;
mod identity;
mod leases;
mod logins;
mod mounts;
mod policies;
mod quotas;
mod records;
mod revocation;
mod roles;
mod scale;
mod slow;
mod tokens;
mod wrapping;
