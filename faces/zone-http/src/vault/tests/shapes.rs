//! Statuses, texts and header fields that Vault's clients match on (reference §1.1, §7).

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::testing::Bench;

const NONE: Value = Value::Null;

#[tokio::test]
async fn errors_are_lists_in_vaults_words() {
    let bench = Bench::new().await;
    for (method, path, body, expected) in [
        ("GET", "secret/data/none", NONE, "404 []"),
        ("LIST", "secret/metadata", NONE, "404 []"),
        ("GET", "sys/policies/acl/none", NONE, "404 []"),
        (
            "GET",
            "nowhere/x",
            NONE,
            r#"404 ["no handler for route \"nowhere/x\". route entry not found."]"#,
        ),
        (
            "GET",
            "sys/none",
            NONE,
            r#"404 ["1 error occurred:\n\t* unsupported path\n\n"]"#,
        ),
        (
            "DELETE",
            "sys/rotate",
            NONE,
            r#"405 ["1 error occurred:\n\t* unsupported operation\n\n"]"#,
        ),
        (
            "SCAN",
            "secret/metadata/",
            NONE,
            r#"405 ["1 error occurred:\n\t* unsupported operation\n\n"]"#,
        ),
        (
            "PUT",
            "secret/data/x/",
            NONE,
            r#"400 ["cannot write to a path ending in '/'"]"#,
        ),
        (
            "GET",
            "secret/metadata?list=maybe",
            NONE,
            r#"400 ["field 'list': expected true or false"]"#,
        ),
        (
            "GET",
            "secret/data/x?version",
            NONE,
            r#"400 ["each field of a query string or form needs a '='"]"#,
        ),
        (
            "PUT",
            "secret/data/x",
            json!(r#"{"data":{"a":"1","a":"2"}}"#),
            r#"400 ["a JSON object has the same key twice"]"#,
        ),
        (
            "PUT",
            "auth/token/lookup",
            json!({ "token": "x" }),
            r#"403 ["bad token"]"#,
        ),
        ("PUT", "auth/token/revoke", json!({ "token": "x" }), "204 "),
        ("PUT", "auth/token/revoke", NONE, r#"400 ["missing token"]"#),
    ] {
        let answer = bench.root(method, path, body).await;
        assert_eq!(answer.brief(), expected, "{method} {path}");
    }
    let denied = bench.send("GET", "nowhere/x", NONE).await;
    assert_eq!(denied.brief(), r#"403 ["permission denied"]"#);
    let outside = Request::get("/ui/")
        .header("host", "x")
        .body(Full::default());
    assert_eq!(bench.answer(outside.unwrap()).await.brief(), "404 []");
}

#[tokio::test]
async fn fields_of_the_answer_are_what_hvac_compares() {
    let bench = Bench::new().await;
    let json = Some("application/json");
    for (method, path, content_type) in [
        ("GET", "sys/mounts", json),
        ("GET", "secret/data/none", json),
        ("GET", "sys/health", json),
        ("HEAD", "sys/health", json),
        ("PUT", "sys/rotate", None),
    ] {
        let answer = bench.root(method, path, NONE).await;
        assert_eq!(
            answer.field("content-type"),
            content_type,
            "{method} {path}"
        );
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(content_type.is_none(), answer.status == 204);
        assert_eq!(
            answer.text.is_empty(),
            answer.status == 204 || method == "HEAD"
        );
    }
    let length = |shown: &crate::testing::Shown| shown.field("content-length").map(str::to_owned);
    let get = bench.root("GET", "sys/mounts", NONE).await;
    let head = bench.root("HEAD", "sys/mounts", NONE).await;
    assert_eq!(length(&head), Some(get.text.len().to_string()));
}

#[tokio::test]
async fn the_envelope_has_every_field_and_old_paths_have_their_data_twice() {
    let bench = Bench::new().await;
    let whole = [
        "request_id",
        "lease_id",
        "renewable",
        "lease_duration",
        "data",
        "wrap_info",
        "warnings",
        "auth",
    ];
    let fields = |answer: &Value| {
        answer
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let policies = bench.root("LIST", "sys/policies/acl", NONE).await.json();
    assert_eq!(fields(&policies), whole);
    assert!(policies["wrap_info"].is_null() && policies["auth"].is_null());
    let mounts = bench.root("GET", "sys/mounts", NONE).await.json();
    assert_eq!(mounts["secret/"], mounts["data"]["secret/"]);
    assert_eq!(fields(&mounts)[..8], whole);
    let made = bench.root("POST", "auth/token/create", NONE).await.json();
    assert!(made["data"].is_null());
    assert_eq!(
        fields(&made["auth"]),
        [
            "client_token",
            "accessor",
            "policies",
            "token_policies",
            "identity_policies",
            "metadata",
            "lease_duration",
            "renewable",
            "entity_id",
            "token_type",
            "orphan",
            "mfa_requirement",
            "num_uses",
        ]
    );
}

/// What is copied to the root of an answer never takes the place of what stands there.
#[tokio::test]
async fn copied_data_replaces_no_field_of_the_envelope() {
    let bench = Bench::new().await;
    let paths = json!({ "paths": ["auth", "data", "errors", "secret/x"] });
    let answer = bench
        .root("PUT", "sys/capabilities-self", paths)
        .await
        .json();
    assert!(answer["auth"].is_null());
    assert_eq!(answer["data"]["auth"], json!(["root"]));
    assert_eq!(answer["secret/x"], json!(["root"]));
    assert!(answer.get("capabilities").is_none());
    let one = json!({ "path": "secret/x" });
    let answer = bench.root("PUT", "sys/capabilities-self", one).await.json();
    assert_eq!(answer["capabilities"], json!(["root"]));
}

#[tokio::test]
async fn lists_have_two_spellings_with_and_without_a_slash() {
    let bench = Bench::new().await;
    bench
        .root("PUT", "secret/data/a/b", json!({ "data": {} }))
        .await;
    let keys = json!({ "keys": ["b"] });
    for (method, path) in [
        ("LIST", "secret/metadata/a"),
        ("LIST", "secret/metadata/a/"),
        ("GET", "secret/metadata/a?list=true"),
        ("GET", "secret/metadata/a/?list=1"),
        ("GET", "secret/metadata/a/?list=T"),
    ] {
        let answer = bench.root(method, path, NONE).await;
        assert_eq!(answer.json()["data"], keys, "{method} {path}");
    }
    // A deny on what is below holds in each of them (GHSA-xp3c-3jw3-4vcr).
    let policy = r#"path "secret/metadata/*" { capabilities = ["list", "read"] }
path "secret/metadata/a/*" { capabilities = ["deny"] }"#;
    let token = bench.token(policy).await;
    for (method, path) in [
        ("LIST", "secret/metadata/a"),
        ("LIST", "secret/metadata/a/"),
        ("GET", "secret/metadata/a?list=true"),
        ("GET", "secret/metadata/a/?list=true"),
    ] {
        let answer = bench.by(&token, method, path, NONE).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_are_json_whatever_the_type_says_but_for_forms() {
    let bench = Bench::new().await;
    let root = bench.root.clone();
    let put = async |content_type: &str, path: &str, body: &str| {
        let fields = [
            ("x-vault-token", root.as_str()),
            ("content-type", content_type),
        ];
        bench.with("POST", path, &fields, json!(body)).await.status
    };
    let form = "application/x-www-form-urlencoded";
    let json = r#"{"input":"x"}"#;
    for content_type in ["", "text/plain", "application/json; charset=utf-8", form] {
        assert_eq!(put(content_type, "sys/audit-hash/file", json).await, 200);
    }
    for form in [form, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
        assert_eq!(put(form, "sys/audit-hash/file", "input=x").await, 200);
        assert_eq!(
            put(form, "sys/audit-hash/file", "input=x&input=y").await,
            400
        );
        assert_eq!(put(form, "sys/audit-hash/file", "hvs.alone").await, 400);
    }
    assert_eq!(
        put("text/plain", "sys/audit-hash/file", "input=x").await,
        400
    );
    let patch = async |content_type: &str| {
        let fields = [
            ("x-vault-token", root.as_str()),
            ("content-type", content_type),
        ];
        let body = json!({ "custom_metadata": null });
        bench
            .with("PATCH", "secret/metadata/none", &fields, body)
            .await
            .status
    };
    assert_eq!(patch("application/json").await, 415);
    assert_eq!(patch("").await, 415);
    assert_eq!(patch("Application/merge-patch+JSON").await, 404);
}

#[tokio::test]
async fn what_was_asked_for_wrapped_never_comes_in_clear() {
    let bench = Bench::empty().await;
    let wrap = [("x-vault-wrap-ttl", "60s")];
    let one = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let refused = bench.with("PUT", "sys/init", &wrap, one).await;
    assert!(
        refused.status == 400 && refused.text.contains("X-Vault-Wrap-TTL"),
        "{refused:?}"
    );
    let status = bench.send("GET", "sys/init", NONE).await.json();
    assert_eq!(status["initialized"], false, "nothing was done");
}

#[tokio::test]
async fn the_namespace_is_echoed_and_another_one_is_not_found() {
    let bench = Bench::new().await;
    let root = ("x-vault-token", bench.root.as_str());
    for (namespace, status) in [("root", 200), ("", 200), ("team", 404), ("team/", 404)] {
        let fields = [root, ("x-vault-namespace", namespace)];
        let answer = bench.with("GET", "sys/mounts", &fields, NONE).await;
        assert_eq!(answer.status, status, "{namespace}");
        assert_eq!(answer.field("x-vault-namespace"), Some(namespace));
        if status == 404 {
            assert_eq!(answer.brief(), r#"404 ["namespace not found"]"#);
        }
    }
}
