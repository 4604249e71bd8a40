//! Where the server is and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use zone_types::Secret;

use crate::schema;

/// How the store reaches its server. `Debug` shows no password.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) server: tokio_postgres::Config,
    /// The schema that holds the store: one for each zone.
    pub(crate) schema: String,
    /// Where the password is read from at each new connection.
    pub password: Password,
    /// Needed for a server that is reached over the network.
    pub tls: Option<TlsFiles>,
    /// Connections that are held at most, beside the one that keeps other heads out.
    pub max_connections: usize,
    /// What one answer may take, also from a server that is away.
    pub answer_within: Duration,
    /// Whether a second head is kept out. If not, fences alone decide who writes.
    pub exclusive: bool,
}

/// Where the password is.
#[derive(Clone, Default)]
pub enum Password {
    /// The server asks for none: it takes a client certificate, or the peer's user.
    #[default]
    None,
    /// The first line of a file, read at each new connection.
    File(PathBuf),
    /// Itself, out of the environment.
    Given(std::sync::Arc<Secret<String>>),
}

/// PEM files, read at each new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The CA certificates that the server's chain must end in.
    pub ca: PathBuf,
    /// The client's certificate chain and private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What is wrong with an option. Never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionFault {
    /// Not a connection string.
    #[error(
        "expected a connection URL such as \"postgresql://zonehead@db.example.org/zonehead\" \
         or \"postgresql:///zonehead?host=/run/postgresql&user=zonehead\""
    )]
    Url,
    /// It holds a password.
    #[error("expected no password in the URL: put it into a file or the environment")]
    PasswordInUrl,
    /// No host, or both kinds.
    #[error("expected hosts in the URL: either names, or the directory of a Unix socket")]
    Host,
    /// `sslmode` is not ours to be told.
    #[error("expected no 'sslmode' in the URL: over the network TLS is always verified")]
    SslMode,
    /// No database or user.
    #[error("expected a user and a database in the URL")]
    Names,
    /// Not a schema.
    #[error("expected a schema of lower-case letters, digits and '_', not beginning with \"pg_\"")]
    Schema,
}

impl PostgresOptions {
    /// Reads a connection URL.
    pub fn new(url: &str, schema: &str) -> Result<Self, OptionFault> {
        let mut server: tokio_postgres::Config = url.parse().map_err(|_| OptionFault::Url)?;
        if server.get_password().is_some() {
            return Err(OptionFault::PasswordInUrl);
        }
        if url.contains("sslmode") {
            return Err(OptionFault::SslMode);
        }
        if server.get_user().is_none() || server.get_dbname().is_none() {
            return Err(OptionFault::Names);
        }
        if !schema::is_name(schema) {
            return Err(OptionFault::Schema);
        }
        let is_unix = |host: &Host| matches!(host, Host::Unix(_));
        let hosts = server.get_hosts();
        let mode = match hosts.iter().filter(|host| is_unix(host)).count() {
            0 if !hosts.is_empty() => SslMode::Require,
            count if count == hosts.len() && count > 0 => SslMode::Disable,
            _ => return Err(OptionFault::Host),
        };
        server.ssl_mode(mode);
        if server.get_application_name().is_none() {
            server.application_name("zonehead");
        }
        Ok(Self {
            server,
            schema: schema.to_owned(),
            password: Password::None,
            tls: None,
            max_connections: 8,
            answer_within: Duration::from_secs(30),
            exclusive: true,
        })
    }

    /// Whether the server is reached over the network, so that [`PostgresOptions::tls`] is needed.
    pub fn needs_tls(&self) -> bool {
        self.server.get_ssl_mode() == SslMode::Require
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.server.get_hosts();
        let (ports, database) = (self.server.get_ports(), self.server.get_dbname());
        write!(
            f,
            "{hosts:?}:{ports:?}/{}.{}",
            database.unwrap_or_default(),
            self.schema
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_user_and_database_and_no_secret() {
        let fault = |url: &str| PostgresOptions::new(url, "zonehead").err();
        for (url, expected) in [
            ("postgresql://z@db.example.org/zone", None),
            ("postgresql:///zone?host=/run/postgresql&user=z", None),
            (
                "postgresql://z@a:5432,b:5433/zone?target_session_attrs=read-write",
                None,
            ),
            ("nonsense", Some(OptionFault::Url)),
            (
                "postgresql://z:canary@db/zone",
                Some(OptionFault::PasswordInUrl),
            ),
            (
                "postgresql://z@db/zone?sslmode=disable",
                Some(OptionFault::SslMode),
            ),
            ("postgresql://db/zone", Some(OptionFault::Names)),
            ("postgresql:///zone?user=z", Some(OptionFault::Host)),
            ("postgresql://z@db/zone?host=/run", Some(OptionFault::Host)),
        ] {
            assert_eq!(fault(url), expected, "{url}");
        }
        let network = PostgresOptions::new("postgresql://z@db/zone", "zonehead").unwrap();
        assert!(network.needs_tls());
        assert_eq!(
            PostgresOptions::new("postgresql://z@db/zone", "a\"b").err(),
            Some(OptionFault::Schema)
        );
    }

    #[test]
    fn e1_debug_shows_no_password() {
        let mut options = PostgresOptions::new("postgresql://z@db/zone", "zonehead").unwrap();
        let secret = Secret::new("canary-77aa".to_owned());
        options.password = Password::Given(std::sync::Arc::new(secret));
        assert!(!format!("{options:?}").contains("canary"));
    }
}
