//! Leases: what counts, what ends with what, and that engines are asked until they have done it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use zone_access::{
    AccessError, Created, EndedLease, Lease, LeaseGroup, LeaseOffer, LeaseTarget, Mount, MountKind,
    Operation, Permit, TargetFault,
};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_testkit::{Fault, Lab, MemStore};
use zone_types::Secret;

use crate::common::{ask_for, ask_ttl, child, create, keys_with, lives, root_at, said};
use crate::records::{self, Golden};
use crate::slow::SlowStore;

/// An engine that remembers what it took back, and can fail.
#[derive(Default)]
pub(crate) struct Engine {
    ended: Mutex<Vec<String>>,
    fails: AtomicBool,
}

#[async_trait]
impl LeaseTarget for Engine {
    async fn end(&self, mount: &Mount, lease: &EndedLease) -> Result<(), TargetFault> {
        assert_eq!(mount.kind, MountKind::Pki);
        if self.fails.load(Ordering::Relaxed) {
            return Err(TargetFault("the database is away".into()));
        }
        self.ended.lock().push(lease.data.clone());
        Ok(())
    }
}

impl Engine {
    fn took(&self) -> BTreeSet<String> {
        self.ended.lock().iter().cloned().collect()
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }
}

pub(crate) fn listen(lab: &Lab) -> Arc<Engine> {
    let engine = Arc::<Engine>::default();
    lab.access.end_leases_by(MountKind::Pki, engine.clone());
    engine
}

/// A zone with an engine at `pki/`.
async fn zone() -> (Lab, Arc<Engine>) {
    let lab = Lab::new().await;
    lab.mount(MountKind::Pki, "pki").await;
    let engine = listen(&lab);
    (lab, engine)
}

fn offer(data: &str) -> LeaseOffer {
    LeaseOffer {
        ttl: 600,
        max_ttl: 1000,
        renewable: true,
        data: data.into(),
    }
}

async fn lease_at(
    lab: &Lab,
    by: &Secret<String>,
    path: &str,
    offer: LeaseOffer,
) -> Result<Lease, AccessError> {
    let permit = lab.permit_of(by, Operation::Update, path).await.unwrap();
    lab.access.commit_leased(&permit, offer, Batch::new).await
}

/// A lease of root's at `pki/issue/web`.
async fn lease(lab: &Lab, data: &str) -> Lease {
    let root = lab.root.clone();
    lease_at(lab, &root, "pki/issue/web", offer(data))
        .await
        .unwrap()
}

async fn find(lab: &Lab, id: &str) -> Option<Lease> {
    let permit = root_at(lab, "sys/leases/lookup").await;
    lab.access.lease(&permit, id).await.unwrap()
}

async fn revoke(lab: &Lab, id: &str, sync: bool) -> Result<(), AccessError> {
    let permit = root_at(lab, "sys/leases/revoke").await;
    lab.access.revoke_lease(&permit, id, sync).await
}

async fn revoke_prefix(lab: &Lab, prefix: &str, sync: bool) -> Result<(), AccessError> {
    let permit = root_at(lab, &format!("sys/leases/revoke-prefix/{prefix}")).await;
    lab.access.revoke_prefix(&permit, prefix, false, sync).await
}

async fn renew(lab: &Lab, id: &str, increment: u64) -> Result<Lease, AccessError> {
    let permit = root_at(lab, "sys/leases/renew").await;
    lab.access.renew_lease(&permit, id, increment).await
}

async fn below(lab: &Lab, prefix: &str) -> Vec<String> {
    let permit = lab
        .permit(Operation::List, &format!("sys/leases/lookup/{prefix}"))
        .await;
    lab.access.leases_below(&permit, prefix).await.unwrap()
}

async fn count(lab: &Lab, group: LeaseGroup) -> u64 {
    let permit = lab.permit(Operation::Read, "sys/leases/count").await;
    lab.access.count_leases(&permit, group).await.unwrap().total
}

