//! Which engine holds a secret, and its path in the API.

use serde_json::Value;

use crate::client::Client;
use crate::context::{Context, trimmed};
use crate::failure::Failure;

/// A secret's mount and its path below.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Without slashes at its ends.
    mount: String,
    /// Below the mount; empty for the mount itself.
    key: String,
    /// Whether the engine keeps versions.
    pub(super) v2: bool,
}

impl Place {
    /// Asks the server which mount `-mount` or the first argument names.
    pub(super) async fn find(cx: &mut Context<'_>, client: &Client) -> Result<Self, Failure> {
        let key = trimmed(cx.text("key").unwrap_or_default());
        let mount = cx
            .text("mount")
            .map(trimmed)
            .filter(|mount| !mount.is_empty());
        let asked = mount.unwrap_or(key);
        let reply = client
            .peek(&format!("sys/internal/ui/mounts/{asked}"), &[])
            .await?;
        let data = reply.and_then(|reply| reply.data).unwrap_or_default();
        let found = data.get("path").and_then(Value::as_str).unwrap_or_default();
        let version = data
            .get("options")
            .and_then(|options| options.get("version"));
        let v2 = version.is_some_and(|version| version == "2" || version == 2);
        Ok(Self::new(mount, key, trimmed(found), v2))
    }

    /// `found` is the mount's path as the server knows it; empty if it does not tell.
    fn new(mount: Option<&str>, key: &str, found: &str, v2: bool) -> Self {
        let place = |mount: &str, key: &str| Self {
            mount: mount.to_owned(),
            key: trimmed(key).to_owned(),
            v2,
        };
        match mount {
            Some(mount) => place(if found.is_empty() { mount } else { found }, key),
            None => match key.strip_prefix(found) {
                Some(below) if below.is_empty() || below.starts_with('/') => place(found, below),
                _ => place(found, key),
            },
        }
    }

    /// The path in the API: `<mount>/<area>/<key>`, without an area in version 1.
    pub(super) fn at(&self, area: &str) -> String {
        let area = if self.v2 { area } else { "" };
        let parts = [self.mount.as_str(), area, self.key.as_str()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    /// Refuses an engine without versions.
    pub(super) fn must_be_v2(&self, what: &str) -> Result<(), Failure> {
        match self.v2 {
            true => Ok(()),
            false => Err(Failure::failed(format!(
                "K/V engine mount must be version 2 for {what} support"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_get_their_area() {
        for (mount, key, found, v2, expected) in [
            (None, "secret/app/db", "secret", true, "secret/data/app/db"),
            (None, "secret", "secret", true, "secret/data"),
            (
                Some("secret"),
                "app/db",
                "secret",
                true,
                "secret/data/app/db",
            ),
            (
                Some("secret"),
                "secret/x",
                "secret",
                true,
                "secret/data/secret/x",
            ),
            (Some("secret"), "", "secret", true, "secret/data"),
            (None, "team/kv/app", "team/kv", true, "team/kv/data/app"),
            (
                None,
                "secret/data/app",
                "secret",
                true,
                "secret/data/data/app",
            ),
            (None, "kv/app", "kv", false, "kv/app"),
            (Some("kv"), "app", "kv", false, "kv/app"),
            (None, "kv/app", "", false, "kv/app"),
            (Some("kv"), "app", "", false, "kv/app"),
        ] {
            let place = Place::new(mount, key, found, v2);
            assert_eq!(place.at("data"), expected, "{mount:?} {key}");
        }
    }
}
