//! kill -9 while one request is being served that takes several steps: the verified rekey, a remount
//! among rotations, the revocation of a tree.
//!
//! The moment is given by the zone's own progress: so many answers on another connection since the
//! request was sent. Each round is another count, so that the kills fall before, into and behind the
//! work, whatever the machine. Each single step is cut by the tests of the services and `tests/sim`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use zone_e2e::{Api, Head, Keys, LIMIT, Place};

/// Sends a request, kills the head after `answers` answers to others, and tells what came of it.
pub(crate) async fn cut(
    head: &mut Head,
    api: &Api,
    path: &str,
    body: &Value,
    answers: usize,
) -> Option<u16> {
    let other = head.api();
    other.get("sys/seal-status").await.expect(200);
    // Its connection is open before it counts.
    let (api, path, body) = (api.clone(), path.to_owned(), body.to_string());
    api.get("sys/seal-status").await.expect(200);
    let asked = tokio::spawn(async move {
        let answer = api.try_send(Method::PUT, &path, "application/json", body);
        answer.await.ok().map(|answer| answer.status)
    });
    for _ in 0..answers {
        other.get("sys/seal-status").await.expect(200);
    }
    head.process.kill();
    asked.await.unwrap()
}

/// So many answers; in the last round so many that the work is done, however slow the machine is.
pub(crate) fn moment(answers: usize, last: usize) -> usize {
    match answers < last {
        true => answers,
        false => 500,
    }
}

pub(crate) async fn again(place: &Arc<Place>, keys: &Keys) -> (Head, Api) {
    let head = place.start();
    head.unseal(keys).await;
    let root = head.with_token(&keys.root_token);
    (head, root)
}

/// Whether these shares open the sealed zone; if not, it takes not even the first.
async fn opens(head: &Head, shares: &[String]) -> bool {
    let api = head.api();
    for (at, share) in shares.iter().enumerate() {
        let given = api.put("sys/unseal", &json!({ "key": share })).await;
        if given.status == 400 {
            assert_eq!(at, 0, "a set of shares is of one kind: {}", given.text());
            let said = given.errors();
            let known = said.contains("not one of this zone") || said.contains("outdated");
            assert!(known, "{said}");
            return false;
        }
        given.expect(200);
    }
    let status = api.get("sys/seal-status").await.expect(200).json();
    assert_eq!(status["sealed"], false, "{status}");
    true
}

/// How far a verified rekey comes before the kill.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// The holders of the old shares gave one of two.
    FirstOld,
    /// The new shares are handed out.
    HandedOut,
    /// One of the new two was shown.
    FirstNew,
    /// While the last is being looked at.
    InFlight(usize),
    /// The last was answered.
    Verified,
}

