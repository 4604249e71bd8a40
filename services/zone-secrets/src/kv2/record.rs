//! The stored forms (docs/formats/kv.md).

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;
use zone_types::Timestamp;

use super::config::Expiry;
use super::{DEFAULT_MAX_VERSIONS, KvError, MAX_SECRET, VersionInfo};

const FORM: u8 = 1;

/// Instants as whole nanoseconds: read on every request, so not as text.
mod nanos {
    use serde::{Deserialize, Deserializer, Serializer};
    use zone_types::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.nanos())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_nanos)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Serializer, Timestamp};

        pub(in super::super) fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => serializer.serialize_i64(at.nanos()),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_nanos))
        }
    }
}

/// The metadata record of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    v: u8,
    /// Differs for each life of the path.
    pub(crate) generation: u64,
    #[serde(with = "nanos")]
    pub(super) created: Timestamp,
    #[serde(with = "nanos")]
    pub(super) updated: Timestamp,
    /// Number of the last version written; 0 before the first.
    pub(crate) current: u64,
    /// As Vault counts: 0 until the first version had to go.
    pub(super) oldest: u64,
    /// Changes of the settings, for check-and-set.
    pub(super) metadata_version: u64,
    /// 0: as the mount says.
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    pub(super) metadata_cas_required: bool,
    /// Seconds; 0: as the mount says.
    pub(super) delete_after: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) custom: BTreeMap<String, String>,
    /// In order of their numbers.
    pub(super) versions: Vec<Version>,
}

/// One version in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) version: u64,
    #[serde(with = "nanos")]
    pub(super) created: Timestamp,
    #[serde(
        with = "nanos::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) deletion: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) destroyed: bool,
}

impl Version {
    /// Whether it reads as deleted at `now`.
    pub(super) fn is_deleted(&self, now: Timestamp) -> bool {
        self.deletion.is_some_and(|at| at <= now)
    }
}

impl Metadata {
    pub(crate) fn new(generation: u64, now: Timestamp) -> Self {
        Self {
            v: FORM,
            generation,
            created: now,
            updated: now,
            current: 0,
            oldest: 0,
            metadata_version: 0,
            max_versions: 0,
            cas_required: false,
            metadata_cas_required: false,
            delete_after: 0,
            custom: BTreeMap::new(),
            versions: Vec::new(),
        }
    }

    pub(super) fn version(&self, number: u64) -> Option<&Version> {
        let at = self
            .versions
            .binary_search_by_key(&number, |one| one.version)
            .ok()?;
        self.versions.get(at)
    }

    pub(super) fn version_mut(&mut self, number: u64) -> Option<&mut Version> {
        let at = self
            .versions
            .binary_search_by_key(&number, |one| one.version)
            .ok()?;
        self.versions.get_mut(at)
    }

    /// Adds the next version and drops the oldest ones over the limit. Returns those of them
    /// whose data is still stored.
    pub(crate) fn add_version(&mut self, now: Timestamp, config: &Config) -> Vec<u64> {
        self.current += 1;
        self.updated = now;
        let deletion = config.deletion(now, self.delete_after);
        self.versions.push(Version {
            version: self.current,
            created: now,
            deletion,
            destroyed: false,
        });
        let most = match self.max_versions.max(config.max_versions) {
            0 => DEFAULT_MAX_VERSIONS,
            most => most,
        };
        if self.current - self.oldest < u64::from(most) {
            return Vec::new();
        }
        self.oldest = self.current - u64::from(most) + 1;
        let kept = self
            .versions
            .partition_point(|one| one.version < self.oldest);
        let gone = self.versions.drain(..kept).filter(|one| !one.destroyed);
        gone.map(|one| one.version).collect()
    }

    /// What is told of version `number`.
    pub(super) fn info(&self, number: u64) -> Option<VersionInfo> {
        let version = self.version(number)?;
        Some(VersionInfo {
            version: version.version,
            created: version.created,
            deletion: version.deletion,
            destroyed: version.destroyed,
            custom_metadata: (!self.custom.is_empty()).then(|| self.custom.clone()),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KvError> {
        decode(bytes, |record: &Self| record.v)
    }

    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KvError> {
        encode(self)
    }
}

/// The settings of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    v: u8,
    /// 0: the default.
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    pub(super) metadata_cas_required: bool,
    /// Seconds; 0: never; below 0: never, whatever a secret says.
    pub(super) delete_after: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            v: FORM,
            max_versions: 0,
            cas_required: false,
            metadata_cas_required: false,
            delete_after: 0,
        }
    }
}

