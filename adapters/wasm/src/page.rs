//! The page, or worker, that everything here runs in: its clock, its events, and who wants to know of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use js_sys::Reflect;
use periplus::core::Instant;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use web_sys::{Event, EventTarget};

use crate::clock::{Clock, Reading};

/// What there is once in a page.
#[derive(Default)]
pub(crate) struct Page {
    clock: RefCell<Clock>,
    /// Timers that somebody waits for.
    sleepers: RefCell<Vec<(u64, Waker)>>,
    next_sleeper: Cell<u64>,
    /// Who is told when the page was woken, as long as they answer that they want to be.
    on_wake: RefCell<Vec<Box<dyn Fn() -> bool>>>,
    /// Who is told when the page goes away for good.
    on_leave: RefCell<Vec<Box<dyn Fn()>>>,
    /// Whether it goes away for good.
    is_leaving: Cell<bool>,
}

thread_local! {
    static PAGE: Rc<Page> = Page::new();
}

impl Page {
    /// The page that this runs in.
    pub(crate) fn this() -> Rc<Self> {
        PAGE.with(Rc::clone)
    }

    fn new() -> Rc<Self> {
        let page = Rc::new(Self::default());
        page.with_clock(|clock, reading| clock.hide(is_hidden(), reading));
        page.listen();
        page
    }

    /// The time; see [`Clock`].
    pub(crate) fn now(&self) -> Instant {
        self.with_clock(Clock::read)
    }

    /// Notes that the machine may have slept.
    pub(crate) fn sign_of_sleep(&self) {
        self.with_clock(Clock::sign);
    }

    /// How many sleeps were noticed.
    pub(crate) fn sleeps(&self) -> u32 {
        self.clock.borrow().sleeps()
    }

    /// Reads the clock, and wakes all timers if that was when a sleep came to light: they are set for too late.
    fn with_clock<T>(&self, read: impl FnOnce(&mut Clock, Reading) -> T) -> T {
        let reading = Reading { running: performance_now(), wall: js_sys::Date::now() };
        let (result, slept) = {
            let mut clock = self.clock.borrow_mut();
            let before = clock.sleeps();
            (read(&mut clock, reading), clock.sleeps() != before)
        };
        if slept {
            for (_, waker) in self.sleepers.take() {
                waker.wake();
            }
        }
        result
    }

    /// A number for a timer.
    pub(crate) fn sleeper(&self) -> u64 {
        self.next_sleeper.replace(self.next_sleeper.get() + 1)
    }

    /// Says who waits for a timer.
    pub(crate) fn park(&self, sleeper: u64, waker: &Waker) {
        let mut sleepers = self.sleepers.borrow_mut();
        match sleepers.iter_mut().find(|(id, _)| *id == sleeper) {
            Some((_, parked)) => parked.clone_from(waker),
            None => sleepers.push((sleeper, waker.clone())),
        }
    }

    /// Who waits for a timer, and no longer does.
    pub(crate) fn unpark(&self, sleeper: u64) -> Option<Waker> {
        let mut sleepers = self.sleepers.borrow_mut();
        let at = sleepers.iter().position(|(id, _)| *id == sleeper)?;
        Some(sleepers.swap_remove(at).1)
    }

    /// Calls this whenever the page was woken or its network is back, until it answers `false`.
    pub(crate) fn on_wake(&self, tell: impl Fn() -> bool + 'static) {
        self.on_wake.borrow_mut().push(Box::new(tell));
    }

    /// Calls this when the page goes away for good, once.
    pub(crate) fn on_leave(&self, tell: impl Fn() + 'static) {
        self.on_leave.borrow_mut().push(Box::new(tell));
    }

    fn woken(&self) {
        // Whoever is told may ask to be told again of the next time.
        let mut told = self.on_wake.take();
        told.retain(|tell| tell());
        self.on_wake.borrow_mut().append(&mut told);
    }

    /// Whether the page goes away for good: what is sent now are last words.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    fn leaving(&self) {
        self.is_leaving.set(true);
        for tell in self.on_leave.take() {
            tell();
        }
    }

    /// Listens to what the browser says about the page, for as long as that lives.
    fn listen(self: &Rc<Self>) {
        let page = Rc::clone(self);
        let handle = Closure::<dyn FnMut(Event)>::new(move |event: Event| page.handle(&event));
        let function = handle.as_ref().unchecked_ref();
        let global = js_sys::global();
        let targets = [(Some(global.clone().into()), WINDOW_EVENTS), (document(), DOCUMENT_EVENTS)];
        for (target, events) in targets {
            let Some(target) = target.and_then(|target: JsValue| target.dyn_into::<EventTarget>().ok()) else {
                continue;
            };
            for event in events {
                let _ = target.add_event_listener_with_callback(event, function);
            }
        }
        handle.forget();
    }

    fn handle(&self, event: &Event) {
        match event.type_().as_str() {
            "visibilitychange" => {
                let hidden = is_hidden();
                self.with_clock(|clock, reading| clock.hide(hidden, reading));
                if !hidden {
                    self.woken();
                }
            }
            // The page comes out of the cache of those that one may go back to, or goes into it.
            "pageshow" | "pagehide" if property(event, "persisted") == JsValue::FALSE => {
                if event.type_() == "pagehide" {
                    self.leaving();
                }
            }
            "pageshow" | "resume" | "online" => {
                self.sign_of_sleep();
                self.woken();
            }
            _ => self.sign_of_sleep(),
        }
    }
}

const WINDOW_EVENTS: &[&str] = &["online", "offline", "pageshow", "pagehide"];
const DOCUMENT_EVENTS: &[&str] = &["visibilitychange", "freeze", "resume"];

/// The document, unless this is a worker.
fn document() -> Option<JsValue> {
    let document = property(&js_sys::global(), "document");
    (!document.is_undefined()).then_some(document)
}

fn is_hidden() -> bool {
    document().is_some_and(|document| property(&document, "visibilityState") == "hidden")
}

fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}
