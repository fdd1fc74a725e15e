//! Drives the server over loopback, and etcd beside it with the same work.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use periplus_benches::load::leases::{self, Renewal};
use periplus_benches::load::periplus::Periplus;
use periplus_benches::load::process::{self, Process};
use periplus_benches::load::record::Record;
use periplus_benches::load::report::Report;
use periplus_benches::load::target::Target;
use periplus_benches::load::watching::{self, Changing, Rate};

/// Measures a server over loopback.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// A server that runs already, as periplus://HOST:PORT, in place of one started here
    #[arg(long)]
    target: Option<String>,
    /// The process of that server, to see what it costs
    #[arg(long, requires = "target")]
    pid: Option<i32>,
    /// The server to start; built first, in release, if not given
    #[arg(long, conflicts_with = "target")]
    binary: Option<PathBuf>,
    /// Arguments for `periplus serve`, beside the address and higher limits
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    serve: Vec<String>,
    /// Drives etcd too
    #[arg(long)]
    etcd: bool,
    /// Drives this etcd too; may be given more than once
    #[arg(long, value_name = "PATH")]
    etcd_binary: Vec<PathBuf>,
    /// Only work whose group is named: leases, memory, watch, expiry
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Repetitions; in each, every registry does all work once. Figures are medians
    #[arg(long, default_value_t = 3)]
    reps: usize,
    /// One short repetition
    #[arg(long)]
    quick: bool,
    /// Prints one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Registering 10 000 instances, renewing and listing them.
    Leases,
    /// Registering 100 000 instances; memory.
    Memory,
    /// Changes and watchers.
    Watch,
    /// Leases that run out together.
    Expiry,
}

const GROUPS: [Group; 4] = [Group::Leases, Group::Memory, Group::Watch, Group::Expiry];

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 3 })
    }

    fn groups(&self) -> impl Iterator<Item = Group> {
        GROUPS.into_iter().filter(|group| self.only.is_empty() || self.only.contains(group))
    }
}

/// A registry that can be started anew for each group of work.
enum Registry {
    /// Ours, by its binary.
    Ours(PathBuf),
    /// Ours, by somebody else.
    Running(SocketAddr, Option<i32>),
    /// etcd, by its binary.
    #[cfg(feature = "etcd")]
    Etcd(PathBuf),
}

fn main() -> Result<()> {
    let options = Options::parse();
    process::raise_file_limit();
    let mut registries = vec![ours(&options)?];
    registries.extend(etcds(&options)?);
    let reps = if options.quick { 1 } else { options.reps };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for rep in 0..reps {
        for group in options.groups() {
            for (name, registry, record) in &mut registries {
                eprintln!("repetition {} of {reps}: {group:?}: {name}", rep + 1);
                let work = tokio::task::LocalSet::new();
                runtime
                    .block_on(work.run_until(run(registry, group, &options, record)))
                    .with_context(|| format!("{name}, {group:?}"))?;
            }
        }
    }
    let report = Report::new(registries.into_iter().map(|(name, _, record)| (name, record)).collect());
    if options.json {
        println!("{}", report.to_json()?);
    } else {
        print!("{report}");
    }
    Ok(())
}

type Column = (String, Registry, Record);

fn ours(options: &Options) -> Result<Column> {
    let registry = match (&options.target, &options.binary) {
        (Some(target), _) => {
            let address = target.strip_prefix("periplus://").context("a target is periplus://HOST:PORT")?;
            let address = address.trim_end_matches('/').to_socket_addrs()?.next().context("no such host")?;
            Registry::Running(address, options.pid)
        }
        (None, Some(binary)) => Registry::Ours(binary.canonicalize()?),
        (None, None) => Registry::Ours(build()?),
    };
    Ok(("periplus".to_owned(), registry, Record::default()))
}

/// Builds the server as it is released.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--package", "periplus-server", "--bin", "periplus"];
    let built = Command::new(cargo).args(build).status()?;
    ensure!(built.success(), "the server cannot be built");
    // This program is where the server goes, too.
    let folder = std::env::current_exe()?;
    Ok(folder.parent().context("programs are in folders")?.join("periplus"))
}

#[cfg(feature = "etcd")]
fn etcds(options: &Options) -> Result<Vec<Column>> {
    let system = options.etcd.then(|| PathBuf::from("etcd"));
    system
        .into_iter()
        .chain(options.etcd_binary.iter().cloned())
        .map(|binary| {
            let output = Command::new(&binary).arg("--version").output();
            let output = output.with_context(|| format!("cannot start {}", binary.display()))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.lines().find_map(|line| line.strip_prefix("etcd Version: ")).context("no etcd")?;
            Ok((format!("etcd {version}"), Registry::Etcd(binary), Record::default()))
        })
        .collect()
}

#[cfg(not(feature = "etcd"))]
fn etcds(options: &Options) -> Result<Vec<Column>> {
    let asked = options.etcd || !options.etcd_binary.is_empty();
    ensure!(!asked, "built without etcd: add --features etcd");
    Ok(Vec::new())
}

/// Does one group of work on a registry that has nothing else to do.
async fn run(registry: &Registry, group: Group, options: &Options, record: &mut Record) -> Result<()> {
    match registry {
        Registry::Running(address, pid) => {
            let process = pid.map(Process::of);
            work(&Periplus { address: *address }, process.as_ref(), group, options, record).await
        }
        Registry::Ours(binary) => {
            let address = process::free_address()?;
            let process = Process::start(
                |_| {
                    let mut command = Command::new(binary);
                    command.args(["serve", "--limits-instances", "1000000", "--listen"]).arg(address.to_string());
                    command.args(&options.serve);
                    command
                },
                address,
            )?;
            work(&Periplus { address }, Some(&process), group, options, record).await
        }
        #[cfg(feature = "etcd")]
        Registry::Etcd(binary) => {
            use periplus_benches::load::etcd::Etcd;
            let address = process::free_address()?;
            let process = Process::etcd(binary, address)?;
            // It listens before it has elected itself.
            tokio::time::sleep(Duration::from_secs(2)).await;
            work(&Etcd { address }, Some(&process), group, options, record).await
        }
    }
}

async fn work<T: Target>(
    target: &T,
    server: Option<&Process>,
    group: Group,
    options: &Options,
    record: &mut Record,
) -> Result<()> {
    let time = options.time();
    match group {
        Group::Leases => {
            let held = Rc::new(leases::register(target, server, 10_000, record).await?);
            for renewal in [Renewal::Single(1), Renewal::Single(16), Renewal::Batch] {
                leases::renew(target, server, Rc::clone(&held), renewal, time, record).await?;
            }
            leases::list(target, server, held.len(), time, record).await
        }
        Group::Memory => {
            leases::register(target, server, 100_000, record).await?;
            Ok(())
        }
        Group::Watch => {
            watching::idle(target, server, 1_000, record).await?;
            let changing = Changing::register(target).await?;
            let mixes = [
                (1, Rate::PerSecond(100)),
                (100, Rate::PerSecond(100)),
                (100, Rate::PerSecond(1_000)),
                (1_000, Rate::PerSecond(10)),
                (1_000, Rate::PerSecond(100)),
                (100, Rate::Ceiling),
            ];
            for (watchers, rate) in mixes {
                changing.watched(server, watchers, rate, time, record).await?;
            }
            Ok(())
        }
        Group::Expiry => watching::expire(target, 5_000, Duration::from_secs(5), record).await,
    }
}
