//! What the head tells about itself, in OpenMetrics text.
//!
//! Labels come from small fixed sets. No path, name, policy or token ever becomes a label or a
//! metric name, so that metrics can neither leak names nor explode (attack 10).

mod store;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Number, Value, json};
use zone_types::Timestamp;

use zone_audit::DeviceStatus;

pub use store::{Connections, StoreMeter};

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Classes of status that are told of.
const CLASSES: std::ops::RangeInclusive<usize> = 1..=5;

/// The counters of one head.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By the first digit of the status.
    answers: [AtomicU64; 6],
    /// Requests over their quota.
    over_quota: AtomicU64,
    store: Arc<StoreMeter>,
}

impl Metrics {
    /// Counters beside those of the store.
    pub fn over(store: Arc<StoreMeter>) -> Self {
        Self {
            store,
            ..Self::default()
        }
    }

    /// How the store does.
    pub fn store(&self) -> &StoreMeter {
        &self.store
    }

    /// Counts one answer.
    pub fn count(&self, status: u16) {
        if let Some(count) = self.answers.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one request that a rate limit refused.
    pub fn count_over_quota(&self) {
        self.over_quota.fetch_add(1, Ordering::Relaxed);
    }

    /// The text that a scraper reads.
    pub fn text(&self, sealed: bool, devices: &[DeviceStatus]) -> String {
        let mut out = String::new();
        let name = "zonehead_http_responses";
        describe(
            &mut out,
            name,
            "counter",
            "Answers by class of HTTP status.",
        );
        for class in CLASSES {
            let count = self.answers[class].load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_total{{class=\"{class}xx\"}} {count}");
        }
        let name = "zonehead_sealed";
        describe(&mut out, name, "gauge", "1 while the zone is sealed.");
        let _ = writeln!(out, "{name} {}", u8::from(sealed));
        audit_devices(&mut out, devices);
        let name = "zonehead_rate_limited";
        let help = "Requests that a rate limit quota refused.";
        describe(&mut out, name, "counter", help);
        let over_quota = self.over_quota.load(Ordering::Relaxed);
        let _ = writeln!(out, "{name}_total {over_quota}");
        self.store.write(&mut out);
        out.push_str("# EOF\n");
        out
    }
}

/// The text of [`Metrics::text`] as the JSON of Vault's telemetry. `now` is when it was asked for.
pub fn json(text: &str, now: Timestamp) -> Value {
    let (mut gauges, mut counters, mut kind) = (Vec::new(), Vec::new(), "");
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            kind = family.rsplit(' ').next().unwrap_or("");
        }
        let sample = line.rsplit_once(' ').filter(|_| !line.starts_with('#'));
        let Some((series, value)) = sample else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = name.trim_end_matches("_total").replace('_', ".");
        let value: Number = value.parse().unwrap_or_else(|_| 0.into());
        let labels = labels_of(labels.trim_end_matches('}'));
        match kind {
            "counter" => counters.push(json!({
                "Name": name, "Count": value, "Sum": value, "Labels": labels,
            })),
            "summary" => sample_of(&mut samples, &name, value, labels),
            _ => gauges.push(json!({ "Name": name, "Value": value, "Labels": labels })),
        }
    }
    json!({
        "Timestamp": now,
        "Gauges": gauges,
        "Points": [],
        "Counters": counters,
        "Samples": samples,
    })
}

/// A summary has two lines: its count, then its sum.
fn sample_of(samples: &mut Vec<Value>, name: &str, value: Number, labels: Map<String, Value>) {
    if let Some(name) = name.strip_suffix(".count") {
        samples.push(json!({ "Name": name, "Count": value, "Labels": labels }));
    } else if let Some(sample) = samples.last_mut() {
        sample["Sum"] = value.into();
    }
}

/// `class="2xx",state="working"`. No value holds a comma or a quote.
fn labels_of(text: &str) -> Map<String, Value> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').into()))
        .collect()
}

/// Sums over all devices: their names are no labels (attack 10).
fn audit_devices(out: &mut String, devices: &[DeviceStatus]) {
    let name = "zonehead_audit_devices";
    describe(
        out,
        name,
        "gauge",
        "Audit devices by whether their last write failed.",
    );
    for (state, failing) in [("working", false), ("failing", true)] {
        let of_state = devices.iter().filter(|device| device.failing == failing);
        let _ = writeln!(out, "{name}{{state=\"{state}\"}} {}", of_state.count());
    }
    let name = "zonehead_audit_lines_lost";
    let help = "Lines that a syslog or socket device could not deliver.";
    describe(out, name, "counter", help);
    let lost: u64 = devices.iter().map(|device| device.lost).sum();
    let _ = writeln!(out, "{name}_total {lost}");
}

