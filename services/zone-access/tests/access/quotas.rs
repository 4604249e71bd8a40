//! Quotas: what is kept of them, and that the leases they count are those that there are.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use zone_access::{
    AccessError, Created, Lease, LeaseOffer, LoginGrant, MountKind, NewMount, Operation, Quota,
    QuotaKind, QuotaRule, RateVerdict,
};
use zone_barrier::Batch;
use zone_testkit::{Fault, Lab, MemStore};
use zone_types::Secret;

use crate::common::{ask_ttl, at_login, create, keys_with, root_at, said};
use crate::leases::listen;
use crate::records::{self, Golden};
use crate::slow::SlowStore;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn rate(rate: f64) -> QuotaRule {
    QuotaRule::RateLimit {
        rate,
        interval: 1,
        block_interval: 0,
    }
}

fn count(max_leases: u64) -> QuotaRule {
    QuotaRule::LeaseCount { max_leases }
}

/// A zone with an engine at `pki/` and a method at `auth/approle/`.
async fn zone() -> Lab {
    furnished(Lab::new().await).await
}

async fn furnished(lab: Lab) -> Lab {
    lab.mount(MountKind::Pki, "pki").await;
    listen(&lab);
    let permit = root_at(&lab, "sys/auth/approle").await;
    let new = NewMount::default();
    let enabled = lab
        .access
        .enable(&permit, MountKind::AppRole, "auth/approle", new);
    enabled.await.unwrap();
    lab
}

async fn try_put(lab: &Lab, name: &str, path: &str, rule: QuotaRule) -> Result<(), AccessError> {
    let permit = root_at(lab, "sys/quotas").await;
    let part = path.ends_with('*');
    let place = (path.trim_end_matches('*'), part);
    lab.access.put_quota(&permit, name, place, rule).await
}

async fn put(lab: &Lab, name: &str, path: &str, rule: QuotaRule) {
    try_put(lab, name, path, rule).await.unwrap();
}

async fn find(lab: &Lab, kind: QuotaKind, name: &str) -> Option<Quota> {
    let permit = root_at(lab, "sys/quotas").await;
    lab.access.quota(&permit, kind, name).unwrap()
}

async fn counter(lab: &Lab, name: &str) -> u64 {
    find(lab, QuotaKind::LeaseCount, name)
        .await
        .unwrap()
        .counter
}

async fn lease_of(lab: &Lab, by: &Secret<String>, path: &str) -> Result<Lease, AccessError> {
    let permit = lab.permit_of(by, Operation::Update, path).await.unwrap();
    let offer = LeaseOffer {
        ttl: 600,
        max_ttl: 1000,
        renewable: true,
        data: "x".into(),
    };
    lab.access.commit_leased(&permit, offer, Batch::new).await
}

async fn lease(lab: &Lab, path: &str) -> Result<Lease, AccessError> {
    lease_of(lab, &lab.root, path).await
}

async fn log_in(lab: &Lab) -> Result<Created, AccessError> {
    let permit = at_login(lab, "auth/approle").await;
    let grant = LoginGrant::default();
    let made = lab.access.log_in(&permit, &grant, Batch::new()).await?;
    Ok(made.expect("no condition fails"))
}

/// Takes requests until one is refused.
fn burst(lab: &Lab, path: &str) -> usize {
    let within = || match lab.access.take_rate(path, CLIENT).unwrap() {
        RateVerdict::Over(..) => false,
        RateVerdict::Within(_) => true,
        RateVerdict::Free => panic!("no quota is about {path}"),
    };
    (0..1000).take_while(|_| within()).count()
}

