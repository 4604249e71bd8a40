//! `auth/token/`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use zone_access::{CreateToken, Operation, TokenEntry, TokenKind, TokenRecord};
use zone_types::duration::format_go;
use zone_types::{EntityId, Secret, Timestamp};

use super::exchange::{Answer, Auth, Call, Fault, Reply};
use super::fields::{Fields, wipe};
use super::sys::writes;
use super::token_role;
use crate::Zone;

/// Serves one permitted call below `auth/token/`.
pub(super) async fn handle(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let rest = call.permit.rest();
    if let Some(name) = rest.strip_prefix("roles/") {
        return token_role::handle(zone, call, name).await;
    }
    if rest == "revoke-batch" {
        return token_role::revoke_batch(zone, call).await;
    }
    let (verb, whose) = rest.split_once('-').unwrap_or((rest, ""));
    let reads = call.permit.operation() == Operation::Read;
    match (verb, whose) {
        ("create", "" | "orphan") if writes(call) => create(zone, call).await,
        _ if rest.starts_with("create/") && writes(call) => create(zone, call).await,
        ("lookup", "" | "self") if reads => {
            let (text, entry) = subject(zone, call, "self").await?;
            lookup(zone, call, &entry, text).await
        }
        ("lookup", "" | "self" | "accessor") if writes(call) => {
            let (text, entry) = subject(zone, call, whose).await?;
            lookup(zone, call, &entry, text).await
        }
        ("renew", "" | "self" | "accessor") if writes(call) => {
            let (text, entry) = subject(zone, call, whose).await?;
            renew(zone, call, &entry, text).await
        }
        ("revoke", "") if writes(call) => revoke_named(zone, call).await,
        ("revoke", "self" | "accessor") if writes(call) => {
            revoke(zone, &subject(zone, call, whose).await?.1).await
        }
        ("revoke", "orphan") if writes(call) => {
            let (_, entry) = named(zone, call).await?;
            refuse_batch(&entry)?;
            zone.system.access().revoke_orphan(&entry.id).await?;
            Ok(Reply::NoContent)
        }
        ("tidy", "") if writes(call) => tidy(zone).await,
        ("accessors/", "") if call.permit.operation() == Operation::List => {
            Reply::keys(&zone.system.access().accessors(&call.permit).await?)
        }
        _ if KNOWN.contains(&rest) => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

const KNOWN: [&str; 14] = [
    "create",
    "create-orphan",
    "lookup",
    "lookup-self",
    "lookup-accessor",
    "renew",
    "renew-self",
    "renew-accessor",
    "revoke",
    "revoke-self",
    "revoke-accessor",
    "revoke-orphan",
    "accessors",
    "tidy",
];

/// One round at once; the background work does the rest, as it does anyway.
async fn tidy(zone: &Zone) -> Result<Reply, Fault> {
    zone.system.access().sweep().await?;
    let text = "Tidy operation successfully started. Any information from the operation will be \
                printed to the server logs.";
    Ok(Reply::Accepted(Answer {
        warnings: vec![text.to_owned()],
        ..Answer::default()
    }))
}

async fn create(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let ask = read_ask(&Fields(&call.data))?;
    let asked = ask.ttl;
    let created = zone.system.access().create_token(&call.permit, ask).await?;
    let warnings = capped(asked, &created.entry.record);
    let auth = auth_block(&created.entry, created.text, call.permit.now(), true);
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        warnings,
        ..Answer::default()
    }))
}

/// Vault's warning that a token lives shorter than was asked.
fn capped(asked: u64, record: &TokenRecord) -> Vec<String> {
    let given = record.creation_ttl;
    if record.period > 0 || asked <= given {
        return Vec::new();
    }
    let go = |secs| format_go(Duration::from_secs(secs));
    vec![format!(
        "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
        go(asked),
        go(given)
    )]
}

