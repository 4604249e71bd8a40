//! What the tests of this crate share: a zone in memory behind the face, without a network.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zone_access::Access;
use zone_age::AgeRecipients;
use zone_audit::{Broker, Durability};
use zone_auth::{AuthService, Hashers};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_crypto::password::Cost;
use zone_pki::{PkiService, ReservedNames};
use zone_ports::audit::{AuditRoom, AuditTail};
use zone_ports::host::{DiskFacts, MemoryFacts};
use zone_ports::{AuditSink, AuditSinkError, Host, HostFacts, LogControl, LogLevel, Random};
use zone_secrets::KvService;
use zone_system::{AuditPlaces, OpenAudit, OpenStream, Parts, System};
use zone_testkit::{FakeClock, MemStore, PlainMemory, SeededRandom};

use crate::app::Peer;
use crate::metrics::Metrics;
use crate::{About, App, ListenerRules, Zone};

/// A body whose parts a test sends when it likes.
pub(crate) struct Slow {
    parts: mpsc::UnboundedReceiver<Bytes>,
    announced: Option<u64>,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.poll_recv(cx);
        part.map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A slow body and its other end; it ends when that is dropped.
pub(crate) fn slow(announced: Option<usize>) -> (mpsc::UnboundedSender<Bytes>, Slow) {
    let (sender, parts) = mpsc::unbounded_channel();
    let announced = announced.map(|length| length as u64);
    (sender, Slow { parts, announced })
}

/// Audit lines in memory; writing fails on demand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Appends that succeed before all others fail.
    left: Option<usize>,
}

impl Trail {
    fn locked(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap()
    }

    /// Appends fail, once `count` of them were taken.
    pub(crate) fn fail_after(&self, count: usize) {
        self.locked().left = Some(count);
    }

    /// Appends succeed.
    pub(crate) fn heal(&self) {
        self.locked().left = None;
    }

    /// Requests and responses so far, without what a zone draws for each of them.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let mut all = self.all();
        all.retain(|line| line["type"] == "request" || line["type"] == "response");
        all
    }

    /// Alerts so far.
    pub(crate) fn alerts(&self) -> Vec<Value> {
        let mut all = self.all();
        all.retain(|line| line["type"] == "alert");
        all
    }

    fn all(&self) -> Vec<Value> {
        let text = String::from_utf8(self.locked().bytes.clone()).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// `request read secret/data/x` for each line; with its error, if it has one.
    pub(crate) fn shown(&self) -> Vec<String> {
        let show = |line: &Value| {
            let (kind, error) = (line["type"].as_str().unwrap(), line["error"].as_str());
            let request = &line["request"];
            let (operation, path) = (&request["operation"], &request["path"]);
            let mut text = format!("{kind} {operation} {path}").replace('"', "");
            if let Some(error) = error {
                text += &format!(": {error}");
            }
            text
        };
        self.lines().iter().map(show).collect()
    }

    /// Forgets what was written.
    pub(crate) fn clear(&self) {
        self.locked().bytes.clear();
    }
}

impl AuditSink for Trail {
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError> {
        let mut own = self.locked();
        if let Some(left) = &mut own.left {
            *left = left.checked_sub(1).ok_or_else(|| AuditSinkError {
                doing: "written",
                source: ErrorKind::Other.into(),
            })?;
        }
        own.bytes.extend_from_slice(lines);
        Ok(())
    }

    fn room(&mut self, _: u64) -> Result<AuditRoom, AuditSinkError> {
        Ok(AuditRoom::Enough)
    }

    fn sync(&mut self) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn size(&mut self) -> Result<u64, AuditSinkError> {
        Ok(self.locked().bytes.len() as u64)
    }

    fn rotate(&mut self, _: &str, _: &[u8]) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn tail(&mut self) -> Result<AuditTail, AuditSinkError> {
        let own = self.locked();
        let line = own.bytes.strip_suffix(b"\n").map(|whole| {
            let last = whole.rsplit(|byte| *byte == b'\n').next();
            last.unwrap_or_default().to_vec()
        });
        Ok(AuditTail { line, cut: 0 })
    }
}

/// A zone and its face. Time stands still.
pub(crate) struct Bench {
    pub(crate) zone: Arc<Zone>,
    pub(crate) app: Arc<App>,
    pub(crate) trail: Trail,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: MemStore,
    /// The only unseal key share.
    pub(crate) share: String,
    pub(crate) root: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Shown {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and body, or the errors if there are any.
    pub(crate) fn brief(&self) -> String {
        match self.text.strip_prefix("{\"errors\":") {
            Some(rest) => format!("{} {}", self.status, rest.trim_end_matches('}')),
            None => format!("{} {}", self.status, self.text),
        }
    }
}

impl Bench {
    /// A zone that was not initialised.
    pub(crate) async fn empty() -> Self {
        Self::configured(true).await
    }

