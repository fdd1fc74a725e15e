//! Small things that screens are made of.

use periplus_core::Status;
use smol_str::{SmolStr, ToSmolStr as _};

use crate::fleet::{Counts, Health};
use crate::html::{Element, Handler, On, c, h, t};
use crate::route::Route;
use crate::update::Msg;
use crate::words::{Words, fill};

/// A number in digits.
#[must_use]
pub fn number(n: u64) -> SmolStr {
    n.to_smolstr()
}

/// A number that one reads: its thousands are apart.
pub(super) fn grouped(n: u64) -> SmolStr {
    let digits = n.to_smolstr();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // A narrow space that does not break.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out.into()
}

/// A length of time, as one says it: the two largest units at most.
#[must_use]
pub fn span(words: &Words, millis: u64) -> SmolStr {
    let seconds = millis / 1000;
    let parts = [
        (seconds / 86_400, words.days),
        (seconds / 3_600 % 24, words.hours),
        (seconds / 60 % 60, words.minutes),
        (seconds % 60, words.seconds),
    ];
    let Some(first) = parts.iter().position(|(n, _)| *n > 0) else {
        return words.at_once.into();
    };
    let mut out = String::new();
    for (n, unit) in parts[first..].iter().take(2).filter(|(n, _)| *n > 0) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&fill(unit, &[&n.to_smolstr()]));
    }
    out.into()
}

/// Bytes, as one says them.
pub(super) fn bytes(n: u64) -> SmolStr {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut n, mut unit) = (n, 0);
    while n >= 10 * 1024 && unit + 1 < units.len() {
        n /= 1024;
        unit += 1;
    }
    fill("{0} {1}", &[&grouped(n), units[unit]])
}

/// The time of day of a moment, in the browser's zone: what is shown of it is set by the page.
pub(super) fn moment(time: u64) -> Element {
    // The page writes it, which knows the zone. Until then, and for those who read the text, it is in UTC.
    let text = utc(time);
    t("time", text.clone()).attr("datetime", text)
}

/// A moment as ISO 8601 writes it, in UTC.
pub(super) fn utc(time: u64) -> SmolStr {
    let (days, rest) = (time / 86_400_000, time / 1000 % 86_400);
    // Howard Hinnant's way from days to a date, for days that are not negative.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let two = |n: u64| if n < 10 { fill("0{0}", &[&n.to_smolstr()]) } else { n.to_smolstr() };
    let parts = [year.to_smolstr(), two(month), two(day), two(rest / 3_600), two(rest / 60 % 60), two(rest % 60)];
    let parts = parts.each_ref().map(SmolStr::as_str);
    fill("{0}-{1}-{2}T{3}:{4}:{5}Z", &parts)
}

/// A button.
pub(super) fn button(name: impl Into<SmolStr>, msg: Msg) -> Element {
    h("button").attr("type", "button").child(t("span", name)).click(msg)
}

/// A link to a screen.
pub(super) fn link(route: Route) -> Element {
    h("a").attr("href", route.hash()).click(Msg::Go(route))
}

/// A window over the page, which the browser keeps the keyboard in.
pub(super) fn dialog(title: impl Into<SmolStr>, close: Msg) -> Element {
    h("dialog")
        .attr("aria-labelledby", "dialog-title")
        .on(On::Close, Handler::Tell(close))
        .child(t("h2", title).attr("id", "dialog-title"))
}

/// A choice that is an argument of the screen.
pub(super) fn select(label: &'static str, name: &'static str, options: &[(&str, &str)], chosen: &str) -> Element {
    let options = options
        .iter()
        .map(|(value, text)| t("option", *text).attr("value", *value).flag("selected", *value == chosen).key(*value));
    let select = h("select").attr("value", chosen).on(On::Change, Handler::Named(name.into(), Msg::Arg)).all(options);
    h("label").class("field").child(t("span", label)).child(select)
}

