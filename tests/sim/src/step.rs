//! What can happen in a history, drawn from its seed.

use zone_testkit::{Fault, SeededRandom};

use crate::model::Model;

/// Custom token ids that are used again and again.
const CUSTOM_IDS: u64 = 2;
/// Secrets of the auth method.
pub const SECRETS: u64 = 2;
/// Most tokens that a history makes.
const MOST_TOKENS: usize = 40;

/// One step. Tokens are named by their place in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A token of `by` (`None`: the root token).
    Create {
        /// Who makes it.
        by: Option<usize>,
        /// Whether it has no parent.
        orphan: bool,
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
    /// With a secret that can be used so often.
    LogIn(u64),
    /// Gives a secret so many uses.
    Secret(u64, u64),
    /// Takes the auth method away, or mounts it anew.
    Method,
    /// So many requests at once with one token.
    RaceUse(usize, u64),
    /// So many at once for one wrapped answer.
    RaceUnwrap(usize, u64),
    /// So many logins at once with one secret.
    RaceLogIn(u64, u64),
    /// Lets seconds pass.
    Advance(u64),
    /// Sets the clock back by seconds.
    SetBack(u64),
    /// One round of background work.
    Sweep,
    /// Background work until none is left.
    Settle,
    /// New shares.
    Rekey,
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
}

/// Draws what happens next.
pub fn next(random: &SeededRandom, model: &Model) -> Step {
    let roll = random.below(100);
    let token = pick(random, model, |token| token.is_usable());
    let wrapped = pick(random, model, |token| {
        token.wraps.is_some() && token.text.is_some()
    });
    let limited = pick(random, model, |token| {
        token.is_usable() && token.uses > 0 && !token.ended
    });
    let full = model.tokens.len() >= MOST_TOKENS;
    match (roll, token, wrapped) {
        (0..24, ..) if !full => create(random, model),
        (0..32, Some(token), _) => Step::Use(token),
        (32..38, Some(token), _) => Step::Renew(token, random.below(5) * 400),
        (38..44, Some(token), _) => Step::Revoke(token),
        (44..48, Some(token), _) => Step::RevokeOrphan(token),
        (48..52, ..) if !full => Step::Wrap(30 + random.below(3000)),
        (52..55, _, Some(wrapped)) => Step::Unwrap(wrapped),
        (55..57, _, Some(wrapped)) if !full => Step::Rewrap(wrapped),
        (57..62, Some(token), _) => Step::Keep(token, random.below(3)),
        (62..64, Some(token), _) => Step::Forget(token, random.below(3)),
        (64..68, ..) if !full => log_in(random, model),
        (68, ..) => Step::Secret(random.below(SECRETS), 1 + random.below(4)),
        (69..71, ..) => Step::Method,
        (71..74, ..) if limited.is_some() => {
            Step::RaceUse(limited.unwrap_or_default(), 2 + random.below(4))
        }
        (74..76, _, Some(wrapped)) => Step::RaceUnwrap(wrapped, 2 + random.below(3)),
        (76..78, ..) if !full => Step::RaceLogIn(random.below(SECRETS), 2 + random.below(3)),
        (78..82, ..) => Step::Advance([1, 20, 300, 900, 4000][below(random, 5)]),
        (82, ..) => Step::SetBack([1, 30, 600, 5000][below(random, 4)]),
        (83..90, ..) => Step::Sweep,
        (90..92, ..) => Step::Settle,
        (92..94, ..) => Step::Rekey,
        (94, ..) => Step::Rotate,
        (95, ..) => Step::Reseal,
        (96..99, ..) => Step::Kill,
        _ => token.map_or(Step::Sweep, Step::Use),
    }
}

fn log_in(random: &SeededRandom, model: &Model) -> Step {
    let secret = random.below(SECRETS);
    match model.secrets[crate::model::at(secret)] {
        0 if random.below(2) == 0 => Step::Secret(secret, 1 + random.below(4)),
        _ => Step::LogIn(secret),
    }
}

fn create(random: &SeededRandom, model: &Model) -> Step {
    let by = match random.below(3) {
        0 => None,
        _ => pick(random, model, |token| {
            token.is_usable() && token.uses == 0 && !token.ended && token.depth < 6
        }),
    };
    let custom = (by.is_none() && random.below(6) == 0).then(|| random.below(CUSTOM_IDS));
    Step::Create {
        by,
        orphan: random.below(4) == 0,
        ttl: [40, 600, 3600, 100_000][below(random, 4)],
        explicit_max: [0, 0, 900][below(random, 3)],
        uses: if random.below(3) == 0 {
            1 + random.below(4)
        } else {
            0
        },
        custom,
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

/// A token that `suits`, more likely one of the last ones.
fn pick(
    random: &SeededRandom,
    model: &Model,
    suits: impl Fn(&crate::model::Token) -> bool,
) -> Option<usize> {
    let all: Vec<usize> = (0..model.tokens.len())
        .filter(|at| suits(&model.tokens[*at]))
        .collect();
    if all.is_empty() {
        return None;
    }
    let back = below(random, all.len()).min(below(random, all.len()));
    Some(all[all.len() - 1 - back])
}

fn below(random: &SeededRandom, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).expect("it is below a usize")
}
