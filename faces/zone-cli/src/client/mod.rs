//! A client of Vault's HTTP API: one server, one connection that is kept, JSON in and out.
//!
//! What must hold: no request leaves before the server has proved who it is ([`Tls`]), or in the
//! clear but to loopback; a token never stands in an error. At most one redirect is followed, and
//! never from `https` to `http`.
//!
//! Deliberately absent: proxies, HTTP/2, and wiping of the buffers inside the HTTP and TLS
//! libraries (the process of a command lives for one request).
//!
//! Start at [`Client::new`].

mod address;
mod error;
mod events;
mod reply;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use zone_types::Secret;

pub use address::{Address, AddressFault};
pub use error::{ApiError, ClientError};
pub use events::{EventStream, SentEvent};
pub(crate) use reply::texts;
pub use reply::{Auth, Reply};
pub use tls::{Tls, roots_of_directory, roots_of_file, roots_of_system, roots_of_text};

const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
/// Longest answer.
const LONGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How to reach the server, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// Where.
    pub address: Address,
    /// Who must answer there.
    pub tls: Tls,
    /// Sent as `X-Vault-Token`.
    pub token: Option<Secret<String>>,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Sent as `X-Vault-Wrap-TTL`: answers come wrapped, but for what no command shows.
    pub wrap_ttl: Option<String>,
    /// More headers; none of `X-Vault-…`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one request and its answer.
    pub timeout: Duration,
    /// Further tries after 412 and 5xx but 501.
    pub retries: u32,
    /// Between two tries.
    pub retry_wait: Duration,
    /// Whether one redirect is followed.
    pub follow_redirect: bool,
}

impl Settings {
    /// For `address`, with Vault's defaults: no token, 60 s, no retry, one redirect.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            tls: Tls::default(),
            token: None,
            namespace: None,
            wrap_ttl: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(60),
            retries: 0,
            retry_wait: Duration::from_secs(1),
            follow_redirect: true,
        }
    }
}

/// One request.
pub struct Request<'a> {
    /// `GET`, `PUT`, `PATCH`, `DELETE`.
    pub method: Method,
    /// Below `/v1/`, not encoded.
    pub path: &'a str,
    /// The query string, not encoded.
    pub query: &'a [(String, String)],
    /// The body, as JSON.
    pub body: Option<&'a Value>,
    /// Whether the answer is only worked with, and so is not to be wrapped.
    pub plain: bool,
}

/// One answer, whatever its status.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, or empty.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// Of the request, without its query.
    url: String,
    method: Method,
}

/// A client of one server.
pub struct Client {
    settings: Settings,
    connector: Option<TlsConnector>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.settings.address)
    }
}

