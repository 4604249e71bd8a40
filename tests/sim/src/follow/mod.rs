//! What the model says to an answer, and becomes by it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use zone_access::{Created, TokenEntry, TokenKind};
use zone_types::{Secret, Timestamp};

use crate::act::Answer;
use crate::history::History;
use crate::model::{Token, Verdict};
use crate::step::Step;

mod keys;
mod lease;
mod login;

impl History<'_> {
    /// Takes over what was acknowledged, if it may be so.
    pub(crate) fn follow(&mut self, step: &Step, answer: Answer) -> Result<()> {
        match (*step).clone() {
            Step::Create { .. } => return self.created(step, answer),
            Step::Use(token) => {
                let permitted = matches!(answer, Answer::Done);
                self.model.see(token, permitted)?;
                if permitted {
                    self.model.count_use(token);
                }
            }
            Step::Renew(token, increment) => return self.renewed(token, increment, &answer),
            Step::Revoke(token) | Step::RevokeOrphan(token)
                if matches!(answer, Answer::Refused) =>
            {
                self.model.see(token, false)?;
            }
            Step::Revoke(token) => self.model.tokens[token].ended = true,
            Step::RevokeOrphan(token) => self.model.release(token),
            Step::Wrap(_) | Step::Rewrap(_) => return self.wrapped(step, &answer),
            Step::Unwrap(token) => return self.unwrapped(token, &answer),
            Step::Keep(token, place) => {
                let permitted = matches!(answer, Answer::Done);
                self.model.see(token, permitted)?;
                if permitted {
                    let value = self.model.next;
                    self.model.tokens[token].kept.insert(place, value);
                    self.model.next += 1;
                }
            }
            Step::Forget(token, place) => {
                self.model.see(token, matches!(answer, Answer::Done))?;
                self.model.tokens[token].kept.remove(&place);
            }
            Step::RaceUse(token, runners) => return self.raced(token, runners, &answer),
            Step::RaceUnwrap(token, _) => {
                let Answer::Won(won, _) = answer else {
                    bail!("no race")
                };
                ensure!(won <= 1, "a wrapped answer was opened {won} times");
                self.model.see(token, won == 1)?;
                self.model.tokens[token].ended |= won == 1;
            }
            Step::Sweep | Step::Settle => self.model.swept = self.model.now,
            Step::Method
            | Step::MoveMethod
            | Step::Role(_)
            | Step::SecretId(..)
            | Step::Destroy(_)
            | Step::Tidy
            | Step::LogIn(_)
            | Step::RaceLogIn(..)
            | Step::CutOff(_) => return self.follow_login(step, answer),
            Step::Lease { .. }
            | Step::RenewLease(..)
            | Step::RevokeLease(..)
            | Step::RevokePrefix(..)
            | Step::MountEngine
            | Step::MoveEngine => return self.follow_lease(step, answer),
            _ if step.is_ceremony() || matches!(step, Step::EndRoot(_)) => {
                return self.follow_keys(step, answer);
            }
            _ => {}
        }
        Ok(())
    }

    fn created(&mut self, step: &Step, answer: Answer) -> Result<()> {
        let Step::Create {
            by, orphan, custom, ..
        } = *step
        else {
            bail!("no creation")
        };
        let taken =
            |token: &Token| custom.is_some() && token.custom == custom && !token.id.is_empty();
        let taken = self.model.tokens.iter().position(taken);
        if let Answer::Made(made) = answer {
            if let Some(by) = by {
                self.model.see(by, true)?;
            }
            if let Some(taken) = taken {
                let lives = self.model.verdict(taken) == Verdict::Lives;
                ensure!(!lives, "the id of a living token was given away");
                self.give_away(taken);
            }
            let parent = by.filter(|_| !orphan);
            self.add_token(&made, parent, custom);
            return Ok(());
        }
        match by {
            Some(by) => self.model.see(by, false),
            // The record of a token that has ended may still be there.
            None => {
                ensure!(taken.is_some(), "root was refused");
                Ok(())
            }
        }
    }

    /// Another token has the id of this one from now on.
    fn give_away(&mut self, token: usize) {
        let token = &mut self.model.tokens[token];
        (token.ended, token.text) = (true, None);
        token.id.clear();
    }

    fn add_token(&mut self, made: &Created, parent: Option<usize>, custom: Option<u64>) {
        let token = self.token(&made.text, &made.entry, parent, custom);
        self.model.tokens.push(token);
    }

    fn token(
        &self,
        text: &Secret<String>,
        entry: &TokenEntry,
        parent: Option<usize>,
        custom: Option<u64>,
    ) -> Token {
        let record = &entry.record;
        Token {
            id: entry.id.as_str().to_owned(),
            handle: Some(entry.id.clone()),
            text: Some(text.clone()),
            accessor: record.accessor.clone(),
            parent,
            depth: parent.map_or(0, |parent| self.model.tokens[parent].depth + 1),
            batch: entry.kind == TokenKind::Batch,
            path: record.path.clone(),
            born: record.creation_time.secs(),
            ttl: record.creation_ttl,
            explicit_max: record.explicit_max_ttl,
            end: record.expire_time.map_or(i64::MAX, Timestamp::secs),
            uses: record.num_uses,
            ended: false,
            mount: record.auth_mount.as_ref().map(ToString::to_string),
            custom,
            wraps: None,
            kept: BTreeMap::new(),
        }
    }

    fn renewed(&mut self, token: usize, increment: u64, answer: &Answer) -> Result<()> {
        self.model.see(token, matches!(answer, Answer::Until(_)))?;
        if let Answer::Until(end) = *answer {
            let want = self.model.renewed(token, increment);
            let Token {
                batch,
                mount,
                end: old,
                ..
            } = &self.model.tokens[token];
            // The role has its say once more.
            let roleless = mount.is_some() && self.model.role.is_none();
            let refused = (want <= self.model.now || roleless || *batch) && end == *old;
            ensure!(end == want || refused, "renewed until {end}, not {want}");
            self.model.tokens[token].end = end;
        }
        Ok(())
    }

    fn wrapped(&mut self, step: &Step, answer: &Answer) -> Result<()> {
        let mut content = self.model.next;
        if let Step::Rewrap(old) = *step {
            let moved = matches!(answer, Answer::Wrapped(_));
            self.model.see(old, moved)?;
            content = self.model.tokens[old].wraps.context("it wraps")?;
            self.model.tokens[old].ended |= moved;
        }
        if let Answer::Wrapped(made) = answer {
            let mut token = self.token(&made.text, &made.entry, None, None);
            (token.uses, token.wraps) = (0, Some(content));
            self.model.tokens.push(token);
            self.model.next += 1;
        }
        Ok(())
    }

    fn unwrapped(&mut self, token: usize, answer: &Answer) -> Result<()> {
        self.model
            .see(token, matches!(answer, Answer::Content(_)))?;
        if let Answer::Content(content) = *answer {
            let want = self.model.tokens[token].wraps;
            ensure!(want == Some(content), "{content} was wrapped as {want:?}");
            self.model.tokens[token].ended = true;
        }
        Ok(())
    }

    fn raced(&mut self, token: usize, runners: u64, answer: &Answer) -> Result<()> {
        let Answer::Won(won, _) = *answer else {
            bail!("no race")
        };
        let uses = self.model.tokens[token].uses;
        let want = if uses == 0 {
            runners
        } else {
            uses.min(runners)
        };
        let lives = won > 0;
        ensure!(
            won == want || !lives,
            "{won} of {runners} requests with {uses} uses"
        );
        self.model.see(token, lives)?;
        for _ in 0..won {
            self.model.count_use(token);
        }
        Ok(())
    }
}
