//! What the bridge runs itself: from a call to one HTTP request. Values of arguments are encoded for where they go, and are never
//! put into a text that is read again.

use bytes::Bytes;
use holdpoint_core::{Arguments, ToolName};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde_json::{Map, Value};
use std::{collections::HashMap, time::Duration};
use url::form_urlencoded;

/// What is shorter is found in texts that have nothing to do with it.
const CREDENTIAL_BYTES_MIN: usize = 8;

/// A service whose calls the bridge makes.
#[derive(Clone, Debug)]
pub struct Target {
    /// Scheme, host, and the path that every tool's path goes on from; without a slash at the end.
    pub url: Uri,
    /// What every request is sent with; marked as sensitive where it is. A response with such a value in it is not passed back.
    pub headers: HeaderMap,
    /// For the whole of a call.
    pub timeout: Duration,
    /// A longer response is not passed back.
    pub response_bytes_max: usize,
    /// Its tools.
    pub tools: HashMap<ToolName, TargetTool>,
}

/// One tool of a target.
#[derive(Clone, Debug)]
pub struct TargetTool {
    /// The method.
    pub method: Method,
    /// The path, piece by piece, from after the target's own.
    pub path: Vec<PathPart>,
    /// The query.
    pub query: Vec<(String, ValueSource)>,
    /// Headers of its own.
    pub headers: Vec<(HeaderName, ValueSource)>,
    /// The body.
    pub body: TargetBody,
    /// A text that is the same as long as the tool is. It is digested, and shown to nobody.
    pub place: String,
}

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// As it is written.
    Text(String),
    /// One segment: an argument, by JSON Pointer (RFC 6901).
    Argument(String),
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// An argument, by JSON Pointer (RFC 6901).
    At {
        /// Where.
        pointer: String,
        /// Whether it may be missing.
        optional: bool,
    },
    /// Always the same.
    Value(Value),
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetBody {
    /// Nothing.
    None,
    /// The arguments as they were approved.
    Arguments,
    /// A JSON object of these members.
    Json(Vec<(String, ValueSource)>),
    /// A form of these fields.
    Form(Vec<(String, ValueSource)>),
}

impl Target {
    /// Whether a response repeats what the target was told to believe us by, as pages of errors do that show their request.
    pub(crate) fn credential_in(&self, body: &[u8]) -> bool {
        let sensitive = self.headers.values().filter(|value| value.is_sensitive());
        let secrets = sensitive.map(|value| {
            let value = value.as_bytes();
            // Without its scheme (RFC 9110, 11.4).
            value.iter().position(|byte| *byte == b' ').and_then(|at| value.get(at + 1..)).unwrap_or(value)
        });
        let mut secrets = secrets.filter(|secret| secret.len() >= CREDENTIAL_BYTES_MIN);
        secrets.any(|secret| body.windows(secret.len()).any(|part| part == secret))
    }

    /// The request that a call of `tool` is.
    ///
    /// # Errors
    /// The arguments do not do for it; says which, never what they are.
    pub(crate) fn request(
        &self,
        tool: &TargetTool,
        arguments: &Arguments,
    ) -> Result<Request<Full<Bytes>>, String> {
        let nothing = Value::Object(Map::new());
        let given = arguments.as_value().unwrap_or(&nothing);
        let mut request = Request::new(Full::new(tool.body.bytes(arguments, given)?));
        *request.method_mut() = tool.method.clone();
        *request.uri_mut() = self.uri(tool, given)?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        if let Some(kind) = tool.body.content_type() {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        for (name, source) in &tool.headers {
            if let Some(value) = source.text(given)? {
                let value = HeaderValue::try_from(value)
                    .map_err(|_| format!("{} cannot be in a header", source.name()))?;
                headers.insert(name, value);
            }
        }
        Ok(request)
    }

    fn uri(&self, tool: &TargetTool, given: &Value) -> Result<Uri, String> {
        let mut path = self.url.path().trim_end_matches('/').to_owned();
        for part in &tool.path {
            match part {
                PathPart::Text(text) => path.push_str(text),
                PathPart::Argument(pointer) => path.push_str(&segment(pointer, given)?),
            }
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, source) in &tool.query {
            if let Some(value) = source.text(given)? {
                query.append_pair(name, &value);
            }
        }
        let query = query.finish();
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        let mut parts = self.url.clone().into_parts();
        let unusable = |_| "the path that they make cannot be sent".to_owned();
        parts.path_and_query = Some(path.parse().map_err(unusable)?);
        Uri::from_parts(parts).map_err(|_| "the address that they make cannot be used".to_owned())
    }
}

impl TargetBody {
    fn bytes(&self, arguments: &Arguments, given: &Value) -> Result<Bytes, String> {
        Ok(match self {
            Self::None => Bytes::new(),
            Self::Arguments => arguments
                .raw()
                .map_or_else(|| Bytes::from_static(b"{}"), |raw| Bytes::copy_from_slice(raw.as_bytes())),
            Self::Json(members) => {
                let mut object = Map::new();
                for (name, source) in members {
                    if let Some(value) = source.value(given)? {
                        object.insert(name.clone(), value.clone());
                    }
                }
                Value::Object(object).to_string().into()
            }
            Self::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, source) in fields {
                    if let Some(value) = source.text(given)? {
                        form.append_pair(name, &value);
                    }
                }
                form.finish().into()
            }
        })
    }

    const fn content_type(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Arguments | Self::Json(_) => Some(HeaderValue::from_static("application/json")),
            Self::Form(_) => Some(HeaderValue::from_static("application/x-www-form-urlencoded")),
        }
    }
}

impl ValueSource {
    fn value<'v>(&'v self, given: &'v Value) -> Result<Option<&'v Value>, String> {
        match self {
            Self::Value(value) => Ok(Some(value)),
            Self::At { pointer, optional } => match given.pointer(pointer) {
                Some(value) => Ok(Some(value)),
                None if *optional => Ok(None),
                None => Err(format!("`{pointer}` is missing")),
            },
        }
    }

    fn text(&self, given: &Value) -> Result<Option<String>, String> {
        let Some(value) = self.value(given)? else {
            return Ok(None);
        };
        scalar(value).map(Some).ok_or_else(|| format!("{} is not a text, a number or a boolean", self.name()))
    }

    fn name(&self) -> String {
        match self {
            Self::At { pointer, .. } => format!("`{pointer}`"),
            Self::Value(_) => "a constant of the configuration".to_owned(),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One segment of a path. `.` and `..` are folded away by readers of URLs, encoded or not; and by those that decode `%2F`
/// first, as part of one, too.
fn segment(pointer: &str, given: &Value) -> Result<String, String> {
    let value = given.pointer(pointer).ok_or_else(|| format!("`{pointer}` is missing"))?;
    let text = scalar(value).ok_or_else(|| format!("`{pointer}` is not a text, a number or a boolean"))?;
    match &*text {
        "" => Err(format!("`{pointer}` is empty, and would make another path")),
        text if text.split(['/', '\\']).any(|piece| matches!(piece, "." | "..")) => {
            Err(format!("`{pointer}` would make another path"))
        }
        text => Ok(holdpoint_api::paths::escape(text)),
    }
}
