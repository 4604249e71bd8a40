//! What a caller who controls names or a CSR must not get.

use zone_pki::{IssueAsk, PkiError, Role};
use zone_x509::AltName;

use crate::zone::{Zone, data, parsed};

async fn any(zone: &Zone) -> Role {
    zone.role("any", |role| {
        role.allow_any_name = true;
        role.enforce_hostnames = false;
        role.allowed_uri_sans = vec!["*".into()];
        role.allowed_other_sans = vec!["*".into()];
        role.key_type = "any".into();
    })
    .await
    .unwrap()
}

fn refused(result: Result<zone_pki::Issued, PkiError>) -> String {
    match result {
        Err(PkiError::Refused(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn attack_1_no_csr_gets_the_zones_or_the_heads_name() {
    let zone = Zone::with_ca().await;
    any(&zone).await;
    for csr in ["spiffe", "head", "wildcard"] {
        let text = refused(zone.sign("any", &data(&format!("{csr}.csr"))).await);
        assert!(text.contains("reserved"), "{csr}: {text}");
    }
    assert!(zone.sign("any", &data("plain.csr")).await.is_ok());
}

#[tokio::test]
async fn attack_1_no_field_gets_the_zones_or_the_heads_name() {
    let zone = Zone::with_ca().await;
    zone.role("any", |role| {
        role.allow_any_name = true;
        role.allowed_uri_sans = vec!["*".into()];
    })
    .await
    .unwrap();
    let ask = |change: fn(&mut IssueAsk)| {
        let mut ask = IssueAsk {
            common_name: "ok.example".into(),
            ..IssueAsk::default()
        };
        change(&mut ask);
        ask
    };
    let cases: [fn(&mut IssueAsk); 6] = [
        |a| a.common_name = "HEAD.zone.example.".into(),
        |a| a.alt_names = vec!["*.zone.example".into()],
        |a| a.alt_names = vec!["head.ZONE.example".into()],
        |a| a.ip_sans = vec!["::ffff:10.9.9.9".into()],
        |a| a.uri_sans = vec!["Spiffe://zone.example/x".into()],
        |a| a.uri_sans = vec!["spiffe://zone.example./x".into()],
    ];
    let permit = zone.write("issue/any").await;
    for case in cases {
        let text = refused(zone.pki.issue(&permit, "any", None, &ask(case)).await);
        assert!(text.contains("reserved"), "{text}");
    }
    assert!(
        zone.pki
            .issue(&permit, "any", None, &ask(|_| {}))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn c3_no_root_and_no_import_has_a_reserved_name() {
    let zone = Zone::new().await;
    let mut ask = crate::zone::root_ask("r");
    ask.names.uri_sans = vec!["spiffe://zone.example".into()];
    let permit = zone.write("root/generate/internal").await;
    assert!(matches!(
        zone.pki.generate_root(&permit, &ask).await,
        Err(PkiError::Refused(text)) if text.contains("reserved")
    ));
    let mut ask = crate::zone::root_ask("r");
    ask.subject.common_name = "head.zone.example".into();
    assert!(zone.pki.generate_root(&permit, &ask).await.is_err());
}

#[tokio::test]
async fn a_csr_cannot_go_beyond_the_role() {
    let zone = Zone::with_ca().await;
    let text = refused(zone.sign("web", &data("escape.csr")).await);
    assert!(text.contains("evil.org"), "{text}");
    // A role that does not take the CSR's names makes the certificate without them.
    zone.role("own", |role| role.use_csr_sans = false)
        .await
        .unwrap();
    let issued = zone.sign("own", &data("escape.csr")).await.unwrap();
    assert_eq!(
        parsed(&issued.der).alternative_names(),
        [AltName::Dns("a.example.com".into())]
    );
}

#[tokio::test]
async fn a_csr_for_a_ca_is_refused() {
    let zone = Zone::with_ca().await;
    let text = refused(zone.sign("web", &data("ca.csr")).await);
    assert!(text.contains("CA"), "{text}");
}

#[tokio::test]
async fn weak_wrong_and_crowded_csrs_are_refused() {
    let zone = Zone::with_ca().await;
    any(&zone).await;
    assert!(refused(zone.sign("any", &data("weak.csr")).await).contains("csr"));
    assert!(refused(zone.sign("web", &data("p384.csr")).await).contains("csr"));
    assert!(refused(zone.sign("any", &data("many.csr")).await).contains("100"));
    for text in [
        "",
        "no PEM",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    ] {
        assert!(refused(zone.sign("any", text).await).contains("csr"));
    }
    let long = data("plain.csr").replace('\n', &format!("\n{}\n", "A".repeat(300_000)));
    assert!(refused(zone.sign("any", &long).await).contains("csr"));
}

#[tokio::test]
async fn a_csr_must_prove_its_key() {
    let zone = Zone::with_ca().await;
    // The signature of one request under the body of another.
    let csr = data("plain.csr");
    let lines: Vec<&str> = csr.lines().collect();
    let mut tampered = 0;
    for at in 1..lines.len() - 1 {
        let mut copy: Vec<String> = lines.iter().map(ToString::to_string).collect();
        let flipped = if copy[at].starts_with('A') { "B" } else { "A" };
        copy[at].replace_range(0..1, flipped);
        refused(zone.sign("web", &copy.join("\n")).await);
        tampered += 1;
    }
    assert!(tampered > 4);
}

#[tokio::test]
async fn e1_errors_do_not_repeat_a_csr_or_key() {
    let zone = Zone::with_ca().await;
    let secret = zone_types::Secret::new(data("elsewhere.pem"));
    let permit = zone.write("config/ca").await;
    let error = zone.pki.import(&permit, &secret, false).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(!text.contains("MII"), "{text}");
    let text = refused(zone.sign("web", &data("ca.csr")).await);
    assert!(!text.contains("MII"), "{text}");
}
