//! A watch, as JavaScript holds it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream as _;
use js_sys::Function;
use periplus::{Changed, Changes};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::spawn_local;

use super::convert::{item, listing, told};
use super::error::error;

/// Follows a service until it is closed: `for await (const { instances, changes } of watcher)`, or by the function given
/// to `watch`.
#[wasm_bindgen]
pub struct Watcher {
    watch: Rc<Watch>,
}

/// What a watcher and its iterators share.
pub(super) struct Watch {
    /// `None` once it is closed.
    watcher: RefCell<Option<Changes>>,
    /// Who waits for the next list.
    waiting: RefCell<Option<Waker>>,
}

impl Watcher {
    pub(super) fn new(watcher: periplus::Watcher) -> Self {
        let watch = Watch { watcher: RefCell::new(Some(watcher.into_changes())), waiting: RefCell::new(None) };
        Self { watch: Rc::new(watch) }
    }

    /// Calls a function with each list from now on, until this is closed.
    pub(super) fn tell(&self, listener: Function) {
        let watch = Rc::clone(&self.watch);
        spawn_local(async move {
            while let Some(next) = watch.next().await {
                if let Err(error) = listener.call1(&JsValue::UNDEFINED, &next) {
                    console_error("periplus: the function that was given to watch() threw", &error);
                }
            }
        });
    }
}

#[wasm_bindgen]
impl Watcher {
    /// The full list, as soon as there is something new, with what changed since the last one.
    #[wasm_bindgen(unchecked_return_type = "IteratorResult<Told, undefined>")]
    pub async fn next(&self) -> Result<JsValue, JsValue> {
        if self.watch.waiting.borrow().is_some() {
            return Err(error("busy", "the next list is waited for already, perhaps by the function given to watch()"));
        }
        Ok(item(self.watch.next().await))
    }

    /// What is known now, without waiting. `undefined`: the watch is closed.
    #[wasm_bindgen(getter, unchecked_return_type = "Listing | undefined")]
    pub fn current(&self) -> JsValue {
        let current = self.watch.watcher.borrow().as_ref().and_then(|it| it.watcher().current());
        current.map_or(JsValue::UNDEFINED, |current| listing(&current))
    }

    /// Ends the watch. Whoever waits for the next list is told that there is none.
    pub fn close(&self) {
        self.watch.close();
    }

    /// Ends the watch, as `for await` does when it is left.
    #[wasm_bindgen(js_name = "return", unchecked_return_type = "IteratorResult<Told, undefined>")]
    pub async fn end(&self) -> JsValue {
        self.watch.close();
        item(None)
    }

    /// The watcher itself.
    #[wasm_bindgen(js_name = "[Symbol.asyncIterator]")]
    pub fn lists(&self) -> Self {
        Self { watch: Rc::clone(&self.watch) }
    }
}

impl Watch {
    async fn next(&self) -> Option<JsValue> {
        let changed = poll_fn(|context| self.poll_next(context)).await?;
        // Nothing else runs in between: the list is the one after these changes.
        let list = self.watcher.borrow().as_ref().and_then(|it| it.watcher().current())?;
        Some(told(&list, &changed))
    }

    fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Changed>> {
        let polled = match &mut *self.watcher.borrow_mut() {
            Some(watcher) => Pin::new(watcher).poll_next(context),
            None => Poll::Ready(None),
        };
        self.waiting.replace(polled.is_pending().then(|| context.waker().clone()));
        polled
    }

    fn close(&self) {
        self.watcher.take();
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(message: &str, error: &JsValue);
}
