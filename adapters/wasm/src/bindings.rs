//! The client, as JavaScript and TypeScript use it.
//!
//! Nothing ends because it was garbage collected, but for watchers that nobody can hear: a registration stays until it
//! is closed, its registry is, or the page goes away.

mod convert;
mod error;
mod registration;
mod watcher;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use js_sys::Function;
use periplus::Client;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use self::convert::{counters, duration, instance, invalid, listing, property};
use self::error::{Coded as _, error};
pub use self::registration::{Registration, States};
pub use self::watcher::Watcher;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("bindings/types.d.ts");

/// What a registration lives without a renewal if it does not say: a hidden tab gets one timer a minute.
const TTL: Duration = Duration::from_secs(180);

thread_local! {
    /// The clients that were not closed yet.
    static OPEN: RefCell<Vec<Rc<Open>>> = const { RefCell::new(Vec::new()) };
}

/// A client that was not closed yet, with what it holds.
struct Open {
    client: RefCell<Option<Client>>,
    registrations: RefCell<Vec<periplus::Registration>>,
}

impl Open {
    fn new(client: Client) -> Rc<Self> {
        let open = Rc::new(Self { client: RefCell::new(Some(client)), registrations: RefCell::default() });
        OPEN.with_borrow_mut(|all| all.push(Rc::clone(&open)));
        open
    }

    fn hold(&self, registration: &periplus::Registration) {
        self.registrations.borrow_mut().push(registration.clone());
    }

    /// Lets go of a registration that was closed.
    fn forget(&self, registration: &periplus::Registration) {
        let mut gone = Vec::new();
        let mut held = self.registrations.borrow_mut();
        gone.extend(held.extract_if(.., |held| held.id() == registration.id()));
        drop(held);
    }

    async fn close(self: &Rc<Self>) {
        OPEN.with_borrow_mut(|all| all.retain(|open| !Rc::ptr_eq(open, self)));
        let client = self.client.take();
        if let Some(client) = client {
            client.close().await;
        }
        self.registrations.take();
    }
}

/// Opens a client of a registry: "periplus://HOST:PORT", "http://HOST:PORT" or "https://HOST:PORT".
///
/// It does not wait for the registry.
#[wasm_bindgen]
pub async fn connect(
    url: &str,
    #[wasm_bindgen(unchecked_optional_param_type = "ConnectOptions")] options: JsValue,
) -> Result<Registry, JsValue> {
    let mut client = crate::connect(url).map_err(|error| error.to_js())?;
    if let Some(namespace) = property(&options, "namespace").as_string() {
        client = client.namespace(&namespace).map_err(|error| invalid(&error))?;
    }
    Ok(Registry { open: Open::new(client.clone()), client })
}

/// A client of a registry. It stays open until it is closed, or the page goes away.
#[wasm_bindgen]
pub struct Registry {
    client: Client,
    open: Rc<Open>,
}

#[wasm_bindgen]
impl Registry {
    /// Registers an instance, and keeps it registered. Resolves when the registry has it, and waits for a registry that
    /// is down.
    pub async fn register(
        &self,
        #[wasm_bindgen(unchecked_param_type = "InstanceInit")] init: JsValue,
    ) -> Result<Registration, JsValue> {
        let (instance, ttl) = instance(&init)?;
        let (service, id) = (instance.name.to_string(), instance.id.to_string());
        let held = self.client.register(instance).ttl(ttl.unwrap_or(TTL)).await.map_err(|error| error.to_js())?;
        self.open.hold(&held);
        Ok(Registration::new(held, service, id, Rc::clone(&self.open)))
    }

    /// Follows a service, or all whose names begin alike. Each list, with what changed, is told to the function, or to
    /// whoever iterates over the watcher.
    pub fn watch(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string | { prefix: string }")] what: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "(told: Told) => void")] listener: JsValue,
    ) -> Result<Watcher, JsValue> {
        let watcher = match (what.as_string(), property(what, "prefix").as_string()) {
            (Some(service), _) => self.client.watch(&service),
            (None, Some(prefix)) => self.client.watch_prefix(&prefix),
            (None, None) => return Err(error("invalid", "watch the name of a service, or { prefix }")),
        };
        let watcher = Watcher::new(watcher.map_err(|error| error.to_js())?);
        if !listener.is_undefined() {
            watcher.tell(Function::from(listener));
        }
        Ok(watcher)
    }

    /// The instances of a service; in an outage the last known. Waits for a registry that was never heard as long as
    /// `timeout` says: milliseconds, or a text such as "5s".
    #[wasm_bindgen(js_name = getService, unchecked_return_type = "Listing")]
    pub async fn get_service(
        &self,
        name: String,
        #[wasm_bindgen(unchecked_optional_param_type = "{ timeout?: number | string }")] options: JsValue,
    ) -> Result<JsValue, JsValue> {
        let mut get = self.client.get_service(&name);
        if let Some(timeout) = duration(&property(&options, "timeout"))? {
            get = get.timeout(timeout);
        }
        get.await.map(|found| listing(&found)).map_err(|error| error.to_js())
    }

    /// The same client, working in another namespace.
    pub fn namespace(&self, name: &str) -> Result<Self, JsValue> {
        let client = self.client.namespace(name).map_err(|error| invalid(&error))?;
        Ok(Self { client, open: Rc::clone(&self.open) })
    }

    /// Lets go of the connection that watchers hold, while nobody looks: what is known stays, and is stale. What is
    /// registered stays so.
    pub fn suspend(&self) {
        self.client.suspend();
    }

    /// Follows again: each watcher is told the one difference that there is by then.
    pub fn resume(&self) {
        self.client.resume();
    }

    /// What the client did so far.
    #[wasm_bindgen(getter, unchecked_return_type = "Counters")]
    pub fn counters(&self) -> JsValue {
        counters(&self.client.counters())
    }

    /// Deregisters everything, ends all watches, and resolves when that is done, which takes a few seconds at most.
    pub async fn close(&self) {
        self.open.close().await;
    }
}