impl Client {
    /// A client; connects with the first request.
    ///
    /// # Errors
    ///
    /// The authorities or the client certificate cannot be used, or the token cannot stand in a
    /// header.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let connector = match settings.address.is_tls() {
            true => Some(TlsConnector::from(settings.tls.config()?)),
            false => None,
        };
        let client = Self {
            settings,
            connector,
            idle: Mutex::new(None),
        };
        client.headers()?;
        Ok(client)
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }

    /// Whether requests carry a token.
    pub fn has_token(&self) -> bool {
        self.settings.token.is_some()
    }

    /// The same client with another token.
    pub fn with_token(mut self, token: Secret<String>) -> Result<Self, ClientError> {
        self.settings.token = Some(token);
        self.headers()?;
        Ok(self)
    }

    /// Reads `path`; `None` if nothing is there.
    pub async fn read(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Option<Reply>, ClientError> {
        let request = Request {
            method: Method::GET,
            path,
            query,
            body: None,
            plain: false,
        };
        self.found(self.send(&request).await?)
    }

    /// As [`Client::read`], for what a command only works with: it is never wrapped.
    pub async fn peek(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Option<Reply>, ClientError> {
        let request = Request {
            method: Method::GET,
            path,
            query,
            body: None,
            plain: true,
        };
        self.found(self.send(&request).await?)
    }

    /// Lists `path`; `None` if nothing is there.
    pub async fn list(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Option<Reply>, ClientError> {
        let mut query = query.to_vec();
        query.insert(0, ("list".to_owned(), "true".to_owned()));
        self.read(path, &query).await
    }

    /// Writes `body` to `path`; `None` if the answer has no content.
    pub async fn write(&self, path: &str, body: &Value) -> Result<Option<Reply>, ClientError> {
        let request = Request {
            method: Method::PUT,
            path,
            query: &[],
            body: Some(body),
            plain: false,
        };
        self.done(self.send(&request).await?)
    }

    /// Merges `body` into what is at `path` (RFC 7396).
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Option<Reply>, ClientError> {
        let request = Request {
            method: Method::PATCH,
            path,
            query: &[],
            body: Some(body),
            plain: false,
        };
        self.done(self.send(&request).await?)
    }

    /// Deletes `path`.
    pub async fn delete(
        &self,
        path: &str,
        query: &[(String, String)],
    ) -> Result<Option<Reply>, ClientError> {
        let request = Request {
            method: Method::DELETE,
            path,
            query,
            body: None,
            plain: false,
        };
        self.done(self.send(&request).await?)
    }

    /// The JSON document at `path`, for endpoints without an envelope.
    pub async fn document(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let request = Request {
            method,
            path,
            query: &[],
            body,
            plain: false,
        };
        let response = self.send(&request).await?;
        if !is_success(response.status) {
            return Err(self.refused(response).into());
        }
        response.json()
    }

    /// Sends one request and reads its answer, whatever its status. Follows one redirect, and
    /// tries again as the settings say.
    ///
    /// # Errors
    ///
    /// There was no answer.
    pub async fn send(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        let mut tries = 0;
        loop {
            let answer = tokio::time::timeout(self.settings.timeout, self.follow(request)).await;
            let answer = answer.unwrap_or_else(|_elapsed| {
                Err(error::timed_out(
                    &self.settings.address,
                    self.settings.timeout,
                ))
            })?;
            if tries >= self.settings.retries || !is_passing(answer.status) {
                return Ok(answer);
            }
            tries += 1;
            tokio::time::sleep(self.settings.retry_wait).await;
        }
    }

    async fn follow(&self, request: &Request<'_>) -> Result<Response, ClientError> {
        let address = &self.settings.address;
        let mut target = address.target(&format!("/v1/{}", request.path));
        let url = address.url(&target);
        if !request.query.is_empty() {
            target = format!("{target}?{}", address::encode_query(request.query));
        }
        let answer = self.exchange(address, &target, request).await?;
        let (answer, location) = read_answer(answer, request, url, address).await?;
        let Some(location) = location.filter(|_| self.settings.follow_redirect) else {
            return Ok(answer);
        };
        let (elsewhere, target) = redirected(address, &location)?;
        let answer = self.exchange(&elsewhere, &target, request).await?;
        Ok(read_answer(answer, request, location, &elsewhere).await?.0)
    }

    async fn exchange(
        &self,
        address: &Address,
        target: &str,
        request: &Request<'_>,
    ) -> Result<http::Response<hyper::body::Incoming>, ClientError> {
        self.exchange_with(address, target, request, |_| {}).await
    }

    /// Sends the request after `change` and reads the head of its answer.
    async fn exchange_with(
        &self,
        address: &Address,
        target: &str,
        request: &Request<'_>,
        change: impl FnOnce(&mut http::Request<Full<Bytes>>),
    ) -> Result<http::Response<hyper::body::Incoming>, ClientError> {
        let mut message = self.message(address, target, request)?;
        change(&mut message);
        let own = *address == self.settings.address;
        let kept = if own {
            self.idle.lock().await.take()
        } else {
            None
        };
        let message = match kept {
            None => message,
            Some(mut kept) => match kept.try_send_request(message).await {
                Ok(answer) => return Ok(self.keep(kept, answer).await),
                // Closed since the last request; this one was not sent.
                Err(mut failed) => match failed.take_message() {
                    Some(message) => message,
                    None => return Err(error::exchanging(address, failed.error())),
                },
            },
        };
        let mut connection = self.connect(address).await?;
        let answer = connection.send_request(message).await;
        let answer = answer.map_err(|error| error::exchanging(address, &error))?;
        Ok(if own {
            self.keep(connection, answer).await
        } else {
            answer
        })
    }

    async fn keep<A>(&self, connection: SendRequest<Full<Bytes>>, answer: A) -> A {
        *self.idle.lock().await = Some(connection);
        answer
    }

    fn message(
        &self,
        address: &Address,
        target: &str,
        request: &Request<'_>,
    ) -> Result<http::Request<Full<Bytes>>, ClientError> {
        let body = match request.body {
            None => Vec::new(),
            Some(body) => serde_json::to_vec(body)
                .map_err(|_| ClientError::Setup("the body cannot be written as JSON".into()))?,
        };
        let content_type = match request.method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut message = http::Request::builder()
            .method(request.method.clone())
            .uri(target)
            .header(header::HOST, address.authority())
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| ClientError::Setup(format!("{:?} is no path", request.path)))?;
        for (name, value) in self.headers()? {
            message.headers_mut().append(name, value);
        }
        if request.plain || is_never_wrapped(request.path) {
            message.headers_mut().remove(WRAP_TTL);
        }
        Ok(message)
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, ClientError> {
        let mut headers = self.settings.headers.clone();
        headers.push((
            HeaderName::from_static("x-vault-request"),
            HeaderValue::from_static("true"),
        ));
        headers.push((
            header::USER_AGENT,
            HeaderValue::from_static(concat!("zonehead/", env!("CARGO_PKG_VERSION"))),
        ));
        if let Some(token) = &self.settings.token {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                let text = "the token holds a character that no token has: look for a line break";
                ClientError::Setup(text.to_owned())
            })?;
            value.set_sensitive(true);
            headers.push((HeaderName::from_static("x-vault-token"), value));
        }
        if let Some(namespace) = &self.settings.namespace {
            let value = HeaderValue::from_str(namespace)
                .map_err(|_| ClientError::Setup(format!("{namespace:?} is no namespace")))?;
            headers.push((HeaderName::from_static("x-vault-namespace"), value));
        }
        if let Some(ttl) = &self.settings.wrap_ttl {
            let value = HeaderValue::from_str(ttl)
                .map_err(|_| ClientError::Setup(format!("{ttl:?} is no wrapping time")))?;
            headers.push((WRAP_TTL, value));
        }
        Ok(headers)
    }

    async fn connect(&self, address: &Address) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        if let Some(path) = address.socket() {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| error::connecting(address, &error))?;
            return http(stream, address).await;
        }
        let stream = tcp(address).await?;
        let Some(connector) = self.connector.as_ref().filter(|_| address.is_tls()) else {
            return http(stream, address).await;
        };
        let name = self.settings.tls.name(address.host())?;
        let shown = name.to_str().into_owned();
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| error::handshaking(address, &shown, &error))?;
        http(stream, address).await
    }

    /// A read's answer: 404 is `None`, unless it says something.
    fn found(&self, response: Response) -> Result<Option<Reply>, ClientError> {
        if response.status == 404 {
            let reply = response.json().ok().and_then(Reply::read);
            return Ok(reply.filter(Reply::says_something));
        }
        self.done(response)
    }

    /// Any other answer: no content is `None`.
    fn done(&self, response: Response) -> Result<Option<Reply>, ClientError> {
        if !is_success(response.status) {
            return Err(self.refused(response).into());
        }
        if response.body.is_empty() {
            return Ok(None);
        }
        let url = response.url.clone();
        let why = "it is not in Vault's envelope";
        let reply = Reply::read(response.json()?);
        let reply = reply.ok_or(ClientError::Answer { url, why })?;
        match reply.wrap_info {
            Some(_) => Err(ClientError::Wrapped(Box::new(reply))),
            None => Ok(Some(reply)),
        }
    }

    /// An error answer as an error.
    pub(crate) fn refused(&self, response: Response) -> Box<ApiError> {
        let document: Option<Value> = serde_json::from_slice(&response.body).ok();
        let errors = document
            .as_ref()
            .and_then(|document| document.get("errors"));
        let raw = errors.is_none();
        let errors = match errors {
            Some(errors) => texts(Some(errors)),
            None => vec![String::from_utf8_lossy(&response.body).trim().to_owned()],
        };
        Box::new(ApiError {
            method: method_name(&response.method),
            status: response.status,
            with_token: self.has_token(),
            reply: document.and_then(Reply::read).filter(Reply::says_something),
            url: response.url,
            errors,
            raw,
        })
    }
}

