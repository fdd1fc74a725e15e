//! The real servers of others that tests start: etcd as Debian packages it, a current etcd, Consul.
//!
//! What cannot be installed is built from source with Go, once, into a cache folder that all checkouts share, and again only
//! when its source in `xtask/go` changes. A server that cannot be had is named and left out, and the tests that need it are
//! skipped, unless [`REQUIRE`] is set: then that is a failure, here and in the tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::{setup, shell};

/// The variable by which whoever starts xtask or tests says that no server may be missing.
pub(crate) const REQUIRE: &str = "PERIPLUS_REQUIRE_SERVERS";

/// A server: what it is called, the variable that names its binary, and how it is got.
struct Server {
    name: &'static str,
    variable: &'static str,
    find: fn() -> Result<PathBuf>,
}

const SERVERS: [Server; 3] = [
    Server { name: "etcd", variable: "ETCD_BIN", find: packaged_etcd },
    Server { name: "current etcd", variable: "ETCD_CURRENT_BIN", find: current_etcd },
    Server { name: "consul", variable: "CONSUL_BIN", find: consul },
];

/// Makes sure of the servers, and returns the variables that tell the tests where they are.
///
/// # Errors
/// If one cannot be had although all are required.
pub(crate) fn ensure() -> Result<Vec<(&'static str, OsString)>> {
    let mut variables = Vec::new();
    for Server { name, variable, find } in SERVERS {
        if let Some(named) = env::var_os(variable) {
            variables.push((variable, named));
            continue;
        }
        match find() {
            Ok(binary) => variables.push((variable, binary.into_os_string())),
            Err(failure) if is_required() => {
                let hint = format!("{variable} may name its binary; without {REQUIRE}, what needs it is skipped");
                return Err(failure.with_hint(&hint));
            }
            Err(failure) => eprintln!("no {name}, so that what needs it is skipped: {failure}"),
        }
    }
    Ok(variables)
}

pub(crate) fn is_required() -> bool {
    env::var_os(REQUIRE).is_some_and(|value| value != "0" && !value.is_empty())
}

fn packaged_etcd() -> Result<PathBuf> {
    setup::ensure_debian_package("etcd-server", "etcd")?;
    shell::find_in_path("etcd").ok_or_else(|| Failure::new("there is no program `etcd`"))
}

fn current_etcd() -> Result<PathBuf> {
    built_with_go("etcd", "a minute")
}

fn consul() -> Result<PathBuf> {
    shell::find_in_path("consul").map_or_else(|| built_with_go("consul", "some minutes"), Ok)
}

/// The program of `xtask/go/NAME`, built if its source is another than that of the one in the cache.
fn built_with_go(name: &str, takes: &str) -> Result<PathBuf> {
    let source = shell::root().join("xtask/go").join(name);
    let folder = cache_folder()?;
    let (binary, stamp) = (folder.join(name), folder.join(format!("{name}.stamp")));
    let wanted = format!("{:016x}", digest(&source)?);
    if binary.is_file() && fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted) {
        return Ok(binary);
    }
    if !shell::is_in_path("go") {
        return Err(Failure::new(format!("there is no `{name}`, and no Go to build it with"))
            .with_hint("install Go, see https://go.dev/doc/install"));
    }
    eprintln!("building {name} in {}: takes {takes}, once", folder.display());
    // Whoever starts it meanwhile, from another checkout, finds the old one or the new one.
    let made = folder.join(format!("{name}.{}", std::process::id()));
    let mut build =
        if shell::is_in_path("nice") { shell::command("nice go build") } else { shell::command("go build") };
    build.current_dir(&source).args(["-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&made).arg(".");
    let put = |build: Command| {
        shell::run(build)?;
        rename(&made, &binary)?;
        write(&stamp, &wanted)
    };
    put(build).inspect_err(|_| drop(fs::remove_file(&made)))?;
    Ok(binary)
}

/// Where programs are kept that are built once: the same folder from every checkout.
fn cache_folder() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = base.ok_or_else(|| Failure::new("neither XDG_CACHE_HOME nor HOME is set"))?.join("periplus");
    fs::create_dir_all(&folder).map_err(|error| failure("make", &folder, &error))?;
    Ok(folder)
}

/// A digest of the files of a folder, in the order of their names: FNV-1a, the same from any compiler.
fn digest(folder: &Path) -> Result<u64> {
    let entries = fs::read_dir(folder).map_err(|error| failure("read", folder, &error))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let bytes = fs::read(&file).map_err(|error| failure("read", &file, &error))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for byte in name.bytes().chain([0]).chain(bytes).chain([0]) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(digest)
}

fn rename(from: &Path, to: &Path) -> Result {
    fs::rename(from, to).map_err(|error| failure("write", to, &error))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| failure("write", path, &error))
}

fn failure(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("could not {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_another_when_a_file_is() {
        let folder = env::temp_dir().join(format!("periplus-digest-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a"), "1").unwrap();
        let first = digest(&folder).unwrap();
        assert_eq!(first, digest(&folder).unwrap());
        fs::write(folder.join("a"), "2").unwrap();
        let second = digest(&folder).unwrap();
        fs::rename(folder.join("a"), folder.join("b")).unwrap();
        let third = digest(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(first != second && second != third);
    }
}