    /// The same, with or without `sys/raw`.
    pub(crate) async fn configured(raw_storage: bool) -> Self {
        let (store, clock) = (MemStore::new(), Arc::new(FakeClock::default()));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(5));
        let committer = Committer::open(Arc::new(store.clone())).await.unwrap();
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        let reserved = ReservedNames::new("zone.example", &[]);
        let (at, drawn) = (clock.clone(), random.clone());
        let pki = PkiService::new(access.clone(), barrier.clone(), at.clone(), drawn, reserved);
        let auth = AuthService::new(
            barrier.clone(),
            access.clone(),
            random.clone(),
            Hashers::with_cost(2, Cost::LEAST),
        );
        let trail = Trail::default();
        let events = Arc::<crate::events::Subscribers>::default();
        let system = System::new(Parts {
            barrier: barrier.clone(),
            access,
            broker: Arc::new(Broker::new(clock.clone())),
            clock: at,
            random: random.clone(),
            recipients: Arc::new(AgeRecipients),
            places: places(&trail),
            listeners: vec![events.clone()],
            version: "0.1.0",
        });
        let zone = Arc::new(Zone {
            system,
            kv: Arc::new(KvService::new(barrier, random.clone())),
            auth: Arc::new(auth),
            pki: Arc::new(pki),
            random,
            host: Arc::new(Machine),
            log: Arc::new(Levels::default()),
            raw_storage,
            in_flight: crate::in_flight::InFlight::default(),
            metrics: Metrics::default(),
            events,
            about: about(),
        });
        let upgrades = zone_secrets::Upgrades::new(zone.kv.clone(), zone.system.access().clone());
        zone.system.access().also_do(Arc::new(upgrades));
        let pki = zone.pki.clone();
        zone.system
            .access()
            .end_leases_by(zone_access::MountKind::Pki, pki);
        Self {
            app: App::new(zone.clone(), ListenerRules::default()),
            zone,
            trail,
            clock,
            store,
            share: String::new(),
            root: String::new(),
        }
    }

    /// The same zone through a listener that serves more without a token.
    pub(crate) fn through(&self, doors: crate::vault::Doors) -> Self {
        let rules = ListenerRules {
            doors,
            ..ListenerRules::default()
        };
        Self {
            app: App::new(self.zone.clone(), rules),
            zone: self.zone.clone(),
            trail: self.trail.clone(),
            clock: self.clock.clone(),
            store: self.store.clone(),
            share: self.share.clone(),
            root: self.root.clone(),
        }
    }

    /// A sealed zone.
    pub(crate) async fn sealed() -> Self {
        Self::empty().await.initialised().await
    }

    pub(crate) async fn initialised(self) -> Self {
        let mut bench = self;
        let one = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let made = bench.send("PUT", "sys/init", one).await.json();
        bench.share = made["keys"][0].as_str().unwrap().to_owned();
        bench.root = made["root_token"].as_str().unwrap().to_owned();
        bench
    }

    /// An open zone with KV at `secret/` and a CA at `pki/`.
    pub(crate) async fn new() -> Self {
        let bench = Self::sealed().await;
        bench.unseal().await;
        for (path, kind) in [("secret", "kv-v2"), ("pki", "pki")] {
            let mounted = bench
                .root(
                    "PUT",
                    &format!("sys/mounts/{path}"),
                    json!({ "type": kind }),
                )
                .await;
            assert_eq!(mounted.status, 204, "{mounted:?}");
        }
        bench.trail.clear();
        bench
    }

    /// [`Bench::new`] with AppRole and userpass at `auth/approle/` and `auth/userpass/`.
    pub(crate) async fn with_methods() -> Self {
        let bench = Self::new().await;
        for kind in ["approle", "userpass"] {
            let path = format!("sys/auth/{kind}");
            let enabled = bench.root("PUT", &path, json!({ "type": kind })).await;
            assert_eq!(enabled.status, 204, "{enabled:?}");
        }
        bench.trail.clear();
        bench
    }

    /// What the trail says was only counted, in the last second that is over; null for nothing.
    pub(crate) async fn counted(&self) -> Value {
        let broker = self.zone.system.broker();
        broker.tick();
        // Behind it in the queue.
        broker.checkpoint_all().await.unwrap();
        let all = self.trail.all();
        let told = all.iter().rfind(|line| line["type"] == "refusals");
        told.map_or(Value::Null, |line| line["refusals"]["kinds"].clone())
    }