fn seconds(lab: &Lab, secs: u64) {
    lab.clock.advance(Duration::from_secs(secs));
}

/// Of leases nothing is left in the store, whatever the index.
#[track_caller]
fn nothing_left(lab: &Lab) {
    let parts = ["lease", "core/lease-queue"];
    assert_eq!(keys_with(lab, &parts), [""; 0]);
}

/// The caller's token made by root, with all of root's rights.
async fn holder(lab: &Lab) -> Created {
    child(lab, &lab.root).await
}

#[tokio::test]
async fn a_lease_comes_with_what_the_engine_writes_and_is_found_by_its_id() {
    let (lab, _) = zone().await;
    let key = Key::new("root/engine/x").unwrap();
    let permit = root_at(&lab, "pki/issue/web").await;
    let before = lab.store.applies();
    let write = || Batch::new().put(key.clone(), b"1".to_vec());
    let lease = lab.access.commit_leased(&permit, offer("a"), write).await;
    let lease = lease.unwrap();
    assert_eq!(lab.store.applies(), before + 1, "one group");
    assert!(lab.barrier.get(&key).await.unwrap().is_some());
    let uid = lease.id.strip_prefix("pki/issue/web/").unwrap();
    assert_eq!(uid.len(), 24);
    let lab = lab.reopen().await;
    let found = find(&lab, &lease.id).await.unwrap();
    assert_eq!(found, lease);
    assert_eq!(found.path, "pki/issue/web");
    assert_eq!(found.ttl(lab.access.now().unwrap()), 600);
    for other in [
        format!("pki/issue/db/{uid}"),
        format!("secret/issue/web/{uid}"),
        format!("pki/issue/web/{}", "x".repeat(24)),
        uid.to_owned(),
        String::new(),
        "pki/issue/web".into(),
    ] {
        assert_eq!(find(&lab, &other).await, None, "{other}");
        revoke(&lab, &other, true).await.unwrap();
    }
    assert!(find(&lab, &lease.id).await.is_some());
}

#[tokio::test]
async fn a_lease_follows_its_mount() {
    let (lab, engine) = zone().await;
    let lease = lease(&lab, "a").await;
    let permit = root_at(&lab, "sys/remount").await;
    lab.access.remount(&permit, "pki", "ca").await.unwrap();
    let moved = lease.id.replacen("pki/", "ca/", 1);
    assert_eq!(find(&lab, &moved).await, find(&lab, &lease.id).await);
    assert!(find(&lab, &moved).await.is_some());
    assert_eq!(below(&lab, "ca/issue").await, ["web/"]);
    revoke_prefix(&lab, "ca/issue", true).await.unwrap();
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
}

#[tokio::test]
async fn a_renewal_stays_within_the_maximum() {
    let (lab, _) = zone().await;
    let lease = lease(&lab, "a").await;
    let left = |lease: &Lease| lease.ttl(lab.access.now().unwrap());
    seconds(&lab, 500);
    assert_eq!(left(&renew(&lab, &lease.id, 0).await.unwrap()), 500);
    assert_eq!(left(&renew(&lab, &lease.id, 100).await.unwrap()), 100);
    assert_eq!(left(&renew(&lab, &lease.id, u64::MAX).await.unwrap()), 500);
    let found = find(&lab, &lease.id).await.unwrap();
    assert_eq!(found.last_renewal, Some(lab.access.now().unwrap()));
    seconds(&lab, 300);
    lab.settle().await;
    assert!(find(&lab, &lease.id).await.is_some(), "as it was renewed");
    seconds(&lab, 200);
    assert_eq!(find(&lab, &lease.id).await, None, "at the very second");
    assert_eq!(said(renew(&lab, &lease.id, 10).await), "lease not found");
    seconds(&lab, 1);
    lab.settle().await;
    nothing_left(&lab);
    let fixed = LeaseOffer {
        renewable: false,
        ..offer("b")
    };
    let root = lab.root.clone();
    let fixed = lease_at(&lab, &root, "pki/issue/web", fixed).await.unwrap();
    let text = said(renew(&lab, &fixed.id, 0).await);
    assert_eq!(text, "lease is not renewable");
    assert_eq!(said(renew(&lab, "pki/x", 0).await), "lease not found");
}

