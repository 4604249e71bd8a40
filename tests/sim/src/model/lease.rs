//! Leases, and what ended many of them at once.

use anyhow::{Result, ensure};

use super::{CREATE, Model, Verdict};
use crate::head::{ENGINES, METHODS};
use crate::step::{Manner, Part, Step};

/// Where below the engine leases are given out. The second is below the first, the third is not.
pub const PLACES: [&str; 3] = ["issue/a", "issue/a/x", "issue/ab"];

fn place_of(place: u64) -> &'static str {
    PLACES[usize::try_from(place).expect("places are few")]
}

/// One lease that somebody was given, whatever became of it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Its id, as it was handed out.
    pub id: String,
    /// The last part of it.
    pub uid: String,
    /// What it stands for.
    pub number: u64,
    /// The mount that gave it.
    pub mount: String,
    /// Where below the mount.
    pub place: u64,
    /// Whose end ends it; `None` for nobody's, and root's.
    pub owner: Option<usize>,
    /// When it was given.
    pub born: i64,
    /// For how long.
    pub ttl: u64,
    /// When it ends at the latest.
    pub last: i64,
    /// When it ends.
    pub end: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// It was told to end, or was seen to have ended.
    pub ended: bool,
}

/// A revocation by path: what was given out up to then has ended.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Which part.
    pub part: Part,
    /// Of which mount; empty for the token mount.
    pub mount: String,
    /// The path as it was asked for.
    pub prefix: String,
    /// Up to when.
    pub since: i64,
    /// Whether leases are let go if the engine does not take them back.
    pub force: bool,
}

impl Mark {
    fn ends(&self, lease: &Lease) -> bool {
        let covered = match self.part {
            Part::Engine => true,
            Part::Place(place) => place == lease.place || (place, lease.place) == (0, 1),
            Part::Method | Part::Logins | Part::Created => false,
        };
        covered && self.mount == lease.mount && lease.born <= self.since
    }
}

impl Model {
    /// What the model knows of a lease.
    pub fn lease_verdict(&self, at: usize) -> Verdict {
        let lease = &self.leases[at];
        let marked = self.marks.iter().any(|mark| mark.ends(lease));
        let unmounted = self.engine.as_ref() != Some(&lease.mount);
        let owner = lease.owner.map_or(Verdict::Lives, |at| self.verdict(at));
        if lease.ended || marked || unmounted || lease.end <= self.now || owner == Verdict::Gone {
            return Verdict::Gone;
        }
        match lease.end <= self.high {
            true => Verdict::Either,
            false => owner,
        }
    }

    /// Whether a lease may be let go although the engine did not take it back.
    pub fn is_forced(&self, lease: &Lease) -> bool {
        self.marks.iter().any(|mark| mark.force && mark.ends(lease))
    }

    /// The zone was seen to hold, or not to hold, that a lease counts.
    pub fn see_lease(&mut self, at: usize, lives: bool) -> Result<()> {
        let verdict = self.lease_verdict(at);
        let lease = &mut self.leases[at];
        ensure!(
            verdict != Verdict::Lives || lives,
            "lease {at} does not count: {lease:?}"
        );
        ensure!(
            verdict != Verdict::Gone || !lives,
            "lease {at} counts again: {lease:?}"
        );
        lease.ended |= verdict == Verdict::Either && !lives;
        Ok(())
    }

    /// When a renewal lets a lease end; `None` if it is refused.
    pub fn lease_renewed(&self, at: usize, increment: u64) -> Option<i64> {
        let lease = &self.leases[at];
        let wanted = if increment > 0 { increment } else { lease.ttl };
        let end = self.now.saturating_add_unsigned(wanted).min(lease.last);
        (lease.renewable && end > self.now).then_some(end)
    }

    /// Whose end ends a lease that `by` is given, and when that is at the latest: a batch token
    /// has no record that could end it.
    pub fn lease_owner(&self, by: Option<usize>) -> (Option<usize>, i64) {
        match by.map(|by| (by, &self.tokens[by])) {
            Some((_, token)) if token.batch => (token.parent, token.end),
            Some((by, _)) => (Some(by), i64::MAX),
            None => (None, i64::MAX),
        }
    }

    /// What was given out below `part` has ended.
    pub fn revoke_part(&mut self, part: Part, manner: Manner) {
        let mount = match part {
            Part::Engine | Part::Place(_) => self.engine.clone(),
            Part::Method | Part::Logins => self.mount.clone(),
            Part::Created => Some(String::new()),
        };
        let Some(mount) = mount else { return };
        let mark = Mark {
            part,
            mount,
            prefix: self.prefix_of(part),
            since: self.now,
            force: manner == Manner::Force,
        };
        self.marks.push(mark);
    }

    /// By which path the engine is asked for something.
    pub fn engine_path(&self, place: u64) -> String {
        format!("{}{}", ENGINES[self.engine_at], place_of(place))
    }

    /// The path of a part, without `/` at the end.
    pub fn prefix_of(&self, part: Part) -> String {
        match part {
            Part::Engine => ENGINES[self.engine_at].trim_end_matches('/').to_owned(),
            Part::Place(place) => self.engine_path(place),
            Part::Method => METHODS[self.method_at].trim_end_matches('/').to_owned(),
            Part::Logins => self.method_path("login"),
            Part::Created => CREATE.to_owned(),
        }
    }

    /// The id of a lease: as it was handed out, or with the path where its mount hangs now.
    pub fn lease_id(&self, at: usize) -> String {
        let lease = &self.leases[at];
        match lease.number % 2 {
            0 => lease.id.clone(),
            _ => format!("{}/{}", self.engine_path(lease.place), lease.uid),
        }
    }

    /// What becomes of leases and their engine by `step`.
    pub(super) fn after_lease(&mut self, step: &Step) {
        match *step {
            Step::RenewLease(at, increment) => {
                if let Some(end) = self.lease_renewed(at, increment) {
                    self.leases[at].end = end;
                }
            }
            Step::RevokeLease(at, _) => self.leases[at].ended = true,
            Step::RevokePrefix(part, manner) => self.revoke_part(part, manner),
            Step::MountEngine => self.engine = super::turned(self.engine.as_deref()),
            Step::MoveEngine if self.engine.is_some() => self.engine_at = 1 - self.engine_at,
            _ => {}
        }
    }
}
