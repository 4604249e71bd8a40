//! Listeners: accept, handshake, serve, drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::app::{App, Peer};
use crate::body::ReplyBody;
use crate::limits;

/// Serves `app` on `listener` until `stop` says true, then lets open requests end.
///
/// Returns when the last connection is closed; the caller bounds how long it waits.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    app: Arc<App>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let Ok(slot) = connections.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, remote)) => {
                let connection = Connection {
                    app: app.clone(),
                    remote,
                    stop: stop.clone(),
                };
                tasks.spawn(connection.run(stream, acceptor.clone(), slot));
            }
            Err(error) => {
                // Out of descriptors, or the client went away: go on, but let others run first.
                warn!(%error, "a connection could not be accepted");
                tokio::task::yield_now().await;
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
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        _slot: OwnedSemaphorePermit,
    ) {
        let _ = stream.set_nodelay(true);
        match acceptor {
            None => self.http1(stream).await,
            Some(acceptor) => {
                let handshake = tokio::time::timeout(limits::HANDSHAKE, acceptor.accept(stream));
                match handshake.await {
                    Ok(Ok(stream)) => {
                        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
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

    async fn http1(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = self.service();
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HANDSHAKE)
            .max_buf_size(limits::HEAD)
            .max_headers(limits::HEADERS)
            .serve_connection(TokioIo::new(stream), service_fn(service));
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped(&mut self.stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(remote = %self.remote, %error, "connection ended");
        }
    }

    async fn http2(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = self.service();
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .max_header_list_size(limits::HEAD as u32)
            .max_pending_accept_reset_streams(64)
            .max_local_error_reset_streams(256)
            .keep_alive_interval(limits::HANDSHAKE)
            .keep_alive_timeout(limits::HANDSHAKE)
            .serve_connection(TokioIo::new(stream), service_fn(service));
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped(&mut self.stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(remote = %self.remote, %error, "connection ended");
        }
    }

    fn service(
        &self,
    ) -> impl Fn(Request<Incoming>) -> ServiceFuture + Clone + Send + 'static + use<> {
        let (app, peer) = (
            self.app.clone(),
            Peer {
                remote: self.remote,
            },
        );
        move |request| {
            let (app, peer) = (app.clone(), peer.clone());
            Box::pin(async move { Ok(app.answer(request, &peer).await) }) as ServiceFuture
        }
    }
}

type ServiceFuture = std::pin::Pin<
    Box<dyn std::future::Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>,
>;
