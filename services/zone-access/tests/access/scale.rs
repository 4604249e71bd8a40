//! What does not grow with the number of tokens.

use std::sync::Arc;

use zone_access::{CreateToken, TokenKind};
use zone_testkit::{Lab, MemStore};

use crate::common::{ask_for, create, lives};
use crate::slow::SlowStore;

/// Tokens of a large zone.
const MANY: usize = 100_000;

#[tokio::test]
async fn opening_reads_no_more_for_a_hundred_thousand_tokens() {
    let store = MemStore::new();
    let counting = Arc::new(SlowStore::new(store.clone()));
    let lab = Lab::through(store, counting.clone()).await;
    let open = async || {
        let before = counting.reads();
        lab.seal_and_unseal().await;
        counting.reads() - before
    };
    let without = open().await;
    let mut last = None;
    for _ in 0..MANY {
        let made = create(&lab, &lab.root, ask_for(&["app"])).await;
        last = Some(made.unwrap());
    }
    assert_eq!(open().await, without);
    assert!(without < 32, "{without}");
    assert!(lives(&lab, &last.unwrap()).await);
    let (number, bytes, most) = lab.access.cached_tokens().unwrap();
    assert!(number <= 2 && bytes <= most, "nothing is read ahead");
}

/// Whoever may make tokens, of either kind and as large as they can be, does not decide how much
/// memory the head takes.
#[tokio::test]
async fn what_is_cached_of_tokens_is_bounded_in_bytes() {
    let lab = Lab::new().await;
    let large = |kind, bytes: usize| CreateToken {
        display_name: "x".repeat(bytes),
        kind: Some(kind),
        ..ask_for(&["app"])
    };
    for (kind, bytes, number) in [
        (TokenKind::Service, 15_000, 2500),
        (TokenKind::Batch, 3500, 6000),
    ] {
        let mut all = 0;
        for _ in 0..number {
            let made = create(&lab, &lab.root, large(kind, bytes)).await.unwrap();
            let found = lab.access.token(made.text.expose()).await.unwrap();
            all += found.unwrap().record.display_name.len();
        }
        let (number, bytes, most) = lab.access.cached_tokens().unwrap();
        assert!(bytes <= most && number > 100, "{number} {bytes}");
        assert!(all > usize::try_from(most).unwrap(), "the test shows it");
    }
}
