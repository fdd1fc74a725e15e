//! The dashboard in a tab, used as people use it.

use serde_json::{Value, json};

use super::expect;
use crate::browser_test::browser::{Browser, Tab};
use crate::browser_test::wait;
use crate::failure::{Failure, Result};

/// How Chromium is started: it speaks English, and what moves does not.
const ARGUMENTS: [&str; 3] = ["--lang=en-US", "--accept-lang=en-US", "--force-prefers-reduced-motion"];

/// What scripts of the tests are written with.
const WORDS: &str = "
    const $ = (selector) => document.querySelector(selector);
    const $$ = (selector) => [...document.querySelectorAll(selector)];
    const text = (selector) => $(selector)?.innerText ?? '';
    const rows = () => $$('#list tbody tr:not(.spacer)');
    const named = (name) => $$('button').find((it) => (it.querySelector('span')?.textContent ?? '') === name);
    const state = () => $('.state')?.dataset.state ?? '';
    const badge = () => $('.badge')?.dataset.state ?? '';
";

/// What is in each page before anything of its own: it writes down what must not happen.
const WITNESS: &str = "
    performance.setResourceTimingBufferSize(1_000_000);
    window.__seen = [];
    const seen = (what) => window.__seen.push(String(what).slice(0, 500));
    for (const name of ['alert', 'confirm', 'prompt', 'print', 'open']) {
        window[name] = (...said) => void seen(`${name}(${said})`);
    }
    addEventListener('securitypolicyviolation', (it) => seen(`policy ${it.violatedDirective}: ${it.blockedURI} ${it.sample}`));
    addEventListener('error', (it) => seen(`error: ${it.message ?? it.target?.outerHTML}`), true);
    addEventListener('unhandledrejection', (it) => seen(`rejection: ${it.reason}`));
    Object.defineProperty(window, '__pwned', { set: (it) => seen(`pwned: ${it}`) });
";

pub(super) const ENTER: &str = "\u{e007}";
pub(super) const ESCAPE: &str = "\u{e00c}";
pub(super) const CONTROL: &str = "\u{e009}";
pub(super) const DELETE: &str = "\u{e017}";

/// Starts a browser for dashboards.
pub(super) fn browser(more: &[&str]) -> Result<Browser> {
    let browser = Browser::start_with(&[&ARGUMENTS, more].concat())?;
    // A browser ends with its last tab.
    browser.open("about:blank")?;
    Ok(browser)
}

/// A dashboard.
pub(super) struct Page<'a> {
    browser: &'a Browser,
    tab: Tab,
    origin: String,
}

impl<'a> Page<'a> {
    /// Opens the dashboard of a server at the screen that this part of an address names.
    pub(super) fn open(browser: &'a Browser, server: &str, hash: &str) -> Result<Self> {
        Self::open_after(browser, server, hash, "")
    }

