//! `/v1`: Vault's HTTP API.

pub mod exchange;
pub mod fields;
pub mod kv;
pub mod pki;
