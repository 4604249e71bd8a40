//! `sys/`: health, init, mounts, audit devices.

use std::time::Duration;

use serde_json::{Value, json};
use zone_testkit::Fault;

use crate::testing::Bench;

const NONE: Value = Value::Null;

#[tokio::test]
async fn health_tells_by_its_status_and_by_what_the_client_wishes() {
    let empty = Bench::empty().await;
    let sealed = Bench::sealed().await;
    let open = Bench::new().await;
    let ask = async |bench: &Bench, method: &str, query: &str| {
        let answer = bench
            .send(method, &format!("sys/health{query}"), NONE)
            .await;
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        answer.status
    };
    for method in ["GET", "HEAD"] {
        assert_eq!(ask(&empty, method, "").await, 501);
        assert_eq!(ask(&sealed, method, "").await, 503);
        assert_eq!(ask(&open, method, "").await, 200);
        let all = "?activecode=299&standbycode=299&sealedcode=299&uninitcode=299\
                   &drsecondarycode=299&performancestandbycode=299&standbyok=true&perfstandbyok";
        for bench in [&empty, &sealed, &open] {
            assert_eq!(ask(bench, method, all).await, 299);
        }
    }
    assert_eq!(ask(&sealed, "GET", "?activecode=201").await, 503);
    assert_eq!(
        ask(&sealed, "GET", "?sealedcode=200&uninitcode=201").await,
        200
    );
    let bodiless = open.send("GET", "sys/health?activecode=204", NONE).await;
    assert!(
        bodiless.status == 204 && bodiless.text.is_empty(),
        "{bodiless:?}"
    );
    assert_eq!(bodiless.field("content-type"), None);
    for bad in ["199", "600", "0", "-1", "99999", "x", "1e2"] {
        for name in ["activecode", "sealedcode", "drsecondarycode"] {
            assert_eq!(
                ask(&open, "GET", &format!("?{name}={bad}")).await,
                400,
                "{name}={bad}"
            );
        }
    }
    assert_eq!(
        ask(&open, "GET", "?activecode=200&activecode=201").await,
        400
    );
    let body = open.send("GET", "sys/health", NONE).await.json();
    assert_eq!(body["cluster_name"], "zone.example");
    assert_eq!(body["server_time_utc"], 1_794_995_200);
}

#[tokio::test]
async fn init_names_what_it_cannot_do() {
    let bench = Bench::empty().await;
    for (body, text) in [
        (json!({ "pgp_keys": ["a"] }), "age_recipients"),
        (json!({ "root_token_pgp_key": "a" }), "age_recipients"),
        (json!({ "recovery_shares": 5 }), "only a Shamir seal"),
        (json!({ "secret_shares": 256 }), "1 to 255"),
        (json!({ "secret_shares": -1 }), "1 to 255"),
        (json!({ "secret_shares": "many" }), "whole number"),
        (json!({ "secret_shares": 5, "secret_threshold": 1 }), ""),
        (
            json!({ "age_recipients": ["age1x"] }),
            "one recipient for each share",
        ),
        (json!("["), "one JSON document"),
    ] {
        let refused = bench.send("PUT", "sys/init", body.clone()).await;
        assert!(
            refused.status == 400 && refused.text.contains(text),
            "{body}: {refused:?}"
        );
    }
    let deep = json!("[".repeat(100));
    assert_eq!(bench.send("PUT", "sys/init", deep).await.status, 413);
    let none = json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": null,
                       "recovery_shares": 0, "stored_shares": 0, "recovery_pgp_keys": [] });
    let made = bench.send("PUT", "sys/init", none.clone()).await;
    assert_eq!(made.status, 200);
    let fields: Vec<String> = made.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["keys", "keys_base64", "root_token"]);
    let again = bench.send("PUT", "sys/init", none).await;
    assert_eq!(again.brief(), r#"400 ["Vault is already initialized"]"#);
}

