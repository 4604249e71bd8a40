//! KV from outside, over a zone in memory whose store can die at any write.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod cost;
mod crash;
mod events;
mod limits;
mod listing;
mod probe;
mod races;
mod secrecy;
mod settings;
mod version1;
mod versions;
mod writing;
mod zone;
