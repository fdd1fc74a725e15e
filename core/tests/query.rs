//! Queries: what examples find, what is refused and where, and that any query finds what a naive reading of it finds.

use periplus_core::query::{LENGTH_LIMIT, QueryProblem, TERMS_LIMIT};
use periplus_core::{Endpoint, Instance, InstanceId, Query, ServiceInstance, ServiceName, Status};
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 256 } else { 4_096 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn instance(service: &str, id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new(service).unwrap(), InstanceId::new(id).unwrap())
}

fn fleet() -> Vec<ServiceInstance> {
    let endpoint = |text: &str| Endpoint::new(text).unwrap();
    vec![
        instance("web", "web-1")
            .with_version("v1.9.0")
            .with_metadata("zone", "north")
            .with_metadata("weight", "10")
            .with_metadata("owner", "pay")
            .with_endpoint(endpoint("http://10.0.0.1:8000"))
            .with_endpoint(endpoint("grpc://10.0.0.1:9000")),
        instance("web", "web-2")
            .with_version("v1.10.0")
            .with_metadata("zone", "south")
            .with_metadata("status", "draining")
            .with_metadata("on call", "Ann B")
            .with_endpoint(endpoint("http://10.0.0.2:8000")),
        instance("payments", "p-1")
            .with_version("1.10.0-rc.1")
            .with_metadata("zone", "north")
            .with_metadata("shard", "-2.5")
            .with_metadata("rule", "!a,b*")
            .with_endpoint(endpoint("grpc://10.0.1.1:9000")),
        instance("支付", "z\"1").with_metadata("owner", "").with_metadata("status", "starting"),
    ]
}

/// The ids of those in the fleet that match, packed and unpacked.
fn found(query: &str) -> Vec<String> {
    let query: Query = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
    let matching = fleet().into_iter().filter(|instance| {
        let matches = query.matches_unpacked(instance);
        assert_eq!(query.matches(&Instance::pack(instance)), matches, "{query} {instance:?}");
        matches
    });
    matching.map(|instance| instance.id.to_string()).collect()
}

