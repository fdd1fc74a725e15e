//! Small charts.

use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::grouped;
use crate::html::{Element, c, h, t};
use crate::words::{Words, fill};

/// A bar a minute, the latest at the right.
pub(super) fn minutes(words: &Words, name: &'static str, class: &'static str, counts: &[u64]) -> Element {
    const WIDTH: usize = 4;
    const HEIGHT: u64 = 40;
    let most = counts.iter().copied().max().unwrap_or(0);
    let all: u64 = counts.iter().sum();
    let mut bars = h("svg")
        .class("chart")
        .attr("data-kind", class)
        .attr("viewBox", fill("0 0 {0} 41", &[&(counts.len().max(1) * WIDTH).to_smolstr()]))
        .attr("preserveAspectRatio", "none")
        .attr("role", "img");
    for (at, count) in counts.iter().enumerate() {
        // What happened at all is to be seen, and nothing is a line.
        let height = if *count == 0 { 0 } else { (count * HEIGHT / most.max(1)).max(2) } + 1;
        let rect = h("rect")
            .attr("x", (at * WIDTH).to_smolstr())
            .attr("y", (HEIGHT + 1 - height).to_smolstr())
            .attr("width", "3")
            .attr("height", height.to_smolstr())
            .flag("data-none", *count == 0);
        bars = bars.child(rect);
    }
    let total = fill(words.total_of, &[&grouped(all)]);
    let peak = fill(words.peak_of, &[&grouped(most)]);
    let label: SmolStr = fill("{0}: {1}, {2}", &[name, &total, &peak]);
    c("figure", "minutes")
        .child(h("figcaption").child(t("span", name)).child(t("b", grouped(all))))
        .child(bars.attr("aria-label", label))
        .child(t("p", peak).class("muted"))
}
