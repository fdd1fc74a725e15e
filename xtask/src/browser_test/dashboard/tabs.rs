//! More tabs than a browser has connections to one host: each shows the fleet when it is looked at.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::fleet;
use super::page::{self, Page};
use crate::browser_test::browser::Browser;
use crate::browser_test::http::Http;
use crate::browser_test::wait;
use crate::failure::Result;
use crate::registry::Registry;

/// Longer than a registry may take to answer before something is said.
const AWAY: Duration = Duration::from_secs(8);

/// Counts what is said of how it stands with the registry.
const NOTICES: &str = "
    window.__notices = 0;
    const count = () => { window.__notices += $$('.notice').length; };
    new MutationObserver(count).observe($('#root'), { childList: true, subtree: true });
";

/// Six connections, of which each page that is seen holds two.
const TABS: usize = 8;

pub(super) fn run() -> Result {
    let browser = page::browser(&[])?;
    let registry = Registry::start(&["--log", "error", "--warm-up", "0s"])?;
    let mut http = Http::new(registry.address());
    fleet::register(&mut http)?;
    let tabs = (0..TABS).map(|_| tab(&browser, &registry));
    let tabs: Vec<Page<'_>> = tabs.collect::<Result<_>>()?;
    let one = || wait("only the page that is seen follows", || Ok((registry.watches()? == "1").then_some(())));
    one()?;

    let late = fleet::instance("late-1", "1", "up", &json!({}));
    fleet::put(&mut http, "late", "late-1", &late)?;
    for tab in &tabs {
        tab.run(&format!("window.__before = rows(); {NOTICES}"))?;
        tab.to_front()?;
        tab.until(
            "it shows the present",
            "badge() === 'live' && rows().length === 18 && text('#list').includes('late-1')",
        )?;
        tab.check(
            "and what did not change was not touched",
            "window.__before.length >= 17 && window.__before.every((it) => it.isConnected)",
        )?;
        tab.check("and it made no fuss", "window.__notices === 0")?;
        one()?;
    }
    put_away(&tabs[TABS - 1], &registry)?;
    for tab in tabs {
        tab.expect_calm()?;
        tab.close()?;
    }
    println!("{TABS} tabs show what is, and one of them holds connections");
    Ok(())
}

/// A tab that is in front.
fn tab<'a>(browser: &'a Browser, registry: &Registry) -> Result<Page<'a>> {
    let page = Page::open_tab(browser, registry.address(), "#/instances?sort=name")?;
    page.until("the fleet is there", "badge() === 'live' && rows().length === 17")?;
    Ok(page)
}

/// A page that one leaves and comes back to is the same, and follows again.
fn put_away(page: &Page<'_>, registry: &Registry) -> Result {
    page.run(NOTICES)?;
    page.leave()?;
    wait("nobody follows", || Ok((registry.watches()? == "0").then_some(())))?;
    // Its clock stands still meanwhile.
    thread::sleep(AWAY);
    page.back()?;
    page.until("it is the same page, and is live", "window.__notices !== undefined && badge() === 'live'")?;
    page.check("and it made no fuss", "window.__notices === 0")
}
