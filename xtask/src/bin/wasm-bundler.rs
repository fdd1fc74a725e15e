//! Makes a module for browsers of what the compiler made: `wasm-bundler INPUT.wasm FOLDER NAME [BESIDE…]`. What lies in the
//! folders BESIDE is copied, and all that is for browsers is compressed, too.
//!
//! It is `wasm-bindgen` as a library, built from the version in `Cargo.lock`, so that there is no tool to install that
//! could be of another version than the code.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder, name, beside @ ..] = &*arguments else {
        bail!("usage: wasm-bundler INPUT.wasm FOLDER NAME [BESIDE…]")
    };
    let folder = Path::new(folder);
    Bindgen::new()
        .input_path(input)
        .out_name(name)
        .web(true)?
        .typescript(true)
        // The module finds its wasm beside itself.
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)?;
    let mut files = vec![folder.join(format!("{name}_bg.wasm")), folder.join(format!("{name}.js"))];
    for source in beside.iter().map(Path::new) {
        for entry in fs::read_dir(source).with_context(|| format!("could not read {}", source.display()))? {
            let source = entry?.path();
            let target = folder.join(source.file_name().context("a file has a name")?);
            fs::copy(&source, &target).with_context(|| format!("could not copy {}", source.display()))?;
            files.push(target);
        }
    }
    for path in files {
        let bytes = fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        let mut packed = Vec::new();
        zopfli::compress(zopfli::Options::default(), zopfli::Format::Gzip, &*bytes, &mut packed)?;
        fs::write(beside_of(&path), &packed)?;
        println!("{:>9} bytes, {:>7} gzipped: {}", bytes.len(), packed.len(), path.display());
    }
    Ok(())
}

fn beside_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}
