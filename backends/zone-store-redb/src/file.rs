//! The file itself: made, opened, measured.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::Database;
use rustix::fs::{Advice, CWD, RenameFlags, fadvise, renameat_with, statvfs};

use crate::error::Fault;

/// Memory that a new database needs.
const CACHE: usize = 1024 * 1024;

/// Makes an empty database, for this user only, unless the file is there. It gets its name when it
/// is whole: redb takes a file that it was killed over for a foreign one.
pub(crate) fn create(path: &Path) -> Result<(), Fault> {
    if path.try_exists()? {
        return Ok(());
    }
    let partial = Partial::new(path)?;
    open(&partial.path, CACHE)?.close()?;
    match partial.finish(path) {
        Err(Fault::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// A file under another name, gone again unless it is finished.
pub(crate) struct Partial {
    pub(crate) path: PathBuf,
}

impl Partial {
    /// An empty file beside `target`, for this user only.
    pub(crate) fn new(target: &Path) -> Result<Self, Fault> {
        let mut name = OsString::from(target);
        name.push(".partial");
        let path = PathBuf::from(name);
        // What a crash left of an earlier try.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        options.open(&path)?;
        Ok(Self { path })
    }

    /// Gives the file its name, durably; fails if there is one of that name.
    pub(crate) fn finish(self, target: &Path) -> Result<(), Fault> {
        File::open(&self.path)?.sync_all()?;
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?;
        sync_directory(target)?;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Already renamed, or nothing more can be done.
        drop(fs::remove_file(&self.path));
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

/// Makes the kernel's copy of the file durable and drops it, so that the next read comes from the
/// disk. After a failed fsync that copy may hold pages, marked clean, which the disk never got; the
/// next fsync does not tell of it.
pub(crate) fn forget_pages(path: &Path) -> Result<(), Fault> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(drop_pages(&file)?)
}

/// Drops the kernel's copy of a file that was synced.
pub(crate) fn drop_pages(file: &File) -> io::Result<()> {
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
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
