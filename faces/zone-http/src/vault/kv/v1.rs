//! KV version 1: one value for each path.

use serde_json::Map;
use zone_access::Operation;
use zone_secrets::KvService;
use zone_secrets::kv1::Secret1;

use super::super::exchange::{Answer, Call, Fault, Reply};
use super::super::fields::Fields;

/// Answers one permitted call below a mount of version 1.
pub(super) async fn handle(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => {
            let secret = kv.kv1_read(&call.permit).await?;
            Ok(Reply::Data(Answer {
                data: Some(secret.data()?.to_owned()),
                lease_duration: kept(call, &secret)?,
                ..Answer::default()
            }))
        }
        Operation::List => Reply::keys(&kv.kv1_list(&call.permit).await?),
        Operation::Create | Operation::Update => {
            kv.kv1_write(&call.permit, &call.data).await?;
            Ok(Reply::NoContent)
        }
        Operation::Delete => {
            kv.kv1_delete(&call.permit).await?;
            Ok(Reply::NoContent)
        }
        Operation::Patch => Err(Fault::unsupported_operation()),
    }
}

/// How long the secret may be kept: what it says itself, if that is a time, or what the mount
/// says. No lease stands behind it.
fn kept(call: &Call, secret: &Secret1) -> Result<u64, Fault> {
    let usual = call.permit.lease_times().default;
    let Some(ttl) = secret.ttl()? else {
        return Ok(usual);
    };
    let map = Map::from_iter([("ttl".to_owned(), ttl)]);
    // Whatever else stands under that name belongs to the secret.
    let own = Fields(&map).seconds("ttl").ok().flatten();
    super::super::fields::wipe_all(&mut { map });
    Ok(own.unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Bench, Shown};

    const NONE: Value = Value::Null;

    async fn bench() -> Bench {
        let bench = Bench::new().await;
        let made = bench
            .root("PUT", "sys/mounts/old", json!({ "type": "kv" }))
            .await;
        assert_eq!(made.status, 204, "{made:?}");
        bench
    }

    async fn put(bench: &Bench, path: &str, body: Value) -> Shown {
        bench.root("PUT", path, body).await
    }

    #[tokio::test]
    async fn a_secret_of_version_1_is_served_as_vault_serves_it() {
        let bench = bench().await;
        let secret = r#"{"user":"app","pin":1.10}"#;
        let written = put(&bench, "old/app/db", Value::String(secret.into())).await;
        assert_eq!((written.status, written.text.as_str()), (204, ""));
        assert_eq!(written.field("cache-control"), Some("no-store"));
        let read = bench.root("GET", "old/app/db", NONE).await;
        assert_eq!(read.status, 200);
        assert_eq!(read.field("content-type"), Some("application/json"));
        assert_eq!(read.field("cache-control"), Some("no-store"));
        assert!(
            read.text.contains(&format!("\"data\":{secret}")),
            "{read:?}"
        );
        let body = read.json();
        assert_eq!(body["lease_duration"], 2_764_800);
        assert_eq!(
            (&body["lease_id"], &body["renewable"]),
            (&json!(""), &json!(false))
        );
        let listed = bench.root("LIST", "old", NONE).await.json();
        assert_eq!(listed["data"]["keys"], json!(["app/"]));
        let gone = bench.root("DELETE", "old/app/db", NONE).await;
        assert_eq!((gone.status, gone.text.as_str()), (204, ""));
        for (method, path) in [("GET", "old/app/db"), ("LIST", "old/app"), ("LIST", "old")] {
            let shown = bench.root(method, path, NONE).await;
            assert_eq!(shown.brief(), "404 []", "{method} {path}");
        }
        let again = bench.root("DELETE", "old/app/db", NONE).await;
        assert_eq!(again.status, 204);
    }

    #[tokio::test]
    async fn what_is_wrong_is_400_and_named() {
        let bench = bench().await;
        let empty = put(&bench, "old/x", json!({})).await;
        assert_eq!(empty.brief(), r#"400 ["missing data fields"]"#);
        let patch = bench.root("PATCH", "old/x", json!({ "a": 1 })).await;
        assert_eq!(patch.status, 405);
        let long = put(
            &bench,
            &format!("old/{}", "x".repeat(401)),
            json!({ "a": 1 }),
        )
        .await;
        assert_eq!(long.status, 400);
        assert!(!long.text.contains("xxx"), "never the value");
    }

    #[tokio::test]
    async fn a_secret_says_how_long_it_may_be_kept() {
        let bench = bench().await;
        for (secret, secs) in [
            (json!({ "ttl": "1h" }), 3600),
            (json!({ "ttl": 90 }), 90),
            (json!({ "ttl": "90" }), 90),
            (json!({ "lease": "2m" }), 120),
            (json!({ "ttl": "1m", "lease": "2m" }), 60),
            (json!({ "ttl": "soon" }), 2_764_800),
            (json!({ "ttl": { "a": 1 } }), 2_764_800),
            (json!({ "ttl": null }), 2_764_800),
            (json!({ "other": 1 }), 2_764_800),
        ] {
            put(&bench, "old/x", secret.clone()).await;
            let read = bench.root("GET", "old/x", NONE).await.json();
            assert_eq!(read["lease_duration"], secs, "{secret}");
        }
        let tuned = put(
            &bench,
            "sys/mounts/old/tune",
            json!({ "default_lease_ttl": "1h" }),
        )
        .await;
        assert_eq!(tuned.status, 204);
        put(&bench, "old/x", json!({ "a": 1 })).await;
        let read = bench.root("GET", "old/x", NONE).await.json();
        assert_eq!(read["lease_duration"], 3600);
    }

    #[tokio::test]
    async fn create_and_update_are_two_capabilities() {
        let bench = bench().await;
        let create = bench
            .token(r#"path "old/*" { capabilities = ["create"] }"#)
            .await;
        let one = json!({ "a": 1 });
        assert_eq!(
            bench.by(&create, "PUT", "old/x", one.clone()).await.status,
            204
        );
        assert_eq!(
            bench.by(&create, "PUT", "old/x", one.clone()).await.status,
            403
        );
        let update = bench
            .token(r#"path "old/*" { capabilities = ["update"] }"#)
            .await;
        assert_eq!(
            bench.by(&update, "PUT", "old/x", one.clone()).await.status,
            204
        );
        assert_eq!(bench.by(&update, "PUT", "old/y", one).await.status, 403);
    }

    #[tokio::test]
    async fn the_preflight_tells_version_1_and_tuning_makes_it_2() {
        let bench = bench().await;
        put(&bench, "old/x", json!({ "a": 1 })).await;
        let asked = bench
            .root("GET", "sys/internal/ui/mounts/old/x", NONE)
            .await;
        assert_eq!(asked.json()["data"]["options"], json!({ "version": "1" }));
        for wrong in ["0", "3", "two"] {
            let options = json!({ "options": { "version": wrong } });
            let tuned = put(&bench, "sys/mounts/old/tune", options).await;
            assert_eq!(tuned.status, 400, "{wrong}");
        }
        let two = json!({ "options": { "version": "2" } });
        assert_eq!(
            put(&bench, "sys/mounts/old/tune", two.clone()).await.status,
            204
        );
        for path in ["old/data/x", "old/x", "old/config"] {
            let early = bench.root("GET", path, NONE).await;
            assert_eq!(early.status, 400, "{path}");
            assert!(
                early.text.contains("Upgrading from non-versioned"),
                "{early:?}"
            );
        }
        while bench.zone.system.access().sweep().await.unwrap() {}
        let read = bench.root("GET", "old/data/x", NONE).await.json();
        assert_eq!(read["data"]["data"], json!({ "a": 1 }));
        assert_eq!(read["data"]["metadata"]["version"], 1);
        let asked = bench
            .root("GET", "sys/internal/ui/mounts/old/x", NONE)
            .await;
        assert_eq!(asked.json()["data"]["options"], json!({ "version": "2" }));
        assert_eq!(put(&bench, "sys/mounts/old/tune", two).await.status, 204);
        let back = json!({ "options": { "version": "1" } });
        assert_eq!(put(&bench, "sys/mounts/old/tune", back).await.status, 400);
    }
}
