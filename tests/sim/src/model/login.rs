//! The role of the auth method, its secret ids, and marks that end batch tokens.

use anyhow::{Result, ensure};
use zone_types::Secret;

use super::{Model, Token, Verdict};
use crate::head::METHODS;
use crate::step::Step;

/// The role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Tells it from others of the same name.
    pub number: u64,
    /// Whether it makes batch tokens.
    pub batch: bool,
}

/// One secret id that was made, whatever became of it.
#[derive(Clone, Debug)]
pub struct SecretId {
    /// What is shown at a login.
    pub text: Secret<String>,
    /// What is shown beside it.
    pub role_id: String,
    /// The role that it belongs to.
    pub role: u64,
    /// Whether its uses are counted.
    pub counted: bool,
    /// Uses that are left.
    pub uses: u64,
    /// When it ends.
    pub end: i64,
    /// It has ended.
    pub ended: bool,
}

/// A mark that ends batch tokens.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Those of this mount's role; `None` for all.
    pub mount: Option<String>,
    /// That were made up to then.
    pub since: i64,
}

impl Cut {
    pub(super) fn ends(&self, token: &Token) -> bool {
        let whose = self.mount.is_none() || self.mount == token.mount;
        token.batch && whose && token.born <= self.since
    }
}

impl Model {
    /// What the model knows of a secret id.
    pub fn secret_verdict(&self, at: usize) -> Verdict {
        let secret = &self.secrets[at];
        let role = self.role.as_ref().map(|role| role.number);
        if secret.ended || role != Some(secret.role) || secret.end <= self.now {
            return Verdict::Gone;
        }
        match secret.end <= self.high {
            true => Verdict::Either,
            false => Verdict::Lives,
        }
    }

    /// The zone was seen to hold, or not to hold, that a secret id counts.
    pub fn see_secret(&mut self, at: usize, lives: bool) -> Result<()> {
        let verdict = self.secret_verdict(at);
        let secret = &mut self.secrets[at];
        ensure!(
            verdict != Verdict::Lives || lives,
            "secret id {at} does not count: {secret:?}"
        );
        ensure!(
            verdict != Verdict::Gone || !lives,
            "secret id {at} counts again: {secret:?}"
        );
        secret.ended |= verdict == Verdict::Either && !lives;
        Ok(())
    }

    /// A secret id was used so often.
    pub fn use_secret(&mut self, at: usize, uses: u64) {
        let secret = &mut self.secrets[at];
        if secret.counted {
            secret.uses = secret.uses.saturating_sub(uses);
            secret.ended |= secret.uses == 0;
        }
    }

    /// Batch tokens that were made up to now have ended.
    pub fn cut_off(&mut self, of_role: bool) {
        let mount = if of_role { self.mount.clone() } else { None };
        if mount.is_some() || !of_role {
            let since = self.now;
            self.cuts.push(Cut { mount, since });
        }
    }

    /// A path below the auth method.
    pub fn method_path(&self, rest: &str) -> String {
        format!("{}{rest}", METHODS[self.method_at])
    }

    /// What becomes of the auth method by `step`.
    pub(super) fn after_login(&mut self, step: &Step) {
        match *step {
            Step::Method => {
                self.mount = super::turned(self.mount.as_deref());
                self.role = None;
            }
            Step::MoveMethod if self.mount.is_some() => self.method_at = 1 - self.method_at,
            Step::Role(batch) if self.mount.is_some() => {
                let number = self.next;
                let new = Role { number, batch };
                self.role = self.role.is_none().then_some(new);
            }
            Step::SecretId(uses, ttl) => self.secrets.extend(self.new_secret(uses, ttl)),
            Step::Destroy(at) => self.secrets[at].ended = true,
            Step::LogIn(at) | Step::RaceLogIn(at, _) => self.use_secret(at, 1),
            Step::CutOff(of_role) => self.cut_off(of_role),
            _ => {}
        }
    }

    /// A secret id that is made now; its role id is filled in by who knows it.
    pub fn new_secret(&self, uses: u64, ttl: u64) -> Option<SecretId> {
        let role = self.role.as_ref()?.number;
        let end = match ttl {
            0 => i64::MAX,
            ttl => self.now.saturating_add_unsigned(ttl),
        };
        Some(SecretId {
            text: self.secret_text(),
            role_id: String::new(),
            role,
            counted: uses > 0,
            uses,
            end,
            ended: false,
        })
    }

    /// The text of a secret id that is made now.
    pub fn secret_text(&self) -> Secret<String> {
        Secret::new(format!("secret-{}", self.next))
    }
}
