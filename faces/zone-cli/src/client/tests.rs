//! Connections that go wrong, and what the operator is told.

use std::io::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{NamedGroup, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::testing::{Answers, Chain, Lab, Script};

const OPEN: Answers = &[
    (
        "GET /v1/sys/seal-status",
        200,
        r#"{"sealed":false,"type":"shamir"}"#,
    ),
    ("GET /v1/sys/leader", 200, r#"{"ha_enabled":false}"#),
];

fn acceptor(chain: &Chain) -> TlsAcceptor {
    acceptor_of(chain, Arc::new(NoClientAuth))
}

fn acceptor_of(chain: &Chain, clients: Arc<dyn ClientCertVerifier>) -> TlsAcceptor {
    let key = chain.leaf_key.to_pkcs8_der().unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.expose().clone()));
    let certificates = vec![chain.leaf.der().to_vec().into()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn ca_file(chain: &Chain) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(chain.root.pem().as_bytes()).unwrap();
    file
}

/// Runs `status` against an address with these variables; shows how it ended.
async fn status(address: &str, more: &[(&str, &str)]) -> String {
    let mut environment = vec![("VAULT_ADDR", address)];
    environment.extend_from_slice(more);
    let mut lab = Lab::new(&environment);
    let code = lab.run(&["status", "-format=json"]).await;
    let authority = address.split("//").last().unwrap();
    let stderr = lab.stderr().replace(authority, "SERVER");
    match code {
        0 => format!("fine\n{stderr}"),
        code => format!("exit {code}\n{stderr}"),
    }
}

async fn check(address: &str, more: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&status(address, more).await);
}

