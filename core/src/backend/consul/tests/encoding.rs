//! What is written, and what is read: against what Kratos wrote and read.

use super::super::check;
use super::super::decode::{health, names};
use super::super::encode::registration;
use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const REGISTERED: &str = include_str!("../recorded/register.json");
const HEALTH: &str = include_str!("../recorded/health.json");
const HEALTH_TLS: &str = include_str!("../recorded/health-tls.json");
const HEALTH_KILLED: &str = include_str!("../recorded/health-p2-killed.json");

fn provider(id: &str, version: &str, weight: &str, zone: &str, endpoints: &[&str]) -> ServiceInstance {
    let instance = ServiceInstance::new(ServiceName::new("provider").unwrap(), InstanceId::new(id).unwrap());
    let instance = instance.with_version(version).with_metadata("weight", weight).with_metadata("zone", zone);
    endpoints.iter().fold(instance, |it, endpoint| it.with_endpoint(Endpoint::new(*endpoint).unwrap()))
}

fn written(instance: &ServiceInstance, options: &ConsulOptions, faults: Faults) -> Value {
    serde_json::from_slice(&registration(instance, options, options.ttl, faults)).unwrap()
}

/// What a reader is given of what was written.
pub(super) fn read_back(instance: &ServiceInstance, faults: Faults) -> ServiceInstance {
    let body = written(instance, &ConsulOptions::default(), faults);
    let field = |name: &str| body.get(name).cloned().unwrap_or(Value::Null);
    let mut tagged = field("TaggedAddresses");
    if let Some(tagged) = tagged.as_object_mut() {
        tagged.insert("lan_ipv4".into(), json!({ "Address": field("Address"), "Port": field("Port") }));
    }
    let service = json!({ "ID": field("ID"), "Service": field("Name"), "Tags": field("Tags"), "Meta": field("Meta"),
        "Address": field("Address"), "Port": field("Port"), "TaggedAddresses": tagged });
    let entry = json!([{ "Node": { "Address": "10.1.1.1" }, "Service": service }]);
    let listing = health(entry.to_string().as_bytes(), None).unwrap();
    listing.instances.values().next().unwrap().decode()
}

#[test]
fn a_registration_is_what_kratos_writes_but_for_the_first_status_of_tcp_checks() {
    let endpoints = ["grpc://127.0.0.1:29001", "http://127.0.0.1:29011"];
    let instance = provider("p1", "v1.1.0", "10", "a&b<1>", &endpoints);
    let mut ours = written(&instance, &ConsulOptions::default(), Faults::default());
    let mut kratos: Value = serde_json::from_str(REGISTERED).unwrap();
    assert_eq!(kratos.as_object_mut().unwrap().remove("Check"), Some(Value::Null));
    for check in ours["Checks"].as_array_mut().unwrap() {
        let status = check.as_object_mut().unwrap().remove("Status");
        assert_eq!(status.is_some(), check.get("TCP").is_some(), "a TTL check is critical until it is passed");
    }
    assert_eq!(ours, kratos);
}

#[test]
fn what_kratos_registers_is_read_as_kratos_reads_it() {
    let listing = health(HEALTH.as_bytes(), None).unwrap();
    let read: Vec<ServiceInstance> = listing.instances.values().map(crate::packed::Instance::decode).collect();
    let one = provider("p1", "v1.1.0", "10", "a&b<1>", &["grpc://127.0.0.1:29001", "http://127.0.0.1:29011"]);
    let two = provider("p2", "v1.2.0", "20", "a&b<2>", &["grpc://127.0.0.1:29002", "http://127.0.0.1:29012"]);
    assert_eq!(read, [one.clone(), two]);
    assert_eq!(listing.skipped, [""; 0]);
    let killed = health(HEALTH_KILLED.as_bytes(), None).unwrap();
    assert_eq!(killed.instances.values().map(crate::packed::Instance::decode).collect::<Vec<_>>(), [one]);
    let tls = health(HEALTH_TLS.as_bytes(), None).unwrap();
    let tls = tls.instances.values().next().unwrap().decode();
    assert_eq!(tls.endpoints[0].as_str(), "grpcs://127.0.0.1:29001");
    assert_eq!(tls.endpoints[1].as_str(), "https://127.0.0.1:29011");
}

#[test]
fn all_endpoints_come_back_in_their_order() {
    for endpoints in [
        &[][..],
        &["http://10.0.0.5:8000", "grpc://10.0.0.5:9000"],
        &["grpc://10.0.0.5:9000", "grpc://10.0.0.6:9000", "http://10.0.0.5:8000", "grpc://[2001:db8::1]:9001"],
        &["ws://h:1", "http://h:2", "grpc://h:3", "http://h:4"],
        &["grpcs://[::1]:443/a?b=c", "grpcs://[::1]:443/a?b=c"],
        &["wan://h:1", "lan://h:1", "grpc-2://h:1", "grpc://h:1", "grpc://h:2"],
    ] {
        let instance = provider("p", "", "1", "z", endpoints);
        assert_eq!(read_back(&instance, Faults::default()), instance, "{endpoints:?}");
    }
}

#[test]
fn the_first_endpoint_of_a_scheme_has_the_key_that_kratos_gives_it() {
    let instance = provider("p", "", "1", "z", &["http://h:1", "grpc://h:2", "grpc://h:3"]);
    let body = written(&instance, &ConsulOptions::default(), Faults::default());
    let keys: Vec<&String> = body["TaggedAddresses"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["grpc", "grpc_3", "http"]);
    assert_eq!((&body["Address"], &body["Port"]), (&json!("h"), &json!(1)));
}

