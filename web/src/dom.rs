//! The browser's part: the page is made to look like the screen, and what happens to it is told to the model.

mod handlers;
mod links;
mod listen;
mod patch;
mod settings;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::{Document, Element, HtmlElement, Window};

use crate::model::Model;
use crate::route::Route;
use crate::update::{Effect, Msg, update};
use crate::view::view;

use patch::Mounted;
use wire::Wire;

thread_local! {
    static PAGE: RefCell<Option<Page>> = const { RefCell::new(None) };
    /// What has not been taken yet. Messages may come of what other messages do.
    static INBOX: RefCell<VecDeque<Msg>> = const { RefCell::new(VecDeque::new()) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static DRAWN: Cell<bool> = const { Cell::new(true) };
    /// Whether it is drawn in a moment.
    static WAITING: Cell<bool> = const { Cell::new(false) };
}

/// What there is once in the page.
struct Page {
    model: Model,
    root: Element,
    mounted: Mounted,
    wire: Wire,
}

/// Begins.
#[wasm_bindgen(start)]
pub(crate) fn start() {
    let address = window().location();
    let hash = address.hash().unwrap_or_default();
    let origin = address.origin().unwrap_or_default();
    let (theme, language) = settings::kept();
    let model = Model::new(Route::parse(&hash), theme, language, origin.as_str().into());
    let root = document().get_element_by_id("root").expect("the page has a place for it");
    settings::look(&model);
    root.set_text_content(None);
    let mounted = patch::mount(&view(&model).into(), false);
    let _ = root.append_child(mounted.dom());
    let wire = Wire::new(&origin, model.route.namespace());
    PAGE.set(Some(Page { model, root, mounted, wire }));
    listen::listen();
    wire::tick();
}

fn window() -> Window {
    web_sys::window().expect("it runs in a page")
}

fn document() -> Document {
    window().document().expect("a page has a document")
}

/// Tells the model what somebody did, and does what it says; shows it with the next frame.
fn tell(msg: Msg) {
    hear(msg);
    draw_soon();
}

/// Tells the model what the registry says, or the clock. It is shown in a moment, with all else that comes until then:
/// nobody reads faster, and a page that draws sixty times a second has no time for whoever uses it.
fn tell_calmly(msg: Msg) {
    hear(msg);
    if !WAITING.replace(true) {
        wire::later(|| {
            WAITING.set(false);
            draw_soon();
        });
    }
}

fn hear(msg: Msg) {
    INBOX.with_borrow_mut(|inbox| inbox.push_back(msg));
    if !BUSY.get() {
        take();
    }
}

/// Takes what was told, and what comes of that.
fn take() {
    BUSY.set(true);
    while let Some(msg) = INBOX.with_borrow_mut(VecDeque::pop_front) {
        PAGE.with_borrow_mut(|page| {
            let Some(page) = page else { return };
            for effect in update(&mut page.model, msg) {
                page.perform(effect);
            }
        });
    }
    BUSY.set(false);
}

/// Draws with the browser's next frame, once for all that happens until then.
fn draw_soon() {
    if DRAWN.replace(false) {
        let draw = Closure::once_into_js(draw);
        let _ = window().request_animation_frame(draw.unchecked_ref());
    }
}

fn draw() {
    DRAWN.set(true);
    // What the browser tells while the page is changed is taken afterwards.
    BUSY.set(true);
    let again = PAGE.with_borrow_mut(|page| {
        let page = page.as_mut()?;
        let now = page.wire.now();
        page.model.now = page.model.now.max(now);
        let again = page.model.list.arrange(&page.model.route, &page.model.fleet, page.model.now);
        let screen = view(&page.model).into();
        patch::patch(&page.root, &mut page.mounted, &screen, false);
        links::mark(&page.model);
        again.then_some(())
    });
    BUSY.set(false);
    if again.is_some() && !WAITING.replace(true) {
        wire::later(|| {
            WAITING.set(false);
            draw_soon();
        });
    }
    if INBOX.with_borrow(|inbox| !inbox.is_empty()) {
        take();
        draw_soon();
    }
}

impl Page {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Follow(namespace) => self.wire.follow(&namespace),
            Effect::Ask(call) => {
                let target = call.target(self.model.route.namespace());
                // What somebody waits for is shown at once.
                let how = if self.model.answers.value(&call).is_none() { tell } else { tell_calmly };
                self.wire.ask(&target, how, Box::new(|result| Msg::Answered(call, result)));
            }
            Effect::AskPast(namespace, target) => {
                self.wire.ask(&target, tell_calmly, Box::new(|result| Msg::Past(namespace, result)));
            }
            Effect::Send(at, job) => {
                let target = job.target(self.model.route.namespace());
                self.wire.send(&job, &target, Box::new(move |result| Msg::Done(at, result)));
            }
            Effect::Hold(hold) => self.wire.hold(hold),
            Effect::Rest(rest) => self.wire.rest(rest),
            Effect::Wake => self.wire.wake(),
            Effect::Address(hash, remember) => {
                let history = window().history().expect("a page has a history");
                let null = wasm_bindgen::JsValue::NULL;
                let _ = if remember {
                    history.push_state_with_url(&null, "", Some(&hash))
                } else {
                    history.replace_state_with_url(&null, "", Some(&hash))
                };
            }
            Effect::Back => drop(window().history().map(|history| history.back())),
            Effect::Keep(name, value) => settings::keep(name, value),
            Effect::Look => settings::look(&self.model),
            Effect::Focus(id) => focus_soon(id),
            Effect::Scroll(top) => wire::soon(move || {
                if let Some(list) = document().get_element_by_id("list") {
                    list.set_scroll_top(i32::try_from(top).unwrap_or(i32::MAX));
                }
            }),
            Effect::Copy(text) => wire::copy(&text),
        }
    }
}

/// Gives an element the keyboard once it is drawn.
fn focus_soon(id: &'static str) {
    wire::soon(move || {
        let found = document().get_element_by_id(id);
        let found = found.and_then(|found| {
            // A form is a frame: what one writes in is its first field.
            let field = found.query_selector("input, textarea").ok().flatten();
            field.filter(|_| id == "form").or(Some(found))
        });
        if let Some(element) = found.and_then(|found| found.dyn_into::<HtmlElement>().ok()) {
            let _ = element.focus();
        }
    });
}
