//! `sys/auth`: auth methods and what can be tuned.

use serde_json::{Value, json};

use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;

/// Status, headers, and the errors or the data.
#[track_caller]
fn plain(answer: &Shown, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let wanted = (status != 204).then_some("application/json");
    assert_eq!(answer.field("content-type"), wanted);
}

#[tokio::test]
async fn methods_are_enabled_listed_tuned_and_disabled() {
    let bench = Bench::new().await;
    let config = json!({ "default_lease_ttl": "1h", "token_type": "default-service" });
    let body = json!({ "type": "approle", "description": "machines", "config": config });
    plain(&bench.root("POST", "sys/auth/team/apps", body).await, 204);
    let people = json!({ "type": "userpass" });
    plain(&bench.root("PUT", "sys/auth/userpass", people).await, 204);

    let listed = bench.root("GET", "sys/auth", NONE).await;
    plain(&listed, 200);
    let listed = listed.json();
    let data = listed["data"].as_object().unwrap();
    let names: Vec<&String> = data.keys().collect();
    assert_eq!(names, ["team/apps/", "token/", "userpass/"]);
    assert_eq!(listed["team/apps/"], data["team/apps/"], "at the top too");
    let apps = &data["team/apps/"];
    assert_eq!(
        (&apps["type"], &apps["description"]),
        (&json!("approle"), &json!("machines"))
    );
    assert!(
        apps["accessor"]
            .as_str()
            .unwrap()
            .starts_with("auth_approle_")
    );
    assert_eq!(
        apps["config"],
        json!({ "default_lease_ttl": 3600, "max_lease_ttl": 0, "force_no_cache": false,
                "token_type": "default-service" })
    );
    let engines = bench.root("GET", "sys/mounts", NONE).await.json();
    assert!(engines["data"].get("auth/team/apps/").is_none());

    let one = bench.root("GET", "sys/auth/team/apps", NONE).await;
    plain(&one, 200);
    assert_eq!(&one.json()["data"], apps);
    let missing = bench.root("GET", "sys/auth/apps", NONE).await;
    plain(&missing, 400);
    assert_eq!(missing.brief(), r#"400 ["No auth engine at that path"]"#);

    let gone = bench.root("DELETE", "sys/auth/team/apps", NONE).await;
    plain(&gone, 204);
    plain(&bench.root("DELETE", "sys/auth/team/apps", NONE).await, 204);
    let listed = bench.root("GET", "sys/auth", NONE).await.json();
    assert_eq!(listed["data"].as_object().unwrap().len(), 2);
    for path in ["sys/auth/token", "sys/auth/token/"] {
        let kept = bench.root("DELETE", path, NONE).await;
        assert_eq!(kept.brief(), r#"400 ["the path auth/token/ is reserved"]"#);
    }
}

#[tokio::test]
async fn tuning_takes_both_paths_and_refuses_what_is_not_obeyed() {
    let bench = Bench::new().await;
    let people = json!({ "type": "userpass" });
    bench.root("PUT", "sys/auth/people", people).await;
    let lockout = json!({ "lockout_threshold": "3", "lockout_duration": "10m" });
    let tune = json!({ "max_lease_ttl": "2h", "listing_visibility": "unauth",
                       "token_type": "service", "user_lockout_config": lockout,
                       "audit_non_hmac_request_keys": ["role"] });
    plain(&bench.root("POST", "sys/auth/people/tune", tune).await, 204);
    let description = json!({ "description": "the staff" });
    let path = "sys/mounts/auth/people/tune";
    plain(&bench.root("POST", path, description).await, 204);
    for path in ["sys/auth/people/tune", path] {
        let shown = bench.root("GET", path, NONE).await;
        plain(&shown, 200);
        let expected = json!({
            "default_lease_ttl": 2_764_800, "max_lease_ttl": 7200, "force_no_cache": false,
            "token_type": "service", "listing_visibility": "unauth",
            "audit_non_hmac_request_keys": ["role"],
            "user_lockout_config": { "lockout_threshold": 3, "lockout_duration": 600,
                                     "lockout_counter_reset": 900, "disable_lockout": false },
            "user_lockout_threshold": 3, "user_lockout_duration": 600,
            "user_lockout_counter_reset_duration": 900, "user_lockout_disable": false,
            "description": "the staff", "options": null });
        assert_eq!(shown.json()["data"], expected);
    }
    // A later change of one part leaves the others.
    let off = json!({ "user_lockout_config": { "lockout_disable": true } });
    bench.root("POST", "sys/auth/people/tune", off).await;
    let shown = bench.root("GET", path, NONE).await.json();
    assert_eq!(shown["data"]["user_lockout_threshold"], 3);
    assert_eq!(shown["data"]["user_lockout_disable"], true);
    for (body, field) in [
        (
            json!({ "passthrough_request_headers": ["x-a"] }),
            "passthrough_request_headers",
        ),
        (
            json!({ "allowed_response_headers": "x-a" }),
            "allowed_response_headers",
        ),
        (json!({ "plugin_version": "1" }), "plugin_version"),
        (json!({ "token_type": "SECRET" }), "token_type"),
        (
            json!({ "user_lockout_config": { "lockout_threshold": 0 } }),
            "lockout_threshold",
        ),
        (
            json!({ "user_lockout_config": { "lockout_duration": "0" } }),
            "lockout_duration",
        ),
        (
            json!({ "user_lockout_config": "SECRET" }),
            "user_lockout_config",
        ),
    ] {
        let refused = bench.root("POST", "sys/auth/people/tune", body).await;
        plain(&refused, 400);
        assert!(
            refused.text.contains(field) && !refused.text.contains("SECRET"),
            "{refused:?}"
        );
    }
    for (path, field) in [
        ("sys/mounts/secret/tune", "token_type"),
        ("sys/auth/token/tune", "token_type"),
        ("sys/mounts/secret/tune", "user_lockout_config"),
    ] {
        let body = match field {
            "token_type" => json!({ field: "batch" }),
            _ => json!({ field: {} }),
        };
        let refused = bench.root("POST", path, body).await;
        assert!(
            refused.status == 400 && refused.text.contains(field),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_enabled_is_named() {
    let bench = Bench::new().await;
    for (path, body, text) in [
        ("x", json!({}), "missing type"),
        ("x", json!({ "type": "ldap" }), "no such auth method"),
        ("x", json!({ "type": "token" }), "no such auth method"),
        ("x", json!({ "type": "approle", "local": true }), "'local'"),
        (
            "x",
            json!({ "type": "approle", "seal_wrap": true }),
            "'seal_wrap'",
        ),
        (
            "x",
            json!({ "type": "approle", "options": { "a": "b" } }),
            "'options'",
        ),
        ("token", json!({ "type": "approle" }), "reserved"),
        ("token/x", json!({ "type": "approle" }), "reserved"),
        ("a*", json!({ "type": "approle" }), "'*'"),
        (
            "x",
            json!({ "type": "approle", "config": { "max_lease_ttl": 1, "default_lease_ttl": 2 } }),
            "default_lease_ttl",
        ),
    ] {
        let refused = bench.root("POST", &format!("sys/auth/{path}"), body).await;
        plain(&refused, 400);
        assert!(refused.text.contains(text), "{path}: {refused:?}");
    }
    for path in ["sys/mounts/auth/x", "sys/mounts/auth/token"] {
        for (method, body) in [("DELETE", NONE), ("POST", json!({ "type": "kv-v2" }))] {
            let refused = bench.root(method, path, body).await;
            assert!(
                refused.status == 400 && refused.text.contains("sys/auth"),
                "{refused:?}"
            );
        }
    }
    plain(
        &bench
            .root("POST", "sys/auth", json!({ "type": "approle" }))
            .await,
        405,
    );
}

/// As in Vault, enabling, reading one and tuning need sudo; the list does not.
#[tokio::test]
async fn auth_methods_are_the_operators() {
    let bench = Bench::new().await;
    bench
        .root("PUT", "sys/auth/people", json!({ "type": "userpass" }))
        .await;
    let all =
        r#"path "sys/auth*" { capabilities = ["create", "read", "update", "delete", "list"] }"#;
    let token = bench.token(all).await;
    let ask = async |token: &str, method: &str, path: &str| {
        let body = if method == "POST" {
            json!({ "type": "approle" })
        } else {
            NONE
        };
        bench.by(token, method, path, body).await.status
    };
    assert_eq!(ask(&token, "GET", "sys/auth").await, 200);
    for (method, path) in [
        ("POST", "sys/auth/x"),
        ("GET", "sys/auth/people"),
        ("DELETE", "sys/auth/people"),
        ("GET", "sys/auth/people/tune"),
    ] {
        assert_eq!(ask(&token, method, path).await, 403, "{method} {path}");
    }
    let sudo = r#"path "sys/auth/*" { capabilities = ["create", "read", "update", "sudo"] }"#;
    let token = bench.token(sudo).await;
    assert_eq!(ask(&token, "POST", "sys/auth/x").await, 204);
    assert_eq!(ask(&token, "GET", "sys/auth/people/tune").await, 200);
    for method in ["GET", "POST"] {
        let stranger = bench.send(method, "sys/auth", NONE).await;
        plain(&stranger, 403);
    }
}

/// Vault's Go library reads an auth method there, because `sys/auth/PATH` needs sudo.
#[tokio::test]
async fn an_auth_method_is_read_at_sys_mounts_too() {
    let bench = Bench::with_methods().await;
    for name in ["approle", "token"] {
        let path = format!("sys/mounts/auth/{name}");
        let (here, there) = (
            bench.root("GET", &path, NONE).await,
            bench.root("GET", &format!("sys/auth/{name}"), NONE).await,
        );
        plain(&here, 200);
        assert_eq!(here.json()["data"], there.json()["data"]);
        let policy = format!("path \"{path}\" {{ capabilities = [\"read\"] }}");
        let own = bench.token(&policy).await;
        assert_eq!(bench.by(&own, "GET", &path, NONE).await.status, 200);
    }
    let none = bench.root("GET", "sys/mounts/auth/none", NONE).await;
    assert_eq!(none.brief(), r#"400 ["No auth engine at that path"]"#);
}
