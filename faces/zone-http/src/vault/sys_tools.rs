//! `sys/tools/`: random bytes and hashes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zeroize::Zeroizing;
use zone_crypto::hash::{Algorithm, digest};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

/// Most random bytes at once, as in Vault.
const MOST_BYTES: i64 = 128 * 1024;

/// Serves one permitted call below `sys/tools/`.
pub(super) fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    let parts: Vec<&str> = tail.split('/').collect();
    match parts[..] {
        ["random"] => random(zone, call, None, None),
        ["random", one] if one.bytes().all(|byte| byte.is_ascii_digit()) => {
            random(zone, call, None, Some(one))
        }
        ["random", source] => random(zone, call, Some(source), None),
        ["random", source, bytes] => random(zone, call, Some(source), Some(bytes)),
        ["hash"] => hash(call, None),
        ["hash", algorithm] => hash(call, Some(algorithm)),
        _ => Err(Fault::unsupported_path()),
    }
}

fn random(
    zone: &Zone,
    call: &Call,
    source: Option<&str>,
    bytes: Option<&str>,
) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let named = fields.text("source")?;
    match source.or(named.as_deref()).unwrap_or("platform") {
        "" | "platform" => {}
        "seal" | "all" => {
            let text = "field 'source': the seal has no generator of its own; use platform";
            return Err(Fault::bad_request(text));
        }
        _ => return Err(Fault::bad_request("field 'source': expected platform")),
    }
    let count = match bytes {
        Some(digits) => digits.parse().ok(),
        None => Some(fields.number("bytes")?.unwrap_or(32)),
    };
    let count = count.filter(|count| (1..=MOST_BYTES).contains(count));
    let count = count.and_then(|count| usize::try_from(count).ok());
    let count = count
        .ok_or_else(|| Fault::bad_request("field 'bytes': expected a number from 1 to 131072"))?;
    let mut drawn = Zeroizing::new(vec![0; count]);
    zone.random.fill(&mut drawn);
    let text = match fields.text("format")?.as_deref() {
        None | Some("" | "base64") => STANDARD.encode(&*drawn),
        Some("hex") => hex::encode(&*drawn),
        Some(_) => return Err(Fault::bad_request("field 'format': expected base64 or hex")),
    };
    Reply::data(&json!({ "random_bytes": text }))
}

fn hash(call: &Call, algorithm: Option<&str>) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let named = fields.text("algorithm")?.filter(|name| !name.is_empty());
    let algorithm = algorithm.or(named.as_deref()).unwrap_or("sha2-256");
    let algorithm = Algorithm::parse(algorithm).ok_or_else(|| {
        let names: Vec<&str> = Algorithm::ALL.iter().map(|one| one.as_str()).collect();
        Fault::bad_request(format!("field 'algorithm': expected {}", names.join(", ")))
    })?;
    let input = Zeroizing::new(fields.text("input")?.unwrap_or_default());
    let input = STANDARD
        .decode(input.as_bytes())
        .map_err(|_| Fault::bad_request("field 'input': expected base64"))?;
    let sum = digest(algorithm, &Zeroizing::new(input));
    let text = match fields.text("format")?.as_deref() {
        None | Some("" | "hex") => hex::encode(sum),
        Some("base64") => STANDARD.encode(sum),
        Some(_) => return Err(Fault::bad_request("field 'format': expected hex or base64")),
    };
    Reply::data(&json!({ "sum": text }))
}
