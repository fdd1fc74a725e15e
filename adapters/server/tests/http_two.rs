//! The same over HTTP/2, with many requests on one connection.
#![cfg(unix)]

mod common;
mod http;

use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use http::Server;

async fn connect(server: &Server) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    server: &Server,
    method: &str,
    path: &str,
    body: String,
) -> Response<Incoming> {
    let uri = format!("http://{}{path}", server.address);
    let request = Request::builder().method(method).uri(uri).body(Full::from(body)).unwrap();
    tokio::time::timeout(common::PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
}

async fn json(response: Response<Incoming>) -> Value {
    assert_eq!(response.status(), 200);
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn one_connection_registers_renews_lists_and_watches() {
    let server = Server::start();
    let mut sender = connect(&server).await;
    let mut watch = send(&mut sender, &server, "GET", "/v1/watch?service=web", String::new()).await.into_body();
    let mut seen = String::new();
    let path = "/v1/services/web/instances/a";
    let registered = json(send(&mut sender, &server, "PUT", path, "{}".into()).await).await;
    let renew = json!({"leases": [registered["lease"]]}).to_string();
    let renewed = json(send(&mut sender, &server, "POST", "/v1/leases/renew", renew).await).await;
    assert_eq!(renewed["renewed"], 1);
    let list = json(send(&mut sender, &server, "GET", "/v1/services/web", String::new()).await).await;
    assert_eq!(list["instances"][0]["id"], "a");
    while !seen.contains("event: put") {
        let frame = tokio::time::timeout(Duration::from_secs(30), watch.frame()).await.unwrap().unwrap().unwrap();
        seen += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    let named = seen.strip_prefix("event: watch\n").and_then(|rest| rest.split_once("\n\n"));
    assert!(named.is_some_and(|(_, rest)| rest.starts_with("event: snapshot\n")), "{seen}");
}

#[tokio::test]
async fn a_foreign_authority_is_refused() {
    let server = Server::start();
    let mut sender = connect(&server).await;
    let request = Request::get("http://evil.example/v1/services").body(Full::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn requests_beyond_the_limit_of_a_connection_wait() {
    let server = Server::start_with(&["--limits-streams-per-connection=2"]);
    let mut sender = connect(&server).await;
    let first = send(&mut sender, &server, "GET", "/v1/watch?service=a", String::new()).await;
    let second = send(&mut sender, &server, "GET", "/v1/watch?service=b", String::new()).await;
    let uri = format!("http://{}/healthz", server.address);
    let third = sender.send_request(Request::get(uri).body(Full::default()).unwrap());
    let mut third = std::pin::pin!(third);
    let waited = tokio::time::timeout(Duration::from_millis(200), &mut third).await;
    assert!(waited.is_err(), "there is room for two only");
    drop(first);
    let answered = tokio::time::timeout(common::PATIENCE, third).await.unwrap().unwrap();
    assert_eq!(answered.status(), 200);
    drop(second);
}
