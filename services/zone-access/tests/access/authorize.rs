//! From a request to a permit or a refusal.

use std::time::Duration;

use crate::common::{ask_for, create, root_at};
use serde_json::{Map, Value, json};
use zone_access::{Ask, CreateToken, MountKind, Operation, Permit, Refusal, RefusalKind, open};
use zone_testkit::Lab;
use zone_types::{RequestPath, Secret};

/// Asks for `path` with all that a request can say.
async fn judge(
    lab: &Lab,
    token: Option<&Secret<String>>,
    operation: Operation,
    path: &str,
    data: Option<&Map<String, Value>>,
    wrap_ttl: Option<u64>,
) -> Result<Permit, Refusal> {
    let path = RequestPath::from_text(path).unwrap();
    let ask = Ask {
        token,
        path: &path,
        operation,
        data,
        remote: None,
        wrap_ttl: wrap_ttl.map(Duration::from_secs),
    };
    lab.access.authorize(ask).await
}

/// What a client can tell from the answer.
fn answer(result: &Result<Permit, Refusal>) -> &'static str {
    match result {
        Ok(_) => "permit",
        Err(refusal) => match refusal.kind {
            RefusalKind::NoToken | RefusalKind::Denied => "403",
            RefusalKind::NoMount => "404",
            _ => "other",
        },
    }
}

/// The whole list of what can be asked for without a token. Whoever adds a line here says why.
#[test]
fn a2_the_golden_list_of_open_endpoints() {
    let mut lines = Vec::new();
    for (kind, patterns) in open::OPEN.iter().chain(open::OPEN_WRITES) {
        lines.extend(
            patterns
                .iter()
                .map(|rest| format!("{} {rest}", kind.as_str())),
        );
    }
    let golden = [
        "pki ca",
        "pki ca/pem",
        "pki ca_chain",
        "pki cert/+",
        "pki cert/+/raw",
        "pki cert/+/raw/pem",
        "pki crl",
        "pki crl/pem",
        "pki crl/chain",
        "pki crl/shard/+",
        "pki issuer/+/der",
        "pki issuer/+/pem",
        "pki issuer/+/json",
        "pki issuer/+/crl",
        "pki issuer/+/crl/der",
        "pki issuer/+/crl/pem",
        "system internal/ui/mounts",
        "system internal/ui/mounts/*",
        "system wrapping/lookup",
        "system wrapping/lookup",
        "approle login",
        "userpass login/+",
    ];
    assert_eq!(lines, golden);
}

#[test]
fn the_golden_list_of_endpoints_that_need_sudo() {
    let mut lines = Vec::new();
    for (kind, patterns) in open::SUDO {
        lines.extend(
            patterns
                .iter()
                .map(|rest| format!("{} {rest}", kind.as_str())),
        );
    }
    let golden = [
        "system audit",
        "system audit/*",
        "system auth/*",
        "system config/auditing/*",
        "system config/cors",
        "system config/ui/*",
        "system host-info",
        "system in-flight-req",
        "system leases",
        "system leases/lookup/*",
        "system leases/revoke-force/*",
        "system leases/revoke-prefix/*",
        "system loggers",
        "system loggers/*",
        "system rotate",
        "system rotate/config",
        "system rekey/*",
        "system generate-root/*",
        "system step-down",
        "system seal",
        "system raw",
        "system raw/*",
        "system remount",
        "token accessors",
        "token create-orphan",
        "token revoke-orphan",
        "token revoke-batch",
    ];
    assert_eq!(lines, golden);
}

#[tokio::test]
async fn a2_an_open_endpoint_opens_no_sibling() {
    let lab = Lab::new().await;
    for path in ["pki", "pki-int", "deep/pki"] {
        lab.mount(MountKind::Pki, path).await;
    }
    lab.mount(MountKind::Kv, "secret").await;
    let open = [
        "pki/ca",
        "pki/ca/pem",
        "pki/cert/11-22/raw/pem",
        "pki-int/crl",
        "deep/pki/ca_chain",
        "sys/internal/ui/mounts",
        "sys/internal/ui/mounts/secret/a",
    ];
    let closed = [
        "pki/ca/",
        "pki/ca/pem/x",
        "pki/cax",
        "pki/cert/",
        "pki/cert",
        "pki/certs",
        "pki/cert/a/b",
        "pki/cert/a/raw/pem/b",
        "pki/issuer/x",
        "pki/issuer/x/y/pem",
        "pki/config/ca",
        "pki/roles/ca",
        "pki/issue/ca",
        "pki/",
        "pkix/ca",
        "deep/ca",
        "secret/ca",
        "secret/data/ca",
        "ca",
        "sys/internal/ui/mountsx",
        "sys/internal/ui/",
        "sys/internal/ui/resultant-acl",
        "sys/mounts",
        "sys/ca",
        "auth/token/ca",
        "internal/ui/mounts",
    ];
    let operations = [
        Operation::Create,
        Operation::Update,
        Operation::Delete,
        Operation::List,
        Operation::Patch,
    ];
    let bad = Secret::new("hvs.bad".to_owned());
    for path in open {
        let permit = judge(&lab, None, Operation::Read, path, None, None)
            .await
            .unwrap();
        assert!(permit.token().is_none() && !permit.sudo(), "{path}");
        assert_eq!(permit.rule(), Some("open endpoint"));
        assert_eq!(permit.path().as_str(), path, "A3");
        let with_bad = judge(&lab, Some(&bad), Operation::Read, path, None, None).await;
        assert!(with_bad.unwrap().token().is_none());
        for operation in operations {
            let refused = judge(&lab, None, operation, path, None, None).await;
            assert_eq!(answer(&refused), "403", "{operation:?} {path}");
        }
    }
    for path in closed {
        let refused = judge(&lab, None, Operation::Read, path, None, None).await;
        assert_eq!(answer(&refused), "403", "{path}");
    }
}

