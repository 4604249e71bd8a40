//! Listeners of all kinds, and Vault's own configuration files.

use std::process::Command;

use serde_json::{Value, json};
use zone_e2e::head::Process;
use zone_e2e::{Head, Place, tool};

/// Starts a head with a configuration in Vault's HCL.
fn started(place: &std::sync::Arc<Place>, listeners: &str) -> Head {
    let text = format!(
        "zone = \"zone.test\"\nstorage \"file\" {{ path = \"{}\" }}\n{listeners}\n",
        place.data().display()
    );
    place.write("vault.hcl", text);
    let mut command = place.command();
    command.args(["server", "-config=vault.hcl"]);
    Head::serving(place.clone(), Process::spawn(command))
}

fn curl(head: &Head, socket: &str, more: &[&str]) -> Command {
    let mut command = head.place.program("curl");
    command
        .args(["-sS", "--unix-socket", socket])
        .args(more)
        .arg("http://localhost/v1/sys/seal-status");
    command
}

#[tokio::test]
async fn vaults_hcl_starts_a_head_on_tcp_and_on_a_unix_socket() {
    let place = Place::new();
    let socket = place.file("api.sock");
    let head = started(
        &place,
        &format!(
            "listener \"tcp\" {{ address = \"127.0.0.1:0\" }}\n\
             listener \"unix\" {{ address = \"{}\" socket_mode = \"0660\" socket_group = \"0\" }}",
            socket.display()
        ),
    );
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;

    // The client commands and curl reach the same zone through the socket.
    let zonehead = |words: &[&str]| {
        let mut command = place.command();
        command
            .env("VAULT_ADDR", format!("unix://{}", socket.display()))
            .env("VAULT_TOKEN", &keys.root_token)
            .args(words);
        command
    };
    tool::succeed(&mut zonehead(&[
        "secrets",
        "enable",
        "-path=secret",
        "kv-v2",
    ]));
    tool::succeed(&mut zonehead(&["kv", "put", "secret/app", "a=b"]));
    let read = head
        .with_token(&keys.root_token)
        .get("secret/data/app")
        .await;
    assert_eq!(read.expect(200).data()["data"], json!({ "a": "b" }));
    let path = socket.to_str().unwrap();
    let status: Value =
        serde_json::from_slice(&tool::succeed(&mut curl(&head, path, &[]))).unwrap();
    assert_eq!(status["sealed"], false);

    // A2: the socket is no way round a token.
    let token = ["-o", "/dev/null", "-w", "%{http_code}", "-X", "LIST"];
    let mut bare = place.program("curl");
    bare.args(["-sS", "--unix-socket", path]).args(token);
    assert_eq!(
        tool::text(bare.arg("http://localhost/v1/auth/token/accessors")),
        "403"
    );

    // Its rights decide who may connect.
    let mut stranger = place.program("setpriv");
    stranger.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "curl",
        "-sS",
    ]);
    stranger.args(["--unix-socket", path, "http://localhost/v1/sys/health"]);
    tool::fail(&mut stranger);

    // A second head finds the socket taken and does not steal it.
    let other = Place::new();
    let text = std::fs::read_to_string(place.file("vault.hcl")).unwrap();
    let own = text.replace(
        &place.data().display().to_string(),
        &other.data().display().to_string(),
    );
    other.write("vault.hcl", own);
    let mut second = other.command();
    let said = tool::fail(second.args(["server", "-config", "vault.hcl"]));
    assert!(said.contains("another process listens there"), "{said}");
    tool::succeed(&mut curl(&head, path, &[]));

    // What a killed head leaves behind is replaced at the next start.
    drop(head);
    let head = started(
        &place,
        text.split_once('\n').unwrap().1.split_once('\n').unwrap().1,
    );
    tool::succeed(&mut curl(&head, path, &[]));
}

