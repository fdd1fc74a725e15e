//! Writing a query.

use core::fmt::{self, Display, Formatter, Write as _};

use smol_str::SmolStr;

use super::pattern::Pattern;
use super::{Key, Query, Term, Test};
use crate::instance::ZONE;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, term) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char(' ')?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_char('!')?;
        }
        self.key.fmt(f)?;
        match &self.test {
            Test::Among(patterns) => {
                let exact = self.key == Key::Endpoint && patterns[0].literal().is_some();
                match self.key {
                    Key::Word => {}
                    _ => f.write_char(if exact { '=' } else { ':' })?,
                }
                for (at, pattern) in patterns.iter().enumerate() {
                    if at > 0 {
                        f.write_char(',')?;
                    }
                    self.key.write_pattern(f, pattern)?;
                }
                Ok(())
            }
            Test::Version(relation, given) | Test::Number(relation, given) => {
                write!(f, ":{}", relation.sign())?;
                write_text(f, given, is_special)
            }
        }
    }
}

impl Key {
    fn write_pattern(&self, f: &mut Formatter<'_>, pattern: &Pattern) -> fmt::Result {
        let parts = match (self, pattern.inner()) {
            // A dash in front would negate.
            (Self::Word, Some(inner)) if inner[0].starts_with('-') => {
                return write_parts(f, inner, |c| is_special(c) || matches!(c, ':' | '-'));
            }
            (Self::Word, Some(inner)) => return write_parts(f, inner, |c| is_special(c) || c == ':'),
            (Self::Word, None) => return f.write_char('*'),
            (Self::Endpoint, Some(inner @ [_])) => inner,
            _ => pattern.parts(),
        };
        write_parts(f, parts, is_special)
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Word => "",
            Self::Name => "name",
            Self::Id => "id",
            Self::Version => "version",
            Self::Status => "status",
            Self::Weight => "weight",
            Self::Scheme => "scheme",
            Self::Endpoint => "endpoint",
            Self::Metadata(key) if key == ZONE => ZONE,
            Self::Metadata(key) => {
                f.write_str("meta.")?;
                return write_text(f, key, |c| is_special(c) || c == ':');
            }
        })
    }
}

/// Whether a character is more than itself outside of quotes, somewhere in a value.
fn is_special(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '*' | ',' | '!' | '<' | '>' | '=')
}

fn write_parts(f: &mut Formatter<'_>, parts: &[SmolStr], special: fn(char) -> bool) -> fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            f.write_char('*')?;
        }
        // An empty part is beside a wildcard, unless it is all there is.
        if !part.is_empty() || parts.len() == 1 {
            write_text(f, part, special)?;
        }
    }
    Ok(())
}

fn write_text(f: &mut Formatter<'_>, text: &str, special: fn(char) -> bool) -> fmt::Result {
    if !text.is_empty() && !text.contains(special) {
        return f.write_str(text);
    }
    f.write_char('"')?;
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}
