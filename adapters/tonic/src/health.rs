//! Asking a server whether it serves, by gRPC's health protocol.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Uri};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_service::Service;

use crate::body::Original;
use crate::connection::Sender;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// It serves, or does not.
    Serving(bool),
    /// It does not know the protocol, and so serves.
    Unknown,
    /// It says nothing more.
    Ended(Status),
}

/// Follows what a server says of itself.
pub(crate) struct Watch(State);

enum State {
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<HealthCheckResponse>, Status>> + Send>>),
    Open(Box<Streaming<HealthCheckResponse>>),
    Over,
}

impl Watch {
    /// Asks for the server as a whole, which is the service without a name.
    pub(crate) fn new(sender: Sender, origin: Uri) -> Self {
        let mut client = HealthClient::with_origin(One(sender), origin);
        Self(State::Opening(Box::pin(async move {
            Ok(client.watch(HealthCheckRequest { service: String::new() }).await?.into_inner())
        })))
    }

    /// Asks nobody.
    pub(crate) const fn nobody() -> Self {
        Self(State::Over)
    }

    /// The next word. Waits for ever when there is none to come. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Health {
        loop {
            let ended = match &mut self.0 {
                State::Opening(opening) => match opening.await {
                    Ok(stream) => {
                        self.0 = State::Open(Box::new(stream));
                        continue;
                    }
                    Err(status) => status,
                },
                State::Open(stream) => match stream.message().await {
                    Ok(Some(response)) => return Health::Serving(response.status() == ServingStatus::Serving),
                    Ok(None) => Status::unavailable("it ended its health stream"),
                    Err(status) => status,
                },
                State::Over => std::future::pending().await,
            };
            self.0 = State::Over;
            return if ended.code() == Code::Unimplemented { Health::Unknown } else { Health::Ended(ended) };
        }
    }
}

/// One connection, as tonic's clients want it.
struct One(Sender);

impl Service<Request<Body>> for One {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        let attempt = Original::new(body).attempt().expect("nothing of it was read");
        Box::pin(self.0.send_request(Request::from_parts(head, attempt)))
    }
}
