//! What looks wrong, and what to do about it.

use super::parts::{grouped, link};
use super::{heading, states, to_instance, to_service};
use crate::doctor::{Finding, examine};
use crate::html::{Element, c, h, t};
use crate::model::Model;

/// So many findings are listed.
const LISTED: usize = 300;

pub(super) fn view(model: &Model) -> Element {
    let words = model.words();
    let screen = c("div", "screen").child(heading(words.doctor, words.doctor_says)).all(states::notices(model));
    if let Some(instead) = states::instead(model) {
        return screen.child(instead);
    }
    let services = model.answers.services().filter_map(|(_, page)| page);
    let found = examine(&model.fleet, &model.log, model.route.namespace(), services);
    if found.is_empty() {
        return screen
            .child(c("div", "state").attr("data-state", "calm").child(c("i", "sign")).child(t("h2", words.healthy)));
    }
    let serious = found.iter().filter(|finding| finding.serious).count();
    let counts = [(words.serious, "down", serious), (words.worth_a_look, "draining", found.len() - serious)];
    let counts = counts.map(|(name, state, count)| {
        c("span", "status")
            .attr("data-status", state)
            .child(c("i", "shape"))
            .child(t("b", grouped(count as u64)))
            .child(t("span", name))
    });
    screen
        .child(c("p", "tally").all(counts))
        .child(c("ol", "findings").all(found.iter().take(LISTED).map(|finding| line(model, finding))))
}

fn line(model: &Model, finding: &Finding) -> Element {
    let words = model.words();
    let (sick, cure) = finding.says(words);
    let route = if finding.id.is_empty() {
        to_service(model, &finding.service)
    } else {
        to_instance(model, &finding.service, &finding.id)
    };
    let (word, state) = if finding.serious { (words.serious, "down") } else { (words.worth_a_look, "draining") };
    h("li")
        .key(sick.clone())
        .child(c("span", "status").attr("data-status", state).child(c("i", "shape")).child(t("span", word)))
        .child(link(route).text(sick))
        .child(t("p", cure).class("muted"))
}
