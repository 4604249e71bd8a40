//! A console for tests: streams in memory, an environment of its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::Mutex;

use zone_crypto::sign::{KeyType, PrivateKey};
use zone_types::{Secret, Timestamp};
use zone_x509::{
    AltName, Certificate, CertificatePlan, CrlPlan, KeyUsage, Kind, NameConstraints, Purpose,
    Serial, Subject, crl_pem,
};

use crate::console::{Console, Input};

/// A console and what was printed on it.
pub(crate) struct Lab {
    pub(crate) console: Console,
    out: Shared,
    err: Shared,
}

impl Lab {
    /// With these environment variables and no standard input.
    pub(crate) fn new(environment: &[(&str, &str)]) -> Self {
        let (out, err) = (Shared::default(), Shared::default());
        let console = Console {
            input: Box::new(Piped(String::new())),
            stdout: Box::new(out.clone()),
            stderr: Box::new(err.clone()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            environment: environment.iter().copied().collect(),
            clock: Box::new(|| Timestamp::from_secs(1_795_000_000)),
        };
        Self { console, out, err }
    }

    /// What comes from standard input.
    pub(crate) fn input(&mut self, text: &str) {
        self.console.input = Box::new(Piped(text.to_owned()));
    }

    /// Runs a command, given without the program's name. Returns the exit code.
    pub(crate) async fn run(&mut self, arguments: &[&str]) -> u8 {
        let command = crate::finish(crate::command());
        let arguments = arguments.iter().map(std::ffi::OsString::from);
        match crate::parse(command, arguments) {
            Ok(matches) => crate::run(&matches, &mut self.console).await,
            Err(ending) => ending.print(&mut self.console),
        }
    }

    /// What was printed on standard output since the last call.
    pub(crate) fn stdout(&self) -> String {
        self.out.take()
    }

    /// The same for standard error.
    pub(crate) fn stderr(&self) -> String {
        self.err.take()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Piped(String);

impl Input for Piped {
    fn is_terminal(&self) -> bool {
        false
    }

    fn read_all(&mut self) -> io::Result<Secret<Vec<u8>>> {
        Ok(Secret::new(std::mem::take(&mut self.0).into_bytes()))
    }

    fn read_hidden(&mut self, _prompt: &str) -> io::Result<Secret<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A request that a [`Script`] saw: `METHOD target`, then chosen headers, then the body.
pub(crate) type Seen = String;

/// A server on loopback that gives the same answers each time and notes what it was asked.
pub(crate) struct Script {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// For requests that begin so: a status and a body.
pub(crate) type Answers = &'static [(&'static str, u16, &'static str)];

impl Script {
    /// Listens in the clear.
    pub(crate) async fn start(answers: Answers) -> Self {
        Self::serve(answers, None).await
    }

    /// Listens with TLS.
    pub(crate) async fn start_tls(answers: Answers, tls: tokio_rustls::TlsAcceptor) -> Self {
        Self::serve(answers, Some(tls)).await
    }

    async fn serve(answers: Answers, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let notes = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (notes, tls) = (notes.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, answers, notes).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, answers, notes).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Where it listens, without a scheme.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A console whose environment names this server and a token.
    pub(crate) fn lab(&self) -> Lab {
        let address = format!("http://{}", self.address);
        Lab::new(&[("VAULT_ADDR", &address), ("VAULT_TOKEN", "hvs.canary")])
    }

    /// What was asked since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn converse(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    answers: Answers,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let service = hyper::service::service_fn(move |request| answer(request, answers, seen.clone()));
    let stream = hyper_util::rt::TokioIo::new(stream);
    // The client may go away at any time.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(stream, service)
        .await;
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    answers: Answers,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<http::Response<http_body_util::Full<bytes::Bytes>>, std::convert::Infallible> {
    use http_body_util::BodyExt as _;
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let asked = format!("{} {}", head.method, head.uri);
    let (_, status, content) = answers
        .iter()
        .find(|(start, ..)| asked.starts_with(start))
        .unwrap_or(&("", 404, r#"{"errors":[]}"#));
    let mut note = asked;
    for name in [
        "x-vault-token",
        "x-vault-namespace",
        "x-vault-wrap-ttl",
        "content-type",
        "x-more",
    ] {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok());
        let usual = matches!(value, Some("application/json" | "hvs.canary"));
        if let Some(value) = value.filter(|_| !usual) {
            note.push_str(&format!("\n{name}: {value}"));
        }
    }
    if !body.is_empty() {
        note.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
    }
    seen.lock().unwrap().push(note);
    let mut response = http::Response::builder().status(*status);
    let body = match content.strip_prefix("location: ") {
        Some(to) => {
            response = response.header("location", to);
            ""
        }
        None => {
            let json = content.starts_with('{');
            let kind = if json {
                "application/json"
            } else {
                "application/pem-certificate-chain"
            };
            response = response.header("content-type", kind);
            content
        }
    };
    let body = http_body_util::Full::from(bytes::Bytes::from_static(body.as_bytes()));
    Ok(response.body(body).unwrap())
}

/// A root and a certificate that it signed, made for one test.
pub(crate) struct Chain {
    pub(crate) root: Certificate,
    pub(crate) leaf: Certificate,
    pub(crate) leaf_key: PrivateKey,
    root_key: PrivateKey,
}

impl Chain {
    /// For a server of this name, good from 2020 to 2050.
    pub(crate) fn new(name: &str) -> Self {
        Self::until(name, "2049-12-31T00:00:00Z")
    }

    /// The same, with a certificate that ends earlier.
    pub(crate) fn until(name: &str, not_after: &str) -> Self {
        let instant = |text| Timestamp::parse_rfc3339(text).unwrap();
        let keys = || PrivateKey::generate(KeyType::P256).unwrap();
        let (root_key, leaf_key) = (keys(), keys());
        let scheme = root_key.algorithm().scheme();
        let plan = |kind, subject: &str, serial: u8, usage| CertificatePlan {
            kind,
            serial: Serial::from_random([serial; 20]),
            subject: Subject::common(subject),
            names: Vec::new(),
            not_before: instant("2020-01-01T00:00:00Z"),
            not_after: instant("2049-12-31T00:00:00Z"),
            usage,
            purposes: Vec::new(),
            policies: Vec::new(),
            issuer_urls: Vec::new(),
            ocsp_urls: Vec::new(),
            crl_points: Vec::new(),
        };
        let authority = Kind::Authority {
            path_length: None,
            constraints: NameConstraints::default(),
        };
        let usage = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
        let root = plan(authority, "Test root", 0x41, usage)
            .self_sign(&root_key, scheme)
            .unwrap();
        let root = Certificate::from_der(&root).unwrap();
        let leaf = CertificatePlan {
            names: vec![AltName::Dns(name.to_owned())],
            not_after: instant(not_after),
            purposes: vec![Purpose::SERVER_AUTH, Purpose::CLIENT_AUTH],
            ..plan(
                Kind::Leaf { says_so: false },
                name,
                0x42,
                KeyUsage::DIGITAL_SIGNATURE,
            )
        };
        let leaf = leaf
            .sign(leaf_key.public_key(), &root, &root_key, scheme)
            .unwrap();
        let leaf = Certificate::from_der(&leaf).unwrap();
        Self {
            root,
            leaf,
            leaf_key,
            root_key,
        }
    }

    /// The root's list of 2026-11-26, in PEM.
    pub(crate) fn list(&self, serials: &[Serial]) -> String {
        let instant = |text| Timestamp::parse_rfc3339(text).unwrap();
        let revoked = serials.iter().cloned();
        let plan = CrlPlan {
            number: 7,
            this_update: instant("2026-11-26T02:00:00Z"),
            next_update: instant("2026-11-29T02:00:00Z"),
            points: Vec::new(),
            revoked: revoked
                .map(|serial| (serial, instant("2026-11-26T01:00:00Z")))
                .collect(),
        };
        let scheme = self.root_key.algorithm().scheme();
        crl_pem(&plan.sign(&self.root, &self.root_key, scheme).unwrap())
    }
}
