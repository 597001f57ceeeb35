//! Server-sent events, one by one, with their own bytes.

use super::body::next_frame;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body;

/// A stream that cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("the stream broke off")]
    Broken,
    #[error("an event is larger than can be carried")]
    TooLarge,
}

/// The events of a body.
#[derive(Debug)]
pub(crate) struct Events<B> {
    body: B,
    buffer: BytesMut,
    /// Up to here no event ends.
    searched: usize,
    bytes_max: usize,
}

/// One event or comment with the empty line that ends it.
#[derive(Debug)]
pub(crate) struct Event(pub(super) Bytes);

impl<B: Body<Data = Bytes> + Unpin> Events<B> {
    pub(crate) fn new(body: B, bytes_max: usize) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, bytes_max }
    }

    /// What they were read from.
    pub(super) fn into_body(self) -> B {
        self.body
    }

    /// The next event; what is left when the stream ends is no event, but is handed on with the last bytes.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, StreamError> {
        loop {
            if let Some(end) = self.end_of_event() {
                self.searched = 0;
                return Ok(Some(Event(self.buffer.split_to(end).freeze())));
            }
            if self.buffer.len() > self.bytes_max {
                return Err(StreamError::TooLarge);
            }
            match next_frame(&mut self.body).await {
                None if self.buffer.has_remaining() => {
                    self.searched = 0;
                    return Ok(Some(Event(self.buffer.split().freeze())));
                }
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(_)) => return Err(StreamError::Broken),
            }
        }
    }

    /// An event ends with an empty line; lines end with `\n`, `\r\n` or `\r`.
    fn end_of_event(&mut self) -> Option<usize> {
        let mut at = self.searched;
        while let Some(found) = memchr::memchr2(b'\n', b'\r', self.buffer.get(at..)?) {
            let line_end = at + found;
            let next = line_end + line_end_length(self.buffer.get(line_end..)?)?;
            if let Some(length) = line_end_length(self.buffer.get(next..)?) {
                return Some(next + length);
            }
            at = next;
            if !matches!(self.buffer.get(next), None | Some(b'\r')) {
                // Nothing before this place can end an event any more.
                self.searched = next;
            }
        }
        None
    }
}

/// How long the line end at the start of `bytes` is; `None`: there is none, or it cannot be told yet.
fn line_end_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\n', ..] | [b'\r', _, ..] => Some(1),
        [b'\r'] | [_, ..] | [] => None,
    }
}

impl Event {
    /// With the line ends that end it.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The message in it; `None`: there is none.
    pub(crate) fn data(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let mut data: Option<String> = None;
        for line in text.split(['\n', '\r']) {
            let Some(value) = line.strip_prefix("data") else {
                continue;
            };
            let value = match value.strip_prefix(':') {
                Some(value) => value.strip_prefix(' ').unwrap_or(value),
                None if value.is_empty() => value,
                None => continue,
            };
            match &mut data {
                None => data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
        }
        data
    }

    /// What its last field of this name says.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let mut values = text.split(['\n', '\r']).filter_map(|line| match line.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix(':').map(|value| value.strip_prefix(' ').unwrap_or(value)),
        });
        values.next_back()
    }

    /// The same event with another message.
    pub(super) fn with_data(&self, message: &[u8]) -> Bytes {
        let mut event = Vec::with_capacity(self.0.len());
        for line in self.0.split(|byte| matches!(byte, b'\n' | b'\r')) {
            if !line.is_empty() && !line.starts_with(b"data") {
                event.extend_from_slice(line);
                event.push(b'\n');
            }
        }
        event.extend_from_slice(&data_lines(message));
        event.into()
    }

    /// The same event without its id.
    pub(super) fn without_id(&self) -> Bytes {
        if self.field("id").is_none() {
            return self.0.clone();
        }
        let mut event = Vec::with_capacity(self.0.len());
        for line in self.0.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let is_id = line.strip_prefix(b"id").is_some_and(|rest| matches!(rest, [] | [b':', ..]));
            if !line.is_empty() && !is_id {
                event.extend_from_slice(line);
                event.push(b'\n');
            }
        }
        event.push(b'\n');
        event.into()
    }
}

/// An event with one message of our own.
pub(crate) fn message(message: &[u8]) -> Bytes {
    [&b"event: message\n"[..], &data_lines(message)].concat().into()
}

/// A message as the data of an event. JSON has line ends only between tokens.
fn data_lines(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(message.len().saturating_add(8));
    lines.extend_from_slice(b"data: ");
    lines.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    lines.extend_from_slice(b"\n\n");
    lines
}

pub(super) const COMMENT: &[u8] = b": waiting for approval\n\n";

#[cfg(test)]
mod tests;
