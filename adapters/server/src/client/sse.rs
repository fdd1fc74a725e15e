//! Server-sent events, decoded as the bytes come.

use std::time::Duration;

/// One block of the stream: what stood between two empty lines.
///
/// Unlike a browser's `EventSource`, a block without data is an event too: the registry's bookmarks are an id and
/// nothing else. And `id` is only what stood in this block, not the last one seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; empty if the block names none.
    pub event: String,
    /// Its data; lines are joined by a line feed.
    pub data: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// How long to wait before connecting again, if it says so.
    pub retry: Option<Duration>,
}

/// The stream is not one of server-sent events, or one event is too long. The decoder stays unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Decodes a stream of server-sent events piece by piece, however the bytes are cut.
///
/// Memory: at most one event, which may be up to the limit long.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed right after it belongs to the same line end.
    after_return: bool,
    first_line: bool,
    any_field: bool,
    size: usize,
    event: Event,
    has_data: bool,
}

impl Decoder {
    /// A decoder at the start of a stream, for events of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_return: false,
            first_line: true,
            any_field: false,
            size: 0,
            event: Event::default(),
            has_data: false,
        }
    }

    /// Takes the next bytes and gives the events that they complete to `each`. O(bytes).
    ///
    /// # Errors
    /// An event is longer than the limit; the events before it have been given.
    pub fn handle_chunk(&mut self, bytes: &[u8], mut each: impl FnMut(Event)) -> Result<(), TooLong> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let part = &rest[..end.unwrap_or(rest.len())];
            self.size += part.len();
            if self.size > self.limit {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if let Some(event) = self.on_line() {
                each(event);
            }
        }
        Ok(())
    }

    /// A line is complete: `self.line`.
    fn on_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let mut text = text.as_ref();
        if std::mem::take(&mut self.first_line) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        let event = if text.is_empty() {
            self.on_block_end()
        } else {
            self.on_field(text);
            None
        };
        self.line = line;
        self.line.clear();
        event
    }

    fn on_block_end(&mut self) -> Option<Event> {
        self.size = 0;
        self.has_data = false;
        let event = std::mem::take(&mut self.event);
        std::mem::take(&mut self.any_field).then_some(event)
    }

    fn on_field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.event = value.into(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.into()),
            "retry" => match value.parse() {
                Ok(millis) => self.event.retry = Some(Duration::from_millis(millis)),
                Err(_) => return,
            },
            // Comments have an empty field name; other fields are for those who know them.
            _ => return,
        }
        self.any_field = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::new(1000);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.handle_chunk(chunk, |event| events.push(event)).unwrap();
        }
        events
    }

    fn event(event: &str, data: &str, id: Option<&str>) -> Event {
        Event { event: event.into(), data: data.into(), id: id.map(Into::into), retry: None }
    }

    #[test]
    fn fields_make_an_event_at_the_empty_line() {
        let events = decode(&[b"event: put\ndata: {\"a\":1}\nid: e.7\n\ndata:x\n\ndata: unfinished\n"]);
        assert_eq!(events, [event("put", "{\"a\":1}", Some("e.7")), event("", "x", None)]);
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_events() {
        let text =
            "\u{feff}event: ä\r\ndata: one\rdata: two\n: comment\r\n\r\nid: 1\n\n\n\nretry: 250\ndata\n\n".as_bytes();
        let whole = decode(&[text]);
        assert_eq!(whole[0], event("ä", "one\ntwo", None));
        assert_eq!(whole[1], event("", "", Some("1")));
        assert_eq!(whole[2], Event { retry: Some(Duration::from_millis(250)), ..Event::default() });
        assert_eq!(whole.len(), 3);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(decode(&bytes), whole);
        for cut in 0..text.len() {
            assert_eq!(decode(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_bookmark_is_an_event_with_nothing_but_an_id() {
        assert_eq!(decode(&[b"id: e.9\n\n"]), [event("", "", Some("e.9"))]);
    }

    #[test]
    fn comments_and_unknown_fields_make_no_event() {
        assert_eq!(decode(&[b": keep-alive\n\nwhatever: x\n\nretry: soon\n\n"]), []);
    }

    #[test]
    fn an_id_belongs_to_its_own_event_only() {
        let events = decode(&[b"id: 1\ndata: a\n\ndata: b\n\n"]);
        assert_eq!(events[1].id, None);
    }

    #[test]
    fn an_event_that_is_too_long_is_an_error() {
        let mut decoder = Decoder::new(10);
        let mut count = 0;
        assert_eq!(decoder.handle_chunk(b"data: 1\n\ndata: 23\n\n", |_| count += 1), Ok(()));
        assert_eq!(decoder.handle_chunk(b"data: 456", |_| count += 1), Ok(()));
        assert_eq!(decoder.handle_chunk(b"78", |_| count += 1), Err(TooLong));
        assert_eq!(count, 2);
    }
}
