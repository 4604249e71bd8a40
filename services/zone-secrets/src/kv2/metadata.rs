//! The metadata of a secret: its settings and its list of versions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use zone_access::{Operation, Permit};
use zone_types::Timestamp;

use super::change::{Needs, Next, Plan, State};
use super::config::whole_seconds;
use super::place::{Area, Place, judged};
use super::record::{Config, Metadata};
use super::{CUSTOM_KEY_LEN, CUSTOM_KEYS, CUSTOM_VALUE_LEN, KvError, KvService, MOST_VERSIONS};

/// All about one secret but its data.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretMetadata {
    /// When it was made.
    pub created: Timestamp,
    /// When the last version was written.
    pub updated: Timestamp,
    /// The current version; 0 before the first.
    pub current_version: u64,
    /// The oldest version that is kept; 0 until the first one had to go.
    pub oldest_version: u64,
    /// How often settings were written.
    pub metadata_version: u64,
    /// Versions to keep; 0: as the mount says.
    pub max_versions: u32,
    /// Whether each write needs check-and-set.
    pub cas_required: bool,
    /// Whether each change of metadata needs check-and-set.
    pub metadata_cas_required: bool,
    /// After what time versions are deleted; zero: as the mount says.
    pub delete_version_after: Duration,
    /// Free texts; `None` for none.
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// The versions in order.
    pub versions: Vec<VersionState>,
}

impl fmt::Debug for SecretMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata of {} versions", self.versions.len())
    }
}

/// One version in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionState {
    /// Its number.
    pub version: u64,
    /// When it was written.
    pub created: Timestamp,
    /// When it was or will be deleted.
    pub deletion: Option<Timestamp>,
    /// Whether its data is gone for good.
    pub destroyed: bool,
}

/// What to change; `None` stays as it is.
#[derive(Default)]
pub struct MetadataUpdate {
    /// Versions to keep; 0: as the mount says.
    pub max_versions: Option<u32>,
    /// Whether each write needs check-and-set.
    pub cas_required: Option<bool>,
    /// Whether each change of metadata needs check-and-set.
    pub metadata_cas_required: Option<bool>,
    /// After what time versions are deleted; zero: as the mount says. A fraction of a second
    /// counts as one.
    pub delete_version_after: Option<Duration>,
    /// Free texts.
    pub custom_metadata: Option<CustomChange>,
    /// Only if the settings were written this often (0: the secret does not exist).
    pub metadata_cas: Option<i64>,
}

impl MetadataUpdate {
    /// Whether nothing is to be set.
    pub fn is_empty(&self) -> bool {
        let Self {
            max_versions,
            cas_required,
            metadata_cas_required,
            delete_version_after,
            custom_metadata,
            metadata_cas: _,
        } = self;
        max_versions.is_none()
            && cas_required.is_none()
            && metadata_cas_required.is_none()
            && delete_version_after.is_none()
            && custom_metadata.is_none()
    }
}

impl fmt::Debug for MetadataUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetadataUpdate")
    }
}

/// A change of custom metadata.
pub enum CustomChange {
    /// These and no others.
    Replace(BTreeMap<String, String>),
    /// These beside the others; `None` removes.
    Merge(BTreeMap<String, Option<String>>),
}

/// What a change of metadata met that its caller should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The mount demands check-and-set, whatever the secret says.
    CasRequiredByMount,
    /// The mount demands check-and-set for metadata, whatever the secret says.
    MetadataCasRequiredByMount,
}

impl KvService {
    /// `metadata/PATH`: all about the secret.
    pub async fn read_metadata(&self, permit: &Permit) -> Result<SecretMetadata, KvError> {
        let place = Place::permitted(permit, Area::Metadata, &[Operation::Read])?;
        let (metadata, _) = self.metadata(&place).await?.ok_or(KvError::NotFound)?;
        Ok(shown(metadata))
    }