#[tokio::test]
async fn what_has_expired_is_taken_back_once() {
    let (lab, engine) = zone().await;
    let lease = lease(&lab, "a").await;
    seconds(&lab, 599);
    lab.settle().await;
    assert_eq!(engine.took(), BTreeSet::new());
    seconds(&lab, 1);
    assert_eq!(find(&lab, &lease.id).await, None);
    seconds(&lab, 1);
    lab.settle().await;
    assert_eq!(*engine.ended.lock(), ["a"]);
    nothing_left(&lab);
}

#[tokio::test]
async fn an_engine_that_fails_is_asked_again_and_everybody_can_see_it() {
    let (lab, engine) = zone().await;
    engine.fail(true);
    let lease = lease(&lab, "a").await;
    let text = said(revoke(&lab, &lease.id, true).await);
    assert!(text.contains("the lease has ended") && text.contains("the database is away"));
    assert_eq!(
        find(&lab, &lease.id).await,
        None,
        "it has ended all the same"
    );
    assert_eq!(count(&lab, LeaseGroup::Active).await, 0);
    assert_eq!(count(&lab, LeaseGroup::Revoking).await, 1);
    for tries in 1..6 {
        assert_eq!(count(&lab, LeaseGroup::Irrevocable).await, 0, "{tries}");
        seconds(&lab, 4);
        lab.settle().await;
        let permit = root_at(&lab, "sys/leases").await;
        let waiting = lab.access.waiting_leases(&permit, LeaseGroup::Revoking, 10);
        let waiting = waiting.await.unwrap();
        assert_eq!(waiting[0].attempts, tries, "not before it is due");
        assert_eq!(waiting[0].error, "the database is away");
        assert_eq!(waiting[0].id, lease.id);
        seconds(&lab, 4500);
        lab.settle().await;
    }
    assert_eq!(count(&lab, LeaseGroup::Irrevocable).await, 1);
    engine.fail(false);
    let lab = lab.reopen().await;
    let engine = listen(&lab);
    seconds(&lab, 4500);
    lab.settle().await;
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
    nothing_left(&lab);
}

#[tokio::test]
async fn force_lets_go_of_what_an_engine_cannot_take_back() {
    let (lab, engine) = zone().await;
    engine.fail(true);
    let (one, two) = (lease(&lab, "a").await, lease(&lab, "b").await);
    said(revoke(&lab, &one.id, true).await);
    let permit = root_at(&lab, "sys/leases/revoke-force/pki").await;
    let forced = lab.access.revoke_prefix(&permit, "pki", true, true).await;
    forced.unwrap();
    assert_eq!(find(&lab, &two.id).await, None);
    assert_eq!(count(&lab, LeaseGroup::Revoking).await, 0);
    let three = lease(&lab, "c").await;
    let forced = lab
        .access
        .revoke_prefix(&permit, &three.id, true, true)
        .await;
    forced.unwrap();
    lab.settle().await;
    seconds(&lab, 700);
    lab.settle().await;
    nothing_left(&lab);
}

/// Whoever may force one path must not end what was given out at another.
#[tokio::test]
async fn attack_force_takes_the_id_of_a_lease_at_its_own_path_only() {
    let (lab, _) = zone().await;
    lab.mount(MountKind::Pki, "other").await;
    let lease = lease(&lab, "a").await;
    let uid = lease.id.rsplit_once('/').unwrap().1;
    for prefix in [format!("other/issue/web/{uid}"), format!("pki/x/{uid}")] {
        let permit = root_at(&lab, "sys/leases/revoke-force/other").await;
        let forced = lab.access.revoke_prefix(&permit, &prefix, true, true).await;
        forced.unwrap();
        assert!(find(&lab, &lease.id).await.is_some(), "{prefix}");
    }
}

