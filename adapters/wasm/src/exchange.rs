//! A request: `fetch`, with the body of the answer as it comes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use js_sys::{Array, Promise, Reflect, Uint8Array};
use periplus::core::http::{Failure, Head, Input, Method, Request};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, ReadableStreamDefaultReader, ReadableStreamReadResult, RequestCache, RequestInit, Response,
};

use crate::page::Page;

/// The longest body of a last word: of what is sent even if its page goes away meanwhile. Browsers give a page 64 KiB for
/// all of these together.
const LAST_WORDS: usize = 1024;

/// A request of the [`Browser`](crate::Browser)'s. Dropping it aborts the request.
///
/// A browser does not tell how far a request came that failed, nor why. So each failure is one of
/// [unknown](periplus::core::http::Reach::Unknown) outcome, but for requests that cannot be made at all.
pub struct Exchange {
    state: State,
    abort: Option<AbortController>,
    page: Rc<Page>,
}

enum State {
    /// It cannot be made.
    Refused(Failure),
    /// It is on its way.
    Sent(JsFuture),
    /// The answer is there, and its body is to come.
    Answered(Option<ReadableStreamDefaultReader>),
    /// A piece of the body is waited for.
    Reading(ReadableStreamDefaultReader, JsFuture),
    /// Everything is said.
    Over,
}

impl Exchange {
    pub(crate) fn new(page: Rc<Page>, request: &Request) -> Self {
        let (state, abort) = match send(request, page.is_leaving()) {
            Ok((abort, answer)) => (State::Sent(answer), Some(abort)),
            Err(error) => {
                let reason = format!("the browser cannot make a request to {}: {}", request.url, text(&error));
                (State::Refused(Failure::not_sent(reason)), None)
            }
        };
        Self { state, abort, page }
    }

    fn fail(&mut self, what: &str, error: &JsValue) -> Input {
        self.state = State::Over;
        // Browsers break requests when the machine goes to sleep, or its network does.
        self.page.sign_of_sleep();
        Input::Failure(Failure::unknown(format!("{what}: {}", text(error))))
    }
}

impl Stream for Exchange {
    type Item = Input;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Input>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Refused(failure) => {
                    let failure = failure.clone();
                    this.state = State::Over;
                    return Poll::Ready(Some(Input::Failure(failure)));
                }
                State::Sent(answer) => {
                    let answer = ready!(Pin::new(answer).poll(context));
                    return Poll::Ready(Some(match answer {
                        Ok(response) => {
                            let response: Response = response.unchecked_into();
                            let reader = response.body().map(|body| body.get_reader().unchecked_into());
                            this.state = State::Answered(reader);
                            Input::Response(head(&response))
                        }
                        Err(error) => this.fail(
                            "there is no answer from the registry, or it does not allow this page (--cors-origin)",
                            &error,
                        ),
                    }));
                }
                State::Answered(None) => {
                    this.state = State::Over;
                    return Poll::Ready(Some(Input::End));
                }
                State::Answered(reader) => {
                    let reader = reader.take().expect("an answer without a body was handled above");
                    let piece = JsFuture::from(reader.read());
                    this.state = State::Reading(reader, piece);
                }
                State::Reading(reader, piece) => match ready!(Pin::new(piece).poll(context)) {
                    Ok(piece) => {
                        let piece: ReadableStreamReadResult = piece.unchecked_into();
                        let reader = reader.clone();
                        let chunk = piece.get_value();
                        if piece.get_done().unwrap_or(true) {
                            this.state = State::Over;
                            return Poll::Ready(Some(Input::End));
                        }
                        this.state = State::Answered(Some(reader));
                        return Poll::Ready(Some(Input::Chunk(Uint8Array::new(&chunk).to_vec())));
                    }
                    Err(error) => return Poll::Ready(Some(this.fail("the answer broke off", &error))),
                },
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let (Some(abort), false) = (&self.abort, matches!(self.state, State::Over)) {
            abort.abort();
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Refused(_) => "refused",
            State::Sent(_) => "sent",
            State::Answered(_) | State::Reading(..) => "answered",
            State::Over => "over",
        };
        f.debug_struct("Exchange").field("state", &state).finish_non_exhaustive()
    }
}

/// Begins a request. It is on its way when this returns.
///
/// # Errors
/// If there cannot be such a request; nothing was sent.
fn send(request: &Request, is_leaving: bool) -> Result<(AbortController, JsFuture), JsValue> {
    let headers = web_sys::Headers::new()?;
    for (name, value) in &request.headers {
        headers.append(name, value)?;
    }
    let abort = AbortController::new()?;
    let init = RequestInit::new();
    init.set_method(request.method.as_str());
    init.set_headers(&headers);
    init.set_cache(RequestCache::NoStore);
    init.set_signal(Some(&abort.signal()));
    if !request.body.is_empty() {
        init.set_body(&Uint8Array::from(&*request.body));
    }
    // Only Periplus deregisters with a method of its own.
    let is_last_word = request.method == Method::Delete || (is_leaving && request.method != Method::Get);
    if is_last_word && request.body.len() <= LAST_WORDS {
        Reflect::set(&init, &"keepalive".into(), &JsValue::TRUE)?;
    }
    let request = web_sys::Request::new_with_str_and_init(&request.url, &init)?;
    Ok((abort, fetch(&request).into()))
}

/// The head of an answer, as far as the browser shows it to this page.
fn head(response: &Response) -> Head {
    let mut head = Head::new(response.status());
    for entry in response.headers().entries() {
        let Ok(entry) = entry else { break };
        let entry: Array = entry.unchecked_into();
        if let (Some(name), Some(value)) = (entry.get(0).as_string(), entry.get(1).as_string()) {
            head.headers.push((name.into(), value.into()));
        }
    }
    head
}

/// What an error of the browser's says.
fn text(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.to_string().into(),
        None => format!("{error:?}"),
    }
}

#[wasm_bindgen]
extern "C" {
    /// That of the page or of the worker, whichever this is.
    fn fetch(request: &web_sys::Request) -> Promise;
}
