//! `auth/token/`.

use std::sync::Arc;

use serde_json::json;
use zone_access::{CreateToken, Operation, TokenEntry};
use zone_types::{Secret, Timestamp};

use super::exchange::{Answer, Auth, Call, Fault, Reply};
use super::fields::{Fields, wipe};
use super::sys::writes;
use crate::Zone;

/// Serves one permitted call below `auth/token/`.
pub(super) async fn handle(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let rest = call.permit.rest().to_owned();
    match (rest.as_str(), call.permit.operation()) {
        ("create" | "create-orphan", _) if writes(call) => create(zone, call).await,
        ("lookup-self", Operation::Read | Operation::Update) => {
            let entry = own(call)?;
            lookup(call, &entry, own_text(call))
        }
        ("lookup", Operation::Read) => {
            let entry = own(call)?;
            lookup(call, &entry, own_text(call))
        }
        ("lookup", _) if writes(call) => {
            let (text, entry) = named(zone, call).await?;
            lookup(call, &entry, Some(text))
        }
        ("lookup-accessor", _) if writes(call) => {
            let entry = by_accessor(zone, call).await?;
            lookup(call, &entry, None)
        }
        ("renew-self", _) if writes(call) => {
            let entry = own(call)?;
            renew(zone, call, &entry, own_text(call)).await
        }
        ("renew", _) if writes(call) => {
            let (text, entry) = named(zone, call).await?;
            renew(zone, call, &entry, Some(text)).await
        }
        ("renew-accessor", _) if writes(call) => {
            let entry = by_accessor(zone, call).await?;
            renew(zone, call, &entry, None).await
        }
        ("revoke-self", _) if writes(call) => {
            let entry = own(call)?;
            revoke(zone, &entry).await
        }
        ("revoke", _) if writes(call) => {
            let text = Secret::new(Fields(&call.data).required("token")?);
            // As in Vault, a token that is gone already is no error.
            match zone.system.access().token(text.expose()).await? {
                Some(entry) => revoke(zone, &entry).await,
                None => Ok(Reply::NoContent),
            }
        }
        ("revoke-accessor", _) if writes(call) => {
            revoke(zone, &*by_accessor(zone, call).await?).await
        }
        ("revoke-orphan", _) if writes(call) => {
            let (_, entry) = named(zone, call).await?;
            zone.system.access().revoke_orphan(&entry.id).await?;
            Ok(Reply::NoContent)
        }
        ("accessors" | "accessors/", Operation::List) => {
            Reply::keys(&zone.system.access().accessors(&call.permit).await?)
        }
        (known, _) if KNOWN.contains(&known) => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

const KNOWN: [&str; 13] = [
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
];

async fn create(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let kind = fields.text("type")?.unwrap_or_default();
    if !matches!(kind.as_str(), "" | "service" | "default-service") {
        return Err(Fault::bad_request(
            "field 'type': only service tokens exist",
        ));
    }
    if fields
        .text("entity_alias")?
        .is_some_and(|alias| !alias.is_empty())
    {
        return Err(Fault::bad_request(
            "field 'entity_alias': needs a token role, which does not exist",
        ));
    }
    let seconds = |name| -> Result<u64, Fault> {
        Ok(fields.duration(name)?.map_or(0, |span| span.as_secs()))
    };
    let lease = if call.data.contains_key("ttl") {
        seconds("ttl")?
    } else {
        seconds("lease")?
    };
    let uses = fields.number("num_uses")?.unwrap_or(0);
    let ask = CreateToken {
        id: fields
            .text("id")?
            .filter(|id| !id.is_empty())
            .map(Secret::new),
        policies: fields.list("policies")?.unwrap_or_default(),
        meta: fields.text_map("meta")?.or(fields.text_map("metadata")?),
        no_parent: fields.flag("no_parent")?.unwrap_or(false),
        no_default_policy: fields.flag("no_default_policy")?.unwrap_or(false),
        renewable: fields.flag("renewable")?.unwrap_or(true),
        ttl: lease,
        explicit_max_ttl: seconds("explicit_max_ttl")?,
        period: seconds("period")?,
        display_name: fields.text("display_name")?.unwrap_or_default(),
        num_uses: u64::try_from(uses)
            .map_err(|_| Fault::bad_request("field 'num_uses': must not be negative"))?,
        bound_cidrs: fields.list("bound_cidrs")?.unwrap_or_default(),
    };
    let created = zone.system.access().create_token(&call.permit, ask).await?;
    let auth = auth_block(&created.entry, created.text, call.permit.now(), true);
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        ..Answer::default()
    }))
}

/// The token of the request itself. A last use counts: the token is in the permit although its
/// record is gone.
fn own(call: &Call) -> Result<Arc<TokenEntry>, Fault> {
    call.permit.token().cloned().ok_or_else(Fault::denied)
}

fn own_text(call: &Call) -> Option<Secret<String>> {
    call.token.clone()
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
    let increment = Fields(&call.data)
        .duration("increment")?
        .map_or(0, |span| span.as_secs());
    let renewed = zone
        .system
        .access()
        .renew_token(&call.permit, entry, increment)
        .await?;
    let auth = auth_block(&renewed, text.unwrap_or_default(), call.permit.now(), false);
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        ..Answer::default()
    }))
}

async fn revoke(zone: &Zone, entry: &TokenEntry) -> Result<Reply, Fault> {
    zone.system.access().revoke_token(&entry.id).await?;
    Ok(Reply::NoContent)
}

fn lookup(call: &Call, entry: &TokenEntry, text: Option<Secret<String>>) -> Result<Reply, Fault> {
    let record = &entry.record;
    let now = call.permit.now();
    let mut data = json!({
        "accessor": record.accessor,
        "creation_time": record.creation_time.secs(),
        "creation_ttl": record.creation_ttl,
        "display_name": record.display_name,
        "entity_id": "",
        "expire_time": record.expire_time,
        "explicit_max_ttl": record.explicit_max_ttl,
        "id": text.as_ref().map_or("", |text| text.expose().as_str()),
        "issue_time": record.creation_time,
        "meta": record.meta,
        "namespace_path": "",
        "num_uses": record.num_uses,
        "orphan": record.orphan(),
        "path": record.path,
        "policies": record.policies,
        "renewable": record.renewable,
        "ttl": record.ttl(now),
        "type": "service",
    });
    if record.period > 0 {
        data["period"] = record.period.into();
    }
    if let Some(at) = record.last_renewal {
        data["last_renewal"] = json!(at);
        data["last_renewal_time"] = at.secs().into();
    }
    if !record.bound_cidrs.is_empty() {
        data["bound_cidrs"] = json!(record.bound_cidrs);
    }
    let reply = Reply::data(&data);
    wipe(&mut data);
    reply
}

fn auth_block(entry: &TokenEntry, text: Secret<String>, now: Timestamp, is_new: bool) -> Auth {
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
        entity_id: String::new(),
        token_type: "service",
        orphan: record.orphan(),
        mfa_requirement: None,
        num_uses: record.num_uses,
    }
}
