//! A service without its types, so that the server is compiled once.

use std::error::Error;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use periplus::app::{BoxError, Serving};
use tower_service::Service;

use crate::net::Task;

/// An answer without its type.
pub type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What an [`HttpServer`](super::HttpServer) serves: every [`tower_service::Service`] that answers HTTP requests, such as
/// an axum `Router`. It is implemented for all of them, and for nothing else.
pub trait HttpService: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request<Incoming>) -> Task<Result<Answer, BoxError>>;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn answer(&self, request: Request<Incoming>) -> Task<Result<Answer, BoxError>> {
        let mut service = self.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let answer = service.call(request).await.map_err(Into::into)?;
            Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// What answers requests.
#[derive(Clone)]
pub(super) struct Handler {
    service: Arc<dyn HttpService>,
    serving: Option<Serving>,
}

impl Handler {
    pub(super) fn new(service: impl HttpService) -> Self {
        Self { service: Arc::new(service), serving: None }
    }

    /// The same, for the application that it belongs to.
    pub(super) fn of(&self, serving: &Serving) -> Self {
        Self { service: Arc::clone(&self.service), serving: Some(serving.clone()) }
    }
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Answer;
    type Error = BoxError;
    type Future = Task<Result<Answer, BoxError>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(serving) = &self.serving {
            request.extensions_mut().insert(serving.info().clone());
            request.extensions_mut().insert(serving.stop());
        }
        self.service.answer(request)
    }
}
