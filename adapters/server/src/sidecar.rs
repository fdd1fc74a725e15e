//! `periplus run`: keeps a program of any language registered as long as it works.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use periplus_core::client::ClientConfig;
use tokio::sync::watch;

use crate::cli::args::{Connection, InstanceArgs};
use crate::cli::exit::Usage;
use crate::cli::output;
use crate::config::units;
use crate::hold::{Ended, Hold, Wanted};

mod check;
mod child;
mod signals;

use check::Check;
use child::Child;
use signals::Signals;

/// How often the program is looked at until it works for the first time.
const FIRST_CHECKS: Duration = Duration::from_millis(100);

/// Run a program and keep it registered as long as it works
///
/// Starts the program, waits until it accepts connections, registers it and renews the registration. While its check
/// fails it is taken out. When it exits, or when this command is told to stop, it is deregistered first, so that
/// those who watch have turned away before it stops. A registry that cannot be reached never keeps the program from
/// running.
///
/// The program gets a process group of its own, and no terminal to read from. SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are
/// passed on as they come.
#[derive(Args, Debug)]
#[command(after_help = EXIT_HELP)]
pub struct Run {
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    command: Vec<OsString>,
    #[command(flatten)]
    instance: InstanceArgs,
    /// What shows that the program works: http://HOST:PORT/PATH (answers with a status of success) or tcp://HOST:PORT
    /// (accepts connections) [default: each endpoint accepts connections]
    #[arg(long, value_name = "URL", help_heading = "Check")]
    check: Option<Check>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration, help_heading = "Check")]
    check_interval: Duration,
    /// Time that a check may take
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = positive_duration, help_heading = "Check")]
    check_timeout: Duration,
    /// Failures in a row after which the program is taken out
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Check")]
    check_failures: u32,
    /// Time between deregistering and stopping the program; a second signal cuts it short
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::parse_duration, help_heading = "Stopping")]
    drain: Duration,
    /// Time that the program may take to stop before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::parse_duration, help_heading = "Stopping")]
    stop_timeout: Duration,
    #[command(flatten)]
    connection: Connection,
}

const EXIT_HELP: &str = "\
Exit codes: that of the program, or
  2    the arguments make no sense
  126  the program cannot be run
  127  there is no such program
  128  and the number of the signal that ended the program";

impl Run {
    /// Runs the program and gives its exit code.
    ///
    /// # Errors
    /// The arguments make no sense together; the program was not started.
    pub async fn run(self) -> anyhow::Result<u8> {
        let registration = self.instance.registration(&self.connection.registry)?;
        let checks = self.checks()?;
        let name = format!("{}/{}", registration.service(), registration.id());
        let client = self.connection.connect(ClientConfig::default())?;
        let signals = Signals::listen().context("cannot listen for signals")?;
        let child = match Child::start(&self.command) {
            Ok(child) => child,
            Err(failure) => {
                output::note(format_args!("{failure}"));
                return Ok(failure.code);
            }
        };

        let (want, wanted) = watch::channel(Wanted::Out);
        let holding = Hold::new(client, registration, |_| {}).run(wanted);
        let told = tokio::spawn(async move { say_end(&name, holding.await) });
        let checking = tokio::spawn(self.watch_health(checks, want.clone()));
        let code = self.attend(child, signals, &want, || checking.abort()).await;
        // However it came to this: the last word to the registry is the deregistration.
        let _ = want.send(Wanted::Stop);
        let _ = told.await;
        Ok(code)
    }

    /// What shows that the program works.
    fn checks(&self) -> Result<Vec<Check>, Usage> {
        if let Some(check) = &self.check {
            return Ok(vec![check.clone()]);
        }
        if self.instance.endpoints.is_empty() {
            return Err(Usage("nothing shows that the program works: add --endpoint, or --check".into()));
        }
        Ok(self.instance.endpoints.iter().filter_map(Check::of_endpoint).collect())
    }

    /// Registers the instance while its checks succeed. Never ends by itself.
    fn watch_health(&self, checks: Vec<Check>, want: watch::Sender<Wanted>) -> impl Future<Output = ()> + use<> {
        let (interval, timeout, limit) = (self.check_interval, self.check_timeout, self.check_failures);
        async move {
            let mut failures = 0;
            let mut worked = false;
            loop {
                let outcome = check::all(&checks, timeout).await;
                match outcome {
                    Ok(()) => {
                        if worked && failures >= limit {
                            output::note("the check succeeds again");
                        }
                        (worked, failures) = (true, 0);
                        want.send_if_modified(|now| {
                            *now == Wanted::Out && std::mem::replace(now, Wanted::In) == Wanted::Out
                        });
                    }
                    Err(reason) => {
                        failures += 1;
                        if worked && failures == limit {
                            output::note(format_args!("the check fails, taking the instance out: {reason}"));
                            want.send_if_modified(|now| {
                                *now == Wanted::In && std::mem::replace(now, Wanted::Out) == Wanted::In
                            });
                        }
                    }
                }
                let pause = if worked { interval } else { FIRST_CHECKS.min(interval) };
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Waits for the program to end, and ends it when told to.
    async fn attend(
        &self,
        mut child: Child,
        mut signals: Signals,
        want: &watch::Sender<Wanted>,
        stop_checking: impl Fn(),
    ) -> u8 {
        // Until a signal says stop.
        let stop = loop {
            tokio::select! {
                biased;
                code = child.wait() => return ended(code),
                signal = signals.next() => match signal {
                    signal if signals::stops(signal) => break signal,
                    signal => child.pass_on(signal),
                },
            }
        };
        stop_checking();
        let _ = want.send(Wanted::Stop);

        tokio::select! {
            biased;
            code = child.wait() => return ended(code),
            () = tokio::time::sleep(self.drain) => {}
            () = signals.next_stop() => {}
        }
        child.pass_on(stop);

        let timeout = tokio::time::sleep(self.stop_timeout);
        tokio::pin!(timeout);
        loop {
            tokio::select! {
                biased;
                code = child.wait() => return ended(code),
                signal = signals.next() => child.pass_on(signal),
                () = &mut timeout => break,
            }
        }
        output::note(format_args!(
            "the program has not stopped in {}: killing it",
            output::duration(self.stop_timeout)
        ));
        child.kill();
        ended(child.wait().await)
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text).map_err(|error| error.to_string())? {
        Duration::ZERO => Err("must be more than zero".into()),
        duration => Ok(duration),
    }
}

fn ended(code: std::io::Result<u8>) -> u8 {
    code.unwrap_or_else(|error| {
        output::note(format_args!("cannot wait for the program: {error}"));
        crate::cli::exit::REFUSED
    })
}

/// Says why an instance is not kept registered any more. The program runs on.
fn say_end(name: &str, end: Result<(), Ended>) {
    if let Err(why) = end {
        output::note(format_args!("{name} stays unregistered, the program runs on: {why}"));
    }
}

#[cfg(test)]
mod tests;
