//! The barrier from outside, over a store that can die at any write.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;
mod events;
mod golden_zone;
mod init;
mod large;
mod quorum;
mod records;
mod rotation;
mod unseal;
