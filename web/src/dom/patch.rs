//! Makes what is in the page look like what is in the screen, by as few changes as it takes.

use periplus_core::ordered::sorted::SortedMap;

use js_sys::Reflect;
use smol_str::SmolStr;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Element, HtmlElement, Node as DomNode, Text};

use super::{document, handlers, settings};
use crate::html::{self, Node};

/// Something that is in the page, and what it was made to look like.
pub(super) enum Mounted {
    Text(Text, SmolStr),
    Element(Box<MountedElement>),
}

pub(super) struct MountedElement {
    dom: Element,
    /// What it looks like; its children are beside it.
    like: html::Parts,
    children: Vec<Mounted>,
    number: u32,
}

const SVG: &str = "http://www.w3.org/2000/svg";

impl Mounted {
    pub(super) fn dom(&self) -> &DomNode {
        match self {
            Self::Text(dom, _) => dom,
            Self::Element(it) => &it.dom,
        }
    }

    /// Whether it can be made to look like this.
    fn fits(&self, node: &Node) -> bool {
        match (self, node) {
            (Self::Text(..), Node::Text(_)) => true,
            (Self::Element(it), Node::Element(element)) => it.like.tag == element.tag && it.like.key == element.key,
            _ => false,
        }
    }

    fn key(&self) -> Option<&SmolStr> {
        match self {
            Self::Text(..) => None,
            Self::Element(it) => it.like.key.as_ref(),
        }
    }

    /// Takes it out of the page.
    fn remove(self) {
        if let Self::Element(it) = &self
            && it.like.tag == "dialog"
        {
            // Closed by its own means it gives the keyboard back to where it was.
            call(&it.dom, "close");
        }
        self.forget();
        if let Some(parent) = self.dom().parent_node() {
            let _ = parent.remove_child(self.dom());
        }
    }

    fn forget(&self) {
        if let Self::Element(it) = self {
            handlers::remove(it.number);
            it.children.iter().for_each(Self::forget);
        }
    }
}

/// Makes something that looks so. `svg`: it goes into a drawing.
pub(super) fn mount(node: &Node, svg: bool) -> Mounted {
    let document = document();
    let element = match node {
        Node::Text(text) => return Mounted::Text(document.create_text_node(text), text.clone()),
        Node::Element(element) => element,
    };
    let svg = svg || element.tag == "svg";
    let made =
        if svg { document.create_element_ns(Some(SVG), element.tag) } else { document.create_element(element.tag) };
    let dom = made.expect("tags are names");
    let number = handlers::set(&dom, 0, &element.on);
    let children: Vec<Mounted> = element.children.iter().map(|child| mount(child, svg)).collect();
    for child in &children {
        let _ = dom.append_child(child.dom());
    }
    // The value of a choice is one of what is in it by now.
    element.attributes.iter().for_each(|(name, value)| set(&dom, name, Some(value)));
    element.style.iter().for_each(|(name, value)| set_style(&dom, name, Some(value)));
    finish(&dom, element);
    Mounted::Element(Box::new(MountedElement { dom, like: bare(element), children, number }))
}

/// What is particular about some elements once they are in the page.
fn finish(dom: &Element, element: &html::Element) {
    match element.tag {
        "time" => settings::write_time(dom, element.attribute("datetime").unwrap_or_default()),
        // A window over the page can only be opened when it is in it.
        "dialog" => {
            let dialog = dom.clone();
            super::wire::soon(move || {
                if dialog.is_connected() && !dialog.has_attribute("open") {
                    call(&dialog, "showModal");
                }
            });
        }
        _ => {}
    }
}

fn bare(element: &html::Element) -> html::Parts {
    html::Parts {
        tag: element.tag,
        key: element.key.clone(),
        attributes: element.attributes.clone(),
        style: element.style.clone(),
        ..html::Parts::default()
    }
}

