//! Revocation and the lists that tell of it.

use std::collections::HashMap;
use std::time::Duration;

use zone_access::Operation;
use zone_pki::{CrlChange, List, Page, PkiError, Revoked, SHARD_SIZE, UrlsChange};
use zone_x509::{Crl, Serial};

use crate::issuing::pki_keys;
use crate::zone::{DAY, Zone, parsed, service};

fn names(list: &List, serial: &Serial) -> bool {
    parsed_list(list)
        .entries()
        .iter()
        .any(|entry| entry.serial == *serial)
}

fn parsed_list(list: &List) -> Crl {
    Crl::from_der(list.der()).unwrap()
}

#[tokio::test]
async fn a_revoked_certificate_stands_on_the_lists_at_the_next_read() {
    let zone = Zone::with_ca().await;
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    let other = zone.issue("web", "b.example.com").await.unwrap();
    let permit = zone.read("crl").await;
    let before = zone.pki.crl(&permit, "default").await.unwrap();
    assert!(!names(&before, &issued.serial));
    let key = issued.issuer.certificate().public_key().unwrap();
    assert!(parsed_list(&before).signed_by(&key));

    let revoked = zone
        .pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    let at = zone_types::Timestamp::from_secs(permit.now().secs());
    assert_eq!(revoked, Revoked::At(at));
    let list = zone.pki.crl(&permit, "default").await.unwrap();
    assert!(names(&list, &issued.serial) && !names(&list, &other.serial));
    assert!(list.number() > before.number());
    assert!(parsed_list(&list).signed_by(&key));

    let stored = zone.pki.certificate(&permit, &issued.serial).await.unwrap();
    assert_eq!(stored.revoked_at, Some(at));
    let shard = zone.pki.crl_shard(&permit, stored.shard).await.unwrap();
    assert!(names(&shard, &issued.serial));
    let chain = zone.pki.crl_chain(&permit).await.unwrap();
    assert!(chain.len() == 1 && names(&chain[0], &issued.serial));
    let listed = zone.permit(Operation::List, "certs/revoked/").await;
    let serials = zone
        .pki
        .revoked_serials(&listed, &Page::default())
        .await
        .unwrap();
    assert_eq!(serials, [issued.serial]);
}