#[test]
fn queries_find_what_they_say() {
    #[rustfmt::skip]
    let golden: &[(&str, &[&str])] = &[
        ("", &["web-1", "web-2", "p-1", "z\"1"]),
        ("  \t ", &["web-1", "web-2", "p-1", "z\"1"]),
        ("*", &["web-1", "web-2", "p-1", "z\"1"]),
        // Words.
        ("pay", &["web-1", "p-1"]),
        ("PAY", &["web-1", "p-1"]),
        ("ann", &["web-2"]),
        ("\"on call\"", &["web-2"]),
        ("10.0.0.", &["web-1", "web-2"]),
        ("\"http://10.0.0.1:8000\"", &["web-1"]),
        ("支", &["z\"1"]),
        ("web*2", &["web-2"]),
        ("web -draining", &["web-1"]),
        ("!pay", &["web-2", "z\"1"]),
        ("\"!a,b*\"", &["p-1"]),
        // Names and ids.
        ("name:web", &["web-1", "web-2"]),
        ("name:we", &[]),
        ("name:web,payments", &["web-1", "web-2", "p-1"]),
        ("id:web-*", &["web-1", "web-2"]),
        ("id:*-1", &["web-1", "p-1"]),
        ("id:\"web-*\"", &[]),
        (r#"id:"z\"1""#, &["z\"1"]),
        // Versions.
        ("version:v1.9.0", &["web-1"]),
        ("version:1.9.0", &[]),
        ("version:>=1.10", &["web-2"]),
        ("version:<1.10", &["web-1", "p-1"]),
        ("version:>1.9 version:<=v1.10", &["web-2", "p-1"]),
        ("version:!>=1.10", &["web-1", "p-1", "z\"1"]),
        ("version:*", &["web-1", "web-2", "p-1"]),
        ("!version:*", &["z\"1"]),
        // Zones, statuses, weights.
        ("zone:north", &["web-1", "p-1"]),
        ("zone:north,south", &["web-1", "web-2", "p-1"]),
        ("zone:!north", &["web-2", "z\"1"]),
        ("!zone:north,south", &["z\"1"]),
        ("!zone:!north", &["web-1", "p-1"]),
        ("meta.zone:north", &["web-1", "p-1"]),
        ("status:up", &["web-1", "p-1"]),
        ("status:!up", &["web-2", "z\"1"]),
        ("status:draining,down", &["web-2"]),
        ("weight:10", &["web-1"]),
        ("weight:010", &["web-1"]),
        ("weight:>=10.0", &["web-1"]),
        ("weight:<10", &[]),
        ("!weight:*", &["web-2", "p-1", "z\"1"]),
        // Endpoints.
        ("scheme:grpc", &["web-1", "p-1"]),
        ("scheme:http*", &["web-1", "web-2"]),
        ("endpoint:10.0.0.1", &["web-1"]),
        ("endpoint:10.0.0.1:9000", &["web-1"]),
        ("endpoint:http://*", &["web-1", "web-2"]),
        ("endpoint:*:9000", &["web-1", "p-1"]),
        ("endpoint=http://10.0.0.2:8000", &["web-2"]),
        ("endpoint=10.0.0.2", &[]),
        // Metadata.
        ("meta.owner=pay", &["web-1"]),
        ("meta.owner:*", &["web-1", "z\"1"]),
        ("!meta.owner:*", &["web-2", "p-1"]),
        ("meta.owner:\"\"", &["z\"1"]),
        ("meta.owner:pay,\"\"", &["web-1", "z\"1"]),
        ("meta.\"on call\":\"Ann B\"", &["web-2"]),
        ("\"meta.on call\":Ann*", &["web-2"]),
        ("meta.shard:>-3", &["p-1"]),
        ("meta.shard:<-2.50", &[]),
        ("meta.owner:>0", &[]),
        ("meta.rule=!a,b*", &["p-1"]),
        ("meta.rule:\"!a,b*\"", &["p-1"]),
        // Several.
        ("name:web zone:south status:draining", &["web-2"]),
        ("name:web zone:north\n!pay", &[]),
    ];
    for (query, ids) in golden {
        assert_eq!(found(query), *ids, "{query}");
    }
}

#[test]
fn a_query_prints_as_its_canonical_text() {
    for (query, canonical) in [
        ("", ""),
        ("  Pay\tzone:a ", "pay zone:a"),
        ("-zone:a status:!up !id:!x", "!zone:a !status:up id:x"),
        ("meta.zone:a meta.owner=pay", "zone:a meta.owner:pay"),
        ("meta.rule=!a,b*", "meta.rule:\"!a,b*\""),
        ("id:a**b,*,**", "id:a*b,*,*"),
        ("** *a* \"-x\" web-1", "* a \"-x\" web-1"),
        ("endpoint:*10.0* endpoint=10.0 endpoint:10*", "endpoint:10.0 endpoint=10.0 endpoint:10*"),
        ("weight:007,* weight:<5.0", "weight:7,* weight:<5.0"),
        (r#"id:a" "b meta."a:\"\\b":"""#, r#"id:"a b" meta."a:\"\\b":"""#),
        ("version:!<\"<1\"", "!version:<\"<1\""),
    ] {
        let parsed: Query = query.parse().unwrap();
        assert_eq!(parsed.to_string(), canonical, "{query}");
        assert_eq!(canonical.parse(), Ok(parsed), "{query}");
    }
}

#[test]
fn a_text_that_is_no_query_is_refused_with_the_place_and_what_to_do() {
    for (query, place, hint) in [
        ("zone:a colour:red", "colour", "there is no key \"colour\": use name, id, version"),
        ("http://a:1", "http", "put in quotes"),
        ("a=b", "a", "there is no key"),
        ("meta.:a", "meta.", "meta.KEY"),
        ("meta.a*:b", "meta.a*", "there is no key"),
        (":a", "", "there is no key \"\""),
        ("Zone:a", "Zone", "there is no key"),
        ("zone:", ":", "zone has an empty value"),
        ("zone: a", ":", "zone:* for any value"),
        ("meta.x:a,,b", ",", "meta.x has an empty value"),
        ("meta.x=", "=", "an empty value of metadata is \"\""),
        ("id:a,\"\"", "\"\"", "id has an empty value"),
        ("version:>=", ">=", "version has an empty value"),
        ("!", "!", "there is no text to look for"),
        ("\"\"", "\"\"", "there is no text to look for"),
        ("status:up,Running", "Running", "use up, starting, draining or down"),
        ("status:d*", "d*", "is no status"),
        ("status=*", "*", "is no status"),
        ("weight:heavy", "heavy", "\"heavy\" is no number for weight"),
        ("weight:1*", "1*", "is no number"),
        ("weight:>=1e3", "1e3", "is no number"),
        ("weight:-1", "-1", "is no number"),
        ("meta.x:<abc", "abc", "\"abc\" is no number for meta.x"),
        ("zone:ok id:>=a", ">=", "id has no order"),
        ("status:<up", "<", "only version, weight and meta.KEY"),
        ("version:>=1,<2", ">=1", "version:>=1 version:<2"),
        ("version:>1*", ">1*", "a comparison has one value"),
        ("!!a", "!", "'!' means nothing here"),
        ("!-a", "-", "'-' means nothing here"),
        ("zone:!!a", "!", "'!' means nothing here"),
        ("zone:!=a", "=", "'=' means nothing here"),
        ("zone:a,!b", "!", "put in quotes"),
        ("version:>>1", ">", "'>' means nothing here"),
        ("a id:\"b c", "\"b c", "close it"),
        ("\"a\\n\"", "\\n", "write it twice"),
        ("\"a\\", "\\", "write it twice"),
    ] {
        let error = query.parse::<Query>().expect_err(query);
        assert_eq!(&query[error.range.clone()], place, "{query}: {error}");
        let message = error.to_string();
        assert!(message.contains(hint), "{query}: {message}");
        assert!(message.ends_with(&format!("(bytes {} to {})", error.range.start, error.range.end)), "{message}");
    }
}

#[test]
fn a_query_has_bounds_on_its_length_and_its_terms() {
    let long = "a".repeat(LENGTH_LIMIT);
    assert!(long.parse::<Query>().is_ok());
    let longer = format!("{}ü", &long[1..]);
    let error = longer.parse::<Query>().unwrap_err();
    assert_eq!(error.problem, QueryProblem::Length { len: LENGTH_LIMIT + 1 });
    assert_eq!(&longer[error.range], "ü");
    let many = "a ".repeat(TERMS_LIMIT);
    assert!(many.parse::<Query>().is_ok());
    let error = format!("{many}bc").parse::<Query>().unwrap_err();
    assert_eq!((error.problem, error.range), (QueryProblem::Terms, many.len()..many.len() + 2));
}

#[test]
fn only_a_query_without_terms_is_empty() {
    assert!(Query::default().is_empty() && " ".parse::<Query>().unwrap().is_empty());
    assert!(!"*".parse::<Query>().unwrap().is_empty());
}

#[test]
fn wildcards_cost_no_more_than_the_text_is_long() {
    let slow = instance("web", "a").with_metadata("k", "a".repeat(60_000));
    let query = format!("meta.k:{}b*", "a*".repeat(400)).parse::<Query>().unwrap();
    assert!(!query.matches(&Instance::pack(&slow)));
}

/// Where a pattern matches, by trying everything.
fn naive_glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| naive_glob(rest, &text[at..])),
        [c, rest @ ..] => text.first() == Some(c) && naive_glob(rest, &text[1..]),
    }
}

