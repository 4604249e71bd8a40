//! The committer. (skeleton)

/// One committer above the store port takes every batch.
#[derive(Debug, Clone)]
pub struct Committer;