#[tokio::test]
async fn a_prefix_may_be_the_id_of_a_lease_or_a_token_or_look_like_one() {
    let (lab, engine) = zone().await;
    let (one, two) = (lease(&lab, "a").await, lease(&lab, "b").await);
    revoke_prefix(&lab, &one.id, true).await.unwrap();
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
    assert!(find(&lab, &two.id).await.is_some());
    let token = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let other = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let id = format!("auth/token/create/h{}", token.entry.id.as_str());
    revoke_prefix(&lab, &id, false).await.unwrap();
    assert!(!lives(&lab, &token).await && lives(&lab, &other).await);
    // A role's name of 24 letters.
    let path = format!("pki/issue/{}", "r".repeat(24));
    let root = lab.root.clone();
    let named = lease_at(&lab, &root, &path, offer("c")).await.unwrap();
    revoke_prefix(&lab, &path, true).await.unwrap();
    assert_eq!(find(&lab, &named.id).await, None);
}

/// B3. One record that somebody changed does not keep the others of its token or path alive.
#[tokio::test]
async fn b3_a_corrupt_lease_holds_up_no_other() {
    for how in ["token", "prefix", "mount"] {
        let (lab, engine) = zone().await;
        let holder = holder(&lab).await;
        let mut leases = Vec::new();
        for data in ["a", "b", "c"] {
            let lease = lease_at(&lab, &holder.text, "pki/issue/web", offer(data)).await;
            leases.push(lease.unwrap());
        }
        let uid = leases[1].id.rsplit_once('/').unwrap().1;
        let key = Key::new(format!("core/lease/{uid}")).unwrap();
        let forged = Batch::new().put(key, b"{}".to_vec());
        lab.barrier.commit(forged).await.unwrap();
        match how {
            "token" => lab.access.revoke_token(&holder.entry.id).await.unwrap(),
            "prefix" => revoke_prefix(&lab, "pki", true).await.unwrap(),
            _ => {
                let permit = lab.permit(Operation::Delete, "sys/mounts/pki").await;
                lab.access.disable(&permit, "pki").await.unwrap();
            }
        }
        lab.settle().await;
        let took = engine.took();
        let both = BTreeSet::from(["a".to_owned(), "c".to_owned()]);
        assert!(how == "mount" || took == both, "{how}: {took:?}");
        assert_eq!(keys_with(&lab, &["core/lease/"]).len(), 1, "{how}");
    }
}

#[tokio::test]
async fn leases_end_with_their_token_at_once() {
    let (lab, engine) = zone().await;
    let holder = holder(&lab).await;
    let heir = child(&lab, &holder.text).await;
    let other = lease(&lab, "root's").await;
    let mut ids = Vec::new();
    for at in 0..25 {
        let by = if at % 2 == 0 { &holder } else { &heir };
        let lease = lease_at(&lab, &by.text, "pki/issue/web", offer(&at.to_string())).await;
        ids.push(lease.unwrap().id);
    }
    let before = lab.store.applies();
    lab.access.revoke_token(&holder.entry.id).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1, "one durable operation");
    for id in &ids {
        assert_eq!(find(&lab, id).await, None, "{id}");
    }
    lab.settle().await;
    assert_eq!(engine.took().len(), 25);
    assert!(find(&lab, &other.id).await.is_some());
    revoke(&lab, &other.id, true).await.unwrap();
    nothing_left(&lab);
}

#[tokio::test]
async fn leases_of_a_token_end_when_its_children_live_on() {
    let (lab, engine) = zone().await;
    let holder = holder(&lab).await;
    let heir = child(&lab, &holder.text).await;
    let own = lease_at(&lab, &holder.text, "pki/issue/web", offer("own")).await;
    let his = lease_at(&lab, &heir.text, "pki/issue/web", offer("his")).await;
    lab.access.revoke_orphan(&holder.entry.id).await.unwrap();
    assert_eq!(find(&lab, &own.unwrap().id).await, None);
    lab.settle().await;
    assert!(find(&lab, &his.unwrap().id).await.is_some());
    assert_eq!(engine.took(), BTreeSet::from(["own".into()]));
}