impl Config {
    pub(super) fn expiry(&self) -> Expiry {
        match u64::try_from(self.delete_after) {
            Err(_) => Expiry::Disabled,
            Ok(0) => Expiry::Unset,
            Ok(secs) => Expiry::After(Duration::from_secs(secs)),
        }
    }

    /// When a version that is written (or restored) `now` is deleted: after the shorter of the
    /// times that mount and secret set.
    pub(super) fn deletion(&self, now: Timestamp, of_secret: u64) -> Option<Timestamp> {
        let of_mount = u64::try_from(self.delete_after).ok()?;
        let secs = match (of_mount, of_secret) {
            (0, 0) => return None,
            (0, secs) | (secs, 0) => secs,
            (a, b) => a.min(b),
        };
        Some(now.plus(Duration::from_secs(secs)))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KvError> {
        decode(bytes, |record: &Self| record.v)
    }

    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KvError> {
        encode(self)
    }
}

/// Versions that no metadata lists any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trash {
    v: u8,
    pub(super) path: String,
    pub(super) generation: u64,
    /// First and last number of each run.
    pub(super) ranges: Vec<(u64, u64)>,
}

impl Trash {
    /// Takes the versions `dead`, which are in order.
    pub(super) fn of(path: &str, generation: u64, dead: &[u64]) -> Self {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &version in dead {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == version => *last = version,
                _ => ranges.push((version, version)),
            }
        }
        Self {
            v: FORM,
            path: path.to_owned(),
            generation,
            ranges,
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, KvError> {
        decode(bytes, |record: &Self| record.v)
    }

    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KvError> {
        encode(self)
    }
}

/// The record of one version, borrowed from its bytes.
#[derive(Deserialize)]
struct VersionRecord<'a> {
    v: u8,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The secret's JSON text inside a version record.
pub(crate) fn secret_text(record: &[u8]) -> Result<&RawValue, KvError> {
    let record: VersionRecord<'_> = serde_json::from_slice(record).map_err(|_| KvError::Corrupt)?;
    if record.v == FORM {
        Ok(record.data)
    } else {
        Err(KvError::Corrupt)
    }
}

/// The version record of `data`: one allocation of the right size, wiped when dropped.
pub(crate) fn version_record(data: &Map<String, Value>) -> Result<Zeroizing<Vec<u8>>, KvError> {
    const HEAD: &[u8] = br#"{"v":1,"data":"#;
    let mut length = Length(0);
    serde_json::to_writer(&mut length, data).map_err(|_| KvError::Corrupt)?;
    if length.0 > MAX_SECRET {
        return Err(KvError::SecretTooLarge);
    }
    let mut record = Zeroizing::new(Vec::with_capacity(HEAD.len() + length.0 + 1));
    record.extend_from_slice(HEAD);
    serde_json::to_writer(&mut *record, data).map_err(|_| KvError::Corrupt)?;
    record.push(b'}');
    Ok(record)
}

/// Counts bytes.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], form: impl Fn(&T) -> u8) -> Result<T, KvError> {
    let record = serde_json::from_slice(bytes).map_err(|_| KvError::Corrupt)?;
    if form(&record) == FORM {
        Ok(record)
    } else {
        Err(KvError::Corrupt)
    }
}

