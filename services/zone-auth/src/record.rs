//! What all records of this crate have in common: JSON with a version, refused if it is another.

use serde::de::{DeserializeOwned, Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zone_barrier::Plain;

use crate::AuthError;

/// Version 1 of a record: written as the number, refused if it is any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(D::Error::invalid_value(
                Unexpected::Unsigned(other.into()),
                &"version 1",
            )),
        }
    }
}

/// The record, or [`AuthError::Corrupt`].
pub(crate) fn decode<T: DeserializeOwned>(plain: &Plain) -> Result<T, AuthError> {
    Ok(serde_json::from_slice(&plain.value)?)
}