#[tokio::test]
async fn an_open_endpoint_knows_a_caller_but_counts_no_use() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "secret").await;
    lab.policy(
        "app",
        r#"path "secret/data/app/*" { capabilities = ["read"] }"#,
    )
    .await;
    let wanted = CreateToken {
        num_uses: 1,
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    let mount = lab.access.mount_of("secret/").unwrap().unwrap();
    let other = lab.mount(MountKind::Kv, "other").await;
    let path = "sys/internal/ui/mounts/secret";
    for _ in 0..3 {
        let permit = lab
            .permit_of(&token.text, Operation::Read, path)
            .await
            .unwrap();
        assert!(lab.access.sees(&permit, &mount));
        assert!(!lab.access.sees(&permit, &other));
    }
    let stranger = judge(&lab, None, Operation::Read, path, None, None)
        .await
        .unwrap();
    assert!(!lab.access.sees(&stranger, &mount));
}

/// Whoever may not read there learns nothing of whether anything is there.
#[tokio::test]
async fn refusals_do_not_tell_where_mounts_are() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "secret").await;
    lab.mount(MountKind::Pki, "pki").await;
    lab.policy("some", r#"path "wide/*" { capabilities = ["read"] }"#)
        .await;
    let some = lab.token(&["some"]).await;
    let bad = Secret::new("hvs.AAAAAAAAAAAAAAAAAAAAAAAA".to_owned());
    let empty = Secret::new(String::new());
    let pairs = [
        ("secret/data/x", "nothing/data/x"),
        ("pki/issue/x", "pky/issue/x"),
        ("sys/audit/x", "sis/audit/x"),
        ("auth/token/accessors/", "auth/tokem/accessors/"),
        ("", "x"),
    ];
    for (there, nowhere) in pairs {
        for token in [None, Some(&bad), Some(&empty), Some(&some.text)] {
            for operation in [Operation::Read, Operation::Update, Operation::List] {
                let a = judge(&lab, token, operation, there, None, None).await;
                let b = judge(&lab, token, operation, nowhere, None, None).await;
                assert_eq!((answer(&a), answer(&b)), ("403", "403"), "{there}");
                let (a, b) = (a.unwrap_err(), b.unwrap_err());
                assert_eq!(a.reason, b.reason);
                assert_eq!(a.token.is_some(), b.token.is_some());
            }
        }
    }
    // Only who may read there is told that nothing is.
    let told = lab.permit_of(&some.text, Operation::Read, "wide/x").await;
    assert_eq!(answer(&told), "404");
    let told = lab.permit_of(&some.text, Operation::Update, "wide/x").await;
    assert_eq!(answer(&told), "403");
}

