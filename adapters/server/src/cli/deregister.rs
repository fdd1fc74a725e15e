//! `periplus deregister`.

use clap::Args;
use http::Method;
use periplus_core::protocol::DeregisterMessage;
use periplus_core::{InstanceId, ServiceName};
use serde_json::Value;

use super::args::{Connection, Format};
use super::exit::Usage;
use super::output;
use crate::client::CALL_TIMEOUT;

/// Take an instance out, as its holder
///
/// It takes the lease that `periplus register --detach` printed. Who has none is not the holder: see `periplus evict`.
#[derive(Args, Debug)]
pub(super) struct Deregister {
    /// Name of the service
    service: ServiceName,
    /// Id of the instance
    id: InstanceId,
    /// The lease that the registration was answered with
    #[arg(long)]
    lease: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Deregister {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self { service, id, lease, .. } = &self;
        let Some(lease) = lease else {
            return Err(Usage(format!(
                "deregistering takes the lease (--lease), as proof of being the holder; an operator uses: \
                 periplus evict {service} {id} --reason \"why\""
            ))
            .into());
        };
        let client = self.connection.client()?;
        let target = client.instance(service, id, "");
        let body = DeregisterMessage { lease: Some(lease.as_str().into()), ..DeregisterMessage::default() };
        let answer: Value = client.change(Method::DELETE, target, &body, CALL_TIMEOUT).await?;
        if self.format.json { output::json(&answer) } else { output::line(format_args!("deregistered {service}/{id}")) }
    }
}