#[tokio::test]
async fn revoking_twice_gives_the_first_time() {
    let zone = Zone::with_ca().await;
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    let first = zone
        .pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    zone.pass(100);
    let again = zone
        .pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    assert_eq!(first, again);
    let pem = parsed(&issued.der).pem();
    let permit = zone.write("revoke").await;
    let (serial, shown) = zone.pki.revoke_certificate(&permit, &pem).await.unwrap();
    assert_eq!((serial, shown), (issued.serial, first));
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused() {
    let zone = Zone::new().await;
    let root = zone.root("root").await.unwrap();
    zone.role("web", |_| {}).await.unwrap();
    let permit = zone.write("revoke").await;
    let unknown = zone
        .pki
        .revoke(&permit, &Serial::from_random([9; 20]))
        .await;
    assert!(matches!(unknown, Err(PkiError::Refused(text)) if text.contains("not found")));
    let own = zone.pki.revoke(&permit, &root.serial).await;
    assert!(matches!(own, Err(PkiError::Refused(text)) if text.contains("root")));
    let foreign = crate::zone::data("elsewhere-issuing.pem");
    assert!(
        zone.pki
            .revoke_certificate(&permit, &foreign)
            .await
            .is_err()
    );
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    zone.pass(2 * DAY);
    let late = zone
        .pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    assert_eq!(late, Revoked::Expired(issued.not_after));
}

#[tokio::test]
async fn a_certificate_that_was_not_stored_is_revoked_by_showing_it() {
    let zone = Zone::with_ca().await;
    zone.pki
        .set_urls(&zone.write("config/urls").await, &sharded())
        .await
        .unwrap();
    zone.role("short", |role| role.no_store = true)
        .await
        .unwrap();
    let issued = zone.issue("short", "a.example.com").await.unwrap();
    let permit = zone.write("revoke").await;
    let pem = parsed(&issued.der).pem();
    zone.pki.revoke_certificate(&permit, &pem).await.unwrap();
    let stored = zone.pki.certificate(&permit, &issued.serial).await.unwrap();
    assert!(stored.shard > 0 && stored.revoked_at.is_some());
    let shard = zone.pki.crl_shard(&permit, stored.shard).await.unwrap();
    assert!(names(&shard, &issued.serial));
}

fn sharded() -> UrlsChange {
    UrlsChange {
        crl_distribution_points: Some(vec!["https://h/v1/pki/crl/shard/{{shard}}".into()]),
        enable_templating: Some(true),
        ..UrlsChange::default()
    }
}

#[tokio::test]
async fn a_shards_list_says_what_it_covers() {
    let zone = Zone::with_ca().await;
    let plain = zone.issue("web", "a.example.com").await.unwrap();
    zone.pki
        .set_urls(&zone.write("config/urls").await, &sharded())
        .await
        .unwrap();
    let named = zone.issue("web", "b.example.com").await.unwrap();
    let permit = zone.read("crl").await;
    let shard_of = async |serial| zone.pki.certificate(&permit, serial).await.unwrap().shard;
    let (first, second) = (shard_of(&plain.serial).await, shard_of(&named.serial).await);
    assert_ne!(first, second, "new distribution points begin a new shard");
    let scope = async |shard| {
        parsed_list(&zone.pki.crl_shard(&permit, shard).await.unwrap()).distribution_points()
    };
    assert_eq!(
        scope(second).await,
        parsed(&named.der).crl_distribution_points()
    );
    assert!(scope(first).await[0].starts_with("urn:zonehead:crl:"));
    let complete = zone.pki.crl(&permit, "default").await.unwrap();
    assert!(parsed_list(&complete).distribution_points().is_empty());
    assert!(matches!(
        zone.pki.crl_shard(&permit, 99).await,
        Err(PkiError::NotFound)
    ));
}

#[tokio::test]
async fn a_full_shard_closes() {
    let zone = Zone::with_ca().await;
    let first = zone.issue("web", "a.example.com").await.unwrap();
    let permit = zone.read("cert/x").await;
    let shard = zone
        .pki
        .certificate(&permit, &first.serial)
        .await
        .unwrap()
        .shard;
    // As if all places but one block had been given out, and the head restarted.
    let cursor = permit
        .mount()
        .key("shard-cursor", &first.issuer.record().id)
        .unwrap();
    let stored = format!(
        r#"{{"v":1,"r":{{"shard":{shard},"reserved":{}}}}}"#,
        SHARD_SIZE - 1024
    );
    let batch = zone_barrier::Batch::new().put(cursor, stored);
    zone.lab.barrier.commit(batch).await.unwrap();
    let pki = service(&zone.lab);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    let write = zone.write("issue/web").await;
    let ask = zone_pki::IssueAsk {
        common_name: "a.example.com".into(),
        ..Default::default()
    };
    for _ in 0..1025 {
        let issued = pki.issue(&write, "web", None, &ask).await.unwrap();
        let stored = pki.certificate(&permit, &issued.serial).await.unwrap();
        *counts.entry(stored.shard).or_default() += 1;
    }
    assert_eq!(counts, HashMap::from([(shard, 1024), (shard + 1, 1)]));
}

#[tokio::test]
async fn c2_a_revocation_costs_the_same_however_many_there_are() {
    let zone = Zone::with_ca().await;
    let mut serials = Vec::new();
    for _ in 0..300 {
        serials.push(zone.issue("web", "a.example.com").await.unwrap().serial);
    }
    let permit = zone.write("revoke").await;
    let mut costs = Vec::new();
    for serial in &serials {
        let (applies, keys) = (zone.lab.store.applies(), pki_keys(&zone));
        zone.pki.revoke(&permit, serial).await.unwrap();
        costs.push((zone.lab.store.applies() - applies, pki_keys(&zone) - keys));
    }
    // One group; one record, and a mark where there was none yet.
    assert!(costs.iter().all(|(applies, _)| *applies == 1), "{costs:?}");
    assert!(
        costs[4..].iter().skip(20).all(|(_, keys)| *keys == 1),
        "{costs:?}"
    );
    assert!(costs.iter().all(|(_, keys)| *keys <= 2), "{costs:?}");
    let list = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert_eq!(list.entries(), 300);
}

#[tokio::test]
async fn a_clean_list_is_served_again_and_an_old_one_is_made_anew() {
    let zone = Zone::with_ca().await;
    zone.issue("web", "a.example.com").await.unwrap();
    let first = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    zone.pass(3600);
    let again = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert_eq!(again.number(), first.number());
    zone.pass(60 * 3600);
    let renewed = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(
        renewed.number() > first.number(),
        "less than the grace period was left"
    );
    zone.pki
        .rotate_crls(&zone.read("crl/rotate").await)
        .await
        .unwrap();
    let rotated = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(rotated.number() > renewed.number());
}

#[tokio::test]
async fn dirty_lists_are_rebuilt_once_a_second_but_the_chain_always() {
    let zone = Zone::with_ca().await;
    let mut numbers = Vec::new();
    let mut last = None;
    for _ in 0..30 {
        let issued = zone.issue("web", "a.example.com").await.unwrap();
        zone.pki
            .revoke(&zone.write("revoke").await, &issued.serial)
            .await
            .unwrap();
        numbers.push(
            zone.pki
                .crl(&zone.read("crl").await, "default")
                .await
                .unwrap()
                .number(),
        );
        last = Some(issued.serial);
    }
    numbers.dedup();
    assert!((10..=13).contains(&numbers.len()), "{}", numbers.len());
    let last = last.unwrap();
    let stale = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(!names(&stale, &last));
    let chain = zone
        .pki
        .crl_chain(&zone.read("crl/chain").await)
        .await
        .unwrap();
    assert!(names(&chain[0], &last));
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    zone.pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    zone.pass(2);
    let later = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(names(&later, &issued.serial));
}

#[tokio::test]
async fn numbers_grow_across_a_restart_and_with_a_clock_set_back() {
    let zone = Zone::with_ca().await;
    let permit = zone.read("crl").await;
    let first = zone.pki.crl(&permit, "default").await.unwrap().number();
    let now = permit.now();
    zone.lab.clock.set(now.minus(Duration::from_secs(3600)));
    let second = service(&zone.lab)
        .crl(&permit, "default")
        .await
        .unwrap()
        .number();
    let third = service(&zone.lab)
        .crl(&permit, "default")
        .await
        .unwrap()
        .number();
    assert!(first < second && second < third);
}

#[tokio::test]
async fn an_expired_certificate_leaves_the_list_one_list_later() {
    let zone = Zone::with_ca().await;
    let change = CrlChange {
        expiry_secs: Some(DAY),
        ..CrlChange::default()
    };
    zone.pki
        .set_crl_config(&zone.write("config/crl").await, &change)
        .await
        .unwrap();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    zone.pki
        .revoke(&zone.write("revoke").await, &issued.serial)
        .await
        .unwrap();
    zone.pass(DAY + DAY / 2);
    let list = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(names(&list, &issued.serial));
    zone.pass(DAY);
    let list = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(!names(&list, &issued.serial));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_revoke_at_once_and_all_stand_on_the_list() {
    let zone = Zone::with_ca().await;
    let mut tasks = Vec::new();
    for _ in 0..64 {
        let issued = zone.issue("web", "a.example.com").await.unwrap();
        let (pki, permit) = (zone.pki.clone(), zone.write("revoke").await);
        tasks.push(tokio::spawn(async move {
            pki.revoke(&permit, &issued.serial).await.unwrap();
            issued.serial
        }));
    }
    let mut serials = Vec::new();
    for task in tasks {
        serials.push(task.await.unwrap());
    }
    let list = zone
        .pki
        .crl(&zone.read("crl").await, "default")
        .await
        .unwrap();
    assert!(serials.iter().all(|serial| names(&list, serial)));
}
