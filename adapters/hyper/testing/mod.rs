//! What every native runtime is tested for. A runtime's test says how it is made and run, and includes this file.

#![allow(unreachable_pub, reason = "it is a module of a test")]

use std::future::{Future, poll_fn};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use periplus::Runtime;
use periplus::core::http::{Head, Input, Method, Reach, Request};
use periplus_hyper::TlsConfig;

use self::server::{Peer, serve};
use self::tls::Authority;

mod server;
mod tls;

/// A runtime under test.
pub trait Subject {
    type Runtime: Runtime<Exchange: Send>;

    /// Runs a test to its end.
    fn run(test: impl Future<Output = ()>);

    fn runtime() -> Self::Runtime;

    fn with_tls(tls: &TlsConfig) -> Self::Runtime;

    fn with_storage(directory: &std::path::Path) -> Self::Runtime;
}

/// Runs every test of this file with a subject.
#[macro_export]
macro_rules! suite {
    ($subject:ty) => {
        $crate::suite! { $subject:
            a_call_is_answered
            a_long_body_arrives_whole_in_both_directions
            each_chunk_of_a_stream_arrives_when_it_is_sent
            a_body_that_ends_with_its_connection_is_complete
            an_answer_without_a_body_ends_at_once
            answers_are_handed_on_as_they_are
            a_header_whose_value_is_no_text_is_skipped
            a_host_is_found_by_whichever_of_its_addresses_answers
            a_refused_connection_is_not_sent
            what_cannot_be_said_in_http_is_not_sent
            a_server_that_closes_without_an_answer_leaves_it_unknown
            a_server_that_answers_garbage_leaves_it_unknown
            a_server_that_closes_in_the_middle_of_a_body_leaves_it_unknown
            dropping_an_exchange_before_its_answer_closes_its_connection
            dropping_an_exchange_in_the_middle_of_its_body_closes_its_connection
            dropping_the_runtime_closes_what_was_kept
            a_connection_is_used_again
            a_connection_whose_answer_says_close_is_not_used_again
            a_stream_holds_up_no_call
            a_kept_connection_that_the_server_has_closed_is_replaced
            a_kept_connection_whose_server_is_gone_is_not_sent
            a_server_that_a_given_root_vouches_for_is_believed
            a_server_that_no_root_vouches_for_is_not_sent_anything
            a_server_with_another_name_is_not_sent_anything
            a_server_that_asks_for_a_certificate_is_shown_it
            a_server_that_asks_for_a_certificate_and_sees_none_answers_nothing
            a_server_that_never_agrees_on_tls_is_not_sent_anything
            a_timer_rings_when_its_instant_has_come
            what_was_stored_is_loaded
            randomness_differs
        }
    };
    ($subject:ty: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            testing::bounded(|| <$subject as testing::Subject>::run(testing::$test::<$subject>()));
        })*
    };
}

/// Runs a test, and fails when it hangs.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel::<()>();
    let running = thread::spawn(move || {
        let _done = done;
        test();
    });
    let hangs = end.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!hangs, "the test hangs");
    if let Err(panic) = running.join() {
        std::panic::resume_unwind(panic);
    }
}

fn get(url: impl Into<String>) -> Request {
    Request { method: Method::Get, url: url.into(), headers: Vec::new(), body: Vec::new(), streaming: false }
}

async fn next(exchange: &mut (impl Stream<Item = Input> + Unpin)) -> Option<Input> {
    poll_fn(|cx| Pin::new(&mut *exchange).poll_next(cx)).await
}

async fn head(exchange: &mut (impl Stream<Item = Input> + Unpin)) -> Head {
    match next(exchange).await {
        Some(Input::Response(head)) => head,
        other => panic!("a head was to come, and not {other:?}"),
    }
}

/// The body, and whether it is complete or why not.
async fn body(exchange: &mut (impl Stream<Item = Input> + Unpin)) -> (Vec<u8>, Result<(), (Reach, String)>) {
    let mut all = Vec::new();
    let end = loop {
        match next(exchange).await {
            Some(Input::Chunk(chunk)) => {
                assert!(!chunk.is_empty());
                all.extend(chunk);
            }
            Some(Input::End) => break Ok(()),
            Some(Input::Failure(failure)) => break Err((failure.reach, failure.reason)),
            other => panic!("a body was to go on or to end, and not {other:?}"),
        }
    };
    assert_eq!(next(exchange).await, None, "nothing follows the end");
    (all, end)
}

