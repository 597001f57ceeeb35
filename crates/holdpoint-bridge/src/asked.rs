//! What a caller asks, read strictly: a field that we do not know, or that is there twice, could have changed the answer.

use crate::problem::Problem;
use holdpoint_api::TaskId as ApiTaskId;
use holdpoint_core::{Arguments, CallerWords, RiskLevel, ServerName, ToolName, check_unambiguous};
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

const NAME_BYTES_MAX: usize = 256;
/// As of an `Idempotency-Key`.
const CALL_ID_BYTES_MAX: usize = 255;
const PAYLOAD_FIELD: &str = "payload.";

/// One question.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Who runs it: a target of ours; `None`: the caller.
    pub(crate) target: Option<ServerName>,
    pub(crate) tool: ToolName,
    /// The job, if the caller named one.
    pub(crate) task: Option<String>,
    /// The call within its job, if the caller named it.
    pub(crate) call: Option<String>,
    /// What the caller says of it.
    pub(crate) words: CallerWords,
    pub(crate) arguments: Arguments,
    /// Where the answer is to go.
    pub(crate) callback: Option<String>,
}

/// In which encoding a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Form,
}

impl Encoding {
    /// As the headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let unsupported =
            || Problem::unsupported("send application/json or application/x-www-form-urlencoded, in UTF-8");
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Problem::unsupported("send the body without a content encoding"));
        }
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(Ok(kind)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
            return Err(unsupported());
        };
        let kind = kind.to_ascii_lowercase();
        let mut parts = kind.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
            Some(("charset", value)) => value.trim_matches('"') == "utf-8",
            Some((name, _)) => !name.contains("charset"),
            None => parameter.is_empty(),
        });
        match essence {
            "application/json" if is_utf8 => Ok(Self::Json),
            "application/x-www-form-urlencoded" if is_utf8 => Ok(Self::Form),
            _ => Err(unsupported()),
        }
    }

    /// The body as one JSON object.
    pub(crate) fn object(self, body: &[u8]) -> Result<Map<String, Value>, Problem> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(body)
                    .map_err(|_| Problem::bad_request("the body is not UTF-8".to_owned()))?;
                match check_unambiguous(text) {
                    Ok(Value::Object(object)) => Ok(object),
                    Ok(_) => Err(Problem::bad_request("the body is not a JSON object".to_owned())),
                    Err(error) => {
                        Err(Problem::bad_request(format!("the body has no single reading: {error}")))
                    }
                }
            }
            Self::Form => form(body),
        }
    }
}

impl Asked {
    /// From the fields of a body, all of them.
    pub(crate) fn read(fields: Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Fields(fields);
        let (target, call) = (fields.text("target")?.map(ServerName::new), fields.text("call_id")?);
        let (task, callback) = (fields.text("task_id")?, fields.text("callback_url")?);
        let asked = Self { target, task, call, callback, ..Self::read_known(&mut fields)? };
        fields.end()?;
        asked.check()?;
        Ok(asked)
    }

    /// From those fields that the agent API has, too.
    pub(crate) fn read_known(fields: &mut Fields) -> Result<Self, Problem> {
        let tool = fields.text("tool_name")?.ok_or_else(|| missing("tool_name"))?;
        let words = CallerWords {
            workflow_name: fields.text("workflow_name")?,
            task_label: fields.text("task_label")?,
            subject: fields.text("subject")?,
            preview: fields.text("preview")?,
            risk_level: fields.risk("risk_level")?,
            summary: fields.texts("summary")?,
            images: fields.texts("images")?,
        };
        let arguments = fields.payload()?;
        let tool = ToolName::new(tool);
        let asked = Self { target: None, tool, task: None, call: None, words, arguments, callback: None };
        asked.check()?;
        Ok(asked)
    }

