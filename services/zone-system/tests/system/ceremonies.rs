//! What key holders do together: new shares, a root token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zone_system::{InitOptions, OTP_LENGTH, RekeyOptions, RekeyStep, RootStep, SystemError};
use zone_testkit::Fault;
use zone_types::Secret;

use crate::common::{Head, Keys, five_of_three, said};

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn two_of_two(verify: bool) -> RekeyOptions {
    RekeyOptions {
        shares: InitOptions {
            shares: 2,
            threshold: 2,
            age_recipients: Vec::new(),
        },
        verify,
    }
}

/// Gives three old shares; the new ones in hex, and the nonces of the rekey and of its verification.
async fn handed_out(
    head: &Head,
    keys: &Keys,
    options: RekeyOptions,
) -> (Vec<String>, String, String) {
    let nonce = head.system.rekey_begin(options).await.unwrap().nonce;
    for (at, share) in keys.shares[..3].iter().enumerate() {
        let step = head.system.rekey_update(&secret(share), &nonce).await;
        match step.unwrap() {
            RekeyStep::Progress(status) => {
                assert_eq!((usize::from(status.progress), status.required), (at + 1, 3));
            }
            RekeyStep::Shares { shares, status } => {
                return (shares.keys_hex(), nonce, status.verification_nonce);
            }
        }
    }
    panic!("three shares are the threshold");
}

/// Whether these shares, and no others, open the zone after a restart.
async fn opens(head: &Head, shares: &[String]) -> bool {
    let next = head.crash().await;
    for share in shares {
        if next.share(share).await.is_err() {
            return false;
        }
    }
    !next.system.is_sealed()
}

#[tokio::test]
async fn a_rekey_replaces_the_shares_when_it_is_finished() {
    let (head, keys) = Head::unsealed().await;
    let (new, nonce, _) = handed_out(&head, &keys, two_of_two(false)).await;
    assert!(opens(&head, &keys.shares[..3]).await, "nothing counts yet");
    assert!(!opens(&head, &new).await);
    head.system.rekey_finish(&nonce).await.unwrap();
    assert!(!head.system.rekey_status().await.unwrap().started);
    assert!(opens(&head, &new).await);
    assert!(!opens(&head, &keys.shares[..3]).await);
    // What was stored before is still there.
    assert!(head.permit_of(&keys.root, "sys/audit/x").await.is_ok());
}

#[tokio::test]
async fn new_shares_that_nobody_will_see_never_count() {
    let (head, keys) = Head::unsealed().await;
    let (new, nonce, _) = handed_out(&head, &keys, two_of_two(false)).await;
    head.system.rekey_take_back(&nonce).await;
    assert!(said(head.system.rekey_finish(&nonce).await).contains("no rekey"));
    assert!(!head.system.rekey_status().await.unwrap().started);
    assert!(opens(&head, &keys.shares[..3]).await);
    assert!(!opens(&head, &new).await);
}

/// Another request at the same endpoint neither ends a rekey nor puts its shares in force while
/// the answer with them is on its way.
#[tokio::test]
async fn only_the_rekey_that_handed_shares_out_is_finished_or_taken_back() {
    let (head, keys) = Head::unsealed().await;
    let nonce = head
        .system
        .rekey_begin(two_of_two(false))
        .await
        .unwrap()
        .nonce;
    assert!(said(head.system.rekey_finish(&nonce).await).contains("no rekey"));
    head.system.rekey_take_back(&nonce).await;
    assert!(
        head.system.rekey_status().await.unwrap().started,
        "nothing was handed out"
    );
    head.system.rekey_cancel(None).await.unwrap();
    let (new, nonce, _) = handed_out(&head, &keys, two_of_two(false)).await;
    for other in ["", "x", &nonce[1..]] {
        assert!(said(head.system.rekey_finish(other).await).contains("no rekey"));
        head.system.rekey_take_back(other).await;
    }
    assert!(opens(&head, &keys.shares[..3]).await);
    head.system.rekey_finish(&nonce).await.unwrap();
    assert!(opens(&head, &new).await);
}

#[tokio::test]
async fn with_verification_the_holders_must_show_the_new_shares_first() {
    let (head, keys) = Head::unsealed().await;
    let (new, rekey, nonce) = handed_out(&head, &keys, two_of_two(true)).await;
    head.system.rekey_finish(&rekey).await.unwrap();
    assert!(opens(&head, &keys.shares[..3]).await, "not verified yet");
    let (system, share) = (&head.system, |at: usize| secret(&new[at]));
    let old = system.rekey_verify(&secret(&keys.shares[0]), &nonce).await;
    assert!(said(old).contains("outdated"));
    let (done, status) = system.rekey_verify(&share(0), &nonce).await.unwrap();
    assert!(!done && status.verification_progress == 1);
    let (done, _) = system.rekey_verify(&share(0), &nonce).await.unwrap();
    assert!(!done, "the same share twice");
    // Begun anew, with another nonce.
    let again = system.rekey_verify_again(None).await.unwrap();
    assert_eq!(again.verification_progress, 0);
    assert!(said(system.rekey_verify(&share(0), &nonce).await).contains("nonce"));
    let nonce = again.verification_nonce;
    assert!(!system.rekey_verify(&share(1), &nonce).await.unwrap().0);
    assert!(system.rekey_verify(&share(0), &nonce).await.unwrap().0);
    assert!(opens(&head, &new).await);
    assert!(said(system.rekey_verify(&share(0), &nonce).await).contains("no rekey"));
}

