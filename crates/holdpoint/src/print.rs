//! Data to stdout, talk to stderr; nothing from outside reaches a terminal unescaped.

use anyhow::{Context, Result};
use holdpoint_config::printable;
use jiff::Timestamp;
use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    io::Write,
};

/// One JSON value on one line.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value).context("cannot write to stdout")?;
    out.write_all(b"\n").and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Text as it is; the caller has escaped what came from outside.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{newline}").and_then(|()| out.flush()).context("cannot write to stdout")
}

/// Talk.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// A table with aligned columns; cells are escaped.
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(crate) const fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell).into_owned()));
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = self.head.map(|cell| cell.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; N]| {
            let mut text = String::new();
            for (cell, width) in cells.iter().zip(widths) {
                let _infallible = write!(text, "{cell:width$}  ");
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(f, self.head)?;
        self.rows.iter().try_for_each(|row| line(f, row.each_ref().map(String::as_str)))
    }
}

/// How long ago, in the largest unit that fits.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Who decides from this terminal, for the record.
pub(crate) fn user_name() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    if name.trim().is_empty() { "operator".to_owned() } else { name }
}
