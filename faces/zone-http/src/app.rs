//! What happens to one request before any API sees it: limits, host, canonical path, body.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Body;
use hyper::upgrade::OnUpgrade;
use tokio::sync::{Semaphore, mpsc, watch};
use zeroize::Zeroizing;
use zone_types::{Cidr, RequestId, RequestPath, Secret};

use crate::Zone;
use crate::body::{self, BodyFault, BodyMemory, Held, Taken};
use crate::cors::Verdict;
use crate::events::Subscription;
use crate::in_flight;
use crate::limits;
use crate::stream::{self, ReplyBody, Wants};
use crate::vault;
use crate::{head, head::NAMESPACE};

/// Where a client stands: [`Outbound::rate`].
const RATE: [&str; 3] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that the listener saw; 127.0.0.1 and port 0 on a Unix socket.
    pub remote: SocketAddr,
    /// Told of each large answer; the connection ends if one is not taken in time.
    pub(crate) answers: mpsc::UnboundedSender<Taken>,
    /// Says true when the listener is to stop: answers that go on end then.
    pub(crate) stop: watch::Receiver<bool>,
}

/// Rules of one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerRules {
    /// Only requests whose `Host` is a loopback name are served. Stops a web page that points its
    /// own name at 127.0.0.1 (DNS rebinding) from talking to a zone on the developer's machine.
    pub loopback_hosts_only: bool,
    /// Addresses whose `X-Forwarded-For` counts (attack 6). From others the header is ignored, or
    /// refused.
    pub trusted_proxies: Vec<Cidr>,
    /// A request without `X-Forwarded-For` is 400: whoever reaches this listener past the proxy
    /// is not served.
    pub forwarded_only: bool,
    /// `X-Forwarded-For` from others than the trusted proxies is 400 instead of ignored.
    pub forged_is_refused: bool,
    /// What is served without a token on top of the golden list.
    pub doors: vault::Doors,
}

/// One listener's view of the zone.
#[derive(Debug)]
pub struct App {
    zone: Arc<Zone>,
    rules: ListenerRules,
    in_flight: Arc<Semaphore>,
    memory: BodyMemory,
    /// Longest time for a request.
    patience: Duration,
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
    /// The header fields, without the token.
    pub headers: HeaderMap,
    /// `X-Vault-Token`, or the bearer token.
    pub token: Option<Secret<String>>,
    /// How long the wrapped answer is to be kept, if it is to be wrapped.
    pub wrap_ttl: Option<Duration>,
    /// What kind of answer is asked for.
    pub wants: Wants,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
    /// The client's address, from the listener or a trusted proxy.
    pub client: SocketAddr,
    /// What its listener serves without a token.
    pub doors: vault::Doors,
}

/// An answer on its way out.
pub struct Outbound {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, for a body that is not empty.
    pub content_type: &'static str,
    /// The body; empty for 204.
    pub body: Zeroizing<Vec<u8>>,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// `X-Ratelimit-Limit`, `-Remaining` and `-Reset`.
    pub rate: Option<Box<[u64; 3]>>,
    /// An answer that goes on, in the place of the body, and how.
    pub stream: Option<(Box<Subscription>, Wants)>,
}