    /// `metadata/PATH`: changes settings; makes the secret, without a version, if it does not
    /// exist. An empty update does nothing.
    pub async fn write_metadata(
        &self,
        permit: &Permit,
        update: &MetadataUpdate,
    ) -> Result<Vec<Notice>, KvError> {
        let operations = [Operation::Create, Operation::Update];
        let place = Place::permitted(permit, Area::Metadata, &operations)?.nameable()?;
        self.update(&place, permit, update).await
    }

    /// `metadata/PATH`: the same for a secret that exists.
    pub async fn patch_metadata(
        &self,
        permit: &Permit,
        update: &MetadataUpdate,
    ) -> Result<Vec<Notice>, KvError> {
        let place = Place::permitted(permit, Area::Metadata, &[Operation::Patch])?.nameable()?;
        self.update(&place, permit, update).await
    }

    /// `metadata/PATH`: removes the secret with all versions. From the moment this returns none
    /// of them can be read; the data of many versions may take until after the next unsealing
    /// to go if this head stops meanwhile.
    pub async fn delete_metadata(&self, permit: &Permit) -> Result<(), KvError> {
        let place = Place::permitted(permit, Area::Metadata, &[Operation::Delete])?;
        self.change(
            permit,
            &place,
            Needs::Metadata,
            |State { metadata, .. }| {
                let Some(metadata) = metadata else {
                    return Ok(Plan::nothing(()));
                };
                let stored = metadata.versions.iter().filter(|one| !one.destroyed);
                let dead = stored.map(|one| one.version).collect();
                let next = Next::Removed(metadata.generation);
                Ok(Plan {
                    next,
                    reads_canary: false,
                    record: None,
                    dead,
                    reply: (),
                })
            },
        )
        .await
    }

    async fn update(
        &self,
        place: &Place<'_>,
        permit: &Permit,
        update: &MetadataUpdate,
    ) -> Result<Vec<Notice>, KvError> {
        if update.max_versions.is_some_and(|most| most > MOST_VERSIONS) {
            return Err(KvError::TooManyVersions);
        }
        let is_patch = permit.operation() == Operation::Patch;
        let now = permit.now();
        self.change(permit, place, Needs::Metadata, |state| {
            let State {
                config,
                metadata,
                fresh,
                ..
            } = state;
            match (is_patch, &metadata) {
                (true, None) => return Err(KvError::NotFound),
                (true, Some(_)) => {}
                (false, _) => judged(permit, metadata.is_some())?,
            }
            if update.is_empty() {
                return Ok(Plan::nothing(Vec::new()));
            }
            check_cas(&config, metadata.as_ref(), update.metadata_cas)?;
            let mut metadata = metadata.unwrap_or_else(|| Metadata::new(fresh, now));
            metadata.metadata_version += 1;
            apply(&mut metadata, update)?;
            Ok(Plan::metadata(metadata, notices(&config, update)))
        })
        .await
    }
}

fn check_cas(
    config: &Config,
    metadata: Option<&Metadata>,
    cas: Option<i64>,
) -> Result<(), KvError> {
    let required = config.metadata_cas_required
        || metadata.is_some_and(|metadata| metadata.metadata_cas_required);
    match (cas, metadata) {
        (None, _) if required => Err(KvError::MetadataCasRequired),
        (None, _) | (Some(0), None) => Ok(()),
        (Some(_), None) => Err(KvError::MetadataCasNotNew),
        (Some(cas), Some(metadata)) if u64::try_from(cas) == Ok(metadata.metadata_version) => {
            Ok(())
        }
        (Some(_), Some(_)) => Err(KvError::MetadataCasMismatch),
    }
}

