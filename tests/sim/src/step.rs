//! What can happen in a history.

use zone_testkit::{Fault, SeededRandom};

/// What a revocation by path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All that the engine gave out.
    Engine,
    /// What it gave out at or below a place.
    Place(u64),
    /// All tokens that the auth method made.
    Method,
    /// The tokens that its logins made: all of them too.
    Logins,
    /// The tokens that `auth/token/create` made.
    Created,
}

/// How a revocation by path is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The engine is asked later.
    Later,
    /// The engine is asked at once.
    Sync,
    /// At once, and let go if it fails.
    Force,
}

/// One step. Tokens, leases and secrets are named by their place in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A token of `by` (`None`: the root token).
    Create {
        /// Who makes it.
        by: Option<usize>,
        /// Whether it has no parent.
        orphan: bool,
        /// Whether nothing of it is stored.
        batch: bool,
        /// Seconds.
        ttl: u64,
        /// Seconds that no renewal passes; zero for none.
        explicit_max: u64,
        /// Uses; zero for any number.
        uses: u64,
        /// A text of the caller's choice.
        custom: Option<u64>,
    },
    /// One request with a token.
    Use(usize),
    /// By so many seconds.
    Renew(usize, u64),
    /// With all below it.
    Revoke(usize),
    /// Its children live on.
    RevokeOrphan(usize),
    /// Ends batch tokens: those of the auth method's role, or all.
    CutOff(bool),
    /// An answer, for so many seconds.
    Wrap(u64),
    /// The answer behind a wrapping token.
    Unwrap(usize),
    /// Moves it to another wrapping token.
    Rewrap(usize),
    /// Writes to a place of a token's cubbyhole.
    Keep(usize, u64),
    /// Removes it there.
    Forget(usize, u64),
    /// So many requests at once with one token.
    RaceUse(usize, u64),
    /// So many at once for one wrapped answer.
    RaceUnwrap(usize, u64),
    /// A number from the engine.
    Lease {
        /// Who gets it (`None`: the root token).
        by: Option<usize>,
        /// Where below the engine.
        place: u64,
        /// Seconds.
        ttl: u64,
        /// Seconds that no renewal passes.
        max: u64,
        /// Whether it can be renewed.
        renewable: bool,
    },
    /// By so many seconds.
    RenewLease(usize, u64),
    /// Perhaps waiting for the engine.
    RevokeLease(usize, bool),
    /// All that was given out below a path.
    RevokePrefix(Part, Manner),
    /// The engine goes away, or comes back.
    Engine,
    /// Takes the engine's mount away, or mounts it anew.
    MountEngine,
    /// Moves its mount.
    MoveEngine,
    /// Takes the auth method away, or mounts it anew.
    Method,
    /// Moves its mount.
    MoveMethod,
    /// Makes the role, for batch tokens or others, or removes it.
    Role(bool),
    /// A secret id of the role for so many uses and seconds; zero for any number.
    SecretId(u64, u64),
    /// Ends a secret id.
    Destroy(usize),
    /// Removes what has ended of them.
    Tidy,
    /// With a secret id.
    LogIn(usize),
    /// So many logins at once with one secret id.
    RaceLogIn(usize, u64),
    /// Begins to replace the shares, perhaps with verification.
    RekeyBegin(bool),
    /// Gives the next share; if it is the last one, the answer may be lost before its face has
    /// seen to it that the new shares reach anybody.
    RekeyShare(bool),
    /// Shows the next new share.
    RekeyVerify,
    /// Begins to show them anew.
    RekeyVerifyAnew,
    /// Gives a share that is not one of those that are asked for.
    RekeyWrong,
    /// Ends it without effect.
    RekeyCancel,
    /// Begins to make a root token.
    RootBegin,
    /// Gives the next share for it.
    RootShare,
    /// Gives a wrong one.
    RootWrong,
    /// Ends it without effect.
    RootCancel,
    /// Revokes a root token.
    EndRoot(usize),
    /// Lets seconds pass.
    Advance(u64),
    /// Sets the clock back by seconds.
    SetBack(u64),
    /// One round of background work.
    Sweep,
    /// Background work until none is left.
    Settle,
    /// A new key term.
    Rotate,
    /// Seals and unseals.
    Reseal,
    /// The process is killed and another one started.
    Kill,
}

impl Step {
    /// For the report: the name without its fields.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        let end = text.find([' ', '(', '{']).unwrap_or(text.len());
        text[..end].to_owned()
    }

    /// Whether holders of shares do it together: what they have done so far is in memory only.
    pub fn is_ceremony(&self) -> bool {
        self.name().starts_with("Rekey") || self.name().starts_with("Root")
    }
}

/// What goes wrong, and at which commit from now on: in about one step of four something does.
pub fn fault(random: &SeededRandom) -> Option<(u64, Fault)> {
    let fault = match random.below(36) {
        0..3 => Fault::CrashBefore,
        3..6 => Fault::CrashAfter,
        6 => Fault::Lost,
        7 => Fault::AnswerLost,
        8 => Fault::Full,
        _ => return None,
    };
    Some((1 + random.below(3), fault))
}