impl Outbound {
    /// A JSON answer.
    pub fn json(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: Zeroizing::new(body),
            retry_after: None,
            rate: None,
            stream: None,
        }
    }

    /// `{"errors":[…]}`.
    pub fn error(status: u16, text: &str) -> Self {
        let body = serde_json::json!({ "errors": [text] });
        Self::json(status, body.to_string().into_bytes())
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
        Arc::new(Self::with_patience(zone, rules, limits::REQUEST))
    }

    fn with_patience(zone: Arc<Zone>, rules: ListenerRules, patience: Duration) -> Self {
        Self {
            zone,
            rules,
            in_flight: Arc::new(Semaphore::new(limits::IN_FLIGHT)),
            memory: BodyMemory::default(),
            patience,
        }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, mut request: Request<B>, peer: &Peer) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let is_head = request.method() == Method::HEAD;
        let namespace = request.headers().get(NAMESPACE).cloned();
        let page = Verdict::of(&request, &self.zone.system.settings());
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let judged = self.judge(request, peer, &page);
        let judged = tokio::time::timeout(self.patience, judged).await;
        let mut outbound = judged
            .unwrap_or_else(|_| Outbound::later(503, "the request took longer than 90 seconds"));
        let mut response = match outbound.stream.take() {
            Some((subscription, wants)) => going_on(*subscription, wants, upgrade, peer),
            None => self.respond(outbound, is_head, peer),
        };
        page.tell(&mut response);
        if let Some(namespace) = namespace {
            response.headers_mut().insert(NAMESPACE, namespace);
        }
        self.zone.metrics.count(response.status().as_u16());
        response
    }

    async fn judge<B>(&self, request: Request<B>, peer: &Peer, page: &Verdict) -> Outbound
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, body) = request.into_parts();
        let path = match self.path(&parts, peer) {
            Ok(path) => path,
            Err(refused) => return refused,
        };
        if let Some(answer) = page.answer() {
            return answer;
        }
        let held = match body::read(body, &self.memory).await {
            Ok(held) => held,
            Err(fault) => return unread(fault),
        };
        // Only now, so that clients that send slowly do not take the places of others.
        let Ok(slot) = self.in_flight.clone().try_acquire_owned() else {
            return Outbound::later(503, "too many requests in flight");
        };
        let (inbound, share) = self.inbound(parts, path, held, peer);
        let zone = self.zone.clone();
        // A task of its own: a client that goes away, or the time limit, must not stop a request
        // between its commit and what has to follow it (caches, the audit trail).
        let served = tokio::spawn(async move {
            let _held = (slot, share);
            let noted = in_flight_of(&zone, &inbound);
            let _mark = zone.in_flight.begin(&inbound.id, noted);
            vault::serve(&zone, inbound).await
        });
        served
            .await
            .unwrap_or_else(|_| Outbound::error(500, "internal error"))
    }

    /// Judges the head. The canonical path below `/v1/` (A3).
    fn path(&self, parts: &Parts, peer: &Peer) -> Result<RequestPath, Outbound> {
        self.rules.judge(parts)?;
        self.rules.judge_forwarded(&parts.headers, peer.remote)?;
        let Some(raw) = parts.uri.path().strip_prefix("/v1/") else {
            return Err(Outbound::json(404, br#"{"errors":[]}"#.to_vec()));
        };
        RequestPath::from_wire(raw).map_err(|fault| Outbound::error(400, &fault.to_string()))
    }

    fn inbound(
        &self,
        mut parts: Parts,
        path: RequestPath,
        mut held: Held,
        peer: &Peer,
    ) -> (Inbound, Held) {
        let inbound = Inbound {
            id: RequestId::from_random(zone_ports::random::bytes(&*self.zone.random)),
            path,
            query: parts.uri.query().unwrap_or("").to_owned(),
            // Judged before.
            wrap_ttl: head::wrap_ttl(&parts.headers).unwrap_or_default(),
            token: head::take_token(&mut parts.headers),
            wants: Wants::of(&parts.method, parts.version, &parts.headers),
            client: self.rules.client(&parts.headers, peer.remote),
            doors: self.rules.doors,
            method: parts.method,
            headers: parts.headers,
            body: std::mem::take(&mut held.bytes),
        };
        (inbound, held)
    }

    fn respond(&self, outbound: Outbound, is_head: bool, peer: &Peer) -> Response<ReplyBody> {
        let length = outbound.body.len();
        let bodiless = is_head || matches!(outbound.status, 204 | 304);
        let body = match bodiless {
            true => Zeroizing::default(),
            false => outbound.body,
        };
        let Ok((body, taken)) = body::reply(body, &self.memory) else {
            let busy = Outbound::later(503, "too many large answers that were not taken yet");
            return self.respond(busy, is_head, peer);
        };
        if let Some(taken) = taken {
            // Without a connection there is nobody to wait for.
            let _ = peer.answers.send(taken);
        }
        let mut response = Response::new(body);
        let unknown = StatusCode::INTERNAL_SERVER_ERROR;
        *response.status_mut() = StatusCode::from_u16(outbound.status).unwrap_or(unknown);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if length > 0 && (is_head || !bodiless) {
            let content_type = HeaderValue::from_static(outbound.content_type);
            headers.insert(CONTENT_TYPE, content_type);
            if is_head {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
        if let Some(secs) = outbound.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        for (name, value) in RATE
            .iter()
            .zip(outbound.rate.into_iter().flat_map(|rate| *rate))
        {
            headers.insert(*name, HeaderValue::from(value));
        }
        response
    }
}

fn in_flight_of(zone: &Zone, inbound: &Inbound) -> in_flight::Request {
    in_flight::Request {
        since: zone.system.wall_clock(),
        client: inbound.client,
        method: inbound.method.to_string(),
        path: inbound.path.as_str().to_owned(),
        token: None,
    }
}

/// The head of an answer that goes on; its events follow in a task of their own.
fn going_on(
    subscription: Subscription,
    wants: Wants,
    upgrade: Option<OnUpgrade>,
    peer: &Peer,
) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::default());
    match (wants, upgrade) {
        (Wants::WebSocket(accept), Some(upgrade)) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            stream::websocket(subscription, upgrade, peer.stop.clone());
        }
        (Wants::WebSocket(_), None) => *response.status_mut() = StatusCode::UPGRADE_REQUIRED,
        _ => {
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            *response.body_mut() = stream::event_stream(subscription, peer.stop.clone());
        }
    }
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

fn unread(fault: BodyFault) -> Outbound {
    match fault {
        BodyFault::TooLarge => Outbound::error(413, "the body is larger than 32 MiB"),
        BodyFault::Busy => Outbound::later(503, "too many large bodies at once"),
        BodyFault::Broken => Outbound::error(400, "the body ended early"),
    }
}

#[cfg(test)]
mod tests;
