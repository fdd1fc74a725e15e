//! HTTP/1.1 as far as a load generator needs it: requests as bytes, answers by their length.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that stays open. Requests may be put behind one another; answers come in their order.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    requests: Vec<u8>,
    input: Vec<u8>,
    /// What of `input` is not used up.
    unread: Range<usize>,
    /// The body of the latest answer, if it came in chunks.
    joined: Vec<u8>,
}

/// How long a body is.
enum Length {
    Bytes(usize),
    Chunked,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let input = vec![0; 64 * 1024];
        let (requests, joined) = (Vec::new(), Vec::new());
        Ok(Self { stream, host: address.to_string(), requests, input, unread: 0..0, joined })
    }

    /// Puts a request behind those that wait to be sent.
    pub fn push(&mut self, method: &str, path: &str, body: &str) {
        for part in [method, " ", path, " HTTP/1.1\r\nhost: ", &self.host] {
            self.requests.extend_from_slice(part.as_bytes());
        }
        if !body.is_empty() {
            self.requests.extend_from_slice(b"\r\ncontent-type: application/json\r\ncontent-length: ");
            self.requests.extend_from_slice(body.len().to_string().as_bytes());
        }
        self.requests.extend_from_slice(b"\r\n\r\n");
        self.requests.extend_from_slice(body.as_bytes());
    }

    /// Sends what was pushed.
    ///
    /// # Errors
    /// If the connection is lost.
    pub async fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.requests).await.context("cannot send")?;
        self.requests.clear();
        Ok(())
    }

    /// The body of the next answer.
    ///
    /// # Errors
    /// If the connection is lost, or the answer is not a success: then with the answer.
    pub async fn answer(&mut self) -> Result<&[u8]> {
        let (status, length) = self.head().await?;
        let (ok, body) = (status.starts_with('2'), self.body(length).await?);
        ensure!(ok, "answered {status}: {}", String::from_utf8_lossy(body));
        Ok(body)
    }

    /// Reads the head of an answer that does not end by itself, and leaves the rest to [`Connection::read`].
    ///
    /// # Errors
    /// If the connection is lost, or the answer is not a success.
    pub async fn stream_head(&mut self) -> Result<()> {
        let (status, length) = self.head().await?;
        if !status.starts_with('2') {
            bail!("answered {status}: {}", String::from_utf8_lossy(self.body(length).await?));
        }
        Ok(())
    }

    /// The next bytes, raw.
    ///
    /// # Errors
    /// If the connection is lost or closed.
    pub async fn read(&mut self) -> Result<&[u8]> {
        if self.unread.is_empty() {
            self.fill().await?;
        }
        Ok(&self.input[std::mem::take(&mut self.unread)])
    }

    /// Reads more behind what is unread.
    async fn fill(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.input.len() {
            if self.unread.start > 0 {
                self.input.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
            } else {
                self.input.resize(2 * self.input.len(), 0);
            }
        }
        let read = self.stream.read(&mut self.input[self.unread.end..]).await.context("cannot receive")?;
        ensure!(read > 0, "the server closed the connection");
        self.unread.end += read;
        Ok(())
    }

    /// Reads up to the marker and past it. The text before it is where the result says.
    async fn until(&mut self, marker: &[u8]) -> Result<Range<usize>> {
        loop {
            if let Some(length) = memmem::find(&self.input[self.unread.clone()], marker) {
                let text = self.unread.start..self.unread.start + length;
                self.unread.start = text.end + marker.len();
                return Ok(text);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Result<(String, Length)> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = str::from_utf8(&self.input[head]).context("the head of the answer is not text")?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).context("not HTTP/1.1")?.to_owned();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                return Ok((status, Length::Bytes(value.parse()?)));
            }
            if name.eq_ignore_ascii_case("transfer-encoding") {
                return Ok((status, Length::Chunked));
            }
        }
        Ok((status, Length::Bytes(0)))
    }

    async fn exactly(&mut self, length: usize) -> Result<Range<usize>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        let range = self.unread.start..self.unread.start + length;
        self.unread.start = range.end;
        Ok(range)
    }

    async fn body(&mut self, length: Length) -> Result<&[u8]> {
        let length = match length {
            Length::Bytes(length) => length,
            Length::Chunked => return self.chunks().await,
        };
        let body = self.exactly(length).await?;
        Ok(&self.input[body])
    }

    async fn chunks(&mut self) -> Result<&[u8]> {
        self.joined.clear();
        loop {
            let size = self.until(b"\r\n").await?;
            let size = usize::from_str_radix(str::from_utf8(&self.input[size])?, 16)?;
            let chunk = self.exactly(size + 2).await?;
            self.joined.extend_from_slice(&self.input[chunk.start..chunk.end - 2]);
            if size == 0 {
                return Ok(&self.joined);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A connection to somebody who answers with `script`, a piece at a time.
    async fn answered(script: &'static [u8], piece: usize) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = Connection::open(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            for piece in script.chunks(piece) {
                peer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        connection
    }

    #[tokio::test]
    async fn answers_are_told_apart_however_they_arrive() {
        let script = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
            HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno\
            HTTP/1.1 204 No Content\r\n\r\n";
        for piece in [1, 7, 1_000] {
            let mut connection = answered(script, piece).await;
            assert_eq!(connection.answer().await.unwrap(), b"abc");
            assert_eq!(connection.answer().await.unwrap(), b"def");
            assert_eq!(connection.answer().await.unwrap_err().to_string(), "answered 404 Not Found: no");
            assert_eq!(connection.answer().await.unwrap(), b"");
            assert_eq!(connection.answer().await.unwrap_err().to_string(), "the server closed the connection");
        }
    }
}