/// The text of a complete answer.
async fn answer<R: Runtime>(runtime: &R, request: Request) -> (u16, String) {
    let mut exchange = runtime.request(request);
    let head = head(&mut exchange).await;
    let (text, end) = body(&mut exchange).await;
    end.unwrap();
    (head.status, String::from_utf8(text).unwrap())
}

/// How far a request came that is not answered, and why.
async fn failure<R: Runtime>(runtime: &R, request: Request) -> (Reach, String) {
    let mut exchange = runtime.request(request);
    match next(&mut exchange).await {
        Some(Input::Failure(failure)) => {
            assert_eq!(next(&mut exchange).await, None, "nothing follows the end");
            assert_eq!(failure.reason.lines().count(), 1, "{}", failure.reason);
            (failure.reach, failure.reason)
        }
        other => panic!("it was to fail, and not {other:?}"),
    }
}

fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

pub async fn a_call_is_answered<S: Subject>() {
    let (url, script) = serve(|listener: TcpListener| {
        let mut peer = Peer::accept(&listener);
        let request = peer.request().unwrap();
        peer.write(
            "HTTP/1.1 409 Conflict\r\nContent-Length: 5\r\nX-Mixed: Case\r\nset-cookie: a\r\nset-cookie: b\r\n\r\nhello",
        );
        request
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(Request {
        method: Method::Put,
        url: format!("{url}/a%20path?with=query"),
        headers: vec![("content-type".into(), "application/json".into()), ("x-two".into(), "words here".into())],
        body: b"{}".to_vec(),
        streaming: false,
    });
    let head = head(&mut exchange).await;
    assert_eq!(head.status, 409);
    let pair = |name: &str, value: &str| (name.into(), value.into());
    let want = [pair("content-length", "5"), pair("x-mixed", "Case"), pair("set-cookie", "a"), pair("set-cookie", "b")];
    assert_eq!(head.headers, want);
    assert_eq!(body(&mut exchange).await, (b"hello".to_vec(), Ok(())));

    let request = script.await;
    assert_eq!(request.line, "PUT /a%20path?with=query HTTP/1.1");
    assert_eq!(request.header("host"), url.strip_prefix("http://"));
    assert_eq!(request.header("content-length"), Some("2"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-two"), Some("words here"));
    assert_eq!(request.body, b"{}");
}

pub async fn a_long_body_arrives_whole_in_both_directions<S: Subject>() {
    let long: Vec<u8> = (0..1_000_000_u32).map(|it| (it % 251) as u8).collect();
    let expected = long.clone();
    let (url, script) = serve(move |listener| {
        let mut peer = Peer::accept(&listener);
        let request = peer.request().unwrap();
        assert!(request.body == expected);
        peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", expected.len()));
        peer.write_bytes(&expected);
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(Request { method: Method::Post, body: long.clone(), ..get(url) });
    assert_eq!(head(&mut exchange).await.status, 200);
    let (back, end) = body(&mut exchange).await;
    assert!(back == long);
    assert_eq!(end, Ok(()));
    script.await;
}

pub async fn each_chunk_of_a_stream_arrives_when_it_is_sent<S: Subject>() {
    let (seen, wait) = mpsc::channel();
    let (url, script) = serve(move |listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        // Each is sent when the client has seen the one before: if it held one back, nobody would go on.
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for chunk in ["3\r\none\r\n", "3\r\ntwo\r\n", "5\r\nthree\r\n", "0\r\n\r\n"] {
            wait.recv().unwrap();
            peer.write(chunk);
        }
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(Request { streaming: true, ..get(url) });
    assert_eq!(head(&mut exchange).await.status, 200);
    for want in ["one", "two", "three"] {
        seen.send(()).unwrap();
        assert_eq!(next(&mut exchange).await, Some(Input::Chunk(want.into())));
    }
    seen.send(()).unwrap();
    assert_eq!(next(&mut exchange).await, Some(Input::End));
    assert_eq!(next(&mut exchange).await, None);
    script.await;
}

pub async fn a_body_that_ends_with_its_connection_is_complete<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write("HTTP/1.1 200 OK\r\n\r\nas long as it goes");
    });
    assert_eq!(answer(&S::runtime(), get(url)).await, (200, "as long as it goes".into()));
    script.await;
}

pub async fn an_answer_without_a_body_ends_at_once<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let request = peer.request().unwrap();
        assert_eq!((request.line.as_str(), request.header("content-length")), ("DELETE / HTTP/1.1", None));
        peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        peer.is_closed()
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(Request { method: Method::Delete, ..get(url) });
    assert_eq!(head(&mut exchange).await, Head::new(204));
    assert_eq!(body(&mut exchange).await, (Vec::new(), Ok(())));
    drop((exchange, runtime));
    assert!(script.await);
}

pub async fn answers_are_handed_on_as_they_are<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 307 Temporary Redirect\r\nlocation: /there\r\n");
        peer.write("content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope");
        peer.request()
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(get(url));
    let head = head(&mut exchange).await;
    assert_eq!((head.status, head.header("location")), (307, Some("/there")));
    assert_eq!(body(&mut exchange).await, (b"nope".to_vec(), Ok(())));
    drop((exchange, runtime));
    assert_eq!(script.await, None, "nothing else was asked for");
}

pub async fn a_header_whose_value_is_no_text_is_skipped<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write_bytes(b"HTTP/1.1 200 OK\r\nx-binary: \xff\xfe\r\nx-text: t\r\ncontent-length: 0\r\n\r\n");
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(get(url));
    let head = head(&mut exchange).await;
    assert_eq!((head.header("x-binary"), head.header("x-text")), (None, Some("t")));
    assert_eq!(body(&mut exchange).await, (Vec::new(), Ok(())));
    script.await;
}

pub async fn a_host_is_found_by_whichever_of_its_addresses_answers<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let host = peer.request().unwrap().header("host").unwrap().to_owned();
        peer.write(&ok(&host));
    });
    // It listens on one of the addresses of this name, of which there may be two.
    let url = url.replace("127.0.0.1", "localhost");
    assert_eq!(answer(&S::runtime(), get(&url)).await, (200, url.replace("http://", "")));
    script.await;
}

