//! Whom an operator's command is about: one instance, or all that match a query.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write as _};

use anyhow::ensure;
use clap::Args;
use http::Method;
use periplus_core::{InstanceId, Query, ServiceInstance, ServiceName};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::args::{Connection, Format};
use crate::cli::exit::{Partly, Usage};
use crate::cli::{find, output};
use crate::client::error::CallError;
use crate::client::{CALL_TIMEOUT, Client};

/// The services of those to whom something was done, and the revision of the last of them.
pub(super) type Done = BTreeMap<ServiceName, u64>;

fn revision(answer: &Value) -> u64 {
    answer["revision"].as_u64().unwrap_or_default()
}

const SEVERAL: &str = "Several instances";

/// Whom an operator's command is about.
#[derive(Args, Debug)]
pub(super) struct Subject {
    /// Name of the service, unless there is a --filter
    #[arg(required_unless_present = "filter")]
    service: Option<ServiceName>,
    /// Id of the instance, unless there is a --filter
    #[arg(required_unless_present = "filter")]
    id: Option<InstanceId>,
    #[command(flatten)]
    several: Several,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
#[group(skip)]
struct Several {
    /// All instances that match, of any service; see `periplus find --help`
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["service", "id"], help_heading = SEVERAL)]
    filter: Option<Query>,
    /// Show which instances match, and do nothing to them
    #[arg(long, requires = "filter", conflicts_with_all = ["service", "id"], help_heading = SEVERAL)]
    dry_run: bool,
    /// Do it to more than one instance without asking
    #[arg(long, requires = "filter", conflicts_with_all = ["service", "id"], help_heading = SEVERAL)]
    yes: bool,
}

/// What is done to each: a request, and what is so when it is done.
pub(super) struct Deed<'a, B> {
    pub(super) method: Method,
    /// What follows the instance's path.
    pub(super) rest: &'a str,
    pub(super) body: &'a B,
    /// As it goes on after the instance.
    pub(super) text: &'a str,
}

impl<B: Serialize> Deed<'_, B> {
    async fn call(&self, client: &Client, service: &str, id: &str) -> Result<Value, CallError> {
        let target = client.instance(service, id, self.rest);
        client.change(self.method.clone(), target, self.body, CALL_TIMEOUT).await
    }
}

impl Subject {
    /// The registry.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Ok(self.connection.client()?)
    }

    /// Whether what is printed is for programs.
    pub(super) const fn is_json(&self) -> bool {
        self.format.json
    }

    /// Does it to the one, or to each that matches. Returns the services that are concerned, and the revision in which it
    /// was done.
    pub(super) async fn each<B: Serialize>(&self, deed: Deed<'_, B>) -> anyhow::Result<Done> {
        let client = self.client()?;
        if let (Some(service), Some(id)) = (&self.service, &self.id) {
            let answer = deed.call(&client, service, id).await?;
            if self.format.json {
                output::json(&answer)?;
            } else {
                output::line(format_args!("{service}/{id} {}", deed.text))?;
            }
            return Ok(Done::from([(service.clone(), revision(&answer))]));
        }
        let filter = self.several.filter.as_ref().filter(|filter| !filter.is_empty());
        let filter = filter.ok_or_else(|| Usage("--filter is empty: write '*' if everybody is meant".into()))?;
        let instances = find::matching(&client, filter).await?;
        if self.several.dry_run {
            return self.show(&instances).map(|()| Done::new());
        }
        if instances.is_empty() {
            output::note(format_args!("no instances match {filter}"));
            return Ok(Done::new());
        }
        if instances.len() > 1 && !self.several.yes {
            confirm(&instances)?;
        }
        self.all(&client, &instances, deed).await
    }

    fn show(&self, instances: &[ServiceInstance]) -> anyhow::Result<()> {
        if self.format.json {
            return output::json(&instances);
        }
        if !instances.is_empty() {
            find::table(instances)?;
        }
        output::note(format_args!("{} would be touched", counted(instances)));
        Ok(())
    }

    /// Goes on after a refusal; when the registry is gone it would wait for each of the others in vain.
    async fn all<B: Serialize>(
        &self,
        client: &Client,
        instances: &[ServiceInstance],
        deed: Deed<'_, B>,
    ) -> anyhow::Result<Done> {
        let (mut done, mut services) = (0, Done::new());
        for ServiceInstance { name, id, .. } in instances {
            let result = deed.call(client, name, id).await;
            done += usize::from(result.is_ok());
            if let Ok(answer) = &result {
                services.insert(name.clone(), revision(answer));
            }
            if self.format.json {
                let (key, value) = match &result {
                    Ok(answer) => ("answer", answer.clone()),
                    Err(error) => ("error", error.to_string().into()),
                };
                output::json_line(&json!({"service": name, "id": id, key: value}))?;
            } else if result.is_ok() {
                output::line(output::shown(&format!("{name}/{id} {}", deed.text)))?;
            }
            if let Err(error) = result {
                output::note(output::shown(&format!("{name}/{id}: {error}")));
                if error.refusal().is_none() {
                    break;
                }
            }
        }
        let all = instances.len();
        if done < all { Err(Partly { left: all - done, all }.into()) } else { Ok(services) }
    }
}

fn counted(instances: &[ServiceInstance]) -> String {
    let count = instances.len();
    if count == 1 { "1 instance".into() } else { format!("{count} instances") }
}

/// Asks whoever sits at the terminal.
fn confirm(instances: &[ServiceInstance]) -> anyhow::Result<()> {
    let count = counted(instances);
    if !io::stdin().is_terminal() {
        let hint = format!("{count} match: add --yes to do it to all of them, or --dry-run to see which they are");
        return Err(Usage(hint).into());
    }
    find::table(instances)?;
    let mut stderr = io::stderr();
    write!(stderr, "periplus: do it to these {count}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing is done");
    Ok(())
}
