//! Where instances are, and what an entry says to those who follow something.
//!
//! An instance is at `{prefix}/{service}/{id}`. Service and id may have slashes themselves, so that one key may be that
//! of several instances: `a` of `b/c`, and `a/b` of `c`. Which of them it is, its value says; that the others are not
//! there then, is said too. Therefore nothing need be kept of what a key was before.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::message::Pair;
use crate::catalog::Selector;
use crate::client::subscription::Told;
use crate::fault::{Fault, Faults};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, Key, Namespace, ServiceKey, ServiceName};
use crate::packed::Instance;

/// So much of a key is shown.
const SHOWN: usize = 200;

/// What an entry says to those who follow a selector.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) changes: Vec<(ServiceKey, Told)>,
    /// What is wrong with it.
    pub(super) problem: Option<String>,
}

/// What all keys of a namespace begin with.
fn root(prefix: &str, namespace: &Namespace) -> String {
    if *namespace == Namespace::default() { format!("{prefix}/") } else { format!("/{namespace}/") }
}

/// The key of an instance.
pub(super) fn instance(prefix: &str, key: &Key) -> String {
    root(prefix, &key.namespace) + &key.service + "/" + &key.id
}

/// Where everything that a selector names is, and perhaps more.
pub(super) fn start(prefix: &str, selector: &Selector) -> String {
    let root = root(prefix, selector.namespace());
    match selector {
        // Without the slash, `web` would hear of `webshop`.
        Selector::Service(key) => root + &key.service + "/",
        Selector::Prefix { prefix, .. } => root + prefix,
    }
}

/// The first key that does not begin like this one.
pub(super) fn end(start: &str) -> Vec<u8> {
    let mut end = start.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    alloc::vec![0]
}

/// What an entry says that is there now.
pub(super) fn put(prefix: &str, selector: &Selector, pair: &Pair, faults: Faults) -> Said {
    let read = ServiceInstance::from_json(&pair.value.0).map_err(|error| error.to_string());
    let read = read.and_then(|found| {
        let key = Key { namespace: selector.namespace().clone(), service: found.name.clone(), id: found.id.clone() };
        let expected = instance(prefix, &key);
        if expected.as_bytes() == pair.key.0 {
            Ok(found)
        } else {
            Err(format!("it is {}/{}, whose key is another", found.name, found.id))
        }
    });
    let mut said = remove(prefix, selector, &pair.key.0);
    match read {
        Ok(found) => {
            let service = ServiceKey::new(selector.namespace().clone(), found.name.clone());
            if selector.contains(&service) || faults.has(Fault::EtcdNameIgnored) {
                let service = match selector {
                    Selector::Service(followed) => followed.clone(),
                    Selector::Prefix { .. } => service,
                };
                let same = |of: &ServiceKey, told: &Told| {
                    *of == service && matches!(told, Told::Remove(id, _) if *id == found.id)
                };
                said.changes.retain(|(of, told)| !same(of, told));
                said.changes.push((service, Told::Put(Instance::pack(&found), None)));
            }
        }
        Err(problem) => said.problem = Some(format!("{}: {problem}", shown(&pair.key.0))),
    }
    said
}

/// What it says that nothing is at a key: none of those is there whose key it is.
pub(super) fn remove(prefix: &str, selector: &Selector, key: &[u8]) -> Said {
    let namespace = selector.namespace();
    let root = root(prefix, namespace);
    let Some(rest) = core::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(root.as_str())) else {
        return Said::default();
    };
    let places = rest.match_indices('/').filter_map(|(at, _)| {
        let (service, id) = (&rest[..at], &rest[at + 1..]);
        if !selector.names(namespace, service) {
            return None;
        }
        let service = ServiceKey::new(namespace.clone(), ServiceName::new(service).ok()?);
        Some((service, Told::Remove(InstanceId::new(id).ok()?, smol_str::SmolStr::default())))
    });
    Said { changes: places.collect(), problem: None }
}