pub async fn a_refused_connection_is_not_sent<S: Subject>() {
    let (reach, reason) = failure(&S::runtime(), get(server::nobody())).await;
    assert_eq!(reach, Reach::NotSent);
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

pub async fn what_cannot_be_said_in_http_is_not_sent<S: Subject>() {
    let runtime = S::runtime();
    let (reach, reason) = failure(&runtime, get("gopher://here/")).await;
    assert_eq!((reach, reason.contains("http://")), (Reach::NotSent, true), "{reason}");
    let headers = vec![("x-line".into(), "a\r\nb: c".into())];
    let (reach, reason) = failure(&runtime, Request { headers, ..get(server::nobody()) }).await;
    assert_eq!((reach, reason.contains("x-line")), (Reach::NotSent, true), "{reason}");
}

pub async fn a_server_that_closes_without_an_answer_leaves_it_unknown<S: Subject>() {
    let (url, script) = serve(|listener| {
        Peer::accept(&listener).request().unwrap();
    });
    let (reach, reason) = failure(&S::runtime(), get(url)).await;
    assert_eq!(reach, Reach::Unknown, "{reason}");
    script.await;
}

pub async fn a_server_that_answers_garbage_leaves_it_unknown<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write("SSH-2.0-OpenSSH_9.2\r\n\r\n");
        peer.is_closed()
    });
    let (reach, reason) = failure(&S::runtime(), get(url)).await;
    assert_eq!(reach, Reach::Unknown, "{reason}");
    assert!(script.await);
}

pub async fn a_server_that_closes_in_the_middle_of_a_body_leaves_it_unknown<S: Subject>() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n64\r\nhalf",
    ] {
        let (url, script) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.request().unwrap();
            peer.write(answer);
        });
        let runtime = S::runtime();
        let mut exchange = runtime.request(get(url));
        assert_eq!(head(&mut exchange).await.status, 200);
        let (text, end) = body(&mut exchange).await;
        assert_eq!(text, b"half");
        assert_eq!(end.unwrap_err().0, Reach::Unknown, "{answer:?}");
        script.await;
    }
}

pub async fn dropping_an_exchange_before_its_answer_closes_its_connection<S: Subject>() {
    let (arrived, arrival) = futures_channel::oneshot::channel();
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        arrived.send(()).unwrap();
        peer.is_closed()
    });
    let runtime = S::runtime();
    let mut exchange = runtime.request(get(url));
    let mut arrival = Box::pin(arrival);
    poll_fn(|cx| {
        assert!(Pin::new(&mut exchange).poll_next(cx).is_pending());
        arrival.as_mut().poll(cx)
    })
    .await
    .unwrap();
    drop(exchange);
    assert!(script.await);
}

pub async fn dropping_an_exchange_in_the_middle_of_its_body_closes_its_connection<S: Subject>() {
    for start in ["transfer-encoding: chunked\r\n\r\n3\r\none\r\n", "content-length: 1000\r\n\r\none", "\r\none"] {
        let (url, script) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.request().unwrap();
            peer.write(&format!("HTTP/1.1 200 OK\r\n{start}"));
            peer.is_closed()
        });
        let runtime = S::runtime();
        let mut exchange = runtime.request(Request { streaming: true, ..get(url) });
        assert_eq!(head(&mut exchange).await.status, 200);
        assert_eq!(next(&mut exchange).await, Some(Input::Chunk(b"one".to_vec())));
        drop(exchange);
        assert!(script.await);
    }
}

