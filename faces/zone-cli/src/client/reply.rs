//! Vault's response envelope, as a client reads it.

use serde_json::{Map, Value, json};
use zone_types::Secret;

/// An answer in Vault's envelope. No `Debug` of what it holds.
#[derive(Default)]
pub struct Reply {
    /// Id of the request, as the audit trail knows it.
    pub request_id: String,
    /// Id of the lease; empty if there is none.
    pub lease_id: String,
    /// Seconds.
    pub lease_duration: u64,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// The result.
    pub data: Option<Map<String, Value>>,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// A token.
    pub auth: Option<Auth>,
    /// A wrapped answer.
    pub wrap_info: Option<Value>,
}

/// A token, as login, creation and renewal answer it.
#[derive(Clone, Default)]
pub struct Auth {
    /// The token.
    pub client_token: Secret<String>,
    /// Its accessor.
    pub accessor: String,
    /// All policies.
    pub policies: Vec<String>,
    /// Policies of the token itself.
    pub token_policies: Vec<String>,
    /// Policies of the identity behind it.
    pub identity_policies: Vec<String>,
    /// What the creator noted.
    pub metadata: Option<Map<String, Value>>,
    /// Whether it has no parent.
    pub orphan: bool,
    /// The identity behind it.
    pub entity_id: String,
    /// Seconds; 0 for a token that never ends.
    pub lease_duration: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

impl Reply {
    /// Reads an envelope; `None` if `document` is not one.
    pub(crate) fn read(mut document: Value) -> Option<Self> {
        let map = document.as_object_mut()?;
        let text = |map: &Map<String, Value>, name: &str| {
            map.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            request_id: text(map, "request_id"),
            lease_id: text(map, "lease_id"),
            lease_duration: map
                .get("lease_duration")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            renewable: map
                .get("renewable")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            warnings: texts(map.get("warnings")),
            auth: map.remove("auth").and_then(Auth::read),
            wrap_info: map.remove("wrap_info").filter(|value| !value.is_null()),
            data: match map.remove("data") {
                Some(Value::Object(data)) => Some(data),
                _ => None,
            },
        })
    }

    /// Whether there is anything to show. Vault answers some 404s with warnings or data.
    pub(crate) fn says_something(&self) -> bool {
        self.data.is_some() || !self.warnings.is_empty()
    }

    /// `data.<name>`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.data.as_ref()?.get(name)
    }

    /// The entries of a list.
    pub fn keys(&self) -> Option<Vec<&str>> {
        let keys = self.field("keys")?.as_array()?;
        keys.iter().map(Value::as_str).collect()
    }

    /// The document that `-format=json` shows: Vault's fields in Vault's order.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "request_id": self.request_id,
            "lease_id": self.lease_id,
            "lease_duration": self.lease_duration,
            "renewable": self.renewable,
            "data": self.data,
            "warnings": (!self.warnings.is_empty()).then_some(&self.warnings),
        });
        if let Some(auth) = &self.auth {
            document["auth"] = auth.document();
        }
        if let Some(wrap_info) = &self.wrap_info {
            document["wrap_info"] = wrap_info.clone();
        }
        document
    }
}

impl Auth {
    fn read(mut document: Value) -> Option<Self> {
        let map = document.as_object_mut()?;
        let token = match map.remove("client_token") {
            Some(Value::String(token)) => Secret::new(token),
            _ => Secret::default(),
        };
        let text = |name: &str| {
            map.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            client_token: token,
            accessor: text("accessor"),
            policies: texts(map.get("policies")),
            token_policies: texts(map.get("token_policies")),
            identity_policies: texts(map.get("identity_policies")),
            metadata: map.get("metadata").and_then(Value::as_object).cloned(),
            orphan: map.get("orphan").and_then(Value::as_bool).unwrap_or(false),
            entity_id: text("entity_id"),
            lease_duration: map
                .get("lease_duration")
                .and_then(Value::as_u64)
                .unwrap_or(0),
            renewable: map
                .get("renewable")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
    }

    fn document(&self) -> Value {
        let identity = &self.identity_policies;
        json!({
            "client_token": self.client_token.expose(),
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.token_policies,
            "identity_policies": (!identity.is_empty()).then_some(identity),
            "metadata": self.metadata,
            "orphan": self.orphan,
            "entity_id": self.entity_id,
            "lease_duration": self.lease_duration,
            "renewable": self.renewable,
        })
    }
}

/// The strings of an array; none if it is no array.
pub(crate) fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array);
    let items = items.into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
