//! How a channel is put together.

use std::sync::Arc;

use http::uri::Authority;
use periplus::Discovery;
use periplus_core::balance::{BalanceConfig, Filter};
use periplus_core::client::Provenance;
use periplus_core::dial::{BalancedDial, DialConfig, Target};
use tokio::sync::{Notify, mpsc, watch};

use super::caller::{Caller, Shared};
use super::driver::Driver;
use super::{ConnectError, Connector, Naming, Table};
use crate::host;
use crate::net::Net;

/// What is dialled, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target, `discovery:///name` or `direct:///a:1,b:2`.
    pub target: String,
    /// How connections behave.
    pub dial: DialConfig,
    /// How calls are balanced.
    pub balance: BalanceConfig,
    /// Who is called at all.
    pub filter: Option<Filter>,
    /// The name of the server, instead of the service's.
    pub server_name: Option<String>,
}

impl Plan {
    /// A plan with nothing chosen otherwise, for endpoints of this scheme.
    #[must_use]
    pub fn new(target: impl Into<String>, scheme: &'static str) -> Self {
        Self {
            target: target.into(),
            dial: DialConfig::new(scheme),
            balance: BalanceConfig::default(),
            filter: None,
            server_name: None,
        }
    }
}

/// Begins to follow a target, in a task that ends with the last clone of what is returned. Waits for nothing. The
/// registry has nothing to do with `direct:`.
///
/// # Errors
/// If the target or the server's name make no sense, or the registry's client is closed. Nothing was begun.
pub fn open<C: Connector>(
    plan: Plan,
    net: Arc<dyn Net>,
    registry: &(impl Discovery + ?Sized),
    connector: impl FnOnce(Naming) -> C,
) -> Result<Caller<C::Link>, ConnectError> {
    let target: Target = plan.target.parse()?;
    let server_name = match plan.server_name {
        Some(name) => match name.parse::<Authority>() {
            Ok(authority) => Some(authority),
            Err(_) => return Err(ConnectError::ServerName { name }),
        },
        None => None,
    };
    let mut seed = [0; 32];
    host::entropy(&mut seed);
    let (wait, scheme) = (plan.dial.wait, plan.dial.scheme.clone());
    let mut dial = BalancedDial::new(plan.dial, plan.balance, seed, host::now());
    if let Some(filter) = &plan.filter {
        dial.view(filter);
    }
    let watcher = match &target {
        Target::Discovery { name, .. } => Some(registry.watch(name)?),
        Target::Direct { .. } => {
            dial.handle_listing(&target.instances(&scheme), Provenance::Live, host::now());
            None
        }
    };
    let routes = dial.poll_update().expect("a machine tells first where it stands");
    let (table, tables) = watch::channel(Arc::new(Table { routes, links: Default::default() }));
    let (wishes, views) = mpsc::channel(16);
    let attention = Arc::new(Notify::new());
    let naming = Naming { server_name, direct: matches!(target, Target::Direct { .. }) };
    let driver = Driver {
        dial,
        connector: Arc::new(connector(naming)),
        net: Arc::clone(&net),
        views,
        attention: Arc::clone(&attention),
        table,
    };
    net.spawn(Box::pin(driver.run(watcher)));
    let shared = Shared::new(target.to_string(), wait, net, attention, wishes);
    Ok(Caller::new(shared, tables, plan.filter))
}
