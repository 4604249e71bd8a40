//! Audit lines in a file.
//!
//! What must hold:
//!
//! * Only a regular file with one name, inside a directory that the caller allowed, never behind
//!   a symbolic link; created 0600; nobody else may write it; one process at a time (`flock`).
//! * An existing file that does not begin like an audit line is refused, so no other file can be
//!   cut or written by naming it as an audit file.
//! * After a failed append the file is as it was before, or the next `tail` cuts what is torn.
//! * A reserve is kept allocated behind the end (`fallocate` with `KEEP_SIZE`): a full disk still
//!   takes the lines of those who free it. File systems that cannot do that have no reserve.
//!
//! Absent: what a line is, beyond its first bytes and its newline.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use zone_ports::audit::{AuditRoom, AuditTail};
use zone_ports::{AuditSink, AuditSinkError};

/// Space kept for operators on a full disk.
pub const RESERVE: u64 = 1024 * 1024;
/// Space that is set aside ahead of the lines, so that few appends need a `fallocate`.
const AHEAD: u64 = 1024 * 1024;
/// How every audit file begins.
const BEGINNING: &[u8] = b"{\"time\":\"";
/// Suffix of the next file while a rotation is under way.
const BESIDE: &str = ".next";
/// Longest line that `tail` looks for.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// One audit file.
pub struct FileSink {
    path: PathBuf,
    allowed: Vec<PathBuf>,
    open: Option<Open>,
}

struct Open {
    directory: OwnedFd,
    file: std::fs::File,
    /// Bytes in the file.
    len: u64,
    /// Bytes that have space: at least `len`.
    allocated: u64,
    /// Whether the file system can set space aside.
    reserves: bool,
}

impl FileSink {
    /// Opens or creates the file at `path`, which must be absolute and inside one of the
    /// `allowed` directories.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` if the place is not allowed or the file is not one that this sink may
    /// write, `WouldBlock` if another process has it open, else the system's.
    pub fn open(path: &Path, allowed: &[PathBuf]) -> Result<Self, AuditSinkError> {
        let mut sink = Self {
            path: path.to_owned(),
            allowed: allowed.to_vec(),
            open: None,
        };
        sink.reopen()?;
        Ok(sink)
    }

    fn opened(&mut self) -> Result<&mut Open, AuditSinkError> {
        self.open
            .as_mut()
            .ok_or_else(|| fault("opened", ErrorKind::NotConnected.into()))
    }

    /// The directory, after every link in its path was followed, and the file's name in it.
    fn place(&self) -> io::Result<(PathBuf, OsString)> {
        let (Some(parent), Some(name), true) = (
            self.path.parent(),
            self.path.file_name(),
            self.path.is_absolute(),
        ) else {
            return Err(refused("an audit file needs an absolute path"));
        };
        let parent = parent.canonicalize()?;
        let inside = self.allowed.iter().any(|allowed| {
            allowed
                .canonicalize()
                .is_ok_and(|allowed| parent.starts_with(allowed))
        });
        if !inside {
            return Err(refused(
                "audit files are allowed in the configured directories only",
            ));
        }
        Ok((parent, name.to_owned()))
    }

    fn open_file(&self) -> io::Result<Open> {
        let (parent, name) = self.place()?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = rustix::fs::open(&parent, flags, Mode::empty())?;
        take_up(&directory, &name)?;
        // NONBLOCK: opening a pipe must not hang; it is refused right after.
        let flags = OFlags::CREATE
            | OFlags::APPEND
            | OFlags::RDWR
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NONBLOCK
            | OFlags::NOCTTY;
        let file = rustix::fs::openat(&directory, &name, flags, Mode::RUSR | Mode::WUSR)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
            return Err(refused("an audit file is a regular file with one name"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(refused(
                "others may write the audit file: take that right away",
            ));
        }
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let file = std::fs::File::from(file);
        // Read after the lock: another process may have been writing.
        let len = file.metadata()?.len();
        let mut beginning = vec![
            0;
            BEGINNING
                .len()
                .min(usize::try_from(len).unwrap_or(usize::MAX))
        ];
        file.read_exact_at(&mut beginning, 0)?;
        if !BEGINNING.starts_with(&beginning) {
            return Err(refused("the file exists and is not an audit file"));
        }
        if len == 0 {
            rustix::fs::fsync(&directory)?;
        }
        Ok(Open {
            directory,
            file,
            len,
            allocated: len,
            reserves: true,
        })
    }
}

impl AuditSink for FileSink {
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError> {
        self.opened()?.append(lines)
    }

    fn room(&mut self, bytes: u64) -> Result<AuditRoom, AuditSinkError> {
        self.opened()?.room(bytes)
    }

    fn sync(&mut self) -> Result<(), AuditSinkError> {
        let open = self.opened()?;
        rustix::fs::fdatasync(&open.file).map_err(|error| fault("synced", error.into()))
    }

