//! Response wrapping and the cubbyhole, as clients see them.

use serde_json::{Value, json};

use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;
const INVALID: &str = r#"400 ["wrapping token is not valid or does not exist"]"#;

impl Bench {
    /// A request of root whose answer is to be wrapped.
    async fn wrapped(&self, method: &str, path: &str, ttl: &str, body: Value) -> Shown {
        let fields = [
            ("x-vault-token", self.root.as_str()),
            ("x-vault-wrap-ttl", ttl),
        ];
        self.with(method, path, &fields, body).await
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

async fn written(bench: &Bench, value: &str) {
    let body = json!({ "data": { "password": value } });
    assert_eq!(bench.root("PUT", "secret/data/x", body).await.status, 200);
}

#[tokio::test]
async fn a_wrapped_answer_is_wrap_info_and_nothing_else() {
    let bench = Bench::new().await;
    written(&bench, "CANARY").await;
    let shown = bench.wrapped("GET", "secret/data/x", "5m", NONE).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.field("content-type"), Some("application/json"));
    assert_eq!(shown.field("cache-control"), Some("no-store"));
    assert!(!shown.text.contains("CANARY"), "{shown:?}");
    let all = shown.json();
    for empty in ["data", "auth", "warnings"] {
        assert!(all[empty].is_null(), "{empty}");
    }
    let info = &all["wrap_info"];
    assert!(text(info, "token").starts_with("hvs."));
    assert_eq!(text(info, "accessor").len(), 24);
    assert_eq!(
        (&info["ttl"], text(info, "creation_path")),
        (&json!(300), "secret/data/x")
    );
    assert!(zone_types::Timestamp::parse_rfc3339(text(info, "creation_time")).is_some());
    assert!(info.get("wrapped_accessor").is_none());
}

/// With the token as the client's, in the body beside another, and in the body alone.
#[tokio::test]
async fn unwrapping_gives_the_answer_as_it_was_once() {
    let bench = Bench::new().await;
    written(&bench, "CANARY").await;
    let other = bench
        .token(r#"path "sys/wrapping/unwrap" { capabilities = ["update"] }"#)
        .await;
    for way in 0..3 {
        let shown = bench
            .wrapped("GET", "secret/data/x", "60", NONE)
            .await
            .json();
        let token = text(&shown["wrap_info"], "token").to_owned();
        let named = json!({ "token": token });
        let unwrap = async || match way {
            0 => bench.by(&token, "PUT", "sys/wrapping/unwrap", NONE).await,
            1 => {
                bench
                    .by(&other, "POST", "sys/wrapping/unwrap", named.clone())
                    .await
            }
            _ => {
                bench
                    .send("PUT", "sys/wrapping/unwrap", named.clone())
                    .await
            }
        };
        let first = unwrap().await;
        assert_eq!(first.status, 200, "{first:?}");
        assert_eq!(first.field("content-type"), Some("application/json"));
        assert_eq!(first.field("cache-control"), Some("no-store"));
        let inner = first.json();
        assert_eq!(inner["data"]["data"]["password"], "CANARY");
        assert_eq!(inner["request_id"], shown["request_id"]);
        assert!(inner["wrap_info"].is_null());
        assert_eq!(unwrap().await.brief(), INVALID, "way {way}");
    }
}

#[tokio::test]
async fn every_kind_of_answer_is_wrapped_or_refused_and_never_shown() {
    let bench = Bench::new().await;
    let none = bench.send("PUT", "sys/wrapping/unwrap", NONE).await;
    assert_eq!(none.brief(), r#"403 ["permission denied"]"#);
    // Errors and empty answers are as they are.
    assert_eq!(
        bench
            .wrapped("GET", "secret/data/none", "60", NONE)
            .await
            .brief(),
        "404 []"
    );
    assert_eq!(
        bench.wrapped("PUT", "sys/rotate", "60", NONE).await.status,
        204
    );
    // A deleted version's metadata stand in a 404.
    written(&bench, "x").await;
    bench.root("DELETE", "secret/data/x", NONE).await;
    let gone = bench.wrapped("GET", "secret/data/x", "60", NONE).await;
    assert_eq!(gone.status, 200);
    let token = text(&gone.json()["wrap_info"], "token").to_owned();
    let inner = bench.by(&token, "PUT", "sys/wrapping/unwrap", NONE).await;
    assert_eq!(inner.status, 404);
    assert_eq!(inner.json()["data"]["metadata"]["version"], 1);
    let root = json!({ "common_name": "Test CA", "key_type": "ec", "ttl": "720h" });
    bench.root("PUT", "pki/root/generate/internal", root).await;
    for (method, path) in [
        ("GET", "pki/ca/pem"),
        ("PUT", "sys/wrapping/lookup"),
        ("PUT", "sys/wrapping/unwrap"),
        ("PUT", "sys/wrapping/rewrap"),
        ("GET", "sys/health"),
        ("PUT", "sys/init"),
        ("PUT", "sys/unseal"),
    ] {
        let refused = bench.wrapped(method, path, "60", NONE).await;
        let brief = refused.brief();
        assert!(
            brief.starts_with(r#"400 ["X-Vault-Wrap-TTL: "#),
            "{path}: {brief}"
        );
    }
    // Who wants it in another form gets it in none.
    let jwt = [
        ("x-vault-token", bench.root.as_str()),
        ("x-vault-wrap-format", "jwt"),
    ];
    let refused = bench.with("GET", "secret/data/x", &jwt, NONE).await;
    assert_eq!(refused.status, 400);
}

/// Else anybody could fill the store.
#[tokio::test]
async fn attack_strangers_wrap_nothing_but_logins() {
    let bench = Bench::new().await;
    let before = bench.store.keys().len();
    let fields = [("x-vault-wrap-ttl", "60")];
    for path in ["sys/internal/ui/mounts", "pki/crl", "pki/cert/ca"] {
        let refused = bench.with("GET", path, &fields, NONE).await;
        let text = r#"400 ["X-Vault-Wrap-TTL: without a token only a login can be wrapped"]"#;
        assert_eq!(refused.brief(), text, "{path}");
    }
    assert_eq!(bench.store.keys().len(), before);
}

#[tokio::test]
async fn wrap_lookup_and_rewrap_are_as_in_vault() {
    let bench = Bench::new().await;
    let body = json!({ "n": 1.5, "zip": "zap", "list": [true, null] });
    let bare = bench.root("POST", "sys/wrapping/wrap", body.clone()).await;
    assert_eq!(
        bare.brief(),
        r#"400 ["endpoint requires response wrapping to be used"]"#
    );
    let wrapped = bench
        .wrapped("POST", "sys/wrapping/wrap", "1h", body.clone())
        .await
        .json();
    let token = text(&wrapped["wrap_info"], "token").to_owned();
    let named = json!({ "token": token });
    let looked = [
        bench
            .send("POST", "sys/wrapping/lookup", named.clone())
            .await,
        bench.by(&token, "GET", "sys/wrapping/lookup", NONE).await,
    ];
    for looked in looked {
        let data = &looked.json()["data"];
        assert_eq!(text(data, "creation_path"), "sys/wrapping/wrap");
        assert_eq!(data["creation_ttl"], 3600);
        assert_eq!(data["creation_time"], wrapped["wrap_info"]["creation_time"]);
    }
    let moved = bench
        .by(&token, "POST", "sys/wrapping/rewrap", NONE)
        .await
        .json();
    let info = &moved["wrap_info"];
    assert_eq!(
        (text(info, "creation_path"), &info["ttl"]),
        ("sys/wrapping/wrap", &json!(3600))
    );
    for path in ["unwrap", "rewrap", "lookup"] {
        let path = format!("sys/wrapping/{path}");
        assert_eq!(
            bench.root("POST", &path, named.clone()).await.brief(),
            INVALID
        );
    }
    let token = text(info, "token");
    let inner = bench
        .by(token, "POST", "sys/wrapping/unwrap", NONE)
        .await
        .json();
    assert_eq!(inner["data"], body);
    for path in ["wrap", "unwrap", "rewrap"] {
        let path = format!("sys/wrapping/{path}");
        assert_eq!(bench.root("GET", &path, NONE).await.status, 405);
    }
    assert_eq!(
        bench.root("PUT", "sys/wrapping/none", NONE).await.status,
        404
    );
    let nothing = bench.send("PUT", "sys/wrapping/lookup", NONE).await;
    assert_eq!(nothing.brief(), r#"400 ["missing token"]"#);
}

#[tokio::test]
async fn a_wrapped_token_tells_its_accessor() {
    let bench = Bench::new().await;
    let shown = bench
        .wrapped("POST", "auth/token/create", "60", NONE)
        .await
        .json();
    let accessor = text(&shown["wrap_info"], "wrapped_accessor").to_owned();
    let token = text(&shown["wrap_info"], "token");
    let inner = bench
        .by(token, "PUT", "sys/wrapping/unwrap", NONE)
        .await
        .json();
    assert_eq!(inner["auth"]["accessor"], accessor.as_str());
    let token = text(&inner["auth"], "client_token");
    let me = bench.by(token, "GET", "auth/token/lookup-self", NONE).await;
    assert_eq!(me.json()["data"]["accessor"], accessor.as_str());
}

#[tokio::test]
async fn a_policy_can_demand_wrapping_within_bounds() {
    let bench = Bench::new().await;
    written(&bench, "x").await;
    let token = bench
        .token(
            r#"path "secret/data/x" {
  capabilities = ["read"]
  min_wrapping_ttl = "1m"
  max_wrapping_ttl = "5m"
}"#,
        )
        .await;
    let status = async |ttl: &str| {
        let fields = [("x-vault-token", token.as_str()), ("x-vault-wrap-ttl", ttl)];
        bench
            .with("GET", "secret/data/x", &fields, NONE)
            .await
            .status
    };
    for refused in ["", "0", "59", "301s"] {
        assert_eq!(status(refused).await, 403, "{refused}");
    }
    for allowed in ["60", "1m", "5m"] {
        assert_eq!(status(allowed).await, 200, "{allowed}");
    }
}

#[tokio::test]
async fn a_wrapping_token_opens_no_other_answer() {
    let bench = Bench::new().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let shown = bench
            .wrapped("PUT", "sys/wrapping/wrap", "60", json!({ "a": 1 }))
            .await;
        tokens.push(text(&shown.json()["wrap_info"], "token").to_owned());
    }
    let other = json!({ "token": tokens[1] });
    let refused = bench
        .by(&tokens[0], "PUT", "sys/wrapping/unwrap", other)
        .await;
    assert_eq!(refused.brief(), INVALID);
    for token in &tokens {
        let refused = bench.by(token, "GET", "auth/token/lookup-self", NONE).await;
        assert_eq!(refused.status, 403);
        let own = bench.by(token, "PUT", "sys/wrapping/unwrap", NONE).await;
        assert_eq!(own.status, 200);
    }
}

/// The canary of the trail: neither what is wrapped nor the token, at any of the endpoints.
#[tokio::test]
async fn a1_the_trail_never_holds_what_is_wrapped() {
    let bench = Bench::new().await;
    let secret = json!({ "password": "CANARY-1" });
    let shown = bench
        .wrapped("PUT", "sys/wrapping/wrap", "60", secret)
        .await
        .json();
    let first = text(&shown["wrap_info"], "token").to_owned();
    bench
        .send("PUT", "sys/wrapping/lookup", json!({ "token": first }))
        .await;
    let moved = bench
        .root("PUT", "sys/wrapping/rewrap", json!({ "token": first }))
        .await
        .json();
    let second = text(&moved["wrap_info"], "token").to_owned();
    let inner = bench
        .send("PUT", "sys/wrapping/unwrap", json!({ "token": second }))
        .await;
    assert!(inner.text.contains("CANARY-1"));
    bench.by(&second, "PUT", "sys/wrapping/unwrap", NONE).await;
    let lines = bench.trail.lines();
    let trail = serde_json::to_string(&lines).unwrap();
    for secret in ["CANARY-1", &first, &second, &bench.root] {
        assert!(!trail.contains(secret), "{secret}");
    }
    assert_eq!(lines[0]["request"]["wrap_ttl"], 60);
    let info = &lines[1]["response"]["wrap_info"];
    assert!(text(info, "token").starts_with("hmac-sha256:"));
    assert!(lines[7]["response"].get("data").is_none(), "{}", lines[7]);
}

#[tokio::test]
async fn a1_what_was_wrapped_in_an_answer_that_cannot_be_recorded_is_taken_back() {
    let bench = Bench::new().await;
    let accessors = async || {
        let listed = bench
            .root("LIST", "auth/token/accessors", NONE)
            .await
            .json();
        listed["data"]["keys"].as_array().unwrap().len()
    };
    let before = accessors().await;
    bench.trail.fail_after(1);
    let refused = bench.wrapped("POST", "auth/token/create", "60", NONE).await;
    assert_eq!(refused.status, 500);
    bench.trail.heal();
    assert_eq!(
        accessors().await,
        before,
        "neither the token nor its wrapping"
    );
    // The same when it is unwrapped.
    let shown = bench
        .wrapped("POST", "auth/token/create", "60", NONE)
        .await
        .json();
    let token = text(&shown["wrap_info"], "token").to_owned();
    bench.trail.fail_after(1);
    let refused = bench.by(&token, "PUT", "sys/wrapping/unwrap", NONE).await;
    assert_eq!(refused.status, 500);
    assert!(!refused.text.contains("client_token"));
    bench.trail.heal();
    assert_eq!(accessors().await, before);
    // And when the store takes the token and not the wrapping.
    bench.store.fail_at(2, zone_testkit::Fault::Full);
    let refused = bench.wrapped("POST", "auth/token/create", "60", NONE).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(accessors().await, before);
}

#[tokio::test]
async fn the_cubbyhole_is_as_in_vault() {
    let bench = Bench::new().await;
    let own = bench
        .token(r#"path "cubbyhole/*" { capabilities = ["create", "read", "delete", "list"] }"#)
        .await;
    let body = json!({ "a": "1", "n": 2 });
    let put = bench.by(&own, "PUT", "cubbyhole/dir/x", body.clone()).await;
    assert_eq!((put.status, put.text.as_str()), (204, ""));
    let again = bench.by(&own, "PUT", "cubbyhole/dir/x", body.clone()).await;
    assert_eq!(again.status, 403, "an update, which is not allowed");
    let read = bench.by(&own, "GET", "cubbyhole/dir/x", NONE).await;
    assert_eq!(read.field("content-type"), Some("application/json"));
    assert_eq!(read.json()["data"], body);
    let listed = bench.by(&own, "GET", "cubbyhole?list=true", NONE).await;
    assert_eq!(listed.json()["data"]["keys"], json!(["dir/"]));
    for (method, path, body, expected) in [
        ("GET", "cubbyhole/dir/x", NONE, "404 []"),
        ("LIST", "cubbyhole", NONE, "404 []"),
        ("DELETE", "cubbyhole/dir/x", NONE, "204 "),
        ("PUT", "cubbyhole/y", NONE, r#"400 ["missing data fields"]"#),
        (
            "DELETE",
            "sys/mounts/cubbyhole",
            NONE,
            r#"400 ["the path cubbyhole/ is reserved"]"#,
        ),
    ] {
        let shown = bench.root(method, path, body).await;
        assert_eq!(shown.brief(), expected, "{method} {path}");
    }
    let patch = bench.root("PATCH", "cubbyhole/y", json!({ "a": 1 })).await;
    assert_eq!(patch.status, 405);
    assert_eq!(
        bench
            .by(&own, "DELETE", "cubbyhole/dir/x", NONE)
            .await
            .status,
        204
    );
    assert_eq!(
        bench.by(&own, "GET", "cubbyhole/dir/x", NONE).await.brief(),
        "404 []"
    );
}
