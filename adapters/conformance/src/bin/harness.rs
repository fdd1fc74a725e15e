//! Serves arenas until it is killed: prints where, on one line.

#[cfg(not(target_family = "wasm"))]
fn main() -> std::io::Result<()> {
    let harness = periplus_conformance::harness::Harness::start()?;
    println!("{}", harness.url());
    loop {
        std::thread::park();
    }
}

#[cfg(target_family = "wasm")]
fn main() {}
