//! The folder is the layer, and the layer is the rule: which crate may depend on which.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::shell::{cargo, output};

/// A layer and the layers it may use. Tests may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &["core"]),
    ("ports", &["core", "ports"]),
    ("services", &["core", "ports", "services"]),
    ("backends", &["core", "ports"]),
    ("faces", &["core", "ports", "services"]),
    ("bin", &["core", "ports", "services", "backends", "faces"]),
    (
        "tests",
        &[
            "core", "ports", "services", "backends", "faces", "bin", "tests",
        ],
    ),
    ("xtask", &["core"]),
];

/// Each arrow that the rule forbids, as a sentence. Dependencies for tests are free.
pub(crate) fn findings(root: &Path) -> anyhow::Result<Vec<String>> {
    let text = output(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has packages")?;
    let mut layers = BTreeMap::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let below = manifest
            .strip_prefix(root)
            .context("a crate lies outside the workspace")?;
        let layer = below
            .iter()
            .next()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        layers.insert(name, layer);
    }
    let mut arrows = Vec::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["kind"] != "dev" {
                let names = [&package["name"], &dependency["name"]];
                arrows.push(names.map(|name| name.as_str().unwrap_or_default()));
            }
        }
    }
    Ok(forbidden(&layers, &arrows))
}

fn forbidden(layers: &BTreeMap<&str, String>, arrows: &[[&str; 2]]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, layer) in layers {
        if !MAY_USE.iter().any(|(known, _)| known == layer) {
            found.push(format!("{name} lies in {layer}/, which is no layer"));
        }
    }
    for [from, to] in arrows {
        let (Some(user), Some(used)) = (layers.get(from), layers.get(to)) else {
            continue;
        };
        let may = MAY_USE
            .iter()
            .find(|(layer, _)| layer == user)
            .map_or(&[][..], |(_, may)| may);
        if !may.contains(&used.as_str()) {
            found.push(format!(
                "{from} depends on {to}: {user} must not use {used}"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_upwards_is_found() {
        let layers = [
            ("a", "core"),
            ("p", "ports"),
            ("s", "services"),
            ("b", "backends"),
            ("x", "odd"),
        ]
        .map(|(name, layer)| (name, layer.to_owned()))
        .into();
        assert_eq!(
            forbidden(
                &layers,
                &[["s", "p"], ["p", "a"], ["b", "p"], ["s", "serde"]]
            )
            .len(),
            1
        );
        let found = forbidden(&layers, &[["a", "s"], ["b", "s"]]).join("\n");
        assert!(found.contains("x lies in odd/"), "{found}");
        assert!(
            found.contains("a depends on s: core must not use services"),
            "{found}"
        );
        assert!(
            found.contains("b depends on s: backends must not use services"),
            "{found}"
        );
    }
}
