//! What happens to one request before any API sees it: limits, host, canonical path, body.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use zone_types::{RequestId, RequestPath, Secret};

use crate::Zone;
use crate::body::{self, BodyFault, ReplyBody};
use crate::limits;
use crate::vault;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that the listener saw.
    pub remote: SocketAddr,
}

/// Rules of one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerRules {
    /// Only requests whose `Host` is a loopback name are served. Stops a web page that points its
    /// own name at 127.0.0.1 (DNS rebinding) from talking to a zone on the developer's machine.
    pub loopback_hosts_only: bool,
    /// Addresses whose `X-Forwarded-For` counts (attack 6). From others the header is ignored.
    pub trusted_proxies: Vec<IpAddr>,
}

/// One listener's view of the zone.
#[derive(Debug)]
pub struct App {
    zone: Arc<Zone>,
    rules: ListenerRules,
    in_flight: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// A request that passed everything that needs no authentication.
pub struct Inbound {
    /// Drawn for this request; in the answer and in each audit line.
    pub id: RequestId,
    /// The method.
    pub method: Method,
    /// The path below `/v1/`, canonical (A3).
    pub path: RequestPath,
    /// The raw query string.
    pub query: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// `X-Vault-Token`, or the bearer token.
    pub token: Option<Secret<String>>,
    /// The body.
    pub body: Bytes,
    /// The client's address, from the listener or a trusted proxy.
    pub client: SocketAddr,
}

/// An answer on its way out.
pub struct Outbound {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, for a body that is not empty.
    pub content_type: &'static str,
    /// The body; empty for 204.
    pub body: Vec<u8>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
}

impl Outbound {
    /// A JSON answer.
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body,
            retry_after: None,
        }
    }

    /// `{"errors":[…]}`.
    pub fn error(status: u16, text: &str) -> Self {
        let body = serde_json::json!({ "errors": [text] })
            .to_string()
            .into_bytes();
        Self::json(status, body)
    }

    fn later(status: u16, text: &str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::error(status, text)
        }
    }
}

