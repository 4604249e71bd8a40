//! Quotas on requests, as clients meet them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::time::Duration;

use crate::app::Peer;
use crate::testing::{Bench, Shown, peer};

const NONE: Value = Value::Null;
const LOGIN: &str = "auth/userpass/login/ann";

async fn limit(bench: &Bench, name: &str, body: Value) {
    let path = format!("sys/quotas/rate-limit/{name}");
    let made = bench.root("POST", &path, body).await;
    assert_eq!(made.status, 204, "{made:?}");
}

/// A request without a token from an address.
async fn from(bench: &Bench, address: &str, method: &str, path: &str, body: Value) -> Shown {
    let body = match body {
        Value::Null => Bytes::new(),
        json => json.to_string().into(),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/{path}"))
        .header("host", "zone.example");
    let peer = Peer {
        remote: format!("{address}:1000").parse().unwrap(),
        ..peer()
    };
    let request = request.body(Full::new(body)).unwrap();
    bench.answer_to(request, &peer).await
}

async fn login(bench: &Bench, address: &str, path: &str) -> u16 {
    from(bench, address, "POST", path, json!({ "password": "no" }))
        .await
        .status
}

/// The flood of one client costs no hash and no look at the store; others are served.
#[tokio::test]
async fn attack_a_flood_of_logins_is_refused_before_a_password_is_hashed() {
    let bench = Bench::with_methods().await;
    limit(
        &bench,
        "logins",
        json!({ "path": "auth/userpass", "rate": 5 }),
    )
    .await;
    let hashed = || bench.zone.auth.hashers().done();
    let (before, reads) = (hashed(), bench.store.gets());
    for at in 0..50 {
        let expected = if at < 5 { 400 } else { 429 };
        assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, expected);
        if at == 5 {
            assert_eq!(hashed() - before, 5);
        }
    }
    assert_eq!(hashed() - before, 5);
    assert!(bench.store.gets() - reads < 50);
    assert_eq!(login(&bench, "192.0.2.2", LOGIN).await, 400);
    let refused = from(&bench, "192.0.2.1", "POST", LOGIN, NONE).await;
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(
        refused.json(),
        json!({ "errors": [format!("request path \"{LOGIN}\": rate limit quota exceeded")] })
    );
    bench.clock.advance(Duration::from_millis(200));
    assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, 400);
    assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, 429);
}

/// A3: whatever is served by a path's rule is counted by its quota.
#[tokio::test]
async fn a3_a_quota_holds_for_each_spelling_of_its_path() {
    let bench = Bench::with_methods().await;
    limit(
        &bench,
        "ann",
        json!({ "path": "/auth/userpass/login/ANN/", "rate": 1 }),
    )
    .await;
    let shown = bench.root("GET", "sys/quotas/rate-limit/ann", NONE).await;
    assert_eq!(shown.json()["data"]["path"], LOGIN);
    assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, 400);
    for path in [
        LOGIN,
        "auth/userpass/login/Ann",
        "auth/userpass/login/%61nn",
    ] {
        assert_eq!(login(&bench, "192.0.2.1", path).await, 429, "{path}");
    }
    for (method, path) in [
        ("GET", "auth/userpass/login/ann?help=1"),
        ("LIST", LOGIN),
        ("PUT", LOGIN),
        ("DELETE", "auth/userpass/login/ANN"),
    ] {
        let refused = from(&bench, "192.0.2.1", method, path, NONE).await;
        assert_eq!(refused.status, 429, "{method} {path}");
    }
    assert_eq!(
        login(&bench, "192.0.2.1", "auth/userpass/login/bob").await,
        400
    );
}

/// A3: neither does a header make another path of it.
#[tokio::test]
async fn a3_a_quota_holds_for_wrapped_logins_and_in_the_namespace() {
    let bench = Bench::with_methods().await;
    limit(&bench, "ann", json!({ "path": LOGIN, "rate": 1 })).await;
    assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, 400);
    for (name, value) in [
        ("x-vault-wrap-ttl", "5m"),
        ("x-vault-namespace", "root"),
        ("x-vault-namespace", "/"),
        ("x-vault-token", "hvs.none"),
        ("x-forwarded-for", "192.0.2.99"),
        ("x-http-method-override", "GET"),
    ] {
        let request = Request::post(format!("/v1/{LOGIN}"))
            .header("host", "zone.example")
            .header(name, value)
            .body(Full::new(Bytes::from_static(b"{\"password\":\"no\"}")));
        let peer = Peer {
            remote: "192.0.2.1:1000".parse().unwrap(),
            ..peer()
        };
        let answer = bench.answer_to(request.unwrap(), &peer).await;
        assert_eq!(answer.status, 429, "{name}: {answer:?}");
    }
}

