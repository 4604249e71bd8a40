//! Response wrapping: once, for the right token, in time; also under races and when power goes.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{ask_for, create, keys_with, only_left, records, said, token_area};
use zeroize::Zeroizing;
use zone_access::{AccessError, Ask, Operation, Permit, Wrapped, WrappedAnswer};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_testkit::{Fault, Lab, MemStore};
use zone_types::{RequestPath, Secret};

const INVALID: &str = "wrapping token is not valid or does not exist";

/// A permit of root whose answer is to be wrapped for `secs`.
async fn wrapping(lab: &Lab, path: &str, secs: u64) -> Permit {
    let path = RequestPath::from_text(path).unwrap();
    let ask = Ask {
        token: Some(&lab.root),
        path: &path,
        operation: Operation::Read,
        data: None,
        remote: None,
        wrap_ttl: Some(Duration::from_secs(secs)),
    };
    lab.access.authorize(ask).await.unwrap()
}

fn answer(body: &str) -> WrappedAnswer {
    WrappedAnswer {
        status: 200,
        body: Zeroizing::new(format!("{body}\n").into_bytes()),
        wrapped_accessor: Some("inner".into()),
    }
}

pub(crate) async fn wrap(lab: &Lab, body: &str, secs: u64) -> Wrapped {
    let permit = wrapping(lab, "sys/mounts", secs).await;
    lab.access.wrap(&permit, answer(body)).await.unwrap()
}

/// The wrapping token itself asks.
pub(crate) async fn unwrap(lab: &Lab, text: &Secret<String>) -> Result<String, AccessError> {
    let permit = lab.permit(Operation::Update, "sys/wrapping/unwrap").await;
    let found = lab.access.unwrap_answer(&permit, text.expose()).await?;
    assert_eq!(found.status, 200);
    assert_eq!(found.wrapped_accessor.as_deref(), Some("inner"));
    Ok(String::from_utf8(found.body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_answer_comes_back_to_the_letter_once() {
    let lab = Lab::new().await;
    let body = r#"{"data":{"n":1.50,"b":"ü","a":1},"request_id":"x"}"#;
    let wrapped = wrap(&lab, body, 60).await;
    assert!(wrapped.entry.record.is_wrapping() && wrapped.entry.record.orphan());
    let at = lab.permit(Operation::Update, "sys/wrapping/lookup").await;
    let seen = lab
        .access
        .wrapped_at(&at, wrapped.text.expose())
        .await
        .unwrap();
    assert_eq!((seen.path.as_str(), seen.ttl), ("sys/mounts", 60));
    assert_eq!(seen.time, lab.access.now().unwrap());
    assert_eq!(unwrap(&lab, &wrapped.text).await.unwrap(), body);
    assert_eq!(said(unwrap(&lab, &wrapped.text).await), INVALID);
    assert_eq!(
        said(lab.access.wrapped_at(&at, wrapped.text.expose()).await),
        INVALID
    );
    only_left(&lab, &[]).await;
    assert_eq!(keys_with(&lab, &["/wrapped/"]), [""; 0]);
}

/// Found by the simulation: a look-up had it in memory.
#[tokio::test]
async fn the_old_token_of_a_rewrapped_answer_does_not_count_any_more() {
    let lab = Lab::new().await;
    let old = wrap(&lab, "{}", 60).await;
    assert!(lab.access.token(old.text.expose()).await.unwrap().is_some());
    let permit = lab.permit(Operation::Update, "sys/wrapping/rewrap").await;
    let new = lab.access.rewrap(&permit, old.text.expose()).await.unwrap();
    assert!(lab.access.token(old.text.expose()).await.unwrap().is_none());
    assert_eq!(unwrap(&lab, &new.text).await.unwrap(), "{}");
}

#[tokio::test]
async fn b1_neither_answer_nor_token_can_be_read_in_the_store() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, r#"{"data":"CANARY"}"#, 60).await;
    let image = format!("{:?}", lab.store);
    assert!(!image.contains("CANARY") && !image.contains(wrapped.text.expose().as_str()));
    let id = wrapped.entry.id.as_str().to_owned();
    assert_eq!(keys_with(&lab, &[&format!("/wrapped/{id}")]).len(), 1);
}

#[tokio::test]
async fn attack_a_token_that_wraps_nothing_unwraps_nothing() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, "{}", 60).await;
    let other = lab.token(&["default"]).await;
    let long = Secret::new("x".repeat(300));
    for text in [&other.text, &lab.root, &Secret::new(String::new()), &long] {
        assert_eq!(said(unwrap(&lab, text).await), INVALID);
        let permit = lab.permit(Operation::Update, "sys/wrapping/rewrap").await;
        assert_eq!(
            said(lab.access.rewrap(&permit, text.expose()).await),
            INVALID
        );
    }
    assert!(unwrap(&lab, &wrapped.text).await.is_ok());
    assert!(
        lab.access
            .token(other.text.expose())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_wrapping_token_can_do_nothing_else() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, "{}", 60).await;
    for (operation, path) in [
        (Operation::Read, "auth/token/lookup-self"),
        (Operation::Update, "auth/token/renew-self"),
        (Operation::Update, "auth/token/create"),
        (Operation::Update, "sys/wrapping/wrap"),
        (Operation::Update, "sys/capabilities-self"),
        (Operation::Read, "cubbyhole/response"),
        (Operation::Update, "cubbyhole/response"),
        (Operation::Read, "sys/wrapping/unwrap"),
        (Operation::Read, "sys/mounts"),
    ] {
        let permit = lab.permit_of(&wrapped.text, operation, path).await;
        assert!(permit.is_err(), "{path}");
    }
    // Nor does trying use it up.
    let own = lab.permit_of(&wrapped.text, Operation::Update, "sys/wrapping/unwrap");
    let own = own.await.unwrap();
    let found = lab.access.unwrap_answer(&own, wrapped.text.expose()).await;
    assert_eq!(&found.unwrap().body[..], b"{}");
}

