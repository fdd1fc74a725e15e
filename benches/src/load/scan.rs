//! Finds marked values in a stream without decoding it.

use memchr::memmem::Finder;

/// Looks for a marker and hands over the bytes behind it, wherever the stream is cut.
#[derive(Clone, Debug)]
pub struct Scanner {
    finder: Finder<'static>,
    /// How many bytes behind the marker are wanted.
    wanted: usize,
    buffer: Vec<u8>,
}

impl Scanner {
    /// A scanner for the `wanted` bytes behind each `marker`.
    #[must_use]
    pub fn new(marker: &[u8], wanted: usize) -> Self {
        Self { finder: Finder::new(marker).into_owned(), wanted, buffer: Vec::new() }
    }

    /// Takes the next piece of the stream.
    pub fn feed(&mut self, piece: &[u8], mut found: impl FnMut(&[u8])) {
        self.buffer.extend_from_slice(piece);
        let marker = self.finder.needle().len();
        let mut at = 0;
        while let Some(start) = self.finder.find(&self.buffer[at..]).map(|offset| at + offset + marker) {
            let Some(value) = self.buffer.get(start..start + self.wanted) else {
                at = start - marker;
                break;
            };
            found(value);
            at = start + self.wanted;
        }
        // What is left may hold the beginning of one that is not complete.
        let rest = (marker + self.wanted - 1).min(self.buffer.len() - at);
        self.buffer.drain(..self.buffer.len() - rest);
    }
}

#[cfg(test)]
mod tests {
    use super::Scanner;

    #[test]
    fn values_are_found_however_the_stream_is_cut() {
        let stream = b"sent:12 sent:34sent:56 se sent:7";
        for cut in 1..stream.len() {
            let mut scanner = Scanner::new(b"sent:", 2);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                scanner.feed(piece, |value| found.push(value.to_vec()));
            }
            assert_eq!(found, [b"12", b"34", b"56"], "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_marker_alone_counts_once() {
        let mut scanner = Scanner::new(b"ab", 0);
        let mut count = 0;
        for piece in [&b"aba"[..], b"b", b"", b"ab"] {
            scanner.feed(piece, |_| count += 1);
        }
        assert_eq!(count, 3);
    }
}