/// What a login would use up is not used up by one that a quota refuses.
#[tokio::test]
async fn a_refused_login_uses_up_no_secret_id() {
    let bench = Bench::with_methods().await;
    let role = json!({ "secret_id_num_uses": 1, "token_ttl": "1h" });
    let at = "auth/approle/role/web";
    assert_eq!(bench.root("PUT", at, role).await.status, 204);
    let role_id = bench
        .root("GET", &format!("{at}/role-id"), NONE)
        .await
        .json();
    let mut logins = Vec::new();
    for _ in 0..2 {
        let made = bench
            .root("PUT", &format!("{at}/secret-id"), json!({}))
            .await;
        logins.push(json!({ "role_id": role_id["data"]["role_id"],
                            "secret_id": made.json()["data"]["secret_id"] }));
    }
    let quota = "sys/quotas/lease-count/one";
    let one = json!({ "path": "auth/approle", "max_leases": 1 });
    assert_eq!(bench.root("PUT", quota, one).await.status, 204);
    for (at, status) in [(0, 200), (1, 429), (1, 429)] {
        let login = bench.send("PUT", "auth/approle/login", logins[at].clone());
        assert_eq!(login.await.status, status);
    }
    assert_eq!(bench.root("DELETE", quota, NONE).await.status, 204);
    for status in [200, 400] {
        let login = bench.send("PUT", "auth/approle/login", logins[1].clone());
        assert_eq!(login.await.status, status);
    }
}

/// A3: the same of a folder, which a list is served for with or without `/` at its end.
#[tokio::test]
async fn a3_a_quota_of_a_folder_holds_for_each_spelling_of_a_list() {
    let bench = Bench::with_methods().await;
    let mount = json!({ "type": "kv", "options": { "version": "1" } });
    assert_eq!(bench.root("PUT", "sys/mounts/old", mount).await.status, 204);
    limit(&bench, "mount", json!({ "path": "old", "rate": 1 })).await;
    limit(&bench, "part", json!({ "path": "old/app/*", "rate": 1 })).await;
    for folder in ["old", "old/app"] {
        let mut refused = 0;
        for (method, ending) in [
            ("LIST", ""),
            ("LIST", "/"),
            ("GET", "?list=true"),
            ("GET", "/?list=true"),
        ] {
            let path = format!("{folder}{ending}");
            let answer = from(&bench, "192.0.2.1", method, &path, NONE).await;
            refused += u32::from(answer.status == 429);
        }
        assert_eq!(refused, 3, "{folder}");
    }
    let metrics = "sys/metrics?format=prometheus";
    let shown = bench.root("GET", metrics, NONE).await;
    assert!(shown.text.contains("zonehead_rate_limited_total 6\n"));
}

#[tokio::test]
async fn the_most_specific_quota_counts_alone() {
    let bench = Bench::with_methods().await;
    for (name, path, rate) in [
        ("all", "", 1),
        ("mount", "auth/userpass/", 2),
        ("part", "auth/userpass/login/a*", 3),
        ("path", LOGIN, 4),
    ] {
        limit(&bench, name, json!({ "path": path, "rate": rate })).await;
    }
    for (path, rate) in [
        (LOGIN, 4),
        ("auth/userpass/login/abe", 3),
        ("auth/userpass/login/bob", 2),
        ("auth/approle/login", 1),
    ] {
        for at in 0..=rate {
            let status = login(&bench, "192.0.2.1", path).await;
            assert_eq!(status == 429, at == rate, "{path}, {at}: {status}");
        }
    }
    let health = from(&bench, "192.0.2.1", "GET", "sys/health", NONE).await;
    assert_eq!(health.status, 200, "no quota is about health");
}