#[tokio::test]
async fn cve_2025_52894_a_rekey_is_kept_apart_from_whoever_does_not_know_it() {
    let (head, keys) = Head::unsealed().await;
    let system = &head.system;
    assert!(said(system.rekey_update(&secret(&keys.shares[0]), "x").await).contains("no rekey"));
    let nonce = system.rekey_begin(two_of_two(false)).await.unwrap().nonce;
    assert!(said(system.rekey_begin(two_of_two(false)).await).contains("already in progress"));
    for wrong in ["", "x", &nonce[1..]] {
        let update = system.rekey_update(&secret(&keys.shares[0]), wrong).await;
        assert!(said(update).contains("nonce"));
        assert!(said(system.rekey_cancel(Some(wrong)).await).contains("nonce"));
    }
    let wrong = system.rekey_update(&secret(&"00".repeat(33)), &nonce).await;
    assert!(said(wrong).contains("not one of this zone"));
    assert_eq!(system.rekey_status().await.unwrap().progress, 0);
    system.rekey_cancel(Some(&nonce)).await.unwrap();
    assert!(!system.rekey_status().await.unwrap().started);
}

#[tokio::test]
async fn what_cannot_end_well_is_refused_when_it_begins() {
    let (head, _keys) = Head::unsealed().await;
    for (shares, threshold, recipients) in [
        (0, 0, &[][..]),
        (2, 3, &[]),
        (3, 1, &[]),
        (1, 1, &["age1nonsense"]),
        (2, 2, &["age1nonsense"]),
    ] {
        let options = RekeyOptions {
            shares: InitOptions {
                shares,
                threshold,
                age_recipients: recipients.iter().map(|text| (*text).to_owned()).collect(),
            },
            verify: false,
        };
        said(head.system.rekey_begin(options).await);
        assert!(!head.system.rekey_status().await.unwrap().started);
    }
}

#[tokio::test]
async fn b2_sealing_forgets_both_ceremonies() {
    let (head, keys) = Head::unsealed().await;
    let (new, _, nonce) = handed_out(&head, &keys, two_of_two(true)).await;
    head.system.root_begin(None).await.unwrap();
    head.system.close().await;
    let verify = head.system.rekey_verify(&secret(&new[0]), &nonce).await;
    assert!(said(verify).contains("no rekey"));
    head.open(&keys).await;
    assert!(!head.system.rekey_status().await.unwrap().started);
    assert!(!head.system.root_status().await.unwrap().started);
}

#[tokio::test]
async fn s1_a_crash_at_any_write_of_a_rekey_leaves_one_set_that_opens() {
    for verify in [false, true] {
        let mut opened = Vec::new();
        for fault in [Fault::Lost, Fault::AnswerLost] {
            let (head, keys) = Head::unsealed().await;
            let (new, rekey, nonce) = handed_out(&head, &keys, two_of_two(verify)).await;
            head.store.fail_at(1, fault);
            if verify {
                let first = head.system.rekey_verify(&secret(&new[0]), &nonce).await;
                assert!(!first.unwrap().0);
                let _ = head.system.rekey_verify(&secret(&new[1]), &nonce).await;
            } else {
                let _ = head.system.rekey_finish(&rekey).await;
            }
            let (by_old, by_new) = (
                opens(&head, &keys.shares[..3]).await,
                opens(&head, &new).await,
            );
            assert!(by_old != by_new, "{fault:?}");
            opened.push(by_new);
        }
        assert_eq!(opened, [false, true]);
    }
}

