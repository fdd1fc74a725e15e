//! Puts the dashboard into the server, if it was made before: `cargo xtask web` leaves it in `web/dist`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What is served, and as what.
const FILES: [(&str, &str); 6] = [
    ("index.html", "text/html; charset=utf-8"),
    ("boot.js", "text/javascript; charset=utf-8"),
    ("icon.svg", "image/svg+xml"),
    ("periplus.css", "text/css; charset=utf-8"),
    ("periplus.js", "text/javascript; charset=utf-8"),
    ("periplus_bg.wasm", "application/wasm"),
];

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it"));
    let folder = manifest.join("../../web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    // A folder that is not there would make each build begin anew; the sources have it, if empty.
    if folder.is_dir() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let whole = FILES.iter().all(|(name, _)| folder.join(name).is_file() && packed(&folder, name).is_file());
    let mut code = String::from("static FILES: &[File] = &[\n");
    for (name, kind) in FILES.iter().filter(|_| whole) {
        let path = folder.join(name).canonicalize().expect("it is there");
        let bytes = fs::read(&path).expect("it can be read");
        let gzip = packed(&folder, name).canonicalize().expect("it is there");
        let tag = fnv(&bytes);
        writeln!(
            code,
            "    File {{ name: {name:?}, kind: {kind:?}, tag: \"\\\"{tag:016x}\\\"\", \
             plain: include_bytes!({path:?}), gzip: include_bytes!({gzip:?}) }},"
        )
        .expect("a text takes everything");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says it"));
    fs::write(out.join("dashboard.rs"), code).expect("cargo gives a folder that can be written");
}

/// The same, compressed.
fn packed(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.gz"))
}

/// A number that another content does not have, unless somebody looks for one.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
