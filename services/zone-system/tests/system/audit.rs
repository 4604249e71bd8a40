//! Audit devices: what may be enabled, what may not, and what a failure leaves.

use zone_audit::AuditError;
use zone_system::{AuditTarget, NewDevice, StreamTarget, SystemError};
use zone_testkit::Fault;

use crate::common::{Head, Keys, said};

/// Names of the devices, as `sys/audit` lists them.
async fn names(head: &Head, keys: &Keys) -> Vec<String> {
    let permit = head.permit(keys).await;
    let devices = head.system.audit_devices(&permit).await.unwrap();
    devices.into_iter().map(|device| device.path).collect()
}

async fn enable(head: &Head, keys: &Keys, name: &str, file: &str) -> Result<(), SystemError> {
    let permit = head.permit(keys).await;
    head.system
        .enable_audit(&permit, &NewDevice::file(name, file, ""))
        .await
}

async fn disable(head: &Head, keys: &Keys, name: &str) -> Result<(), SystemError> {
    let permit = head.permit(keys).await;
    head.system.disable_audit(&permit, name).await
}

#[tokio::test]
async fn a1_every_zone_begins_with_a_device_and_the_last_one_stays() {
    let (head, keys) = Head::unsealed().await;
    assert_eq!(names(&head, &keys).await, ["file"]);
    let refused = said(disable(&head, &keys, "file").await);
    assert!(refused.contains("enable another one first"), "{refused}");
    head.record("a").await.unwrap();

    enable(&head, &keys, "second", "/zone/audit/2.log")
        .await
        .unwrap();
    head.record("b").await.unwrap();
    disable(&head, &keys, "file").await.unwrap();
    assert_eq!(names(&head, &keys).await, ["second"]);
    head.record("c").await.unwrap();
    assert!(said(disable(&head, &keys, "second").await).contains("last"));
    disable(&head, &keys, "never-there").await.unwrap();

    let lines = |name: &str| std::fs::read_to_string(head.logs().join(name)).unwrap();
    let (first, second) = (lines("audit.log"), lines("2.log"));
    for (path, one, two) in [("a", true, false), ("b", true, true), ("c", false, true)] {
        let path = format!("\"path\":\"{path}\"");
        assert_eq!((first.contains(&path), second.contains(&path)), (one, two));
    }
    // After the next unseal it is the same.
    head.system.close().await;
    head.open(&keys).await;
    assert_eq!(names(&head, &keys).await, ["second"]);
    head.record("d").await.unwrap();
    assert!(lines("2.log").contains("\"path\":\"d\""));
}

#[tokio::test]
async fn a_device_shows_its_key_and_hashes_under_its_own() {
    let (head, keys) = Head::unsealed().await;
    enable(&head, &keys, "second", "/zone/audit/2.log")
        .await
        .unwrap();
    let permit = head.permit(&keys).await;
    let devices = head.system.audit_devices(&permit).await.unwrap();
    assert_eq!(devices[0].description, "built in: every zone has one");
    assert_eq!(
        devices[1].target.options()["file_path"],
        "/zone/audit/2.log"
    );
    assert_ne!(devices[0].public_key, devices[1].public_key);
    let hash = |name: &str| head.system.audit_hash(&permit, name, "value").unwrap();
    let (one, two) = (hash("file").unwrap(), hash("second/").unwrap());
    assert!(one.starts_with("hmac-sha256:") && one != two);
    assert_eq!(hash("third"), None);
    head.system.close().await;
    head.open(&keys).await;
    let permit = head.permit(&keys).await;
    let again = head.system.audit_hash(&permit, "file", "value").unwrap();
    assert_eq!(
        again,
        Some(one),
        "a value can be searched for across unseals"
    );
}

