//! Lines in, whole and bounded.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Read at least this much at a time, if it is there.
const CHUNK_BYTES: usize = 64 << 10;
/// A buffer that one large line blew up is given back when it is empty.
const KEPT_BYTES: usize = 1 << 20;

/// Splits a stream into lines of at most `bytes_max`, without a copy.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to here there is no line end.
    searched: usize,
    bytes_max: usize,
    /// A line too long is being skipped.
    skipped: Option<IdFinder>,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// With its line end; only the last one of a stream can be without.
    Whole(&'a [u8]),
    /// Dropped. Its raw id, if it has one.
    TooLong(Option<String>),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, bytes_max: usize) -> Self {
        let buffer = Vec::with_capacity(CHUNK_BYTES);
        Self { reader, buffer, start: 0, searched: 0, bytes_max, skipped: None, ended: false }
    }

    /// Waits for more; `false`: there is no more. May be dropped and called again.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::with_capacity(CHUNK_BYTES);
        }
        self.buffer.reserve(CHUNK_BYTES);
        let more = self.reader.read_buf(&mut self.buffer).await? > 0;
        self.ended = !more;
        Ok(more)
    }

    /// The next line that is there in full.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let unseen = self.buffer.get(self.searched..)?;
        let Some(found) = memchr::memchr(b'\n', unseen) else {
            return self.unfinished();
        };
        let end = self.searched + found + 1;
        let line = self.start..end;
        self.start = end;
        self.searched = end;
        if let Some(mut finder) = self.skipped.take() {
            finder.feed(self.buffer.get(line)?);
            return Some(Line::TooLong(finder.found()));
        }
        let line = self.buffer.get(line)?;
        if line.len() > self.bytes_max {
            let mut finder = IdFinder::default();
            finder.feed(line);
            return Some(Line::TooLong(finder.found()));
        }
        Some(Line::Whole(line))
    }

    fn unfinished(&mut self) -> Option<Line<'_>> {
        let rest = self.start..self.buffer.len();
        self.searched = self.buffer.len();
        let too_long = rest.len() > self.bytes_max || self.skipped.is_some();
        if too_long {
            let finder = self.skipped.get_or_insert_default();
            finder.feed(self.buffer.get(rest.clone())?);
            self.buffer.clear();
            (self.start, self.searched) = (0, 0);
        }
        if !self.ended {
            return None;
        }
        if let Some(finder) = self.skipped.take() {
            return Some(Line::TooLong(finder.found()));
        }
        self.start = rest.end;
        let line = self.buffer.get(rest)?;
        (!line.is_empty()).then_some(Line::Whole(line))
    }
}

/// Finds the top-level `id` of a message that is too long to be kept, as it goes by.
#[derive(Debug, Default)]
pub(crate) struct IdFinder {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The top-level text since the last `{` or `,`: a key, and the start of its value.
    member: Vec<u8>,
    found: Option<String>,
}

impl IdFinder {
    const MEMBER_BYTES_MAX: usize = 1_024;

    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let structural = !self.in_string;
            if self.in_string {
                self.in_string = byte != b'"' || self.escaped;
                self.escaped = byte == b'\\' && !self.escaped;
            } else if byte == b'"' {
                self.in_string = true;
            }
            match byte {
                b'{' | b'[' if structural => {
                    self.depth += 1;
                    if self.depth == 1 {
                        continue;
                    }
                }
                b'}' | b']' if structural => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.end_member();
                        continue;
                    }
                }
                b',' if structural && self.depth == 1 => {
                    self.end_member();
                    continue;
                }
                _ => {}
            }
            if self.depth == 1 && self.member.len() < Self::MEMBER_BYTES_MAX {
                self.member.push(byte);
            }
        }
    }

    fn end_member(&mut self) {
        let member = std::mem::take(&mut self.member);
        let member = std::str::from_utf8(&member).ok().and_then(|text| text.split_once(':'));
        if let Some((key, value)) = member
            && key.trim() == r#""id""#
            && serde_json::from_str::<&serde_json::value::RawValue>(value).is_ok()
            && crate::message::IdKey::read(value.trim()).is_some()
        {
            self.found = Some(value.trim().to_owned());
        }
    }

    fn found(self) -> Option<String> {
        self.found
    }
}

#[cfg(test)]
mod tests;
