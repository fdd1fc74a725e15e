//! Feeding the decoders in pieces, and references that see all bytes at once.

use std::time::Duration;

use periplus_core::http::lines::LineDecoder;
use periplus_core::http::sse::{Event, SseDecoder};

/// Every way of cutting the bytes in two.
pub(crate) fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]])
}

/// The bytes in pieces of these lengths in turn, empty ones included. Not all lengths may be 0 for long.
pub(crate) fn in_chunks<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    let total: usize = lengths.iter().sum();
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let length = if total == 0 { rest.len() } else { *length };
        let (chunk, tail) = rest.split_at(length.min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

/// The events that come of the pieces, and whether one was too long.
pub(crate) fn decode_events(limit: usize, chunks: &[&[u8]]) -> (Vec<Event>, bool) {
    let mut decoder = SseDecoder::new(limit);
    let mut events = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        loop {
            match decoder.decode(&mut rest) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break assert!(rest.is_empty(), "all bytes were taken"),
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

/// The lines that come of the pieces, and whether one was too long.
pub(crate) fn decode_lines(limit: usize, chunks: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = LineDecoder::new(limit);
    let mut lines = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        loop {
            match decoder.decode(&mut rest) {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break assert!(rest.is_empty(), "all bytes were taken"),
                Err(_) => return (lines, true),
            }
        }
    }
    match decoder.finish() {
        Ok(line) => lines.extend(line.map(<[u8]>::to_vec)),
        Err(_) => return (lines, true),
    }
    (lines, false)
}

/// The events of a whole stream as the standard describes it: decode the text, split it into lines, read each.
pub(crate) fn reference_events(bytes: &[u8], limit: usize) -> (Vec<Event>, bool) {
    if b"\xef\xbb\xbf".starts_with(bytes) {
        return (Vec::new(), false); // It may become a byte order mark.
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut events = Vec::new();
    let mut event = Event::default();
    let (mut data, mut any, mut size) = (None::<String>, false, 0);
    let lines = split_lines(bytes);
    for (number, line) in lines.iter().enumerate() {
        if size + line.len() > limit {
            return (events, true);
        }
        if number + 1 == lines.len() {
            break; // It has no end.
        }
        let text = String::from_utf8_lossy(line);
        if text.is_empty() {
            event.data = data.take().unwrap_or_default();
            let event = std::mem::take(&mut event);
            if std::mem::take(&mut any) {
                events.push(event);
            }
            size = 0;
            continue;
        }
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data = Some(data.map_or_else(|| value.to_owned(), |data| data + "\n" + value)),
            "event" => event.event = if value.is_empty() { "message".into() } else { value.into() },
            "id" if !value.contains('\0') => event.id = Some(value.into()),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                event.retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
            }
            _ => continue,
        }
        any = true;
        size += line.len();
    }
    (events, false)
}

/// The lines of a whole stream. The last one has no end, and may be empty.
fn split_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && bytes[at - 1] == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            _ => lines.last_mut().expect("there is one").push(*byte),
        }
    }
    lines
}

/// The lines of a whole stream that end in LF or CRLF.
pub(crate) fn reference_lines(bytes: &[u8], limit: usize) -> (Vec<Vec<u8>>, bool) {
    let mut lines = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > limit {
            return (lines, true);
        }
        if !line.is_empty() {
            lines.push(line.to_vec());
        }
    }
    (lines, false)
}
