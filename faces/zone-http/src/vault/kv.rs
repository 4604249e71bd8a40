//! KV under `/v1/<mount>/`: Vault's shapes outside, [`zone_secrets`] inside. Here version 2, in
//! [`v1`] version 1.
//!
//! Each service method takes its path from the permit (A3); here only the endpoint is chosen and
//! the fields are read.

mod metadata;
#[cfg(test)]
mod tests;
mod v1;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zone_access::Operation;
use zone_secrets::kv2::{Patched, Skeleton, VersionInfo};
use zone_secrets::{KvError, KvService};
use zone_types::Timestamp;

use super::exchange::{Answer, Call, Fault, Reply, chain, to_raw};
use super::fields::Fields;

/// Answers one permitted call.
pub(crate) async fn handle(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    if call.permit.mount().kv_version() == 1 {
        return v1::handle(kv, call).await;
    }
    if call.permit.mount().upgrading {
        return Err(KvError::Upgrading.into());
    }
    let (area, path) = match call.permit.rest().split_once('/') {
        Some((area, path)) => (area, Some(path)),
        None => (call.permit.rest(), None),
    };
    match (area, path) {
        // As in Vault, `data/` and `data/folder/` name no secret and are no endpoint.
        ("data", Some(path)) if !path.is_empty() && !path.ends_with('/') => data(kv, call).await,
        ("metadata", Some(_)) => metadata::handle(kv, call).await,
        ("config", None) => metadata::config(kv, call).await,
        ("subkeys", Some(_)) => subkeys(kv, call).await,
        ("delete" | "undelete" | "destroy", Some(_)) => versions(kv, call, area).await,
        ("data" | "metadata" | "delete" | "undelete" | "destroy", None) => Ok(warned(
            "Non-listing operations on the root of a K/V v2 mount are not supported.".to_owned(),
        )),
        _ => Ok(warned(no_such_endpoint(call.permit.operation()))),
    }
}

async fn data(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => {
            let reading = kv.read(&call.permit, version(&call.data)?).await?;
            let data = reading.data()?;
            let view = SecretView {
                data,
                metadata: VersionView::of(&reading.info),
            };
            let reply = found_or_gone(&view, reading.is_gone())?;
            Ok(watched(reply, &reading.info))
        }
        Operation::Create | Operation::Update => {
            let secret = secret(&call.data)?;
            let written = kv.write(&call.permit, secret, cas(&call.data)?).await?;
            Reply::data(&VersionView::of(&written))
        }
        Operation::Patch => {
            let patch = secret(&call.data)?;
            match kv.patch(&call.permit, patch, cas(&call.data)?).await? {
                Patched::Written(info) => {
                    let reply = Reply::data(&VersionView::of(&info))?;
                    Ok(watched(reply, &info))
                }
                Patched::Gone(info) => found_or_gone(&VersionView::of(&info), true),
            }
        }
        Operation::Delete => {
            kv.delete_latest(&call.permit).await?;
            Ok(Reply::NoContent)
        }
        Operation::List => Err(Fault::unsupported_operation()),
    }
}

async fn subkeys(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let depth = whole(&call.data, "depth")?.unwrap_or(0);
    let depth = usize::try_from(depth).unwrap_or(usize::MAX);
    let found = kv
        .subkeys(&call.permit, version(&call.data)?, depth)
        .await?;
    let view = SubkeysView {
        subkeys: found.keys.as_ref(),
        metadata: VersionView::of(&found.info),
    };
    let reply = found_or_gone(&view, found.keys.is_none())?;
    Ok(watched(reply, &found.info))
}

/// An answer for which the values of a secret were read: if the secret is a canary, an alert.
fn watched(reply: Reply, info: &VersionInfo) -> Reply {
    match reply {
        Reply::Data(answer) if info.is_canary() => Reply::Data(Answer {
            alert: Some("canary-read"),
            ..answer
        }),
        other => other,
    }
}