/// Whoever sets a quota of nearly nothing can lift it; a flood of his path does not stop him.
#[tokio::test]
async fn nobody_locks_the_operator_out_of_quotas() {
    let bench = Bench::with_methods().await;
    let nothing = json!({ "rate": 0.001, "block_interval": "24h" });
    limit(&bench, "tight", nothing).await;
    bench.root("GET", "sys/mounts", NONE).await;
    assert_eq!(bench.root("GET", "sys/mounts", NONE).await.status, 429);
    for _ in 0..200 {
        from(
            &bench,
            "192.0.2.66",
            "GET",
            "sys/quotas/rate-limit/tight",
            NONE,
        )
        .await;
    }
    let gone = bench.root("DELETE", "sys/quotas/rate-limit/tight", NONE);
    assert_eq!(gone.await.status, 204);
    assert_eq!(bench.root("GET", "sys/mounts", NONE).await.status, 200);
}

#[tokio::test]
async fn answers_tell_where_the_client_stands_if_asked_to() {
    let bench = Bench::with_methods().await;
    limit(&bench, "all", json!({ "rate": 3, "interval": "30s" })).await;
    let plain = from(&bench, "192.0.2.1", "GET", "sys/internal/ui/mounts", NONE).await;
    assert!(!plain.headers.contains_key("x-ratelimit-limit"));
    let config = json!({ "enable_rate_limit_response_headers": true,
                         "rate_limit_exempt_paths": ["/sys/internal/ui/*"] });
    let changed = bench.root("POST", "sys/quotas/config", config).await;
    assert_eq!(changed.status, 204);
    let shown = bench.root("GET", "sys/quotas/config", NONE).await.json();
    assert_eq!(shown["data"]["enable_rate_limit_audit_logging"], false);
    assert_eq!(
        shown["data"]["rate_limit_exempt_paths"],
        json!(["sys/internal/ui/*"])
    );
    let now = bench.zone.system.wall_clock().secs();
    for (left, reset) in [(1, 20), (0, 30), (0, 30)] {
        let answer = from(&bench, "192.0.2.1", "POST", LOGIN, json!({})).await;
        let field = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(field("x-ratelimit-limit"), "3");
        assert_eq!(field("x-ratelimit-remaining"), left.to_string());
        assert_eq!(field("x-ratelimit-reset"), (now + reset).to_string());
    }
    let exempt = from(&bench, "192.0.2.1", "GET", "sys/internal/ui/mounts", NONE).await;
    assert_eq!(exempt.status, 200);
}

/// Attack 3: what a quota refuses is counted in the trail, and has lines only if asked for, and
/// then no more than other refusals.
#[tokio::test]
async fn attack_3_refusals_of_quotas_do_not_fill_the_trail() {
    let bench = Bench::with_methods().await;
    limit(&bench, "all", json!({ "rate": 0.001 })).await;
    login(&bench, "192.0.2.1", LOGIN).await;
    for (logging, lines) in [(false, 0), (true, 10)] {
        let config = json!({ "enable_rate_limit_audit_logging": logging });
        bench.root("POST", "sys/quotas/config", config).await;
        bench.clock.advance(Duration::from_secs(1));
        bench.counted().await;
        bench.trail.clear();
        for _ in 0..100 {
            assert_eq!(login(&bench, "192.0.2.1", LOGIN).await, 429);
        }
        let found = bench.trail.shown();
        assert_eq!(found.len(), lines, "{found:?}");
        let refused = format!("request update {LOGIN}: rate limit quota exceeded");
        assert!(found.iter().all(|line| *line == refused), "{found:?}");
        bench.clock.advance(Duration::from_secs(1));
        let kinds = bench.counted().await;
        assert_eq!(kinds["rate limit quota"], 100 - lines, "{kinds}");
    }
}

