//! What goes to the registry and comes from it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use js_sys::Reflect;
use periplus_wasm::core::backend::Native;
use periplus_wasm::core::client::{Backoff, Channel, ClientConfig, ClientEvent, Provenance};
use periplus_wasm::core::http::sse::SseDecoder;
use periplus_wasm::core::http::target::Target;
use periplus_wasm::core::http::{Input, Method, Request};
use periplus_wasm::core::{Instant, Rng};
use periplus_wasm::runtime::Runtime as _;
use periplus_wasm::{Browser, Client, ConnectOptions, Exchange, drive};
use serde_json::Value;
use smol_str::SmolStr;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::{listen, tell, tell_calmly, window};
use crate::Millis;
use crate::action::Job;
use crate::calls::Problem;
use crate::json::Read as _;
use crate::model::Belief;
use crate::update::Msg;

/// What the registry's operators read of who calls, and the header that says it.
const CALLER: &str = "dashboard";
const HEADER: &str = "periplus-caller";
/// Events that happened before one began to look.
const EVENTS: u32 = 1_000;
/// The longest event.
const EVENT: usize = 1 << 20;

/// What an answer is told as.
type Answered = Box<dyn FnOnce(Result<Value, Problem>) -> Msg>;

/// The client, and what it is held by.
pub(super) struct Wire {
    origin: SmolStr,
    client: Client,
    /// Rises with every namespace that is followed: what belongs to an earlier one is not told.
    turn: Rc<Cell<u32>>,
    /// What changes in the fleet.
    gate: Rc<Gate>,
    /// What happens.
    ears: Rc<Gate>,
}

impl Wire {
    pub(super) fn new(origin: &str, namespace: &str) -> Self {
        let browser = Browser::new();
        let mut seed = [0; 32];
        browser.entropy(&mut seed);
        // The browser says where the page comes from as requests need it: nothing is left to read in it.
        let config = ClientConfig {
            origins: vec![origin.into()],
            headers: vec![(HEADER.into(), CALLER.into())],
            ..ClientConfig::default()
        };
        let machine = Native::new(config, seed, browser.now());
        let client = drive(Box::new(machine), &ConnectOptions::default());
        let wire =
            Self { origin: origin.into(), client, turn: Rc::default(), gate: Rc::default(), ears: Rc::default() };
        wire.follow(namespace);
        spawn_local(observe(wire.client.clone()));
        spawn_local(events(wire.origin.clone(), Rc::clone(&wire.ears)));
        wire
    }

    pub(super) fn now(&self) -> Millis {
        millis(Browser::new().now())
    }

    /// Follows all services of a namespace, and nothing else any more.
    pub(super) fn follow(&self, namespace: &str) {
        self.turn.set(self.turn.get() + 1);
        match self.client.namespace(namespace) {
            Ok(client) => spawn_local(fleet(client, Rc::clone(&self.turn), Rc::clone(&self.gate))),
            Err(error) => {
                let reason = error.to_string().into();
                soon(move || tell(Msg::Lost(reason)));
            }
        }
    }

    /// Takes what changes, or leaves it for later: the client keeps the one difference that there will be.
    pub(super) fn hold(&self, hold: bool) {
        self.gate.set(hold);
    }

    /// Lets go of the connections that bring what is new, or has them again: from where they were.
    pub(super) fn rest(&self, rest: bool) {
        self.ears.set(rest);
        if rest { self.client.suspend() } else { self.client.resume() }
    }

    pub(super) fn wake(&self) {
        let signal = self.client.online_signal();
        soon(move || signal.notify());
    }

    pub(super) fn ask(&self, target: &Target, tell: fn(Msg), answered: Answered) {
        self.call(Method::Get, target, String::new(), tell, answered);
    }

    pub(super) fn send(&self, job: &Job, target: &Target, done: Answered) {
        let method = match job.method {
            "DELETE" => Method::Delete,
            "PATCH" => Method::Patch,
            _ => Method::Post,
        };
        self.call(method, target, job.body.clone(), tell_calmly, done);
    }

