//! Every screen, every key and every action, with a small fleet that is always the same and with the demo's.

use serde_json::{Value, json};

use super::page::{self, CONTROL, DELETE, ENTER, ESCAPE, Page};
use super::{expect, fleet};
use crate::browser_test::browser::Browser;
use crate::browser_test::http::Http;
use crate::browser_test::wait;
use crate::failure::Result;
use crate::registry::Registry;

/// The screens that one can go to from everywhere, with what each shows of the small fleet.
const SCREENS: [(&str, &str); 8] = [
    ("#/overview", "text('.numbers').includes('14') && text('.worst').includes('pay') && $$('.chart').length === 3"),
    ("#/services", "rows().length === 5 && text('#list').includes('all take calls')"),
    ("#/instances", "rows().length === 17 && text('#list').includes('http://search-9.example:8000')"),
    (
        "#/service/orders",
        "rows().length === 3 && text('.matrix').includes('1.3.0') && text('.timeline').includes('registered')",
    ),
    ("#/instance/orders/orders-1", "text('.raw').includes('ann') && text('.facts').includes('left') && named('Evict')"),
    ("#/time", "$('#slider') && text('.worst').includes('search') && text('.moment').includes('present')"),
    (
        "#/resolver?service=orders",
        "$$('#gets li').length === 2 && text('#left-out').includes('orders-3') && $$('.asks select').every((it) => it.value)",
    ),
    ("#/doctor", "text('.findings').includes('lonely') && text('.findings').includes('127.0.0.1')"),
];

pub(super) fn run() -> Result {
    let registry = Registry::start(&["--log", "warn", "--warm-up", "0s"])?;
    let mut http = Http::new(registry.address());
    fleet::register(&mut http)?;
    let browser = page::browser(&[])?;
    let page = Page::open(&browser, registry.address(), "")?;
    screens(&page)?;
    order_and_search(&page)?;
    keys(&page)?;
    looks(&page)?;
    actions(&page, &mut http)?;
    many(&page, &mut http)?;
    pause(&page, &mut http)?;
    copies(&page)?;
    page.expect_calm()?;
    time_travel(&browser, &page, &registry)?;
    page.expect_calm()?;
    page.close()?;
    drop(registry);
    demo(&browser)?;
    println!("people can do all that they can be expected to want");
    Ok(())
}

/// Every screen renders, at once and after a reload.
fn screens(page: &Page<'_>) -> Result {
    page.until("the page begins with the overview", "text('h1') === 'Overview' && badge() === 'live'")?;
    for (hash, shows) in SCREENS {
        page.go(hash)?;
        page.until(&format!("{hash} shows the fleet"), shows)?;
        page.check("the title says where one is", "document.title.endsWith(' · Periplus')")?;
        page.check("there is one first heading", "$$('h1').length === 1")?;
    }
    for (hash, shows) in SCREENS {
        page.load(hash)?;
        page.until(&format!("{hash} shows the fleet when it is opened"), shows)?;
        page.expect_calm()?;
    }
    for (name, hash) in [("Services", "#/services"), ("Doctor", "#/doctor"), ("Overview", "#/overview")] {
        page.click(&format!("$$('nav a').find((it) => it.innerText.startsWith('{name}'))"))?;
        page.until("a link leads to its screen", &format!("location.hash === '{hash}' && text('h1') === '{name}'"))?;
    }
    page.run("history.back()")?;
    page.until("one can go back", "location.hash === '#/doctor' && text('h1') === 'Doctor'")
}