impl App {
    /// Serves `zone` under `rules`.
    pub fn new(zone: Arc<Zone>, rules: ListenerRules) -> Arc<Self> {
        Arc::new(Self {
            zone,
            rules,
            in_flight: Arc::new(Semaphore::new(limits::IN_FLIGHT)),
            bodies: Arc::new(Semaphore::new(limits::BODIES / 1024)),
        })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<ReplyBody> {
        let head = request.method() == Method::HEAD;
        let namespace = request.headers().get("x-vault-namespace").cloned();
        let judged = tokio::time::timeout(limits::REQUEST, self.judge(request, peer)).await;
        let outbound = judged
            .unwrap_or_else(|_| Outbound::later(503, "the request took longer than 90 seconds"));
        self.zone.metrics.count(outbound.status);
        respond(outbound, head, namespace)
    }

    async fn judge(&self, request: Request<Incoming>, peer: &Peer) -> Outbound {
        let Ok(slot) = self.in_flight.clone().try_acquire_owned() else {
            return Outbound::later(503, "too many requests in flight");
        };
        let (parts, body) = request.into_parts();
        if let Err(refused) = self.judge_head(&parts) {
            return refused;
        }
        let raw = parts.uri.path();
        let Some(raw) = raw.strip_prefix("/v1/") else {
            return Outbound::json(404, br#"{"errors":[]}"#.to_vec());
        };
        let path = match RequestPath::from_wire(raw) {
            Ok(path) => path,
            Err(fault) => return Outbound::error(400, &fault.to_string()),
        };
        let held = match body::read(body, &self.bodies).await {
            Ok(held) => held,
            Err(BodyFault::TooLarge) => {
                return Outbound::error(413, "the body is larger than 32 MiB");
            }
            Err(BodyFault::Busy) => return Outbound::later(503, "too many large bodies at once"),
            Err(BodyFault::Broken) => return Outbound::error(400, "the body ended early"),
        };
        let inbound = Inbound {
            id: RequestId::from_random(zone_ports::random::bytes(&*self.zone.random)),
            path,
            query: parts.uri.query().unwrap_or("").to_owned(),
            token: token_of(&parts.headers),
            client: self.client(&parts.headers, peer),
            method: parts.method,
            headers: parts.headers,
            body: held.bytes.clone(),
        };
        let zone = self.zone.clone();
        // A task of its own: a client that goes away, or the time limit, must not stop a request
        // between its commit and what has to follow it (caches, the audit trail).
        let served = tokio::spawn(async move {
            let _held = (slot, held);
            vault::serve(&zone, inbound).await
        });
        served
            .await
            .unwrap_or_else(|_| Outbound::error(500, "internal error"))
    }

    fn judge_head(&self, parts: &http::request::Parts) -> Result<(), Outbound> {
        if self.rules.loopback_hosts_only && !names_loopback(parts) {
            let text = "this zone answers to loopback names only: use 127.0.0.1 or localhost";
            return Err(Outbound::error(403, text));
        }
        let headers = &parts.headers;
        if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
            return Err(Outbound::error(
                400,
                "Content-Length together with Transfer-Encoding",
            ));
        }
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        if size > limits::HEAD {
            return Err(Outbound::error(
                431,
                "the header fields are larger than 64 KiB",
            ));
        }
        if headers.get_all("x-vault-token").iter().count() > 1 {
            return Err(Outbound::error(400, "more than one X-Vault-Token"));
        }
        if let Some(namespace) = headers.get("x-vault-namespace")
            && !matches!(namespace.as_bytes(), b"" | b"root" | b"/" | b"root/")
        {
            return Err(Outbound::error(404, "namespace not found"));
        }
        Ok(())
    }

    /// The client's address: the peer's, unless the peer is a trusted proxy; then the last
    /// address of `X-Forwarded-For` that is not a trusted proxy itself (attack 6).
    fn client(&self, headers: &HeaderMap, peer: &Peer) -> SocketAddr {
        let trusted =
            |address: IpAddr| self.rules.trusted_proxies.contains(&address.to_canonical());
        if !trusted(peer.remote.ip()) {
            return peer.remote;
        }
        let hops: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .collect();
        for hop in hops.iter().rev() {
            match hop.trim().parse::<IpAddr>() {
                Ok(address) if trusted(address) => {}
                Ok(address) => return SocketAddr::new(address, 0),
                Err(_) => break,
            }
        }
        peer.remote
    }
}

fn names_loopback(parts: &http::request::Parts) -> bool {
    let host = match parts.uri.authority() {
        Some(authority) => authority.host().to_owned(),
        None => {
            let text = parts
                .headers
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or("");
            match text.parse::<http::uri::Authority>() {
                Ok(authority) => authority.host().to_owned(),
                Err(_) => return false,
            }
        }
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn token_of(headers: &HeaderMap) -> Option<Secret<String>> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    if let Some(token) = headers.get("x-vault-token").and_then(text) {
        return Some(Secret::new(token));
    }
    let bearer = headers.get(AUTHORIZATION).and_then(text)?;
    let token = bearer
        .strip_prefix("Bearer ")
        .or_else(|| bearer.strip_prefix("bearer "))?;
    Some(Secret::new(token.trim().to_owned()))
}

fn respond(outbound: Outbound, head: bool, namespace: Option<HeaderValue>) -> Response<ReplyBody> {
    let length = outbound.body.len();
    let body = if head {
        Bytes::new()
    } else {
        Bytes::from(outbound.body)
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        StatusCode::from_u16(outbound.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if length > 0 {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(outbound.content_type),
        );
        if head {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    if let Some(secs) = outbound.retry_after {
        headers.insert(http::header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if let Some(namespace) = namespace {
        headers.insert("x-vault-namespace", namespace);
    }
    response
}

/// Counts of answers, for the metrics.
#[derive(Debug, Default)]
pub struct StatusCounts([AtomicU64; 6]);

impl StatusCounts {
    /// Counts one answer by the first digit of its status.
    pub fn add(&self, status: u16) {
        if let Some(count) = self.0.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Answers so far whose status begins with `class`.
    pub fn of(&self, class: usize) -> u64 {
        self.0
            .get(class)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
