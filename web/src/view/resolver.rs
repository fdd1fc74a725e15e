//! Whom a client would get, and why not the others.

use smol_str::{SmolStr, ToSmolStr as _};

use super::parts::{field, link, select, status_word};
use super::{card, heading, of, states, to_instance};
use crate::html::{Element, c, h, t};
use crate::model::Model;
use crate::resolver::{Client, POLICIES, Why, resolve};
use crate::words::{Words, fill};

/// So many instances are listed on each side.
const LISTED: usize = 500;

pub(super) fn view(model: &Model) -> Element {
    let words = model.words();
    let screen = c("div", "screen").child(heading(words.resolver, words.resolver_says)).all(states::notices(model));
    if let Some(instead) = states::instead(model) {
        return screen.child(instead);
    }
    let names: Vec<&str> = model.fleet.services().map(|(name, _)| name.as_str()).collect();
    let asked = model.route.arg("service");
    let chosen = if asked.is_empty() { names.first().copied().unwrap_or_default() } else { asked };
    let options: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let client = Client::of(&model.route);
    let policies = POLICIES.map(|(name, _)| (name, name));
    let arg = |name| model.route.arg(name);
    let asks = c("section", "card asks")
        .attr("aria-label", words.client)
        .child(select(words.choose_service, "service", &options, chosen))
        .child(field(words.own_zone, "zone", arg("zone"), "a"))
        .child(field(words.filter, "filter", arg("filter"), "version:>=1.2"))
        .child(field(words.subset_size, "size", arg("size"), "0"))
        .child(field(words.subset_key, "key", arg("key"), "client-1"))
        .child(select(words.policy, "policy", &policies, POLICIES[client.policy].0));
    let screen = screen.child(asks);
    let Some(service) = model.fleet.service(chosen) else {
        return screen.child(t("p", words.gone).class("muted"));
    };
    let resolved = resolve(&client, service);
    if let Some(problem) = resolved.problem {
        return screen.child(t("p", problem).class("problem").attr("role", "alert"));
    }
    let gets = fill(words.gets, &[&resolved.gets.len().to_smolstr(), &service.len().to_smolstr()]);
    let got = resolved.gets.iter().take(LISTED).map(|(instance, share)| {
        let id = SmolStr::from(instance.id());
        h("li")
            .key(id.clone())
            .child(link(to_instance(model, chosen, &id)).text(id))
            .child(
                h("svg")
                    .class("bar")
                    .attr("viewBox", "0 0 1000 10")
                    .attr("preserveAspectRatio", "none")
                    .attr("aria-hidden", "true")
                    .child(
                        h("rect")
                            .attr("data-status", "up")
                            .attr("height", "10")
                            .attr("width", (share / 1000).to_smolstr()),
                    ),
            )
            .child(t("span", share_of(*share)).class("count").attr("title", words.share_of_calls))
    });
    let out = resolved.left_out.iter().take(LISTED).map(|(instance, why)| {
        let id = SmolStr::from(instance.id());
        h("li")
            .key(id.clone())
            .child(link(to_instance(model, chosen, &id)).text(id))
            .child(t("span", because(words, *why)).class("muted"))
    });
    let left = of(words, resolved.left_out.len(), service.len());
    screen.child(
        c("div", "cards")
            .child(
                card(words.share_of_calls)
                    .child(t("p", gets).class("verdict").flag("data-calm", !resolved.gets.is_empty()))
                    .child(c("ol", "worst").attr("id", "gets").all(got)),
            )
            .child(
                card(words.left_out)
                    .child(t("p", left).class("muted"))
                    .child(c("ol", "worst").attr("id", "left-out").all(out)),
            ),
    )
}

/// A share of a million as a percentage.
fn share_of(ppm: u32) -> SmolStr {
    fill("{0}.{1} %", &[&(ppm / 10_000).to_smolstr(), &(ppm / 1_000 % 10).to_smolstr()])
}

fn because(words: &Words, why: Why) -> SmolStr {
    match why {
        Why::Status(status) => fill(words.because_status, &[status_word(words, status)]),
        Why::Weight => words.because_weight.into(),
        Why::Filter => words.because_filter.into(),
        Why::Zone => words.because_zone.into(),
        Why::Subset => words.because_subset.into(),
    }
}
