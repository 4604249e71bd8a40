//! `metadata/` and `config` of a KV v2 mount.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use zone_access::Operation;
use zone_secrets::KvService;
use zone_secrets::kv2::{
    ConfigUpdate, CustomChange, Expiry, MetadataUpdate, Notice, SecretMetadata, VersionState,
};
use zone_types::duration::format_go;
use zone_types::{Timestamp, parse_duration};

use super::{instant_or_empty, whole, wrong};
use crate::vault::exchange::{Answer, Call, Fault, Reply};
use crate::vault::fields::Fields;

pub(super) async fn handle(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    let permit = &call.permit;
    match permit.operation() {
        Operation::Read => Reply::data(&MetadataView::of(&kv.read_metadata(permit).await?)),
        Operation::List => list(kv, call).await,
        Operation::Create | Operation::Update => {
            let update = update(&call.data, Nulls::AreAbsent)?;
            Ok(noticed(&kv.write_metadata(permit, &update).await?))
        }
        Operation::Patch => {
            let update = update(&call.data, Nulls::Reset)?;
            Ok(noticed(&kv.patch_metadata(permit, &update).await?))
        }
        Operation::Delete => {
            kv.delete_metadata(permit).await?;
            Ok(Reply::NoContent)
        }
    }
}

pub(super) async fn config(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => {
            let settings = kv.read_config(&call.permit).await?;
            Reply::data(&ConfigView {
                cas_required: settings.cas_required,
                delete_version_after: match settings.delete_version_after {
                    Expiry::Unset => format_go(Duration::ZERO),
                    Expiry::After(span) => format_go(span),
                    Expiry::Disabled => "-1s".to_owned(),
                },
                max_versions: settings.max_versions,
                metadata_cas_required: settings.metadata_cas_required,
            })
        }
        Operation::Create | Operation::Update => {
            let fields = Fields(&call.data);
            let update = ConfigUpdate {
                max_versions: max_versions(&call.data)?,
                cas_required: fields.flag("cas_required")?,
                metadata_cas_required: fields.flag("metadata_cas_required")?,
                delete_version_after: expiry(&fields)?,
            };
            kv.write_config(&call.permit, update).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn list(kv: &KvService, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let after = fields.text("after")?;
    // As in OpenBao, a limit of zero or below is none.
    let limit = fields
        .number("limit")?
        .and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0);
    Reply::keys(&kv.list(&call.permit, after.as_deref(), limit).await?)
}

/// What a null in the body means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    AreAbsent,
    /// RFC 7396: back to the default.
    Reset,
}

fn update(data: &Map<String, Value>, nulls: Nulls) -> Result<MetadataUpdate, Fault> {
    let fields = Fields(data);
    let reset = |name: &str| nulls == Nulls::Reset && data.get(name) == Some(&Value::Null);
    Ok(MetadataUpdate {
        max_versions: max_versions(data)?.or(reset("max_versions").then_some(0)),
        cas_required: fields
            .flag("cas_required")?
            .or(reset("cas_required").then_some(false)),
        metadata_cas_required: fields
            .flag("metadata_cas_required")?
            .or(reset("metadata_cas_required").then_some(false)),
        delete_version_after: fields
            .duration("delete_version_after")?
            .or(reset("delete_version_after").then_some(Duration::ZERO)),
        custom_metadata: match fields.object("custom_metadata")? {
            Some(map) if nulls == Nulls::Reset => Some(CustomChange::Merge(merged(map)?)),
            Some(map) => Some(CustomChange::Replace(replaced(map)?)),
            None => reset("custom_metadata").then(|| CustomChange::Replace(BTreeMap::new())),
        },
        metadata_cas: match (
            fields.number("metadata_cas")?,
            data.contains_key("metadata_cas"),
        ) {
            (None, true) => return Err(wrong("metadata_cas", "a whole number")),
            (cas, _) => cas,
        },
    })
}