#[tokio::test]
async fn what_a_quota_cannot_be_is_refused_by_name() {
    let bench = Bench::with_methods().await;
    let rate = "sys/quotas/rate-limit/q";
    let count = "sys/quotas/lease-count/q";
    for (path, body, field) in [
        (rate, json!({}), "missing rate"),
        (rate, json!({ "rate": 0 }), "'rate'"),
        (rate, json!({ "rate": "NaN" }), "'rate'"),
        (rate, json!({ "rate": -1 }), "'rate'"),
        (rate, json!({ "rate": 1, "interval": "25h" }), "'interval'"),
        (
            rate,
            json!({ "rate": 1, "block_interval": "25h" }),
            "'block_interval'",
        ),
        (rate, json!({ "rate": 1, "path": "nothing/here" }), "'path'"),
        (rate, json!({ "rate": 1, "path": "secret/*/x" }), "'path'"),
        (
            rate,
            json!({ "rate": 1, "path": "secret", "inheritable": true }),
            "'inheritable'",
        ),
        (
            rate,
            json!({ "rate": 1, "path": "auth/approle", "role": "web" }),
            "'role'",
        ),
        (
            rate,
            json!({ "rate": 1, "group_by": "entity_then_ip" }),
            "'group_by'",
        ),
        ("sys/quotas/rate-limit/a%20b", json!({ "rate": 1 }), "name"),
        (count, json!({}), "'max_leases'"),
        (
            count,
            json!({ "path": "pki", "max_leases": 0 }),
            "'max_leases'",
        ),
        (count, json!({ "max_leases": 1 }), "'path'"),
        (
            count,
            json!({ "path": "auth/token", "max_leases": 1 }),
            "'path'",
        ),
        (
            count,
            json!({ "path": "auth/userpass/login/ann", "max_leases": 1 }),
            "'path'",
        ),
    ] {
        let refused = bench.root("POST", path, body.clone()).await;
        assert_eq!(refused.status, 400, "{path} {body}");
        assert!(refused.text.contains(field), "{body}: {}", refused.text);
    }
    limit(&bench, "one", json!({ "path": "secret", "rate": 100 })).await;
    let same = json!({ "path": "secret/", "rate": 7 });
    let same = bench.root("POST", "sys/quotas/rate-limit/two", same).await;
    assert!(same.text.contains("exists under the name"), "{same:?}");
    limit(&bench, "one", json!({ "path": "secret", "rate": 7.5 })).await;
    let shown = bench
        .root("GET", "sys/quotas/rate-limit/one", NONE)
        .await
        .json();
    let expected = json!({ "name": "one", "type": "rate-limit", "path": "secret/", "role": "",
        "rate": 7.5, "interval": 1, "block_interval": 0, "inheritable": false });
    assert_eq!(shown["data"], expected);
    let none = bench.root("GET", "sys/quotas/rate-limit/none", NONE).await;
    assert_eq!(none.status, 404);
    let none = bench.root("LIST", "sys/quotas/lease-count", NONE).await;
    assert_eq!(none.status, 404);
}

/// Of 64 logins at once as many succeed as may live, and the quota says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_race_of_logins_does_not_pass_a_lease_count_quota() {
    let bench = std::sync::Arc::new(Bench::with_methods().await);
    let user = json!({ "password": "right", "token_ttl": "1h" });
    bench.root("POST", "auth/userpass/users/ann", user).await;
    let quota = json!({ "path": "auth/userpass", "max_leases": 10 });
    let made = bench
        .root("POST", "sys/quotas/lease-count/few", quota)
        .await;
    assert_eq!(made.status, 204);
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let bench = bench.clone();
        logins.spawn(async move {
            let login = bench
                .send("POST", LOGIN, json!({ "password": "right" }))
                .await;
            (login.status, login.json())
        });
    }
    let mut tokens = Vec::new();
    while let Some(login) = logins.join_next().await {
        match login.unwrap() {
            (200, made) => tokens.push(made["auth"]["client_token"].clone()),
            (status, refused) => {
                let text = format!("request path \"{LOGIN}\": lease count quota exceeded");
                assert_eq!((status, &refused["errors"][0]), (429, &json!(text)));
            }
        }
    }
    assert_eq!(tokens.len(), 10);
    let counter = async || {
        let shown = bench.root("GET", "sys/quotas/lease-count/few", NONE).await;
        shown.json()["data"]["counter"].clone()
    };
    assert_eq!(counter().await, 10);
    let revoked = bench.root("POST", "auth/token/revoke", json!({ "token": tokens[0] }));
    assert_eq!(revoked.await.status, 204);
    assert_eq!(counter().await, 9);
    let login = bench
        .send("POST", LOGIN, json!({ "password": "right" }))
        .await;
    assert_eq!((login.status, counter().await), (200, json!(10)));
}