/// Rows are ordered and searched for, and the address keeps both.
fn order_and_search(page: &Page<'_>) -> Result {
    let names = "rows().map((it) => it.querySelector('a').innerText).join()";
    let is = |wanted: &str| format!("{names} === '{wanted}'");
    page.go("#/services")?;
    page.until("the worst are first", &is("pay,mail,orders,lonely,search"))?;
    page.click("named('Name')")?;
    page.until("services are ordered by name", &is("lonely,mail,orders,pay,search"))?;
    page.click("named('Name')")?;
    page.until("and the other way around", &is("search,pay,orders,mail,lonely"))?;
    page.check("the head says so", "$('th[aria-sort]').getAttribute('aria-sort') === 'ascending'")?;
    page.click("named('Instances')")?;
    page.until("services are ordered by size", &format!("{names}.startsWith('search,')"))?;
    page.reload()?;
    page.until(
        "a reload keeps the order",
        &format!("{names}.startsWith('search,') && location.hash.includes('sort=size')"),
    )?;

    page.go("#/instances")?;
    page.until("all are there", "rows().length === 17")?;
    page.press(&["/"])?;
    page.until("a slash leads to the search", "document.activeElement?.id === 'search'")?;
    page.type_in("zone:b status:up")?;
    page.until("the search finds by zone and status", "rows().length === 4 && !text('#list').includes('orders-1')")?;
    page.until("the address has the search", "location.hash.includes('q=zone%3Ab%20status%3Aup')")?;
    page.reload()?;
    page.until("a reload keeps the search", "rows().length === 4 && $('#search').value === 'zone:b status:up'")?;
    for (search, count) in [
        ("version:>=1.3 name:orders", 1),
        ("meta.owner:* !status:draining", 2),
        ("weight:<5", 1),
        ("id:search-*", 9),
        ("\"orders-1\"", 1),
        ("EXAMPLE", 16),
    ] {
        page.write("#search", search)?;
        page.until(&format!("{search} finds {count}"), &format!("rows().length === {count}"))?;
        page.check("and it makes sense", "!$('#search-problem')")?;
    }
    page.write("#search", "zone:a colour:red")?;
    page.until("what makes no sense is said, with its place", "text('#search-problem mark') === 'colour'")?;
    page.check("and said to those who cannot see", "$('#search').getAttribute('aria-invalid') === 'true'")?;
    page.check("what was found stays", "rows().length === 16")?;
    page.write("#search", "status:nonsense")?;
    page.until("a wrong value is named", "text('#search-problem').includes('nonsense')")?;
    page.write("#search", "nobody-has-this")?;
    page.until("what finds nothing is a screen of its own", "state() === 'filtered'")?;
    page.button("Clear the search")?;
    page.until("which leads out of itself", "rows().length === 17 && !location.hash.includes('q=')")?;
    page.expect_calm()
}

/// What keys do.
fn keys(page: &Page<'_>) -> Result {
    let present = "rows().findIndex((it) => it.hasAttribute('data-present'))";
    page.load("#/instances?sort=name")?;
    page.until("the first row is the present one", &format!("{present} === 0"))?;
    page.press(&["j", "j", "j", "k"])?;
    page.until("j and k move it", &format!("{present} === 2"))?;
    page.press(&["x"])?;
    page.until("x selects it", "rows()[2].querySelector('input').checked && text('.bar-of-actions').startsWith('1')")?;
    page.press(&["a"])?;
    page.until("a asks what to do", "$('dialog')?.open && text('#dialog-title').startsWith('Drain')")?;
    page.press(&[ESCAPE])?;
    page.until("Escape closes it", "!$('dialog')")?;
    page.press(&[ESCAPE])?;
    page.until("and then the selection", "!$('.bar-of-actions')")?;
    page.press(&[ENTER])?;
    page.until("Enter opens the row", "location.hash.startsWith('#/instance/mail/mail-2')")?;
    page.press(&["u"])?;
    page.until("u goes back", "location.hash.startsWith('#/instances')")?;
    for (key, hash) in
        [("o", "overview"), ("s", "services"), ("i", "instances"), ("t", "time"), ("r", "resolver"), ("d", "doctor")]
    {
        page.press(&["g", key])?;
        page.until(&format!("g {key} goes there"), &format!("location.hash.startsWith('#/{hash}')"))?;
    }
    page.press(&["?"])?;
    page.until("? shows the keys", "$('dialog')?.open && text('dialog').includes('next and previous row')")?;
    page.press(&["?"])?;
    page.press(&["g", "s"])?;
    page.check("a window has the keyboard for itself", "location.hash.startsWith('#/doctor')")?;
    page.press(&[ESCAPE])?;
    page.until("Escape closes them", "!$('dialog')")?;
    page.press(&["/"])?;
    page.until(
        "a slash leads to a list with a search",
        "location.hash === '#/services' && document.activeElement?.id === 'search'",
    )?;
    page.type_in("gsp")?;
    page.until("a letter in a field is a letter", "$('#search').value === 'gsp' && badge() === 'live'")?;
    page.run("$('#search').select()")?;
    page.press(&[DELETE, ESCAPE])?;
    page.until("Escape leaves the field", "document.activeElement?.id !== 'search' && rows().length === 5")?;
    // What belongs to the browser stays with it.
    page.press_with(CONTROL, "p")?;
    page.check("a key with Control is the browser's", "badge() === 'live'")?;
    page.expect_calm()
}

