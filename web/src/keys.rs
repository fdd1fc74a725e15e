//! What keys do.

use smol_str::SmolStr;

/// What a key means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Go to a screen: its place among the main ones.
    Go(usize),
    /// The search.
    Search,
    /// So many rows on.
    Move(isize),
    /// Open the row.
    Open,
    /// Select the row.
    Select,
    /// Act on what is selected.
    Act,
    /// Pause, or go on.
    Pause,
    /// Away with what is open, or back.
    Back,
    /// Show the keys.
    Help,
    /// The first of two keys.
    First,
}

/// A key that was pressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Press {
    /// As the browser names it.
    pub key: SmolStr,
    /// Whether it was meant for a field that one writes in.
    pub in_field: bool,
    /// Whether it was meant for something that is pressed: a button, a link.
    pub on_button: bool,
    /// Whether one of the keys for commands was held: those are the browser's.
    pub with_command: bool,
}

/// What a key means after the one before, if anything. In a field it is a letter, but for those that leave it.
#[must_use]
pub fn meaning(press: &Press, before: Option<&str>) -> Option<Meaning> {
    if press.with_command {
        return None;
    }
    if press.in_field {
        return (press.key == "Escape").then_some(Meaning::Back);
    }
    if before == Some("g") {
        let places = ["o", "s", "i", "t", "r", "d"];
        return places.iter().position(|key| *key == press.key).map(Meaning::Go);
    }
    Some(match &*press.key {
        "/" => Meaning::Search,
        "j" => Meaning::Move(1),
        "k" => Meaning::Move(-1),
        "Enter" if !press.on_button => Meaning::Open,
        "x" => Meaning::Select,
        "a" => Meaning::Act,
        "p" => Meaning::Pause,
        "Escape" | "u" => Meaning::Back,
        "?" => Meaning::Help,
        "g" => Meaning::First,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_in_a_field_is_a_letter() {
        let press = |key: &str, in_field| Press { key: key.into(), in_field, ..Press::default() };
        assert_eq!(meaning(&press("j", false), None), Some(Meaning::Move(1)));
        assert_eq!(meaning(&press("j", true), None), None);
        assert_eq!(meaning(&press("Escape", true), None), Some(Meaning::Back));
        assert_eq!(meaning(&press("s", false), Some("g")), Some(Meaning::Go(1)));
        assert_eq!(meaning(&press("j", false), Some("g")), None);
        assert_eq!(meaning(&Press { with_command: true, ..press("j", false) }, None), None);
    }
}
