//! Attacks of the review.

use serde_json::{Value, json};

use super::super::Doors;
use crate::testing::Bench;

const NONE: Value = Value::Null;

#[tokio::test]
async fn attack_auth_methods_are_tuned_with_sudo_only() {
    let bench = Bench::with_methods().await;
    let policy = r#"path "sys/mounts/*" { capabilities = ["create", "read", "update"] }"#;
    let token = bench.token(policy).await;
    let change = json!({ "audit_non_hmac_request_keys": ["password"],
                         "user_lockout_config": { "lockout_disable": true } });
    let direct = bench
        .by(&token, "POST", "sys/auth/userpass/tune", change.clone())
        .await;
    assert_eq!(direct.status, 403);
    let round = bench
        .by(&token, "POST", "sys/mounts/auth/userpass/tune", change)
        .await;
    bench
        .send(
            "POST",
            "auth/userpass/login/ann",
            json!({ "password": "hunter2" }),
        )
        .await;
    let told = format!("{:?}", bench.trail.lines()).contains("hunter2");
    assert_eq!((round.status, told), (403, false));
}

#[tokio::test]
async fn cve_2025_52894_strangers_do_not_begin_a_verification_anew() {
    let bench = Bench::new().await;
    let doors = Doors {
        rekey: true,
        generate_root: false,
    };
    let open = bench.through(doors);
    let ask = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
    let begun = bench.root("PUT", "sys/rekey/init", ask).await.json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let done = bench.root("PUT", "sys/rekey/update", give).await.json();
    let give = json!({ "key": done["keys"][0], "nonce": done["verification_nonce"] });
    bench.root("PUT", "sys/rekey/verify", give).await;
    let again = open.send("DELETE", "sys/rekey/verify", NONE).await;
    let status = bench.root("GET", "sys/rekey/verify", NONE).await.json();
    assert_eq!(
        (again.status == 200, &status["progress"]),
        (false, &json!(1)),
        "a stranger dropped the shares that were shown"
    );
}

/// Vault's `untunableMounts`.
#[tokio::test]
async fn attack_no_key_share_stands_in_the_trail_whoever_tunes_sys() {
    let bench = Bench::new().await;
    let policy = r#"path "sys/mounts/*" { capabilities = ["create", "read", "update"] }"#;
    let token = bench.token(policy).await;
    let change = json!({ "audit_non_hmac_request_keys": ["key"],
                         "audit_non_hmac_response_keys": ["keys", "keys_base64"] });
    let tuned = bench
        .by(&token, "POST", "sys/mounts/sys/tune", change)
        .await;
    let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let begun = bench.root("PUT", "sys/rekey/init", ask).await.json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let done = bench.root("PUT", "sys/rekey/update", give).await.json();
    let lines = format!("{:?}", bench.trail.lines());
    let old = lines.contains(&bench.share);
    let new = lines.contains(done["keys"][0].as_str().unwrap());
    assert_eq!((tuned.status == 204, old, new), (false, false, false));
}

/// `docs/vault-differences.md`: keys never.
#[tokio::test]
async fn attack_the_key_of_batch_tokens_is_not_served_raw() {
    let bench = Bench::configured(true).await.initialised().await;
    bench.unseal().await;
    let salt = bench
        .root("GET", "sys/raw/core/access/token-salt", NONE)
        .await;
    assert_ne!(salt.status, 200, "{salt:?}");
}

#[tokio::test]
async fn cve_2025_52894_strangers_cannot_read_the_nonce_that_cancels() {
    let bench = Bench::new().await;
    let doors = Doors {
        rekey: true,
        generate_root: true,
    };
    let open = bench.through(doors);
    let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
    for (path, ask) in [("sys/rekey/init", ask), ("sys/generate-root/attempt", NONE)] {
        let begun = bench.root("PUT", path, ask).await;
        assert_eq!(begun.status, 200, "{begun:?}");
        let nonce = open.send("GET", path, NONE).await.json()["nonce"].clone();
        let gone = open.send("DELETE", path, json!({ "nonce": nonce })).await;
        assert_ne!(gone.status, 204, "{path}: a stranger canceled it");
    }
}

/// Bytes that the trail took.
fn written(bench: &Bench) -> usize {
    let lines = bench.trail.lines();
    lines.iter().map(|line| line.to_string().len()).sum()
}

#[tokio::test]
async fn attack_3_a_stranger_writes_no_large_line() {
    let bench = Bench::with_methods().await;
    for path in ["auth/approle/login", "sys/wrapping/lookup"] {
        bench.trail.clear();
        let mut body = serde_json::Map::new();
        body.insert("k".repeat(4 * 1024 * 1024), 1.into());
        bench.send("POST", path, body.clone().into()).await;
        bench.by("hvs.nobody", "POST", path, body.into()).await;
        assert!(written(&bench) < 64 * 1024, "{path}: {}", written(&bench));
    }
}

