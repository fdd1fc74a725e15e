//! A fleet whose every text tries to be more than text.
//!
//! The page shows it, finds it, resolves it and acts on it, and is held to what it does with a harmless fleet of the same
//! shape: the same elements with the same attributes, no script, no window, no call to anybody else.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::page::{self, Page};
use super::{expect, fleet};
use crate::browser_test::browser::Browser;
use crate::browser_test::http::Http;
use crate::failure::{Failure, Result};
use crate::registry::Registry;

/// One a line.
const PAYLOADS: &str = include_str!("payloads.txt");

/// So many are looked at by one script.
const BATCH: usize = 40;

/// So many are names of namespaces, too.
const NAMESPACES: usize = 12;

/// How the page is walked, and what there is of it on the way.
const WALK: &str = r"
    const found = (window.__found ??= new Set());
    const LEADS = new Set(['href', 'src', 'action', 'formaction', 'data', 'srcset', 'poster', 'xlink:href']);
    const leadsAway = (value) => !value.startsWith('#') && new URL(value, document.baseURI).origin !== location.origin;
    const survey = () => {
        for (const element of document.querySelectorAll('*')) {
            found.add(`${element.namespaceURI.split('/').pop()} ${element.localName}`);
            for (const { name, value } of element.attributes) {
                found.add(`${element.localName} ${name}`);
                if (name.startsWith('on') || (LEADS.has(name) && leadsAway(value))) {
                    window.__seen.push(`${element.localName} has ${name}=${value}`);
                }
            }
        }
    };
    const frame = () => new Promise((drawn) => requestAnimationFrame(() => drawn()));
    const until = async (what, holds) => {
        for (const end = performance.now() + 20000; !holds(); ) {
            if (performance.now() > end) {
                throw new Error(`in vain: ${what} at ${location.hash}: ${holds}; but it shows ${text('main').slice(0, 300)}`);
            }
            await frame();
        }
        survey();
    };
    const visit = async (hash, holds) => {
        location.hash = hash;
        await frame();
        await until('it is shown', holds);
    };
    const write = (selector, text) => {
        const field = $(selector);
        const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
        Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(field, text);
        field.dispatchEvent(new Event('input', { bubbles: true }));
    };
    const of = encodeURIComponent;
    const title = () => $('h1')?.textContent;
";

pub(super) fn run() -> Result {
    let payloads: Vec<String> = PAYLOADS.lines().map(str::to_owned).collect();
    expect(payloads.len() >= 300, "there are many", payloads.len())?;
    // Nobody goes to so many screens so quickly, and Chromium would refuse to.
    let browser = page::browser(&["--disable-ipc-flooding-protection", "--disable-frame-rate-limit"])?;
    let harmless: Vec<String> = (0..40).map(|n| format!("harmless-{n}")).collect();
    let usual = walk(&browser, &harmless)?;
    let found = walk(&browser, &payloads)?;
    // What is there for a moment only may have been missed.
    let more: Vec<&String> = found.difference(&usual).filter(|it| !it.ends_with(" aria-busy")).collect();
    expect(more.is_empty(), "hostile texts make nothing that harmless ones do not", json!(more))?;
    println!("{} hostile texts in every field did nothing", payloads.len());
    Ok(())
}

/// Looks at a fleet of these texts in all ways there are, and returns what elements and attributes there were.
fn walk(browser: &Browser, texts: &[String]) -> Result<BTreeSet<String>> {
    let registry = Registry::start(&["--log", "error", "--warm-up", "0s"])?;
    let mut http = Http::new(registry.address());
    let names = texts.iter().enumerate().map(|(at, text)| register(&mut http, at, text));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    let page = Page::open(browser, registry.address(), "#/overview")?;
    page.until("the fleet is there", "$$('.event').length > 5 && $$('.worst li').length > 5")?;
    walk_lists(&page, texts.len())?;
    for (names, texts) in names.chunks(BATCH).zip(texts.chunks(BATCH)) {
        walk_places(&page, names)?;
        page.expect_calm()?;
        walk_questions(&page, texts)?;
        // Questions about what is no name are refused, which the browser itself writes there.
        page.forget_console();
        page.expect_calm()?;
    }
    walk_actions(&page, &names, texts)?;
    for name in names.iter().take(NAMESPACES) {
        page.go(&format!("#/services?ns={}", fleet::encode(name)))?;
        page.until("the namespace is there", "rows().length === 1")?;
        page.run(&format!("{WALK} survey()"))?;
    }
    page.expect_calm()?;
    let found = page.value("[...window.__found]")?;
    page.close()?;
    Ok(found.as_array().into_iter().flatten().filter_map(|it| Some(it.as_str()?.to_owned())).collect())
}