/// Whatever makes or ends a lease, the counter says what there is, and so does that of a head
/// that reads all anew.
#[tokio::test]
async fn counters_follow_all_that_makes_and_ends_leases() {
    let lab = zone().await;
    let early = lease(&lab, "pki/issue/web").await.unwrap();
    put(&lab, "web", "pki/issue/web", count(100)).await;
    put(&lab, "all", "pki/", count(100)).await;
    put(&lab, "logins", "auth/approle/", count(100)).await;
    let all = async |lab: &Lab, web: u64, all: u64, logins: u64| {
        let again = lab.reopen().await;
        for lab in [lab, &again] {
            let found = (
                counter(lab, "web").await,
                counter(lab, "all").await,
                counter(lab, "logins").await,
            );
            assert_eq!(found, (web, all, logins));
        }
    };
    all(&lab, 1, 1, 0).await;
    lease(&lab, "pki/issue/web").await.unwrap();
    lease(&lab, "pki/issue/db").await.unwrap();
    lease(&lab, "pki/issue/web-2").await.unwrap();
    let logins = [log_in(&lab).await.unwrap(), log_in(&lab).await.unwrap()];
    all(&lab, 2, 4, 2).await;
    let permit = root_at(&lab, "sys/leases/renew").await;
    let renewed = lab.access.renew_lease(&permit, &early.id, 900).await;
    renewed.unwrap();
    let renewed = lab.access.renew_token(&permit, &logins[1].entry, 900).await;
    renewed.unwrap();
    all(&lab, 2, 4, 2).await;

    let permit = root_at(&lab, "sys/leases/revoke").await;
    lab.access
        .revoke_lease(&permit, &early.id, true)
        .await
        .unwrap();
    all(&lab, 1, 3, 2).await;
    lab.access.revoke_token(&logins[0].entry.id).await.unwrap();
    lab.settle().await;
    all(&lab, 1, 3, 1).await;

    let permit = root_at(&lab, "sys/leases/revoke-prefix/pki/issue/web").await;
    let ended = lab
        .access
        .revoke_prefix(&permit, "pki/issue/web", false, true);
    ended.await.unwrap();
    lab.settle().await;
    all(&lab, 0, 2, 1).await;

    let holder = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    lease_of(&lab, &holder.text, "pki/issue/web").await.unwrap();
    all(&lab, 1, 3, 1).await;
    lab.clock.advance(Duration::from_secs(120));
    lab.settle().await;
    all(&lab, 0, 2, 1).await;
    lab.clock.advance(Duration::from_secs(600));
    lab.settle().await;
    all(&lab, 0, 0, 1).await;
    lab.clock.advance(Duration::from_secs(40 * 24 * 3600));
    lab.settle().await;
    all(&lab, 0, 0, 0).await;
}

/// A store that fails, or does as it was asked and cannot say so, leaves the count as it is.
#[tokio::test]
async fn counters_are_right_after_failures_of_the_store() {
    for fault in [Fault::Full, Fault::Lost, Fault::AnswerLost] {
        let lab = zone().await;
        put(&lab, "web", "pki/", count(100)).await;
        put(&lab, "logins", "auth/approle/", count(100)).await;
        let held = lease(&lab, "pki/issue/web").await.unwrap();
        let login = log_in(&lab).await.unwrap();
        let permit = root_at(&lab, "sys/leases/revoke").await;
        for step in 0..4 {
            lab.store.fail_at(1, fault);
            match step {
                0 => drop(lease(&lab, "pki/issue/web").await),
                1 => drop(log_in(&lab).await),
                2 => drop(lab.access.revoke_token(&login.entry.id).await),
                _ => drop(lab.access.revoke_lease(&permit, &held.id, true).await),
            }
            lab.settle().await;
            let again = lab.reopen().await;
            for name in ["web", "logins"] {
                let (own, read) = (counter(&lab, name).await, counter(&again, name).await);
                assert_eq!(own, read, "{name} {step} {fault:?}");
            }
        }
    }
}

/// The most specific quota counts alone, and its refusal costs no write.
#[tokio::test]
async fn the_most_specific_quota_of_leases_is_asked() {
    let lab = zone().await;
    put(&lab, "all", "pki/", count(1)).await;
    put(&lab, "issue", "pki/issue/*", count(2)).await;
    put(&lab, "web", "pki/issue/web", count(3)).await;
    for (path, most) in [
        ("pki/issue/web", 3),
        ("pki/issue/db", 0),
        ("pki/sign/web", 0),
    ] {
        for _ in 0..most {
            lease(&lab, path).await.unwrap();
        }
        let before = lab.store.applies();
        let refused = said(lease(&lab, path).await);
        let expected = format!("request path \"{path}\": lease count quota exceeded");
        assert_eq!((refused, lab.store.applies()), (expected, before));
    }
    // What a less specific quota counts includes all below it, also what is at its very folder.
    said(lease(&lab, "pki/issue").await);
    assert_eq!(counter(&lab, "issue").await, 3);
    assert_eq!(counter(&lab, "all").await, 3);
}

