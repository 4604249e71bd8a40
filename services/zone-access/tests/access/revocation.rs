//! Revocation: of whole trees, at once, also when the power goes in between.

use std::sync::Arc;

use crate::common::{
    TokenRecords, ask, ask_for, ask_ttl, check_whole, child, create, create_at, keys_with, lives,
    only_left, root_at, said,
};
use crate::slow::SlowStore;
use zone_access::{AccessError, CreateToken, Created, Operation};
use zone_testkit::{Fault, Lab, MemStore};
use zone_types::Secret;

/// A token, its children and theirs: `wide` of each.
struct Tree {
    top: Created,
    below: Vec<Created>,
    leaves: Vec<Created>,
}

impl Tree {
    async fn grow(lab: &Lab, wide: usize) -> Self {
        let top = child(lab, &lab.root).await;
        let (mut below, mut leaves) = (Vec::new(), Vec::new());
        for _ in 0..wide {
            let middle = child(lab, &top.text).await;
            for _ in 0..wide {
                leaves.push(create(lab, &middle.text, ask_ttl(3600)).await.unwrap());
            }
            below.push(middle);
        }
        Self { top, below, leaves }
    }

    fn all(&self) -> impl Iterator<Item = &Created> {
        [&self.top]
            .into_iter()
            .chain(&self.below)
            .chain(&self.leaves)
    }

    async fn living(&self, lab: &Lab) -> usize {
        let mut living = 0;
        for token in self.all() {
            living += usize::from(lives(lab, token).await);
        }
        living
    }
}

#[tokio::test]
async fn s1_a_tree_ends_with_one_durable_group() {
    let lab = Lab::new().await;
    let tree = Tree::grow(&lab, 12).await;
    let other = child(&lab, &lab.root).await;
    assert_eq!(tree.living(&lab).await, 157);
    let before = lab.store.applies();
    lab.access.revoke_token(&tree.top.entry.id).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1);
    assert_eq!(tree.living(&lab).await, 0);
    let refused = lab
        .permit_of(&tree.leaves[0].text, Operation::Read, "sys/mounts")
        .await;
    assert!(refused.is_err());
    only_left(&lab, &[&other]).await;
    // Once more is no error.
    lab.access.revoke_token(&tree.top.entry.id).await.unwrap();
}

#[tokio::test]
async fn a_branch_ends_without_its_stem() {
    let lab = Lab::new().await;
    let tree = Tree::grow(&lab, 3).await;
    lab.access
        .revoke_token(&tree.below[1].entry.id)
        .await
        .unwrap();
    assert_eq!(tree.living(&lab).await, 9);
    assert!(!lives(&lab, &tree.leaves[3]).await);
    let left: Vec<_> = tree
        .all()
        .filter(|token| {
            let gone = [
                &tree.below[1],
                &tree.leaves[3],
                &tree.leaves[4],
                &tree.leaves[5],
            ];
            !gone.iter().any(|gone| gone.entry.id == token.entry.id)
        })
        .collect();
    only_left(&lab, &left).await;
}

#[tokio::test]
async fn nothing_is_made_with_a_token_that_ends_meanwhile() {
    let lab = Lab::new().await;
    let top = child(&lab, &lab.root).await;
    let middle = child(&lab, &top.text).await;
    let before = lab
        .permit_of(&middle.text, Operation::Update, "auth/token/create")
        .await;
    let path = "auth/token/create-orphan";
    let orphan = lab.permit_of(&middle.text, Operation::Update, path).await;
    let (before, orphan) = (before.unwrap(), orphan.unwrap());
    lab.access.revoke_token(&top.entry.id).await.unwrap();
    for permit in [&before, &orphan] {
        let refused = lab.access.create_token(permit, ask()).await;
        assert!(
            matches!(refused, Err(AccessError::Denied(_))),
            "{refused:?}"
        );
    }
    only_left(&lab, &[]).await;
}

