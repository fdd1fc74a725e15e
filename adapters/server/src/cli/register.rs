//! `periplus register`.

use clap::Args;
use serde::Serialize;
use tokio::sync::watch;

use super::args::{Connection, Format, InstanceArgs};
use super::{output, signals};
use crate::client::error::CallError;
use crate::client::holder::{End, Holder, Report, Wanted};
use crate::client::messages::Registered;

/// Register an instance and keep it registered until interrupted
///
/// Renews the lease every third of its time to live. If the registry goes away or forgets, registers again; if somebody
/// else registers the same id, leaves it to them and exits with 5. At the end it deregisters.
#[derive(Args, Debug)]
pub(super) struct Register {
    /// Register once, print the lease, and leave it to its time to live
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    connection: Connection,
}

/// A registration as JSON.
#[derive(Serialize)]
struct Line<'a> {
    service: &'a str,
    id: &'a str,
    #[serde(flatten)]
    answer: &'a Registered,
}

impl Register {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let registration = self.instance.registration(&self.connection.registry)?;
        let (service, id) = (registration.service().to_owned(), registration.id().to_owned());
        let mut holder = Holder::new(self.connection.client(), registration).impatient();
        if self.detach {
            let answer = holder.register_once().await?;
            if self.format.json {
                return output::json(&Line { service: &service, id: &id, answer: &answer });
            }
            output::note(format_args!(
                "{}; it will expire after {} unless renewed",
                registered(&service, &id, &answer, false),
                answer.ttl
            ));
            return output::line(&answer.lease);
        }

        let (want, wanted) = watch::channel(Wanted::In);
        tokio::spawn(async move {
            signals::interrupted().await;
            let _ = want.send(Wanted::Stop);
            // A stop that the registry does not hear would take a moment; whoever asks twice does not want to wait.
            signals::interrupted().await;
            std::process::exit(130);
        });
        let end = holder
            .run(wanted, |event| {
                remark(&service, &id, &event);
                if let (true, Report::Registered { answer, .. }) = (self.format.json, &event) {
                    // That nobody reads along is no reason to leave the registry.
                    let _ = output::json_line(&Line { service: &service, id: &id, answer });
                }
            })
            .await;
        match end {
            End::Stopped => Ok(()),
            End::Lost(refusal) => Err(CallError::from(refusal).into()),
            End::Refused(error) => Err(error.into()),
        }
    }
}

/// Says on stderr what happened to a registration.
pub(crate) fn remark(service: &str, id: &str, event: &Report<'_>) {
    match event {
        Report::Registered { answer, again } => {
            output::note(registered(service, id, answer, *again));
        }
        Report::Lost { code } => {
            output::note(format_args!("the registry has no lease for {service}/{id} any more ({code})"))
        }
        Report::Retry { error, retry_in, lives } => {
            let retry_in = output::duration(*retry_in);
            let lives = match lives {
                None => String::new(),
                Some(time) if time.is_zero() => "; the lease has run out".into(),
                Some(time) => format!("; the lease lives for {}", output::duration(*time)),
            };
            output::note(format_args!("{error}; trying again in {retry_in}{lives}"));
        }
        Report::Recovered => output::note(format_args!("{service}/{id} is renewed again")),
        Report::Deregistered => output::note(format_args!("deregistered {service}/{id}")),
        Report::LeftBehind { error } => {
            output::note(format_args!("could not deregister {service}/{id}, its lease will end by itself: {error}"));
        }
    }
}

fn registered(service: &str, id: &str, answer: &Registered, again: bool) -> String {
    let again = if again { " again" } else { "" };
    let how = if answer.outcome == "superseded" { ", in place of another holder" } else { "" };
    format!("registered {service}/{id}{again}{how} (generation {}, ttl {})", answer.generation, answer.ttl)
}