/// Two of three new shares, until `moment`. The new ones, if they were handed out; whether the
/// holders were told that they count.
async fn rekey(head: &mut Head, root: &Api, old: &[String], moment: Moment) -> (Vec<String>, bool) {
    let ask = json!({ "secret_shares": 3, "secret_threshold": 2, "require_verification": true });
    let begun = root.put("sys/rekey/init", &ask).await.expect(200).json();
    let give = |share: &str, nonce: &Value| json!({ "key": share, "nonce": nonce });
    let first = give(&old[0], &begun["nonce"]);
    root.put("sys/rekey/update", &first).await.expect(200);
    if moment == Moment::FirstOld {
        return (Vec::new(), false);
    }
    let second = give(&old[1], &begun["nonce"]);
    let made = root
        .put("sys/rekey/update", &second)
        .await
        .expect(200)
        .json();
    assert_eq!(made["verification_required"], true, "{made}");
    let texts = made["keys_base64"].as_array().unwrap().iter();
    let new: Vec<String> = texts
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    if moment == Moment::HandedOut {
        return (new, false);
    }
    let nonce = &made["verification_nonce"];
    let shown = give(&new[0], nonce);
    root.put("sys/rekey/verify", &shown).await.expect(200);
    let last = give(&new[1], nonce);
    let told = match moment {
        Moment::InFlight(answers) => {
            cut(head, root, "sys/rekey/verify", &last, answers).await == Some(200)
        }
        Moment::Verified => {
            let done = root.put("sys/rekey/verify", &last).await.expect(200).json();
            assert_eq!(done["complete"], true, "{done}");
            true
        }
        _ => false,
    };
    (new, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_each_step_of_a_verified_rekey_leaves_one_set_of_shares_that_opens() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(3, 2).await;
    let mut shares = keys.base64.clone();
    head.unseal_with(&shares[..2]).await;
    let root = head.with_token(&keys.root_token);
    let kv = json!({ "type": "kv-v2" });
    root.put("sys/mounts/secret", &kv).await.expect(204);
    let secret = json!({ "data": { "kept": "whatever happens" } });
    root.put("secret/data/x", &secret).await.expect(200);

    let steps = [Moment::FirstOld, Moment::HandedOut, Moment::FirstNew];
    let flights = (0..12).map(Moment::InFlight);
    let mut turned = [0, 0];
    for moment in steps.into_iter().chain(flights).chain([Moment::Verified]) {
        let root = head.with_token(&keys.root_token);
        let (new, told) = rekey(&mut head, &root, &shares, moment).await;
        if !matches!(moment, Moment::InFlight(_)) {
            head.process.kill();
        }
        head = place.start();
        let old_opens = opens(&head, &shares[..2]).await;
        if told || !old_opens {
            assert!(!old_opens, "{moment:?}: told that the new ones count");
            let reached = matches!(moment, Moment::InFlight(_) | Moment::Verified);
            assert!(reached, "{moment:?}: not all of the new ones were shown");
            assert!(opens(&head, &new[1..]).await, "{moment:?}: neither");
            shares = new;
        } else {
            // The new ones never count again.
            let root = head.with_token(&keys.root_token);
            root.put("sys/seal", &json!({})).await.expect(204);
            assert!(
                new.is_empty() || !opens(&head, &new[..2]).await,
                "{moment:?}: both"
            );
            head.unseal_with(&shares[..2]).await;
        }
        turned[usize::from(!old_opens)] += 1;
        let root = head.with_token(&keys.root_token);
        let status = root.get("sys/rekey/init").await.expect(200).json();
        assert_eq!(status["started"], false, "{moment:?}: {status}");
        let read = root.get("secret/data/x").await.expect(200);
        assert_eq!(read.data()["data"], secret["data"], "{moment:?}");
    }
    assert!(turned[0] >= 3 && turned[1] >= 1, "{turned:?}");
}

/// Without verification the new shares count when the answer with them was given, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_behind_the_answer_with_new_shares_keeps_them_and_before_it_the_old_ones() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(3, 2).await;
    let mut shares = keys.base64.clone();
    head.unseal_with(&shares[..2]).await;
    for given in [1, 2, 1, 2, 2] {
        let root = head.with_token(&keys.root_token);
        let ask = json!({ "secret_shares": 3, "secret_threshold": 2 });
        let begun = root.put("sys/rekey/init", &ask).await.expect(200).json();
        let mut made = Value::Null;
        for share in &shares[..given] {
            let give = json!({ "key": share, "nonce": begun["nonce"] });
            made = root.put("sys/rekey/update", &give).await.expect(200).json();
        }
        head.process.kill();
        head = place.start();
        if given == 2 {
            assert!(!opens(&head, &shares[..2]).await, "the old ones count too");
            let texts = made["keys_base64"].as_array().unwrap().iter();
            shares = texts
                .map(|text| text.as_str().unwrap().to_owned())
                .collect();
        }
        assert!(opens(&head, &shares[..2]).await, "neither");
    }
}

/// What must be there, wherever the mounts are.
struct Moving {
    keys: Keys,
    /// A token of the auth method that moves, and one that has nothing to do with it.
    tokens: Vec<String>,
    /// Secrets that were acknowledged.
    written: Arc<AtomicUsize>,
}

const PLACES: [&str; 2] = ["here", "there/too"];