fn shown(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::etcd::message::Bytes;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const PREFIX: &str = "/microservices";

    fn selector(service: &str) -> Selector {
        Selector::Service(ServiceKey::new(Namespace::default(), ServiceName::new(service).unwrap()))
    }

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: Bytes(key.into()), value: Bytes(value.into()), ..Pair::default() }
    }

    fn texts(said: &Said) -> Vec<String> {
        let text = |(service, told): &(ServiceKey, Told)| match told {
            Told::Put(instance, _) => format!("+{} {}", service.service, instance.id()),
            Told::Remove(id, _) => format!("-{} {id}", service.service),
        };
        said.changes.iter().map(text).collect()
    }

    fn said(selector: &Selector, key: &str, value: &str) -> (Vec<String>, bool) {
        let said = put(PREFIX, selector, &pair(key, value), Faults::default());
        (texts(&said), said.problem.is_some())
    }

    #[test]
    fn a_key_is_prefix_service_and_id() {
        let key = |namespace: &str, id: &str| Key {
            namespace: Namespace::new(namespace).unwrap(),
            service: ServiceName::new("hello").unwrap(),
            id: InstanceId::new(id).unwrap(),
        };
        assert_eq!(instance(PREFIX, &key("default", "id")), "/microservices/hello/id");
        // Kratos does not tidy up what it is given.
        assert_eq!(instance("/ms/", &key("default", "x/y")), "/ms//hello/x/y");
        assert_eq!(instance(PREFIX, &key("b", "id")), "/b/hello/id");
    }

    #[test]
    fn what_is_read_ends_where_keys_begin_otherwise() {
        assert_eq!(start(PREFIX, &selector("hello")), "/microservices/hello/");
        assert_eq!(end("/microservices/hello/"), b"/microservices/hello0");
        let wide = Selector::Prefix { namespace: Namespace::new("b").unwrap(), prefix: "he".into() };
        assert_eq!((start(PREFIX, &wide).as_str(), end("/b/he")), ("/b/he", b"/b/hf".to_vec()));
        assert_eq!(end(""), [0]);
    }

    #[test]
    fn a_service_whose_name_begins_with_anothers_is_not_that() {
        let foo = selector("foo");
        let bar = r#"{"id":"x","name":"foo/bar"}"#;
        assert_eq!(said(&foo, "/microservices/foo/bar/x", bar), (alloc::vec!["-foo bar/x".into()], false));
        let own = r#"{"id":"bar/x","name":"foo"}"#;
        assert_eq!(said(&foo, "/microservices/foo/bar/x", own), (alloc::vec!["+foo bar/x".into()], false));
    }

    #[test]
    fn who_follows_many_services_is_told_which_of_those_of_a_key_are_not_there() {
        let all = Selector::all(Namespace::default());
        let bar = r#"{"id":"x","name":"foo/bar"}"#;
        let told = alloc::vec!["-foo bar/x".into(), "+foo/bar x".into()];
        assert_eq!(said(&all, "/microservices/foo/bar/x", bar), (told, false));
        let gone = remove(PREFIX, &all, b"/microservices/foo/bar/x");
        assert_eq!(texts(&gone), ["-foo bar/x", "-foo/bar x"]);
    }

    #[test]
    fn what_is_no_instance_takes_out_what_was_there_and_says_why() {
        let web = selector("web");
        for value in ["null", "", "[]", "{\"id\":\"a\",\"name\":\"web\",\"metadata\":{\"k\":1}}", "{} x", "\u{feff}{}"]
        {
            assert_eq!(said(&web, "/microservices/web/a", value), (alloc::vec!["-web a".into()], true), "{value}");
        }
        // The value of another key: where it went, nobody could say.
        let other = r#"{"id":"b","name":"web"}"#;
        assert_eq!(said(&web, "/microservices/web/a", other), (alloc::vec!["-web a".into()], true));
        assert_eq!(said(&web, "elsewhere", "null"), (alloc::vec![], true));
    }

    #[test]
    fn what_a_kratos_program_wrote_is_read_and_written_alike() {
        let recorded = [
            (
                "/microservices/provider/p1",
                r#"{"id":"p1","name":"provider","version":"v1.1.0","metadata":{"weight":"10","zone":"a\u0026b\u003c1\u003e"},"endpoints":["grpc://127.0.0.1:29001","http://127.0.0.1:29011"]}"#,
            ),
            (
                "/microservices/provider/p2",
                r#"{"id":"p2","name":"provider","version":"v1.2.0","metadata":{"weight":"20","zone":"a\u0026b\u003c2\u003e"},"endpoints":["grpc://127.0.0.1:29002","http://127.0.0.1:29012"]}"#,
            ),
        ];
        for (key, value) in recorded {
            let said = put(PREFIX, &selector("provider"), &pair(key, value), Faults::default());
            let [(_, Told::Put(instance, None))] = &said.changes[..] else { panic!("{said:?}") };
            assert_eq!(instance.json(), value.as_bytes());
        }
    }
}
