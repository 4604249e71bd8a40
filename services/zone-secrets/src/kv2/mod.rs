//! KV version 2: secrets with versions, as Vault serves them.
//!
//! ```text
//! m/PATH                      metadata: settings, and the list of versions
//! v/PATH 0x00 GENERATION N    one version: the JSON text as it was written
//! c/config                    settings of the mount
//! t/ID                        versions that nobody can reach any more, still to be removed
//! ```
//!
//! The metadata record is the pointer: a version exists if and only if it is listed there. Each
//! change reads the metadata, decides, and commits one batch that demands the metadata unchanged.
//! A secret that is deleted and written anew has a new generation, so leftovers of the old one
//! can be removed at leisure, and a reader never pairs the old metadata with new data.
//!
//! Stored forms: `docs/formats/kv.md`. Behaviour: Vault's API, §1 of its reference; where we are
//! stricter is said at the place.

mod change;
mod config;
mod event;
mod list;
mod merge;
mod metadata;
pub(crate) mod place;
mod read;
pub(crate) mod record;
mod skeleton;
mod trash;
mod turns;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zone_barrier::{Barrier, BarrierError};
use zone_ports::Random;
use zone_types::Timestamp;

pub use config::{ConfigUpdate, Expiry, MountSettings};
pub use metadata::{CustomChange, MetadataUpdate, Notice, SecretMetadata, VersionState};
pub use read::{Reading, Subkeys};
pub use skeleton::Skeleton;
pub use write::Patched;

/// Largest JSON text of one secret, in bytes.
pub const MAX_SECRET: usize = 1024 * 1024;
/// Longest path of a secret below its mount, in bytes.
pub const MAX_PATH: usize = 400;
/// Versions that are kept if nobody says otherwise.
pub const DEFAULT_MAX_VERSIONS: u32 = 10;
/// Most versions that a secret may keep. Vault has no such bound and fails when the list no
/// longer fits its store.
pub const MOST_VERSIONS: u32 = 10_000;
/// Most keys of custom metadata.
pub const CUSTOM_KEYS: usize = 64;
/// Longest key of custom metadata, in bytes.
pub const CUSTOM_KEY_LEN: usize = 128;
/// Longest value of custom metadata, in bytes.
pub const CUSTOM_VALUE_LEN: usize = 512;

/// The engine. One for all mounts of its kind.
pub struct KvService {
    pub(crate) barrier: Barrier,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) turns: turns::Turns,
}

impl KvService {
    /// The engine over `barrier`. `random` draws generations and the names of cleanup records.
    pub fn new(barrier: Barrier, random: Arc<dyn Random>) -> Self {
        Self {
            barrier,
            random,
            turns: turns::Turns::default(),
        }
    }
}

impl fmt::Debug for KvService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KvService")
    }
}

/// What is known of one version, without its data.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its number, from 1.
    pub version: u64,
    /// When it was written.
    pub created: Timestamp,
    /// When it was or will be deleted.
    pub deletion: Option<Timestamp>,
    /// Whether its data is gone for good.
    pub destroyed: bool,
    /// The custom metadata of the secret; `None` if there is none.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

impl VersionInfo {
    /// Whether each reading of the secret's values raises an alert: its custom metadata has
    /// `canary` = `true`.
    pub fn is_canary(&self) -> bool {
        self.custom_metadata.as_ref().is_some_and(event::is_canary)
    }
}

impl fmt::Debug for VersionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of {}", self.version, self.created)
    }
}

/// Why nothing was done, sorted by what the caller can do. `Display` is for the client, in
/// Vault's words where it has any; it holds nothing that a client sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// There is no such secret or version.
    #[error("no such secret")]
    NotFound,
    /// The permit is for another endpoint or operation: the face called the wrong method.
    #[error("the permit does not cover this call")]
    WrongPermit,
    /// The secret came or went after the permit was made, and the policies do not allow what the
    /// write has become (`update` for `create`, or the other way round).
    #[error("permission denied")]
    Denied,
    /// No secret is named.
    #[error("missing path")]
    MissingPath,
    /// The path ends in `/`.
    #[error("cannot write to a path ending in '/'")]
    FolderPath,
    /// The path is over [`MAX_PATH`] bytes.
    #[error("the path of a secret must not exceed 400 bytes")]
    PathTooLong,
    /// The secret is over [`MAX_SECRET`] bytes.
    #[error("the secret must not exceed 1 MiB")]
    SecretTooLarge,
    /// Secret or mount demand check-and-set.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// The current version is another one.
    #[error("check-and-set parameter did not match the current version")]
    CasMismatch,
    /// Secret or mount demand check-and-set for metadata.
    #[error("metadata check-and-set parameter required for this call")]
    MetadataCasRequired,
    /// The metadata was changed since.
    #[error("metadata check-and-set parameter does not match the current version")]
    MetadataCasMismatch,
    /// There is no metadata yet, and the caller expected some.
    #[error("metadata_cas must be 0 when creating new metadata")]
    MetadataCasNotNew,
    /// More than [`MOST_VERSIONS`].
    #[error("max_versions must not exceed 10000")]
    TooManyVersions,
    /// More than [`CUSTOM_KEYS`] keys of custom metadata.
    #[error(
        "custom_metadata validation failed: payload must contain at most 64 keys, provided {0}"
    )]
    CustomKeys(usize),
    /// A key of custom metadata is empty or too long.
    #[error(
        "custom_metadata validation failed: length of a key is {0} but must be 0 < len(key) <= 128"
    )]
    CustomKeyLength(usize),
    /// A value of custom metadata is empty or too long.
    #[error(
        "custom_metadata validation failed: length of a value is {0} but must be 0 < len(value) <= 512"
    )]
    CustomValueLength(usize),
    /// A key or value of custom metadata has characters that cannot be printed.
    #[error("custom_metadata validation failed: a key or value contains unprintable characters")]
    CustomUnprintable,
    /// The mount is on its way from version 1 to version 2, in Vault's words.
    #[error(
        "Upgrading from non-versioned to versioned data. This backend will be unavailable for a \
         brief period and will resume service shortly."
    )]
    Upgrading,
    /// Nothing is to be written, in Vault's words.
    #[error("missing data fields")]
    NoData,
    /// A record is not what was written there. Never served.
    #[error("a stored record is corrupt")]
    Corrupt,
    /// The barrier refused.
    #[error("the barrier refused")]
    Barrier(#[from] BarrierError),
}