impl Response {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.body).map_err(|_| ClientError::Answer {
            url: self.url.clone(),
            why: match self.content_type.as_str() {
                "application/json" | "" => "it is not JSON",
                _ => "it is not JSON; 'zonehead read -format=raw' shows it as it is",
            },
        })
    }
}

async fn tcp(address: &Address) -> Result<TcpStream, ClientError> {
    let failed = |error| error::connecting(address, &error);
    let found = tokio::net::lookup_host((address.host(), address.port())).await;
    let may = |at: &SocketAddr| address.is_tls() || at.ip().is_loopback();
    let found: Vec<SocketAddr> = found.map_err(failed)?.filter(may).collect();
    let stream = TcpStream::connect(&*found).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: &Address,
) -> Result<SendRequest<Full<Bytes>>, ClientError> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error::exchanging(address, &error))?;
    // Its end shows in the sender.
    tokio::spawn(connection);
    Ok(sender)
}

/// The whole answer, and where it redirects to.
async fn read_answer(
    answer: http::Response<hyper::body::Incoming>,
    request: &Request<'_>,
    url: String,
    address: &Address,
) -> Result<(Response, Option<String>), ClientError> {
    let (head, body) = answer.into_parts();
    let text = |name| {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let location = match head.status {
        StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT
        | StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND => text(header::LOCATION),
        _ => None,
    };
    let body = Limited::new(body, LONGEST_ANSWER).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<hyper::Error>() {
        Some(error) => error::exchanging(address, error),
        None => ClientError::Answer {
            url: url.clone(),
            why: "it is longer than 256 MiB",
        },
    })?;
    let response = Response {
        status: head.status.as_u16(),
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        body: body.to_bytes(),
        url,
        method: request.method.clone(),
    };
    Ok((response, location))
}

