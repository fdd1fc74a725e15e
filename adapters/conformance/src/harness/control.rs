//! The harness, commanded over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, ORIGIN,
};
use hyper::http::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use periplus_tokio::core::http::{Input, Method as Verb, Request as Asked};
use periplus_tokio::{Runtime as _, Tokio};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::arena::Arena;

struct Control {
    binary: PathBuf,
    outsider: Tokio,
    arenas: Mutex<Arenas>,
}

#[derive(Default)]
struct Arenas {
    last: u64,
    open: BTreeMap<u64, Arc<Mutex<Arena>>>,
}

/// What a request came to: a status and a body.
type Answer = (u16, Vec<u8>);

/// Listens; what is returned serves as long as it is polled.
pub(super) async fn listen(binary: PathBuf) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let control = Arc::new(Control { binary, outsider: Tokio::new(), arenas: Mutex::default() });
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let control = Arc::clone(&control);
            let service = service_fn(move |request| {
                let control = Arc::clone(&control);
                async move { Ok::<_, Infallible>(control.serve(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    };
    Ok((address, serve))
}

impl Control {
    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match self.answer(request).await {
            Ok(answer) => answer,
            Err(error) => (500, error.to_string().into_bytes()),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, PUT, POST, PATCH, DELETE"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        if request.method() == Method::OPTIONS {
            return Ok((204, Vec::new()));
        }
        let target = request.uri().clone();
        let query = pairs(target.query().unwrap_or_default());
        let mut segments = target.path().trim_start_matches('/').splitn(4, '/');
        if segments.next() != Some("arenas") {
            return Ok((404, Vec::new()));
        }
        let Some(id) = segments.next() else {
            let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
            return self.open(&query, origin).await;
        };
        let Ok(id) = id.parse::<u64>() else { return Ok((404, Vec::new())) };
        let command = segments.next().unwrap_or_default();
        if command == "close" {
            self.arenas.lock().await.open.remove(&id);
            return Ok((200, b"{}".to_vec()));
        }
        let arena = self.arenas.lock().await.open.get(&id).cloned();
        let Some(arena) = arena else { return Ok((404, Vec::new())) };
        if command == "act" {
            let server = arena.lock().await.process.address;
            let path = segments.next().unwrap_or_default();
            let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
            return self.act(format!("http://{server}/{path}{query}"), request).await;
        }
        let answer = arena.lock().await.command(command, &query).await?;
        Ok(answer.map_or_else(|| (404, Vec::new()), |body| (200, body.into_bytes())))
    }

    async fn open(&self, flags: &[(String, String)], origin: Option<&str>) -> io::Result<Answer> {
        let arena = Arena::open(self.binary.clone(), flags, origin).await?;
        let mut arenas = self.arenas.lock().await;
        arenas.last += 1;
        let id = arenas.last;
        let opened = serde_json::to_vec(&arena.opened(id))?;
        arenas.open.insert(id, Arc::new(Mutex::new(arena)));
        Ok((200, opened))
    }

    /// Does something at the registry itself, as an outsider.
    async fn act(&self, url: String, request: Request<Incoming>) -> io::Result<Answer> {
        let method = match *request.method() {
            Method::PUT => Verb::Put,
            Method::POST => Verb::Post,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => Verb::Get,
        };
        let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
        let headers = vec![("content-type".into(), "application/json".into())];
        let mut exchange = self.outsider.request(Asked { method, url, headers, body, streaming: false });
        let mut answer = (0, Vec::new());
        loop {
            match poll_fn(|cx| Pin::new(&mut exchange).poll_next(cx)).await {
                Some(Input::Response(head)) => answer.0 = head.status,
                Some(Input::Chunk(chunk)) => answer.1.extend_from_slice(&chunk),
                Some(Input::End) => return Ok(answer),
                Some(Input::Failure(failure)) => return Ok((502, failure.reason.into_bytes())),
                None => return Ok((502, Vec::new())),
            }
        }
    }
}

/// The pairs of a query. Nothing in it needs an encoding.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