#[test]
fn options_choose_checks_and_tags() {
    let options = ConsulOptions { tags: alloc::vec!["version=9".into(), "blue".into()], ..ConsulOptions::default() };
    let none = ConsulOptions { checks: super::super::Checks { tcp: false, ttl: false }, ..options.clone() };
    let body = written(&instance("a"), &none, Faults::default());
    assert_eq!((&body["Tags"], &body["Checks"]), (&json!(["version=", "blue"]), &json!([])));
    let checks = written(&instance("a"), &options, Faults::default())["Checks"].clone();
    assert_eq!(checks[0]["TCP"], "10.0.0.5:9000");
    assert_eq!(checks[1], json!({ "CheckID": "service:a", "TTL": "20s", "DeregisterCriticalServiceAfter": "600s" }));
}

#[test]
fn services_that_know_nothing_of_kratos_are_read_sensibly() {
    let body = json!([
        { "Node": { "Address": "10.1.1.1" }, "Service": { "ID": "consul", "Service": "consul", "Tags": [], "Address": "",
            "Port": 8300, "TaggedAddresses": null, "Meta": {} } },
        { "Node": { "Address": "10.1.1.1" }, "Service": { "ID": "db", "Service": "db", "Tags": ["version=1", "a",
            "version=2=3", "versions=4"], "Address": "2001:db8::1", "Port": 5432,
            "TaggedAddresses": { "lan": { "address": "10.0.0.9", "port": 1 }, "wan_ipv4": { "Address": "x://h:1" } } } },
        { "Node": {}, "Service": { "ID": "nowhere", "Service": "db", "Port": 70000 } },
        { "Node": null, "Service": { "ID": "lower", "Service": "db", "TaggedAddresses": { "a": { "address": "a://h:1" } } } },
    ]);
    let listing = health(body.to_string().as_bytes(), None).unwrap();
    let read = |id: &str| {
        let instance = listing.instances[id].decode();
        let endpoints: Vec<String> = instance.endpoints.iter().map(ToString::to_string).collect();
        (instance.version.to_string(), endpoints.join(" "))
    };
    assert_eq!(read("consul"), (String::new(), "http://10.1.1.1:8300".into()));
    assert_eq!(read("db"), ("2=3".into(), "http://[2001:db8::1]:5432".into()));
    assert_eq!(read("nowhere"), (String::new(), String::new()));
    assert_eq!(read("lower"), (String::new(), "a://h:1".into()));
}

#[test]
fn an_entry_that_is_no_instance_is_skipped_and_the_others_are_taken() {
    let body =
        json!([entry("a"), { "Service": { "ID": 1 } }, 7, { "Service": { "ID": "", "Service": "web" } }, entry("b")]);
    let listing = health(body.to_string().as_bytes(), Some("x")).unwrap();
    assert_eq!((listing.instances.len(), listing.skipped.len()), (2, 3));
    assert_eq!(listing.instances["a"].decode().metadata["dc"], "x");
    assert_eq!(health(b"null", None).unwrap().instances.len(), 0);
    health(b"{}", None).unwrap_err();
    assert_eq!(names(br#"{"consul":[],"web":["version=1"],"":[]}"#).unwrap().len(), 2);
    names(b"[]").unwrap_err();
}

#[test]
fn of_two_with_one_id_the_one_that_was_changed_last_is_taken() {
    let mut newer = entry_of("web", "a", "node-2");
    newer["Service"]["ModifyIndex"] = json!(30);
    newer["Service"]["Tags"] = json!(["version=new"]);
    for body in [json!([entry("a"), newer]), json!([newer, entry("a")])] {
        let listing = health(body.to_string().as_bytes(), None).unwrap();
        assert_eq!(listing.instances["a"].decode().version, "new");
    }
}

#[test]
fn what_consul_would_refuse_is_refused_with_the_name_of_the_key_and_the_fix() {
    let told = |instance: ServiceInstance| check::instance(&instance).unwrap_err().to_string();
    assert_eq!(
        told(instance("a").with_metadata("a.b", "1")),
        "metadata key `a.b`: Consul takes letters, digits, '-' and '_' only: write _ for the others"
    );
    assert!(told(instance("a").with_metadata("consul-x", "1")).contains("rename it"));
    assert!(told(instance("a").with_metadata("k", "x".repeat(513))).starts_with("metadata key `k`: Consul takes"));
    assert!(told(instance("a").with_metadata("k".repeat(129), "")).contains("shorten it"));
    let many = (0..65).fold(instance("a"), |it, n| it.with_metadata(format!("k{n}"), ""));
    assert!(told(many).starts_with("metadata: Consul takes 64 pairs, not 65"));
    for host in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]"] {
        let endpoint = Endpoint::new(format!("grpc://{host}:1")).unwrap();
        assert!(told(instance("a").with_endpoint(endpoint)).contains("unspecified"), "{host}");
    }
    for id in ["a//b", "/a", "a/", "..", "a/../b", "a/./b", "50%"] {
        assert!(told(instance(id)).starts_with("id: "), "{id}");
    }
    for id in ["a", "a/b", "a.b", "...", "ä b", "a+b"] {
        check::instance(&instance(id)).unwrap();
    }
}
