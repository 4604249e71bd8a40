//! `auth/token/` as Vault's clients see it.

use serde_json::{Value, json};

use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;

/// What each JSON answer carries.
#[track_caller]
fn is_json(shown: &Shown, status: u16) {
    assert_eq!(shown.status, status, "{shown:?}");
    let content_type = (status != 204).then_some("application/json");
    assert_eq!(shown.field("content-type"), content_type);
    assert_eq!(shown.field("cache-control"), Some("no-store"));
}

async fn role(bench: &Bench, name: &str, body: Value) -> Shown {
    let path = format!("auth/token/roles/{name}");
    bench.root("POST", &path, body).await
}

/// The `auth` block of a new token.
async fn created(bench: &Bench, path: &str, body: Value) -> Value {
    let shown = bench.root("POST", path, body).await;
    is_json(&shown, 200);
    shown.json()["auth"].clone()
}

#[tokio::test]
async fn roles_are_written_read_listed_and_removed_as_in_vault() {
    let bench = Bench::new().await;
    let body = json!({
        "allowed_policies": "app, Web", "disallowed_policies_glob": ["admin-*"],
        "orphan": "true", "renewable": false, "token_period": "1h", "token_num_uses": 2,
        "token_explicit_max_ttl": 7200, "path_suffix": "x", "bound_cidrs": "10.0.0.0/8",
        "token_type": "default-service", "token_no_default_policy": true,
    });
    is_json(&role(&bench, "ci", body).await, 204);
    let change = json!({ "token_num_uses": 3 });
    is_json(&bench.root("PUT", "auth/token/roles/ci", change).await, 204);
    let shown = bench.root("GET", "auth/token/roles/ci", NONE).await;
    is_json(&shown, 200);
    let want = json!({
        "name": "ci", "allowed_policies": ["app", "web"], "allowed_policies_glob": [],
        "disallowed_policies": [], "disallowed_policies_glob": ["admin-*"],
        "allowed_entity_aliases": [], "orphan": true, "renewable": false, "path_suffix": "x",
        "period": 3600, "explicit_max_ttl": 7200, "token_period": 3600,
        "token_explicit_max_ttl": 7200, "token_num_uses": 3, "token_no_default_policy": true,
        "token_bound_cidrs": ["10.0.0.0/8"], "token_type": "default-service",
    });
    assert_eq!(shown.json()["data"], want);
    for (method, path) in [
        ("LIST", "auth/token/roles"),
        ("GET", "auth/token/roles?list=true"),
    ] {
        let list = bench.root(method, path, NONE).await;
        is_json(&list, 200);
        assert_eq!(list.json()["data"]["keys"], json!(["ci"]));
    }
    is_json(
        &bench.root("DELETE", "auth/token/roles/ci", NONE).await,
        204,
    );
    let gone = bench.root("GET", "auth/token/roles/ci", NONE).await;
    assert_eq!(gone.brief(), "404 []");
    let none = bench.root("LIST", "auth/token/roles", NONE).await;
    assert_eq!(none.brief(), "404 []");
    let unknown = bench.root("POST", "auth/token/create/ci", NONE).await;
    assert_eq!(unknown.brief(), r#"400 ["unknown role"]"#);
}

#[tokio::test]
async fn a_wrong_field_of_a_role_is_400_that_names_it() {
    let bench = Bench::new().await;
    for (body, want) in [
        (
            json!({ "orphan": "CANARY" }),
            "field 'orphan': expected true or false",
        ),
        (
            json!({ "token_num_uses": -1 }),
            "field 'token_num_uses': must not be negative",
        ),
        (
            json!({ "token_type": "CANARY" }),
            "invalid 'token_type' value",
        ),
        (
            json!({ "allowed_policies": { "a": 1 } }),
            "field 'allowed_policies': expected a list of texts or comma-separated text",
        ),
    ] {
        let shown = role(&bench, "ci", body).await;
        assert_eq!(shown.brief(), format!("400 {}", json!([want])));
    }
    let name = role(&bench, "a*b", json!({})).await;
    assert_eq!(name.status, 400, "{name:?}");
}

/// Every spelling of a role's name is judged as the one under which it is served.
#[tokio::test]
async fn a3_a_role_is_judged_under_its_one_name() {
    let bench = Bench::new().await;
    let body = json!({ "allowed_policies": "default", "token_no_default_policy": true });
    is_json(&role(&bench, "Deny", body.clone()).await, 204);
    is_json(&role(&bench, "free", body).await, 204);
    let own = bench
        .token(
            r#"path "auth/token/create/*" { capabilities = ["create", "update"] }
path "auth/token/create/deny" { capabilities = ["deny"] }
path "auth/token/roles/*" { capabilities = ["read"] }
path "auth/token/roles/deny" { capabilities = ["deny"] }"#,
        )
        .await;
    for name in ["deny", "Deny", "DENY", "%20deny", "deny%20"] {
        let path = format!("auth/token/create/{name}");
        let shown = bench.by(&own, "POST", &path, json!({})).await;
        assert_eq!(shown.brief(), r#"403 ["permission denied"]"#, "{name}");
        let path = format!("auth/token/roles/{name}");
        let shown = bench.by(&own, "GET", &path, NONE).await;
        assert_eq!(shown.brief(), r#"403 ["permission denied"]"#, "{name}");
    }
    let shown = bench
        .by(&own, "POST", "auth/token/create/Free", json!({}))
        .await;
    is_json(&shown, 200);
    let shown = bench.by(&own, "GET", "auth/token/roles/FREE", NONE).await;
    assert_eq!(shown.json()["data"]["name"], "free");
}

#[tokio::test]
async fn a_token_of_a_role_is_shown_with_it() {
    let bench = Bench::new().await;
    let body = json!({ "allowed_policies": "default", "path_suffix": "x", "orphan": true });
    role(&bench, "ci", body).await;
    let auth = created(&bench, "auth/token/create/ci", json!({ "ttl": "1h" })).await;
    assert_eq!(auth["orphan"], true);
    assert_eq!(auth["token_type"], "service");
    let token = auth["client_token"].as_str().unwrap();
    let own = bench.by(token, "GET", "auth/token/lookup-self", NONE).await;
    let data = &own.json()["data"];
    assert_eq!(data["role"], "ci");
    assert_eq!(data["path"], "auth/token/create/ci/x");
    assert_eq!(data["policies"], json!(["default"]));
}

#[tokio::test]
async fn a_batch_token_is_shown_and_refused_as_in_vault() {
    let bench = Bench::new().await;
    let body = json!({ "type": "batch", "policies": "default", "ttl": "1h", "renewable": true });
    let auth = created(&bench, "auth/token/create", body).await;
    let text = auth["client_token"].as_str().unwrap().to_owned();
    assert!(text.starts_with("hvb."));
    for (field, want) in [
        ("accessor", json!("")),
        ("renewable", json!(false)),
        ("token_type", json!("batch")),
        ("lease_duration", json!(3600)),
        ("orphan", json!(false)),
        ("num_uses", json!(0)),
    ] {
        assert_eq!(auth[field], want, "{field}");
    }
    let own = bench.by(&text, "GET", "auth/token/lookup-self", NONE).await;
    is_json(&own, 200);
    let data = &own.json()["data"];
    assert_eq!(
        (&data["type"], &data["id"]),
        (&json!("batch"), &json!(text))
    );
    assert_eq!(
        (&data["accessor"], &data["ttl"]),
        (&json!(""), &json!(3600))
    );
    let me = json!({ "token": text });
    let known = bench.root("PUT", "auth/token/lookup", me.clone()).await;
    assert_eq!(known.json()["data"]["type"], "batch");
    let can = json!({ "token": text, "path": "auth/token/lookup-self" });
    let can = bench.root("POST", "sys/capabilities", can).await.json();
    assert_eq!(can["data"]["capabilities"], json!(["read"]));
    for (path, want) in [
        ("renew", "batch tokens cannot be renewed"),
        ("revoke", "batch tokens cannot be revoked"),
        ("revoke-orphan", "batch tokens cannot be revoked"),
    ] {
        let shown = bench
            .root("POST", &format!("auth/token/{path}"), me.clone())
            .await;
        assert_eq!(shown.brief(), format!("400 {}", json!([want])));
    }
    for path in ["renew-self", "revoke-self"] {
        let shown = bench
            .by(&text, "POST", &format!("auth/token/{path}"), json!({}))
            .await;
        assert_eq!(shown.status, 400, "{path}");
    }
    assert_eq!(
        bench
            .by(&text, "GET", "auth/token/lookup-self", NONE)
            .await
            .status,
        200
    );
    let kind = bench
        .root("POST", "auth/token/create", json!({ "type": "x" }))
        .await;
    assert_eq!(kind.brief(), r#"400 ["invalid 'type' value"]"#);
}

#[tokio::test]
async fn a_renewal_says_whether_the_token_is_an_orphan_by_now() {
    let bench = Bench::new().await;
    let text = |auth: &Value| auth["client_token"].as_str().unwrap().to_owned();
    let ask = json!({ "policies": "root", "ttl": "1h" });
    let parent = created(&bench, "auth/token/create", ask).await;
    let ask = json!({ "ttl": "30m" });
    let made = bench
        .by(&text(&parent), "POST", "auth/token/create", ask)
        .await;
    let child = made.json()["auth"].clone();
    assert_eq!(child["orphan"], false);
    for orphan in [false, true] {
        let renewed = bench
            .by(&text(&child), "POST", "auth/token/renew-self", json!({}))
            .await;
        assert_eq!(renewed.json()["auth"]["orphan"], orphan);
        let body = json!({ "token": text(&parent) });
        bench.root("POST", "auth/token/revoke-orphan", body).await;
    }
}

#[tokio::test]
async fn revoke_batch_ends_what_was_made_before() {
    let bench = Bench::new().await;
    let change = json!({ "allowed_policies": "default" });
    role(&bench, "ci", change).await;
    let batch = json!({ "type": "batch" });
    let auth = created(&bench, "auth/token/create/ci", batch.clone()).await;
    let token = auth["client_token"].as_str().unwrap();
    let alive = async || {
        bench
            .by(token, "GET", "auth/token/lookup-self", NONE)
            .await
            .status
    };
    assert_eq!(alive().await, 200);
    let path = "auth/token/revoke-batch";
    for body in [
        json!({}),
        json!({ "role": "ci", "all": true }),
        json!({ "entity_id": "x" }),
        json!({ "role": "ci", "mount": "secret" }),
        json!({ "role": "ci", "issued_before": "soon" }),
        json!({ "role": "ci", "issued_before": "2100-01-01T00:00:00Z" }),
    ] {
        let shown = bench.root("POST", path, body.clone()).await;
        assert_eq!(shown.status, 400, "{body}");
    }
    let early = json!({ "role": "ci", "issued_before": 1 });
    is_json(&bench.root("POST", path, early).await, 200);
    assert_eq!(alive().await, 200);
    let shown = bench.root("POST", path, json!({ "role": "CI" })).await;
    is_json(&shown, 200);
    let instant = shown.json()["data"]["issued_before"].clone();
    assert_eq!(alive().await, 403);
    let marks = bench.root("GET", path, NONE).await;
    is_json(&marks, 200);
    let want = json!([{ "role": "ci", "mount": "auth/token/", "issued_before": instant }]);
    assert_eq!(marks.json()["data"]["marks"], want);
    let rights = r#"path "auth/token/revoke-batch" { capabilities = ["read", "update"] }"#;
    let own = bench.token(rights).await;
    let shown = bench.by(&own, "POST", path, json!({ "all": true })).await;
    assert_eq!(
        shown.brief(),
        r#"403 ["permission denied"]"#,
        "without sudo"
    );
}

#[tokio::test]
async fn tidy_is_accepted_and_removes_what_is_left() {
    let bench = Bench::new().await;
    let parent = created(&bench, "auth/token/create", json!({})).await;
    let parent = parent["client_token"].as_str().unwrap();
    bench
        .by(parent, "POST", "auth/token/create", json!({}))
        .await;
    let body = json!({ "token": parent });
    is_json(&bench.root("POST", "auth/token/revoke", body).await, 204);
    let children = || {
        let keys = bench.store.keys();
        let text = |key: &zone_ports::Key| String::from_utf8_lossy(key.as_bytes()).into_owned();
        let of_token = |key: &String| key.starts_with("root/") && key.contains("/child/");
        keys.iter().map(text).filter(of_token).count()
    };
    assert_eq!(children(), 1);
    let shown = bench.root("POST", "auth/token/tidy", NONE).await;
    is_json(&shown, 202);
    let warnings = shown.json()["warnings"].to_string();
    assert!(warnings.contains("Tidy operation successfully started"));
    assert_eq!(children(), 0);
}

#[tokio::test]
async fn a_lookup_without_a_name_is_of_oneself_and_never_by_url() {
    let bench = Bench::new().await;
    for (method, body) in [("POST", json!({})), ("PUT", NONE), ("GET", NONE)] {
        let shown = bench.root(method, "auth/token/lookup", body).await;
        is_json(&shown, 200);
        assert_eq!(shown.json()["data"]["id"], bench.root, "{method}");
    }
    let empty = json!({ "token": "" });
    let shown = bench.root("POST", "auth/token/lookup", empty).await;
    assert_eq!(shown.brief(), r#"400 ["missing token"]"#);
    for path in ["lookup?token=CANARY", "lookup-self?token=CANARY"] {
        let shown = bench.root("GET", &format!("auth/token/{path}"), NONE).await;
        assert_eq!(shown.status, 400, "{path}");
        assert!(!shown.text.contains("CANARY"));
    }
    for path in ["lookup/x", "renew/x", "revoke/x", "revoke-accessor/x"] {
        let shown = bench
            .root("POST", &format!("auth/token/{path}"), NONE)
            .await;
        assert_eq!(shown.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_shorter_life_than_asked_for_is_told() {
    let bench = Bench::new().await;
    let warnings = async |body| {
        let shown = bench.root("POST", "auth/token/create", body).await;
        shown.json()["warnings"].clone()
    };
    let app = |ttl: &str| json!({ "policies": "default", "ttl": ttl });
    assert_eq!(warnings(app("768h")).await, NONE);
    let want = "TTL of \"769h0m0s\" exceeded the effective max_ttl of \"768h0m0s\"; TTL value is \
                capped accordingly";
    assert_eq!(warnings(app("769h")).await, json!([want]));
}

/// What is said of a path is what a request for it would meet, in each spelling of both.
#[tokio::test]
async fn capabilities_are_those_of_the_path_that_is_judged() {
    let bench = Bench::new().await;
    let token = bench
        .token(
            r#"path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/policies/acl/*" { capabilities = ["read", "update"] }
path "sys/policies/acl/prod" { capabilities = ["deny"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "auth/token/create/ci" { capabilities = ["deny"] }
path "secret/metadata/a" { capabilities = ["list"] }
path "secret/metadata/b/" { capabilities = ["list", "sudo"] }"#,
        )
        .await;
    let known = json!({ "token": token });
    let known = bench.root("POST", "auth/token/lookup", known).await.json();
    let accessor = known["data"]["accessor"].clone();
    for (path, want) in [
        ("sys/policies/acl/prod", json!(["deny"])),
        ("sys/policies/acl/Prod", json!(["deny"])),
        ("/sys/policies/acl/dev", json!(["read", "update"])),
        ("auth/token/create/CI", json!(["deny"])),
        ("auth/token/create/x", json!(["update"])),
        ("secret/metadata/a/", json!(["list"])),
        ("secret/metadata/a", json!(["list"])),
        ("secret/metadata/b/", json!(["list", "sudo"])),
        ("secret/metadata/b", json!(["deny"])),
        ("secret//x", json!(["deny"])),
        ("", json!(["deny"])),
    ] {
        for (how, who) in [
            ("", json!({ "token": token })),
            ("-accessor", json!({ "accessor": accessor })),
            ("-self", json!({})),
        ] {
            let mut body = who;
            body["paths"] = json!([path, "other"]);
            let at = format!("sys/capabilities{how}");
            let shown = match how {
                "-self" => bench.by(&token, "POST", &at, body).await,
                _ => bench.root("POST", &at, body).await,
            };
            is_json(&shown, 200);
            assert_eq!(shown.json()["data"][path], want, "{path} {how}");
            assert_eq!(shown.json()["data"]["other"], json!(["deny"]));
        }
    }
    for (how, body) in [
        ("", json!({ "paths": "x" })),
        ("", json!({ "token": "hvs.none", "paths": "x" })),
        ("-accessor", json!({ "accessor": "none", "paths": "x" })),
        ("-self", json!({})),
        ("-self", json!({ "paths": [] })),
    ] {
        let at = format!("sys/capabilities{how}");
        assert_eq!(bench.root("POST", &at, body).await.status, 400, "{how}");
    }
}

/// The audit trail holds a batch token as an HMAC, like any other.
#[tokio::test]
async fn b1_no_audit_line_holds_a_batch_token() {
    let bench = Bench::new().await;
    let body = json!({ "type": "batch", "policies": "default" });
    let auth = created(&bench, "auth/token/create", body).await;
    let text = auth["client_token"].as_str().unwrap();
    bench.by(text, "GET", "auth/token/lookup-self", NONE).await;
    let lines = serde_json::to_string(&bench.trail.lines()).unwrap();
    assert!(lines.contains(r#""token_type":"batch""#), "{lines}");
    assert!(!lines.contains(&text[4..]));
}

/// At once, though the child's record is changed behind the answer.
#[tokio::test]
async fn a_child_of_a_token_that_was_revoked_alone_is_shown_as_an_orphan() {
    let bench = Bench::new().await;
    let made = async |token: &str| {
        let made = bench
            .by(token, "POST", "auth/token/create", json!({}))
            .await;
        made.json()["auth"]["client_token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let parent = made(&bench.root).await;
    let child = made(&parent).await;
    let own = async || {
        let own = bench
            .by(&child, "GET", "auth/token/lookup-self", Value::Null)
            .await;
        own.json()["data"]["orphan"].clone()
    };
    assert_eq!(own().await, false);
    let alone = json!({ "token": parent });
    let revoked = bench.root("POST", "auth/token/revoke-orphan", alone).await;
    assert_eq!(revoked.status, 204);
    assert_eq!(own().await, true);
}
