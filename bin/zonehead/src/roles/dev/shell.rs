//! Words for a POSIX shell.

use std::path::Path;

/// A path as one word; quoted only if it must be.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => quoted(&text),
    }
}

/// `text` in single quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_a_space_stays_one_word() {
        assert_eq!(shell_word(Path::new("/tmp/zone-1")), "/tmp/zone-1");
        let odd = shell_word(Path::new("/tmp/my zone's"));
        assert_eq!(odd, "'/tmp/my zone'\\''s'");
    }
}
