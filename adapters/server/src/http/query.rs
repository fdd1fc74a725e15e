//! Names and options out of a request's path and query.

use std::borrow::Cow;

use periplus_core::{InstanceId, Key, Namespace, Query as Filter, ServiceKey, ServiceName};

use super::problem::Problem;

/// Decodes percent escapes once; in a query, `+` is a space.
fn decode<'a>(text: &'a str, plus: bool, field: &'static str) -> Result<Cow<'a, str>, Problem> {
    let plain = |b: u8| b != b'%' && !(plus && b == b'+');
    if text.bytes().all(plain) {
        return Ok(Cow::Borrowed(text));
    }
    let broken = || {
        let message = format!("{field} is not percent-encoded UTF-8");
        Problem::invalid("invalid_encoding", field, message)
    };
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                let (high, low) = (digit().ok_or_else(broken)?, digit().ok_or_else(broken)?);
                out.push((high * 16 + low) as u8);
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| broken())
}

/// What this server asks of names beside the core's rules: that they look like what they are.
fn presentable(field: &'static str, name: &str) -> Result<(), Problem> {
    if name.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let code = match field {
        "ns" => "invalid_ns",
        "service" => "invalid_service",
        _ => "invalid_id",
    };
    if name.trim() != name {
        let message = format!("{field} begins or ends with white space: remove it");
        return Err(Problem::invalid(code, field, message));
    }
    let hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if name.contains(hidden) {
        let message = format!("{field} has invisible characters or text direction overrides: remove them");
        return Err(Problem::invalid(code, field, message));
    }
    Ok(())
}

/// A namespace, as a query or a body names it; `default`, if neither does.
pub(super) fn namespace(name: Option<&str>) -> Result<Namespace, Problem> {
    match name {
        None | Some("default") => Ok(Namespace::default()),
        Some(name) => {
            presentable("ns", name)?;
            Ok(Namespace::new(name)?)
        }
    }
}

/// A service's name, decoded.
pub(super) fn service_name(name: &str) -> Result<ServiceName, Problem> {
    presentable("service", name)?;
    Ok(ServiceName::new(name)?)
}

/// A service's name out of a path.
pub(super) fn service(segment: &str) -> Result<ServiceName, Problem> {
    service_name(&decode(segment, false, "service")?)
}

/// An instance's id out of a path.
pub(super) fn id(segment: &str) -> Result<InstanceId, Problem> {
    let id = decode(segment, false, "id")?;
    presentable("id", &id)?;
    Ok(InstanceId::new(&*id)?)
}

/// The query of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or(""))
    }

    /// Every value of a key, decoded.
    pub(super) fn all(self, key: &'static str) -> impl Iterator<Item = Result<Cow<'a, str>, Problem>> {
        self.0
            .split('&')
            .filter_map(move |pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name == key).then_some(value)
            })
            .map(move |value| decode(value, true, key))
    }

    /// The value of a key that may be there once.
    pub(super) fn one(self, key: &'static str) -> Result<Option<Cow<'a, str>>, Problem> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut values = self.all(key);
        let first = values.next().transpose()?;
        if values.next().is_some() {
            let message = format!("{key} is given twice: give it once");
            return Err(Problem::invalid("invalid_query", key, message));
        }
        Ok(first)
    }

    /// Whether something is wanted.
    pub(super) fn flag(self, key: &'static str) -> Result<bool, Problem> {
        match self.one(key)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(_) => Err(Problem::invalid("invalid_query", key, format!("{key} is neither true nor false"))),
        }
    }

    /// A number.
    pub(super) fn number(self, key: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.one(key)? else {
            return Ok(None);
        };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Some).ok_or_else(|| {
            let message = format!("{key} is not a whole number");
            Problem::invalid("invalid_query", key, message)
        })
    }

    /// How many entries an answer may have: `default`, unless the query wants fewer, or up to `most`.
    pub(super) fn limit(self, default: usize, most: usize) -> Result<usize, Problem> {
        match self.number("limit")? {
            None => Ok(default),
            Some(0) => Err(Problem::invalid("invalid_query", "limit", "limit is 0: ask for one at least")),
            Some(n) => Ok(usize::try_from(n).unwrap_or(usize::MAX).min(most)),
        }
    }

    /// Which instances are asked for; nothing, if all are.
    pub(super) fn filter(self) -> Result<Option<Filter>, Problem> {
        let Some(text) = self.one("filter")? else {
            return Ok(None);
        };
        let filter: Filter = text.parse()?;
        Ok(Some(filter).filter(|filter| !filter.is_empty()))
    }

    /// The namespace.
    pub(super) fn namespace(self) -> Result<Namespace, Problem> {
        namespace(self.one("ns")?.as_deref())
    }

    /// A service of the query's namespace.
    pub(super) fn service_key(self, segment: &str) -> Result<ServiceKey, Problem> {
        Ok(ServiceKey::new(self.namespace()?, service(segment)?))
    }

    /// An instance of the query's namespace.
    pub(super) fn key(self, names: [&str; 2]) -> Result<Key, Problem> {
        Ok(Key::new(self.namespace()?, service(names[0])?, id(names[1])?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(&*service("a%2Fb%2520c").unwrap(), "a/b%20c");
        assert_eq!(&*service("a+b").unwrap(), "a+b");
        let query = Query::new(Some("ns=a+b&x=1&service=%E6%94%AF&service=c"));
        assert_eq!(&*query.namespace().unwrap(), "a b");
        let services: Vec<_> = query.all("service").map(Result::unwrap).collect();
        assert_eq!(services, ["支", "c"]);
    }

    #[test]
    fn names_that_mislead_are_refused() {
        for (segment, code) in [
            ("", "invalid_service"),
            ("%20a", "invalid_service"),
            ("a%E2%80%AEb", "invalid_service"),
            ("a%0Ab", "invalid_service"),
            ("%ff", "invalid_encoding"),
            ("%4", "invalid_encoding"),
            ("%zz", "invalid_encoding"),
            ("%+1", "invalid_encoding"),
        ] {
            let problem = service(segment).unwrap_err();
            assert_eq!((problem.code, problem.field.as_deref()), (code, Some("service")), "{segment}");
        }
        assert!(service("支付%20/%20billing").is_ok());
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused() {
        assert!(Query::new(Some("ns=a&ns=b")).namespace().is_err());
        assert!(Query::new(Some("limit=+1")).limit(1, 10).is_err());
        assert!(Query::new(Some("limit=0")).limit(1, 10).is_err());
        assert_eq!(Query::new(Some("limit=99")).limit(1, 10).unwrap(), 10);
        assert_eq!(Query::new(None).limit(1, 10).unwrap(), 1);
    }
}
