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

/// The times of the configuration, where no mount and no caller says otherwise.
#[tokio::test]
async fn lease_times_of_the_configuration_bound_what_is_given_out() {
    let place = Place::new();
    let config = std::fs::read_to_string(place.config_file()).unwrap();
    let times = "default_lease_ttl = \"1h\"\nmax_lease_ttl = \"2h\"\n";
    place.write("zonehead.toml", format!("{times}{config}"));
    let head = place.start();
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    let lives = async |path: &str, ask: Value| {
        let made = root.put(path, &ask).await.expect(200).json();
        made["auth"]["lease_duration"].as_u64().unwrap()
    };
    assert_eq!(
        lives("auth/token/create", json!({ "policies": "default" })).await,
        3600
    );
    assert_eq!(
        lives("auth/token/create", json!({ "ttl": "10h" })).await,
        7200
    );
    root.put("sys/auth/userpass", &json!({ "type": "userpass" }))
        .await
        .expect(204);
    root.put("auth/userpass/users/ann", &json!({ "password": "right" }))
        .await
        .expect(204);
    let login = "auth/userpass/login/ann";
    assert_eq!(lives(login, json!({ "password": "right" })).await, 3600);
    let long = json!({ "token_ttl": "10h" });
    root.put("auth/userpass/users/ann", &long).await.expect(204);
    assert_eq!(lives(login, json!({ "password": "right" })).await, 7200);
    let tuned = root
        .get("sys/mounts/auth/userpass/tune")
        .await
        .expect(200)
        .data();
    assert_eq!(
        (&tuned["default_lease_ttl"], &tuned["max_lease_ttl"]),
        (&json!(3600), &json!(7200))
    );
    let beyond = json!({ "default_lease_ttl": "3h" });
    root.put("sys/mounts/auth/userpass/tune", &beyond)
        .await
        .refused(400, "max_lease_ttl");
    let own = json!({ "max_lease_ttl": "20h" });
    root.put("sys/mounts/auth/userpass/tune", &own)
        .await
        .expect(204);
    assert_eq!(lives(login, json!({ "password": "right" })).await, 36_000);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ca = json!({ "common_name": "CA", "key_type": "ec", "ttl": "8760h" });
    let made = root
        .put("pki/root/generate/internal", &ca)
        .await
        .expect(200)
        .json();
    assert!(
        made["warnings"].to_string().contains("maxTTL 2h0m0s"),
        "{made}"
    );
}
