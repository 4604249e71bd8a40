//! One entry as the line of one device, in the layout of Vault's audit JSON.
//!
//! The line ends open (no closing brace): the device's chain adds the `chain` object.

use std::io::Write as _;
use std::ops::Range;

use serde_json::{Map, Value};
use zone_crypto::hmac;

use crate::entry::{AuditEntry, AuthPart, Data, EntryKind, RequestPart, ResponsePart};
use crate::redact::{Redactor, push_hmac, push_string};

/// What one device does with entries.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// The device's HMAC key.
    pub(crate) key: hmac::Key,
    /// Whether accessors are written as HMACs.
    pub(crate) hmac_accessor: bool,
    /// Whether the keys in answers to lists are written as their number only.
    pub(crate) elide_lists: bool,
}

impl Encoder {
    /// The open line of `entry`.
    pub(crate) fn encode(&self, entry: &AuditEntry<'_>) -> Vec<u8> {
        let out = Vec::with_capacity(1536);
        let mut line = Line {
            out,
            encoder: self,
            token: None,
            accessor: None,
        };
        line.entry(entry);
        line.out
    }
}

struct Line<'a> {
    out: Vec<u8>,
    encoder: &'a Encoder,
    /// Where the caller's token and accessor stand already, so that each is hashed once.
    token: Option<Range<usize>>,
    accessor: Option<Range<usize>>,
}

