//! Why a command ended badly, and with which exit code.

use std::io;

use crate::client::{ClientError, Reply};
use crate::values::ValueFault;

/// An exit code: 0 if all went well.
pub(crate) type Outcome = Result<u8, Failure>;

/// A message for the operator and an exit code: 1 for wrong use, 2 for work that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// Empty if nothing is to be said.
    pub(crate) text: String,
    /// No failure at all: the command was carried out, and this is all there is to show.
    pub(crate) wrapped: Option<Box<Reply>>,
}

impl Failure {
    /// The command was called wrongly.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self {
            code: 1,
            text: text.into(),
            wrapped: None,
        }
    }

    /// The command was called rightly and failed.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self {
            code: 2,
            text: text.into(),
            wrapped: None,
        }
    }

    /// `what: error`.
    pub(crate) fn of(what: impl std::fmt::Display) -> impl FnOnce(ClientError) -> Self {
        move |error| match error {
            ClientError::Wrapped(reply) => Self::wrapped(reply),
            error => Self::failed(format!("{what}: {error}")),
        }
    }

    fn wrapped(reply: Box<Reply>) -> Self {
        Self {
            code: 0,
            text: String::new(),
            wrapped: Some(reply),
        }
    }

    /// The same text with another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Wrapped(reply) => Self::wrapped(reply),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<ValueFault> for Failure {
    fn from(fault: ValueFault) -> Self {
        Self::usage(format!("Failed to parse K=V data: {fault}"))
    }
}

impl From<io::Error> for Failure {
    /// Output that cannot be written. Nobody is told when the reader has gone away.
    fn from(error: io::Error) -> Self {
        Self::usage(match error.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("the output cannot be written: {error}"),
        })
    }
}
