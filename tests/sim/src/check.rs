//! The zone against a model, and tokens that nobody was told of.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use zone_ports::{Key, KeyRange};
use zone_types::{Secret, Timestamp};

use crate::head::{Head, METHOD};
use crate::model::{Model, Token, Verdict};
use crate::records::{area, id_below};
use crate::step::Step;

/// The key of a secret of the histories.
pub(crate) fn secret_key(secret: usize) -> Key {
    Key::new(format!("sim/secret/{secret}")).expect("it is short")
}

/// Whether all of the zone is as `model` says; what was seen to be gone is noted in it.
pub(crate) async fn judge(head: &Head, model: &mut Model) -> Result<()> {
    for at in 0..model.tokens.len() {
        judge_token(head, model, at).await?;
    }
    for (secret, uses) in model.secrets.iter().enumerate() {
        let left = secret_uses(head, secret).await?;
        ensure!(left == *uses, "secret {secret}: {left} uses, not {uses}");
    }
    let mount = head.access.mount_of(METHOD)?.map(|it| it.id.to_string());
    ensure!(mount == model.mount, "the auth method: {mount:?}");
    let term = head.barrier.key_status()?.term;
    ensure!(term >= model.term, "key term {term} of {}", model.term);
    model.term = term;
    Ok(())
}

async fn judge_token(head: &Head, model: &mut Model, at: usize) -> Result<()> {
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

/// Uses left of a secret.
pub(crate) async fn secret_uses(head: &Head, secret: usize) -> Result<u64> {
    match head.barrier.get(&secret_key(secret)).await? {
        Some(plain) => Ok(std::str::from_utf8(&plain.value)?.parse()?),
        None => Ok(0),
    }
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
        kept: std::collections::BTreeMap::new(),
    })
}

/// The text of a custom id.
pub(crate) fn custom_id(number: u64) -> Secret<String> {
    Secret::new(format!("custom-{number}"))
}

/// All background work is done: who does not live has left nothing.
pub(crate) async fn nothing_is_left(head: &Head, model: &Model) -> Result<()> {
    let whole = crate::records::whole(head).await?;
    for (at, token) in model.tokens.iter().enumerate() {
        let stored = whole.contains(&token.id);
        match model.verdict(at) {
            Verdict::Lives => ensure!(stored, "token {at} has no record"),
            Verdict::Gone => ensure!(!stored, "token {at} has left its record"),
            Verdict::Either => {}
        }
    }
    let known = model.ids();
    let unknown = whole.iter().find(|id| !known.contains(id.as_str()));
    ensure!(unknown.is_none(), "a token that nobody made");
    Ok(())
}
