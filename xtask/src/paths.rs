//! The check that the repository is whole: nothing in it points at a file that only its author has.

use std::fs;
use std::io::ErrorKind;

use crate::failure::{Failure, Result};
use crate::shell;

/// The files that are read, by the ends of their names.
const KINDS: [&str; 4] = [".rs", ".md", ".toml", ".yml"];

/// Folders of the file system under which people keep their own things.
const PERSONAL: [&str; 6] = ["Users", "home", "mnt", "root", "tmp", "work"];

/// Fails if a line of a file that git tracks, or would track, mentions a path outside of the repository.
///
/// Meant are absolute paths below one of the folders in [`PERSONAL`], and relative paths that climb out.
pub(crate) fn check() -> Result {
    let list = "git ls-files -z --cached --others --exclude-standard";
    let files = shell::output(shell::command(list))?;
    let mut findings = Vec::new();
    let mut count = 0;
    for file in files.split_terminator('\0').filter(|file| KINDS.iter().any(|kind| file.ends_with(kind))) {
        let text = match fs::read_to_string(shell::root().join(file)) {
            Ok(text) => text,
            // Deleted, and git has not been told yet.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::new(format!("could not read {file}: {error}"))),
        };
        count += 1;
        let depth = file.matches('/').count();
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(path) = path_outside(line, depth) {
                findings.push(format!("{file}:{number}: {path}"));
            }
        }
    }
    if findings.is_empty() {
        println!("{count} files name no path outside of the repository");
        return Ok(());
    }
    println!("{}", findings.join("\n"));
    Err(Failure::new(format!("{} lines mention a path outside of the repository", findings.len())))
}

/// The first path in `line` that leads out of the repository, for a file `depth` folders below its root.
fn path_outside(line: &str, depth: usize) -> Option<&str> {
    let is_in_path = |c: char| c.is_alphanumeric() || "/._-+@~".contains(c);
    line.split(|c| !is_in_path(c)).find(|word| is_personal(word) || climbs_out(word, depth))
}

fn is_personal(word: &str) -> bool {
    // Three slashes are left of a `file:` URL; two are the start of a host's name.
    let path = word.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(word);
    let Some((folder, below)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
        return false;
    };
    PERSONAL.contains(&folder) && !below.is_empty()
}

fn climbs_out(word: &str, depth: usize) -> bool {
    if word.starts_with('/') || !word.contains("../") {
        return false;
    }
    let mut level = Some(depth);
    for part in word.split('/') {
        level = match part {
            "" | "." => level,
            ".." => level.and_then(|level| level.checked_sub(1)),
            _ => level.map(|level| level + 1),
        };
    }
    level.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that this file may not contain as it is.
    fn absolute(parts: &[&str]) -> String {
        parts.iter().flat_map(|part| ["/", part]).collect()
    }

    #[test]
    fn a_personal_folder_is_outside_wherever_it_stands_in_the_line() {
        let path = absolute(&["home", "ann", "notes.md"]);
        for line in [format!("see {path}"), format!("[notes]({path})"), format!("x=`{path}`,"), path.clone()] {
            assert_eq!(path_outside(&line, 2), Some(path.as_str()), "{line}");
        }
        assert!(path_outside(&format!("file://{path}"), 0).is_some());
    }

    #[test]
    fn routes_hosts_and_folders_of_the_system_are_not_outside() {
        for line in ["GET /v1/services", "http://work/v1", "/home", "/usr/bin/env", "core/root/tmp/x", "a /tmp/ b"] {
            assert_eq!(path_outside(line, 0), None, "{line}");
        }
    }

    #[test]
    fn a_relative_path_may_climb_as_far_as_the_root() {
        let line = concat!("include_str!(\"..", "/..", "/README.md\")");
        assert_eq!(path_outside(line, 2), None);
        assert!(path_outside(line, 1).is_some());
    }

    #[test]
    fn a_path_that_comes_back_after_it_left_is_outside() {
        let line = concat!("..", "/main/README.md");
        assert!(path_outside(line, 0).is_some());
    }

    #[test]
    fn ranges_are_not_paths() {
        assert_eq!(path_outside("let rest = &bytes[..];", 0), None);
        assert_eq!(path_outside("for i in 0..n/2 {}", 0), None);
    }
}
