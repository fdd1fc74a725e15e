//! A registration, as JavaScript holds it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use periplus::core::{Patch, Status};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use super::Open;
use super::convert::{item, parse, state};
use super::error::{Coded as _, error};

/// A registration. The instance stays registered until this is closed, its registry is, or the page goes away.
#[wasm_bindgen]
pub struct Registration {
    held: periplus::Registration,
    service: String,
    id: String,
    open: Rc<Open>,
}

impl Registration {
    pub(super) const fn new(held: periplus::Registration, service: String, id: String, open: Rc<Open>) -> Self {
        Self { held, service, id, open }
    }
}

#[wasm_bindgen]
impl Registration {
    /// The id of the instance.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// The service that it is an instance of.
    #[wasm_bindgen(getter)]
    pub fn service(&self) -> String {
        self.service.clone()
    }

    /// What became of it: "registered" only while the last acknowledged renewal covers now.
    #[wasm_bindgen(getter, unchecked_return_type = "RegistrationState")]
    pub fn state(&self) -> String {
        state(&self.held.state()).to_owned()
    }

    /// Why the last attempt to register it failed, if it did.
    #[wasm_bindgen(getter)]
    pub fn problem(&self) -> Option<String> {
        self.held.view()?.problem
    }

    /// Changes the status, now and whenever it is registered again. Resolves when the registry has it.
    #[wasm_bindgen(js_name = setStatus)]
    pub async fn set_status(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Status")] status: String,
    ) -> Result<(), JsValue> {
        let status: Status = status.parse().map_err(|error: periplus::core::instance::StatusError| error.to_js())?;
        self.held.set_status(status).map_err(|error| error.to_js())?;
        self.held.acknowledged().await.map_err(|error| error.to_js())
    }

    /// Changes the instance, now and whenever it is registered again. Resolves when the registry has it.
    pub async fn update(
        &self,
        #[wasm_bindgen(unchecked_param_type = "InstancePatch")] patch: JsValue,
    ) -> Result<(), JsValue> {
        let patch: Patch = parse(&patch)?;
        self.held.update(&patch).map_err(|error| error.to_js())?;
        self.held.acknowledged().await.map_err(|error| error.to_js())
    }

    /// Deregisters. Resolves when that is done, to whether the registry has confirmed it, after three seconds at most; it
    /// is then tried on, and the lease ends by itself.
    pub async fn close(&self) -> bool {
        let closed = self.held.clone().close().await.confirmed;
        self.open.forget(&self.held);
        closed
    }

    /// The states it goes through, from the present one to the last: `for await (const state of registration)`. Those
    /// in between may be left out.
    #[wasm_bindgen(js_name = "[Symbol.asyncIterator]")]
    pub fn states(&self) -> States {
        States { held: RefCell::new(Some(self.held.clone())), begun: Cell::new(false) }
    }
}

/// The states that a registration goes through.
#[wasm_bindgen]
pub struct States {
    /// Taken out while somebody waits for the next.
    held: RefCell<Option<periplus::Registration>>,
    begun: Cell<bool>,
}

#[wasm_bindgen]
impl States {
    /// The next state, as soon as it is another one.
    #[wasm_bindgen(unchecked_return_type = "IteratorResult<RegistrationState, undefined>")]
    pub async fn next(&self) -> Result<JsValue, JsValue> {
        let Some(mut held) = self.held.take() else {
            return Err(error("busy", "the next state is waited for already: await that first"));
        };
        let next = match self.begun.replace(true) {
            true => held.changed().await,
            false => Some(held.state()),
        };
        self.held.replace(Some(held));
        Ok(item(next.map(|next| state(&next).into())))
    }
}
