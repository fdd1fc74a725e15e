//! The examples of each native runtime, played against a real registry that is killed and comes back.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::registry::Registry;
use crate::service::Service;
use crate::shell;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pairs of examples, and what builds them.
const PAIRS: [(&str, &str, &str); 3] = [
    ("provider", "consumer", "build --package periplus-tokio --examples"),
    ("provider", "consumer", "build --package periplus-async-std --examples"),
    ("provider_smol", "consumer_smol", "build --package periplus-async-std --examples --features smol"),
];

/// Builds and plays every pair.
pub(crate) fn run() -> Result {
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    for (provider, consumer, build) in PAIRS {
        shell::run(shell::cargo(build))?;
        play(provider, consumer)?;
        println!("{provider} and {consumer} have found each other, before and after the registry was killed");
    }
    Ok(())
}

fn play(provider: &'static str, consumer: &'static str) -> Result {
    let mut registry = Registry::start(&["--warm-up", "3s", "--ttl-default", "3s", "--log", "warn"])?;
    let mut watcher = Example::start(consumer, &registry)?;
    watcher.line("hears the registry", |line| line.contains("instances"))?;
    let mut server = Example::start(provider, &registry)?;
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
    fn start(name: &'static str, registry: &Registry) -> Result<Self> {
        let binary = shell::built_binary("xtask")?.with_file_name("examples").join(name);
        let mut command = Command::new(binary);
        command.arg(registry.url()).stdout(Stdio::piped());
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
