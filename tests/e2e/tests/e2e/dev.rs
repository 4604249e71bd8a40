//! `zonehead dev`: a whole zone on this machine with one command.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use zone_e2e::head::Process;
use zone_e2e::{Api, Place, Raw, tool, zonehead};

/// A running dev zone in `dir` of a place, which is its HOME.
struct Dev {
    place: Arc<Place>,
    process: Process,
    dir: PathBuf,
}

impl Dev {
    fn start(place: &Arc<Place>, flags: &[&str]) -> Self {
        let dir = place.file("dev");
        let mut command = place.command();
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--dir"])
            .arg(&dir)
            .args(flags);
        let process = Process::spawn(command);
        process.wait_for(0, "stays up at https://");
        Self {
            place: place.clone(),
            process,
            dir,
        }
    }

    fn api(&self) -> Api {
        let line = self.process.wait_for(0, "stays up at https://");
        let address: Option<SocketAddr> = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("https://")?.parse().ok());
        let token = std::fs::read_to_string(self.dir.join("token")).unwrap();
        Api::new(address.unwrap(), &self.dir.join("ca.pem")).token(token.trim())
    }

    /// A shell in which the zone's environment was taken over, as the head says.
    fn shell(&self, lines: &str) -> Command {
        let bin = zonehead().parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap();
        let dir = self.dir.display();
        let script = format!("set -eu\neval \"$(zonehead dev env --dir {dir})\"\n{lines}\n");
        let mut bash = self.place.program("bash");
        bash.env("PATH", format!("{bin}:{path}"))
            .args(["-c", &script]);
        bash
    }

    fn stop(mut self) -> String {
        self.process.signal(Signal::INT);
        assert_eq!(
            self.process.wait().code(),
            Some(0),
            "{}",
            self.process.log()
        );
        self.process.log()
    }
}

#[tokio::test]
async fn dev_tour_shows_all_and_what_it_prints_can_be_run() {
    let place = Place::new();
    place.write(".vault-token", "of another zone");
    let dev = Dev::start(&place, &[]);
    let said = dev.process.log();
    for shown in [
        "each proved its name to the other",
        "a caller without a certificate was refused",
        " 0 failed",
        "refused: certificate revoked",
        "both read back",
        "form an unbroken chain",
        "What to try next",
    ] {
        assert!(said.contains(shown), "{shown:?} is not in: {said}");
    }
    // Whatever the head tells to type is typed.
    let (_, next) = said.split_once("What to try next").unwrap();
    let commands = |text: &str| {
        let lines = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("$ "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(commands(next).len() >= 5, "{next}");
    tool::succeed(&mut dev.shell(&commands(next).join("\n")));
    let offline = commands(&said)
        .into_iter()
        .filter(|line| line.starts_with("zonehead audit"));
    tool::succeed(&mut dev.shell(&offline.collect::<Vec<_>>().join("\n")));
    let password = "zonehead kv get -field=password secret/orders/database";
    assert_eq!(tool::text(&mut dev.shell(password)), "tour-password-two");

    assert_eq!(
        std::fs::read_to_string(place.file(".vault-token")).unwrap(),
        "of another zone"
    );
    let mut entries: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    entries.sort();
    assert_eq!(
        entries,
        [".vault-token", "dev", "zonehead.toml"],
        "it writes below --dir alone"
    );
    for name in ["", "data", "audit", "token", "unseal-key", "env"] {
        let mode = std::fs::metadata(dev.dir.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name:?} is for its owner alone");
    }
    dev.stop();
}

#[tokio::test]
async fn dev_resumes_the_same_zone_unsealed() {
    let place = Place::new();
    let dev = Dev::start(&place, &["--no-tour"]);
    tool::succeed(&mut dev.shell("zonehead kv put secret/mine a=1; zonehead status"));
    let ca = std::fs::read(dev.dir.join("ca.pem")).unwrap();
    let pki = dev.api().get("pki/ca/pem").await.expect(200).body;
    assert!(dev.stop().contains("Resume with: zonehead dev --dir"));

    let dev = Dev::start(&place, &["--no-tour"]);
    assert_eq!(
        tool::text(&mut dev.shell("zonehead kv get -field=a secret/mine")),
        "1"
    );
    assert_eq!(std::fs::read(dev.dir.join("ca.pem")).unwrap(), ca);
    assert_eq!(dev.api().get("pki/ca/pem").await.expect(200).body, pki);
}

#[tokio::test]
async fn attack_dns_rebinding_gets_nothing_from_a_dev_zone() {
    let dev = Dev::start(&Place::new(), &["--no-tour"]);
    let api = dev.api();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("localhost:8200", 200),
        ("[::1]:1", 200),
        ("evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("localhost.evil.test:8200", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ] {
        let mut raw = Raw::connect(&api).await;
        raw.send(format!(
            "GET /v1/sys/health HTTP/1.1\r\nHost: {host}\r\n\r\n"
        ))
        .await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "Host: {host}: {answer:?}");
    }
    let mut curl = tool::program("curl");
    curl.args([
        "--silent",
        "--http2",
        "-H",
        "Host: evil.test",
        "-w",
        "\n%{http_version} %{http_code}",
    ]);
    curl.arg("--cacert").arg(dev.dir.join("ca.pem"));
    let said = tool::text(curl.arg(format!("https://{}/v1/sys/health", api.address())));
    assert!(
        said.ends_with("\n2 403"),
        ":authority counts as well: {said}"
    );
    let mut beyond = dev.place.command();
    let said = tool::fail(beyond.args(["dev", "--listen", "0.0.0.0:0", "--no-tour"]));
    assert!(said.contains("loopback"), "{said}");
}

#[tokio::test]
async fn dev_without_a_directory_leaves_nothing() {
    let place = Place::new();
    let temporary = place.file("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let mut command = place.command();
    command
        .env("TMPDIR", &temporary)
        .args(["dev", "--no-tour", "--listen", "127.0.0.1:0"]);
    let mut process = Process::spawn(command);
    process.wait_for(0, "stays up at https://");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}
