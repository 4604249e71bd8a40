//! Audit devices that fail: full, gone, away, hung. The stated behaviour, no hang, and service
//! again without a restart.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use zone_e2e::{Api, Config, Head, Place, tool};

/// A head whose `[audit]` table has these lines, a root client and one of an ordinary token.
async fn zone(place: Arc<Place>) -> (Head, Api, Api) {
    let (head, keys) = Head::unsealed_at(place).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    let policy = r#"path "secret/*" { capabilities = ["create", "read", "update"] }"#;
    root.put("sys/policies/acl/app", &json!({ "policy": policy }))
        .await
        .expect(204);
    let made = root
        .put("auth/token/create", &json!({ "policies": ["app"] }))
        .await
        .expect(200);
    let token = made.json()["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let app = head.with_token(&token);
    write(&app).await.expect(200);
    (head, root, app)
}

async fn write(api: &Api) -> zone_e2e::Answer {
    api.put("secret/data/x", &json!({ "data": { "v": "1" } }))
        .await
}

fn audit(lines: &str) -> Config {
    Config {
        audit: lines.to_owned(),
        ..Config::default()
    }
}

/// A file system of its own, of few MiB. Unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = tool::program("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "none"])
            .arg(&at);
        // As root, like `cargo xtask setup`.
        tool::succeed(&mut mount);
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        tool::run(tool::program("umount").arg("--lazy").arg(&self.0));
    }
}

