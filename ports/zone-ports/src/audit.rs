//! Where audit lines go.

use std::fmt::Debug;

/// One audit destination. All methods block; each device has a thread of its own that calls them.
pub trait AuditSink: Debug + Send {
    /// Writes whole lines at the end. `Ok` means that `write(2)` took every byte (A1).
    ///
    /// # Errors
    ///
    /// Nothing may be assumed of what was written; the caller ends the epoch of its chain.
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError>;

    /// Puts what was written on stable storage.
    fn sync(&mut self) -> Result<(), AuditSinkError>;

    /// The length of the current file in bytes.
    fn len(&mut self) -> Result<u64, AuditSinkError>;

    /// Closes the current file under a name of its own (`suffix` appended) and begins a new one.
    fn rotate(&mut self, suffix: &str) -> Result<(), AuditSinkError>;

    /// Opens the file of that name again, after somebody else moved the old one away (SIGHUP).
    fn reopen(&mut self) -> Result<(), AuditSinkError>;

    /// The last whole line of the current file, without its newline; `None` if there is none. A
    /// partial line at the end (torn by a crash) is cut off first.
    fn last_line(&mut self) -> Result<Option<Vec<u8>>, AuditSinkError>;
}

/// An audit destination failed.
#[derive(Debug, thiserror::Error)]
#[error("the audit file cannot be {doing}")]
pub struct AuditSinkError {
    /// What was tried: `written`, `opened`, …
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub source: std::io::Error,
}
