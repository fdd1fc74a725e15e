//! Addresses of requests, and spans of time as Go writes them.

use std::time::Duration;

pub fn span(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok().map(Duration::from_millis),
        None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
    }
}

/// A path and a query, decoded.
pub struct Address {
    pub path: Vec<String>,
    query: Vec<(String, String)>,
}

impl Address {
    pub fn read(url: &str) -> Option<(String, Self)> {
        let (host, rest) = url.split_once("://")?.1.split_once('/')?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.split('/').map(decoded).collect::<Option<_>>()?;
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(key)?, decoded(value)?))
        });
        Some((host.to_owned(), Self { path, query: pairs.collect::<Option<_>>()? }))
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(if byte == b'%' { digit(rest.next())? * 16 + digit(rest.next())? } else { byte });
    }
    String::from_utf8(bytes).ok()
}