/// Languages, themes, and a phone.
fn looks(page: &Page<'_>) -> Result {
    page.load("#/overview")?;
    page.until("it speaks English at first", "document.documentElement.lang === 'en' && named('中文')")?;
    page.button("中文")?;
    page.until("it speaks Chinese", "document.documentElement.lang === 'zh-CN' && text('nav').includes('总览')")?;
    page.reload()?;
    page.until("a reload keeps the language", "text('h1') === '总览' && badge() === 'live'")?;
    for (hash, _) in SCREENS {
        page.go(hash)?;
        page.until(
            "every screen is in Chinese",
            "/[\\u4e00-\\u9fff]/.test(text('main')) && !/\\b(up|ago|Reason)\\b/.test(text('.heading'))",
        )?;
    }
    page.button("English")?;
    page.until("and English again", "document.documentElement.lang === 'en'")?;

    let ground = "getComputedStyle(document.body).backgroundColor";
    page.devtools(
        "Emulation.setEmulatedMedia",
        &json!({ "features": [{ "name": "prefers-color-scheme", "value": "light" }] }),
    )?;
    let light = page.text(ground)?;
    page.devtools(
        "Emulation.setEmulatedMedia",
        &json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] }),
    )?;
    page.until("the theme is the system's", &format!("{ground} !== '{light}'"))?;
    let dark = page.text(ground)?;
    page.button("Theme: as the system")?;
    page.until("a light one can be chosen", &format!("{ground} === '{light}' && named('Theme: light')"))?;
    page.reload()?;
    page.until("a reload keeps the theme", &format!("{ground} === '{light}' && named('Theme: light')"))?;
    page.devtools(
        "Emulation.setEmulatedMedia",
        &json!({ "features": [{ "name": "prefers-color-scheme", "value": "light" }] }),
    )?;
    page.button("Theme: light")?;
    page.until("and a dark one", &format!("{ground} === '{dark}'"))?;
    page.button("Theme: dark")?;
    page.until("and the system's again", &format!("{ground} === '{light}'"))?;

    page.size(390, 844, true)?;
    let others =
        ["#/instances?q=nobody", "#/services?q=nonsense:1", "#/service/nobody", "#/instance/no/body", "#/time?with=2"];
    for (hash, shows) in SCREENS.into_iter().chain(others.map(|hash| (hash, "text('h1')"))) {
        page.load(hash)?;
        page.until("a phone shows every screen", shows)?;
        let sideways = "[document.scrollingElement, $('main')].some((it) => it.scrollWidth > it.clientWidth)";
        page.check(&format!("{hash} does not scroll sideways on a phone"), &format!("!{sideways}"))?;
        let outside = "$$('main *').filter((it) => !it.closest('.list, .scrolls, pre, svg, .skip'))
            .filter((it) => it.getBoundingClientRect().right > innerWidth + 1).map((it) => it.outerHTML.slice(0, 90)).join('\\n')";
        expect(
            page.text(outside)?.is_empty(),
            &format!("nothing of {hash} lies outside of a phone"),
            page.text(outside)?,
        )?;
    }
    // That there is no such instance is written there by the browser itself.
    page.forget_console();
    page.load("#/instance/orders/orders-1")?;
    page.button("Drain")?;
    page.until("a phone shows what is asked", "$('dialog')?.open")?;
    page.check(
        "and all of it",
        "(({ left, right }) => left >= 0 && right <= innerWidth)($('dialog').getBoundingClientRect())",
    )?;
    page.size(1440, 900, false)?;
    page.expect_calm()
}

