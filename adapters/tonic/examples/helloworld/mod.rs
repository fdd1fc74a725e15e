//! `helloworld.Greeter`, as tonic's generator would write it from
//!
//! ```proto
//! syntax = "proto3";
//! package helloworld;
//! service Greeter { rpc SayHello (HelloRequest) returns (HelloReply); }
//! message HelloRequest { string name = 1; }
//! message HelloReply { string message = 1; }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::server::{NamedService, UnaryService};
use tonic::{IntoRequest, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

const SAY_HELLO: &str = "/helloworld.Greeter/SayHello";

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloReply {
    #[prost(string, tag = "1")]
    pub(crate) message: String,
}

/// The client, over any channel.
#[derive(Clone)]
#[allow(dead_code, reason = "not all who include this call")]
pub(crate) struct GreeterClient<T>(Grpc<T>);

#[allow(dead_code, reason = "not all who include this call")]
impl<T> GreeterClient<T>
where
    T: GrpcService<Body>,
    T::Error: Into<BoxError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    pub(crate) fn new(channel: T) -> Self {
        Self(Grpc::new(channel))
    }

    pub(crate) async fn say_hello(
        &mut self,
        request: impl IntoRequest<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
        let codec = ProstCodec::<HelloRequest, HelloReply>::default();
        self.0.unary(request.into_request(), PathAndQuery::from_static(SAY_HELLO), codec).await
    }
}

/// Who greets.
pub(crate) trait Greeter: Send + Sync + 'static {
    fn say_hello(&self, request: HelloRequest) -> impl Future<Output = Result<HelloReply, Status>> + Send;
}

/// The server, for whoever greets.
pub(crate) struct GreeterServer<G>(Arc<G>);

#[allow(dead_code, reason = "not all who include this serve")]
impl<G: Greeter> GreeterServer<G> {
    pub(crate) fn new(greeter: G) -> Self {
        Self(Arc::new(greeter))
    }
}

impl<G> Clone for GreeterServer<G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<G> NamedService for GreeterServer<G> {
    const NAME: &'static str = "helloworld.Greeter";
}

impl<G: Greeter> UnaryService<HelloRequest> for GreeterServer<G> {
    type Response = HelloReply;
    type Future = Answer<Result<Response<HelloReply>, Status>>;

    fn call(&mut self, request: Request<HelloRequest>) -> Self::Future {
        let greeter = Arc::clone(&self.0);
        Box::pin(async move { Ok(Response::new(greeter.say_hello(request.into_inner()).await?)) })
    }
}

impl<G: Greeter> Service<http::Request<Body>> for GreeterServer<G> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != SAY_HELLO {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let codec = ProstCodec::<HelloReply, HelloRequest>::default();
            Ok(tonic::server::Grpc::new(codec).unary(service, request).await)
        })
    }
}
