//! A TLS connection on which a test writes bytes that no proper client would.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{Api, LIMIT};

/// The connection.
#[derive(Debug)]
pub struct Raw {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct RawAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Status line and header fields.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Raw {
    /// Connects as `api` does.
    pub async fn connect(api: &Api) -> Self {
        let stream = api.connect().await.expect("the head takes connections");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Writes bytes. An error if the head has closed the connection.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Writes bytes that the head must take.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the head reads on");
    }

    /// Reads one answer; `None` if the connection was closed instead.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length && self.more().await {}
        let body = self
            .read
            .drain(..length.min(self.read.len()))
            .collect::<Vec<u8>>();
        Some(RawAnswer {
            status: status.unwrap_or_else(|| panic!("no status in {head:?}")),
            head,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// Whether the head closes the connection without a further byte.
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    /// Reads some bytes; false at the end.
    async fn more(&mut self) -> bool {
        let mut bytes = vec![0; 16 * 1024];
        let read = tokio::time::timeout(LIMIT, self.stream.read(&mut bytes)).await;
        match read.expect("the head answers or closes in time") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.read.extend_from_slice(&bytes[..count]);
                true
            }
        }
    }
}
