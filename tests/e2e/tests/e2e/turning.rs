//! kill -9 of the real process while it does what takes several commits. The moment is another one
//! in each round; each single step is cut by the tests of the services and by `tests/sim`.

use std::sync::Arc;

use serde_json::json;
use zone_e2e::{Api, Head, Keys, Place};

const ROUNDS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_kill_9_while_keys_turn_over_leaves_each_secret_readable() {
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let root = head.with_token(&keys.root_token);
    let kv = json!({ "type": "kv-v2" });
    root.put("sys/mounts/secret", &kv).await.expect(204);
    let (mut term, mut written) = (term_of(&root).await, 0);
    for round in 0..ROUNDS {
        let root = head.with_token(&keys.root_token);
        let turning = tokio::spawn({
            let api = root.clone();
            async move {
                let mut turned = 0;
                let (path, kind) = ("sys/rotate", "application/json");
                loop {
                    let answer = api.try_send(http::Method::PUT, path, kind, "{}").await;
                    match answer {
                        Ok(answer) if answer.status == 204 => turned += 1,
                        _ => return turned,
                    }
                }
            }
        });
        for _ in 0..5 + 3 * round {
            let body = json!({ "data": { "n": written } });
            let path = format!("secret/data/s{written}");
            root.put(&path, &body).await.expect(200);
            written += 1;
        }
        head.process.kill();
        let turned: u64 = turning.await.unwrap();
        head = again(&place, &keys).await;
        let root = head.with_token(&keys.root_token);
        let now = term_of(&root).await;
        let acknowledged = term + turned;
        assert!(
            (acknowledged..=acknowledged + 1).contains(&now),
            "{now} after {acknowledged}"
        );
        term = now;
        for number in 0..written {
            let read = root
                .get(&format!("secret/data/s{number}"))
                .await
                .expect(200);
            assert_eq!(read.data()["data"]["n"], number);
        }
    }
}

async fn again(place: &Arc<Place>, keys: &Keys) -> Head {
    let head = place.start();
    head.unseal(keys).await;
    head
}

async fn term_of(root: &Api) -> u64 {
    let status = root.get("sys/key-status").await.expect(200);
    status.data()["term"].as_u64().unwrap()
}
