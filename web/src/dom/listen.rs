//! What happens to the page.

use js_sys::Reflect;
use smol_str::SmolStr;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Element, Event, EventTarget};

use super::{document, handlers, tell, window, wire};
use crate::html::{Handler, On};
use crate::keys::Press;
use crate::update::Msg;

/// Listens to everything, once, at the top.
pub(super) fn listen() {
    let document = document();
    tell(Msg::Seen(!document.hidden()));
    for (name, on) in [
        ("click", On::Click),
        ("input", On::Input),
        ("change", On::Change),
        ("submit", On::Submit),
        ("close", On::Close),
    ] {
        // Some of these do not bubble: they are caught on their way down.
        add(&document, name, true, move |event| used(&event, on));
    }
    add(&document, "keydown", false, |event| key(&event));
    add(&document, "scroll", true, |event| {
        if let Some(list) = target(&event).filter(|target| target.id() == "list") {
            scrolled(&list);
        }
    });
    let page = document.clone();
    add(&document, "visibilitychange", false, move |_| {
        // A page that was hidden for long may have had no time for its clock.
        tell(wire::time());
        tell(Msg::Seen(!page.hidden()));
    });
    let window = window();
    add(&window, "resize", false, |_| measure());
    add(&window, "popstate", false, |_| moved());
    add(&window, "hashchange", false, |_| moved());
}

fn add(target: &EventTarget, name: &str, capture: bool, handle: impl FnMut(Event) + 'static) {
    let handle = Closure::<dyn FnMut(Event)>::new(handle);
    let function = handle.as_ref().unchecked_ref();
    let _ = target.add_event_listener_with_callback_and_bool(name, function, capture);
    // The page has it for as long as it lives.
    handle.forget();
}

fn moved() {
    tell(Msg::Address(window().location().hash().unwrap_or_default().into()));
}

/// Says how high the list is, if there is one.
pub(super) fn measure() {
    if let Some(list) = document().get_element_by_id("list") {
        scrolled(&list);
    }
}

fn scrolled(list: &Element) {
    let number = |n: i32| u32::try_from(n).unwrap_or(0);
    tell(Msg::Scrolled(number(list.scroll_top()), number(list.client_height())));
}

fn target(event: &Event) -> Option<Element> {
    event.target()?.dyn_into().ok()
}

fn property(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

fn is(of: &JsValue, name: &str) -> bool {
    property(of, name) == JsValue::TRUE
}

fn used(event: &Event, on: On) {
    let Some(target) = target(event) else { return };
    let Some((element, handler)) = handlers::find(target.clone(), on) else { return };
    if on == On::Click {
        // A click that opens another tab is the browser's.
        let other_tab = ["ctrlKey", "metaKey", "shiftKey", "altKey"].iter().any(|key| is(event, key));
        if other_tab {
            return;
        }
        if element.tag_name() == "A" {
            event.prevent_default();
        }
    }
    if on == On::Submit {
        event.prevent_default();
    }
    let value = || SmolStr::from(property(&target, "value").as_string().unwrap_or_default());
    tell(match handler {
        Handler::Tell(msg) => msg,
        Handler::Value(make) => make(value()),
        Handler::Named(name, make) => make(name, value()),
    });
}

fn key(event: &Event) {
    let target = target(event);
    let tag = target.as_ref().map(Element::tag_name).unwrap_or_default();
    let kind = target.map(|target| property(&target, "type").as_string().unwrap_or_default()).unwrap_or_default();
    let writes = !matches!(&*kind, "checkbox" | "radio" | "range" | "button" | "submit");
    let press = Press {
        key: property(event, "key").as_string().unwrap_or_default().into(),
        in_field: tag == "TEXTAREA" || tag == "SELECT" || (tag == "INPUT" && writes),
        on_button: matches!(&*tag, "BUTTON" | "A" | "SUMMARY"),
        with_command: ["ctrlKey", "metaKey", "altKey"].iter().any(|key| is(event, key)),
    };
    // A slash is for the search, and not in it.
    if press.key == "/" && !press.in_field && !press.with_command {
        event.prevent_default();
    }
    tell(Msg::Key(press));
}
