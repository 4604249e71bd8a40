//! The listener's TLS, seen by curl, openssl and rustls.

use std::process::{Command, Stdio};

use rustls::NamedGroup;
use zone_e2e::{Config, Head, Place, tool};

fn curl(head: &Head) -> Command {
    let mut curl = tool::program("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
    curl.arg(head.place.ca_file());
    curl
}

fn s_client(head: &Head, args: &[&str]) -> Command {
    let mut client = tool::program("openssl");
    client
        .args(["s_client", "-connect"])
        .arg(head.address.to_string())
        .args(args);
    client
        .args(["-verify_return_error", "-CAfile"])
        .arg(head.place.ca_file());
    client.stdin(Stdio::null());
    client
}

#[tokio::test]
async fn curl_verifies_the_listener_by_its_ca_over_http_1_and_2() {
    let head = Place::new().start();
    let url = format!("{}/v1/sys/seal-status", head.url());
    for (version, shown) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut curl = curl(&head);
        let text = tool::text(
            curl.args([version, "-w", "\n%{http_version} %{http_code}"])
                .arg(&url),
        );
        assert!(text.ends_with(&format!("\n{shown} 200")), "{text}");
        assert!(text.contains("\"sealed\":true"), "{text}");
    }
    let localhost = format!(
        "https://localhost:{}/v1/sys/seal-status",
        head.address.port()
    );
    tool::succeed(curl(&head).arg(&localhost));
    let mut stranger = tool::program("curl");
    let said = tool::fail(stranger.args(["--silent", "--show-error"]).arg(&url));
    assert!(said.contains("curl: (60)"), "{said}");
    let elsewhere = format!(
        "https://elsewhere.test:{}/v1/sys/health",
        head.address.port()
    );
    let mut curl = curl(&head);
    let said = tool::fail(
        curl.args([
            "--resolve",
            &format!("elsewhere.test:{}:127.0.0.1", head.address.port()),
        ])
        .arg(&elsewhere),
    );
    assert!(said.contains("curl: (60)"), "{said}");
}

#[tokio::test]
async fn tls_1_3_by_default_and_1_2_only_if_switched_on() {
    let head = Place::new().start();
    let said = tool::text(&mut s_client(&head, &["-tls1_3"]));
    assert!(
        said.contains("TLSv1.3") && said.contains("Verify return code: 0 (ok)"),
        "{said}"
    );
    let said = tool::fail(&mut s_client(&head, &["-tls1_2"]));
    assert!(said.contains("alert protocol version"), "{said}");
    head.lives().await;

    let config = Config {
        listener: "tls_min_version = \"1.2\"".into(),
        ..Config::default()
    };
    let head = Place::with(&config).start();
    let said = tool::text(&mut s_client(&head, &["-tls1_2"]));
    assert!(
        said.contains("TLSv1.2") && said.contains("Verify return code: 0 (ok)"),
        "{said}"
    );
    tool::fail(&mut s_client(
        &head,
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
    ));
}

#[tokio::test]
async fn key_exchange_is_hybrid_post_quantum_where_the_client_can() {
    let head = Place::new().start();
    let stream = head.api().connect().await.unwrap();
    let group = stream
        .get_ref()
        .1
        .negotiated_key_exchange_group()
        .unwrap()
        .name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    // One that cannot still gets in.
    let said = tool::text(&mut s_client(&head, &["-groups", "X25519"]));
    assert!(said.contains("Server Temp Key: X25519"), "{said}");
}

#[tokio::test]
async fn a_client_certificate_of_anybody_does_not_keep_its_owner_out() {
    let head = Place::new().start();
    let (key, cert) = (head.place.file("me.key"), head.place.file("me.pem"));
    let mut openssl = tool::program("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=anybody",
    ]);
    tool::succeed(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert));
    let url = format!("{}/v1/sys/seal-status", head.url());
    let mut curl = curl(&head);
    tool::succeed(
        curl.args(["--fail", "--cert"])
            .arg(&cert)
            .arg("--key")
            .arg(&key)
            .arg(&url),
    );
    let said = tool::text(&mut s_client(&head, &["-tls1_3"]));
    assert!(
        said.contains("No client certificate CA names sent"),
        "{said}"
    );
}
