//! A server that does what a script says, on a thread of its own: no code of the runtime under test serves it.

use std::future::Future;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use futures_channel::oneshot;

/// Runs a script on a thread. Answers its url, and what the script answers when it has ended.
pub fn serve<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (String, impl Future<Output = T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (done, end) = oneshot::channel();
    thread::spawn(move || {
        let output = script(listener);
        let _ = done.send(output);
    });
    (url, async { end.await.expect("the script has panicked") })
}

/// A url where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub trait Connection: Read + Write + Send {}

impl<T: Read + Write + Send> Connection for T {}

/// A client's connection, as the server sees it.
pub struct Peer(BufReader<Box<dyn Connection>>);

/// A request as it arrived.
#[derive(Debug, PartialEq)]
pub struct Arrived {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Peer {
    pub fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        Self::on(stream)
    }

    pub fn on(connection: impl Connection + 'static) -> Self {
        Self(BufReader::new(Box::new(connection)))
    }

    /// The next request. `None`: the client has closed.
    pub fn request(&mut self) -> Option<Arrived> {
        let line = self.line()?;
        let mut headers = Vec::new();
        loop {
            let header = self.line().expect("a head is sent whole");
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ").expect("a header has a value");
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut request = Arrived { line, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body.resize(length, 0);
        self.0.read_exact(&mut request.body).unwrap();
        Some(request)
    }

    pub fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    pub fn write_bytes(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
        self.0.get_mut().flush().unwrap();
    }

    /// Waits until the client closes. Answers whether it did, and sent nothing before.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof),
        }
    }

    /// Waits until the client closes, whatever it sends before.
    pub fn is_closed_after_what_comes(&mut self) -> bool {
        std::io::copy(&mut self.0, &mut std::io::sink()).is_ok()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.strip_suffix("\r\n").expect("a line is sent whole").to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Accepts one connection.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().unwrap().0
}
