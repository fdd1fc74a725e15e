//! The examples in two tabs, with a real etcd and a real Consul that let the page in, and with ones that do not, behind a
//! registry that does.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::browser::{Browser, Tab};
use super::story::id_of;
use super::{files, heed_interrupts};
use crate::failure::{Failure, Result};
use crate::registry::{Foreign, Played as _, Registry, client};
use crate::service::Service;
use crate::{servers, shell, wasm};

/// The service that the examples are about.
const SERVICE: &str = "tabs";

/// A store as a page sees it.
struct Store {
    name: &'static str,
    start: fn(&OsString, &[String]) -> Result<Foreign>,
    /// The flags by which it lets in the pages of an origin.
    lets_in: fn(&str) -> Vec<String>,
    /// The flags by which it lets in none of these.
    keeps_out: &'static [&'static str],
    /// What the address says beside the usual.
    options: &'static str,
    /// What of it its own API shows: a path, a body, and how the service is spelled there.
    own: (&'static str, &'static str, &'static str),
}

const ETCD: Store = Store {
    name: "etcd",
    start: |binary, more| Foreign::etcd(binary, more),
    lets_in: |origin| vec![format!("--cors={origin}")],
    // Without the flag it lets in everybody.
    keeps_out: &["--cors=https://elsewhere.example:443"],
    options: "",
    // All keys there are; `/microservices/tab` in base64.
    own: ("v3/kv/range", r#"{"key":"AA==","range_end":"AA=="}"#, "L21pY3Jvc2VydmljZXMvdGFi"),
};

const CONSUL: Store = Store {
    name: "consul",
    start: |binary, more| Foreign::consul(binary, more),
    lets_in: |origin| {
        let headers = [
            ("Allow-Origin", origin),
            ("Allow-Methods", "GET, PUT"),
            ("Allow-Headers", "content-type, x-consul-token"),
            (
                "Expose-Headers",
                "X-Consul-Index, X-Consul-Query-Backend, X-Consul-Default-Acl-Policy, X-Consul-Results-Filtered-By-ACLs",
            ),
        ];
        let header = |(name, value): &(&str, &str)| format!("\"Access-Control-{name}\" = \"{value}\"");
        let headers: Vec<String> = headers.iter().map(header).collect();
        vec![format!("-hcl=http_config {{ response_headers {{ {} }} }}", headers.join(", "))]
    },
    keeps_out: &[],
    // No agent can connect to a tab.
    options: "&checks=ttl",
    own: ("v1/health/service/tabs?passing", "", "\"tabs\""),
};

pub(super) fn run() -> Result {
    heed_interrupts();
    let servers = servers::ensure()?;
    let binary = |variable| servers.iter().find(|(name, _)| *name == variable).map(|(_, path)| path);
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    let bundle = wasm::bundle("dev", "consul,etcd")?;
    let pages = files::serve(vec![shell::root().join("adapters/wasm/examples"), bundle])?;
    let origin = format!("http://{pages}");
    let binaries = [(ETCD, "ETCD_BIN"), (ETCD, "ETCD_CURRENT_BIN"), (CONSUL, "CONSUL_BIN")];
    let browser = Browser::start()?;
    // A browser ends with its last tab.
    browser.open("about:blank")?;
    for (store, variable) in binaries {
        if let Some(binary) = binary(variable) {
            let_in(&browser, &origin, &store, binary)?;
            kept_out(&browser, &origin, &store, binary)?;
        }
    }
    Ok(())
}

/// The store lets the page in: the tabs speak to it themselves.
fn let_in(browser: &Browser, origin: &str, store: &Store, binary: &OsString) -> Result {
    let mut server = (store.start)(binary, &(store.lets_in)(origin))?;
    let url = format!("{}{}", server.url(), store.options);
    let consumer = browser.open(&page(origin, "consumer", &url))?;
    browser.wait(&consumer, "the consumer hears the store", |text| text.contains("The list is live"))?;
    let provider = browser.open(&page(origin, "provider", &url))?;
    browser.wait(&provider, "the provider is registered", |text| text.contains("is registered"))?;
    let id = id_of(browser, &provider)?;
    browser.wait(&consumer, "the consumer sees the provider", |text| text.contains(&format!("{id} up")))?;
    let shown = own(store, &url)?;
    if !shown.contains(store.own.2) {
        return Err(Failure::new(format!("{} itself does not show the tab", store.name)).with_hint(&shown));
    }
    many(browser, &consumer, &url)?;
    let native = register(&url)?;
    browser.wait(&consumer, "the consumer sees what another program registers", |text| text.contains("native-1 up"))?;

    server.kill();
    let all = |text: &str| text.contains(&format!("{id} up")) && text.contains("native-1 up");
    browser.wait(&consumer, "an outage is stale, and empties nothing", |text| {
        text.contains("The list is stale") && all(text)
    })?;
    server.restart()?;
    browser.wait(&consumer, "the store is back, and so are both instances", |text| {
        text.contains("The list is live") && all(text)
    })?;
    browser.wait(&provider, "the provider knows that it is registered", |text| text.contains("is registered"))?;
    native.stop(|| false);
    browser.wait(&consumer, "the consumer sees the other program leave", |text| !text.contains("native-1 up"))?;
    // Its ttl is three minutes.
    browser.run(&provider, "location.href = 'about:blank'")?;
    browser.wait(&consumer, "a page that goes away deregisters", |text| {
        text.contains("The list is live") && !text.contains(&format!("{id} up"))
    })?;
    browser.close(&consumer)?;
    println!("a page that {} lets in is a client like any other", store.name);
    Ok(())
}

/// The store lets no page in: the tabs speak to a registry before it.
fn kept_out(browser: &Browser, origin: &str, store: &Store, binary: &OsString) -> Result {
    let flags: Vec<String> = store.keeps_out.iter().map(|&flag| flag.to_owned()).collect();
    let server = (store.start)(binary, &flags)?;
    let url = format!("{}{}", server.url(), store.options);
    let outside = browser.open(&page(origin, "consumer", &url))?;
    let registry = Registry::start(&["--upstream", &url, "--cors-origin", origin, "--log", "warn"])?;
    let consumer = browser.open(&page(origin, "consumer", &registry.url()))?;
    let provider = browser.open(&page(origin, "provider", &registry.url()))?;
    browser.wait(&provider, "the provider is registered", |text| text.contains("is registered"))?;
    let id = id_of(browser, &provider)?;
    let native = register(&url)?;
    browser.wait(&consumer, "the consumer sees both through the registry", |text| {
        text.contains(&format!("{id} up")) && text.contains("native-1 up")
    })?;
    let shown = own(store, &url)?;
    if !shown.contains(store.own.2) {
        return Err(Failure::new(format!("{} itself does not show the tab", store.name)).with_hint(&shown));
    }
    browser.wait(&outside, "the page that asks the store itself hears nothing", |text| {
        text.contains("The list is unknown")
    })?;
    browser.close(&provider)?;
    browser.wait(&consumer, "a tab that is closed deregisters", |text| !text.contains(&format!("{id} up")))?;
    native.stop(|| false);
    browser.close(&consumer)?;
    browser.close(&outside)?;
    println!("a page that {} does not let in is a client through --upstream", store.name);
    Ok(())
}

/// In a page that watches more services than a browser has connections, what registers gets through.
fn many(browser: &Browser, tab: &Tab, url: &str) -> Result {
    let script = r#"return (async () => {
        const { connect } = await import("./periplus.js");
        const registry = await connect(URL);
        const heard = Array.from({ length: 8 }, (_, at) => new Promise((hear) => registry.watch(`many-${at}`, hear)));
        await Promise.all(heard);
        await new Promise((pass) => setTimeout(pass, 500));
        await registry.register({ name: "many", endpoints: ["https://tabs.example:443"] });
        await registry.close();
    })()"#;
    browser.run(tab, &script.replace("URL", &format!("{url:?}"))).map(drop)
}

/// An example with the address of a registry, which may have a query of its own.
fn page(origin: &str, name: &str, url: &str) -> String {
    format!("{origin}/{name}.html?registry={}", url.replace('&', "%26"))
}

/// Registers something as another program does.
fn register(url: &str) -> Result<Service> {
    let arguments = ["register", "--service", SERVICE, "--id", "native-1", "--endpoint", "http://10.0.0.5:8000"];
    Service::start("native instance", client(url, &arguments)?)
}

/// What the store's own API shows of the service.
fn own(store: &Store, url: &str) -> Result<String> {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('?').next()).unwrap_or_default();
    let (path, body, _) = store.own;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", &format!("http://{host}/{path}")]).stderr(Stdio::inherit());
    if !body.is_empty() {
        curl.args(["--data", body]);
    }
    shell::output(curl)
}