#[tokio::test]
async fn tls_by_the_ca_that_is_named() {
    let chain = Chain::new("localhost");
    let ca = ca_file(&chain);
    let ca_path = ca.path().to_str().unwrap();
    let script = Script::start_tls(OPEN, acceptor(&chain)).await;
    let address = format!("https://{}", script.authority());
    let with_ca = [
        ("VAULT_CACERT", ca_path),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    check(
        &address,
        &with_ca,
        expect![[r#"
        fine
    "#]],
    )
    .await;
    let text = chain.root.pem();
    let with_text = [
        ("VAULT_CACERT_BYTES", &*text),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    check(
        &address,
        &with_text,
        expect![[r#"
        fine
    "#]],
    )
    .await;
    assert_eq!(script.seen().len(), 4);
    // The address is an IP address, the certificate has a name.
    check(&address, &[("VAULT_CACERT", ca_path)], expect![[r#"
        exit 1
        Error checking seal status: the certificate of SERVER is not valid for the name 127.0.0.1

        Use an address with a name that stands in the certificate, or give that name with -tls-server-name.
    "#]]).await;
    let other = Chain::new("localhost");
    let other = ca_file(&other);
    let with_other = [
        ("VAULT_CACERT", other.path().to_str().unwrap()),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    check(
        &address,
        &with_other,
        expect![[r#"
            exit 1
            Error checking seal status: the certificate of SERVER is not signed by the authority that was given

            If the authority was made anew, get its new certificate for -ca-cert or VAULT_CACERT.
        "#]],
    )
    .await;
    assert_eq!(
        script.seen().len(),
        0,
        "no request before the server has proved its name"
    );
    check(
        &address,
        &[("VAULT_SKIP_VERIFY", "true")],
        expect![[r#"
        fine
        The server's certificate is not verified (-tls-skip-verify).
    "#]],
    )
    .await;
}

#[tokio::test]
async fn client_certificates_are_shown_to_the_server() {
    let chain = Chain::new("localhost");
    let ca = ca_file(&chain);
    let mut roots = RootCertStore::empty();
    roots.add(chain.root.der().to_vec().into()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
    let script = Script::start_tls(OPEN, acceptor_of(&chain, clients.build().unwrap())).await;
    let address = format!("https://{}", script.authority());
    let mut more = vec![
        ("VAULT_CACERT", ca.path().to_str().unwrap()),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    check(&address, &more, expect![[r#"
        exit 1
        Error checking seal status: SERVER refused the connection: TLS alert CertificateRequired

        The server's log says more. If it wants a client certificate, set -client-cert and -client-key.
    "#]]).await;
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("a.pem"),
        directory.path().join("a.key"),
    );
    std::fs::write(&certificate, chain.leaf.pem()).unwrap();
    std::fs::write(&key, chain.leaf_key.to_pem_pkcs8().unwrap().expose()).unwrap();
    more.push(("VAULT_CLIENT_CERT", certificate.to_str().unwrap()));
    more.push(("VAULT_CLIENT_KEY", key.to_str().unwrap()));
    check(
        &address,
        &more,
        expect![[r#"
        fine
    "#]],
    )
    .await;
}

#[tokio::test]
async fn the_key_exchange_is_hybrid() {
    let chain = Chain::new("localhost");
    let ca = ca_file(&chain);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let tls = acceptor(&chain);
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = tls.accept(stream).await.unwrap();
        stream
            .get_ref()
            .1
            .negotiated_key_exchange_group()
            .unwrap()
            .name()
    });
    let more = [
        ("VAULT_CACERT", ca.path().to_str().unwrap()),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    status(&address, &more).await;
    assert_eq!(server.await.unwrap(), NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn certificates_that_cannot_be_used() {
    let address = "https://127.0.0.1:1";
    check(
        address,
        &[("VAULT_CACERT", "/nowhere/ca.pem")],
        expect![[r#"
            exit 1
            the CA certificate /nowhere/ca.pem cannot be read: No such file or directory (os error 2)
        "#]],
    )
    .await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    let shown = status(address, &[("VAULT_CACERT", empty.path().to_str().unwrap())]).await;
    assert!(shown.contains("holds no certificate in PEM"), "{shown}");
    let directory = tempfile::tempdir().unwrap();
    let shown = status(
        address,
        &[("VAULT_CAPATH", directory.path().to_str().unwrap())],
    )
    .await;
    assert!(shown.contains("holds no certificate in PEM"), "{shown}");
    check(
        address,
        &[("VAULT_CLIENT_CERT", "/nowhere/a.pem")],
        expect![[r#"
            exit 1
            -client-cert and -client-key go together
        "#]],
    )
    .await;
}

#[tokio::test]
async fn an_expired_server_is_named_as_such() {
    let chain = Chain::until("localhost", "2020-01-02T00:00:00Z");
    let ca = ca_file(&chain);
    let script = Script::start_tls(OPEN, acceptor(&chain)).await;
    let address = format!("https://{}", script.authority());
    let more = [
        ("VAULT_CACERT", ca.path().to_str().unwrap()),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    check(
        &address,
        &more,
        expect![[r#"
        exit 1
        Error checking seal status: the certificate of SERVER has expired

        Renew it on the server, and check the clocks of both machines.
    "#]],
    )
    .await;
}

#[tokio::test]
async fn wrong_protocols_are_told_apart() {
    let chain = Chain::new("localhost");
    let ca = ca_file(&chain);
    let plain = Script::start(OPEN).await;
    let more = [("VAULT_CACERT", ca.path().to_str().unwrap())];
    check(
        &format!("https://{}", plain.authority()),
        &more,
        expect![[r#"
            exit 1
            Error checking seal status: SERVER does not speak TLS

            If it is a server without TLS on this machine, give an address with http://.
        "#]],
    )
    .await;
    let tls = Script::start_tls(OPEN, acceptor(&chain)).await;
    check(
        &format!("http://{}", tls.authority()),
        &[],
        expect![[r#"
        exit 1
        Error checking seal status: SERVER does not speak HTTP/1.1: invalid HTTP version parsed

        If the server speaks TLS, give an address with https://.
    "#]],
    )
    .await;
}

#[tokio::test]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    check(
        &address,
        &[],
        expect![[r#"
        exit 1
        Error checking seal status: nothing answers at SERVER: connection refused

        Is the server running there? If it is elsewhere, set -address or VAULT_ADDR.
    "#]],
    )
    .await;
    check("http://10.0.0.1:8200", &[], expect![[r#"
        exit 1
        the address "http://SERVER" would send tokens and secrets in the clear; http:// is for loopback addresses only, use https://

        Set -address or VAULT_ADDR.
    "#]]).await;
    check(
        "8200",
        &[],
        expect![[r#"
            exit 1
            the address "SERVER" is not of the form https://HOST:PORT or unix:///PATH

            Set -address or VAULT_ADDR.
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let more = [("VAULT_CLIENT_TIMEOUT", "50ms")];
    check(&address, &more, expect![[r#"
        exit 1
        Error checking seal status: no answer from SERVER within 0.05s

        A write may have happened; read before you try again. VAULT_CLIENT_TIMEOUT sets how long to wait.
    "#]]).await;
    check(
        &address,
        &[("VAULT_CLIENT_TIMEOUT", "soon")],
        expect![[r#"
        exit 1
        VAULT_CLIENT_TIMEOUT is no duration like 30 or 1m
    "#]],
    )
    .await;
}

#[tokio::test]
async fn one_redirect_is_followed() {
    let target = Script::start(OPEN).await;
    let there = format!("location: http://{}/v1/sys/seal-status", target.authority());
    let answers = vec![("GET /v1/sys/seal-status", 307, &*there.leak())];
    let answers: Answers = Vec::leak(
        answers
            .into_iter()
            .chain([("GET /v1/sys/leader", 200, r#"{"ha_enabled":false}"#)])
            .collect(),
    );
    let script = Script::start(answers).await;
    let address = format!("http://{}", script.authority());
    check(
        &address,
        &[("VAULT_TOKEN", "hvs.canary")],
        expect![[r#"
        fine
    "#]],
    )
    .await;
    assert_eq!(target.seen(), ["GET /v1/sys/seal-status"]);
    let more = [("VAULT_DISABLE_REDIRECTS", "1")];
    check(
        &address,
        &more,
        expect![[r#"
        exit 1
        Error checking seal status: Error making API request.

        URL: GET http://SERVER/v1/sys/seal-status
        Code: 307. Raw Message:


    "#]],
    )
    .await;
    assert_eq!(target.seen().len(), 0);
    // A second one is not.
    let again = Script::start(&[("GET", 307, "location: /v1/sys/seal-status")]).await;
    let shown = status(&format!("http://{}", again.authority()), &[]).await;
    assert!(shown.contains("Code: 307"), "{shown}");
    assert_eq!(again.seen().len(), 2);
}

#[tokio::test]
async fn a_redirect_never_leaves_tls() {
    let chain = Chain::new("localhost");
    let ca = ca_file(&chain);
    let plain = Script::start(OPEN).await;
    let there = format!("location: http://{}/v1/sys/seal-status", plain.authority());
    let answers: Answers = Vec::leak(vec![("GET", 307, &*there.leak())]);
    let script = Script::start_tls(answers, acceptor(&chain)).await;
    let more = [
        ("VAULT_CACERT", ca.path().to_str().unwrap()),
        ("VAULT_TLS_SERVER_NAME", "localhost"),
    ];
    let shown = status(&format!("https://{}", script.authority()), &more).await;
    assert!(shown.contains("which is not followed"), "{shown}");
    assert_eq!(plain.seen().len(), 0);
}

#[tokio::test]
async fn passing_errors_are_tried_again_when_asked() {
    const SEALED: Answers = &[("GET", 503, r#"{"errors":["Vault is sealed"]}"#)];
    let script = Script::start(SEALED).await;
    let address = format!("http://{}", script.authority());
    check(
        &address,
        &[],
        expect![[r#"
        exit 1
        Error checking seal status: Error making API request.

        URL: GET http://SERVER/v1/sys/seal-status
        Code: 503. Errors:

        * Vault is sealed

        Unseal it with 'zonehead operator unseal'.
    "#]],
    )
    .await;
    assert_eq!(script.seen().len(), 1);
    let mut settings = super::Settings::new(super::Address::parse(&address).unwrap());
    settings.retries = 2;
    settings.retry_wait = std::time::Duration::ZERO;
    let client = super::Client::new(settings).unwrap();
    assert_eq!(
        client.read("a", &[]).await.err().unwrap().status(),
        Some(503)
    );
    assert_eq!(script.seen().len(), 3);
}

#[tokio::test]
async fn headers_go_along() {
    let script = Script::start(&[("GET", 200, r#"{"data":{"a":"b"}}"#)]).await;
    let address = format!("http://{}", script.authority());
    let mut lab = Lab::new(&[("VAULT_ADDR", &address), ("ZONEHEAD_TOKEN", "hvs.mine\n")]);
    let arguments = ["read", "-ns=team/", "-header", "X-More=1=2", "a"];
    assert_eq!(lab.run(&arguments).await, 0, "{}", lab.stderr());
    let expected =
        "GET /v1/a\nx-vault-token: hvs.mine\nx-vault-namespace: team/\nx-more: 1=2".to_owned();
    assert_eq!(script.seen(), [expected]);
}

#[tokio::test]
async fn a_token_with_a_line_break_is_refused_and_not_shown() {
    let mut lab = Lab::new(&[
        ("VAULT_ADDR", "http://127.0.0.1:1"),
        ("VAULT_TOKEN", "hvs.one\nhvs.two"),
    ]);
    assert_eq!(lab.run(&["status"]).await, 1);
    let shown = lab.stderr();
    assert!(
        shown.contains("look for a line break") && !shown.contains("hvs"),
        "{shown}"
    );
}

/// A connection that the server closed between two requests is made anew.
#[tokio::test]
async fn a_closed_connection_is_replaced() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await.unwrap();
            let body = r#"{"sealed":true}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).await.unwrap();
        }
    });
    let settings = super::Settings::new(super::Address::parse(&address).unwrap());
    let client = super::Client::new(settings).unwrap();
    for _ in 0..2 {
        let answer = client
            .document(http::Method::GET, "sys/seal-status", None)
            .await
            .unwrap();
        assert_eq!(answer["sealed"], true);
    }
    server.await.unwrap();
}
