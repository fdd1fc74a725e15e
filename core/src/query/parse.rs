//! Reading a query.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::str::FromStr;

use smol_str::{SmolStr, ToSmolStr};

use super::order::{Relation, is_number};
use super::pattern::Pattern;
use super::{Key, LENGTH_LIMIT, Query, QueryError, QueryProblem, TERMS_LIMIT, Term, Test};
use crate::instance::{Status, ZONE};

/// What no value begins with outside of quotes.
const SIGNS: [char; 4] = ['!', '<', '>', '='];

impl FromStr for Query {
    type Err = QueryError;

    /// Reads a query. O(length).
    ///
    /// # Errors
    /// Says what is wrong with the text, and with which part of it.
    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.len() > LENGTH_LIMIT {
            return Err(QueryProblem::Length { len: text.len() }.at(text.floor_char_boundary(LENGTH_LIMIT)..text.len()));
        }
        let mut reader = Reader { text, at: 0 };
        let mut terms = Vec::new();
        loop {
            reader.pass_white();
            if reader.peek().is_none() {
                return Ok(Self(terms));
            }
            if terms.len() == TERMS_LIMIT {
                return Err(QueryProblem::Terms.at(reader.at..text.len()));
            }
            terms.push(reader.term()?);
        }
    }
}

impl QueryProblem {
    fn at(self, range: Range<usize>) -> QueryError {
        QueryError { problem: self, range }
    }
}

