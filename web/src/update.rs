//! What every message changes, and what is to be done about it.

use periplus_core::Change;
use periplus_core::http::target::Target;
use serde_json::Value;
use smol_str::SmolStr;

use crate::Millis;
use crate::action::{Form, Job, Kind, Run};
use crate::calls::{Call, Problem};
use crate::film::Film;
use crate::fleet::{Fleet, Place};
use crate::json::Read as _;
use crate::keys::{self, Meaning, Press};
use crate::log::Event;
use crate::model::{Belief, Link, Model, Sight};
use crate::route::{Page, Route};
use crate::view::table::ROW;
use crate::words::fill;

/// Something that happened to the dashboard.
#[derive(Clone, Debug, PartialEq)]
pub enum Msg {
    // From the page.
    /// To another screen.
    Go(Route),
    /// The address is another one.
    Address(SmolStr),
    /// An argument of the screen, by name. It replaces the address: nobody wants to go back letter by letter.
    Arg(SmolStr, SmolStr),
    /// Order the rows by this.
    Sort(&'static str),
    /// A key.
    Key(Press),
    /// The list was scrolled, or is of another height.
    Scrolled(u32, u32),
    /// Select an instance, or not.
    Select(Place),
    /// Select all that are listed, or none.
    SelectAll,
    /// Show nothing new, or go on.
    Pause,
    /// The next theme.
    Theme,
    /// The other language.
    Language,
    /// Show the keys, or not.
    Help(bool),
    /// Copy a text.
    Copy(SmolStr),
    /// Try at once what waits for a retry.
    Retry,
    /// Somebody may see the page, or nobody can.
    Seen(bool),

    // Actions.
    /// Ask what is to be done.
    Ask(Kind, Vec<Place>),
    /// A field of the form.
    Field(SmolStr, SmolStr),
    /// Do it.
    Do,
    /// Undo what was done last.
    Undo,
    /// Away with the form.
    Cancel,
    /// Away with what is said of the last action.
    Dismiss,

    // Time travel.
    /// Look at the fleet after so many changes.
    Seek(usize),
    /// A change on or back.
    Step(isize),

    // From the registry.
    /// Time has passed: the page's clock, and the wall's.
    Tick(Millis, u64),
    /// What changed, how far it can be believed, when the registry was last heard if it cannot be, and the revision.
    Fleet(Vec<Change>, Belief, Option<Millis>, u64),
    /// The watch cannot be had, for this reason; nothing: it can.
    Lost(SmolStr),
    /// The registry refuses to let this page watch.
    Refused(Problem),
    /// The alarm sounds, or no longer.
    Alarm(Option<(SmolStr, u64, u64)>),
    /// Something happened.
    Happened(Value),
    /// A question is answered.
    Answered(Call, Result<Value, Problem>),
    /// A piece of the past of this namespace has come.
    Past(SmolStr, Result<Value, Problem>),
    /// A job is done.
    Done(usize, Result<Value, Problem>),
    /// A text was copied, or not.
    Copied(bool),
}

/// Something that the page is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Follow another namespace.
    Follow(SmolStr),
    /// Ask the registry.
    Ask(Call),
    /// Ask the registry for a piece of the past.
    AskPast(SmolStr, Target),
    /// Have the registry do something.
    Send(usize, Job),
    /// Take what changed in the fleet, or leave it for later.
    Hold(bool),
    /// Hear nothing and hold no connection, or go on.
    Rest(bool),
    /// Try at once what waits for a retry.
    Wake,
    /// Another address, to which one can go back or not.
    Address(String, bool),
    /// Back to the screen before.
    Back,
    /// Keep a setting.
    Keep(&'static str, &'static str),
    /// Look and speak otherwise.
    Look,
    /// The keyboard is for this element.
    Focus(&'static str),
    /// Scroll the list.
    Scroll(u32),
    /// Copy a text.
    Copy(SmolStr),
}

/// A clock that ticks every second, and has not for so long, has slept.
const SLEPT: Millis = 5_000;
/// How long something is said.
const NOTE: Millis = 6_000;
/// How long a service without instances is shown.
const EMPTY: Millis = 60_000;

/// Takes a message, and says what is to be done.
pub fn update(model: &mut Model, msg: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    react(model, msg, &mut effects);
    effects
}

fn react(model: &mut Model, msg: Msg, effects: &mut Vec<Effect>) {
    match msg {
        Msg::Go(route) => go(model, route, true, effects),
        Msg::Address(hash) => {
            let route = Route::parse(&hash);
            if route != model.route {
                arrive(model, route, effects);
            }
        }
        Msg::Arg(name, value) => {
            let route = model.route.clone().with(&name, value);
            model.cursor = 0;
            go(model, route, false, effects);
        }
        Msg::Sort(word) => {
            let same = model.route.arg("sort") == word;
            let down = same && model.route.arg("dir").is_empty();
            let route = model.route.clone().with("sort", word).with("dir", if down { "up" } else { "" });
            go(model, route, false, effects);
        }
        Msg::Key(press) => key(model, &press, effects),
        Msg::Scrolled(top, height) => model.scroll = (top, height),
        Msg::Select(place) => {
            if !model.selected.remove(&place) {
                model.selected.insert(place);
            }
        }
        Msg::SelectAll => {
            let all = model.list.instances.iter().all(|place| model.selected.contains(place));
            model.selected.clear();
            if !all {
                model.selected.extend(model.list.instances.iter().cloned());
            }
        }
        Msg::Pause => {
            model.paused = if model.paused.is_some() { None } else { Some(model.now) };
            effects.push(Effect::Hold(model.paused.is_some()));
        }
        Msg::Theme => {
            model.theme = model.theme.next();
            effects.extend([Effect::Keep("theme", model.theme.word()), Effect::Look]);
        }
        Msg::Language => {
            model.language = model.language.other();
            effects.extend([Effect::Keep("language", model.language.code()), Effect::Look]);
        }
        Msg::Help(shown) => model.help = shown,
        Msg::Copy(text) => effects.push(Effect::Copy(text)),
        Msg::Copied(well) => {
            let words = model.words();
            say(model, if well { words.copied } else { words.not_copied });
        }
        Msg::Retry => {
            model.link.refused = None;
            model.link.reason = SmolStr::default();
            model.answers.retry();
            effects.push(Effect::Wake);
            ask(model, effects);
        }
        Msg::Seen(seen) => see(model, seen, effects),
        Msg::Ask(kind, places) if !places.is_empty() => {
            model.form = Some(Form::new(kind, places, &model.fleet));
            // What lies there already decides what changes, and what an undo brings back.
            effects.push(Effect::Ask(Call::Overlays));
        }
        Msg::Ask(..) => {}
        Msg::Field(name, value) => {
            if let Some(form) = &mut model.form {
                match &*name {
                    "weight" => form.weight = value,
                    "metadata" => form.metadata = value,
                    "block_for" => form.block_for = value,
                    _ => form.reason = value,
                }
            }
        }
        Msg::Do => perform(model, effects),
        Msg::Undo => {
            if let Some(run) = model.run.take() {
                let name = fill(model.words().undone, &[&run.name]);
                let mut undo = Run::new(name, run.undoing, Vec::new());
                undo.is_undo = true;
                begin(model, undo, effects);
            }
        }
        Msg::Cancel => model.form = None,
        Msg::Dismiss => model.run = None,
        Msg::Seek(frame) => seek(model, frame, effects),
        Msg::Step(by) => {
            if let Some(film) = &model.film {
                let frame = film.place().saturating_add_signed(by);
                seek(model, frame, effects);
            }
        }
        Msg::Tick(now, wall) => tick(model, now, wall, effects),
        Msg::Fleet(changes, belief, lost, revision) => hear(model, &changes, belief, lost, revision),
        Msg::Lost(reason) => {
            model.link.reason = reason;
            if model.link.reason.is_empty() {
                model.link.refused = None;
                // One that still sounds is told again.
                model.link.alarm = None;
            }
        }
        Msg::Refused(problem) => refuse(model, problem),
        Msg::Alarm(alarm) => model.link.alarm = alarm,
        Msg::Happened(event) => {
            let event = Event::read(&event);
            model.log.push(event);
        }
        Msg::Answered(call, result) => {
            if let Err(problem) = &result
                && matches!(problem.status, 401 | 403)
            {
                refuse(model, problem.clone());
            }
            model.answers.take(&call, result, model.now);
            match call {
                Call::Status => film(model, effects),
                // There may be more.
                Call::Services(_) => ask(model, effects),
                _ => {}
            }
        }
        Msg::Past(namespace, result) => {
            if let Some(film) = model.film.as_mut().filter(|film| film.namespace() == namespace) {
                let first = !film.is_complete();
                film.take(result.as_ref().map_err(|problem| problem.message.clone()), model.now);
                if let (true, true, Ok(at)) = (first, film.is_complete(), model.route.arg("at").parse()) {
                    let frame = film.frame_of(at);
                    film.seek_frame(frame);
                }
            }
            film(model, effects);
        }
        Msg::Done(at, result) => {
            if let Some(run) = &mut model.run {
                run.finish(at, result);
                let over = run.is_over();
                carry_on(model, effects);
                if over {
                    model.answers.refresh();
                    ask(model, effects);
                }
            }
        }
    }
}

fn see(model: &mut Model, seen: bool, effects: &mut Vec<Effect>) {
    match (model.sight, seen) {
        (Sight::Seen | Sight::Waking(_), true) | (Sight::Hidden, false) => {}
        (Sight::Seen | Sight::Waking(_), false) => {
            model.sight = Sight::Hidden;
            effects.push(Effect::Rest(true));
        }
        (Sight::Hidden, true) => {
            model.sight = Sight::Waking(model.now);
            // One that still sounds is told again.
            model.link.alarm = None;
            effects.push(Effect::Rest(false));
            model.answers.slept();
            model.answers.refresh();
            ask(model, effects);
        }
    }
}

/// Goes to a screen, with a new address.
fn go(model: &mut Model, route: Route, remember: bool, effects: &mut Vec<Effect>) {
    if route == model.route {
        return;
    }
    effects.push(Effect::Address(route.hash(), remember));
    arrive(model, route, effects);
}

/// Is at a screen whose address is there already.
fn arrive(model: &mut Model, route: Route, effects: &mut Vec<Effect>) {
    let before = std::mem::replace(&mut model.route, route);
    if before.namespace() != model.route.namespace() {
        model.fleet = Fleet::default();
        model.link = Link::default();
        model.list.forget();
        model.answers.clear();
        model.film = None;
        effects.push(Effect::Follow(model.route.namespace().into()));
    }
    if before.page != model.route.page {
        model.cursor = 0;
        model.scroll.0 = 0;
        model.selected.clear();
        model.form = None;
        model.help = false;
        if model.route.page != Page::Time {
            model.film = None;
        }
        effects.push(Effect::Scroll(0));
    } else if before.arg("q") != model.route.arg("q") {
        // Only what is listed can be selected: one acts on nothing that one does not see.
        model.selected.clear();
        model.scroll.0 = 0;
        effects.push(Effect::Scroll(0));
    }
    model.list.arrange(&model.route, &model.fleet, model.now);
    if model.route.page == Page::Time
        && let Some(film) = &mut model.film
        && let Ok(at) = model.route.arg("at").parse()
    {
        let frame = film.frame_of(at);
        film.seek_frame(frame);
    }
    ask(model, effects);
}

/// What the screen shows of the registry besides the fleet.
#[must_use]
pub fn wants(model: &Model) -> Vec<Call> {
    let mut calls = vec![Call::Status, Call::Namespaces];
    match &model.route.page {
        Page::Overview => calls.push(Call::Trends),
        Page::Services | Page::Doctor => {
            calls.extend(model.answers.services().map(|(after, _)| Call::Services(after)));
        }
        Page::Service(name) => {
            calls.extend([Call::Leases(name.clone()), Call::Watches(name.clone()), Call::Past(name.clone())]);
        }
        Page::Instance(name, id) => {
            calls.extend([Call::Instance(name.clone(), id.clone()), Call::Past(name.clone())]);
        }
        Page::Instances | Page::Time | Page::Resolver => {}
    }
    if model.form.is_some() {
        calls.push(Call::Overlays);
    }
    calls
}

/// Asks for what is to be shown and is not known, or not any more.
fn ask(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.sight == Sight::Hidden {
        return;
    }
    // Who has paused wants to see nothing move.
    if model.paused.is_none() {
        let calls = wants(model);
        effects.extend(model.answers.due(calls, model.now).into_iter().map(Effect::Ask));
    }
    film(model, effects);
}

/// Asks for the past as far as it is looked at.
fn film(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.route.page != Page::Time || model.paused.is_some() || model.sight == Sight::Hidden {
        return;
    }
    let wanted = model.route.arg("at").parse().ok();
    if model.film.is_none() {
        let Some(status) = model.answers.value(&Call::Status) else { return };
        let (first, present) = (status.number("first").unwrap_or(0), status.number("revision").unwrap_or(0));
        model.film = Some(Film::new(model.route.namespace(), first, present, wanted));
    }
    if let Some(film) = &mut model.film
        && let Some(target) = film.next(model.now)
    {
        effects.push(Effect::AskPast(film.namespace().into(), target));
    }
}

fn seek(model: &mut Model, frame: usize, effects: &mut Vec<Effect>) {
    let Some(film) = &mut model.film else { return };
    film.seek_frame(frame);
    // At the end one goes on with the present.
    let at = if film.place() == film.frames().len() { String::new() } else { film.revision().to_string() };
    let route = model.route.clone().with("at", at);
    go(model, route, false, effects);
}

fn tick(model: &mut Model, now: Millis, wall: u64, effects: &mut Vec<Effect>) {
    if now > model.ticked + SLEPT {
        model.answers.slept();
    }
    model.ticked = now;
    model.now = model.now.max(now);
    model.wall = wall;
    // A connection that says nothing need not be dead: another one will tell.
    let silent = model.unanswered().is_some();
    if silent && !std::mem::replace(&mut model.link.probed, silent) {
        effects.push(Effect::Wake);
    }
    model.link.probed = silent;
    if model.note.as_ref().is_some_and(|(_, at)| model.now > at + NOTE) {
        model.note = None;
    }
    model.fleet.forget_empty(model.now.saturating_sub(EMPTY));
    model.answers.tidy(model.now);
    ask(model, effects);
}

fn hear(model: &mut Model, changes: &[Change], belief: Belief, lost: Option<Millis>, revision: u64) {
    // How it was when one began to look is no news.
    let first = model.link.belief == Belief::Unheard;
    let at = (!first).then_some(model.now);
    for change in changes {
        if let Change::Insert(instance) = change {
            model.answers.look_again(instance.service(), instance.id());
        }
        model.fleet.apply(change, at);
        if change.after().is_none() {
            let shown = change.before().map(|it| (SmolStr::from(it.service()), SmolStr::from(it.id())));
            if let Some(place) = shown {
                model.selected.remove(&place);
            }
        }
    }
    if !changes.is_empty() || first {
        model.link.word = Some(model.now);
    }
    model.link.belief = belief;
    model.link.lost = lost;
    model.link.revision = revision;
    if matches!(belief, Belief::Live | Belief::Unconfirmed) {
        model.link.reason = SmolStr::default();
        model.link.refused = None;
        if matches!(model.sight, Sight::Waking(_)) {
            model.sight = Sight::Seen;
        }
    }
}

fn refuse(model: &mut Model, problem: Problem) {
    if matches!(problem.status, 401 | 403) {
        model.link.refused = Some(problem);
    } else {
        model.link.reason = problem.message;
    }
}

fn say(model: &mut Model, text: impl Into<SmolStr>) {
    model.note = Some((text.into(), model.now));
}

fn perform(model: &mut Model, effects: &mut Vec<Effect>) {
    let words = model.words();
    let Some(form) = &mut model.form else { return };
    form.tried = true;
    if form.problem(words).is_some() {
        return effects.push(Effect::Focus("form"));
    }
    let form = model.form.take().expect("it was there just now");
    let overlays = model.answers.value(&Call::Overlays);
    let undo = form.places.iter().map(|place| form.undo(place, overlays, words.undo)).collect();
    let (name, _) = form.kind.words(words);
    let name = match &*form.places {
        [(service, id)] => fill("{0} {1}/{2}", &[name, service, id]),
        all => fill("{0} ×{1}", &[name, &crate::view::number(all.len() as u64)]),
    };
    model.selected.clear();
    begin(model, Run::new(name, form.jobs(), undo), effects);
}

fn begin(model: &mut Model, run: Run, effects: &mut Vec<Effect>) {
    model.run = Some(run);
    carry_on(model, effects);
}

fn carry_on(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(run) = &mut model.run {
        effects.extend(run.start_more().into_iter().map(|(at, job)| Effect::Send(at, job)));
    }
}

fn key(model: &mut Model, press: &Press, effects: &mut Vec<Effect>) {
    let first = std::mem::take(&mut model.first_key);
    // What is open has the keyboard for itself.
    let open = model.form.is_some() || model.help;
    let Some(meaning) = keys::meaning(press, first.then_some("g")) else { return };
    if open && meaning != Meaning::Back {
        return;
    }
    match meaning {
        Meaning::First => model.first_key = true,
        Meaning::Go(place) => {
            let route = model.route.to(Page::MAIN[place].clone());
            go(model, route, true, effects);
        }
        Meaning::Search => {
            if !matches!(model.route.page, Page::Services | Page::Instances | Page::Service(_)) {
                let route = model.route.to(Page::Services);
                go(model, route, true, effects);
            }
            effects.push(Effect::Focus("search"));
        }
        Meaning::Move(by) => {
            let last = model.list.len().saturating_sub(1);
            model.cursor = model.cursor.saturating_add_signed(by).min(last);
            let (top, height) = model.scroll;
            let row = u32::try_from(model.cursor).unwrap_or(u32::MAX).saturating_mul(ROW);
            // The head of the table lies over its first rows.
            if row < top {
                effects.push(Effect::Scroll(row));
            } else if row + 2 * ROW > top + height {
                effects.push(Effect::Scroll((row + 2 * ROW).saturating_sub(height)));
            }
        }
        Meaning::Open => {
            let page = match (model.list.services.get(model.cursor), model.list.instances.get(model.cursor)) {
                (Some(found), _) => Page::Service(found.name.clone()),
                (None, Some((service, id))) => Page::Instance(service.clone(), id.clone()),
                (None, None) => return,
            };
            let route = model.route.to(page);
            go(model, route, true, effects);
        }
        Meaning::Select => {
            if let Some(place) = model.list.instances.get(model.cursor).cloned() {
                react(model, Msg::Select(place), effects);
            }
        }
        Meaning::Act => {
            if !model.mirrors() {
                let places = model.subjects();
                react(model, Msg::Ask(Kind::Drain, places), effects);
            }
        }
        Meaning::Pause => react(model, Msg::Pause, effects),
        Meaning::Help => model.help = true,
        Meaning::Back => {
            if model.help {
                model.help = false;
            } else if model.form.is_some() {
                model.form = None;
            } else if press.in_field {
                effects.push(Effect::Focus("content"));
            } else if !model.selected.is_empty() {
                model.selected.clear();
            } else if press.key == "u" {
                effects.push(Effect::Back);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Theme;
    use crate::words::Language;

    #[test]
    fn keys_that_are_closed_by_the_key_and_by_the_browser_stay_closed() {
        let mut model = Model::new(Page::Overview.into(), Theme::System, Language::English, "".into());
        update(&mut model, Msg::Key(Press { key: "?".into(), ..Press::default() }));
        assert!(model.help);
        update(&mut model, Msg::Key(Press { key: "Escape".into(), ..Press::default() }));
        update(&mut model, Msg::Help(false));
        assert!(!model.help);
    }
}
