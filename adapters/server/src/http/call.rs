//! A request on its way through the server: let in, routed, taken in, answered.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use periplus_core::Caller;
use periplus_core::protocol::RENEWALS_LIMIT;
use serde::Deserialize;

use super::answer::{self, Answer};
use super::body::Body;
use super::connection::Connection;
use super::hub::Hub;
use super::problem::Problem;
use super::query::Query;
use super::route::{self, Class, Found, Operation, Route};
use super::security;
use super::{
    Server, dashboard, events, find, history, holder, intake, openapi, operator, reads, status, targets, upstream,
    watch, watches,
};

/// A batch of renewals is longer than any other body: so much a lease, and something around them.
const RENEWALS_BYTES: usize = RENEWALS_LIMIT * 40 + 1024;

/// A request, let in and taken in.
pub(super) struct Call<'a> {
    pub(super) server: &'a Arc<Server>,
    /// The registry as of the request's beginning.
    pub(super) hub: Arc<Hub>,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) head: &'a Parts,
    /// The encoded names in the path.
    pub(super) names: [&'a str; 2],
    pub(super) query: Query<'a>,
    pub(super) body: &'a [u8],
}

impl Call<'_> {
    /// Who calls.
    pub(super) fn caller(&self) -> Arc<Caller> {
        self.connection.caller(&self.head.headers)
    }

    /// The body as a message.
    pub(super) fn message<'b, T: Deserialize<'b>>(&'b self) -> Result<T, Problem> {
        intake::parse(self.body)
    }

    /// Where a stream broke off, if the caller says so.
    pub(super) fn last_event_id(&self) -> Result<Option<&str>, Problem> {
        let Some(id) = self.head.headers.get("last-event-id") else {
            return Ok(None);
        };
        let id = id.to_str().map_err(|_| {
            let message = "Last-Event-ID is not the text that an event gave";
            Problem::invalid("invalid_cursor", "last-event-id", message)
        })?;
        Ok(Some(id).filter(|id| !id.is_empty()))
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let busy = connection.busy();
    let (head, body) = request.into_parts();
    let server = connection.server();
    let admitted = match server.doorkeeper.admit(&head) {
        Ok(admitted) => admitted,
        Err(problem) => {
            server.metrics.on_refusal(None, problem.code);
            return Ok(answer::refusal(server.hub().epoch(), &problem).map(|body| body.of(busy)));
        }
    };
    let mut response = if security::is_preflight(&head.method, &admitted) {
        security::preflight()
    } else {
        respond(&connection, &head, body, admitted.from_page).await
    };
    if let Some(origin) = admitted.cors {
        security::share(&mut response, origin);
    }
    Ok(response.map(|body| body.of(busy)))
}

async fn respond(connection: &Arc<Connection>, head: &Parts, body: Incoming, from_page: bool) -> Response<Body> {
    let server = connection.server();
    let hub = server.hub();
    let refuse = |place, problem: Problem| {
        server.metrics.on_refusal(place, problem.code);
        tracing::debug!(code = problem.code, peer = %connection.peer(), path = head.uri.path(), "refused");
        answer::refusal(hub.epoch(), &problem)
    };
    let (route, place, names) = match route::find(&head.method, head.uri.path()) {
        Found::Route(route, place, names) => (route, place, names),
        Found::OtherMethods(allow) => {
            let message = format!("there is no {} here: use {allow}", head.method);
            let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
            return refuse(None, problem.allowing(allow));
        }
        Found::Nothing => {
            let message = "there is nothing here: see /openapi.json for what there is";
            return refuse(None, Problem::not_found(message));
        }
    };
    let body = match take_in(server, route, head, body, from_page).await {
        Ok(body) => body,
        Err(problem) => return refuse(Some(place), problem),
    };
    let call = Call {
        server,
        hub: Arc::clone(&hub),
        connection,
        head,
        names,
        query: Query::new(head.uri.query()),
        body: &body,
    };
    let answer = match &server.upstream {
        None => dispatch(route.operation, &call),
        Some(upstream) => upstream::dispatch(upstream, route.operation, &call).await,
    };
    match answer {
        Ok(response) => {
            server.metrics.on_answer(place);
            response
        }
        Err(problem) => refuse(Some(place), problem),
    }
}

/// Checks whether there is room for what is asked, and reads the body if the operation has one.
async fn take_in(
    server: &Server,
    route: &Route,
    head: &Parts,
    body: Incoming,
    from_page: bool,
) -> Result<Bytes, Problem> {
    let refused = match route.class {
        Class::Watch => 1,
        Class::Query => 2,
        Class::Registration => 3,
        Class::Vital => u8::MAX,
    };
    if server.pressure.level() >= refused {
        let what = ["new watches", "queries", "registrations"];
        return Err(Problem::overloaded(what[usize::from(refused) - 1]).closing());
    }
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Ok(Bytes::new());
    }
    security::check_type(&head.headers, from_page)?;
    let limits = &server.config.limits;
    let limit = match route.operation {
        Operation::Renew => limits.body_bytes.max(RENEWALS_BYTES),
        _ => limits.body_bytes,
    };
    intake::read(body, limit, limits.body_timeout).await
}

pub(super) fn dispatch(operation: Operation, call: &Call<'_>) -> Answer {
    match operation {
        Operation::Renew => holder::renew(call),
        Operation::Register => holder::register(call),
        Operation::Update => holder::update(call),
        Operation::Deregister => holder::deregister(call),
        Operation::List => reads::list(call),
        Operation::Watch => watch::watch(call),
        Operation::WatchMany => watch::watch_many(call),
        Operation::Instance => reads::instance(call),
        Operation::Services => reads::services(call),
        Operation::Instances => find::instances(call),
        Operation::Overlay => operator::overlay(call),
        Operation::ClearOverlay => operator::clear_overlay(call),
        Operation::Evict => operator::evict(call),
        Operation::Settle => operator::settle(call),
        Operation::Namespaces => reads::namespaces(call),
        Operation::Overlays => reads::overlays(call),
        Operation::Leases => reads::leases(call),
        Operation::Watches => watches::watches(call),
        Operation::Applied => watches::applied(call),
        Operation::Status => status::status(call),
        Operation::Trends => status::trends(call),
        Operation::History => history::history(call),
        Operation::Events => events::events(call),
        Operation::Targets => targets::targets(call),
        Operation::Alive => status::alive(call),
        Operation::Ready => status::ready(call),
        Operation::Metrics => status::metrics(call),
        Operation::Document => openapi::document(call),
        Operation::Page => dashboard::page(call),
        Operation::Asset => dashboard::asset(call),
    }
}
