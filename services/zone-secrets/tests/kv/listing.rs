//! Lists of one level.

use std::collections::BTreeSet;

use zone_access::Operation;
use zone_ports::Random;
use zone_testkit::SeededRandom;

use crate::zone::Zone;

async fn page(zone: &Zone, folder: &str, after: &str, limit: usize) -> Vec<String> {
    let permit = zone
        .permit(Operation::List, &format!("metadata/{folder}"))
        .await;
    zone.kv
        .list(&permit, Some(after), Some(limit))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_list_shows_one_level_in_order() {
    let zone = Zone::new().await;
    for path in ["b", "a", "a/x", "a/y/z", "a-b", "c/d/e/f", "a/y", "ä/k"] {
        zone.put(path, "{}").await;
    }
    assert_eq!(zone.list("").await, ["a", "a-b", "a/", "b", "c/", "ä/"]);
    assert_eq!(zone.list("a/").await, ["x", "y", "y/"]);
    assert_eq!(zone.list("a/y/").await, ["z"]);
    assert_eq!(zone.list("c/").await, ["d/"]);
    assert!(zone.list("b/").await.is_empty());
    assert!(zone.list("none/").await.is_empty());
}

#[tokio::test]
async fn deleted_secrets_are_listed_until_their_metadata_goes() {
    let zone = Zone::new().await;
    zone.put("a/b", "{}").await;
    zone.delete_latest("a/b").await;
    zone.versions("destroy", "a/b", &[1]).await;
    assert_eq!(zone.list("a/").await, ["b"]);
    zone.delete_metadata("a/b").await;
    assert!(zone.list("a/").await.is_empty() && zone.list("").await.is_empty());
}

#[tokio::test]
async fn a_list_comes_in_pages() {
    let zone = Zone::new().await;
    for path in ["a", "b/1", "b/2", "b", "c", "d/1"] {
        zone.put(path, "{}").await;
    }
    assert_eq!(page(&zone, "", "", 2).await, ["a", "b"]);
    assert_eq!(page(&zone, "", "b", 2).await, ["b/", "c"]);
    assert_eq!(page(&zone, "", "b/", 2).await, ["c", "d/"]);
    assert_eq!(page(&zone, "", "b/1", 9).await, ["c", "d/"]);
    assert_eq!(page(&zone, "", "bb", 1).await, ["c"]);
    assert!(page(&zone, "", "d/", 9).await.is_empty());
    assert_eq!(page(&zone, "b/", "1", 9).await, ["2"]);
}

/// Against the plain way, on trees large enough for several pages of the store.
#[tokio::test]
async fn large_trees_list_like_small_ones() {
    let zone = Zone::new().await;
    let random = SeededRandom::new(3);
    let mut byte = [0];
    let mut paths = BTreeSet::new();
    while paths.len() < 2600 {
        let mut path = Vec::new();
        loop {
            random.fill(&mut byte);
            path.push(format!(
                "{}",
                if path.is_empty() {
                    byte[0] % 40
                } else {
                    byte[0]
                }
            ));
            if byte[0] % 3 == 0 || path.len() == 4 {
                break;
            }
        }
        paths.insert(path.join("/"));
    }
    for n in 0..1100 {
        paths.insert(format!("flat/{n}"));
    }
    for path in &paths {
        zone.put(path, "{}").await;
    }
    for folder in ["", "1/", "flat/", "7/", "7/9/"] {
        let below = paths.iter().filter_map(|path| path.strip_prefix(folder));
        let name = |rest: &str| match rest.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => rest.to_owned(),
        };
        let expected: BTreeSet<String> = below.map(name).collect();
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(zone.list(folder).await, expected, "{folder}");
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let names = page(&zone, folder, &after, 7).await;
            let Some(last) = names.last() else { break };
            after.clone_from(last);
            all.extend(names);
        }
        assert_eq!(all, expected, "{folder} in pages");
    }
}
