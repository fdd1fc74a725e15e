//! An application: servers, and a registration for as long as they serve.
//!
//! [`App`] binds its servers, lets them serve, registers once all of them accept, and leaves in order: on a signal it is
//! deregistered *at once*, serves on for the time of the [drain](AppBuilder::drain) so that those who watch have heard
//! of it, and then stops its servers. Whatever else ends it (a server that crashed, a hook that failed, a registry that
//! is down, a second signal), nothing stays registered and nothing keeps running; what failed first is what
//! [`run`](App::run) answers. The machine behind it, with the table of what happens when, is
//! [`Lifecycle`](periplus_core::app::Lifecycle).
//!
//! ```
//! use periplus::app::{App, BoxError, Server, Serving, StopReason};
//! use periplus::core::Endpoint;
//! use periplus::BoxFuture;
//! # mod local { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/local.rs")); }
//! # use local::Local;
//!
//! /// A server of one's own. Those for HTTP and gRPC come with the crate of the runtime.
//! struct Greeter;
//!
//! impl Server for Greeter {
//!     fn name(&self) -> &str {
//!         "greeter"
//!     }
//!
//!     fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>> {
//!         Box::pin(async { Ok(vec![Endpoint::new("greet://10.0.0.5:7000")?]) })
//!     }
//!
//!     fn serve(self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>> {
//!         Box::pin(async move {
//!             serving.accepting();
//!             serving.stop().stopping().await;
//!             Ok(())
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let registry = periplus::connect_with(Local::default(), "memory:", Default::default())?;
//! let app = App::<Local>::builder()
//!     .name("greeter")
//!     .version("1.2.0")
//!     .metadata("zone", "a")
//!     .server(Greeter)
//!     .registrar(registry.clone())
//!     .drain(std::time::Duration::ZERO)
//!     .before_start(async |app| { println!("{} at {:?}", app.name(), app.endpoints()); Ok::<_, BoxError>(()) })
//!     .build()?;
//!
//! let handle = app.handle();
//! let running = tokio::spawn(app.run());
//! let mut watcher = registry.watch("greeter")?;
//! while watcher.next().await.unwrap().is_empty() {}
//! handle.stop();
//! let stopped = running.await??;
//! assert_eq!(stopped.reason, StopReason::Told);
//! assert!(stopped.deregistered && !stopped.forced);
//! # Ok(())
//! # }
//! ```
//!
//! | Kratos | here |
//! |---|---|
//! | `kratos.New`, `Run` | [`App::builder`], [`App::run`] |
//! | `Stop` | [`AppHandle::stop`] |
//! | `kratos.FromContext` | [`AppInfo`], which hooks are given and servers hand to their handlers |
//! | `BeforeStart` … `AfterStop` | [`AppBuilder::before_start`] … [`after_stop`](AppBuilder::after_stop) |
//! | `RegistrarTimeout`, `StopTimeout` | [`AppBuilder::registrar_timeout`], [`stop_timeout`](AppBuilder::stop_timeout) |

use std::fmt;
use std::future::Future;

use periplus_core::ServiceInstance;

use crate::runtime::Runtime;

mod builder;
mod error;
mod handle;
mod hooks;
mod info;
mod run;
mod server;
mod slots;

pub use builder::{AppBuilder, BuildError};
pub use error::{AppError, StopReason, Stopped};
pub use handle::AppHandle;
pub use info::AppInfo;
pub use periplus_core::app::{Ending, LifecycleState, Phase, RegistryDown, WhenEnded};
pub use server::{BoxError, Control, Server, Serving, Stage, Stop};

/// An application, ready to run.
#[must_use = "an application does nothing until it runs"]
pub struct App<R> {
    parts: AppBuilder<R>,
    instance: ServiceInstance,
    handle: AppHandle,
}

impl<R: Runtime> App<R> {
    /// Begins an application on the runtime's default: with tokio, the one that this is called in.
    pub fn builder() -> AppBuilder<R>
    where
        R: Default,
    {
        Self::builder_on(R::default())
    }

    /// Begins an application on a runtime.
    pub fn builder_on(runtime: R) -> AppBuilder<R> {
        AppBuilder::new(runtime)
    }

    /// A handle to it, for the rest of the program.
    #[must_use]
    pub fn handle(&self) -> AppHandle {
        self.handle.clone()
    }

    /// Runs until it is told to stop, or something fails. It ends within the times that it was given; for a server that
    /// does not stop in time, that is with its connections cut.
    ///
    /// Dropping the future stops it at once: what runs is dropped, and the registration ends, though nobody waits for
    /// that.
    ///
    /// # Errors
    /// Says what failed first. Nothing is registered and nothing runs any more all the same.
    pub fn run(self) -> impl Future<Output = Result<Stopped, AppError>> + use<R> {
        run::Running::new(self.parts, self.instance, self.handle)
    }
}

impl<R> fmt::Debug for App<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("instance", &self.instance).finish_non_exhaustive()
    }
}
