//! Leases of certificates on a real head: kill -9 into a revocation by path, and a mount that moves.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use zone_e2e::{Api, Head, LIMIT, Place, tool};

use crate::kills::{again, cut, moment};

/// A certificate that was given out for a time.
struct Given {
    lease: String,
    serial: String,
}

/// A CA at `mount` whose roles give leases.
async fn authority(root: &Api, mount: &str) {
    let ask = json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } });
    root.put(&format!("sys/mounts/{mount}"), &ask)
        .await
        .expect(204);
    let ask = json!({ "common_name": "leases", "key_type": "ec", "ttl": "8760h" });
    root.put(&format!("{mount}/root/generate/internal"), &ask)
        .await
        .expect(200);
    for role in ["web", "stays"] {
        let ask = json!({
            "allowed_domains": ["svc.test"], "allow_subdomains": true, "key_type": "ec",
            "max_ttl": "72h", "generate_lease": true,
        });
        root.put(&format!("{mount}/roles/{role}"), &ask)
            .await
            .expect(200);
    }
}

async fn give(root: &Api, path: &str) -> Given {
    let ask = json!({ "common_name": "db.svc.test", "ttl": "1h" });
    let issued = root.put(path, &ask).await.expect(200).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Given {
        lease: text(&issued["lease_id"]),
        serial: text(&issued["data"]["serial_number"]),
    }
}

/// How many of them count.
async fn alive(root: &Api, leases: &[Given]) -> usize {
    let mut alive = 0;
    for given in leases {
        let found = look_up(root, &given.lease).await;
        alive += usize::from(found);
    }
    alive
}

async fn look_up(root: &Api, lease: &str) -> bool {
    let ask = json!({ "lease_id": lease });
    let found = root.put("sys/leases/lookup", &ask).await;
    match found.status {
        200 => true,
        _ => {
            found.refused(400, "invalid lease");
            false
        }
    }
}

/// Waits until no lease waits for its engine.
async fn taken_back(root: &Api) {
    let waiting = async {
        loop {
            let count = root.get("sys/leases/count?type=revoking").await.expect(200);
            if count.data()["lease_count"] == 0 {
                return;
            }
        }
    };
    let done = tokio::time::timeout(LIMIT, waiting).await;
    done.expect("the engine takes them back in time");
}

/// The serials of the complete list of `mount`, as openssl reads them.
async fn listed(head: &Head, mount: &str) -> BTreeSet<String> {
    let crl = head
        .api()
        .get(&format!("{mount}/crl/pem"))
        .await
        .expect(200);
    let file = head.place.write("leases-crl.pem", &crl.body);
    let mut openssl = tool::program("openssl");
    let text = tool::text(openssl.args(["crl", "-noout", "-text", "-in"]).arg(file));
    let serials = text.lines().filter_map(|line| {
        let (_, serial) = line.split_once("Serial Number: ")?;
        Some(serial.trim().to_lowercase())
    });
    serials.collect()
}

/// As the list spells it.
fn spelt(given: &Given) -> String {
    given.serial.replace(':', "").to_lowercase()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_into_a_revocation_by_path_ends_all_of_its_leases_or_none_and_for_good() {
    const LEASES: usize = 120;
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let mut root = head.with_token(&keys.root_token);
    authority(&root, "pki").await;
    let stays = [give(&root, "pki/issue/stays").await];
    let (mut dead, mut ended) = (Vec::new(), [0, 0]);
    // Once asked, a lease costs a commit: the later kills fall between those.
    for answers in [0, 1, 2, 5, 20, 60] {
        let mut leases = Vec::new();
        for _ in 0..LEASES {
            leases.push(give(&root, "pki/issue/web").await);
        }
        let path = "sys/leases/revoke-prefix/pki/issue/web";
        let body = json!({ "sync": true });
        let told = cut(&mut head, &root, path, &body, moment(answers, 60)).await;
        (head, root) = again(&place, &keys).await;
        let left = alive(&root, &leases).await;
        assert!(
            left == 0 || left == LEASES,
            "{answers}: {left} of {LEASES} count"
        );
        assert!(
            told != Some(204) || left == 0,
            "{answers}: they count again"
        );
        ended[usize::from(left == 0)] += 1;
        if left > 0 {
            root.put(path, &body).await.expect(204);
        }
        dead.extend(leases);
        taken_back(&root).await;
        assert_eq!(alive(&root, &dead).await, 0, "{answers}: one came back");
        assert_eq!(alive(&root, &stays).await, 1, "{answers}: beside the path");
        let want: BTreeSet<_> = dead.iter().map(spelt).collect();
        assert_eq!(listed(&head, "pki").await, want, "{answers}");
    }
    assert!(ended[1] > 0, "all kills came too early: {ended:?}");
}

#[tokio::test]
async fn leases_follow_a_mount_that_moves() {
    let place = Place::new();
    let (mut head, keys) = Head::unsealed_at(place.clone()).await;
    let mut root = head.with_token(&keys.root_token);
    authority(&root, "pki").await;
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(give(&root, "pki/issue/web").await);
    }
    let body = json!({ "from": "pki", "to": "team/ca" });
    root.put("sys/remount", &body).await.expect(200);
    head.process.kill();
    (head, root) = again(&place, &keys).await;

    let moved = |given: &Given| given.lease.replacen("pki/", "team/ca/", 1);
    for given in &leases {
        let new = moved(given);
        assert!(
            look_up(&root, &given.lease).await,
            "by the id that was told"
        );
        assert!(look_up(&root, &new).await, "below the new path");
    }
    let below = root.list("sys/leases/lookup/team/ca/issue/web").await;
    let names = below.expect(200).data()["keys"].as_array().unwrap().len();
    assert_eq!(names, 3);
    root.list("sys/leases/lookup/pki/issue/web")
        .await
        .expect(404);

    // By the new id, by the old one, by the new path.
    for id in [moved(&leases[0]), leases[1].lease.clone()] {
        let ask = json!({ "lease_id": id, "sync": true });
        root.put("sys/leases/revoke", &ask).await.expect(204);
    }
    assert_eq!(alive(&root, &leases).await, 1);
    root.put("sys/leases/revoke-prefix/pki", &json!({ "sync": true }))
        .await
        .expect(204);
    assert_eq!(
        alive(&root, &leases).await,
        1,
        "nothing hangs there any more"
    );
    root.put(
        "sys/leases/revoke-prefix/team/ca/issue",
        &json!({ "sync": true }),
    )
    .await
    .expect(204);
    assert_eq!(alive(&root, &leases).await, 0);
    let want: BTreeSet<_> = leases.iter().map(spelt).collect();
    assert_eq!(listed(&head, "team/ca").await, want);
}
