//! Roots, imports, and what may happen to issuers and keys.

use zone_pki::{IssuerChange, IssuerUsage, PkiError, RootAsk};
use zone_types::Secret;
use zone_x509::{KeyUsage, NameConstraints, Subtree};

use crate::zone::{DAY, Zone, data, parsed, root_ask, signed_by};

fn refused<T: std::fmt::Debug>(result: Result<T, PkiError>) -> String {
    match result {
        Err(PkiError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_root_is_a_root() {
    let zone = Zone::new().await;
    let root = zone.root("root").await.unwrap();
    let certificate = parsed(&root.der);
    assert_eq!(certificate.authority(), Some(None));
    assert_eq!(
        certificate.key_usage(),
        Some(KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN)
    );
    assert!(certificate.is_self_issued() && signed_by(&certificate, &certificate));
    assert!(certificate.key_id().is_some());
    let permit = zone.read("issuers/").await;
    let authority = zone.pki.authority(&permit).await.unwrap();
    assert_eq!(authority.default_issuer(), Some(root.issuer_id.as_str()));
    assert_eq!(authority.default_key(), Some(root.key_id.as_str()));
    for reference in ["default", "root", &root.issuer_id] {
        let issuer = zone.pki.issuer(&permit, reference).await.unwrap();
        assert_eq!(issuer.certificate().der(), root.der, "{reference}");
    }
    let stored = zone.pki.certificate(&permit, &root.serial).await.unwrap();
    assert_eq!(stored.der, root.der);
}

#[tokio::test]
async fn a_second_root_is_no_default_until_somebody_says_so() {
    let zone = Zone::with_ca().await;
    let second = zone.root("second").await.unwrap();
    assert!(refused(zone.root("second").await).contains("already in use"));
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    assert_eq!(issued.issuer.record().name, "root");
    let permit = zone.write("config/issuers").await;
    zone.pki
        .set_default_issuer(&permit, Some("second"), None)
        .await
        .unwrap();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    assert_eq!(issued.issuer.record().id, second.issuer_id);
    let ask = zone_pki::IssueAsk {
        common_name: "a.example.com".into(),
        ..Default::default()
    };
    let permit = zone.write("issuer/root/issue/web").await;
    let issued = zone
        .pki
        .issue(&permit, "web", Some("root"), &ask)
        .await
        .unwrap();
    assert_eq!(issued.issuer.record().name, "root");
    zone.pki
        .set_default_issuer(&permit, None, Some(true))
        .await
        .unwrap();
    let third = zone.root("third").await.unwrap();
    let authority = zone.pki.authority(&permit).await.unwrap();
    assert_eq!(authority.default_issuer(), Some(third.issuer_id.as_str()));
}

#[tokio::test]
async fn root_fields_are_judged() {
    let zone = Zone::new().await;
    let permit = zone.write("root/generate/internal").await;
    type Change = fn(&mut RootAsk);
    let cases: [(&str, Change); 6] = [
        ("common_name", |a| a.subject.common_name = String::new()),
        ("common_name", |a| {
            a.subject.common_name = "a\u{202e}b".into()
        }),
        ("issuer_name", |a| a.issuer_name = "default".into()),
        ("key_name", |a| a.key_name = "a/b".into()),
        ("not_after", |a| {
            a.names.not_after = "2001-01-01T00:00:00Z".into()
        }),
        ("alt_names", |a| {
            a.names.alt_names = vec!["not a name".into()]
        }),
    ];
    for (field, change) in cases {
        let mut ask = root_ask("r");
        change(&mut ask);
        let text = refused(zone.pki.generate_root(&permit, &ask).await);
        assert!(text.contains(field), "{field}: {text}");
    }
    let mut ask = root_ask("r");
    ask.names.ttl = Some(std::time::Duration::from_secs(400 * DAY));
    let root = zone.pki.generate_root(&permit, &ask).await.unwrap();
    assert_eq!(root.warnings.len(), 1, "{:?}", root.warnings);
}

#[tokio::test]
async fn name_constraints_of_the_issuer_hold() {
    let zone = Zone::new().await;
    let mut ask = root_ask("tight");
    ask.constraints = NameConstraints {
        permitted: vec![Subtree::Dns("inside.example.com".into())],
        excluded: Vec::new(),
    };
    ask.max_path_length = Some(0);
    let permit = zone.write("root/generate/internal").await;
    let root = zone.pki.generate_root(&permit, &ask).await.unwrap();
    assert_eq!(parsed(&root.der).authority(), Some(Some(0)));
    zone.role("web", |_| {}).await.unwrap();
    assert!(zone.issue("web", "a.inside.example.com").await.is_ok());
    let text = refused(zone.issue("web", "outside.example.com").await);
    assert!(text.contains("constraint"), "{text}");
}

#[tokio::test]
async fn a_ca_from_elsewhere_issues_here() {
    let zone = Zone::new().await;
    // The certificates of the bundle begin later than the clock of the test stands.
    zone.pass(30 * DAY);
    let permit = zone.write("config/ca").await;
    let bundle = Secret::new(data("elsewhere.pem"));
    let imported = zone.pki.import(&permit, &bundle, true).await.unwrap();
    assert_eq!((imported.issuers.len(), imported.keys.len()), (2, 2));
    assert!(imported.mapping.iter().all(|(_, key)| !key.is_empty()));
    let issuer = zone.pki.issuer(&permit, "default").await.unwrap();
    assert!(!issuer.certificate().is_self_issued());
    assert_eq!(issuer.chain().len(), 2);
    zone.role("web", |_| {}).await.unwrap();
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    assert!(signed_by(&parsed(&issued.der), issuer.certificate()));
    let lists = zone
        .pki
        .crl_chain(&zone.read("crl/chain").await)
        .await
        .unwrap();
    assert_eq!(lists.len(), 2, "one for each CA of the chain");

    let again = zone.pki.import(&permit, &bundle, true).await.unwrap();
    assert_eq!((again.issuers.len(), again.existing_issuers.len()), (0, 2));
    assert_eq!((again.keys.len(), again.existing_keys.len()), (0, 2));
}

#[tokio::test]
async fn a_ca_without_its_key_waits_for_it() {
    let zone = Zone::new().await;
    zone.pass(30 * DAY);
    let permit = zone.write("issuers/import/cert").await;
    let alone = Secret::new(data("elsewhere-issuing.pem"));
    let imported = zone.pki.import(&permit, &alone, false).await.unwrap();
    let id = imported.issuers[0].clone();
    zone.role("web", |role| role.issuer_ref = id.clone())
        .await
        .unwrap();
    assert!(refused(zone.issue("web", "a.example.com").await).contains("key"));
    assert!(refused(zone.pki.crl(&permit, &id).await).contains("key"));
    assert!(refused(zone.pki.set_default_issuer(&permit, Some(&id), None).await).contains("key"));
    let bundle = Secret::new(data("elsewhere.pem"));
    assert!(refused(zone.pki.import(&permit, &bundle, false).await).contains("private keys"));
    zone.pki.import(&permit, &bundle, true).await.unwrap();
    assert!(zone.issue("web", "a.example.com").await.is_ok());
}

#[tokio::test]
async fn only_cas_are_imported() {
    let zone = Zone::new().await;
    let permit = zone.write("config/ca").await;
    let import = async |pem: String| zone.pki.import(&permit, &Secret::new(pem), true).await;
    assert!(refused(import(data("leaf.pem")).await).contains("CA"));
    assert!(refused(import(String::new()).await).contains("pem_bundle"));
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(refused(import(locked.into()).await).contains("encrypted"));
    let authority = zone.pki.authority(&permit).await.unwrap();
    assert!(authority.issuers().is_empty() && authority.keys().is_empty());
}

#[tokio::test]
async fn an_issuer_with_dependants_is_not_removed() {
    let zone = Zone::with_ca().await;
    zone.root("second").await.unwrap();
    let permit = zone.write("issuer/x").await;
    assert!(refused(zone.pki.delete_issuer(&permit, "root").await).contains("default"));
    zone.issue("web", "a.example.com").await.unwrap();
    zone.pki
        .set_default_issuer(&permit, Some("second"), None)
        .await
        .unwrap();
    let text = refused(zone.pki.delete_issuer(&permit, "root").await);
    assert!(text.contains("revocation list"), "{text}");
    zone.root("third").await.unwrap();
    zone.role("bound", |role| role.issuer_ref = "third".into())
        .await
        .unwrap();
    assert!(refused(zone.pki.delete_issuer(&permit, "third").await).contains("bound"));
    zone.pki.delete_role(&permit, "bound").await.unwrap();
    let key = zone
        .pki
        .issuer(&permit, "third")
        .await
        .unwrap()
        .record()
        .key_id
        .clone()
        .unwrap();
    assert!(refused(zone.pki.delete_key(&permit, &key).await).contains("Use"));
    zone.pki.delete_issuer(&permit, "third").await.unwrap();
    zone.pki.delete_key(&permit, &key).await.unwrap();
    assert!(matches!(
        zone.pki.issuer(&permit, "third").await,
        Err(PkiError::NotFound)
    ));
}

#[tokio::test]
async fn usage_names_and_keys_can_be_changed() {
    let zone = Zone::with_ca().await;
    let permit = zone.write("issuer/root").await;
    let none = IssuerUsage::parse(&["read-only".into()]).unwrap();
    let change = IssuerChange {
        usage: Some(none),
        ..IssuerChange::default()
    };
    zone.pki
        .update_issuer(&permit, "root", &change)
        .await
        .unwrap();
    assert!(refused(zone.issue("web", "a.example.com").await).contains("issuing-certificates"));
    assert!(refused(zone.pki.crl(&permit, "root").await).contains("crl-signing"));
    let change = IssuerChange {
        name: Some("renamed".into()),
        ..IssuerChange::default()
    };
    zone.pki
        .update_issuer(&permit, "root", &change)
        .await
        .unwrap();
    assert!(zone.pki.issuer(&permit, "root").await.is_err());
    assert!(zone.pki.issuer(&permit, "renamed").await.is_ok());
    zone.pki
        .rename_key(&permit, "default", "signer")
        .await
        .unwrap();
    assert_eq!(
        zone.pki.key(&permit, "signer").await.unwrap().family(),
        "ec"
    );
}

#[tokio::test]
async fn mounts_do_not_see_each_other() {
    let zone = Zone::with_ca().await;
    zone.lab.mount(zone_access::MountKind::Pki, "other/").await;
    let issued = zone.issue("web", "a.example.com").await.unwrap();
    let permit = zone
        .lab
        .permit(zone_access::Operation::Read, "other/cert/x")
        .await;
    assert!(zone.pki.certificate(&permit, &issued.serial).await.is_err());
    assert!(matches!(
        zone.pki.issuer(&permit, "default").await,
        Err(PkiError::NoIssuer)
    ));
}
