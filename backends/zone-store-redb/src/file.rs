//! The file itself: made, opened, measured.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::Database;
use rustix::fs::{Advice, fadvise, statvfs};

use crate::error::Fault;

/// Makes the file, for this user only, unless it is there. Its name is durable afterwards.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(file) => {
            file.sync_all()?;
            sync_directory(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens the file, which must be there. After a crash redb checks all of it first.
pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Database, Fault> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(|session| {
        tracing::info!(
            progress = session.progress(),
            "the store was not closed; checking it"
        );
    });
    // The file exists, so this makes a database only of an empty one.
    Ok(builder.create(path)?)
}

/// Drops the kernel's copy of the file, so that the next read comes from the disk. After a failed
/// fsync that copy may hold pages, marked clean, which the disk never got.
pub(crate) fn forget_pages(path: &Path) -> Result<(), Fault> {
    let file = File::open(path)?;
    // Pages that can still be written are written; those that cannot stay dirty in no cache.
    let synced = file.sync_all();
    fadvise(&file, 0, None, Advice::DontNeed)?;
    if let Err(error) = synced {
        tracing::warn!(%error, "the store's file could not be synced");
    }
    Ok(())
}

/// Whether the file system has `bytes` left.
pub(crate) fn check_room(path: &Path, bytes: u64) -> Result<(), Fault> {
    let stat = statvfs(path)?;
    if stat.f_bavail.saturating_mul(stat.f_frsize) < bytes {
        return Err(Fault::Room);
    }
    Ok(())
}

/// Makes the entries of `path`'s directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
