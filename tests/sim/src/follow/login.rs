//! The auth method, its role, secret ids and logins.

use anyhow::{Result, ensure};
use zone_access::Created;

use crate::act::Answer;
use crate::act::login::comes_through;
use crate::history::History;
use crate::model::Role;
use crate::step::Step;

impl History<'_> {
    pub(super) fn follow_login(&mut self, step: &Step, answer: Answer) -> Result<()> {
        let there = self.model.mount.is_some();
        let model = &mut self.model;
        match (step, answer) {
            (Step::Method, Answer::Mounted(mount)) => {
                (model.mount, model.role) = (mount, None);
            }
            (Step::MoveMethod, Answer::Done) => {
                ensure!(there, "nothing was moved");
                model.method_at = 1 - model.method_at;
            }
            (Step::Role(batch), Answer::Done) => {
                ensure!(there, "a role of no mount");
                let number = model.next;
                let batch = *batch;
                model.role = model.role.is_none().then_some(Role { number, batch });
                model.next += 1;
            }
            (Step::SecretId(uses, ttl), Answer::SecretId(role_id)) => {
                let made = model.new_secret(*uses, *ttl);
                ensure!(made.is_some(), "a secret id of no role");
                model.secrets.extend(made);
                if let Some(made) = model.secrets.last_mut() {
                    made.role_id = role_id;
                }
                model.next += 1;
            }
            (Step::SecretId(..), _) => ensure!(model.role.is_none(), "the role is lost"),
            // One that has ended may still be there.
            (Step::Destroy(secret), Answer::Done) => model.secrets[*secret].ended = true,
            (Step::Destroy(secret), _) => model.see_secret(*secret, false)?,
            (Step::CutOff(of_role), Answer::Done) => model.cut_off(*of_role),
            (Step::LogIn(secret), Answer::Made(made)) => {
                return self.logged_in(*secret, 1, 1, &[made]);
            }
            (Step::LogIn(secret), _) => return self.logged_in(*secret, 1, 0, &[]),
            (Step::RaceLogIn(secret, runners), Answer::Won(won, made)) => {
                return self.logged_in(*secret, *runners, won, &made);
            }
            (Step::Tidy, Answer::Done) => ensure!(there, "a mount that is not there"),
            (Step::CutOff(_), _) => ensure!(!there, "no mark was made"),
            _ => ensure!(!there, "the auth method is lost"),
        }
        Ok(())
    }

    fn logged_in(&mut self, secret: usize, runners: u64, won: u64, made: &[Created]) -> Result<()> {
        let SecretUses { counted, left } = self.uses_of(secret);
        let most = if counted { left.min(runners) } else { runners };
        let want = match comes_through(&self.model, secret) {
            Some(true) => most,
            Some(false) => 0,
            None if won > 0 => most,
            None => 0,
        };
        ensure!(
            won == want,
            "{won} logins of {runners} with {left} uses, not {want}"
        );
        self.model.see_secret(secret, won > 0)?;
        self.model.use_secret(secret, won);
        for made in made {
            self.add_token(made, None, None);
        }
        Ok(())
    }

    fn uses_of(&self, secret: usize) -> SecretUses {
        let secret = &self.model.secrets[secret];
        SecretUses {
            counted: secret.counted,
            left: secret.uses,
        }
    }
}

struct SecretUses {
    counted: bool,
    left: u64,
}