/// Each action on one instance, with its dry run, its reason, its effect and its undo.
fn actions(page: &Page<'_>, http: &mut Http) -> Result {
    page.load("#/instance/orders/orders-1")?;
    page.button("Drain")?;
    page.until("the dry run says what would change", "text('.dry').includes('1 of 1') && text('.dry').includes('up')")?;
    page.click("$('#form button[type=submit]')")?;
    page.until(
        "a reason is asked for",
        "text('#form .problem').includes('Say why') && document.activeElement?.name === 'reason'",
    )?;
    expect(status(http, "orders-1") == "up", "nothing is done without a reason", status(http, "orders-1"))?;
    page.type_in("deploy")?;
    page.press(&[ENTER])?;
    page.until("it is done", "!$('dialog') && text('.bar-of-actions').includes('Done: Drain orders/orders-1')")?;
    comes(http, "orders-1 drains", |it| it["instance"]["metadata"]["status"] == "draining")?;
    page.until("and shown", "text('.heading').includes('draining') && text('.timeline').includes('deploy')")?;
    page.button("Undo")?;
    page.until("it is undone", "text('.bar-of-actions').includes('Undone')")?;
    comes(http, "orders-1 is up again", |it| it["instance"]["metadata"]["status"] == "up")?;
    page.button("Close")?;
    page.until("what was said can be put away", "!$('.bar-of-actions')")?;

    let overlay = format!("{}/overlay", fleet::path("orders", "orders-1"));
    http.ask("PATCH", &overlay, &json!({ "status": "draining", "reason": "by hand" }))?;
    page.until("what others do is shown", "text('.heading').includes('draining')")?;
    page.button("Resume")?;
    page.until("the dry run knows what lies there", "text('.dry').includes('1 of 1')")?;
    answer(page, "back to work")?;
    comes(http, "orders-1 is resumed", |it| it["instance"]["metadata"]["status"] == "up")?;
    page.button("Close")?;

    page.button("Set weight")?;
    page.until("the weight is filled in", "$('input[name=weight]').value === '10' && text('.dry').includes('0 of 1')")?;
    page.write("input[name=weight]", "many")?;
    page.write("input[name=reason]", "canary")?;
    page.click("$('#form button[type=submit]')")?;
    page.until("a weight is a number", "text('#form .problem').includes('whole number')")?;
    page.write("input[name=weight]", "25")?;
    page.until("the dry run follows", "text('.dry').includes('1 of 1') && text('.dry').includes('25')")?;
    answer(page, "canary")?;
    comes(http, "orders-1 weighs 25", |it| it["instance"]["metadata"]["weight"] == "25")?;
    page.button("Undo")?;
    comes(http, "orders-1 weighs 10 again", |it| it["instance"]["metadata"]["weight"] == "10")?;
    page.button("Close")?;

    page.button("Edit metadata")?;
    page.write("textarea[name=metadata]", "owner=bob\nnonsense")?;
    page.write("input[name=reason]", "moved")?;
    page.click("$('#form button[type=submit]')")?;
    page.until("a line that makes no sense is named", "text('#form .problem').includes('Line 2')")?;
    page.write("textarea[name=metadata]", "owner=bob\nteam=pay\nzone=")?;
    page.until("all keys are in the dry run", "$$('.dry .difference').length === 3")?;
    answer(page, "moved")?;
    comes(http, "the metadata is another", |it| {
        let metadata = &it["instance"]["metadata"];
        metadata["owner"] == "bob" && metadata["team"] == "pay" && metadata["zone"].is_null()
    })?;
    page.button("Undo")?;
    comes(http, "the metadata is as it was", |it| {
        let metadata = &it["instance"]["metadata"];
        metadata["owner"] == "ann" && metadata["team"].is_null() && metadata["zone"] == "a"
    })?;
    page.button("Close")?;

    page.button("Evict")?;
    page.write("input[name=block_for]", "soon")?;
    page.write("input[name=reason]", "broken")?;
    page.click("$('#form button[type=submit]')")?;
    page.until("a time has a unit", "text('#form .problem').includes('unit')")?;
    page.write("input[name=block_for]", "5m")?;
    answer(page, "broken")?;
    page.until("what is evicted is gone", "state() === 'gone' && text('.timeline').includes('broken')")?;
    comes(http, "orders-1 is evicted", Value::is_null)?;
    page.check("an eviction cannot be undone", "!named('Undo')")?;
    let again =
        http.ask("PUT", &fleet::path("orders", "orders-1"), &fleet::instance("orders-1", "1.2.0", "up", &json!({})));
    expect(again.is_err(), "the id is kept out", "it is let in")?;
    page.load("#/overview")?;
    // That the instance is not there any more is written there by the browser itself.
    page.forget_console();
    Ok(())
}