/// Registers an instance that says nothing but this text, by somebody of this name, and acts on it for this reason.
///
/// What the registry does not take as a name is in everything else. Returns the name.
fn register(http: &mut Http, at: usize, text: &str) -> Result<String> {
    let overrides = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let metadata: String = text.chars().filter(|c| !overrides(*c)).collect();
    let key = cut(&metadata, 120);
    let instance = json!({
        "endpoints": [format!("http://host-{at}.example:80/{}", text.replace(' ', "/"))],
        "version": cut(&metadata, 60),
        "metadata": { key: metadata, "zone": metadata, "owner": metadata, "weight": "1" },
        "ttl": "2h",
    });
    let caller = [("periplus-caller", text)];
    let mut send = |method: &str, path: &str, body: &Value| -> Result {
        let sent = http.send(method, path, &caller, &body.to_string());
        let (status, answer) = sent.map_err(|error| Failure::new(format!("{text:?} gets no answer: {error}")))?;
        expect(status < 300, &format!("{text:?} is let in"), String::from_utf8_lossy(&answer))
    };
    let mut name = text.to_owned();
    if send("PUT", &fleet::path(&name, &name), &instance).is_err() {
        name = format!("nameless-{at}");
        send("PUT", &fleet::path(&name, &name), &instance)?;
    }
    let path = fleet::path(&name, &name);
    if at < NAMESPACES {
        send("PUT", &format!("{path}?ns={}", fleet::encode(&name)), &instance)?;
    }
    match at % 3 {
        0 => send("PATCH", &format!("{path}/overlay"), &json!({ "status": "draining", "reason": text }))?,
        1 => {
            let overlay = json!({ "metadata": { "team": metadata }, "reason": text });
            send("PATCH", &format!("{path}/overlay"), &overlay)?;
        }
        _ => {
            send("POST", &format!("{path}/evict"), &json!({ "reason": text }))?;
            send("PUT", &path, &instance)?;
        }
    }
    Ok(name)
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= most).last();
    &text[..end.unwrap_or_default()]
}

/// The lists from their beginning to their end, and the screens that show a bit of everything.
fn walk_lists(page: &Page<'_>, count: usize) -> Result {
    along(
        page,
        "
        for (const hash of ['#/services', '#/instances', '#/instances?sort=changed', '#/services?sort=name&dir=up']) {
            await visit(hash, () => rows().length > 10);
            const list = $('#list');
            for (let top = 0; top <= list.scrollHeight; top += 700) {
                list.scrollTop = top;
                await frame();
                await frame();
                survey();
            }
        }
        await visit('#/instances?q=status:nonsense', () => $('#search-problem'));
        await visit('#/instances?q=' + of('name:nobody-at-all'), () => state() === 'filtered');
        await visit('#/overview', () => $$('.event').length > 5);
        await visit('#/doctor', () => $$('.findings li').length > 5);
        await visit('#/time', () => $('#slider'));
        for (const share of [0, 0.2, 0.5, 0.9, 1]) {
            const slider = $('#slider');
            slider.value = Math.round(slider.max * share);
            slider.dispatchEvent(new Event('input', { bubbles: true }));
            await frame();
            await frame();
            survey();
        }
        await visit('#/time?with=1&at=100', () => $('#differences'));
        survey();
    ",
        &json!(count),
    )
}

