//! What the binary can be.

pub(crate) mod dev;
pub(crate) mod server;
