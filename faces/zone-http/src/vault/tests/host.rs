//! `sys/tools`, `sys/config`, and the head itself: host, log, requests in flight, versions, raw.

use serde_json::{Value, json};

use crate::testing::Bench;

const NONE: Value = Value::Null;

#[tokio::test]
async fn random_bytes_come_in_each_spelling() {
    let bench = Bench::new().await;
    for (path, body, length) in [
        ("sys/tools/random", NONE, 44),
        ("sys/tools/random/16", json!({ "format": "hex" }), 32),
        (
            "sys/tools/random/platform",
            json!({ "bytes": "16", "format": "hex" }),
            32,
        ),
        (
            "sys/tools/random/platform/16",
            json!({ "format": "hex" }),
            32,
        ),
        (
            "sys/tools/random",
            json!({ "bytes": 131_072, "format": "hex" }),
            262_144,
        ),
    ] {
        let shown = bench.root("POST", path, body.clone()).await;
        assert_eq!(shown.status, 200, "{path}: {shown:?}");
        assert_eq!(shown.field("content-type"), Some("application/json"));
        assert_eq!(shown.field("cache-control"), Some("no-store"));
        let drawn = shown.json()["data"]["random_bytes"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(drawn.len(), length, "{path}");
        let again = bench.root("POST", path, body).await.json();
        assert_ne!(again["data"]["random_bytes"], drawn.as_str());
    }
    let number = r#"400 ["field 'bytes': expected a number from 1 to 131072"]"#;
    let seal = r#"400 ["field 'source': the seal has no generator of its own; use platform"]"#;
    for (path, body, expected) in [
        ("sys/tools/random/0", NONE, number),
        ("sys/tools/random/131073", NONE, number),
        ("sys/tools/random/99999999999999999999", NONE, number),
        ("sys/tools/random", json!({ "bytes": -1 }), number),
        ("sys/tools/random/platform/x", NONE, number),
        ("sys/tools/random/seal", NONE, seal),
        ("sys/tools/random/all/16", NONE, seal),
        (
            "sys/tools/random/moon",
            NONE,
            r#"400 ["field 'source': expected platform"]"#,
        ),
        (
            "sys/tools/random",
            json!({ "format": "CANARY" }),
            r#"400 ["field 'format': expected base64 or hex"]"#,
        ),
    ] {
        assert_eq!(
            bench.root("POST", path, body).await.brief(),
            expected,
            "{path}"
        );
    }
    assert_eq!(
        bench.root("GET", "sys/tools/random", NONE).await.status,
        405
    );
}

#[tokio::test]
async fn hashes_are_those_of_vault() {
    let bench = Bench::new().await;
    let sum = async |path: &str, body: Value| {
        let shown = bench.root("POST", path, body).await;
        assert_eq!(shown.status, 200, "{shown:?}");
        shown.json()["data"]["sum"].as_str().unwrap().to_owned()
    };
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let input = || json!({ "input": "YWJj" });
    assert_eq!(sum("sys/tools/hash", input()).await, abc);
    assert_eq!(sum("sys/tools/hash/sha2-256", input()).await, abc);
    let named = json!({ "input": "YWJj", "algorithm": "sha2-224", "format": "base64" });
    assert_eq!(
        sum("sys/tools/hash", named).await,
        "Iwl9IjQF2CKGQqR3vaJVsyqtvOS9oLP342ydpw=="
    );
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(sum("sys/tools/hash", NONE).await, empty);
    for (path, body, field) in [
        ("sys/tools/hash", json!({ "input": "CANARY!" }), "'input'"),
        ("sys/tools/hash/md5", input(), "'algorithm'"),
        (
            "sys/tools/hash",
            json!({ "input": "", "format": "CANARY" }),
            "'format'",
        ),
    ] {
        let brief = bench.root("POST", path, body).await.brief();
        assert!(
            brief.starts_with("400 ") && brief.contains(field),
            "{brief}"
        );
        assert!(!brief.contains("CANARY"), "{brief}");
    }
}

async fn page(bench: &Bench, method: &str, origin: &str, asked: &str) -> crate::testing::Shown {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", asked),
        ("x-vault-token", bench.root.as_str()),
    ];
    bench.with(method, "sys/mounts", &fields, NONE).await
}

