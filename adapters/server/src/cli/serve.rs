//! `periplus serve`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tracing_subscriber::EnvFilter;

use super::exit::Usage;
use super::output;
use crate::config::{Config, Overrides};

/// Run a registry
///
/// Flags win over variables, variables over the file, the file over the defaults. Each flag has a variable and a key in
/// the file: --ttl-min is PERIPLUS_TTL_MIN, and in the file `min` under `[ttl]`. --print-config shows all of them.
#[derive(Args, Debug)]
pub(super) struct Serve {
    /// Read this configuration file
    #[arg(long, env = "PERIPLUS_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print the configuration that flags, variables, file and defaults give together, and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let config = Config::load(self.config.as_deref(), &self.overrides).map_err(usage)?;
        if self.print_config {
            return output::line(config.to_toml().trim_end());
        }
        log_to_stderr(&config.log)?;
        crate::http::serve(config).await
    }
}

/// A configuration that makes no sense is an error of usage, wherever it stands.
fn usage(error: anyhow::Error) -> anyhow::Error {
    Usage(format!("{error:#}")).into()
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("log: \"{filter}\" is no filter")).map_err(usage)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
