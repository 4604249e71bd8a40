//! A Unix socket in the file system with the rights that were asked for.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};

/// Who may connect: whoever may write to the file.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'a> {
    /// The nine permission bits.
    pub mode: u32,
    /// The owner, a name or a number; this process's user if absent.
    pub user: Option<&'a str>,
    /// The group, a name or a number; this process's group if absent.
    pub group: Option<&'a str>,
}

/// Listens at `path`. The socket is made under another name and renamed when its rights are set,
/// so nobody finds it there with others.
///
/// # Errors
///
/// `AddrInUse`: somebody listens there. `AlreadyExists`: there is a file that is no socket.
/// `NotFound`: the directory, or a user or group of that name, does not exist.
pub fn listen(path: &Path, rights: Rights<'_>) -> Result<UnixListener> {
    let uid = rights.user.map(user_id).transpose()?;
    let gid = rights.group.map(group_id).transpose()?;
    make_way(path)?;
    let part = beside(path);
    let _ = std::fs::remove_file(&part);
    let listener = UnixListener::bind(&part)?;
    let placed = std::fs::set_permissions(&part, PermissionsExt::from_mode(rights.mode))
        .and_then(|()| std::os::unix::fs::chown(&part, uid, gid))
        .and_then(|()| std::fs::rename(&part, path));
    if let Err(error) = placed {
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    Ok(listener)
}

/// What a process left behind that is gone may be replaced, and nothing else.
fn make_way(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(Error::new(
            ErrorKind::AlreadyExists,
            "there is a file that is not a socket",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::new(
                ErrorKind::AddrInUse,
                "another process listens there",
            )),
        },
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn user_id(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => match User::from_name(text)? {
            Some(user) => Ok(user.uid.as_raw()),
            None => Err(unknown("user", text)),
        },
    }
}

fn group_id(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => match Group::from_name(text)? {
            Some(group) => Ok(group.gid.as_raw()),
            None => Err(unknown("group", text)),
        },
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no {what} {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Rights<'static> = Rights {
        mode: 0o600,
        user: None,
        group: None,
    };

    #[test]
    fn a_socket_has_the_rights_that_were_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        for mode in [0o600, 0o660] {
            let listener = listen(&path, Rights { mode, ..OWN }).unwrap();
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o7777, mode);
            assert!(UnixStream::connect(&path).is_ok());
            assert!(!beside(&path).exists());
            drop(listener);
        }
    }

    #[test]
    fn nothing_but_an_abandoned_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let held = listen(&path, OWN).unwrap();
        let kind = |path: &Path| listen(path, OWN).unwrap_err().kind();
        assert_eq!(kind(&path), ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok(), "the first one goes on");
        drop(held);
        assert!(listen(&path, OWN).is_ok());
        let file = directory.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert_eq!(kind(&file), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(kind(&link), ErrorKind::AlreadyExists);
    }

    #[test]
    fn an_unknown_owner_is_refused_before_anything_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let error = listen(
            &path,
            Rights {
                user: Some("no-such-user-here"),
                ..OWN
            },
        )
        .unwrap_err();
        assert!(error.to_string().contains("no-such-user-here"), "{error}");
        assert!(!path.exists());
        assert_eq!(user_id("root").unwrap(), 0);
        assert_eq!(group_id("0").unwrap(), 0);
    }
}
