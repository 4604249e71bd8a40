//! `sys/rekey`, `sys/generate-root`, `sys/remount`, `sys/rotate/config` in Vault's shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::super::Doors;
use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;

fn well_formed(shown: &Shown) {
    assert_eq!(shown.field("content-type"), Some("application/json"));
    assert_eq!(shown.field("cache-control"), Some("no-store"));
}

/// Begins a rekey to one share, gives the old one, and returns the answer.
async fn rekeyed(bench: &Bench, verify: bool) -> Shown {
    let ask = json!({ "secret_shares": 1, "secret_threshold": 1, "require_verification": verify });
    let begun = bench.root("PUT", "sys/rekey/init", ask).await;
    well_formed(&begun);
    let begun = begun.json();
    // At the root for clients that know these endpoints without an envelope.
    assert_eq!(begun["data"]["nonce"], begun["nonce"]);
    assert_eq!(begun["required"], 1);
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    bench.root("PUT", "sys/rekey/update", give).await
}

async fn opens_with(bench: &Bench, share: &str) -> bool {
    bench.root("PUT", "sys/seal", NONE).await;
    let answer = bench
        .send("PUT", "sys/unseal", json!({ "key": share }))
        .await;
    answer.status == 200 && answer.json()["sealed"] == false
}

#[tokio::test]
async fn a_rekey_as_vaults_clients_do_it() {
    let bench = Bench::new().await;
    let idle = bench.root("GET", "sys/rekey/init", NONE).await.json();
    assert_eq!(idle["started"], false);
    let done = rekeyed(&bench, false).await;
    well_formed(&done);
    let done = done.json();
    assert_eq!(
        (&done["complete"], &done["backup"]),
        (&json!(true), &json!(false))
    );
    let share = done["keys_base64"][0].as_str().unwrap();
    assert!(
        !opens_with(&bench, &bench.share).await,
        "the old share is retired"
    );
    assert!(opens_with(&bench, share).await);
}

#[tokio::test]
async fn a_verified_rekey_as_vaults_clients_do_it() {
    let bench = Bench::new().await;
    let done = rekeyed(&bench, true).await.json();
    assert_eq!(done["verification_required"], true);
    let (share, nonce) = (&done["keys"][0], &done["verification_nonce"]);
    let status = bench.root("GET", "sys/rekey/verify", NONE).await.json();
    assert_eq!(&status["nonce"], nonce);
    let give = json!({ "key": share, "nonce": nonce });
    let verified = bench.root("PUT", "sys/rekey/verify", give).await.json();
    assert_eq!(verified["complete"], true);
    assert!(opens_with(&bench, share.as_str().unwrap()).await);
}

#[tokio::test]
async fn a1_new_shares_count_only_if_their_answer_is_in_the_trail() {
    for verify in [false, true] {
        let bench = Bench::new().await;
        let ask =
            json!({ "secret_shares": 1, "secret_threshold": 1, "require_verification": verify });
        let begun = bench.root("PUT", "sys/rekey/init", ask).await.json();
        let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
        // The request's line is written, the answer's is not.
        bench.trail.fail_after(1);
        let lost = bench.root("PUT", "sys/rekey/update", give).await;
        assert_eq!(lost.status, 500, "{lost:?}");
        bench.trail.heal();
        let status = bench.root("GET", "sys/rekey/init", NONE).await.json();
        assert_eq!(status["started"], false);
        assert!(
            opens_with(&bench, &bench.share).await,
            "the old share still opens"
        );
    }
}

