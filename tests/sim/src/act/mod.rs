//! Does one step in the zone, as a client would, and brings back what the client heard.

use std::cell::{Cell, RefCell};

use anyhow::{Context, Result, bail};
use futures::future::join_all;
use serde_json::value::RawValue;
use zeroize::Zeroizing;
use zone_access::{
    AccessError, CreateToken, Created, Lease, MountKind, Permit, Refusal, RefusalKind, TokenId,
    TokenKind, Wrapped, WrappedAnswer,
};
use zone_barrier::BarrierError;
use zone_types::{Secret, Timestamp};

use crate::check::custom_id;
use crate::head::{ENGINES, Head, METHODS, Shares};
use crate::model::{Model, Token};
use crate::step::Step;

mod keys;
mod lease;
pub(crate) mod login;

/// What a client heard.
pub(crate) enum Answer {
    /// It may not, or there is nothing.
    Refused,
    /// It is done.
    Done,
    /// A new token.
    Made(Created),
    /// A new wrapping token.
    Wrapped(Wrapped),
    /// What was wrapped.
    Content(u64),
    /// A renewed token ends then.
    Until(i64),
    /// So many of a race were permitted, and these tokens made.
    Won(u64, Vec<Created>),
    /// A mount that was made; `None` for one that was taken away.
    Mounted(Option<String>),
    /// A number as a lease.
    Leased(Lease),
    /// A secret id, to be shown with this role id.
    SecretId(String),
    /// A ceremony has begun, under this nonce; with its password if it has one.
    Began(String, Option<Secret<String>>),
    /// New shares that do not count yet, and the nonce for showing them.
    Offered(String, Shares),
    /// New shares that will never count.
    Lost(Shares),
    /// The new shares are the zone's.
    Rekeyed,
    /// A root token.
    Root(Secret<String>, TokenId),
}

/// What is known of a step although it may never be answered.
#[derive(Default)]
pub(crate) struct Aside {
    /// Requests of a race that were answered.
    pub(crate) heard: Cell<u64>,
    /// Shares that were handed out and do not count yet.
    pub(crate) offered: RefCell<Option<Shares>>,
}

/// Whether nobody knows if the step was done: the store failed.
pub(crate) fn is_unheard(error: &anyhow::Error) -> bool {
    let of_barrier = |error: &BarrierError| !matches!(error, BarrierError::Sealed);
    error.chain().any(|cause| {
        let access = cause.downcast_ref::<AccessError>();
        let barrier = cause.downcast_ref::<BarrierError>();
        matches!(access, Some(AccessError::Barrier(_))) || barrier.is_some_and(of_barrier)
    })
}

/// Does `step`. An error that [`is_unheard`] stands for a lost answer, any other for a fault.
pub(crate) async fn act(head: &Head, model: &Model, step: &Step, aside: &Aside) -> Result<Answer> {
    match *step {
        Step::Create { .. } => create(head, model, step).await,
        Step::Use(token) => {
            let asked = ask(head, &model.tokens[token], "sys/mounts").await?;
            Ok(asked.map_or(Answer::Refused, |_| Answer::Done))
        }
        Step::Renew(token, increment) => renew(head, &model.tokens[token], increment).await,
        Step::Revoke(token) => {
            let Some(id) = id_of(head, &model.tokens[token]).await? else {
                return Ok(Answer::Refused);
            };
            head.access.revoke_token(&id).await?;
            Ok(Answer::Done)
        }
        Step::RevokeOrphan(token) => {
            let Some(id) = id_of(head, &model.tokens[token]).await? else {
                return Ok(Answer::Refused);
            };
            head.access.revoke_orphan(&id).await?;
            Ok(Answer::Done)
        }
        Step::Wrap(ttl) => wrap(head, model.next, ttl).await,
        Step::Unwrap(token) => unwrap(head, &model.tokens[token]).await,
        Step::Rewrap(token) => rewrap(head, &model.tokens[token]).await,
        Step::Keep(token, place) => keep(head, &model.tokens[token], place, Some(model.next)).await,
        Step::Forget(token, place) => keep(head, &model.tokens[token], place, None).await,
        Step::Method | Step::MountEngine | Step::MoveMethod | Step::MoveEngine => {
            mounts(head, model, step).await
        }
        Step::Lease { .. }
        | Step::RenewLease(..)
        | Step::RevokeLease(..)
        | Step::RevokePrefix(..)
        | Step::Engine => lease::act(head, model, step).await,
        Step::CutOff(_)
        | Step::Role(_)
        | Step::SecretId(..)
        | Step::Destroy(_)
        | Step::Tidy
        | Step::LogIn(_) => login::act(head, model, step).await,
        Step::RaceUse(..) | Step::RaceUnwrap(..) | Step::RaceLogIn(..) => {
            race(head, model, step, aside).await
        }
        Step::Sweep => {
            head.system.round(false).await?;
            Ok(Answer::Done)
        }
        Step::Settle => {
            while head.system.round(false).await? {}
            Ok(Answer::Done)
        }
        Step::Rotate => {
            let permit = head.permit("sys/rotate").await?;
            head.system.rotate(&permit).await?;
            Ok(Answer::Done)
        }
        Step::Advance(_) | Step::SetBack(_) | Step::Reseal | Step::Kill => {
            bail!("not a request")
        }
        _ => keys::act(head, model, step, aside).await,
    }
}

