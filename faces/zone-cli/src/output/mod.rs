//! Results, as tables, JSON or YAML.
//!
//! What must hold: `-format=json` is Vault's document, so that scripts keep working; warnings go
//! to standard error; a value cannot steer the operator's terminal.

mod document;
pub(crate) mod table;

use serde_json::{Map, Value};

use crate::client::{Auth, Reply};
use crate::console::Console;
use crate::failure::{Failure, Outcome};
use table::{headed, row};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
    /// The body as it came; `read` only.
    Raw,
}

impl Format {
    /// Reads the value of `-format`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "table" => Some(Self::Table),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "raw" => Some(Self::Raw),
            _ => None,
        }
    }

    /// A document in this format; not for tables.
    fn write(self, value: &Value) -> String {
        match self {
            Self::Yaml => document::yaml(value),
            _ => document::json(value),
        }
    }
}

/// What is printed of a result, and how.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// Vault's formats.
    pub(crate) format: Format,
    /// Only this field.
    pub(crate) field: Option<String>,
}

impl Output {
    /// Whether people read it.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints an envelope, or the field that was asked for.
    pub(crate) fn reply(&self, console: &mut Console, reply: &Reply) -> Outcome {
        if let Some(name) = &self.field {
            if self.is_table() {
                warnings(console, reply)?;
            }
            let field = reply_field(reply, name);
            return self.one_field(console, field.as_ref(), name, "secret");
        }
        if !self.is_table() {
            return self.value(console, &reply.document());
        }
        warnings(console, reply)?;
        let rows = reply_rows(reply);
        if !rows.is_empty() {
            console.print(&headed(rows))?;
        }
        Ok(0)
    }

    /// Prints a document that is in no envelope; an object as a table.
    pub(crate) fn value(&self, console: &mut Console, value: &Value) -> Outcome {
        match (self.format, value) {
            (Format::Table, Value::Object(map)) => {
                if !map.is_empty() {
                    console.print(&table::key_values(map))?;
                }
            }
            (Format::Table, other) => console.print(&table::plain(other))?,
            (format, value) => console.print(&format.write(value))?,
        }
        Ok(0)
    }

    /// Prints one field raw, as the input of another program.
    pub(crate) fn one_field(
        &self,
        console: &mut Console,
        value: Option<&Value>,
        name: &str,
        of: &str,
    ) -> Outcome {
        let value = value.filter(|value| !value.is_null());
        let value =
            value.ok_or_else(|| Failure::usage(format!("Field {name:?} not present in {of}")))?;
        let text = match self.format {
            Format::Table | Format::Raw => table::plain(value),
            format => format.write(value),
        };
        raw(console, text.as_bytes())
    }

    /// Prints the keys of a list, sorted.
    pub(crate) fn keys(&self, console: &mut Console, reply: &Reply, keys: &[&str]) -> Outcome {
        if !self.is_table() {
            return self.value(console, &Value::from(keys.to_vec()));
        }
        warnings(console, reply)?;
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let mut rows = vec![vec!["Keys".to_owned()]];
        rows.extend(sorted.iter().map(|key| vec![(*key).to_owned()]));
        if !keys.is_empty() {
            console.print(&table::table(&rows))?;
        }
        Ok(0)
    }
}

/// Prints bytes as they are; a newline follows on a terminal only, as in Vault.
pub(crate) fn raw(console: &mut Console, bytes: &[u8]) -> Outcome {
    console.stdout.write_all(bytes)?;
    if console.stdout_is_terminal {
        console.stdout.write_all(b"\n")?;
    }
    console.stdout.flush()?;
    Ok(0)
}

/// Prints the warnings of an answer.
pub(crate) fn warnings(console: &mut Console, reply: &Reply) -> std::io::Result<()> {
    if reply.warnings.is_empty() {
        return Ok(());
    }
    console.warn("WARNING! The following warnings were returned from the server:\n")?;
    for warning in &reply.warnings {
        console.warn(&format!("  * {warning}\n"))?;
    }
    Ok(())
}

