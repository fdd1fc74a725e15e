//! Values from JavaScript and to it, by way of JSON: instances are JSON already.

use std::time::Duration;

use js_sys::{JSON, Object, Reflect};
use periplus::core::client::{Counters, Provenance, RegistrationState};
use periplus::core::instance::ServiceInstance;
use periplus::core::protocol::Span;
use periplus::core::{Change, Endpoint, InstanceId, ServiceName};
use periplus::{Changed, Listing};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

use super::error::error;

/// What a page wants registered.
#[derive(Deserialize)]
struct Init {
    name: String,
    id: Option<String>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    endpoints: Vec<String>,
}

/// An instance, and its ttl if it has one.
pub(super) fn instance(value: &JsValue) -> Result<(ServiceInstance, Option<Duration>), JsValue> {
    let init: Init = parse(value)?;
    let id = init.id.unwrap_or_else(made_up_id);
    let mut instance = ServiceInstance::new(
        ServiceName::new(init.name).map_err(|error| invalid(&error))?,
        InstanceId::new(id).map_err(|error| invalid(&error))?,
    )
    .with_version(init.version);
    instance.metadata = init.metadata;
    for endpoint in init.endpoints {
        instance = instance.with_endpoint(Endpoint::new(endpoint).map_err(|error| invalid(&error))?);
    }
    Ok((instance, ttl(value)?))
}

/// Reads a value that JSON can say.
pub(super) fn parse<T: DeserializeOwned>(value: &JsValue) -> Result<T, JsValue> {
    let text = JSON::stringify(value).ok().and_then(|text| text.as_string());
    serde_json::from_str(&text.unwrap_or_default()).map_err(|error| invalid(&error))
}

/// A property, or `undefined`.
pub(super) fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

pub(super) fn invalid(problem: &dyn std::error::Error) -> JsValue {
    error("invalid", &problem.to_string())
}

/// An object with one or two properties.
pub(super) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        // It is a plain object, and takes any property.
        let _ = Reflect::set(&object, &(*name).into(), value);
    }
    object.into()
}

/// What an iterator of JavaScript's yields: a value, or its end.
pub(super) fn item(value: Option<JsValue>) -> JsValue {
    let done = value.is_none();
    object(&[("value", value.unwrap_or(JsValue::UNDEFINED)), ("done", done.into())])
}

pub(super) fn listing(listing: &Listing) -> JsValue {
    let instances = array(listing, |text, instance| text.push_str(&String::from_utf8_lossy(instance.json())));
    let listing_ = object(&[("instances", instances), ("provenance", provenance(listing.provenance).into())]);
    if let Some(age) = listing.age {
        let _ = Reflect::set(&listing_, &"staleForMs".into(), &(age.as_secs_f64() * 1_000.0).floor().into());
    }
    listing_
}

/// A list, with what changed.
pub(super) fn told(list: &Listing, changed: &Changed) -> JsValue {
    let told = listing(list);
    let changes = array(&changed.changes, |text, change| {
        let (kind, cause) = match change {
            Change::Insert(_) => ("inserted", None),
            Change::Update { .. } => ("updated", None),
            Change::Remove(gone) => ("removed", changed.causes.get(&(gone.service_name(), gone.instance_id()))),
        };
        text.push_str("{\"type\":\"");
        text.push_str(kind);
        text.push('"');
        for (key, instance) in [(",\"before\":", change.before()), (",\"after\":", change.after())] {
            if let Some(instance) = instance {
                text.push_str(key);
                text.push_str(&String::from_utf8_lossy(instance.json()));
            }
        }
        if let Some(cause) = cause {
            text.push_str(",\"cause\":");
            text.push_str(&serde_json::to_string(cause.as_str()).expect("a text can be written as JSON"));
        }
        text.push('}');
    });
    let _ = Reflect::set(&told, &"changes".into(), &changes);
    told
}

/// An array of what has instances in it, written as JSON one by one.
fn array<T>(items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) -> JsValue {
    let mut text = String::from("[");
    for item in items {
        if text.len() > 1 {
            text.push(',');
        }
        write(&mut text, item);
    }
    text.push(']');
    // Kratos writes what is empty so. No text of an instance's looks like it: there, quotes are escaped.
    let text = text.replace("\"metadata\":null", "\"metadata\":{}").replace("\"endpoints\":null", "\"endpoints\":[]");
    JSON::parse(&text).expect("it is written as JSON")
}

pub(super) fn counters(counters: &Counters) -> JsValue {
    let text = serde_json::to_string(counters).expect("numbers can be written as JSON");
    JSON::parse(&text).expect("it is JSON")
}

pub(super) const fn state(state: &RegistrationState) -> &'static str {
    match state {
        RegistrationState::Registered => "registered",
        RegistrationState::Lost(_) => "lost",
        RegistrationState::Superseded => "superseded",
        RegistrationState::Refused(_) => "refused",
        RegistrationState::Deregistered { .. } => "deregistered",
        _ => "registering",
    }
}

const fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Unknown => "unknown",
        Provenance::Live => "live",
        Provenance::Unconfirmed => "unconfirmed",
        Provenance::Stale { .. } => "stale",
    }
}

/// Milliseconds, or a text with a unit.
pub(super) fn duration(value: &JsValue) -> Result<Option<Duration>, JsValue> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    if let Some(text) = value.as_string() {
        return text.parse().map(|Span(span)| Some(span)).map_err(|error| invalid(&error));
    }
    let span = value.as_f64().and_then(|millis| Duration::try_from_secs_f64(millis / 1_000.0).ok());
    span.map(Some).ok_or_else(|| error("invalid", "a duration is a number of milliseconds, or a text such as \"3m\""))
}

fn ttl(value: &JsValue) -> Result<Option<Duration>, JsValue> {
    duration(&property(value, "ttl"))
}

fn made_up_id() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("every browser that runs this has crypto.getRandomValues");
    format!("tab-{:016x}", u64::from_le_bytes(bytes))
}
