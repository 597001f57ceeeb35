use super::{INVALID_PARAMS, INVALID_REQUEST, IdKey, Object, Refused, place, text_of};
use crate::{
    protocol::{PREFIX, VERSION_KEY},
    waiting::Comeback,
};
use bytes::Bytes;
use holdpoint_core::{TaskId, check_unambiguous};
use serde_json::{Map, Value, value::RawValue};
use std::{borrow::Cow, ops::Range};

const TASK_KEY: &str = "dev.holdpoint/task";
/// As long as Gate takes them.
const TASK_BYTES_MAX: usize = 256;

/// A `tools/call` request, borrowed from its message.
#[derive(Debug)]
pub(crate) struct CallMessage<'a> {
    pub(crate) id_raw: &'a str,
    pub(crate) id: IdKey,
    pub(crate) name: Cow<'a, str>,
    /// The raw value, an object.
    pub(crate) arguments: Option<&'a str>,
    pub(crate) meta: Meta<'a>,
    /// What it came with for us, taken off.
    pub(crate) comeback: Option<Comeback>,
    params: &'a RawValue,
    /// Members of `params` that are none of the above.
    extra: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Where `arguments` stands in the message.
    span: Option<Range<usize>>,
}

/// What we read of `params._meta`.
#[derive(Debug, Default)]
pub(crate) struct Meta<'a> {
    pub(crate) progress_token: Option<&'a str>,
    pub(crate) task: Option<TaskId>,
    pub(crate) trace_id: Option<TaskId>,
    /// The members by which the stateless era tells who speaks which version.
    pub(crate) protocol: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The revision that this request is made in, where it says so itself.
    pub(crate) version: Option<Cow<'a, str>>,
}

/// A `tools/call` request with its bytes, for longer than a borrow.
#[derive(Clone, Debug)]
pub(crate) struct CallFrame {
    pub(crate) bytes: Bytes,
    pub(crate) id_raw: Box<str>,
    pub(crate) id: IdKey,
    pub(crate) progress_token: Option<Box<str>>,
    /// Stateless: the request names its revision itself.
    pub(crate) modern: bool,
    span: Option<Range<usize>>,
}

impl<'a> CallMessage<'a> {
    pub(super) fn read(
        text: &'a str,
        id: Option<&'a str>,
        params: Option<&'a RawValue>,
    ) -> Result<Self, Refused<'a>> {
        let Some((id_raw, id)) = id.and_then(|raw| IdKey::read(raw).map(|id| (raw, id))) else {
            // A notification would run the tool without anybody hearing of it.
            let problem = "`tools/call` needs an `id` that is a string or a number";
            return Err(Refused::new(None, INVALID_REQUEST, problem));
        };
        let refuse = |problem: String| Refused::new(Some(id_raw), INVALID_PARAMS, problem);
        let params_raw = params.ok_or_else(|| refuse("`tools/call` needs `params`".into()))?;
        let params = Object::read(params_raw.get()).map_err(|flaw| refuse(format!("`params` {flaw}")))?;
        params
            .refuse_variants_of(&["name", "arguments", "_meta"])
            .map_err(|flaw| refuse(format!("`params` {flaw}")))?;
        let name = params.get("name").and_then(text_of);
        let name = name.ok_or_else(|| refuse("`params.name` is not a string".into()))?;
        let arguments = params.get("arguments").map(RawValue::get);
        let meta = match params.get("_meta") {
            Some(meta) => Meta::read(meta).map_err(refuse)?,
            None => Meta::default(),
        };
        let is_extra = |(key, _): &(Cow<'_, str>, _)| !matches!(&**key, "name" | "arguments" | "_meta");
        let extra = params.into_members().filter(is_extra).collect();
        let span = arguments.map(|arguments| place(text, arguments));
        let comeback = None;
        Ok(Self { id_raw, id, name, arguments, meta, comeback, params: params_raw, extra, span })
    }

    pub(crate) fn is_modern(&self) -> bool {
        self.meta.version.is_some()
    }

