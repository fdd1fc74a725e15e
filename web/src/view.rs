//! What the screen looks like.

mod action;
mod chart;
mod doctor;
mod instance;
mod overview;
mod parts;
mod resolver;
mod service;
mod services;
mod states;
pub mod table;
mod time;
mod timeline;

use smol_str::{SmolStr, ToSmolStr as _};

use crate::calls::Call;
use crate::html::{Element, Handler, On, c, h, t};
use crate::json::Read as _;
use crate::model::{Belief, Model, Theme};
use crate::route::{Page, Route};
use crate::update::Msg;
use crate::words::{Words, fill};

pub use parts::{number, span};

/// The whole page.
#[must_use]
pub fn view(model: &Model) -> Element {
    let words = model.words();
    let screen = match &model.route.page {
        Page::Overview => overview::view(model),
        Page::Services => services::services(model),
        Page::Instances => services::instances(model),
        Page::Service(name) => service::view(model, name),
        Page::Instance(service, id) => instance::view(model, service, id),
        Page::Time => time::view(model),
        Page::Resolver => resolver::view(model),
        Page::Doctor => doctor::view(model),
    };
    let listed = matches!(model.route.page, Page::Services | Page::Instances);
    let main = h("main").attr("id", "content").attr("tabindex", "-1").class(if listed { "fills" } else { "" });
    c("div", "page")
        .child(t("a", words.skip).class("skip").attr("href", "#content").click(Msg::Key(crate::keys::Press {
            key: "Escape".into(),
            in_field: true,
            ..Default::default()
        })))
        .child(side(model, words))
        .child(c("div", "body").child(top(model, words)).child(main.child(screen).maybe(action::bar(model))))
        .maybe(action::form(model))
        .maybe(model.help.then(|| help(words)))
        .child(said(model))
}

/// Where one can go.
fn side(model: &Model, words: &Words) -> Element {
    let names = [words.overview, words.services, words.instances, words.time, words.resolver, words.doctor];
    let keys = ["o", "s", "i", "t", "r", "d"];
    let here = match &model.route.page {
        Page::Service(_) => Page::Services,
        Page::Instance(..) => Page::Instances,
        page => page.clone(),
    };
    let links = Page::MAIN.into_iter().zip(names).zip(keys).map(|((page, name), key)| {
        let current = page == here;
        let link = parts::link(model.route.to(page)).child(t("span", name)).child(t("kbd", fill("g {0}", &[key])));
        let link = if current { link.attr("aria-current", "page") } else { link };
        h("li").child(link)
    });
    let theme = match model.theme {
        Theme::System => words.theme_system,
        Theme::Light => words.theme_light,
        Theme::Dark => words.theme_dark,
    };
    c("div", "side")
        .child(parts::link(model.route.to(Page::Overview)).class("brand").child(mark()).child(t("span", "periplus")))
        .child(h("nav").attr("aria-label", words.main_navigation).child(h("ul").all(links)))
        .child(
            c("div", "settings")
                .child(parts::button(theme, Msg::Theme))
                .child(parts::button(words.other_language, Msg::Language).attr("lang", model.language.other().code()))
                .child(parts::button(words.keys, Msg::Help(true)).child(t("kbd", "?"))),
        )
}

/// The sign of the house: a coast with its ports.
fn mark() -> Element {
    let port = |x: &'static str, y: &'static str| h("circle").attr("cx", x).attr("cy", y).attr("r", "2.4");
    h("svg")
        .class("mark")
        .attr("viewBox", "0 0 32 32")
        .attr("aria-hidden", "true")
        .child(h("path").attr("d", "M4 25c6 0 5-7 11-8s4-10 13-11"))
        .child(port("6", "24.6"))
        .child(port("15", "17"))
        .child(port("26", "6.4"))
}

/// What is everywhere: the namespace, and how it stands with the registry.
fn top(model: &Model, words: &Words) -> Element {
    let mut head = c("header", "top");
    let names = model.answers.value(&Call::Namespaces).map_or(&[][..], |value| value.list("namespaces"));
    let names: Vec<SmolStr> = names.iter().map(|namespace| namespace.text("name")).collect();
    if names.len() > 1 || model.route.namespace() != "default" {
        let here = model.route.namespace();
        let mut options: Vec<&str> = names.iter().map(SmolStr::as_str).collect();
        if !options.contains(&here) {
            options.push(here);
        }
        let options: Vec<(&str, &str)> = options.into_iter().map(|name| (name, name)).collect();
        head = head.child(parts::select(words.namespace, "ns", &options, here));
    }
    head.child(c("div", "grow")).child(badge(model, words))
}

