//! Server-sent events, decoded as the bytes come.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use memchr::{memchr, memchr2};
use smol_str::SmolStr;

/// What a stream may start with, and what then is no part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The type of an event that names none.
const MESSAGE: SmolStr = SmolStr::new_static("message");

/// A buffer for cut lines that has grown beyond this is given back after the line.
const KEPT_CAPACITY: usize = 8 * 1024;

/// One block of the stream: what stood between two empty lines.
///
/// Unlike a browser's `EventSource`, a block without data is an event too: a registry's bookmarks are an id and nothing
/// else. And `id` is only what stood in this block, not the last one seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` if the block names none.
    pub event: SmolStr,
    /// Its data; lines are joined by a line feed.
    pub data: String,
    /// Its id, if it has one. It may be empty: then what was the last id is none any more.
    pub id: Option<SmolStr>,
    /// How long to wait before connecting again, if it says so.
    pub retry: Option<Duration>,
}

impl Default for Event {
    fn default() -> Self {
        Self { event: MESSAGE, data: String::new(), id: None, retry: None }
    }
}

/// An event of the stream is longer than the limit. Where the next one starts is not known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {limit} bytes: have shorter ones sent, or raise the limit")]
pub struct EventTooLong {
    /// How many bytes an event may have.
    pub limit: usize,
}

/// Decodes a stream of server-sent events piece by piece, however the bytes are cut.
///
/// It reads what the [standard] describes: lines end in LF, CR or CRLF, a byte order mark at the start is skipped,
/// comments and unknown fields mean nothing, bytes that are not UTF-8 become U+FFFD, and a block that the end of the
/// stream cuts off is dropped. It departs from it in what [`Event`] says.
///
/// Memory: one event and one line, together up to the limit; a byte that is not UTF-8 becomes three.
///
/// ```
/// use periplus_core::http::sse::SseDecoder;
///
/// # fn main() -> Result<(), periplus_core::http::sse::EventTooLong> {
/// let mut decoder = SseDecoder::new(1024);
/// let mut ids = Vec::new();
/// for chunk in [&b"id: 1\r"[..], b"\ndata: a\n\nid: 2\n", b"\n"] {
///     let mut rest = chunk;
///     while let Some(event) = decoder.decode(&mut rest)? {
///         ids.extend(event.id);
///     }
/// }
/// assert_eq!(ids, ["1", "2"]);
/// # Ok(())
/// # }
/// ```
///
/// [standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// How much of the byte order mark has been seen; all of its length too if there is none.
    mark: usize,
    /// The last byte was a carriage return: a line feed right after it belongs to the same line end.
    after_return: bool,
    /// What has come of a line that is not complete.
    line: Vec<u8>,
    /// The bytes of the lines that `event` is made of.
    size: usize,
    event: Event,
    /// Whether a line of the block had a meaning.
    any_field: bool,
    has_data: bool,
    failed: bool,
}