#[tokio::test]
async fn pages_are_answered_only_as_the_operator_says() {
    let bench = Bench::new().await;
    let ui = "https://ui.example:8443";
    let off = bench.root("GET", "sys/config/cors", NONE).await.json();
    assert_eq!(off["data"], json!({ "enabled": false }));
    assert_eq!(page(&bench, "OPTIONS", ui, "GET").await.status, 405);
    let plain = page(&bench, "GET", ui, "").await;
    assert_eq!(
        (plain.status, plain.field("access-control-allow-origin")),
        (200, None)
    );
    let on = json!({ "allowed_origins": [ui, "http://localhost"], "allowed_headers": "X-Own" });
    let set = bench.root("POST", "sys/config/cors", on).await;
    assert_eq!(set.status, 204, "{set:?}");
    let shown = bench.root("GET", "sys/config/cors", NONE).await.json();
    assert_eq!(shown["data"]["enabled"], true);
    assert_eq!(
        shown["data"]["allowed_origins"],
        json!([ui, "http://localhost"])
    );
    assert_eq!(shown["enabled"], true, "also at the root, as in Vault");
    let asked = page(&bench, "OPTIONS", ui, "LIST").await;
    assert_eq!((asked.status, asked.text.as_str()), (204, ""));
    assert_eq!(asked.field("access-control-allow-origin"), Some(ui));
    assert_eq!(asked.field("vary"), Some("Origin"));
    assert_eq!(asked.field("access-control-max-age"), Some("300"));
    let headers = asked.field("access-control-allow-headers").unwrap();
    assert!(headers.contains("X-Vault-Token") && headers.contains("X-Own"));
    let methods = asked.field("access-control-allow-methods").unwrap();
    assert!(methods.contains("LIST") && methods.contains("PATCH"));
    let read = page(&bench, "GET", ui, "").await;
    assert_eq!(read.status, 200);
    assert_eq!(read.field("access-control-allow-origin"), Some(ui));
    assert_eq!(read.field("access-control-allow-credentials"), None);
    assert_eq!(page(&bench, "OPTIONS", ui, "TRACE").await.status, 405);
    for method in ["OPTIONS", "GET"] {
        let evil = page(&bench, method, "https://evil.example", "GET").await;
        assert_eq!(evil.brief(), r#"403 ["origin not allowed"]"#, "{method}");
        assert_eq!(evil.field("access-control-allow-origin"), None);
    }
    // B2: a sealed zone does not know whom its operator lets in.
    bench.root("PUT", "sys/seal", NONE).await;
    let sealed = page(&bench, "GET", ui, "").await;
    assert_eq!(
        (sealed.status, sealed.field("access-control-allow-origin")),
        (503, None)
    );
    bench.unseal().await;
    assert_eq!(page(&bench, "OPTIONS", ui, "GET").await.status, 204);
    assert_eq!(
        bench.root("DELETE", "sys/config/cors", NONE).await.status,
        204
    );
    assert_eq!(page(&bench, "OPTIONS", ui, "GET").await.status, 405);
}

#[tokio::test]
async fn attack_what_is_no_origin_is_not_allowed_one() {
    let bench = Bench::new().await;
    for origins in [
        json!([]),
        json!(["*", "https://ui.example"]),
        json!(["https://ui.example/path"]),
        json!(["https://ui.example/"]),
        json!(["ui.example"]),
        json!(["https://*.example"]),
        json!(["https://user@ui.example"]),
        json!(["https://UI.example"]),
        json!(["javascript://x"]),
        json!(["null"]),
        json!(["https://ui.example\r\nX-Own: 1"]),
    ] {
        let body = json!({ "allowed_origins": origins });
        let refused = bench.root("PUT", "sys/config/cors", body).await;
        let brief = refused.brief();
        assert!(
            brief.starts_with(r#"400 ["field 'allowed_origins': "#),
            "{origins}: {brief}"
        );
    }
    let body = json!({ "allowed_origins": "*", "allowed_headers": ["X\r\nY"] });
    let refused = bench.root("PUT", "sys/config/cors", body).await;
    assert_eq!(refused.status, 400);
    let any = json!({ "allowed_origins": "*" });
    assert_eq!(bench.root("PUT", "sys/config/cors", any).await.status, 204);
    let asked = page(&bench, "OPTIONS", "https://any.example", "GET").await;
    assert_eq!(
        asked.field("access-control-allow-origin"),
        Some("https://any.example")
    );
}

#[tokio::test]
async fn request_headers_are_audited_as_they_are_configured() {
    let bench = Bench::new().await;
    let area = "sys/config/auditing/request-headers";
    let clear = bench
        .root(
            "PUT",
            &format!("{area}/X-Trace-Id"),
            json!({ "hmac": false }),
        )
        .await;
    assert_eq!(clear.status, 204);
    let hashed = bench
        .root("PUT", &format!("{area}/x-user"), json!({ "hmac": "true" }))
        .await;
    assert_eq!(hashed.status, 204);
    let all = bench.root("GET", area, NONE).await.json();
    let expected = json!({ "x-trace-id": { "hmac": false }, "x-user": { "hmac": true } });
    assert_eq!(all["data"]["headers"], expected);
    let one = bench
        .root("GET", &format!("{area}/X-User"), NONE)
        .await
        .json();
    assert_eq!(one["data"], json!({ "X-User": { "hmac": true } }));
    let send = async || {
        bench.trail.clear();
        let long = "x".repeat(257);
        let fields = [
            ("x-vault-token", bench.root.as_str()),
            ("x-trace-id", "trace-1"),
            ("x-user", "CANARY-user"),
            ("x-other", "CANARY-other"),
        ];
        bench.with("GET", "sys/mounts", &fields, NONE).await;
        let fields = [("x-trace-id", long.as_str())];
        bench.with("GET", "sys/mounts", &fields, NONE).await;
        bench.trail.lines()
    };
    let lines = send().await;
    let text = serde_json::to_string(&lines).unwrap();
    assert!(!text.contains("CANARY") && !text.contains("xxx"), "{text}");
    let headers = &lines[0]["request"]["headers"];
    assert_eq!(headers["x-trace-id"], json!(["trace-1"]));
    assert!(
        headers["x-user"][0]
            .as_str()
            .unwrap()
            .starts_with("hmac-sha256:")
    );
    for name in ["x-trace-id", "x-user"] {
        let gone = bench.root("DELETE", &format!("{area}/{name}"), NONE).await;
        assert_eq!(gone.status, 204);
    }
    assert!(
        send().await[0]["request"]["headers"]
            .get("x-trace-id")
            .is_none()
    );
    let unknown = bench.root("GET", &format!("{area}/x-user"), NONE).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn attack_credentials_are_never_audited() {
    let bench = Bench::new().await;
    for name in [
        "X-Vault-Token",
        "authorization",
        "Cookie",
        "proxy-authorization",
    ] {
        let path = format!("sys/config/auditing/request-headers/{name}");
        for hmac in [true, false] {
            let refused = bench.root("PUT", &path, json!({ "hmac": hmac })).await;
            let text = r#"400 ["this header holds credentials and is not audited"]"#;
            assert_eq!(refused.brief(), text, "{name}");
        }
    }
}

#[tokio::test]
async fn headers_of_a_user_interface_are_kept_and_shown() {
    let bench = Bench::new().await;
    let area = "sys/config/ui/headers";
    assert_eq!(bench.root("LIST", area, NONE).await.brief(), "404 []");
    let put = json!({ "values": ["one", "two"] });
    let put = bench.root("PUT", &format!("{area}/X-Own"), put).await;
    assert_eq!(put.status, 204, "{put:?}");
    let keys = bench.root("LIST", area, NONE).await.json();
    assert_eq!(keys["data"]["keys"], json!(["x-own"]));
    let one = bench
        .root("GET", &format!("{area}/x-own"), NONE)
        .await
        .json();
    assert_eq!(one["data"], json!({ "value": "one, two" }));
    let many = bench
        .root("GET", &format!("{area}/x-own?multivalue=true"), NONE)
        .await
        .json();
    assert_eq!(many["data"], json!({ "values": ["one", "two"] }));
    for (name, values) in [
        ("x-own", json!([])),
        ("x-own", json!(["a\r\nb"])),
        ("X-Vault-Own", json!(["x"])),
        ("x%20own", json!(["x"])),
    ] {
        let body = json!({ "values": values });
        let refused = bench.root("PUT", &format!("{area}/{name}"), body).await;
        assert_eq!(refused.status, 400, "{name} {values}");
    }
    assert_eq!(
        bench
            .root("DELETE", &format!("{area}/x-own"), NONE)
            .await
            .status,
        204
    );
    assert_eq!(
        bench
            .root("GET", &format!("{area}/x-own"), NONE)
            .await
            .brief(),
        "404 []"
    );
}

#[tokio::test]
async fn the_host_and_its_figures() {
    let bench = Bench::new().await;
    let shown = bench.root("GET", "sys/host-info", NONE).await;
    assert_eq!(shown.field("content-type"), Some("application/json"));
    let data = shown.json()["data"].clone();
    assert_eq!(data["host"]["hostname"], "head-1");
    assert_eq!(data["memory"]["used"], 250);
    assert_eq!(data["memory"]["usedPercent"], json!(25.0));
    assert_eq!(data["disk"][0]["usedPercent"], json!(75.0));
    let counted = bench.root("GET", "sys/metrics", NONE).await;
    assert_eq!(counted.field("content-type"), Some("application/json"));
    let counted = counted.json();
    assert_eq!(
        counted["Gauges"][0],
        json!({ "Name": "zonehead.sealed", "Value": 0, "Labels": {} })
    );
    assert_eq!(counted["Counters"][1]["Labels"], json!({ "class": "2xx" }));
    let text = bench
        .root("GET", "sys/metrics?format=prometheus", NONE)
        .await;
    assert!(text.text.ends_with("# EOF\n"));
    assert_eq!(
        bench.root("GET", "sys/metrics?format=x", NONE).await.status,
        400
    );
}

#[tokio::test]
async fn levels_of_the_log_are_changed_while_it_runs() {
    let bench = Bench::new().await;
    let levels = async |path: &str| bench.root("GET", path, NONE).await.json()["data"].clone();
    let both = json!({ "zone_access": "info", "zone_http": "info" });
    assert_eq!(levels("sys/loggers").await, both);
    let level = json!({ "level": "debug" });
    assert_eq!(
        bench
            .root("POST", "sys/loggers/zone_http", level)
            .await
            .status,
        204
    );
    assert_eq!(
        levels("sys/loggers/zone_http").await,
        json!({ "zone_http": "debug" })
    );
    assert_eq!(levels("sys/loggers").await["zone_access"], "info");
    let level = json!({ "level": "warning" });
    assert_eq!(bench.root("POST", "sys/loggers", level).await.status, 204);
    assert_eq!(levels("sys/loggers").await["zone_access"], "warn");
    assert_eq!(bench.root("DELETE", "sys/loggers", NONE).await.status, 204);
    assert_eq!(levels("sys/loggers").await, both);
    for (path, body) in [
        ("sys/loggers", json!({ "level": "loud" })),
        ("sys/loggers", NONE),
        ("sys/loggers/none", json!({ "level": "info" })),
    ] {
        assert_eq!(bench.root("POST", path, body).await.status, 400, "{path}");
    }
    assert_eq!(
        bench.root("GET", "sys/loggers/none", NONE).await.status,
        400
    );
    assert_eq!(
        bench.root("DELETE", "sys/loggers/none", NONE).await.status,
        400
    );
}

/// Terraform takes what stands under its own spelling without looking, and knows by these words that
/// there is nothing.
#[tokio::test]
async fn an_audited_header_is_shown_under_the_name_that_was_asked_for() {
    let bench = Bench::new().await;
    let path = "sys/config/auditing/request-headers/X-Trace-Id";
    let hmac = json!({ "hmac": true });
    bench.root("PUT", path, hmac.clone()).await;
    for name in ["X-Trace-Id", "x-trace-id"] {
        let path = format!("sys/config/auditing/request-headers/{name}");
        let shown = bench.root("GET", &path, NONE).await.json();
        assert_eq!(shown["data"], json!({ name: hmac }));
    }
    bench.root("DELETE", path, NONE).await;
    let gone = bench.root("GET", path, NONE).await;
    assert_eq!(gone.brief(), r#"400 ["Could not find header in config"]"#);
}

#[tokio::test]
async fn requests_in_flight_and_versions_are_shown() {
    let bench = Bench::new().await;
    let shown = bench.root("GET", "sys/in-flight-req", NONE).await.json();
    let all = shown.as_object().unwrap();
    assert_eq!(all.len(), 1);
    let (id, own) = all.iter().next().unwrap();
    assert_eq!(bench.trail.lines().last().unwrap()["request"]["id"], **id);
    assert_eq!(own["request_path"], "/v1/sys/in-flight-req");
    assert_eq!(own["request_method"], "GET");
    assert_eq!(own["client_remote_address"], "10.1.2.3:40000");
    // As Vault has it without an entity: SHA-256 of the policies, a zero byte and the namespace,
    // which openssl says of "root\0root".
    let client = "0DHqvq2D77kL2/JTPSZkTMJbkFVmUu0TzMi0jiXcFy8=";
    assert_eq!(own["client_id"], client);
    let history = bench.root("LIST", "sys/version-history", NONE).await.json();
    assert_eq!(history["data"]["keys"], json!(["0.1.0"]));
    let info = &history["data"]["key_info"]["0.1.0"];
    assert_eq!(info["previous_version"], NONE);
    assert!(info["timestamp_installed"].is_string());
}

#[tokio::test]
async fn the_store_in_the_raw_is_served_only_if_configured() {
    let bench = Bench::new().await;
    let put = bench
        .root("PUT", "sys/raw/repair/x", json!({ "value": "v" }))
        .await;
    assert_eq!(put.status, 204, "{put:?}");
    let read = bench.root("GET", "sys/raw/repair/x", NONE).await.json();
    assert_eq!(read["data"], json!({ "value": "v" }));
    let bytes = json!({ "value": "/w==", "encoding": "base64" });
    assert_eq!(
        bench.root("PUT", "sys/raw/repair/y", bytes).await.status,
        204
    );
    assert_eq!(
        bench.root("GET", "sys/raw/repair/y", NONE).await.status,
        400
    );
    let read = bench
        .root("GET", "sys/raw/repair/y?encoding=base64", NONE)
        .await
        .json();
    assert_eq!(read["data"]["value"], "/w==");
    let keys = bench.root("LIST", "sys/raw/repair", NONE).await.json();
    assert_eq!(keys["data"]["keys"], json!(["x", "y"]));
    assert_eq!(
        bench.root("DELETE", "sys/raw/repair/x", NONE).await.status,
        204
    );
    assert_eq!(
        bench.root("GET", "sys/raw/repair/x", NONE).await.brief(),
        "404 []"
    );
    let keyring = bench
        .root("GET", "sys/raw/core/barrier/keyring", NONE)
        .await;
    assert_eq!(keyring.status, 400);
    let off = Bench::configured(false).await.initialised().await;
    off.unseal().await;
    for method in ["GET", "LIST", "PUT", "DELETE"] {
        let shown = off.root(method, "sys/raw/core/settings", json!({})).await;
        assert_eq!(shown.status, 404, "{method}");
        assert!(shown.text.contains("unsupported path"));
    }
}

/// Each of these shows or changes what is everybody's.
#[tokio::test]
async fn the_head_itself_needs_sudo() {
    let bench = Bench::new().await;
    let policy =
        r#"path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#;
    let token = bench.token(policy).await;
    for path in [
        "sys/config/cors",
        "sys/config/auditing/request-headers",
        "sys/config/auditing/request-headers/x",
        "sys/config/ui/headers",
        "sys/config/ui/headers/x",
        "sys/host-info",
        "sys/in-flight-req",
        "sys/loggers",
        "sys/loggers/zone_http",
        "sys/raw/x",
    ] {
        assert_eq!(
            bench.by(&token, "GET", path, NONE).await.status,
            403,
            "{path}"
        );
    }
    assert_eq!(
        bench.by(&token, "GET", "sys/mounts", NONE).await.status,
        200
    );
}
