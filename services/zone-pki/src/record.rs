//! What a PKI mount stores (`docs/formats/pki.md`): one struct per record, JSON, each with its
//! version. A record with another version or shape is corrupt, never guessed at.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;
use zone_types::Timestamp;

use crate::PkiError;

/// Room for the largest private key as JSON, so that writing it never leaves a copy behind in a
/// buffer that was outgrown.
const SECRET_ROOM: usize = 32 * 1024;

/// A record with its version in front.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u8,
    r: T,
}

/// The stored form of a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, PkiError> {
    serde_json::to_vec(&Versioned { v: 1, r: record })
        .map_err(|_| PkiError::Internal("encoding a record"))
}

/// As [`encode`], for a record with a secret in it.
pub(crate) fn encode_secret<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let mut out = Zeroizing::new(Vec::with_capacity(SECRET_ROOM));
    serde_json::to_writer(&mut *out, &Versioned { v: 1, r: record })
        .map_err(|_| PkiError::Internal("encoding a record"))?;
    Ok(out)
}

/// Reads a record of `kind` (named in the error).
pub(crate) fn decode<T: DeserializeOwned>(kind: &'static str, value: &[u8]) -> Result<T, PkiError> {
    let Versioned { v, r } = serde_json::from_slice(value).map_err(|_| PkiError::Corrupt(kind))?;
    if v == 1 {
        Ok(r)
    } else {
        Err(PkiError::Corrupt(kind))
    }
}

/// Octets, as base64 in JSON.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Octets(pub Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64
            .decode(&*text)
            .map(Self)
            .map_err(|_| de::Error::custom("not base64"))
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

/// A PKCS#8 key. `Debug` shows nothing of it; it is wiped when dropped.
#[derive(Clone)]
pub(crate) struct SecretOctets(pub(crate) Zeroizing<Vec<u8>>);

impl Serialize for SecretOctets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for SecretOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let octets = BASE64
            .decode(&*text)
            .map_err(|_| de::Error::custom("not base64"))?;
        Ok(Self(Zeroizing::new(octets)))
    }
}

impl fmt::Debug for SecretOctets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What an issuer may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IssuerUsage {
    /// Signing certificates.
    pub issuing_certificates: bool,
    /// Signing revocation lists.
    pub crl_signing: bool,
    /// Signing OCSP answers.
    pub ocsp_signing: bool,
}

impl Default for IssuerUsage {
    fn default() -> Self {
        Self {
            issuing_certificates: true,
            crl_signing: true,
            ocsp_signing: true,
        }
    }
}

impl IssuerUsage {
    /// Vault's text: the usages, comma-joined, with `read-only` always among them.
    pub fn as_text(self) -> String {
        let mut names = Vec::new();
        for (set, name) in [
            (self.crl_signing, "crl-signing"),
            (self.issuing_certificates, "issuing-certificates"),
            (self.ocsp_signing, "ocsp-signing"),
            (true, "read-only"),
        ] {
            if set {
                names.push(name);
            }
        }
        names.join(",")
    }

    /// Reads Vault's names.
    pub fn parse(names: &[String]) -> Result<Self, PkiError> {
        let mut usage = Self {
            issuing_certificates: false,
            crl_signing: false,
            ocsp_signing: false,
        };
        for name in names {
            match name.as_str() {
                "issuing-certificates" => usage.issuing_certificates = true,
                "crl-signing" => usage.crl_signing = true,
                "ocsp-signing" => usage.ocsp_signing = true,
                "read-only" => {}
                _ => {
                    return Err(PkiError::field(
                        "usage",
                        "expected read-only, issuing-certificates, crl-signing or ocsp-signing",
                    ));
                }
            }
        }
        Ok(usage)
    }
}

/// What happens to a leaf that would outlive its issuer (C1). Vault's third way, `permit`, is
/// refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeafNotAfter {
    /// The request fails and names both dates.
    #[default]
    Err,
    /// The leaf ends with its issuer.
    Truncate,
}

impl LeafNotAfter {
    /// Reads Vault's names.
    pub fn parse(text: &str) -> Result<Self, PkiError> {
        match text {
            "err" => Ok(Self::Err),
            "truncate" => Ok(Self::Truncate),
            "permit" => Err(PkiError::field(
                "leaf_not_after_behavior",
                "permit is not offered: no certificate outlives its issuer; use err or truncate",
            )),
            _ => Err(PkiError::field(
                "leaf_not_after_behavior",
                "expected err or truncate",
            )),
        }
    }

    /// Vault's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Truncate => "truncate",
        }
    }
}

/// Addresses that stand in certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Urls {
    /// Where the issuer's certificate can be fetched (AIA `caIssuers`).
    pub issuing_certificates: Vec<String>,
    /// Where the revocation list can be fetched.
    pub crl_distribution_points: Vec<String>,
    /// Where an OCSP responder answers.
    pub ocsp_servers: Vec<String>,
    /// Whether `{{issuer_id}}` and `{{shard}}` are replaced.
    pub enable_templating: bool,
}

impl Urls {
    /// Whether no address is set.
    pub fn is_empty(&self) -> bool {
        self.issuing_certificates.is_empty()
            && self.crl_distribution_points.is_empty()
            && self.ocsp_servers.is_empty()
    }
}

