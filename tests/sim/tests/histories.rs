//! The histories that CI runs, and that they would notice a zone that breaks its promises.

use zone_sim::{HISTORIES, Sabotage, Sim, run_all, seed_asked_for};

/// What once failed, and a seed that showed it. What a seed draws changes with `step`; keep a seed
/// that shows it still, found without the fix.
const REGRESSIONS: &[(&str, u64)] = &[
    ("the old token of a rewrapped answer still counted", 136),
    ("children of an ended token were released", 2644),
    (
        "a batch token counted again with its parent's custom id",
        2828,
    ),
];

/// What the histories have to meet to be worth something.
const MET: &[&str] = &[
    "Create: crash, done",
    "Create: crash, not done",
    "Create: failed, not done",
    "CutOff: crash, done",
    "CutOff: crash, not done",
    "Destroy: crash, done",
    "EndRoot: crash, done",
    "Kill: done",
    "Lease: crash, done",
    "Lease: crash, not done",
    "LogIn: crash, done",
    "LogIn: heard",
    "LogIn: refused",
    "MountEngine: crash, done",
    "MoveEngine: crash, done",
    "MoveEngine: crash, not done",
    "MoveMethod: crash, done",
    "MoveMethod: crash, not done",
    "RaceLogIn: crash, done",
    "RaceUnwrap: crash, done",
    "RaceUse: crash, done",
    "RaceUse: crash, not done",
    "RekeyShare: crash, done",
    "RekeyShare: crash, not done",
    "RekeyShare: failed, not done",
    "RekeyVerify: crash, done",
    "RekeyVerify: crash, not done",
    "RekeyVerify: failed, not done",
    "RenewLease: crash, done",
    "Revoke: crash, done",
    "RevokeLease: crash, done",
    "RevokeOrphan: crash, done",
    "RevokePrefix: crash, done",
    "RevokePrefix: crash, not done",
    "Rewrap: crash, done",
    "Role: crash, done",
    "RootShare: crash, done",
    "RootShare: crash, not done",
    "SecretId: crash, done",
    "Settle: crash, not done",
    "Unwrap: crash, done",
    "Unwrap: refused",
    "Use: crash, done",
    "Use: refused",
    "Wrap: crash, done",
];

#[test]
fn s1_ten_thousand_histories_keep_every_promise_across_crashes() {
    if let Some(seed) = seed_asked_for().unwrap() {
        if let Err(failure) = Sim::new().run(seed, None) {
            panic!("{failure}");
        }
        return;
    }
    let report = match run_all(0..HISTORIES) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    };
    for what in MET {
        assert!(report.met.contains_key(*what), "never met: {what}");
    }
}

#[test]
fn seeds_that_failed_once_hold() {
    let sim = Sim::new();
    for (about, seed) in REGRESSIONS {
        if let Err(failure) = sim.run(*seed, None) {
            panic!("{about}: {failure}");
        }
    }
}

#[test]
fn t1_a_seed_replays_its_history() {
    let (first, second) = (Sim::new(), Sim::new());
    for seed in 0..40 {
        let (_, once) = first.run_traced(seed, None).unwrap();
        let (_, again) = second.run_traced(seed, None).unwrap();
        assert_eq!(once, again, "seed {seed}");
    }
}

/// How many of a hundred histories notice.
fn noticed(sabotage: Sabotage) -> usize {
    let sim = Sim::new();
    let notices = |seed: &u64| sim.run(*seed, Some(sabotage)).is_err();
    (0..100).filter(notices).count()
}

#[test]
fn s1_a_store_that_forgets_what_it_acknowledged_is_noticed() {
    let noticed = noticed(Sabotage::Forgets);
    assert!(noticed > 50, "{noticed} of 100");
}

#[test]
fn s1_a_store_that_tears_a_group_is_noticed() {
    let noticed = noticed(Sabotage::Tears);
    assert!(noticed > 20, "{noticed} of 100");
}