/// A permit, or `None` for a refusal.
async fn ask(head: &Head, token: &Token, path: &str) -> Result<Option<Permit>> {
    permitted(head.ask(token.text.as_ref(), path, None).await)
}

fn permitted(asked: Result<Permit, Refusal>) -> Result<Option<Permit>> {
    match asked {
        Ok(permit) => Ok(Some(permit)),
        Err(refusal) => match refusal.kind {
            RefusalKind::NoToken | RefusalKind::NoMount => Ok(None),
            RefusalKind::Failed(error) => Err(error.into()),
            other => bail!("refused: {other:?}, {}", refusal.reason),
        },
    }
}

/// A refusal is an answer; what else goes wrong is an error.
fn refused<T>(result: Result<T, AccessError>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(AccessError::Invalid(_) | AccessError::Missing(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// Whom a revocation is about, also if it does not count any more: its record may still be there.
async fn id_of(head: &Head, token: &Token) -> Result<Option<TokenId>> {
    if token.handle.is_some() {
        return Ok(token.handle.clone());
    }
    let text = token.text.as_ref().context("a text")?;
    let found = head.access.token(text.expose()).await?;
    Ok(found.map(|entry| entry.id.clone()))
}

async fn create(head: &Head, model: &Model, step: &Step) -> Result<Answer> {
    let Step::Create {
        by,
        orphan,
        batch,
        ttl,
        explicit_max,
        uses,
        custom,
    } = *step
    else {
        bail!("not a creation")
    };
    let root = head.world.root.clone();
    let text = by.map_or(Some(&root), |by| model.tokens[by].text.as_ref());
    let path = if orphan {
        "auth/token/create-orphan"
    } else {
        "auth/token/create"
    };
    let Some(permit) = permitted(head.ask(text, path, None).await)? else {
        return Ok(Answer::Refused);
    };
    let ask = CreateToken {
        id: custom.map(custom_id),
        policies: vec!["sim".into()],
        renewable: true,
        kind: batch.then_some(TokenKind::Batch),
        ttl,
        explicit_max_ttl: explicit_max,
        num_uses: uses,
        ..CreateToken::default()
    };
    let made = refused(head.access.create_token(&permit, ask).await)?;
    Ok(made.map_or(Answer::Refused, Answer::Made))
}

async fn renew(head: &Head, token: &Token, increment: u64) -> Result<Answer> {
    let text = token.text.as_ref().context("a text")?;
    let permit = head.permit("auth/token/renew").await?;
    let Some(found) = head.access.token(text.expose()).await? else {
        return Ok(Answer::Refused);
    };
    let renewed = head.access.renew_token(&permit, &found, increment).await;
    Ok(match refused(renewed)? {
        Some(entry) => {
            let end = entry.record.expire_time.map(Timestamp::secs);
            Answer::Until(end.context("a renewed token ends")?)
        }
        None => Answer::Until(found.record.expire_time.map_or(0, Timestamp::secs)),
    })
}

async fn wrap(head: &Head, content: u64, ttl: u64) -> Result<Answer> {
    let asked = head
        .ask(Some(&head.world.root), "sys/mounts", Some(ttl))
        .await;
    let permit = permitted(asked)?.context("root may wrap")?;
    let answer = WrappedAnswer {
        status: 200,
        body: Zeroizing::new(content.to_string().into_bytes()),
        wrapped_accessor: None,
    };
    Ok(Answer::Wrapped(head.access.wrap(&permit, answer).await?))
}

async fn unwrap(head: &Head, token: &Token) -> Result<Answer> {
    let text = token.text.as_ref().context("a text")?;
    let permit = head.permit("sys/wrapping/unwrap").await?;
    let answer = head.access.unwrap_answer(&permit, text.expose()).await;
    Ok(match refused(answer)? {
        Some(answer) => Answer::Content(std::str::from_utf8(&answer.body)?.parse()?),
        None => Answer::Refused,
    })
}

async fn rewrap(head: &Head, token: &Token) -> Result<Answer> {
    let text = token.text.as_ref().context("a text")?;
    let permit = head.permit("sys/wrapping/rewrap").await?;
    let wrapped = refused(head.access.rewrap(&permit, text.expose()).await)?;
    Ok(wrapped.map_or(Answer::Refused, Answer::Wrapped))
}

async fn keep(head: &Head, token: &Token, place: u64, value: Option<u64>) -> Result<Answer> {
    let Some(permit) = ask(head, token, &format!("cubbyhole/{place}")).await? else {
        return Ok(Answer::Refused);
    };
    match value {
        Some(value) => {
            let data = RawValue::from_string(value.to_string())?;
            head.access.cubbyhole_write(&permit, data).await?;
        }
        None => head.access.cubbyhole_delete(&permit).await?,
    }
    Ok(Answer::Done)
}

/// Takes a mount away, makes it anew, or moves it.
async fn mounts(head: &Head, model: &Model, step: &Step) -> Result<Answer> {
    let method = matches!(step, Step::Method | Step::MoveMethod);
    let (places, at, kind, there) = match method {
        true => (METHODS, model.method_at, MountKind::AppRole, &model.mount),
        false => (ENGINES, model.engine_at, MountKind::Pki, &model.engine),
    };
    let (here, other) = (places[at], places[1 - at]);
    if matches!(step, Step::MoveMethod | Step::MoveEngine) {
        let permit = head.permit("sys/remount").await?;
        let moved = head.access.remount(&permit, here, other).await;
        return Ok(refused(moved)?.map_or(Answer::Refused, |_| Answer::Done));
    }
    if there.is_none() {
        return Ok(Answer::Mounted(Some(head.mount(kind, here).await?)));
    }
    let permit = head.permit("sys/mounts").await?;
    match method {
        true => head.access.disable_auth(&permit, here).await?,
        false => head.access.disable(&permit, here).await?,
    }
    Ok(Answer::Mounted(None))
}

async fn race(head: &Head, model: &Model, step: &Step, aside: &Aside) -> Result<Answer> {
    let runners = match step {
        Step::RaceUse(_, runners) | Step::RaceUnwrap(_, runners) | Step::RaceLogIn(_, runners) => {
            *runners
        }
        _ => 0,
    };
    let one = || async {
        let answer = match *step {
            Step::RaceUse(token, _) => {
                let asked = ask(head, &model.tokens[token], "sys/mounts").await?;
                asked.map_or(Answer::Refused, |_| Answer::Done)
            }
            Step::RaceUnwrap(token, _) => unwrap(head, &model.tokens[token]).await?,
            Step::RaceLogIn(secret, _) => login::log_in(head, model, secret).await?,
            _ => Answer::Refused,
        };
        if !matches!(answer, Answer::Refused) {
            aside.heard.set(aside.heard.get() + 1);
        }
        anyhow::Ok(answer)
    };
    let mut made = Vec::new();
    for answer in join_all((0..runners).map(|_| one())).await {
        if let Answer::Made(token) = answer? {
            made.push(token);
        }
    }
    Ok(Answer::Won(aside.heard.get(), made))
}
