//! Answers that go on: server-sent events, and WebSockets (RFC 6455) on HTTP/1.1.
//!
//! What must hold: whoever does not take what is sent is closed in time; whatever a client sends
//! is bounded and thrown away; a head that stops does not wait for listeners.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::events::{Notice, Subscription};

/// How long a subscriber may take to take one event.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often something is sent although nothing happens, so that each side notices when the
/// other is gone.
const PING: Duration = Duration::from_secs(15);
/// Largest message of a client; nothing it says is looked at.
const LARGEST: usize = 4096;

/// What kind of answer a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    /// One body.
    #[default]
    Body,
    /// Server-sent events (`Accept: text/event-stream`).
    EventStream,
    /// A WebSocket; the answer to its key.
    WebSocket(HeaderValue),
    /// A WebSocket, but the handshake is wrong.
    BrokenWebSocket,
}

impl Wants {
    /// What the head of a request asks for.
    pub(crate) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        if *method != Method::GET {
            return Self::Body;
        }
        let has = |name: header::HeaderName, word: &str| {
            let values = headers.get_all(name).into_iter();
            let mut words = values.filter_map(|value| value.to_str().ok());
            words.any(|value| {
                let mut parts = value.split([',', ';']);
                parts.any(|part| part.trim().eq_ignore_ascii_case(word))
            })
        };
        if has(header::UPGRADE, "websocket") {
            return Self::websocket(version, headers);
        }
        match has(header::ACCEPT, "text/event-stream") {
            true => Self::EventStream,
            false => Self::Body,
        }
    }

    fn websocket(version: Version, headers: &HeaderMap) -> Self {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.headers_mut() = headers.clone();
        let accept = create_response(&request).ok().and_then(|response| {
            let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
            accept.cloned()
        });
        accept.map_or(Self::BrokenWebSocket, Self::WebSocket)
    }
}

/// The body of an answer: whole, or going on.
#[derive(Debug)]
pub enum ReplyBody {
    /// Whole in memory, wiped when the last byte is with the system or the connection is gone.
    Whole(Full<Bytes>),
    /// What the subscriber gets, piece by piece.
    Stream(mpsc::Receiver<Bytes>),
}

impl Default for ReplyBody {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Stream(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Sends `subscription` as server-sent events until it ends, the client goes or `stop` says true.
pub(crate) fn event_stream(subscription: Subscription, stop: watch::Receiver<bool>) -> ReplyBody {
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(send_events(subscription, pieces, stop));
    ReplyBody::Stream(body)
}

async fn send_events(
    mut subscription: Subscription,
    pieces: mpsc::Sender<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    // Tells the client at once that it is heard.
    let mut piece = Bytes::from_static(b": subscribed\n\n");
    loop {
        if !matches!(
            tokio::time::timeout(PATIENCE, pieces.send(piece)).await,
            Ok(Ok(()))
        ) {
            return;
        }
        piece = tokio::select! {
            notice = subscription.next() => match notice {
                Notice::Event { id, kind, json } => {
                    format!("id: {id}\nevent: {kind}\ndata: {json}\n\n").into()
                }
                Notice::Ended(why) => {
                    let last = format!("event: zone/end\ndata: {why}\n\n");
                    drop(tokio::time::timeout(PATIENCE, pieces.send(last.into())).await);
                    return;
                }
            },
            () = pieces.closed() => return,
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(PING) => Bytes::from_static(b": ping\n\n"),
        };
    }
}

/// Comes back when the listener is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left to say so.
        std::future::pending::<()>().await;
    }
}

/// Sends `subscription` over the connection that `upgrade` gives, until it ends, the client goes
/// or `stop` says true.
pub(crate) fn websocket(
    subscription: Subscription,
    upgrade: OnUpgrade,
    stop: watch::Receiver<bool>,
) {
    tokio::spawn(async move {
        match tokio::time::timeout(PATIENCE, upgrade).await {
            Ok(Ok(upgraded)) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(LARGEST))
                    .max_frame_size(Some(LARGEST));
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                send_messages(socket, subscription, stop).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a WebSocket did not come about"),
            Err(_) => tracing::debug!("a WebSocket did not come about in time"),
        }
    });
}

async fn send_messages(
    mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    mut subscription: Subscription,
    mut stop: watch::Receiver<bool>,
) {
    let (code, why) = loop {
        let message = tokio::select! {
            notice = subscription.next() => match notice {
                Notice::Event { json, .. } => Message::text(json),
                Notice::Ended(why) => break (CloseCode::Policy, why),
            },
            said = socket.next() => match said {
                None | Some(Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_))) => return,
                Some(Err(Error::Capacity(_))) => break (CloseCode::Size, "nothing is read here"),
                // Pings are answered and a close is completed by the library.
                Some(_) => continue,
            },
            () = stopped(&mut stop) => break (CloseCode::Away, "the head ends"),
            () = tokio::time::sleep(PING) => Message::Ping(Bytes::new()),
        };
        if !matches!(
            tokio::time::timeout(PATIENCE, socket.send(message)).await,
            Ok(Ok(()))
        ) {
            return;
        }
    };
    let frame = CloseFrame {
        code,
        reason: why.into(),
    };
    let farewell = async {
        socket.close(Some(frame)).await?;
        // Until the client closes too, so that it gets the reason.
        while let Some(said) = socket.next().await {
            said?;
        }
        Ok::<(), Error>(())
    };
    drop(tokio::time::timeout(PATIENCE, farewell).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_handshake_of_rfc_6455() {
        let good = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let of = |pairs: &[_]| Wants::of(&Method::GET, Version::HTTP_11, &headers(pairs));
        // The example of section 1.3.
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(of(&good), Wants::WebSocket(accept));
        for left_out in 1..good.len() {
            let mut bad = good.to_vec();
            bad.remove(left_out);
            assert_eq!(of(&bad), Wants::BrokenWebSocket, "{left_out}");
        }
        assert_eq!(of(&good[1..]), Wants::Body);
        let post = Wants::of(&Method::POST, Version::HTTP_11, &headers(&good));
        assert_eq!(post, Wants::Body);
        let accept = |value| of(&[("accept", value)]);
        assert_eq!(
            accept("text/html, Text/Event-Stream;q=0.9"),
            Wants::EventStream
        );
        assert_eq!(accept("*/*"), Wants::Body);
    }
}
