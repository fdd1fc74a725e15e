//! A service without its types, so that the server is compiled once.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use periplus::AppInfo;
use periplus::app::BoxError;
use tower_service::Service;

use crate::net::Task;

/// An answer without its type.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

type Call = dyn Fn(Request<Incoming>) -> Task<Result<Answer, BoxError>> + Send + Sync;

/// What answers requests.
#[derive(Clone)]
pub(super) struct Handler {
    call: Arc<Call>,
    info: Option<AppInfo>,
}

impl Handler {
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let call = move |request| -> Task<Result<Answer, BoxError>> {
            let mut service = service.clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let answer = service.call(request).await.map_err(Into::into)?;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        };
        Self { call: Arc::new(call), info: None }
    }

    /// The same, with the application that it belongs to.
    pub(super) fn with_info(&self, info: &AppInfo) -> Self {
        Self { call: Arc::clone(&self.call), info: Some(info.clone()) }
    }
}

impl hyper::service::Service<Request<Incoming>> for Handler {
    type Response = Answer;
    type Error = BoxError;
    type Future = Task<Result<Answer, BoxError>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(info) = &self.info {
            request.extensions_mut().insert(info.clone());
        }
        (self.call)(request)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}
