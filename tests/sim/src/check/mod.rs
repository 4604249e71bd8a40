//! The zone against a model, and tokens that nobody was told of.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use zone_access::{CutOff, LeaseGroup, TokenChoice};
use zone_auth::SecretIdAt;
use zone_ports::KeyRange;
use zone_types::{Secret, Timestamp};

use crate::act::login::{judged, role_permit};
use crate::head::{ENGINES, Head, METHODS};
use crate::model::{Model, Token, Verdict};
use crate::step::Step;

pub(crate) mod leases;
mod records;

use records::{area, id_below};

/// Whether all of the zone is as `model` says; what was seen to be gone is noted in it.
pub(crate) async fn judge(head: &Head, model: &mut Model) -> Result<()> {
    for at in 0..model.tokens.len() {
        judge_token(head, model, at).await?;
    }
    leases::judge(head, model).await?;
    leases::judge_marks(head, model).await?;
    judge_cuts(head, model).await?;
    judge_mounts(head, model)?;
    judge_role(head, model).await?;
    judge_ceremonies(head, model).await?;
    judge_roots(head, model).await?;
    let term = head.barrier.key_status()?.term;
    ensure!(term >= model.term, "key term {term} of {}", model.term);
    model.term = term;
    Ok(())
}

/// A mount hangs at one of its places, and only there.
fn judge_mounts(head: &Head, model: &Model) -> Result<()> {
    for (places, at, mount) in [
        (METHODS, model.method_at, &model.mount),
        (ENGINES, model.engine_at, &model.engine),
    ] {
        let found = head.mounted(places[at])?;
        ensure!(
            &found == mount,
            "at {}: {found:?}, not {mount:?}",
            places[at]
        );
        let other = head.mounted(places[1 - at])?;
        ensure!(other.is_none(), "at {} too: {other:?}", places[1 - at]);
    }
    Ok(())
}

async fn judge_role(head: &Head, model: &mut Model) -> Result<()> {
    let Some(permit) = role_permit(head, model, "/secret-id/lookup").await? else {
        return Ok(());
    };
    let found = judged(head.auth.role(&permit).await)?;
    let batch = found.map(|role| role.token.token_type == Some(TokenChoice::Batch));
    let want = model.role.as_ref().map(|role| role.batch);
    ensure!(batch == want, "the role is {batch:?}, not {want:?}");
    let listed = judged(head.auth.secret_id_accessors(&permit).await)?;
    let listed = listed.unwrap_or_default().len();
    for at in 0..model.secrets.len() {
        let secret = model.secrets[at].clone();
        let found = head
            .auth
            .look_up_secret_id(&permit, SecretIdAt::Text(&secret.text));
        let found = judged(found.await)?.flatten();
        model.see_secret(at, found.is_some())?;
        if let Some(info) = found {
            let left = info.num_uses;
            ensure!(left == secret.uses, "secret id {at}: {left}, {secret:?}");
        }
    }
    let secrets = 0..model.secrets.len();
    let counting = secrets.filter(|at| model.secret_verdict(*at) != Verdict::Gone);
    let counting = counting.count();
    ensure!(listed == counting, "{listed} secret ids, not {counting}");
    Ok(())
}

/// Of each kind the latest mark for batch tokens is there, and no other.
async fn judge_cuts(head: &Head, model: &Model) -> Result<()> {
    let permit = head.permit("auth/token/revoke-batch").await?;
    let mut stored = BTreeMap::new();
    for mark in head.access.cut_off_marks(&permit).await? {
        let mount = match &mark.of {
            CutOff::Role { mount, .. } => Some(mount.to_string()),
            _ => None,
        };
        stored.insert(mount, mark.issued_before.secs());
    }
    let mut want: BTreeMap<_, i64> = BTreeMap::new();
    for cut in &model.cuts {
        let since = want.entry(cut.mount.clone()).or_default();
        *since = cut.since.max(*since);
    }
    ensure!(stored == want, "marks: {stored:?}, not {want:?}");
    Ok(())
}

