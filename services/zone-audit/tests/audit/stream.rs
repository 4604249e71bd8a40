//! Receivers from which nothing can be read back: what counts, what is lost, who waits.

use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use zone_audit::{AuditError, Broker, Device, StreamConfig};
use zone_ports::audit::{StreamLine, Undelivered};
use zone_ports::{AuditSinkError, AuditStream, Clock};
use zone_types::Secret;

use crate::common::{MemSink, StillClock, Trail, config, start, with_entry, with_full_entry};

/// The other side, for the test to look at and to break.
#[derive(Debug, Default)]
struct Side {
    lines: Vec<String>,
    numbers: Vec<u64>,
    attempts: usize,
    away: bool,
    /// Deliveries wait while this is set.
    stuck: bool,
    /// Longer lines can never be taken.
    longest: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Receiver(Arc<(Mutex<Side>, Condvar)>);

impl Receiver {
    fn side(&self) -> MutexGuard<'_, Side> {
        self.0.0.lock()
    }

    fn set(&self, change: impl FnOnce(&mut Side)) {
        change(&mut self.side());
        self.0.1.notify_all();
    }

    /// Waits for a state of the other side.
    fn until(&self, state: impl Fn(&Side) -> bool) {
        self.0.1.wait_while(&mut self.side(), |side| !state(side));
    }

    fn has(&self, text: &str) -> bool {
        self.side().lines.iter().any(|line| line.contains(text))
    }
}