fn read_ask(fields: &Fields<'_>) -> Result<CreateToken, Fault> {
    let filled =
        |name| -> Result<_, Fault> { Ok(fields.text(name)?.filter(|text| !text.is_empty())) };
    let kind = match filled("type")?.as_deref() {
        None => None,
        Some("service") => Some(TokenKind::Service),
        Some("batch") => Some(TokenKind::Batch),
        Some(_) => return Err(Fault::bad_request("invalid 'type' value")),
    };
    let ttl = match fields.seconds("ttl")? {
        None => fields.seconds("lease")?,
        given => given,
    };
    Ok(CreateToken {
        id: filled("id")?.map(Secret::new),
        policies: fields.list("policies")?.unwrap_or_default(),
        meta: fields.text_map("meta")?.or(fields.text_map("metadata")?),
        no_parent: fields.flag("no_parent")?.unwrap_or(false),
        no_default_policy: fields.flag("no_default_policy")?.unwrap_or(false),
        renewable: fields.flag("renewable")?.unwrap_or(true),
        ttl: ttl.unwrap_or(0),
        explicit_max_ttl: fields.seconds("explicit_max_ttl")?.unwrap_or(0),
        period: fields.seconds("period")?.unwrap_or(0),
        display_name: fields.text("display_name")?.unwrap_or_default(),
        num_uses: count(fields, "num_uses")?.unwrap_or(0),
        bound_cidrs: fields.list("bound_cidrs")?.unwrap_or_default(),
        kind,
        entity_alias: filled("entity_alias")?,
    })
}

/// A number of uses.
pub(super) fn count(fields: &Fields<'_>, name: &str) -> Result<Option<u64>, Fault> {
    let negative = |_| Fault::bad_request(format!("field '{name}': must not be negative"));
    let given = fields.number(name)?;
    given.map(u64::try_from).transpose().map_err(negative)
}

/// The token of the request itself. A last use counts: the token is in the permit although its
/// record is gone.
fn own(call: &Call) -> Result<Arc<TokenEntry>, Fault> {
    call.permit.token().cloned().ok_or_else(Fault::denied)
}

/// The token that a call is about, and its text if the caller knows it.
async fn subject(
    zone: &Zone,
    call: &Call,
    whose: &str,
) -> Result<(Option<Secret<String>>, Arc<TokenEntry>), Fault> {
    if call.permit.operation() == Operation::Read && call.data.contains_key("token") {
        let text = "a token does not belong into a URL: write it as the field 'token'";
        return Err(Fault::bad_request(text));
    }
    match whose {
        // As in Vault: whoever names nobody means himself.
        "" if call.permit.rest() == "lookup" && !call.data.contains_key("token") => {
            Ok((call.token.clone(), own(call)?))
        }
        "self" => Ok((call.token.clone(), own(call)?)),
        "accessor" => Ok((None, by_accessor(zone, call).await?)),
        _ => {
            let (text, entry) = named(zone, call).await?;
            Ok((Some(text), entry))
        }
    }
}

/// As in Vault, a token that is gone already is no error.
async fn revoke_named(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let text = Secret::new(Fields(&call.data).required("token")?);
    match zone.system.access().token(text.expose()).await? {
        Some(entry) => revoke(zone, &entry).await,
        None => Ok(Reply::NoContent),
    }
}

async fn named(zone: &Zone, call: &Call) -> Result<(Secret<String>, Arc<TokenEntry>), Fault> {
    let text = Secret::new(Fields(&call.data).required("token")?);
    let entry = zone.system.access().token(text.expose()).await?;
    // The same answer for a wrong, an expired and a revoked token.
    let entry = entry.ok_or_else(|| Fault::new(403, "bad token"))?;
    Ok((text, entry))
}

async fn by_accessor(zone: &Zone, call: &Call) -> Result<Arc<TokenEntry>, Fault> {
    let accessor = Fields(&call.data).required("accessor")?;
    let entry = zone.system.access().token_by_accessor(&accessor).await?;
    entry.ok_or_else(|| Fault::new(403, "invalid accessor"))
}

async fn renew(
    zone: &Zone,
    call: &Call,
    entry: &TokenEntry,
    text: Option<Secret<String>>,
) -> Result<Reply, Fault> {
    let increment = Fields(&call.data).seconds("increment")?.unwrap_or(0);
    let access = zone.system.access();
    let renewed = access.renew_token(&call.permit, entry, increment).await?;
    let mut auth = auth_block(&renewed, text.unwrap_or_default(), call.permit.now(), false);
    // The record still names a parent that was ended alone until the background work comes by.
    auth.orphan = access.is_orphan(&renewed).await?;
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        ..Answer::default()
    }))
}

