//! Auth methods over a store in memory that can die at any write. Tests are named after what they
//! keep from happening.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod approle;
mod attack;
mod common;
mod giving;
mod records;
mod renewals;
mod secret_ids;
mod userpass;
