//! Leases, and the mount that gives them.

use anyhow::{Context, Result, ensure};
use zone_access::Lease as Given;
use zone_types::Timestamp;

use crate::act::Answer;
use crate::history::History;
use crate::model::Lease;
use crate::step::Step;

impl History<'_> {
    pub(super) fn follow_lease(&mut self, step: &Step, answer: Answer) -> Result<()> {
        match (step, answer) {
            (Step::Lease { .. }, Answer::Leased(given)) => self.given(step, &given),
            (Step::Lease { by, .. }, _) => self.not_given(*by),
            (Step::RenewLease(lease, increment), Answer::Until(end)) => {
                self.model.see_lease(*lease, true)?;
                let want = self.model.lease_renewed(*lease, *increment);
                ensure!(want == Some(end), "renewed until {end}, not {want:?}");
                self.model.leases[*lease].end = end;
                Ok(())
            }
            (Step::RenewLease(lease, increment), _) => {
                let counted = self.model.lease_renewed(*lease, *increment).is_none();
                match counted {
                    true => Ok(()),
                    false => self.model.see_lease(*lease, false),
                }
            }
            (Step::RevokeLease(lease, _), _) => {
                self.model.leases[*lease].ended = true;
                Ok(())
            }
            (Step::RevokePrefix(part, manner), _) => {
                self.model.revoke_part(*part, *manner);
                Ok(())
            }
            (Step::MountEngine, Answer::Mounted(mount)) => {
                self.model.engine = mount;
                Ok(())
            }
            (_, Answer::Done) => {
                ensure!(self.model.engine.is_some(), "nothing was moved");
                self.model.engine_at = 1 - self.model.engine_at;
                Ok(())
            }
            _ => {
                ensure!(self.model.engine.is_none(), "a mount was not moved");
                Ok(())
            }
        }
    }

    fn given(&mut self, step: &Step, given: &Given) -> Result<()> {
        let Step::Lease {
            by,
            place,
            ttl,
            max,
            renewable,
        } = *step
        else {
            return Ok(());
        };
        if let Some(by) = by {
            self.model.see(by, true)?;
        }
        let (owner, most) = self.model.lease_owner(by);
        let born = given.issue_time.secs();
        let last = born.saturating_add_unsigned(max.max(ttl)).min(most);
        let uid = given.id.rsplit('/').next().context("a uid")?.to_owned();
        let end = given.expire_time.map(Timestamp::secs);
        let want = born.saturating_add_unsigned(ttl).min(last);
        ensure!(end == Some(want), "a lease until {end:?}, not {want}");
        let mount = self.model.engine.clone();
        self.model.leases.push(Lease {
            id: given.id.clone(),
            uid,
            number: self.model.next,
            mount: mount.context("a lease of no mount")?,
            place,
            owner,
            born,
            ttl,
            last,
            end: want,
            renewable,
            ended: false,
        });
        self.model.next += 1;
        Ok(())
    }

    fn not_given(&mut self, by: Option<usize>) -> Result<()> {
        match by {
            _ if self.model.engine.is_none() => Ok(()),
            Some(by) => self.model.see(by, false),
            None => {
                ensure!(false, "root was refused");
                Ok(())
            }
        }
    }
}