    fn check(&self) -> Result<(), Problem> {
        let tool = self.tool.as_str();
        if tool.is_empty() || tool.len() > NAME_BYTES_MAX || tool.chars().any(char::is_control) {
            let problem = "`tool_name` is a name of at most 256 bytes, without control characters";
            return Err(Problem::bad_request(problem.to_owned()));
        }
        if let Some(task) = &self.task {
            ApiTaskId::parse(task.clone())
                .map_err(|error| Problem::bad_request(format!("`task_id` cannot be used: {error}")))?;
        }
        match &self.call {
            Some(call) if call.is_empty() || call.len() > CALL_ID_BYTES_MAX => {
                Err(Problem::bad_request("`call_id` is a text of 1 to 255 bytes".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Fields that nobody has taken yet.
pub(crate) struct Fields(pub(crate) Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::bad_request(format!("`{name}` is not a text"))),
        }
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, Problem> {
        let wrong = || Problem::bad_request(format!("`{name}` is not a list of texts"));
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| if let Value::String(text) = item { Ok(text) } else { Err(wrong()) })
                .collect(),
            // Platforms whose lists are one text.
            Some(Value::String(text)) => Ok(vec![text]),
            Some(_) => Err(wrong()),
        }
    }

    fn risk(&mut self, name: &str) -> Result<Option<RiskLevel>, Problem> {
        let Some(word) = self.text(name)?.filter(|word| !word.is_empty()) else {
            return Ok(None);
        };
        let levels = [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High, RiskLevel::Critical];
        let level = levels.into_iter().find(|level| level.as_str() == word);
        let wrong = || Problem::bad_request(format!("`{name}` is low, medium, high or critical"));
        level.map(Some).ok_or_else(wrong)
    }

    fn payload(&mut self) -> Result<Arguments, Problem> {
        let as_text = self.text("payload_json")?.filter(|text| !text.trim().is_empty());
        match (self.take("payload"), as_text) {
            (Some(_), Some(_)) => {
                Err(Problem::bad_request("send `payload` or `payload_json`, not both".to_owned()))
            }
            (Some(Value::Object(payload)), None) => arguments("payload", Value::Object(payload).to_string()),
            (Some(_), None) => Err(Problem::bad_request("`payload` is not a JSON object".to_owned())),
            (None, Some(text)) => arguments("payload_json", text),
            (None, None) => Ok(Arguments::absent()),
        }
    }

    /// An object inside the body.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Problem::bad_request(format!("`{name}` is not a JSON object"))),
        }
    }

    /// Refuses what is left.
    pub(crate) fn end(mut self) -> Result<(), Problem> {
        self.0.retain(|_, value| !value.is_null());
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
                Err(Problem::bad_request(format!("there is no field `{name}`")))
            }
        }
    }
}

fn arguments(field: &str, text: String) -> Result<Arguments, Problem> {
    Arguments::parse(text).map_err(|error| Problem::bad_request(format!("`{field}` cannot be used: {error}")))
}

pub(crate) fn missing(field: &str) -> Problem {
    Problem::bad_request(format!("`{field}` is missing"))
}

/// A form as the object that it stands for. Values are texts: none is read as JSON unless its name says so.
fn form(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    let mut fields = Map::new();
    let mut payload = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        if name.contains(char::REPLACEMENT_CHARACTER) || value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Problem::bad_request("the form is not UTF-8".to_owned()));
        }
        match (name.strip_prefix(PAYLOAD_FIELD), &*name) {
            (Some(member), _) => {
                let (member, value) = payload_member(member, value.into_owned())?;
                once(&mut payload, &member, value)?;
            }
            (None, "summary" | "images") => match fields.get_mut(&*name) {
                Some(Value::Array(items)) => items.push(Value::String(value.into_owned())),
                Some(_) | None => {
                    fields.insert(name.into_owned(), Value::Array(vec![Value::String(value.into_owned())]));
                }
            },
            // An object: a form has its members.
            (None, "payload") => {
                let problem = "a form has `payload.NAME` fields, or one `payload_json`";
                return Err(Problem::bad_request(problem.to_owned()));
            }
            (None, _) => once(&mut fields, &name, Value::String(value.into_owned()))?,
        }
    }
    if !payload.is_empty() {
        fields.insert("payload".to_owned(), Value::Object(payload));
    }
    Ok(fields)
}

fn once(object: &mut Map<String, Value>, name: &str, value: Value) -> Result<(), Problem> {
    if object.insert(name.to_owned(), value).is_some() {
        let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
        return Err(Problem::bad_request(format!("the form has `{name}` twice")));
    }
    Ok(())
}

/// `NAME`, or `NAME:number` and the like.
fn payload_member(member: &str, text: String) -> Result<(String, Value), Problem> {
    let (name, kind) = member.rsplit_once(':').map_or((member, None), |(name, kind)| (name, Some(kind)));
    let wrong = |what: &str| Problem::bad_request(format!("`{PAYLOAD_FIELD}{name}` is not {what}"));
    let json = || check_unambiguous(text.trim()).ok();
    let value = match kind {
        None | Some("text") => Value::String(text),
        Some("number") => json().filter(Value::is_number).ok_or_else(|| wrong("a JSON number"))?,
        Some("boolean") => json().filter(Value::is_boolean).ok_or_else(|| wrong("true or false"))?,
        Some("json") => json().ok_or_else(|| wrong("JSON with one reading"))?,
        Some(_) => {
            let problem =
                "after the name of a payload field come `:text`, `:number`, `:boolean`, `:json` or nothing";
            return Err(Problem::bad_request(problem.to_owned()));
        }
    };
    if name.is_empty() {
        return Err(Problem::bad_request("a payload field has no name".to_owned()));
    }
    Ok((name.to_owned(), value))
}
