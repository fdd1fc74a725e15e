//! What an operator does: asked, tried dry, done, undone.

use smol_str::ToSmolStr as _;

use super::parts::{button, dialog, grouped};
use super::timeline::difference;
use crate::action::{Form, Kind, Run};
use crate::calls::Call;
use crate::html::{Element, Handler, On, c, h, t};
use crate::model::Model;
use crate::route::Page;
use crate::update::Msg;
use crate::words::{Words, fill};

/// So many changes of a dry run are listed.
const LISTED: usize = 50;

/// What can be done with what is selected, and how it goes with what is being done.
pub(super) fn bar(model: &Model) -> Option<Element> {
    let words = model.words();
    if let Some(run) = &model.run {
        return Some(progress(words, run));
    }
    if model.selected.is_empty() || matches!(model.route.page, Page::Instance(..)) {
        return None;
    }
    let count = fill(words.selected, &[&grouped(model.selected.len() as u64)]);
    let bar = c("div", "bar-of-actions").attr("role", "group").attr("aria-label", words.actions).child(t("b", count));
    if model.mirrors() {
        return Some(bar.child(t("span", words.not_here).class("muted")));
    }
    let places: Vec<_> = model.selected.iter().cloned().collect();
    Some(bar.all(Kind::ALL.map(|kind| {
        let (name, _) = kind.words(words);
        button(name, Msg::Ask(kind, places.clone())).flag("data-danger", kind == Kind::Evict)
    })))
}

fn progress(words: &Words, run: &Run) -> Element {
    let bar = c("div", "bar-of-actions").attr("role", "status");
    if !run.is_over() {
        let says = fill(words.running, &[&run.done.to_smolstr(), &run.len().to_smolstr()]);
        return bar.child(t("b", run.name.clone())).child(t("span", says));
    }
    let name = if run.is_undo { run.name.clone() } else { fill(words.ran, &[&run.name]) };
    let failed = run.failed.first().map(|((_, id), why)| {
        let why = fill("{0}: {1}", &[id, why]);
        t("span", fill(words.failed, &[&run.failed.len().to_smolstr(), &why])).class("problem")
    });
    let undo = (!run.undoing.is_empty()).then(|| button(words.undo, Msg::Undo));
    bar.child(t("b", name)).maybe(failed).maybe(undo).child(button(words.close, Msg::Dismiss))
}

/// What is asked before anything is done.
pub(super) fn form(model: &Model) -> Option<Element> {
    let form = model.form.as_ref()?;
    let words = model.words();
    let (name, says) = form.kind.words(words);
    let run = form.dry_run(&model.fleet, model.answers.value(&Call::Overlays), words);
    let touched = form.touches(&run);
    let title = match &*form.places {
        [(service, id)] => fill("{0} {1}/{2}", &[name, service, id]),
        all => fill("{0} ×{1}", &[name, &grouped(all.len() as u64)]),
    };
    let input = |label: &'static str, name: &'static str, value: &str, hint: &'static str| {
        let input = h("input")
            .attr("value", value)
            .attr("placeholder", hint)
            .attr("autocomplete", "off")
            .attr("name", name)
            .on(On::Input, Handler::Named(name.into(), Msg::Field));
        h("label").class("field").child(t("span", label)).child(input)
    };
    let own = match form.kind {
        Kind::Weight => Some(input(words.weight, "weight", &form.weight, "100")),
        Kind::Evict => Some(input(words.block_for, "block_for", &form.block_for, "5m")),
        Kind::Metadata => Some(
            h("label").class("field").child(t("span", words.metadata)).child(
                h("textarea")
                    .attr("rows", "4")
                    .attr("value", form.metadata.clone())
                    .attr("placeholder", "owner=pay")
                    .attr("name", "metadata")
                    .on(On::Input, Handler::Named("metadata".into(), Msg::Field)),
            ),
        ),
        Kind::Drain | Kind::Resume => None,
    };
    let problem = form.problem(words).filter(|_| form.tried);
    let problem = problem.map(|problem| t("p", problem).class("problem").attr("role", "alert"));
    let go = match form.places.len() {
        1 => words.run_one.into(),
        many => fill(words.run_many, &[&grouped(many as u64)]),
    };
    let buttons = c("div", "buttons").child(button(words.cancel, Msg::Cancel)).child(
        h("button")
            .attr("type", "submit")
            .class("main")
            .flag("data-danger", form.kind == Kind::Evict)
            .child(t("span", go)),
    );
    let body = h("form")
        .attr("id", "form")
        .attr("novalidate", "")
        .on(On::Submit, Handler::Tell(Msg::Do))
        .child(t("p", says))
        .maybe(own)
        .child(input(words.reason, "reason", &form.reason, words.reason_hint))
        .child(dry(words, form, touched, &run))
        .maybe(problem)
        .child(buttons);
    Some(dialog(title, Msg::Cancel).child(body))
}

/// What would come of it.
fn dry(words: &Words, form: &Form, touched: usize, run: &crate::action::DryRun) -> Element {
    let would = fill(words.would, &[&grouped(touched as u64), &grouped(form.places.len() as u64)]);
    let many = form.places.len() > 1;
    let changes = run.changes.iter().take(LISTED).map(|((_, id), what, before, after)| {
        let line = h("li");
        let line = if many { line.child(t("code", id.clone())) } else { line };
        line.child(difference(what, before, after))
    });
    let same = run
        .same
        .iter()
        .take(LISTED)
        .map(|(_, id)| h("li").class("muted").child(t("code", id.clone())).child(t("span", words.would_nothing)));
    let dead = run.dead.iter().map(|name| {
        t("p", fill(words.none_left, &[name])).class("says").attr("data-state", "alarm").attr("role", "alert")
    });
    c("div", "dry")
        .child(t("b", would))
        .all(dead)
        .child(c("ul", "plain").attr("tabindex", "0").attr("aria-label", words.would_list).all(changes.chain(same)))
}