fn encode(record: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, KvError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    serde_json::to_writer(&mut *bytes, record).map_err(|_| KvError::Corrupt)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/");

    fn golden(name: &str) -> Vec<u8> {
        let mut bytes = std::fs::read(format!("{GOLDEN}{name}")).unwrap();
        assert_eq!(
            bytes.pop(),
            Some(b'\n'),
            "a golden file ends in a newline of its own"
        );
        bytes
    }

    fn metadata() -> Metadata {
        let second = Timestamp::from_secs;
        let version = |version, deletion, destroyed| Version {
            version,
            created: second(1_795_000_000 + version as i64),
            deletion,
            destroyed,
        };
        Metadata {
            created: second(1_794_999_000),
            updated: Timestamp::from_nanos(1_795_000_100_123_456_789),
            current: 12,
            oldest: 10,
            metadata_version: 2,
            max_versions: 3,
            cas_required: true,
            metadata_cas_required: false,
            delete_after: 3600,
            custom: BTreeMap::from([("owner".into(), "team-ä".into())]),
            versions: vec![
                version(10, Some(second(1_795_003_610)), true),
                version(11, Some(second(1_795_003_611)), false),
                version(12, None, false),
            ],
            ..Metadata::new(0x0123_4567_89ab_cdef, second(0))
        }
    }

    #[test]
    fn golden_metadata_1() {
        let bytes = golden("kv2-metadata-1.json");
        assert_eq!(Metadata::decode(&bytes).unwrap(), metadata());
        assert_eq!(metadata().encode().unwrap().as_slice(), bytes);
    }

    #[test]
    fn golden_config_1() {
        let config = Config {
            max_versions: 5,
            cas_required: true,
            delete_after: -1,
            ..Config::default()
        };
        let bytes = golden("kv2-config-1.json");
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        assert_eq!(config.encode().unwrap().as_slice(), bytes);
    }

    #[test]
    fn golden_trash_1() {
        let trash = Trash::of("team/app", 0x0123_4567_89ab_cdef, &[1, 2, 3, 7, 9, 10]);
        let bytes = golden("kv2-trash-1.json");
        assert_eq!(Trash::decode(&bytes).unwrap(), trash);
        assert_eq!(trash.encode().unwrap().as_slice(), bytes);
    }

    #[test]
    fn golden_version_1() {
        let bytes = golden("kv2-version-1.json");
        let text = r#"{"z":1.10,"a":[null,true,"ä\u0000"],"n":123456789012345678901234567890}"#;
        assert_eq!(secret_text(&bytes).unwrap().get(), text);
        let data = zone_types::json::parse_object(text.as_bytes()).unwrap();
        assert_eq!(version_record(&data).unwrap().as_slice(), bytes);
    }

    #[test]
    fn an_unknown_form_is_corrupt() {
        let text = String::from_utf8(golden("kv2-metadata-1.json")).unwrap();
        let newer = text.replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(
            Metadata::decode(newer.as_bytes()),
            Err(KvError::Corrupt)
        ));
        assert!(matches!(Metadata::decode(b"{}"), Err(KvError::Corrupt)));
        assert!(matches!(
            secret_text(br#"{"v":2,"data":{}}"#),
            Err(KvError::Corrupt)
        ));
    }

    #[test]
    fn a_secret_of_one_mebibyte_fits_and_no_more() {
        let secret = |text: usize| {
            let mut data = Map::new();
            data.insert("k".into(), "x".repeat(text).into());
            version_record(&data)
        };
        let frame = r#"{"k":""}"#.len();
        let record = secret(MAX_SECRET - frame).unwrap();
        assert_eq!(
            record.capacity(),
            record.len(),
            "no growth left copies behind"
        );
        assert!(matches!(
            secret(MAX_SECRET - frame + 1),
            Err(KvError::SecretTooLarge)
        ));
    }

    #[test]
    fn the_shorter_time_counts_and_a_mount_can_switch_it_off() {
        let now = Timestamp::from_secs(100);
        let at = |mount, secret| {
            Config {
                delete_after: mount,
                ..Config::default()
            }
            .deletion(now, secret)
            .map(Timestamp::secs)
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(10, 0), Some(110));
        assert_eq!(at(0, 20), Some(120));
        assert_eq!(at(10, 20), Some(110));
        assert_eq!(at(30, 20), Some(120));
        assert_eq!(at(-1, 20), None);
    }

    #[test]
    fn versions_over_the_limit_go_as_in_vault() {
        let now = Timestamp::from_secs(1);
        let mut secret = Metadata::new(1, now);
        let config = Config {
            max_versions: 3,
            ..Config::default()
        };
        for _ in 0..2 {
            assert!(secret.add_version(now, &config).is_empty());
        }
        assert_eq!((secret.current, secret.oldest), (2, 0));
        assert!(secret.add_version(now, &config).is_empty());
        assert_eq!((secret.current, secret.oldest), (3, 1));
        assert_eq!(secret.add_version(now, &config), [1]);
        secret.version_mut(2).unwrap().destroyed = true;
        assert!(
            secret.add_version(now, &config).is_empty(),
            "its data is gone already"
        );
        assert_eq!(
            (secret.current, secret.oldest, secret.versions.len()),
            (5, 3, 3)
        );
        // The larger limit of mount and secret counts; a lower one drops several at once.
        secret.max_versions = 1;
        assert_eq!(secret.add_version(now, &config), [3]);
        let lower = Config {
            max_versions: 1,
            ..Config::default()
        };
        assert_eq!(secret.add_version(now, &lower), [4, 5, 6]);
    }
}
