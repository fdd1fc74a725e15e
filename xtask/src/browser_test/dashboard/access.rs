//! The rules of WCAG that a machine can check, by axe-core, on every screen in both languages and both themes.

use std::fs;

use serde_json::{Value, json};

use super::page::{self, ESCAPE, Page};
use super::{expect, fleet};
use crate::browser_test::http::Http;
use crate::browser_test::relay::Relay;
use crate::failure::{Failure, Result};
use crate::registry::Registry;
use crate::shell;

/// The version of axe-core.
const VERSION: &str = "4.14.1";

/// So many findings are listed.
const LISTED: usize = 40;

/// What is looked at, and when it is there.
const SCREENS: [(&str, &str); 12] = [
    ("#/overview", "$$('.event').length > 5"),
    ("#/services", "rows().length > 3"),
    ("#/instances", "rows().length > 10"),
    ("#/instances?q=colour:red", "$('#search-problem')"),
    ("#/instances?q=nobody", "state() === 'filtered'"),
    ("#/service/orders", "$('.matrix') && $('.timeline')"),
    ("#/service/nobody", "state() === 'gone'"),
    ("#/instance/orders/orders-1", "$('.raw') && $('.timeline')"),
    ("#/time", "$('#slider')"),
    ("#/time?with=2&at=9", "$('#differences')"),
    ("#/resolver?service=orders&zone=a", "$('#gets li')"),
    ("#/doctor", "$('.findings')"),
];

pub(super) fn run() -> Result {
    let axe = match axe() {
        Ok(axe) => axe,
        // A registry of packages that cannot be reached says nothing of the dashboard.
        Err(failure) => {
            eprintln!("warning: ACCESSIBILITY IS NOT CHECKED, because there is no axe-core: {failure}");
            return Ok(());
        }
    };
    let registry = Registry::start(&["--log", "error", "--warm-up", "0s", "--keep-alive", "1s"])?;
    fleet::register(&mut Http::new(registry.address()))?;
    let relay = Relay::to(registry.address())?;
    let browser = page::browser(&[])?;
    let mut count = 0;
    let mut found = Vec::new();
    for (language, other) in [("en", "zh-CN"), ("zh-CN", "en")] {
        let page = Page::open(&browser, &relay.address().to_string(), "#/overview")?;
        page.run(&format!("localStorage.setItem('periplus.language', '{language}')"))?;
        page.reload()?;
        page.run(&axe)?;
        page.until(
            "it speaks so",
            &format!("document.documentElement.lang === '{language}' && !$('[lang={other}] main')"),
        )?;
        for theme in ["light", "dark"] {
            let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
            page.devtools("Emulation.setEmulatedMedia", &scheme)?;
            let mut look = |name: &str| -> Result {
                count += 1;
                found.extend(violations(&page)?.into_iter().map(|it| format!("{name} {language} {theme}: {it}")));
                Ok(())
            };
            for (hash, there) in SCREENS {
                page.go(hash)?;
                page.until(&format!("{hash} is there"), there)?;
                look(hash)?;
            }
            page.go("#/instances?q=name:search")?;
            page.until("the search finds them", "rows().length === 9")?;
            page.click("$('th.check input')")?;
            page.until("all are selected", "$('.bar-of-actions')")?;
            look("what can be done with many")?;
            for at in 0..5 {
                page.click(&format!("$$('.bar-of-actions button')[{at}]"))?;
                page.until("it asks", "$('dialog')?.open")?;
                page.click("$('#form button[type=submit]')")?;
                page.until("it says what is missing", "$('#form .problem')")?;
                look("an action")?;
                page.press(&[ESCAPE])?;
                page.until("it is put away", "!$('dialog')")?;
            }
            page.press(&["?"])?;
            page.until("the keys are shown", "$('dialog')?.open")?;
            look("the keys")?;
            page.press(&[ESCAPE])?;
            page.until("they are put away", "!$('dialog')")?;
            page.press(&["p"])?;
            page.until("it is paused", "badge() === 'paused'")?;
            look("paused")?;
            page.press(&["p"])?;
            relay.cut();
            page.until("it is out of date", "badge() === 'stale'")?;
            look("out of date")?;
            relay.mend();
            page.until("it is live", "badge() === 'live'")?;
        }
        page.close()?;
    }
    let some: Vec<&str> = found.iter().take(LISTED).map(String::as_str).collect();
    expect(found.is_empty(), "axe-core finds nothing", format!("{} times:\n{}", found.len(), some.join("\n")))?;
    println!("axe-core {VERSION} looked {count} times and found nothing");
    Ok(())
}

/// What axe-core finds in the page as it is: which rule, where, and why.
fn violations(page: &Page<'_>) -> Result<Vec<String>> {
    let script = "return axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'],
        resultTypes: ['violations'],
    }).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map((node) =>
        `${id}: ${node.html.slice(0, 200)}: ${[...node.any, ...node.all, ...node.none].map((it) => it.message).join('; ')}`)))";
    let found = page.run(script)?;
    let found = found.as_array().ok_or_else(|| Failure::new("axe-core gives no answer"))?;
    Ok(found.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The source of axe-core, which npm brings once.
fn axe() -> Result<String> {
    let folder = shell::target_folder()?.join("axe-core").join(VERSION);
    let file = folder.join("package").join("axe.min.js");
    if !file.is_file() {
        if !shell::is_in_path("npm") {
            return Err(Failure::new("there is no program `npm`").with_hint("install Node.js, which has it"));
        }
        fs::create_dir_all(&folder)
            .map_err(|error| Failure::new(format!("could not make {}: {error}", folder.display())))?;
        let mut pack = shell::command(&format!("npm pack --silent axe-core@{VERSION} --pack-destination"));
        pack.arg(&folder);
        shell::run(pack)?;
        let mut unpack = shell::command("tar -xzf");
        unpack.arg(folder.join(format!("axe-core-{VERSION}.tgz"))).arg("-C").arg(&folder).arg("package/axe.min.js");
        shell::run(unpack)?;
    }
    fs::read_to_string(&file).map_err(|error| Failure::new(format!("could not read {}: {error}", file.display())))
}
