//! Tables as Vault prints them: columns four spaces apart, a dashed line under the headers,
//! `n/a` for an empty cell.

use serde_json::{Map, Value};
use zone_types::duration::format_go;

/// A table; the first row holds the headers. Without a last newline.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let Some((headers, rest)) = rows.split_first() else {
        return String::new();
    };
    let dashes = headers
        .iter()
        .map(|header| "-".repeat(header.chars().count()));
    let mut all = vec![headers.clone(), dashes.collect()];
    all.extend_from_slice(rest);
    columns(&all)
}

/// Rows without a header.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|text| cell(text).chars().count())
            .max()
            .unwrap_or(0)
    };
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (column, text) in row.iter().enumerate() {
            let text = cell(text);
            line.push_str(text);
            if column + 1 < row.len() {
                let gap = widths[column] - text.chars().count() + 4;
                line.push_str(&" ".repeat(gap));
            }
        }
        line
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> &str {
    match text.trim() {
        "" => "n/a",
        text => text,
    }
}

/// A `Key  Value` table of an object, sorted by key; empty if the object is.
pub(crate) fn key_values(map: &Map<String, Value>) -> String {
    match map.is_empty() {
        true => String::new(),
        false => headed(data_rows(map)),
    }
}

/// Puts the headers `Key` and `Value` above rows.
pub(crate) fn headed(mut rows: Vec<Vec<String>>) -> String {
    rows.insert(0, row("Key", "Value"));
    table(&rows)
}

/// Rows of an object, sorted by key.
pub(crate) fn data_rows(map: &Map<String, Value>) -> Vec<Vec<String>> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.as_str());
    let entry = |(key, value): (&String, &Value)| match looks_like_duration(key) {
        true => row(key, &duration(value)),
        false => row(key, &plain(value)),
    };
    entries.into_iter().map(entry).collect()
}

/// A row of two cells.
pub(crate) fn row(key: &str, value: &str) -> Vec<String> {
    vec![key.to_owned(), value.to_owned()]
}

/// A value as Vault prints it, which is as Go does: `<nil>`, `[a b]`, `map[a:1 b:2]`.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries = entries.into_iter();
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{key}:{}", plain(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// `["a" "b"]`.
pub(crate) fn quoted(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

fn looks_like_duration(key: &str) -> bool {
    let ends = ["_period", "_ttl", "_duration"]
        .iter()
        .any(|end| key.ends_with(end));
    ends || matches!(key, "period" | "ttl" | "duration" | "lease_max" | "ttl_max")
}

fn duration(value: &Value) -> String {
    match value.as_u64() {
        Some(seconds) => human_duration(seconds),
        None => plain(value),
    }
}

/// Seconds in Go's notation without zeros at the end: `768h`, `1h30m`, `0s`.
pub(crate) fn human_duration(seconds: u64) -> String {
    let mut text = format_go(std::time::Duration::from_secs(seconds));
    if text.ends_with("m0s") {
        text.truncate(text.len() - 2);
    }
    if text.ends_with("h0m") {
        text.truncate(text.len() - 2);
    }
    text
}

/// `title` between equal signs, `width` wide or as wide as it must be.
pub(crate) fn banner(title: &str, width: usize) -> String {
    let signs = match width.saturating_sub(title.len() + 2) {
        0 => 4,
        signs => signs + signs % 2,
    };
    let signs = "=".repeat(signs / 2);
    format!("{signs} {title} {signs}")
}

/// `title` between equal signs, above the table of `map`.
pub(crate) fn banner_over(title: &str, map: &Map<String, Value>) -> String {
    let widest = map.keys().map(String::len).max().unwrap_or(0);
    banner(title, widest + "    Value".len())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_become_tables() {
        let map = json!({
            "ttl": 2764800,
            "lease_duration": 5400,
            "period": 0,
            "policies": ["default", "root"],
            "meta": null,
            "deep": {"b": 1, "a": {"c": [true, "x"]}},
            "deletion_time": "",
            "big": 12345678901234567890_u64,
            "text": "a b",
        });
        expect![[r#"
            Key               Value
            ---               -----
            big               12345678901234567890
            deep              map[a:map[c:[true x]] b:1]
            deletion_time     n/a
            lease_duration    1h30m
            meta              <nil>
            period            0s
            policies          [default root]
            text              a b
            ttl               768h"#]]
        .assert_eq(&key_values(map.as_object().unwrap()));
    }

    #[test]
    fn durations_lose_zeros_at_the_end() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (61, "1m1s"),
            (3600, "1h"),
            (3660, "1h1m"),
            (3601, "1h0m1s"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }

    #[test]
    fn banners_are_as_wide_as_their_table() {
        assert_eq!(
            banner("Secret Path", "secret/data/hello".len()),
            "== Secret Path =="
        );
        assert_eq!(banner("Data", 13), "==== Data ====");
        assert_eq!(banner("Secret Path", 3), "== Secret Path ==");
    }

    #[test]
    fn columns_line_up_by_characters() {
        let rows = [vec!["Path", "Type"], vec!["größe/", "kv"], vec!["a/", ""]];
        let rows = rows.map(|row| row.into_iter().map(str::to_owned).collect());
        expect![[r#"
            Path      Type
            ----      ----
            größe/    kv
            a/        n/a"#]]
        .assert_eq(&table(&rows));
    }
}
