//! `issue` and `sign` from end to end.

use std::collections::HashSet;
use std::time::Duration;

use zone_access::Operation;
use zone_pki::{IssueAsk, IssuerChange, LeafNotAfter, Page, PkiError, Role, UrlsChange};
use zone_x509::{AltName, KeyUsage, Purpose, Serial};

use crate::zone::{DAY, Zone, data, parsed, service, signed_by};

#[tokio::test]
async fn a_certificate_is_issued_stored_and_found() {
    let zone = Zone::with_ca().await;
    let issued = zone.issue("web", "A.example.com").await.unwrap();
    let leaf = parsed(&issued.der);
    assert!(signed_by(&leaf, issued.issuer.certificate()));
    assert_eq!(
        leaf.alternative_names(),
        [AltName::Dns("a.example.com".into())]
    );
    assert_eq!(leaf.subject_fields().common_name, "a.example.com");
    assert_eq!(
        leaf.purposes(),
        [Purpose::SERVER_AUTH, Purpose::CLIENT_AUTH]
    );
    assert_eq!(leaf.authority(), None);
    assert_eq!(
        leaf.key_usage(),
        Some(KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_AGREEMENT)
    );
    assert_eq!(
        leaf.spki_der(),
        issued.private_key.as_ref().unwrap().public_key_spki_der()
    );
    assert_eq!(
        leaf.authority_key_id(),
        issued.issuer.certificate().key_id()
    );
    assert!(leaf.serial().as_bytes().len() == 20);

    let permit = zone.read("cert/x").await;
    let stored = zone.pki.certificate(&permit, &issued.serial).await.unwrap();
    assert_eq!((stored.der, stored.revoked_at), (issued.der, None));
    let unknown = Serial::from_random([7; 20]);
    assert!(matches!(
        zone.pki.certificate(&permit, &unknown).await,
        Err(PkiError::NotFound)
    ));
}

#[tokio::test]
async fn every_key_type_issues_and_signs() {
    let zone = Zone::with_ca().await;
    for (key_type, bits) in [
        ("rsa", 2048),
        ("ec", 256),
        ("ec", 384),
        ("ec", 521),
        ("ed25519", 0),
    ] {
        zone.role("any", |role| {
            role.key_type = key_type.into();
            role.key_bits = bits;
        })
        .await
        .unwrap();
        let issued = zone.issue("any", "a.example.com").await.unwrap();
        let key = issued.private_key.unwrap();
        assert_eq!(key.algorithm().family(), key_type);
        if bits != 0 {
            assert_eq!(key.algorithm().bits(), bits);
        }
    }
    zone.role("any", |role| role.key_type = "any".into())
        .await
        .unwrap();
    for csr in ["plain", "p384", "rsa2048", "ed25519"] {
        let issued = zone
            .sign("any", &data(&format!("{csr}.csr")))
            .await
            .unwrap();
        assert!(
            signed_by(&parsed(&issued.der), issued.issuer.certificate()),
            "{csr}"
        );
        assert!(issued.private_key.is_none());
    }
    let error = zone
        .issue("any", "a.example.com")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("only signing"), "{error}");
}

#[tokio::test]
async fn an_rsa_root_signs_too() {
    let zone = Zone::new().await;
    let mut ask = crate::zone::root_ask("rsa");
    ask.key_type = None;
    zone.pki
        .generate_root(&zone.write("root/generate/internal").await, &ask)
        .await
        .unwrap();
    zone.role("web", |_| {}).await.unwrap();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    assert!(signed_by(&parsed(&issued.der), issued.issuer.certificate()));
}

