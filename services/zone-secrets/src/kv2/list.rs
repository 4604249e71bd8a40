//! Listing one level of paths, folders skipped over and not walked through.

use zone_access::{Operation, Permit};
use zone_ports::KeyRange;
use zone_ports::store::successor;

use super::place::{Area, Place};
use super::{KvError, KvService};

/// Keys asked for at once.
const PAGE: usize = 1000;
/// The same while folders are large.
const SMALL_PAGE: usize = 16;

impl KvService {
    /// `metadata/PATH/`: the names below a folder in order, those of folders with `/` at their
    /// end. Only names behind `after` (which need not exist), and at most `limit`.
    pub async fn list(
        &self,
        permit: &Permit,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, KvError> {
        let place = Place::permitted(permit, Area::Metadata, &[Operation::List])?;
        if !matches!(place.path().as_bytes().last(), None | Some(b'/')) {
            return Err(KvError::WrongPermit);
        }
        self.names_below(place.metadata_prefix(), after, limit)
            .await
    }

    /// The names at one level of the keys that begin with `folder`.
    pub(crate) async fn names_below(
        &self,
        folder: Vec<u8>,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, KvError> {
        let most = limit.unwrap_or(usize::MAX);
        let mut range = KeyRange::prefix(folder.clone());
        if let Some(start) = after.and_then(|after| start_behind(&folder, after)) {
            range = range.from(start);
        }
        let mut names = Vec::new();
        let mut page_size = PAGE.min(most.saturating_add(1));
        loop {
            let page = self.barrier.scan_keys(&range, page_size).await?;
            let Some(last) = page.last() else {
                return Ok(names);
            };
            range = range.after(last);
            let mut inside = None;
            let mut skipped = 0;
            for key in &page {
                let rest = &key.as_bytes()[folder.len()..];
                if inside
                    .as_ref()
                    .is_some_and(|folder: &Vec<u8>| rest.starts_with(folder))
                {
                    skipped += 1;
                    continue;
                }
                if names.len() == most {
                    return Ok(names);
                }
                let name = match rest.iter().position(|byte| *byte == b'/') {
                    Some(slash) => &rest[..=slash],
                    None => rest,
                };
                inside = name.ends_with(b"/").then(|| name.to_vec());
                names.push(String::from_utf8(name.to_vec()).map_err(|_| KvError::Corrupt)?);
            }
            if page.len() < page_size {
                return Ok(names);
            }
            if let Some(name) = inside {
                let behind = successor(&[&folder[..], &name].concat()).ok_or(KvError::Corrupt)?;
                range = range.from(behind);
            }
            page_size = match skipped * 2 > page.len() {
                true => (page_size / 2).max(SMALL_PAGE),
                false => (page_size * 2).min(PAGE),
            };
        }
    }
}

/// The first key behind the name `after`. A folder's name is behind what is in it.
fn start_behind(folder: &[u8], after: &str) -> Option<Vec<u8>> {
    if after.is_empty() {
        return None;
    }
    let mut start = folder.to_vec();
    match after.split_once('/') {
        None => {
            start.extend_from_slice(after.as_bytes());
            start.push(0);
        }
        Some((name, _)) => {
            start.extend_from_slice(name.as_bytes());
            start.push(b'/' + 1);
        }
    }
    Some(start)
}
