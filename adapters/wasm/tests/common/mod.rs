//! The runtime in a real browser. What needs a registry is tested by `cargo xtask browser-test`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use periplus_wasm::core::http::{Failure, Input, Method, Reach, Request};
use periplus_wasm::{Browser, Runtime};
use wasm_bindgen_test::wasm_bindgen_test;

fn get(url: &str) -> Request {
    Request { method: Method::Get, url: url.into(), headers: Vec::new(), body: Vec::new(), streaming: false }
}

/// All that comes of a request.
async fn ask(request: Request) -> Vec<Input> {
    let mut exchange = Browser::new().request(request);
    let mut inputs = Vec::new();
    while let Some(input) = poll_fn(|context| Pin::new(&mut exchange).poll_next(context)).await {
        inputs.push(input);
    }
    inputs
}

#[wasm_bindgen_test]
async fn an_answer_is_its_head_and_its_chunks_and_its_end() {
    let inputs = ask(get("data:text/plain;base64,TGFuZCBpbiBzaWdodA==")).await;
    let [Input::Response(head), chunks @ .., Input::End] = &*inputs else { panic!("{inputs:?}") };
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/plain")));
    let bytes = chunks.iter().map(|input| if let Input::Chunk(chunk) = input { &**chunk } else { panic!("{input:?}") });
    assert_eq!(bytes.collect::<Vec<_>>().concat(), b"Land in sight");
}

#[wasm_bindgen_test]
async fn nobody_knows_what_became_of_a_request_without_an_answer() {
    // A port that no browser speaks to.
    let inputs = ask(get("http://127.0.0.1:1/")).await;
    assert!(matches!(&*inputs, [Input::Failure(Failure { reach: Reach::Unknown, .. })]), "{inputs:?}");
}

#[wasm_bindgen_test]
async fn a_request_that_cannot_be_made_was_not_sent() {
    let mut request = get("data:,");
    request.headers.push(("not a name".into(), "x".into()));
    for request in [request, get("http://[/"), Request { body: vec![1], ..get("data:,") }] {
        let inputs = ask(request).await;
        assert!(matches!(&*inputs, [Input::Failure(Failure { reach: Reach::NotSent, .. })]), "{inputs:?}");
    }
}

#[wasm_bindgen_test]
async fn timers_ring_in_their_order_and_never_early() {
    let browser = Browser::new();
    let start = browser.now();
    let mut late = pin!(browser.sleep_until(start.saturating_add(Duration::from_millis(60))));
    let mut never = pin!(browser.sleep_until(start.saturating_add(Duration::from_secs(86_400 * 365))));
    browser.sleep_until(start.saturating_add(Duration::from_millis(30))).await;
    assert!(browser.now() >= start.saturating_add(Duration::from_millis(30)));
    poll_fn(|context| {
        assert_eq!(never.as_mut().poll(context), Poll::Pending);
        late.as_mut().poll(context)
    })
    .await;
    assert!(browser.now() >= start.saturating_add(Duration::from_millis(60)));
}

#[wasm_bindgen_test]
async fn a_timer_that_is_due_rings_at_once() {
    let browser = Browser::new();
    let mut due = pin!(browser.sleep_until(browser.now()));
    poll_fn(|context| Poll::Ready(assert_eq!(due.as_mut().poll(context), Poll::Ready(())))).await;
}

#[wasm_bindgen_test]
async fn a_timer_counts_what_the_machine_slept() {
    let browser = Browser::new();
    let start = browser.now();
    let hour = Duration::from_secs(3_600);
    let mut timer = pin!(browser.sleep_until(start.saturating_add(hour)));
    poll_fn(|context| Poll::Ready(assert_eq!(timer.as_mut().poll(context), Poll::Pending))).await;
    // As if it slept from here.
    js_sys::eval("globalThis.awake = Date.now; Date.now = () => awake() + 3600000").unwrap();
    js_sys::eval("dispatchEvent(new Event('online'))").unwrap();
    timer.await;
    assert!(browser.now() >= start.saturating_add(hour));
    js_sys::eval("Date.now = awake").unwrap();
}

#[wasm_bindgen_test]
fn randomness_is_not_twice_the_same() {
    let mut bytes = [[0; 32]; 2];
    for bytes in &mut bytes {
        Browser::new().entropy(bytes);
    }
    assert_ne!(bytes[0], bytes[1]);
    assert_ne!(bytes[0], [0; 32]);
}

/// What a page stores is found again; a worker has nowhere to store it.
pub(crate) fn store_and_load(kept: bool) {
    let browser = Browser::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
    browser.store("test", bytes.clone());
    assert_eq!(browser.load("test"), kept.then_some(bytes));
    assert_eq!(browser.load("something else"), None);
}