/// What is not stored cannot be ended one by one.
fn refuse_batch(entry: &TokenEntry) -> Result<(), Fault> {
    match entry.kind {
        TokenKind::Service => Ok(()),
        TokenKind::Batch => Err(Fault::bad_request("batch tokens cannot be revoked")),
    }
}

async fn revoke(zone: &Zone, entry: &TokenEntry) -> Result<Reply, Fault> {
    refuse_batch(entry)?;
    zone.system.access().revoke_token(&entry.id).await?;
    Ok(Reply::NoContent)
}

async fn lookup(
    zone: &Zone,
    call: &Call,
    entry: &TokenEntry,
    text: Option<Secret<String>>,
) -> Result<Reply, Fault> {
    let record = &entry.record;
    let access = zone.system.access();
    let by_identity = access.identity_policies(record.entity.as_ref()).await?;
    let now = call.permit.now();
    let mut data = json!({
        "accessor": record.accessor,
        "creation_time": record.creation_time.secs(),
        "creation_ttl": record.creation_ttl,
        "display_name": record.display_name,
        "entity_id": entity_of(record),
        "expire_time": record.expire_time,
        "explicit_max_ttl": record.explicit_max_ttl,
        "id": text.as_ref().map_or("", |text| text.expose().as_str()),
        "issue_time": record.creation_time,
        "meta": record.meta,
        "namespace_path": "",
        "num_uses": record.num_uses,
        "orphan": access.is_orphan(entry).await?,
        "path": record.path,
        "policies": record.policies,
        "renewable": record.renewable,
        "ttl": record.ttl(now),
        "type": entry.kind.as_str(),
    });
    if record.period > 0 {
        data["period"] = record.period.into();
    }
    if let Some(at) = record.last_renewal {
        data["last_renewal"] = json!(at);
        data["last_renewal_time"] = at.secs().into();
    }
    if let Some(role) = &record.role {
        data["role"] = role.clone().into();
    }
    if !by_identity.is_empty() {
        data["identity_policies"] = json!(by_identity);
    }
    if !record.bound_cidrs.is_empty() {
        data["bound_cidrs"] = json!(record.bound_cidrs);
    }
    let reply = Reply::data(&data);
    wipe(&mut data);
    reply
}

/// Adds to an `auth` block the policies that come by identity. If they cannot be told the token
/// counts all the same, so they are left out.
pub(super) async fn add_identity(zone: &Zone, answer: &mut Answer) {
    let Some(auth) = &mut answer.auth else { return };
    let Ok(entity) = EntityId::parse(&auth.entity_id) else {
        return;
    };
    let found = zone.system.access().identity_policies(Some(&entity)).await;
    match found {
        Ok(policies) if policies.is_empty() => {}
        Ok(policies) => {
            auth.policies.extend(policies.iter().cloned());
            auth.policies.sort();
            auth.policies.dedup();
            auth.identity_policies = Some(policies);
        }
        Err(error) => tracing::error!("{}", super::exchange::chain(&error)),
    }
}

fn entity_of(record: &TokenRecord) -> &str {
    record.entity.as_ref().map_or("", EntityId::as_str)
}

/// The `auth` block of a token.
pub(super) fn auth_block(
    entry: &TokenEntry,
    text: Secret<String>,
    now: Timestamp,
    is_new: bool,
) -> Auth {
    let record = &entry.record;
    Auth {
        id: entry.id.clone(),
        is_new,
        client_token: text,
        accessor: record.accessor.clone(),
        policies: record.policies.clone(),
        token_policies: record.policies.clone(),
        identity_policies: None,
        metadata: record.meta.clone(),
        lease_duration: record.ttl(now),
        renewable: record.renewable,
        entity_id: entity_of(record).to_owned(),
        token_type: entry.kind.as_str(),
        orphan: record.orphan(),
        mfa_requirement: None,
        num_uses: record.num_uses,
    }
}
