//! The screens that show no fleet, each for another reason.

use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{button, copied, grouped, span};
use crate::html::{Element, c, t};
use crate::model::{Belief, Face, Model};
use crate::update::Msg;
use crate::words::{Words, fill};

/// What is shown in place of the fleet, if something is.
pub(super) fn instead(model: &Model) -> Option<Element> {
    let words = model.words();
    let state = |name: &'static str, title: &'static str| {
        c("div", "state").attr("data-state", name).child(c("i", "sign")).child(t("h2", title))
    };
    Some(match model.face() {
        Face::Full => return None,
        Face::Loading => state("loading", words.loading).attr("aria-busy", "true").child(t("p", words.loading_says)),
        Face::Disconnected => state("disconnected", words.disconnected)
            .child(t("p", words.disconnected_says))
            .child(t("p", fill(words.why, &[&model.link.reason])).class("muted"))
            .child(button(words.try_again, Msg::Retry)),
        Face::Forbidden => {
            let said = model.link.refused.as_ref().map(|problem| problem.message.clone()).unwrap_or_default();
            state("forbidden", words.forbidden)
                .child(t("p", fill(words.forbidden_says, &[&said])))
                .child(button(words.try_again, Msg::Retry))
        }
        Face::Empty => {
            let command: SmolStr = fill(
                "curl -X PUT {0}/v1/services/web/instances/web-1 -d '{1}'",
                &[&model.origin, r#"{"endpoints": ["http://10.0.0.5:8000"], "ttl": "60s"}"#],
            );
            state("empty", words.empty).child(t("p", words.empty_says)).child(copied(words, command))
        }
        Face::Filtered => state("filtered", words.filtered)
            .child(t("p", fill(words.filtered_says, &[&grouped(model.fleet.len() as u64)])))
            .child(button(words.clear_search, Msg::Arg("q".into(), SmolStr::default()))),
    })
}

/// What is shown of something that is not there, or not any more.
pub(super) fn gone(words: &Words) -> Element {
    c("div", "state").attr("data-state", "gone").child(t("h2", words.gone)).child(t("p", words.gone_says))
}

/// What is said above a fleet that is not as it seems.
pub(super) fn notices(model: &Model) -> Vec<Element> {
    let words = model.words();
    let notice = |state: &'static str, title: &'static str, says: SmolStr| {
        c("div", "notice")
            // It comes and goes, and what is below it stays what it is.
            .key(state)
            .attr("data-state", state)
            .attr("role", "status")
            .child(t("b", title))
            .child(t("span", says))
    };
    let mut all = Vec::new();
    if let Some(at) = model.paused {
        let age = span(words, model.now.saturating_sub(at));
        all.push(
            notice("paused", words.paused, fill(words.paused_for, &[&age]))
                .child(button(words.resume_live, Msg::Pause)),
        );
    }
    if let Some(age) = model.unanswered() {
        let says = fill(words.unanswered_for, &[&span(words, age)]);
        all.push(notice("unanswered", words.unanswered, says).child(button(words.try_again, Msg::Retry)));
    }
    match model.link.belief {
        Belief::Stale if model.is_stale() => {
            let age = span(words, model.link.lost.map_or(0, |at| model.now.saturating_sub(at)));
            let why = (!model.link.reason.is_empty()).then(|| fill(words.why, &[&model.link.reason]));
            all.push(
                notice("stale", words.stale, fill(words.stale_for, &[&age]))
                    .maybe(why.map(|why| t("span", why).class("muted")))
                    .child(button(words.try_again, Msg::Retry)),
            );
        }
        Belief::Unconfirmed => all.push(notice("unconfirmed", words.unconfirmed, words.unconfirmed_says.into())),
        Belief::Unheard | Belief::Live | Belief::Stale => {}
    }
    if let Some((namespace, expired, of)) = &model.link.alarm {
        let says = fill(words.alarm, &[namespace, &expired.to_smolstr(), &of.to_smolstr()]);
        let alarm = c("div", "notice").key("alarm").attr("data-state", "alarm").attr("role", "alert");
        all.push(alarm.child(t("span", says)));
    }
    all
}
