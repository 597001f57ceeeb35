use std::borrow::Cow;

/// What is wrong with a JSON text that is well-formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// It is not well-formed after all.
    #[error("malformed JSON")]
    Malformed,
    /// Containers nest deeper than allowed.
    #[error("JSON is nested deeper than {0} levels")]
    TooDeep(usize),
    /// An object names one key twice; parsers differ in which one counts.
    #[error("key `{0}` appears twice in one object")]
    DuplicateKey(String),
    /// A key our JSON library gives a meaning of its own.
    #[error("key `{0}` is reserved")]
    ReservedKey(String),
}

/// Keys by which `serde_json` hands numbers and raw text through serde; an object holding one would be read as a
/// number, and a reviewer would see something else than the rules did.
const RESERVED_PREFIX: &str = "$serde_json::private::";

/// Looks through a JSON text for what a parser would swallow silently: depth, duplicate keys, reserved keys.
///
/// `text` must have been accepted by `serde_json` before (a `RawValue` was); the scan relies on it and answers
/// [`JsonProblem::Malformed`] where it does not hold. It neither recurses nor allocates per value.
pub fn inspect_json(text: &str, depth_max: usize) -> Result<(), JsonProblem> {
    let mut open: Vec<Container<'_>> = Vec::new();
    let mut at = 0;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                if open.len() == depth_max {
                    return Err(JsonProblem::TooDeep(depth_max));
                }
                open.push(if byte == b'{' {
                    Container::Object { keys: Vec::new(), key_next: true }
                } else {
                    Container::Array
                });
                at += 1;
            }
            b'}' | b']' => {
                if let Some(Container::Object { keys, .. }) = open.pop() {
                    refuse_duplicates(keys)?;
                }
                at += 1;
            }
            b',' => {
                if let Some(Container::Object { key_next, .. }) = open.last_mut() {
                    *key_next = true;
                }
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at).ok_or(JsonProblem::Malformed)?;
                if let Some(Container::Object { keys, key_next }) = open.last_mut()
                    && *key_next
                {
                    *key_next = false;
                    keys.push(key(text.get(at..end).ok_or(JsonProblem::Malformed)?)?);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

enum Container<'text> {
    Array,
    Object { keys: Vec<Cow<'text, str>>, key_next: bool },
}

/// The index behind the closing quote of the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// A key without its quotes, escapes resolved: `"a"` and `"\u0061"` are one key.
fn key(quoted: &str) -> Result<Cow<'_, str>, JsonProblem> {
    let inner = quoted.get(1..quoted.len() - 1).ok_or(JsonProblem::Malformed)?;
    let key = if inner.contains('\\') {
        Cow::Owned(serde_json::from_str::<String>(quoted).map_err(|_| JsonProblem::Malformed)?)
    } else {
        Cow::Borrowed(inner)
    };
    if key.starts_with(RESERVED_PREFIX) {
        return Err(JsonProblem::ReservedKey(key.into_owned()));
    }
    Ok(key)
}

fn refuse_duplicates(mut keys: Vec<Cow<'_, str>>) -> Result<(), JsonProblem> {
    keys.sort_unstable();
    let mut previous: Option<Cow<'_, str>> = None;
    for key in keys {
        if previous.as_ref() == Some(&key) {
            return Err(JsonProblem::DuplicateKey(key.into_owned()));
        }
        previous = Some(key);
    }
    Ok(())
}