impl Moving {
    /// Which of the two places has the mount; it is at exactly one.
    async fn place_of(root: &Api, below: &str) -> usize {
        let all = root.get("sys/mounts").await.expect(200).data();
        let auth = root.get("sys/auth").await.expect(200).data();
        let list = if below.is_empty() { &all } else { &auth };
        let found: Vec<usize> = (0..2)
            .filter(|at| list.get(format!("{}/", PLACES[*at])).is_some())
            .collect();
        assert_eq!(found.len(), 1, "{below}: {list}");
        found[0]
    }

    /// All of it, after a restart.
    async fn check(&self, root: &Api) {
        let at = Self::place_of(root, "").await;
        for number in 0..self.written.load(Ordering::SeqCst) {
            let read = root.get(&format!("{}/data/s{number}", PLACES[at])).await;
            assert_eq!(read.expect(200).data()["data"]["n"], number);
        }
        root.list(&format!("{}/metadata", PLACES[1 - at]))
            .await
            .expect(404);
        let auth = Self::place_of(root, "auth/").await;
        let login = json!({ "password": "correct horse" });
        let path = format!("auth/{}/login/ann", PLACES[auth]);
        root.put(&path, &login).await.expect(200);
        for token in &self.tokens {
            root.token(token)
                .get("auth/token/lookup-self")
                .await
                .expect(200);
        }
    }
}

