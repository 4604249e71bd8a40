//! Why a request failed: what happened, and what to do next. Holds no token and no secret.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use rustls::CertificateError;
use zone_types::duration::format_go;

use super::Reply;
use super::address::{Address, AddressFault};
use crate::console::without_controls;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The settings cannot be used.
    #[error("{0}")]
    Setup(String),
    /// The server cannot be reached, or is not who it should be.
    #[error("{0}")]
    Transport(String),
    /// The server answered with an error.
    #[error(transparent)]
    Api(#[from] Box<ApiError>),
    /// The answer is wrapped: what was asked for is done, and shows when it is unwrapped.
    #[error("the answer is wrapped")]
    Wrapped(Box<Reply>),
    /// The answer is not what the API promises.
    #[error("the answer of {url} cannot be read: {why}")]
    Answer {
        /// Which URL.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl From<AddressFault> for ClientError {
    fn from(fault: AddressFault) -> Self {
        Self::Setup(format!("{fault}\n\nSet -address or VAULT_ADDR."))
    }
}

impl ClientError {
    /// The status of an error answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) => Some(error.status),
            _ => None,
        }
    }
}

/// An error answer. `Display` is the text that Vault's command line prints.
pub struct ApiError {
    /// `GET`, `PUT` and so on.
    pub method: &'static str,
    /// Without the query string, which can hold values.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// The server's messages.
    pub errors: Vec<String>,
    /// Whether the body was not Vault's JSON; then it is the one message.
    pub raw: bool,
    /// Whether a token went with the request.
    pub with_token: bool,
    /// Warnings and data that came with the error.
    pub reply: Option<Reply>,
}

impl std::error::Error for ApiError {}

impl std::fmt::Debug for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiError({self})")
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.raw { "Raw Message" } else { "Errors" };
        writeln!(f, "Error making API request.\n")?;
        writeln!(f, "URL: {} {}", self.method, self.url)?;
        writeln!(f, "Code: {}. {kind}:", self.status)?;
        for error in &self.errors {
            let bullet = if self.raw { "" } else { "* " };
            write!(f, "\n{bullet}{}", without_controls(error))?;
        }
        match self.next_step() {
            Some(step) => write!(f, "\n\n{step}"),
            None => Ok(()),
        }
    }
}

impl ApiError {
    /// What the operator can do about it, where the status alone tells.
    fn next_step(&self) -> Option<&'static str> {
        let sealed = || self.errors.iter().any(|error| error.contains("sealed"));
        match self.status {
            401 | 403 if !self.with_token => {
                Some("No token was sent: run 'zonehead login', or set VAULT_TOKEN.")
            }
            503 if sealed() => Some("Unseal it with 'zonehead operator unseal'."),
            _ => None,
        }
    }
}

/// No connection.
pub(super) fn connecting(address: &Address, error: &io::Error) -> ClientError {
    let at = address.shown();
    let text = match error.kind() {
        io::ErrorKind::PermissionDenied if address.socket().is_some() => format!(
            "the socket {at} may not be used by this user\n\nJoin the group that owns it, or see \
             socket_mode and socket_group of the server's listener."
        ),
        io::ErrorKind::ConnectionRefused => format!(
            "nothing answers at {at}: connection refused\n\nIs the server running there? If it is \
             elsewhere, set -address or VAULT_ADDR."
        ),
        _ => format!(
            "{at} cannot be reached: {error}\n\nCheck the address (-address, VAULT_ADDR) and the \
             network between."
        ),
    };
    ClientError::Transport(text)
}

/// No TLS.
pub(super) fn handshaking(address: &Address, name: &str, error: &io::Error) -> ClientError {
    let at = address.shown();
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let text = match tls {
        Some(rustls::Error::InvalidCertificate(fault)) => certificate(&at, name, fault),
        Some(rustls::Error::InvalidMessage(_)) => format!(
            "{at} does not speak TLS\n\nIf it is a server without TLS on this machine, give an \
             address with http://."
        ),
        Some(rustls::Error::AlertReceived(alert)) => format!(
            "{at} refused the connection: TLS alert {alert:?}\n\nThe server's log says more. If it \
             wants a client certificate, set -client-cert and -client-key."
        ),
        Some(other) => format!("no TLS connection to {at}: {other}"),
        None => format!("no TLS connection to {at}: {error}"),
    };
    ClientError::Transport(text)
}

fn certificate(at: &str, name: &str, fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {at} is signed by an unknown authority\n\nName the authority's \
             certificate with -ca-cert or VAULT_CACERT."
        ),
        // The right name with another key: an authority that was made anew.
        CertificateError::BadSignature => format!(
            "the certificate of {at} is not signed by the authority that was given\n\nIf the \
             authority was made anew, get its new certificate for -ca-cert or VAULT_CACERT."
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate of {at} is not valid for the name {name}\n\nUse an address with a \
                 name that stands in the certificate, or give that name with -tls-server-name."
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of {at} has expired\n\nRenew it on the server, and check the clocks \
             of both machines."
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of {at} is not valid yet\n\nCheck the clocks of both machines."
        ),
        other => format!(
            "the certificate of {at} is not acceptable: {other}\n\nCheck that -ca-cert or \
             VAULT_CACERT names the server's authority."
        ),
    }
}

/// The connection broke while a request was under way.
pub(super) fn exchanging(address: &Address, error: &hyper::Error) -> ClientError {
    let at = address.shown();
    let alert = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .filter(|source| matches!(tls_error(source), Some(rustls::Error::AlertReceived(_))));
    if let Some(source) = alert {
        return handshaking(address, address.host(), source);
    }
    let mut text = match error.is_parse() {
        true => format!("{at} does not speak HTTP/1.1: {error}"),
        false => format!("the connection to {at} broke: {error}"),
    };
    if !address.is_tls() && address.socket().is_none() {
        text.push_str("\n\nIf the server speaks TLS, give an address with https://.");
    }
    ClientError::Transport(text)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// No answer in time.
pub(super) fn timed_out(address: &Address, timeout: Duration) -> ClientError {
    ClientError::Transport(format!(
        "no answer from {} within {}\n\nA write may have happened; read before you try again. \
         VAULT_CLIENT_TIMEOUT sets how long to wait.",
        address.shown(),
        format_go(timeout)
    ))
}
