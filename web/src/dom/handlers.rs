//! Which element does what when it is used.

use periplus_core::ordered::sorted::SortedMap;
use std::cell::{Cell, RefCell};

use wasm_bindgen::JsValue;
use web_sys::Element;

use crate::html::{Handler, On};

thread_local! {
    static HANDLERS: RefCell<SortedMap<u32, Vec<(On, Handler)>>> = const { RefCell::new(SortedMap::new()) };
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// Under what an element carries its number.
const NUMBER: &str = "periplusHandlers";

/// Says what an element does from now on. `number` is the element's, 0 if it has none yet; it is returned.
pub(super) fn set(element: &Element, number: u32, on: &[(On, Handler)]) -> u32 {
    if on.is_empty() {
        remove(number);
        return number;
    }
    let number = if number == 0 {
        let number = LAST.get() + 1;
        LAST.set(number);
        let _ = js_sys::Reflect::set(element, &JsValue::from_str(NUMBER), &JsValue::from_f64(number.into()));
        number
    } else {
        number
    };
    HANDLERS.with_borrow_mut(|handlers| handlers.insert(number, on.to_vec()));
    number
}

/// It does nothing any more.
pub(super) fn remove(number: u32) {
    if number != 0 {
        HANDLERS.with_borrow_mut(|handlers| handlers.remove(&number));
    }
}

/// The innermost element around this one that does something when it is used so, and what.
pub(super) fn find(element: Element, on: On) -> Option<(Element, Handler)> {
    let mut element = Some(element);
    while let Some(at) = element {
        let number = js_sys::Reflect::get(&at, &JsValue::from_str(NUMBER)).ok().and_then(|number| number.as_f64());
        if let Some(number) = number {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made of a u32")]
            let number = number as u32;
            let found = HANDLERS.with_borrow(|handlers| {
                let all = handlers.get(&number)?;
                all.iter().find(|(it, _)| *it == on).map(|(_, handler)| handler.clone())
            });
            if let Some(handler) = found {
                return Some((at, handler));
            }
        }
        element = at.parent_element();
    }
    None
}
