//! PEM frames (RFC 7468) around what this crate writes and reads.

use der::pem::LineEnding;

use crate::certificate::{MAX_OBJECT, ParseFault};

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const CRL: &str = "X509 CRL";
pub(crate) const REQUEST: &str = "CERTIFICATE REQUEST";
/// What older tools write (RFC 7468 section 7).
pub(crate) const NEW_REQUEST: &str = "NEW CERTIFICATE REQUEST";

/// Most blocks of one label that are read out of one text.
const MAX_BLOCKS: usize = 1024;

/// `der` framed by `label`, lines of 64, a newline at the end.
pub(crate) fn encode(label: &'static str, der: &[u8]) -> String {
    der::pem::encode_string(label, LineEnding::LF, der)
        .expect("a constant label and bytes in memory always encode")
}

/// The content of each block with `label`, in order; text and other blocks between are passed
/// over. Each block is at most [`MAX_OBJECT`] octets.
pub(crate) fn blocks(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, ParseFault> {
    blocks_within(text, label, MAX_OBJECT)
}

/// As [`blocks`] with another limit for each block.
pub(crate) fn blocks_within(
    text: &str,
    label: &'static str,
    limit: usize,
) -> Result<Vec<Vec<u8>>, ParseFault> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(from) = rest.find(&begin) {
        let tail = &rest[from..];
        let to = tail.find(&end).ok_or(ParseFault::Pem { label })? + end.len();
        if to > limit * 2 {
            return Err(ParseFault::TooLong { limit });
        }
        if found.len() == MAX_BLOCKS {
            return Err(ParseFault::Profile("more than 1024 PEM blocks"));
        }
        let (_, der) =
            der::pem::decode_vec(&tail.as_bytes()[..to]).map_err(|_| ParseFault::Pem { label })?;
        found.push(der);
        rest = &tail[to..];
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let one = encode(CERTIFICATE, &[1, 2, 3]);
        let text = format!("Bag Attributes\n{one}junk\n{}{one}", encode(CRL, &[9]));
        assert_eq!(
            blocks(&text, CERTIFICATE).unwrap(),
            [vec![1, 2, 3], vec![1, 2, 3]]
        );
        assert_eq!(blocks(&text.replace('\n', "\r\n"), CRL).unwrap(), [vec![9]]);
        assert!(blocks("-----BEGIN CERTIFICATE-----\nAAAA", CERTIFICATE).is_err());
    }
}
