//! Fuzz targets of the core, each a plain function of bytes, so that the same code runs under the fuzzer and, over the
//! committed corpus, as an ordinary test.

// The alphabet, the model and the comparison are those of the core's own tests.
#[path = "../../core/tests/decoding/mod.rs"]
mod decoding;
#[path = "../../core/tests/model/mod.rs"]
mod model;

use periplus_core::client::url::RegistryUrl;
use periplus_core::http::body::{self, BodyBuffer, BodyError};
use periplus_core::http::origin::Origin;
use periplus_core::registry::State;
use periplus_core::{
    Config, Cursor, Endpoint, Instance, InstanceId, InstanceLimits, Instant, Lease, Query, Registry, ServiceInstance,
    ServiceName, WallTime,
};

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is. Each has a folder of its name in `corpus/`.
pub const TARGETS: &[Target] = &[
    ("registry_ops", registry_ops),
    ("instance_json", instance_json),
    ("texts", texts),
    ("restore", restore),
    ("sse", sse),
    ("lines", lines),
    ("bodies", bodies),
    ("urls", urls),
];

/// Streams up to this length are cut at every place; longer ones only where the input says.
const CUT_EVERYWHERE: usize = 256;

/// Operations on a registry, compared with the model after every step.
pub fn registry_ops(bytes: &[u8]) {
    model::run::run_bytes(bytes);
}

/// A document from any registry: whatever is read is written so that it is read the same again.
pub fn instance_json(bytes: &[u8]) {
    let Ok(instance) = ServiceInstance::from_json(bytes) else {
        return;
    };
    let json = instance.to_json();
    assert_eq!(ServiceInstance::from_json(&json).as_ref(), Ok(&instance), "what is written is read the same");
    let packed = Instance::pack(&instance);
    assert_eq!(packed.json(), json);
    assert_eq!((packed.id(), packed.service()), (instance.id.as_str(), instance.name.as_str()));
    assert_eq!(packed.status(), instance.status());
    if let Ok(packed) = Instance::new(&instance, &InstanceLimits::default()) {
        assert!(packed.json().len() <= InstanceLimits::default().total);
    }
}

/// The texts that others send: endpoints, names, leases, cursors, queries.
pub fn texts(bytes: &[u8]) {
    if let Ok(lease) = Lease::parse(bytes) {
        assert_eq!(lease.to_text(), bytes, "a lease has one text");
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(endpoint) = Endpoint::new(text) {
        let parts = endpoint.parts().expect("it was just parsed");
        assert!(!parts.host.is_empty() && parts.port > 0 && !parts.scheme.is_empty());
    }
    if let Ok(id) = InstanceId::new(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor), "a cursor is read as it is written");
    }
    match text.parse::<Query>() {
        Ok(query) => {
            assert_eq!(query.to_string().parse(), Ok(query.clone()), "a query is read as it is written");
            let name = ServiceName::new("web").expect("a name");
            let id = InstanceId::new("a\\b").expect("a name");
            let instance = ServiceInstance::new(name, id).with_version("1").with_metadata("meta", text);
            let instance = instance.with_endpoint(Endpoint::foreign(text));
            let packed = Instance::pack(&instance);
            assert_eq!(query.matches(&packed), query.matches_unpacked(&instance), "packing hides nothing");
        }
        Err(error) => assert!(text.get(error.range).is_some(), "the place of an error is in the text"),
    }
}

/// A state from a disk: it is refused, or the registry that comes of it is sound.
pub fn restore(bytes: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(bytes) else {
        return;
    };
    let config = Config::default();
    let now = Instant::from_micros(1);
    let Ok(mut registry) = Registry::restore(config, [1; 32], &state, None, now, WallTime(0)) else {
        return;
    };
    while let Some(at) = registry.poll_timeout() {
        registry.handle_timeout(at);
        while registry.poll_event().is_some() {}
    }
    assert!(registry.catalog().is_empty(), "nobody renews, so everything ends");
}

/// A stream of events: however it is cut, what comes of it is what the reference makes of the whole, with the limit
/// that the first byte says and with none.
pub fn sse(bytes: &[u8]) {
    each_cut(bytes, |limit, whole, chunks| {
        assert_eq!(decoding::decode_events(limit, chunks), decoding::reference_events(whole, limit), "{chunks:?}");
    });
}

/// A stream of lines: however it is cut, the lines are those of the whole.
pub fn lines(bytes: &[u8]) {
    each_cut(bytes, |limit, whole, chunks| {
        assert_eq!(decoding::decode_lines(limit, chunks), decoding::reference_lines(whole, limit), "{chunks:?}");
    });
}

/// A body: however it is cut, it is read like the whole, and an error does not quote all of it.
pub fn bodies(bytes: &[u8]) {
    each_cut(bytes, |limit, whole, chunks| {
        let mut body = BodyBuffer::new(limit);
        let pushed: Result<(), BodyError> = chunks.iter().try_for_each(|chunk| body.push(chunk));
        if whole.len() > limit {
            assert_eq!(pushed, Err(BodyError::TooLong { limit }));
            assert_eq!(body.finish::<serde_json::Value>(), Err(BodyError::TooLong { limit }));
            return;
        }
        assert_eq!(body.bytes(), Ok(whole));
        assert_eq!(body.finish::<serde_json::Value>(), body::parse(whole));
        if let Err(error) = body.finish::<Vec<(u8, String)>>() {
            assert!(error.to_string().len() < 300, "{error}");
        }
    });
}

/// Where a registry is: what is read is printed so that it is read the same again.
pub fn urls(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string().parse(), Ok(origin), "an origin is read as it is printed");
    }
    match text.parse::<RegistryUrl>() {
        Ok(url) => {
            assert!(url.query.iter().all(|(key, value)| url.value(key) == Some(value)), "no key is there twice");
            assert!(!url.query.iter().any(|(_, value)| value.contains(char::is_control)));
            let place = RegistryUrl { query: Vec::new(), ..url };
            assert_eq!(place.to_string().parse(), Ok(place), "a registry's place is read as it is printed");
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

/// Calls `check` with limits, a stream, and ways of cutting it. The first byte of the input is one of the limits, the
/// two after it are the lengths of pieces, and the rest is the stream.
fn each_cut(bytes: &[u8], check: impl Fn(usize, &[u8], &[&[u8]])) {
    let Some((&[limit, first, second], whole)) = bytes.split_first_chunk() else {
        return;
    };
    for limit in [limit.into(), usize::MAX] {
        check(limit, whole, &[whole]);
        check(limit, whole, &decoding::in_chunks(whole, &[first.into(), second.into()]));
        for chunks in decoding::cuts(whole).filter(|_| whole.len() <= CUT_EVERYWHERE) {
            check(limit, whole, &chunks);
        }
    }
}
