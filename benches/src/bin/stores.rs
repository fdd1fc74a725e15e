//! Our client in etcd and in Consul, beside the usual ways to use them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use periplus_benches::load::process;
use periplus_benches::load::record::Record;
use periplus_benches::load::report::Report;
use periplus_benches::stores::{GrpcEtcd, Kind, Ours, RawConsul, RawEtcd, Store, User, held, watched};
use tokio::task::LocalSet;

/// Measures what it takes to hold instances in etcd and Consul, and to follow them.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// An etcd to start
    #[arg(long, env = "ETCD_BIN")]
    etcd: Option<PathBuf>,
    /// A Consul to start
    #[arg(long, env = "CONSUL_BIN")]
    consul: Option<PathBuf>,
    /// Instances to hold
    #[arg(long, default_value_t = 1_000)]
    instances: usize,
    /// How long they are held, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Who follows one service at once
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// How long the service changes, in seconds
    #[arg(long, default_value_t = 10)]
    changing: u64,
    /// Prints one JSON document for each store instead of a table
    #[arg(long)]
    json: bool,
}

/// What the client crates do.
const GRPC: &str = "gRPC, by lease";

fn main() -> Result<()> {
    let options = Options::parse();
    process::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut stores = Vec::new();
    stores.extend(options.etcd.clone().map(|binary| (Kind::Etcd, binary)));
    stores.extend(options.consul.clone().map(|binary| (Kind::Consul, binary)));
    ensure!(!stores.is_empty(), "name a store to start: --etcd PATH, --consul PATH");
    for (kind, binary) in stores {
        let names: &[&str] = match kind {
            Kind::Etcd => &["periplus over etcd", GRPC, "HTTP, by lease"],
            Kind::Consul => &["periplus over Consul", "HTTP, by lease"],
        };
        let mut columns = Vec::new();
        for name in names {
            let mut record = Record::default();
            for watching in [false, true] {
                eprintln!("{name}: {}", if watching { "watching" } else { "holding" });
                // A store that has nothing else to do, and tasks that end with what they were for.
                let work = LocalSet::new();
                let measured = work.run_until(measure(kind, &binary, name, watching, &options, &mut record));
                runtime.block_on(measured).with_context(|| format!("{name}, {kind:?}"))?;
            }
            columns.push(((*name).to_owned(), record));
        }
        let report = Report::beside(columns);
        if options.json { println!("{}", report.to_json()?) } else { println!("{report}") }
    }
    Ok(())
}

async fn measure(
    kind: Kind,
    binary: &std::path::Path,
    name: &str,
    watching: bool,
    options: &Options,
    record: &mut Record,
) -> Result<()> {
    let store = Store::start(kind, binary).await?;
    match (kind, name) {
        (_, ours) if ours.starts_with("periplus") => {
            run(&mut Ours::new(&store.url()).await?, &store, watching, options, record).await
        }
        (Kind::Etcd, GRPC) => run(&mut GrpcEtcd::new(store.address), &store, watching, options, record).await,
        (Kind::Etcd, _) => run(&mut RawEtcd::new(store.address), &store, watching, options, record).await,
        (Kind::Consul, _) => run(&mut RawConsul::new(store.address), &store, watching, options, record).await,
    }
}

async fn run(
    user: &mut impl User,
    store: &Store,
    watching: bool,
    options: &Options,
    record: &mut Record,
) -> Result<()> {
    if watching {
        watched(user, store, options.watchers, Duration::from_secs(options.changing), record).await
    } else {
        held(user, store, options.instances, Duration::from_secs(options.seconds), record).await
    }
}
