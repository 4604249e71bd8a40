//! Time (T1). Only a backend may ask the operating system.

use std::fmt::Debug;
use std::time::Duration;

use zone_types::Timestamp;

/// A wall clock and a monotonic one.
pub trait Clock: Debug + Send + Sync {
    /// The wall clock. May jump; who must not go back keeps a floor (see the design's time floor).
    fn now(&self) -> Timestamp;

    /// Time since some fixed instant; never goes back.
    fn monotonic(&self) -> Duration;
}
