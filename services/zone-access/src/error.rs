//! Why access management failed, sorted by what the caller can do about it.

use zone_barrier::BarrierError;

/// `Display` is fit for the client: it names fields and rules, never values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The zone is sealed (B2).
    #[error("the zone is sealed")]
    Sealed,
    /// The caller may not do this, although its policy allowed the endpoint.
    #[error("permission denied: {0}")]
    Denied(&'static str),
    /// The request is wrong; the text names the field and the rule.
    #[error("{0}")]
    Invalid(String),
    /// What the request names is not there.
    #[error("{0}")]
    Missing(&'static str),
    /// Too many others changed the same thing meanwhile; nothing was written.
    #[error("the value changed meanwhile: try again")]
    Busy,
    /// A quota is used up; the text names the path.
    #[error("{0}")]
    QuotaExceeded(String),
    /// A record of this crate is not what this crate wrote.
    #[error("an access record is corrupt")]
    Corrupt,
    /// The barrier or its store failed.
    #[error("storage failed")]
    Barrier(#[source] BarrierError),
}

impl AccessError {
    /// Vault's words, for every token that is not, or no longer, one that wraps something.
    pub const NOT_WRAPPING: Self = Self::Missing("wrapping token is not valid or does not exist");

    /// A wrong request.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<BarrierError> for AccessError {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Sealed => Self::Sealed,
            BarrierError::Corrupt => Self::Corrupt,
            other => Self::Barrier(other),
        }
    }
}

impl From<serde_json::Error> for AccessError {
    fn from(_: serde_json::Error) -> Self {
        // The cause would quote the record.
        Self::Corrupt
    }
}

impl From<zone_ports::store::KeyFault> for AccessError {
    fn from(_: zone_ports::store::KeyFault) -> Self {
        Self::invalid("a name in the request is too long")
    }
}