/// An action on all that a search finds.
fn many(page: &Page<'_>, http: &mut Http) -> Result {
    page.load("#/instances?q=name:search")?;
    page.until("the search finds them", "rows().length === 9")?;
    page.click("$('th.check input')")?;
    page.until("all are selected", "text('.bar-of-actions').startsWith('9')")?;
    page.click("rows()[0].querySelector('input')")?;
    page.until("one can be left out", "text('.bar-of-actions').startsWith('8') && !$('th.check input').checked")?;
    page.click("rows()[0].querySelector('input')")?;
    page.button("Drain")?;
    page.until("the dry run counts", "text('.dry').includes('9 of 9')")?;
    page.check("and warns of the end", "text('.dry [role=alert]').includes('nobody of search takes calls')")?;
    answer(page, "maintenance")?;
    page.until("all are done", "text('.bar-of-actions').includes('Done: Drain ×9')")?;
    let drained = |http: &mut Http| -> Result<usize> {
        let all = http.ask("GET", "/v1/services/search", &Value::Null)?;
        let all = all["instances"].as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter(|it| it["metadata"]["status"] == "draining").count())
    };
    wait("all of them drain", || Ok((drained(http)? == 9).then_some(())))?;
    page.until("the list shows it", "rows().every((it) => it.innerText.includes('draining'))")?;
    page.button("Undo")?;
    wait("none of them drains", || Ok((drained(http)? == 0).then_some(())))?;
    page.until("the list shows that", "rows().length === 9 && rows().every((it) => it.innerText.includes('up'))")?;
    page.button("Close")?;
    page.click("$('th.check input')")?;
    page.write("#search", "name:orders")?;
    page.until("what is not listed is not selected", "rows().length === 2 && !$('.bar-of-actions')")?;
    page.expect_calm()
}

/// Who pauses sees nothing new, and then everything.
fn pause(page: &Page<'_>, http: &mut Http) -> Result {
    page.load("#/instances")?;
    page.until("all are there", "rows().length === 16")?;
    page.press(&["p"])?;
    page.until("p pauses", "badge() === 'paused'")?;
    for id in ["late-1", "late-2"] {
        fleet::put(http, "late", id, &fleet::instance(id, "1", "up", &json!({})))?;
    }
    page.until("it says how old it is", "/What is shown is [1-9]\\d*s old/.test(text('.notice[data-state=paused]'))")?;
    page.check("nothing new is shown", "rows().length === 16 && !text('#list').includes('late')")?;
    page.press(&["p"])?;
    page.until(
        "p goes on, and all is there at once",
        "badge() === 'live' && rows().length === 18 && text('#list').includes('late-2')",
    )?;
    page.expect_calm()
}

/// What can be copied is copied.
fn copies(page: &Page<'_>) -> Result {
    page.load("#/instance/orders/orders-2")?;
    let allow = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
    page.devtools("Browser.grantPermissions", &allow)?;
    page.click("$('.copied button')")?;
    page.until("it says that it is copied", "text('.said') !== ''")?;
    let copied = page.run("return navigator.clipboard.readText()")?;
    expect(copied == "http://orders-2.example:8000", "the endpoint is copied", copied)?;
    page.until("what is said goes away", "text('.said') === ''")?;
    page.click("$('.card > .copy')")?;
    page.until("it says that it is copied", "text('.said') !== ''")?;
    let copied = page.run("return navigator.clipboard.readText()")?;
    expect(copied.as_str().is_some_and(|it| it.contains("\"orders-2\"")), "the raw instance is copied", copied)
}

