//! The `periplus` command; everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    periplus_server::cli::main()
}