/// `issuer/<id>`: a CA certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssuerRecord {
    /// Its id, for life.
    pub id: String,
    /// Its name; empty for none.
    pub name: String,
    /// The key that signs for it; `None` if the key is elsewhere.
    pub key_id: Option<String>,
    /// The certificate in DER.
    pub certificate: Octets,
    /// The chain that an operator chose, as issuer ids; empty: built from what is here.
    #[serde(default)]
    pub manual_chain: Vec<String>,
    /// What it may be used for.
    #[serde(default)]
    pub usage: IssuerUsage,
    /// What happens to leaves that would outlive it.
    #[serde(default)]
    pub leaf_not_after: LeafNotAfter,
    /// Its own addresses; empty: those of the mount.
    #[serde(default)]
    pub urls: Urls,
}

/// `key/<id>`: a private key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) pkcs8: SecretOctets,
}

/// `config/issuers`: the defaults. Every change of the set of issuers or keys rewrites it, which
/// puts such changes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AuthorityConfig {
    pub(crate) default_issuer: Option<String>,
    pub(crate) default_follows_latest: bool,
    pub(crate) default_key: Option<String>,
}

/// `config/crl`: how revocation lists are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrlConfig {
    /// Seconds from the making of a list to its `nextUpdate`.
    pub expiry_secs: u64,
    /// Shown to clients. Lists are always rebuilt when they are read and old or dirty.
    pub auto_rebuild: bool,
    /// A list is made anew when fewer seconds than this are left of it (at most half its life).
    pub grace_secs: u64,
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            expiry_secs: 72 * 3600,
            auto_rebuild: false,
            grace_secs: 12 * 3600,
        }
    }
}

impl CrlConfig {
    /// The life of a list.
    pub fn expiry(&self) -> Duration {
        Duration::from_secs(self.expiry_secs)
    }

    /// How long before its end a list is made anew.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_secs.min(self.expiry_secs / 2))
    }
}

/// `cert/<bucket>/<serial>`: a certificate that was issued here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CertRecord {
    /// DER.
    pub(crate) certificate: Octets,
    /// Who issued it.
    pub(crate) issuer: String,
    /// The part of the revocation list that it belongs to, from 1; 0 for the complete one alone.
    pub(crate) shard: u32,
    /// Whether it is a self-signed CA, which no list of its own can revoke.
    #[serde(default)]
    pub(crate) is_root: bool,
    /// Its end, so that a list need not parse it.
    pub(crate) not_after: Timestamp,
    /// The role it was issued by; empty for CA certificates.
    #[serde(default)]
    pub(crate) role: String,
}

/// `revoked/<issuer>/<shard>/<nibble>/<serial>`: a revocation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RevokedRecord {
    pub(crate) at: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// `config/shard-count`: how many shards the mount has opened. They are numbered from 1, whoever issues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardCount {
    pub(crate) opened: u32,
}

/// `shard-cursor/<issuer>`: the shard that an issuer is filling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardCursor {
    pub(crate) shard: u32,
    /// Places of the shard below this are taken or lost.
    pub(crate) reserved: u32,
}

/// `shard/<shard>`: whose it is, and the distribution points that its certificates name
/// (`{{shard}}` not yet replaced).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRecord {
    pub(crate) issuer: String,
    pub(crate) points: Vec<String>,
}

/// `crl-number/<issuer>`: the highest number that a list of this issuer may bear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrlNumber {
    pub(crate) number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_other_versions_are_corrupt() {
        let record = ShardCursor {
            shard: 3,
            reserved: 1024,
        };
        let stored = encode(&record).unwrap();
        assert!(stored.starts_with(br#"{"v":1,"#));
        assert_eq!(decode::<ShardCursor>("shard", &stored).unwrap(), record);
        let other = String::from_utf8(stored)
            .unwrap()
            .replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            decode::<ShardCursor>("shard", other.as_bytes()),
            Err(PkiError::Corrupt("shard"))
        ));
    }

    #[test]
    fn e1_debug_shows_no_key() {
        let key = KeyRecord {
            id: "k".into(),
            name: String::new(),
            pkcs8: SecretOctets(Zeroizing::new(b"hunter2".to_vec())),
        };
        let text = format!("{key:?}");
        assert!(
            text.contains("[redacted]") && !text.contains("104, 117"),
            "{text}"
        );
        let stored = encode_secret(&key).unwrap();
        let back: KeyRecord = decode("key", &stored).unwrap();
        assert_eq!(&**back.pkcs8.0, b"hunter2");
    }

    #[test]
    fn c1_permit_is_not_offered() {
        assert!(LeafNotAfter::parse("permit").is_err());
        assert_eq!(
            LeafNotAfter::parse("truncate").unwrap(),
            LeafNotAfter::Truncate
        );
    }

    #[test]
    fn usage_is_written_as_vault_writes_it() {
        assert_eq!(
            IssuerUsage::default().as_text(),
            "crl-signing,issuing-certificates,ocsp-signing,read-only"
        );
        let usage = IssuerUsage::parse(&["read-only".into(), "crl-signing".into()]).unwrap();
        assert_eq!(usage.as_text(), "crl-signing,read-only");
        assert!(IssuerUsage::parse(&["everything".into()]).is_err());
    }
}
