//! The two runtimes: one text, but for who runs the tasks.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use periplus::Runtime;
use periplus::core::Instant;
use periplus::core::http::Request;
use periplus::driver::Driver;
use periplus_hyper::host::{self, Storage};
use periplus_hyper::{Exchange, HttpClient, Io, Net, Task};

use crate::net::AsyncIoNet;
use crate::sleep::Sleep;
#[cfg(feature = "app")]
use periplus::{Signal, Signals};
#[cfg(feature = "tls")]
use periplus::{TlsFiles, TlsFilesError};
#[cfg(feature = "tls")]
use periplus_hyper::TlsConfig;

macro_rules! runtime {
    ($(#[$about:meta])* $name:ident, $spawn:expr) => {
        $(#[$about])*
        ///
        /// Cheap to clone; clients of clones share connections and storage. Time is a clock that counts suspend where
        /// the platform can ([`host::now`]); after a suspend a client finds out within five seconds what is due.
        /// Randomness is the system's. What clients want to keep is kept if there is
        /// [storage](Self::with_storage).
        #[derive(Clone, Debug)]
        pub struct $name {
            client: HttpClient,
            storage: Option<Arc<Storage>>,
        }

        impl $name {
            /// The runtime. It is one for the whole process, and starts its threads when it is first used.
            #[must_use]
            pub fn new() -> Self {
                Self { client: HttpClient::new(AsyncIoNet($spawn)), storage: None }
            }

            /// With TLS of one's own: other roots, a certificate to show.
            #[cfg(feature = "tls")]
            #[must_use]
            pub fn with_tls(mut self, tls: &TlsConfig) -> Self {
                self.client = HttpClient::with_tls(AsyncIoNet($spawn), tls);
                self
            }

            /// With a directory for what clients want to keep; it is made if it is not there. Two processes must not
            /// share one.
            ///
            /// # Errors
            /// If it cannot be made.
            pub fn with_storage(mut self, directory: impl Into<PathBuf>) -> io::Result<Self> {
                self.storage = Some(Arc::new(Storage::new(directory)?));
                Ok(self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        /// The network of the runtime, for what dials or listens on it.
        impl Net for $name {
            fn resolve(&self, host: &str, port: u16) -> Task<io::Result<Vec<SocketAddr>>> {
                AsyncIoNet($spawn).resolve(host, port)
            }

            fn dial(&self, to: SocketAddr) -> Task<io::Result<Box<dyn Io>>> {
                AsyncIoNet($spawn).dial(to)
            }

            fn sleep(&self, span: Duration) -> Task<()> {
                AsyncIoNet($spawn).sleep(span)
            }

            fn spawn(&self, task: Task<()>) {
                ($spawn)(task);
            }
        }

        impl Runtime for $name {
            type Sleep = Sleep;
            type Exchange = Exchange;

            fn now(&self) -> Instant {
                host::now()
            }

            fn sleep_until(&self, at: Instant) -> Sleep {
                Sleep::until(at)
            }

            fn request(&self, request: Request) -> Exchange {
                self.client.request(request)
            }

            fn spawn(&self, driver: Driver<Self>) {
                ($spawn)(Box::pin(driver));
            }

            fn entropy(&self, bytes: &mut [u8]) {
                host::entropy(bytes);
            }

            #[cfg(feature = "tls")]
            fn with_tls_files(&self, files: &TlsFiles) -> Result<Self, TlsFilesError> {
                let identity = files.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
                let tls = TlsConfig::of_files(files.roots.as_deref(), identity);
                Ok(self.clone().with_tls(&tls.map_err(|error| TlsFilesError(error.to_string()))?))
            }

            #[cfg(feature = "app")]
            fn signals(&self, wanted: &[Signal]) -> io::Result<Signals> {
                crate::servers::listen(wanted)
            }

            fn load(&self, name: &str) -> Option<Vec<u8>> {
                self.storage.as_ref()?.load(name)
            }

            fn store(&self, name: &str, bytes: Vec<u8>) {
                if let Some(storage) = self.storage.clone() {
                    storage.put(name, bytes);
                    blocking::unblock(move || storage.flush()).detach();
                }
            }
        }
    };
}

#[cfg(feature = "async-std")]
runtime! {
    /// async-std, as a runtime for clients.
    AsyncStd, |task| drop(async_std::task::spawn(task))
}

#[cfg(feature = "smol")]
runtime! {
    /// smol's global executor, as a runtime for clients.
    Smol, |task| smol::spawn(task).detach()
}
