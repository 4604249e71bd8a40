//! A dev zone inside a test.

use std::net::Ipv4Addr;

use super::*;
use crate::logging::Logging;

/// A dev zone on a free port, over a directory of the test.
pub(super) struct TestZone {
    pub(super) zone: DevZone,
    head: Head,
    serving: Serving,
}

impl TestZone {
    pub(super) async fn start(directory: &Path) -> Self {
        let place = Place::open(Some(directory.to_owned())).unwrap();
        let settings = Settings::for_dev(&place.path, (Ipv4Addr::LOCALHOST, 0).into());
        let head = wiring::assemble(&settings, Logging::silent())
            .await
            .unwrap();
        let serving = Serving::start(&head, &settings).await.unwrap();
        let address = serving.addresses()[0];
        let zone = prepare(&head, &serving, &place, address).await.unwrap();
        Self {
            zone,
            head,
            serving,
        }
    }

    pub(super) async fn stop(self) {
        // Its connection is kept open; a drain would wait for it.
        drop(self.zone);
        self.serving.drain().await;
        self.head.close().await;
    }
}

#[tokio::test]
async fn everything_is_written_below_the_directory_and_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let zone = TestZone::start(&directory.path().join("a b")).await;
    for secret in [
        "token",
        "unseal-key",
        "env",
        "audit/audit.log",
        "data/zone.redb",
    ] {
        let file = zone.zone.directory.join(secret);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{secret}");
    }
    let env = std::fs::read_to_string(zone.zone.directory.join("env")).unwrap();
    assert!(
        env.contains("/a b/ca.pem'\n"),
        "one word for the shell: {env}"
    );
    zone.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_half_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    TestZone::start(directory.path()).await.stop().await;
    std::fs::remove_file(directory.path().join("unseal-key")).unwrap();
    let place = Place::open(Some(directory.path().to_owned())).unwrap();
    let error = place.read("unseal-key").unwrap_err().to_string();
    assert!(error.contains("half made"), "{error}");
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let error = address_of(Some("0.0.0.0:0".parse().unwrap()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    let loopback = "[::1]:1".parse().unwrap();
    assert_eq!(address_of(Some(loopback)).await.unwrap(), loopback);
}
