//! Our server: HTTP/1.1, one connection to a lane.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use memchr::memmem;

use super::clock::Clock;
use super::http::Connection;
use super::target::{Lane, Target, Watch};
use super::target::{SENT, UNSENT, instance};

/// A server of ours.
#[derive(Clone, Copy, Debug)]
pub struct Periplus {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Target for Periplus {
    type Lane = Client;
    type Watch = Events;

    async fn lanes(&self, count: usize) -> Result<Vec<Client>> {
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            lanes.push(Client(Connection::open(self.address).await?));
        }
        Ok(lanes)
    }

    async fn watch(&self, service: &str) -> Result<Events> {
        let mut connection = Connection::open(self.address).await?;
        connection.push("GET", &format!("/v1/watch?service={service}"), "");
        connection.send().await?;
        connection.stream_head().await?;
        // The first line that begins with `id:` ends the snapshot.
        let mut seen = Vec::new();
        while memmem::find(&seen, b"\nid:").is_none() {
            seen.extend_from_slice(connection.read().await?);
        }
        Ok(Events(connection))
    }

    fn removal(&self, _service: &str) -> Vec<u8> {
        b"event: remove".to_vec()
    }
}

/// A client of ours.
#[derive(Debug)]
pub struct Client(Connection);

impl Client {
    async fn call(&mut self, method: &str, path: &str, body: &str) -> Result<&[u8]> {
        self.0.push(method, path, body);
        self.0.send().await?;
        self.0.answer().await
    }
}

fn path(service: &str, id: &str) -> String {
    format!("/v1/services/{service}/instances/{id}")
}

impl Lane for Client {
    type Lease = String;

    async fn register(&mut self, service: &str, id: &str, ttl: Duration) -> Result<String> {
        let mut body = instance(service, id, UNSENT);
        body.pop();
        let incarnation = rand::random::<u128>();
        body += &format!(r#","ttl":"{}s","incarnation":"{incarnation:032x}","sequence":1}}"#, ttl.as_secs());
        let answer = self.call("PUT", &path(service, id), &body).await?;
        let lease = text(answer, br#""lease":""#).context("the answer has no lease")?;
        Ok(lease.to_owned())
    }

    async fn change(&mut self, service: &str, id: &str, lease: &String, clock: &Clock) -> Result<()> {
        let body = format!(r#"{{"lease":"{lease}","metadata":{{"sent":"{}"}}}}"#, clock.stamp());
        self.call("PATCH", &path(service, id), &body).await?;
        Ok(())
    }

    async fn renew(&mut self, leases: &[String]) -> Result<()> {
        for lease in leases {
            self.0.push("POST", "/v1/leases/renew", &format!(r#"{{"leases":["{lease}"]}}"#));
        }
        self.0.send().await?;
        for _ in leases {
            all_renewed(self.0.answer().await?, 1)?;
        }
        Ok(())
    }

    async fn renew_batch(&mut self, leases: &[String]) -> Result<()> {
        let body = format!(r#"{{"leases":["{}"]}}"#, leases.join(r#"",""#));
        all_renewed(self.call("POST", "/v1/leases/renew", &body).await?, leases.len())
    }

    async fn list(&mut self, service: &str) -> Result<usize> {
        let answer = self.call("GET", &format!("/v1/services/{service}"), "").await?;
        Ok(memmem::find_iter(answer, SENT).count())
    }
}

fn all_renewed(answer: &[u8], leases: usize) -> Result<()> {
    let renewed = memmem::find(answer, format!(r#""renewed":{leases}"#).as_bytes());
    ensure!(renewed.is_some(), "not renewed: {}", String::from_utf8_lossy(answer));
    Ok(())
}

/// The text behind a marker, up to the next quotation mark.
fn text<'a>(answer: &'a [u8], marker: &[u8]) -> Option<&'a str> {
    let rest = &answer[memmem::find(answer, marker)? + marker.len()..];
    str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
}

/// The events of a service.
#[derive(Debug)]
pub struct Events(Connection);

impl Watch for Events {
    async fn next(&mut self) -> Result<&[u8]> {
        self.0.read().await
    }
}
