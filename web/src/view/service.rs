//! One service: its instances, its versions and zones, who watches it, and its past.

use periplus_core::ordered::sorted::{SortedMap, SortedSet};

use periplus_core::Status;
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{bar, grouped, health, link, span, status};
use super::services::{changed, check, check_all, endpoints, fresh, weight, zone};
use super::{card, heading, of, search, states, table, timeline, to_instance};
use crate::calls::Call;
use crate::fleet::{Counts, Service};
use crate::html::{Element, c, h, t};
use crate::json::Read as _;
use crate::model::{Face, Model};
use crate::route::Page;
use crate::words::{Words, fill};

pub(super) fn view(model: &Model, name: &SmolStr) -> Element {
    let words = model.words();
    let screen = c("div", "screen").child(
        heading(name.clone(), "")
            .maybe(model.fleet.service(name).map(|service| health(words, service.health())))
            .child(
                link(model.route.to(Page::Resolver).with("service", name.clone())).class("button").text(words.resolver),
            ),
    );
    let screen = screen.all(states::notices(model));
    let history = model.answers.value(&Call::Past(name.clone()));
    let past = card(words.timeline).child(timeline::past(model, name, None, history));
    match model.fleet.service(name) {
        Some(service) => screen
            .child(instances(model, words, name, service))
            .child(c("div", "cards").child(matrix(model, words, name, service)).child(watchers(model, words, name)))
            .child(past),
        None => match model.face() {
            Face::Full | Face::Empty | Face::Filtered => screen
                .child(states::gone(words))
                .child(c("div", "cards").child(watchers(model, words, name)))
                .child(past),
            _ => screen.maybe(states::instead(model)),
        },
    }
}

fn instances(model: &Model, words: &Words, name: &SmolStr, service: &Service) -> Element {
    let found = model.list.instances.len();
    let head = vec![
        check_all(model, words),
        table::sorted(&model.route, "name", words.id),
        table::sorted(&model.route, "", words.state),
        table::plain(words.version),
        table::plain(words.zone),
        table::plain(words.weight).class("n"),
        table::plain(words.endpoints),
        table::plain(words.lease).class("n"),
        table::plain(words.renewed).class("n"),
        table::sorted(&model.route, "changed", words.changed).class("n"),
    ];
    let answer = model.answers.get(&Call::Leases(name.clone()));
    let leases = answer.and_then(|answer| answer.value.as_ref()).map_or(&[][..], |value| value.list("leases"));
    let age = answer.map_or(0, |answer| model.now.saturating_sub(answer.at));
    let list = table::table(model, words.instances, head, found, |at| {
        let place = &model.list.instances[at];
        let id = &place.1;
        let Some(row) = model.fleet.get(name, id) else {
            return h("tr").key(id.clone());
        };
        let instance = row.instance();
        // They come by id.
        let lease = leases.binary_search_by(|it| it.part("id").as_str().unwrap_or_default().cmp(id));
        let (left, renewed) = countdown(words, lease.ok().map(|at| &leases[at]), age);
        h("tr")
            .key(id.clone())
            .flag("data-fresh", fresh(model, row.changed))
            .child(check(model, words, place))
            .child(h("td").child(link(to_instance(model, name, id)).text(id.clone())))
            .child(h("td").child(status(words, row.status())))
            .child(t("td", instance.version.clone()))
            .child(t("td", zone(instance)))
            .child(t("td", weight(instance)).class("n"))
            .child(t("td", endpoints(instance)).class("mono"))
            .child(t("td", left).class("n"))
            .child(t("td", renewed).class("n"))
            .child(changed(model, words, row.changed))
    });
    // The table is as high as its rows, up to a limit that the style sheet sets.
    let height = (u32::try_from(found).unwrap_or(u32::MAX).saturating_add(1)).saturating_mul(table::ROW) + 2;
    let list = list.styled("height", fill("{0}px", &[&height.to_smolstr()]));
    c("section", "card")
        .attr("aria-label", words.instances)
        .child(
            c("div", "heading")
                .child(t("h2", words.instances))
                .child(t("span", of(words, found, service.len())).class("muted"))
                .child(bar(words, service.counts())),
        )
        .child(search(model, words))
        .child(list)
}

/// What is left of a lease, and how long ago it was renewed.
pub(super) fn countdown(words: &Words, lease: Option<&Value>, age: u64) -> (SmolStr, SmolStr) {
    let Some((ttl, left)) = lease.and_then(|lease| lease.number("ttl_ms").zip(lease.number("left_ms"))) else {
        return ("…".into(), "…".into());
    };
    let left = left.saturating_sub(age);
    let renewed = ttl.saturating_sub(left);
    (fill(words.left, &[&span(words, left)]), fill(words.ago, &[&span(words, renewed)]))
}

