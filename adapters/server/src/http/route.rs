//! Which request is which operation: one table for the router, the metrics and the API document.

use http::Method;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Operation {
    Renew,
    Register,
    Update,
    Deregister,
    List,
    Watch,
    WatchMany,
    Instance,
    Services,
    Instances,
    Overlay,
    ClearOverlay,
    Evict,
    Settle,
    Namespaces,
    Overlays,
    Leases,
    Watches,
    Applied,
    Status,
    Trends,
    History,
    Events,
    Targets,
    Alive,
    Ready,
    Metrics,
    Document,
    Page,
    Asset,
}

/// In which order operations are refused when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Refused first: a watch lasts.
    Watch,
    /// Refused second.
    Query,
    /// Refused third.
    Registration,
    /// Never refused: they keep or free what is there, or say how things are.
    Vital,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) method: Method,
    /// The path's segments; those in braces match anything.
    pub(super) path: &'static [&'static str],
    /// Its name in metrics and in the API document.
    pub(super) name: &'static str,
    pub(super) class: Class,
}

macro_rules! routes {
    ($($operation:ident $method:ident $class:ident $name:literal [$($segment:literal)/+])*) => {
        /// Every operation, the busiest first.
        pub(super) static ROUTES: [Route; [$(stringify!($operation)),*].len()] = [$(Route {
            operation: Operation::$operation,
            method: Method::$method,
            path: &[$($segment),+],
            name: $name,
            class: Class::$class,
        }),*];
    };
}

routes! {
    Renew POST Vital "renew" ["v1" / "leases" / "renew"]
    Register PUT Registration "register" ["v1" / "services" / "{service}" / "instances" / "{id}"]
    Update PATCH Registration "update" ["v1" / "services" / "{service}" / "instances" / "{id}"]
    Deregister DELETE Vital "deregister" ["v1" / "services" / "{service}" / "instances" / "{id}"]
    List GET Query "list" ["v1" / "services" / "{service}"]
    Watch GET Watch "watch" ["v1" / "watch"]
    WatchMany POST Watch "watch_many" ["v1" / "watch"]
    Instance GET Query "instance" ["v1" / "services" / "{service}" / "instances" / "{id}"]
    Services GET Query "services" ["v1" / "services"]
    Instances GET Query "instances" ["v1" / "instances"]
    Overlay PATCH Registration "overlay" ["v1" / "services" / "{service}" / "instances" / "{id}" / "overlay"]
    ClearOverlay DELETE Vital "clear_overlay" ["v1" / "services" / "{service}" / "instances" / "{id}" / "overlay"]
    Evict POST Vital "evict" ["v1" / "services" / "{service}" / "instances" / "{id}" / "evict"]
    Settle POST Vital "settle" ["v1" / "settle"]
    Namespaces GET Query "namespaces" ["v1" / "namespaces"]
    Overlays GET Query "overlays" ["v1" / "overlays"]
    Leases GET Query "leases" ["v1" / "services" / "{service}" / "leases"]
    Watches GET Query "watches" ["v1" / "watches"]
    Applied POST Vital "applied" ["v1" / "watches" / "applied"]
    Status GET Vital "status" ["v1" / "status"]
    Trends GET Query "trends" ["v1" / "trends"]
    History GET Query "history" ["v1" / "history"]
    Events GET Query "events" ["v1" / "events"]
    Targets GET Query "targets" ["v1" / "targets"]
    Alive GET Vital "alive" ["healthz"]
    Ready GET Vital "ready" ["readyz"]
    Metrics GET Vital "metrics" ["metrics"]
    Document GET Vital "document" ["openapi.json"]
    Page GET Vital "page" [""]
    Asset GET Vital "asset" ["dashboard" / "{file}"]
}

/// What a path and a method come to.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// The route, its place in the table, and the encoded segments that stand for names.
    Route(&'static Route, usize, [&'a str; 2]),
    /// The path exists for these methods only.
    OtherMethods(String),
    Nothing,
}

/// The most segments of any path.
const SEGMENTS: usize = 6;

/// Finds the route of a request. A `HEAD` is a `GET` whose body is not sent.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let Some(rest) = path.strip_prefix('/') else {
        return Found::Nothing;
    };
    let mut segments = [""; SEGMENTS];
    let mut count = 0;
    for segment in rest.split('/') {
        let Some(place) = segments.get_mut(count) else {
            return Found::Nothing;
        };
        *place = segment;
        count += 1;
    }
    let segments = &segments[..count];
    let on_path = || {
        let routes = ROUTES.iter().enumerate();
        routes.filter_map(|(at, route)| Some((at, route, names(route.path, segments)?)))
    };
    if let Some((at, route, names)) = on_path().find(|(_, route, _)| route.method == *method) {
        return Found::Route(route, at, names);
    }
    let allowed: Vec<&str> = on_path().map(|(_, route, _)| route.method.as_str()).collect();
    if allowed.is_empty() { Found::Nothing } else { Found::OtherMethods(allowed.join(", ")) }
}

fn names<'a>(path: &[&str], segments: &[&'a str]) -> Option<[&'a str; 2]> {
    if path.len() != segments.len() {
        return None;
    }
    let mut names = [""; 2];
    let mut count = 0;
    for (pattern, &segment) in path.iter().zip(segments) {
        if pattern.starts_with('{') {
            names[count] = segment;
            count += 1;
        } else if *pattern != segment {
            return None;
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path() {
        for (place, route) in ROUTES.iter().enumerate() {
            let path = format!("/{}", route.path.join("/"));
            match find(&route.method, &path) {
                Found::Route(found, at, _) => {
                    assert_eq!((found.operation, at), (route.operation, place));
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn names_are_the_segments_in_braces() {
        let found = find(&Method::PUT, "/v1/services/a%2Fb/instances/c");
        assert!(matches!(found, Found::Route(_, 1, ["a%2Fb", "c"])));
    }

    #[test]
    fn another_method_and_another_path_are_told_apart() {
        assert!(matches!(
            find(&Method::PUT, "/v1/leases/renew"),
            Found::OtherMethods(allowed) if allowed == "POST"
        ));
        for path in ["", "/", "/v1", "/v1/services/", "/v1/services/a/", "//healthz", "/a/b/c/d/e/f/g"] {
            // An empty segment is a name that is refused later, with a word on which.
            let found = find(&Method::GET, path);
            let empty_name = matches!(found, Found::Route(_, _, ["", ""]));
            assert!(matches!(found, Found::Nothing) || empty_name, "{path}");
        }
    }
}
