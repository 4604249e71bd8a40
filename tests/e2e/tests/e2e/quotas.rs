//! Quotas on a real head: who is refused, who is not, and what is left after kill -9.

use serde_json::{Value, json};
use zone_e2e::{Answer, Api, Config, Head, Keys, LIMIT, Place};

const LOGIN: &str = "auth/userpass/login/ann";

/// A head with a user who can log in.
async fn head(config: &Config) -> (Head, Keys, Api) {
    let (head, keys) = Head::unsealed_at(Place::with(config)).await;
    let root = head.with_token(&keys.root_token);
    let method = json!({ "type": "userpass" });
    root.put("sys/auth/userpass", &method).await.expect(204);
    let user = json!({ "password": "right", "token_ttl": "1h" });
    let path = "auth/userpass/users/ann";
    root.put(path, &user).await.expect(204);
    (head, keys, root)
}

async fn limit(root: &Api, name: &str, body: &Value) {
    let path = format!("sys/quotas/rate-limit/{name}");
    root.put(&path, body).await.expect(204);
}

async fn log_in(api: &Api) -> Answer {
    api.put(LOGIN, &json!({ "password": "right" })).await
}

/// Attack: one address asks without end. It is refused, and all others are served meanwhile.
#[tokio::test]
async fn attack_a_flood_from_one_address_leaves_the_others_alone() {
    let (head, _, root) = head(&Config::default()).await;
    let slow = json!({ "path": "auth/userpass/", "rate": 3, "interval": "1h" });
    limit(&root, "logins", &slow).await;
    let (flood, other) = (head.api().from("127.0.0.66"), head.api().from("127.0.0.2"));
    for _ in 0..3 {
        log_in(&flood).await.expect(200);
    }
    for at in 0..200 {
        let refused = log_in(&flood).await;
        refused.refused(429, "rate limit quota exceeded");
        let wait = refused.headers["retry-after"].to_str().unwrap();
        assert!((1000..=1200).contains(&wait.parse::<u32>().unwrap()));
        assert_eq!(refused.headers["content-type"], "application/json");
        assert_eq!(refused.headers["cache-control"], "no-store");
        if at % 100 == 0 {
            log_in(&other).await.expect(200);
        }
    }
    // What is said to be forwarded by somebody who is no proxy changes nothing.
    let spoofed = flood.header("x-forwarded-for", "192.0.2.7");
    assert_eq!(log_in(&spoofed).await.status, 429);
    flood.get("auth/token/lookup-self").await.expect(403);
    root.delete("sys/quotas/rate-limit/logins")
        .await
        .expect(204);
    log_in(&flood).await.expect(200);
    head.lives().await;
}

/// Behind a trusted proxy the clients are told apart by the addresses that it gives.
#[tokio::test]
async fn clients_of_a_trusted_proxy_are_told_apart() {
    let (head, _, root) = head(&Config {
        listener: "trusted_proxies = [\"127.0.0.9\"]".into(),
        ..Config::default()
    })
    .await;
    let slow = json!({ "path": LOGIN, "rate": 2, "interval": "1h" });
    limit(&root, "logins", &slow).await;
    let proxy = head.api().from("127.0.0.9");
    for (client, statuses) in [
        ("192.0.2.7", [200, 200, 429]),
        ("192.0.2.8", [200, 200, 429]),
        // Of one network of IPv6.
        ("2001:db8:1:1::7", [200, 200, 429]),
        ("2001:db8:1:1::8", [429; 3]),
        ("2001:db8:1:2::8", [200, 200, 429]),
        ("192.0.2.7", [429; 3]),
    ] {
        let forwarded = proxy.header("x-forwarded-for", client);
        for status in statuses {
            assert_eq!(log_in(&forwarded).await.status, status, "{client}");
        }
    }
}

/// S1: a quota that was acknowledged is in force after kill -9, and so is what it counts.
#[tokio::test]
async fn s1_kill_9_loses_no_quota_and_no_count() {
    let (mut head, keys, mut root) = head(&Config::default()).await;
    let few = json!({ "path": "auth/userpass/", "max_leases": 4 });
    let path = "sys/quotas/lease-count/few";
    root.put(path, &few).await.expect(204);
    for round in 1..=6 {
        let slow = json!({ "path": "auth/token/lookup-self", "rate": round, "interval": "1h" });
        limit(&root, "slow", &slow).await;
        let login = log_in(&head.api()).await;
        assert_eq!(login.status == 200, round <= 4, "{round}");
        head.process.kill();
        head = head.place.start();
        head.unseal(&keys).await;
        root = head.with_token(&keys.root_token);
        let read = root.get(path).await.expect(200).data();
        assert_eq!(read["counter"], round.min(4));
        for _ in 0..round {
            root.get("auth/token/lookup-self").await.expect(200);
        }
        root.get("auth/token/lookup-self").await.expect(429);
    }
    let ended = json!({});
    root.put("sys/leases/revoke-prefix/auth/userpass/login", &ended)
        .await
        .expect(202);
    // From another address: asking over and over uses up the pace of who asks.
    until_counted(&root.from("127.0.0.7"), path, 0).await;
    log_in(&head.api()).await.expect(200);
    root.delete(path).await.expect(204);
    head.process.kill();
    head = head.place.start();
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    root.get(path).await.expect(404);
}

/// What ended is removed in the background. Whoever asks too often is told to wait.
async fn until_counted(root: &Api, path: &str, wanted: u64) {
    let reached = async {
        loop {
            let read = root.get(path).await;
            if read.status == 200 && read.data()["counter"] == wanted {
                break;
            }
        }
    };
    let reached = tokio::time::timeout(LIMIT, reached).await;
    reached.expect("what ended is no longer counted");
}