impl Line<'_> {
    fn entry(&mut self, entry: &AuditEntry<'_>) {
        drop(write!(self.out, "{{\"time\":\"{}\"", entry.time));
        match entry.kind {
            EntryKind::Request => self.raw(",\"type\":\"request\""),
            EntryKind::Response => self.raw(",\"type\":\"response\""),
        }
        if let Some(auth) = entry.auth {
            self.raw(",\"auth\":");
            (self.token, self.accessor) = self.auth(auth);
        }
        self.raw(",\"request\":");
        self.request(entry.request);
        if let Some(response) = entry.response {
            self.raw(",\"response\":");
            let elided = self.encoder.elide_lists && entry.request.operation == "list";
            match response.data.filter(|_| elided).and_then(counted) {
                Some(counts) => self.response(&ResponsePart {
                    data: Some(Data::Map(&counts)),
                    ..*response
                }),
                None => self.response(response),
            }
        }
        if let Some(error) = entry.error {
            self.text(",\"error\":", error);
        }
    }

    /// Answers with the places of the token's and the accessor's values.
    fn auth(&mut self, auth: &AuthPart<'_>) -> (Option<Range<usize>>, Option<Range<usize>>) {
        self.text("{\"display_name\":", auth.display_name);
        let token = auth.client_token.map(|token| {
            self.raw(",\"client_token\":");
            self.place(|line| line.hmac("", token))
        });
        let accessor = auth.accessor.map(|accessor| {
            self.raw(",\"accessor\":");
            self.place(|line| line.accessor("", accessor))
        });
        self.names(",\"policies\":", auth.policies);
        if let Some(decision) = &auth.decision {
            self.raw(",\"policy_results\":{\"allowed\":");
            self.raw(if decision.allowed { "true" } else { "false" });
            self.raw(",\"granting_policies\":[");
            for (i, name) in decision.policies.iter().enumerate() {
                self.text(if i > 0 { ",{\"name\":" } else { "{\"name\":" }, name);
                self.raw(",\"type\":\"acl\"}");
            }
            self.raw("]");
            if let Some(rule) = decision.rule {
                self.text(",\"rule\":", rule);
            }
            self.raw("}");
        }
        self.some(",\"token_type\":", auth.token_type);
        self.some(",\"entity_id\":", auth.entity_id);
        self.raw("}");
        (token, accessor)
    }

    /// Where `write` writes.
    fn place(&mut self, write: impl FnOnce(&mut Self)) -> Range<usize> {
        let start = self.out.len();
        write(self);
        start..self.out.len()
    }

    fn request(&mut self, request: &RequestPart<'_>) {
        drop(write!(self.out, "{{\"id\":\"{}\"", request.id));
        self.text(",\"operation\":", request.operation);
        if let Some(mount) = &request.mount {
            self.text(",\"mount_point\":", mount.path);
            self.text(",\"mount_type\":", mount.kind);
            self.text(",\"mount_class\":", mount.class);
            self.text(",\"mount_accessor\":", mount.accessor);
        }
        if let Some(place) = self.token.take() {
            self.raw(",\"client_token\":");
            self.out.extend_from_within(place);
        }
        if let Some(place) = self.accessor.take() {
            self.raw(",\"client_token_accessor\":");
            self.out.extend_from_within(place);
        }
        self.text(",\"namespace\":{\"id\":", request.namespace.as_str());
        self.text("},\"path\":", request.path);
        self.data(request.data, request.clear_keys);
        if let Some(address) = request.remote_address {
            drop(write!(self.out, ",\"remote_address\":\"{address}\""));
            drop(write!(self.out, ",\"remote_port\":{}", request.remote_port));
        }
        if let Some(fingerprint) = request.client_certificate {
            self.text(",\"client_certificate_sha256\":", fingerprint);
        }
        if request.wrap_ttl > 0 {
            drop(write!(self.out, ",\"wrap_ttl\":{}", request.wrap_ttl));
        }
        self.headers(request);
        self.raw("}");
    }

    fn headers(&mut self, request: &RequestPart<'_>) {
        if request.headers.is_empty() {
            return;
        }
        self.raw(",\"headers\":{");
        for (i, header) in request.headers.iter().enumerate() {
            self.text(if i > 0 { "," } else { "" }, header.name);
            if header.clear {
                self.text(":[", header.value);
            } else {
                self.hmac(":[", header.value);
            }
            self.raw("]");
        }
        self.raw("}");
    }

    fn response(&mut self, response: &ResponsePart<'_>) {
        drop(write!(self.out, "{{\"status\":{}", response.status));
        if let Some(auth) = response.auth {
            self.raw(",\"auth\":");
            self.auth(auth);
        }
        self.data(response.data, response.clear_keys);
        if !response.lease_id.is_empty() {
            self.text(",\"secret\":{\"lease_id\":", response.lease_id);
            self.raw("}");
        }
        if let Some(token) = response.wrap_token {
            self.hmac(",\"wrap_info\":{\"token\":", token);
            if let Some(accessor) = response.wrap_accessor {
                self.accessor(",\"accessor\":", accessor);
            }
            self.raw("}");
        }
        if !response.warnings.is_empty() {
            self.names(",\"warnings\":", response.warnings);
        }
        self.raw("}");
    }

    fn data(&mut self, data: Option<Data<'_>>, clear: &[String]) {
        if let Some(data) = data {
            self.raw(",\"data\":");
            Redactor {
                key: &self.encoder.key,
                clear,
            }
            .data(&mut self.out, data);
        }
    }

    fn names(&mut self, label: &str, names: &[String]) {
        self.raw(label);
        self.raw("[");
        for (i, name) in names.iter().enumerate() {
            self.text(if i > 0 { "," } else { "" }, name);
        }
        self.raw("]");
    }

    fn accessor(&mut self, label: &str, accessor: &str) {
        if self.encoder.hmac_accessor {
            self.hmac(label, accessor);
        } else {
            self.text(label, accessor);
        }
    }

    fn hmac(&mut self, label: &str, value: &str) {
        self.raw(label);
        push_hmac(&mut self.out, &self.encoder.key, value.as_bytes());
    }

    fn some(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.text(label, value);
        }
    }

    fn text(&mut self, label: &str, value: &str) {
        self.raw(label);
        push_string(&mut self.out, value);
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// An answer to a list with `keys` and `key_info` as their number, as Vault writes it. `None` if
/// it is no object: then it is written as any other.
fn counted(data: Data<'_>) -> Option<Map<String, Value>> {
    let mut map: Map<String, Value> = match data {
        Data::Map(map) => map.clone(),
        Data::Json(text) => serde_json::from_str(text).ok()?,
        Data::Bytes(_) => return None,
    };
    for name in ["keys", "key_info"] {
        let count = match map.get(name) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(items)) => items.len(),
            _ => continue,
        };
        map.insert(name.to_owned(), count.into());
    }
    Some(map)
}
