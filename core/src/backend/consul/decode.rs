//! What Consul lists, read as Kratos reads it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer};
use smol_str::SmolStr;

use super::encode::in_order;
use crate::endpoint::Endpoint;
use crate::http::body::{BodyError, parse};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, ServiceName};
use crate::packed::Instance;

/// The keys of addresses that the agent adds by itself.
const ADDED: [&str; 4] = ["lan_ipv4", "wan_ipv4", "lan_ipv6", "wan_ipv6"];

/// What an answer lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    /// The nodes that they are on, each with its id and when it came to be known. A Consul that has lost its memory
    /// knows none of them.
    pub(super) nodes: BTreeSet<(SmolStr, u64)>,
    /// What is wrong with those that were skipped.
    pub(super) skipped: Vec<String>,
}

/// One entry of `GET /v1/health/service/NAME`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "Node", default, deserialize_with = "or_default")]
    node: Node,
    #[serde(rename = "Service")]
    service: Service,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "ID", deserialize_with = "or_default")]
    id: SmolStr,
    #[serde(deserialize_with = "or_default")]
    node: SmolStr,
    #[serde(deserialize_with = "or_default")]
    address: String,
    #[serde(deserialize_with = "or_default")]
    create_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    #[serde(default, deserialize_with = "or_default")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    address: String,
    #[serde(default, deserialize_with = "or_default")]
    port: u32,
    #[serde(default, deserialize_with = "or_default")]
    tagged_addresses: BTreeMap<SmolStr, TaggedAddress>,
    #[serde(default, deserialize_with = "or_default")]
    meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    modify_index: u64,
}

/// Some versions write the fields in lower case.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TaggedAddress {
    #[serde(rename = "Address", alias = "address", deserialize_with = "or_default")]
    address: String,
}

/// Go writes what is empty as `null`.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads the answer to a query for a service. `dc` is put into the metadata of each instance, if it is given.
///
/// An entry that is no instance is skipped. Of two with one id, which two agents may have, the one that was changed last
/// is taken.
///
/// # Errors
/// If it is not a list.
pub(super) fn health(body: &[u8], dc: Option<&str>) -> Result<Listing, BodyError> {
    let mut listing = Listing::default();
    let entries: Vec<Entry> = match parse::<Option<Vec<Entry>>>(body) {
        Ok(entries) => entries.unwrap_or_default(),
        Err(_) => {
            let read = |value| serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string());
            let mut entries = Vec::new();
            for entry in parse::<Vec<serde_json::Value>>(body)?.into_iter().map(read) {
                match entry {
                    Ok(entry) => entries.push(entry),
                    Err(problem) => listing.skipped.push(problem),
                }
            }
            entries
        }
    };
    let mut changed: BTreeMap<InstanceId, u64> = BTreeMap::new();
    for Entry { node, service } in entries {
        let index = service.modify_index;
        match instance(service, &node, dc) {
            Ok(instance) if changed.get(&instance.id).is_some_and(|before| *before >= index) => {}
            Ok(instance) => {
                changed.insert(instance.id.clone(), index);
                listing.instances.insert(instance.id.clone(), Instance::pack(&instance));
            }
            Err(problem) => listing.skipped.push(problem),
        }
        // An old agent gives its node no id.
        let id = if node.id.is_empty() { node.node } else { node.id };
        listing.nodes.insert((id, node.create_index));
    }
    Ok(listing)
}

/// Reads the answer to `GET /v1/agent/service/{id}`: what was put at the agent, healthy or not.
///
/// # Errors
/// If it is no service.
pub(super) fn held(body: &[u8]) -> Result<ServiceInstance, String> {
    let service: Service = parse(body).map_err(|error| error.to_string())?;
    instance(service, &Node::default(), None)
}

/// Reads the answer to `GET /v1/agent/services`: id and name of what was put at the agent.
///
/// # Errors
/// If it is no list.
pub(super) fn all_held(body: &[u8]) -> Result<Vec<(String, String)>, BodyError> {
    let services: BTreeMap<String, Service> = parse(body)?;
    Ok(services.into_values().map(|service| (service.id, service.service)).collect())
}

fn instance(service: Service, node: &Node, dc: Option<&str>) -> Result<ServiceInstance, String> {
    let Service { id, service: name, tags, address, port, tagged_addresses, meta, .. } = service;
    let told = |error: crate::name::NameError| error.to_string();
    let (id, name) = (InstanceId::new(id).map_err(told)?, ServiceName::new(name).map_err(told)?);
    let mut instance = ServiceInstance { metadata: meta, ..ServiceInstance::new(name, id) };
    let version = tags.iter().rev().find_map(|tag| tag.split_once('=').filter(|(key, _)| *key == "version"));
    instance.version = version.map_or("", |(_, version)| version).into();
    let ours = tagged_addresses.into_iter().filter(|(key, _)| !ADDED.contains(&key.as_str()));
    let ours = ours.map(|(key, value)| (key, value.address)).filter(|(_, address)| address.contains("://")).collect();
    let port = u16::try_from(port).unwrap_or_default();
    let endpoints = in_order(ours, Some((&address, port)));
    instance.endpoints = endpoints.into_iter().map(Endpoint::foreign).collect();
    // A service that does not come from here says where it is, but not what it speaks there.
    let address = if address.is_empty() { &node.address } else { &address };
    if instance.endpoints.is_empty() && port != 0 && !address.is_empty() {
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        instance.endpoints.push(Endpoint::foreign(format!("http://{host}:{port}")));
    }
    if let Some(dc) = dc {
        instance.metadata.insert("dc".into(), dc.into());
    }
    Ok(instance)
}

/// Reads the answer to `GET /v1/catalog/services`: all names, whether their instances are healthy or not.
///
/// # Errors
/// If it is not an object.
pub(super) fn names(body: &[u8]) -> Result<BTreeSet<ServiceName>, BodyError> {
    let names: Option<BTreeMap<String, serde::de::IgnoredAny>> = parse(body)?;
    Ok(names.unwrap_or_default().into_keys().filter_map(|name| ServiceName::new(name).ok()).collect())
}
