//! Vault's and OpenBao's own configuration files, HCL 1 or JSON, read into the form of
//! `zonehead.toml`.
//!
//! A key that has no counterpart here is an error that names what takes its place: an operator
//! must not believe that something is in force that is not. Keys that ask for what a head does
//! anyway are taken.
//!
//! Source: Vault's documentation of its configuration; `docs/how-to/from-vault.md` has the table.

mod keys;
mod values;

use std::path::{Path, PathBuf};

use zone_types::hcl::{self, Item, items_from_json};
use zone_types::json::{self, JsonFault};

use super::{ConfigFault, File, Storage};
use keys::Reader;
use values::{At, blocks};

/// One file's items.
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) items: Vec<Item>,
}

/// Reads the text of one file; JSON if it begins with `{`.
pub(super) fn parse(file: &Path, text: &str) -> Result<Source, ConfigFault> {
    let at = |line: Option<usize>| At {
        file,
        line: line.and_then(|line| u32::try_from(line).ok()),
    };
    let blank = ['\u{feff}', ' ', '\t', '\r', '\n'];
    let items = if text.trim_start_matches(blank).starts_with('{') {
        let map = json::parse_object(text.as_bytes()).map_err(|fault| match fault {
            JsonFault::Malformed { line, column } => {
                at(Some(line)).fault(&format!("not JSON (column {column})"))
            }
            other => at(None).fault(&other.to_string()),
        })?;
        items_from_json(map)
    } else {
        hcl::parse(text).map_err(|fault| at(Some(fault.line as usize)).fault(fault.message))?
    };
    Ok(Source {
        file: file.to_owned(),
        items,
    })
}

/// What the files say together. A key that may stand once stands once in all of them.
pub(super) fn read(sources: Vec<Source>) -> Result<File, ConfigFault> {
    let mut reader = Reader::default();
    let first = sources.first().map(|source| source.file.clone());
    for Source { file, items } in sources {
        for item in items {
            let at = At {
                file: &file,
                line: item.line,
            };
            reader.take(&at, item)?;
        }
    }
    let file = first.unwrap_or_default();
    reader.finish(&At {
        file: &file,
        line: None,
    })
}

/// Whether a directory holds what Vault or OpenBao stored; a head must not begin beside it.
pub(super) fn foreign_store(storage: &Storage) -> Option<&'static str> {
    let path = storage.path.as_path();
    [
        ("vault.db", "Vault's raft data"),
        ("raft", "Vault's raft data"),
        ("core", "Vault's files"),
    ]
    .into_iter()
    .find(|(name, _)| path.join(name).exists())
    .map(|(_, what)| what)
}

#[cfg(test)]
mod tests;