/// A text, and how far it is read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += next.map_or(0, char::len_utf8);
        next
    }

    fn eat(&mut self, sign: &str) -> bool {
        let eaten = self.text[self.at..].starts_with(sign);
        self.at += if eaten { sign.len() } else { 0 };
        eaten
    }

    fn pass_white(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn term(&mut self) -> Result<Term, QueryError> {
        let start = self.at;
        let negated = self.eat("!") || self.eat("-");
        self.refuse(&['!', '-'], negated)?;
        let from = self.at;
        let head = self.piece(&[':', '='])?;
        let Some(sign @ (':' | '=')) = self.peek() else {
            if is_empty(&head) {
                return Err(QueryProblem::Nothing.at(start..self.at));
            }
            let head = head.into_iter().map(|part| part.to_ascii_lowercase()).collect();
            let test = Test::Among([Pattern::anywhere(head)].into());
            return Ok(Term { negated, key: Key::Word, test });
        };
        let key = key(&head).ok_or_else(|| {
            let key = self.text[from..self.at].into();
            QueryProblem::Key { key }.at(from..self.at)
        })?;
        self.next();
        if sign == '=' {
            let from = self.at;
            let text = self.piece_without_wildcards()?;
            let pattern = self.pattern(&key, Pattern::new([text].into()), from)?;
            return Ok(Term { negated, key, test: Test::Among([pattern].into()) });
        }
        let negated = negated != self.eat("!");
        let from = self.at;
        let relation = Relation::ALL.into_iter().find(|(_, sign)| self.eat(sign));
        let test = match relation {
            Some((relation, _)) => self.comparison(&key, relation, from)?,
            None => self.alternatives(&key)?,
        };
        Ok(Term { negated, key, test })
    }

    fn comparison(&mut self, key: &Key, relation: Relation, start: usize) -> Result<Test, QueryError> {
        let from = self.at;
        let wrap = match key {
            Key::Version => Test::Version,
            Key::Weight | Key::Metadata(_) => Test::Number,
            _ => return Err(QueryProblem::Order { key: key.to_smolstr() }.at(start..from)),
        };
        self.refuse(&SIGNS, true)?;
        let parts = self.piece(&[','])?;
        let ([given], None) = (&*parts, self.peek().filter(|&c| c == ',')) else {
            return Err(QueryProblem::Several.at(start..self.at));
        };
        if given.is_empty() {
            return Err(QueryProblem::Empty { key: key.to_smolstr() }.at(start..self.at));
        }
        if *key != Key::Version && !is_number(given) {
            let problem = QueryProblem::Number { key: key.to_smolstr(), text: given.into() };
            return Err(problem.at(from..self.at));
        }
        Ok(wrap(relation, given.into()))
    }

    fn alternatives(&mut self, key: &Key) -> Result<Test, QueryError> {
        let mut patterns = Vec::new();
        loop {
            self.refuse(&SIGNS, true)?;
            let from = self.at;
            let parts = self.piece(&[','])?;
            let part_of_endpoint = *key == Key::Endpoint && parts.len() == 1 && !is_empty(&parts);
            let pattern = if part_of_endpoint { Pattern::anywhere(parts) } else { Pattern::new(parts) };
            patterns.push(self.pattern(key, pattern, from)?);
            if !self.eat(",") {
                return Ok(Test::Among(patterns));
            }
        }
    }

    /// Checks a value that was read from a place on.
    fn pattern(&self, key: &Key, pattern: Pattern, from: usize) -> Result<Pattern, QueryError> {
        let written = || SmolStr::from(&self.text[from..self.at]);
        let may_be_empty = self.at > from && matches!(key, Key::Metadata(_));
        let problem = match (key, pattern.literal()) {
            (_, Some("")) if !may_be_empty => QueryProblem::Empty { key: key.to_smolstr() },
            (Key::Status, status) if status.is_none_or(|status| status.parse::<Status>().is_err()) => {
                QueryProblem::Status { status: written() }
            }
            (Key::Weight, _) if pattern.is_any() => return Ok(pattern),
            (Key::Weight, weight) => match weight.and_then(|weight| weight.parse::<u32>().ok()) {
                Some(weight) => return Ok(Pattern::new([String::from(weight.to_smolstr())].into())),
                None => QueryProblem::Number { key: key.to_smolstr(), text: written() },
            },
            _ => return Ok(pattern),
        };
        // An empty place is hard to see: the sign before it is shown as well.
        let from = if self.at > from { from } else { from - 1 };
        Err(problem.at(from..self.at))
    }

    /// Refuses a sign that comes next, where none may come.
    fn refuse(&self, signs: &[char], now: bool) -> Result<(), QueryError> {
        match self.peek().filter(|sign| now && signs.contains(sign)) {
            Some(sign) => Err(QueryProblem::Sign { sign }.at(self.at..self.at + sign.len_utf8())),
            None => Ok(()),
        }
    }

    /// Reads up to white space or one of these signs outside of quotes: the parts between wildcards.
    fn piece(&mut self, ends: &[char]) -> Result<Vec<String>, QueryError> {
        let mut parts = Vec::new();
        loop {
            parts.push(self.part(ends, true)?);
            if !self.eat("*") {
                return Ok(parts);
            }
        }
    }

    fn piece_without_wildcards(&mut self) -> Result<String, QueryError> {
        self.part(&[], false)
    }

    fn part(&mut self, ends: &[char], wild: bool) -> Result<String, QueryError> {
        let mut part = String::new();
        while let Some(c) = self.peek() {
            if c.is_whitespace() || ends.contains(&c) || (wild && c == '*') {
                break;
            }
            if c == '"' {
                self.quoted(&mut part)?;
            } else {
                self.next();
                part.push(c);
            }
        }
        Ok(part)
    }

    fn quoted(&mut self, into: &mut String) -> Result<(), QueryError> {
        let from = self.at;
        self.next();
        loop {
            let at = self.at;
            match self.next() {
                Some('"') => return Ok(()),
                Some('\\') => match self.next() {
                    Some(c @ ('"' | '\\')) => into.push(c),
                    _ => return Err(QueryProblem::Escape.at(at..self.at)),
                },
                Some(c) => into.push(c),
                None => return Err(QueryProblem::Quote.at(from..at)),
            }
        }
    }
}

fn is_empty(parts: &[String]) -> bool {
    matches!(parts, [only] if only.is_empty())
}

fn key(parts: &[String]) -> Option<Key> {
    let [name] = parts else {
        return None;
    };
    Some(match name.as_str() {
        "name" => Key::Name,
        "id" => Key::Id,
        "version" => Key::Version,
        "zone" => Key::Metadata(ZONE.into()),
        "status" => Key::Status,
        "weight" => Key::Weight,
        "scheme" => Key::Scheme,
        "endpoint" => Key::Endpoint,
        name => Key::Metadata(name.strip_prefix("meta.").filter(|key| !key.is_empty())?.into()),
    })
}