    fn size(&mut self) -> Result<u64, AuditSinkError> {
        Ok(self.opened()?.len)
    }

    fn rotate(&mut self, suffix: &str, first: &[u8]) -> Result<(), AuditSinkError> {
        let name = self.path.file_name().unwrap_or_default().to_owned();
        let target = with_suffix(&name, suffix);
        if suffix.is_empty() || target.as_encoded_bytes().contains(&b'/') {
            return Err(fault("rotated", ErrorKind::InvalidInput.into()));
        }
        let open = self.opened()?;
        open.replace(&name, &target, first)
            .map_err(|error| fault("rotated", error))?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), AuditSinkError> {
        // The lock of the file that was open goes first: it may be the same file.
        self.open = None;
        self.open = Some(self.open_file().map_err(|error| fault("opened", error))?);
        Ok(())
    }

    fn tail(&mut self) -> Result<AuditTail, AuditSinkError> {
        let open = self.opened()?;
        open.tail().map_err(|error| fault("read", error))
    }
}

impl Open {
    /// Writes `first` to a file beside, then renames twice. A crash between the renames leaves no
    /// file of the name itself; opening takes the one beside (see [`take_up`]).
    fn replace(&self, name: &OsStr, target: &OsStr, first: &[u8]) -> io::Result<()> {
        let directory = &self.directory;
        let beside = with_suffix(name, BESIDE);
        remove_if_there(directory, &beside)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let new = rustix::fs::openat(directory, &beside, flags, Mode::RUSR | Mode::WUSR)?;
        let new = std::fs::File::from(new);
        new.write_all_at(first, 0)?;
        rustix::fs::fdatasync(&new)?;
        rustix::fs::fdatasync(&self.file)?;
        let no_replace = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(directory, name, directory, target, no_replace)?;
        rustix::fs::renameat_with(directory, &beside, directory, name, no_replace)?;
        rustix::fs::fsync(directory)?;
        Ok(())
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError> {
        let failed = |error: io::Error| fault("written", error);
        let stat = rustix::fs::fstat(&self.file).map_err(|error| failed(error.into()))?;
        if stat.st_nlink == 0 {
            return Err(failed(io::Error::new(
                ErrorKind::NotFound,
                "it was deleted",
            )));
        }
        if u64::try_from(stat.st_size) != Ok(self.len) {
            let text = "somebody else changed it";
            return Err(failed(io::Error::new(ErrorKind::InvalidData, text)));
        }
        let mut rest = lines;
        while !rest.is_empty() {
            let error = match rustix::io::write(&self.file, rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(count) => {
                    rest = &rest[count..];
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(error) => io::Error::from(error),
            };
            if rest.len() < lines.len() {
                // If this fails too, the next `tail` cuts the torn line.
                drop(self.cut(self.len));
            }
            return Err(failed(error));
        }
        self.len += lines.len() as u64;
        self.allocated = self.allocated.max(self.len);
        Ok(())
    }

    fn room(&mut self, bytes: u64) -> Result<AuditRoom, AuditSinkError> {
        let needed = self.len + bytes + RESERVE;
        if !self.reserves || self.allocated >= needed {
            return Ok(AuditRoom::Enough);
        }
        for end in [needed + AHEAD, needed] {
            let mode = FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.file, mode, self.len, end - self.len) {
                Ok(()) => {
                    self.allocated = end;
                    return Ok(AuditRoom::Enough);
                }
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.reserves = false;
                    return Ok(AuditRoom::Enough);
                }
                Err(error) => return Err(fault("extended", error.into())),
            }
        }
        Ok(AuditRoom::ReserveOnly)
    }

    /// Cuts the file to `len` bytes. Also frees the space behind.
    fn cut(&mut self, len: u64) -> io::Result<()> {
        rustix::fs::ftruncate(&self.file, len)?;
        (self.len, self.allocated) = (len, len);
        Ok(())
    }

    fn tail(&mut self) -> io::Result<AuditTail> {
        let size = self.file.metadata()?.len();
        self.len = size;
        self.allocated = self.allocated.max(size);
        let end = self.behind_newline(size)?;
        if end < size {
            self.cut(end)?;
        }
        let mut tail = AuditTail {
            line: None,
            cut: size - end,
        };
        if let Some(last) = end.checked_sub(1) {
            let start = self.behind_newline(last)?;
            let mut line = vec![0; usize::try_from(last - start).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut line, start)?;
            tail.line = Some(line);
        }
        Ok(tail)
    }