pub async fn dropping_the_runtime_closes_what_was_kept<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write(&ok("kept"));
        peer.is_closed()
    });
    let runtime = S::runtime();
    assert_eq!(answer(&runtime.clone(), get(url)).await, (200, "kept".into()));
    drop(runtime);
    assert!(script.await);
}

pub async fn a_connection_is_used_again<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        for text in ["one", "two", "three"] {
            peer.request().unwrap();
            peer.write(&ok(text));
        }
    });
    let runtime = S::runtime();
    for text in ["one", "two", "three"] {
        assert_eq!(answer(&runtime.clone(), get(&url)).await, (200, text.into()));
    }
    script.await;
}

pub async fn a_connection_whose_answer_says_close_is_not_used_again<S: Subject>() {
    let (url, script) = serve(|listener| {
        for text in ["one", "two"] {
            let mut peer = Peer::accept(&listener);
            peer.request().unwrap();
            peer.write(&format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\n{text}"));
            // It is the client that closes.
            assert!(peer.is_closed());
        }
    });
    let runtime = S::runtime();
    for text in ["one", "two"] {
        assert_eq!(answer(&runtime, get(&url)).await, (200, text.into()));
    }
    script.await;
}

pub async fn a_stream_holds_up_no_call<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut stream = Peer::accept(&listener);
        stream.request().unwrap();
        stream.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut peer = Peer::accept(&listener);
        for _ in 0..2 {
            peer.request().unwrap();
            peer.write(&ok("called"));
        }
        stream.write("3\r\none\r\n0\r\n\r\n");
        // Once it has ended its connection serves as any other: it was used last.
        stream.request().unwrap();
        stream.write(&ok("called"));
    });
    let runtime = S::runtime();
    let mut stream = runtime.request(Request { streaming: true, ..get(&url) });
    assert_eq!(head(&mut stream).await.status, 200);
    for _ in 0..2 {
        assert_eq!(answer(&runtime, get(&url)).await, (200, "called".into()));
    }
    assert_eq!(body(&mut stream).await, (b"one".to_vec(), Ok(())));
    assert_eq!(answer(&runtime, get(&url)).await, (200, "called".into()));
    script.await;
}

pub async fn a_kept_connection_that_the_server_has_closed_is_replaced<S: Subject>() {
    let (url, script) = serve(|listener| {
        for _ in 0..3 {
            let mut peer = Peer::accept(&listener);
            peer.request().unwrap();
            peer.write(&ok("again"));
        }
    });
    let runtime = S::runtime();
    for _ in 0..3 {
        assert_eq!(answer(&runtime, get(&url)).await, (200, "again".into()));
        elsewhere(&runtime).await;
    }
    script.await;
}

pub async fn a_kept_connection_whose_server_is_gone_is_not_sent<S: Subject>() {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write(&ok("farewell"));
    });
    let runtime = S::runtime();
    assert_eq!(answer(&runtime, get(&url)).await, (200, "farewell".into()));
    script.await;
    elsewhere(&runtime).await;
    let (reach, reason) = failure(&runtime, get(&url)).await;
    assert_eq!(reach, Reach::NotSent, "{reason}");
}

/// A call to another server. It comes back after the runtime has seen what arrived before it on any connection.
async fn elsewhere<R: Runtime>(runtime: &R) {
    let (url, script) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.request().unwrap();
        peer.write(&ok(""));
    });
    assert_eq!(answer(runtime, get(url)).await, (200, String::new()));
    script.await;
}

pub async fn a_server_that_a_given_root_vouches_for_is_believed<S: Subject>() {
    let authority = Authority::new();
    let (url, script) = tls::serve(authority.server("localhost"), |mut peer| {
        for text in ["one", "two"] {
            peer.request().unwrap();
            peer.write(&ok(text));
        }
        peer.is_closed()
    });
    let runtime = S::with_tls(&TlsConfig::default().with_roots(authority.pem().as_bytes()).unwrap());
    for text in ["one", "two"] {
        assert_eq!(answer(&runtime, get(&url)).await, (200, text.into()));
    }
    drop(runtime);
    assert!(script.await.unwrap());
}