fn apply(metadata: &mut Metadata, update: &MetadataUpdate) -> Result<(), KvError> {
    metadata.max_versions = update.max_versions.unwrap_or(metadata.max_versions);
    metadata.cas_required = update.cas_required.unwrap_or(metadata.cas_required);
    metadata.metadata_cas_required = update
        .metadata_cas_required
        .unwrap_or(metadata.metadata_cas_required);
    if let Some(span) = update.delete_version_after {
        metadata.delete_after = whole_seconds(span);
    }
    match &update.custom_metadata {
        None => return Ok(()),
        Some(CustomChange::Replace(custom)) => metadata.custom.clone_from(custom),
        Some(CustomChange::Merge(changes)) => {
            for (key, change) in changes {
                match change {
                    Some(value) => metadata.custom.insert(key.clone(), value.clone()),
                    None => metadata.custom.remove(key),
                };
            }
        }
    }
    check_custom(&metadata.custom)
}

/// Vault's limits. Vault judges the change alone, so a merge can pass them there.
fn check_custom(custom: &BTreeMap<String, String>) -> Result<(), KvError> {
    if custom.len() > CUSTOM_KEYS {
        return Err(KvError::CustomKeys(custom.len()));
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > CUSTOM_KEY_LEN {
            return Err(KvError::CustomKeyLength(key.len()));
        }
        if value.is_empty() || value.len() > CUSTOM_VALUE_LEN {
            return Err(KvError::CustomValueLength(value.len()));
        }
        if !key.chars().chain(value.chars()).all(is_printable) {
            return Err(KvError::CustomUnprintable);
        }
    }
    Ok(())
}

/// Nearly Go's `unicode.IsPrint`: no control characters, no white space but the plain one, no
/// invisible formatting characters.
fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}'
        | '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible)
}

fn notices(config: &Config, update: &MetadataUpdate) -> Vec<Notice> {
    let mut notices = Vec::new();
    if config.cas_required && update.cas_required == Some(false) {
        notices.push(Notice::CasRequiredByMount);
    }
    if config.metadata_cas_required && update.metadata_cas_required == Some(false) {
        notices.push(Notice::MetadataCasRequiredByMount);
    }
    notices
}

fn shown(metadata: Metadata) -> SecretMetadata {
    let state = |version: &super::record::Version| VersionState {
        version: version.version,
        created: version.created,
        deletion: version.deletion,
        destroyed: version.destroyed,
    };
    SecretMetadata {
        created: metadata.created,
        updated: metadata.updated,
        current_version: metadata.current,
        oldest_version: metadata.oldest,
        metadata_version: metadata.metadata_version,
        max_versions: metadata.max_versions,
        cas_required: metadata.cas_required,
        metadata_cas_required: metadata.metadata_cas_required,
        delete_version_after: Duration::from_secs(metadata.delete_after),
        versions: metadata.versions.iter().map(state).collect(),
        custom_metadata: Some(metadata.custom).filter(|custom| !custom.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn custom_metadata_has_limits() {
        let check = |pairs: &[(&str, &str)]| check_custom(&custom(pairs));
        assert!(check(&[("owner", "team ä"), (&"k".repeat(128), &"v".repeat(512))]).is_ok());
        assert!(matches!(
            check(&[("", "v")]),
            Err(KvError::CustomKeyLength(0))
        ));
        assert!(matches!(
            check(&[(&"k".repeat(129), "v")]),
            Err(KvError::CustomKeyLength(129))
        ));
        assert!(matches!(
            check(&[("k", "")]),
            Err(KvError::CustomValueLength(0))
        ));
        assert!(matches!(
            check(&[("k", &"v".repeat(513))]),
            Err(KvError::CustomValueLength(513))
        ));
        for text in ["a\nb", "a\u{202e}b", "a\u{a0}b", "\u{7f}"] {
            assert!(
                matches!(check(&[("k", text)]), Err(KvError::CustomUnprintable)),
                "{text:?}"
            );
            assert!(
                matches!(check(&[(text, "v")]), Err(KvError::CustomUnprintable)),
                "{text:?}"
            );
        }
        let many = (0..65).map(|n| (format!("k{n}"), "v".into())).collect();
        assert!(matches!(check_custom(&many), Err(KvError::CustomKeys(65))));
    }
}
