//! What happens next, drawn from the history's seed. Each history has a theme, so that those steps
//! meet that have to do with each other.

use zone_testkit::SeededRandom;

use crate::model::{Model, Token};
use crate::step::{Manner, Part, Step};

/// Custom token ids that are used again and again.
const CUSTOM_IDS: u64 = 2;
/// Most tokens that a history makes.
const MOST_TOKENS: usize = 40;
/// Most leases.
const MOST_LEASES: usize = 30;

/// What most steps of a history are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Tokens, wrapping, cubbyholes.
    Tokens,
    /// Leases, and the mounts that gave them.
    Leases,
    /// `AppRole` and batch tokens.
    Logins,
    /// Shares and root tokens.
    Keys,
}

impl Theme {
    /// The theme of `seed`.
    pub fn of(seed: u64) -> Self {
        match seed % 4 {
            0 => Self::Tokens,
            1 => Self::Leases,
            2 => Self::Logins,
            _ => Self::Keys,
        }
    }
}

/// Draws what happens next.
pub fn next(random: &SeededRandom, theme: Theme, model: &Model) -> Step {
    match random.below(100) {
        0..55 => of_theme(random, theme, model),
        55..68 => around(random),
        68..88 => token(random, model),
        88..92 => lease(random, model),
        92..96 => login(random, model),
        _ => ceremony(random, model),
    }
}

fn of_theme(random: &SeededRandom, theme: Theme, model: &Model) -> Step {
    match theme {
        Theme::Tokens => token(random, model),
        Theme::Leases => lease(random, model),
        Theme::Logins => login(random, model),
        Theme::Keys => ceremony(random, model),
    }
}

/// Time, background work, keys and the process.
fn around(random: &SeededRandom) -> Step {
    match random.below(20) {
        0..4 => Step::Advance([1, 20, 300, 900, 4000][below(random, 5)]),
        4 => Step::SetBack([1, 30, 600, 5000][below(random, 4)]),
        5..11 => Step::Sweep,
        11..13 => Step::Settle,
        13 => Step::Rotate,
        14 => Step::Reseal,
        15 => Step::Method,
        16 => Step::MoveMethod,
        _ => Step::Kill,
    }
}

fn token(random: &SeededRandom, model: &Model) -> Step {
    let usable = pick(random, model, Token::is_usable);
    let service = pick(random, model, |token| token.is_usable() && !token.batch);
    let wrapped = pick(random, model, |token| {
        token.wraps.is_some() && token.text.is_some()
    });
    let limited = pick(random, model, |token| {
        token.is_usable() && token.uses > 0 && !token.ended
    });
    let full = model.tokens.len() >= MOST_TOKENS;
    match (random.below(76), service, wrapped) {
        (0..24, ..) if !full => create(random, model),
        (24..32, ..) => usable.map_or(Step::Sweep, Step::Use),
        (32..38, Some(token), _) => Step::Renew(token, random.below(5) * 400),
        (38..44, Some(token), _) => Step::Revoke(token),
        (44..48, Some(token), _) => Step::RevokeOrphan(token),
        (48..52, ..) if !full => Step::Wrap(30 + random.below(3000)),
        (52..55, _, Some(wrapped)) => Step::Unwrap(wrapped),
        (55..57, _, Some(wrapped)) if !full => Step::Rewrap(wrapped),
        (57..62, Some(token), _) => Step::Keep(token, random.below(3)),
        (62..64, Some(token), _) => Step::Forget(token, random.below(3)),
        (64..68, ..) if limited.is_some() => {
            Step::RaceUse(limited.unwrap_or_default(), 2 + random.below(4))
        }
        (68..71, _, Some(wrapped)) => Step::RaceUnwrap(wrapped, 2 + random.below(3)),
        (71, ..) => Step::CutOff(random.below(2) == 0),
        (72, ..) => Step::RevokePrefix(Part::Created, manner(random)),
        _ => usable.map_or(Step::Sweep, Step::Use),
    }
}

fn create(random: &SeededRandom, model: &Model) -> Step {
    let by = match random.below(3) {
        0 => None,
        _ => pick(random, model, |token| {
            token.is_usable() && token.uses == 0 && !token.ended && !token.batch && token.depth < 6
        }),
    };
    let batch = random.below(6) == 0;
    let custom = by.is_none() && !batch && random.below(6) == 0;
    Step::Create {
        by,
        orphan: random.below(4) == 0,
        batch,
        ttl: [40, 600, 3600, 100_000][below(random, 4)],
        explicit_max: [0, 0, 900][if batch { 0 } else { below(random, 3) }],
        uses: match random.below(3) {
            0 if !batch => 1 + random.below(4),
            _ => 0,
        },
        custom: custom.then(|| random.below(CUSTOM_IDS)),
    }
}