    /// The offset behind the last newline before `end`; zero if there is none.
    fn behind_newline(&self, end: u64) -> io::Result<u64> {
        let mut chunk = vec![0; 64 * 1024];
        let mut at = end;
        while at > 0 {
            if end - at > MAX_LINE {
                return Err(ErrorKind::InvalidData.into());
            }
            let count = at.min(chunk.len() as u64);
            at -= count;
            let part = &mut chunk[..usize::try_from(count).map_err(io::Error::other)?];
            self.file.read_exact_at(part, at)?;
            if let Some(found) = part.iter().rposition(|byte| *byte == b'\n') {
                return Ok(at + found as u64 + 1);
            }
        }
        Ok(0)
    }
}

impl Drop for Open {
    /// Gives the reserve back. Only if the file is as long as this sink left it, since truncating
    /// must not cut what others wrote.
    fn drop(&mut self) {
        if self.allocated > self.len && self.file.metadata().is_ok_and(|now| now.len() == self.len)
        {
            // If it fails the space stays allocated and nothing else happens.
            rustix::fs::ftruncate(&self.file, self.len).ok();
        }
        // Closing alone leaves the lock with a child between its fork and its exec, and the next
        // opening of the same file would find it locked.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).ok();
    }
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit file {}", self.path.display())
    }
}

/// Ends a rotation that a crash cut short.
fn take_up(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let beside = with_suffix(name, BESIDE);
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(directory, &beside, directory, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // The old file is still in its place: nothing was answered for the new one.
        Err(Errno::EXIST) => remove_if_there(directory, &beside),
        Err(error) => Err(error.into()),
    }
}