#[tokio::test]
async fn unseal_shows_progress_and_names_faults() {
    let bench = Bench::empty().await;
    let early = bench
        .send("PUT", "sys/unseal", json!({ "key": "00".repeat(33) }))
        .await;
    assert_eq!(early.brief(), r#"400 ["Vault is not initialized"]"#);
    let made = bench.send("PUT", "sys/init", json!({})).await.json();
    for (body, text) in [
        (json!({}), "'key' must be specified"),
        (json!({ "key": "" }), "'key' must be specified"),
        (json!({ "key": ["a"] }), "'key'"),
        (json!({ "key": "zz" }), "hex or base64"),
        (
            json!({ "migrate": true, "key": made["keys"][0] }),
            "migrate",
        ),
        (json!({ "reset": "perhaps" }), "'reset'"),
    ] {
        let refused = bench.send("PUT", "sys/unseal", body.clone()).await;
        assert!(
            refused.status == 400 && refused.text.contains(text),
            "{body}: {refused:?}"
        );
    }
    let first = bench.send("PUT", "sys/unseal", json!({ "key": made["keys"][0] }));
    let first = first.await.json();
    assert_eq!(
        (&first["progress"], &first["t"], &first["n"]),
        (&json!(1), &json!(3), &json!(5))
    );
    assert_eq!(first["nonce"].as_str().unwrap().len(), 36);
    assert!(
        first.get("cluster_name").is_none(),
        "told once the zone is open"
    );
    let reset = bench
        .send("PUT", "sys/unseal", json!({ "reset": true }))
        .await
        .json();
    assert_eq!(
        (&reset["progress"], &reset["sealed"]),
        (&json!(0), &json!(true))
    );
}

#[tokio::test]
async fn tuning_changes_what_is_named_and_nothing_else() {
    let bench = Bench::new().await;
    let tune = async |body: Value| bench.root("PUT", "sys/mounts/secret/tune", body).await;
    let described = json!({ "description": "ours", "listing_visibility": "unauth" });
    assert_eq!(tune(described).await.status, 204);
    let keys = json!({ "max_lease_ttl": "48h", "audit_non_hmac_request_keys": ["note"] });
    assert_eq!(tune(keys).await.status, 204);
    let refused = tune(json!({ "description": "theirs", "max_lease_ttl": "-1s" })).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let older = tune(json!({ "description": "theirs", "options": { "version": "1" } })).await;
    assert_eq!(older.status, 400, "{older:?}");
    let shown = bench
        .root("GET", "sys/mounts/secret/tune", NONE)
        .await
        .json();
    let expected = json!({
        "default_lease_ttl": 2_764_800,
        "max_lease_ttl": 172_800,
        "force_no_cache": false,
        "listing_visibility": "unauth",
        "audit_non_hmac_request_keys": ["note"],
        "description": "ours",
        "options": { "version": "2" },
    });
    assert_eq!(shown["data"], expected);
    let mount = bench.root("GET", "sys/mounts/secret", NONE).await.json();
    assert_eq!(mount["data"]["config"]["max_lease_ttl"], 172_800);
    let strangers = bench
        .send("GET", "sys/internal/ui/mounts", NONE)
        .await
        .json();
    assert_eq!(strangers["data"]["secret"].as_object().unwrap().len(), 1);
    assert!(strangers["data"]["auth"].as_object().unwrap().is_empty());
}

#[tokio::test]
async fn engines_that_do_not_exist_are_not_mounted_as_others() {
    let bench = Bench::new().await;
    let enable = async |kind: &str, version: Value| {
        let options = json!({ "version": version });
        let body = json!({ "type": kind, "options": options });
        bench
            .root("PUT", &format!("sys/mounts/{kind}"), body)
            .await
            .status
    };
    for (kind, version) in [
        ("kv", json!("3")),
        ("kv", json!("")),
        ("kv-v1", json!("2")),
        ("kv-v2", json!("1")),
        ("generic", json!(0)),
        ("transit", json!("2")),
    ] {
        assert_eq!(enable(kind, version.clone()).await, 400, "{kind} {version}");
    }
    assert_eq!(enable("kv", json!(2)).await, 204);
    assert_eq!(enable("kv-v2", json!("2")).await, 204);
    assert_eq!(enable("kv-v1", json!("1")).await, 204);
    assert_eq!(enable("generic", json!(1)).await, 204);
    let local = json!({ "type": "pki", "local": true });
    assert_eq!(
        bench.root("PUT", "sys/mounts/local", local).await.status,
        400
    );
}

/// Less than a second is not nothing: nothing stands for the longest time there is.
#[tokio::test]
async fn a_part_of_a_second_is_never_the_default() {
    let bench = Bench::new().await;
    let ask = json!({ "ttl": "1ms", "explicit_max_ttl": "1ms" });
    let made = bench.root("POST", "auth/token/create", ask).await.json();
    assert_eq!(made["auth"]["lease_duration"], 1);
    let lease = json!({ "lease": "90s" });
    let made = bench.root("POST", "auth/token/create", lease).await.json();
    assert_eq!(made["auth"]["lease_duration"], 90);
}

#[tokio::test]
async fn audit_options_that_are_not_obeyed_are_refused() {
    let bench = Bench::new().await;
    let enable = async |options: Value| {
        let body = json!({ "type": "file", "options": options });
        bench.root("PUT", "sys/audit/second", body).await
    };
    for (name, value) in [
        ("log_raw", "true"),
        ("hmac_accessor", "perhaps"),
        ("fallback", "true"),
        ("acknowledge", "true"),
        ("format", "jsonx"),
        ("mode", "0644"),
        ("prefix", "#!/bin/sh"),
        ("exclude", "[{}]"),
        ("filter", "x"),
    ] {
        let mut options = json!({ "file_path": "/2.log" });
        options[name] = value.into();
        let refused = enable(options).await;
        assert!(
            refused.status == 400 && refused.text.contains("options"),
            "{name}: {refused:?}"
        );
    }
    // So is what cannot be reached, or must not be; the field is named.
    let send = async |kind: &str, options: Value| {
        let body = json!({ "type": kind, "options": options });
        bench.root("PUT", "sys/audit/second", body).await.brief()
    };
    for (kind, options, why) in [
        ("syslog", json!({ "facility": "X" }), "options.facility"),
        ("syslog", json!({ "file_path": "/x" }), "options.file_path"),
        ("syslog", json!({}), "not among the allowed receivers"),
        ("socket", json!({}), "missing options.address"),
        ("socket", json!({ "address": "x" }), "options.address"),
        (
            "socket",
            json!({ "address": "a:1", "socket_type": "x" }),
            "options.socket_type",
        ),
        (
            "socket",
            json!({ "address": "a:1", "write_timeout": "x" }),
            "options.write_timeout",
        ),
        (
            "socket",
            json!({ "address": "a:1" }),
            "not among the allowed receivers",
        ),
        ("http", json!({ "uri": "http://a" }), "field 'type'"),
    ] {
        let refused = send(kind, options).await;
        assert!(
            refused.starts_with("400") && refused.contains(why),
            "{kind}: {refused}"
        );
    }
    let unnamed = enable(json!({})).await;
    assert_eq!(unnamed.brief(), r#"400 ["missing options.file_path"]"#);
    // The end of a device's name may be a slash, as Vault lists it; it is the same device.
    let last = bench.root("DELETE", "sys/audit/file/", NONE).await;
    assert!(last.status == 400 && last.text.contains("last"), "{last:?}");
    let listed = bench.root("GET", "sys/audit", NONE).await.json();
    assert_eq!(
        listed["data"]["file/"]["options"]["file_path"],
        "/audit.log"
    );
    assert_eq!(listed["file/"], listed["data"]["file/"]);
}

#[tokio::test]
async fn a_store_that_fails_is_503_and_says_nothing_of_itself() {
    let bench = Bench::new().await;
    let body = json!({ "data": { "v": "1" } });
    bench.store.fail_at(1, Fault::Full);
    let full = bench.root("PUT", "secret/data/x", body.clone()).await;
    assert_eq!(full.brief(), r#"503 ["storage is not available"]"#);
    assert_eq!(bench.root("PUT", "secret/data/x", body).await.status, 200);
    // Time goes on; tokens that ended are 403.
    let ask = json!({ "ttl": "1m" });
    let made = bench.root("POST", "auth/token/create", ask).await.json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let me = async || {
        bench
            .by(&token, "GET", "auth/token/lookup-self", NONE)
            .await
            .status
    };
    assert_eq!(me().await, 200);
    bench.clock.advance(Duration::from_secs(61));
    assert_eq!(me().await, 403);
}

#[tokio::test]
async fn metrics_need_a_token() {
    let bench = Bench::new().await;
    let metrics = "sys/metrics?format=prometheus";
    assert_eq!(bench.send("GET", metrics, NONE).await.status, 403);
    let text = bench.root("GET", metrics, NONE).await;
    assert_eq!(
        text.field("content-type"),
        Some(crate::metrics::CONTENT_TYPE)
    );
    assert!(text.text.ends_with("# EOF\n") && text.text.contains("zonehead_sealed 0\n"));
}

/// Terraform makes a device anew at each apply if its options are shown in another way.
#[tokio::test]
async fn an_audit_device_shows_its_options_as_they_were_asked_for() {
    let bench = Bench::new().await;
    for options in [
        json!({ "file_path": "/2.log" }),
        json!({ "path": "/2.log", "hmac_accessor": "true", "mode": "0600", "format": "json" }),
        json!({ "file_path": "/2.log", "elide_list_responses": "true", "skip_test": "false" }),
    ] {
        let body = json!({ "type": "file", "description": "d", "options": options });
        let made = bench.root("PUT", "sys/audit/second", body).await;
        assert_eq!(made.status, 204, "{made:?}");
        let listed = bench.root("GET", "sys/audit", NONE).await.json();
        let device = &listed["data"]["second/"];
        assert_eq!(device["options"], options);
        assert_eq!(device["public_key"].as_str().unwrap().len(), 88);
        bench.root("DELETE", "sys/audit/second", NONE).await;
    }
}
