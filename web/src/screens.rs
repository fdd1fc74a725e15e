//! Whole screens, and what comes of using them.

use periplus_core::Change;
use serde_json::json;
use smol_str::SmolStr;

use crate::action::Kind;
use crate::calls::{Call, Problem};
use crate::fleet::Place;
use crate::html::Element;
use crate::keys::Press;
use crate::model::{Belief, Face, Model, Theme};
use crate::route::{Page, Route};
use crate::tests::instance;
use crate::update::{Effect, Msg, update};
use crate::view::view;
use crate::words::Language;

fn model() -> Model {
    let mut model =
        Model::new(Page::Overview.into(), Theme::System, Language::English, "http://registry.example:7171".into());
    update(&mut model, Msg::Tick(1_000, 1_700_000_000_000));
    model
}

/// One that has been told of these: service, id and status.
fn with(instances: &[(&str, &str, &str)]) -> Model {
    let mut model = model();
    tell(&mut model, instances);
    model
}

fn tell(model: &mut Model, instances: &[(&str, &str, &str)]) -> Vec<Effect> {
    let changes = instances.iter().map(|(service, id, status)| {
        let before = model.fleet.get(service, id).map(|row| row.packed.clone());
        Change::between(before, Some(instance(service, id, status))).expect("it is news")
    });
    let changes = changes.collect();
    update(model, Msg::Fleet(changes, Belief::Live, None, 7))
}

fn go(model: &mut Model, page: Page) -> Vec<Effect> {
    let route = model.route.to(page);
    update(model, Msg::Go(route))
}

fn press(model: &mut Model, keys: &[&str]) -> Vec<Effect> {
    let press = |key: &&str| Msg::Key(Press { key: (*key).into(), ..Press::default() });
    keys.iter().flat_map(|key| update(model, press(key))).collect()
}

fn state(screen: &Element) -> String {
    let found = screen.descendants();
    let state = found.iter().find(|element| element.attribute("class") == Some("state"));
    state.and_then(|element| element.attribute("data-state")).unwrap_or("none").to_owned()
}

fn pages() -> Vec<Page> {
    let (service, id): (SmolStr, SmolStr) = ("web".into(), "a".into());
    Page::MAIN.into_iter().chain([Page::Service(service.clone()), Page::Instance(service, id)]).collect()
}

#[test]
fn six_states_are_six_screens() {
    let mut model = model();
    go(&mut model, Page::Services);
    assert_eq!((model.face(), &*state(&view(&model))), (Face::Loading, "loading"));
    update(&mut model, Msg::Lost("nobody answers".into()));
    assert_eq!(state(&view(&model)), "disconnected");
    assert!(view(&model).all_text().contains("nobody answers"));
    let problem = Problem { status: 403, code: "host_refused".into(), message: "not by this name".into() };
    update(&mut model, Msg::Refused(problem));
    assert_eq!(state(&view(&model)), "forbidden");
    assert!(view(&model).all_text().contains("not by this name"));
    tell(&mut model, &[]);
    assert_eq!(state(&view(&model)), "empty");
    tell(&mut model, &[("web", "a", "up")]);
    update(&mut model, Msg::Arg("q".into(), "nothing-like-it".into()));
    assert_eq!(state(&view(&model)), "filtered");
    update(&mut model, Msg::Arg("q".into(), SmolStr::default()));
    assert_eq!(state(&view(&model)), "none");
    update(&mut model, Msg::Fleet(Vec::new(), Belief::Stale, Some(1_000), 7));
    update(&mut model, Msg::Tick(13_000, 1_700_000_012_000));
    // What was known stays, with its age.
    assert!(view(&model).all_text().contains("has not been heard for 12s"));
    assert_eq!(state(&view(&model)), "none");
}

#[test]
fn every_screen_says_something_in_every_language_whatever_is_known() {
    for language in [Language::English, Language::Chinese] {
        for mut model in
            [model(), with(&[]), with(&[("web", "a", "up"), ("web", "b", "draining"), ("cart", "c", "down")])]
        {
            model.language = language;
            for page in pages() {
                go(&mut model, page.clone());
                model.list.arrange(&model.route, &model.fleet, model.now);
                let screen = view(&model);
                assert!(!screen.all_text().is_empty(), "{page:?}");
                let headings = screen.descendants().iter().filter(|it| it.tag == "h1").count();
                assert_eq!(headings, 1, "{page:?}");
            }
        }
    }
}

