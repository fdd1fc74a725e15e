//! Where one is: what the part of the address after `#` says, so that a screen can be kept, shared and gone back to.

use periplus_core::http::target::{Target, decode};
use smol_str::SmolStr;

/// A screen with all that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub page: Page,
    /// What it is told besides: a search, an order, a moment.
    args: Vec<(SmolStr, SmolStr)>,
}

/// A screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// Is something on fire?
    Overview,
    /// All services.
    Services,
    /// All instances.
    Instances,
    /// One service.
    Service(SmolStr),
    /// One instance.
    Instance(SmolStr, SmolStr),
    /// The fleet as it was.
    Time,
    /// Whom a client would get.
    Resolver,
    /// What looks wrong.
    Doctor,
}

impl Page {
    /// The screens that one can go to from everywhere.
    pub const MAIN: [Self; 6] =
        [Self::Overview, Self::Services, Self::Instances, Self::Time, Self::Resolver, Self::Doctor];

    const fn word(&self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Services => "services",
            Self::Instances => "instances",
            Self::Service(_) => "service",
            Self::Instance(..) => "instance",
            Self::Time => "time",
            Self::Resolver => "resolver",
            Self::Doctor => "doctor",
        }
    }
}

impl From<Page> for Route {
    fn from(page: Page) -> Self {
        Self { page, args: Vec::new() }
    }
}

impl Route {
    /// What it is told under this name; nothing, if it is not.
    #[must_use]
    pub fn arg(&self, name: &str) -> &str {
        self.args.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// The same, but told this.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<SmolStr>) -> Self {
        let value = value.into();
        self.args.retain(|(key, _)| key != name);
        if !value.is_empty() {
            self.args.push((name.into(), value));
        }
        self
    }

    /// Another screen, in the same namespace.
    #[must_use]
    pub fn to(&self, page: Page) -> Self {
        Self::from(page).with("ns", self.arg("ns"))
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self.arg("ns") {
            "" => "default",
            namespace => namespace,
        }
    }

    /// As the part of an address, `#` first.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut target = Target::new(&["/", self.page.word()].concat());
        match &self.page {
            Page::Service(name) => target = target.segment(name),
            Page::Instance(name, id) => target = target.segment(name).segment(id),
            _ => {}
        }
        for (key, value) in &self.args {
            target = target.query(key, value);
        }
        target.url("#")
    }

    /// What such a part of an address names; the overview, if nothing.
    #[must_use]
    pub fn parse(hash: &str) -> Self {
        let hash = hash.strip_prefix('#').unwrap_or(hash);
        let (path, query) = hash.split_once('?').unwrap_or((hash, ""));
        let mut segments = path.trim_matches('/').split('/').map(|segment| decode(segment).unwrap_or_default());
        let word = segments.next().unwrap_or_default();
        let mut name = || segments.next().filter(|name| !name.is_empty()).map(SmolStr::from);
        let page = match word.as_str() {
            "service" => name().map(Page::Service),
            "instance" => name().zip(name()).map(|(name, id)| Page::Instance(name, id)),
            word => Page::MAIN.into_iter().find(|page| page.word() == word),
        };
        let mut route = Self::from(page.unwrap_or(Page::Overview));
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).unwrap_or_default();
            if !key.is_empty() {
                route = route.with(key, value);
            }
        }
        route
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_its_address_says() {
        let odd: SmolStr = "a/b c?&=#%+é".into();
        for page in Page::MAIN.into_iter().chain([Page::Service(odd.clone()), Page::Instance(odd.clone(), odd.clone())])
        {
            let route = Route::from(page).with("q", odd.clone()).with("ns", "prod");
            assert_eq!(Route::parse(&route.hash()), route, "{}", route.hash());
            assert_eq!(route.namespace(), "prod");
        }
    }

    #[test]
    fn what_names_nothing_is_the_overview() {
        for hash in ["", "#", "#/", "#/nowhere", "#/service", "#/instance/only", "#?", "#/%ff"] {
            assert_eq!(Route::parse(hash).page, Page::Overview, "{hash}");
        }
    }

    #[test]
    fn an_empty_argument_is_none() {
        let route = Route::from(Page::Services).with("q", "a").with("q", "");
        assert_eq!(route, Route::from(Page::Services));
        assert_eq!(route.hash(), "#/services");
    }
}
