//! One instance of a service, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use periplus_tokio::app::Stopped;
use periplus_tokio::{App, AppError, AppHandle, Client};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::BoxError;
use crate::ledger::Ledger;
use crate::services;

/// How long an instance serves on when it has left the registry: everybody hears of it meanwhile.
const DRAIN: Duration = Duration::from_millis(500);

pub(crate) struct Instance {
    id: String,
    handle: AppHandle,
    running: Option<JoinHandle<Result<Stopped, AppError>>>,
    registry: Option<Client>,
}

impl Instance {
    /// Starts one, and waits until it is registered.
    pub(crate) async fn start(
        service: &str,
        version: &str,
        id: &str,
        registry: &str,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, BoxError> {
        // As if it were alone on its machine.
        let registry = periplus_tokio::connect(registry).await?;
        let (open, opened) = oneshot::channel();
        let app = App::builder()
            .id(id)
            .name(service)
            .version(version)
            .registrar(registry.clone())
            .drain(DRAIN)
            // Ctrl-C ends all of them at once.
            .signals([])
            .after_start(async |_| {
                let _ = open.send(());
                Ok::<_, BoxError>(())
            });
        let app = services::serve(app, service, &registry, ledger)?.build()?;
        let handle = app.handle();
        let mut running = tokio::spawn(app.run());
        tokio::select! {
            Ok(()) = opened => {}
            ended = &mut running => {
                let why = ended?.map_or_else(|error| error.to_string(), |stopped| format!("{stopped:?}"));
                return Err(format!("{id} has not started: {why}").into());
            }
        }
        Ok(Self { id: id.to_owned(), handle, running: Some(running), registry: Some(registry) })
    }

    /// Deregisters it at once, and stops it when its calls have ended.
    pub(crate) async fn stop(&mut self) -> Result<(), BoxError> {
        let (Some(running), Some(registry)) = (self.running.take(), self.registry.take()) else { return Ok(()) };
        self.handle.stop();
        let stopped = running.await??;
        registry.close().await;
        if stopped.forced || !stopped.deregistered {
            return Err(format!("{} was not stopped in peace: {stopped:?}", self.id).into());
        }
        Ok(())
    }
}
