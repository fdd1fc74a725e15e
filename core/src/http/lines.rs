//! Streams of lines, such as one JSON document a line, cut as the bytes come.

use alloc::vec::Vec;

use memchr::memchr;

/// A buffer for cut lines that has grown beyond this is given back after the line.
const KEPT_CAPACITY: usize = 8 * 1024;

/// A line of the stream is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the stream is longer than {limit} bytes: have shorter ones sent, or raise the limit")]
pub struct LineTooLong {
    /// How many bytes a line may have.
    pub limit: usize,
}

/// Cuts a stream into lines piece by piece, however the bytes come.
///
/// A line ends in LF or CRLF, and the last one also where the stream ends. Empty lines are skipped. A line that came
/// in one piece is given from where it is, without a copy.
///
/// Memory: one line, up to the limit.
///
/// ```
/// use periplus_core::http::lines::{LineDecoder, LineTooLong};
///
/// # fn main() -> Result<(), LineTooLong> {
/// let mut decoder = LineDecoder::new(1024);
/// let mut lines = Vec::new();
/// for chunk in [&b"{\"a\":1}\r"[..], b"\n\n{\"a\"", b":2}\n{\"a\":3}"] {
///     let mut rest = chunk;
///     while let Some(line) = decoder.decode(&mut rest)? {
///         lines.push(line.to_vec());
///     }
/// }
/// lines.extend(decoder.finish()?.map(<[u8]>::to_vec));
/// assert_eq!(lines, [b"{\"a\":1}", b"{\"a\":2}", b"{\"a\":3}"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LineDecoder {
    limit: usize,
    /// What has come of a line that is not complete, or the whole line that was given last.
    line: Vec<u8>,
    /// `line` has been given.
    given: bool,
    failed: bool,
}

impl LineDecoder {
    /// A decoder at the start of a stream, for lines of up to `limit` bytes, line ends not counted.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), given: false, failed: false }
    }

    /// Takes bytes from the front of `rest` until a line is complete, and gives that without its end. `None`: all bytes
    /// were taken. O(bytes taken).
    ///
    /// # Errors
    /// If a line is longer than the limit. The lines before it have been given; from now on there is only this error.
    pub fn decode<'a, 'b: 'a>(&'a mut self, rest: &mut &'b [u8]) -> Result<Option<&'a [u8]>, LineTooLong> {
        self.forget_given();
        while !self.failed && !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if !self.has_room(part) {
                self.fail();
                break;
            }
            let Some(end) = end else {
                self.line.extend_from_slice(part);
                *rest = &[];
                break;
            };
            *rest = &rest[end + 1..];
            if self.line.is_empty() {
                let line = without_return(part);
                if !line.is_empty() {
                    return Ok(Some(line));
                }
            } else {
                self.line.extend_from_slice(part);
                if self.give() {
                    return Ok(Some(without_return(&self.line)));
                }
            }
        }
        if self.failed { Err(LineTooLong { limit: self.limit }) } else { Ok(None) }
    }

    /// The stream has ended: gives what follows the last line end, if anything does. Once more gives nothing.
    ///
    /// # Errors
    /// If a line was longer than the limit.
    pub fn finish(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        self.forget_given();
        if self.failed {
            return Err(LineTooLong { limit: self.limit });
        }
        Ok(if self.give() { Some(without_return(&self.line)) } else { None })
    }

    /// Whether the line may go on like this. A carriage return is not counted as long as it may belong to a line end.
    fn has_room(&self, part: &[u8]) -> bool {
        let length = self.line.len().saturating_add(part.len());
        length <= self.limit || (length - 1 == self.limit && part.last().or_else(|| self.line.last()) == Some(&b'\r'))
    }

    /// The line is complete. Whether there is anything in it.
    fn give(&mut self) -> bool {
        self.given = true;
        let any = !without_return(&self.line).is_empty();
        if !any {
            self.forget_given();
        }
        any
    }

    fn forget_given(&mut self) {
        if core::mem::take(&mut self.given) {
            self.line.clear();
            if self.line.capacity() > KEPT_CAPACITY {
                self.line = Vec::new();
            }
        }
    }

    /// Nothing can be read any more, so nothing is kept.
    fn fail(&mut self) {
        self.failed = true;
        self.line = Vec::new();
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut decoder = LineDecoder::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(line) = decoder.decode(&mut rest)? {
                lines.push(line.to_vec());
            }
        }
        lines.extend(decoder.finish()?.map(<[u8]>::to_vec));
        assert_eq!(decoder.finish(), Ok(None));
        Ok(lines)
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_empty_ones_are_skipped() {
        let expected: &[&[u8]] = &[b"a", b"b\rc", b" ", b"d\r"];
        assert_eq!(lines(9, &[b"a\nb\rc\r\n\n\r\n \nd\r\r\n"]).unwrap(), expected);
        assert_eq!(lines(9, &[b"a\nb\r", b"c\r", b"\n\n", b"\r", b"\n \nd", b"\r\r\n"]).unwrap(), expected);
    }

    #[test]
    fn the_last_line_needs_no_end() {
        assert_eq!(lines(9, &[b"a\nb"]).unwrap(), [b"a", b"b"]);
        assert_eq!(lines(9, &[b"a\nb\r"]).unwrap(), [b"a", b"b"]);
        assert_eq!(lines(9, &[b"a\n"]).unwrap(), [b"a"]);
        assert_eq!(lines(9, &[b"a\n\r"]).unwrap(), [b"a"]);
        assert_eq!(lines(9, &[]).unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for good in [&b"abc\nabc\r\n"[..], b"abc", b"abc\r", b"\r\n\nabc\r\nab"] {
            assert!(lines(3, &[good]).is_ok());
        }
        for bad in [&b"abcd\n"[..], b"abcd", b"abc\rd", b"abc\r\r\n", b"abc\r\r"] {
            assert_eq!(lines(3, &[bad]), Err(LineTooLong { limit: 3 }));
        }
    }

    #[test]
    fn after_an_error_there_are_only_errors() {
        let mut decoder = LineDecoder::new(1);
        let mut rest = &b"a\nbb\nc\n"[..];
        assert_eq!(decoder.decode(&mut rest), Ok(Some(&b"a"[..])));
        assert_eq!(decoder.decode(&mut rest), Err(LineTooLong { limit: 1 }));
        assert_eq!(decoder.decode(&mut &b"d\n"[..]), Err(LineTooLong { limit: 1 }));
        assert_eq!(decoder.finish(), Err(LineTooLong { limit: 1 }));
    }

    #[test]
    fn the_room_of_a_long_line_is_given_back() {
        let mut decoder = LineDecoder::new(100_000);
        assert_eq!(decoder.decode(&mut &[b'x'; 100_000][..]), Ok(None));
        assert_eq!(decoder.decode(&mut &b"\n"[..]).map(|line| line.map(<[u8]>::len)), Ok(Some(100_000)));
        assert!(decoder.line.capacity() <= 2 * 100_000);
        assert_eq!(decoder.decode(&mut &b""[..]), Ok(None));
        assert_eq!(decoder.line.capacity(), 0);
    }
}