impl SseDecoder {
    /// A decoder at the start of a stream, for events of up to `limit` bytes.
    ///
    /// What counts is the bytes of the event's lines, field names included and line ends not. A comment or an unknown
    /// field counts while it is read, and not any more after it.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            mark: 0,
            after_return: false,
            line: Vec::new(),
            size: 0,
            event: Event::default(),
            any_field: false,
            has_data: false,
            failed: false,
        }
    }

    /// Takes bytes from the front of `rest` until an event is complete, and gives that. `None`: all bytes were taken.
    /// O(bytes taken).
    ///
    /// # Errors
    /// If an event is longer than the limit. The events before it have been given; from now on there is only this error.
    pub fn decode(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, EventTooLong> {
        if self.mark < BYTE_ORDER_MARK.len() {
            self.skip_mark(rest);
        }
        while !self.failed && !rest.is_empty() {
            if mem::take(&mut self.after_return) && rest[0] == b'\n' {
                *rest = &rest[1..];
                continue;
            }
            let end = memchr2(b'\n', b'\r', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.size.saturating_add(self.line.len()).saturating_add(part.len()) > self.limit {
                self.fail();
                break;
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                *rest = &[];
                break;
            };
            self.after_return = rest[end] == b'\r';
            *rest = &rest[end + 1..];
            let event = if self.line.is_empty() { self.handle_line(part) } else { self.handle_cut_line(part) };
            if event.is_some() {
                return Ok(event);
            }
        }
        if self.failed { Err(EventTooLong { limit: self.limit }) } else { Ok(None) }
    }

    /// Skips the byte order mark. Bytes that are only the beginning of one are the beginning of the first line.
    fn skip_mark(&mut self, rest: &mut &[u8]) {
        while let (Some(expected), Some(found)) = (BYTE_ORDER_MARK.get(self.mark), rest.first()) {
            if expected != found {
                self.line.extend_from_slice(&BYTE_ORDER_MARK[..self.mark]);
                self.mark = BYTE_ORDER_MARK.len();
                return;
            }
            self.mark += 1;
            *rest = &rest[1..];
        }
    }

    /// A line is complete whose beginning came earlier.
    fn handle_cut_line(&mut self, end: &[u8]) -> Option<Event> {
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(end);
        let event = self.handle_line(&line);
        if line.capacity() <= KEPT_CAPACITY {
            line.clear();
            self.line = line;
        }
        event
    }

    fn handle_line(&mut self, line: &[u8]) -> Option<Event> {
        if line.is_empty() {
            self.size = 0;
            self.has_data = false;
            return mem::take(&mut self.any_field).then(|| mem::take(&mut self.event));
        }
        if self.handle_field(line) {
            self.size += line.len();
            self.any_field = true;
        }
        None
    }

    /// Whether the line has a meaning.
    fn handle_field(&mut self, line: &[u8]) -> bool {
        let (field, value) = match memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(&String::from_utf8_lossy(value));
            }
            b"event" if value.is_empty() => self.event.event = MESSAGE,
            b"event" => self.event.event = SmolStr::new(String::from_utf8_lossy(value)),
            b"id" if memchr(0, value).is_none() => self.event.id = Some(SmolStr::new(String::from_utf8_lossy(value))),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = value
                    .iter()
                    .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
                self.event.retry = Some(Duration::from_millis(millis));
            }
            // Comments have an empty field name; other fields are for those who know them.
            _ => return false,
        }
        true
    }

    /// Nothing can be read any more, so nothing is kept.
    fn fail(&mut self) {
        self.failed = true;
        self.line = Vec::new();
        self.event = Event::default();
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn decode(text: &[u8]) -> Vec<Event> {
        let mut decoder = SseDecoder::new(1_000);
        let mut rest = text;
        core::iter::from_fn(|| decoder.decode(&mut rest).expect("it is short")).collect()
    }

    fn event(event: &str, data: &str, id: Option<&str>) -> Event {
        Event { event: event.into(), data: data.into(), id: id.map(Into::into), retry: None }
    }

    fn retry(text: &[u8]) -> Option<u128> {
        decode(text).pop()?.retry.map(|duration| duration.as_millis())
    }

    #[test]
    fn fields_make_an_event_at_the_empty_line() {
        assert_eq!(
            decode(b"event: put\ndata: {\"a\":1}\nid: e.7\n\ndata:x\n\ndata: unfinished\n"),
            [event("put", "{\"a\":1}", Some("e.7")), event("message", "x", None)]
        );
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        assert_eq!(decode(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [event("message", "YHOO\n+2\n10", None)]);
        assert_eq!(
            decode(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"),
            [event("message", "first event", Some("1")), event("message", "second event", Some(""))]
        );
        assert_eq!(decode(b"data\n\ndata\ndata\n\ndata:"), [event("message", "", None), event("message", "\n", None)]);
        assert_eq!(decode(b"data:test\n\ndata: test\n\n"), vec![event("message", "test", None); 2]);
    }

    #[test]
    fn lines_end_in_one_of_three_ways() {
        let text = b"\xef\xbb\xbfevent: a\r\ndata: one\rdata: two\n: comment\r\n\r\nid: 1\r\rid: 2\n\n\n\n";
        assert_eq!(
            decode(text),
            [event("a", "one\ntwo", None), event("message", "", Some("1")), event("message", "", Some("2"))]
        );
    }

    #[test]
    fn only_a_whole_byte_order_mark_at_the_start_is_skipped() {
        assert_eq!(decode(b"\xef\xbb\xbfid: 1\n\n"), [event("message", "", Some("1"))]);
        assert_eq!(decode(b"\xef\xbb\xbf\xef\xbb\xbfid: 1\n\n"), []);
        assert_eq!(decode(b"id: 1\n\xef\xbb\xbfid: 2\n\n"), [event("message", "", Some("1"))]);
        assert_eq!(decode(b"\xef\xbbid: 1\n\n"), []);
    }

    #[test]
    fn a_bookmark_is_an_event_with_nothing_but_an_id() {
        assert_eq!(decode(b"id: e.9\n\n"), [event("message", "", Some("e.9"))]);
    }

    #[test]
    fn comments_and_unknown_fields_make_no_event() {
        assert_eq!(decode(b": keep-alive\n\nwhatever: x\n\nData: x\n\n data: x\n\nretry: soon\n\n"), []);
    }

    #[test]
    fn an_id_belongs_to_its_own_event_only_and_has_no_nul() {
        let events = decode(b"id: 1\ndata: a\n\ndata: b\n\nid: \0\n\nid: 1\nid: 2\0\n\n");
        assert_eq!(
            events,
            [event("message", "a", Some("1")), event("message", "b", None), event("message", "", Some("1"))]
        );
    }

    #[test]
    fn an_empty_type_is_that_of_a_message() {
        assert_eq!(decode(b"event: a\nevent:\ndata\n\n"), [event("message", "", None)]);
    }

    #[test]
    fn retry_is_digits_and_nothing_else() {
        assert_eq!(retry(b"retry: 250\n\n"), Some(250));
        assert_eq!(retry(b"retry: 99999999999999999999\n\n"), Some(u128::from(u64::MAX)));
        for text in [&b"retry\n\n"[..], b"retry: +1\n\n", b"retry: 1 \n\n", b"retry:  1\n\n", b"retry: 1.5\n\n"] {
            assert_eq!(retry(text), None);
        }
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(decode(b"data: a\xffb\xe2\x82\n\n"), [event("message", "a\u{fffd}b\u{fffd}", None)]);
    }

    #[test]
    fn an_event_that_is_too_long_is_an_error_from_then_on() {
        let mut decoder = SseDecoder::new(10);
        let mut rest = &b"data: 1\n\nid\ndata:678\n\n: 34567890\n: 34567890\ndata:67\n"[..];
        assert_eq!(decoder.decode(&mut rest).map(Option::unwrap_or_default).map(|event| event.data), Ok("1".into()));
        assert_eq!(decoder.decode(&mut rest).map(Option::unwrap_or_default).map(|event| event.data), Ok("678".into()));
        assert_eq!(decoder.decode(&mut rest), Ok(None));
        assert_eq!(decoder.decode(&mut &b"dat"[..]), Ok(None));
        assert_eq!(decoder.decode(&mut &b"a"[..]), Err(EventTooLong { limit: 10 }));
        assert_eq!(decoder.decode(&mut &b"\n\ndata\n\n"[..]), Err(EventTooLong { limit: 10 }));
        assert_eq!(decoder.decode(&mut &b""[..]), Err(EventTooLong { limit: 10 }));
    }

    #[test]
    fn memory_is_bounded_by_the_limit_and_given_back_after_a_long_line() {
        const LIMIT: usize = 100_000;
        let streams: [&[u8]; 6] =
            [b"data: x\n", b"data: \xff\xff\xff\xff\n", b": comment", b": comment\n", b"x: y\n\n", b"data"];
        for stream in streams {
            let mut decoder = SseDecoder::new(LIMIT);
            let mut failed = false;
            for _ in 0..LIMIT {
                failed |= decoder.decode(&mut &*stream).is_err();
                // A text that grows is moved into at most twice the room that it needs.
                assert!(decoder.line.capacity() <= 2 * LIMIT);
                assert!(decoder.line.capacity() + decoder.event.data.capacity() <= 2 * 3 * LIMIT);
            }
            assert_eq!(failed, !stream.starts_with(b": comment\n") && !stream.starts_with(b"x"));
            assert!(!failed || decoder.line.capacity() + decoder.event.data.capacity() == 0);
        }
        let mut decoder = SseDecoder::new(LIMIT);
        assert_eq!(decoder.decode(&mut &[b'x'; LIMIT][..]), Ok(None));
        assert_eq!(decoder.decode(&mut &b"\n"[..]), Ok(None));
        assert_eq!(decoder.line.capacity(), 0);
    }
}
