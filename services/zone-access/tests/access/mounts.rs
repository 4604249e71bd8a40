//! Mounts: where engines hang, and what is left of one that was taken away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{keys_with, root_at, said};
use zone_access::{AccessError, Mount, MountKind, NewMount, Operation, RefusalKind};
use zone_barrier::Batch;
use zone_testkit::{Fault, Lab};

/// Longer than the sweep looks for late writes.
const GRACE: Duration = Duration::from_secs(601);

async fn disable(lab: &Lab, path: &str) {
    let permit = lab
        .permit(Operation::Delete, &format!("sys/mounts/{path}"))
        .await;
    lab.access.disable(&permit, path).await.unwrap();
}

/// Records of an engine below `mount`, one of them in chunks.
async fn fill(lab: &Lab, mount: &Mount, count: usize) {
    for at in 0..count {
        let key = mount.key("meta", format!("{at:05}")).unwrap();
        let batch = Batch::new().put(key, format!("value {at}"));
        lab.barrier.commit(batch).await.unwrap();
    }
    let batch = Batch::new().put(mount.key("data", "large").unwrap(), vec![7; 200_000]);
    lab.barrier.commit(batch).await.unwrap();
}

/// Keys of the mount, and of chunks of large values.
fn keys_of(lab: &Lab, mount: &Mount) -> usize {
    keys_with(lab, &[mount.id.as_str(), "core/barrier/chunk/"]).len()
}

