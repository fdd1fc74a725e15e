//! The decoders of streams against a reference that sees all bytes at once: however the bytes are cut, the same comes
//! out of them.

use std::time::Duration;

use decoding::{cuts, decode_events, decode_lines, in_chunks};
use periplus_core::http::body::{BodyBuffer, BodyError};
use periplus_core::http::lines::LineTooLong;
use periplus_core::http::sse::{Event, EventTooLong, SseDecoder};
use periplus_core::http::target::Target;
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod decoding;

/// More than any generated stream has.
const AMPLE: usize = 1 << 20;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 64 } else { 1_024 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Bytes that look like a stream of events now and then: pieces of one in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"data"[..], b"data:", b"data: ", b"event: put", b"id: e.7", b"id", b"retry: 25", b"retry: x", b":", b" ",
            b"other: x", b"\xef\xbb\xbf", b"\xef\xbb", "ä€😀".as_bytes(), b"\xe2\x82", b"\xff", b"\0", b"{\"a\":[1]}",
        ])
        .prop_map(<[u8]>::to_vec),
        8 => prop::sample::select(vec![&b"\n"[..], b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"])
        .prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// An event that a server may send.
fn event() -> impl Strategy<Value = Event> {
    let event = prop_oneof!["[a-z]{1,9}", Just("message".to_owned())];
    (event, "[^\r]{0,40}", prop::option::of("[^\0\r\n]{0,30}"), prop::option::of(any::<u32>())).prop_map(
        |(event, data, id, retry)| Event {
            event: event.into(),
            data,
            id: id.map(Into::into),
            retry: retry.map(|millis| Duration::from_millis(millis.into())),
        },
    )
}

/// Writes an event with one of the line ends.
fn encode(event: &Event, end: &str, out: &mut String) {
    if let Some(id) = &event.id {
        out.extend(["id: ", id, end]);
    }
    if let Some(retry) = event.retry {
        out.extend(["retry: ", &retry.as_millis().to_string(), end]);
    }
    out.extend(["event: ", &event.event, end]);
    for line in event.data.split('\n').filter(|_| !event.data.is_empty()) {
        out.extend(["data: ", line, end]);
    }
    out.push_str(end);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn however_events_are_cut_they_are_those_of_the_whole(bytes in stream(), lengths in vec(0..9_usize, 1..9)) {
        let expected = decoding::reference_events(&bytes, AMPLE);
        for pieces in cuts(&bytes).chain([vec![&bytes[..]], in_chunks(&bytes, &[1]), in_chunks(&bytes, &lengths)]) {
            prop_assert_eq!(&decode_events(AMPLE, &pieces), &expected, "{:?}", pieces);
        }
    }

    #[test]
    fn events_over_the_limit_are_the_same_error_at_the_same_place(bytes in stream(), limit in 0..24_usize) {
        let expected = decoding::reference_events(&bytes, limit);
        for pieces in cuts(&bytes).chain([vec![&bytes[..]], in_chunks(&bytes, &[1])]) {
            prop_assert_eq!(&decode_events(limit, &pieces), &expected, "{:?}", pieces);
        }
    }

    #[test]
    fn events_are_read_as_they_were_written(
        events in vec(event(), 0..6), end in prop::sample::select(vec!["\n", "\r", "\r\n"]),
        lengths in vec(0..30_usize, 1..9), mark in any::<bool>(),
    ) {
        let mut text = String::from(if mark { "\u{feff}" } else { "" });
        for event in &events {
            encode(event, end, &mut text);
            text.push_str(": keep-alive\n\n");
        }
        prop_assert_eq!(decode_events(AMPLE, &in_chunks(text.as_bytes(), &lengths)), (events, false));
    }

    #[test]
    fn an_event_may_be_as_long_as_the_limit_and_no_longer(event in event(), length in 1..30_usize) {
        let mut text = String::new();
        encode(&event, "\r\n", &mut text);
        let size = text.len() - 2 * text.matches("\r\n").count();
        for chunks in [in_chunks(text.as_bytes(), &[length]), in_chunks(text.as_bytes(), &[AMPLE])] {
            prop_assert_eq!(decode_events(size, &chunks), (vec![event.clone()], false));
            prop_assert_eq!(decode_events(size - 1, &chunks), (vec![], true));
        }
    }

    #[test]
    fn however_lines_are_cut_they_are_those_of_the_whole(
        bytes in stream(), lengths in vec(0..9_usize, 1..9), limit in prop_oneof![0..12_usize, Just(AMPLE)],
    ) {
        let expected = decoding::reference_lines(&bytes, limit);
        for pieces in cuts(&bytes).chain([vec![&bytes[..]], in_chunks(&bytes, &[1]), in_chunks(&bytes, &lengths)]) {
            prop_assert_eq!(&decode_lines(limit, &pieces), &expected, "{:?}", pieces);
        }
    }

    #[test]
    fn however_a_body_is_cut_it_is_that_of_the_whole(
        value in any::<(Vec<u16>, String)>(), lengths in vec(0..9_usize, 1..9), spare in 0..2_usize,
    ) {
        let json = serde_json::to_vec(&value).expect("it is plain data");
        let mut body = BodyBuffer::new(json.len() + spare);
        for chunk in in_chunks(&json, &lengths) {
            body.push(chunk).expect("it is within the limit");
        }
        prop_assert_eq!(body.finish(), Ok(value));
        let mut body = BodyBuffer::new(json.len() - 1);
        let over = in_chunks(&json, &lengths).into_iter().filter(|chunk| body.push(chunk).is_err()).count();
        prop_assert!(over >= 1);
        prop_assert_eq!(body.bytes(), Err(BodyError::TooLong { limit: json.len() - 1 }));
    }

    #[test]
    fn a_target_is_plain_text_and_says_what_was_put_in(segment in any::<String>(), key in "[^\0]+", value in any::<String>()) {
        let text = Target::new("/v1").segment(&segment).query(&key, &value).to_string();
        prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        prop_assert_eq!(text.matches(['/', '?', '&', '=', '#']).collect::<String>(), "//?=");
        let control = key.contains(char::is_control) || value.contains(char::is_control);
        let url = format!("h?{}", text.split_once('?').expect("there is a query").1).parse::<periplus_core::client::url::RegistryUrl>();
        match url {
            Ok(url) => prop_assert_eq!(url.value(&key), Some(&value[..])),
            Err(error) => prop_assert!(control, "{}", error),
        }
    }
}

#[test]
fn what_follows_an_error_is_the_error() {
    let mut decoder = SseDecoder::new(3);
    assert_eq!(decoder.decode(&mut &b"data"[..]), Err(EventTooLong { limit: 3 }));
    assert_eq!(decoder.decode(&mut &b"\n\nid\n\n"[..]), Err(EventTooLong { limit: 3 }));
    assert_eq!(
        EventTooLong { limit: 3 }.to_string().split(':').next(),
        Some("an event of the stream is longer than 3 bytes")
    );
    assert_eq!(
        LineTooLong { limit: 3 }.to_string().split(':').next(),
        Some("a line of the stream is longer than 3 bytes")
    );
}
