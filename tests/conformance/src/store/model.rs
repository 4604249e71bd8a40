//! A random history against a map: the store is the map, whatever happened.

use std::collections::BTreeMap;

use bytes::Bytes;
use zone_ports::store::{Op, Revision};
use zone_ports::{Key, KeyRange, Store};
use zone_testkit::SeededRandom;

use super::{Place, group};

type Map = BTreeMap<Vec<u8>, (Bytes, Revision)>;

/// Groups of random changes; after each one random reads and ranges are the map's. The store is
/// opened anew now and then.
pub async fn a_random_history_is_the_models(place: Place) {
    let random = SeededRandom::new(42);
    let mut map = Map::new();
    let mut store = place.store().await;
    for number in 1..=150 {
        let ops = changes(&random, number, &mut map);
        store.apply(group(number, ops)).await.unwrap();
        for _ in 0..10 {
            let at = some_key(&random);
            let found = store.get(&Key::new(at.clone()).unwrap()).await.unwrap();
            let found = found.map(|found| (found.value, found.revision));
            assert_eq!(found, map.get(&at).cloned(), "group {number}");
        }
        compare(&*store, &random, &map).await;
        if random.below(20) == 0 {
            drop(store);
            store = place.store().await;
        }
    }
}

fn some_key(random: &SeededRandom) -> Vec<u8> {
    let alphabet = [0, b'/', b'a', 0xff];
    let length = 1 + random.below(4);
    (0..length)
        .map(|_| alphabet[random.below(4) as usize])
        .collect()
}

fn changes(random: &SeededRandom, number: u64, map: &mut Map) -> Vec<Op> {
    let mut ops: BTreeMap<Vec<u8>, Op> = BTreeMap::new();
    for _ in 0..=random.below(12) {
        let at = some_key(random);
        let key = Key::new(at.clone()).unwrap();
        if random.below(3) == 0 {
            map.remove(&at);
            ops.insert(at, Op::Delete { key });
        } else {
            let length = random.below(9).pow(4) as usize;
            let value = Bytes::from(vec![number as u8; length]);
            map.insert(at.clone(), (value.clone(), Revision(number)));
            ops.insert(at, Op::Put { key, value });
        }
    }
    ops.into_values().collect()
}

async fn compare(store: &dyn Store, random: &SeededRandom, map: &Map) {
    let (start, end) = (some_key(random), some_key(random));
    let range = match random.below(3) {
        0 => KeyRange::prefix(start),
        1 => KeyRange {
            start: start.into(),
            end: Some(end.into()),
        },
        _ => KeyRange::prefix("").after(&Key::new(start).unwrap()),
    };
    let limit = 1 + random.below(40) as usize;
    let inside =
        |at: &[u8]| at >= &range.start[..] && range.end.as_ref().is_none_or(|end| at < &end[..]);
    let expected: Vec<_> = map
        .iter()
        .filter(|(at, _)| inside(at))
        .take(limit)
        .map(|(at, (value, revision))| (at.clone(), value.clone(), *revision))
        .collect();
    let found = store.scan(&range, limit).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|(key, found)| (key.as_bytes().to_vec(), found.value, found.revision))
        .collect();
    assert!(
        found == expected,
        "{range:?} gives {} of {}",
        found.len(),
        expected.len()
    );
}