#[tokio::test]
async fn refusals_are_precise() {
    let zone = Zone::with_ca().await;
    let refusal =
        async |role: &str, name: &str| zone.issue(role, name).await.unwrap_err().to_string();
    assert_eq!(refusal("nope", "a.example.com").await, "unknown role: nope");
    assert_eq!(
        refusal("web", "evil.org").await,
        "common name evil.org not allowed by this role"
    );
    zone.role("lost", |role| role.issuer_ref = "gone".into())
        .await
        .unwrap();
    assert!(refusal("lost", "a.example.com").await.contains("gone"));
    let permit = zone.write("issuer/nope/issue/web").await;
    let ask = IssueAsk {
        common_name: "a.example.com".into(),
        ..IssueAsk::default()
    };
    let error = zone
        .pki
        .issue(&permit, "../x", None, &ask)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "unknown role: ../x");
    let error = zone
        .pki
        .issue(&permit, "web", Some("nope"), &ask)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("unable to find PKI issuer"),
        "{error}"
    );

    let empty = Zone::new().await;
    empty.role("web", |_| {}).await.unwrap();
    assert!(matches!(
        empty.issue("web", "a.example.com").await,
        Err(PkiError::NoIssuer)
    ));
}

#[tokio::test]
async fn c1_a_leaf_ends_with_its_issuer() {
    let zone = Zone::with_ca().await;
    zone.role("long", |role| role.max_ttl = 0).await.unwrap();
    let ask = IssueAsk {
        common_name: "a.example.com".into(),
        ttl: Some(Duration::from_secs(31 * DAY)),
        ..IssueAsk::default()
    };
    let permit = zone.write("issue/long").await;
    let error = zone
        .pki
        .issue(&permit, "long", None, &ask)
        .await
        .unwrap_err()
        .to_string();
    let end = zone
        .pki
        .issuer(&permit, "default")
        .await
        .unwrap()
        .certificate()
        .not_after();
    assert!(error.contains(&end.to_string()), "{error}");

    let change = IssuerChange {
        leaf_not_after: Some(LeafNotAfter::Truncate),
        ..IssuerChange::default()
    };
    zone.pki
        .update_issuer(&permit, "root", &change)
        .await
        .unwrap();
    let issued = zone.pki.issue(&permit, "long", None, &ask).await.unwrap();
    assert_eq!(issued.not_after, end);
    assert_eq!(parsed(&issued.der).not_after(), end);

    zone.pass(31 * DAY);
    let error = zone
        .issue("web", "a.example.com")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("expired"), "{error}");
}

#[tokio::test]
async fn roles_are_written_patched_listed_and_removed() {
    let zone = Zone::with_ca().await;
    let permit = zone.write("roles/web").await;
    let patched = zone
        .pki
        .patch_role(&permit, "web", |role: &mut Role| {
            role.allow_subdomains = false;
            Ok::<(), PkiError>(())
        })
        .await
        .unwrap();
    assert_eq!(patched.key_type, "ec");
    assert!(
        zone.issue("web", "a.example.com").await.is_err(),
        "the change counts at once"
    );
    zone.role("b", |_| {}).await.unwrap();
    assert_eq!(zone.pki.role_names(&permit).await.unwrap(), ["b", "web"]);
    zone.pki.delete_role(&permit, "web").await.unwrap();
    assert!(matches!(
        zone.pki.role(&permit, "web").await,
        Err(PkiError::NotFound)
    ));
    let patch = zone
        .pki
        .patch_role(&permit, "web", |_: &mut Role| Ok::<(), PkiError>(()))
        .await;
    assert!(matches!(patch, Err(PkiError::NotFound)));
}

#[tokio::test]
async fn all_serials_are_listed_page_by_page() {
    let zone = Zone::with_ca().await;
    for _ in 0..25 {
        zone.issue("web", "a.example.com").await.unwrap();
    }
    let permit = zone.permit(Operation::List, "certs/").await;
    let all = zone.pki.serials(&permit, &Page::default()).await.unwrap();
    assert_eq!(all.len(), 26, "with the root");
    let mut paged = Vec::new();
    loop {
        let page = Page {
            after: paged.last().cloned(),
            limit: 10,
        };
        let more = zone.pki.serials(&permit, &page).await.unwrap();
        if more.is_empty() {
            break;
        }
        paged.extend(more);
    }
    assert_eq!(paged, all);
}

#[tokio::test]
async fn no_store_issues_without_a_record() {
    let zone = Zone::with_ca().await;
    zone.role("short", |role| role.no_store = true)
        .await
        .unwrap();
    let issued = zone.issue("short", "a.example.com").await.unwrap();
    let permit = zone.read("cert/x").await;
    assert!(zone.pki.certificate(&permit, &issued.serial).await.is_err());
}