/// How many instances of each version there are in each zone.
fn matrix(model: &Model, words: &Words, name: &SmolStr, service: &Service) -> Element {
    let mut zones: SortedSet<SmolStr> = SortedSet::new();
    let mut cells: SortedMap<SmolStr, SortedMap<SmolStr, Counts>> = SortedMap::new();
    for (_, row) in service.instances() {
        let instance = row.instance();
        let zone = zone(instance);
        zones.insert(zone.clone());
        let cell = cells.entry(instance.version.clone()).or_default().entry(zone).or_default();
        cell[row.status() as usize] += 1;
    }
    let named = |name: &SmolStr, nothing: &'static str| if name.is_empty() { nothing.into() } else { name.clone() };
    let head = h("tr")
        .child(t("th", words.version).attr("scope", "col"))
        .all(zones.iter().map(|zone| t("th", named(zone, words.no_zone)).attr("scope", "col")));
    // The newest version last is the newest version lost: it goes first.
    let rows = cells.iter().rev().map(|(version, by_zone)| {
        let row = h("tr").child(t("th", named(version, words.no_version)).attr("scope", "row"));
        row.all(zones.iter().map(|zone| {
            let counts = by_zone.get(zone).copied().unwrap_or_default();
            let (all, up): (usize, usize) = (counts.iter().sum(), counts[Status::Up as usize]);
            let cell = h("td").flag("data-none", all == 0).flag("data-dead", all > 0 && up == 0);
            if all == 0 {
                return cell.text(words.absent);
            }
            let mut query = fill("version={0}", &[&quoted(version)]);
            if !zone.is_empty() {
                query = fill("{0} zone={1}", &[&query, &quoted(zone)]);
            }
            let route = model.route.to(Page::Service(name.clone())).with("q", query);
            cell.child(link(route).text(of(words, up, all))).child(bar(words, counts))
        }))
    });
    card(words.matrix).child(
        c("div", "scrolls")
            .attr("tabindex", "0")
            .attr("role", "group")
            .attr("aria-label", words.matrix)
            .child(c("table", "matrix").child(h("thead").child(head)).child(h("tbody").all(rows))),
    )
}

/// A value as a search takes it, whatever is in it.
fn quoted(value: &str) -> SmolStr {
    let mut out = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out.into()
}

/// Who watches it, and who has heard of its latest change.
fn watchers(model: &Model, words: &Words, name: &SmolStr) -> Element {
    let card = card(words.who_watches);
    let Some(value) = model.answers.value(&Call::Watches(name.clone())) else {
        return card.child(t("p", "…").class("muted"));
    };
    let watches = value.list("watches");
    if watches.is_empty() {
        return card.child(t("p", words.nobody_watches).class("muted"));
    }
    let number = |key: &str| value.number(key).unwrap_or_default();
    let (told, not_told, silent) = (number("told"), number("not_told"), number("silent"));
    let says = if not_told == 0 {
        fill(words.told_all, &[&grouped(told)])
    } else {
        fill(words.told_some, &[&grouped(not_told), &grouped(told + not_told)])
    };
    let quiet = (silent > 0).then(|| t("p", fill(words.silent_some, &[&grouped(silent)])).class("muted"));
    let rows =
        watches.iter().take(200).map(|watch| {
            let caller = watch.part("caller");
            let (word, state) = match watch.part("told").as_bool() {
                Some(true) => (words.told, "up"),
                Some(false) => (words.not_told, "draining"),
                None => (words.silent, "silent"),
            };
            let behind = watch.number("behind").unwrap_or_default();
            let behind = if behind > 0 { fill(words.behind, &[&grouped(behind)]) } else { SmolStr::default() };
            let (who, from) = (caller.text("who"), caller.text("from"));
            let (who, from) = if who.is_empty() { (from, SmolStr::default()) } else { (who, from) };
            h("tr")
                .key(watch.number("watch").unwrap_or_default().to_smolstr())
                .child(t("td", who).maybe((!from.is_empty()).then(|| t("small", from))))
                .child(h("td").child(
                    c("span", "status").attr("data-status", state).child(c("i", "shape")).child(t("span", word)),
                ))
                .child(t("td", watch.number("applied").map_or_else(|| words.absent.into(), grouped)).class("n"))
                .child(t("td", behind).class("n"))
                .child(t("td", caller.text("client")).class("client").attr("title", caller.text("client")))
        });
    let head = [words.name, words.state, words.applied, words.lag, words.client];
    let head = h("tr").all(head.map(|name| t("th", name).attr("scope", "col")));
    let says = (told + not_told > 0).then(|| t("p", says).class("verdict").flag("data-calm", not_told == 0));
    card.maybe(says).maybe(quiet).child(
        c("div", "scrolls")
            .attr("tabindex", "0")
            .attr("role", "group")
            .attr("aria-label", words.who_watches)
            .child(h("table").child(h("thead").child(head)).child(h("tbody").all(rows))),
    )
}
