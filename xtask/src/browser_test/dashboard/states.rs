//! The states of a screen without a fleet, and of one that is not as it seems: each comes about as it does for people.

use serde_json::json;

use super::expect;
use super::fleet;
use super::page::{self, Page};
use crate::browser_test::browser::Browser;
use crate::browser_test::http::Http;
use crate::browser_test::relay::Relay;
use crate::failure::Result;
use crate::registry::Registry;

/// The page is there, and what it does itself waits for a word.
const GATE: &str = "
    const load = WebAssembly.instantiateStreaming;
    WebAssembly.instantiateStreaming = async (...all) => {
        const made = await load(...all);
        window.__waits = true;
        await new Promise((go) => { window.__go = go; });
        return made;
    };
";

/// Says everything quickly, so that silence is noticed soon.
const QUICK: [&str; 6] = ["--log", "error", "--warm-up", "2s", "--keep-alive", "1s"];

/// A name by which a registry can be known.
const NAME: &str = "registry.example";

pub(super) fn run() -> Result {
    let browser = page::browser(&["--host-resolver-rules=MAP registry.example 127.0.0.1"])?;
    // The client takes a minute to call a silence an outage, unless somebody comes back to the page.
    let patient = page::browser(&[])?;
    let frozen = freeze(&patient)?;
    let empty = empty(&browser)?;
    let faces = [empty, loading(&browser)?, disconnected(&browser)?, filtered(&browser)?, forbidden(&browser)?];
    for (at, face) in faces.iter().enumerate() {
        expect(!faces[..at].contains(face), "each state says something else", face)?;
    }
    killed(&browser)?;
    cut_off(&browser)?;
    thaw(frozen)?;
    println!("each state looks like itself, and ends by itself");
    Ok(())
}

/// What the screen says of its state.
fn face(page: &Page<'_>) -> Result<String> {
    page.text("text('.state h2') + ': ' + text('.state p')")
}

/// Nothing is registered: until something is.
fn empty(browser: &Browser) -> Result<String> {
    let registry = Registry::start(&QUICK)?;
    let page = Page::open(browser, registry.address(), "#/services")?;
    page.until("an empty registry says so", "state() === 'empty' && ['live', 'unconfirmed'].includes(badge())")?;
    page.check("and what to do", "text('.state code').includes('curl -X PUT ' + location.origin)")?;
    let face = face(&page)?;
    for hash in ["#/overview", "#/instances", "#/resolver", "#/doctor"] {
        page.go(hash)?;
        page.until("every list does", "state() === 'empty'")?;
    }
    page.go("#/services")?;
    fleet::register(&mut Http::new(registry.address()))?;
    page.until("what is registered appears at once", "rows().length === 5 && state() === ''")?;
    page.expect_calm()?;
    page.close()?;
    Ok(face)
}

/// A registry that says nothing yet: the page waits, and then has it.
fn loading(browser: &Browser) -> Result<String> {
    let registry = Registry::start(&QUICK)?;
    fleet::register(&mut Http::new(registry.address()))?;
    let page = Page::open_after(browser, registry.address(), "#/services", GATE)?;
    page.until("the page is loaded", "window.__waits")?;
    registry.freeze(true);
    page.run("window.__go()")?;
    page.until("it waits for the first word", "state() === 'loading' && badge() === 'unheard'")?;
    page.check("and says so to those who cannot see", "$('.state').getAttribute('aria-busy') === 'true'")?;
    let face = face(&page)?;
    registry.freeze(false);
    page.until("the first word ends it", "rows().length === 5 && state() === ''")?;
    page.close()?;
    Ok(face)
}

/// A registry that is gone before it was heard: the page says why, tries again, and has it when it is back.
fn disconnected(browser: &Browser) -> Result<String> {
    let mut registry = Registry::start(&QUICK)?;
    let page = Page::open_after(browser, registry.address(), "#/services", GATE)?;
    page.until("the page is loaded", "window.__waits")?;
    registry.kill();
    page.run("window.__go()")?;
    page.until("it cannot be reached", "state() === 'disconnected'")?;
    page.check("it says why", "text('.state').includes('Why: ') && !text('.state').includes('Why: \\n')")?;
    let face = face(&page)?;
    for hash in
        ["#/overview", "#/instances", "#/resolver", "#/doctor", "#/service/orders", "#/instance/orders/orders-1"]
    {
        page.go(hash)?;
        page.until(&format!("{hash} says so"), "state() === 'disconnected'")?;
    }
    page.go("#/services")?;
    registry.restart()?;
    fleet::register(&mut Http::new(registry.address()))?;
    page.until("it is there by itself once it can be reached", "rows().length === 5 && state() === ''")?;
    page.forget_console();
    page.close()?;
    Ok(face)
}

/// A search that finds nothing.
fn filtered(browser: &Browser) -> Result<String> {
    let registry = Registry::start(&QUICK)?;
    fleet::register(&mut Http::new(registry.address()))?;
    let page = Page::open(browser, registry.address(), "#/services?q=nobody")?;
    page.until("a search that finds nothing says so", "state() === 'filtered'")?;
    page.check("and how many there are", &format!("text('.state').includes('{}')", fleet::SIZE))?;
    let face = face(&page)?;
    page.close()?;
    Ok(face)
}

