//! What a change tells of itself, in Vault's types and facts (docs/formats/events.md).

use std::collections::BTreeMap;

use zeroize::Zeroizing;
use zone_access::event::Event;
use zone_access::{Operation, Permit};

use super::change::{Next, Plan};
use super::place::{Area, Place};
use super::{KvError, KvService};

type Record = Zeroizing<Vec<u8>>;

/// Whether custom metadata asks for an alert at each reading.
pub(super) fn is_canary(custom: &BTreeMap<String, String>) -> bool {
    custom
        .get("canary")
        .is_some_and(|text| text == "true" || text == "1")
}

impl KvService {
    /// What to tell of `plan` once it is durable; nothing of one that changes nothing.
    pub(super) fn events<T>(
        &self,
        permit: &Permit,
        place: &Place<'_>,
        plan: &Plan<T>,
    ) -> Result<Vec<Record>, KvError> {
        let (current, oldest) = match &plan.next {
            Next::Unchanged => return Ok(Vec::new()),
            Next::Is(metadata) => (metadata.current, metadata.oldest),
            Next::Removed(_) => (0, 0),
        };
        let Some(kind) = kind(permit) else {
            return Ok(Vec::new());
        };
        let data_path = data_path(permit, place);
        let event = Event::about(permit, &*self.random, kind, &data_path)
            .with("data_path", data_path)
            .with("modified", "true")
            .with("current_version", current.to_string())
            .with("oldest_version", oldest.to_string());
        let mut events = vec![encoded(&event)?];
        if plan.reads_canary {
            events.push(self.canary_read(permit, place)?);
        }
        Ok(events)
    }

    /// That a watched secret was read, and by whom.
    pub(super) fn canary_read(
        &self,
        permit: &Permit,
        place: &Place<'_>,
    ) -> Result<Record, KvError> {
        let data_path = data_path(permit, place);
        let who = permit
            .token()
            .map(|token| token.record.display_name.clone());
        let event = Event::about(permit, &*self.random, "zone/canary-read", &data_path)
            .with("data_path", data_path)
            .with("modified", "false")
            .with("display_name", who.unwrap_or_default());
        encoded(&event)
    }

    /// That the settings of a mount were changed.
    pub(super) fn config_written(&self, permit: &Permit) -> Result<Record, KvError> {
        let path = permit.path().as_str();
        let event = Event::about(permit, &*self.random, "kv-v2/config-write", path)
            .with("modified", "true");
        encoded(&event)
    }
}

fn encoded(event: &Event) -> Result<Record, KvError> {
    event.encode().map_err(|_| KvError::Corrupt)
}

/// Vault's type of what a permit lets happen.
fn kind(permit: &Permit) -> Option<&'static str> {
    let area = Area::of(permit.rest())?;
    Some(match (area, permit.operation()) {
        (Area::Data, Operation::Create | Operation::Update) => "kv-v2/data-write",
        (Area::Data, Operation::Patch) => "kv-v2/data-patch",
        (Area::Data, Operation::Delete) => "kv-v2/data-delete",
        (Area::Delete, _) => "kv-v2/delete",
        (Area::Undelete, _) => "kv-v2/undelete",
        (Area::Destroy, _) => "kv-v2/destroy",
        (Area::Metadata, Operation::Create | Operation::Update) => "kv-v2/metadata-write",
        (Area::Metadata, Operation::Patch) => "kv-v2/metadata-patch",
        (Area::Metadata, Operation::Delete) => "kv-v2/metadata-delete",
        _ => return None,
    })
}

/// Where the secret's values are read.
fn data_path(permit: &Permit, place: &Place<'_>) -> String {
    format!("{}data/{}", permit.mount().path.as_str(), place.path())
}
