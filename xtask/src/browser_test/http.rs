//! Requests to programs on this machine, one after another over one connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Failure, Result};

/// How long an answer may take.
const CALL: Duration = Duration::from_secs(60);

/// A program that answers requests. It is connected to when it is first asked, and again when it has hung up.
#[derive(Debug)]
pub(super) struct Http {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// One at this host and port.
    pub(super) fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), stream: None }
    }

    /// Sends a request and returns the status and the body of the answer.
    pub(super) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        let is_old = self.stream.is_some();
        let answer = self.exchange(method, path, headers, body);
        if answer.is_err() {
            self.stream = None;
            // The other end may have hung up between two requests.
            if is_old {
                return self.exchange(method, path, headers, body).inspect_err(|_| self.stream = None);
            }
        }
        answer
    }

    /// Sends a request that has to succeed, and returns what it is answered.
    ///
    /// # Errors
    /// If there is no answer, or a refusal: with what it says.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self
            .send(method, path, &[], &body)
            .map_err(|error| Failure::new(format!("{} does not answer {method} {path}: {error}", self.address)))?;
        if !(200..300).contains(&status) {
            let says = String::from_utf8_lossy(&answer).into_owned();
            return Err(Failure::new(format!("{method} {path} is refused with {status}")).with_hint(&says));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        let address = &self.address;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        head.push_str(body);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(address)?;
                stream.set_read_timeout(Some(CALL))?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(head.as_bytes())?;
        let mut lines = std::iter::from_fn(|| {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(0) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => Some(Ok(line.trim_end().to_owned())).filter(|_| !line.trim_end().is_empty()),
                Err(error) => Some(Err(error)),
            }
        });
        let first = lines.next().transpose()?.unwrap_or_default();
        let status = first.split(' ').nth(1).unwrap_or_default().parse().map_err(io::Error::other)?;
        let mut length = 0;
        for line in lines {
            let line = line?;
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}
