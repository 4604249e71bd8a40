//! An HTTP/1.1 client over TLS that keeps one connection and judges nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::LIMIT;

/// A client of one head. Paths stand below `/v1/` and go over the wire as they are.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    from: Option<IpAddr>,
    headers: Vec<(&'static str, String)>,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Clone for Api {
    fn clone(&self) -> Self {
        Self {
            address: self.address,
            tls: self.tls.clone(),
            from: self.from,
            headers: self.headers.clone(),
            kept: Mutex::new(None),
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Method and path, for messages.
    pub request: String,
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Fails the test unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let Self { request, .. } = &self;
        assert_eq!(self.status, status, "{request}: {}", self.text());
        self
    }

    /// Fails the test unless the status is `status` and an error says `text`.
    #[track_caller]
    pub fn refused(&self, status: u16, text: &str) {
        let errors = self.errors();
        assert_eq!(self.status, status, "{}: {errors}", self.request);
        assert!(
            errors.contains(text),
            "{}: {text:?} is not in {errors:?}",
            self.request
        );
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}: no JSON: {}", self.request, self.text()))
    }

    /// `data` of the envelope.
    #[track_caller]
    pub fn data(&self) -> Value {
        self.json()["data"].take()
    }

    /// A text in `data`.
    #[track_caller]
    pub fn field(&self, name: &str) -> String {
        let data = self.data();
        let text = data[name].as_str();
        text.unwrap_or_else(|| panic!("{}: no text {name:?} in {data}", self.request))
            .to_owned()
    }

    /// The errors in one line.
    pub fn errors(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl Api {
    /// A client that trusts the certificates in `ca`.
    pub fn new(address: SocketAddr, ca: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("the CA can be read") {
            roots
                .add(certificate.expect("PEM"))
                .expect("a CA certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            address,
            tls: Arc::new(tls),
            from: None,
            headers: Vec::new(),
            kept: Mutex::new(None),
        }
    }

    /// Where the head listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same client with another token.
    #[must_use]
    pub fn token(&self, token: &str) -> Self {
        let mut api = self.clone();
        api.headers.retain(|(name, _)| *name != "x-vault-token");
        api.header("x-vault-token", token)
    }

    /// The same client with one more header.
    #[must_use]
    pub fn header(&self, name: &'static str, value: &str) -> Self {
        let mut api = self.clone();
        api.headers.push((name, value.to_owned()));
        api
    }

    /// The same client at another address of this machine (all of 127.0.0.0/8 is there).
    #[must_use]
    pub fn from(&self, address: &str) -> Self {
        let from = Some(address.parse().expect("an IP address"));
        Self {
            from,
            ..self.clone()
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", Bytes::new()).await
    }

    /// LIST.
    pub async fn list(&self, path: &str) -> Answer {
        let method = Method::from_bytes(b"LIST").expect("a method");
        self.send(method, path, "", Bytes::new()).await
    }

    /// PUT.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PUT, path, "application/json", body.to_string())
            .await
    }

    /// PATCH.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let content_type = "application/merge-patch+json";
        self.send(Method::PATCH, path, content_type, body.to_string())
            .await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, "", Bytes::new()).await
    }

    /// Any request. `content_type` may be empty.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = format!("{method} {path}");
        match self.try_send(method, path, content_type, body).await {
            Ok(answer) => answer,
            Err(error) => panic!("{request}: {error}"),
        }
    }

    /// Any request; an error if there is no whole answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> std::io::Result<Answer> {
        let named = format!("{method} {path}");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::HOST, self.address.to_string());
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(body.into()))
            .map_err(std::io::Error::other)?;
        let exchange = tokio::time::timeout(LIMIT, self.exchange(request)).await;
        let (status, headers, body) = exchange.map_err(std::io::Error::other)??;
        Ok(Answer {
            request: named,
            status,
            headers,
            body,
        })
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> std::io::Result<(u16, HeaderMap, Bytes)> {
        let mut kept = self.kept.lock().await;
        let mut open = kept.take();
        if let Some(connection) = &mut open
            && connection.ready().await.is_err()
        {
            open = None;
        }
        let mut connection = match open {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let answer = connection
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        let (parts, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .map_err(std::io::Error::other)?
            .to_bytes();
        *kept = Some(connection);
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    async fn open(&self) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A TLS connection.
    pub async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await
    }
}