/// A term as its maker means it.
#[derive(Clone, Debug)]
struct Meant {
    negated: bool,
    key: &'static str,
    test: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    /// Patterns whose stars are wildcards.
    Patterns(Vec<String>),
    /// A text taken literally.
    Exactly(String),
    /// A sign, and a number or the parts of a version.
    Order(&'static str, Vec<u8>),
}

const KEYS: [&str; 10] = ["", "name", "id", "version", "zone", "status", "weight", "scheme", "endpoint", "meta.k k"];

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Meant {
    /// The term as text, with everything quoted that may be.
    fn text(&self) -> String {
        let sign = if self.negated { "!" } else { "" };
        let pattern = |pattern: &String| {
            let parts = pattern.split('*').map(|part| if part.is_empty() { String::new() } else { quoted(part) });
            parts.collect::<Vec<_>>().join("*")
        };
        match (&self.test, self.key) {
            (Wanted::Patterns(patterns), "") => format!("{sign}{}", pattern(&patterns[0])),
            (Wanted::Patterns(patterns), key) => {
                let patterns: Vec<_> = patterns.iter().map(pattern).collect();
                format!("{sign}{}:{}", quoted(key), patterns.join(","))
            }
            (Wanted::Exactly(text), key) => format!("{sign}{key}={}", quoted(text)).replace("k k", "\"k k\""),
            (Wanted::Order(sign_of, parts), key) => {
                let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
                format!("{sign}{}:{sign_of}{}", quoted(key), parts.join("."))
            }
        }
    }

    fn holds(&self, instance: &ServiceInstance) -> bool {
        let metadata = |key: &str| instance.metadata.get(key).cloned().into_iter().collect::<Vec<_>>();
        let endpoints: Vec<String> = instance.endpoints.iter().map(ToString::to_string).collect();
        let texts: Vec<String> = match self.key {
            "" => {
                let pairs = instance.metadata.iter().flat_map(|(key, value)| [key.clone(), value.clone()]);
                let names = [instance.name.to_string(), instance.id.to_string(), instance.version.to_string()];
                names.into_iter().chain(pairs).chain(endpoints).map(|text| text.to_ascii_lowercase()).collect()
            }
            "name" => vec![instance.name.to_string()],
            "id" => vec![instance.id.to_string()],
            "version" => Some(instance.version.to_string()).filter(|version| !version.is_empty()).into_iter().collect(),
            "zone" => metadata("zone"),
            "status" => vec![instance.status().to_string()],
            "weight" => instance.weight().map(|weight| weight.to_string()).into_iter().collect(),
            "scheme" => endpoints.iter().map(|it| it.split("://").next().unwrap().to_owned()).collect(),
            "endpoint" => endpoints,
            _ => metadata("k k"),
        };
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let found = texts.iter().any(|text| match &self.test {
            Wanted::Patterns(patterns) => patterns.iter().any(|pattern| {
                let anywhere = self.key.is_empty() || (self.key == "endpoint" && !pattern.contains('*'));
                let pattern = if anywhere { format!("*{pattern}*") } else { pattern.clone() };
                let pattern = if self.key.is_empty() { pattern.to_ascii_lowercase() } else { pattern };
                naive_glob(&chars(&pattern), &chars(text))
            }),
            Wanted::Exactly(wanted) => wanted == text,
            Wanted::Order(sign, given) => {
                let numbers: Option<Vec<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
                let Some(mut numbers) = numbers.filter(|numbers| self.key == "version" || numbers.len() == 1) else {
                    // The only texts of the tests that are no numbers.
                    return self.key == "version" && sign.starts_with('>');
                };
                let mut given: Vec<u64> = given.iter().map(|&part| part.into()).collect();
                numbers.resize(4, 0);
                given.resize(4, 0);
                match *sign {
                    ">=" => numbers >= given,
                    "<=" => numbers <= given,
                    ">" => numbers > given,
                    _ => numbers < given,
                }
            }
        });
        found != self.negated
    }
}

/// Short texts that meet each other often, and some that need care.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[abAB]{1,3}",
        2 => prop::sample::select(vec!["!", "-a", "<a", "=", "a b", ",", "\"", "\\", "a:b", "支", "<&>", "\u{2028}", "{}"])
            .prop_map(String::from),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    vec(prop_oneof![2 => piece(), 1 => Just("*".to_owned())], 1..5).prop_map(|pieces| pieces.concat())
}

