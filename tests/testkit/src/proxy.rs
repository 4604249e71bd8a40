//! A network between a client and a server's Unix socket that a test can hold up and cut.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};

/// What happens to the bytes of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// What the client sends waits here, even when the client has gone away.
    Held,
    /// What the server sends is dropped.
    Deaf,
    Cut,
}

/// The proxy. Ends when it is dropped.
pub struct Proxy {
    dir: TempDir,
    connections: Arc<Mutex<Vec<watch::Sender<Way>>>>,
    arrived: Arc<Notify>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens beside nobody, under the name that PostgreSQL's socket has in `upstream`.
    pub fn start(upstream: &Path) -> Self {
        const SOCKET: &str = ".s.PGSQL.5432";
        let dir = tempfile::Builder::new()
            .prefix("zone-px-")
            .tempdir()
            .unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let connections: Arc<Mutex<Vec<watch::Sender<Way>>>> = Arc::default();
        let arrived = Arc::new(Notify::new());
        let accepting = tokio::spawn(accept(
            listener,
            upstream.join(SOCKET),
            connections.clone(),
            arrived.clone(),
        ));
        Self {
            dir,
            connections,
            arrived,
            accepting,
        }
    }

    /// Where clients find its socket.
    pub fn sockets(&self) -> &Path {
        self.dir.path()
    }

    /// Holds what clients of the connections of this moment send from now on.
    pub fn hold(&self) {
        self.all(Way::Held);
    }

    /// Waits until something that is held has arrived.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Lets go of what was held.
    pub fn release(&self) {
        self.all(Way::Open);
    }

    /// Drops what the server answers on the connections of this moment.
    pub fn lose_answers(&self) {
        self.all(Way::Deaf);
    }

    /// Cuts the connections of this moment.
    pub fn cut(&self) {
        self.all(Way::Cut);
        self.connections.lock().clear();
    }

    fn all(&self, way: Way) {
        for connection in &*self.connections.lock() {
            connection.send_replace(way);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(
    listener: UnixListener,
    upstream: PathBuf,
    connections: Arc<Mutex<Vec<watch::Sender<Way>>>>,
    arrived: Arc<Notify>,
) {
    while let Ok((client, _)) = listener.accept().await {
        // A server that is away refuses; so does the proxy, by closing.
        let Ok(server) = UnixStream::connect(&upstream).await else {
            continue;
        };
        let (sender, way) = watch::channel(Way::Open);
        connections.lock().push(sender);
        tokio::spawn(pass(client, server, way, arrived.clone()));
    }
}

async fn pass(
    client: UnixStream,
    server: UnixStream,
    way: watch::Receiver<Way>,
    arrived: Arc<Notify>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut there = way.clone();
    let requests = async {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = from_client.read(&mut buffer).await.unwrap_or(0);
            if *there.borrow() == Way::Held {
                arrived.notify_one();
            }
            if there.wait_for(|way| *way != Way::Held).await.is_err() || count == 0 {
                break;
            }
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let back = way.clone();
    let answers = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if *back.borrow() == Way::Deaf {
                arrived.notify_one();
            } else if to_client.write_all(&buffer[..count]).await.is_err()
                && back.has_changed().is_err()
            {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    let mut end = way.clone();
    tokio::select! {
        _ = async { tokio::join!(requests, answers) } => {}
        _ = end.wait_for(|way| *way == Way::Cut) => {}
    }
}