#[tokio::test]
async fn leases_end_when_their_token_expires() {
    let (lab, engine) = zone().await;
    let holder = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let lease = lease_at(&lab, &holder.text, "pki/issue/web", offer("a")).await;
    seconds(&lab, 60);
    assert_eq!(find(&lab, &lease.unwrap().id).await, None);
    seconds(&lab, 1);
    lab.settle().await;
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
    nothing_left(&lab);
}

/// A request that was permitted before its token was revoked gets nothing that nobody would take
/// back.
#[tokio::test]
async fn a_token_that_has_ended_is_given_no_lease() {
    let (lab, _) = zone().await;
    let holder = holder(&lab).await;
    let permit = lab
        .permit_of(&holder.text, Operation::Update, "pki/issue/web")
        .await
        .unwrap();
    lab.access.revoke_token(&holder.entry.id).await.unwrap();
    let late = lab.access.commit_leased(&permit, offer("a"), Batch::new);
    let text = said(late.await);
    assert_eq!(text, "permission denied: the token has ended");
    lab.settle().await;
    nothing_left(&lab);
}

#[tokio::test]
async fn a_batch_token_s_leases_end_with_it_and_with_its_parent() {
    let (lab, engine) = zone().await;
    lab.policy("pki", r#"path "pki/*" { capabilities = ["update"] }"#)
        .await;
    let parent = holder(&lab).await;
    let batch = zone_access::CreateToken {
        kind: Some(zone_access::TokenKind::Batch),
        ttl: 100,
        renewable: false,
        ..ask_for(&["pki"])
    };
    let batch = create(&lab, &parent.text, batch).await.unwrap();
    let short = lease_at(&lab, &batch.text, "pki/issue/web", offer("a")).await;
    let short = short.unwrap();
    assert_eq!(short.ttl(lab.access.now().unwrap()), 100);
    assert_eq!(
        renew(&lab, &short.id, 900)
            .await
            .unwrap()
            .ttl(lab.access.now().unwrap()),
        100
    );
    lab.access.revoke_token(&parent.entry.id).await.unwrap();
    assert_eq!(find(&lab, &short.id).await, None);
    lab.settle().await;
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
    nothing_left(&lab);
}

#[tokio::test]
async fn names_are_listed_folder_by_folder() {
    let (lab, _) = zone().await;
    lab.mount(MountKind::Pki, "team/pki").await;
    let root = lab.root.clone();
    let one = lease(&lab, "a").await;
    for path in ["pki/issue/db", "pki/issuer/x/issue/web", "pki/sign/web"] {
        lease_at(&lab, &root, path, offer("b")).await.unwrap();
    }
    assert_eq!(below(&lab, "pki").await, ["issue/", "issuer/", "sign/"]);
    assert_eq!(below(&lab, "pki/issue").await, ["db/", "web/"]);
    let uid = one.id.rsplit_once('/').unwrap().1;
    assert_eq!(below(&lab, "pki/issue/web/").await, [uid]);
    assert_eq!(below(&lab, "pki/issue/we").await, [""; 0]);
    assert_eq!(below(&lab, "team").await, [""; 0], "it gave none");
    assert_eq!(below(&lab, "").await, ["auth/", "pki/"]);
    let token = holder(&lab).await;
    let ttl = create(&lab, &token.text, ask_ttl(60)).await.unwrap();
    let name = format!("h{}", ttl.entry.id.as_str());
    let names = below(&lab, "auth/token/create").await;
    assert!(names.contains(&name), "{names:?}");
    let id = format!("auth/token/create/{name}");
    let found = find(&lab, &id).await.unwrap();
    assert_eq!(found.ttl(lab.access.now().unwrap()), 60);
    let text = said(renew(&lab, &id, 0).await);
    assert_eq!(text, "tokens cannot be renewed through this endpoint");
    revoke(&lab, &id, false).await.unwrap();
    assert!(!lives(&lab, &ttl).await);
}

/// A revocation by path is one durable operation and in force when it returns, whatever the
/// number of leases, tokens and their children; also for what a request that was permitted before
/// it writes after it.
#[tokio::test]
async fn a_prefix_ends_all_that_was_given_out_below_it_at_once() {
    let (lab, engine) = zone().await;
    let mut ids = Vec::new();
    for at in 0..1000 {
        ids.push(lease(&lab, &at.to_string()).await.id);
    }
    let root = lab.root.clone();
    let other = lease_at(&lab, &root, "pki/issue/website", offer("other")).await;
    let other = other.unwrap();
    let permits: Vec<Permit> = {
        let mut permits = Vec::new();
        for _ in 0..3 {
            permits.push(root_at(&lab, "pki/issue/web").await);
        }
        permits
    };
    let mut permits = permits.into_iter();
    let before = lab.store.applies();
    revoke_prefix(&lab, "pki/issue/web/", false).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1);
    for id in &ids {
        assert_eq!(find(&lab, id).await, None);
    }
    assert_eq!(
        count(&lab, LeaseGroup::Active).await,
        1,
        "as it is in force"
    );
    assert_eq!(count(&lab, LeaseGroup::Revoking).await, 1000);
    let mut late = async || {
        let permit = permits.next().unwrap();
        let late = lab.access.commit_leased(&permit, offer("late"), Batch::new);
        late.await.unwrap()
    };
    let first = late().await;
    assert_eq!(find(&lab, &first.id).await, None);
    lab.settle().await;
    assert_eq!(engine.took().len(), 1001);
    let second = late().await;
    assert_eq!(find(&lab, &second.id).await, None, "behind the first pass");
    seconds(&lab, 1);
    let new = lease(&lab, "new").await;
    assert!(find(&lab, &new.id).await.is_some(), "given out since");
    assert!(find(&lab, &other.id).await.is_some(), "another segment");
    lab.settle().await;
    assert_eq!(keys_with(&lab, &["core/lease-prefix/"]).len(), 1);
    assert_eq!(count(&lab, LeaseGroup::Active).await, 2);
    assert_eq!(count(&lab, LeaseGroup::Revoking).await, 1, "the second");
    lab.seal_and_unseal().await;
    assert_eq!(find(&lab, &second.id).await, None, "known after an unseal");
    let renewed = renew(&lab, &new.id, 900).await.unwrap();
    renew(&lab, &other.id, 900).await.unwrap();
    seconds(&lab, 600);
    lab.settle().await;
    assert_eq!(keys_with(&lab, &["core/lease-prefix/"]), [""; 0]);
    assert_eq!(find(&lab, &second.id).await, None);
    assert_eq!(keys_with(&lab, &["lease-at/"]).len(), 2);
    assert!(find(&lab, &renewed.id).await.is_some());
}

