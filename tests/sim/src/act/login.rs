//! `AppRole`: the role, its secret ids, logins; marks that end batch tokens.

use anyhow::{Result, bail};
use zone_access::{CutOff, Permit, TokenChoice};
use zone_auth::{AuthError, NewSecretId, RoleChange, SecretIdAt, TokenChange};

use super::{Answer, permitted};
use crate::head::{HERE, Head};
use crate::model::{Model, Verdict};
use crate::step::Step;

/// Seconds that the token of a login lives.
pub(crate) const LOGIN_TTL: u64 = 900;
/// The role's name.
pub(crate) const ROLE: &str = "web";

pub(super) async fn act(head: &Head, model: &Model, step: &Step) -> Result<Answer> {
    match *step {
        Step::LogIn(secret) => log_in(head, model, secret).await,
        Step::CutOff(of_role) => cut_off(head, model, of_role).await,
        Step::Role(batch) => role(head, model, batch).await,
        Step::SecretId(uses, ttl) => secret_id(head, model, uses, ttl).await,
        Step::Destroy(secret) => {
            let Some(permit) = role_permit(head, model, "/secret-id/destroy").await? else {
                return Ok(Answer::Refused);
            };
            let at = SecretIdAt::Text(&model.secrets[secret].text);
            let ended = head.auth.destroy_secret_id(&permit, at).await;
            Ok(match judged(ended)? {
                Some(true) => Answer::Done,
                Some(false) | None => Answer::Refused,
            })
        }
        Step::Tidy => {
            let path = model.method_path("tidy/secret-id");
            let Some(permit) = permit_at_method(head, model, &path).await? else {
                return Ok(Answer::Refused);
            };
            let tidied = judged(head.auth.tidy_secret_ids(&permit).await)?;
            Ok(tidied.map_or(Answer::Refused, |_| Answer::Done))
        }
        _ => bail!("not about logins"),
    }
}

/// A permit of root below the role, if there is an auth method.
pub(crate) async fn role_permit(head: &Head, model: &Model, rest: &str) -> Result<Option<Permit>> {
    let path = model.method_path(&format!("role/{ROLE}{rest}"));
    permit_at_method(head, model, &path).await
}

async fn permit_at_method(head: &Head, model: &Model, path: &str) -> Result<Option<Permit>> {
    if model.mount.is_none() {
        return Ok(None);
    }
    Ok(Some(head.permit(path).await?))
}

/// A refusal is an answer; what else goes wrong is an error.
pub(crate) fn judged<T>(result: Result<T, AuthError>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(AuthError::Credentials(_) | AuthError::NotFound | AuthError::Missing(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

async fn role(head: &Head, model: &Model, batch: bool) -> Result<Answer> {
    let Some(permit) = role_permit(head, model, "").await? else {
        return Ok(Answer::Refused);
    };
    if model.role.is_some() {
        head.auth.delete_role(&permit).await?;
        return Ok(Answer::Done);
    }
    let kind = if batch {
        TokenChoice::Batch
    } else {
        TokenChoice::Service
    };
    let change = RoleChange {
        token: TokenChange {
            policies: Some(vec!["sim".into()]),
            ttl: Some(LOGIN_TTL),
            token_type: Some(Some(kind)),
            ..TokenChange::default()
        },
        ..RoleChange::default()
    };
    head.auth.write_role(&permit, &change).await?;
    Ok(Answer::Done)
}

async fn secret_id(head: &Head, model: &Model, uses: u64, ttl: u64) -> Result<Answer> {
    let Some(permit) = role_permit(head, model, "/secret-id").await? else {
        return Ok(Answer::Refused);
    };
    let new = NewSecretId {
        custom: Some(model.secret_text()),
        num_uses: Some(uses),
        ttl: Some(ttl),
        ..NewSecretId::default()
    };
    if judged(head.auth.generate_secret_id(&permit, &new).await)?.is_none() {
        return Ok(Answer::Refused);
    }
    Ok(Answer::SecretId(
        role_id(head, model).await?.unwrap_or_default(),
    ))
}

/// What is shown beside a secret id of the role, if there is one.
pub(crate) async fn role_id(head: &Head, model: &Model) -> Result<Option<String>> {
    let Some(permit) = role_permit(head, model, "").await? else {
        return Ok(None);
    };
    let role = judged(head.auth.role(&permit).await)?;
    Ok(role.map(|role| role.role_id))
}

pub(super) async fn log_in(head: &Head, model: &Model, secret: usize) -> Result<Answer> {
    // Without its mount nobody answers there.
    let asked = head.ask(None, &model.method_path("login"), None).await;
    let Some(permit) = permitted(asked)? else {
        return Ok(Answer::Refused);
    };
    let secret = &model.secrets[secret];
    let made = head
        .auth
        .log_in_approle(&permit, &secret.role_id, &secret.text, HERE);
    Ok(judged(made.await)?.map_or(Answer::Refused, Answer::Made))
}

async fn cut_off(head: &Head, model: &Model, of_role: bool) -> Result<Answer> {
    let permit = head.permit("auth/token/revoke-batch").await?;
    let of = match of_role {
        false => CutOff::All,
        true => {
            let Some(mount) = head.access.mount_of(&model.method_path(""))? else {
                return Ok(Answer::Refused);
            };
            CutOff::Role {
                mount: mount.id.clone(),
                name: ROLE.into(),
            }
        }
    };
    head.access.cut_off_batch(&permit, of, None).await?;
    Ok(Answer::Done)
}

/// Whether a login with that secret id has to come through; `None` if nobody knows.
pub(crate) fn comes_through(model: &Model, secret: usize) -> Option<bool> {
    match model.secret_verdict(secret) {
        Verdict::Lives => Some(true),
        Verdict::Gone => Some(false),
        Verdict::Either => None,
    }
}