/// Writes secrets, wherever the mount is at the moment, and turns keys over, until the head is gone.
fn load(
    api: &Api,
    written: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let rotating = {
        let (api, stop) = (api.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let kind = "application/json";
                let _ = api.try_send(Method::PUT, "sys/rotate", kind, "{}").await;
            }
        })
    };
    let writing = {
        let api = api.clone();
        tokio::spawn(async move {
            let mut at = 0;
            while !stop.load(Ordering::SeqCst) {
                let number = written.load(Ordering::SeqCst);
                let path = format!("{}/data/s{number}", PLACES[at]);
                let body = json!({ "data": { "n": number } }).to_string();
                match api
                    .try_send(Method::PUT, &path, "application/json", body)
                    .await
                {
                    Ok(answer) if answer.status == 200 => {
                        written.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(_) => at = 1 - at,
                    Err(_) => {}
                }
            }
        })
    };
    vec![rotating, writing]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_while_mounts_move_and_keys_turn_leaves_each_at_one_place() {
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let mut root = head.with_token(&keys.root_token);
    root.put("sys/mounts/here", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("sys/auth/here", &json!({ "type": "userpass" }))
        .await
        .expect(204);
    let ann = json!({ "password": "correct horse" });
    root.put("auth/here/users/ann", &ann).await.expect(204);
    let login = root
        .put("auth/here/login/ann", &ann)
        .await
        .expect(200)
        .json();
    let other = root
        .put("auth/token/create", &json!({}))
        .await
        .expect(200)
        .json();
    let text = |answer: &Value| answer["auth"]["client_token"].as_str().unwrap().to_owned();
    let moving = Moving {
        keys,
        tokens: vec![text(&login), text(&other)],
        written: Arc::default(),
    };
    let mut moved = [0, 0];
    for round in 0..14 {
        let below = ["", "auth/"][round % 2];
        let from = Moving::place_of(&root, below).await;
        let stop = Arc::new(AtomicBool::new(false));
        let loads = load(&root, moving.written.clone(), stop.clone());
        let body = json!({ "from": format!("{below}{}", PLACES[from]),
                           "to": format!("{below}{}", PLACES[1 - from]) });
        let told = cut(&mut head, &root, "sys/remount", &body, moment(round / 2, 6)).await;
        stop.store(true, Ordering::SeqCst);
        for one in loads {
            one.await.unwrap();
        }
        (head, root) = again(&place, &moving.keys).await;
        let now = Moving::place_of(&root, below).await;
        if told == Some(200) {
            assert_eq!(now, 1 - from, "round {round}: what was answered stays");
        }
        moved[usize::from(now != from)] += 1;
        moving.check(&root).await;
    }
    assert!(moved[1] > 0, "all kills came too early: {moved:?}");
    assert!(
        moving.written.load(Ordering::SeqCst) > 0,
        "nothing was written beside"
    );
}

async fn child(api: &Api) -> String {
    let made = api
        .put("auth/token/create", &json!({}))
        .await
        .expect(200)
        .json();
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

async fn alive(root: &Api, tokens: &[String]) -> usize {
    let mut alive = 0;
    for token in tokens {
        let own = root.token(token).get("auth/token/lookup-self").await;
        assert!(matches!(own.status, 200 | 403), "{}", own.text());
        alive += usize::from(own.status == 200);
    }
    alive
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_into_a_tree_revocation_ends_all_of_the_tree_or_none_and_for_good() {
    const CHILDREN: usize = 40;
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let mut root = head.with_token(&keys.root_token);
    let mut ended = [0, 0];
    let mut dead: Vec<String> = Vec::new();
    for round in 0..10 {
        let parent = child(&root).await;
        let mut tree = vec![parent.clone()];
        for at in 0..CHILDREN {
            // Every second one is a child of the one before.
            let above = if at % 2 == 0 {
                &parent
            } else {
                &tree[tree.len() - 1]
            };
            tree.push(child(&root.token(above)).await);
        }
        let body = json!({ "token": parent });
        let told = cut(
            &mut head,
            &root,
            "auth/token/revoke",
            &body,
            moment(round, 9),
        )
        .await;
        (head, root) = again(&place, &keys).await;
        let left = alive(&root, &tree).await;
        assert!(
            left == 0 || left == tree.len(),
            "round {round}: {left} of {}",
            tree.len()
        );
        assert!(
            told != Some(204) || left == 0,
            "round {round}: what was answered stays"
        );
        ended[usize::from(left == 0)] += 1;
        if left > 0 {
            root.put("auth/token/revoke", &body).await.expect(204);
        }
        dead.extend(tree);
        assert_eq!(alive(&root, &dead).await, 0, "round {round}: one came back");
    }
    assert!(ended[1] > 0, "{ended:?}");
    let left = root.list("auth/token/accessors").await.expect(200).data();
    assert_eq!(left["keys"].as_array().unwrap().len(), 1, "root's: {left}");
}

/// A secret as soon as its mount has versions.
async fn upgraded(root: &Api, path: &str) -> Value {
    let reading = async {
        loop {
            let read = root.get(path).await;
            if !read.errors().contains("Upgrading from non-versioned") {
                return read.expect(200).data();
            }
        }
    };
    let read = tokio::time::timeout(LIMIT, reading).await;
    read.expect("the mount gets its versions in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_while_a_mount_gets_versions_loses_no_secret_and_moves_each_once() {
    const SECRETS: usize = 250;
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let mut root = head.with_token(&keys.root_token);
    let mut told_of = 0;
    for round in 0..5 {
        let mount = format!("kv{round}");
        let old = json!({ "type": "kv", "options": { "version": "1" } });
        root.put(&format!("sys/mounts/{mount}"), &old)
            .await
            .expect(204);
        for number in 0..SECRETS {
            let secret = json!({ "n": number });
            root.put(&format!("{mount}/a/s{number}"), &secret)
                .await
                .expect(204);
        }
        let tune = json!({ "options": { "version": "2" } });
        let path = format!("sys/mounts/{mount}/tune");
        let told = cut(&mut head, &root, &path, &tune, moment(round * 3, 12)).await;
        (head, root) = again(&place, &keys).await;
        let shown = root.get(&format!("sys/mounts/{mount}")).await.expect(200);
        let version = shown.data()["options"]["version"].clone();
        assert!(
            told != Some(204) || version == "2",
            "round {round}: {version}"
        );
        told_of += usize::from(told == Some(204));
        if version == "1" {
            root.put(&path, &tune).await.expect(204);
        }
        for number in 0..SECRETS {
            let at = format!("{mount}/data/a/s{number}");
            let data = upgraded(&root, &at).await;
            assert_eq!(data["data"], json!({ "n": number }), "{at}");
            assert_eq!(data["metadata"]["version"], 1, "{at}");
        }
        let listed = root.list(&format!("{mount}/metadata/a")).await.expect(200);
        assert_eq!(listed.data()["keys"].as_array().unwrap().len(), SECRETS);
    }
    assert!(told_of > 0, "all kills came too early");
}