fn replaced(map: &Map<String, Value>) -> Result<BTreeMap<String, String>, Fault> {
    let entry = |(key, value): (&String, &Value)| match custom_text(value)? {
        Some(text) => Ok((key.clone(), text)),
        None => Err(not_texts()),
    };
    map.iter().map(entry).collect()
}

fn merged(map: &Map<String, Value>) -> Result<BTreeMap<String, Option<String>>, Fault> {
    map.iter()
        .map(|(key, value)| Ok((key.clone(), custom_text(value)?)))
        .collect()
}

/// A value of custom metadata as text, in the spelling that Vault gives numbers and booleans.
fn custom_text(value: &Value) -> Result<Option<String>, Fault> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(u8::from(*flag).to_string())),
        _ => Err(not_texts()),
    }
}

fn not_texts() -> Fault {
    wrong("custom_metadata", "an object of texts")
}

fn max_versions(data: &Map<String, Value>) -> Result<Option<u32>, Fault> {
    // What does not fit is over the service's limit, which it names.
    Ok(whole(data, "max_versions")?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
}

/// `delete_version_after` of a mount: below zero switches it off.
fn expiry(fields: &Fields<'_>) -> Result<Option<Expiry>, Fault> {
    let Some(text) = fields.text("delete_version_after")? else {
        return Ok(None);
    };
    let (negative, span) = match text.trim().strip_prefix('-') {
        Some(span) => (true, span),
        None => (false, text.trim()),
    };
    let span = parse_duration(span)
        .map_err(|fault| Fault::bad_request(format!("field 'delete_version_after': {fault}")))?;
    Ok(Some(match (span.is_zero(), negative) {
        (true, _) => Expiry::Unset,
        (false, true) => Expiry::Disabled,
        (false, false) => Expiry::After(span),
    }))
}

/// 204, or 200 with what the caller should know.
fn noticed(notices: &[Notice]) -> Reply {
    if notices.is_empty() {
        return Reply::NoContent;
    }
    let warning = |notice: &Notice| {
        let field = match notice {
            Notice::CasRequiredByMount => "cas_required",
            Notice::MetadataCasRequiredByMount => "metadata_cas_required",
        };
        format!(
            "\"{field}\" set to false, but is mandated by backend config. This value will be ignored."
        )
    };
    Reply::Data(Answer {
        warnings: notices.iter().map(warning).collect(),
        ..Answer::default()
    })
}

#[derive(Serialize)]
struct ConfigView {
    cas_required: bool,
    delete_version_after: String,
    max_versions: u32,
    metadata_cas_required: bool,
}

#[derive(Serialize)]
struct MetadataView<'a> {
    cas_required: bool,
    created_time: Timestamp,
    current_metadata_version: u64,
    current_version: u64,
    custom_metadata: Option<&'a BTreeMap<String, String>>,
    delete_version_after: String,
    max_versions: u32,
    metadata_cas_required: bool,
    oldest_version: u64,
    updated_time: Timestamp,
    versions: Versions<'a>,
}

impl<'a> MetadataView<'a> {
    fn of(shown: &'a SecretMetadata) -> Self {
        Self {
            cas_required: shown.cas_required,
            created_time: shown.created,
            current_metadata_version: shown.metadata_version,
            current_version: shown.current_version,
            custom_metadata: shown.custom_metadata.as_ref(),
            delete_version_after: format_go(shown.delete_version_after),
            max_versions: shown.max_versions,
            metadata_cas_required: shown.metadata_cas_required,
            oldest_version: shown.oldest_version,
            updated_time: shown.updated,
            versions: Versions(&shown.versions),
        }
    }
}

/// The versions, keyed by their numbers as texts.
struct Versions<'a>(&'a [VersionState]);

impl Serialize for Versions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape {
            created_time: Timestamp,
            #[serde(serialize_with = "instant_or_empty")]
            deletion_time: Option<Timestamp>,
            destroyed: bool,
        }
        serializer.collect_map(self.0.iter().map(|state| {
            let shape = Shape {
                created_time: state.created,
                deletion_time: state.deletion,
                destroyed: state.destroyed,
            };
            (state.version.to_string(), shape)
        }))
    }
}
