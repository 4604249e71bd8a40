//! What the machine could do at best.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zone_barrier::commit::Committer;
use zone_crypto::hmac;
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_http::tls::{ListenerCertificate, server_config};
use zone_ports::store::Op;
use zone_ports::{Key, Store};
use zone_store_postgres::{PostgresOptions, PostgresStore};
use zone_store_redb::RedbStore;

use crate::head::Process;
use crate::{Options, table};

/// Appends of 4 KiB with fdatasync behind each, per second.
pub(crate) fn fsyncs(directory: &Path, window: Duration) -> anyhow::Result<f64> {
    let mut file = std::fs::File::create(directory.join("fsync"))?;
    let block = [7_u8; 4096];
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < window {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Groups a second by the raw store behind the committer, without encryption and without a head:
/// for each number of callers, each committing two records of 300 bytes at a time.
pub(crate) async fn store(
    options: &Options,
    directory: &Path,
) -> anyhow::Result<Vec<(usize, f64)>> {
    let server = options.store.server(directory)?;
    let store: Arc<dyn Store> = match &server {
        None => Arc::new(RedbStore::open(directory.join("zone.redb"))?),
        Some(server) => {
            let options = PostgresOptions::new(&server.url(), "zone")?;
            Arc::new(PostgresStore::open(options).await?)
        }
    };
    let committer = Committer::open(store).await?;
    let mut rates = Vec::new();
    for callers in &options.clients {
        let begun = Instant::now();
        let end = begun + options.window();
        let tasks =
            (0..*callers).map(|caller| tokio::spawn(commit(committer.clone(), caller, end)));
        let mut count = 0;
        for task in tasks.collect::<Vec<_>>() {
            count += task.await??;
        }
        let rate = f64::from(count) / begun.elapsed().as_secs_f64();
        let text = format!("limit: raw store, {callers} callers");
        table::note(&text, rate, "groups of two records per second");
        rates.push((*callers, rate));
    }
    Ok(rates)
}

async fn commit(committer: Committer, caller: usize, end: Instant) -> anyhow::Result<u32> {
    let mut count = 0;
    while Instant::now() < end {
        let put = |part| {
            let key = Key::new(format!("bench/{caller}/{:05}/{part}", count % 1000))?;
            anyhow::Ok(Op::Put {
                key,
                value: Bytes::from_static(&[7; 300]),
            })
        };
        committer
            .commit(vec![put('a')?, put('b')?], Vec::new())
            .await?;
        count += 1;
    }
    Ok(count)
}

/// Signatures of an issuer with a P-256 key per second on one core; with `leaf`, each behind the
/// generation of a leaf's key.
pub(crate) fn signatures(leaf: Option<KeyType>, window: Duration) -> anyhow::Result<f64> {
    let issuer = PrivateKey::generate(KeyType::P256)?;
    let scheme = issuer.algorithm().scheme();
    let body = [7_u8; 600];
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < window {
        if let Some(leaf) = leaf {
            PrivateKey::generate(leaf)?;
        }
        issuer.sign(scheme, &body)?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Starts [`serve_empty`] in a process of its own. The address and the CA's file.
pub(crate) fn start_empty(
    directory: &Path,
) -> anyhow::Result<(Process, String, std::path::PathBuf)> {
    let ca = directory.join("empty-ca.pem");
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--empty-handler")
        .env("EMPTY_DIRECTORY", directory);
    let found = |line: &str| line.strip_prefix("listening ").map(str::to_owned);
    let (process, address) = Process::start(&mut command, found)?;
    Ok((process, address, ca))
}

/// The empty authenticated handler: the head's own HTTP and TLS settings, one HMAC of the token,
/// a small constant answer.
pub(crate) async fn serve_empty() -> anyhow::Result<()> {
    let directory = std::env::var("EMPTY_DIRECTORY").context("EMPTY_DIRECTORY is not set")?;
    let directory = Path::new(&directory);
    let (certificate, key) = (
        directory.join("empty-ca.pem"),
        directory.join("empty-ca.key"),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-days",
            "2",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .output()?;
    anyhow::ensure!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let chain = zone_cli::client::roots_of_file(&certificate)?;
    let key = rustls_pki_types::pem::PemObject::from_pem_file(&key)?;
    let tls = server_config(ListenerCertificate::new(chain, key)?, false)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening {}", listener.local_addr()?);
    let acceptor = TlsAcceptor::from(tls);
    let hmac = Arc::new(hmac::Key::new(&[7; 32]));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, hmac) = (acceptor.clone(), hmac.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| empty(hmac.clone(), request));
            let server = hyper::server::conn::http1::Builder::new();
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn empty(
    hmac: Arc<hmac::Key>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let token = request
        .headers()
        .get("x-vault-token")
        .map(|value| value.as_bytes().to_vec());
    request.into_body().collect().await?;
    let code = hmac.sign(&token.unwrap_or_default());
    let body = format!("{{\"data\":{{\"first\":{}}}}}", code[0]);
    Ok(Response::new(Full::new(Bytes::from(body))))
}