impl AuditStream for Receiver {
    fn deliver(&mut self, lines: &[StreamLine<'_>]) -> Result<(), Undelivered> {
        let mut side = self.side();
        side.attempts += 1;
        self.0.1.notify_all();
        self.0.1.wait_while(&mut side, |side| side.stuck);
        let failed = |taken, hopeless| Undelivered {
            taken,
            hopeless,
            error: AuditSinkError {
                doing: "reached",
                source: ErrorKind::ConnectionRefused.into(),
            },
        };
        if side.away {
            return Err(failed(0, false));
        }
        for (at, line) in lines.iter().enumerate() {
            if side
                .longest
                .is_some_and(|longest| line.text.len() > longest)
            {
                return Err(failed(at, true));
            }
            let text = String::from_utf8(line.text.to_vec()).expect("lines are text");
            side.lines.push(text);
            side.numbers.push(line.seq);
        }
        self.0.1.notify_all();
        Ok(())
    }
}

fn device(receiver: &Receiver, acknowledges: bool) -> Arc<Device> {
    let config = StreamConfig {
        name: "receiver".to_owned(),
        zone: "3f9c0a1b2c3d4e5f".to_owned(),
        head: "head-1".to_owned(),
        hmac_accessor: true,
        elide_lists: false,
        acknowledges,
    };
    let clock = Arc::new(StillClock::default());
    Device::stream(
        config,
        &Secret::new([7; 32]),
        Box::new(receiver.clone()),
        clock,
    )
    .expect("the test set it up")
}

async fn record(broker: &Broker, path: &str) -> Result<(), AuditError> {
    with_entry(path, async |entry| broker.record(entry).await).await
}

#[tokio::test]
async fn a1_a_receiver_that_does_not_acknowledge_is_not_enough_and_never_the_last() {
    let receiver = Receiver::default();
    let broker = Broker::new(Arc::new(StillClock::default()));
    broker.add(device(&receiver, false)).unwrap();
    let result = record(&broker, "x").await;
    assert!(matches!(result, Err(AuditError::NoDevice)));
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    let refused = trail.broker.remove("file").await;
    assert!(matches!(refused, Err(AuditError::LastDevice)));
    trail.broker.remove("receiver").await.unwrap();
}

#[tokio::test]
async fn a1_a_receiver_that_acknowledges_counts() {
    let receiver = Receiver::default();
    let broker = Broker::new(Arc::new(StillClock::default()));
    broker.add(device(&receiver, true)).unwrap();
    record(&broker, "x").await.unwrap();
    assert!(receiver.has("\"path\":\"x\""));
    receiver.set(|side| side.away = true);
    let refused = record(&broker, "y").await;
    assert!(
        matches!(refused, Err(AuditError::Failed { .. })),
        "{refused:?}"
    );
    // Refused at once while it is away, and served again when it is back.
    let refused = record(&broker, "z").await;
    assert!(
        matches!(refused, Err(AuditError::Failed { .. })),
        "{refused:?}"
    );
    receiver.set(|side| side.away = false);
    receiver.until(|side| {
        side.lines
            .iter()
            .any(|line| line.contains("\"type\":\"lost\""))
    });
    record(&broker, "w").await.unwrap();
    assert!(!receiver.has("\"path\":\"y\"") && !receiver.has("\"path\":\"z\""));
    assert!(receiver.has("\"lost\":{\"v\":1,\"lines\":2,"));
    assert_eq!(broker.list()[0].lost, 2);
    assert!(matches!(
        broker.remove("receiver").await,
        Err(AuditError::LastDevice)
    ));
}

#[tokio::test]
async fn lines_have_no_chain_and_no_secret() {
    let receiver = Receiver::default();
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    with_full_entry(async |entry| trail.broker.record(entry).await)
        .await
        .unwrap();
    trail.broker.close().await;
    let side = receiver.side();
    let line: serde_json::Value = serde_json::from_str(&side.lines[0]).unwrap();
    assert!(!side.lines[0].contains("CANARY"));
    assert!(line.get("chain").is_none() && trail.broker.device("receiver").is_none());
    let stream = serde_json::json!({
        "zone": "3f9c0a1b2c3d4e5f",
        "head": "head-1",
        "device": "receiver",
        "run": "2026-11-18T11:06:40Z",
        "seq": 1,
    });
    assert_eq!(line["stream"], stream);
    assert_eq!(line["type"], "response");
}

#[tokio::test]
async fn a_short_absence_loses_nothing() {
    let receiver = Receiver::default();
    receiver.set(|side| side.away = true);
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    for i in 0..1_000 {
        trail.record(&format!("n/{i}")).await;
    }
    receiver.until(|side| side.attempts > 1);
    let status = trail.broker.list();
    assert!(status[1].failing && !status[0].failing);
    receiver.set(|side| side.away = false);
    receiver.until(|side| side.lines.len() == 1_000);
    assert_eq!(receiver.side().numbers, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(trail.broker.list()[1].lost, 0);
}

#[tokio::test]
async fn a_hung_receiver_holds_up_nobody_and_its_losses_are_told() {
    let receiver = Receiver::default();
    receiver.set(|side| side.stuck = true);
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    trail.record("first").await;
    receiver.until(|side| side.attempts == 1);
    for i in 0..9_000 {
        trail.record(&format!("n/{i}")).await;
    }
    let lost = trail.broker.list()[1].lost;
    assert_eq!(lost, 9_000 - 8_192);
    receiver.set(|side| side.stuck = false);
    // Until there is room in the queue.
    receiver.until(|side| side.lines.len() > 1);
    trail.record("last").await;
    receiver.until(|side| {
        side.lines
            .iter()
            .any(|line| line.contains("\"path\":\"last\""))
    });
    assert!(receiver.has(&format!("\"lost\":{{\"v\":1,\"lines\":{lost},")));
    // The numbers show where: they jump by the lines that were passed over.
    let side = receiver.side();
    let jumps = side.numbers.windows(2).map(|pair| pair[1] - pair[0] - 1);
    assert_eq!(jumps.sum::<u64>(), lost);
    assert_eq!(trail.verify().broken, None);
}

#[tokio::test]
async fn a_line_that_can_never_be_taken_stops_no_other() {
    let receiver = Receiver::default();
    receiver.set(|side| side.longest = Some(1_000));
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    for path in ["one", &"x".repeat(2_000), "two"] {
        trail.record(path).await;
    }
    receiver.until(|side| side.lines.len() == 3);
    assert!(receiver.has("\"path\":\"two\"") && receiver.has("\"lines\":1,"));
}

#[tokio::test]
async fn closing_waits_for_no_receiver_that_is_away() {
    let receiver = Receiver::default();
    let trail = Trail::new().await;
    trail.broker.add(device(&receiver, false)).unwrap();
    receiver.set(|side| side.away = true);
    trail.record("x").await;
    receiver.until(|side| side.attempts > 2);
    trail.broker.close().await;
    assert!(trail.broker.list().is_empty());
}

#[tokio::test]
async fn answers_to_lists_are_counts_where_the_device_says_so() {
    let sink = MemSink::default();
    let clock = Arc::new(StillClock::default());
    let broker = Broker::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let eliding = zone_audit::DeviceConfig {
        elide_lists: true,
        ..config("file")
    };
    broker.add(start(eliding, &sink, &clock).await).unwrap();
    let list = r#"{"keys":["a","b"],"key_info":{"a":{"CANARY":1}},"more":"CANARY"}"#;
    for operation in ["list", "read"] {
        with_full_entry(async |entry| {
            let request = zone_audit::RequestPart {
                operation,
                ..*entry.request
            };
            let response = zone_audit::ResponsePart {
                data: Some(zone_audit::Data::Json(list)),
                ..*entry.response.unwrap()
            };
            let entry = zone_audit::AuditEntry {
                request: &request,
                response: Some(&response),
                ..*entry
            };
            broker.record(&entry).await.unwrap();
        })
        .await;
    }
    let text = sink.text();
    assert_eq!(text.matches("\"keys\":2,\"key_info\":1").count(), 1);
    assert_eq!(text.matches("\"keys\":[\"hmac-sha256:").count(), 1);
    assert!(!text.contains("\"CANARY\","));
}