#[tokio::test]
async fn attack_nobody_else_gets_the_policy_of_wrapping_tokens() {
    let lab = Lab::new().await;
    for name in [
        "response-wrapping",
        " Response-Wrapping",
        "RESPONSE-WRAPPING\u{a0}",
    ] {
        let made = create(&lab, &lab.root, ask_for(&[name])).await;
        assert_eq!(
            said(made),
            "the policy 'response-wrapping' cannot be assigned"
        );
        let permit = lab.permit(Operation::Update, "sys/policies/acl/x").await;
        let text = "path \"*\" { capabilities = [\"sudo\"] }";
        let written = lab.access.write_policy(&permit, name, text).await;
        assert_eq!(
            said(written),
            "the policy 'response-wrapping' cannot be changed"
        );
        let deleted = lab.access.delete_policy(&permit, name).await;
        assert_eq!(
            said(deleted),
            "cannot delete the policy 'response-wrapping'"
        );
    }
}

/// Namespaces other than the root one come later; the look-up judges them already.
#[tokio::test]
async fn cve_2026_40264_a_wrapping_token_of_another_namespace_is_nobodys() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, "{}", 60).await;
    let key = format!("{}token/{}", token_area(&lab), wrapped.entry.id.as_str());
    let mut record = records(&lab, &key).await.remove("").unwrap();
    record["namespace"] = "0123456789abcdef".into();
    let batch = Batch::new().put(Key::new(key).unwrap(), record.to_string());
    lab.barrier.commit(batch).await.unwrap();
    assert_eq!(said(unwrap(&lab, &wrapped.text).await), INVALID);
    let permit = lab.permit(Operation::Update, "sys/wrapping/rewrap").await;
    let moved = lab.access.rewrap(&permit, wrapped.text.expose()).await;
    assert_eq!(said(moved), INVALID);
    let seen = lab.access.wrapped_at(&permit, wrapped.text.expose()).await;
    assert_eq!(said(seen), INVALID);
}

#[tokio::test]
async fn its_time_is_bounded_and_ends_both() {
    let lab = Lab::new().await;
    for secs in [0, zone_access::MAX_TTL_SECS + 1] {
        let permit = wrapping(&lab, "sys/mounts", secs).await;
        let refused = lab.access.wrap(&permit, answer("{}")).await;
        assert!(said(refused).starts_with("X-Vault-Wrap-TTL: "), "{secs}");
    }
    let none = lab.permit(Operation::Read, "sys/mounts").await;
    let refused = lab.access.wrap(&none, answer("{}")).await;
    assert_eq!(
        said(refused),
        "endpoint requires response wrapping to be used"
    );
    let wrapped = wrap(&lab, "{}", 60).await;
    lab.clock.advance(Duration::from_secs(59));
    assert!(
        lab.access
            .token(wrapped.text.expose())
            .await
            .unwrap()
            .is_some()
    );
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(said(unwrap(&lab, &wrapped.text).await), INVALID);
    lab.clock.advance(Duration::from_secs(1));
    only_left(&lab, &[]).await;
    assert_eq!(keys_with(&lab, &["/wrapped/"]), [""; 0]);
}

#[tokio::test]
async fn revoking_the_token_takes_the_answer_along() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, "{}", 60).await;
    lab.access.revoke_token(&wrapped.entry.id).await.unwrap();
    assert_eq!(said(unwrap(&lab, &wrapped.text).await), INVALID);
    assert_eq!(keys_with(&lab, &["/wrapped/", "core/token-tree/"]), [""; 0]);
}

#[tokio::test]
async fn large_answers_are_wrapped_up_to_the_limit() {
    let lab = Lab::new().await;
    let of = |size: usize| format!("\"{}\"", "x".repeat(size - 3));
    let most = (1024 + 64) * 1024;
    let wrapped = wrap(&lab, &of(most), 60).await;
    assert_eq!(unwrap(&lab, &wrapped.text).await.unwrap(), of(most));
    let permit = wrapping(&lab, "sys/mounts", 60).await;
    let refused = lab.access.wrap(&permit, answer(&of(most + 1))).await;
    assert_eq!(
        said(refused),
        "an answer that is to be wrapped has at most 1088 KiB"
    );
    only_left(&lab, &[]).await;
    assert_eq!(
        keys_with(&lab, &["/wrapped/", "core/barrier/chunk/"]),
        [""; 0]
    );
}

