//! Limits that hold before anybody is authenticated (design, "Bad input").

use std::time::Duration;

/// Largest body in bytes.
pub const BODY: usize = 32 * 1024 * 1024;
/// Largest request head in bytes; over it 431.
pub const HEAD: usize = 64 * 1024;
/// Most header fields.
pub const HEADERS: usize = 100;
/// Longest time for a request, from its head to the last byte of the answer.
pub const REQUEST: Duration = Duration::from_secs(90);
/// Longest time for a TLS handshake and for a request head.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most open connections of one listener.
pub const CONNECTIONS: usize = 8192;
/// Most requests in flight of one listener.
pub const IN_FLIGHT: usize = 1024;
/// Largest sum of request bodies that are held in memory at once, in bytes.
pub const BODIES: usize = 256 * 1024 * 1024;
