//! Power loss at each write.

use std::sync::Arc;

use zone_access::{Access, Ask, MountKind, Operation, Permit};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_pki::{Page, PkiService};
use zone_ports::{Clock, Store};
use zone_testkit::{Fault, Lab, MemStore, PlainMemory};
use zone_types::RequestPath;

use crate::zone::{Zone, reserved, root_ask, service};

/// The zone after a restart over what was durable.
struct Restarted {
    access: Access,
    pki: PkiService,
    lab: Lab,
}

async fn restart(lab: Lab) -> Restarted {
    let store: MemStore = lab.store.crash_image();
    let committer = Committer::open(Arc::new(store) as Arc<dyn Store>)
        .await
        .unwrap();
    let barrier = Barrier::new(committer, lab.random.clone(), Arc::new(PlainMemory));
    barrier
        .unseal_share(lab.shares[0].expose(), "lab", lab.clock.now())
        .await
        .unwrap();
    let access = Access::new(barrier.clone(), lab.clock.clone(), lab.random.clone());
    access.load().await.unwrap();
    let pki = PkiService::new(
        access.clone(),
        barrier,
        lab.clock.clone(),
        lab.random.clone(),
        reserved(),
    );
    Restarted { access, pki, lab }
}

impl Restarted {
    async fn permit(&self, operation: Operation, rest: &str) -> Permit {
        let path = RequestPath::from_text(&format!("pki/{rest}")).unwrap();
        let ask = Ask {
            token: Some(&self.lab.root),
            path: &path,
            operation,
            data: None,
            remote: None,
            wrap_ttl: None,
        };
        self.access.authorize(ask).await.unwrap()
    }
}

#[tokio::test]
async fn s1_a_root_is_there_whole_or_not_at_all() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for nth in 1..=3 {
            let lab = Lab::new().await;
            lab.mount(MountKind::Pki, "pki/").await;
            let pki = service(&lab);
            let permit = lab
                .permit(Operation::Update, "pki/root/generate/internal")
                .await;
            lab.store.fail_at(nth, fault);
            let ask = root_ask("root");
            let done = tokio::select! {
                root = pki.generate_root(&permit, &ask) => { root.unwrap(); true }
                () = lab.store.died() => false,
            };
            let zone = restart(lab).await;
            let permit = zone.permit(Operation::Read, "issuers/").await;
            let authority = zone.pki.authority(&permit).await.unwrap();
            let serials = zone.pki.serials(&permit, &Page::default()).await.unwrap();
            let counts = (
                authority.issuers().len(),
                authority.keys().len(),
                serials.len(),
            );
            let is_default = authority.default_issuer().is_some();
            let whole = counts == (1, 1, 1) && is_default;
            let none = counts == (0, 0, 0) && !is_default;
            assert!(
                whole || (none && !done),
                "{fault:?} {nth}: {counts:?} {is_default}"
            );
        }
    }
}

#[tokio::test]
async fn s1_an_acknowledged_revocation_is_on_the_list_after_a_crash() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for nth in 1..=4 {
            let zone = Zone::with_ca().await;
            let first = zone.issue("web", "a.example.com").await.unwrap();
            let second = zone.issue("web", "b.example.com").await.unwrap();
            let write = zone.write("revoke").await;
            let read = zone.read("crl").await;
            let Zone { lab, pki } = zone;
            lab.store.fail_at(nth, fault);
            let mut acknowledged = Vec::new();
            let mut number = 0;
            let work = async {
                for serial in [&first.serial, &second.serial] {
                    pki.revoke(&write, serial).await.unwrap();
                    acknowledged.push(serial.clone());
                    number = pki.crl(&read, "default").await.unwrap().number();
                }
            };
            tokio::select! {
                () = work => {}
                () = lab.store.died() => {}
            }
            let zone = restart(lab).await;
            let permit = zone.permit(Operation::Read, "crl").await;
            let list = zone.pki.crl(&permit, "default").await.unwrap();
            assert!(list.number() > number, "{fault:?} {nth}");
            let parsed = zone_x509::Crl::from_der(list.der()).unwrap();
            for serial in &acknowledged {
                assert!(
                    parsed.entries().iter().any(|entry| entry.serial == *serial),
                    "{fault:?} {nth}"
                );
            }
            // Whatever the crash cut, the certificate and its revocation agree.
            for serial in [&first.serial, &second.serial] {
                let stored = zone.pki.certificate(&permit, serial).await.unwrap();
                let listed = parsed.entries().iter().any(|entry| entry.serial == *serial);
                assert_eq!(stored.revoked_at.is_some(), listed, "{fault:?} {nth}");
            }
        }
    }
}

#[tokio::test]
async fn a_crash_loses_places_but_gives_none_out_twice() {
    let zone = Zone::with_ca().await;
    for _ in 0..3 {
        zone.issue("web", "a.example.com").await.unwrap();
    }
    let zone = restart(zone.lab).await;
    let permit = zone.permit(Operation::Update, "issue/web").await;
    let ask = zone_pki::IssueAsk {
        common_name: "a.example.com".into(),
        ..Default::default()
    };
    zone.pki.issue(&permit, "web", None, &ask).await.unwrap();
    let serials = zone.pki.serials(&permit, &Page::default()).await.unwrap();
    assert_eq!(serials.len(), 5);
}