fn meant() -> impl Strategy<Value = Meant> {
    let order = (prop::sample::select(vec![">=", "<=", ">", "<"]), vec(0..3u8, 1..4));
    let status = prop::sample::select(Status::ALL.to_vec());
    let any = (any::<bool>(), prop::sample::select(KEYS.to_vec()), vec(pattern(), 1..3), piece(), order, status);
    (any, 0..4u8, 0..3u8).prop_map(|((negated, key, mut patterns, text, (sign, parts), status), kind, number)| {
        let test = match (key, kind) {
            ("version", 0) => Wanted::Order(sign, parts),
            ("weight" | "meta.k k", 0) => Wanted::Order(sign, parts[..1].to_vec()),
            ("status", 1) => Wanted::Exactly(status.to_string()),
            ("status", _) => Wanted::Patterns(vec![status.to_string(), "up".into()]),
            ("weight", 1) => Wanted::Patterns(vec!["*".into()]),
            ("weight", _) => Wanted::Patterns(vec![number.to_string()]),
            (key, 1) if !key.is_empty() => Wanted::Exactly(text),
            _ => {
                patterns.truncate(if key.is_empty() { 1 } else { 2 });
                Wanted::Patterns(patterns)
            }
        };
        Meant { negated, key, test }
    })
}

