//! The texts of a packed instance, read where they are.

use alloc::borrow::Cow;

use super::{Instance, utf8};

impl Instance {
    /// The version. O(size up to it).
    pub(crate) fn version(&self) -> Cow<'_, str> {
        Texts::from_version(self).next()
    }

    /// Whether a pair of the metadata passes. Those behind it are not looked at. O(size).
    pub(crate) fn any_metadata(&self, passes: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        let mut texts = Texts::from_metadata(self);
        texts.open(b'{') && {
            let mut found = false;
            while !found && texts.more(b'}') {
                let key = texts.next();
                found = passes(&key, &texts.next());
            }
            found
        }
    }

    /// Whether an endpoint passes. Those behind it are not looked at. O(size).
    pub(crate) fn any_endpoint(&self, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut texts = Texts::from_metadata(self);
        if texts.open(b'{') {
            while texts.more(b'}') {
                texts.skip(2);
            }
        }
        texts.skip(1);
        texts.open(b'[') && {
            let mut found = false;
            while !found && texts.more(b']') {
                found = passes(&texts.next());
            }
            found
        }
    }
}

/// What is left of the JSON. [`Instance::pack`] has written it: five keys in their order, and no white space.
struct Texts<'a>(&'a [u8]);

impl<'a> Texts<'a> {
    /// Stands before the version.
    fn from_version(instance: &'a Instance) -> Self {
        let mut texts = Self(instance.json());
        texts.skip(5);
        texts
    }

    /// Stands before the value of the metadata.
    fn from_metadata(instance: &'a Instance) -> Self {
        let mut texts = Self::from_version(instance);
        texts.skip(2);
        texts
    }

    /// Passes texts, keys among them.
    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.quoted();
        }
    }

    fn next(&mut self) -> Cow<'a, str> {
        let quoted = self.quoted();
        let inside = &quoted[1..quoted.len() - 1];
        if !inside.contains(&b'\\') {
            return Cow::Borrowed(utf8(inside));
        }
        Cow::Owned(serde_json::from_slice(quoted).expect("the JSON was written from an instance"))
    }

    fn quoted(&mut self) -> &'a [u8] {
        const WHOLE: &str = "the JSON was written from an instance";
        // Texts are short: looking at each byte is quicker than setting out to look at many.
        let from = self.0.iter().position(|&b| b == b'"').expect(WHOLE);
        let mut end = from + 1;
        loop {
            end += self.0[end..].iter().position(|b| matches!(b, b'"' | b'\\')).expect(WHOLE);
            if self.0[end] == b'"' {
                break;
            }
            end += 2;
        }
        let quoted = &self.0[from..=end];
        self.0 = &self.0[end + 1..];
        quoted
    }

    /// Whether the value after the colon is a list or an object, and not `null`.
    fn open(&self, bracket: u8) -> bool {
        self.0.get(1) == Some(&bracket)
    }

    /// Whether another entry comes before the closing bracket.
    fn more(&self, bracket: u8) -> bool {
        self.0.first() != Some(&bracket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::instance::ServiceInstance;
    use crate::name::{InstanceId, ServiceName};
    use alloc::string::ToString;
    use alloc::vec::Vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_texts_are_those_of_the_instance() {
        let hostile = ["", "a", "\"", "\\", "},", "\":null", "]\u{2028}<&>", "支付", "\\\""];
        for one in hostile {
            let name = if one.is_empty() { "n" } else { one };
            let bare = ServiceInstance::new(ServiceName::new(name).unwrap(), InstanceId::new(name).unwrap());
            let full = bare
                .clone()
                .with_version(one)
                .with_metadata("first", one)
                .with_metadata(one, "last")
                .with_endpoint(Endpoint::foreign(one))
                .with_endpoint(Endpoint::foreign("http://h:1"));
            let no_metadata = bare.clone().with_endpoint(Endpoint::foreign(one));
            let no_endpoints = bare.clone().with_metadata("k", one);
            for instance in [bare, full, no_metadata, no_endpoints] {
                let packed = Instance::pack(&instance);
                assert_eq!(packed.version(), &*instance.version);
                let (mut pairs, mut endpoints) = (Vec::new(), Vec::new());
                assert!(!packed.any_metadata(&mut |key, value| {
                    pairs.push((key.to_string(), value.to_string()));
                    false
                }));
                assert!(!packed.any_endpoint(&mut |endpoint| {
                    endpoints.push(Endpoint::foreign(endpoint));
                    false
                }));
                assert!(pairs.into_iter().eq(instance.metadata.clone()), "{packed:?}");
                assert_eq!(endpoints, instance.endpoints);
                assert_eq!(packed.any_endpoint(&mut |_| true), !instance.endpoints.is_empty());
            }
        }
    }
}
