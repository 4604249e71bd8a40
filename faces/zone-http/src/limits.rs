//! Limits that hold before anybody is authenticated (design, "Bad input").

use std::time::Duration;

/// Largest body in bytes.
pub const BODY: usize = 32 * 1024 * 1024;
/// Largest request head in bytes; over it 431.
pub const HEAD: usize = 64 * 1024;
/// Most header fields.
pub const HEADERS: usize = 100;
/// Longest time for a request, from its head to its answer; and for the answer to be taken.
pub const REQUEST: Duration = Duration::from_secs(90);
/// Longest time for a TLS handshake and for a request head.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most open connections of one listener.
pub const CONNECTIONS: usize = 8192;
/// Most requests of one listener that are served at once. A body on its way does not count.
pub const IN_FLIGHT: usize = 1024;
/// Most streams of one HTTP/2 connection.
pub const STREAMS: u32 = 128;
/// A body up to here is small, as nearly all are: it takes memory as it comes in.
pub const SMALL_BODY: usize = 64 * 1024;
/// Largest sum of small bodies that are held in memory at once, in bytes.
pub const SMALL_BODIES: usize = 128 * 1024 * 1024;
/// Largest sum of other bodies that are held or announced at once, in bytes.
pub const BODIES: usize = 256 * 1024 * 1024;
/// An answer from here on is large.
pub const LARGE_ANSWER: usize = 64 * 1024;
/// Largest sum of large answers that clients have not taken yet, in bytes.
pub const ANSWERS: usize = 256 * 1024 * 1024;
