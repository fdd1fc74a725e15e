//! Results on stdout, remarks on stderr.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::exit::ClosedPipe;

/// Writes one line of results, at once.
///
/// # Errors
/// [`ClosedPipe`] if nobody reads any more, or what else went wrong with writing.
pub fn line(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        result => Ok(result?),
    }
}

/// Writes a value as one line of JSON.
///
/// # Errors
/// As for [`line()`].
pub fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Writes a value as JSON: on one line for programs, on many for a person.
///
/// # Errors
/// As for [`line()`].
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { line(serde_json::to_string_pretty(value)?) } else { json_line(value) }
}

/// Writes a remark to stderr, if that is there.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "periplus: {text}");
}

/// Says that a list is not to be taken for everything.
pub fn note_warming(warming: bool) {
    if warming {
        note("the registry has started lately: what it does not list may still come back");
    }
}

/// Writes rows under their headings, columns aligned.
///
/// # Errors
/// As for [`line()`].
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    for row in rows {
        table.add_row(row.map(|cell| shown(&cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    line(table.trim_fmt())
}

/// A text of others, made harmless for a terminal.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

/// Unix milliseconds as a time in UTC.
#[must_use]
pub fn time(millis: u64) -> String {
    // Later years have no such form.
    let last = 253_402_300_799_999;
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis.min(last))).to_string()
}

/// The time of day now, in UTC.
#[must_use]
pub fn clock() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.get(11..19).unwrap_or_default().to_owned()
}

/// A duration for people: no more than a tenth of a second.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// When the next attempt comes. One that comes at once goes to another host of the registry.
#[must_use]
pub fn retry(wait: Duration) -> String {
    if wait.is_zero() { "trying the next host".into() } else { format!("trying again in {}", duration(wait)) }
}

/// Ends when nobody reads the results any more, although nothing is written: the reader of a pipe may go first.
pub async fn closed() {
    #[cfg(unix)]
    {
        let (gone, wait) = tokio::sync::oneshot::channel();
        // Nothing but a thread can wait for the end of a pipe without a word to write.
        std::thread::spawn(move || {
            if poll_closed() {
                let _ = gone.send(());
            }
        });
        if wait.await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

/// Waits until the pipe behind stdout has no reader. False if it is no pipe.
#[cfg(unix)]
fn poll_closed() -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;

    let stdout = io::stdout();
    let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return fds[0].any().unwrap_or(false),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_cannot_steer_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(shown("支付"), "支付");
    }

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
