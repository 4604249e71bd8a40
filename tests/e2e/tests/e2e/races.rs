//! Many clients at once, each on a connection of its own, where exactly so many may win.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use zone_e2e::{Answer, Api, Head};

const CLIENTS: usize = 24;

/// A zone with KV at `secret/`.
async fn zone() -> (Head, Api) {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    let kv = json!({ "type": "kv-v2" });
    root.put("sys/mounts/secret", &kv).await.expect(204);
    (head, root)
}

/// Statuses of the same write by clients whose connections are open already.
async fn at_once(api: &Api, path: &'static str, body: impl Fn(usize) -> Value) -> Vec<u16> {
    let mut clients = Vec::new();
    for at in 0..CLIENTS {
        let client = api.clone();
        client.get("sys/seal-status").await.expect(200);
        clients.push((client, body(at)));
    }
    let writes = clients
        .into_iter()
        .map(|(client, body)| tokio::spawn(async move { client.put(path, &body).await.status }));
    let mut statuses = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        statuses.push(write.await.unwrap());
    }
    statuses
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|found| **found == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_check_and_set_has_one_winner() {
    let (_head, root) = zone().await;
    let body = |at| json!({ "data": { "by": at }, "options": { "cas": 0 } });
    let statuses = at_once(&root, "secret/data/x", body).await;
    assert_eq!(
        (count(&statuses, 200), count(&statuses, 400)),
        (1, CLIENTS - 1),
        "{statuses:?}"
    );
    let read = root.get("secret/data/x").await.expect(200);
    assert_eq!(read.data()["metadata"]["version"], 1);

    // Without it all are kept, each with a version of its own.
    let statuses = at_once(&root, "secret/data/y", |at| json!({ "data": { "by": at } })).await;
    assert_eq!(count(&statuses, 200), CLIENTS, "{statuses:?}");
    let read = root.get("secret/data/y").await.expect(200);
    assert_eq!(read.data()["metadata"]["version"], CLIENTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_for_the_uses_of_a_token_lets_exactly_its_number_through() {
    let (_head, root) = zone().await;
    let ask = json!({ "policies": ["root"], "num_uses": 5 });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let limited = root.token(made["auth"]["client_token"].as_str().unwrap());
    let statuses = at_once(
        &limited,
        "secret/data/z",
        |at| json!({ "data": { "by": at } }),
    )
    .await;
    assert_eq!(
        (count(&statuses, 200), count(&statuses, 403)),
        (5, CLIENTS - 5),
        "{statuses:?}"
    );
    let read = root.get("secret/data/z").await.expect(200);
    assert_eq!(
        read.data()["metadata"]["version"],
        5,
        "the losers changed nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_a_revocation_with_new_children_leaves_none_alive() {
    let (_head, root) = zone().await;
    for _ in 0..3 {
        let made = root
            .put("auth/token/create", &json!({}))
            .await
            .expect(200)
            .json();
        let parent = made["auth"]["client_token"].as_str().unwrap().to_owned();
        let children = (0..8).map(|_| {
            let api = root.token(&parent);
            tokio::spawn(async move {
                let mut children = Vec::new();
                loop {
                    let made = api.put("auth/token/create", &json!({})).await;
                    if made.status != 200 {
                        return (made.status, children);
                    }
                    let token = made.json()["auth"]["client_token"]
                        .as_str()
                        .unwrap()
                        .to_owned();
                    children.push(token);
                }
            })
        });
        let children: Vec<_> = children.collect();
        let first = root.token(&parent);
        first.put("auth/token/create", &json!({})).await.expect(200);
        let revoke = json!({ "token": parent });
        root.put("auth/token/revoke", &revoke).await.expect(204);
        for maker in children {
            let (status, made) = maker.await.unwrap();
            assert_eq!(status, 403, "the parent is gone");
            for child in made {
                let alive = root.token(&child).get("auth/token/lookup-self").await;
                assert_eq!(alive.status, 403, "a child outlived its parent");
            }
        }
    }
}

/// 64 logins by clients without a token, each on a connection that is open already.
async fn logins(head: &Head, path: &'static str, body: impl Fn(usize) -> Value) -> Vec<Answer> {
    let mut clients = Vec::new();
    for at in 0..64 {
        let client = head.api();
        client.get("sys/seal-status").await.expect(200);
        clients.push((client, body(at)));
    }
    let asked = clients
        .into_iter()
        .map(|(client, body)| tokio::spawn(async move { client.put(path, &body).await }));
    let mut answers = Vec::new();
    for one in asked.collect::<Vec<_>>() {
        answers.push(one.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_for_the_uses_of_a_secret_id_lets_exactly_its_number_through() {
    let (head, root) = zone().await;
    let approle = json!({ "type": "approle" });
    root.put("sys/auth/approle", &approle).await.expect(204);
    let role = json!({ "secret_id_num_uses": 10, "role_id": "web", "token_policies": "default" });
    root.put("auth/approle/role/web", &role).await.expect(204);
    let path = "auth/approle/role/web/secret-id";
    let made = root.put(path, &json!({})).await.expect(200);
    let secret_id = made.field("secret_id");
    let login = json!({ "role_id": "web", "secret_id": secret_id });
    let answers = logins(&head, "auth/approle/login", |_| login.clone()).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let counts = (count(&statuses, 200), count(&statuses, 400));
    assert_eq!(counts, (10, 54), "{statuses:?}");
    let mut tokens = BTreeSet::new();
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        let token = answer.json()["auth"]["client_token"].take();
        let token = token.as_str().unwrap().to_owned();
        let own = root.token(&token).get("auth/token/lookup-self").await;
        own.expect(200);
        tokens.insert(token);
    }
    assert_eq!(tokens.len(), 10, "each has one of its own");
    for answer in answers.iter().filter(|answer| answer.status == 400) {
        answer.refused(400, "invalid role or secret ID");
    }
    // Used up: it is gone.
    let gone = json!({ "secret_id": secret_id });
    let lookup = "auth/approle/role/web/secret-id/lookup";
    root.put(lookup, &gone).await.expect(204);
    let again = head.api().put("auth/approle/login", &login).await;
    again.refused(400, "invalid role or secret ID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_of_wrong_passwords_locks_the_user_whatever_comes_at_once() {
    let (head, root) = zone().await;
    let userpass = json!({ "type": "userpass" });
    root.put("sys/auth/userpass", &userpass).await.expect(204);
    let good = json!({ "password": "correct horse" });
    for name in ["ann", "bob"] {
        let path = format!("auth/userpass/users/{name}");
        root.put(&path, &good).await.expect(204);
    }
    head.api()
        .put("auth/userpass/login/ann", &good)
        .await
        .expect(200);
    // All spellings of her name are one user.
    let answers = logins(
        &head,
        "auth/userpass/login/aNN",
        |at| json!({ "password": format!("guess {at}") }),
    );
    let statuses: Vec<u16> = answers.await.iter().map(|answer| answer.status).collect();
    let refused = count(&statuses, 400) + count(&statuses, 403) + count(&statuses, 429);
    assert_eq!(refused, 64, "{statuses:?}");
    // The right password does not tell whether she is locked.
    let locked = head.api().put("auth/userpass/login/ann", &good).await;
    let wrong = json!({ "password": "wrong" });
    let other = head.api().put("auth/userpass/login/bob", &wrong).await;
    assert_eq!((locked.status, locked.text()), (other.status, other.text()));
    head.api()
        .put("auth/userpass/login/bob", &good)
        .await
        .expect(200);
    let list = root.get("sys/locked-users").await.expect(200).data();
    assert_eq!(list["total"], 1, "{list}");
    let mount = &list["by_namespace"][0]["mount_accessors"][0];
    assert_eq!(mount["alias_identifiers"], json!(["ann"]), "{list}");
    let unlock = format!(
        "sys/locked-users/{}/unlock/ann",
        mount["mount_accessor"].as_str().unwrap()
    );
    root.put(&unlock, &json!({})).await.expect(204);
    head.api()
        .put("auth/userpass/login/ann", &good)
        .await
        .expect(200);
}
