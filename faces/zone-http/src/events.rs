//! Who listens to the zone's events, and what each of them gets.
//!
//! ```text
//! commit log ─▶ zone_barrier::Events ─▶ Subscription (pattern, token, policies) ─▶ SSE or WebSocket
//! ```
//!
//! What must hold: before each event the subscriber's token and policies are asked again, and a
//! token that ends closes its streams at once; a subscriber who is slow costs no memory, he misses
//! events and is told so; the number of subscribers is bounded.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use zone_access::event::{Event, Standing};
use zone_access::{Access, TokenId};
use zone_barrier::commit::Watch;
use zone_barrier::{BarrierError, Events, Told};
use zone_policy::Acl;
use zone_system::SealListener;
use zone_types::Timestamp;

/// Most subscribers of a head.
const MOST: usize = 256;
/// Most subscribers with one token.
const MOST_OF_ONE: usize = 16;
/// How often a token is asked for that nobody changed: it may have expired.
const TICK: Duration = Duration::from_secs(1);

/// The subscribers of a head.
#[derive(Debug)]
pub struct Subscribers {
    places: Mutex<HashMap<TokenId, usize>>,
    /// Counts how often the zone was sealed.
    sealed: watch::Sender<u64>,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            sealed: watch::Sender::new(0),
        }
    }
}

impl SealListener for Subscribers {
    fn closed(&self) {
        self.sealed.send_modify(|count| *count += 1);
    }
}

impl Subscribers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.places.lock().values().sum()
    }

    /// A place for one more with that token; `None` if there is none.
    fn place(self: &Arc<Self>, token: &TokenId) -> Option<Place> {
        let mut places = self.places.lock();
        let all: usize = places.values().sum();
        let own = places.get(token).copied().unwrap_or(0);
        if all >= MOST || own >= MOST_OF_ONE {
            return None;
        }
        places.insert(token.clone(), own + 1);
        Some(Place {
            of: self.clone(),
            token: token.clone(),
        })
    }
}

/// Held by each subscription.
struct Place {
    of: Arc<Subscribers>,
    token: TokenId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.of.places.lock();
        if let Some(count) = places.get_mut(&self.token) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.token);
            }
        }
    }
}

/// Which types of events are wanted: as Vault has them, `*` matches any text, also `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<String>);

impl Pattern {
    /// `None` if no type could match.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_/.*".contains(&c);
        let good = !text.is_empty() && text.len() <= 128 && text.bytes().all(fits);
        good.then(|| Self(text.split('*').map(str::to_owned).collect()))
    }

    pub(crate) fn matches(&self, kind: &str) -> bool {
        let Some((first, rest)) = self.0.split_first() else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return kind == first;
        };
        let Some(mut kind) = kind.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match kind.find(part.as_str()) {
                Some(at) => kind = &kind[at + part.len()..],
                None => return false,
            }
        }
        kind.ends_with(last.as_str())
    }
}

/// One subscriber's way to the events.
pub struct Subscription {
    access: Access,
    events: Events,
    tokens: Watch,
    sealed: watch::Receiver<u64>,
    standing: Standing,
    pattern: Pattern,
    source: String,
    _place: Place,
}

/// Why there is no subscription.
pub(crate) enum Refused {
    /// Too many subscribers.
    Full,
    /// Access failed.
    Failed(zone_access::AccessError),
}

/// What a subscriber gets next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// One event.
    Event {
        /// Its id.
        id: String,
        /// Its type.
        kind: String,
        /// Vault's CloudEvents form, without a newline.
        json: String,
    },
    /// Nothing more comes.
    Ended(&'static str),
}

impl Subscription {
    /// From now on. `source` names the zone.
    pub(crate) fn new(
        subscribers: &Arc<Subscribers>,
        access: &Access,
        events: Events,
        standing: Standing,
        pattern: Pattern,
        source: &str,
    ) -> Result<Self, Refused> {
        let place = subscribers.place(&standing.token().id);
        Ok(Self {
            access: access.clone(),
            events,
            tokens: access.token_changes().map_err(Refused::Failed)?,
            sealed: subscribers.sealed.subscribe(),
            standing,
            pattern,
            source: format!("zonehead://{source}"),
            _place: place.ok_or(Refused::Full)?,
        })
    }