/// Creation and revocation are sent at the same moment, in both orders, also with a parent that
/// only an ancestor ends.
#[tokio::test]
async fn a_child_made_while_its_parent_is_revoked_does_not_live() {
    for (case, depth) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        for rest in ["create", "create-orphan"] {
            let lab = Arc::new(Lab::new().await);
            let top = child(&lab, &lab.root).await;
            let by = if depth == 0 {
                child(&lab, &lab.root).await
            } else {
                child(&lab, &top.text).await
            };
            let ended = if depth == 0 {
                by.entry.id.clone()
            } else {
                top.entry.id.clone()
            };
            let path = format!("auth/token/{rest}");
            let permit = lab
                .permit_of(&by.text, Operation::Update, &path)
                .await
                .unwrap();
            lab.store.hold();
            let first = child_soon(&lab).await;
            lab.store.arrived().await;
            // Both are queued behind the group that is held, so they are judged in this order.
            let (lab2, lab3) = (lab.clone(), lab.clone());
            let make = async move { lab2.access.create_token(&permit, ask()).await };
            let revoke = async move { lab3.access.revoke_token(&ended).await };
            let (made, revoked) = if case == 0 {
                let make = tokio::spawn(make);
                tokio::task::yield_now().await;
                (make, tokio::spawn(revoke))
            } else {
                let revoke = tokio::spawn(revoke);
                tokio::task::yield_now().await;
                (tokio::spawn(make), revoke)
            };
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            lab.store.release();
            revoked.await.unwrap().unwrap();
            let made = made.await.unwrap();
            first.await.unwrap();
            // An orphan needs its creator, and all above it, to be there still.
            assert!(made.is_err() || case == 0 || rest == "create");
            if let Ok(made) = &made {
                // An orphan that was made before the revocation stands; a child never does.
                assert_eq!(lives(&lab, made).await, rest == "create-orphan");
            }
            lab.settle().await;
            check_whole(&TokenRecords::read(&lab).await);
        }
    }
}

/// The creation has read its parent and is stopped; meanwhile the parent is revoked and all that
/// is left of it swept up, so nothing would ever look for the child again.
#[tokio::test]
async fn a_child_that_comes_after_the_sweep_is_not_made() {
    let store = MemStore::new();
    let slow = Arc::new(SlowStore::new(store.clone()));
    let lab = Arc::new(Lab::through(store, slow.clone()).await);
    for rest in ["create", "create-orphan"] {
        let parent = create(&lab, &lab.root, CreateToken { ttl: 60, ..ask() }).await;
        let parent = parent.unwrap();
        let path = format!("auth/token/{rest}");
        let permit = lab.permit_of(&parent.text, Operation::Update, &path).await;
        let permit = permit.unwrap();
        // A renewal takes it out of the cache.
        let renew = root_at(&lab, "auth/token/renew").await;
        lab.access
            .renew_token(&renew, &parent.entry, 90)
            .await
            .unwrap();
        slow.stop_read_of(&format!("token/{}", parent.entry.id.as_str()));
        let creation = tokio::spawn({
            let lab = lab.clone();
            async move { lab.access.create_token(&permit, ask_ttl(5)).await }
        });
        slow.stopped().await;
        lab.access.revoke_token(&parent.entry.id).await.unwrap();
        lab.settle().await;
        slow.go_on();
        let refused = creation.await.unwrap();
        assert!(
            matches!(refused, Err(AccessError::Denied(_))),
            "{refused:?}"
        );
        only_left(&lab, &[]).await;
    }
}

