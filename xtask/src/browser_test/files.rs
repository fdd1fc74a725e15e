//! A web server for a few files, as small as one can be.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::failure::{Failure, Result};

/// Serves the files of some folders, the first that has one of the name, until this program ends. Returns where.
pub(super) fn serve(folders: Vec<PathBuf>) -> Result<SocketAddr> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|error| Failure::new(format!("could not serve the pages: {error}")))?;
    let folders: Arc<[PathBuf]> = folders.into();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folders = Arc::clone(&folders);
            // A browser that hangs up has what it wanted, or asks again.
            thread::spawn(move || answer(&stream, &folders));
        }
    });
    Ok(address)
}

/// Answers one request, and closes the connection.
fn answer(mut stream: &TcpStream, folders: &[PathBuf]) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // What is left of the head must be read, or closing the connection would throw the answer away.
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let (status, kind, body) = match find(&first, folders) {
        Some(path) => ("200 OK", kind(&path), fs::read(&path)?),
        None => ("404 Not Found", "text/plain", b"there is no such file".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         connection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

/// The file that the first line of a request asks for.
fn find(line: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = line.strip_prefix("GET /")?.split([' ', '?']).next()?;
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    folders.iter().map(|folder| folder.join(path)).find(|path| plain && path.is_file())
}

/// Browsers run a module, and compile wasm as it comes, only if it says what it is.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folders_are_found() {
        let folders = [Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), Path::new(env!("CARGO_MANIFEST_DIR")).into()];
        let found = |line: &str| find(line, &folders).and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        assert_eq!(found("GET /main.rs HTTP/1.1").as_deref(), Some("main.rs"));
        assert_eq!(found("GET /Cargo.toml?x=/ HTTP/1.1").as_deref(), Some("Cargo.toml"));
        for line in ["GET / HTTP/1.1", "GET /src/main.rs HTTP/1.1", "GET /.. HTTP/1.1", "POST /main.rs HTTP/1.1", ""] {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
