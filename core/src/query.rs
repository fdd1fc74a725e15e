//! Which instances somebody looks for, as a text that people write.
//!
//! A query is a list of terms with white space between them, and an instance matches if all of them hold. It is the same
//! in the dashboard, on the command line (`periplus find`) and over HTTP (`filter=`).
//!
//! | | |
//! |---|---|
//! | `pay` | `pay` is somewhere in the service's name, the id, the version, an endpoint, or a key or value of the metadata; ASCII letters in either case |
//! | `zone:north` | the zone is `north` |
//! | `zone:north,south` | one of these |
//! | `!zone:north`, `-zone:north`, `zone:!north` | it does not hold that the zone is `north`: also if there is no zone |
//! | `id:web-*` | `*` stands for any text, an empty one too |
//! | `meta.owner:*`, `!meta.owner:*` | there is, there is no `owner` in the metadata |
//! | `version:>=1.10`, `weight:<50`, `meta.shard:>3` | `>=`, `<=`, `>` and `<` |
//! | `meta.rule=!a,b*` | the value is `!a,b*`: after `=` nothing is special but quotes |
//! | `meta."on call":"Ann B"` | what has white space or special signs is quoted; in quotes, `\"` and `\\` |
//!
//! The keys:
//!
//! | | |
//! |---|---|
//! | `name` | the service's name |
//! | `id` | the instance's id |
//! | `version` | compares part by part: `1.9` is below `1.10`, `v2` is `2.0`, and `2.0-rc.1` below `2.0` |
//! | `zone` | short for `meta.zone` |
//! | `status` | `up`, `starting`, `draining` or `down` |
//! | `weight` | a whole number, if the instance gives itself one |
//! | `scheme` | of any endpoint |
//! | `endpoint` | the text of any endpoint, or a part of it; the whole of it after `=` or with a `*` |
//! | `meta.KEY` | the metadata's value; it compares as a number, if it is one as `-12.5` is |
//!
//! An instance without a version has none that could be matched: `!version:*` finds those.
//!
//! ```
//! use periplus_core::{Instance, InstanceId, Query, ServiceInstance, ServiceName};
//!
//! let instance = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new("web-1").unwrap())
//!     .with_version("v1.10.2")
//!     .with_metadata("zone", "north");
//! let instance = Instance::pack(&instance);
//!
//! let query: Query = "zone:north,south version:>=1.9 status:!draining".parse().unwrap();
//! assert!(query.matches(&instance));
//! assert_eq!(query.to_string(), "zone:north,south version:>=1.9 !status:draining");
//!
//! let text = "zone:north colour:red";
//! let error = text.parse::<Query>().unwrap_err();
//! assert_eq!(&text[error.range], "colour");
//! ```

mod error;
mod order;
mod parse;
mod pattern;
mod print;
mod subject;

use alloc::string::String;
use alloc::vec::Vec;

use smol_str::{SmolStr, ToSmolStr};

use crate::instance::{ServiceInstance, WEIGHT};
use crate::packed::Instance;
pub use error::{QueryError, QueryProblem};
use order::{Relation, numbers, versions};
use pattern::Pattern;
use subject::Subject;

/// The longest query there is, in bytes.
pub const LENGTH_LIMIT: usize = 1024;
/// The most terms that a query may have.
pub const TERMS_LIMIT: usize = 32;

/// A condition on instances that people write: see the [module](self) for the language.
///
/// Reads from text and prints as one: [`Display`](core::fmt::Display) writes a text that reads as an equal query. The
/// empty query has no terms, and everything matches it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Query(Vec<Term>);

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Term {
    negated: bool,
    key: Key,
    test: Test,
}

/// What of an instance is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    /// Every text, with capital letters of ASCII made small.
    Word,
    Name,
    Id,
    Version,
    Status,
    Weight,
    Scheme,
    Endpoint,
    Metadata(SmolStr),
}

/// What one of its texts has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Test {
    /// One of these.
    Among(Vec<Pattern>),
    /// A version on this side of the given one.
    Version(Relation, SmolStr),
    /// A number on this side of the given one.
    Number(Relation, SmolStr),
}

impl Query {
    /// The keys, as messages and completions name them; `meta.` goes on with a key of the metadata.
    pub const KEYS: [&str; 9] = ["name", "id", "version", "zone", "status", "weight", "scheme", "endpoint", "meta."];

    /// Whether the query has no terms, so that everything matches.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an instance matches. It is not unpacked, and almost nothing is allocated.
    ///
    /// Names, ids and statuses are at hand; every other term reads the instance's JSON up to what it looks for. Each
    /// pattern costs O(its length + the text's), so that the whole is O(terms × size) for queries as people write them,
    /// and O(length of the query × size) for those made to be slow.
    #[must_use]
    pub fn matches(&self, instance: &Instance) -> bool {
        self.holds(instance)
    }

    /// The same for an instance that is unpacked already.
    #[must_use]
    pub fn matches_unpacked(&self, instance: &ServiceInstance) -> bool {
        self.holds(instance)
    }

    fn holds(&self, subject: &dyn Subject) -> bool {
        self.0.iter().all(|term| term.found(subject) != term.negated)
    }
}

impl Term {
    fn found(&self, subject: &dyn Subject) -> bool {
        let mut passes = |text: &str| self.test.passes(text);
        match &self.key {
            Key::Word => self.found_anywhere(subject),
            Key::Name => passes(subject.name()),
            Key::Id => passes(subject.id()),
            Key::Version => {
                let version = subject.version();
                !version.is_empty() && passes(&version)
            }
            Key::Status => passes(subject.status().as_str()),
            Key::Weight => subject.any_pair(&mut |key, value| {
                key == WEIGHT && value.parse::<u32>().is_ok_and(|weight| self.test.passes(&weight.to_smolstr()))
            }),
            Key::Scheme => subject
                .any_endpoint(&mut |endpoint| endpoint.split_once("://").is_some_and(|(scheme, _)| passes(scheme))),
            Key::Endpoint => subject.any_endpoint(&mut passes),
            Key::Metadata(wanted) => subject.any_pair(&mut |key, value| wanted == key && passes(value)),
        }
    }

    fn found_anywhere(&self, subject: &dyn Subject) -> bool {
        let mut small = String::new();
        let mut passes = |text: &str| {
            small.clear();
            small.push_str(text);
            small.make_ascii_lowercase();
            self.test.passes(&small)
        };
        passes(subject.name())
            || passes(subject.id())
            || passes(&subject.version())
            || subject.any_pair(&mut |key, value| passes(key) || passes(value))
            || subject.any_endpoint(&mut passes)
    }
}

impl Test {
    fn passes(&self, text: &str) -> bool {
        match self {
            Self::Among(patterns) => patterns.iter().any(|pattern| pattern.matches(text)),
            Self::Version(relation, given) => relation.holds(versions(text, given)),
            Self::Number(relation, given) => numbers(text, given).is_some_and(|order| relation.holds(order)),
        }
    }
}
