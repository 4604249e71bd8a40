//! A head whose store is a real PostgreSQL server.

use std::sync::Arc;

use serde_json::json;
use zone_e2e::{Head, Place};
use zone_testkit::Postgres;

fn place_on(server: &Postgres) -> Arc<Place> {
    let place = Place::new();
    let text = format!(
        "zone = \"zone.test\"\n[storage]\ntype = \"postgresql\"\npath = \"{}\"\n\
         connection_url = \"{}\"\nmax_connections = 4\n[[listener]]\naddress = \"127.0.0.1:0\"\n",
        place.data().display(),
        server.url()
    );
    place.write("zonehead.toml", text);
    place
}

/// Secrets, tokens and the authority as on the embedded store, through `kill -9` of the head and
/// crashes of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_head_on_postgresql_survives_its_own_end_and_the_servers() {
    let server = Postgres::start();
    let place = place_on(&server);
    let mut head = place.start();
    let keys = head.init(3, 2).await;
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    let status = root.get("sys/seal-status").await.expect(200).json();
    assert_eq!(status["storage_type"], "postgresql");
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ask = json!({ "common_name": "Test CA", "key_type": "ec" });
    root.put("pki/root/generate/internal", &ask)
        .await
        .expect(200);
    let role = json!({ "allow_any_name": true, "key_type": "ec" });
    root.put("pki/roles/any", &role).await.expect(200);
    let policy = json!({ "policy": "path \"secret/*\" { capabilities = [\"read\"] }" });
    root.put("sys/policies/acl/reader", &policy)
        .await
        .expect(204);
    let ask = json!({ "policies": ["reader"] });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let write = |value: u64| json!({ "data": { "value": value } });

    for round in 1..=3 {
        let root = head.with_token(&keys.root_token);
        root.put("secret/data/a", &write(round)).await.expect(200);
        server.crash();
        let away = root.get("secret/data/a").await;
        assert_eq!(away.status, 503, "{}", away.text());
        server.begin();
        let found = root.get("secret/data/a").await.expect(200).json();
        assert_eq!(found["data"]["data"]["value"], round);
        let name = format!("host{round}.test");
        root.put(
            "pki/issue/any",
            &json!({ "common_name": name, "ttl": "1h" }),
        )
        .await
        .expect(200);
        head.process.kill();
        head = place.start();
        head.unseal(&keys).await;
        let reader = head.with_token(&token);
        let found = reader.get("secret/data/a").await.expect(200).json();
        assert_eq!(found["data"]["data"]["value"], round);
    }
    let root = head.with_token(&keys.root_token);
    let certificates = root.list("pki/certs").await.expect(200).json();
    assert_eq!(certificates["data"]["keys"].as_array().unwrap().len(), 4);
    assert!(head.terminate().success());
}

/// A second head on the same schema does not start; a server that is away says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_head_on_one_schema_is_refused() {
    let server = Postgres::start();
    let place = place_on(&server);
    let first: Head = place.start();
    let other = place_on(&server);
    let mut second = other.spawn();
    second.wait_for(0, "another head has the store open");
    assert!(!second.wait().success());
    assert!(first.terminate().success());
    server.crash();
    let mut late = place.spawn();
    late.wait_for(0, "opening the store on PostgreSQL");
    assert!(!late.wait().success());
    server.begin();
    assert!(place.start().terminate().success());
}