    pub(crate) async fn unseal(&self) {
        let opened = self.send("PUT", "sys/unseal", json!({ "key": self.share }));
        assert_eq!(opened.await.json()["sealed"], false);
    }

    /// A request without a token. `null` sends no body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Value) -> Shown {
        self.with(method, path, &[], body).await
    }

    /// A request of the root token.
    pub(crate) async fn root(&self, method: &str, path: &str, body: Value) -> Shown {
        let root = self.root.clone();
        self.by(&root, method, path, body).await
    }

    /// A request of any token.
    pub(crate) async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> Shown {
        self.with(method, path, &[("x-vault-token", token)], body)
            .await
    }

    /// A request with these header fields.
    pub(crate) async fn with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Value,
    ) -> Shown {
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text,
            json => json.to_string(),
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("/v1/{path}"));
        request = request.header("host", "zone.example");
        if method == Method::PATCH && fields.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/merge-patch+json");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.answer(request).await
    }

    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Shown
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.answer_to(request, &peer()).await
    }

    pub(crate) async fn answer_to<B>(&self, request: Request<B>, peer: &Peer) -> Shown
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = self.app.answer(request, peer).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Shown {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    /// A token with this policy and no other.
    pub(crate) async fn token(&self, policy: &str) -> String {
        let written = self
            .root("PUT", "sys/policies/acl/own", json!({ "policy": policy }))
            .await;
        assert_eq!(written.status, 204, "{written:?}");
        let ask = json!({ "policies": ["own"], "no_default_policy": true });
        let made = self.root("POST", "auth/token/create", ask).await.json();
        self.trail.clear();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

/// A machine that never changes.
#[derive(Debug)]
struct Machine;

impl Host for Machine {
    fn facts(&self) -> HostFacts {
        HostFacts {
            hostname: "head-1".into(),
            cpus: 2,
            memory: MemoryFacts {
                total: 1000,
                available: 750,
                free: 500,
            },
            disks: vec![DiskFacts {
                path: "/var/lib/zonehead".into(),
                total: 200,
                free: 50,
            }],
            ..HostFacts::default()
        }
    }
}

/// The levels of two parts.
#[derive(Debug)]
struct Levels(Mutex<[LogLevel; 2]>);

const PARTS: [&str; 2] = ["zone_access", "zone_http"];

impl Default for Levels {
    fn default() -> Self {
        Self(Mutex::new([LogLevel::Info; 2]))
    }
}

impl LogControl for Levels {
    fn levels(&self) -> Vec<(&'static str, LogLevel)> {
        PARTS.into_iter().zip(*self.0.lock().unwrap()).collect()
    }

    fn set(&self, part: Option<&str>, level: LogLevel) -> bool {
        let mut found = false;
        for (known, at) in PARTS.into_iter().zip(&mut *self.0.lock().unwrap()) {
            if part.is_none_or(|part| part == known) {
                (found, *at) = (true, level);
            }
        }
        found
    }

    fn reset(&self, part: Option<&str>) -> bool {
        self.set(part, LogLevel::Info)
    }
}

/// A client.
pub(crate) fn peer() -> Peer {
    let (answers, _) = mpsc::unbounded_channel();
    Peer {
        remote: "10.1.2.3:40000".parse().unwrap(),
        answers,
        stop: tokio::sync::watch::channel(false).1,
    }
}

fn places(trail: &Trail) -> AuditPlaces {
    let trail = trail.clone();
    // The built-in device's lines are looked at; each other one has lines of its own.
    let open: OpenAudit = Arc::new(move |path| {
        let built_in = path == std::path::Path::new("/audit.log");
        let trail = if built_in {
            trail.clone()
        } else {
            Trail::default()
        };
        Ok(Box::new(trail) as Box<dyn AuditSink>)
    });
    let open_stream: OpenStream = Arc::new(|_| {
        Err(AuditSinkError {
            doing: "reached",
            source: std::io::Error::other("it is not among the allowed receivers"),
        })
    });
    AuditPlaces {
        open,
        open_stream,
        built_in: "/audit.log".into(),
        head: "head-1".into(),
        durability: Durability::System,
        rotate_bytes: None,
    }
}

fn about() -> About {
    About {
        api_version: "1.20.0",
        version: "0.1.0",
        zone: "zone.example".into(),
        api_addr: "https://zone.example:8200".into(),
    }
}