/// The past can be looked at, compared, and shared.
fn time_travel(browser: &Browser, page: &Page<'_>, registry: &Registry) -> Result {
    page.load("#/time")?;
    page.until("the film is there", "$('#slider')?.max > 17 && text('.moment').includes('present')")?;
    let before = page.text("text('.worst')")?;
    page.run("$('#slider').value = 3; $('#slider').dispatchEvent(new Event('input', { bubbles: true }))")?;
    page.until(
        "the slider goes back",
        "location.hash.includes('at=') && text('.worst').includes('orders') && !text('.worst').includes('search')",
    )?;
    page.button("Later")?;
    page.button("Later")?;
    page.until("one goes step by step", "$('#slider').value === '5' && text('.worst').includes('search')")?;
    page.button("Earlier")?;
    page.until("in both directions", "$('#slider').value === '4'")?;
    page.write(".projector input[type=number]", "17")?;
    page.until("two moments are compared", "$$('#differences li').length === 13")?;
    let shown = "[text('.worst'), text('.moment').split(/[·,] /)[0].split(' ago')[0].slice(0, 12), text('#differences'), $('#slider').value].join('|')";
    let here = page.text(shown)?;
    page.button("Copy the link to this moment")?;
    let link = page.run("return navigator.clipboard.readText()")?;
    let link = link.as_str().unwrap_or_default();
    let hash = link.find('#').map_or("", |at| &link[at..]);
    expect(link.starts_with(&format!("http://{}/#/time?", registry.address())), "the link names the moment", link)?;
    let other = Page::open(browser, registry.address(), hash)?;
    other.until("a link shows the same to others", "$('#differences')")?;
    let there = other.text(shown)?;
    expect(here == there, "a link shows the same to others", format!("{here}\n{there}"))?;
    other.expect_calm()?;
    other.close()?;
    page.devtools("Page.bringToFront", &json!({}))?;
    page.run(
        "$('#slider').value = $('#slider').max; $('#slider').dispatchEvent(new Event('input', { bubbles: true }))",
    )?;
    page.until("the end is the present", "!location.hash.includes('at=') && text('.moment').includes('present')")?;
    expect(page.text("text('.worst')")? == before, "the present is as it was", before)
}

/// All screens once more, with a fleet that lives.
fn demo(browser: &Browser) -> Result {
    let registry = Registry::start(&["--log", "warn"])?;
    let fleet = registry.start_client("demo fleet", &["demo", "--seed", "7", "--instances", "80", "--speed", "20"])?;
    let page = Page::open(browser, registry.address(), "#/instances")?;
    page.until("the fleet is there", "/^\\d/.test(text('.heading .muted')) && rows().length > 20")?;
    for (hash, _) in SCREENS {
        page.load(hash)?;
        page.until("every screen is there", "text('h1') !== '' && !$('[aria-busy]')")?;
    }
    // It has orders of its own.
    page.forget_console();
    page.load("#/overview")?;
    page.until("things happen", "$$('.event').length > 5")?;
    page.expect_calm()?;
    fleet.stop(|| false);
    page.until(
        "a fleet that leaves is gone",
        "$$('.number b').every((it) => it.innerText === '0') || state() === 'empty'",
    )?;
    page.expect_calm()?;
    page.close()
}

/// Gives the reason, and does it.
fn answer(page: &Page<'_>, reason: &str) -> Result {
    page.write("input[name=reason]", reason)?;
    page.click("$('#form button[type=submit]')")?;
    page.until("it is done", "!$('dialog') && text('.bar-of-actions').includes('Done')")
}

fn status(http: &mut Http, id: &str) -> String {
    fleet::get(http, "orders", id)["instance"]["metadata"]["status"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the registry itself says of `orders-1` what is wanted.
fn comes(http: &mut Http, what: &str, wanted: impl Fn(&Value) -> bool) -> Result {
    wait(what, || Ok(wanted(&fleet::get(http, "orders", "orders-1")).then_some(())))
}
