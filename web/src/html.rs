//! What a screen looks like, as plain data.
//!
//! Screens are values: they can be made, compared and read in a native test, and the browser is only asked to make its
//! page look like them. What they show is text or the value of an attribute, never markup, so that a name from the
//! fleet is inert whatever is in it.

use std::ops::{Deref, DerefMut};

use smol_str::SmolStr;

use crate::update::Msg;

/// Something on a screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Text.
    Text(SmolStr),
    /// An element.
    Element(Element),
}

/// An element, built by its methods. It is a pointer to its parts: screens hand it on all the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Element(Box<Parts>);

/// What an element is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Its tag.
    pub tag: &'static str,
    /// What it is known by among its siblings, if those come and go.
    pub key: Option<SmolStr>,
    /// Attributes, and properties of the same names.
    pub attributes: Vec<(&'static str, SmolStr)>,
    /// Properties of its style.
    pub style: Vec<(&'static str, SmolStr)>,
    /// What happens when it is used.
    pub on: Vec<(On, Handler)>,
    /// What is in it.
    pub children: Vec<Node>,
}

/// What can be done with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// It is clicked, or chosen with the keyboard.
    Click,
    /// Its value changes, letter by letter.
    Input,
    /// Its value has changed.
    Change,
    /// It is sent off.
    Submit,
    /// It is dismissed by the browser's own means.
    Close,
}

/// What comes of it.
#[derive(Clone, Debug)]
pub enum Handler {
    /// This.
    Tell(Msg),
    /// What its value makes of it.
    Value(fn(SmolStr) -> Msg),
    /// The same, about the thing that has this name.
    Named(SmolStr, fn(SmolStr, SmolStr) -> Msg),
}

impl PartialEq for Handler {
    /// Two handlers that are made of functions are taken for the same: where a screen has another function at the same
    /// place, it has another element there.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tell(a), Self::Tell(b)) => a == b,
            (Self::Value(_), Self::Value(_)) => true,
            (Self::Named(a, _), Self::Named(b, _)) => a == b,
            _ => false,
        }
    }
}

/// An element without anything.
pub fn h(tag: &'static str) -> Element {
    Element(Box::new(Parts { tag, ..Parts::default() }))
}

/// An element of a class.
pub fn c(tag: &'static str, class: &'static str) -> Element {
    h(tag).class(class)
}

/// An element with nothing but text.
pub fn t(tag: &'static str, text: impl Into<SmolStr>) -> Element {
    h(tag).text(text)
}

impl Parts {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str())
    }
}

impl Deref for Element {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Element {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Element {
    /// With this attribute.
    pub fn attr(self, name: &'static str, value: impl Into<SmolStr>) -> Self {
        self.put(name, value.into())
    }

    fn put(mut self, name: &'static str, value: SmolStr) -> Self {
        self.attributes.push((name, value));
        self
    }

    /// With this attribute, which has no value, if that is so.
    pub fn flag(self, name: &'static str, on: bool) -> Self {
        if on { self.attr(name, SmolStr::default()) } else { self }
    }

    /// Of this class.
    pub fn class(self, class: impl Into<SmolStr>) -> Self {
        self.attr("class", class)
    }

    /// With this property of its style.
    pub fn styled(mut self, name: &'static str, value: impl Into<SmolStr>) -> Self {
        self.style.push((name, value.into()));
        self
    }

    /// Known by this among its siblings.
    pub fn key(mut self, key: impl Into<SmolStr>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this in it, after what is in it already.
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    /// With this in it, if it is there.
    pub fn maybe(self, child: Option<Self>) -> Self {
        match child {
            Some(child) => self.child(child),
            None => self,
        }
    }

    /// With all these in it.
    pub fn all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        for child in children {
            self = self.child(child);
        }
        self
    }

    /// With this text in it.
    pub fn text(self, text: impl Into<SmolStr>) -> Self {
        self.put_text(text.into())
    }

    fn put_text(mut self, text: SmolStr) -> Self {
        self.children.push(Node::Text(text));
        self
    }

    /// Something happens when it is used so.
    pub fn on(mut self, on: On, handler: Handler) -> Self {
        self.on.push((on, handler));
        self
    }

    /// This happens when it is clicked.
    pub fn click(self, msg: Msg) -> Self {
        self.on(On::Click, Handler::Tell(msg))
    }

    /// All text in it, as a reader gets it.
    #[must_use]
    pub fn all_text(&self) -> String {
        let mut out = String::new();
        self.gather(&mut out);
        out
    }

    fn gather(&self, out: &mut String) {
        for child in &self.children {
            match child {
                Node::Text(text) => {
                    if !out.is_empty() && !out.ends_with(' ') {
                        out.push(' ');
                    }
                    out.push_str(text);
                }
                Node::Element(element) => element.gather(out),
            }
        }
    }

    /// The elements in it, itself first, outer before inner.
    #[must_use]
    pub fn descendants(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut at = 0;
        while let Some(element) = found.get(at).copied() {
            found.extend(element.children.iter().filter_map(|child| match child {
                Node::Element(element) => Some(element),
                Node::Text(_) => None,
            }));
            at += 1;
        }
        found
    }
}

impl From<Element> for Node {
    fn from(element: Element) -> Self {
        Self::Element(element)
    }
}