#[tokio::test]
async fn names_and_places_are_judged() {
    let (head, keys) = Head::unsealed().await;
    std::fs::write(head.logs().join("script.sh"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink(head.disk.path(), head.logs().join("link")).unwrap();
    let long = "n".repeat(65);
    for name in ["", "a b", "a/b", "../a", "ä", "a.b", &long] {
        let text = said(enable(&head, &keys, name, "/zone/audit/2.log").await);
        assert!(text.contains("letters, digits"), "{name:?}: {text}");
    }
    for (file, why) in [
        ("2.log", "absolute"),
        ("", "absolute"),
        ("stdout", "absolute"),
        ("/zone/closed/2.log", "configured directories only"),
        ("/zone/audit/../closed/2.log", "configured directories only"),
        (
            "/zone/audit/link/closed/2.log",
            "configured directories only",
        ),
        ("/etc/passwd", "configured directories only"),
        ("/dev/null", "configured directories only"),
        ("/zone/audit/none/2.log", "No such file"),
        ("/zone/audit/script.sh", "not an audit file"),
        (
            "/zone/audit/audit.log",
            "another audit device writes that file",
        ),
        ("/zone/audit/../audit/audit.log", "cannot be opened"),
    ] {
        let text = said(enable(&head, &keys, "second", file).await);
        assert!(text.contains(why), "{file:?}: {text}");
    }
    let taken = said(enable(&head, &keys, "file", "/zone/audit/2.log").await);
    assert_eq!(taken, "path already in use");
    let permit = head.permit(&keys).await;
    let text = "d".repeat(1025);
    let wordy = head
        .system
        .enable_audit(
            &permit,
            &NewDevice::file("second", "/zone/audit/2.log", &text),
        )
        .await;
    assert!(said(wordy).contains("'description'"));
    assert_eq!(names(&head, &keys).await, ["file"], "nothing was stored");
    assert!(!head.logs().join("2.log").exists());
    assert!(
        std::fs::read_dir(head.disk.path().join("closed"))
            .unwrap()
            .next()
            .is_none()
    );
    assert_eq!(
        std::fs::read(head.logs().join("script.sh")).unwrap(),
        b"#!/bin/sh\n"
    );
}

#[tokio::test]
async fn a_file_with_lines_of_another_device_is_refused() {
    let (head, keys) = Head::unsealed().await;
    enable(&head, &keys, "second", "/zone/audit/2.log")
        .await
        .unwrap();
    disable(&head, &keys, "second").await.unwrap();
    let kept = std::fs::read(head.logs().join("2.log")).unwrap();
    let text = said(enable(&head, &keys, "second", "/zone/audit/2.log").await);
    assert!(text.contains("name a new file"), "{text}");
    assert_eq!(std::fs::read(head.logs().join("2.log")).unwrap(), kept);
    enable(&head, &keys, "second", "/zone/audit/3.log")
        .await
        .unwrap();
}

#[tokio::test]
async fn there_are_sixteen_devices_at_most() {
    let (head, keys) = Head::unsealed().await;
    for at in 1..16 {
        enable(
            &head,
            &keys,
            &format!("d{at}"),
            &format!("/zone/audit/{at}.log"),
        )
        .await
        .unwrap();
    }
    let text = said(enable(&head, &keys, "more", "/zone/audit/more.log").await);
    assert!(text.contains("16"), "{text}");
    head.system.close().await;
    head.open(&keys).await;
    assert_eq!(names(&head, &keys).await.len(), 16);
}

#[tokio::test]
async fn a_device_whose_record_cannot_be_stored_does_not_run() {
    let (head, keys) = Head::unsealed().await;
    head.store.fail_at(1, Fault::Full);
    let failed = enable(&head, &keys, "second", "/zone/audit/2.log").await;
    assert!(matches!(failed, Err(SystemError::Barrier(_))), "{failed:?}");
    assert_eq!(head.broker.list().len(), 1);
    assert_eq!(names(&head, &keys).await, ["file"]);
    head.record("a").await.unwrap();

    enable(&head, &keys, "second", "/zone/audit/3.log")
        .await
        .unwrap();
    // A removal that is not stored: the device comes back with the next round.
    head.store.fail_at(1, Fault::Full);
    assert!(disable(&head, &keys, "second").await.is_err());
    assert_eq!(names(&head, &keys).await, ["file", "second"]);
    head.system.round(true).await.unwrap();
    assert_eq!(head.broker.list().len(), 2);
}

#[tokio::test]
async fn a1_a_device_that_cannot_start_stops_requests_until_it_does() {
    let (head, keys) = Head::unsealed().await;
    head.system.close().await;
    let away = head.disk.path().join("away");
    std::fs::rename(head.logs(), &away).unwrap();
    head.open(&keys).await;
    assert!(matches!(head.record("a").await, Err(AuditError::NoDevice)));
    head.system.round(true).await.unwrap();
    assert!(head.record("a").await.is_err());
    std::fs::rename(&away, head.logs()).unwrap();
    head.system.round(false).await.unwrap();
    assert!(head.record("a").await.is_err());
    head.system.round(true).await.unwrap();
    head.record("b").await.unwrap();
    let log = std::fs::read_to_string(head.log()).unwrap();
    assert!(log.contains("\"path\":\"b\"") && !log.contains("\"path\":\"a\""));
}

#[tokio::test]
async fn a_device_that_never_started_can_be_disabled_beside_one_that_runs() {
    let (head, keys) = Head::unsealed().await;
    enable(&head, &keys, "second", "/zone/audit/2.log")
        .await
        .unwrap();
    head.system.close().await;
    std::fs::write(head.log(), "rubbish\n").unwrap();
    head.open(&keys).await;
    assert_eq!(names(&head, &keys).await, ["file", "second"]);
    assert_eq!(head.broker.list().len(), 1);
    head.record("a").await.unwrap();
    assert!(said(disable(&head, &keys, "second").await).contains("last working"));
    disable(&head, &keys, "file").await.unwrap();
    assert_eq!(names(&head, &keys).await, ["second"]);
}

fn to_socket(name: &str, address: &str, acknowledge: bool) -> NewDevice {
    let target = StreamTarget::socket(address, Some("unix"), None, acknowledge).unwrap();
    NewDevice {
        target: AuditTarget::Stream(target),
        ..NewDevice::file(name, "", "")
    }
}

#[tokio::test]
async fn a1_a_socket_counts_only_where_it_acknowledges() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let away = to_socket("away", "/zone/audit/none", false);
    let text = said(head.system.enable_audit(&permit, &away).await);
    assert!(text.contains("No such file"), "{text}");
    let place = to_socket("place", "/etc/none", false);
    let text = said(head.system.enable_audit(&permit, &place).await);
    assert!(text.contains("not among the allowed receivers"), "{text}");

    let path = head.logs().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let plain = to_socket("plain", "/zone/audit/socket", false);
    head.system.enable_audit(&permit, &plain).await.unwrap();
    assert!(said(disable(&head, &keys, "file").await).contains("last"));
    disable(&head, &keys, "plain").await.unwrap();
    drop(listener.accept().unwrap());

    let sure = to_socket("sure", "/zone/audit/socket", true);
    head.system.enable_audit(&permit, &sure).await.unwrap();
    let receiver = std::thread::spawn(move || answer_each(&listener));
    disable(&head, &keys, "file").await.unwrap();
    head.record("kept-elsewhere").await.unwrap();
    assert!(said(disable(&head, &keys, "sure").await).contains("last"));
    // After the next unseal it is the same.
    head.system.close().await;
    head.open(&keys).await;
    assert_eq!(names(&head, &keys).await, ["sure"]);
    head.record("last-one").await.unwrap();
    let seen = receiver.join().unwrap();
    assert!(seen[0].contains("\"path\":\"kept-elsewhere\""), "{seen:?}");
    let log = std::fs::read_to_string(head.log()).unwrap();
    assert!(!log.contains("kept-elsewhere"));
}

/// Answers each line with its number, until one holds `last-one`.
fn answer_each(listener: &std::os::unix::net::UnixListener) -> Vec<String> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut seen = Vec::new();
    loop {
        let (stream, _) = listener.accept().unwrap();
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let line = line.unwrap();
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            writeln!(&stream, "{}", json["stream"]["seq"]).unwrap();
            let last = line.contains("last-one");
            seen.push(line);
            if last {
                return seen;
            }
        }
    }
}
