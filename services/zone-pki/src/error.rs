//! Why the certificate authority refused, sorted by what the caller can do.

use zone_access::AccessError;
use zone_barrier::BarrierError;

/// Why an operation failed. No text holds a private key, a request's bytes or a secret (E1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    /// The request is wrong; the text names the field and may be shown to the caller.
    #[error("{0}")]
    Refused(String),
    /// No such role, issuer, key or certificate.
    #[error("not found")]
    NotFound,
    /// The mount has no CA yet.
    #[error("no default issuer currently configured")]
    NoIssuer,
    /// Others kept changing the same records. Try again.
    #[error("the issuers changed meanwhile; try again")]
    Busy,
    /// A record of this mount is not what this program writes.
    #[error("a record of kind {0} is corrupt")]
    Corrupt(&'static str),
    /// The crypto library or a worker thread failed, for no fault of the caller.
    #[error("internal failure while {0}")]
    Internal(&'static str),
    /// No lease could be given out.
    #[error(transparent)]
    Lease(AccessError),
    /// Sealed, or the store failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

impl PkiError {
    /// A refusal with its text.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }

    /// A refusal of one field.
    pub(crate) fn field(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::Refused(format!("field '{name}': {problem}"))
    }
}

impl From<zone_ports::store::KeyFault> for PkiError {
    fn from(_: zone_ports::store::KeyFault) -> Self {
        Self::refused("the name is too long")
    }
}
