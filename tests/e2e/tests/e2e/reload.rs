//! SIGHUP: the configuration, certificate files, audit files.

use rustix::process::Signal;
use serde_json::json;
use zone_audit::verify::verify_files;
use zone_e2e::head::Process;
use zone_e2e::{Config, Head, Place, tool};

/// Reloads, and returns the line with `expected` when all of it is done.
fn reload(head: &Head, expected: &str) -> String {
    let once = || {
        let from = head.process.log_len();
        head.process.signal(Signal::HUP);
        head.process.wait_for(from, expected)
    };
    once();
    // Signals are served one after the other: the first is done when the second begins.
    once()
}

#[tokio::test]
async fn sighup_keeps_the_old_configuration_if_the_new_one_is_bad() {
    let (head, _keys) = Head::unsealed().await;
    let good = std::fs::read_to_string(head.place.config_file()).unwrap();
    head.place
        .write("zonehead.toml", good.replace("zone =", "zoen ="));
    let from = head.process.log_len();
    assert!(reload(&head, "not reloaded").contains("zonehead.toml"));
    head.process.wait_for(from, "unknown field `zoen`");
    head.lives().await;
    assert_eq!(
        head.api().get("sys/health").await.expect(200).json()["cluster_name"],
        "zone.test"
    );

    head.place
        .write("zonehead.toml", good.replace("zone.test", "other.test"));
    reload(&head, "takes effect at the next start");
    assert_eq!(
        head.api().get("sys/health").await.expect(200).json()["cluster_name"],
        "zone.test"
    );

    let from = head.process.log_len();
    head.place
        .write("zonehead.toml", good.replace("\"info\"", "\"debug\""));
    reload(&head, "configuration reloaded");
    // Debug lines appear from now on: this client speaks no TLS.
    let mut plain = std::net::TcpStream::connect(head.address).unwrap();
    std::io::Write::write_all(&mut plain, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    head.process.wait_for(from, "TLS handshake failed");
}

#[tokio::test]
async fn sighup_opens_audit_files_that_logrotate_moved() {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/policies/acl/before", &json!({ "policy": "" }))
        .await;
    let (current, moved) = (
        head.place.audit_log(),
        head.place.file("data/audit/audit.log.1"),
    );
    std::fs::rename(&current, &moved).unwrap();
    reload(&head, "configuration reloaded");
    root.get("sys/policies/acl/later").await.expect(404);

    let text = |file| std::fs::read_to_string(file).unwrap();
    assert!(text(&moved).contains("acl/before") && !text(&moved).contains("acl/later"));
    assert!(text(&current).contains("acl/later") && !text(&current).contains("acl/before"));
    let report = verify_files(&[current, moved], None).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.files.len(), 2);
}

#[tokio::test]
async fn sighup_takes_new_certificate_files() {
    let place = Place::new();
    let pair = |name: &str| {
        let (key, cert) = (place.file("tls.key"), place.file("tls.pem"));
        let mut openssl = tool::program("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        openssl
            .args(["-nodes", "-days", "2", "-subj"])
            .arg(format!("/CN={name}"));
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]);
        tool::succeed(openssl.arg(key).arg("-out").arg(cert));
    };
    pair("first");
    let listener = format!(
        "cert_file = \"{}\"\nkey_file = \"{}\"",
        place.file("tls.pem").display(),
        place.file("tls.key").display()
    );
    place.configure(&Config {
        listener,
        ..Config::default()
    });
    let head = place.start();
    let subject = || {
        let mut client = tool::program("openssl");
        client
            .args(["s_client", "-connect"])
            .arg(head.address.to_string());
        tool::said(&tool::run(client.stdin(std::process::Stdio::null())))
    };
    assert!(subject().contains("CN = first"), "{}", subject());
    pair("second");
    reload(&head, "configuration reloaded");
    assert!(subject().contains("CN = second"), "{}", subject());
    place.write("tls.key", "no key");
    reload(&head, "keep their certificates");
    assert!(subject().contains("CN = second"), "{}", subject());
}

/// sd_notify(3): systemd waits for READY before it starts what needs the zone.
#[test]
fn systemd_is_told_of_each_change() {
    let place = Place::new();
    let socket = std::os::unix::net::UnixDatagram::bind(place.file("notify")).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let told = |expected: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = socket.recv(&mut buffer).expect(expected);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == expected) {
                return;
            }
        }
    };
    let mut command = place.command();
    command
        .args(["server", "-config"])
        .arg(place.config_file())
        .env("NOTIFY_SOCKET", place.file("notify"));
    let mut process = Process::spawn(command);
    told("READY=1");
    process.signal(Signal::HUP);
    told("RELOADING=1");
    told("READY=1");
    process.signal(Signal::TERM);
    told("STOPPING=1");
    assert!(process.wait().success());
}