    /// The next notice. May be cancelled without loss.
    pub(crate) async fn next(&mut self) -> Notice {
        loop {
            let told = tokio::select! {
                biased;
                _ = self.sealed.changed() => return Notice::Ended("the zone was sealed"),
                changed = self.tokens.next() => match changed {
                    None => return Notice::Ended("the head ends"),
                    Some(_) => None,
                },
                told = self.events.next() => Some(told),
                () = tokio::time::sleep(TICK) => None,
            };
            // Whatever came: the token and the policies may be others by now.
            let acl = match self.access.still(&self.standing).await {
                Ok(Some(acl)) => acl,
                Ok(None) => return Notice::Ended("the token ended, or its policies changed"),
                Err(_) => return Notice::Ended("the zone was sealed, or storage failed"),
            };
            match told {
                None => {}
                Some(Ok(Some(Told::Missed))) => return self.missed(),
                Some(Ok(Some(Told::Event(record)))) => {
                    if let Some(notice) = self.notice(&record, &acl) {
                        return notice;
                    }
                }
                Some(Ok(None)) => return Notice::Ended("the head ends"),
                Some(Err(BarrierError::Sealed)) => return Notice::Ended("the zone was sealed"),
                Some(Err(_)) => return Notice::Ended("storage failed"),
            }
        }
    }

    fn notice(&self, record: &[u8], acl: &Acl) -> Option<Notice> {
        let event = match Event::decode(record) {
            Ok(event) => event,
            Err(error) => {
                tracing::error!(%error, "an event record is corrupt");
                return Some(self.missed());
            }
        };
        if !self.pattern.matches(&event.kind) || !event.is_for(acl) {
            return None;
        }
        Some(self.told(&event.id, &event.kind, event.time, &Shape::of(&event)))
    }

    /// Events were missed: whoever keeps a copy of something reads it again.
    fn missed(&self) -> Notice {
        let shape = Shape {
            event: Inner {
                id: "",
                metadata: &serde_json::json!({
                    "operation": "resync",
                    "reason": "events were missed: read again what you follow",
                }),
            },
            event_type: "zone/resync",
            plugin_info: None,
        };
        let now = self.access.now().unwrap_or(Timestamp::from_secs(0));
        self.told("", "zone/resync", now, &shape)
    }

    fn told<M: Serialize>(
        &self,
        id: &str,
        kind: &str,
        time: Timestamp,
        data: &Shape<'_, M>,
    ) -> Notice {
        let envelope = Envelope {
            id,
            source: &self.source,
            specversion: "1.0",
            kind,
            data,
            misspelt: "application/cloudevents",
            datacontenttype: "application/json",
            time,
        };
        Notice::Event {
            id: id.to_owned(),
            kind: kind.to_owned(),
            json: serde_json::to_string(&envelope).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription to {:?}", self.pattern)
    }
}

/// CloudEvents 1.0 as Vault writes it, its misspelt field beside the right one.
#[derive(Serialize)]
struct Envelope<'a, M> {
    id: &'a str,
    source: &'a str,
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'a str,
    data: &'a Shape<'a, M>,
    #[serde(rename = "datacontentype")]
    misspelt: &'static str,
    datacontenttype: &'static str,
    time: Timestamp,
}

#[derive(Serialize)]
struct Shape<'a, M> {
    event: Inner<'a, M>,
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin_info: Option<PluginInfo<'a>>,
}

#[derive(Serialize)]
struct Inner<'a, M> {
    id: &'a str,
    metadata: &'a M,
}

#[derive(Serialize)]
struct PluginInfo<'a> {
    mount_class: &'a str,
    mount_accessor: &'a str,
    mount_path: &'a str,
    plugin: &'a str,
}

impl<'a> Shape<'a, std::collections::BTreeMap<String, String>> {
    fn of(event: &'a Event) -> Self {
        Self {
            event: Inner {
                id: &event.id,
                metadata: &event.metadata,
            },
            event_type: &event.kind,
            plugin_info: Some(PluginInfo {
                mount_class: &event.mount_class,
                mount_accessor: &event.mount_accessor,
                mount_path: &event.mount_path,
                plugin: &event.plugin,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_vaults_globs() {
        for (pattern, kind, matches) in [
            ("*", "kv-v2/data-write", true),
            ("kv*", "kv-v2/data-write", true),
            ("kv-v2/*", "kv-v2/data-write", true),
            ("kv-v2/data-*", "kv-v2/data-write", true),
            ("kv-v2/data-*", "kv-v2/metadata-write", false),
            ("*-write", "kv-v2/data-write", true),
            ("kv*write", "kv-v2/data-write", true),
            ("kv*data*write", "kv-v2/data-write", true),
            ("kv*write*write", "kv-v2/data-write", false),
            ("kv-v2/data-write", "kv-v2/data-write", true),
            ("kv-v2/data-writ", "kv-v2/data-write", false),
            ("data-write", "kv-v2/data-write", false),
            ("a*a", "a", false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(kind), matches, "{pattern} {kind}");
        }
        for text in ["", "a b", "a\n", "ä", "a?b", &"a".repeat(129)] {
            assert_eq!(Pattern::parse(text), None, "{text:?}");
        }
    }
}