/// What is under way together is what was told.
pub(crate) async fn judge_ceremonies(head: &Head, model: &Model) -> Result<()> {
    let rekey = head.system.rekey_status().await?;
    let shown = model.rekey.as_ref().map(|rekey| rekey.shown);
    ensure!(rekey.started == shown.is_some(), "the rekey: {rekey:?}");
    let progress = usize::from(rekey.verification_progress);
    ensure!(progress == shown.unwrap_or(0), "shown: {rekey:?}");
    let root = head.system.root_status().await?;
    let given = model.rooting.as_ref().map(|rooting| rooting.given);
    ensure!(root.started == given.is_some(), "the root token: {root:?}");
    ensure!(
        usize::from(root.progress) == given.unwrap_or(0),
        "given: {root:?}"
    );
    Ok(())
}

/// There are no root tokens but the first one, those that were made, and those that nobody heard
/// of.
async fn judge_roots(head: &Head, model: &Model) -> Result<()> {
    for root in &model.roots {
        let found = head.access.token(root.text.expose()).await?;
        ensure!(found.is_some() != root.ended, "a root token: {root:?}");
    }
    if !model.rooted {
        return Ok(());
    }
    let living = model.roots.iter().filter(|root| !root.ended).count();
    let area = KeyRange::prefix(area(head, "token")?);
    let mut found = 0;
    for (_, plain) in head.barrier.scan(&area, 1000).await? {
        let record: Value = serde_json::from_slice(&plain.value)?;
        found += usize::from(record["policies"][0] == "root");
    }
    let want = 1 + living + model.lost_roots;
    ensure!(found == want, "{found} root tokens, not {want}");
    Ok(())
}

async fn judge_batch(head: &Head, model: &mut Model, at: usize) -> Result<()> {
    let Some(text) = &model.tokens[at].text else {
        return Ok(());
    };
    let found = head.access.token(text.expose()).await?;
    model.see(at, found.is_some())?;
    if let Some(entry) = found {
        let end = entry.record.expire_time.map(Timestamp::secs);
        ensure!(end == Some(model.tokens[at].end), "token {at}: {end:?}");
    }
    Ok(())
}

async fn judge_token(head: &Head, model: &mut Model, at: usize) -> Result<()> {
    if model.tokens[at].batch {
        return judge_batch(head, model, at).await;
    }
    let token = model.tokens[at].clone();
    let by_accessor = head.access.token_by_accessor(&token.accessor).await?;
    if let Some(text) = &token.text {
        let by_text = head.access.token(text.expose()).await?;
        ensure!(
            by_text.is_some() == by_accessor.is_some(),
            "token {at}: its text and its accessor differ"
        );
    }
    model.see(at, by_accessor.is_some())?;
    let Some(entry) = by_accessor else {
        return Ok(());
    };
    let record = &entry.record;
    let end = record.expire_time.map(Timestamp::secs);
    ensure!(
        end == Some(token.end),
        "token {at} ends at {end:?}: {token:?}"
    );
    let uses = token.wraps.map_or(token.uses, |_| 1);
    ensure!(
        record.num_uses == uses,
        "token {at}: {} uses: {token:?}",
        record.num_uses
    );
    if token.is_usable() && token.uses == 0 {
        judge_kept(head, &token)
            .await
            .with_context(|| format!("token {at}"))?;
    }
    if let (Some(_), Some(text)) = (token.wraps, &token.text) {
        let permit = head.permit("sys/wrapping/lookup").await?;
        head.access.wrapped_at(&permit, text.expose()).await?;
    }
    Ok(())
}

async fn judge_kept(head: &Head, token: &Token) -> Result<()> {
    for place in 0..3 {
        let path = format!("cubbyhole/{place}");
        let permit = head.ask(token.text.as_ref(), &path, None).await;
        let Ok(permit) = permit else {
            bail!("a living token is refused");
        };
        let found = head.access.cubbyhole_read(&permit).await?;
        let found = found.map(|text| text.get().to_owned());
        let kept = token.kept.get(&place).map(u64::to_string);
        ensure!(found == kept, "cubbyhole {place}: {found:?}, not {kept:?}");
    }
    Ok(())
}