#[tokio::test]
async fn a_prefix_of_an_auth_method_ends_its_tokens_and_their_children() {
    let (lab, engine) = zone().await;
    let lasting = create(&lab, &lab.root, ask_ttl(1800)).await.unwrap();
    let top = create(&lab, &lab.root, ask_ttl(3600)).await.unwrap();
    let below = create(&lab, &top.text, ask_ttl(1800)).await.unwrap();
    let leased = lease_at(&lab, &below.text, "pki/issue/web", offer("a")).await;
    let leased = leased.unwrap();
    let before = lab.store.applies();
    revoke_prefix(&lab, "auth/token/create", false)
        .await
        .unwrap();
    assert_eq!(lab.store.applies(), before + 1);
    assert!(!lives(&lab, &top).await && !lives(&lab, &below).await);
    assert!(!lives(&lab, &lasting).await);
    assert_eq!(find(&lab, &leased.id).await, None);
    let root = lab.access.token(lab.root.expose()).await.unwrap();
    assert!(root.is_some(), "a token without an end has no lease");
    seconds(&lab, 1);
    let new = create(&lab, &lab.root, ask_ttl(3600)).await.unwrap();
    assert!(lives(&lab, &new).await, "made since");
    lab.settle().await;
    let lab = lab.reopen().await;
    assert!(!lives(&lab, &top).await && !lives(&lab, &below).await);
    assert!(lives(&lab, &new).await);
    assert_eq!(engine.took(), BTreeSet::from(["a".into()]));
    seconds(&lab, 601);
    lab.settle().await;
    nothing_left(&lab);
    assert!(!lives(&lab, &below).await && lives(&lab, &new).await);
}

