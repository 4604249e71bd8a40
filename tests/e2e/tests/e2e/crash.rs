//! kill -9 under write load: what was acknowledged is there, and the audit chain holds.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zone_audit::verify::{Report, verify_files};
use zone_crypto::sign::PublicKey;
use zone_e2e::{Api, Head, Place};

const ROUNDS: usize = 5;
const WRITERS: usize = 6;

/// What one writer was promised.
#[derive(Default)]
struct Promised {
    writer: usize,
    /// Value by version.
    versions: BTreeMap<u64, String>,
    /// Ids of the requests that were answered.
    requests: Vec<String>,
    /// What was under way when the head died.
    unanswered: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_loses_nothing_acknowledged_and_the_audit_chain_holds() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(5, 3).await;
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("secret/config", &json!({ "max_versions": 10_000 }))
        .await
        .expect(204);
    let key = checkpoint_key(&root).await;

    let mut promised: Vec<Promised> = Vec::new();
    let mut requests = HashSet::new();
    for round in 0..ROUNDS {
        // Another moment in each round: after so many answers, whatever the others are doing.
        let answers = 40 + 37 * round;
        let mut load = Load::start(&head, &keys.root_token, round, answers);
        load.is_under_way().await;
        head.process.kill();
        promised.extend(load.ended().await);
        head = place.start();
        // Any three of the five.
        let shares = [0, 1, 2].map(|at| keys.base64[(round + at * 2) % 5].clone());
        head.unseal_with(&shares).await;
        let root = head.with_token(&keys.root_token);
        for written in &promised {
            check(&root, written).await;
        }
        requests.extend(
            promised
                .iter()
                .flat_map(|written| written.requests.iter().cloned()),
        );
        let report = verify(&place, &key);
        assert!(report.is_intact(), "round {round}: {report:?}");
        assert!(report.signatures_checked && report.checkpoints > 0);
        let epochs = u64::try_from(round).unwrap() + 2;
        assert_eq!(
            report.epochs, epochs,
            "one for the start and one for each restart"
        );
    }
    let log = std::fs::read_to_string(place.audit_log()).unwrap();
    let mut seen = BTreeMap::<String, usize>::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(id) = line["request"]["id"].as_str() {
            *seen.entry(id.to_owned()).or_default() += 1;
        }
    }
    let unrecorded = requests
        .iter()
        .filter(|id| seen.get(*id) != Some(&2))
        .count();
    assert_eq!(unrecorded, 0, "A1: each answered request has its two lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seal_and_sigterm_under_load_lose_nothing_acknowledged() {
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("secret/config", &json!({ "max_versions": 10_000 }))
        .await
        .expect(204);
    let key = checkpoint_key(&root).await;
    let mut load = Load::start(&head, &keys.root_token, 0, 60);
    load.is_under_way().await;
    root.put("sys/seal", &json!({})).await.expect(204);
    let mut promised = load.ended().await;
    head.unseal(&keys).await;

    let mut load = Load::start(&head, &keys.root_token, 1, 60);
    load.is_under_way().await;
    head.process.signal(Signal::TERM);
    assert_eq!(
        head.process.wait().code(),
        Some(0),
        "{}",
        head.process.log()
    );
    promised.extend(load.ended().await);
    let head = place.start();
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    for written in &promised {
        check(&root, written).await;
    }
    let report = verify(&place, &key);
    assert!(report.is_intact() && report.epochs == 3, "{report:?}");
    assert_eq!(
        report.lines_before_restart, 0,
        "each end in good order was signed"
    );
}

/// Writes under way, from several clients.
struct Load {
    writers: Vec<JoinHandle<Promised>>,
    enough: mpsc::Receiver<()>,
}

impl Load {
    /// Begins to write. `round` tells the secrets of one load from those of another.
    fn start(head: &Head, token: &str, round: usize, answers: usize) -> Self {
        let answered = Arc::new(AtomicUsize::new(0));
        let (reached, enough) = mpsc::channel(1);
        let writers = (0..WRITERS).map(|at| {
            let (api, answered, reached) =
                (head.with_token(token), answered.clone(), reached.clone());
            tokio::spawn(write(api, round * WRITERS + at, move || {
                if answered.fetch_add(1, Ordering::SeqCst) + 1 == answers {
                    let _ = reached.try_send(());
                }
            }))
        });
        Self {
            writers: writers.collect(),
            enough,
        }
    }

    /// Waits until there were so many answers.
    async fn is_under_way(&mut self) {
        self.enough.recv().await.expect("writers go on");
    }

    /// What was promised until the head stopped.
    async fn ended(self) -> Vec<Promised> {
        let mut all = Vec::new();
        for writer in self.writers {
            all.push(writer.await.unwrap());
        }
        all
    }
}

/// Writes versions of one secret until the head does not take them any more.
async fn write(api: Api, writer: usize, answered: impl Fn()) -> Promised {
    let mut promised = Promised {
        writer,
        ..Promised::default()
    };
    for number in 0.. {
        // Some values span chunks of the store.
        let filler = "x".repeat(if number % 7 == 6 { 200_000 } else { 20 });
        let value = format!("{writer}-{number}-{filler}");
        let body = json!({ "data": { "v": value } }).to_string();
        let path = format!("secret/data/w{writer}");
        let answer = api
            .try_send(http::Method::PUT, &path, "application/json", body)
            .await;
        match answer.map(|answer| (answer.status, answer)) {
            Ok((200, answer)) => {
                let answer = answer.json();
                promised
                    .versions
                    .insert(answer["data"]["version"].as_u64().unwrap(), value);
                promised
                    .requests
                    .push(answer["request_id"].as_str().unwrap().to_owned());
                answered();
            }
            // Gone, or sealed: this write may have happened.
            Err(_) | Ok((500 | 503, _)) => {
                promised.unanswered = Some(value);
                break;
            }
            Ok((_, answer)) => panic!("{}: {}", answer.request, answer.text()),
        }
    }
    promised
}

async fn check(root: &Api, promised: &Promised) {
    let writer = promised.writer;
    for (version, value) in &promised.versions {
        let read = root
            .get(&format!("secret/data/w{writer}?version={version}"))
            .await
            .expect(200);
        assert_eq!(
            read.data()["data"]["v"].as_str(),
            Some(&**value),
            "writer {writer}, {version}"
        );
    }
    let known = u64::try_from(promised.versions.len()).unwrap();
    assert!(
        promised.versions.keys().copied().eq(1..=known),
        "versions without a gap"
    );
    // What was not answered is there whole, or not at all.
    let next = root
        .get(&format!("secret/data/w{writer}?version={}", known + 1))
        .await;
    match next.status {
        404 => {}
        200 => assert_eq!(
            next.data()["data"]["v"].as_str(),
            promised.unanswered.as_deref()
        ),
        other => panic!("writer {writer}: {other} {}", next.text()),
    }
    root.get(&format!("secret/data/w{writer}?version={}", known + 2))
        .await
        .expect(404);
}

async fn checkpoint_key(root: &Api) -> PublicKey {
    let devices = root.get("sys/audit").await.expect(200).data();
    let key = devices["file/"]["public_key"]
        .as_str()
        .expect("the device's key");
    PublicKey::from_spki(&hex::decode(key).unwrap()).unwrap()
}

fn verify(place: &Place, key: &PublicKey) -> Report {
    verify_files(&[place.audit_log()], Some(key)).unwrap()
}