/// Tokens that the store has and `before` has not, made by `step`: at most one for each request
/// of which nobody heard the answer.
pub(crate) async fn strays(head: &Head, before: &Model, step: &Step) -> Result<Vec<Token>> {
    let known: Vec<&str> = before
        .tokens
        .iter()
        .map(|it| it.accessor.as_str())
        .collect();
    let mut found = Vec::new();
    let area = area(head, "token")?;
    for (key, plain) in head
        .barrier
        .scan(&KeyRange::prefix(area.clone()), 1000)
        .await?
    {
        let id = id_below(&key, &area)?;
        let record: Value = serde_json::from_slice(&plain.value)?;
        let root = record["policies"][0] == "root";
        let accessor = record["accessor"].as_str().unwrap_or_default();
        if !known.contains(&accessor) && !root {
            found.push(stray(before, step, id, &record)?);
        }
    }
    Ok(found)
}

fn stray(before: &Model, step: &Step, id: String, record: &Value) -> Result<Token> {
    let time = |field: &str| {
        let text = record[field].as_str();
        let time = text.and_then(Timestamp::parse_rfc3339);
        time.map(Timestamp::secs).context("a time of a new token")
    };
    let parent = record["parent"].as_str();
    let parent = parent.and_then(|id| before.tokens.iter().position(|token| token.id == id));
    let number = |field: &str| record[field].as_u64().unwrap_or(0);
    let custom = match step {
        Step::Create { custom, .. } => *custom,
        _ => None,
    };
    let wraps = match step {
        Step::Wrap(_) => Some(before.next),
        Step::Rewrap(at) => before.tokens[*at].wraps,
        _ => None,
    };
    Ok(Token {
        id,
        handle: None,
        text: custom.map(custom_id),
        accessor: record["accessor"].as_str().unwrap_or_default().to_owned(),
        parent,
        depth: parent.map_or(0, |parent| before.tokens[parent].depth + 1),
        batch: false,
        path: record["path"].as_str().unwrap_or_default().to_owned(),
        born: time("creation_time")?,
        ttl: number("creation_ttl"),
        explicit_max: number("explicit_max_ttl"),
        end: time("expire_time")?,
        uses: if wraps.is_some() {
            0
        } else {
            number("num_uses")
        },
        ended: false,
        mount: record["auth_mount"].as_str().map(str::to_owned),
        custom,
        wraps,
        kept: BTreeMap::new(),
    })
}

/// The text of a custom id.
pub(crate) fn custom_id(number: u64) -> Secret<String> {
    Secret::new(format!("custom-{number}"))
}

/// All background work is done: who does not live has left nothing.
pub(crate) async fn nothing_is_left(head: &Head, model: &Model) -> Result<()> {
    let whole = records::whole(head).await?;
    // Tokens that are made in its very second have ended too: a second pass finds them.
    let under_way = model
        .marks
        .iter()
        .any(|mark| model.high <= mark.since + leases::GRACE);
    for (at, token) in model.tokens.iter().enumerate() {
        let stored = whole.contains(&token.id);
        match model.verdict(at) {
            _ if token.batch => ensure!(!stored, "token {at} has a record"),
            Verdict::Lives => ensure!(stored, "token {at} has no record"),
            Verdict::Gone => ensure!(!stored || under_way, "token {at} has left its record"),
            Verdict::Either => {}
        }
    }
    let known = model.ids();
    let unknown = whole.iter().find(|id| !known.contains(id.as_str()));
    ensure!(unknown.is_none(), "a token that nobody made");
    records::secret_ids(head, model).await?;
    records::leases(head, model).await
}

/// Also the engine has been asked for the last time: nothing waits any more.
pub(crate) async fn nothing_waits(head: &Head, model: &Model) -> Result<()> {
    records::nothing_waits(head).await?;
    leases::all_taken_back(head, model)?;
    let permit = head.permit("sys/leases/count").await?;
    let counted = head
        .access
        .count_leases(&permit, LeaseGroup::Active)
        .await?
        .total;
    let verdicts = (0..model.leases.len()).map(|at| model.lease_verdict(at));
    let verdicts: Vec<_> = verdicts.filter(|it| *it != Verdict::Gone).collect();
    let surely = verdicts.iter().filter(|it| **it == Verdict::Lives).count();
    ensure!(
        (surely as u64..=verdicts.len() as u64).contains(&counted),
        "{counted} leases are counted: {verdicts:?}"
    );
    Ok(())
}