/// The screens of services and instances of these names, which show them as they are.
fn walk_places(page: &Page<'_>, texts: &[String]) -> Result {
    along(
        page,
        "
        for (const it of it_all) {
            await visit(`#/service/${of(it)}`, () => title() === it && $('.matrix') && $('.timeline'));
            await visit(`#/instance/${of(it)}/${of(it)}`, () => title() === it && $('.raw') && $('.timeline'));
        }
    ",
        &json!(texts),
    )
}

/// Searching for these texts, and asking the resolver about them.
fn walk_questions(page: &Page<'_>, texts: &[String]) -> Result {
    along(
        page,
        r#"
        for (const it of it_all) {
            const quoted = `"${it.replace(/[\\"]/g, '\\$&')}"`;
            await visit(`#/instances?q=${of(quoted)}`, () => $('#search').value === quoted);
            await visit(`#/services?q=${of(it)}`, () => $('#search').value === it);
            await visit(`#/resolver?service=${of(it)}&zone=${of(it)}&key=${of(it)}&filter=${of(it)}&policy=${of(it)}`, () => $('.asks'));
        }
        for (const it of it_all.filter((_, at) => at % 4 === 0)) {
            await visit(`#/service/${of(it)}?q=${of(it)}`, () => title() === it);
            await visit(`#/${it}?${it}`, () => title() === 'Overview');
        }
    "#,
        &json!(texts),
    )
}

/// The forms with these texts in each field, and some of what they ask for done.
fn walk_actions(page: &Page<'_>, names: &[String], texts: &[String]) -> Result {
    for kind in ["Drain", "Resume", "Set weight", "Edit metadata", "Evict"] {
        for batch in texts.chunks(4 * BATCH) {
            let place = fleet::encode(&names[0]);
            let script = format!("
                const place = '{place}';
                await visit(`#/instance/${{place}}/${{place}}`, () => named('{kind}'));
                named('{kind}').click();
                await until('it asks', () => $('dialog')?.open);
                for (const it of it_all) {{
                    for (const name of ['reason', 'weight', 'block_for', 'metadata']) {{
                        if ($(`[name=${{name}}]`)) write(`[name=${{name}}]`, name === 'metadata' ? `${{it}}=${{it}}` : it);
                    }}
                    await frame();
                    survey();
                }}
                named('Cancel').click();
                await until('it is put away', () => !$('dialog'));
            ");
            along(page, &script, &json!(batch))?;
        }
    }
    let some: Vec<(&String, &String)> = names.iter().zip(texts).step_by(texts.len() / 20).collect();
    along(
        page,
        "
        for (const [name, it] of it_all) {
            await visit(`#/instance/${of(name)}/${of(name)}`, () => named('Edit metadata'));
            named('Edit metadata').click();
            await until('it asks', () => $('dialog')?.open);
            write('[name=metadata]', `note=${it}`);
            write('[name=reason]', it);
            await frame();
            $('#form button[type=submit]').click();
            await until('it is done', () => named('Close') && text('.bar-of-actions').includes('Done'));
            // What has invisible characters is refused.
            if (named('Undo')) {
                named('Undo').click();
                await until('it is undone', () => named('Close') && text('.bar-of-actions').includes('Undone'));
            }
            named('Close').click();
            await until('it is put away', () => !$('.bar-of-actions'));
        }
    ",
        &json!(some),
    )?;
    page.forget_console();
    page.expect_calm()
}

/// Runs a script that walks; `it_all` is what it is about. It walks by itself, and takes as long as it takes: only each of
/// its steps has a limit.
fn along(page: &Page<'_>, script: &str, about: &Value) -> Result {
    page.run(&format!(
        "window.__walk = '';
        (async () => {{ const it_all = {about}; {WALK} {script} }})()
            .then(() => 'arrived', (error) => String(error))
            .then((end) => {{ window.__walk = end; }});"
    ))?;
    loop {
        match &*page.text("window.__walk")? {
            "" => thread::sleep(Duration::from_millis(100)),
            "arrived" => return Ok(()),
            "undefined" => return Err(Failure::new("the page was left for another one")),
            error => return Err(Failure::new(error)),
        }
    }
}