/// Exactly one of 64 gets the answer, whether they unwrap or rewrap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_one_of_64_at_once_gets_the_answer() {
    let lab = Arc::new(Lab::new().await);
    for round in 0..20 {
        let wrapped = Arc::new(wrap(&lab, r#"{"a":1}"#, 60).await);
        let readers = (0..64).map(|at| {
            let (lab, wrapped) = (lab.clone(), wrapped.clone());
            tokio::spawn(async move {
                if at % 4 != round % 5 {
                    return unwrap(&lab, &wrapped.text).await.is_ok();
                }
                let permit = lab.permit(Operation::Update, "sys/wrapping/rewrap").await;
                let moved = lab.access.rewrap(&permit, wrapped.text.expose()).await;
                let Ok(moved) = moved else { return false };
                unwrap(&lab, &moved.text).await.unwrap() == r#"{"a":1}"#
            })
        });
        let mut won = 0;
        for reader in readers.collect::<Vec<_>>() {
            won += usize::from(reader.await.unwrap());
        }
        assert_eq!(won, 1);
    }
    only_left(&lab, &[]).await;
}

#[tokio::test]
async fn rewrapping_keeps_answer_path_and_span() {
    let lab = Lab::new().await;
    let first = wrap(&lab, r#"{"a":1}"#, 60).await;
    lab.clock.advance(Duration::from_secs(50));
    let permit = lab.permit(Operation::Update, "sys/wrapping/rewrap").await;
    let second = lab
        .access
        .rewrap(&permit, first.text.expose())
        .await
        .unwrap();
    assert_ne!(first.text.expose(), second.text.expose());
    assert_eq!(second.wrapped_accessor.as_deref(), Some("inner"));
    let record = &second.entry.record;
    assert_eq!(
        (record.path.as_str(), record.creation_ttl),
        ("sys/mounts", 60)
    );
    assert_eq!(said(unwrap(&lab, &first.text).await), INVALID);
    lab.clock.advance(Duration::from_secs(50));
    assert_eq!(unwrap(&lab, &second.text).await.unwrap(), r#"{"a":1}"#);
}

/// The power goes at each write of an unwrap. Whoever was answered was the only one; nothing of a
/// used token is left.
#[tokio::test]
async fn s1_a_crash_at_any_write_of_an_unwrap_gives_nothing_twice() {
    let large = format!("\"{}\"", "x".repeat(300 * 1024));
    for body in ["{}", &large] {
        let lab = Lab::new().await;
        let wrapped = wrap(&lab, body, 60).await;
        let (mut deaths, mut unheard) = (0, (false, false));
        for at in 1.. {
            let mut died = false;
            for fault in [Fault::CrashBefore, Fault::CrashAfter] {
                let head = lab.reopen().await;
                head.store.fail_at(at, fault);
                let first = tokio::select! {
                    first = unwrap(&head, &wrapped.text) => Some(first.is_ok()),
                    () = head.store.died() => { died = true; None },
                };
                let head = head.reopen().await;
                let second = unwrap(&head, &wrapped.text).await.is_ok();
                assert!(!(first == Some(true) && second), "{at} {fault:?}");
                unheard.0 |= first.is_none() && second;
                unheard.1 |= first.is_none() && !second;
                head.barrier.collect_chunks().await.unwrap();
                only_left(&head, &[]).await;
                assert_eq!(
                    keys_with(&head, &["/wrapped/", "core/barrier/chunk/"]),
                    [""; 0]
                );
            }
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths >= 1);
        assert_eq!(unheard, (true, true), "cut before and behind the end");
    }
}

/// The power goes at each write of a rewrap: the answer is behind the old token or the new one.
#[tokio::test]
async fn s1_a_crash_at_any_write_of_a_rewrap_keeps_one_answer() {
    let lab = Lab::new().await;
    let wrapped = wrap(&lab, &format!("\"{}\"", "x".repeat(300 * 1024)), 60).await;
    let mut deaths = 0;
    for at in 1.. {
        let mut died = false;
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let head = lab.reopen().await;
            head.store.fail_at(at, fault);
            let permit = head.permit(Operation::Update, "sys/wrapping/rewrap").await;
            tokio::select! {
                moved = head.access.rewrap(&permit, wrapped.text.expose()) => {
                    moved.unwrap();
                }
                () = head.store.died() => died = true,
            }
            let head = head.reopen().await;
            assert_eq!(keys_with(&head, &["/wrapped/"]).len(), 1, "{at} {fault:?}");
        }
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths >= 4, "chunks, then the flip");
}

#[tokio::test]
async fn a_failing_store_gives_no_answer() {
    let lab = Lab::over(MemStore::new()).await;
    let wrapped = wrap(&lab, "{}", 60).await;
    lab.store.fail_at(1, Fault::Full);
    assert!(matches!(
        unwrap(&lab, &wrapped.text).await,
        Err(AccessError::Barrier(_))
    ));
    assert!(unwrap(&lab, &wrapped.text).await.is_ok());
}
