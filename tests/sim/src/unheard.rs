//! What nobody heard the end of: the few states that the zone may be in, and which of them it is.

use anyhow::{Result, bail, ensure};

use crate::check::{judge, leases, strays};
use crate::history::History;
use crate::model::{Lease, Model, Token, Verdict};
use crate::step::Step;

impl History<'_> {
    /// Nobody heard how `step` ended: finds out, and follows. `before` is the model from before.
    pub(crate) async fn unheard(
        &mut self,
        before: Model,
        step: &Step,
        heard: u64,
        how: &str,
    ) -> Result<String> {
        let made = strays(&self.head, &before, step).await?;
        let given = leases::strays(&self.head, &before).await?;
        let most = most_made(step);
        ensure!(
            made.len() as u64 <= most.tokens && given.len() as u64 <= most.leases,
            "{} tokens and {} leases of one step",
            made.len(),
            given.len()
        );
        let candidates = candidates(&before, step, heard, &made, &given)?;
        let mut faults = Vec::new();
        let sure = candidates.len() == 1;
        for (at, candidate) in candidates.into_iter().enumerate() {
            match self.fits(candidate, step, &made, &given).await {
                Ok(()) => {
                    let done = match step {
                        Step::RekeyShare(_) | Step::RekeyVerify => {
                            self.model.shares != before.shares
                        }
                        Step::Rotate => self.model.term > before.term,
                        _ if sure => !made.is_empty() || !given.is_empty(),
                        _ => at == 1,
                    };
                    let done = if done { "done" } else { "not done" };
                    return Ok(format!("{how}, {done}"));
                }
                Err(fault) => faults.push(format!("{fault:#}")),
            }
        }
        bail!("half of it is done, or none of what was acknowledged: {faults:?}")
    }

    /// Whether the zone is as `candidate` says, with what `step` made; takes it over.
    async fn fits(
        &mut self,
        mut candidate: Model,
        step: &Step,
        made: &[Token],
        given: &[Lease],
    ) -> Result<()> {
        let Model { now, high, .. } = self.model;
        (candidate.now, candidate.high) = (now, high);
        candidate.shares.clone_from(&self.model.shares);
        candidate.rekey.clone_from(&self.model.rekey);
        candidate.rooting.clone_from(&self.model.rooting);
        candidate.next += 1;
        self.head.name(&mut candidate, step).await?;
        candidate.leases.extend(given.iter().cloned());
        for token in made {
            let same = |other: &Token| other.id == token.id;
            let earlier = candidate.tokens.iter().position(same);
            if let Some(earlier) = earlier {
                let lived = candidate.verdict(earlier) == Verdict::Lives;
                ensure!(!lived, "the id of a living token was given away");
                let earlier = &mut candidate.tokens[earlier];
                (earlier.ended, earlier.text) = (true, None);
                earlier.id.clear();
            }
            candidate.tokens.push(token.clone());
        }
        judge(&self.head, &mut candidate).await?;
        self.model = candidate;
        Ok(())
    }
}

/// Tokens and leases that one step makes at most.
struct Most {
    tokens: u64,
    leases: u64,
}

fn most_made(step: &Step) -> Most {
    let tokens = match *step {
        Step::Create { .. } | Step::Wrap(_) | Step::Rewrap(_) | Step::LogIn(_) => 1,
        Step::RaceLogIn(_, runners) => runners,
        _ => 0,
    };
    let leases = u64::from(matches!(step, Step::Lease { .. }));
    Most { tokens, leases }
}

/// What the zone may look like after `step`, by what it made.
fn candidates(
    before: &Model,
    step: &Step,
    heard: u64,
    made: &[Token],
    given: &[Lease],
) -> Result<Vec<Model>> {
    let mut candidates = before.after(step, heard);
    let stored = !before.role.as_ref().is_some_and(|role| role.batch);
    Ok(match *step {
        // Of batch tokens nothing is stored but the use of the secret id.
        Step::LogIn(_) | Step::RaceLogIn(..) if !stored => candidates,
        Step::RaceLogIn(secret, _) => {
            let logins = made.len() as u64;
            ensure!(logins >= heard, "a login that was answered is lost");
            let mut done = before.clone();
            done.use_secret(secret, logins);
            vec![done]
        }
        _ if most_made(step).tokens + most_made(step).leases > 0 => {
            let took_effect = !made.is_empty() || !given.is_empty();
            vec![candidates.swap_remove(usize::from(took_effect))]
        }
        _ => candidates,
    })
}
