//! The fleet as it was.

use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{bar, button, grouped, health, moment, span};
use super::{card, heading, timeline};
use crate::calls::Call;
use crate::film::{Difference, Film};
use crate::fleet::Health;
use crate::html::{Element, Handler, On, c, h, t};
use crate::json::Read as _;
use crate::list::sort;
use crate::model::Model;
use crate::update::Msg;
use crate::words::{Words, fill};

/// So many differences are listed.
const LISTED: usize = 300;

pub(super) fn view(model: &Model) -> Element {
    let words = model.words();
    let screen = c("div", "screen").child(heading(words.time, words.time_says));
    let Some(film) = &model.film else {
        return screen.child(c("p", "muted").attr("aria-busy", "true").text(words.loading));
    };
    if let Some(problem) = &film.problem {
        return screen.child(
            c("div", "state")
                .attr("data-state", "disconnected")
                .child(t("h2", words.disconnected))
                .child(t("p", problem.clone())),
        );
    }
    if !film.is_complete() && film.frames().is_empty() {
        let (_, all) = film.progress();
        let says = fill(words.loading_past, &[&grouped(all)]);
        return screen.child(c("p", "muted").attr("aria-busy", "true").text(says));
    }
    if film.frames().is_empty() {
        return screen.child(c("div", "state").attr("data-state", "empty").child(t("h2", words.no_history)));
    }
    let with = model.route.arg("with").parse().ok();
    screen
        .child(projector(model, words, film))
        .child(c("div", "cards").child(services(words, film)).child(here(model, words, film)))
        .maybe(with.map(|with| compared(words, film, with)))
}

/// The slider, and what is beside it.
fn projector(model: &Model, words: &Words, film: &Film) -> Element {
    let (place, last) = (film.place(), film.frames().len());
    let when: SmolStr = match film.time() {
        Some(time) => fill(words.ago, &[&span(words, model.wall.saturating_sub(time))]),
        None => SmolStr::default(),
    };
    let at = fill(words.at_revision, &[&grouped(film.revision()), if place == last { words.present } else { &when }]);
    let slider = h("input")
        .attr("type", "range")
        .attr("id", "slider")
        .attr("min", "0")
        .attr("max", last.to_smolstr())
        .attr("value", place.to_smolstr())
        .attr("aria-label", words.time)
        .attr("aria-valuetext", at.clone())
        .on(On::Input, Handler::Value(|value| Msg::Seek(value.parse().unwrap_or(usize::MAX))));
    let step = |name, by, off| button(name, Msg::Step(by)).flag("disabled", off);
    let link = model.route.clone().with("at", film.revision().to_smolstr());
    let link = fill("{0}/{1}", &[&model.origin, &link.hash()]);
    let compare = h("input")
        .attr("type", "number")
        .attr("min", film.base().to_smolstr())
        .attr("max", film.present.to_smolstr())
        .attr("value", model.route.arg("with"))
        .attr("placeholder", words.revision)
        .on(On::Input, Handler::Named("with".into(), Msg::Arg));
    let first = model.answers.value(&Call::Status).and_then(|status| status.number("first")).unwrap_or_default();
    let wanted: Option<u64> = model.route.arg("at").parse().ok();
    let forgotten = wanted.is_some_and(|wanted| wanted < first.max(film.base()));
    c("section", "card projector")
        .attr("aria-label", words.time)
        .child(c("p", "moment").child(t("b", at)).maybe(film.time().map(moment)))
        .child(slider)
        .child(
            c("div", "buttons")
                .child(step(words.earlier, -1, place == 0))
                .child(step(words.later, 1, place == last))
                .child(button(words.share, Msg::Copy(link)))
                .child(h("label").class("field inline").child(t("span", words.compare)).child(compare)),
        )
        .maybe(forgotten.then(|| t("p", words.forgotten).class("says").attr("data-state", "warming")))
}