/// A registry that is not known by the page's name any more.
fn forbidden(browser: &Browser) -> Result<String> {
    let known: Vec<&str> = QUICK.into_iter().chain(["--allowed-hosts", NAME]).collect();
    let mut registry = Registry::start(&known)?;
    let port = registry.address().rsplit(':').next().unwrap_or_default().to_owned();
    let server = format!("{NAME}:{port}");
    let page = Page::open_after(browser, &server, "#/services", GATE)?;
    page.until("the page is loaded", "window.__waits")?;
    registry.restart_with(&QUICK)?;
    page.run("window.__go()")?;
    page.until("the registry does not let it in", "state() === 'forbidden'")?;
    page.check("it says what the registry says", "text('.state').includes('--allowed-hosts')")?;
    let face = face(&page)?;
    registry.restart_with(&known)?;
    fleet::register(&mut Http::new(registry.address()))?;
    page.until("it is let in by itself once it may be", "rows().length === 5 && state() === ''")?;
    page.forget_console();
    page.close()?;
    Ok(face)
}

/// A registry that is killed and comes back: what was known stays, with its age, and is confirmed.
fn killed(browser: &Browser) -> Result {
    let mut registry = Registry::start(&QUICK)?;
    fleet::register(&mut Http::new(registry.address()))?;
    let page = Page::open(browser, registry.address(), "#/services")?;
    page.until("the fleet is there", "rows().length === 5 && badge() === 'live'")?;
    page.run("window.__same = true")?;
    registry.kill();
    page.until("an outage is out of date", "badge() === 'stale'")?;
    page.until("with its age", "/not been heard for [1-9]\\d*s/.test(text('.notice[data-state=stale]'))")?;
    page.check("and empties nothing", "rows().length === 5")?;
    for hash in
        ["#/overview", "#/instances", "#/service/orders", "#/instance/orders/orders-1", "#/resolver", "#/doctor"]
    {
        page.go(hash)?;
        page.until(&format!("{hash} says so too"), "text('.notice[data-state=stale]').includes('not been heard')")?;
    }
    page.go("#/services")?;
    registry.restart()?;
    fleet::register(&mut Http::new(registry.address()))?;
    page.until("it is back by itself", "badge() === 'live' && rows().length === 5 && !$('.notice')")?;
    page.check("and the page is the same", "window.__same")?;
    page.forget_console();
    page.close()
}

/// A page whose registry stands still.
struct Frozen<'a> {
    registry: Registry,
    page: Page<'a>,
}

/// A registry that stands still: nothing breaks off, and nothing comes.
fn freeze(browser: &Browser) -> Result<Frozen<'_>> {
    let registry = Registry::start(&QUICK)?;
    fleet::register(&mut Http::new(registry.address()))?;
    let page = Page::open(browser, registry.address(), "#/instances")?;
    page.until("the fleet is there", "rows().length === 17 && badge() === 'live'")?;
    page.run("window.__same = true")?;
    registry.freeze(true);
    page.until(
        "it is not called live for long",
        "badge() === 'unanswered' && text('.notice').includes('answered nothing for')",
    )?;
    Ok(Frozen { registry, page })
}

/// Silence is noticed in the end, and so is that it is over.
fn thaw(Frozen { registry, page }: Frozen<'_>) -> Result {
    page.until("silence is out of date", "badge() === 'stale'")?;
    page.check("and empties nothing", "rows().length === 17")?;
    registry.freeze(false);
    page.until("it is back by itself", "badge() === 'live' && !$('.notice')")?;
    let late = fleet::instance("late-1", "1", "up", &json!({}));
    fleet::put(&mut Http::new(registry.address()), "late", "late-1", &late)?;
    page.until("and hears what happens", "rows().length === 18 && window.__same")?;
    page.forget_console();
    page.close()
}

/// A page that is cut off while the fleet changes shows the present afterwards, by the one difference.
fn cut_off(browser: &Browser) -> Result {
    let registry = Registry::start(&QUICK)?;
    let mut http = Http::new(registry.address());
    fleet::register(&mut http)?;
    let relay = Relay::to(registry.address())?;
    let page = Page::open(browser, &relay.address().to_string(), "#/instances?sort=name")?;
    page.until("the fleet is there", "rows().length === 17 && badge() === 'live'")?;
    page.run("window.__kept = new Map(rows().map((it) => [it.querySelectorAll('a')[1].innerText, it]))")?;
    relay.cut();
    page.until("an outage is out of date", "badge() === 'stale'")?;
    // Twice the same instance, one that comes and goes, one that goes, one that comes.
    for version in ["1.4", "1.5"] {
        fleet::put(&mut http, "orders", "orders-2", &fleet::instance("orders-2", version, "up", &json!({})))?;
    }
    fleet::put(&mut http, "late", "late-1", &fleet::instance("late-1", "1", "up", &json!({})))?;
    fleet::put(&mut http, "late", "late-2", &fleet::instance("late-2", "1", "up", &json!({})))?;
    for (service, id) in [("late", "late-2"), ("search", "search-9")] {
        http.ask("POST", &format!("{}/evict", fleet::path(service, id)), &json!({ "reason": "test" }))?;
    }
    page.check("nothing of it is heard", "rows().length === 17 && !text('#list').includes('late-1')")?;
    relay.mend();
    page.until(
        "it is back by itself, and shows the present",
        "badge() === 'live' && text('#list').includes('late-1')",
    )?;
    page.until(
        "all of it",
        "rows().length === 17 && text('#list').includes('1.5') && !text('#list').includes('search-9')",
    )?;
    let ids = "rows().map((it) => it.querySelectorAll('a')[1].innerText)";
    page.check("no row is there twice", &format!("new Set({ids}).size === 17"))?;
    let fresh = page.text("rows().filter((it) => it.hasAttribute('data-fresh')).map((it) => it.querySelectorAll('a')[1].innerText).join()")?;
    expect(fresh == "late-1,orders-2", "what differs is what is marked", fresh)?;
    page.check(
        "what did not change was not touched",
        "rows().every((it) => {
        const id = it.querySelectorAll('a')[1].innerText;
        return id === 'late-1' || window.__kept.get(id) === it;
    })",
    )?;
    page.forget_console();
    page.close()
}