/// A field that is an argument of the screen.
pub(super) fn field(label: &'static str, name: &'static str, value: &str, hint: &str) -> Element {
    let input = h("input")
        .attr("value", value)
        .attr("placeholder", hint)
        .attr("autocomplete", "off")
        .attr("spellcheck", "false")
        .on(On::Input, Handler::Named(name.into(), Msg::Arg));
    h("label").class("field").child(t("span", label)).child(input)
}

/// The word for a status.
pub(super) const fn status_word(words: &Words, status: Status) -> &'static str {
    match status {
        Status::Starting => words.starting,
        Status::Up => words.up,
        Status::Draining => words.draining,
        Status::Down => words.down,
    }
}

/// A status: a shape and a word, and a colour besides.
pub(super) fn status(words: &Words, status: Status) -> Element {
    c("span", "status")
        .attr("data-status", status.as_str())
        .child(c("i", "shape"))
        .child(t("span", status_word(words, status)))
}

/// How it is with a service: a shape and a word, and a colour besides.
pub(super) fn health(words: &Words, health: Health) -> Element {
    let (class, word) = match health {
        Health::Dead => ("down", words.dead),
        Health::Hurt => ("hurt", words.hurt),
        Health::Moving => ("draining", words.moving),
        Health::Well => ("up", words.well),
    };
    c("span", "status").attr("data-status", class).child(c("i", "shape")).child(t("span", word))
}

/// Instances by status, as a bar and in numbers.
pub(super) fn bar(words: &Words, counts: Counts) -> Element {
    let all: usize = counts.iter().sum();
    let mut at = 0;
    let mut label = String::new();
    let mut bar = h("svg").class("bar").attr("viewBox", "0 0 1000 10").attr("preserveAspectRatio", "none");
    // As they matter: those who take calls first.
    for status in [Status::Up, Status::Starting, Status::Draining, Status::Down] {
        let count = counts[status as usize];
        if count == 0 {
            continue;
        }
        let width = (at + count) * 1000 / all.max(1) - at * 1000 / all.max(1);
        let x = super::percent(at, all);
        let rect = h("rect").attr("x", x).attr("width", width.to_smolstr()).attr("height", "10");
        bar = bar.child(rect.attr("data-status", status.as_str()));
        if !label.is_empty() {
            label.push_str(", ");
        }
        label.push_str(&fill("{0} {1}", &[&count.to_smolstr(), status_word(words, status)]));
        at += count;
    }
    let label: SmolStr = if label.is_empty() { words.none.into() } else { label.into() };
    bar.attr("role", "img").attr("aria-label", label.clone()).child(t("title", label))
}

/// Something that can be copied.
pub(super) fn copied(words: &Words, text: impl Into<SmolStr>) -> Element {
    let text = text.into();
    c("span", "copied").child(t("code", text.clone())).child(copy(words, text))
}

/// A button that copies a text.
pub(super) fn copy(words: &Words, text: impl Into<SmolStr>) -> Element {
    let text = text.into();
    button(words.copy, Msg::Copy(text.clone()))
        .class("copy")
        .attr("aria-label", fill("{0}: {1}", &[words.copy, &clipped(&text)]))
}

/// The beginning of a long text.
pub(super) fn clipped(text: &str) -> SmolStr {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => fill("{0}…", &[&text[..at]]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    #[test]
    fn a_length_of_time_has_its_two_largest_units() {
        let words = Language::English.words();
        let spans = [
            (0, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (3_725_000, "1h 2m"),
            (90_000_000, "1d 1h"),
            (86_405_000, "1d"),
        ];
        for (millis, text) in spans {
            assert_eq!(span(words, millis), text);
        }
    }

    #[test]
    fn a_moment_is_written_as_calendars_have_it() {
        let moments = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_795_910_399_999, "2026-11-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ];
        for (time, text) in moments {
            assert_eq!(utc(time), text);
        }
    }

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(999), "999");
        assert_eq!(bytes(10 * 1024 - 1), "10\u{202f}239 B");
        assert_eq!(bytes(64 << 20), "64 MiB");
    }
}
