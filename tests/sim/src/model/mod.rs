//! What the zone must look like, as simply as it can be said. Times are seconds of the zone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use zone_access::{MAX_TTL_SECS, TokenId};
use zone_types::Secret;

use crate::head::Shares;
use crate::step::{Part, Step};

mod keys;
mod lease;
mod login;

pub use keys::{Rekey, Root, Rooting};
pub use lease::{Lease, Mark, PLACES};
pub use login::{Cut, Role, SecretId};

/// Where tokens are made that have a parent.
pub const CREATE: &str = "auth/token/create";
/// The id of a mount that was made by a step that was not answered, until somebody looks.
pub const UNKNOWN: &str = "";

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
    /// Whether nothing of it is stored.
    pub batch: bool,
    /// By which path it was made.
    pub path: String,
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
    /// In the order in which they were given out.
    pub leases: Vec<Lease>,
    /// Revocations by path, of all times.
    pub marks: Vec<Mark>,
    /// The id of the engine's mount, if there is one.
    pub engine: Option<String>,
    /// At which of its two places it hangs.
    pub engine_at: usize,
    /// The id of the auth method's mount, if there is one.
    pub mount: Option<String>,
    /// At which of its two places it hangs.
    pub method_at: usize,
    /// The auth method's role, if there is one.
    pub role: Option<Role>,
    /// In the order in which they were made.
    pub secrets: Vec<SecretId>,
    /// Marks that end batch tokens, of all times.
    pub cuts: Vec<Cut>,
    /// The rekey that is under way.
    pub rekey: Option<Rekey>,
    /// The root token that is being made.
    pub rooting: Option<Rooting>,
    /// Whether anybody ever began to make one.
    pub rooted: bool,
    /// Root tokens that were made.
    pub roots: Vec<Root>,
    /// Root tokens of which nobody heard.
    pub lost_roots: usize,
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
    pub fn new(shares: Shares, mount: String, engine: String, now: i64) -> Self {
        Self {
            tokens: Vec::new(),
            leases: Vec::new(),
            marks: Vec::new(),
            engine: Some(engine),
            engine_at: 0,
            mount: Some(mount),
            method_at: 0,
            role: None,
            secrets: Vec::new(),
            cuts: Vec::new(),
            rekey: None,
            rooting: None,
            rooted: false,
            roots: Vec::new(),
            lost_roots: 0,
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
            if token.ended || unmounted || token.end <= self.now || self.is_marked(token) {
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

    /// Whether a revocation by path, or a mark for batch tokens, has ended a token.
    fn is_marked(&self, token: &Token) -> bool {
        let by_path = |mark: &Mark| {
            let below = match mark.part {
                Part::Method | Part::Logins => token.mount.as_ref() == Some(&mark.mount),
                Part::Created => token.mount.is_none() && token.path == CREATE,
                Part::Engine | Part::Place(_) => false,
            };
            below && !token.batch && token.born <= mark.since
        };
        self.marks.iter().any(by_path) || self.cuts.iter().any(|cut| cut.ends(token))
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
                // A batch token has no record that could be rewritten.
                if token.parent == Some(at) && !token.batch {
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

    /// The zone was sealed, or its process killed.
    pub fn drop_ceremonies(&mut self) {
        (self.rekey, self.rooting) = (None, None);
    }

    /// What the zone may look like after `step`, of which nobody heard more than that `heard` of
    /// its requests were permitted. Tokens and leases that it may have made are added by who finds
    /// them.
    pub fn after(&self, step: &Step, heard: u64) -> Vec<Self> {
        let mut done = self.clone();
        done.after_token(step);
        done.after_lease(step);
        done.after_login(step);
        match *step {
            Step::RaceUse(token, _) => return self.after_race(heard, |it| it.count_use(token)),
            Step::RaceLogIn(secret, _) => {
                return self.after_race(heard, |it| it.use_secret(secret, 1));
            }
            Step::EndRoot(at) => done.roots[at].ended = true,
            Step::RootShare => done.lost_roots += 1,
            _ => {}
        }
        vec![self.clone(), done]
    }

    fn after_token(&mut self, step: &Step) {
        match *step {
            Step::Use(at) => self.count_use(at),
            Step::Renew(at, increment) => self.tokens[at].end = self.renewed(at, increment),
            Step::Revoke(at) | Step::Unwrap(at) | Step::RaceUnwrap(at, _) | Step::Rewrap(at) => {
                self.tokens[at].ended = true;
            }
            Step::RevokeOrphan(at) => self.release(at),
            Step::Keep(at, place) => {
                let value = self.next;
                self.tokens[at].kept.insert(place, value);
            }
            Step::Forget(at, place) => {
                self.tokens[at].kept.remove(&place);
            }
            _ => {}
        }
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
}

/// What becomes of a mount that is taken away, or made anew.
fn turned(mount: Option<&str>) -> Option<String> {
    mount.is_none().then(|| UNKNOWN.to_owned())
}
