//! Numbers as people read them.

use comfy_table::{CellAlignment, Table};

/// A table whose first `names` columns name and whose others count.
#[must_use]
pub fn new<'a>(names: usize, header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A number with three digits of meaning, thousands set apart.
#[must_use]
pub fn count(value: f64) -> String {
    match value.abs() {
        ..0.01 => format!("{value:.4}"),
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        size if size.is_finite() => thousands(value.round() as i64),
        _ => "-".to_owned(),
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.3333, 2.5, 14.26, 999.6, 1_234_567.0, -4_000.0, f64::NAN].map(count);
        assert_eq!(shown, ["0.0000", "0.333", "2.50", "14.3", "1 000", "1 234 567", "-4 000", "-"]);
    }
}
