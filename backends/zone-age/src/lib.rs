//! age recipients (age-encryption.org/v1) for the shares that `init` hands out.
//!
//! Native X25519 recipients (`age1…`) only: passphrases, SSH keys and plugins would let a share
//! rest on something weaker or on a program that this machine happens to have.

use std::str::FromStr;

use age::x25519::Recipient;
use zone_ports::{RecipientError, Recipients};

/// Encrypts to `age1…` recipients, as armored text that `age --decrypt` reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct AgeRecipients;

impl Recipients for AgeRecipients {
    fn encrypt(&self, recipient: &str, plaintext: &[u8]) -> Result<String, RecipientError> {
        let recipient = Recipient::from_str(recipient).map_err(|_| RecipientError::Malformed)?;
        age::encrypt_and_armor(&recipient, plaintext)
            .map_err(|error| RecipientError::Failed(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use age::x25519::Identity;

    use super::*;

    #[test]
    fn only_the_identity_reads_what_was_encrypted() {
        let [identity, other] = [Identity::generate(), Identity::generate()];
        let recipient = identity.to_public().to_string();
        let armored = AgeRecipients.encrypt(&recipient, b"a share").unwrap();
        assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert!(!armored.contains("a share"));
        assert_eq!(
            age::decrypt(&identity, armored.as_bytes()).unwrap(),
            b"a share"
        );
        assert!(age::decrypt(&other, armored.as_bytes()).is_err());
    }

    #[test]
    fn other_recipients_are_refused() {
        let identity = Identity::generate();
        let good = identity.to_public().to_string();
        let bent = format!(
            "{}{}",
            &good[..good.len() - 1],
            if good.ends_with('q') { 'p' } else { 'q' }
        );
        for text in [
            "",
            "age1",
            "ssh-ed25519 AAAA",
            "AGE-SECRET-KEY-1",
            &bent,
            &good[1..],
        ] {
            let refused = AgeRecipients.encrypt(text, b"x");
            assert!(matches!(refused, Err(RecipientError::Malformed)), "{text}");
        }
    }
}