    /// The same, with a script that each of its pages runs before its own.
    pub(super) fn open_after(browser: &'a Browser, server: &str, hash: &str, script: &str) -> Result<Self> {
        let page = Self::blank(browser, server)?;
        // As if somebody looked at it.
        page.devtools("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }))?;
        page.begin(hash, script)?;
        Ok(page)
    }

    /// Opens it in a tab that is seen as long as no other is in front of it.
    pub(super) fn open_tab(browser: &'a Browser, server: &str, hash: &str) -> Result<Self> {
        let page = Self::blank(browser, server)?;
        page.to_front()?;
        page.begin(hash, "")?;
        Ok(page)
    }

    /// Puts it in front of all others.
    pub(super) fn to_front(&self) -> Result {
        self.devtools("Page.bringToFront", &json!({}))
    }

    fn blank(browser: &'a Browser, server: &str) -> Result<Self> {
        let page = Self { browser, tab: browser.open("about:blank")?, origin: format!("http://{server}") };
        page.size(1440, 900, false)?;
        Ok(page)
    }

    fn begin(&self, hash: &str, script: &str) -> Result {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": format!("{WITNESS}{script}") }))?;
        self.browser.go(&self.tab, &format!("{}/{hash}", self.origin))
    }

    /// Closes it.
    pub(super) fn close(self) -> Result {
        self.browser.close(&self.tab)
    }

    /// To another screen, as somebody goes there who writes its address.
    pub(super) fn go(&self, hash: &str) -> Result {
        self.run(&format!("location.hash = {}", json!(hash))).map(drop)
    }

    /// Loads it anew.
    pub(super) fn reload(&self) -> Result {
        self.browser.reload(&self.tab)
    }

    /// Loads it at another screen.
    pub(super) fn load(&self, hash: &str) -> Result {
        self.leave()?;
        self.browser.go(&self.tab, &format!("{}/{hash}", self.origin))
    }

    /// Leaves it for another page.
    pub(super) fn leave(&self) -> Result {
        self.browser.go(&self.tab, "about:blank")
    }

    /// Comes back to it.
    pub(super) fn back(&self) -> Result {
        self.browser.back(&self.tab)
    }

    /// Runs a script and returns what it returns.
    pub(super) fn run(&self, script: &str) -> Result<Value> {
        self.browser.run(&self.tab, &format!("{WORDS}{script}"))
    }

    /// What an expression is.
    pub(super) fn value(&self, expression: &str) -> Result<Value> {
        self.run(&format!("return {expression}"))
    }

    /// What an expression is, as text.
    pub(super) fn text(&self, expression: &str) -> Result<String> {
        Ok(self.value(&format!("String({expression})"))?.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an expression is true. One that fails, because something that it names is not there yet, is not.
    ///
    /// # Errors
    /// If it does not become so in time: with what the page shows, and what it wrote to its console.
    pub(super) fn until(&self, what: &str, expression: &str) -> Result {
        let script = format!("try {{ return Boolean({expression}) }} catch {{ return false }}");
        let waited = wait(what, || Ok((self.run(&script)? == Value::Bool(true)).then_some(())));
        waited.or_else(|failure| {
            let failure = failure.with_hint(&format!("that is: {expression}"));
            let failure = failure.with_hint(&format!("its address: {}", self.text("location.href")?));
            let failure = failure.with_hint(&format!("it shows: {:?}", self.text("document.body?.innerText")?));
            let failure = failure.with_hint(&format!("it has seen: {}", self.value("window.__seen ?? []")?));
            Err(self.browser.console().iter().fold(failure, |it, line| it.with_hint(&format!("its console: {line}"))))
        })
    }

    /// Checks that an expression is true as it is.
    pub(super) fn check(&self, what: &str, expression: &str) -> Result {
        if self.is(expression)? {
            return Ok(());
        }
        Err(Failure::new(format!("this does not hold: {what}"))
            .with_hint(&format!("that is: {expression}"))
            .with_hint(&format!("the page shows: {:?}", self.text("document.body?.innerText")?)))
    }

    /// Whether an expression is true.
    pub(super) fn is(&self, expression: &str) -> Result<bool> {
        Ok(self.value(&format!("Boolean({expression})"))? == Value::Bool(true))
    }

    /// Clicks what an expression names, once it is there.
    pub(super) fn click(&self, expression: &str) -> Result {
        self.until("there is something to click", expression)?;
        self.run(&format!("({expression}).click()")).map(drop)
    }

    /// Clicks the button of this name.
    pub(super) fn button(&self, name: &str) -> Result {
        self.click(&format!("named({})", json!(name)))
    }

    /// Writes into the field that a selector names, in place of what is there.
    pub(super) fn write(&self, selector: &str, text: &str) -> Result {
        self.until("there is a field to write into", &format!("$({})", json!(selector)))?;
        let script = "
            const field = $(SELECTOR);
            const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
            Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(field, TEXT);
            field.dispatchEvent(new Event('input', { bubbles: true }));
        ";
        let script = script.replacen("SELECTOR", &json!(selector).to_string(), 1);
        self.run(&script.replacen("TEXT", &json!(text).to_string(), 1)).map(drop)
    }

    /// Presses keys, one after another.
    pub(super) fn press(&self, keys: &[&str]) -> Result {
        self.browser.press(&self.tab, keys)
    }

    /// Presses a key while another one is held.
    pub(super) fn press_with(&self, held: &str, key: &str) -> Result {
        self.browser.press_with(&self.tab, held, key)
    }

    /// Writes a text key by key.
    pub(super) fn type_in(&self, text: &str) -> Result {
        let keys: Vec<String> = text.chars().map(String::from).collect();
        self.press(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Makes its window so large; `phone`: it is one.
    pub(super) fn size(&self, width: u32, height: u32, phone: bool) -> Result {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &size)
    }

    /// Has Chromium itself do something.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) -> Result {
        self.ask_devtools(command, parameters).map(drop)
    }

    /// Asks Chromium itself for something.
    pub(super) fn ask_devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.browser.devtools(&self.tab, command, parameters)
    }

    /// A picture of it, as PNG in Base64.
    pub(super) fn picture(&self) -> Result<String> {
        self.browser.picture(&self.tab)
    }

    /// Checks that nothing happened that never may: a window that asks something, a script that breaks the page's policy
    /// or fails, an error in the console, a call elsewhere.
    pub(super) fn expect_calm(&self) -> Result {
        let seen = self.value("window.__seen.splice(0)")?;
        expect(seen == json!([]), "nothing happened that must not", seen)?;
        let elsewhere = "performance.getEntriesByType('resource').map((it) => it.name)
            .filter((it) => !it.startsWith(location.origin + '/'))";
        let elsewhere = self.value(elsewhere)?;
        expect(elsewhere == json!([]), "the page asks nobody but its server", elsewhere)?;
        let console = self.browser.console();
        let found = format!("{} at {}", console.join("\n"), self.text("location.href")?);
        expect(console.is_empty(), "the page writes nothing to the console", found)
    }

    /// Passes over what the console has: an outage is written there by the browser itself.
    pub(super) fn forget_console(&self) {
        self.browser.console();
    }
}
