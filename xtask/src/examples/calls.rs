//! The provider and the consumer of periplus-tonic, which call each other over gRPC and HTTP.

use std::process::Command;

use super::Example;
use crate::failure::{Failure, Result};
use crate::shell;

/// Two providers of different weight are listed, watched and called; one of them goes.
pub(super) fn play(url: &str) -> Result {
    let mut watcher = Example::start_with("consumer_tonic", &["--registry", url, "--mode", "watch"])?;
    watcher.line("hears the registry", |line| line.contains("\"instances\":[]"))?;
    let provider = |id, weight| {
        let flags = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metadata", weight];
        Example::start_with("provider_tonic", &[&["--registry", url, "--id", id], &flags[..]].concat())
    };
    let _heavy = provider("heavy", "weight=3")?;
    let light = provider("light", "weight=1")?;
    let is_listed = |line: &str, id: &str| line.contains(&format!("\"id\":\"{id}\""));
    watcher.line("sees both providers", |line| is_listed(line, "heavy") && is_listed(line, "light"))?;
    let listed = consume(url, &["get"])?;
    if !(is_listed(&listed, "heavy") && is_listed(&listed, "light")) {
        return Err(Failure::new(format!("watched and not got: {listed}")));
    }
    for mode in ["call", "callhttp"] {
        let told = consume(url, &[mode, "-n", "80", "--pause", "1ms"])?;
        let (heavy, light) = (number(&told, "heavy"), number(&told, "light"));
        // Whoever is connected late has fewer; a weight that counts has more.
        if number(&told, "calls") != 80 || number(&told, "errors") != 0 || light == 0 || heavy <= light {
            return Err(Failure::new(format!("80 calls by weight 3 and 1, mode {mode}: {told}")));
        }
    }
    light.service.stop(|| false);
    watcher.line("sees one provider go", |line| is_listed(line, "heavy") && !is_listed(line, "light"))?;
    for mode in ["call", "callhttp"] {
        let told = consume(url, &[mode, "-n", "10", "--pause", "1ms"])?;
        if number(&told, "heavy") != 10 || number(&told, "errors") != 0 {
            return Err(Failure::new(format!("10 calls to the one who is left, mode {mode}: {told}")));
        }
    }
    Ok(())
}

/// What the consumer prints.
fn consume(url: &str, mode: &[&str]) -> Result<String> {
    let mut command = Command::new(shell::built_example("consumer_tonic")?);
    command.args(["--registry", url, "--mode"]).args(mode);
    shell::output(command)
}

/// The number under a key of a line of JSON; 0 if there is none.
fn number(json: &str, key: &str) -> u64 {
    let after = json.split_once(&format!("\"{key}\":")).map_or("", |(_, after)| after);
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    after[..digits].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_under_its_key() {
        let line = r#"{"by":{"heavy":30,"light":10},"calls":40,"errors":0}"#;
        assert_eq!(["heavy", "light", "calls", "errors", "other"].map(|key| number(line, key)), [30, 10, 40, 0, 0]);
    }
}
