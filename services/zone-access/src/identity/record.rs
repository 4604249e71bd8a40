//! What is stored of identity, and the limits of what a caller may put there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zone_types::{AliasId, EntityId, GroupId, NamespaceId, RequestPath, Timestamp};

use crate::AccessError;
use crate::record::V1;

/// Free metadata.
pub(super) type Metadata = BTreeMap<String, String>;

/// Largest record, in bytes: one record of the barrier.
pub(super) const LARGEST: usize = 64 * 1024;
/// Longest name of an entity or a group, in bytes.
const LONGEST_NAME: usize = 512;
/// Longest name of an alias, in bytes (a SPIFFE ID has at most 2,048).
pub(super) const LONGEST_ALIAS: usize = 2048;

/// What is stored of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityRecord {
    pub(super) v: V1,
    /// Its id, for life.
    pub id: EntityId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name as it was written.
    pub name: String,
    /// Its policies: normalised, sorted, no duplicates.
    pub policies: Vec<String>,
    /// Whether its tokens are refused.
    pub disabled: bool,
    /// Free metadata.
    pub metadata: Option<Metadata>,
    /// The names under which it logs in.
    pub aliases: Vec<Alias>,
    /// Entities that were merged into it.
    pub merged: Vec<EntityId>,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was last changed.
    pub last_update_time: Timestamp,
}

/// A name under which an entity logs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// Its id, for life.
    pub id: AliasId,
    /// The accessor of the auth mount that knows the name.
    pub mount_accessor: String,
    /// The name, byte for byte as the auth mount asserts it.
    pub name: String,
    /// What the auth mount says of it.
    pub metadata: Option<Metadata>,
    /// What operators say of it.
    pub custom_metadata: Option<Metadata>,
    /// The entities that it belonged to before they were merged.
    pub merged_from: Vec<EntityId>,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was last changed.
    pub last_update_time: Timestamp,
}

/// Who says who is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupKind {
    /// Operators.
    Internal,
    /// An auth mount, at each login.
    External,
}

impl GroupKind {
    /// Vault's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }

    /// From Vault's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Internal, Self::External]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// What is stored of a group. Its members stand in records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    pub(super) v: V1,
    /// Its id, for life.
    pub id: GroupId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name as it was written.
    pub name: String,
    /// Who says who is in it.
    pub kind: GroupKind,
    /// Its policies: normalised, sorted, no duplicates.
    pub policies: Vec<String>,
    /// Free metadata.
    pub metadata: Option<Metadata>,
    /// The name by which an auth mount knows an external group.
    pub alias: Option<GroupAlias>,
    /// How often it was written.
    pub modify_index: u64,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was last changed.
    pub last_update_time: Timestamp,
}

/// The name by which an auth mount knows a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupAlias {
    /// Its id, for life.
    pub id: AliasId,
    /// The accessor of the auth mount.
    pub mount_accessor: String,
    /// The name, byte for byte.
    pub name: String,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was last changed.
    pub last_update_time: Timestamp,
}

/// Who has a name: an entity's or a group's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NameRecord {
    pub(super) v: V1,
    pub(super) id: String,
    /// As it was written, for lists.
    pub(super) name: String,
}

/// Whose an alias is: the id of an entity or a group.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerRecord {
    pub(super) v: V1,
    pub(super) owner: String,
}

/// A name in the form that is compared: Unicode's lower case.
pub(super) fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// A name that can stand in a path, and does not look like another one.
pub(super) fn check_name(name: &str) -> Result<(), AccessError> {
    let canonical = RequestPath::from_text(name).is_ok() && !name.ends_with('/');
    if name.is_empty() || name.len() > LONGEST_NAME || !canonical || name.trim() != name {
        return Err(AccessError::invalid(format!(
            "field 'name': expected at most {LONGEST_NAME} bytes without control or invisible \
             characters, white space at an end, or an empty, '.' or '..' segment"
        )));
    }
    Ok(())
}

/// A name that an auth mount may assert. Whatever it is, it is compared byte for byte.
pub(super) fn check_alias_name(name: &str) -> Result<(), AccessError> {
    if name.is_empty() || name.len() > LONGEST_ALIAS {
        return Err(AccessError::invalid(format!(
            "field 'name': expected 1 to {LONGEST_ALIAS} bytes"
        )));
    }
    Ok(())
}

/// Vault's limits of metadata.
pub(super) fn check_metadata(field: &str, metadata: &Metadata) -> Result<(), AccessError> {
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty() && key.len() <= 128 && value.len() <= 512
    };
    if metadata.len() > 64 || !metadata.iter().all(fits) {
        return Err(AccessError::invalid(format!(
            "field '{field}': expected at most 64 keys of 1 to 128 bytes and values of at most \
             512 bytes"
        )));
    }
    Ok(())
}

/// The record as it is stored.
pub(super) fn encoded(record: &impl Serialize) -> Result<Vec<u8>, AccessError> {
    let value = serde_json::to_vec(record)?;
    if value.len() > LARGEST {
        return Err(AccessError::invalid(
            "policies, metadata and aliases have at most 64 KiB together",
        ));
    }
    Ok(value)
}