fn fill(directory: &Path) -> PathBuf {
    let hog = directory.join("hog");
    let full = std::fs::write(&hog, vec![1; 16 * 1024 * 1024]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    hog
}

#[tokio::test]
async fn a_full_disk_stops_all_but_operators_until_there_is_room() {
    let place = Place::new();
    let small = Small::mount(place.file("small"));
    place.configure(&audit(&format!(
        "directories = [\"{}\"]",
        small.0.display()
    )));
    let (head, root, app) = zone(place).await;
    let hog = fill(&small.0);
    // What was set aside ahead of the lines is used up first.
    let mut refused = write(&app).await;
    for _ in 0..5_000 {
        if refused.status != 200 {
            break;
        }
        refused = write(&app).await;
    }
    refused.refused(500, "could not be audited");
    // By the reserve an operator can log in, look and act.
    let devices = root.get("sys/audit").await.expect(200).data();
    assert_eq!(devices["file/"]["type"], "file");
    root.put(
        "sys/policies/acl/more",
        &json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" }),
    )
    .await
    .expect(204);
    write(&app).await.refused(500, "could not be audited");
    let metrics = root
        .get("sys/metrics?format=prometheus")
        .await
        .expect(200)
        .text();
    assert!(
        metrics.contains("zonehead_audit_devices{state="),
        "{metrics}"
    );
    std::fs::remove_file(hog).unwrap();
    write(&app).await.expect(200);
    let log = std::fs::read_to_string(small.0.join("audit.log")).unwrap();
    assert!(log.ends_with('\n') && log.contains("sys/policies/acl/more"));
    drop(head);
}

#[tokio::test]
async fn a_directory_that_is_gone_stops_service_until_it_is_back() {
    let place = Place::new();
    let logs = place.file("logs");
    place.configure(&audit(&format!("directories = [\"{}\"]", logs.display())));
    let (head, root, app) = zone(place).await;
    std::fs::remove_dir_all(&logs).unwrap();
    // Whatever was open is deleted; the next lines have nowhere to go.
    write(&app).await.refused(500, "could not be audited");
    root.get("sys/audit")
        .await
        .refused(500, "could not be audited");
    head.lives().await;
    std::fs::create_dir(&logs).unwrap();
    write(&app).await.expect(200);
    let log = std::fs::read_to_string(logs.join("audit.log")).unwrap();
    assert!(
        log.starts_with("{\"time\":") && log.contains("\"reason\":\"failure\""),
        "{log}"
    );
    root.get("sys/audit").await.expect(200);
}

#[tokio::test]
async fn one_device_that_is_gone_costs_nothing_while_another_works() {
    let place = Place::new();
    let [first, second] = ["first", "second"].map(|name| place.file(name));
    let both = format!(
        "directories = [\"{}\", \"{}\"]",
        first.display(),
        second.display()
    );
    place.configure(&audit(&both));
    let (head, root, app) = zone(place).await;
    let file = second.join("2.log");
    let ask = json!({ "type": "file", "options": { "file_path": file } });
    root.put("sys/audit/second", &ask).await.expect(204);
    std::fs::remove_dir_all(&first).unwrap();
    for _ in 0..20 {
        write(&app).await.expect(200);
    }
    let log = std::fs::read_to_string(&file).unwrap();
    assert_eq!(log.matches("\"type\":\"request\"").count(), 20);
    head.lives().await;
}

#[tokio::test]
async fn a_syslog_that_is_away_costs_nothing_and_gets_its_lines_when_it_is_back() {
    let place = Place::new();
    let path = place.file("log");
    place.configure(&audit(&format!("receivers = [\"{}\"]", path.display())));
    let (head, root, app) = zone(place).await;
    let options = json!({ "address": path, "facility": "LOCAL0", "tag": "zone" });
    let ask = json!({ "type": "syslog", "options": options });
    root.put("sys/audit/syslog", &ask)
        .await
        .refused(400, "No such file");
    let mut anyway = ask.clone();
    anyway["options"]["skip_test"] = "true".into();
    root.put("sys/audit/syslog", &anyway).await.expect(204);
    write(&app).await.expect(200);
    root.delete("sys/audit/file").await.refused(400, "last");
    for round in ["first", "second"] {
        let log = UnixDatagram::bind(&path).unwrap();
        log.set_read_timeout(Some(zone_e2e::LIMIT)).unwrap();
        let marked = app.get(&format!("secret/data/{round}")).await;
        assert_eq!(marked.status, 404);
        let path_of = |line: &Value| line["request"]["path"].as_str().map(str::to_owned);
        loop {
            let mut buffer = vec![0; 64 * 1024];
            let length = log.recv(&mut buffer).unwrap();
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            let (head, line) = text.split_once(": ").unwrap();
            assert!(head.starts_with("<134>zone["), "{head}");
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line.get("chain").is_none() && line["stream"]["device"] == "syslog");
            if path_of(&line) == Some(format!("secret/data/{round}")) {
                break;
            }
        }
        drop(log);
        std::fs::remove_file(&path).unwrap();
        write(&app).await.expect(200);
    }
    head.lives().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place::with(&audit(&format!("receivers = [\"{address}\"]")));
    let (head, root, app) = zone(place).await;
    let options = json!({ "address": address, "write_timeout": "1s" });
    root.put(
        "sys/audit/socket",
        &json!({ "type": "socket", "options": options }),
    )
    .await
    .expect(204);
    // Taken, and never read from.
    let hung = listener.accept().unwrap();
    let large = json!({ "data": { "v": "x".repeat(200), "w": (0..400).collect::<Vec<_>>() } });
    for _ in 0..1_500 {
        app.put("secret/data/large", &large).await.expect(200);
    }
    root.delete("sys/audit/file").await.refused(400, "last");
    let listed = root.get("sys/audit").await.expect(200).data();
    assert_eq!(listed["socket/"]["options"]["write_timeout"], "1s");
    drop(hung);
    // The device comes back by itself and goes on where it was.
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(zone_e2e::LIMIT)).unwrap();
    app.get("secret/data/afterwards").await;
    let mut last = 0;
    for line in BufReader::new(stream).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let seq = line["stream"]["seq"].as_u64().unwrap();
        assert!(seq > last, "in order");
        last = seq;
        if line["request"]["path"] == "secret/data/afterwards" {
            break;
        }
    }
    head.lives().await;
}