/// Vault's names of what stands in `wrap_info`.
const WRAPPING: [(&str, &str); 6] = [
    ("wrapping_token", "token"),
    ("wrapping_accessor", "accessor"),
    ("wrapping_token_ttl", "ttl"),
    ("wrapping_token_creation_time", "creation_time"),
    ("wrapping_token_creation_path", "creation_path"),
    ("wrapped_accessor", "wrapped_accessor"),
];

fn reply_rows(reply: &Reply) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    if reply.lease_duration > 0 {
        let duration = table::human_duration(reply.lease_duration);
        if reply.lease_id.is_empty() {
            rows.push(row("refresh_interval", &duration));
        } else {
            rows.push(row("lease_id", &reply.lease_id));
            rows.push(row("lease_duration", &duration));
            rows.push(row("lease_renewable", &reply.renewable.to_string()));
        }
    }
    if let Some(auth) = &reply.auth {
        rows.extend(auth_rows(auth));
    }
    if let Some(Value::Object(map)) = &reply.wrap_info {
        for (name, key) in WRAPPING {
            let value = map.get(key).filter(|value| !value.is_null());
            rows.extend(value.map(|value| match (key, value.as_u64()) {
                ("ttl", Some(secs)) => row(&format!("{name}:"), &table::human_duration(secs)),
                _ => row(&format!("{name}:"), &table::plain(value)),
            }));
        }
    }
    rows.extend(reply.data.iter().flat_map(table::data_rows));
    rows
}

fn auth_rows(auth: &Auth) -> Vec<Vec<String>> {
    let duration = match auth.lease_duration {
        0 => "∞".to_owned(),
        seconds => table::human_duration(seconds),
    };
    let mut rows = vec![
        row("token", auth.client_token.expose()),
        row("token_accessor", &auth.accessor),
        row("token_duration", &duration),
        row("token_renewable", &auth.renewable.to_string()),
        row("token_policies", &table::quoted(&auth.token_policies)),
        row("identity_policies", &table::quoted(&auth.identity_policies)),
        row("policies", &table::quoted(&auth.policies)),
    ];
    let empty = Map::new();
    let metadata = auth.metadata.as_ref().unwrap_or(&empty);
    for meta in table::data_rows(metadata) {
        rows.push(row(&format!("token_meta_{}", meta[0]), &meta[1]));
    }
    rows
}

/// The field that `-field` names, under Vault's names.
fn reply_field(reply: &Reply, name: &str) -> Option<Value> {
    let own = match (&reply.auth, &reply.wrap_info) {
        (Some(auth), _) => auth_field(auth, name),
        (None, Some(wrap_info)) => {
            let known = WRAPPING.iter().find(|(shown, _)| *shown == name);
            wrap_info.get(known.map_or(name, |(_, key)| key)).cloned()
        }
        (None, None) => match name {
            "lease_duration" | "refresh_interval" => Some(reply.lease_duration.into()),
            "lease_id" => Some(reply.lease_id.clone().into()),
            "request_id" => Some(reply.request_id.clone().into()),
            "renewable" => Some(reply.renewable.into()),
            "data" if reply.field("data").is_none() => reply.data.clone().map(Value::Object),
            _ => None,
        },
    };
    own.or_else(|| reply.field(name).cloned())
}

fn auth_field(auth: &Auth, name: &str) -> Option<Value> {
    Some(match name {
        "token" => auth.client_token.expose().clone().into(),
        "token_accessor" => auth.accessor.clone().into(),
        "token_duration" => auth.lease_duration.into(),
        "token_renewable" => auth.renewable.into(),
        "token_policies" => auth.token_policies.clone().into(),
        "identity_policies" => auth.identity_policies.clone().into(),
        "policies" => auth.policies.clone().into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