/// What a hostile name may not become, whatever it is.
fn inert(screen: &Element) {
    for element in screen.descendants() {
        assert!(!["script", "iframe", "object", "embed", "style", "base", "link", "img"].contains(&element.tag));
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on") && *name != "style" && *name != "src", "{name}");
            assert!(*name != "href" || value.starts_with('#'), "{value}");
        }
    }
}

#[test]
fn what_is_hostile_stays_text() {
    let hostile = "\"><script>alert(1)</script><a href=javascript:alert(1) onclick=x>{0}";
    let mut model = model();
    let it = crate::tests::hostile(hostile);
    update(&mut model, Msg::Fleet(vec![Change::Insert(it)], Belief::Live, None, 1));
    let event = json!({"number": 1, "event": hostile, "service": hostile, "id": hostile, "namespace": "default",
        "reason": hostile, "caller": {"who": hostile}});
    update(&mut model, Msg::Happened(event));
    update(&mut model, Msg::Alarm(Some((hostile.into(), 1, 2))));
    let (service, id): Place = (hostile.into(), hostile.into());
    for page in pages().into_iter().chain([Page::Service(service.clone()), Page::Instance(service.clone(), id.clone())])
    {
        go(&mut model, page);
        update(&mut model, Msg::Arg("q".into(), hostile.into()));
        inert(&view(&model));
        update(&mut model, Msg::Arg("q".into(), SmolStr::default()));
        inert(&view(&model));
    }
    update(&mut model, Msg::Ask(Kind::Drain, vec![(service, id)]));
    let screen = view(&model);
    inert(&screen);
    assert!(screen.all_text().contains("<script>alert(1)</script>"));
}

#[test]
fn the_keyboard_does_what_the_help_says() {
    let mut model = with(&[("a", "1", "up"), ("b", "1", "up"), ("c", "1", "up")]);
    press(&mut model, &["g", "s"]);
    assert_eq!(model.route.page, Page::Services);
    press(&mut model, &["j", "j", "j", "j", "k"]);
    assert_eq!(model.cursor, 1);
    press(&mut model, &["Enter"]);
    assert_eq!(model.route.page, Page::Service("b".into()));
    press(&mut model, &["x"]);
    assert_eq!(model.subjects(), [("b".into(), "1".into())]);
    press(&mut model, &["a"]);
    assert_eq!(model.form.as_ref().map(|form| form.kind), Some(Kind::Drain));
    // What is open has the keyboard for itself.
    press(&mut model, &["g", "o", "j"]);
    assert_eq!(model.route.page, Page::Service("b".into()));
    press(&mut model, &["Escape", "?"]);
    assert!(model.form.is_none() && model.help);
    press(&mut model, &["Escape", "p"]);
    assert!(!model.help && model.paused.is_some());
    assert!(press(&mut model, &["/"]).contains(&Effect::Focus("search")));
    assert!(press(&mut model, &["Escape", "u"]).contains(&Effect::Back));
}

#[test]
fn a_search_is_in_the_address_and_selects_only_what_it_shows() {
    let mut model = with(&[("web", "a", "up"), ("web", "b", "down"), ("cart", "c", "up")]);
    go(&mut model, Page::Instances);
    update(&mut model, Msg::SelectAll);
    assert_eq!(model.selected.len(), 3);
    let effects = update(&mut model, Msg::Arg("q".into(), "status:!up".into()));
    assert!(effects.contains(&Effect::Address("#/instances?q=status%3A%21up".into(), false)));
    assert!(model.selected.is_empty());
    update(&mut model, Msg::SelectAll);
    assert_eq!(model.subjects(), [("web".into(), "b".into())]);
    // Who goes is not selected any more.
    let gone = Change::Remove(instance("web", "b", "down"));
    update(&mut model, Msg::Fleet(vec![gone], Belief::Live, None, 8));
    assert!(model.selected.is_empty());
    // And back and forth: the address says what is shown.
    update(&mut model, Msg::Address("#/services?q=cart".into()));
    assert_eq!((&model.route.page, model.list.len()), (&Page::Services, 1));
}

