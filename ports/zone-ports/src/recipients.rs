//! Encryption to people's public keys, for the shares that `init` hands out.

use std::fmt::Debug;

/// Encrypts short texts to recipients such as `age1…` (age-encryption.org/v1).
pub trait Recipients: Debug + Send + Sync {
    /// `plaintext` encrypted to `recipient`, as armored text.
    fn encrypt(&self, recipient: &str, plaintext: &[u8]) -> Result<String, RecipientError>;
}

/// Why nothing was encrypted.
#[derive(Debug, thiserror::Error)]
pub enum RecipientError {
    /// The recipient is not one that this backend knows.
    #[error("not an age recipient: give one like age1…")]
    Malformed,
    /// The library failed.
    #[error("encryption to the recipient failed")]
    Failed(#[source] crate::BoxError),
}
