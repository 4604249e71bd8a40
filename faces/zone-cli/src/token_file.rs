//! Where the token lies between two commands.
//!
//! Read: `$ZONEHEAD_TOKEN_FILE` alone if it is set, else `~/.zonehead/token`, else
//! `~/.vault-token`. Written: the first two only, with mode 0600, never `~/.vault-token`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zone_types::Secret;

use crate::console::{Console, Environment, read_bounded};
use crate::failure::Failure;

/// The stored token; `None` if there is none.
pub(crate) fn read(console: &mut Console) -> Result<Option<Secret<String>>, Failure> {
    for path in places(&console.environment) {
        let bytes = match fs::File::open(&path) {
            Ok(file) => {
                let mode = file.metadata().map_err(|error| unreadable(&path, &error))?;
                if mode.permissions().mode() & 0o077 != 0 {
                    let shown = path.display();
                    console.warn(&format!(
                        "Others can read the token in {shown}: chmod 600 it."
                    ))?;
                }
                read_bounded(file).map_err(|error| unreadable(&path, &error))?
            }
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let text = std::str::from_utf8(bytes.expose()).map(str::trim);
        let text = text.map_err(|_| Failure::failed(format!("{} is not text", path.display())))?;
        if !text.is_empty() {
            return Ok(Some(Secret::new(text.to_owned())));
        }
    }
    Ok(None)
}

/// Stores a token; tells where.
pub(crate) fn store(environment: &Environment, token: &Secret<String>) -> Result<PathBuf, Failure> {
    let path = destination(environment).ok_or_else(|| {
        Failure::failed("there is no place for the token: set ZONEHEAD_TOKEN_FILE or HOME")
    })?;
    write(&path, token).map_err(|error| {
        Failure::failed(format!(
            "the token cannot be stored in {}: {error}",
            path.display()
        ))
    })?;
    Ok(path)
}

fn places(environment: &Environment) -> Vec<PathBuf> {
    if let Some(file) = environment.get("ZONEHEAD_TOKEN_FILE") {
        return vec![PathBuf::from(file)];
    }
    let home = environment.get("HOME").map(PathBuf::from);
    home.map(|home| vec![home.join(".zonehead/token"), home.join(".vault-token")])
        .unwrap_or_default()
}

fn destination(environment: &Environment) -> Option<PathBuf> {
    places(environment).into_iter().next()
}

/// Replaces the file as a whole, so that no reader sees half a token and no old mode stays.
fn write(path: &Path, token: &Secret<String>) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(token.expose().as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "the token file {} cannot be read: {error}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;

    fn token(lab: &mut Lab) -> Option<String> {
        read(&mut lab.console)
            .unwrap()
            .map(|token| token.expose().clone())
    }

    #[test]
    fn own_file_wins_over_vaults() {
        let home = tempfile::tempdir().unwrap();
        let mut lab = Lab::new(&[("HOME", home.path().to_str().unwrap())]);
        assert_eq!(token(&mut lab), None);
        fs::write(home.path().join(".vault-token"), "hvs.vault\n").unwrap();
        assert_eq!(token(&mut lab).as_deref(), Some("hvs.vault"));
        let path = store(&lab.console.environment, &Secret::new("hvs.own".into())).unwrap();
        assert_eq!(path, home.path().join(".zonehead/token"));
        assert_eq!(token(&mut lab).as_deref(), Some("hvs.own"));
        assert_eq!(
            fs::read_to_string(home.path().join(".vault-token")).unwrap(),
            "hvs.vault\n"
        );
    }

    #[test]
    fn files_are_private() {
        let home = tempfile::tempdir().unwrap();
        let mut lab = Lab::new(&[("HOME", home.path().to_str().unwrap())]);
        let path = store(&lab.console.environment, &Secret::new("a".into())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(token(&mut lab).as_deref(), Some("a"));
        assert!(lab.stderr().contains("chmod 600"), "{}", lab.stderr());
        store(&lab.console.environment, &Secret::new("b".into())).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_named_file_is_the_only_one() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".vault-token"), "hvs.vault").unwrap();
        let file = home.path().join("mine");
        let mut lab = Lab::new(&[
            ("HOME", home.path().to_str().unwrap()),
            ("ZONEHEAD_TOKEN_FILE", file.to_str().unwrap()),
        ]);
        assert_eq!(token(&mut lab), None);
        assert_eq!(
            store(&lab.console.environment, &Secret::new("x".into())).unwrap(),
            file
        );
        assert_eq!(token(&mut lab).as_deref(), Some("x"));
    }
}
