//! The examples of each native runtime, played against real registries that are killed and come back: only the address
//! differs.

mod app;
mod calls;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::registry::{Foreign, Played, Registry};
use crate::service::Service;
use crate::test::everything;
use crate::{servers, shell, shop};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pairs of examples, and with which registries they are played.
const PAIRS: [(&str, &str, &[Kind]); 3] = [
    ("provider", "consumer", &[Kind::Own, Kind::Etcd, Kind::Consul]),
    ("provider_async_std", "consumer_async_std", &[Kind::Own]),
    ("provider_smol", "consumer_smol", &[Kind::Own]),
];

/// What a registry is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Own,
    Etcd,
    Consul,
}

/// With which registries providers and consumers that call each other are played.
const CALLED: [Kind; 3] = [Kind::Own, Kind::Etcd, Kind::Consul];

/// How long the shop is open each time.
const SHOP: &str = "10";

/// Builds and plays every pair, the application, and the shop.
pub(crate) fn run() -> Result {
    let servers = servers::ensure()?;
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    shell::run(everything("test --no-run --quiet"))?;
    for (provider, consumer, kinds) in PAIRS {
        if kinds.len() > 1 {
            alone()?;
        }
        for kind in kinds {
            let Some(mut registry) = kind.start(&servers)? else { continue };
            play(provider, consumer, &mut *registry)?;
            println!("{provider} and {consumer} have found each other, before and after {} was killed", registry.url());
        }
    }
    app::play()?;
    for kind in CALLED {
        let Some(registry) = kind.start(&servers)? else { continue };
        calls::play(&registry.url())?;
        println!("consumers have called providers over gRPC and HTTP through {}", registry.url());
    }
    shop::open(&["--seconds", SHOP].map(str::to_owned))?;
    if let Some(registry) = Kind::Own.start(&servers)? {
        shop::open(&["--seconds", SHOP, "--registry", &registry.url()].map(str::to_owned))?;
    }
    Ok(())
}

impl Kind {
    /// Starts a registry, unless there is no server of its kind.
    fn start(self, servers: &[(&'static str, OsString)]) -> Result<Option<Box<dyn Played>>> {
        let binary = |variable| servers.iter().find(|(name, _)| *name == variable).map(|(_, path)| path);
        Ok(Some(match self {
            Self::Own => Box::new(Registry::start(&["--warm-up", "3s", "--ttl-default", "3s", "--log", "warn"])?),
            Self::Etcd => match binary("ETCD_CURRENT_BIN").or_else(|| binary("ETCD_BIN")) {
                Some(binary) => Box::new(Foreign::etcd(binary, &[])?),
                None => return Ok(None),
            },
            Self::Consul => match binary("CONSUL_BIN") {
                Some(binary) => Box::new(Foreign::consul(binary, &[])?),
                None => return Ok(None),
            },
        }))
    }
}

/// Both in one process, with a registry in it.
fn alone() -> Result {
    let mut both = Example::start("together", "memory:greetings")?;
    // Whichever was first.
    both.line("sees the provider", |line| line.trim_start_matches(['+', ' ']).starts_with("greeter-"))?;
    both.service.interrupt();
    both.line("sees the provider go", |line| line.starts_with("- greeter-"))?;
    both.service.stop(|| false);
    Ok(())
}

fn play(provider: &'static str, consumer: &'static str, registry: &mut dyn Played) -> Result {
    let mut watcher = Example::start(consumer, &registry.url())?;
    watcher.line("hears the registry", |line| line.contains("instances"))?;
    let mut server = Example::start(provider, &registry.url())?;
    server.line("is registered", |line| line.starts_with("registered"))?;
    watcher.line("sees the provider", |line| line.starts_with("+ greeter-"))?;

    registry.kill();
    watcher.line("knows that the registry is gone", |line| line.contains("Stale"))?;
    registry.restart()?;
    watcher.line("hears the registry again", |line| line.contains("Live"))?;

    server.service.stop(|| false);
    let gone = watcher.line("sees the provider go", |line| line.starts_with("- greeter-"))?;
    let early = watcher.told.iter().filter(|line| **line == gone).count();
    if early > 1 {
        return Err(Failure::new(format!("an instance that lived was told to be gone: {:#?}", watcher.told)));
    }
    Ok(())
}

/// A running example, and what it prints.
struct Example {
    name: &'static str,
    service: Service,
    lines: Receiver<String>,
    told: Vec<String>,
}

impl Example {
    fn start(name: &'static str, url: &str) -> Result<Self> {
        Self::start_with(name, &[url])
    }

    fn start_with(name: &'static str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(shell::built_example(name)?);
        command.args(arguments).stdout(Stdio::piped());
        let mut service = Service::start(name, command)?;
        let stdout = BufReader::new(service.take_stdout().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(std::result::Result::ok) {
                // Nobody listens any more when the play is over.
                let _ = sender.send(line);
            }
        });
        Ok(Self { name, service, lines, told: Vec::new() })
    }

    /// Waits for a line.
    fn line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                return Err(Failure::new(format!("not seen: the {} {what}; it has said {:#?}", self.name, self.told)));
            };
            self.told.push(line.clone());
            if is_it(&line) {
                return Ok(line);
            }
        }
    }
}