#[tokio::test]
async fn a_zone_begins_with_the_mounts_that_each_has() {
    let lab = Lab::new().await;
    let mounts = lab.access.mounts().unwrap();
    let paths: Vec<_> = mounts.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(paths, ["auth/token/", "cubbyhole/", "identity/", "sys/"]);
    // A second bootstrap (a crash in init) makes no other ones.
    lab.access.bootstrap().await.unwrap();
    assert_eq!(lab.access.mounts().unwrap(), mounts);
    assert!(lab.access.token(lab.root.expose()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_mount_serves_its_paths_and_no_sibling() {
    let lab = Lab::new().await;
    let kv = lab.mount(MountKind::Kv, "team/secret").await;
    let near = lab.mount(MountKind::Kv, "team/secret-2/").await;
    let other = lab.mount(MountKind::Pki, "team!").await;
    let at = |path: &str| {
        let mount = lab.access.mount_of(path).unwrap();
        mount.map(|mount| mount.path.as_str().to_owned())
    };
    assert_eq!(at("team/secret/data/a").as_deref(), Some("team/secret/"));
    assert_eq!(at("team/secret/").as_deref(), Some("team/secret/"));
    assert_eq!(at("team/secret-2/x").as_deref(), Some("team/secret-2/"));
    assert_eq!(at("team!/x").as_deref(), Some("team!/"));
    for path in [
        "team/secret",
        "team/",
        "team/secretx/a",
        "tea/m",
        "",
        "zzz",
        "team",
    ] {
        assert_eq!(at(path), None, "{path}");
    }
    assert_eq!(kv.options, BTreeMap::from([("version".into(), "2".into())]));
    assert!(other.accessor.starts_with("pki_") && kv.accessor.starts_with("kv_"));
    assert_ne!(kv.id, near.id);
    let permit = lab.permit(Operation::Read, "team/secret/data/a").await;
    assert_eq!(
        (permit.rest(), permit.mount().id.clone()),
        ("data/a", kv.id.clone())
    );
}

#[tokio::test]
async fn mounts_do_not_overlap_nor_take_what_is_reserved() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "a/b").await;
    let permit = root_at(&lab, "sys/mounts/x").await;
    let enable = async |path: &str| {
        let new = NewMount::default();
        lab.access.enable(&permit, MountKind::Kv, path, new).await
    };
    for path in ["a", "a/", "a/b", "a/b/", "a/b/c"] {
        let refused = said(enable(path).await);
        assert_eq!(refused, "path is already in use at a/b/", "{path}");
    }
    let reserved = [
        "sys",
        "sys/x",
        "auth",
        "auth/x",
        "auth/token",
        "identity",
        "cubbyhole",
        "audit",
        "zone/x",
    ];
    for path in reserved {
        assert!(said(enable(path).await).ends_with("is reserved"), "{path}");
        let disabled = lab.access.disable(&permit, path).await;
        assert!(said(disabled).ends_with("is reserved"), "{path}");
    }
    for path in [
        "",
        "/",
        "a//b",
        "a/../sys",
        "../sys",
        "a\u{202e}b",
        "x*",
        "+/x",
        "{{x}}",
    ] {
        said(enable(path).await);
    }
    said(enable(&"x".repeat(201)).await);
    for path in ["ab", "a/bc", "system", "authx"] {
        enable(path).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_overlapping_mounts_at_once_one_is_made() {
    let lab = Arc::new(Lab::new().await);
    for round in 0..30 {
        let tasks: Vec<_> = ["", "/x", "/x/y", "/z"]
            .iter()
            .map(|tail| {
                let (lab, path) = (lab.clone(), format!("m{round}{tail}"));
                tokio::spawn(async move {
                    let permit = root_at(&lab, "sys/mounts/x").await;
                    let new = NewMount::default();
                    lab.access
                        .enable(&permit, MountKind::Kv, &path, new)
                        .await
                        .is_ok()
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let mounts = lab.access.mounts().unwrap();
    for (at, mount) in mounts.iter().enumerate() {
        assert!(
            !mounts[at + 1..]
                .iter()
                .any(|other| other.path.overlaps(&mount.path))
        );
    }
    let reopened = lab.reopen().await;
    assert_eq!(reopened.access.mounts().unwrap(), mounts);
}

#[tokio::test]
async fn tuning_changes_what_can_be_tuned_and_no_id() {
    let lab = Lab::new().await;
    let before = lab.mount(MountKind::Kv, "secret").await;
    let permit = root_at(&lab, "sys/mounts/secret/tune").await;
    let tuned = lab.access.tune(&permit, "secret/", |mount| {
        mount.description = "ours".into();
        mount.config.max_lease_ttl = 60;
        mount.config.default_lease_ttl = 30;
        mount.config.listing_visibility = "unauth".into();
    });
    tuned.await.unwrap();
    let now = lab.access.mount_of("secret/x").unwrap().unwrap();
    assert_eq!(
        (now.description.as_str(), now.config.max_lease_ttl),
        ("ours", 60)
    );
    let same = (&now.id, &now.uuid, &now.accessor, &now.kind, &now.path);
    assert_eq!(
        same,
        (
            &before.id,
            &before.uuid,
            &before.accessor,
            &before.kind,
            &before.path
        )
    );
    let refused = lab.access.tune(&permit, "secret", |mount| {
        mount.config.default_lease_ttl = 61
    });
    assert_eq!(
        said(refused.await),
        "default_lease_ttl must not exceed max_lease_ttl"
    );
    let refused = lab.access.tune(&permit, "secret", |mount| {
        mount.description = "x".repeat(17_000)
    });
    assert!(said(refused.await).ends_with("have at most 16 KiB"));
    let missing = lab.access.tune(&permit, "secret/data", |_| ());
    assert_eq!(said(missing.await), "no mount at that path");
    lab.seal_and_unseal().await;
    assert_eq!(lab.access.mount_of("secret/x").unwrap().unwrap(), now);
}

#[tokio::test]
async fn a_new_mount_is_bounded_too() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/mounts/x").await;
    let mut new = NewMount::default();
    new.config.default_lease_ttl = 33 * 24 * 3600;
    let refused = lab.access.enable(&permit, MountKind::Kv, "x", new).await;
    assert_eq!(
        said(refused),
        "default_lease_ttl must not exceed max_lease_ttl"
    );
    for kind in [MountKind::System, MountKind::Token] {
        let refused = lab
            .access
            .enable(&permit, kind, "x", NewMount::default())
            .await;
        assert_eq!(said(refused), "an engine of that kind exists once");
    }
    let new = NewMount {
        description: "x".repeat(17_000),
        ..NewMount::default()
    };
    let refused = lab.access.enable(&permit, MountKind::Kv, "x", new).await;
    assert!(said(refused).ends_with("have at most 16 KiB"));
    assert!(lab.access.mount_of("x/").unwrap().is_none());
}

#[tokio::test]
async fn what_a_mount_held_is_out_of_reach_at_once_and_gone_soon() {
    let lab = Lab::new().await;
    let empty = keys_with(&lab, &["root/"]).len();
    let old = lab.mount(MountKind::Kv, "secret").await;
    let other = lab.mount(MountKind::Kv, "other").await;
    fill(&lab, &old, 120).await;
    fill(&lab, &other, 3).await;
    let kept = keys_of(&lab, &other) - 4;
    disable(&lab, "secret").await;
    let refused = lab
        .permit_of(&lab.root, Operation::Read, "secret/data/large")
        .await;
    assert!(matches!(refused.unwrap_err().kind, RefusalKind::NoMount));
    // The same path again is another mount: other keys, so nothing old is found.
    let new = lab.mount(MountKind::Kv, "secret").await;
    assert_ne!(new.id, old.id);
    assert_ne!(new.accessor, old.accessor);
    assert!(
        lab.barrier
            .get(&new.key("data", "large").unwrap())
            .await
            .unwrap()
            .is_none()
    );
    lab.settle().await;
    assert!(
        kept > 0 && keys_of(&lab, &old) < kept,
        "chunks are gone too"
    );
    assert_eq!(keys_with(&lab, &[&format!("root/{}/", old.id)]), [""; 0]);
    lab.clock.advance(GRACE);
    lab.settle().await;
    assert_eq!(keys_with(&lab, &[old.id.as_str()]), [""; 0]);
    assert_eq!(keys_with(&lab, &["root/"]).len(), empty + 4);
    assert_eq!(keys_with(&lab, &["core/mount-trash/"]), [""; 0]);
    // Nothing there any more: no error.
    disable(&lab, "never").await;
}

/// A request that was permitted before the mount was taken away writes after the sweep.
#[tokio::test]
async fn a_late_write_is_removed_as_well() {
    let lab = Lab::new().await;
    let mount = lab.mount(MountKind::Kv, "secret").await;
    let permit = root_at(&lab, "secret/data/late").await;
    disable(&lab, "secret").await;
    lab.settle().await;
    let key = permit.mount().key("data", "late").unwrap();
    lab.barrier
        .commit(Batch::new().put(key, "late"))
        .await
        .unwrap();
    lab.clock.advance(Duration::from_secs(300));
    lab.settle().await;
    assert_eq!(keys_with(&lab, &[&format!("root/{}/", mount.id)]), [""; 0]);
    assert_eq!(keys_with(&lab, &["core/mount-trash/"]).len(), 1);
    lab.clock.advance(GRACE);
    lab.settle().await;
    assert_eq!(keys_with(&lab, &[mount.id.as_str()]), [""; 0]);
}

#[tokio::test]
async fn s1_a_crash_at_any_write_of_a_removal_leaves_no_key_behind() {
    let grown = Lab::new().await;
    let mount = grown.mount(MountKind::Kv, "secret").await;
    fill(&grown, &mount, 110).await;
    let mut deaths = 0;
    for at in 1.. {
        let mut died = false;
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let lab = grown.reopen().await;
            lab.store.fail_at(at, fault);
            let work = async {
                disable(&lab, "secret").await;
                lab.settle().await;
            };
            died |= tokio::select! {
                () = work => false,
                () = lab.store.died() => true,
            };
            let lab = lab.reopen().await;
            if lab.access.mount_of("secret/x").unwrap().is_some() {
                assert!(at <= 2, "the first write after the reservation decides");
                assert_eq!(
                    keys_with(&lab, &[&format!("root/{}/", mount.id)]).len(),
                    111
                );
                disable(&lab, "secret").await;
            }
            lab.settle().await;
            assert_eq!(keys_with(&lab, &[&format!("root/{}/", mount.id)]), [""; 0]);
        }
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 3, "{deaths}");
}

async fn remount(lab: &Lab, from: &str, to: &str) -> Result<String, AccessError> {
    let permit = root_at(lab, "sys/remount").await;
    lab.access.remount(&permit, from, to).await
}

fn path_of(lab: &Lab, id: &zone_types::MountId) -> Vec<String> {
    let all = lab.access.mounts().unwrap();
    let own = all.iter().filter(|mount| &mount.id == id);
    own.map(|mount| mount.path.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_remount_moves_one_record_and_all_that_the_mount_holds() {
    let lab = Lab::new().await;
    let mount = lab.mount(MountKind::Kv, "a/b").await;
    let before = lab.store.applies();
    let id = remount(&lab, "a/b/", "c").await.unwrap();
    assert_eq!(lab.store.applies(), before + 1, "one group");
    assert_eq!(path_of(&lab, &mount.id), ["c/"]);
    assert!(lab.access.mount_of("a/b/x").unwrap().is_none());
    let permit = root_at(&lab, "sys/remount/status/x").await;
    let told = lab.access.remounted(&permit, &id).await.unwrap().unwrap();
    assert_eq!((told.from.as_str(), told.to.as_str()), ("a/b/", "c/"));
    let other = lab.access.remounted(&permit, "no-such-id").await.unwrap();
    assert!(other.is_none());
    let again = lab.reopen().await;
    assert_eq!(path_of(&again, &mount.id), ["c/"]);
    // Into a part of its old path, and below it.
    for to in ["c/d", "c"] {
        remount(&lab, path_of(&lab, &mount.id)[0].as_str(), to)
            .await
            .unwrap();
        assert_eq!(path_of(&lab, &mount.id), [format!("{to}/")]);
    }
}

#[tokio::test]
async fn a_remount_is_judged_as_a_mount_is() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/auth/x").await;
    for (kind, path) in [(MountKind::Kv, "kv"), (MountKind::AppRole, "auth/app")] {
        let new = NewMount::default();
        lab.access.enable(&permit, kind, path, new).await.unwrap();
    }
    lab.mount(MountKind::Kv, "taken").await;
    for (from, to) in [
        ("kv", "taken"),
        ("kv", "taken/below"),
        ("kv", "auth/kv"),
        ("kv", "auth"),
        ("kv", "sys"),
        ("kv", "sys/below"),
        ("kv", "cubbyhole"),
        ("kv", "identity"),
        ("kv", "a//b"),
        ("kv", "a/../b"),
        ("kv", "x*"),
        ("kv", ""),
        ("none", "free"),
        ("", "free"),
        ("sys", "free"),
        ("cubbyhole", "free"),
        ("auth/token", "auth/free"),
        ("auth/app", "free"),
        ("auth/app", "auth/token"),
        ("auth/app", "auth/token/below"),
    ] {
        assert!(remount(&lab, from, to).await.is_err(), "{from} to {to}");
    }
    remount(&lab, "auth/app", "auth/other/app").await.unwrap();
    assert!(
        lab.access
            .mount_of("auth/other/app/login")
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn s1_a_crash_at_a_remount_leaves_the_mount_at_one_of_its_paths() {
    for (fault, path) in [(Fault::Lost, "a/"), (Fault::AnswerLost, "b/")] {
        let lab = Lab::new().await;
        let mount = lab.mount(MountKind::Kv, "a").await;
        lab.store.fail_at(1, fault);
        let _ = remount(&lab, "a", "b").await;
        let next = lab.reopen().await;
        assert_eq!(path_of(&next, &mount.id), [path], "{fault:?}");
    }
}

#[tokio::test]
async fn remounts_of_long_ago_are_forgotten() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "a").await;
    let first = remount(&lab, "a", "b").await.unwrap();
    lab.clock.advance(Duration::from_secs(31 * 24 * 3600));
    let second = remount(&lab, "b", "c").await.unwrap();
    let permit = root_at(&lab, "sys/remount/status/x").await;
    assert!(
        lab.access
            .remounted(&permit, &first)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        lab.access
            .remounted(&permit, &second)
            .await
            .unwrap()
            .is_some()
    );
}
