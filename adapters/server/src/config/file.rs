//! The configuration as a TOML file.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::{Config, overrides};

/// Reads a file; what it does not name has its default.
pub(super) fn read(path: &Path) -> anyhow::Result<Config> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    parse(&text).with_context(|| format!("the configuration {} is not one", path.display()))
}

/// Reads a file's text. An unknown key is an error that shows it in its line.
pub(super) fn parse(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

/// The whole configuration as a file, each key under the help of its flag.
pub(super) fn write(config: &Config) -> String {
    let settings = overrides::settings();
    let mut text =
        String::from("# Every key is also a flag and a variable: ttl.min is --ttl-min and PERIPLUS_TTL_MIN.\n");
    let mut table = "";
    for (key, value) in &leaves(config) {
        let (of, name) = key.split_once('.').unwrap_or(("", key));
        if of != table {
            table = of;
            let _ = write!(text, "\n[{of}]\n");
        }
        let help = settings.get_arguments().find(|arg| arg.get_id() == key.as_str()).and_then(|arg| arg.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "# {help}\n{name} = {value}\n");
    }
    text
}

/// Every key with its value as TOML, tables last, each in the order of the schema.
pub(super) fn leaves(config: &Config) -> Vec<(String, String)> {
    let toml::Value::Table(root) = toml::Value::try_from(config).expect("a configuration is a table of plain values")
    else {
        unreachable!("a struct serializes as a table");
    };
    let (mut plain, mut nested) = (Vec::new(), Vec::new());
    for (key, value) in root {
        match value {
            toml::Value::Table(table) => {
                nested.extend(table.into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value.to_string())));
            }
            value => plain.push((key, value.to_string())),
        }
    }
    plain.append(&mut nested);
    plain
}