/// Only the answer that held the shares decides about them.
#[tokio::test]
async fn a1_another_request_that_is_not_recorded_ends_no_rekey() {
    let bench = Bench::new().await;
    let done = rekeyed(&bench, true).await.json();
    let late = json!({ "key": bench.share, "nonce": done["nonce"] });
    bench.trail.fail_after(1);
    let lost = bench.root("PUT", "sys/rekey/update", late).await;
    assert_eq!(lost.status, 500, "{lost:?}");
    bench.trail.heal();
    let give = json!({ "key": done["keys"][0], "nonce": done["verification_nonce"] });
    let verified = bench.root("PUT", "sys/rekey/verify", give).await.json();
    assert_eq!(verified["complete"], true);
    assert!(opens_with(&bench, done["keys"][0].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_wrapped_rekey_counts_as_one_in_clear() {
    let bench = Bench::new().await;
    let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let begun = bench.root("PUT", "sys/rekey/init", ask).await.json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let fields = [("x-vault-token", &*bench.root), ("x-vault-wrap-ttl", "60")];
    let wrapped = bench
        .with("PUT", "sys/rekey/update", &fields, give)
        .await
        .json();
    let ask = json!({ "token": wrapped["wrap_info"]["token"] });
    let open = bench.root("PUT", "sys/wrapping/unwrap", ask).await.json();
    let share = open["data"]["keys"][0].as_str().unwrap();
    assert!(opens_with(&bench, share).await);
}

#[tokio::test]
async fn no_share_and_no_token_stands_in_the_trail() {
    let bench = Bench::new().await;
    let done = rekeyed(&bench, true).await.json();
    let share = done["keys"][0].as_str().unwrap().to_owned();
    let begun = bench
        .root("PUT", "sys/generate-root/attempt", NONE)
        .await
        .json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let made = bench
        .root("PUT", "sys/generate-root/update", give)
        .await
        .json();
    let lines = format!("{:?}", bench.trail.lines());
    let secrets = [
        share.as_str(),
        bench.share.as_str(),
        begun["otp"].as_str().unwrap(),
        made["encoded_token"].as_str().unwrap(),
    ];
    for secret in secrets {
        assert!(!lines.contains(secret));
    }
}

#[tokio::test]
async fn a_root_token_as_vaults_clients_make_it() {
    let bench = Bench::new().await;
    let begun = bench
        .root("PUT", "sys/generate-root/attempt", json!({}))
        .await;
    well_formed(&begun);
    let begun = begun.json();
    assert_eq!(begun["otp_length"], 28);
    let otp = begun["otp"].as_str().unwrap();
    let status = bench
        .root("GET", "sys/generate-root/attempt", NONE)
        .await
        .json();
    assert_eq!(
        (&status["otp"], &status["started"]),
        (&json!(""), &json!(true))
    );
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let made = bench
        .root("PUT", "sys/generate-root/update", give)
        .await
        .json();
    assert_eq!(made["complete"], true);
    assert_eq!(made["encoded_token"], made["encoded_root_token"]);
    let bytes = STANDARD_NO_PAD
        .decode(made["encoded_token"].as_str().unwrap())
        .unwrap();
    let token: String = bytes
        .iter()
        .zip(otp.bytes())
        .map(|(a, b)| char::from(a ^ b))
        .collect();
    let own = bench
        .by(&token, "GET", "auth/token/lookup-self", NONE)
        .await;
    assert_eq!(own.json()["data"]["policies"], json!(["root"]));
}

#[tokio::test]
async fn a1_a_root_token_that_nobody_will_see_is_taken_back() {
    let bench = Bench::new().await;
    let otp = "0123456789012345678901234567";
    let begun = bench
        .root("PUT", "sys/generate-root/attempt", json!({ "otp": otp }))
        .await
        .json();
    let before = bench
        .root("LIST", "auth/token/accessors", NONE)
        .await
        .json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    bench.trail.fail_after(1);
    assert_eq!(
        bench
            .root("PUT", "sys/generate-root/update", give)
            .await
            .status,
        500
    );
    bench.trail.heal();
    let after = bench
        .root("LIST", "auth/token/accessors", NONE)
        .await
        .json();
    assert_eq!(before["data"], after["data"]);
}

/// CVE-2025-52894, CVE-2026-5807: with a token and its policy, or not at all.
#[tokio::test]
async fn cve_2026_5807_strangers_find_the_doors_closed() {
    let bench = Bench::new().await;
    let weak = bench
        .token(r#"path "sys/rekey/*" { capabilities = ["create", "update", "read", "delete"] }"#)
        .await;
    for (method, path) in [
        ("GET", "sys/rekey/init"),
        ("PUT", "sys/rekey/init"),
        ("DELETE", "sys/rekey/init"),
        ("PUT", "sys/rekey/update"),
        ("GET", "sys/rekey/verify"),
        ("DELETE", "sys/rekey/verify"),
        ("GET", "sys/generate-root/attempt"),
        ("PUT", "sys/generate-root/attempt"),
        ("DELETE", "sys/generate-root/attempt"),
        ("PUT", "sys/generate-root/update"),
    ] {
        let ask = || match method {
            "PUT" => json!({ "secret_shares": 1, "secret_threshold": 1 }),
            _ => NONE,
        };
        assert_eq!(
            bench.send(method, path, ask()).await.status,
            403,
            "{method} {path}"
        );
        let refused = bench.by(&weak, method, path, ask()).await;
        assert_eq!(refused.status, 403, "needs sudo: {method} {path}");
    }
}

#[tokio::test]
async fn a_listener_that_is_told_to_serves_them_without_a_token() {
    let bench = Bench::new().await;
    let doors = Doors {
        rekey: true,
        generate_root: false,
    };
    let open = bench.through(doors);
    let ask = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let begun = open.send("PUT", "sys/rekey/init", ask.clone()).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    well_formed(&begun);
    let nonce = begun.json()["nonce"].clone();
    // Whoever cancels knows the nonce.
    assert_eq!(
        open.send("DELETE", "sys/rekey/init", NONE).await.status,
        400
    );
    let wrong = open
        .send("DELETE", "sys/rekey/init", json!({ "nonce": "x" }))
        .await;
    assert_eq!(wrong.status, 400);
    let own = open
        .send("DELETE", "sys/rekey/init", json!({ "nonce": nonce }))
        .await;
    assert_eq!((own.status, own.text.as_str()), (204, ""));
    let begun = open.send("PUT", "sys/rekey/init", ask).await.json();
    let give = json!({ "key": bench.share, "nonce": begun["nonce"] });
    let done = open.send("PUT", "sys/rekey/update", give).await.json();
    let share = done["keys"][0].as_str().unwrap();
    assert!(opens_with(&bench, share).await);
    let closed = open.send("GET", "sys/generate-root/attempt", NONE).await;
    assert_eq!(closed.status, 403);
    // B2, and not a way to begin something behind the seal.
    bench.root("PUT", "sys/seal", NONE).await;
    for (method, path) in [("GET", "sys/rekey/init"), ("PUT", "sys/rekey/update")] {
        assert_eq!(open.send(method, path, NONE).await.status, 503, "{path}");
    }
}

#[tokio::test]
async fn what_no_ceremony_takes_is_400() {
    let bench = Bench::new().await;
    for (path, ask) in [
        ("sys/rekey/init", json!({ "secret_shares": 300 })),
        (
            "sys/rekey/init",
            json!({ "secret_shares": 2, "secret_threshold": 3 }),
        ),
        ("sys/rekey/init", json!({ "pgp_keys": ["x"] })),
        ("sys/rekey/init", json!({ "backup": true })),
        ("sys/rekey/init", json!({ "stored_shares": 1 })),
        (
            "sys/rekey/init",
            json!({ "age_recipients": ["x"], "secret_shares": 1, "secret_threshold": 1 }),
        ),
        ("sys/rekey/update", json!({ "key": "00", "nonce": "x" })),
        ("sys/rekey/update", json!({ "key": "00" })),
        ("sys/rekey/verify", json!({ "key": "00", "nonce": "x" })),
        ("sys/generate-root/attempt", json!({ "otp": "short" })),
        ("sys/generate-root/attempt", json!({ "pgp_key": "x" })),
        (
            "sys/generate-root/update",
            json!({ "key": "00", "nonce": "x" }),
        ),
        ("sys/rotate/config", json!({ "max_operations": 1 })),
        ("sys/rotate/config", json!({ "interval": "1h" })),
        ("sys/remount", json!({ "from": "secret" })),
        ("sys/remount", json!({ "from": "secret", "to": "sys/x" })),
    ] {
        let refused = bench.root("PUT", path, ask.clone()).await;
        assert_eq!(refused.status, 400, "{path} {ask}: {refused:?}");
        well_formed(&refused);
    }
}

#[tokio::test]
async fn a_remount_and_its_status_as_vaults_clients_ask() {
    let bench = Bench::new().await;
    let secret = json!({ "data": { "a": "b" } });
    bench.root("PUT", "secret/data/app", secret).await;
    let ask = json!({ "from": "secret", "to": "moved/kv" });
    let moved = bench.root("POST", "sys/remount", ask).await;
    well_formed(&moved);
    let id = moved.json()["migration_id"].as_str().unwrap().to_owned();
    let status = bench
        .root("GET", &format!("sys/remount/status/{id}"), NONE)
        .await
        .json();
    assert_eq!(
        status["data"]["migration_info"],
        json!({ "source_mount": "secret/", "target_mount": "moved/kv/", "status": "success" })
    );
    let read = bench.root("GET", "moved/kv/data/app", NONE).await.json();
    assert_eq!(read["data"]["data"], json!({ "a": "b" }));
    assert_eq!(bench.root("GET", "secret/data/app", NONE).await.status, 404);
    let unknown = bench.root("GET", "sys/remount/status/none", NONE).await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn rotation_is_configured_as_in_vault() {
    let bench = Bench::new().await;
    let usual = bench.root("GET", "sys/rotate/config", NONE).await.json();
    let config = json!({ "enabled": true, "max_operations": 3_865_470_566_u64, "interval": 0 });
    assert_eq!(usual["data"], config);
    let ask = json!({ "interval": "48h", "max_operations": 2_000_000 });
    assert_eq!(
        bench.root("POST", "sys/rotate/config", ask).await.status,
        204
    );
    let now = bench.root("GET", "sys/rotate/config", NONE).await.json();
    let config = json!({ "enabled": true, "max_operations": 2_000_000, "interval": 172_800 });
    assert_eq!(now["data"], config);
    assert_eq!(bench.root("PUT", "sys/step-down", NONE).await.status, 204);
    let nodes = bench.root("GET", "sys/ha-status", NONE).await.json();
    assert_eq!(nodes["data"]["nodes"][0]["active_node"], true);
}