#[tokio::test]
async fn sudo_is_asked_for_on_top_of_the_capability() {
    let lab = Lab::new().await;
    let rules = |words: &str| format!("path \"sys/*\" {{ capabilities = [{words}] }}");
    lab.policy("plain", &rules(r#""read", "update", "list""#))
        .await;
    lab.policy("super", &rules(r#""read", "update", "list", "sudo""#))
        .await;
    let (plain, with_sudo) = (lab.token(&["plain"]).await, lab.token(&["super"]).await);
    for path in [
        "sys/rotate",
        "sys/seal",
        "sys/audit",
        "sys/audit/",
        "sys/audit/file",
        "sys/raw/x",
        "sys/rotate/",
    ] {
        let refused = lab.permit_of(&plain.text, Operation::Update, path).await;
        assert_eq!(
            refused.unwrap_err().reason,
            "the endpoint needs sudo",
            "{path}"
        );
        let permit = lab
            .permit_of(&with_sudo.text, Operation::Update, path)
            .await;
        assert!(permit.unwrap().sudo(), "{path}");
    }
    for path in ["sys/mounts", "sys/audit-hash/file", "sys/sealx", "sys/rawx"] {
        let permit = lab.permit_of(&plain.text, Operation::Update, path).await;
        assert!(!permit.unwrap().sudo(), "{path}");
    }
}

#[tokio::test]
async fn constraints_on_parameters_and_wrapping_reach_the_judgement() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Pki, "pki").await;
    let rules = r#"
        path "pki/issue/web" {
            capabilities = ["update"]
            required_parameters = ["common_name"]
            allowed_parameters = { "common_name" = ["*.example"], "ttl" = [] }
            denied_parameters = { "uri_sans" = [] }
        }
        path "pki/sign/web" { capabilities = ["update"] min_wrapping_ttl = "10s" max_wrapping_ttl = "60s" }"#;
    lab.policy("web", rules).await;
    let token = lab.token(&["web"]).await;
    let issue = async |data: Value| {
        let data = data.as_object().unwrap().clone();
        let path = "pki/issue/web";
        let judged = judge(
            &lab,
            Some(&token.text),
            Operation::Update,
            path,
            Some(&data),
            None,
        );
        judged
            .await
            .map_or_else(|refusal| refusal.reason, |_| "permit".to_owned())
    };
    assert_eq!(issue(json!({"common_name": "a.example"})).await, "permit");
    assert_eq!(
        issue(json!({"common_name": "a.example", "ttl": "1h"})).await,
        "permit"
    );
    assert_eq!(issue(json!({})).await, "a required parameter is missing");
    let refused = issue(json!({"common_name": "a.other"})).await;
    assert_eq!(refused, "a parameter is not allowed");
    let refused = issue(json!({"common_name": "a.example", "alt_names": "x"})).await;
    assert_eq!(refused, "a parameter is not allowed");
    let refused = issue(json!({"common_name": "a.example", "uri_sans": "x"})).await;
    assert_eq!(refused, "a parameter is denied");
    let sign = async |wrap| {
        let path = "pki/sign/web";
        answer(&judge(&lab, Some(&token.text), Operation::Update, path, None, wrap).await)
    };
    assert_eq!(
        (sign(None).await, sign(Some(5)).await, sign(Some(61)).await),
        ("403", "403", "403")
    );
    assert_eq!(
        (sign(Some(10)).await, sign(Some(60)).await),
        ("permit", "permit")
    );
}

#[tokio::test]
async fn capabilities_in_the_words_of_vault() {
    let lab = Lab::new().await;
    lab.policy(
        "app",
        r#"path "secret/*" { capabilities = ["read", "list"] }"#,
    )
    .await;
    let app = lab.token(&["app"]).await;
    let nothing = CreateToken {
        no_default_policy: true,
        ..ask_for(&["none"])
    };
    let nothing = create(&lab, &lab.root, nothing).await.unwrap();
    let root = lab.access.token(lab.root.expose()).await.unwrap().unwrap();
    let of = async |entry, path| lab.access.capabilities(entry, path).await.unwrap();
    assert_eq!(of(&root, "any/where").await, ["root"]);
    assert_eq!(of(&app.entry, "secret/a").await, ["list", "read"]);
    assert_eq!(of(&app.entry, "/secret/a").await, ["list", "read"]);
    assert_eq!(of(&app.entry, "auth/token/renew-self").await, ["update"]);
    assert_eq!(of(&app.entry, "other").await, ["deny"]);
    assert_eq!(of(&nothing.entry, "auth/token/lookup-self").await, ["deny"]);
    lab.policy("app", "").await;
    assert_eq!(of(&app.entry, "secret/a").await, ["deny"]);
}

#[tokio::test]
async fn a_permit_says_what_was_allowed() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "secret").await;
    lab.policy("a", r#"path "secret/data/*" { capabilities = ["read"] }"#)
        .await;
    lab.policy(
        "b",
        "\npath \"secret/data/*\" { capabilities = [\"read\", \"sudo\"] }",
    )
    .await;
    let token = lab.token(&["a", "b"]).await;
    let permit = lab
        .permit_of(&token.text, Operation::Read, "secret/data/x")
        .await
        .unwrap();
    assert_eq!(
        permit.rule(),
        Some("\"secret/data/*\" (a line 1, b line 2)")
    );
    assert!(permit.sudo());
    assert_eq!(permit.operation(), Operation::Read);
    assert_eq!(permit.now(), lab.access.now().unwrap());
    assert_eq!(format!("{permit:?}"), "permit to read secret/data/x");
    let root = root_at(&lab, "secret/data/x").await;
    assert_eq!(root.rule(), Some("root"));
    let long = Secret::new("x".repeat(257));
    let refused = lab.permit_of(&long, Operation::Read, "secret/data/x").await;
    assert_eq!(refused.unwrap_err().reason, "bad token");
}
