//! The hash chain over the lines of one device (docs/formats/audit.md).
//!
//! Each line ends in `,"chain":{"epoch":E,"seq":N,"hash":"H"}}` where `H` is the SHA-256 of the
//! hash of the line before (32 bytes) and of every byte of this line before `,"hash":`. `seq`
//! grows by one with each line, for the life of the device. An epoch is a stretch of lines that
//! one process wrote to one file without a failure; it begins with a line that names the last
//! line before it.

use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zone_crypto::Sha256;
use zone_crypto::sign::{PublicKey, SignatureScheme};
use zone_types::Timestamp;

use crate::redact::{push_hex, push_string};

/// Most lines from one checkpoint to the next.
pub const LINES_PER_CHECKPOINT: u64 = 1_000;

/// `,"hash":"` + 64 digits + `"}}`.
const TAIL: usize = 9 + 64 + 3;
const SIGNATURE: &[u8] = b",\"signature\":\"";
const CHECKPOINT_DOMAIN: &[u8] = b"zonehead-audit-checkpoint-v1\0";

/// The last line of a chain: what the next one continues.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The epoch of the line.
    pub epoch: u64,
    /// Its number, from 1 over the life of the device.
    pub seq: u64,
    /// Its hash.
    #[serde(with = "hex_hash")]
    pub hash: [u8; 32],
}

impl ChainHead {
    /// Before the first line.
    pub const GENESIS: Self = Self {
        epoch: 0,
        seq: 0,
        hash: [0; 32],
    };

    /// Closes the open line `out[start..]` as the next line of this chain, newline included.
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>, start: usize) {
        self.seq += 1;
        drop(write!(
            out,
            ",\"chain\":{{\"epoch\":{},\"seq\":{}",
            self.epoch, self.seq
        ));
        self.hash = link(&self.hash, &out[start..]);
        out.extend_from_slice(b",\"hash\":\"");
        push_hex(out, &self.hash);
        out.extend_from_slice(b"\"}}\n");
    }

    /// The head that a whole line (without newline) leaves, as the line itself claims.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        parse(line).map(|(head, _)| head)
    }
}

impl fmt::Debug for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} of epoch {} ({})",
            self.seq,
            self.epoch,
            hex::encode(&self.hash[..4])
        )
    }
}

/// The hash of a line whose bytes before `,"hash":` are `covered`.
pub(crate) fn link(prior: &[u8; 32], covered: &[u8]) -> [u8; 32] {
    Sha256::new().chain(prior).chain(covered).finish()
}

/// What a line claims of itself, and the part of it that its hash covers.
pub(crate) fn parse(line: &[u8]) -> Option<(ChainHead, &[u8])> {
    let (covered, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
    let digits = tail.strip_prefix(b",\"hash\":\"")?.strip_suffix(b"\"}}")?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    let (rest, seq) = number_behind(covered, b",\"seq\":")?;
    let (_, epoch) = number_behind(rest, b",\"chain\":{\"epoch\":")?;
    Some((ChainHead { epoch, seq, hash }, covered))
}

/// Splits `label` and the decimal number behind it off the end of `bytes`.
fn number_behind<'a>(bytes: &'a [u8], label: &[u8]) -> Option<(&'a [u8], u64)> {
    let digits = bytes
        .iter()
        .rev()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let (rest, number) = bytes.split_at(bytes.len() - digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((rest.strip_suffix(label)?, number))
}

/// Why an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochReason {
    /// The first line of the device.
    Start,
    /// The head was started or unsealed.
    Restart,
    /// The device rotated its file.
    Rotation,
    /// The file was moved away and opened anew.
    Reopen,
    /// A write failed; lines may be missing that no client was answered for.
    Failure,
    /// The file does not hold the line that was written last: somebody cut, emptied, replaced
    /// or changed it.
    Tampered,
}

/// The object `epoch` of an epoch line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EpochNote {
    pub(crate) v: u32,
    pub(crate) zone: String,
    pub(crate) device: String,
    pub(crate) head: String,
    pub(crate) reason: EpochReason,
    /// The line that this one continues.
    pub(crate) prior: ChainHead,
    /// The last line that the head remembers, if the file should hold it and does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remembered: Option<ChainHead>,
    /// Bytes of a torn line that were cut off behind `prior`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) cut: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl EpochNote {
    /// Appends the open epoch line.
    pub(crate) fn push(&self, out: &mut Vec<u8>, now: Timestamp) {
        drop(write!(
            out,
            "{{\"time\":\"{now}\",\"type\":\"epoch\",\"epoch\":"
        ));
        // Plain strings and numbers: serialising into memory has no way to fail.
        out.extend_from_slice(&serde_json::to_vec(self).unwrap_or_default());
    }
}

/// Appends the open checkpoint line: what precedes the signature, the signature by `sign`.
pub(crate) fn push_checkpoint<E>(
    out: &mut Vec<u8>,
    note: &CheckpointNote<'_>,
    head: &ChainHead,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let start = out.len();
    drop(write!(
        out,
        "{{\"time\":\"{}\",\"type\":\"checkpoint\",\"checkpoint\":{{\"v\":1",
        note.now
    ));
    out.extend_from_slice(b",\"zone\":");
    push_string(out, note.zone);
    out.extend_from_slice(b",\"device\":");
    push_string(out, note.device);
    drop(write!(
        out,
        ",\"lines\":{},\"revision\":{},\"key\":\"",
        head.seq, note.revision
    ));
    out.extend_from_slice(key_id(note.key).as_bytes());
    out.push(b'"');
    let signature = sign(&checkpoint_message(&head.hash, &out[start..]))?;
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(STANDARD.encode(signature).as_bytes());
    out.extend_from_slice(b"\"}");
    Ok(())
}

/// What a checkpoint says.
pub(crate) struct CheckpointNote<'a> {
    pub(crate) now: Timestamp,
    pub(crate) zone: &'a str,
    pub(crate) device: &'a str,
    pub(crate) revision: u64,
    pub(crate) key: &'a PublicKey,
}

/// The first 16 hex digits of the SHA-256 of the key's `SubjectPublicKeyInfo`.
pub fn key_id(key: &PublicKey) -> String {
    hex::encode(&zone_crypto::sha256(key.spki_der())[..8])
}

fn checkpoint_message(prior: &[u8; 32], text: &[u8]) -> Vec<u8> {
    [CHECKPOINT_DOMAIN, prior, text].concat()
}

/// Whether a checkpoint line carries `key`'s signature over itself and all before it.
pub(crate) fn checkpoint_signed(covered: &[u8], prior: &[u8; 32], key: &PublicKey) -> bool {
    let check = || -> Option<()> {
        let (rest, _) = number_behind(covered, b",\"seq\":")?;
        let (body, _) = number_behind(rest, b",\"chain\":{\"epoch\":")?;
        let body = body.strip_suffix(b"\"}")?;
        // 64 bytes are 88 base64 characters.
        let (body, signature) = body.split_at_checked(body.len().checked_sub(88)?)?;
        let text = body.strip_suffix(SIGNATURE)?;
        let signature = STANDARD.decode(signature).ok()?;
        let message = checkpoint_message(prior, text);
        key.verify(SignatureScheme::Ed25519, &message, &signature)
            .ok()
    };
    check().is_some()
}

mod hex_hash {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(hash))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| de::Error::custom("not a hash"))?;
        Ok(hash)
    }
}