/// How live it is, and how old the last word.
fn badge(model: &Model, words: &Words) -> Element {
    let (class, name) = match (model.paused, model.link.belief) {
        (Some(_), _) => ("paused", words.paused),
        _ if model.unanswered().is_some() => ("unanswered", words.unanswered),
        (None, Belief::Unheard) => ("unheard", words.loading),
        (None, Belief::Live) => ("live", words.live),
        (None, Belief::Unconfirmed) => ("unconfirmed", words.unconfirmed),
        (None, Belief::Stale) if model.is_stale() => ("stale", words.stale),
        (None, Belief::Stale) => ("unheard", words.loading),
    };
    let since = model.link.word.map(|at| fill(words.last_word, &[&span(words, model.now.saturating_sub(at))]));
    let pause = if model.paused.is_some() { words.resume_live } else { words.pause };
    c("div", "link")
        .child(
            c("span", "badge")
                .attr("data-state", class)
                .attr("role", "status")
                .child(c("i", "dot"))
                .child(t("b", name)),
        )
        .maybe(since.map(|since| t("span", since).class("muted age")))
        .child(
            parts::button(pause, Msg::Pause)
                .attr("aria-pressed", if model.paused.is_some() { "true" } else { "false" })
                .child(t("kbd", "p")),
        )
}

/// The keys.
fn help(words: &Words) -> Element {
    let keys = [
        ("/", words.key_search),
        ("j k", words.key_rows),
        ("Enter", words.key_open),
        ("x", words.key_select),
        ("a", words.key_actions),
        ("g o s i t r d", words.key_go),
        ("p", words.key_pause),
        ("u", words.key_back),
        ("?", words.key_help),
    ];
    let rows = keys.map(|(keys, what)| {
        let keys = keys.split(' ').map(|key| t("kbd", key));
        h("div").child(h("dt").all(keys)).child(t("dd", what))
    });
    parts::dialog(words.keys, Msg::Help(false))
        .child(c("dl", "keys").all(rows))
        .child(c("div", "buttons").child(parts::button(words.close, Msg::Help(false))))
}

/// What is said for a moment.
fn said(model: &Model) -> Element {
    let live = c("div", "said").key("said").attr("role", "status").attr("aria-live", "polite");
    live.maybe(model.note.as_ref().map(|(text, _)| t("p", text.clone())))
}

/// The search of a list.
fn search(model: &Model, words: &Words) -> Element {
    let input = h("input")
        .attr("id", "search")
        .attr("type", "search")
        .attr("value", model.route.arg("q"))
        .attr("placeholder", words.search_hint)
        .attr("aria-label", words.search)
        .attr("autocomplete", "off")
        .attr("spellcheck", "false")
        .on(On::Input, Handler::Named("q".into(), Msg::Arg));
    let problem = model.list.problem.as_ref();
    let input = match problem {
        Some(_) => input.attr("aria-invalid", "true").attr("aria-describedby", "search-problem"),
        None => input,
    };
    c("div", "search").attr("role", "search").child(input).child(t("kbd", "/")).maybe(problem.map(
        |(message, start, end)| {
            // The piece that makes no sense, where it stands.
            let text = model.route.arg("q");
            let piece = text.get(*start..*end).unwrap_or_default();
            c("p", "problem")
                .attr("id", "search-problem")
                .attr("role", "alert")
                .maybe((!piece.is_empty()).then(|| t("mark", piece)))
                .child(t("span", message.clone()))
        },
    ))
}

/// A heading with what is beside it.
fn heading(title: impl Into<SmolStr>, beside: impl Into<SmolStr>) -> Element {
    let beside = beside.into();
    c("div", "heading").child(t("h1", title)).maybe((!beside.is_empty()).then(|| t("span", beside).class("muted")))
}

/// A part of a screen.
fn card(title: &'static str) -> Element {
    c("section", "card").attr("aria-label", title).child(t("h2", title))
}

/// A pair of a list of facts.
fn fact(name: &'static str, value: impl Into<SmolStr>) -> Element {
    h("div").child(t("dt", name)).child(t("dd", value))
}

/// Where a service is shown.
fn to_service(model: &Model, name: &str) -> Route {
    model.route.to(Page::Service(name.into()))
}

/// Where an instance is shown.
fn to_instance(model: &Model, service: &str, id: &str) -> Route {
    model.route.to(Page::Instance(service.into(), id.into()))
}

/// How many of how many.
fn of(words: &Words, some: usize, all: usize) -> SmolStr {
    if some == all {
        parts::grouped(all as u64)
    } else {
        fill(words.matching, &[&parts::grouped(some as u64), &parts::grouped(all as u64)])
    }
}

/// How long ago something was by the wall clock.
fn wall_ago(model: &Model, time: u64) -> SmolStr {
    fill(model.words().ago, &[&span(model.words(), model.wall.saturating_sub(time))])
}

/// A percentage of something, for widths.
fn percent(part: usize, whole: usize) -> SmolStr {
    (part * 1000 / whole.max(1)).to_smolstr()
}