pub async fn a_server_that_no_root_vouches_for_is_not_sent_anything<S: Subject>() {
    let authority = Authority::new();
    for config in [
        TlsConfig::default(),
        TlsConfig::default().without_public_roots(),
        TlsConfig::default().with_roots(Authority::new().pem().as_bytes()).unwrap(),
    ] {
        let (url, script) = tls::serve(authority.server("localhost"), |mut peer| peer.request());
        let (reach, reason) = failure(&S::with_tls(&config), get(url)).await;
        assert_eq!((reach, reason.contains("UnknownIssuer")), (Reach::NotSent, true), "{reason}");
        script.await.unwrap_err();
    }
}

pub async fn a_server_with_another_name_is_not_sent_anything<S: Subject>() {
    let authority = Authority::new();
    let (url, script) = tls::serve(authority.server("elsewhere.example"), |mut peer| peer.request());
    let runtime = S::with_tls(&TlsConfig::default().with_roots(authority.pem().as_bytes()).unwrap());
    let (reach, reason) = failure(&runtime, get(url)).await;
    assert_eq!((reach, reason.contains("elsewhere.example")), (Reach::NotSent, true), "{reason}");
    script.await.unwrap_err();
}

pub async fn a_server_that_asks_for_a_certificate_is_shown_it<S: Subject>() {
    let authority = Authority::new();
    let (url, script) = tls::serve(authority.server_that_asks("localhost"), |mut peer| {
        peer.request().unwrap();
        peer.write(&ok("welcome"));
    });
    let (certificate, key) = authority.client();
    let config = TlsConfig::default().with_roots(authority.pem().as_bytes()).unwrap();
    let config = config.with_identity(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(answer(&S::with_tls(&config), get(url)).await, (200, "welcome".into()));
    script.await.unwrap();
}

pub async fn a_server_that_asks_for_a_certificate_and_sees_none_answers_nothing<S: Subject>() {
    let authority = Authority::new();
    let (url, script) = tls::serve(authority.server_that_asks("localhost"), |mut peer| peer.request());
    let runtime = S::with_tls(&TlsConfig::default().with_roots(authority.pem().as_bytes()).unwrap());
    // The server says so at a time of its own: the request may have been written by then, or not.
    let (_, reason) = failure(&runtime, get(url)).await;
    assert!(reason.contains("CertificateRequired"), "{reason}");
    script.await.unwrap_err();
}

pub async fn a_server_that_never_agrees_on_tls_is_not_sent_anything<S: Subject>() {
    let (url, script) = serve(|listener| Peer::accept(&listener).is_closed_after_what_comes());
    let (reach, reason) = failure(&S::runtime(), get(url.replace("http://", "https://"))).await;
    assert_eq!((reach, reason.as_str()), (Reach::NotSent, "no connection within 5s"));
    assert!(script.await);
}

pub async fn a_timer_rings_when_its_instant_has_come<S: Subject>() {
    let runtime = S::runtime();
    let began = runtime.now();
    for span in [Duration::from_millis(30), Duration::ZERO, Duration::from_micros(300)] {
        let at = runtime.now().saturating_add(span);
        runtime.sleep_until(at).await;
        assert!(runtime.now() >= at);
    }
    // What has been is past.
    runtime.sleep_until(began).await;
    // One that has not come is not rung, and can be dropped.
    let mut far = runtime.sleep_until(runtime.now().saturating_add(Duration::from_secs(3600)));
    poll_fn(|cx| {
        assert!(Pin::new(&mut far).poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

pub async fn what_was_stored_is_loaded<S: Subject>() {
    let runtime = S::runtime();
    runtime.store("sets", b"nowhere".to_vec());
    assert_eq!(runtime.load("sets"), None, "nothing is kept unless a directory is given");

    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("periplus-stored-{}-{count}", std::process::id()));
    let runtime = S::with_storage(&directory);
    assert_eq!(runtime.load("sets"), None);
    for count in 0..100_u8 {
        runtime.store("sets", vec![count; 10_000]);
        assert_eq!(runtime.load("sets"), Some(vec![count; 10_000]));
    }
    // It gets into the file by itself.
    let file = directory.join("sets.periplus");
    while std::fs::read(&file).ok() != Some(vec![99; 10_000]) {
        runtime.sleep_until(runtime.now().saturating_add(Duration::from_millis(1))).await;
    }
    assert_eq!(S::with_storage(&directory).load("sets"), Some(vec![99; 10_000]));
    std::fs::remove_dir_all(directory).unwrap();
}

pub async fn randomness_differs<S: Subject>() {
    let runtime = S::runtime();
    let (mut one, mut other) = ([0; 16], [0; 16]);
    runtime.entropy(&mut one);
    runtime.entropy(&mut other);
    assert_ne!(one, other);
    assert_ne!(one, [0; 16]);
}
