//! A server for anything else: a future.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use periplus::BoxFuture;
use periplus::app::{BoxError, Server, Serving};
use periplus::core::Endpoint;
use periplus_hyper::host::advertised;
use periplus_hyper::listen_addresses;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A future that an application runs as a server, in a task of its own.
///
/// It runs until [`Stop::stopping`](periplus::app::Stop::stopping) says that it is to end, and is aborted if it does not.
/// Tasks that it spawns are its own affair: a `tokio::task::JoinSet` in it ends them with it.
#[must_use = "it serves once an application runs it"]
pub struct PlainServer {
    name: String,
    endpoints: Vec<Endpoint>,
    listening: Option<Listening>,
    listener: Option<TcpListener>,
    run: Run,
}

/// Where to listen, and under which scheme.
struct Listening {
    scheme: String,
    address: String,
}

type Run = Box<dyn FnOnce(Option<TcpListener>, Serving) -> BoxFuture<'static, Result<(), BoxError>> + Send>;

impl PlainServer {
    /// Runs a future that is not to be called from outside, or that listens by itself. It counts as accepting as soon as
    /// it runs.
    pub fn new<F, E>(name: impl Into<String>, run: impl FnOnce(Serving) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let run: Run = Box::new(move |_, serving| {
            let run = run(serving);
            Box::pin(async move { run.await.map_err(Into::into) })
        });
        Self { name: name.into(), endpoints: Vec::new(), listening: None, listener: None, run }
    }

    /// Runs a future that accepts from a listener at `HOST:PORT`, or at `:PORT` of all addresses. Its endpoint has this
    /// scheme.
    pub fn tcp<F, E>(
        scheme: impl Into<String>,
        address: impl Into<String>,
        run: impl FnOnce(TcpListener, Serving) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let run: Run = Box::new(move |listener, serving| {
            let run = listener.map(|listener| run(listener, serving));
            Box::pin(async move { run.ok_or("the server was not bound")?.await.map_err(Into::into) })
        });
        let (scheme, address) = (scheme.into(), address.into());
        let listening = Some(Listening { scheme: scheme.clone(), address });
        Self { name: scheme, endpoints: Vec::new(), listening, listener: None, run }
    }

    /// Adds an endpoint at which others reach it.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }
}

impl Server for PlainServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>> {
        Box::pin(async {
            if let Some(Listening { scheme, address }) = &self.listening {
                let listener = listen(address).await;
                let listener = listener.map_err(|error| format!("cannot listen at {address}: {error}"))?;
                if self.endpoints.is_empty() {
                    self.endpoints.push(advertised(scheme, address, listener.local_addr()?)?);
                }
                self.listener = Some(listener);
            }
            Ok(self.endpoints.clone())
        })
    }

    fn serve(mut self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            serving.accepting();
            let work = (self.run)(self.listener.take(), serving);
            match Aborting(tokio::spawn(work)).await {
                Ok(result) => result,
                Err(error) => Err(error.into()),
            }
        })
    }
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in listen_addresses(address) {
        result = TcpListener::bind(address).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// A task that ends with whoever waits for it.
struct Aborting<T>(JoinHandle<T>);

impl<T> Future for Aborting<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
