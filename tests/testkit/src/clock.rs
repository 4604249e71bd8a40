//! A clock that moves only when a test moves it (T1).

use std::time::Duration;

use parking_lot::Mutex;
use zone_ports::Clock;
use zone_types::Timestamp;

/// Stands at 2026-11-18T09:46:40Z until it is moved.
#[derive(Debug)]
pub struct FakeClock {
    hands: Mutex<Hands>,
}

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    monotonic: Duration,
}

impl FakeClock {
    /// Where a new clock stands.
    pub const START: Timestamp = Timestamp::from_secs(1_794_995_200);

    /// A clock that stands at `now`.
    pub fn at(now: Timestamp) -> Self {
        let monotonic = Duration::from_secs(1);
        Self {
            hands: Mutex::new(Hands { now, monotonic }),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let mut hands = self.hands.lock();
        hands.now = hands.now.plus(span);
        hands.monotonic += span;
    }

    /// Sets the wall clock, also backwards. The monotonic clock stays.
    pub fn set(&self, now: Timestamp) {
        self.hands.lock().now = now;
    }
}

impl Default for FakeClock {
    fn default() -> Self {
        Self::at(Self::START)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.hands.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.hands.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_may_go_back_and_the_monotonic_one_not() {
        let clock = FakeClock::default();
        clock.advance(Duration::from_secs(5));
        let (now, monotonic) = (clock.now(), clock.monotonic());
        assert_eq!(now, FakeClock::START.plus(Duration::from_secs(5)));
        assert_eq!(now.to_string(), "2026-11-18T09:46:45Z");
        clock.set(FakeClock::START);
        assert!(clock.now() < now);
        assert_eq!(clock.monotonic(), monotonic);
    }
}