/// Beyond ten a second a call that gives nothing out is counted; a login that succeeds stands in
/// the trail whole, however many fail around it.
#[tokio::test]
async fn attack_3_a_flood_at_open_endpoints_leaves_few_lines() {
    let bench = Bench::with_methods().await;
    let (user, wrong) = (
        json!({ "password": "hunter2" }),
        json!({ "password": "no" }),
    );
    bench
        .root("POST", "auth/userpass/users/ann", user.clone())
        .await;
    bench.trail.clear();
    for _ in 0..100 {
        let login = json!({ "role_id": "r", "secret_id": "s" });
        let login = bench.send("POST", "auth/approle/login", login).await;
        let look = json!({ "token": "hvs.none" });
        let look = bench.send("POST", "sys/wrapping/lookup", look).await;
        let mounts = bench.send("GET", "sys/internal/ui/mounts", NONE).await;
        assert_eq!((login.status, look.status, mounts.status), (400, 400, 200));
    }
    assert_eq!(bench.trail.lines().len(), 20);
    bench.trail.clear();
    bench.send("POST", "auth/userpass/login/ann", wrong).await;
    assert!(bench.trail.lines().is_empty());
    let right = bench.send("POST", "auth/userpass/login/ann", user).await;
    let token = right.json()["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let lines = bench.trail.lines();
    let what: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(what, ["request", "response"]);
    let hash = |value: &Value| value.as_str().unwrap().starts_with("hmac-sha256:");
    assert!(hash(&lines[0]["request"]["data"]["password"]));
    assert!(hash(&lines[1]["response"]["auth"]["client_token"]));
    assert!(!format!("{lines:?}").contains(&token));
    bench.clock.advance(std::time::Duration::from_secs(1));
    let kinds = json!({ "failed login": 97, "failed open call": 97, "open call": 97 });
    assert_eq!(bench.counted().await, kinds);
}

/// A1: a login beyond the rate whose lines cannot be written is taken back.
#[tokio::test]
async fn attack_3_a_login_beyond_the_rate_is_taken_back_if_it_is_not_recorded() {
    let bench = Bench::with_methods().await;
    let user = json!({ "password": "hunter2" });
    bench
        .root("POST", "auth/userpass/users/ann", user.clone())
        .await;
    for _ in 0..10 {
        bench.send("GET", "sys/internal/ui/mounts", NONE).await;
    }
    for left in [0, 1] {
        let tokens = bench
            .root("LIST", "auth/token/accessors", NONE)
            .await
            .json();
        bench.trail.fail_after(left);
        let login = bench
            .send("POST", "auth/userpass/login/ann", user.clone())
            .await;
        assert_eq!(login.status, 500);
        bench.trail.heal();
        let after = bench
            .root("LIST", "auth/token/accessors", NONE)
            .await
            .json();
        assert_eq!(after["data"]["keys"], tokens["data"]["keys"]);
    }
}

#[tokio::test]
async fn a3_a_rule_for_the_name_of_an_entity_or_group_holds_in_each_case() {
    let bench = Bench::new().await;
    for kind in ["entity", "group"] {
        let path = format!("identity/{kind}/name/boss");
        let made = bench.root("POST", &path, json!({})).await;
        assert!(made.status < 300, "{made:?}");
        let policy = format!(
            r#"path "identity/{kind}/name/*" {{ capabilities = ["read", "update", "delete"] }}
               path "identity/{kind}/name/boss" {{ capabilities = ["deny"] }}"#
        );
        let token = bench.token(&policy).await;
        assert_eq!(bench.by(&token, "GET", &path, NONE).await.status, 403);
        let other = format!("identity/{kind}/name/BOSS");
        let shown = bench.by(&token, "GET", &other, NONE).await;
        assert_eq!(shown.status, 403, "{other}");
    }
}

/// A token that counts for nothing makes nobody look up what is there.
#[tokio::test]
async fn attack_strangers_make_no_look_up_of_what_they_would_write() {
    let bench = Bench::with_methods().await;
    let policy = json!({ "type": "kv", "options": { "version": "1" } });
    bench.root("POST", "sys/mounts/one", policy).await;
    let work = async |path: &str| {
        let before = bench.store.gets();
        let refused = bench
            .by("hvs.nobody", "POST", path, json!({ "a": 1 }))
            .await;
        assert_eq!(refused.status, 403);
        bench.store.gets() - before
    };
    let idle = work("sys/policies/acl/x").await;
    for path in ["one/a", "auth/userpass/users/ann"] {
        assert_eq!(work(path).await, idle, "{path}");
    }
}

/// A login is answered by a token or by an error, never by both, and a refused one makes none.
#[tokio::test]
async fn cve_2026_46405_a_refused_login_hands_out_nothing_and_leaves_nothing() {
    let bench = Bench::with_methods().await;
    let user = json!({ "password": "hunter2", "token_policies": "app" });
    let made = bench.root("POST", "auth/userpass/users/ann", user).await;
    assert_eq!(made.status, 204);
    let quota = json!({ "path": "auth/userpass", "max_leases": 1 });
    bench
        .root("POST", "sys/quotas/lease-count/one", quota)
        .await;
    let login = async |path: &str, body: Value| {
        let answer = bench.send("POST", path, body).await;
        (answer.status, answer.json())
    };
    let right = json!({ "password": "hunter2" });
    assert_eq!(login("auth/userpass/login/ann", right.clone()).await.0, 200);
    let accessors = async || {
        let listed = bench.root("LIST", "auth/token/accessors", NONE).await;
        listed.json()["data"]["keys"].clone()
    };
    let before = accessors().await;
    for (path, body) in [
        ("auth/userpass/login/ann", json!({ "password": "wrong" })),
        ("auth/userpass/login/bob", right.clone()),
        ("auth/userpass/login/ann", json!({})),
        ("auth/userpass/login/ann", right),
        ("auth/approle/login", json!({ "role_id": "r" })),
    ] {
        let (status, answer) = login(path, body).await;
        assert!((400..500).contains(&status), "{path}: {answer}");
        assert!(answer["auth"].is_null() && answer["wrap_info"].is_null());
        assert_eq!(accessors().await, before, "{path}");
    }
}
