//! An instance as the registry holds it: one shared block of memory.

mod texts;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::instance::{InstanceError, InstanceLimits, Patch, ServiceInstance, Status};
use crate::name::{InstanceId, ServiceName};

/// A [`ServiceInstance`] that will not change again: its JSON, written once, with its id and name at hand.
///
/// A registry holds many instances and sends each to many readers, and needs little of what they say. So it
/// holds the bytes that all of them get. Clones are O(1) and share; equal means equal JSON, and the JSON is
/// canonical. One allocation: 31 bytes and the JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Instance(Arc<[u8]>);

/// Before the JSON: status, then offset (4 bytes) and length (1) of the id, the same of the name, then the
/// JSON's end (4). The offsets point into the JSON; a name that JSON escapes is repeated behind it.
const HEADER: usize = 1 + 5 + 5 + 4;

impl Instance {
    /// Checks an instance against the limits and packs it. O(size).
    ///
    /// # Errors
    /// Names the field that breaks a limit.
    pub fn new(instance: &ServiceInstance, limits: &InstanceLimits) -> Result<Self, InstanceError> {
        limits.check(instance)?;
        let packed = Self::pack(instance);
        limits.check_total(packed.json().len())?;
        Ok(packed)
    }

    /// Packs an instance that others have let in, whatever its size.
    #[must_use]
    pub fn pack(instance: &ServiceInstance) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + 320);
        bytes.resize(HEADER, 0);
        instance.write_json(&mut bytes);
        let end = bytes.len();
        // `{"id":"` comes first; the name follows the id after `","name":"`.
        let id = place(&mut bytes, HEADER + 7, &instance.id);
        let guess = id.0 as usize + instance.id.len() + 10;
        let name = place(&mut bytes, guess, &instance.name);
        bytes[0] = instance.status() as u8;
        bytes[1..5].copy_from_slice(&id.0.to_le_bytes());
        bytes[5] = id.1;
        bytes[6..10].copy_from_slice(&name.0.to_le_bytes());
        bytes[10] = name.1;
        bytes[11..15].copy_from_slice(&u32::try_from(end).unwrap_or(u32::MAX).to_le_bytes());
        Self(bytes.into())
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        utf8(self.id_bytes())
    }

    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        utf8(self.service_bytes())
    }

    /// The id as a name.
    #[must_use]
    pub fn instance_id(&self) -> InstanceId {
        InstanceId::trusted(self.id())
    }

    /// The name of the service as a name.
    #[must_use]
    pub fn service_name(&self) -> ServiceName {
        ServiceName::trusted(self.service())
    }

    /// The status that the metadata says.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::ALL[usize::from(self.0[0])]
    }

    /// The instance as Kratos writes it: UTF-8, from `{` to `}`.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        let end = u32::from_le_bytes([self.0[11], self.0[12], self.0[13], self.0[14]]);
        &self.0[HEADER..end as usize]
    }

    /// The bytes it holds, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Unpacks the instance. O(size).
    #[must_use]
    pub fn decode(&self) -> ServiceInstance {
        ServiceInstance::from_json(self.json()).expect("the JSON was written from an instance")
    }

    /// The instance as a patch makes it. O(size).
    ///
    /// # Errors
    /// Names the field that breaks a limit.
    pub fn patched(&self, patch: &Patch, limits: &InstanceLimits) -> Result<Self, InstanceError> {
        let mut instance = self.decode();
        instance.apply(patch);
        Self::new(&instance, limits)
    }

    pub(crate) fn id_bytes(&self) -> &[u8] {
        self.part(1)
    }

    pub(crate) fn service_bytes(&self) -> &[u8] {
        self.part(6)
    }

    fn part(&self, at: usize) -> &[u8] {
        let b = &self.0;
        let from = u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]) as usize;
        &b[from..from + usize::from(b[at + 4])]
    }
}

/// Finds a name where JSON has it unescaped, or appends it. Returns offset and length.
fn place(bytes: &mut Vec<u8>, guess: usize, name: &str) -> (u32, u8) {
    let len = u8::try_from(name.len()).expect("a name has at most 255 bytes");
    let at = if bytes.get(guess..guess + name.len()) == Some(name.as_bytes()) {
        guess
    } else {
        bytes.extend_from_slice(name.as_bytes());
        bytes.len() - name.len()
    };
    (u32::try_from(at).unwrap_or(u32::MAX), len)
}

fn utf8(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("names are UTF-8")
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(utf8(self.json()))
    }
}

impl From<&ServiceInstance> for Instance {
    fn from(instance: &ServiceInstance) -> Self {
        Self::pack(instance)
    }
}

impl Serialize for Instance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.decode().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ServiceInstance::deserialize(deserializer).map(|instance| Self::pack(&instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn instance(id: &str, name: &str) -> ServiceInstance {
        ServiceInstance::new(ServiceName::new(name).unwrap(), InstanceId::new(id).unwrap())
    }

    #[test]
    fn id_and_name_are_found_whether_json_escapes_them_or_not() {
        for id in ["a", "a<b", "\"", "é\u{2028}", "x\\"] {
            for name in ["web", "a&b", "支付", "\\\"", "\","] {
                let packed = Instance::pack(&instance(id, name).with_metadata("status", "draining"));
                assert_eq!((packed.id(), packed.service(), packed.status()), (id, name, Status::Draining));
                assert_eq!(packed.decode().to_json(), packed.json());
            }
        }
    }

    #[test]
    fn packing_unpacks_to_the_same_instance_and_equal_instances_pack_equally() {
        let one = instance("a", "web").with_metadata("x", "1").with_metadata("y", "2");
        let other = instance("a", "web").with_metadata("y", "2").with_metadata("x", "1");
        assert_eq!(Instance::pack(&one).decode(), one);
        assert_eq!(Instance::pack(&one), Instance::pack(&other));
        assert_ne!(Instance::pack(&one), Instance::pack(&instance("a", "web")));
    }

    #[test]
    fn the_total_limit_counts_the_json() {
        let fits = instance("a", "web");
        let len = fits.to_json().len();
        let limits = InstanceLimits { total: len, ..InstanceLimits::default() };
        assert!(Instance::new(&fits, &limits).is_ok());
        let error = Instance::new(&fits.with_version("1"), &limits).unwrap_err();
        assert_eq!(error, InstanceError::Limit { field: "instance".into(), len: len + 1, limit: len });
    }
}