fn describe(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// One family as a strict reader takes it: its name, its type, its samples.
    struct Family {
        name: String,
        kind: String,
        samples: Vec<(String, f64)>,
    }

    /// Reads OpenMetrics 1.0: each family in one piece, its type and help first and once, names
    /// of samples that fit the type, no sample twice, `# EOF` last.
    fn strict(text: &str) -> Vec<Family> {
        let body = text.strip_suffix("# EOF\n").expect("ends in # EOF");
        let (mut families, mut seen) = (Vec::<Family>::new(), BTreeSet::new());
        for line in body.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "TYPE", name, kind] => {
                    assert!(
                        families.iter().all(|family| family.name != name),
                        "{name} twice"
                    );
                    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                    assert!(
                        name.chars().all(word) && !name.ends_with("_total"),
                        "{name}"
                    );
                    families.push(Family {
                        name: name.to_owned(),
                        kind: kind.to_owned(),
                        samples: Vec::new(),
                    });
                }
                ["#", "HELP", name, help] => {
                    let family = families.last().expect("the type first");
                    assert!(family.name == name && family.samples.is_empty(), "{line}");
                    assert!(!help.is_empty());
                }
                ["#", ..] => panic!("no metadata: {line}"),
                _ => {
                    let family = families.last_mut().expect("the type first");
                    let (series, value) = line.rsplit_once(' ').expect("a value");
                    let name = series.split('{').next().unwrap();
                    let suffixes: &[&str] = match family.kind.as_str() {
                        "counter" => &["_total"],
                        "gauge" => &[""],
                        "summary" => &["_count", "_sum"],
                        other => panic!("an unknown type: {other}"),
                    };
                    let fits = |suffix: &&str| name == format!("{}{suffix}", family.name);
                    assert!(suffixes.iter().any(fits), "{name}");
                    assert!(seen.insert(series.to_owned()), "{series} twice");
                    family
                        .samples
                        .push((series.to_owned(), value.parse().unwrap()));
                }
            }
        }
        families
    }

    #[test]
    fn the_text_is_what_open_metrics_asks_for() {
        let metrics = Metrics::default();
        for status in [200, 204, 404, 503, 299] {
            metrics.count(status);
        }
        let device = |failing, lost| DeviceStatus {
            name: "a name".to_owned(),
            counts: true,
            failing,
            lost,
            head: None,
        };
        let devices = [device(true, 3), device(false, 0), device(false, 4)];
        let families = strict(&metrics.text(true, &devices));
        let names: Vec<&str> = families.iter().map(|one| one.name.as_str()).collect();
        let known = [
            "zonehead_http_responses",
            "zonehead_sealed",
            "zonehead_audit_devices",
            "zonehead_audit_lines_lost",
            "zonehead_rate_limited",
            "zonehead_store_available",
            "zonehead_store_failures",
            "zonehead_store_group_seconds",
        ];
        assert_eq!(names, known);
        let counts = |family: usize| families[family].samples.iter().map(|one| one.1);
        assert_eq!(counts(2).collect::<Vec<_>>(), [2.0, 1.0]);
        assert_eq!(counts(3).collect::<Vec<_>>(), [7.0]);
        let series = |class: u8| format!("zonehead_http_responses_total{{class=\"{class}xx\"}}");
        let counts = [(1, 0.0), (2, 3.0), (3, 0.0), (4, 1.0), (5, 1.0)];
        let expected = counts.map(|(class, count)| (series(class), count));
        assert_eq!(families[0].samples, expected);
        assert_eq!(families[1].samples, [("zonehead_sealed".to_owned(), 1.0)]);
        assert!(metrics.text(false, &[]).contains("zonehead_sealed 0\n"));
    }

    #[test]
    fn attack_10_no_status_adds_a_series() {
        let metrics = Metrics::default();
        let series = |text: &str| {
            let families = strict(text);
            let samples = families.into_iter().flat_map(|family| family.samples);
            samples.map(|(series, _)| series).collect::<Vec<_>>()
        };
        let before = series(&metrics.text(false, &[]));
        for status in 0..=u16::MAX {
            metrics.count(status);
        }
        assert_eq!(series(&metrics.text(false, &[])), before);
        assert_eq!(before.len(), 17);
    }
}
