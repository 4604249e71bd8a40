//! The tour over a whole zone, and that its checks bite.

use std::io;

use rustls::AlertDescription;

use super::super::tests::TestZone;
use super::authority::{Authority, Identity, Trust};
use super::ledger::Ledger;
use super::orders::Orders;
use super::traffic::Traffic;
use super::*;

const ORDERS: &str = "orders.svc.test";
const LEDGER: &str = "ledger.svc.test";

fn dark() -> Screen {
    Screen::new(Box::new(io::sink()), false)
}

/// Both services with certificates of their own.
struct Pair {
    trust: Trust,
    orders: Identity,
    own: Identity,
    ledger: Ledger,
    caller: Orders,
}

impl Pair {
    async fn start(authority: &Authority<'_>) -> Self {
        let trust = authority.trust().await.unwrap();
        let orders = authority.issue(ORDERS).await.unwrap();
        let own = authority.issue(LEDGER).await.unwrap();
        let ledger = Ledger::start(&own, &trust).await.unwrap();
        let caller = Orders::new(Some(&orders), &trust, ledger.address, LEDGER).unwrap();
        Self {
            trust,
            orders,
            own,
            ledger,
            caller,
        }
    }
}

async fn revoked(zone: &DevZone) -> usize {
    let list = zone.client.list("pki/certs/revoked", &[]).await.unwrap();
    list.unwrap().keys().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_holds_on_a_new_zone_and_when_it_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let zone = TestZone::start(directory.path()).await;
    give(&zone.zone, &mut dark()).await.unwrap();
    assert_eq!(revoked(&zone.zone).await, 1);
    zone.stop().await;

    let zone = TestZone::start(directory.path()).await;
    assert_eq!(revoked(&zone.zone).await, 1, "still revoked");
    give(&zone.zone, &mut dark()).await.unwrap();
    assert_eq!(revoked(&zone.zone).await, 2);
    zone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_does_not_read_the_list_again_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let zone = TestZone::start(directory.path()).await;
    let authority = Authority(&zone.zone.client);
    let Pair {
        orders,
        own,
        ledger,
        caller,
        ..
    } = Pair::start(&authority).await;
    authority.revoke(&orders.serial).await.unwrap();
    let error = caller.refusal().await.unwrap_err().to_string();
    assert!(error.contains("should have refused"), "{error}");

    ledger
        .reload(&own, &authority.trust().await.unwrap())
        .unwrap();
    let alert = caller.refusal().await.unwrap();
    assert_eq!(alert, AlertDescription::CertificateRevoked);
    zone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_under_traffic_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let zone = TestZone::start(directory.path()).await;
    let authority = Authority(&zone.zone.client);
    let Pair {
        trust,
        orders,
        own,
        ledger,
        caller,
    } = Pair::start(&authority).await;
    let traffic = Traffic::start(&caller, "balance for orders.svc.test");
    traffic.reach(own.leaf(), 20).await.unwrap();
    // Callers expect the ledger; this certificate is for somebody else.
    ledger.reload(&orders, &trust).unwrap();
    let error = traffic
        .reach(own.leaf(), u64::MAX)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("requests failed"), "{error}");
    assert!(traffic.stop().await.failed > 0);
    zone.stop().await;
}