async fn versions(kv: &KvService, call: &Call, area: &str) -> Result<Reply, Fault> {
    if !matches!(
        call.permit.operation(),
        Operation::Create | Operation::Update
    ) {
        return Err(Fault::unsupported_operation());
    }
    let numbers = Fields(&call.data).numbers("versions")?.unwrap_or_default();
    let number = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let numbers: Option<Vec<u64>> = numbers.into_iter().map(number).collect();
    let numbers = numbers.ok_or_else(|| wrong("versions", "a list of version numbers"))?;
    if numbers.is_empty() {
        return Err(Fault::bad_request(match area {
            "destroy" => "no version number provided",
            _ => "No version number provided",
        }));
    }
    match area {
        "delete" => kv.delete(&call.permit, &numbers).await?,
        "undelete" => kv.undelete(&call.permit, &numbers).await?,
        _ => kv.destroy(&call.permit, &numbers).await?,
    }
    Ok(Reply::NoContent)
}

/// `data`, which must be an object.
fn secret(data: &Map<String, Value>) -> Result<&Map<String, Value>, Fault> {
    Fields(data)
        .object("data")?
        .ok_or_else(|| Fault::bad_request("no data provided"))
}

/// `options.cas`. One that is there but is no number is refused: to pass over it would write
/// without the check that was asked for.
fn cas(data: &Map<String, Value>) -> Result<Option<i64>, Fault> {
    let Some(options) = Fields(data).object("options")? else {
        return Ok(None);
    };
    if !options.contains_key("cas") {
        return Ok(None);
    }
    match Fields(options).number("cas")? {
        None => Err(wrong("cas", "a whole number")),
        cas => Ok(cas),
    }
}

/// `version`; 0 means the current one.
fn version(data: &Map<String, Value>) -> Result<Option<u64>, Fault> {
    Ok(whole(data, "version")?.filter(|version| *version > 0))
}

/// A whole number that is not below zero.
fn whole(data: &Map<String, Value>, name: &str) -> Result<Option<u64>, Fault> {
    let Some(number) = Fields(data).number(name)? else {
        return Ok(None);
    };
    match u64::try_from(number) {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(wrong(name, "a whole number, not below zero")),
    }
}

fn wrong(name: &str, expected: &str) -> Fault {
    Fault::bad_request(format!("field '{name}': expected {expected}"))
}

/// 404 with a warning and no error, as Vault says it.
fn warned(warning: String) -> Reply {
    Reply::Gone(Answer {
        warnings: vec![warning],
        ..Answer::default()
    })
}

fn no_such_endpoint(operation: Operation) -> String {
    let command = match operation {
        Operation::Create | Operation::Update => "put",
        Operation::Patch => "patch",
        Operation::Read => "get",
        Operation::List => "list",
        Operation::Delete => "delete",
    };
    format!(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate \
         API endpoints to use. If using the Vault CLI, use 'vault kv {command}' for this operation."
    )
}

/// 200 with `view`, or 404 with it for a version without data.
fn found_or_gone(view: &impl Serialize, gone: bool) -> Result<Reply, Fault> {
    let answer = Answer {
        data: Some(to_raw(view)?),
        ..Answer::default()
    };
    Ok(if gone {
        Reply::Gone(answer)
    } else {
        Reply::Data(answer)
    })
}

#[derive(Serialize)]
struct SecretView<'a> {
    data: Option<&'a RawValue>,
    metadata: VersionView<'a>,
}

#[derive(Serialize)]
struct SubkeysView<'a> {
    metadata: VersionView<'a>,
    subkeys: Option<&'a Skeleton>,
}

#[derive(Serialize)]
struct VersionView<'a> {
    created_time: Timestamp,
    custom_metadata: Option<&'a BTreeMap<String, String>>,
    #[serde(serialize_with = "instant_or_empty")]
    deletion_time: Option<Timestamp>,
    destroyed: bool,
    version: u64,
}

impl<'a> VersionView<'a> {
    fn of(info: &'a VersionInfo) -> Self {
        Self {
            created_time: info.created,
            custom_metadata: info.custom_metadata.as_ref(),
            deletion_time: info.deletion,
            destroyed: info.destroyed,
            version: info.version,
        }
    }
}

/// Vault writes "no instant" as an empty text.
fn instant_or_empty<S: Serializer>(
    at: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => at.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

impl From<KvError> for Fault {
    fn from(error: KvError) -> Self {
        match error {
            KvError::NotFound => Self::not_found(),
            KvError::Denied => Self::denied(),
            KvError::SecretTooLarge => Self::new(413, error.to_string()),
            KvError::Barrier(error) => error.into(),
            KvError::Corrupt | KvError::WrongPermit => Self::internal(chain(&error)),
            _ => Self::bad_request(error.to_string()),
        }
    }
}
