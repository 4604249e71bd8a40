//! Certificates with leases: revoked with the token that they were given to.

use zone_access::{CreateToken, MountKind, Operation};
use zone_pki::{IssueAsk, Issued};
use zone_types::{Secret, Timestamp};

use crate::zone::Zone;

/// A zone whose role `web` gives leases, and whose leases are taken back.
async fn zone() -> Zone {
    let zone = Zone::with_ca().await;
    zone.role("web", |role| role.generate_lease = true)
        .await
        .unwrap();
    zone.lab
        .access
        .end_leases_by(MountKind::Pki, zone.pki.clone());
    zone
}

async fn issue_to(zone: &Zone, token: &Secret<String>) -> Issued {
    let permit = zone
        .lab
        .permit_of(token, Operation::Update, "pki/issue/web")
        .await
        .unwrap();
    let ask = IssueAsk {
        common_name: "b.example.com".into(),
        ..IssueAsk::default()
    };
    zone.pki.issue(&permit, "web", None, &ask).await.unwrap()
}

/// When the certificate was revoked, if it was.
async fn revoked(zone: &Zone, issued: &Issued) -> Option<Timestamp> {
    let read = zone.read("cert/x").await;
    let kept = zone.pki.certificate(&read, &issued.serial).await.unwrap();
    kept.revoked_at
}

#[tokio::test]
async fn s1_a_certificate_and_its_lease_are_one_write_and_end_together() {
    let zone = zone().await;
    // The first one opens a shard.
    zone.issue("web", "first.example.com").await.unwrap();
    let before = zone.lab.store.applies();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    assert_eq!(zone.lab.store.applies(), before + 1);
    let lease = issued.lease.clone().unwrap();
    assert!(lease.id.starts_with("pki/issue/web/") && !lease.renewable);
    assert_eq!(lease.expire_time.unwrap().secs(), issued.not_after.secs());
    assert_eq!(revoked(&zone, &issued).await, None);
    let permit = zone
        .lab
        .permit(Operation::Update, "sys/leases/revoke")
        .await;
    let ended = zone.lab.access.revoke_lease(&permit, &lease.id, true).await;
    ended.unwrap();
    assert!(revoked(&zone, &issued).await.is_some());
}

#[tokio::test]
async fn certificates_are_revoked_when_their_token_is() {
    let zone = zone().await;
    let holder = zone.lab.token(&["root"]).await;
    let issued = issue_to(&zone, &holder.text).await;
    zone.lab
        .access
        .revoke_token(&holder.entry.id)
        .await
        .unwrap();
    zone.lab.settle().await;
    assert!(revoked(&zone, &issued).await.is_some());
}

#[tokio::test]
async fn a_lease_that_runs_out_revokes_nothing_that_has_ended_by_itself() {
    let zone = zone().await;
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    zone.pass(40 * 24 * 3600);
    zone.lab.settle().await;
    assert_eq!(revoked(&zone, &issued).await, None);
    let key = |key: &zone_ports::Key| String::from_utf8_lossy(key.as_bytes()).contains("lease");
    assert!(!zone.lab.store.keys().iter().any(key));
}

/// A batch token cannot be revoked by itself: what it was given ends with its time.
#[tokio::test]
async fn a_batch_token_s_certificate_is_revoked_when_its_time_is_over() {
    let zone = zone().await;
    let policy = r#"path "pki/*" { capabilities = ["update"] }"#;
    zone.lab.policy("pki", policy).await;
    let permit = zone
        .lab
        .permit(Operation::Update, "auth/token/create")
        .await;
    let ask = CreateToken {
        policies: vec!["pki".into()],
        ttl: 60,
        kind: Some(zone_access::TokenKind::Batch),
        ..CreateToken::default()
    };
    let batch = zone.lab.access.create_token(&permit, ask).await.unwrap();
    let issued = issue_to(&zone, &batch.text).await;
    zone.pass(61);
    zone.lab.settle().await;
    assert!(revoked(&zone, &issued).await.is_some());
}

#[tokio::test]
async fn what_is_not_stored_has_no_lease() {
    let zone = zone().await;
    let role = zone.role("short", |role| {
        role.no_store = true;
        role.generate_lease = true;
    });
    role.await.unwrap();
    let issued = zone.issue("short", "a.example.com").await.unwrap();
    assert!(issued.lease.is_none());
}
