//! Long tables, of which only what can be seen is made.

use std::ops::Range;

use smol_str::ToSmolStr as _;

use crate::html::{Element, c, h, t};
use crate::model::Model;
use crate::route::Route;
use crate::update::Msg;

/// The height of a row, in pixels; the style sheet has the same.
pub const ROW: u32 = 36;
/// So many rows are made beyond what can be seen, so that a quick scroll finds them there.
const BEYOND: u32 = 12;
/// Before the page has said how high it is.
const USUAL: u32 = 900;

/// Which rows are to be made.
#[must_use]
pub fn visible(rows: usize, (top, height): (u32, u32)) -> Range<usize> {
    let height = if height == 0 { USUAL } else { height };
    let first = (top / ROW).saturating_sub(BEYOND) as usize;
    let last = ((top + height) / ROW + BEYOND) as usize;
    first.min(rows)..last.min(rows)
}

/// A table of so many rows that scrolls by itself. `row` makes one of them.
pub(super) fn table(
    model: &Model,
    label: &'static str,
    head: Vec<Element>,
    rows: usize,
    row: impl Fn(usize) -> Element,
) -> Element {
    let shown = visible(rows, model.scroll);
    let spacer = |rows: usize| {
        let height = (rows * ROW as usize).to_smolstr();
        h("tr")
            .class("spacer")
            .attr("aria-hidden", "true")
            .child(h("td").styled("height", crate::words::fill("{0}px", &[&height])))
    };
    let made = shown
        .clone()
        .map(|at| row(at).attr("aria-rowindex", (at + 2).to_smolstr()).flag("data-present", at == model.cursor));
    let body =
        h("tbody").child(spacer(shown.start).key("before")).all(made).child(spacer(rows - shown.end).key("after"));
    c("div", "list").attr("id", "list").attr("tabindex", "0").attr("role", "region").attr("aria-label", label).child(
        h("table")
            .attr("aria-rowcount", (rows + 1).to_smolstr())
            .child(h("thead").child(h("tr").all(head)))
            .child(body),
    )
}

/// The head of a column by which rows can be ordered.
pub(super) fn sorted(route: &Route, word: &'static str, name: &'static str) -> Element {
    let present = route.arg("sort") == word;
    let up = route.arg("dir") == "up";
    let head = h("th").attr("scope", "col");
    let head = match (present, up) {
        (true, true) => head.attr("aria-sort", "ascending"),
        (true, false) => head.attr("aria-sort", "descending"),
        (false, _) => head,
    };
    head.child(h("button").attr("type", "button").child(t("span", name)).click(Msg::Sort(word)))
}

/// The head of another column.
pub(super) fn plain(name: &'static str) -> Element {
    t("th", name).attr("scope", "col")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_seen_is_made_and_a_little_more() {
        assert_eq!(visible(10_000, (0, 720)), 0..32);
        assert_eq!(visible(10_000, (3_600, 720)), 88..132);
        assert_eq!(visible(5, (3_600, 720)), 5..5);
        assert_eq!(visible(0, (0, 0)), 0..0);
    }
}
