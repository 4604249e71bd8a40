//! Spans of time in a configuration, and the lease times made of them.

use serde::{Deserialize, Deserializer, Serialize};
use zone_access::LeaseTimes;
use zone_types::duration::parse_duration;

/// The longest lease time that can be configured, in seconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

/// As it stands in the file: whole seconds, or text like `768h`.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Span(pub(super) String);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Seconds(u64),
            Text(String),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Seconds(seconds) => seconds.to_string(),
            Form::Text(text) => text,
        }))
    }
}

impl Span {
    fn seconds(&self, key: &str) -> Result<u64, String> {
        let span = parse_duration(&self.0).map_err(|fault| format!("key '{key}': {fault}"))?;
        let seconds = span.as_secs();
        match (1..=LONGEST).contains(&seconds) {
            true => Ok(seconds),
            false => Err(format!("key '{key}': expected 1s to 87600h (ten years)")),
        }
    }
}

/// Vault's times where nothing is said; a default that is not given follows a shorter maximum.
pub(super) fn lease_times(
    default: Option<&Span>,
    max: Option<&Span>,
) -> Result<LeaseTimes, String> {
    let usual = LeaseTimes::default();
    let max = max.map(|span| span.seconds("max_lease_ttl")).transpose()?;
    let max = max.unwrap_or(usual.max);
    let default = default.map(|span| span.seconds("default_lease_ttl"));
    let default = default.transpose()?.unwrap_or(usual.default.min(max));
    if default > max {
        return Err(format!(
            "key 'default_lease_ttl': {default} seconds are longer than max_lease_ttl ({max}): \
             lower the one or raise the other"
        ));
    }
    Ok(LeaseTimes { default, max })
}
