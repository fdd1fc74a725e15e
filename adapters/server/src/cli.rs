//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::{demo, sidecar};

pub mod args;
mod changes;
mod completions;
mod deregister;
mod events;
pub mod exit;
mod find;
mod foreign;
mod get;
mod history;
mod list;
mod operate;
pub mod output;
pub mod place;
mod register;
mod serve;
pub mod signals;
mod watch;
mod watches;

/// Service registration and discovery: the registry server, its clients, a sidecar for any program, and a demo.
#[derive(Debug, Parser)]
#[command(name = "periplus", version, arg_required_else_help = true, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Run(Box<sidecar::Run>),
    Register(Box<register::Register>),
    Deregister(deregister::Deregister),
    Drain(operate::Drain),
    Resume(operate::Resume),
    Set(operate::Set),
    Evict(operate::Evict),
    Get(get::Get),
    List(list::List),
    Find(find::Find),
    Watch(watch::Watch),
    Watches(watches::Watches),
    Events(events::Events),
    History(history::History),
    Demo(demo::Demo),
    Completions(completions::Completions),
}

/// Parses the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let threads = matches!(cli.command, Command::Serve(_));
    let mut builder = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(format_args!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(cli.command.run()) {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    };
    // A thread that reads or resolves names may hang; nothing waits for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}

impl Command {
    async fn run(self) -> anyhow::Result<u8> {
        match self {
            Self::Serve(command) => command.run().await,
            Self::Run(command) => return command.run().await,
            Self::Register(command) => command.run().await,
            Self::Deregister(command) => command.run().await,
            Self::Drain(command) => command.run().await,
            Self::Resume(command) => command.run().await,
            Self::Set(command) => command.run().await,
            Self::Evict(command) => command.run().await,
            Self::Get(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Find(command) => command.run().await,
            Self::Watch(command) => command.run().await,
            Self::Watches(command) => command.run().await,
            Self::Events(command) => command.run().await,
            Self::History(command) => command.run().await,
            Self::Demo(command) => command.run().await,
            Self::Completions(command) => command.run(&mut Cli::command()),
        }
        .map(|()| exit::OK)
    }
}

#[cfg(test)]
mod tests;
