//! How the store does: whether it answers, what went wrong, how long groups take, its connections.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use zone_ports::StoreError;

use super::describe;

/// Kinds of failure, as they are told.
const KINDS: [&str; 4] = ["unavailable", "full", "corrupt", "fenced"];

/// What is known of the store from its answers; asks it for nothing.
#[derive(Default)]
pub struct StoreMeter {
    away: AtomicBool,
    failures: [AtomicU64; KINDS.len()],
    groups: AtomicU64,
    group_nanos: AtomicU64,
    connections: OnceLock<Box<dyn Fn() -> Connections + Send + Sync>>,
}

/// Connections of a store that is reached over some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Those that are at work.
    pub used: usize,
    /// Those that wait for work.
    pub idle: usize,
}

impl StoreMeter {
    /// The store has connections, and `count` counts them. The first call decides.
    pub fn has_connections(&self, count: impl Fn() -> Connections + Send + Sync + 'static) {
        drop(self.connections.set(Box::new(count)));
    }

    /// Notes one answer of the store.
    pub fn answered<T>(&self, answer: &Result<T, StoreError>) {
        let kind = match answer {
            Ok(_) => None,
            Err(StoreError::Unavailable { .. }) => Some(0),
            Err(StoreError::Full { .. }) => Some(1),
            Err(StoreError::Corrupt { .. }) => Some(2),
            Err(_) => Some(3),
        };
        self.away.store(kind == Some(0), Ordering::Relaxed);
        if let Some(kind) = kind {
            self.failures[kind].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what the store took to make one group of changes durable.
    pub fn applied(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.group_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Whether the store answered when it was last asked.
    pub fn is_available(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }

    pub(super) fn write(&self, out: &mut String) {
        let name = "zonehead_store_available";
        let help = "1 if the store answered when it was last asked.";
        describe(out, name, "gauge", help);
        let _ = writeln!(out, "{name} {}", u8::from(self.is_available()));
        let name = "zonehead_store_failures";
        let help = "What was asked of the store in vain, by what the store said.";
        describe(out, name, "counter", help);
        for (kind, count) in KINDS.iter().zip(&self.failures) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_total{{kind=\"{kind}\"}} {count}");
        }
        let name = "zonehead_store_group_seconds";
        let help = "What the store took to make groups of changes durable.";
        describe(out, name, "summary", help);
        let seconds = Duration::from_nanos(self.group_nanos.load(Ordering::Relaxed));
        let count = self.groups.load(Ordering::Relaxed);
        let _ = writeln!(out, "{name}_count {count}");
        let _ = writeln!(out, "{name}_sum {}", seconds.as_secs_f64());
        if let Some(count) = self.connections.get() {
            let name = "zonehead_store_connections";
            let help = "Connections to the store's server, by whether they are at work.";
            describe(out, name, "gauge", help);
            let Connections { used, idle } = count();
            let _ = writeln!(out, "{name}{{state=\"used\"}} {used}");
            let _ = writeln!(out, "{name}{{state=\"idle\"}} {idle}");
        }
    }
}

impl std::fmt::Debug for StoreMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreMeter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_says_is_counted_by_its_kind() {
        let meter = StoreMeter::default();
        let backend = "test";
        let away = || StoreError::Unavailable {
            backend,
            source: "away".into(),
        };
        let full = StoreError::Full {
            backend,
            source: "full".into(),
        };
        meter.answered(&Err::<(), _>(away()));
        meter.answered(&Err::<(), _>(away()));
        assert!(!meter.is_available());
        meter.answered(&Err::<(), _>(full));
        assert!(meter.is_available(), "a full store answers");
        meter.answered(&Err::<(), _>(StoreError::Fenced));
        meter.applied(Duration::from_millis(1500));
        meter.applied(Duration::from_millis(500));
        meter.has_connections(|| Connections { used: 1, idle: 7 });
        let mut text = String::new();
        meter.write(&mut text);
        for line in [
            "zonehead_store_available 1",
            "zonehead_store_failures_total{kind=\"unavailable\"} 2",
            "zonehead_store_failures_total{kind=\"full\"} 1",
            "zonehead_store_failures_total{kind=\"corrupt\"} 0",
            "zonehead_store_failures_total{kind=\"fenced\"} 1",
            "zonehead_store_group_seconds_count 2",
            "zonehead_store_group_seconds_sum 2",
            "zonehead_store_connections{state=\"used\"} 1",
            "zonehead_store_connections{state=\"idle\"} 7",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
    }
}
