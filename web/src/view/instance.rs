//! One instance: all that is known of it.

use periplus_core::ServiceInstance;
use periplus_core::http::origin::is_own;
use serde_json::Value;
use smol_str::SmolStr;

use super::parts::{button, copied, copy, link, moment, number, span, status};
use super::{card, fact, states, timeline, to_service};
use crate::action::Kind;
use crate::calls::Call;
use crate::html::{Element, c, h, t};
use crate::json::{self, Read as _};
use crate::model::{Face, Model};
use crate::update::Msg;
use crate::words::{Words, fill};

pub(super) fn view(model: &Model, service: &SmolStr, id: &SmolStr) -> Element {
    let words = model.words();
    let row = model.fleet.get(service, id);
    let title = c("div", "heading")
        .child(link(to_service(model, service)).class("parent").text(service.clone()))
        .child(t("h1", id.clone()))
        .maybe(row.map(|row| status(words, row.status())));
    let screen = c("div", "screen").child(title).all(states::notices(model));
    let view = model.answers.value(&Call::Instance(service.clone(), id.clone()));
    let history = model.answers.value(&Call::Past(service.clone()));
    let past = card(words.timeline).child(timeline::past(model, service, Some(id), history));
    let Some(row) = row else {
        return match model.face() {
            Face::Full | Face::Empty | Face::Filtered => screen.child(states::gone(words)).child(past),
            _ => screen.maybe(states::instead(model)),
        };
    };
    let instance = row.instance();
    let raw =
        serde_json::from_slice(row.packed.json()).map_or_else(|_| SmolStr::default(), |value| json::pretty(&value));
    screen
        .child(actions(model, words, service, id))
        .child(
            c("div", "cards narrow")
                .child(lease(model, words, service, id, view))
                .child(addresses(words, instance, history, id))
                .child(metadata(words, instance))
                .maybe(view.and_then(|view| overlay(model, words, view))),
        )
        .child(past)
        .child(
            card(words.raw)
                .child(copy(words, raw.clone()))
                .child(c("pre", "raw").attr("tabindex", "0").attr("aria-label", words.raw).child(t("code", raw))),
        )
}

fn actions(model: &Model, words: &Words, service: &SmolStr, id: &SmolStr) -> Element {
    let bar = c("div", "buttons").attr("role", "group").attr("aria-label", words.actions);
    if model.mirrors() {
        return bar.child(t("p", words.not_here).class("muted"));
    }
    let place = (service.clone(), id.clone());
    bar.all(Kind::ALL.map(|kind| {
        let (name, _) = kind.words(words);
        button(name, Msg::Ask(kind, vec![place.clone()])).flag("data-danger", kind == Kind::Evict)
    }))
}

fn lease(model: &Model, words: &Words, service: &SmolStr, id: &SmolStr, view: Option<&Value>) -> Element {
    let answer = model.answers.get(&Call::Instance(service.clone(), id.clone()));
    let age = answer.map_or(0, |answer| model.now.saturating_sub(answer.at));
    let (left, renewed) = super::service::countdown(words, view, age);
    let of = |key: &str| view.and_then(|view| view.number(key)).map_or_else(|| "…".into(), number);
    let ttl = view.and_then(|view| view.number("ttl_ms")).map_or_else(|| "…".into(), |ttl| span(words, ttl));
    card(words.lease).child(
        c("dl", "facts")
            .child(fact(words.expires, left))
            .child(fact(words.renewed, renewed))
            .child(fact(words.ttl, ttl))
            .child(fact(words.generation, of("generation")))
            .child(fact(words.revision, of("modified"))),
    )
}

/// What it says it can be reached at, and where it calls from.
fn addresses(words: &Words, instance: &ServiceInstance, history: Option<&Value>, id: &str) -> Element {
    // Whoever registered it last, as far as that is remembered.
    let entries = history.map_or(&[][..], |history| history.list("entries"));
    let held = entries.iter().filter(|entry| {
        entry.part("id") == id && matches!(&*entry.text("cause"), "registered" | "superseded" | "updated")
    });
    let from = held.max_by_key(|entry| entry.number("revision")).map(|entry| entry.part("caller").text("from"));
    let from = from.unwrap_or_default();
    let seen = from.rsplit_once(':').map_or(&*from, |(host, _)| host).trim_matches(['[', ']']);
    let hosts: Vec<&str> = instance.endpoints.iter().filter_map(|it| Some(it.parts().ok()?.host)).collect();
    // From this machine one can be seen as anybody.
    let differs = !seen.is_empty() && !is_own(seen) && !hosts.is_empty() && !hosts.contains(&seen);
    let rows = instance.endpoints.iter().map(|endpoint| h("li").child(copied(words, endpoint.as_str())));
    card(words.endpoints)
        .child(c("ul", "plain").all(rows))
        .child(
            c("dl", "facts")
                .child(fact(words.version, instance.version.clone()))
                .child(fact(words.zone, super::services::zone(instance)))
                .child(fact(words.weight, super::services::weight(instance)))
                .child(fact(words.seen_from, if from.is_empty() { words.absent.into() } else { from.clone() })),
        )
        .maybe(differs.then(|| t("p", words.address_differs).class("says").attr("data-state", "warming")))
}

fn metadata(words: &Words, instance: &ServiceInstance) -> Element {
    let card = card(words.metadata);
    if instance.metadata.is_empty() {
        return card.child(t("p", words.no_metadata).class("muted"));
    }
    let rows = instance.metadata.iter().map(|(key, value)| {
        h("div").key(key.as_str()).child(t("dt", key.as_str())).child(h("dd").child(copied(words, value.as_str())))
    });
    card.child(c("dl", "facts").all(rows))
}

/// What an operator has laid over it, by whom and why.
fn overlay(model: &Model, words: &Words, view: &Value) -> Option<Element> {
    let overlay = view.part("overlay");
    let laid = overlay.part("metadata").as_object()?;
    let registered = view.part("registered").part("metadata");
    let rows = laid.iter().map(|(key, value)| {
        let text = |value: &Value| value.as_str().map_or_else(|| words.absent.into(), SmolStr::from);
        h("li").child(timeline::difference(key, &text(registered.part(key)), &text(value)))
    });
    let by = json::actor(overlay.part("caller"));
    let time = overlay.number("time").unwrap_or_default();
    Some(
        card(words.overlaid)
            .child(c("ul", "plain").all(rows))
            .child(t("p", fill(words.because, &[&overlay.text("reason")])))
            .child(
                c("p", "muted")
                    .child(moment(time))
                    .child(t("span", super::wall_ago(model, time)))
                    .maybe((!by.is_empty()).then(|| t("span", fill(words.by, &[&by])))),
            ),
    )
}
