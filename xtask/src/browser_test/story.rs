//! The examples in two tabs, with a registry that is killed and comes back.

use super::browser::{Browser, Tab};
use super::{files, heed_interrupts, wait};
use crate::failure::{Failure, Result};
use crate::registry::Registry;
use crate::{shell, wasm};

/// The service that the examples are about.
const SERVICE: &str = "tabs";

/// The ttl that the tab asks for is three minutes: whatever goes sooner was deregistered.
pub(super) fn run() -> Result {
    heed_interrupts();
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    let bundle = wasm::bundle("wasm", "")?;
    let pages = files::serve(vec![shell::root().join("adapters/wasm/examples"), bundle])?;
    let origin = format!("http://{pages}");
    let mut registry = Registry::start(&["--cors-origin", &origin, "--warm-up", "3s", "--log", "warn"])?;
    let page = |name: &str| format!("{origin}/{name}.html?registry=periplus://{}", registry.address());
    let (provider, consumer) = (page("provider"), page("consumer"));

    let browser = Browser::start()?;
    let consumer = browser.open(&consumer)?;
    browser.wait(&consumer, "the consumer hears the registry", |text| text.contains("The list is live"))?;
    let provider = browser.open(&provider)?;
    browser.wait(&provider, "the provider is registered", |text| text.contains("is registered"))?;
    let id = id_of(&browser, &provider)?;
    browser.wait(&consumer, "the consumer sees the provider", |text| text.contains(&format!("{id} up")))?;
    let listed = registry.ask(&["get", SERVICE, "--json"])?;
    expect(listed.contains(&id), "another program sees the tab", &listed)?;

    let other = ["register", "--service", SERVICE, "--id", "native-1", "--endpoint", "http://10.0.0.5:8000"];
    let native = registry.start_client("native instance", &other)?;
    browser.wait(&consumer, "the consumer sees what another program registers", |text| text.contains("native-1 up"))?;
    browser.run(&provider, "document.getElementById('drain').click()")?;
    browser.wait(&consumer, "the consumer sees a status change", |text| text.contains(&format!("{id} draining")))?;

    registry.kill();
    let all = |text: &str| text.contains(&format!("{id} draining")) && text.contains("native-1 up");
    browser.wait(&consumer, "an outage is stale, and empties nothing", |text| {
        text.contains("The list is stale") && all(text)
    })?;
    registry.restart()?;
    browser.wait(&consumer, "the registry is back, and so are both instances", |text| {
        text.contains("The list is live") && all(text)
    })?;
    wait("the tab has registered again", || {
        Ok(registry.ask(&["get", SERVICE, "--json"])?.contains(&id).then_some(()))
    })?;
    browser.wait(&provider, "the provider knows that it is registered", |text| text.contains("is registered"))?;

    native.stop(|| false);
    browser.wait(&consumer, "the consumer sees the other program leave, and why", |text| {
        text.contains("native-1 (deregistered)") && !text.contains("native-1 up")
    })?;
    browser.close(&provider)?;
    let gone = format!("{id} (deregistered)");
    browser.wait(&consumer, "a tab that is closed deregisters", |text| text.contains(&gone))?;

    wait("one watch is open", || Ok((registry.watches()? == "1").then_some(())))?;
    browser.run(&consumer, "document.getElementById('leave').click()")?;
    browser.wait(&consumer, "the consumer has closed", |text| text.contains("The list is closed"))?;
    wait("the registry has lost its watcher", || Ok((registry.watches()? == "0").then_some(())))?;
    println!("both examples did as they say");
    Ok(())
}

pub(super) fn id_of(browser: &Browser, tab: &Tab) -> Result<String> {
    let id = browser.run(tab, "return document.getElementById('id').textContent")?;
    Ok(id.as_str().unwrap_or_default().to_owned())
}

fn expect(holds: bool, what: &str, found: &str) -> Result {
    if holds { Ok(()) } else { Err(Failure::new(format!("this does not hold: {what}")).with_hint(found)) }
}
