//! Redis: certificates for transport (`tls-auth-clients yes`). It knows no revocation lists, so
//! short lives stand in for them. Its password comes from the zone's secrets.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use zone_e2e::head::Process;
use zone_e2e::{Head, LIMIT, tool};

use super::port;
use crate::zone::{FOREIGN, Identity, PKI, Zone, only_owner};

/// A server that speaks TLS only. Keeps nothing.
struct Redis {
    port: u16,
    process: Process,
}

impl Redis {
    /// Starts it in the place of `head` and waits until it takes connections.
    fn start(head: &Head, identity: &Identity, ca: &Path, password: &str) -> Self {
        let port = port();
        let Identity { chain, key, .. } = identity;
        let configuration = format!(
            "bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients yes\n\
             tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\n\
             requirepass {password}\nsave \"\"\nappendonly no\nloglevel verbose\n",
            chain.display(),
            key.display(),
            ca.display(),
        );
        let file = head.place.write("redis.conf", configuration);
        only_owner(&file);
        let mut command = tool::program("redis-server");
        command.arg(file).current_dir(head.place.path());
        let process = Process::spawn(command);
        process.wait_for(0, "Ready to accept connections");
        Self { port, process }
    }

    fn cli(&self, ca: &Path, identity: Option<&Identity>, password: &str) -> Command {
        let mut cli = tool::program("redis-cli");
        cli.args([
            "-e",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "--tls",
        ])
        .arg("--cacert")
        .arg(ca)
        .env("REDISCLI_AUTH", password);
        if let Some(Identity { chain, key, .. }) = identity {
            cli.arg("--cert").arg(chain).arg("--key").arg(key);
        }
        cli
    }

    /// A connection that breaks at the handshake, with `reason` in the log. The client tries
    /// twice, so the log may have a second line of it later.
    #[track_caller]
    fn refuses(&self, mut cli: Command, reason: &str) {
        let from = self.process.log_len();
        let said = tool::fail(cli.arg("PING"));
        assert!(!said.contains("PONG"), "{said}");
        self.process.wait_for(from, reason);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait();
    }
}

/// Waits until a certificate's end has passed, by openssl's judgement.
async fn expired(identity: &Identity) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let over = async {
        loop {
            tick.tick().await;
            let mut check = tool::program("openssl");
            check.args(["x509", "-noout", "-checkend", "0", "-in"]);
            if !tool::run(check.arg(&identity.chain)).status.success() {
                break;
            }
        }
    };
    tokio::time::timeout(LIMIT, over).await.expect("it expires");
}

#[tokio::test]
async fn redis_lets_the_zones_clients_in_and_foreign_and_expired_ones_not() {
    let zone = Zone::new().await;
    let ca = zone.own_authority(PKI).await;
    zone.own_authority(FOREIGN).await;
    let server = zone.issue(PKI, "redis.zone.test", "server").await;
    let cart = zone.issue(PKI, "cart.zone.test", "cart").await;
    zone.keep_secret("redis", "password", "redis-canary-93b7");
    let token = zone.reader("redis").await;
    let password = zone.read_secret(&token, "redis", "password");
    let redis = Redis::start(&zone.head, &server, &ca, &password);

    let said = |identity: &Identity, words: &[&str]| {
        let mut cli = redis.cli(&ca, Some(identity), &password);
        tool::text(cli.args(words)).trim_end().to_owned()
    };
    assert_eq!(said(&cart, &["PING"]), "PONG");
    assert_eq!(said(&cart, &["SET", "basket", "3 apples"]), "OK");
    assert_eq!(said(&cart, &["GET", "basket"]), "3 apples");
    let mut wrong = redis.cli(&ca, Some(&cart), "guess");
    assert!(tool::fail(wrong.arg("PING")).contains("NOAUTH"));

    let foreign = zone.issue(FOREIGN, "cart.zone.test", "foreign").await;
    let unverified = "certificate verify failed";
    redis.refuses(redis.cli(&ca, Some(&foreign), &password), unverified);
    let without = redis.cli(&ca, None, &password);
    redis.refuses(without, "peer did not return a certificate");

    let short = zone.issue_for(PKI, "cart.zone.test", "short", "3s").await;
    assert_eq!(said(&short, &["PING"]), "PONG");
    expired(&short).await;
    redis.refuses(redis.cli(&ca, Some(&short), &password), unverified);
    assert_eq!(said(&cart, &["GET", "basket"]), "3 apples");
}
