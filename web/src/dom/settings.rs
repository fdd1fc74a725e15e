//! How the page looks and speaks, kept over visits.

use js_sys::Date;
use wasm_bindgen::JsValue;
use web_sys::{Element, Storage};

use super::{document, window};
use crate::model::{Model, Theme};
use crate::words::Language;

fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

fn load(name: &str) -> Option<String> {
    storage()?.get_item(&["periplus.", name].concat()).ok().flatten()
}

/// Keeps a setting.
pub(super) fn keep(name: &str, value: &str) {
    if let Some(storage) = storage() {
        let _ = storage.set_item(&["periplus.", name].concat(), value);
    }
}

/// What was kept, or else what the browser prefers.
pub(super) fn kept() -> (Theme, Language) {
    let theme = Theme::of(&load("theme").unwrap_or_default());
    let language = load("language").or_else(|| window().navigator().language()).unwrap_or_default();
    (theme, Language::of(&language))
}

/// Looks and speaks so.
pub(super) fn look(model: &Model) {
    if let Some(page) = document().document_element() {
        let _ = page.set_attribute("lang", model.language.code());
        let _ = match model.theme.word() {
            "" => page.remove_attribute("data-theme"),
            theme => page.set_attribute("data-theme", theme),
        };
    }
}

/// Writes a moment, which is in UTC, as the clock on the wall here has it: the time of day, and the day unless it is
/// today.
pub(super) fn write_time(element: &Element, utc: &str) {
    let (then, now) = (Date::new(&JsValue::from_str(utc)), Date::new_0());
    let two = |n: u32| if n < 10 { ["0", &n.to_string()].concat() } else { n.to_string() };
    let [hours, minutes, seconds] = [then.get_hours(), then.get_minutes(), then.get_seconds()].map(two);
    let clock = [&*hours, ":", &*minutes, ":", &*seconds].concat();
    let day = |date: &Date| [date.get_full_year(), date.get_month() + 1, date.get_date()];
    let text = if day(&then) == day(&now) {
        clock
    } else {
        let [year, month, date] = day(&then).map(two);
        [&*year, "-", &*month, "-", &*date, " ", &*clock].concat()
    };
    element.set_text_content(Some(&text));
}
