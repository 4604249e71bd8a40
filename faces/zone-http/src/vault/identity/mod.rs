//! `identity/`: entities, aliases, groups, and looking them up.

mod alias;
mod entity;
mod group;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};
use zone_access::identity::AliasAsk;
use zone_access::{Access, Operation};
use zone_types::RequestPath;

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;

/// The path that a call by name is judged by and served at: names are compared in Unicode's lower
/// case, so a rule for one spelling holds for all (A3). `None` if the path stands as it is.
pub(super) fn canonical(path: &RequestPath) -> Option<RequestPath> {
    let text = path.as_str();
    let by_name = ["identity/entity/name/", "identity/group/name/"];
    if !by_name.iter().any(|prefix| text.starts_with(prefix)) {
        return None;
    }
    RequestPath::from_text(&text.to_lowercase()).ok()
}

/// Serves one permitted call below `identity/`.
pub(super) async fn handle(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let rest = call.permit.rest();
    if call.permit.operation() == Operation::List {
        return list(access, call, rest).await;
    }
    let (kind, which) = rest.split_once('/').unwrap_or((rest, ""));
    match (kind, which) {
        ("entity", "merge") if writes(call) => entity::merge(access, call).await,
        ("entity", "batch-delete") if writes(call) => entity::batch_delete(access, call).await,
        ("entity", which) => entity::handle(access, call, Which::parse(which)?).await,
        ("entity-alias", which) => alias::handle(access, call, Which::parse(which)?).await,
        ("group", which) => group::handle(access, call, Which::parse(which)?).await,
        ("group-alias", which) => group::handle_alias(access, call, Which::parse(which)?).await,
        ("lookup", "entity") if writes(call) => entity::look_up(access, call).await,
        ("lookup", "group") if writes(call) => group::look_up(access, call).await,
        _ => Err(Fault::unsupported_path()),
    }
}

async fn list(access: &Access, call: &Call, rest: &str) -> Result<Reply, Fault> {
    match rest {
        "entity/id/" => entity::list(access, call, false).await,
        "entity/name/" => entity::list(access, call, true).await,
        "entity-alias/id/" => alias::list(access, call).await,
        "group/id/" => group::list(access, call, false).await,
        "group/name/" => group::list(access, call, true).await,
        "group-alias/id/" => group::list_aliases(access, call).await,
        _ => Err(Fault::unsupported_path()),
    }
}

/// What the path names.
enum Which<'a> {
    /// What the body names, or something new.
    Any,
    Id(&'a str),
    Name(&'a str),
}

impl<'a> Which<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        match text.split_once('/') {
            None if text.is_empty() => Ok(Self::Any),
            Some(("id", id)) if !id.is_empty() => Ok(Self::Id(id)),
            Some(("name", name)) if !name.is_empty() => Ok(Self::Name(name)),
            _ => Err(Fault::unsupported_path()),
        }
    }
}

/// A field's text; an empty one counts as not given, as in Vault.
fn filled(fields: &Fields<'_>, name: &str) -> Result<Option<String>, Fault> {
    Ok(fields.text(name)?.filter(|text| !text.is_empty()))
}

/// How something is looked up.
enum Wanted {
    Id(String),
    Name(String),
    AliasId(String),
    /// The accessor of the mount, and the name.
    Alias(String, String),
}

impl Wanted {
    fn read(call: &Call) -> Result<Self, Fault> {
        let fields = Fields(&call.data);
        let one = |name| filled(&fields, name);
        let (name, accessor) = (one("alias_name")?, one("alias_mount_accessor")?);
        let by_alias = match (name, accessor) {
            (Some(name), Some(accessor)) => Some(Self::Alias(accessor, name)),
            (None, None) => None,
            _ => {
                let text = "both 'alias_name' and 'alias_mount_accessor' needs to be set";
                return Err(Fault::bad_request(text));
            }
        };
        let given = [
            one("id")?.map(Self::Id),
            one("name")?.map(Self::Name),
            one("alias_id")?.map(Self::AliasId),
            by_alias,
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(wanted), None) => Ok(wanted),
            (None, _) => Err(Fault::bad_request("query parameter not supplied")),
            (Some(_), Some(_)) => Err(Fault::bad_request(
                "query parameter conflict; please supply distinct set of query parameters",
            )),
        }
    }
}

/// What a body says of an alias.
fn alias_ask(call: &Call, which: &Which<'_>) -> Result<AliasAsk, Fault> {
    let fields = Fields(&call.data);
    let id = match which {
        Which::Id(id) => Some((*id).to_owned()),
        _ => filled(&fields, "id")?,
    };
    Ok(AliasAsk {
        id,
        name: filled(&fields, "name")?,
        mount_accessor: filled(&fields, "mount_accessor")?,
        canonical_id: match filled(&fields, "canonical_id")? {
            None => filled(&fields, "entity_id")?,
            given => given,
        },
        custom_metadata: fields.text_map("custom_metadata")?,
    })
}

/// Adds where the auth mount of `accessor` is, if it is still there.
fn add_mount(access: &Access, data: &mut Value, accessor: &str) -> Result<(), Fault> {
    if let Some(mount) = access.auth_mount(accessor)? {
        data["mount_path"] = mount.path.as_str().into();
        data["mount_type"] = mount.kind.as_str().into();
    }
    Ok(())
}

/// A list with what is told of each key; Vault's 404 if there are none.
fn keys_with_info(keys: &[String], info: Map<String, Value>) -> Result<Reply, Fault> {
    if keys.is_empty() {
        return Err(Fault::not_found());
    }
    Reply::data(&json!({ "keys": keys, "key_info": info }))
}