#[tokio::test]
async fn a_removed_mount_takes_its_leases_along() {
    let (lab, engine) = zone().await;
    let holder = holder(&lab).await;
    let mut ids = Vec::new();
    for at in 0..25 {
        let lease = lease_at(&lab, &holder.text, "pki/issue/web", offer(&at.to_string())).await;
        ids.push(lease.unwrap().id);
    }
    engine.fail(true);
    said(revoke(&lab, &ids[0], true).await);
    let permit = lab.permit(Operation::Delete, "sys/mounts/pki").await;
    lab.access.disable(&permit, "pki").await.unwrap();
    assert_eq!(find(&lab, &ids[1]).await, None);
    lab.settle().await;
    nothing_left(&lab);
    assert_eq!(engine.took(), BTreeSet::new());
}

/// The power goes at each write of a revocation and of all that follows. What was acknowledged
/// stays ended; the engine is asked for each lease in the end, and nothing is left over.
#[tokio::test]
async fn s1_a_crash_at_any_write_of_the_end_of_leases_loses_none() {
    for how in ["token", "prefix", "lease", "expiry"] {
        let mut deaths = 0;
        for at in 1.. {
            let mut died = false;
            for fault in [Fault::CrashBefore, Fault::CrashAfter] {
                let (lab, engine) = zone().await;
                let holder = holder(&lab).await;
                let mut ids = Vec::new();
                for data in ["a", "b"] {
                    let lease = lease_at(&lab, &holder.text, "pki/issue/web", offer(data)).await;
                    ids.push(lease.unwrap().id);
                }
                let again = lab.reopen().await;
                let after = listen(&again);
                again.store.fail_at(at, fault);
                let work = async {
                    end(&again, &holder, &ids, how).await;
                    for _ in 0..20 {
                        again.access.sweep().await.unwrap();
                    }
                };
                died |= tokio::select! {
                    biased;
                    () = again.store.died() => true,
                    () = work => false,
                };
                let last = again.reopen().await;
                let listener = listen(&last);
                end(&last, &holder, &ids, how).await;
                for id in &ids {
                    assert_eq!(find(&last, id).await, None, "{how} {at} {fault:?}");
                }
                last.settle().await;
                let took: BTreeSet<_> = [engine.took(), after.took(), listener.took()]
                    .into_iter()
                    .flatten()
                    .collect();
                let all = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
                assert_eq!(took, all, "{how} {at} {fault:?}");
                seconds(&last, 601);
                last.settle().await;
                nothing_left(&last);
            }
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 2, "{how}: {deaths}");
    }
}

async fn end(lab: &Lab, holder: &Created, ids: &[String], how: &str) {
    match how {
        "token" => lab.access.revoke_token(&holder.entry.id).await.unwrap(),
        "prefix" => revoke_prefix(lab, "pki", false).await.unwrap(),
        "lease" => {
            for id in ids {
                revoke(lab, id, false).await.unwrap();
            }
        }
        _ => seconds(lab, 601),
    }
}

