//! Why nothing was done, sorted by what the caller can do about it.

use zone_access::AccessError;
use zone_barrier::BarrierError;

/// `Display` is fit for the client, in Vault's words where it has any; it holds nothing that a
/// client sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The login failed. The text is one for each method, whatever was wrong.
    #[error("{0}")]
    Credentials(&'static str),
    /// What the request names is not there.
    #[error("no such role, user or secret id")]
    NotFound,
    /// As [`AuthError::NotFound`], in Vault's words.
    #[error("{0}")]
    Missing(&'static str),
    /// The permit is for another endpoint or operation: the face called the wrong method.
    #[error("the permit does not cover this call")]
    WrongPermit,
    /// The request is wrong; the text names the field and the rule.
    #[error("{0}")]
    Invalid(String),
    /// Too many passwords wait to be hashed.
    #[error("too many logins at once: try again")]
    Overloaded,
    /// Too many others changed the same thing meanwhile; nothing was written.
    #[error("the value changed meanwhile: try again")]
    Busy,
    /// A record is not what was written there. Never served.
    #[error("an auth record is corrupt")]
    Corrupt,
    /// Access refused or failed.
    #[error(transparent)]
    Access(#[from] AccessError),
}

impl AuthError {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<BarrierError> for AuthError {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Corrupt => Self::Corrupt,
            other => Self::Access(other.into()),
        }
    }
}

impl From<serde_json::Error> for AuthError {
    fn from(_: serde_json::Error) -> Self {
        // The cause would quote the record.
        Self::Corrupt
    }
}

impl From<zone_ports::store::KeyFault> for AuthError {
    fn from(_: zone_ports::store::KeyFault) -> Self {
        Self::invalid("a name in the request is too long")
    }
}