#[tokio::test]
async fn s1_issuing_is_one_write() {
    let zone = Zone::with_ca().await;
    zone.issue("web", "a.example.com").await.unwrap();
    let (applies, keys) = (zone.lab.store.applies(), pki_keys(&zone));
    zone.issue("web", "b.example.com").await.unwrap();
    assert_eq!(zone.lab.store.applies(), applies + 1);
    assert_eq!(pki_keys(&zone), keys + 1);
}

pub(crate) fn pki_keys(zone: &Zone) -> usize {
    let keys = zone.lab.store.keys();
    keys.iter()
        .filter(|key| !key.as_bytes().starts_with(b"core/"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_callers_issue_at_once() {
    let zone = Zone::with_ca().await;
    let mut tasks = Vec::new();
    for caller in 0..64 {
        let (pki, permits) = (zone.pki.clone(), {
            let mut permits = Vec::new();
            for _ in 0..8 {
                permits.push(zone.write("issue/web").await);
            }
            permits
        });
        tasks.push(tokio::spawn(async move {
            let name = format!("n{caller}.example.com");
            let ask = IssueAsk {
                common_name: name,
                ..IssueAsk::default()
            };
            let mut serials = Vec::new();
            for permit in &permits {
                serials.push(pki.issue(permit, "web", None, &ask).await.unwrap().serial);
            }
            serials
        }));
    }
    let mut serials = HashSet::new();
    for task in tasks {
        serials.extend(task.await.unwrap());
    }
    assert_eq!(serials.len(), 64 * 8);
    let permit = zone.permit(Operation::List, "certs/").await;
    let listed = zone.pki.serials(&permit, &Page::default()).await.unwrap();
    assert!(serials.iter().all(|serial| listed.contains(serial)));
}

#[tokio::test]
async fn certificates_name_their_shard() {
    let zone = Zone::with_ca().await;
    let change = UrlsChange {
        issuing_certificates: Some(vec!["https://h/v1/pki/issuer/{{issuer_id}}/der".into()]),
        crl_distribution_points: Some(vec!["https://h/v1/pki/crl/shard/{{shard}}".into()]),
        enable_templating: Some(true),
        ..UrlsChange::default()
    };
    zone.pki
        .set_urls(&zone.write("config/urls").await, &change)
        .await
        .unwrap();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    let stored = zone
        .pki
        .certificate(&zone.read("cert/x").await, &issued.serial)
        .await
        .unwrap();
    assert_eq!(
        parsed(&issued.der).crl_distribution_points(),
        [format!("https://h/v1/pki/crl/shard/{}", stored.shard)]
    );
}

#[tokio::test]
async fn a_new_service_finds_everything_and_b2_a_sealed_one_nothing() {
    let zone = Zone::with_ca().await;
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    let again = service(&zone.lab);
    let permit = zone.write("issue/web").await;
    let ask = IssueAsk {
        common_name: "b.example.com".into(),
        ..IssueAsk::default()
    };
    let second = again.issue(&permit, "web", None, &ask).await.unwrap();
    assert!(signed_by(&parsed(&second.der), issued.issuer.certificate()));

    zone.lab.barrier.seal();
    for pki in [&*zone.pki, &again] {
        assert!(matches!(
            pki.issue(&permit, "web", None, &ask).await,
            Err(PkiError::Barrier(zone_barrier::BarrierError::Sealed))
        ));
        assert!(pki.authority(&permit).await.is_err());
        pki.forget();
    }
}

#[tokio::test]
async fn c1_what_breaks_the_profile_is_refused_and_not_stored() {
    let zone = Zone::with_ca().await;
    zone.role("long", |role| role.organization = vec!["a".repeat(65)])
        .await
        .unwrap();
    zone.issue("web", "a.example.com").await.unwrap();
    let stored = pki_keys(&zone);
    let error = zone.issue("long", "a.example.com").await.unwrap_err();
    assert!(matches!(error, PkiError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("subject-lengths"), "{error}");
    assert_eq!(pki_keys(&zone), stored);
}
