//! Whether one set of rules grants all that another one does (attack 8: whoever may write
//! policies must not grant himself more than he holds).
//!
//! The answer errs on one side only: `true` is proved, `false` may mean "not proved". A policy
//! that is covered only by several of the caller's patterns together needs sudo to be written,
//! and so does one so large that the proof takes more than [`MOST_STEPS`] comparisons.

use crate::Acl;
use crate::acl::Rule;

/// Comparisons of two patterns before a proof is given up; some 50 ms.
const MOST_STEPS: usize = 1_000_000;

impl Acl {
    /// Whether each request that `other` allows is allowed by these rules too.
    ///
    /// For each rule of `other`: the best of our patterns that contain its pattern must give at
    /// least as much, and so must each better one of ours that meets it, unless `other` itself
    /// has a better rule for all that this one matches. That excuse does not count for what
    /// templates could give ([`Acl::widest`]): filled in, they may be the better rule.
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_root() {
            return true;
        }
        let ours: Vec<&Rule> = self.all_rules().collect();
        let theirs: Vec<&Rule> = other.all_rules().collect();
        // Each rule of theirs meets each of ours, and where it falls short each of theirs.
        let pairs =
            (theirs.len() + other.wide.len()).saturating_mul(ours.len() + self.barred.len());
        let steps = pairs.saturating_mul(2);
        let mut left = MOST_STEPS.saturating_sub(steps);
        !other.is_root()
            && steps <= MOST_STEPS
            && (theirs.iter()).all(|rule| covers_rule(&ours, rule, &theirs, &mut left))
            && (other.wide.iter()).all(|rule| covers_rule(&ours, rule, &[], &mut left))
            && !self.bars_part_of(other, &theirs)
    }

    /// Whether a denial of ours that comes before all rules meets something that `other` grants,
    /// unless `other` has it too.
    fn bars_part_of(&self, other: &Self, theirs: &[&Rule]) -> bool {
        let both = |bar: &Rule| {
            let same = |known: &Rule| known.pattern.text() == bar.pattern.text();
            other.barred.iter().any(same)
        };
        let granting = |rule: &&Rule| !rule.permissions.grants_nothing();
        self.barred.iter().filter(|bar| !both(bar)).any(|bar| {
            let meets = |rule: &Rule| rule.pattern.meets(&bar.pattern);
            (theirs.iter().copied().chain(&other.wide))
                .filter(granting)
                .any(meets)
        })
    }
}

/// `excuses`: the rules that may be better than `theirs`.
fn covers_rule(ours: &[&Rule], theirs: &Rule, excuses: &[&Rule], left: &mut usize) -> bool {
    if theirs.permissions.grants_nothing() {
        return true;
    }
    let containing = (ours.iter().copied()).filter(|mine| mine.pattern.contains(&theirs.pattern));
    let Some(base) = containing.max_by(|a, b| a.pattern.rank().cmp(&b.pattern.rank())) else {
        return false;
    };
    let better = (ours.iter().copied()).filter(|mine| {
        mine.pattern.rank() > base.pattern.rank() && mine.pattern.meets(&theirs.pattern)
    });
    let overridden = |mine: &Rule| {
        excuses.iter().any(|over| {
            over.pattern.rank() > theirs.pattern.rank() && over.pattern.contains(&mine.pattern)
        })
    };
    std::iter::once(base).chain(better).all(|mine| {
        if mine.permissions.covers(&theirs.permissions) {
            return true;
        }
        match left.checked_sub(excuses.len()) {
            Some(rest) => *left = rest,
            None => return false,
        }
        overridden(mine)
    })
}
