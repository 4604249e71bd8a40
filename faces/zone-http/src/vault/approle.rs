//! AppRole under `/v1/auth/<mount>/`: Vault's shapes outside, [`zone_auth`] inside.
//!
//! Each service method takes the role from the permit (A3); here only the endpoint is chosen and
//! the fields are read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use zone_access::Operation;
use zone_auth::{AuthService, NewSecretId, Role, RoleChange, SecretIdAt, SecretIdInfo};
use zone_types::{Cidr, Secret};

use super::auth::{cidrs, count, show_token, token_change};
use super::exchange::{Answer, Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::token::auth_block;

/// The names that fields had before they were the same in all methods.
const OLDER: &[(&str, &str)] = &[("token_policies", "policies"), ("token_period", "period")];

/// Endpoints of one field of a role: their name, the field's, what it had before, and what it is
/// without being set.
const SINGLE: &[(&str, &str, &str, &str)] = &[
    ("policies", "token_policies", "policies", "[]"),
    ("period", "token_period", "period", "0"),
    ("token-num-uses", "token_num_uses", "", "0"),
    ("token-ttl", "token_ttl", "", "0"),
    ("token-max-ttl", "token_max_ttl", "", "0"),
    ("token-bound-cidrs", "token_bound_cidrs", "", "[]"),
    ("bind-secret-id", "bind_secret_id", "", "true"),
    ("secret-id-num-uses", "secret_id_num_uses", "", "0"),
    ("secret-id-ttl", "secret_id_ttl", "", "0"),
    ("secret-id-bound-cidrs", "secret_id_bound_cidrs", "", "[]"),
    (
        "bound-cidr-list",
        "secret_id_bound_cidrs",
        "bound_cidr_list",
        "[]",
    ),
    ("local-secret-ids", "local_secret_ids", "", "false"),
];

/// Answers one permitted call.
pub(super) async fn handle(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let segments: Vec<&str> = call.permit.rest().split('/').collect();
    let operation = call.permit.operation();
    match segments[..] {
        ["login"] if writes(call) => login(auth, call).await,
        ["tidy", "secret-id"] if writes(call) => tidy(auth, call).await,
        ["role", ""] if operation == Operation::List => {
            Reply::keys(&auth.roles(&call.permit).await?)
        }
        ["role", _] => role(auth, call).await,
        ["role", _, "role-id"] => role_id(auth, call).await,
        ["role", _, "secret-id", ""] if operation == Operation::List => {
            Reply::keys(&auth.secret_id_accessors(&call.permit).await?)
        }
        ["role", _, "secret-id" | "custom-secret-id"] if writes(call) => generate(auth, call).await,
        ["role", _, area @ ("secret-id" | "secret-id-accessor"), verb] => {
            secret_id(auth, call, area, verb).await
        }
        ["role", _, endpoint] => single(auth, call, endpoint).await,
        _ => Err(Fault::unsupported_path()),
    }
}

async fn login(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let role_id = fields.required("role_id")?;
    let secret_id = Secret::new(fields.text("secret_id")?.unwrap_or_default());
    let created = auth
        .log_in_approle(&call.permit, &role_id, &secret_id, call.client.ip())
        .await?;
    let auth = auth_block(&created.entry, created.text, call.permit.now(), true);
    Ok(Reply::Data(Answer {
        auth: Some(auth),
        ..Answer::default()
    }))
}

async fn tidy(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let removed = auth.tidy_secret_ids(&call.permit).await?;
    Ok(Reply::Data(Answer {
        warnings: vec![format!(
            "Tidy operation done; secret ids that had ended: {removed}"
        )],
        ..Answer::default()
    }))
}

async fn role(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => Reply::data(&show(&auth.role(&call.permit).await?)),
        Operation::Delete => {
            auth.delete_role(&call.permit).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) => {
            let change = change(&call.data)?;
            auth.write_role(&call.permit, &change).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn role_id(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    if call.permit.operation() == Operation::Read {
        let role = auth.role(&call.permit).await?;
        return Reply::data(&json!({ "role_id": role.role_id }));
    }
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    let change = RoleChange {
        role_id: Some(Fields(&call.data).required("role_id")?),
        ..RoleChange::default()
    };
    auth.change_role(&call.permit, &change).await?;
    Ok(Reply::NoContent)
}

/// One field of a role: read, set, or set back.
async fn single(auth: &AuthService, call: &Call, endpoint: &str) -> Result<Reply, Fault> {
    let found = SINGLE.iter().find(|(name, ..)| *name == endpoint);
    let (_, field, older, unset) = found.ok_or_else(Fault::unsupported_path)?;
    let value = match call.permit.operation() {
        Operation::Read => {
            let view = show(&auth.role(&call.permit).await?);
            let shown = match endpoint {
                "bound-cidr-list" => older,
                _ => field,
            };
            return Reply::data(&json!({ *shown: view[*field] }));
        }
        _ if *field == "local_secret_ids" => return Err(Fault::unsupported_operation()),
        Operation::Delete => serde_json::from_str(unset).map_err(|_| Fault::unsupported_path())?,
        _ if writes(call) => {
            let given = call.data.get(*field).or_else(|| call.data.get(*older));
            let missing = || Fault::bad_request(format!("missing {field}"));
            given.cloned().ok_or_else(missing)?
        }
        _ => return Err(Fault::unsupported_operation()),
    };
    let change = change(&Map::from_iter([((*field).to_owned(), value)]))?;
    auth.change_role(&call.permit, &change).await?;
    Ok(Reply::NoContent)
}

fn change(data: &Map<String, Value>) -> Result<RoleChange, Fault> {
    let fields = Fields(data);
    let bound = match data.contains_key("secret_id_bound_cidrs") {
        true => "secret_id_bound_cidrs",
        false => "bound_cidr_list",
    };
    Ok(RoleChange {
        role_id: fields.text("role_id")?.filter(|id| !id.is_empty()),
        bind_secret_id: fields.flag("bind_secret_id")?,
        local_secret_ids: fields.flag("local_secret_ids")?,
        secret_id_bound_cidrs: cidrs(&fields, bound)?,
        secret_id_num_uses: count(&fields, "secret_id_num_uses")?,
        secret_id_ttl: fields.seconds("secret_id_ttl")?,
        token: token_change(&fields, OLDER)?,
    })
}

/// Blocks of secret ids, always with their length, as Vault keeps these. Terraform makes a secret
/// id anew if they are spelt in another way than it was asked for.
fn blocks(cidrs: &[Cidr]) -> Vec<String> {
    cidrs.iter().map(Cidr::to_string).collect()
}

fn show(role: &Role) -> Value {
    let mut shown = show_token(&role.token);
    let bound = blocks(&role.secret_id_bound_cidrs);
    shown["bind_secret_id"] = role.bind_secret_id.into();
    shown["local_secret_ids"] = role.local_secret_ids.into();
    shown["secret_id_bound_cidrs"] = match bound.is_empty() {
        true => Value::Null,
        false => json!(bound),
    };
    shown["secret_id_num_uses"] = role.secret_id_num_uses.into();
    shown["secret_id_ttl"] = role.secret_id_ttl.into();
    shown
}

async fn generate(auth: &AuthService, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let custom = match call.permit.rest().ends_with("/custom-secret-id") {
        true => Some(Secret::new(fields.required("secret_id")?)),
        false => None,
    };
    let new = NewSecretId {
        custom,
        metadata: metadata(&fields)?,
        cidrs: cidrs(&fields, "cidr_list")?.unwrap_or_default(),
        token_cidrs: cidrs(&fields, "token_bound_cidrs")?.unwrap_or_default(),
        num_uses: count(&fields, "num_uses")?,
        ttl: fields.seconds("ttl")?,
    };
    let made = auth.generate_secret_id(&call.permit, &new).await?;
    let mut data = json!({
        "secret_id": made.secret_id.expose(),
        "secret_id_accessor": made.accessor,
        "secret_id_num_uses": made.num_uses,
        "secret_id_ttl": made.ttl,
    });
    let reply = Reply::data(&data);
    super::fields::wipe(&mut data);
    reply
}

/// An object of texts, or, as Vault wants it, JSON text of one.
fn metadata(fields: &Fields<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let wrong = || Fault::bad_request("field 'metadata': expected JSON text of an object of texts");
    let text = match fields.0.get("metadata") {
        Some(Value::String(text)) => text,
        _ => return Ok(fields.text_map("metadata")?.unwrap_or_default()),
    };
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    let object = zone_types::json::parse_object(text.as_bytes()).map_err(|_| wrong())?;
    let entry = |(key, value): (&String, &Value)| {
        let value = value.as_str().ok_or_else(wrong)?;
        Ok((key.clone(), value.to_owned()))
    };
    object.iter().map(entry).collect()
}

/// Looks up or destroys a secret id, by its text or by its accessor. Not there: no content by
/// text, 404 by accessor, as in Vault.
async fn secret_id(
    auth: &AuthService,
    call: &Call,
    area: &str,
    verb: &str,
) -> Result<Reply, Fault> {
    let destroys = verb == "destroy" && call.permit.operation() == Operation::Delete;
    if !matches!(verb, "lookup" | "destroy") {
        return Err(Fault::unsupported_path());
    }
    if !writes(call) && !destroys {
        return Err(Fault::unsupported_operation());
    }
    let fields = Fields(&call.data);
    let (text, accessor);
    let at = match area {
        "secret-id" => {
            text = Secret::new(fields.required("secret_id")?);
            SecretIdAt::Text(&text)
        }
        _ => {
            accessor = fields.required("secret_id_accessor")?;
            SecretIdAt::Accessor(&accessor)
        }
    };
    let found = match verb {
        "lookup" => auth
            .look_up_secret_id(&call.permit, at)
            .await?
            .map(|info| Reply::data(&show_secret_id(&info))),
        _ => auth
            .destroy_secret_id(&call.permit, at)
            .await?
            .then_some(Ok(Reply::NoContent)),
    };
    match (found, area) {
        (Some(reply), _) => reply,
        (None, "secret-id") => Ok(Reply::NoContent),
        (None, _) => {
            let text = "failed to find accessor entry for secret_id_accessor";
            Err(Fault::new(404, text))
        }
    }
}

fn show_secret_id(info: &SecretIdInfo) -> Value {
    // Vault's way to say never.
    let never = || json!("0001-01-01T00:00:00Z");
    json!({
        "cidr_list": blocks(&info.cidrs),
        "creation_time": info.creation_time,
        "expiration_time": info.expiration_time.map_or_else(never, |end| json!(end)),
        "last_updated_time": info.last_updated_time,
        "metadata": info.metadata,
        "secret_id_accessor": info.accessor,
        "secret_id_num_uses": info.num_uses,
        "secret_id_ttl": info.ttl,
        "token_bound_cidrs": blocks(&info.token_cidrs),
    })
}

/// Destroys the secret id that an answer hands out which nobody will see (A1).
pub(super) async fn take_back(auth: &AuthService, call: &Call, data: &str) -> Result<(), Fault> {
    #[derive(serde::Deserialize)]
    struct Made {
        secret_id_accessor: String,
    }
    let segments: Vec<&str> = call.permit.rest().split('/').collect();
    let makes = matches!(segments[..], ["role", _, "secret-id" | "custom-secret-id"]);
    if let Some(made) = serde_json::from_str::<Made>(data).ok().filter(|_| makes) {
        let at = SecretIdAt::Accessor(&made.secret_id_accessor);
        auth.destroy_secret_id(&call.permit, at).await?;
    }
    Ok(())
}
