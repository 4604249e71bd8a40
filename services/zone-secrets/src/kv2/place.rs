//! Where a permit points (A3), and the storage keys behind it.

use zone_access::{Mount, Operation, Permit};
use zone_ports::{Key, KeyRange};

use super::{KvError, MAX_PATH};

/// The endpoints below a mount that name a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    Data,
    Metadata,
    Delete,
    Undelete,
    Destroy,
    Subkeys,
}

impl Area {
    /// The one that `rest` (the path below the mount) is in.
    pub(super) fn of(rest: &str) -> Option<Self> {
        let all = [
            Self::Data,
            Self::Metadata,
            Self::Delete,
            Self::Undelete,
            Self::Destroy,
            Self::Subkeys,
        ];
        all.into_iter().find(|area| rest.starts_with(area.prefix()))
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Data => "data/",
            Self::Metadata => "metadata/",
            Self::Delete => "delete/",
            Self::Undelete => "undelete/",
            Self::Destroy => "destroy/",
            Self::Subkeys => "subkeys/",
        }
    }
}

/// Demands a mount of version 2 that has all its secrets.
pub(super) fn versioned(permit: &Permit) -> Result<(), KvError> {
    let mount = permit.mount();
    match (mount.kv_version(), mount.upgrading) {
        (2, false) => Ok(()),
        (2, true) => Err(KvError::Upgrading),
        _ => Err(KvError::WrongPermit),
    }
}

/// One secret's place in the store.
pub(crate) struct Place<'a> {
    mount: &'a Mount,
    path: &'a str,
    metadata: Key,
}

impl<'a> Place<'a> {
    /// What `permit` allows, if it is one of `operations` in `area`.
    pub(super) fn permitted(
        permit: &'a Permit,
        area: Area,
        operations: &[Operation],
    ) -> Result<Self, KvError> {
        if !operations.contains(&permit.operation()) {
            return Err(KvError::WrongPermit);
        }
        versioned(permit)?;
        let path = permit
            .rest()
            .strip_prefix(area.prefix())
            .ok_or(KvError::WrongPermit)?;
        Self::of(permit.mount(), path)
    }

    /// The secret `path` of `mount`.
    pub(crate) fn of(mount: &'a Mount, path: &'a str) -> Result<Self, KvError> {
        if path.len() > MAX_PATH {
            return Err(KvError::PathTooLong);
        }
        Ok(Self {
            mount,
            path,
            metadata: key(mount, "m", path.as_bytes())?,
        })
    }

    /// Demands a path at which a secret can be.
    pub(super) fn nameable(self) -> Result<Self, KvError> {
        match self.path {
            "" => Err(KvError::MissingPath),
            path if path.ends_with('/') => Err(KvError::FolderPath),
            _ => Ok(self),
        }
    }

    pub(super) fn mount(&self) -> &Mount {
        self.mount
    }

    pub(super) fn path(&self) -> &str {
        self.path
    }

    /// The key of the metadata record.
    pub(crate) fn metadata(&self) -> &Key {
        &self.metadata
    }

    /// What the keys of all metadata records below the path begin with.
    pub(super) fn metadata_prefix(&self) -> Vec<u8> {
        self.metadata.as_bytes().to_vec()
    }

    /// The key of one version.
    pub(crate) fn version(&self, generation: u64, version: u64) -> Result<Key, KvError> {
        version_key(self.mount, self.path, generation, version)
    }
}

/// Whether a write was judged as what it is. Permits are made before the secret is read: without
/// this, a caller who may only create could overwrite by being quick.
pub(crate) fn judged(permit: &Permit, exists: bool) -> Result<(), KvError> {
    let (operation, word) = match exists {
        true => (Operation::Update, "update"),
        false => (Operation::Create, "create"),
    };
    let may = permit.operation() == operation
        || permit.acl().is_some_and(|acl| {
            let words = acl.capabilities(permit.path().as_str());
            words.iter().any(|known| *known == word || *known == "root")
        });
    if may { Ok(()) } else { Err(KvError::Denied) }
}

/// The key of one version. A path holds no control bytes, so `0x00` ends it beyond doubt.
pub(super) fn version_key(
    mount: &Mount,
    path: &str,
    generation: u64,
    version: u64,
) -> Result<Key, KvError> {
    key(
        mount,
        "v",
        format!("{path}\0{generation:016x}{version:016x}").as_bytes(),
    )
}

/// The versions `first` to `last` of one generation.
pub(super) fn version_range(
    mount: &Mount,
    path: &str,
    generation: u64,
    (first, last): (u64, u64),
) -> Result<KeyRange, KvError> {
    let mut end = version_key(mount, path, generation, last)?
        .as_bytes()
        .to_vec();
    end.push(0);
    let start = version_key(mount, path, generation, first)?
        .as_bytes()
        .to_vec();
    Ok(KeyRange {
        start: start.into(),
        end: Some(end.into()),
    })
}

/// The key of the mount's settings.
pub(super) fn config_key(mount: &Mount) -> Result<Key, KvError> {
    key(mount, "c", b"config")
}

/// The key of one cleanup record.
pub(super) fn trash_key(mount: &Mount, id: [u8; 8]) -> Result<Key, KvError> {
    key(
        mount,
        "t",
        format!("{:016x}", u64::from_be_bytes(id)).as_bytes(),
    )
}

fn key(mount: &Mount, kind: &str, rest: &[u8]) -> Result<Key, KvError> {
    mount.key(kind, rest).map_err(|_| KvError::PathTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mount as it is stored.
    fn mount() -> Mount {
        let text = r#"{"namespace":"root","id":"0123456789abcdef","path":"kv/","kind":"kv",
            "accessor":"kv_1","uuid":"u","description":"","options":{},"config":{}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn golden_keys_1() {
        let mount = mount();
        let place = Place::of(&mount, "team/app").unwrap();
        let keys = [
            place.metadata().clone(),
            place.version(0x0123_4567_89ab_cdef, 12).unwrap(),
            config_key(&mount).unwrap(),
            trash_key(&mount, [0, 1, 2, 3, 4, 5, 6, 0xff]).unwrap(),
        ];
        let line = |key: &Key| format!("{}\n", key.as_bytes().escape_ascii());
        let lines: String = keys.iter().map(line).collect();
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/kv2-keys-1.txt");
        assert_eq!(lines, std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn a_range_of_versions_is_that_path_and_generation_alone() {
        let mount = mount();
        let range = version_range(&mount, "a", 7, (2, 4)).unwrap();
        let inside = |path, generation, version| {
            let key = version_key(&mount, path, generation, version).unwrap();
            let end = range.end.as_ref().unwrap();
            key.as_bytes() >= &range.start[..] && key.as_bytes() < &end[..]
        };
        assert_eq!(
            [1, 2, 4, 5].map(|n| inside("a", 7, n)),
            [false, true, true, false]
        );
        assert!(!inside("a", 6, 3) && !inside("a", 8, 3) && !inside("a/b", 7, 3));
    }
}
