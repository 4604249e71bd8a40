//! Query strings and form bodies as fields.

use serde_json::Value;

use super::exchange::Fault;
use super::fields::Given;

/// Reads `a=b&c=d`. The same name twice is refused: the policy and the engine could each take
/// another one of the two.
pub(super) fn parse(text: &str) -> Result<Given, Fault> {
    let mut given = Given::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if given.len() >= zone_types::json::MAX_KEYS {
            return Err(Fault::new(413, "too many fields"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if given.0.insert(name, Value::String(value)).is_some() {
            let text = "the same field stands twice in the query string or form";
            return Err(Fault::bad_request(text));
        }
    }
    Ok(given)
}

/// As [`parse`], but each field needs its `=`: a value that is sent alone would be taken for a
/// name, and names stand in the audit trail.
pub(super) fn parse_named(text: &str) -> Result<Given, Fault> {
    let alone = |pair: &str| !pair.is_empty() && !pair.contains('=');
    if text.split('&').any(alone) {
        let text = "each field of a query string or form needs a '='";
        return Err(Fault::bad_request(text));
    }
    parse(text)
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
        assert_eq!(parse("a=%f").unwrap_err().status, 400);
        assert_eq!(parse("%zz=a").unwrap_err().status, 400);
        assert!(parse("").unwrap().is_empty() && parse("&&").unwrap().is_empty());
        assert_eq!(parse("a=b=c").unwrap()["a"], "b=c");
    }

    #[test]
    fn attack_a_value_sent_alone_does_not_become_a_name() {
        assert!(parse_named("a=&b=1").is_ok());
        for text in ["hvs.SECRET", "a=1&hvs.SECRET", "flag&"] {
            let fault = parse_named(text).unwrap_err();
            assert_eq!(fault.status, 400);
            assert!(!fault.errors[0].contains("SECRET"));
        }
    }

    #[test]
    fn fields_are_counted() {
        let many = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|at| format!("k{at}=1")).collect();
            parse(&pairs.join("&")).map(|given| given.len())
        };
        assert_eq!(many(10_000).unwrap(), 10_000);
        assert_eq!(many(10_001).unwrap_err().status, 413);
    }
}
