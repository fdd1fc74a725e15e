//! The two long lists: services, and instances of all services.

use periplus_core::ordered::sorted::SortedSet;

use periplus_core::{Endpoint, ServiceInstance};
use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{bar, grouped, health, link, span, status};
use super::{heading, of, search, states, table, to_instance, to_service};
use crate::fleet::{Health, Place};
use crate::html::{Element, Handler, On, c, h, t};
use crate::json::Read as _;
use crate::model::Model;
use crate::update::Msg;
use crate::words::{Words, fill};

/// What changed so lately is marked.
const FRESH: u64 = 3_000;

/// All services.
pub(super) fn services(model: &Model) -> Element {
    let words = model.words();
    let found = model.list.services.len();
    listed(model, words.services, found, model.fleet.services().len(), || {
        let head = vec![
            table::sorted(&model.route, "name", words.name),
            table::sorted(&model.route, "", words.state),
            table::sorted(&model.route, "size", words.instances),
            table::plain(words.versions),
            table::plain(words.zones),
            table::plain(words.watchers).class("n"),
            table::sorted(&model.route, "changed", words.changed).class("n"),
        ];
        // They come by name.
        let mut watchers = Vec::new();
        for (_, page) in model.answers.services() {
            watchers.extend(page.map_or(&[][..], |page| page.list("services")));
        }
        table::table(model, words.services, head, found, |at| {
            let found = &model.list.services[at];
            let name = &found.name;
            let Some(service) = model.fleet.service(name) else {
                return h("tr").key(name.clone());
            };
            let (mut versions, mut zones) = (SortedSet::new(), SortedSet::new());
            for (_, row) in service.instances().take(200) {
                versions.insert(row.instance().version.as_str());
                zones.insert(row.instance().zone().unwrap_or_default());
            }
            let watched = watchers.binary_search_by(|it| it.part("name").as_str().unwrap_or_default().cmp(name));
            let watchers = watched.ok().and_then(|at| watchers[at].number("watchers"));
            let count = of(words, found.counts.iter().sum(), service.len());
            h("tr")
                .key(name.clone())
                .flag("data-fresh", fresh(model, service.changed))
                .child(h("td").child(link(to_service(model, name)).text(name.clone())))
                .child(h("td").child(health(words, Health::of(found.counts))))
                .child(c("td", "counted").child(bar(words, found.counts)).child(t("span", count)))
                .child(few(words, &versions, words.no_version))
                .child(few(words, &zones, words.no_zone))
                .child(t("td", watchers.map_or_else(|| "…".into(), grouped)).class("n"))
                .child(changed(model, words, service.changed))
        })
    })
}

/// The instances of all services.
pub(super) fn instances(model: &Model) -> Element {
    let words = model.words();
    let found = model.list.instances.len();
    listed(model, words.instances, found, model.fleet.len(), || {
        let head = vec![
            check_all(model, words),
            table::sorted(&model.route, "name", words.service),
            table::plain(words.id),
            table::sorted(&model.route, "", words.state),
            table::plain(words.version),
            table::plain(words.zone),
            table::plain(words.weight).class("n"),
            table::plain(words.endpoints),
            table::sorted(&model.route, "changed", words.changed).class("n"),
        ];
        table::table(model, words.instances, head, found, |at| {
            let place = &model.list.instances[at];
            let key = fill("{0}/{1}", &[&place.0, &place.1]);
            let Some(row) = model.fleet.get(&place.0, &place.1) else {
                return h("tr").key(key);
            };
            let instance = row.instance();
            h("tr")
                .key(key)
                .flag("data-fresh", fresh(model, row.changed))
                .child(check(model, words, place))
                .child(h("td").child(link(to_service(model, &place.0)).text(place.0.clone())))
                .child(h("td").child(link(to_instance(model, &place.0, &place.1)).text(place.1.clone())))
                .child(h("td").child(status(words, row.status())))
                .child(t("td", instance.version.clone()))
                .child(t("td", zone(instance)))
                .child(t("td", weight(instance)).class("n"))
                .child(t("td", endpoints(instance)).class("mono"))
                .child(changed(model, words, row.changed))
        })
    })
}

/// A list with its search, or what is shown in its place.
fn listed(model: &Model, title: &'static str, found: usize, all: usize, list: impl FnOnce() -> Element) -> Element {
    let words = model.words();
    let screen = c("div", "screen fills").child(heading(title, of(words, found, all)));
    let screen = screen.child(search(model, words)).all(states::notices(model));
    match states::instead(model) {
        Some(instead) => screen.child(instead),
        None => screen.child(list()),
    }
}

/// Whether something changed just now.
pub(super) fn fresh(model: &Model, changed: Option<u64>) -> bool {
    changed.is_some_and(|at| model.now < at + FRESH)
}

/// When something changed.
pub(super) fn changed(model: &Model, words: &Words, changed: Option<u64>) -> Element {
    let text = changed.map_or_else(|| "".into(), |at| fill(words.ago, &[&span(words, model.now.saturating_sub(at))]));
    t("td", text).class("n")
}

/// The box that selects an instance.
pub(super) fn check(model: &Model, words: &Words, place: &Place) -> Element {
    let on = model.selected.contains(place);
    let input = h("input")
        .attr("type", "checkbox")
        .flag("checked", on)
        .attr("aria-label", fill(words.select, &[&place.1]))
        .on(On::Change, Handler::Tell(Msg::Select(place.clone())));
    c("td", "check").child(input)
}

/// The box that selects all.
pub(super) fn check_all(model: &Model, words: &Words) -> Element {
    let all = !model.list.instances.is_empty() && model.list.instances.iter().all(|it| model.selected.contains(it));
    let label = fill(words.select_all, &[&model.list.instances.len().to_smolstr()]);
    let input = h("input")
        .attr("type", "checkbox")
        .flag("checked", all)
        .attr("aria-label", label)
        .on(On::Change, Handler::Tell(Msg::SelectAll));
    c("th", "check").attr("scope", "col").child(input)
}

pub(super) fn zone(instance: &ServiceInstance) -> SmolStr {
    instance.zone().unwrap_or_default().into()
}

pub(super) fn weight(instance: &ServiceInstance) -> SmolStr {
    instance.weight().map_or_else(SmolStr::default, |weight| weight.to_smolstr())
}

pub(super) fn endpoints(instance: &ServiceInstance) -> SmolStr {
    let all: Vec<&str> = instance.endpoints.iter().map(Endpoint::as_str).collect();
    all.join("  ").into()
}

/// The first of several texts, and how many more there are.
fn few(words: &Words, texts: &SortedSet<&str>, nothing: &'static str) -> Element {
    let newest = texts.iter().rev().take(3);
    let mut names: Vec<&str> = newest.map(|text| if text.is_empty() { nothing } else { *text }).collect();
    names.reverse();
    let more = texts.len().saturating_sub(3);
    let text = names.join(", ");
    let text = if more > 0 { fill("{0}, +{1}", &[&text, &more.to_smolstr()]) } else { text.into() };
    let text = if text.is_empty() { words.none.into() } else { text };
    t("td", text)
}
