//! `periplus register`.

use clap::Args;
use http::Method;
use periplus_core::client::{ClientConfig, RegistrationView};
use periplus_core::protocol::Span;
use periplus_core::{Operation, Outcome};
use serde::Serialize;
use tokio::sync::watch;

use super::args::{Connection, Format, InstanceArgs};
use super::{output, signals};
use crate::client::CALL_TIMEOUT;
use crate::client::messages::Registered;
use crate::client::registration::Registration;
use crate::hold::{Hold, Wanted};
use crate::random;

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
struct Line<'a, T> {
    service: &'a str,
    id: &'a str,
    #[serde(flatten)]
    answer: T,
}

/// What there is to say of a registration that is kept.
#[derive(Serialize)]
struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Span>,
    /// How often it was registered.
    registered: u64,
}

impl Register {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let registration = self.instance.registration(&self.connection.registry)?;
        if self.detach {
            return self.register_once(&registration).await;
        }
        let (want, wanted) = watch::channel(Wanted::In);
        tokio::spawn(async move {
            signals::interrupted().await;
            let _ = want.send(Wanted::Stop);
            // A stop that the registry does not hear would take a moment; whoever asks twice does not want to wait.
            signals::interrupted().await;
            std::process::exit(130);
        });
        let (service, id) = (registration.service().to_owned(), registration.id().to_owned());
        let on_registered = |view: &RegistrationView| {
            if self.format.json {
                let &RegistrationView { outcome, generation, ttl, registered, .. } = view;
                let answer = Kept { outcome, generation, ttl: ttl.map(Span), registered };
                // That nobody reads along is no reason to leave the registry.
                let _ = output::json_line(&Line { service: &service, id: &id, answer });
            }
        };
        let hold = Hold::new(self.connection.connect(ClientConfig::default())?, registration, on_registered);
        Ok(hold.impatient().run(wanted).await?)
    }

    async fn register_once(&self, registration: &Registration) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let (service, id) = (registration.service(), registration.id());
        let message = registration.message(Operation { incarnation: random::incarnation(), sequence: 1 }, None);
        let target = client.instance(service, id, "");
        let answer: Registered = client.change(Method::PUT, target, &message, CALL_TIMEOUT).await?;
        if self.format.json {
            return output::json(&Line { service, id, answer });
        }
        let how = if answer.outcome == "superseded" { ", in place of another holder" } else { "" };
        let Registered { generation, ttl, lease, .. } = &answer;
        output::note(format_args!(
            "registered {service}/{id}{how} (generation {generation}, ttl {ttl}); \
             it will expire after {ttl} unless renewed"
        ));
        output::line(lease)
    }
}