/// Makes what is there look so.
pub(super) fn patch(parent: &Element, mounted: &mut Mounted, node: &Node, svg: bool) {
    if !mounted.fits(node) {
        let new = mount(node, svg);
        let _ = parent.replace_child(new.dom(), mounted.dom());
        mounted.forget();
        *mounted = new;
        return;
    }
    match (mounted, node) {
        (Mounted::Text(dom, shown), Node::Text(text)) => {
            if shown != text {
                dom.set_data(text);
                *shown = text.clone();
            }
        }
        (Mounted::Element(it), Node::Element(element)) => {
            let svg = svg || element.tag == "svg";
            it.number = handlers::set(&it.dom, it.number, &element.on);
            if element.tag == "time" {
                // The page writes it in its own zone.
                if it.like.attributes != element.attributes {
                    it.like.attributes.clone_from(&element.attributes);
                    finish(&it.dom, element);
                }
                return;
            }
            patch_children(&it.dom, &mut it.children, &element.children, svg);
            if it.like.attributes != element.attributes {
                for (name, _) in &it.like.attributes {
                    if element.attribute(name).is_none() {
                        set(&it.dom, name, None);
                    }
                }
                for (name, value) in &element.attributes {
                    if it.like.attribute(name) != Some(value) {
                        set(&it.dom, name, Some(value));
                    }
                }
                it.like.attributes.clone_from(&element.attributes);
            } else {
                // What one has written or ticked is what the model says, even if that said so before.
                for (name, value) in element.attributes.iter().filter(|(name, _)| is_property(name)) {
                    set(&it.dom, name, Some(value));
                }
                if element.tag == "input" && element.attribute("checked").is_none() {
                    set(&it.dom, "checked", None);
                }
            }
            if it.like.style != element.style {
                for (name, value) in &element.style {
                    set_style(&it.dom, name, Some(value));
                }
                for (name, _) in &it.like.style {
                    if !element.style.iter().any(|(other, _)| other == name) {
                        set_style(&it.dom, name, None);
                    }
                }
                it.like.style.clone_from(&element.style);
            }
        }
        _ => unreachable!("it fits"),
    }
}

fn patch_children(dom: &Element, mounted: &mut Vec<Mounted>, nodes: &[Node], svg: bool) {
    // Nearly always they are the same ones in the same places.
    let same = mounted.iter().zip(nodes).take_while(|(mounted, node)| mounted.fits(node)).count();
    for (mounted, node) in mounted.iter_mut().zip(nodes).take(same) {
        patch(dom, mounted, node, svg);
    }
    if same == mounted.len() && same == nodes.len() {
        return;
    }
    let mut rest: Vec<Option<Mounted>> = mounted.drain(same..).map(Some).collect();
    let by_key: SortedMap<SmolStr, usize> =
        rest.iter().enumerate().filter_map(|(at, it)| Some((it.as_ref()?.key()?.clone(), at))).collect();
    // Those without a key are used in their order.
    let mut keyless = 0;
    for node in &nodes[same..] {
        let key = match node {
            Node::Element(element) => element.key.as_ref(),
            Node::Text(_) => None,
        };
        let at = match key {
            Some(key) => by_key.get(key).copied(),
            None => {
                let is_next = |it: &Option<Mounted>| it.as_ref().is_some_and(|it| it.key().is_none());
                let found = rest[keyless..].iter().position(is_next).map(|at| keyless + at);
                keyless = found.map_or(rest.len(), |at| at + 1);
                found
            }
        };
        let old = at.and_then(|at| rest[at].take_if(|it| it.fits(node)));
        let made = match old {
            Some(mut old) => {
                patch(dom, &mut old, node, svg);
                old
            }
            None => mount(node, svg),
        };
        mounted.push(made);
    }
    rest.into_iter().flatten().for_each(Mounted::remove);
    // From the end: whatever stands where it should is not moved.
    let mut after: Option<DomNode> = None;
    for child in mounted.iter().skip(same).rev() {
        let node = child.dom();
        let placed = node.parent_node().is_some_and(|parent| parent.is_same_node(Some(dom)));
        let next = node.next_sibling();
        let in_place = placed
            && match (&next, &after) {
                (None, None) => true,
                (Some(next), Some(after)) => next.is_same_node(Some(after)),
                _ => false,
            };
        if !in_place {
            let _ = dom.insert_before(node, after.as_ref());
        }
        after = Some(node.clone());
    }
}

/// What the browser keeps apart from the attribute of the same name once somebody has used it.
fn is_property(name: &str) -> bool {
    matches!(name, "value" | "checked" | "selected")
}

fn set(dom: &Element, name: &str, value: Option<&str>) {
    if is_property(name) && dom.tag_name() != "OPTION" {
        let value = match (name, value) {
            ("value", value) => JsValue::from_str(value.unwrap_or_default()),
            (_, value) => JsValue::from_bool(value.is_some()),
        };
        let name = JsValue::from_str(name);
        // Setting what is there already would move the caret.
        if Reflect::get(dom, &name).ok().as_ref() != Some(&value) {
            let _ = Reflect::set(dom, &name, &value);
        }
        return;
    }
    let _ = match value {
        Some(value) => dom.set_attribute(name, value),
        None => dom.remove_attribute(name),
    };
}

fn set_style(dom: &Element, name: &str, value: Option<&str>) {
    if let Some(dom) = dom.dyn_ref::<HtmlElement>() {
        let style = dom.style();
        let _ = match value {
            Some(value) => style.set_property(name, value),
            None => style.remove_property(name).map(drop),
        };
    }
}

/// Calls a method without arguments, if there is one.
fn call(dom: &Element, method: &str) {
    if let Ok(method) = Reflect::get(dom, &JsValue::from_str(method))
        && let Some(method) = method.dyn_ref::<js_sys::Function>()
    {
        let _ = method.call0(dom);
    }
}
