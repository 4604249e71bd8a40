//! Closed-loop load: so many clients, each with one HTTP/1.1 connection over TLS that it keeps,
//! each sending its next request when the last one is answered.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::head::Process;

/// What one case sends.
pub(crate) struct Plan {
    pub(crate) method: Method,
    /// The path below `/v1/` of request number `n`.
    pub(crate) path: Box<dyn Fn(u64) -> String + Send + Sync>,
    /// Its body.
    pub(crate) body: Box<dyn Fn(u64) -> Bytes + Send + Sync>,
    /// More header fields.
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    /// What is asked next, made of the answer; both calls count as one.
    pub(crate) then: Option<fn(&Value) -> Option<Next>>,
}

/// A call that an answer leads to, always a POST.
pub(crate) struct Next {
    /// Below `/v1/`.
    pub(crate) path: &'static str,
    /// Whose call it is, if not the first one's.
    pub(crate) token: Option<String>,
    pub(crate) body: Bytes,
}

/// Whom to ask, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: TlsConnector,
    pub(crate) token: String,
}

impl Target {
    pub(crate) fn new(address: &str, ca: &Path, token: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in zone_cli::client::roots_of_file(ca)? {
            roots.add(certificate)?;
        }
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self {
            address: address.parse()?,
            tls,
            token: token.to_owned(),
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .context("TLS handshake")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What one run gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The server's CPU milliseconds for each request.
    pub(crate) cpu_ms: f64,
}

/// Runs `plan` with `clients` for `window`.
pub(crate) async fn run(
    target: &Target,
    plan: &Arc<Plan>,
    clients: usize,
    window: Duration,
    process: &Process,
) -> anyhow::Result<Outcome> {
    let counter = Arc::new(AtomicU64::new(0));
    let mut senders = Vec::new();
    for _ in 0..clients {
        senders.push(target.connect().await?);
    }
    let (cpu, begun) = (process.cpu()?, Instant::now());
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|sender| {
            let (plan, counter, token) = (plan.clone(), counter.clone(), target.token.clone());
            tokio::spawn(one(sender, plan, counter, token, begun + window))
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), process.cpu()? - cpu);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Outcome {
        rate: times.len() as f64 / elapsed,
        p50: at(0.5),
        p99: at(0.99),
        cpu_ms: cpu * 1000.0 / times.len() as f64,
    })
}

async fn one(
    mut sender: SendRequest<Full<Bytes>>,
    plan: Arc<Plan>,
    counter: Arc<AtomicU64>,
    token: String,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    loop {
        let begun = Instant::now();
        if begun >= end && !times.is_empty() {
            return Ok(times);
        }
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let path = (plan.path)(number);
        let mut first = request(plan.method.clone(), &path, &token, (plan.body)(number))?;
        for (name, value) in &plan.fields {
            let value = HeaderValue::from_static(value);
            first.headers_mut().insert(*name, value);
        }
        let answer = ask(&mut sender, first).await?;
        if let Some(then) = plan.then {
            let answer = serde_json::from_slice(&answer)?;
            let next = then(&answer).context("the answer leads nowhere")?;
            let token = next.token.as_deref().unwrap_or(&token);
            let second = request(Method::POST, next.path, token, next.body)?;
            ask(&mut sender, second).await?;
        }
        times.push(begun.elapsed());
    }
}

fn request(
    method: Method,
    path: &str,
    token: &str,
    body: Bytes,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/{path}"))
        .header("host", "localhost")
        .header("x-vault-token", token);
    Ok(request.body(Full::new(body))?)
}

async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Bytes> {
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}
