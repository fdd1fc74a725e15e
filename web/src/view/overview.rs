//! Is something on fire, what changed, and how the registry itself is.

use periplus_core::Status;
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{bar, bytes, grouped, health, link, span, status_word};
use super::{card, chart, fact, heading, states, timeline, to_service};
use crate::calls::Call;
use crate::fleet::Health;
use crate::html::{Element, c, h, t};
use crate::json::Read as _;
use crate::list::sort;
use crate::model::Model;
use crate::route::Page;
use crate::words::{Words, fill};

/// So many services are named.
const NAMED: usize = 8;

pub(super) fn view(model: &Model) -> Element {
    let words = model.words();
    let registry_card = model.answers.value(&Call::Status).map(|status| registry(model, words, status));
    let body = match states::instead(model) {
        // How the registry is remains worth knowing.
        Some(instead) => c("div", "cards one").child(instead).maybe(registry_card),
        None => c("div", "cards").child(fire(model, words)).all(past(model, words)).maybe(registry_card),
    };
    c("div", "screen")
        .child(heading(words.overview, words.fire))
        .all(states::notices(model))
        .maybe(model.face_is_full().then(|| numbers(model, words)))
        .child(body)
}

/// Instances by status.
fn numbers(model: &Model, words: &Words) -> Element {
    let counts = model.fleet.counts();
    let numbers = [Status::Up, Status::Starting, Status::Draining, Status::Down].map(|status| {
        let count = counts[status as usize];
        let route = model.route.to(Page::Instances).with("q", fill("status:{0}", &[status.as_str()]));
        link(route)
            .class("number")
            .attr("data-status", status.as_str())
            .flag("data-none", count == 0)
            .child(t("b", grouped(count as u64)))
            .child(
                c("span", "status")
                    .attr("data-status", status.as_str())
                    .child(c("i", "shape"))
                    .child(t("span", status_word(words, status))),
            )
    });
    c("div", "numbers").all(numbers)
}

/// The services by how bad it is with them.
fn fire(model: &Model, words: &Words) -> Element {
    let mut services: Vec<_> =
        model.fleet.services().map(|(name, service)| (service.health(), name, service)).collect();
    let unwell = services.iter().filter(|(health, ..)| *health <= Health::Hurt).count();
    let all = services.len().to_smolstr();
    sort(&mut services, |(health, ..)| *health as u64);
    let says =
        if unwell == 0 { fill(words.calm, &[&all]) } else { fill(words.not_calm, &[&unwell.to_smolstr(), &all]) };
    let rows = services.iter().take(NAMED).map(|(state, name, service)| {
        h("li")
            .key((*name).clone())
            .child(link(to_service(model, name)).text((*name).clone()))
            .child(health(words, *state))
            .child(bar(words, service.counts()))
            .child(t("span", grouped(service.len() as u64)).class("count"))
    });
    card(words.worst_first)
        .flag("data-calm", unwell == 0)
        .child(t("p", says).class("verdict"))
        .child(c("ol", "worst").all(rows))
        .child(link(model.route.to(Page::Services)).class("more").text(words.services))
}

/// What happened, as far as this server is told.
fn past(model: &Model, words: &Words) -> Vec<Element> {
    if model.mirrors() {
        return vec![card(words.last_hour).child(t("p", words.untold).class("muted"))];
    }
    vec![hour(model, words), card(words.happened).child(timeline::latest(model, 14))]
}

/// The last hour.
fn hour(model: &Model, words: &Words) -> Element {
    let trends = model.answers.value(&Call::Trends);
    let counts = |kind: &str| -> Vec<u64> {
        trends.map_or(&[][..], |trends| trends.list(kind)).iter().map(|n| n.as_u64().unwrap_or_default()).collect()
    };
    card(words.last_hour)
        .child(chart::minutes(words, words.registrations, "came", &counts("registered")))
        .child(chart::minutes(words, words.expiries, "went", &counts("expired")))
        .child(chart::minutes(words, words.flaps, "flapped", &counts("flapped")))
}

/// How the registry itself is.
fn registry(model: &Model, words: &Words, status: &Value) -> Element {
    let usage = status.part("usage");
    let count = |part: &Value, key: &str| part.number(key).unwrap_or_default();
    let number = |key: &str| grouped(count(usage, key));
    let memory = status.part("memory");
    let used = memory.number("resident").unwrap_or_else(|| count(memory, "charged"));
    let memory_of = fill(words.memory_of, &[&bytes(used), &bytes(count(memory, "limit"))]);
    let uptime = span(words, count(status, "uptime_ms"));
    let first = fill(words.history_from, &[&grouped(count(status, "first"))]);
    let mut says: Vec<(&'static str, SmolStr)> = Vec::new();
    let alarms = status.list("alarms");
    for alarm in alarms {
        let numbers = [alarm.text("namespace"), count(alarm, "expired").to_smolstr(), count(alarm, "of").to_smolstr()];
        says.push(("alarm", fill(words.alarm, &numbers.each_ref().map(SmolStr::as_str))));
    }
    if alarms.is_empty() {
        says.push(("calm", words.no_alarm.into()));
    }
    if status.is("warming") {
        let left = status.number("warming_ms").map_or_else(|| "…".into(), |left| span(words, left));
        says.push(("warming", fill(words.warming, &[&left])));
    }
    let upstream = status.part("upstream");
    if upstream.is_object() {
        says.push(("upstream", fill(words.mirrors, &[&upstream.text("url"), &upstream.text("state")])));
    }
    let refused = memory.text("refused");
    if !refused.is_empty() && refused != "none" {
        says.push(("alarm", fill(words.refuses, &[&refused])));
    }
    let says = says.into_iter().map(|(state, says)| t("p", says).class("says").attr("data-state", state));
    card(words.registry).class("card registry").all(says).child(
        c("dl", "facts")
            .child(fact(words.epoch, status.text("epoch")))
            .child(fact(words.revision, grouped(model.link.revision.max(count(status, "revision")))))
            .child(fact(words.leases, number("leases")))
            .child(fact(words.watches, number("watches")))
            .child(fact(words.connections, grouped(count(status, "connections"))))
            .child(fact(words.memory, memory_of))
            .child(fact(words.history_kept, first))
            .child(fact(words.uptime, uptime))
            .child(fact(words.version, status.text("version"))),
    )
}
