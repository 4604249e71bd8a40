//! Where audit lines go.

use std::fmt::Debug;

/// One audit destination. All methods block; each device calls them from a thread of its own, or
/// from a caller's thread where a write goes to the page cache.
pub trait AuditSink: Debug + Send {
    /// Writes whole lines at the end. `Ok` means that `write(2)` took every byte (A1).
    ///
    /// # Errors
    ///
    /// Nothing may be assumed of what was written; the caller ends the epoch of its chain. Also
    /// fails if the file is no longer what this sink left (deleted, truncated, written by others).
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError>;

    /// Sets space aside for `bytes` more, keeping a reserve behind them. Cheap if it was done
    /// before; ask before each append.
    fn room(&mut self, bytes: u64) -> Result<AuditRoom, AuditSinkError>;

    /// Puts what was written on stable storage.
    fn sync(&mut self) -> Result<(), AuditSinkError>;

    /// The length of the current file in bytes.
    fn size(&mut self) -> Result<u64, AuditSinkError>;

    /// Closes the current file under a name of its own (`suffix` appended) and begins a new one
    /// with the lines `first`. After a crash within, the file that is opened next holds its
    /// lines: the old ones or `first`.
    fn rotate(&mut self, suffix: &str, first: &[u8]) -> Result<(), AuditSinkError>;

    /// Opens the file of that name again, after somebody else moved the old one away (SIGHUP).
    fn reopen(&mut self) -> Result<(), AuditSinkError>;

    /// The end of the current file. A partial line there (torn by a crash) is cut off first.
    fn tail(&mut self) -> Result<AuditTail, AuditSinkError>;
}

/// How much room a sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditRoom {
    /// Enough for everybody.
    Enough,
    /// The destination is full but for a reserve, kept for operators' requests.
    ReserveOnly,
}

/// The end of a file of audit lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditTail {
    /// The last whole line without its newline; `None` if there is none.
    pub line: Option<Vec<u8>>,
    /// Bytes of a partial line that were cut off behind it.
    pub cut: u64,
}

/// An audit destination failed.
#[derive(Debug, thiserror::Error)]
#[error("the audit destination cannot be {doing}")]
pub struct AuditSinkError {
    /// What was tried: `written`, `opened`, …
    pub doing: &'static str,
    /// Why it failed.
    #[source]
    pub source: std::io::Error,
}

/// A receiver of audit lines from which nothing can be read back: syslog, a socket. Every method
/// blocks, for a bounded time; each receiver is called from one thread of its own.
pub trait AuditStream: Debug + Send {
    /// Connects if there is no connection, then hands over `lines` in their order. Without lines
    /// it only connects.
    ///
    /// # Errors
    ///
    /// [`Undelivered`] tells how many were taken. The connection is given up: the next call makes
    /// a new one.
    fn deliver(&mut self, lines: &[StreamLine<'_>]) -> Result<(), Undelivered>;
}

/// One line on its way to an [`AuditStream`].
#[derive(Clone, Copy, Debug)]
pub struct StreamLine<'a> {
    /// Its number, which an acknowledging receiver answers.
    pub seq: u64,
    /// The line without its newline.
    pub text: &'a [u8],
}

/// Not all lines were taken.
#[derive(Debug, thiserror::Error)]
#[error("the audit receiver did not take every line")]
pub struct Undelivered {
    /// So many were, from the first on. Of the next one nothing may be assumed.
    pub taken: usize,
    /// Whether the next line can never be taken (it is too long), while others can.
    pub hopeless: bool,
    /// Why.
    #[source]
    pub error: AuditSinkError,
}