/// Where a redirect leads: a server and a target there.
fn redirected(from: &Address, location: &str) -> Result<(Address, String), ClientError> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Ok((from.clone(), location.to_owned()));
    }
    let refuse = || {
        ClientError::Transport(format!(
            "{} redirects to {location:?}, which is not followed",
            from.authority()
        ))
    };
    let uri: http::Uri = location.parse().map_err(|_| refuse())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(refuse());
    };
    let to = Address::parse(&format!("{scheme}://{authority}")).map_err(|_| refuse())?;
    if from.is_tls() && !to.is_tls() {
        return Err(refuse());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok((to, target.to_owned()))
}

/// Whether the server has no wrapped form of an answer, or no command shows it.
fn is_never_wrapped(path: &str) -> bool {
    const PATHS: [&str; 6] = [
        "sys/health",
        "sys/seal-status",
        "sys/leader",
        "sys/wrapping/lookup",
        "sys/wrapping/unwrap",
        "sys/wrapping/rewrap",
    ];
    PATHS.contains(&path) || path.starts_with("sys/internal/")
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether another try may go better.
fn is_passing(status: u16) -> bool {
    status == 412 || (status >= 500 && status != 501)
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::POST => "POST",
        _ => "PUT",
    }
}

#[cfg(test)]
mod tests;