/// The services as they were.
fn services(words: &Words, film: &Film) -> Element {
    let mut services: Vec<_> = film.services().map(|(name, counts)| (Health::of(counts), name, counts)).collect();
    sort(&mut services, |(health, ..)| *health as u64);
    let all: usize = services.iter().map(|(.., counts)| counts.iter().sum::<usize>()).sum();
    let rows = services.iter().take(LISTED).map(|(state, name, counts)| {
        h("li")
            .key((*name).clone())
            .child(t("span", (*name).clone()))
            .child(health(words, *state))
            .child(bar(words, *counts))
            .child(t("span", grouped(counts.iter().sum::<usize>() as u64)).class("count"))
    });
    card(words.services)
        .child(t("p", fill(words.so_many, &[&grouped(services.len() as u64), &grouped(all as u64)])).class("muted"))
        .child(c("ol", "worst").all(rows))
}

/// What happened around the moment.
fn here(model: &Model, words: &Words, film: &Film) -> Element {
    let place = film.place();
    let from = place.saturating_sub(8);
    let to = (place + 4).min(film.frames().len());
    let lines = (from..to).rev().map(|at| {
        let frame = &film.frames()[at];
        let change = frame.delta.changes.first();
        let name = fill("{0}/{1}", &[&frame.service, change.map_or("", |change| change.id())]);
        c("li", "event")
            .key(at.to_smolstr())
            .attr("data-kind", frame.cause.clone())
            .flag("data-present", at + 1 == place)
            .flag("data-future", at >= place)
            .child(moment(frame.time))
            .child(button(fill("#{0}", &[&frame.delta.to.0.to_smolstr()]), Msg::Seek(at + 1)).class("plain"))
            .child(t("b", SmolStr::from(timeline::did(words, &frame.cause))))
            .child(t("span", name))
            .maybe((!frame.actor.is_empty()).then(|| t("span", fill(words.by, &[&frame.actor])).class("muted")))
            .all(changed(model, change))
    });
    card(words.happened).child(c("ol", "timeline").all(lines))
}

fn changed(model: &Model, change: Option<&periplus_core::Change>) -> Vec<Element> {
    let Some((before, after)) = change.and_then(|change| change.before().zip(change.after())) else {
        return Vec::new();
    };
    let all = timeline::differences(model.words(), &before.decode(), &after.decode());
    all.iter().map(|(what, before, after)| timeline::difference(what, before, after)).collect()
}

/// The difference between two moments.
fn compared(words: &Words, film: &Film, with: u64) -> Element {
    let frame = film.frame_of(with);
    let differences = film.compare(frame);
    let from = with.clamp(film.base(), film.present);
    let numbers = [grouped(from), grouped(film.revision()), grouped(differences.len() as u64)];
    let title = fill(words.differences, &numbers.each_ref().map(SmolStr::as_str));
    let section = c("section", "card").attr("aria-label", title.clone()).child(t("h2", title));
    if differences.is_empty() {
        return section.child(t("p", words.no_difference).class("muted"));
    }
    let rows = differences.iter().take(LISTED).map(|it| difference(words, it));
    section.child(c("ol", "timeline").attr("id", "differences").all(rows))
}

fn difference(words: &Words, ((service, id), change): &Difference) -> Element {
    let name = fill("{0}/{1}", &[service, id]);
    let (kind, word) = match (change.before(), change.after()) {
        (None, _) => ("registered", words.came),
        (_, None) => ("expired", words.went),
        _ => ("updated", words.differs),
    };
    let details = match (change.before(), change.after()) {
        (Some(before), Some(after)) => timeline::differences(words, &before.decode(), &after.decode()),
        _ => Vec::new(),
    };
    c("li", "event")
        .key(name.clone())
        .attr("data-kind", kind)
        .child(t("b", word))
        .child(t("span", name))
        .all(details.iter().map(|(what, before, after)| timeline::difference(what, before, after)))
}