fn lease(random: &SeededRandom, model: &Model) -> Step {
    let lease = (!model.leases.is_empty()).then(|| {
        let back = below(random, model.leases.len()).min(below(random, model.leases.len()));
        model.leases.len() - 1 - back
    });
    let full = model.leases.len() >= MOST_LEASES;
    match (random.below(60), lease) {
        (0..26, _) if !full => give(random, model),
        (26..32, Some(lease)) => Step::RenewLease(lease, random.below(4) * 500),
        (32..38, Some(lease)) => Step::RevokeLease(lease, random.below(2) == 0),
        (38..42, _) => {
            let parts = [Part::Engine, Part::Place(0), Part::Place(1), Part::Place(2)];
            Step::RevokePrefix(parts[below(random, 4)], manner(random))
        }
        (42..46, _) => Step::Engine,
        (46..48, _) => Step::MountEngine,
        (48..51, _) => Step::MoveEngine,
        (51..55, _) => pick(random, model, |token| token.is_usable() && !token.batch)
            .map_or(Step::Sweep, Step::Revoke),
        (55..58, _) => create(random, model),
        _ => Step::Sweep,
    }
}

fn give(random: &SeededRandom, model: &Model) -> Step {
    let by = match random.below(3) {
        0 => None,
        _ => pick(random, model, |token| token.is_usable() && token.uses == 0),
    };
    Step::Lease {
        by,
        place: random.below(3),
        ttl: [20, 600, 5000][below(random, 3)],
        max: [600, 2000, 20_000][below(random, 3)],
        renewable: random.below(4) > 0,
    }
}

fn login(random: &SeededRandom, model: &Model) -> Step {
    if model.mount.is_none() {
        return Step::Method;
    }
    if model.role.is_none() && random.below(4) > 0 {
        return Step::Role(random.below(3) == 0);
    }
    let full = model.tokens.len() >= MOST_TOKENS;
    let secret = (!model.secrets.is_empty()).then(|| {
        let back = below(random, model.secrets.len()).min(below(random, model.secrets.len()));
        model.secrets.len() - 1 - back
    });
    match (random.below(50), secret) {
        (0..12, _) | (_, None) => {
            let ttl = [0, 30, 600, 5000][below(random, 4)];
            Step::SecretId(random.below(4), ttl)
        }
        (12..26, Some(secret)) if !full => Step::LogIn(secret),
        (26..33, Some(secret)) if !full && model.secrets[secret].counted => {
            Step::RaceLogIn(secret, 2 + random.below(3))
        }
        (33..36, Some(secret)) => Step::Destroy(secret),
        (36..38, _) => Step::Tidy,
        (38..40, _) => Step::Role(random.below(3) == 0),
        (40..42, _) => Step::CutOff(random.below(3) > 0),
        (42, _) => Step::Method,
        (43..45, _) => Step::MoveMethod,
        (45, _) => {
            let parts = [Part::Method, Part::Logins];
            Step::RevokePrefix(parts[model.tokens.len() % 2], manner(random))
        }
        _ => pick(random, model, |token| {
            token.is_usable() && token.mount.is_some()
        })
        .map_or(Step::Tidy, |token| match random.below(2) {
            0 => Step::Use(token),
            _ => Step::Renew(token, random.below(3) * 400),
        }),
    }
}

fn ceremony(random: &SeededRandom, model: &Model) -> Step {
    if random.below(3) == 0 {
        return root_token(random, model);
    }
    let Some(rekey) = &model.rekey else {
        return match random.below(12) {
            0 => Step::RekeyShare(false),
            1 => Step::RekeyVerify,
            2 => Step::RekeyCancel,
            _ => Step::RekeyBegin(random.below(2) == 0),
        };
    };
    match (random.below(16), &rekey.offered) {
        (0, _) => Step::RekeyCancel,
        (1, _) => Step::RekeyWrong,
        (2, _) => Step::RekeyBegin(false),
        (3, Some(_)) => Step::RekeyShare(false),
        (3, None) => Step::RekeyVerify,
        (4, Some(_)) => Step::RekeyVerifyAnew,
        (_, Some(_)) => Step::RekeyVerify,
        (_, None) => Step::RekeyShare(random.below(8) == 0),
    }
}

fn root_token(random: &SeededRandom, model: &Model) -> Step {
    let roots: Vec<usize> = (0..model.roots.len())
        .filter(|at| !model.roots[*at].ended)
        .collect();
    match (random.below(12), model.rooting.is_some()) {
        (0, true) => Step::RootCancel,
        (1, true) => Step::RootWrong,
        (2..4, _) if !roots.is_empty() => Step::EndRoot(roots[below(random, roots.len())]),
        (_, true) => Step::RootShare,
        (_, false) => Step::RootBegin,
    }
}

fn manner(random: &SeededRandom) -> Manner {
    [Manner::Later, Manner::Sync, Manner::Force][below(random, 3)]
}

/// A token that `suits`, more likely one of the last ones.
fn pick(random: &SeededRandom, model: &Model, suits: impl Fn(&Token) -> bool) -> Option<usize> {
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