    fn call(&self, method: Method, target: &Target, body: String, tell: fn(Msg), answered: Answered) {
        let request = request(method, target.url(&self.origin), body, false);
        spawn_local(async move {
            let result = answer(request).await;
            tell(answered(result));
        });
    }
}

/// Lets nobody through while it is closed.
#[derive(Default)]
struct Gate {
    closed: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    fn set(&self, closed: bool) {
        self.closed.set(closed);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) {
        poll_fn(|cx| if self.is_closed(cx) { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    /// Whether it is; whoever asks is woken when that changes.
    fn is_closed(&self, cx: &Context<'_>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        self.closed.get()
    }
}

fn millis(at: Instant) -> Millis {
    at.as_micros() / 1000
}

fn request(method: Method, url: String, body: String, streaming: bool) -> Request {
    let mut request = Request { method, url, headers: Vec::new(), body: body.into_bytes(), streaming };
    request.set_header(HEADER, CALLER);
    if !request.body.is_empty() {
        request.set_header("content-type", "application/json");
    }
    request
}

/// Does this beside everything else. All tasks are of one kind: each kind is code of its own.
fn spawn_local(task: impl Future<Output = ()> + 'static) {
    let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    wasm_bindgen_futures::spawn_local(task);
}

/// The next that comes of a request.
async fn next(exchange: &mut Exchange) -> Option<Input> {
    poll_fn(|cx: &mut Context<'_>| Pin::new(&mut *exchange).poll_next(cx)).await
}

/// The whole answer to a request.
async fn answer(request: Request) -> Result<Value, Problem> {
    let lost = |reason: &str| Problem { status: 0, code: "unreachable".into(), message: reason.into() };
    let mut exchange = Browser::new().request(request);
    let (mut status, mut body) = (0, Vec::new());
    while let Some(input) = next(&mut exchange).await {
        match input {
            Input::Response(head) => status = head.status,
            Input::Chunk(chunk) => body.extend_from_slice(&chunk),
            Input::End => break,
            Input::Failure(failure) => return Err(lost(&failure.reason)),
        }
    }
    let value: Value = serde_json::from_slice(&body).map_err(|_| lost("the answer is no JSON"))?;
    if (200..300).contains(&status) {
        return Ok(value);
    }
    Err(Problem { status, code: value.text("code"), message: value.text("message") })
}

/// Follows the fleet, until another one is to be followed.
async fn fleet(client: Client, turn: Rc<Cell<u32>>, gate: Rc<Gate>) {
    let mine = turn.get();
    let Ok(mut watcher) = client.watch_all() else { return };
    let mut heard = false;
    loop {
        gate.pass().await;
        let Some(changed) = watcher.next_changes().await else { return };
        // It was waited for before the gate was closed.
        gate.pass().await;
        if turn.get() != mine {
            return;
        }
        let now = Browser::new().now();
        let (belief, lost) = match changed.provenance {
            Provenance::Unknown => continue,
            Provenance::Live => (Belief::Live, None),
            Provenance::Unconfirmed => (Belief::Unconfirmed, None),
            Provenance::Stale { since } => (Belief::Stale, Some(millis(since.min(now)))),
        };
        let revision = changed.cursor.map_or(0, |cursor| cursor.revision.0);
        tell_calmly(Msg::Fleet(changed.changes, belief, lost, revision));
        if !std::mem::replace(&mut heard, true) {
            // The list is there for the first time: it has a height now.
            soon(listen::measure);
        }
    }
}

/// Tells how it goes with the client.
async fn observe(client: Client) {
    let mut events = client.events();
    drop(client);
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::Connected { channel: Channel::Watch, .. } => tell(Msg::Lost(SmolStr::default())),
            ClientEvent::Disconnected { channel: Channel::Watch, reason, .. } => tell(Msg::Lost(reason.into())),
            ClientEvent::WatchRefused(problem) => {
                let status = if matches!(&*problem.code, "host_refused" | "origin_refused") { 403 } else { 400 };
                tell(Msg::Refused(Problem { status, code: problem.code, message: problem.message.into() }));
            }
            ClientEvent::Alarm { namespace, expired, of } => tell(Msg::Alarm(Some((namespace, expired, of)))),
            ClientEvent::AlarmEnded { .. } => tell(Msg::Alarm(None)),
            _ => {}
        }
    }
}

/// The next that comes of a request, as long as a gate is open.
async fn next_through(gate: &Gate, exchange: &mut Exchange) -> Option<Input> {
    poll_fn(|cx| if gate.is_closed(cx) { Poll::Ready(None) } else { Pin::new(&mut *exchange).poll_next(cx) }).await
}

/// Follows what happens, for ever, while the gate is open.
async fn events(origin: SmolStr, gate: Rc<Gate>) {
    let browser = Browser::new();
    let mut seed = [0; 32];
    browser.entropy(&mut seed);
    let mut rng = Rng::new(seed);
    let mut backoff = Backoff::default();
    let mut last: Option<SmolStr> = None;
    loop {
        gate.pass().await;
        let url = Target::new("/v1/events").query("limit", EVENTS).url(&origin);
        let mut request = request(Method::Get, url, String::new(), true);
        request.set_header("accept", "text/event-stream");
        if let Some(last) = &last {
            request.set_header("last-event-id", last.clone());
        }
        let mut exchange = browser.request(request);
        let mut decoder = SseDecoder::new(EVENT);
        let mut open = false;
        'stream: while let Some(input) = next_through(&gate, &mut exchange).await {
            match input {
                Input::Response(head) => {
                    open = head.is_success();
                    if !open {
                        break;
                    }
                }
                Input::Chunk(chunk) => {
                    let mut rest = &*chunk;
                    loop {
                        match decoder.decode(&mut rest) {
                            Ok(Some(event)) => {
                                last = event.id.or(last);
                                if let Ok(value @ Value::Object(_)) = serde_json::from_slice(event.data.as_bytes()) {
                                    tell_calmly(Msg::Happened(value));
                                }
                            }
                            Ok(None) => break,
                            Err(_) => break 'stream,
                        }
                    }
                }
                Input::End | Input::Failure(_) => break,
            }
        }
        drop(exchange);
        if gate.closed.get() {
            continue;
        }
        let now = browser.now();
        let pause = if open {
            backoff.worked(now);
            backoff.spread(&mut rng, Duration::from_secs(1), now)
        } else {
            backoff.next(&mut rng, Backoff::CAP, None, now)
        };
        sleep(pause).await;
    }
}

async fn sleep(time: Duration) {
    let browser = Browser::new();
    browser.sleep_until(browser.now().saturating_add(time)).await;
}

/// The time.
pub(super) fn time() -> Msg {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a time of our days")]
    let wall = js_sys::Date::now() as u64;
    Msg::Tick(millis(Browser::new().now()), wall)
}

/// Tells the time, every second.
pub(super) fn tick() {
    spawn_local(async {
        loop {
            tell_calmly(time());
            listen::measure();
            sleep(Duration::from_secs(1)).await;
        }
    });
}

/// Does this once what is going on is over and drawn.
pub(super) fn soon(what: impl FnOnce() + 'static) {
    let what: Box<dyn FnOnce()> = Box::new(what);
    spawn_local(async {
        let frame = js_sys::Promise::new(&mut |resolve, _| {
            let _ = window().request_animation_frame(&resolve);
        });
        let _ = JsFuture::from(frame).await;
        what();
    });
}

/// Does this in a moment.
pub(super) fn later(what: fn()) {
    spawn_local(async move {
        sleep(Duration::from_millis(100)).await;
        what();
    });
}

/// Copies a text, and says whether that went well.
pub(super) fn copy(text: &str) {
    // Only pages that came safely have one.
    let clipboard = Reflect::get(&window().navigator(), &JsValue::from_str("clipboard")).ok();
    let clipboard = clipboard.filter(JsValue::is_object).map(JsCast::unchecked_into::<web_sys::Clipboard>);
    let Some(clipboard) = clipboard else {
        return soon(|| tell(Msg::Copied(false)));
    };
    let written = clipboard.write_text(text);
    spawn_local(async move {
        let well = JsFuture::from(written).await.is_ok();
        tell(Msg::Copied(well));
    });
}
