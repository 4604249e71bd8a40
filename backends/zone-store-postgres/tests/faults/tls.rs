//! The server proves its name and the client itself; passwords are nowhere to be read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use zone_conformance::store::{group, put};
use zone_ports::Store;
use zone_store_postgres::{Password, PostgresOptions, PostgresStore, TlsFiles};
use zone_testkit::Postgres;
use zone_types::Secret;

use super::refused;

/// Certificates made by openssl: an authority, a server's and a client's.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        for ca in ["ca", "foreign"] {
            files.make(ca, &["-addext", "basicConstraints=critical,CA:TRUE"]);
        }
        files.issue("server", "ca", "subjectAltName=DNS:localhost");
        files.issue("zonehead", "ca", "subjectAltName=DNS:zonehead");
        files.issue("other", "ca", "subjectAltName=DNS:other");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn issue(&self, name: &str, ca: &str, san: &str) {
        let (cert, key) = (
            self.path(&format!("{ca}.pem")),
            self.path(&format!("{ca}.key")),
        );
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let leaf = "basicConstraints=critical,CA:FALSE";
        self.make(
            name,
            &["-CA", cert, "-CAkey", key, "-addext", leaf, "-addext", san],
        );
    }

    fn make(&self, name: &str, more: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl.args(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '),
        );
        openssl.args(["-subj", &format!("/CN={name}")]).args(more);
        openssl
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")));
        openssl.arg("-out").arg(self.path(&format!("{name}.pem")));
        let output = openssl.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    /// What a client named `client` is told that trusts `ca`.
    fn tls(&self, ca: &str, client: Option<&str>) -> Option<TlsFiles> {
        let pem = |name: &str| self.path(&format!("{name}.pem"));
        let identity = |name: &str| (pem(name), self.path(&format!("{name}.key")));
        Some(TlsFiles {
            ca: pem(ca),
            identity: client.map(identity),
        })
    }
}

const TLS: &str = "ssl = on\nssl_cert_file = '../server.pem'\nssl_key_file = '../server.key'\n\
    ssl_ca_file = '../ca.pem'\npassword_encryption = scram-sha-256";

/// A server that takes network connections under the name localhost.
fn start(files: &Files, hba: &str) -> (Postgres, String) {
    let read = |name: &str| std::fs::read(files.path(name)).unwrap();
    let (cert, key, ca) = (read("server.pem"), read("server.key"), read("ca.pem"));
    let given = [
        ("server.pem", &cert[..]),
        ("server.key", &key),
        ("ca.pem", &ca),
    ];
    let port = port();
    let server = Postgres::start_on(port, TLS, &given);
    server.let_in(&format!("local all all trust\n{hba}\n"));
    while server.sql("SELECT count(*) FROM pg_hba_file_rules") != "2" {}
    (
        server,
        format!("postgresql://zonehead@localhost:{port}/zonehead?hostaddr=127.0.0.1"),
    )
}

/// A free port below those that the kernel gives out.
fn port() -> u16 {
    let first = 32_000 - (std::process::id() % 11_000) as u16;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..500).map(|more| first - more).find(free).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_verifies_the_server_and_shows_the_clients_certificate() {
    let files = Files::new();
    let (server, url) = start(&files, "hostssl all all 127.0.0.1/32 cert");
    let options = |url: &str, tls| {
        let mut options = PostgresOptions::new(url, "zone").unwrap();
        options.tls = tls;
        options
    };
    let store = PostgresStore::open(options(&url, files.tls("ca", Some("zonehead"))))
        .await
        .unwrap();
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let encrypted = "SELECT bool_and(ssl) AND count(*) > 1 FROM pg_stat_ssl \
         JOIN pg_stat_activity USING (pid) WHERE client_addr IS NOT NULL";
    assert_eq!(server.sql(encrypted), "t");
    drop(store);
    for (ca, client, why) in [
        ("foreign", Some("zonehead"), "certificate"),
        ("ca", Some("other"), "certificate authentication failed"),
        ("ca", None, "requires a valid client certificate"),
        ("missing", Some("zonehead"), "missing.pem"),
    ] {
        let said = refused(options(&url, files.tls(ca, client))).await;
        assert!(said.contains(why), "{ca}, {client:?}: {said}");
    }
    let misnamed = url.replace("localhost", "db.example.org");
    let said = refused(options(&misnamed, files.tls("ca", Some("zonehead")))).await;
    assert!(said.contains("certificate"), "{said}");
    let said = refused(options(&url, None)).await;
    assert!(said.contains("a CA file is needed"), "{said}");
}

/// A network attacker says that the server has no TLS: nothing is sent to him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_server_without_tls_gets_no_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 8];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(b"N").await.unwrap();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    });
    let files = Files::new();
    let url = format!("postgresql://zonehead@localhost:{port}/zonehead?hostaddr=127.0.0.1");
    let mut options = PostgresOptions::new(&url, "zone").unwrap();
    options.tls = files.tls("ca", None);
    options.password = given("canary-5a51");
    let said = refused(options).await;
    assert!(said.contains("TLS"), "{said}");
    assert_eq!(
        heard.await.unwrap().len(),
        8,
        "nothing but the question for TLS"
    );
}

fn given(text: &str) -> Password {
    Password::Given(Arc::new(Secret::new(text.to_owned())))
}

fn write(path: &Path, text: &str) -> Password {
    std::fs::write(path, text).unwrap();
    Password::File(path.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_passwords_come_from_a_file_or_the_environment_and_show_nowhere() {
    let files = Files::new();
    let (server, url) = start(&files, "hostssl all all 127.0.0.1/32 scram-sha-256");
    server.sql("ALTER ROLE zonehead PASSWORD 'canary-one-19ab'");
    let options = |password| {
        let mut options = PostgresOptions::new(&url, "zone").unwrap();
        options.tls = files.tls("ca", None);
        options.password = password;
        options
    };
    let file = files.path("password");
    let store = PostgresStore::open(options(write(&file, "canary-one-19ab\n")))
        .await
        .unwrap();
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    assert!(!format!("{store:?}").contains("canary"));
    // Changed on both sides: new connections use the new one, without a restart.
    server.sql("ALTER ROLE zonehead PASSWORD 'canary-two-77cd'");
    write(&file, "canary-two-77cd\n");
    server.crash();
    server.begin();
    assert_eq!(super::value(&store, "a").await.as_deref(), Some("1"));
    drop(store);
    PostgresStore::open(options(given("canary-two-77cd")))
        .await
        .unwrap();
    let missing = Password::File(files.path("nowhere"));
    for (password, why) in [
        (given("canary-wrong"), "password authentication failed"),
        (Password::None, "password"),
        (missing, "nowhere"),
    ] {
        let said = refused(options(password)).await;
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
    assert!(!server.log().contains("canary-wrong"));
}