#[test]
fn an_action_asks_why_is_done_and_can_be_undone() {
    let mut model = with(&[("web", "a", "up"), ("web", "b", "up")]);
    let places = vec![("web".into(), "a".into()), ("web".into(), "b".into())];
    update(&mut model, Msg::Ask(Kind::Drain, places));
    assert!(view(&model).all_text().contains("Dry run: 2 of 2 would change"));
    assert!(view(&model).all_text().contains("nobody of web takes calls"));
    // Without a reason nothing is done.
    assert_eq!(update(&mut model, Msg::Do), [Effect::Focus("form")]);
    assert!(view(&model).all_text().contains("Say why"));
    update(&mut model, Msg::Field("reason".into(), "deploy".into()));
    let sent = |effects: &[Effect]| -> Vec<String> {
        let jobs = effects.iter().filter_map(|effect| match effect {
            Effect::Send(at, job) => Some(format!("{at} {} {} {}", job.method, job.target("default"), job.body)),
            _ => None,
        });
        jobs.collect()
    };
    let effects = update(&mut model, Msg::Do);
    let expected = [
        r#"0 PATCH /v1/services/web/instances/a/overlay?ns=default {"reason":"deploy","status":"draining"}"#,
        r#"1 PATCH /v1/services/web/instances/b/overlay?ns=default {"reason":"deploy","status":"draining"}"#,
    ];
    assert_eq!(sent(&effects), expected);
    update(&mut model, Msg::Done(0, Ok(json!({}))));
    let refused = Problem { status: 404, code: "not_found".into(), message: "there is no b".into() };
    update(&mut model, Msg::Done(1, Err(refused)));
    let said = view(&model).all_text();
    assert!(said.contains("Done: Drain ×2") && said.contains("there is no b"), "{said}");
    let effects = update(&mut model, Msg::Undo);
    assert_eq!(
        sent(&effects),
        [r#"0 DELETE /v1/services/web/instances/a/overlay?ns=default {"keys":["status"],"reason":"Undo"}"#]
    );
    update(&mut model, Msg::Done(0, Ok(json!({}))));
    assert!(view(&model).all_text().contains("Undone: Drain ×2"));
}

#[test]
fn a_page_that_nobody_sees_lets_go_of_its_connections() {
    let mut model = with(&[("web", "a", "up")]);
    let tick = |model: &mut Model, second: u64| update(model, Msg::Tick(second * 1_000, 0));
    go(&mut model, Page::Time);
    update(&mut model, Msg::Answered(Call::Status, Ok(json!({ "first": 0, "revision": 9_000 }))));
    update(&mut model, Msg::Alarm(Some(("default".into(), 5, 9))));
    assert_eq!(update(&mut model, Msg::Seen(true)), []);
    assert_eq!(update(&mut model, Msg::Seen(false)), [Effect::Rest(true)]);
    assert_eq!(update(&mut model, Msg::Seen(false)), []);
    // It asks nothing more, whatever it still hears.
    assert_eq!(tick(&mut model, 100), []);
    assert_eq!(update(&mut model, Msg::Fleet(vec![], Belief::Stale, Some(1_000), 7)), []);
    assert_eq!(tick(&mut model, 101), []);

    // Nor a piece of the past, whatever of it comes.
    assert_eq!(update(&mut model, Msg::Past("default".into(), Ok(json!({})))), []);

    // Back again, it is out of date only if it cannot be helped.
    let back = update(&mut model, Msg::Seen(true));
    assert!(back.contains(&Effect::Rest(false)) && back.contains(&Effect::Ask(Call::Status)));
    // An alarm may have ended.
    assert_eq!(model.link.alarm, None);
    let stale = |model: &Model| view(model).all_text().contains("Out of date");
    assert!(!stale(&model));
    tick(&mut model, 103);
    assert!(stale(&model));
    tell(&mut model, &[("web", "b", "up")]);
    assert!(!stale(&model));
}

#[test]
fn a_registry_that_stands_still_is_not_called_live() {
    let mut model = with(&[("web", "a", "up")]);
    let badge = |model: &Model| {
        let screen = view(model);
        let found = screen.descendants();
        let badge = found.iter().find(|element| element.attribute("class") == Some("badge"));
        badge.and_then(|element| element.attribute("data-state")).map(str::to_owned)
    };
    for second in 2..6 {
        assert!(!update(&mut model, Msg::Tick(second * 1_000, 0)).contains(&Effect::Wake));
    }
    assert_eq!(badge(&model).as_deref(), Some("live"));
    // Another connection is tried, once.
    assert!(update(&mut model, Msg::Tick(6_000, 0)).contains(&Effect::Wake));
    assert_eq!(badge(&model).as_deref(), Some("unanswered"));
    assert!(view(&model).all_text().contains("answered nothing for 5s"));
    assert!(!update(&mut model, Msg::Tick(7_000, 0)).contains(&Effect::Wake));
    update(&mut model, Msg::Answered(Call::Status, Ok(json!({ "revision": 7 }))));
    assert_eq!(badge(&model).as_deref(), Some("live"));
}

#[test]
fn a_mirror_says_that_it_is_not_told_what_happens() {
    let mut model = with(&[("web", "a", "up")]);
    let says = |model: &Model| view(model).all_text().contains("does not tell why");
    assert!(!says(&model));
    let status = json!({ "upstream": { "url": "etcd://here", "state": "live" } });
    update(&mut model, Msg::Answered(Call::Status, Ok(status)));
    assert!(says(&model));
}

#[test]
fn who_has_paused_sees_nothing_move_and_asks_for_nothing() {
    let mut model = with(&[("web", "a", "up")]);
    assert_eq!(update(&mut model, Msg::Pause), [Effect::Hold(true)]);
    let effects = update(&mut model, Msg::Tick(100_000, 1_700_000_100_000));
    assert_eq!(effects, []);
    assert!(view(&model).all_text().contains("What is shown is 1m 39s old"));
    assert_eq!(update(&mut model, Msg::Pause), [Effect::Hold(false)]);
    assert!(!update(&mut model, Msg::Tick(101_000, 1_700_000_101_000)).is_empty());
}

#[test]
fn another_namespace_is_another_fleet() {
    let mut model = with(&[("web", "a", "up")]);
    let effects = update(&mut model, Msg::Arg("ns".into(), "prod".into()));
    assert!(effects.contains(&Effect::Follow("prod".into())));
    assert!(model.fleet.is_empty());
    assert_eq!(model.face(), Face::Loading);
    // An answer to what was asked of the one before is not taken for one of this.
    assert!(effects.contains(&Effect::Ask(Call::Status)));
}

#[test]
fn a_moment_that_was_shared_is_what_others_see() {
    let mut model = with(&[("web", "a", "up")]);
    model.route = Route::parse("#/time?at=2");
    update(&mut model, Msg::Answered(Call::Status, Ok(json!({"first": 0, "revision": 3}))));
    let film = model.film.as_ref().expect("the past is asked for");
    assert_eq!(film.base(), 0);
    update(&mut model, Msg::Past("default".into(), Ok(json!({"revision": 3, "instances": []}))));
    let entry = |revision: u64, id: &str| {
        json!({"revision": revision, "time": revision, "service": "web", "id": id, "cause": "registered",
            "after": {"id": id, "name": "web"}})
    };
    let entries = [entry(1, "x"), entry(2, "y"), entry(3, "z")];
    update(&mut model, Msg::Past("default".into(), Ok(json!({"revision": 3, "entries": entries}))));
    let film = model.film.as_ref().expect("it is there");
    let shown: Vec<&str> = film.instances("web").map(periplus_core::Instance::id).collect();
    assert_eq!((film.revision(), shown), (2, vec!["x", "y"]));
    update(&mut model, Msg::Step(-1));
    assert_eq!(model.route.arg("at"), "1");
    // At the end one goes on with the present.
    update(&mut model, Msg::Seek(99));
    assert_eq!(model.route.arg("at"), "");
}
