//! Ceremonies: what was begun, given, shown; what counts then.

use anyhow::{Context, Result, ensure};

use crate::act::Answer;
use crate::head::SHARING;
use crate::history::History;
use crate::model::{Rekey, Root, Rooting};
use crate::step::Step;

impl History<'_> {
    pub(super) fn follow_keys(&mut self, step: &Step, answer: Answer) -> Result<()> {
        match step {
            Step::RekeyBegin(_)
            | Step::RekeyShare(_)
            | Step::RekeyVerify
            | Step::RekeyVerifyAnew
            | Step::RekeyCancel => self.follow_rekey(step, answer),
            Step::EndRoot(root) => {
                self.model.roots[*root].ended = true;
                Ok(())
            }
            _ => self.follow_root(step, answer),
        }
    }

    fn follow_rekey(&mut self, step: &Step, answer: Answer) -> Result<()> {
        let none = self.model.rekey.is_none();
        match (step, answer) {
            (Step::RekeyBegin(verify), Answer::Began(nonce, _)) => {
                ensure!(none, "a second rekey");
                self.model.rekey = Some(Rekey {
                    nonce,
                    verify: *verify,
                    given: 0,
                    offered: None,
                    shown: 0,
                });
            }
            (Step::RekeyVerifyAnew, Answer::Began(nonce, _)) => {
                let rekey = self.model.rekey.as_mut().context("no rekey")?;
                rekey.shown = 0;
                rekey.offered.as_mut().context("no shares")?.0 = nonce;
            }
            (Step::RekeyShare(_), Answer::Done) => {
                let rekey = self.model.rekey.as_mut().context("no rekey")?;
                rekey.given += 1;
                let threshold = usize::from(SHARING.threshold);
                ensure!(rekey.given < threshold, "a rekey hangs");
            }
            (Step::RekeyShare(_), Answer::Offered(nonce, shares)) => {
                let rekey = self.model.rekey.as_mut().context("no rekey")?;
                rekey.offered = Some((nonce, shares));
            }
            (_, Answer::Lost(shares)) => {
                self.model.rekey = None;
                self.retire(&shares);
            }
            // The shares themselves are taken over by who asks.
            (_, Answer::Rekeyed) => {
                self.model.rekey = None;
                if let Some(rooting) = &mut self.model.rooting {
                    rooting.outdated = rooting.given > 0;
                }
            }
            (Step::RekeyVerify, Answer::Done) => {
                let rekey = self.model.rekey.as_mut().context("no rekey")?;
                rekey.shown += 1;
            }
            (Step::RekeyCancel, _) => self.drop_rekey(),
            (Step::RekeyBegin(_), _) => ensure!(!none, "a rekey was refused"),
            (Step::RekeyShare(_), _) => {
                let rekey = self.model.rekey.as_ref();
                let open = rekey.is_some_and(|rekey| rekey.offered.is_none());
                ensure!(!open, "a share was refused");
            }
            (_, _) => {
                let rekey = self.model.rekey.as_ref();
                let shown = rekey.is_some_and(|rekey| rekey.offered.is_some());
                ensure!(!shown, "a new share was refused");
            }
        }
        Ok(())
    }

    fn follow_root(&mut self, step: &Step, answer: Answer) -> Result<()> {
        let none = self.model.rooting.is_none();
        match (step, answer) {
            (Step::RootBegin, Answer::Began(nonce, otp)) => {
                ensure!(none, "a second root token");
                let otp = otp.context("a password")?;
                let (given, outdated) = (0, false);
                self.model.rooted = true;
                self.model.rooting = Some(Rooting {
                    nonce,
                    otp,
                    given,
                    outdated,
                });
            }
            (Step::RootBegin, _) => ensure!(!none, "a root token was refused"),
            (Step::RootShare, Answer::Done) => {
                let rooting = self.model.rooting.as_mut().context("no root token")?;
                if std::mem::take(&mut rooting.outdated) {
                    rooting.given = 0;
                }
                rooting.given += 1;
            }
            (Step::RootShare, Answer::Root(text, id)) => {
                let rooting = self.model.rooting.take().context("no root token")?;
                let given = rooting.given + 1;
                let threshold = usize::from(SHARING.threshold);
                let enough = given == threshold && !rooting.outdated;
                ensure!(enough, "a root token of {given} shares: {rooting:?}");
                let ended = false;
                self.model.roots.push(Root { text, id, ended });
            }
            (Step::RootShare, _) => ensure!(none, "a share was refused"),
            (Step::RootCancel, _) => self.model.rooting = None,
            _ => {}
        }
        Ok(())
    }

    /// The rekey has ended without effect.
    pub(crate) fn drop_rekey(&mut self) {
        let offered = self.model.rekey.take().and_then(|rekey| rekey.offered);
        if let Some((_, shares)) = offered {
            self.retire(&shares);
        }
    }
}
