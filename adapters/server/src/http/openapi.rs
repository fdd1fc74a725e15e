//! The protocol as an OpenAPI document, made from the router's own table.

use periplus_core::query::LENGTH_LIMIT;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};
use super::call::Call;
use super::route::{Operation, ROUTES, Route};
use super::status::plain;

/// `GET /openapi.json`.
pub(super) fn document(_: &Call<'_>) -> Answer {
    Ok(answer::json(plain(&openapi())))
}

fn openapi() -> Value {
    let mut paths = Map::new();
    for route in protocol() {
        let path = format!("/{}", route.path.join("/"));
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Periplus",
            "description": "Service registration and discovery: register under a service name, renew a lease, watch who is there. \
                Every answer that is an object carries the registry's epoch and revision, and whether it is warming: while it is, \
                what it does not list may be there all the same.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas(), "parameters": parameters(), "responses": {
            "Refused": {
                "description": "The request was refused; `code` says why for programs, `message` for people.",
                "content": {"application/json": {"schema": reference("Problem")}},
            },
        }},
    })
}

/// The routes of the protocol. What a browser shows is no part of it.
fn protocol() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| !matches!(route.operation, Operation::Page | Operation::Asset))
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn operation(route: &Route) -> Value {
    let Described { summary, query, body, answer } = described(route.operation);
    let names = route.path.iter().filter_map(|segment| {
        let name = segment.strip_prefix('{')?.strip_suffix('}')?;
        Some(json!({"name": name, "in": "path", "required": true, "schema": reference("Name")}))
    });
    let queries = query.iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")}));
    let parameters: Vec<Value> = names.chain(queries).collect();
    let content = match answer {
        Content::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Content::Events => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        Content::Both(schema) => json!({
            "application/json": {"schema": reference(schema)},
            "text/event-stream": {"schema": {"type": "string"}},
        }),
        Content::Any => json!({"application/json": {}}),
        Content::Metrics => json!({"application/openmetrics-text": {"schema": {"type": "string"}}}),
    };
    let mut operation = json!({
        "operationId": route.name,
        "summary": summary,
        "responses": {
            "200": {"description": "Done", "content": content},
            "default": {"$ref": "#/components/responses/Refused"},
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = body {
        operation["requestBody"] = json!({
            "required": schema != "ClearOverlay",
            "content": {"application/json": {"schema": reference(schema)}},
        });
    }
    operation
}

enum Content {
    Json(&'static str),
    Events,
    Both(&'static str),
    Metrics,
    Any,
}

struct Described {
    summary: &'static str,
    query: &'static [&'static str],
    body: Option<&'static str>,
    answer: Content,
}

fn described(operation: Operation) -> Described {
    let of = |summary, query, body, answer| Described { summary, query, body, answer };
    let dated = Content::Json("Dated");
    match operation {
        Operation::Renew => of("Renew leases, thousands in one request", &[], Some("Renew"), Content::Json("Renewed")),
        Operation::Register => {
            of("Register an instance, and get a lease for it", &["ns"], Some("Register"), Content::Json("Registered"))
        }
        Operation::Update => {
            of("Change an instance in place, as its holder", &["ns"], Some("Update"), Content::Json("Changed"))
        }
        Operation::Deregister => of("Deregister, as the holder", &["ns"], Some("Deregister"), dated),
        Operation::List => {
            let query = &["ns", "filter", "limit", "after"];
            of("The instances of a service, ordered by id", query, None, Content::Json("Listing"))
        }
        Operation::Watch => of(
            "Watch services and prefixes: snapshots first, then what changes",
            &["ns", "service", "prefix", "since", "last_event_id"],
            None,
            Content::Events,
        ),
        Operation::WatchMany => of(
            "Watch services and prefixes, each from its own cursor on",
            &["last_event_id"],
            Some("Watch"),
            Content::Events,
        ),
        Operation::Instance => of("All that is known of an instance", &["ns"], None, Content::Json("InstanceView")),
        Operation::Services => of(
            "The services of a namespace, ordered by name",
            &["ns", "prefix", "filter", "limit", "after"],
            None,
            Content::Json("Services"),
        ),
        Operation::Instances => of(
            "The instances of all services of a namespace, ordered by service and id",
            &["ns", "filter", "limit", "after_place"],
            None,
            Content::Json("Instances"),
        ),
        Operation::Overlay => of(
            "Lay weight, status or metadata over an instance, as an operator",
            &["ns"],
            Some("Overlay"),
            Content::Json("Changed"),
        ),
        Operation::ClearOverlay => of(
            "Take off what lies over an instance, all or some keys",
            &["ns"],
            Some("ClearOverlay"),
            Content::Json("Changed"),
        ),
        Operation::Evict => {
            of("Take an instance out, and keep its id out for a time", &["ns"], Some("Evict"), Content::Json("Evicted"))
        }
        Operation::Settle => of("End the warm-up: what is not listed is not there", &[], None, dated),
        Operation::Namespaces => of("The namespaces", &[], None, Content::Json("Namespaces")),
        Operation::Overlays => {
            of("What lies over instances, and what may not register", &["ns", "limit"], None, Content::Json("Overlays"))
        }
        Operation::Leases => of(
            "How the leases of a service are, ordered by id",
            &["ns", "limit", "after"],
            None,
            Content::Json("Leases"),
        ),
        Operation::Watches => of(
            "Who watches what, and how far they are; of a service, who has applied its latest change",
            &["ns", "service_filter", "revision", "limit"],
            None,
            Content::Json("Watches"),
        ),
        Operation::Applied => {
            of("Say up to where a watcher has applied what it was told", &[], Some("Applied"), Content::Json("Taken"))
        }
        Operation::Status => of("How the registry is: usage, limits, alarms", &[], None, Content::Json("Status")),
        Operation::Trends => {
            of("What happened in each minute of the last hour, the latest last", &[], None, Content::Json("Trends"))
        }
        Operation::History => of(
            "What changed, or with `at` how things were",
            &["ns", "service_filter", "from", "to", "limit", "newest", "at"],
            None,
            Content::Json("History"),
        ),
        Operation::Events => of(
            "What happened lately, and for who accepts a stream of events, what happens",
            &["limit", "last_event_id"],
            None,
            Content::Both("Events"),
        ),
        Operation::Targets => of(
            "What Prometheus is to scrape (http_sd)",
            &["ns", "service_filter", "scheme"],
            None,
            Content::Json("Targets"),
        ),
        Operation::Alive => of("Whether the process is up", &[], None, Content::Any),
        Operation::Ready => of("Whether requests are answered", &[], None, dated),
        Operation::Metrics => of("Metrics in Prometheus's format", &[], None, Content::Metrics),
        Operation::Document => of("This document", &[], None, Content::Any),
        Operation::Page | Operation::Asset => of("The dashboard", &[], None, Content::Any),
    }
}

fn parameters() -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "query", "schema": schema, "description": description});
    let name = || reference("Name");
    let names = || json!({"type": "array", "items": reference("Name")});
    let number = || json!({"type": "integer", "minimum": 0});
    json!({
        "ns": query("ns", name(), "The namespace; `default`, if it is left out"),
        "limit": query("limit", json!({"type": "integer", "minimum": 1}), "How many at most"),
        "after": query("after", name(), "Those after this one: the `next` of the answer before"),
        "after_place": query("after", json!({"type": "string"}), "Those after this place: the `next` of the answer before"),
        "filter": query("filter", json!({"type": "string", "maxLength": LENGTH_LIMIT, "examples": ["zone:a status:!up version:>=1.2"]}),
            "Instances that match this query, and services that have any. Terms that all hold: a word to look for, or \
                `key:value` with the keys name, id, version, zone, status, weight, scheme, endpoint and meta.KEY; \
                `a,b` for one of these, `*` for any text, `>=`, `<=`, `>` and `<` for versions and numbers, `!` in front \
                for what does not hold, `key=value` for the value as it is written, and quotes. \
                A page may have fewer than `limit`, even none, and a `next` all the same"),
        "prefix": query("prefix", names(), "Those whose names begin so; empty for all"),
        "service": query("service", names(), "These services, whether they exist or not"),
        "service_filter": query("service", name(), "This service only"),
        "since": query("since", reference("Cursor"), "Where a watch broke off"),
        "last_event_id": {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "Where a stream broke off; browsers send it by themselves"},
        "from": query("from", number(), "From this revision on"),
        "to": query("to", number(), "Up to this revision"),
        "newest": query("newest", json!({"type": "boolean"}), "The latest, the latest first, and not the oldest"),
        "revision": query("revision", number(), "This revision instead of the service's latest change"),
        "at": query("at", number(), "The instances as they were at this revision"),
        "scheme": query("scheme", json!({"type": "string", "default": "http"}), "The scheme of the endpoints"),
    })
}

fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer", "minimum": 0});
    let boolean = || json!({"type": "boolean"});
    let span = || reference("Duration");
    let list = |of: Value| json!({"type": "array", "items": of});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let patch = || json!({"type": "object", "additionalProperties": {"type": ["string", "null"]}});
    let status = || json!({"enum": ["starting", "up", "draining", "down"]});
    let object = |required: &[&str], properties: Value| json!({"type": "object", "required": required, "properties": properties});
    let dated = |required: &[&str], properties: Value| {
        let own = json!({"type": "object", "required": required, "properties": properties});
        json!({"allOf": [reference("Dated"), own]})
    };
    let caller = || object(&[], json!({"who": text(), "from": text(), "client": text()}));
    let instance = || reference("Instance");
    let overlay = || {
        object(
            &["metadata", "reason"],
            json!({"metadata": patch(), "reason": text(), "time": number(), "caller": caller()}),
        )
    };
    let mut schemas = json!({
        "Name": {"type": "string", "minLength": 1, "maxLength": 255},
        "Duration": {"type": "string", "pattern": "^([0-9]+(h|m|s|ms|us|ns))+$", "examples": ["15s", "500ms", "1m30s"]},
        "Cursor": {"type": "string", "description": "EPOCH.REVISION"},
        "Lease": {"type": "string", "description": "Opaque, and secret: who has it acts for the instance"},
        "Dated": object(&["epoch", "revision", "warming"], json!({"epoch": text(), "revision": number(), "warming": boolean()})),
        "Problem": object(&["code", "message"], json!({"code": text(), "message": text(), "field": text(), "limit": number()})),
        "Instance": object(&["id", "name"], json!({"id": reference("Name"), "name": reference("Name"), "version": text(),
            "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            "endpoints": {"type": ["array", "null"], "items": {"type": "string", "examples": ["grpc://10.0.0.5:9000"]}},
            "ttl": span(), "namespace": reference("Name")})),
        "Register": object(&[], json!({"version": text(), "metadata": texts(), "endpoints": list(text()), "ttl": span(),
            "incarnation": {"type": "string", "pattern": "^[0-9a-fA-F]{32}$"}, "sequence": number(), "reclaim": number(), "since": number()})),
        "Registered": dated(&["outcome", "lease", "generation", "ttl"], json!({
            "outcome": {"enum": ["registered", "repeated", "replaced", "superseded"]},
            "lease": reference("Lease"), "generation": number(), "ttl": span()})),
        "Update": object(&["lease"], json!({"lease": reference("Lease"), "sequence": number(), "version": text(), "metadata": patch(),
            "endpoints": list(text()), "weight": number(), "status": status()})),
        "Changed": dated(&["changed"], json!({"changed": boolean()})),
        "Deregister": object(&[], json!({"lease": reference("Lease"), "incarnation": text(), "sequence": number()})),
        "Renew": object(&["leases"], json!({"leases": {"type": "array", "items": reference("Lease"), "maxItems": 10_000}, "number": number()})),
        "Renewed": dated(&["renewed", "failed"], json!({"renewed": number(), "number": number(),
            "failed": list(object(&["index", "code"], json!({"index": number(), "code": text()})))})),
        "Overlay": object(&["reason"], json!({"metadata": patch(), "weight": number(), "status": status(), "reason": text()})),
        "ClearOverlay": object(&[], json!({"keys": list(text()), "reason": text()})),
        "Evict": object(&["reason"], json!({"reason": text(), "block_for": span()})),
        "Evicted": dated(&["evicted"], json!({"evicted": boolean()})),
        "Watch": object(&["watch"], json!({"watch": list(object(&[], json!({"ns": reference("Name"), "service": reference("Name"),
            "prefix": text(), "since": reference("Cursor")})))})),
    });
    let applied = object(
        &["watch", "applied"],
        json!({"watch": {"type": "string", "description": "What the first event of the watch, `watch`, says; nobody else's to know"},
            "applied": reference("Cursor")}),
    );
    schemas["Applied"] = applied;
    let answers = json!({
        "Taken": dated(&["taken"], json!({"taken": boolean()})),
        "Listing": dated(&["instances"], json!({"namespace": text(), "service": text(), "instances": list(instance()), "next": text()})),
        "Instances": dated(&["instances"], json!({"namespace": text(), "instances": list(instance()), "next": text()})),
        "InstanceView": dated(&["instance"], json!({"instance": instance(), "registered": instance(), "overlay": overlay(),
            "generation": number(), "expires_in": text(), "modified": number()})),
        "Services": dated(&["services"], json!({"next": text(), "services": list(object(&["name"], json!({"name": text(),
            "instances": number(), "starting": number(), "up": number(), "draining": number(), "down": number(),
            "revision": number(), "watchers": number(), "watched": boolean()})))})),
        "Leases": dated(&["leases"], json!({"next": text(), "leases": list(object(&["id", "ttl_ms", "left_ms"], json!({"id": text(),
            "ttl_ms": number(), "left_ms": number(), "generation": number(), "modified": number(),
            "overlaid": boolean()})))})),
        "Trends": dated(&["minute", "registered"], json!({"minute": number(), "registered": list(number()), "flapped": list(number()),
            "superseded": list(number()), "updated": list(number()), "renewed_late": list(number()),
            "deregistered": list(number()), "expired": list(number()), "evicted": list(number()), "overlaid": list(number())})),
        "Namespaces": dated(&["namespaces"], json!({"namespaces": list(object(&["name"], json!({"name": text(), "services": number(), "instances": number()})))})),
        "Overlays": dated(&["overlays", "blocks"], json!({
            "overlays": list(object(&["service", "id"], json!({"service": text(), "id": text(), "overlay": overlay()}))),
            "blocks": list(object(&["service", "id"], json!({"service": text(), "id": text(), "reason": text(), "ends_in": text()})))})),
        "Watches": dated(&["watches"], json!({"service_revision": number(), "watchers": number(), "told": number(),
            "not_told": number(), "silent": number(), "watches": list(object(&["watch"], json!({"watch": number(),
            "selectors": list(object(&[], json!({"ns": text(), "service": text(), "prefix": text()}))),
            "since": span(), "seen": number(), "applied": number(), "applied_since": span(), "behind": number(),
            "pending": boolean(), "told": boolean(), "caller": caller()})))})),
        "Status": dated(&["version"], json!({"warming_ms": number(), "version": text(), "uptime_ms": number(), "first": number(),
            "usage": {"type": "object"}, "limits": {"type": "object"}, "connections": number(), "memory": {"type": "object"},
            "alarms": list(json!({"type": "object"})),
            "upstream": object(&["url", "state"], json!({"url": text(),
                "state": {"enum": ["unheard", "live", "unconfirmed", "stale"]}, "stale_ms": number()}))})),
        "History": dated(&[], json!({"first": number(), "next": number(), "at": number(), "instances": list(instance()),
            "entries": list(object(&["revision", "time"], json!({"revision": number(), "time": number(), "namespace": text(),
                "service": text(), "id": text(), "cause": text(), "caller": caller(), "before": instance(), "after": instance()})))})),
        "Events": dated(&["events"], json!({"events": list(object(&["number", "time", "event"], json!({"number": number(),
            "time": number(), "revision": number(), "event": text(), "namespace": text(), "service": text(), "id": text(), "caller": caller()})))})),
        "Targets": list(object(&["targets"], json!({"targets": list(text()), "labels": texts()}))),
    });
    if let (Value::Object(schemas), Value::Object(answers)) = (&mut schemas, answers) {
        schemas.extend(answers);
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.push(to.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_describes_every_route_and_nothing_else() {
        let document = openapi();
        let mut described: Vec<String> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut routed: Vec<String> =
            protocol().map(|route| format!("{} /{}", route.method, route.path.join("/"))).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_referred_to() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for kind in ["schemas", "parameters"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                let pointer = format!("#/components/{kind}/{name}");
                assert!(found.contains(&pointer), "{pointer} is not used");
            }
        }
    }
}
