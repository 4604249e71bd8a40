//! Query strings and form bodies as fields.

use serde_json::{Map, Value};

use super::exchange::Fault;

/// Reads `a=b&c=d`. The same name twice is refused: the policy and the engine could each take
/// another one of the two.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, Fault> {
    let mut map = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if map.len() >= zone_types::json::MAX_KEYS {
            return Err(Fault::new(413, "too many fields"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if map
            .insert(decode(name)?, Value::String(decode(value)?))
            .is_some()
        {
            return Err(Fault::bad_request(
                "the same field stands twice in the query string",
            ));
        }
    }
    Ok(map)
}

fn decode(text: &str) -> Result<String, Fault> {
    let malformed = || Fault::bad_request("malformed percent-encoding in the query string");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let pair = [
                    bytes.next().ok_or_else(malformed)?,
                    bytes.next().ok_or_else(malformed)?,
                ];
                let mut value = [0];
                hex::decode_to_slice(pair, &mut value).map_err(|_| malformed())?;
                out.push(value[0]);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| Fault::bad_request("the query string is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_and_refuses_two_of_a_name() {
        let map = parse("list=true&path=a%2Fb+c&flag").unwrap();
        assert_eq!(map["list"], "true");
        assert_eq!(map["path"], "a/b c");
        assert_eq!(map["flag"], "");
        assert_eq!(parse("a=1&%61=2").unwrap_err().status, 400);
        assert_eq!(parse("a=%zz").unwrap_err().status, 400);
        assert_eq!(parse("a=%ff").unwrap_err().status, 400);
    }
}
