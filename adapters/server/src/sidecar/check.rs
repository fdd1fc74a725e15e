//! Whether a program works.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use periplus_core::Endpoint;
use tokio::net::TcpStream;

use crate::client;

/// What shows that a program works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// An HTTP server answers with a status of success.
    Http(http::Uri),
    /// A port accepts connections.
    Tcp {
        /// The host; an IPv6 address without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Check {
    /// That an endpoint accepts connections.
    pub(super) fn of_endpoint(endpoint: &Endpoint) -> Option<Self> {
        let parts = endpoint.parts().ok()?;
        Some(Self::Tcp { host: parts.host.into(), port: parts.port })
    }

    async fn run(&self, timeout: Duration) -> anyhow::Result<()> {
        match self {
            Self::Http(url) => client::probe(url, timeout).await.with_context(|| url.to_string()),
            Self::Tcp { host, port } => {
                let connect = TcpStream::connect((host.as_str(), *port));
                let connected = tokio::time::timeout(timeout, connect).await.context("no answer in time");
                connected.and_then(|connected| Ok(connected?)).with_context(|| format!("{host} port {port}"))?;
                Ok(())
            }
        }
    }
}

/// Runs all checks, one after the other, up to the first that fails.
pub(super) async fn all(checks: &[Check], timeout: Duration) -> Result<(), String> {
    for check in checks {
        check.run(timeout).await.map_err(|error| format!("{error:#}"))?;
    }
    Ok(())
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|_| "write it as http://HOST:PORT/PATH or tcp://HOST:PORT".into())
    }
}

fn parse(text: &str) -> anyhow::Result<Check> {
    if text.starts_with("tcp://") {
        let endpoint = Endpoint::new(text)?;
        return Check::of_endpoint(&endpoint).context("no host and port");
    }
    let url: http::Uri = text.parse()?;
    ensure!(url.scheme_str() == Some("http") && url.host().is_some());
    Ok(Check::Http(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_an_http_url_or_a_port() {
        let check: Check = "tcp://[::1]:80".parse().unwrap();
        assert_eq!(check, Check::Tcp { host: "::1".into(), port: 80 });
        assert!(matches!("http://localhost:8000/health?x=1".parse(), Ok(Check::Http(_))));
        for wrong in ["https://h/", "tcp://h", "localhost:80", "", "http:///x"] {
            assert!(wrong.parse::<Check>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_port_that_accepts_works_and_one_that_refuses_does_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let check = Check::Tcp { host: "127.0.0.1".into(), port };
        assert_eq!(all(std::slice::from_ref(&check), Duration::from_secs(5)).await, Ok(()));
        drop(listener);
        let reason = all(&[check], Duration::from_secs(5)).await.unwrap_err();
        assert!(reason.contains(&port.to_string()), "{reason}");
    }
}
