//! One run of one command: its arguments, its console, and the client that both describe.
//!
//! Flags win over `ZONEHEAD_*`, those over `VAULT_*`, those over files.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use http::{HeaderName, HeaderValue};
use zone_types::{Secret, parse_duration};

use crate::client::{
    Address, Client, ClientError, Settings, Tls, roots_of_directory, roots_of_file,
    roots_of_system, roots_of_text,
};
use crate::console::Console;
use crate::failure::Failure;
use crate::output::{Format, Output};
use crate::spec::parse_truth;
use crate::token_file;

/// What a command works with.
pub(crate) struct Context<'a> {
    pub(crate) console: &'a mut Console,
    pub(crate) arguments: &'a ArgMatches,
}

impl Context<'_> {
    /// A flag's or an argument's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let value = self.arguments.try_get_one::<String>(name).ok()??;
        Some(value)
    }

    /// An argument that the parser demands.
    pub(crate) fn required(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// A switch: `None` if it was not given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.arguments.try_get_one::<bool>(name).ok()?.copied()
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.arguments.try_get_one::<i64>(name).ok()?.copied()
    }

    /// All values of a flag or argument that can come several times.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let values = self.arguments.try_get_many::<String>(name).ok().flatten();
        values.into_iter().flatten().cloned().collect()
    }

    /// As [`Self::all`], with comma-separated values taken apart.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name);
        let parts = values.iter().flat_map(|value| value.split(','));
        parts
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// `key=value` flags.
    pub(crate) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, Failure> {
        let pair = |value: String| match value.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Failure::usage(format!("-{name} wants key=value"))),
        };
        self.all(name).into_iter().map(pair).collect()
    }

    /// What is to be printed, and how.
    pub(crate) fn output(&self) -> Result<Output, Failure> {
        let given = self
            .text("format")
            .or_else(|| self.console.environment.twin("FORMAT"));
        let format = match given {
            None => Format::Table,
            Some(text) => Format::parse(text).ok_or_else(|| {
                Failure::usage(format!("Invalid output format: {text} (table, json, yaml)"))
            })?,
        };
        let field = self.text("field").filter(|name| !name.is_empty());
        Ok(Output {
            format,
            field: field.map(str::to_owned),
        })
    }

    /// Whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.is_on("non-interactive") && self.console.input.is_terminal()
    }

    /// Asks a person for a secret, without echo.
    pub(crate) fn ask(&mut self, prompt: &str) -> Result<Secret<String>, Failure> {
        self.console
            .input
            .read_hidden(prompt)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::Interrupted => Failure::usage("Interrupted"),
                _ => Failure::usage(format!("the terminal cannot be read: {error}")),
            })
    }

    /// A client with the token that is at hand, if any.
    pub(crate) fn client(&mut self) -> Result<Client, Failure> {
        let mut settings = self.settings()?;
        settings.token = self.token()?;
        Ok(Client::new(settings)?)
    }

    /// A client without a token.
    pub(crate) fn client_of_nobody(&mut self) -> Result<Client, Failure> {
        Ok(Client::new(self.settings()?)?)
    }

    /// A client with `token`.
    pub(crate) fn client_with(&mut self, token: Secret<String>) -> Result<Client, Failure> {
        let mut settings = self.settings()?;
        settings.token = Some(token);
        Ok(Client::new(settings)?)
    }

    fn settings(&mut self) -> Result<Settings, Failure> {
        let address = self.flag_or("address", "ADDR");
        let address = address.as_deref().unwrap_or("https://127.0.0.1:8200");
        let address = Address::parse(address).map_err(ClientError::from)?;
        let mut settings = Settings::new(address);
        if settings.address.is_tls() {
            settings.tls = self.tls()?;
        }
        settings.namespace = self.flag_or("namespace", "NAMESPACE");
        settings.wrap_ttl = self.flag_or("wrap-ttl", "WRAP_TTL");
        settings.headers = self.headers()?;
        settings.timeout = self.timeout()?;
        settings.retries = self.retries()?;
        settings.follow_redirect = !self.truth("disable-redirects", "DISABLE_REDIRECTS")?;
        Ok(settings)
    }

    fn tls(&mut self) -> Result<Tls, Failure> {
        let identity = (
            self.flag_or("client-cert", "CLIENT_CERT"),
            self.flag_or("client-key", "CLIENT_KEY"),
        );
        let identity = match identity {
            (Some(chain), Some(key)) => Some((PathBuf::from(chain), PathBuf::from(key))),
            (None, None) => None,
            _ => return Err(Failure::usage("-client-cert and -client-key go together")),
        };
        let skip_verify = self.truth("tls-skip-verify", "SKIP_VERIFY")?;
        if skip_verify {
            let text = "The server's certificate is not verified (-tls-skip-verify).";
            self.console.warn(text)?;
        }
        let file = self.flag_or("ca-cert", "CACERT");
        let bytes = self
            .console
            .environment
            .twin("CACERT_BYTES")
            .map(str::to_owned);
        let directory = self.flag_or("ca-path", "CAPATH");
        let roots = match (file, bytes, directory) {
            _ if skip_verify => Vec::new(),
            (Some(file), ..) => roots_of_file(file.as_ref())?,
            (_, Some(text), _) => roots_of_text(&text)?,
            (_, _, Some(directory)) => roots_of_directory(directory.as_ref())?,
            _ => roots_of_system(),
        };
        let server_name = self.flag_or("tls-server-name", "TLS_SERVER_NAME");
        Ok(Tls {
            roots,
            server_name,
            identity,
            skip_verify,
        })
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let mut headers = Vec::new();
        for (name, value) in self.pairs("header")? {
            if name.to_ascii_lowercase().starts_with("x-vault-") {
                let text = format!("the header {name} is set by the client itself");
                return Err(Failure::usage(text));
            }
            match (name.parse(), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => {
                    return Err(Failure::usage(format!(
                        "{name:?} is no header with a value"
                    )));
                }
            }
        }
        Ok(headers)
    }

    fn timeout(&self) -> Result<Duration, Failure> {
        let Some(text) = self.console.environment.twin("CLIENT_TIMEOUT") else {
            return Ok(Duration::from_secs(60));
        };
        match parse_duration(text) {
            Ok(span) if !span.is_zero() => Ok(span),
            _ => Err(Failure::usage(
                "VAULT_CLIENT_TIMEOUT is no duration like 30 or 1m",
            )),
        }
    }

    fn retries(&self) -> Result<u32, Failure> {
        let text = self.console.environment.twin("MAX_RETRIES").unwrap_or("0");
        text.parse()
            .map_err(|_| Failure::usage("VAULT_MAX_RETRIES is no whole number"))
    }

    /// The token that is at hand.
    pub(crate) fn token(&mut self) -> Result<Option<Secret<String>>, Failure> {
        if let Some(token) = self.console.environment.twin("TOKEN") {
            return Ok(Some(Secret::new(token.trim().to_owned())));
        }
        token_file::read(self.console)
    }

    fn flag_or(&self, flag: &str, variable: &str) -> Option<String> {
        let flag = self.text(flag).filter(|value| !value.is_empty());
        flag.or_else(|| self.console.environment.twin(variable))
            .map(str::to_owned)
    }

    fn truth(&self, flag: &str, variable: &str) -> Result<bool, Failure> {
        if let Some(on) = self.switch(flag) {
            return Ok(on);
        }
        match self.console.environment.twin(variable) {
            None => Ok(false),
            Some(text) => parse_truth(text).ok_or_else(|| {
                Failure::usage(format!("VAULT_{variable} is neither true nor false"))
            }),
        }
    }
}

/// A path as the API wants it: no slash at either end.
pub(crate) fn trimmed(path: &str) -> &str {
    path.trim().trim_matches('/')
}