fn remove_if_there(directory: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn with_suffix(name: &OsStr, suffix: &str) -> OsString {
    let mut out = name.to_owned();
    out.push(suffix);
    out
}

fn fault(doing: &'static str, source: io::Error) -> AuditSinkError {
    AuditSinkError { doing, source }
}

fn refused(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    const LINE: &[u8] = b"{\"time\":\"1\"}\n";

    fn sink(dir: &Path) -> FileSink {
        FileSink::open(&dir.join("audit.log"), &[dir.to_owned()]).unwrap()
    }

    fn kind(result: Result<FileSink, AuditSinkError>) -> ErrorKind {
        result.unwrap_err().source.kind()
    }

    #[test]
    fn appends_and_finds_its_last_line_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = sink(dir.path());
        assert_eq!(first.tail().unwrap(), AuditTail::default());
        first.append(LINE).unwrap();
        first
            .append(b"{\"time\":\"2\"}\n{\"time\":\"3\"}\n")
            .unwrap();
        drop(first);
        let mode = fs::metadata(dir.path().join("audit.log"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let tail = sink(dir.path()).tail().unwrap();
        assert_eq!(
            tail,
            AuditTail {
                line: Some(b"{\"time\":\"3\"}".to_vec()),
                cut: 0
            }
        );
    }

    #[test]
    fn opens_again_while_a_child_still_holds_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = sink(dir.path());
        // As a fork leaves it: the same open file, held by somebody else.
        let held = sink.opened().unwrap().file.try_clone().unwrap();
        sink.reopen().unwrap();
        sink.append(LINE).unwrap();
        drop(held);
    }

    #[test]
    fn cuts_a_torn_line_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let torn = [LINE, &vec![b'x'; 200_000]].concat();
        fs::write(&path, &torn).unwrap();
        let mut sink = sink(dir.path());
        let tail = sink.tail().unwrap();
        assert_eq!(
            tail,
            AuditTail {
                line: Some(LINE[..LINE.len() - 1].to_vec()),
                cut: 200_000
            }
        );
        assert_eq!(fs::read(&path).unwrap(), LINE);
        sink.append(LINE).unwrap();
        fs::write(&path, b"{\"ti").unwrap();
        assert_eq!(sink.tail().unwrap(), AuditTail { line: None, cut: 4 });
    }

    #[test]
    fn refuses_every_place_that_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let allowed = [dir.path().to_owned()];
        let open = |path: PathBuf| kind(FileSink::open(&path, &allowed));
        assert_eq!(
            open(other.path().join("audit.log")),
            ErrorKind::PermissionDenied
        );
        assert_eq!(open("audit.log".into()), ErrorKind::PermissionDenied);
        let other_name = other.path().file_name().unwrap();
        let dots = dir.path().join("..").join(other_name).join("a");
        assert_eq!(open(dots), ErrorKind::PermissionDenied);
        symlink(other.path(), dir.path().join("away")).unwrap();
        assert_eq!(
            open(dir.path().join("away/audit.log")),
            ErrorKind::PermissionDenied
        );
        symlink(other.path().join("x"), dir.path().join("link")).unwrap();
        let through_link = FileSink::open(&dir.path().join("link"), &allowed).unwrap_err();
        assert_eq!(through_link.source.raw_os_error(), Some(libc::ELOOP));
        assert!(!other.path().join("x").exists());
        fs::write(dir.path().join("zone.db"), b"redb: not an audit file").unwrap();
        assert_eq!(
            open(dir.path().join("zone.db")),
            ErrorKind::PermissionDenied
        );
        fs::write(dir.path().join("two"), LINE).unwrap();
        fs::hard_link(dir.path().join("two"), dir.path().join("names")).unwrap();
        assert_eq!(open(dir.path().join("two")), ErrorKind::PermissionDenied);
        fs::write(dir.path().join("open"), LINE).unwrap();
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(open(dir.path().join("open")), ErrorKind::PermissionDenied);
    }

    #[test]
    fn two_sinks_never_share_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let first = sink(dir.path());
        let path = dir.path().join("audit.log");
        let second = FileSink::open(&path, &[dir.path().to_owned()]);
        assert_eq!(kind(second), ErrorKind::WouldBlock);
        drop(first);
        drop(sink(dir.path()));
    }

    #[test]
    fn rotates_by_rename_and_never_over_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = sink(dir.path());
        sink.append(LINE).unwrap();
        sink.rotate(".1", b"{\"time\":\"first\"}\n").unwrap();
        assert_eq!(sink.tail().unwrap().line.unwrap(), b"{\"time\":\"first\"}");
        sink.append(LINE).unwrap();
        let again = sink.rotate(".1", LINE).unwrap_err();
        assert_eq!(again.source.kind(), ErrorKind::AlreadyExists);
        assert!(sink.rotate("/../x", LINE).is_err());
        assert_eq!(fs::read(dir.path().join("audit.log.1")).unwrap(), LINE);
        assert!(
            fs::read(dir.path().join("audit.log"))
                .unwrap()
                .ends_with(LINE)
        );
    }

    #[test]
    fn a_rotation_that_a_crash_cut_short_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let next = dir.path().join("audit.log.next");
        fs::write(&next, LINE).unwrap();
        let mut first = sink(dir.path());
        assert_eq!(first.tail().unwrap().line.unwrap(), &LINE[..LINE.len() - 1]);
        first.append(b"{\"time\":\"2\"}\n").unwrap();
        drop(first);
        fs::write(&next, LINE).unwrap();
        assert_eq!(
            sink(dir.path()).tail().unwrap().line.unwrap(),
            b"{\"time\":\"2\"}"
        );
        assert!(!next.exists());
    }

    #[test]
    fn notices_a_file_that_was_deleted_or_changed_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut sink = sink(dir.path());
        sink.append(LINE).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(3)
            .unwrap();
        assert_eq!(
            sink.append(LINE).unwrap_err().source.kind(),
            ErrorKind::InvalidData
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(
            sink.append(LINE).unwrap_err().source.kind(),
            ErrorKind::NotFound
        );
        sink.reopen().unwrap();
        sink.append(LINE).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        sink.reopen().unwrap();
        assert_eq!(sink.size().unwrap(), 0);
        assert_eq!(fs::read(dir.path().join("moved")).unwrap(), LINE);
    }

    #[test]
    fn the_reserve_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let mut sink = sink(dir.path());
        assert_eq!(sink.room(100).unwrap(), AuditRoom::Enough);
        sink.append(LINE).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), LINE.len() as u64);
        drop(sink);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < RESERVE);
    }

    /// On a tmpfs of 4 MiB that root may mount in a mount namespace of its own; elsewhere the
    /// test in `zone-audit` with a sink that fails stands alone.
    #[test]
    fn attack_3_a_full_disk_keeps_its_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "none"])
            .arg(dir.path())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("not root: no file system to fill");
            return;
        }
        let result = std::panic::catch_unwind(|| fill(dir.path()));
        let unmounted = std::process::Command::new("umount")
            .arg(dir.path())
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
        result.unwrap();
    }

    fn fill(dir: &Path) {
        let mut sink = sink(dir);
        assert_eq!(sink.room(100).unwrap(), AuditRoom::Enough);
        sink.append(LINE).unwrap();
        // Somebody else takes all that is left.
        let hog = dir.join("hog");
        let full = fs::write(&hog, vec![1; 8 * 1024 * 1024]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let block = [LINE, &vec![b'\n'; 64 * 1024]].concat();
        let mut appended = 0;
        while sink.room(block.len() as u64).unwrap() == AuditRoom::Enough {
            sink.append(&block).unwrap();
            appended += block.len() as u64;
        }
        assert!(appended <= AHEAD + RESERVE);
        let mut reserve = 0;
        let error = loop {
            match sink.append(&block) {
                Ok(()) => reserve += block.len() as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(error.source.kind(), ErrorKind::StorageFull);
        assert!(reserve >= RESERVE - 2 * block.len() as u64, "{reserve}");
        assert_eq!(sink.tail().unwrap().cut, 0);
        fs::remove_file(hog).unwrap();
        assert_eq!(sink.room(100).unwrap(), AuditRoom::Enough);
        sink.append(LINE).unwrap();
    }
}
