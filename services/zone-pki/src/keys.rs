//! Where a mount's records lie. Prefixes that grow with use are split so that none of them holds
//! more than about a thousand keys: certificates by the first two octets of their serial, the
//! revocations of a shard (at most 8,192) by a digit of theirs.

use zone_access::Mount;
use zone_ports::Key;
use zone_x509::Serial;

use crate::PkiError;

pub(crate) const ISSUER: &str = "issuer";
pub(crate) const KEY: &str = "key";
pub(crate) const ROLE: &str = "role";
pub(crate) const CERT: &str = "cert";
pub(crate) const REVOKED: &str = "revoked";
pub(crate) const DIRTY: &str = "dirty";
pub(crate) const CONFIG: &str = "config";

pub(crate) fn issuer(mount: &Mount, id: &str) -> Result<Key, PkiError> {
    Ok(mount.key(ISSUER, id)?)
}

pub(crate) fn key(mount: &Mount, id: &str) -> Result<Key, PkiError> {
    Ok(mount.key(KEY, id)?)
}

pub(crate) fn role(mount: &Mount, name: &str) -> Result<Key, PkiError> {
    Ok(mount.key(ROLE, name)?)
}

pub(crate) fn config(mount: &Mount, name: &str) -> Result<Key, PkiError> {
    Ok(mount.key(CONFIG, name)?)
}

/// `cert/4a3b/4a3b…`: in the order of serials.
pub(crate) fn cert(mount: &Mount, serial: &Serial) -> Result<Key, PkiError> {
    let hex = serial.to_hex();
    let bucket = hex.get(..4).unwrap_or(&hex);
    Ok(mount.key(CERT, format!("{bucket}/{hex}"))?)
}

/// The revocations of one shard: `revoked/<issuer>/0000002a/`.
pub(crate) fn revoked_of(mount: &Mount, issuer: &str, shard: u32) -> Vec<u8> {
    let mut prefix = revoked_by(mount, issuer);
    prefix.extend_from_slice(format!("{shard:08x}/").as_bytes());
    prefix
}

/// All revocations of one issuer.
pub(crate) fn revoked_by(mount: &Mount, issuer: &str) -> Vec<u8> {
    let mut prefix = mount.prefix(REVOKED);
    prefix.extend_from_slice(format!("{issuer}/").as_bytes());
    prefix
}

pub(crate) fn revoked(
    mount: &Mount,
    issuer: &str,
    shard: u32,
    serial: &Serial,
) -> Result<Key, PkiError> {
    let mut bytes = revoked_of(mount, issuer, shard);
    let hex = serial.to_hex();
    let digit = hex.get(hex.len() - 1..).unwrap_or("0");
    bytes.extend_from_slice(format!("{digit}/{hex}").as_bytes());
    Ok(Key::new(bytes)?)
}

/// The mark whose revision tells whether a list is older than a revocation. There are four per
/// shard, since one commit group writes a key once only.
pub(crate) fn dirty(
    mount: &Mount,
    issuer: &str,
    shard: u32,
    serial: &Serial,
) -> Result<Key, PkiError> {
    let last = serial.as_bytes().last().copied().unwrap_or(0);
    let mut bytes = dirty_of(mount, issuer, shard);
    bytes.push(b'0' + last % 4);
    Ok(Key::new(bytes)?)
}

/// The marks of one shard.
pub(crate) fn dirty_of(mount: &Mount, issuer: &str, shard: u32) -> Vec<u8> {
    let mut prefix = dirty_by(mount, issuer);
    prefix.extend_from_slice(format!("{shard:08x}/").as_bytes());
    prefix
}

/// All marks of one issuer.
pub(crate) fn dirty_by(mount: &Mount, issuer: &str) -> Vec<u8> {
    let mut prefix = mount.prefix(DIRTY);
    prefix.extend_from_slice(format!("{issuer}/").as_bytes());
    prefix
}

/// How many shards the mount has opened.
pub(crate) fn shard_count(mount: &Mount) -> Result<Key, PkiError> {
    Ok(mount.key(CONFIG, "shard-count")?)
}

/// The shard that an issuer is filling.
pub(crate) fn shard_cursor(mount: &Mount, issuer: &str) -> Result<Key, PkiError> {
    Ok(mount.key("shard-cursor", issuer)?)
}

/// What a shard is; a thousand to a prefix.
pub(crate) fn shard(mount: &Mount, shard: u32) -> Result<Key, PkiError> {
    Ok(mount.key("shard", format!("{:05x}/{shard:08x}", shard >> 9))?)
}

pub(crate) fn crl_number(mount: &Mount, issuer: &str) -> Result<Key, PkiError> {
    Ok(mount.key("crl-number", issuer)?)
}

/// The serial at the end of a `cert` or `revoked` key.
pub(crate) fn serial_of(key: &Key) -> Option<Serial> {
    let text = std::str::from_utf8(key.as_bytes()).ok()?;
    Serial::parse(text.rsplit('/').next()?).ok()
}
