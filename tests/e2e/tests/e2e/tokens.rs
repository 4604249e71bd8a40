//! Tokens across kill -9: what was ended stays ended, whatever of the work was done.

use serde_json::{Value, json};
use zone_e2e::{Api, Head, Keys, Place};

const ROUNDS: usize = 4;
const MAKERS: usize = 8;
/// Children that each maker makes.
const EACH: usize = 20;

async fn make(api: &Api, body: &Value) -> String {
    let made = api.put("auth/token/create", body).await.expect(200).json();
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

async fn status(root: &Api, token: &str) -> u16 {
    let own = root.token(token).get("auth/token/lookup-self").await;
    own.status
}

/// Children of `parent`, and one child of each.
async fn grow(root: &Api, parent: &str) -> Vec<String> {
    let makers = (0..MAKERS).map(|_| {
        let (root, parent) = (root.clone(), root.token(parent));
        tokio::spawn(async move {
            let mut tree = Vec::new();
            for _ in 0..EACH {
                let child = make(&parent, &json!({})).await;
                tree.push(make(&root.token(&child), &json!({})).await);
                tree.push(child);
            }
            tree
        })
    });
    let mut tree = Vec::new();
    for maker in makers.collect::<Vec<_>>() {
        tree.extend(maker.await.unwrap());
    }
    tree
}

async fn again(place: &std::sync::Arc<Place>, keys: &Keys) -> (Head, Api) {
    let head = place.start();
    head.unseal(keys).await;
    let root = head.with_token(&keys.root_token);
    (head, root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_behind_a_revocation_leaves_no_descendant_alive() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    let mut root = head.with_token(&keys.root_token);
    for round in 0..ROUNDS {
        let parent = make(&root, &json!({})).await;
        let tree = grow(&root, &parent).await;
        assert_eq!(tree.len(), 2 * MAKERS * EACH);
        let revoke = json!({ "token": parent });
        root.put("auth/token/revoke", &revoke).await.expect(204);
        // Another moment in each round: the cleaning up has got so far.
        for _ in 0..round * 8 {
            root.put("sys/capabilities-self", &json!({ "path": "x" }))
                .await
                .expect(200);
        }
        head.process.kill();
        (head, root) = again(&place, &keys).await;
        for token in tree.iter().chain([&parent]) {
            assert_eq!(status(&root, token).await, 403, "round {round}");
        }
        let left = root.list("auth/token/accessors").await.expect(200);
        assert_eq!(left.data()["keys"].as_array().unwrap().len(), 1, "root's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_token_and_its_end_both_live_through_kill_9() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    let mut root = head.with_token(&keys.root_token);
    let batch = json!({ "type": "batch", "policies": "default" });
    let token = make(&root, &batch).await;
    head.process.kill();
    (head, root) = again(&place, &keys).await;
    assert_eq!(status(&root, &token).await, 200);
    root.put("auth/token/revoke-batch", &json!({ "all": true }))
        .await
        .expect(200);
    head.process.kill();
    let (_head, root) = again(&place, &keys).await;
    assert_eq!(status(&root, &token).await, 403);
    let token = make(&root, &batch).await;
    assert_eq!(status(&root, &token).await, 200);
}