#[tokio::test]
async fn opening_reads_no_more_for_fifty_thousand_leases() {
    let store = MemStore::new();
    let counting = Arc::new(SlowStore::new(store.clone()));
    let lab = Lab::through(store, counting.clone()).await;
    lab.mount(MountKind::Pki, "pki").await;
    let engine = listen(&lab);
    let open = async || {
        let before = counting.reads();
        lab.seal_and_unseal().await;
        counting.reads() - before
    };
    let without = open().await;
    for _ in 0..50_000 {
        lease(&lab, "a").await;
    }
    assert_eq!(open().await, without);
    assert_eq!(count(&lab, LeaseGroup::Active).await, 50_000);
    let before = lab.store.applies();
    revoke_prefix(&lab, "pki", false).await.unwrap();
    // One of its own, and perhaps one that reserves encryptions.
    assert!(lab.store.applies() <= before + 2);
    lab.settle().await;
    assert_eq!(engine.ended.lock().len(), 50_000);
    assert_eq!(count(&lab, LeaseGroup::Revoking).await, 0);
}

/// 64 holders renew while one revokes: the lease has ended when that returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_in_a_race_with_a_revocation_brings_nothing_back() {
    let (lab, engine) = zone().await;
    let lab = Arc::new(lab);
    for _ in 0..20 {
        let lease = lease(&lab, "a").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (lab, id) = (lab.clone(), lease.id.clone());
            tasks.spawn(async move {
                let _ = renew(&lab, &id, 900).await;
            });
        }
        revoke(&lab, &lease.id, false).await.unwrap();
        assert_eq!(find(&lab, &lease.id).await, None);
        tasks.join_all().await;
        assert_eq!(find(&lab, &lease.id).await, None);
    }
    lab.settle().await;
    assert_eq!(engine.ended.lock().len(), 20);
    nothing_left(&lab);
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/leases-1.json");

/// What docs/formats/access.md says of leases: one that was renewed, one whose engine failed, and
/// a revocation by path.
#[tokio::test]
async fn leases_are_written_as_specified() {
    let mut lab = records::empty().await;
    lab.access.bootstrap().await.unwrap();
    lab.root = lab.access.create_root_token().await.unwrap().text;
    // What the default policy says is no matter of format.
    lab.policy("default", "# nothing\n").await;
    lab.mount(MountKind::Pki, "pki").await;
    listen(&lab).fail(true);
    let renewed = lease(&lab, "renewed").await;
    let failed = lease(&lab, "failed").await;
    seconds(&lab, 60);
    renew(&lab, &renewed.id, 300).await.unwrap();
    said(revoke(&lab, &failed.id, true).await);
    let root = lab.root.clone();
    seconds(&lab, 60);
    let gone = lease_at(&lab, &root, "pki/issue/db", offer("gone")).await;
    gone.unwrap();
    let permit = root_at(&lab, "sys/leases/revoke-force/pki/issue/db").await;
    let forced = lab
        .access
        .revoke_prefix(&permit, "pki/issue/db", true, false);
    forced.await.unwrap();
    Golden::of(&lab, [("root", root)]).await.is_in(GOLDEN);
}

#[tokio::test]
async fn leases_of_old_heads_are_read() {
    let lab = records::load(&records::golden(GOLDEN)).await;
    seconds(&lab, 120);
    assert_eq!(below(&lab, "pki/issue").await, ["db/", "web/"]);
    let mut found = Vec::new();
    for folder in ["db", "web"] {
        for uid in below(&lab, &format!("pki/issue/{folder}")).await {
            let lease = find(&lab, &format!("pki/issue/{folder}/{uid}")).await;
            found.push(lease.map(|lease| lease.ttl(lab.access.now().unwrap())));
        }
    }
    found.sort_unstable();
    assert_eq!(found, [None, None, Some(240)], "the renewed one counts");
    let permit = root_at(&lab, "sys/leases").await;
    let waiting = lab.access.waiting_leases(&permit, LeaseGroup::Revoking, 10);
    let waiting = waiting.await.unwrap();
    assert_eq!((waiting[0].attempts, waiting.len()), (1, 1));
    assert_eq!(waiting[0].error, "the database is away");
    let engine = listen(&lab);
    lab.settle().await;
    let both = BTreeSet::from(["failed".to_owned(), "gone".to_owned()]);
    assert_eq!(engine.took(), both);
}