#[tokio::test]
async fn attack_6_a_proxy_on_the_socket_tells_the_address_only_if_it_is_trusted() {
    let place = Place::new();
    let (trusted, plain) = (place.file("trusted.sock"), place.file("plain.sock"));
    let text = format!(
        "zone = \"zone.test\"\n[storage]\npath = \"{}\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\naddress = \"unix:{}\"\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         x_forwarded_for_reject_not_present = true\n\
         [[listener]]\naddress = \"unix:{}\"\n",
        place.data().display(),
        trusted.display(),
        plain.display()
    );
    place.write("zonehead.toml", text);
    let head = place.start();
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    let ask = json!({ "policies": ["default"], "bound_cidrs": ["10.0.0.0/8"] });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let token = format!(
        "X-Vault-Token: {}",
        made["auth"]["client_token"].as_str().unwrap()
    );
    let status = |socket: &std::path::Path, forwarded: &[&str]| {
        let mut command = place.program("curl");
        command
            .args([
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "-H",
                &token,
                "--unix-socket",
            ])
            .arg(socket)
            .args(forwarded)
            .arg("http://localhost/v1/auth/token/lookup-self");
        tool::text(&mut command)
    };
    let inside = ["-H", "X-Forwarded-For: 10.1.2.3"];
    assert_eq!(status(&trusted, &inside), "200");
    assert_eq!(
        status(&trusted, &["-H", "X-Forwarded-For: 11.1.2.3"]),
        "403"
    );
    assert_eq!(status(&trusted, &[]), "400", "past the proxy");
    assert_eq!(
        status(&plain, &inside),
        "403",
        "whoever is not trusted is where he is"
    );
}

#[tokio::test]
async fn a_socket_that_systemd_holds_is_taken_over() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let text = std::fs::read_to_string(place.config_file()).unwrap();
    place.write("zonehead.toml", text.replace("127.0.0.1:0", "systemd:api"));
    let mut command = place.program("systemd-socket-activate");
    command
        .args(["--fdname=api", "-l", &address.to_string()])
        .arg(zone_e2e::zonehead())
        .args(["server", "-config"])
        .arg(place.config_file());
    let process = Process::spawn(command);
    process.wait_for(0, "Listening on");
    // The first connection starts the head and waits for it.
    let waiting = std::net::TcpStream::connect(address).unwrap();
    let head = Head::serving(place.clone(), process);
    drop(waiting);
    assert_eq!(head.address, address);
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    head.lives().await;
}

#[test]
fn a_socket_that_nobody_passed_on_is_named() {
    let place = Place::new();
    let text = std::fs::read_to_string(place.config_file()).unwrap();
    place.write("zonehead.toml", text.replace("127.0.0.1:0", "systemd:api"));
    let mut command = place.command();
    let said = tool::fail(command.args(["server", "-config"]).arg(place.config_file()));
    assert!(said.contains("listening on systemd:api"), "{said}");
    assert!(said.contains("FileDescriptorName=api"), "{said}");
}

#[test]
fn a_vault_file_is_checked_and_converted() {
    let place = Place::new();
    let good = "zone = \"zone.test\"\nstorage \"file\" { path = \"/srv/zone\" }\n\
                listener \"tcp\" { address = \"127.0.0.1:8200\" }\n";
    place.write("vault.hcl", good);
    let run = |words: &[&str]| {
        let mut command = place.command();
        command.args(words);
        command
    };
    let said = tool::text(&mut run(&["config", "check", "vault.hcl"]));
    assert!(said.contains("the configuration is valid"), "{said}");
    let toml = tool::text(&mut run(&["config", "convert", "vault.hcl"]));
    place.write("converted.toml", &toml);
    tool::succeed(&mut run(&["config", "check", "converted.toml"]));
    place.write("vault.hcl", format!("{good}plugin_directory = \"/x\"\n"));
    let said = tool::fail(&mut run(&["config", "check", "vault.hcl"]));
    assert!(
        said.contains("vault.hcl: line 4: 'plugin_directory' is not supported"),
        "{said}"
    );
}
