//! The store's records as the barrier has them, for repairs. Served only if the configuration
//! says so in as many words.
//!
//! A write goes past every service: what they keep in memory is not told of it. Seal and unseal
//! after a repair.

use std::collections::BTreeSet;

use zeroize::Zeroizing;
use zone_access::Permit;
use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};

use crate::{System, SystemError};

/// What is nobody's to see or change: keys, shares, the commit log, the keys of audit devices, the
/// salt of tokens (which is the key of batch tokens).
const REFUSED: [&str; 4] = [
    "core/barrier/",
    "core/commit-log/",
    "core/audit/",
    "core/access/",
];
/// Keys asked for at once.
const PAGE: usize = 1000;
/// Most names in one list.
const MOST: usize = 10_000;

impl System {
    /// The value at `path`, decrypted.
    pub async fn raw_read(
        &self,
        _permit: &Permit,
        path: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, SystemError> {
        let found = self.barrier.get(&key(path)?).await?;
        Ok(found.map(|plain| plain.value))
    }

    /// Writes the value at `path`.
    pub async fn raw_write(
        &self,
        _permit: &Permit,
        path: &str,
        value: Vec<u8>,
    ) -> Result<(), SystemError> {
        self.barrier
            .commit(Batch::new().put(key(path)?, value))
            .await?;
        Ok(())
    }

    /// Removes the value at `path`.
    pub async fn raw_delete(&self, _permit: &Permit, path: &str) -> Result<(), SystemError> {
        self.barrier.commit(Batch::new().delete(key(path)?)).await?;
        Ok(())
    }

    /// The names below `folder` (empty, or with `/` at its end), in order; those of folders end
    /// in `/`.
    pub async fn raw_list(
        &self,
        _permit: &Permit,
        folder: &str,
    ) -> Result<Vec<String>, SystemError> {
        refuse(folder)?;
        let mut names = BTreeSet::new();
        let mut range = KeyRange::prefix(folder.to_owned());
        while names.len() < MOST {
            let page = self.barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else { break };
            range = range.after(last);
            for key in &page {
                let rest = String::from_utf8_lossy(&key.as_bytes()[folder.len()..]).into_owned();
                let name = rest.split_inclusive('/').next().unwrap_or(&rest).to_owned();
                if let Some(behind) = name
                    .ends_with('/')
                    .then(|| zone_ports::store::successor(format!("{folder}{name}").as_bytes()))
                    .flatten()
                {
                    range = range.from(behind);
                    names.insert(name);
                    break;
                }
                names.insert(name);
            }
        }
        Ok(names.into_iter().collect())
    }
}

fn key(path: &str) -> Result<Key, SystemError> {
    refuse(path)?;
    Key::new(path.to_owned())
        .map_err(|_| SystemError::Invalid("the path is empty, or too long for a key".into()))
}

fn refuse(path: &str) -> Result<(), SystemError> {
    let inside = |area: &&str| path.starts_with(*area) || format!("{path}/") == **area;
    match REFUSED.iter().any(inside) {
        true => Err(SystemError::Invalid(
            "keys, shares, salts, the commit log and audit devices are not served raw".into(),
        )),
        false => Ok(()),
    }
}