/// Quotas of a mount follow it where it goes, and go with it, in memory and in the store.
#[tokio::test]
async fn quotas_follow_their_mount_and_go_with_it() {
    let lab = zone().await;
    put(&lab, "rate", "pki/issue/web", rate(2.0)).await;
    put(&lab, "few", "pki/", count(2)).await;
    put(&lab, "zone", "", rate(5.0)).await;
    lease(&lab, "pki/issue/web").await.unwrap();
    let permit = root_at(&lab, "sys/remount").await;
    let (from, to) = ("pki".to_owned(), "moved".to_owned());
    lab.access.remount(&permit, &from, &to).await.unwrap();
    lab.settle().await;
    let again = lab.reopen().await;
    for lab in [&lab, &again] {
        let shown = find(lab, QuotaKind::RateLimit, "rate").await.unwrap();
        assert_eq!(shown.path, "moved/issue/web");
        assert_eq!(burst(lab, "moved/issue/web"), 2);
        assert_eq!(burst(lab, "pki/issue/web"), 5, "nothing is there any more");
        assert_eq!(counter(lab, "few").await, 1);
    }
    lease(&lab, "moved/issue/web").await.unwrap();
    said(lease(&lab, "moved/issue/web").await);

    let permit = root_at(&lab, "sys/mounts/moved").await;
    lab.access.disable(&permit, "moved").await.unwrap();
    lab.mount(MountKind::Pki, "moved").await;
    let again = lab.reopen().await;
    for lab in [&lab, &again] {
        assert_eq!(find(lab, QuotaKind::RateLimit, "rate").await, None);
        assert_eq!(find(lab, QuotaKind::LeaseCount, "few").await, None);
        lab.clock.advance(Duration::from_secs(5));
        assert_eq!(burst(lab, "moved/issue/web"), 5, "that of the zone");
    }
    assert_eq!(keys_with(&lab, &["core/quota/"]).len(), 1);
}

