//! Listeners: accept, handshake, serve, drain.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming as Body;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::app::{App, Peer};
use crate::body::Taken;
use crate::limits;
use crate::stream::ReplyBody;

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in.
#[derive(Debug)]
pub enum Socket {
    /// Over a network.
    Tcp(TcpListener),
    /// On this machine, through the file system, whose rights decide who may connect. What comes
    /// in counts as coming from 127.0.0.1.
    Unix(UnixListener),
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Socket {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl Socket {
    async fn accept(&self) -> std::io::Result<(Incoming, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Ok((Incoming::Tcp(stream), remote))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Incoming::Unix(stream), (Ipv4Addr::LOCALHOST, 0).into()))
            }
        }
    }
}

/// A connection that came in.
enum Incoming {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves `app` on `listener` until `stop` says true, then lets open requests end.
///
/// Returns when the last connection is closed; the caller bounds how long it waits.
pub async fn serve(
    listener: impl Into<Socket>,
    tls: Option<Arc<ServerConfig>>,
    app: Arc<App>,
    stop: watch::Receiver<bool>,
) {
    serve_at_most(limits::CONNECTIONS, listener.into(), tls, app, stop).await;
}

/// [`serve`] with `most` connections at a time. Further ones wait, unread, in the kernel's queue.
async fn serve_at_most(
    most: usize,
    listener: Socket,
    tls: Option<Arc<ServerConfig>>,
    app: Arc<App>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = Arc::new(Semaphore::new(most));
    let mut tasks = JoinSet::new();
    loop {
        let next = async {
            let slot = connections.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        // Also while every place is taken the listener can be stopped.
        let (slot, accepted) = tokio::select! {
            (Ok(slot), accepted) = next => (slot, accepted),
            () = stopped(&mut stop) => break,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, remote)) => {
                let connection = Connection {
                    app: app.clone(),
                    remote,
                    stop: stop.clone(),
                    patience: limits::REQUEST,
                };
                tasks.spawn(connection.run(stream, acceptor.clone(), slot));
            }
            Err(error) => {
                // The client went away, or there are no descriptors left: some may be soon.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Waits until the listener is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Connection {
    app: Arc<App>,
    remote: SocketAddr,
    stop: watch::Receiver<bool>,
    /// How long a large answer may take to be taken.
    patience: Duration,
}

impl Connection {
    async fn run(
        self,
        stream: Incoming,
        acceptor: Option<TlsAcceptor>,
        _slot: OwnedSemaphorePermit,
    ) {
        match stream {
            Incoming::Tcp(stream) => self.secured(stream, acceptor).await,
            Incoming::Unix(stream) => self.secured(stream, acceptor).await,
        }
    }

    async fn secured(self, stream: impl Stream, acceptor: Option<TlsAcceptor>) {
        match acceptor {
            None => self.http1(stream).await,
            Some(acceptor) => {
                let handshake = tokio::time::timeout(limits::HANDSHAKE, acceptor.accept(stream));
                match handshake.await {
                    Ok(Ok(stream)) => {
                        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        debug!(remote = %self.remote, h2, "connection");
                        if h2 {
                            self.http2(stream).await
                        } else {
                            self.http1(stream).await
                        }
                    }
                    Ok(Err(error)) => debug!(remote = %self.remote, %error, "TLS handshake failed"),
                    Err(_) => debug!(remote = %self.remote, "TLS handshake took too long"),
                }
            }
        }
    }

    async fn http1(self, stream: impl Stream) {
        let (service, answers) = self.service();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HANDSHAKE)
            .max_buf_size(limits::HEAD)
            .max_headers(limits::HEADERS)
            .serve_connection(TokioIo::new(stream), service_fn(service))
            .with_upgrades();
        self.drive(connection, answers).await;
    }

    async fn http2(self, stream: impl Stream) {
        let (service, answers) = self.service();
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::STREAMS)
            .max_header_list_size(limits::HEAD as u32)
            .max_pending_accept_reset_streams(64)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(limits::HANDSHAKE)
            .keep_alive_timeout(limits::HANDSHAKE)
            .serve_connection(TokioIo::new(stream), service_fn(service));
        self.drive(connection, answers).await;
    }

    /// Runs a connection to its end: the client's, that of the listener, or that of patience with
    /// a client that does not take a large answer.
    async fn drive<C>(mut self, connection: C, mut answers: mpsc::UnboundedReceiver<Taken>)
    where
        C: Graceful,
    {
        let mut connection = std::pin::pin!(connection);
        let mut untaken = JoinSet::new();
        let mut stopping = false;
        let (remote, patience) = (self.remote, self.patience);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%remote, %error, "connection ended");
                    }
                    return;
                }
                () = stopped(&mut self.stop), if !stopping => {
                    stopping = true;
                    connection.as_mut().stop();
                }
                Some(taken) = answers.recv() => {
                    untaken.spawn(async move {
                        tokio::time::timeout(patience, taken).await.is_ok()
                    });
                }
                Some(in_time) = untaken.join_next() => {
                    if matches!(in_time, Ok(false)) {
                        debug!(%remote, "a large answer was not taken in time");
                        return;
                    }
                }
            }
        }
    }

    fn service(&self) -> (impl Service + use<>, mpsc::UnboundedReceiver<Taken>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let peer = Peer {
            remote: self.remote,
            answers: sender,
            stop: self.stop.clone(),
        };
        let app = self.app.clone();
        let service = move |request| {
            let (app, peer) = (app.clone(), peer.clone());
            Box::pin(async move { Ok(app.answer(request, &peer).await) }) as ServiceFuture
        };
        (service, answers)
    }
}

/// A connection that can be told to take no more requests.
trait Graceful: Future<Output = Result<(), hyper::Error>> {
    fn stop(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::UpgradeableConnection<I, S>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: HttpService<Body, ResBody = ReplyBody, Error = Infallible>,
{
    fn stop(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Graceful for http2::Connection<I, S, TokioExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Body, ResBody = ReplyBody, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn stop(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

trait Service: Fn(Request<Body>) -> ServiceFuture + Clone + Send + 'static {}

impl<T: Fn(Request<Body>) -> ServiceFuture + Clone + Send + 'static> Service for T {}

type ServiceFuture = std::pin::Pin<
    Box<dyn std::future::Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>,
>;

#[cfg(test)]
mod tests;