fn version() -> impl Strategy<Value = String> {
    let numbers = vec(0..3u8, 1..4);
    prop_oneof![
        3 => numbers.prop_map(|parts| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")),
        1 => "[ab]{0,2}",
    ]
}

fn any_instance() -> impl Strategy<Value = ServiceInstance> {
    let pairs = vec((prop::sample::select(vec!["zone", "k k", "status", "weight", "a"]), value()), 0..5);
    let endpoints = vec(prop::sample::select(vec!["a://b:1", "ab://a:2", "b://ab:1/a", "A://a:1"]), 0..3);
    (piece(), piece(), version(), pairs, endpoints).prop_map(|(service, id, version, pairs, endpoints)| {
        let bare = instance(&service, &id).with_version(version);
        let full = pairs.into_iter().fold(bare, |instance, (key, value)| instance.with_metadata(key, value));
        endpoints.into_iter().fold(full, |instance, text| instance.with_endpoint(Endpoint::foreign(text)))
    })
}

fn value() -> impl Strategy<Value = String> {
    let status = prop::sample::select(Status::ALL.to_vec()).prop_map(|status| status.to_string());
    prop_oneof![3 => piece(), 1 => Just(String::new()), 1 => (0..3u8).prop_map(|n| n.to_string()), 1 => status]
}

/// Texts made of what means something to the parser.
fn text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        12 => prop::sample::select(vec![
            "name", "id", "version", "zone", "status", "weight", "scheme", "endpoint", "meta.", "meta.k", ":", "=", "!",
            "-", ">=", "<=", "<", ">", "*", ",", "\"", "\\", " ", "\u{3000}", "a", "up", "10", "1.2", "支",
        ])
        .prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_query_finds_what_a_naive_reading_of_it_finds(terms in vec(meant(), 0..3), instance in any_instance()) {
        let text = terms.iter().map(Meant::text).collect::<Vec<_>>().join(" ");
        let query: Query = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        let expected = terms.iter().all(|term| term.holds(&instance));
        prop_assert_eq!(query.matches_unpacked(&instance), expected, "{}", text);
        prop_assert_eq!(query.matches(&Instance::pack(&instance)), expected, "{}", text);
        let canonical = query.to_string();
        prop_assert_eq!(canonical.parse(), Ok(query), "{}", canonical);
    }

    #[test]
    fn whatever_is_a_query_prints_as_one_and_whatever_is_none_has_its_place(text in text()) {
        match text.parse::<Query>() {
            Ok(query) => {
                let canonical = query.to_string();
                let again: Query = canonical.parse().map_err(|e| TestCaseError::fail(format!("{text}: {canonical}: {e}")))?;
                prop_assert_eq!(&again, &query, "{} {}", text, canonical);
                prop_assert_eq!(again.to_string(), canonical);
            }
            Err(error) => {
                prop_assert!(text.get(error.range.clone()).is_some(), "{}: {:?}", text, error);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(error) = text.parse::<Query>() {
            prop_assert!(text.get(error.range).is_some());
        }
    }

    #[test]
    fn wildcards_match_what_trying_everything_matches(pattern in "[ab*]{1,8}", text in "[ab]{0,10}") {
        let query: Query = format!("meta.k:{pattern}").parse().unwrap();
        let naive = naive_glob(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
        prop_assert_eq!(query.matches_unpacked(&instance("a", "a").with_metadata("k", text)), naive);
    }
}
