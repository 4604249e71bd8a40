//! What the zone must look like, as simply as it can be said. Times are seconds of the zone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use zone_access::{MAX_TTL_SECS, TokenId};
use zone_types::Secret;

use crate::head::Shares;
use crate::step::{SECRETS, Step};

/// One token that somebody made, whatever became of it.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its HMAC, as it stands in storage keys; empty once another token has the same.
    pub id: String,
    /// The same for those who revoke it; `None` if its making was never answered.
    pub handle: Option<TokenId>,
    /// What its holder presents; `None` if its making was never answered.
    pub text: Option<Secret<String>>,
    /// Its accessor.
    pub accessor: String,
    /// Whose end ends it.
    pub parent: Option<usize>,
    /// How many ancestors it has.
    pub depth: usize,
    /// When it was made.
    pub born: i64,
    /// For how long.
    pub ttl: u64,
    /// What no renewal passes; zero for none.
    pub explicit_max: u64,
    /// When it ends.
    pub end: i64,
    /// Uses left; zero for any number, unless it has ended.
    pub uses: u64,
    /// It was told to end, or has been removed: it never counts again.
    pub ended: bool,
    /// Made by this mount of the auth method.
    pub mount: Option<String>,
    /// The custom id that it has.
    pub custom: Option<u64>,
    /// What a wrapping token opens.
    pub wraps: Option<u64>,
    /// What its cubbyhole holds.
    pub kept: BTreeMap<u64, u64>,
}

impl Token {
    /// Whether its holder can make requests with it.
    pub fn is_usable(&self) -> bool {
        self.text.is_some() && self.wraps.is_none()
    }
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Lives,
    /// It does not.
    Gone,
    /// It ended by a clock that was set back since, in a process that was killed: it may have been
    /// removed already, or count for the time by which the clock is wrong.
    Either,
}

/// The zone.
#[derive(Clone, Debug)]
pub struct Model {
    /// In the order in which they were made.
    pub tokens: Vec<Token>,
    /// Uses left of each secret.
    pub secrets: Vec<u64>,
    /// The id of the auth method's mount, if there is one.
    pub mount: Option<String>,
    /// What opens the zone.
    pub shares: Shares,
    /// The key term, or a later one.
    pub term: u32,
    /// The zone's time.
    pub now: i64,
    /// The latest time that the zone had.
    pub high: i64,
    /// The zone's time at its last background work.
    pub swept: i64,
    /// Numbers what is kept and wrapped.
    pub next: u64,
}

impl Model {
    /// The zone as it begins.
    pub fn new(shares: Shares, mount: String, now: i64) -> Self {
        Self {
            tokens: Vec::new(),
            secrets: vec![0; usize::try_from(SECRETS).unwrap_or_default()],
            mount: Some(mount),
            shares,
            term: 1,
            now,
            high: now,
            swept: now,
            next: 1,
        }
    }

    /// What the model knows of a token.
    pub fn verdict(&self, at: usize) -> Verdict {
        let (mut at, mut verdict) = (at, Verdict::Lives);
        loop {
            let token = &self.tokens[at];
            let unmounted = token.mount.is_some() && token.mount != self.mount;
            if token.ended || unmounted || token.end <= self.now {
                return Verdict::Gone;
            }
            if token.end <= self.high {
                verdict = Verdict::Either;
            }
            match token.parent {
                Some(parent) => at = parent,
                None => return verdict,
            }
        }
    }

    /// The zone was seen to hold, or not to hold, that a token counts.
    pub fn see(&mut self, at: usize, lives: bool) -> Result<()> {
        let verdict = self.verdict(at);
        ensure!(
            verdict != Verdict::Lives || lives,
            "token {at} does not count: {:?}",
            self.tokens[at]
        );
        ensure!(
            verdict != Verdict::Gone || !lives,
            "token {at} counts again: {:?}",
            self.tokens[at]
        );
        if verdict == Verdict::Either && !lives {
            self.tokens[at].ended = true;
        }
        Ok(())
    }

    /// A use was permitted.
    pub fn count_use(&mut self, at: usize) {
        let token = &mut self.tokens[at];
        if token.uses > 0 {
            token.uses -= 1;
            token.ended |= token.uses == 0;
        }
    }

    /// When a renewal lets a token end.
    pub fn renewed(&self, at: usize, increment: u64) -> i64 {
        let token = &self.tokens[at];
        let wanted = if increment > 0 { increment } else { token.ttl };
        let mut end = self.now.saturating_add_unsigned(wanted);
        if token.explicit_max > 0 {
            end = end.min(token.born.saturating_add_unsigned(token.explicit_max));
        }
        end.min(token.born.saturating_add_unsigned(MAX_TTL_SECS))
    }

    /// Ends a token; those that it made live on.
    pub fn release(&mut self, at: usize) {
        // Who has ended with an ancestor stays so.
        if self.verdict(at) == Verdict::Lives {
            for token in &mut self.tokens {
                if token.parent == Some(at) {
                    token.parent = None;
                }
            }
        }
        self.tokens[at].ended = true;
    }

    /// The tokens that the store knows by these ids.
    pub fn ids(&self) -> BTreeSet<&str> {
        let ids = self.tokens.iter().map(|token| token.id.as_str());
        ids.filter(|id| !id.is_empty()).collect()
    }

    /// What the zone may look like after `step`, of which nobody heard more than that `heard` of
    /// its requests were permitted. Tokens that it may have made are added by who finds them.
    pub fn after(&self, step: &Step, heard: u64) -> Vec<Self> {
        let mut done = self.clone();
        match *step {
            Step::Use(at) => done.count_use(at),
            Step::Renew(at, increment) => done.tokens[at].end = self.renewed(at, increment),
            Step::Revoke(at) | Step::Unwrap(at) | Step::RaceUnwrap(at, _) => {
                done.tokens[at].ended = true;
            }
            Step::Rewrap(at) => done.tokens[at].ended = true,
            Step::RevokeOrphan(at) => done.release(at),
            Step::Keep(at, place) => {
                done.tokens[at].kept.insert(place, self.next);
            }
            Step::Forget(at, place) => {
                done.tokens[at].kept.remove(&place);
            }
            Step::LogIn(secret) => done.use_secret(secret, 1),
            Step::Secret(secret, uses) => done.secrets[at(secret)] = uses,
            Step::RaceUse(token, _) => return self.after_race(heard, |it| it.count_use(token)),
            Step::RaceLogIn(secret, _) => {
                return self.after_race(heard, |it| it.use_secret(secret, 1));
            }
            Step::Method if self.mount.is_some() => done.mount = None,
            _ => {}
        }
        vec![self.clone(), done]
    }

    /// `heard` requests were permitted, and perhaps one more.
    fn after_race(&self, heard: u64, one: impl Fn(&mut Self)) -> Vec<Self> {
        let mut told = self.clone();
        for _ in 0..heard {
            one(&mut told);
        }
        let mut more = told.clone();
        one(&mut more);
        vec![told, more]
    }

    /// A secret was used.
    pub fn use_secret(&mut self, secret: u64, uses: u64) {
        let left = &mut self.secrets[at(secret)];
        *left = left.saturating_sub(uses);
    }
}

/// A number of a secret as its place.
pub fn at(secret: u64) -> usize {
    usize::try_from(secret).expect("secrets are few")
}
