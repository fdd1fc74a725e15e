//! Makes a module for browsers of what the compiler made: `wasm-bundler INPUT.wasm FOLDER NAME`.
//!
//! It is `wasm-bindgen` as a library, built from the version in `Cargo.lock`, so that there is no tool to install that
//! could be of another version than the code.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::{Compression, write::GzEncoder};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder, name] = &*arguments else { bail!("usage: wasm-bundler INPUT.wasm FOLDER NAME") };
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
    for file in [format!("{name}_bg.wasm"), format!("{name}.js")] {
        let path = Path::new(folder).join(file);
        let bytes = fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&bytes)?;
        println!("{:>9} bytes, {:>7} gzipped: {}", bytes.len(), packed.finish()?.len(), path.display());
    }
    Ok(())
}
