//! The machine's clocks (T1). The only place that asks for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zone_ports::Clock;
use zone_types::Timestamp;

/// The kernel's wall clock, and its monotonic one counted from the start of this process.
#[derive(Debug, Clone, Copy)]
pub struct HostClock {
    start: Instant,
}

impl HostClock {
    /// The clocks of this machine.
    pub fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "this backend is the clock port's one source"
        )]
        let start = Instant::now();
        Self { start }
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        #[expect(
            clippy::disallowed_methods,
            reason = "this backend is the clock port's one source"
        )]
        let now = SystemTime::now();
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match now.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp::from_nanos(nanos(after)),
            Err(before) => Timestamp::from_nanos(-nanos(before.duration())),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_forward() {
        let clock = HostClock::new();
        let (wall, steady) = (clock.now(), clock.monotonic());
        assert!(wall > Timestamp::from_secs(1_700_000_000));
        assert!(clock.monotonic() >= steady);
    }
}
