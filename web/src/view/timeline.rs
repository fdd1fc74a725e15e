//! What happened, line by line.

use periplus_core::ordered::sorted::SortedMap;

use periplus_core::ServiceInstance;
use serde_json::Value;
use smol_str::SmolStr;

use super::parts::{link, moment, number};
use super::{to_instance, wall_ago};
use crate::html::{Element, c, h, t};
use crate::json::{self, Read as _};
use crate::list::sort;
use crate::log::Event;
use crate::model::Model;
use crate::words::{Words, fill};

/// What is said of something that happened.
pub(super) fn did<'a>(words: &'a Words, kind: &'a str) -> &'a str {
    match kind {
        "registered" => words.did_registered,
        "superseded" => words.did_superseded,
        "updated" => words.did_updated,
        "renewed_late" => words.did_renewed_late,
        "deregistered" => words.did_deregistered,
        "expired" => words.did_expired,
        "evicted" => words.did_evicted,
        "overlaid" => words.did_overlaid,
        "overlay_cleared" => words.did_overlay_cleared,
        "mirrored" => words.did_mirrored,
        "stalled" => words.did_stalled,
        "settled" => words.did_settled,
        "alarm" => words.did_alarm,
        "alarm_ended" => words.did_alarm_ended,
        other => other,
    }
}

/// An event, as one of many.
pub(super) fn event(model: &Model, event: &Event) -> Element {
    let words = model.words();
    let line = c("li", "event").attr("data-kind", event.kind.clone()).key(number(event.number));
    let line = line.child(moment(event.time)).child(t("span", wall_ago(model, event.time)).class("muted ago"));
    let line = line.child(t("b", SmolStr::from(did(words, &event.kind))));
    let subject = (!event.id.is_empty()).then(|| {
        let name = fill("{0}/{1}", &[&event.service, &event.id]);
        link(to_instance(model, &event.service, &event.id)).text(name)
    });
    let line = line.maybe(subject);

    line.maybe(because(words, &event.actor, &event.reason))
}

/// By whom, and why.
fn because(words: &Words, actor: &str, reason: &str) -> Option<Element> {
    let mut parts = Vec::new();
    if !actor.is_empty() {
        parts.push(t("span", fill(words.by, &[actor])).class("muted"));
    }
    if !reason.is_empty() {
        parts.push(t("span", fill(words.because, &[reason])).class("muted"));
    }
    (!parts.is_empty()).then(|| c("span", "why").all(parts))
}

/// A line of the past: what the log remembers, and what only the events tell.
struct Line {
    time: u64,
    revision: u64,
    kind: SmolStr,
    id: SmolStr,
    actor: SmolStr,
    reason: SmolStr,
    differences: Vec<(SmolStr, SmolStr, SmolStr)>,
}

/// What happened to a service, or to one of its instances, the latest first.
pub(super) fn past(model: &Model, service: &str, id: Option<&str>, history: Option<&Value>) -> Element {
    let words = model.words();
    let wanted = |other: &str| id.is_none_or(|id| id == other);
    let events = model
        .log
        .iter()
        .filter(|event| event.namespace == model.route.namespace() && event.service == service && wanted(&event.id));
    let mut lines: Vec<Line> = Vec::new();
    // The log knows what was different, the events know the reasons.
    let mut reasons: SortedMap<(u64, &str), &Event> = SortedMap::new();
    for event in events {
        if event.kind == "renewed_late" {
            lines.push(Line {
                time: event.time,
                revision: event.revision,
                kind: event.kind.clone(),
                id: event.id.clone(),
                actor: event.actor.clone(),
                reason: event.reason.clone(),
                differences: Vec::new(),
            });
        } else {
            reasons.insert((event.revision, &event.id), event);
        }
    }
    for entry in history.map_or(&[][..], |history| history.list("entries")) {
        let its = entry.text("id");
        if !wanted(&its) {
            continue;
        }
        let revision = entry.number("revision").unwrap_or_default();
        let actor = json::actor(entry.part("caller"));
        let reason = reasons.get(&(revision, &*its)).map(|event| event.reason.clone()).unwrap_or_default();
        let ends = [entry.part("before"), entry.part("after")].map(|end| json::instance(end).map(|it| it.decode()));
        let differences = match &ends {
            [Some(before), Some(after)] => differences(words, before, after),
            _ => Vec::new(),
        };
        let (time, kind) = (entry.number("time").unwrap_or_default(), entry.text("cause"));
        lines.push(Line { time, revision, kind, id: its, actor, reason, differences });
    }
    if lines.is_empty() {
        return t("p", words.no_past).class("muted");
    }
    sort(&mut lines, |line| u64::MAX - line.time);
    let shown = lines.into_iter().take(200).map(|line| {
        let key = fill("{0} {1} {2}", &[&number(line.revision), &line.kind, &line.id]);
        let differences = line.differences.iter().map(|(what, before, after)| difference(what, before, after));
        let who = (id.is_none()).then(|| link(to_instance(model, service, &line.id)).text(line.id.clone()));
        c("li", "event")
            .attr("data-kind", line.kind.clone())
            .key(key)
            .child(moment(line.time))
            .child(t("span", wall_ago(model, line.time)).class("muted ago"))
            .child(t("b", SmolStr::from(did(words, &line.kind))))
            .maybe(who)
            .maybe(because(words, &line.actor, &line.reason))
            .all(differences)
            .child(t("span", fill("#{0}", &[&number(line.revision)])).class("muted revision"))
    });
    c("ol", "timeline").all(shown)
}

/// Something that was otherwise before.
pub(super) fn difference(what: &str, before: &str, after: &str) -> Element {
    c("span", "difference")
        .child(t("code", what))
        .child(t("del", before))
        .child(t("span", "→").attr("aria-hidden", "true"))
        .child(t("ins", after))
}

/// In what two states of an instance differ: what, before, after.
pub(super) fn differences(
    words: &Words,
    before: &ServiceInstance,
    after: &ServiceInstance,
) -> Vec<(SmolStr, SmolStr, SmolStr)> {
    let mut found = Vec::new();
    if before.version != after.version {
        found.push((words.version.into(), before.version.clone(), after.version.clone()));
    }
    if before.endpoints != after.endpoints {
        let text = |it: &ServiceInstance| -> SmolStr {
            let all: Vec<&str> = it.endpoints.iter().map(periplus_core::Endpoint::as_str).collect();
            all.join(" ").into()
        };
        found.push((words.endpoints.into(), text(before), text(after)));
    }
    let keys = before.metadata.keys().chain(after.metadata.keys().filter(|key| !before.metadata.contains_key(*key)));
    for key in keys {
        let of = |it: &ServiceInstance| {
            it.metadata.get(key).map_or_else(|| words.absent.into(), |it| SmolStr::from(it.as_str()))
        };
        if before.metadata.get(key) != after.metadata.get(key) {
            found.push((key.as_str().into(), of(before), of(after)));
        }
    }
    found
}

/// The latest of everything.
pub(super) fn latest(model: &Model, most: usize) -> Element {
    let words = model.words();
    if model.log.is_empty() {
        return t("p", words.nothing_happened).class("muted");
    }
    h("ol").class("timeline").all(model.log.latest().take(most).map(|it| event(model, it)))
}
