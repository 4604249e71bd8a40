//! Connections as they come in: what hyper is configured to do, proven on a socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::testing::Bench;

use super::*;

/// Writes `bytes` to a new connection and reads all that comes until it is closed.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that was reset has told what it had to tell.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

struct Listening {
    bench: Bench,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

async fn listening() -> Listening {
    listening_to(limits::CONNECTIONS).await
}

async fn listening_to(most: usize) -> Listening {
    let bench = Bench::sealed().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let served = tokio::spawn(serve_at_most(
        most,
        listener.into(),
        None,
        bench.app.clone(),
        stopping,
    ));
    Listening {
        bench,
        address,
        stop,
        served,
    }
}

#[tokio::test]
async fn attack_request_smuggling_what_follows_a_doubtful_body_is_never_read() {
    let zone = listening().await;
    let inner = "GET /v1/sys/seal-status HTTP/1.1\r\nHost: x\r\n\r\n";
    let body = format!("0\r\n\r\n{inner}");
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        let request = format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}");
        let answer = talk(zone.address, request.as_bytes()).await;
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{fields:?}: {answer}"
        );
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        " Folded: x\r\n",
        "No-Colon\r\n",
        "Spaced : x\r\n",
        "Null: \0\r\n",
    ] {
        let request = format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}");
        let answer = talk(zone.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{fields:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{fields:?}: {answer}"
        );
    }
    // The same two requests in good order are two.
    let request = format!(
        "{inner}{}",
        inner.replace("Host: x", "Host: x\r\nConnection: close")
    );
    let answer = talk(zone.address, request.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
}

