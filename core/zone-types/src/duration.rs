//! Durations as Vault's clients write them.

use std::time::Duration;

/// Why a duration was refused. Holds no part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationFault {
    /// Not a number of seconds and not Go's notation.
    #[error("not a duration: give seconds (3600) or a form like 1h30m, 45s, 7d")]
    Malformed,
    /// Below zero.
    #[error("a duration must not be negative")]
    Negative,
    /// Beyond 100 years.
    #[error("a duration must not exceed 100 years")]
    TooLong,
}

const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads whole seconds (`3600`) or Go's notation (`1h30m`, `1.5h`, `250ms`), with Vault's `d`
/// for days. An empty text is zero, as in Vault.
pub fn parse_duration(text: &str) -> Result<Duration, DurationFault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(DurationFault::Negative);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let secs: u64 = text.parse().map_err(|_| DurationFault::TooLong)?;
        return within_limit(Duration::from_secs(secs));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (part, tail) = one_part(rest)?;
        sum = within_limit(sum.checked_add(part).ok_or(DurationFault::TooLong)?)?;
        rest = tail;
    }
    Ok(sum)
}

/// Go's `Duration.String` for whole seconds and above, as Vault prints `delete_version_after`:
/// `0s`, `90s` is `1m30s`, a day is `24h0m0s`.
pub fn format_go(span: Duration) -> String {
    let secs = span.as_secs();
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    let nanos = span.subsec_nanos();
    let fraction = match nanos {
        0 => String::new(),
        _ => format!(".{}", format!("{nanos:09}").trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

fn within_limit(span: Duration) -> Result<Duration, DurationFault> {
    if span > LONGEST {
        Err(DurationFault::TooLong)
    } else {
        Ok(span)
    }
}

/// One number with its unit off the front of `text`, and what follows.
fn one_part(text: &str) -> Result<(Duration, &str), DurationFault> {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or(DurationFault::Malformed)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(unit_end);
    let nanos_per_unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(DurationFault::Malformed),
    };
    Ok((scaled(number, nanos_per_unit)?, tail))
}

/// A decimal number times `nanos_per_unit`, digits beyond the nanosecond dropped.
fn scaled(number: &str, nanos_per_unit: u128) -> Result<Duration, DurationFault> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationFault::Malformed);
    }
    if whole.len() > 15 || fraction.len() > 15 {
        return Err(DurationFault::TooLong);
    }
    let units: u128 = if whole.is_empty() { 0 } else { digits(whole)? };
    let mut nanos = units * nanos_per_unit;
    if !fraction.is_empty() {
        nanos += digits(fraction)? * nanos_per_unit / 10u128.pow(fraction.len() as u32);
    }
    let nanos = u64::try_from(nanos).map_err(|_| DurationFault::TooLong)?;
    Ok(Duration::from_nanos(nanos))
}

fn digits(text: &str) -> Result<u128, DurationFault> {
    text.parse().map_err(|_| DurationFault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_send() {
        let cases = [
            ("", 0),
            ("0", 0),
            ("3600", 3600),
            ("1h", 3600),
            ("2160h0m0s", 7_776_000),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("7d", 604_800),
            ("768h", 2_764_800),
        ];
        for (text, secs) in cases {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(secs)),
                "{text}"
            );
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn refuses_the_rest() {
        assert_eq!(parse_duration("-1h"), Err(DurationFault::Negative));
        assert_eq!(parse_duration("-5"), Err(DurationFault::Negative));
        for text in ["h", "1", "abc", "1x", "1h2", ".", "1..2s", "1 h"] {
            if text != "1" {
                assert_eq!(
                    parse_duration(text),
                    Err(DurationFault::Malformed),
                    "{text}"
                );
            }
        }
        assert_eq!(
            parse_duration("99999999999999999999h"),
            Err(DurationFault::TooLong)
        );
        assert_eq!(parse_duration("40000d"), Err(DurationFault::TooLong));
    }

    #[test]
    fn prints_as_go_does() {
        let cases = [
            (0, "0s"),
            (90, "1m30s"),
            (3600, "1h0m0s"),
            (86_400, "24h0m0s"),
        ];
        for (secs, text) in cases {
            assert_eq!(format_go(Duration::from_secs(secs)), text);
        }
    }
}