#[tokio::test]
async fn a_root_token_comes_of_a_threshold_and_of_no_less() {
    let (head, keys) = Head::unsealed().await;
    let system = &head.system;
    let (status, otp) = system.root_begin(None).await.unwrap();
    assert!(said(system.root_begin(None).await).contains("already in progress"));
    let otp = otp.unwrap();
    assert_eq!(otp.expose().len(), OTP_LENGTH);
    let mut token = None;
    for share in [0, 0, 1, 2] {
        let share = secret(&keys.shares[share]);
        match system.root_update(&share, &status.nonce).await.unwrap() {
            RootStep::Progress(status) => assert!(status.progress < 3 && status.required == 3),
            RootStep::Token { encoded, .. } => token = Some(encoded),
        }
    }
    let bytes = STANDARD_NO_PAD.decode(token.unwrap().expose()).unwrap();
    let plain = bytes.iter().zip(otp.expose().bytes());
    let token: String = plain.map(|(a, b)| char::from(a ^ b)).collect();
    let entry = head.access.token(&token).await.unwrap().unwrap();
    assert!(entry.record.is_root() && entry.record.orphan());
    assert!(!system.root_status().await.unwrap().started);
    let late = system
        .root_update(&secret(&keys.shares[0]), &status.nonce)
        .await;
    assert!(said(late).contains("no root generation"));
}

#[tokio::test]
async fn cve_2026_5807_a_root_generation_is_not_ended_by_strangers() {
    let (head, keys) = Head::unsealed().await;
    let system = &head.system;
    for otp in ["", "short", &"x".repeat(29), &"ü".repeat(14)] {
        said(system.root_begin(Some(secret(otp))).await);
    }
    let otp = "0123456789012345678901234567";
    let (status, drawn) = system.root_begin(Some(secret(otp))).await.unwrap();
    assert!(drawn.is_none());
    assert!(said(system.root_cancel(Some("x")).await).contains("nonce"));
    let wrong = system.root_update(&secret(&keys.shares[0]), "x").await;
    assert!(said(wrong).contains("nonce"));
    assert!(system.root_status().await.unwrap().started);
    system.root_cancel(Some(&status.nonce)).await.unwrap();
    assert!(!system.root_status().await.unwrap().started);
}

#[tokio::test]
async fn keys_are_turned_over_by_time_if_that_is_configured() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let usual = head.system.rotation(&permit);
    assert_eq!((usual.interval, usual.max_operations), (0, 3_865_470_566));
    for (most, interval) in [(999_999, 0), (3_865_470_567, 0), (1_000_000, 86_399)] {
        let mut config = usual;
        (config.max_operations, config.interval) = (most, interval);
        said(head.system.set_rotation(&permit, config).await);
    }
    let mut config = usual;
    config.interval = 86_400;
    head.system.set_rotation(&permit, config).await.unwrap();
    let term = |head: &Head| head.barrier.key_status().unwrap().term;
    let before = term(&head);
    head.system.round(false).await.unwrap();
    assert_eq!(term(&head), before, "not due yet");
    head.clock.advance(std::time::Duration::from_secs(86_400));
    head.system.round(false).await.unwrap();
    assert_eq!(term(&head), before + 1);
    head.system.round(false).await.unwrap();
    assert_eq!(term(&head), before + 1, "once");
    // Kept across a restart, and off when it is switched off.
    let next = head.crash().await;
    next.open(&keys).await;
    let permit = next.permit(&keys).await;
    assert_eq!(next.system.rotation(&permit), config);
    config.enabled = false;
    next.system.set_rotation(&permit, config).await.unwrap();
    next.clock.advance(std::time::Duration::from_secs(86_400));
    next.system.round(false).await.unwrap();
    assert_eq!(term(&next), before + 1);
}

#[tokio::test]
async fn nothing_happens_before_init() {
    let head = Head::new().await;
    let status = head.system.rekey_status().await;
    assert!(matches!(status, Err(SystemError::NotInitialised)));
    head.system.init(five_of_three()).await.unwrap();
    let begun = head.system.root_begin(None).await;
    let nonce = begun.unwrap().0.nonce;
    let share = secret(&"00".repeat(33));
    let sealed = head.system.root_update(&share, &nonce).await;
    assert!(matches!(sealed, Err(SystemError::Sealed)));
}

/// A zone that is sealed at the moment when new shares are put in force: either they count and the
/// caller learns that they do, or the old ones still open the zone.
#[tokio::test]
async fn attack_a_seal_does_not_lose_the_shares_that_are_put_in_force() {
    let (head, keys) = Head::unsealed().await;
    let (new, nonce, _) = handed_out(&head, &keys, two_of_two(false)).await;
    head.store.hold();
    let system = head.system.clone();
    let sealing = tokio::spawn(async move { system.close().await });
    head.store.arrived().await;
    let system = head.system.clone();
    let finishing = tokio::spawn(async move { system.rekey_finish(&nonce).await });
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    head.store.release();
    sealing.await.unwrap();
    let done = finishing.await.unwrap();
    let (by_old, by_new) = (
        opens(&head, &keys.shares[..3]).await,
        opens(&head, &new).await,
    );
    assert!(
        done.is_ok() == by_new && done.is_ok() != by_old,
        "answer {done:?}, the old shares open: {by_old}, the new ones, which were thrown away: {by_new}"
    );
}