    /// A further parameter.
    pub(crate) fn extra_member(&self, name: &str) -> Option<&'a RawValue> {
        self.extra.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// The message that this was read from without some members of `params`; every other byte stays as it is.
    pub(crate) fn without(&self, message: &[u8], names: &[&str]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(message).ok()?;
        let members = Object::read_leniently(self.params.get()).ok()?;
        let mut from = place(text, self.params.get()).start.checked_add(1)?;
        let mut rest = text.get(..from)?.to_owned();
        let mut is_first = true;
        for (name, value) in members.into_members() {
            let end = place(text, value.get()).end;
            // With what stands before it: space, and a comma unless it is the first.
            let member = text.get(from..end)?;
            from = end;
            if names.contains(&&*name) {
                continue;
            }
            let member =
                if is_first { member.trim_start().strip_prefix(',').unwrap_or(member) } else { member };
            rest.push_str(member);
            is_first = false;
        }
        rest.push_str(text.get(from..)?);
        Some(rest.into_bytes())
    }

    /// Every further parameter that could change the effect.
    pub(crate) fn extra(&self) -> Result<Map<String, Value>, String> {
        let read = |(key, raw): &(Cow<'_, str>, &RawValue)| match check_unambiguous(raw.get()) {
            Ok(value) => Ok((key.clone().into_owned(), value)),
            Err(problem) => {
                Err(format!("`params.{}` has no single reading: {problem}", key.escape_default()))
            }
        };
        self.extra.iter().map(read).collect()
    }

    /// The call with its message: `bytes` is the text that this was read from.
    pub(crate) fn frame(&self, bytes: Bytes) -> CallFrame {
        CallFrame {
            bytes,
            id_raw: self.id_raw.into(),
            id: self.id.clone(),
            progress_token: self.meta.progress_token.map(Into::into),
            modern: self.is_modern(),
            span: self.span.clone(),
        }
    }
}

impl<'a> Meta<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, String> {
        let object = Object::read(raw.get()).map_err(|flaw| format!("`params._meta` {flaw}"))?;
        let progress_token = object.get("progressToken").map(RawValue::get);
        if progress_token.is_some_and(|token| IdKey::read(token).is_none()) {
            return Err("`params._meta.progressToken` is neither a string nor a number".into());
        }
        let task = match object.get(TASK_KEY) {
            Some(task) => {
                let task = text_of(task).and_then(|text| task_id(&text));
                Some(task.ok_or_else(|| format!("`params._meta.{TASK_KEY}` is not a task id"))?)
            }
            None => None,
        };
        let trace_id = object.get("traceparent").and_then(text_of).and_then(|text| trace_id(&text));
        let version = object.get(VERSION_KEY).and_then(text_of);
        let protocol = object.into_members().filter(|(key, _)| key.starts_with(PREFIX)).collect();
        Ok(Self { progress_token, task, trace_id, protocol, version })
    }
}

/// A task id as Gate takes it: short, visible text.
pub(crate) fn task_id(text: &str) -> Option<TaskId> {
    let fits = !text.is_empty() && text.len() <= TASK_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| TaskId::new(text))
}

/// The trace id of a W3C `traceparent`.
fn trace_id(traceparent: &str) -> Option<TaskId> {
    let id = traceparent.split('-').nth(1)?;
    let is_id =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    is_id.then(|| TaskId::new(id))
}

impl CallFrame {
    /// The message with `arguments` in the place of its own. Nothing is copied where they are the same, which they
    /// are unless the call joined one that spelt its arguments in another order. `None`: they do not fit in.
    pub(crate) fn with_arguments(&self, arguments: Option<&str>) -> Option<Bytes> {
        let (span, arguments) = match (&self.span, arguments) {
            (None, None) => return Some(self.bytes.clone()),
            (Some(span), Some(arguments)) => (span, arguments.as_bytes()),
            (Some(_), None) | (None, Some(_)) => return None,
        };
        if self.bytes.get(span.clone())? == arguments {
            return Some(self.bytes.clone());
        }
        let (before, after) = (self.bytes.get(..span.start)?, self.bytes.get(span.end..)?);
        Some([before, arguments, after].concat().into())
    }
}
