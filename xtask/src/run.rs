//! `cargo xtask run`: a registry with a demo fleet, to look at and to play with.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::service::Service;
use crate::{shell, wasm};

const DEFAULT_ADDRESS: &str = "127.0.0.1:7171";

/// What the registry prints, followed by its address, once it accepts connections.
const LISTENING: &str = "listening on http://";

/// How long the registry may take until it accepts connections.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the services are looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// What happens while the services run, apart from one of them ending.
enum Notice {
    /// The registry accepts connections at this address.
    Listening(String),
    /// The user wants to stop.
    Interrupted,
}

/// Runs both until Ctrl-C, or until one of them ends by itself, which is a failure.
pub(crate) fn run(arguments: &[String]) -> Result {
    let options = Options::parse(arguments)?;
    options.check_address()?;
    wasm::dashboard("wasm")?;
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;

    let (notices, inbox) = mpsc::channel();
    let interrupts = notices.clone();
    ctrlc::set_handler(move || {
        // Nobody listens any more once the services have stopped.
        let _ = interrupts.send(Notice::Interrupted);
    })
    .map_err(|error| Failure::new(format!("could not listen for Ctrl-C: {error}")))?;

    let mut services = vec![start_registry(&options, notices)?];
    let outcome = supervise(&mut services, &inbox);
    // The demo first, while there is a registry that it can deregister from.
    for service in services.into_iter().rev() {
        service.stop(|| matches!(inbox.try_recv(), Ok(Notice::Interrupted)));
    }
    outcome
}

#[derive(Debug, PartialEq)]
struct Options {
    listen: String,
    serve_arguments: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (before, after) = shell::split_at_dashes(arguments);
        let listen = match before {
            [] => DEFAULT_ADDRESS,
            [flag, address] if flag == "--listen" => address,
            [joined] if joined.starts_with("--listen=") => &joined["--listen=".len()..],
            _ => {
                return Err(Failure::usage("usage: cargo xtask run [--listen ADDRESS] [-- ARGS FOR PERIPLUS SERVE]"));
            }
        };
        Ok(Self { listen: listen.to_owned(), serve_arguments: after.to_vec() })
    }

    /// Fails if nothing can listen at the address: better said now than after a build.
    fn check_address(&self) -> Result {
        let Err(error) = TcpListener::bind(&self.listen) else {
            return Ok(());
        };
        let failure = Failure::new(format!("cannot listen on {}: {error}", self.listen));
        Err(failure.with_hint("choose another address: cargo xtask run --listen 127.0.0.1:7272"))
    }
}

fn start_registry(options: &Options, notices: Sender<Notice>) -> Result<Service> {
    let mut command = Command::new(shell::built_binary("periplus")?);
    command.args(["serve", "--listen", &options.listen]).args(&options.serve_arguments).stdout(Stdio::piped());
    let mut registry = Service::start("registry", command)?;
    let stdout = registry.take_stdout().expect("it is piped");
    thread::spawn(move || forward(stdout, io::stdout(), &notices));
    Ok(registry)
}

/// Copies what the registry prints, and looks for its address in it.
fn forward(from: impl Read, mut to: impl Write, notices: &Sender<Notice>) {
    let mut from = BufReader::new(from);
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|length| length > 0) {
        // If our own output is closed, the registry is still to be heard.
        let _ = to.write_all(line.as_bytes());
        if let Some(address) = line.trim_end().strip_prefix(LISTENING) {
            // Nobody listens any more if the user interrupted the start.
            let _ = notices.send(Notice::Listening(address.to_owned()));
            break;
        }
        line.clear();
    }
    // Fails if either end is closed, and then there is nothing left to copy.
    let _ = io::copy(&mut from, &mut to);
}

/// Starts the demo once the registry listens, and returns when the user wants to stop.
fn supervise(services: &mut Vec<Service>, inbox: &Receiver<Notice>) -> Result {
    let address = match next_notice(services, inbox, Some(Instant::now() + START_TIMEOUT))? {
        Notice::Listening(address) => address,
        Notice::Interrupted => return Ok(()),
    };
    let mut command = Command::new(shell::built_binary("periplus")?);
    command.args(["demo", "--registry", &format!("periplus://{address}")]);
    services.push(Service::start("demo", command)?);
    print!("{}", introduction(&address)?);
    while !matches!(next_notice(services, inbox, None)?, Notice::Interrupted) {}
    Ok(())
}

/// Waits for the next notice. Fails if a service ends before it comes, or if it does not come in time.
fn next_notice(services: &mut [Service], inbox: &Receiver<Notice>, deadline: Option<Instant>) -> Result<Notice> {
    loop {
        match inbox.recv_timeout(GLANCE) {
            Ok(notice) => return Ok(notice),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("the handler of Ctrl-C keeps a sender")
            }
        }
        for service in &mut *services {
            if let Some(status) = service.ended() {
                return Err(Failure::new(format!(
                    "the {} ended by itself ({status}); see above what it said",
                    service.name()
                )));
            }
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Failure::new(format!(
                "the registry has not printed `{LISTENING}ADDRESS` within {START_TIMEOUT:?}"
            )));
        }
    }
}

/// What there is to see and to try.
fn introduction(address: &str) -> Result<String> {
    let binary = shell::built_binary("periplus")?;
    let periplus = binary.strip_prefix(shell::root()).unwrap_or(&binary).display();
    let registry = if address == DEFAULT_ADDRESS { String::new() } else { format!(" --registry periplus://{address}") };
    Ok(format!(
        "
A registry is running with a demo fleet in it. Its dashboard is at http://{address}/

Or try in another terminal:

  curl http://{address}/v1/services
  curl -N 'http://{address}/v1/watch?prefix='
  {periplus} list{registry}
  {periplus} get SERVICE{registry}
  {periplus} watch SERVICE{registry}
  {periplus} events{registry}

Ctrl-C stops both; once more, and they are killed.

"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Options::parse(&arguments)
    }

    #[test]
    fn the_address_has_a_default() {
        let options = parse(&[]).expect("no arguments are fine");
        assert_eq!(options.listen, DEFAULT_ADDRESS);
    }

    #[test]
    fn what_follows_the_dashes_goes_to_the_server() {
        let options = parse(&["--listen", "[::1]:0", "--", "--listen-backlog", "7"]).expect("it is as documented");
        assert_eq!(options.listen, "[::1]:0");
        assert_eq!(options.serve_arguments, ["--listen-backlog", "7"]);
    }

    #[test]
    fn unknown_arguments_are_refused() {
        assert!(parse(&["--port", "7272"]).is_err());
    }

    #[test]
    fn the_address_is_found_and_everything_is_copied() {
        let (sender, receiver) = mpsc::channel();
        let printed = "warming up\nlistening on http://[::1]:7171\nmore\n";
        let mut copied = Vec::new();
        forward(printed.as_bytes(), &mut copied, &sender);
        assert!(matches!(receiver.try_recv(), Ok(Notice::Listening(address)) if address == "[::1]:7171"));
        assert_eq!(copied, printed.as_bytes());
    }
}