/// A write that the store can hold.
async fn child_soon(lab: &Arc<Lab>) -> tokio::task::JoinHandle<()> {
    let permit = root_at(lab, "auth/token/create").await;
    let lab = lab.clone();
    tokio::spawn(async move {
        lab.access.create_token(&permit, ask()).await.unwrap();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn children_made_during_a_revocation_all_end() {
    let lab = Arc::new(Lab::new().await);
    for _ in 0..20 {
        let top = child(&lab, &lab.root).await;
        let text = top.text.clone();
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let (lab, text) = (lab.clone(), text.clone());
                tokio::spawn(async move {
                    let mut made = Vec::new();
                    let path = "auth/token/create";
                    while let Ok(permit) = lab.permit_of(&text, Operation::Update, path).await {
                        match lab.access.create_token(&permit, ask()).await {
                            Ok(token) => made.push(token),
                            Err(AccessError::Denied(_)) => break,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    made
                })
            })
            .collect();
        let sweeper = tokio::spawn({
            let lab = lab.clone();
            async move {
                for _ in 0..50 {
                    lab.access.sweep().await.unwrap();
                }
            }
        });
        lab.access.revoke_token(&top.entry.id).await.unwrap();
        for maker in makers {
            for token in maker.await.unwrap() {
                assert!(!lives(&lab, &token).await);
            }
        }
        sweeper.await.unwrap();
    }
    only_left(&lab, &[]).await;
}

#[tokio::test]
async fn a_custom_id_that_is_used_again_does_not_bring_old_children_back() {
    let lab = Lab::new().await;
    let with_id = || CreateToken {
        id: Some(Secret::new("again".into())),
        ..ask()
    };
    for sweeps in [false, true] {
        let first = create(&lab, &lab.root, with_id()).await.unwrap();
        let mut old = Vec::new();
        for _ in 0..25 {
            old.push(child(&lab, &first.text).await);
        }
        lab.access.revoke_token(&first.entry.id).await.unwrap();
        if sweeps {
            lab.settle().await;
        }
        let second = create(&lab, &lab.root, with_id()).await.unwrap();
        assert_eq!(first.entry.id, second.entry.id);
        let new = child(&lab, &second.text).await;
        for token in &old {
            assert!(!lives(&lab, token).await);
        }
        only_left(&lab, &[&second, &new]).await;
        lab.access.revoke_token(&second.entry.id).await.unwrap();
    }
}

#[tokio::test]
async fn children_of_a_token_revoked_as_orphan_live_on() {
    let lab = Lab::new().await;
    let tree = Tree::grow(&lab, 12).await;
    let before = lab.store.applies();
    lab.access.revoke_orphan(&tree.top.entry.id).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1, "one durable group");
    for swept in [false, true] {
        assert!(!lives(&lab, &tree.top).await);
        assert_eq!(tree.living(&lab).await, 156);
        if !swept {
            lab.settle().await;
        }
    }
    let found = lab.access.token(tree.below[0].text.expose()).await.unwrap();
    assert!(found.unwrap().record.orphan());
    // They are whole tokens: they make children, and end with theirs.
    let young = child(&lab, &tree.below[0].text).await;
    lab.access
        .revoke_token(&tree.below[0].entry.id)
        .await
        .unwrap();
    assert!(!lives(&lab, &young).await && !lives(&lab, &tree.leaves[0]).await);
    let left: Vec<_> = tree.below[1..].iter().chain(&tree.leaves[12..]).collect();
    only_left(&lab, &left).await;
}

/// Found by the simulation: the record of an ended token stays until the next sweep.
#[tokio::test]
async fn attack_releasing_the_children_of_an_ended_token_does_not_bring_them_back() {
    let lab = Lab::new().await;
    for expires in [false, true] {
        let top = child(&lab, &lab.root).await;
        let middle = create(&lab, &top.text, ask_ttl(60)).await.unwrap();
        let young = create(&lab, &middle.text, ask_ttl(3600)).await.unwrap();
        if expires {
            lab.clock.advance(std::time::Duration::from_secs(61));
        } else {
            lab.access.revoke_token(&top.entry.id).await.unwrap();
        }
        assert!(!lives(&lab, &young).await);
        lab.access.revoke_orphan(&middle.entry.id).await.unwrap();
        assert!(!lives(&lab, &young).await, "expires: {expires}");
        lab.access.revoke_token(&top.entry.id).await.unwrap();
        only_left(&lab, &[]).await;
    }
}

/// The ancestor's end is durable before the release, which has read the line already.
#[tokio::test]
async fn attack_a_release_that_races_with_an_ancestors_end_releases_nothing() {
    let lab = Arc::new(Lab::new().await);
    let top = child(&lab, &lab.root).await;
    let middle = child(&lab, &top.text).await;
    let young = child(&lab, &middle.text).await;
    lab.store.hold();
    let first = child_soon(&lab).await;
    lab.store.arrived().await;
    let (lab2, lab3) = (lab.clone(), lab.clone());
    let (top, middle) = (top.entry.id.clone(), middle.entry.id.clone());
    let ending = tokio::spawn(async move { lab2.access.revoke_token(&top).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let release = tokio::spawn(async move { lab3.access.revoke_orphan(&middle).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    lab.store.release();
    first.await.unwrap();
    ending.await.unwrap().unwrap();
    release.await.unwrap().unwrap();
    assert!(!lives(&lab, &young).await);
}

#[tokio::test]
async fn a_released_child_makes_and_loses_before_any_sweep() {
    let lab = Lab::new().await;
    let tree = Tree::grow(&lab, 2).await;
    lab.access.revoke_orphan(&tree.top.entry.id).await.unwrap();
    let young = child(&lab, &tree.below[0].text).await;
    let orphan = create_at(&lab, &tree.below[0].text, "create-orphan", ask()).await;
    let orphan = orphan.unwrap();
    lab.access
        .revoke_token(&tree.below[0].entry.id)
        .await
        .unwrap();
    assert!(!lives(&lab, &young).await);
    assert!(lives(&lab, &orphan).await);
    let left = [&tree.below[1], &tree.leaves[2], &tree.leaves[3], &orphan];
    only_left(&lab, &left).await;
}

/// Look-ups never miss a released child, whatever the sweep is at.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_released_child_is_never_refused() {
    let lab = Arc::new(Lab::new().await);
    for _ in 0..30 {
        let top = child(&lab, &lab.root).await;
        let mut children = Vec::new();
        for _ in 0..15 {
            children.push(child(&lab, &top.text).await.text);
        }
        let (done, seen) = tokio::sync::watch::channel(false);
        let lookers: Vec<_> = (0..4)
            .map(|_| {
                let (lab, texts, seen) = (lab.clone(), children.clone(), seen.clone());
                tokio::spawn(async move {
                    while !*seen.borrow() {
                        for text in &texts {
                            let found = lab.access.token(text.expose()).await.unwrap();
                            assert!(found.is_some(), "a living token was refused");
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        lab.access.revoke_orphan(&top.entry.id).await.unwrap();
        lab.settle().await;
        done.send_replace(true);
        for looker in lookers {
            looker.await.unwrap();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Tree,
    Orphan,
}

/// Revokes the top of `tree` and sweeps, until the power goes. Whether the revocation was
/// answered.
async fn revoke_until_death(lab: &Lab, tree: &Tree, how: How) -> (bool, bool) {
    let answered = std::sync::atomic::AtomicBool::new(false);
    let work = async {
        match how {
            How::Tree => lab.access.revoke_token(&tree.top.entry.id).await.unwrap(),
            How::Orphan => lab.access.revoke_orphan(&tree.top.entry.id).await.unwrap(),
        }
        answered.store(true, std::sync::atomic::Ordering::Relaxed);
        lab.settle().await;
    };
    let died = tokio::select! {
        () = work => false,
        () = lab.store.died() => true,
    };
    (answered.into_inner(), died)
}

/// The power goes at each write of the revocation of a tree of three levels and of the sweep
/// after it, before and behind the write. After the restart all of it has ended, or nothing if
/// nobody was told yet; and after the next sweep no record of it is left.
#[tokio::test]
async fn s1_a_crash_at_any_write_of_a_revocation_leaves_no_half_tree() {
    let grown = Lab::new().await;
    let tree = Tree::grow(&grown, 3).await;
    let bystander = child(&grown, &grown.root).await;
    for how in [How::Tree, How::Orphan] {
        let mut deaths = 0;
        for at in 1.. {
            let mut died = false;
            for fault in [Fault::CrashBefore, Fault::CrashAfter] {
                let lab = grown.reopen().await;
                lab.store.fail_at(at, fault);
                let (answered, dead) = revoke_until_death(&lab, &tree, how).await;
                died |= dead;
                let lab = lab.reopen().await;
                let living = tree.living(&lab).await;
                let (none, ended) = if how == How::Tree { (13, 0) } else { (13, 12) };
                if answered || lives(&lab, &tree.top).await {
                    assert_eq!(
                        living,
                        if answered { ended } else { none },
                        "{how:?} {at} {fault:?}"
                    );
                } else {
                    assert_eq!(living, ended, "{how:?} {at} {fault:?}");
                }
                if !answered {
                    // The first write reserves encryptions, the second one is the revocation.
                    assert!(at <= 2, "{at}");
                    revoke_until_death(&lab, &tree, how).await;
                }
                assert_eq!(tree.living(&lab).await, ended);
                let mut left = vec![&bystander];
                if how == How::Orphan {
                    left.extend(tree.all().skip(1));
                }
                only_left(&lab, &left).await;
                let top = tree.top.entry.id.as_str();
                assert_eq!(keys_with(&lab, &[top]), [""; 0]);
            }
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 3, "{how:?}: {deaths}");
    }
}

#[tokio::test]
async fn a_store_without_space_or_answer_revokes_later() {
    for fault in [Fault::Full, Fault::Lost, Fault::AnswerLost] {
        let lab = Lab::over(MemStore::new()).await;
        let tree = Tree::grow(&lab, 2).await;
        lab.store.fail_at(1, fault);
        let first = lab.access.revoke_token(&tree.top.entry.id).await;
        if fault == Fault::AnswerLost {
            first.unwrap();
        } else {
            assert_eq!(said(first), "storage failed");
            assert_eq!(tree.living(&lab).await, 7);
            lab.access.revoke_token(&tree.top.entry.id).await.unwrap();
        }
        assert_eq!(tree.living(&lab).await, 0);
        lab.store.fail_at(1, fault);
        let _ = lab.access.sweep().await;
        only_left(&lab, &[]).await;
    }
}

#[tokio::test]
async fn ten_thousand_children_end_with_one_group() {
    let lab = Lab::new().await;
    let top = child(&lab, &lab.root).await;
    let mut some = Vec::new();
    for at in 0..10_000 {
        let made = create(&lab, &top.text, ask_for(&["app"])).await.unwrap();
        if at % 1000 == 0 {
            some.push(made);
        }
    }
    let before = lab.store.applies();
    lab.access.revoke_token(&top.entry.id).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1);
    for token in &some {
        assert!(!lives(&lab, token).await);
    }
    only_left(&lab, &[]).await;
}
