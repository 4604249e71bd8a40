//! Which store holds the zone: the embedded one, or a schema of a PostgreSQL server.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file's form.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Storage {
    #[serde(default, rename = "type", skip_serializing_if = "Kind::is_default")]
    kind: Kind,
    pub(super) path: PathBuf,
    pub(super) connection_url: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) max_connections: Option<usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    File,
    Postgresql,
}

impl Kind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::File
    }
}

/// The resolved form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// A file below `storage.path`.
    File,
    Postgres(Server),
}

/// A schema of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) schema: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) max_connections: usize,
}

/// Connections unless the file says otherwise.
const CONNECTIONS: usize = 8;

impl Storage {
    /// The embedded store at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        Self {
            kind: Kind::File,
            path,
            connection_url: None,
            schema: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            max_connections: None,
        }
    }

    /// A schema of a server, nothing said of it yet; `path` holds the rest.
    pub(super) fn on_server(path: PathBuf) -> Self {
        Self {
            kind: Kind::Postgresql,
            ..Self::at(path)
        }
    }

    pub(super) fn resolve(&self) -> Result<Store, String> {
        if !self.path.is_absolute() {
            return Err("key 'storage.path': expected an absolute path".into());
        }
        match self.kind {
            Kind::File => self.file(),
            Kind::Postgresql => self.postgresql(),
        }
    }

    fn file(&self) -> Result<Store, String> {
        let of_servers = [
            ("connection_url", self.connection_url.is_some()),
            ("schema", self.schema.is_some()),
            ("password_file", self.password_file.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("cert_file", self.cert_file.is_some()),
            ("key_file", self.key_file.is_some()),
            ("max_connections", self.max_connections.is_some()),
        ];
        match of_servers.iter().find(|(_, given)| *given) {
            None => Ok(Store::File),
            Some((key, _)) => Err(format!(
                "key 'storage.{key}': expected only with type = \"postgresql\""
            )),
        }
    }

    fn postgresql(&self) -> Result<Store, String> {
        let files = [
            &self.password_file,
            &self.ca_file,
            &self.cert_file,
            &self.key_file,
        ];
        if files.into_iter().flatten().any(|file| !file.is_absolute()) {
            return Err(
                "keys 'storage.password_file', 'ca_file', 'cert_file' and 'key_file': \
                 expected absolute paths"
                    .into(),
            );
        }
        let identity = match (&self.cert_file, &self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            _ => return Err("'storage.cert_file' and 'storage.key_file' belong together".into()),
        };
        if identity.is_some() && self.ca_file.is_none() {
            return Err("key 'storage.ca_file' is missing: it belongs to 'cert_file'".into());
        }
        let max_connections = self.max_connections.unwrap_or(CONNECTIONS);
        if !(1..=1000).contains(&max_connections) {
            return Err("key 'storage.max_connections': expected 1 to 1000".into());
        }
        let url = self.connection_url.clone();
        let server = Server {
            url: url.ok_or("key 'storage.connection_url' is missing")?,
            schema: self.schema.clone().unwrap_or_else(|| "zonehead".into()),
            password_file: self.password_file.clone(),
            ca: self.ca_file.clone(),
            identity,
            max_connections,
        };
        crate::wiring::postgres_options(&server)?;
        Ok(Store::Postgres(server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(lines: &str) -> Result<Store, String> {
        let text = format!("path = \"/var/lib/zonehead\"\n{lines}");
        toml::from_str::<Storage>(&text)
            .map_err(|error| error.to_string())?
            .resolve()
    }

    #[test]
    fn the_file_is_the_default_and_takes_no_servers_keys() {
        assert_eq!(resolved(""), Ok(Store::File));
        assert_eq!(resolved("type = \"file\""), Ok(Store::File));
        let fault = resolved("schema = \"a\"").unwrap_err();
        assert!(fault.contains("'storage.schema'"), "{fault}");
    }

    #[test]
    fn a_server_is_checked_before_anything_connects() {
        let url =
            "type = \"postgresql\"\nconnection_url = \"postgresql://z@db.example.org/zone\"\n";
        let tls = format!("{url}ca_file = \"/etc/ca.pem\"\n");
        let Ok(Store::Postgres(server)) = resolved(&tls) else {
            panic!("a server")
        };
        assert_eq!((&*server.schema, server.max_connections), ("zonehead", 8));
        for (lines, part) in [
            (
                "type = \"postgresql\"",
                "'storage.connection_url' is missing",
            ),
            ("type = \"mysql\"", "mysql"),
            (url, "'storage.ca_file'"),
            (&*format!("{tls}cert_file = \"/c\""), "belong together"),
            (
                &*format!("{tls}max_connections = 0"),
                "'storage.max_connections'",
            ),
            (&*format!("{tls}password_file = \"p\""), "absolute"),
            (&*format!("{tls}schema = \"a b\""), "schema"),
            (&*tls.replace("z@db", "z:canary-1d@db"), "no password"),
            (&*tls.replace("postgresql://", "x"), "connection URL"),
        ] {
            let fault = resolved(lines).unwrap_err();
            assert!(fault.contains(part), "{lines}: {fault}");
            assert!(!fault.contains("canary"), "{fault}");
        }
    }
}