#[tokio::test]
async fn hosts_are_judged_on_the_wire() {
    let zone = listening().await;
    for (fields, status) in [
        ("", "400"),
        ("Host: a\r\nHost: b\r\n", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host: a\r\n", "200"),
    ] {
        let request = format!("GET /v1/sys/leader HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
        let answer = talk(zone.address, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{fields:?}: {answer}"
        );
    }
    let old = talk(zone.address, b"GET /v1/sys/leader HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 200"), "{old}");
}

#[tokio::test]
async fn head_answers_have_a_length_and_no_body() {
    let zone = listening().await;
    let head = "HEAD /v1/sys/seal-status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = talk(zone.address, head.as_bytes()).await;
    let (fields, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        body.is_empty() && fields.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    assert!(
        fields.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    assert!(!fields.contains("content-length: 0"), "{answer}");
    assert!(fields.contains("content-length: "), "{answer}");
}

/// A client that does not take a large answer loses its connection, and the memory is free again.
#[tokio::test]
async fn attack_a_large_answer_that_is_not_taken_ends_the_connection() {
    let zone = listening().await;
    let (client, server) = tokio::io::duplex(1024);
    let connection = Connection {
        app: zone.bench.app.clone(),
        remote: zone.address,
        stop: zone.stop.subscribe(),
        patience: Duration::from_millis(1),
    };
    let (answers, waiting) = mpsc::unbounded_channel();
    let memory = crate::body::BodyMemory::default();
    let large = zeroize::Zeroizing::new(vec![0; limits::LARGE_ANSWER]);
    let (body, taken) = crate::body::reply(large, &memory).unwrap();
    answers.send(taken.unwrap()).unwrap();
    let service =
        service_fn(|_| async { Ok::<_, Infallible>(Response::new(ReplyBody::default())) });
    let http = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), service)
        .with_upgrades();
    connection.drive(http, waiting).await;
    drop((client, body));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_lets_requests_end() {
    let zone = listening().await;
    let mut idle = TcpStream::connect(zone.address).await.unwrap();
    let mut busy = TcpStream::connect(zone.address).await.unwrap();
    let head = "PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n";
    busy.write_all(head.as_bytes()).await.unwrap();
    idle.write_all(b"GET /v1/sys/leader HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    zone.stop.send(true).unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    busy.write_all(b"{\"reset\":true}").await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    zone.served.await.unwrap();
    assert!(TcpStream::connect(zone.address).await.is_err());
}

const ASK: &[u8] = b"GET /v1/sys/leader HTTP/1.1\r\nHost: x\r\n\r\n";

/// Asks on a connection that stays open, and reads the answer.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(ASK).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn attack_more_connections_than_places_wait_and_harm_nobody() {
    let zone = listening_to(2).await;
    let mut first = TcpStream::connect(zone.address).await.unwrap();
    let mut second = TcpStream::connect(zone.address).await.unwrap();
    ask(&mut first).await;
    ask(&mut second).await;
    let mut third = TcpStream::connect(zone.address).await.unwrap();
    let waiting = tokio::spawn(async move { ask(&mut third).await });
    for _ in 0..50 {
        ask(&mut second).await;
    }
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap();
    ask(&mut second).await;
}

#[tokio::test]
async fn a_listener_without_a_free_place_can_be_stopped() {
    let zone = listening_to(1).await;
    let mut only = TcpStream::connect(zone.address).await.unwrap();
    ask(&mut only).await;
    zone.stop.send(true).unwrap();
    zone.served.await.unwrap();
}

/// A connection to the zone over a pipe of `size` bytes.
fn piped(
    zone: &Listening,
    size: usize,
) -> (tokio::io::DuplexStream, Connection, tokio::io::DuplexStream) {
    let (client, server) = tokio::io::duplex(size);
    let connection = Connection {
        app: zone.bench.app.clone(),
        remote: zone.address,
        stop: zone.stop.subscribe(),
        patience: Duration::from_millis(1),
    };
    (client, connection, server)
}

/// A zone with a secret of 100,000 bytes.
async fn with_large_secret() -> Listening {
    let mut zone = listening().await;
    zone.bench = Bench::new().await;
    let secret = serde_json::json!({ "data": { "v": "s".repeat(100_000) } });
    let written = zone.bench.root("PUT", "secret/data/large", secret).await;
    assert_eq!(written.status, 200);
    zone
}

#[tokio::test]
async fn attack_http1_clients_that_do_not_read_are_cut_off() {
    let zone = with_large_secret().await;
    let (mut client, connection, server) = piped(&zone, 1024);
    let token = &zone.bench.root;
    let request =
        format!("GET /v1/secret/data/large HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {token}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    connection.http1(server).await;
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert!(got.starts_with(b"HTTP/1.1 200") && got.len() < 100_000);
}

#[tokio::test]
async fn attack_http2_clients_that_open_no_window_are_cut_off() {
    let zone = with_large_secret().await;
    let (client, connection, server) = piped(&zone, 64 * 1024);
    let serving = tokio::spawn(connection.http2(server));
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1000);
    let (mut sender, driver) = builder.handshake(TokioIo::new(client)).await.unwrap();
    let driver = tokio::spawn(driver);
    let request = Request::get("https://x/v1/secret/data/large")
        .header("x-vault-token", &zone.bench.root)
        .body(ReplyBody::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    serving.await.unwrap();
    let read = http_body_util::BodyExt::collect(response.into_body()).await;
    assert!(read.is_err(), "the rest never comes");
    drop((sender, driver));
}

#[tokio::test]
async fn http2_requests_are_judged_like_others() {
    let zone = listening().await;
    let (client, connection, server) = piped(&zone, 64 * 1024);
    tokio::spawn(connection.http2(server));
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, driver) = builder.handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(driver);
    for (path, status) in [
        ("/v1/sys/seal-status", 200),
        ("/v1/sys//seal-status", 400),
        ("/v1/sys/%2e%2e/x", 400),
        ("/v1/sys%2fhealth", 400),
        ("/ui/", 404),
    ] {
        let request = Request::get(format!("https://x{path}")).body(ReplyBody::default());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let large = "h".repeat(limits::HEAD);
    let request = Request::get("https://x/v1/sys/health").header("x-large", large);
    let refused = sender
        .send_request(request.body(ReplyBody::default()).unwrap())
        .await;
    assert!(refused.is_err() || refused.is_ok_and(|response| response.status() == 431));
    let again = Request::get("https://x/v1/sys/leader").body(ReplyBody::default());
    assert_eq!(
        sender.send_request(again.unwrap()).await.unwrap().status(),
        200
    );
}