/// A quota that is written while its mount is being removed comes too late, and takes nothing of
/// what others wrote with it.
#[tokio::test]
async fn no_quota_comes_behind_its_mount() {
    let lab = Arc::new(zone().await);
    put(&lab, "zone", "", rate(5.0)).await;
    let permit = root_at(&lab, "sys/mounts/pki").await;
    lab.store.hold();
    let removal = tokio::spawn({
        let lab = lab.clone();
        async move { lab.access.disable(&permit, "pki").await }
    });
    lab.store.arrived().await;
    let late = tokio::spawn({
        let lab = lab.clone();
        async move { try_put(&lab, "late", "pki/", rate(1.0)).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    lab.store.release();
    removal.await.unwrap().unwrap();
    assert!(said(late.await.unwrap()).contains("nothing is mounted there"));
    let again = lab.reopen().await;
    for lab in [&*lab, &again] {
        let permit = root_at(lab, "sys/quotas").await;
        let names = lab.access.quotas(&permit, QuotaKind::RateLimit).unwrap();
        assert_eq!(names, ["zone"]);
    }
}

/// The power goes at each write of a change and a removal. Each is there whole or not at all, and
/// what was acknowledged is in force.
#[tokio::test]
async fn s1_a_crash_at_any_write_leaves_each_quota_as_it_was_or_as_it_is() {
    let (old, new) = (("pki/", rate(2.0)), ("pki/issue/web", rate(3.0)));
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        let mut deaths = 0;
        for at in 1.. {
            let lab = zone().await;
            put(&lab, "web", old.0, old.1).await;
            put(&lab, "gone", "auth/approle/", count(9)).await;
            let permit = root_at(&lab, "sys/quotas").await;
            let (mut changed, mut removed) = (false, false);
            lab.store.fail_at(at, fault);
            let work = async {
                put(&lab, "web", new.0, new.1).await;
                changed = true;
                let gone = lab
                    .access
                    .delete_quota(&permit, QuotaKind::LeaseCount, "gone");
                gone.await.unwrap();
                removed = true;
            };
            let died = tokio::select! {
                biased;
                () = lab.store.died() => true,
                () = work => false,
            };
            let after = lab.reopen().await;
            let web = find(&after, QuotaKind::RateLimit, "web").await.unwrap();
            let found = (web.path.as_str(), web.rule);
            assert!(found == new || (!changed && found == old), "{at} {fault:?}");
            let left = find(&after, QuotaKind::LeaseCount, "gone").await;
            assert!(left.is_none() || !removed, "{at} {fault:?}");
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 2, "{fault:?}: {deaths}");
    }
}

/// 64 at once get what the quota allows and not one more, whatever ends meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_a_race_for_leases_and_logins_gets_just_what_is_allowed() {
    let lab = Arc::new(zone().await);
    put(&lab, "web", "pki/", count(10)).await;
    put(&lab, "logins", "auth/approle/", count(10)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..128 {
        let lab = lab.clone();
        tasks.spawn(async move {
            match at % 2 {
                0 => (0, lease(&lab, "pki/issue/web").await.is_ok()),
                _ => (1, log_in(&lab).await.is_ok()),
            }
        });
    }
    let done = tasks.join_all().await;
    for kind in [0, 1] {
        let served = done.iter().filter(|one| **one == (kind, true));
        assert_eq!(served.count(), 10, "{kind}");
    }
    assert_eq!(counter(&lab, "web").await, 10);
    assert_eq!(counter(&lab, "logins").await, 10);
}

/// A quota that comes while leases are made and ended counts them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_comes_amid_logins_counts_them_all() {
    let lab = Arc::new(zone().await);
    for round in 0..10 {
        let mut tasks = tokio::task::JoinSet::new();
        for at in 0..32 {
            let lab = lab.clone();
            tasks.spawn(async move {
                let made = log_in(&lab).await.unwrap();
                if at % 4 == 0 {
                    lab.access.revoke_token(&made.entry.id).await.unwrap();
                }
            });
        }
        put(&lab, "logins", "auth/approle/", count(100_000)).await;
        tasks.join_all().await;
        lab.settle().await;
        assert_eq!(counter(&lab, "logins").await, 24 * (round + 1));
        let permit = root_at(&lab, "sys/quotas").await;
        let kind = QuotaKind::LeaseCount;
        lab.access
            .delete_quota(&permit, kind, "logins")
            .await
            .unwrap();
    }
}

/// A quota that is written again keeps its count: meanwhile nobody gets more than it allows.
#[tokio::test]
async fn a_quota_that_is_changed_counts_all_the_time() {
    let store = MemStore::new();
    let slow = Arc::new(SlowStore::new(store.clone()));
    let lab = Arc::new(furnished(Lab::through(store, slow.clone()).await).await);
    put(&lab, "logins", "auth/approle/", count(2)).await;
    log_in(&lab).await.unwrap();
    log_in(&lab).await.unwrap();
    slow.stop_scan_of("/method/");
    let change = tokio::spawn({
        let lab = lab.clone();
        async move { put(&lab, "logins", "auth/approle/", count(3)).await }
    });
    // Either the change reads the index and is stopped there, or it needs not.
    tokio::select! {
        () = slow.stopped() => {}
        () = done(&lab, 3) => {}
    }
    log_in(&lab).await.unwrap();
    said(log_in(&lab).await);
    slow.go_on();
    change.await.unwrap();
    assert_eq!(counter(&lab, "logins").await, 3);
    said(log_in(&lab).await);
}

/// Until the quota allows so many.
async fn done(lab: &Lab, most: u64) {
    while find(lab, QuotaKind::LeaseCount, "logins")
        .await
        .is_none_or(|quota| quota.rule != count(most))
    {
        tokio::task::yield_now().await;
    }
}

/// Attack: a rate that cannot be reckoned with, which is asked for before anybody logs in.
#[tokio::test]
async fn attack_no_rate_that_is_accepted_stops_the_head() {
    let lab = zone().await;
    for value in [f64::MIN_POSITIVE, 1e-300, 1e-20, 1e-9, 1e-4, 0.5, 1e9] {
        for interval in [1, 86_400] {
            let rule = QuotaRule::RateLimit {
                rate: value,
                interval,
                block_interval: 86_400,
            };
            if try_put(&lab, "odd", "", rule).await.is_ok() {
                for _ in 0..3 {
                    lab.access.take_rate("pki/issue/web", CLIENT).unwrap();
                }
            }
        }
    }
}

/// Without a quota of leases an unseal reads no more, whatever the number of leases.
#[tokio::test]
async fn opening_reads_leases_only_where_they_are_counted() {
    let store = MemStore::new();
    let counting = Arc::new(SlowStore::new(store.clone()));
    let lab = furnished(Lab::through(store, counting.clone()).await).await;
    let open = async || {
        let before = counting.reads();
        lab.seal_and_unseal().await;
        counting.reads() - before
    };
    put(&lab, "logins", "auth/approle/", count(10)).await;
    put(&lab, "rate", "pki/", rate(10.0)).await;
    let without = open().await;
    for _ in 0..3000 {
        lease(&lab, "pki/issue/web").await.unwrap();
    }
    assert_eq!(open().await, without);
    put(&lab, "web", "pki/", count(10_000)).await;
    assert_eq!(counter(&lab, "web").await, 3000);
    let with = open().await;
    assert!(with <= without + 5, "in pages: {with} {without}");
    assert_eq!(counter(&lab, "web").await, 3000);
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/quotas-1.json");

/// What docs/formats/access.md says of quotas: one of each place and kind, and the settings.
#[tokio::test]
async fn quotas_are_written_as_specified() {
    let mut lab = records::empty().await;
    lab.access.bootstrap().await.unwrap();
    lab.root = lab.access.create_root_token().await.unwrap().text;
    // What the default policy says is no matter of format.
    lab.policy("default", "# nothing\n").await;
    lab.mount(MountKind::Pki, "pki").await;
    put(&lab, "zone", "", rate(1000.5)).await;
    let blocking = QuotaRule::RateLimit {
        rate: 10.0,
        interval: 60,
        block_interval: 300,
    };
    put(&lab, "mount", "pki/", blocking).await;
    put(&lab, "part", "pki/iss*", rate(0.25)).await;
    put(&lab, "path", "pki/issue/web", rate(5.0)).await;
    put(&lab, "leases", "pki/", count(1000)).await;
    let permit = root_at(&lab, "sys/quotas/config").await;
    let changed = lab.access.change_quota_config(&permit, |config| {
        config.response_headers = true;
        config.absolute_exempt_paths = vec!["sys/leader".into()];
    });
    changed.await.unwrap();
    let root = lab.root.clone();
    Golden::of(&lab, [("root", root)]).await.is_in(GOLDEN);
}

#[tokio::test]
async fn quotas_of_old_heads_are_read() {
    let lab = records::load(&records::golden(GOLDEN)).await;
    let permit = root_at(&lab, "sys/quotas").await;
    let names = |kind| lab.access.quotas(&permit, kind).unwrap();
    assert_eq!(names(QuotaKind::LeaseCount), ["leases"]);
    assert_eq!(
        names(QuotaKind::RateLimit),
        ["mount", "part", "path", "zone"]
    );
    for (name, path) in [
        ("zone", ""),
        ("mount", "pki/"),
        ("part", "pki/iss*"),
        ("path", "pki/issue/web"),
    ] {
        let found = find(&lab, QuotaKind::RateLimit, name).await.unwrap();
        assert_eq!(found.path, path);
    }
    assert_eq!(burst(&lab, "pki/issue/web"), 5);
    assert_eq!(burst(&lab, "pki/issue/db"), 1);
    assert_eq!(burst(&lab, "pki/sign/web"), 10);
    let config = lab.access.quota_config(&permit).unwrap();
    assert!(config.response_headers && !config.audit_refusals);
    let verdict = lab.access.take_rate("sys/leader", CLIENT).unwrap();
    assert_eq!(verdict, RateVerdict::Free);
}
