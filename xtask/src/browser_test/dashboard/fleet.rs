//! A small fleet that is always the same, and how one asks a registry about it.

use serde_json::{Value, json};

use crate::browser_test::http::Http;
use crate::failure::Result;

/// How many instances there are.
pub(super) const SIZE: usize = 17;

/// Registers the fleet: `orders` is in two versions and two zones and drains one, `search` is large, `mail` has one that
/// is down and one that nobody can reach, and `lonely` is alone.
pub(super) fn register(http: &mut Http) -> Result {
    for (id, version, zone, weight, status) in [
        ("orders-1", "1.2.0", "a", "10", "up"),
        ("orders-2", "1.2.0", "b", "10", "up"),
        ("orders-3", "1.3.0", "a", "1", "draining"),
    ] {
        let metadata = json!({ "zone": zone, "weight": weight, "owner": "ann" });
        put(http, "orders", id, &instance(id, version, status, &metadata))?;
    }
    for n in 1..=9 {
        let id = format!("search-{n}");
        let zone = if n % 3 == 0 { "b" } else { "a" };
        put(http, "search", &id, &instance(&id, "4.0", "up", &json!({ "zone": zone })))?;
    }
    put(http, "mail", "mail-1", &instance("mail-1", "2.1", "up", &json!({})))?;
    put(http, "mail", "mail-2", &instance("mail-2", "2.1", "down", &json!({})))?;
    let mut loopback = instance("mail-3", "2.1", "up", &json!({}));
    loopback["endpoints"] = json!(["http://127.0.0.1:8000"]);
    put(http, "mail", "mail-3", &loopback)?;
    put(http, "pay", "pay-1", &instance("pay-1", "0.9", "starting", &json!({})))?;
    put(http, "lonely", "lonely-1", &instance("lonely-1", "7", "up", &json!({})))
}

/// What an instance says of itself. It outlives every test.
pub(super) fn instance(id: &str, version: &str, status: &str, metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    metadata["status"] = json!(status);
    json!({
        "endpoints": [format!("http://{id}.example:8000")],
        "version": version,
        "metadata": metadata,
        "ttl": "2h",
    })
}

/// Registers an instance.
pub(super) fn put(http: &mut Http, service: &str, id: &str, instance: &Value) -> Result {
    http.ask("PUT", &path(service, id), instance).map(drop)
}

/// The path of an instance.
pub(super) fn path(service: &str, id: &str) -> String {
    format!("/v1/services/{}/instances/{}", encode(service), encode(id))
}

/// What the registry says of an instance: nothing, if there is none.
pub(super) fn get(http: &mut Http, service: &str, id: &str) -> Value {
    http.ask("GET", &path(service, id), &Value::Null).unwrap_or_default()
}

/// A text as a segment of a path.
pub(super) fn encode(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let mut out = String::new();
    for byte in text.bytes() {
        if is_plain(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
