//! A client that knows of an API only what its Swagger file says, as the platform does.

use super::example;
use anyhow::{Context as _, Result, ensure};
use holdpoint_e2e::{Answer, Request};
use serde_json::{Value, json};

/// A connector with its connection.
pub(crate) struct Connector {
    definition: Value,
    /// What stands for the scheme and the host of the file.
    base: String,
    key: String,
}

/// What an operation answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
    answer: Answer,
}

impl Answered {
    /// Status, decision and why.
    pub(crate) fn words(&self) -> (u16, &str, &str) {
        let word = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, word("decision"), word("status"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }
}

impl Connector {
    pub(crate) fn read(folder: &str, base: &str, key: &str) -> Result<Self> {
        let file = example().join(folder).join("apiDefinition.swagger.json");
        let definition = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        Ok(Self { definition, base: base.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { definition: self.definition.clone(), base: self.base.clone(), key: key.to_owned() }
    }

    /// Calls an operation with values for its parameters, by name. An answer has to be one that the file names, and as it says.
    pub(crate) fn call(&self, operation: &str, values: &Value) -> Result<Answered> {
        let (path, method, item) = self.operation(operation)?;
        let mut url = format!("{}{}{path}", self.base, self.base_path());
        let (mut query, mut headers, mut body) = (String::new(), Vec::new(), None);
        for parameter in item["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().context("a parameter without a name")?;
            let value = values.get(name).or_else(|| parameter.get("default"));
            let Some(value) = value else {
                ensure!(parameter["required"] != true, "{operation} needs {name}");
                continue;
            };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match parameter["in"].as_str() {
                Some("path") => url = url.replace(&format!("{{{name}}}"), &text),
                Some("query") => {
                    query = format!("{query}{}{name}={text}", if query.is_empty() { "?" } else { "&" });
                }
                Some("header") => headers.push((name, text)),
                Some("body") => {
                    self.fits(&parameter["schema"], value)?;
                    body = Some(value.to_string());
                }
                other => anyhow::bail!("a parameter in {other:?}"),
            }
        }
        for name in values.as_object().context("no values")?.keys() {
            let known = item["parameters"].as_array().into_iter().flatten().any(|it| it["name"] == **name);
            ensure!(known, "{operation} has no {name}");
        }
        let url = format!("{url}{query}");
        let mut request = match method {
            "get" => Request::get(&url),
            "delete" => Request::delete(&url),
            _ => Request::post(&url, "application/json", body.unwrap_or_default()),
        };
        for (name, value) in headers {
            request = request.header(name, &value);
        }
        let answer = self.signed(request)?.send()?;
        let body: Value = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
        let said = item["responses"].get(answer.status.to_string()).unwrap_or(&item["responses"]["default"]);
        // Who is refused at the door is told so in plain text.
        if let Some(schema) = said.get("schema").filter(|_| answer.status != 401) {
            self.fits(schema, &body).with_context(|| format!("{operation}: {} {body}", answer.status))?;
        }
        Ok(Answered { status: answer.status, body, answer })
    }

    /// A message to the server behind the one path of an MCP connector.
    pub(crate) fn mcp(&self, server: &str, message: &Value, session: Option<&str>) -> Result<Request> {
        let (path, method, _) = self.operation("InvokeMCP")?;
        ensure!(method == "post", "another method");
        let url = format!("{}{}{}", self.base, self.base_path(), path.replace("NAME", server));
        let request = self.signed(Request::mcp(&url, message.to_string()))?;
        Ok(match session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        })
    }

    /// Whether a value is what a definition says: all of its properties are known, and of their types.
    pub(crate) fn conforms(&self, definition: &str, value: &Value) -> Result<()> {
        self.fits(&json!({ "$ref": format!("#/definitions/{definition}") }), value)
    }

    fn operation(&self, operation: &str) -> Result<(&str, &str, &Value)> {
        let paths = self.definition["paths"].as_object().context("no paths")?;
        let operations = paths.iter().flat_map(|(path, item)| {
            item.as_object()
                .into_iter()
                .flatten()
                .map(move |(method, item)| (path.as_str(), method.as_str(), item))
        });
        let mut found = operations.filter(|(.., item)| item["operationId"] == operation);
        found.next().with_context(|| format!("no operation {operation}"))
    }

    fn base_path(&self) -> &str {
        self.definition["basePath"].as_str().unwrap_or_default().trim_end_matches('/')
    }

    /// With the key where the file's security says.
    fn signed(&self, request: Request) -> Result<Request> {
        let used = self.definition["security"][0].as_object().context("no security")?;
        let name = used.keys().next().context("no security")?;
        let scheme = &self.definition["securityDefinitions"][name];
        ensure!(scheme["type"] == "apiKey" && scheme["in"] == "header", "another kind of security");
        Ok(request.header(scheme["name"].as_str().context("no header")?, &self.key))
    }

    fn fits(&self, schema: &Value, value: &Value) -> Result<()> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.definition.pointer(reference.trim_start_matches('#'));
            return self.fits(target.with_context(|| format!("no {reference}"))?, value);
        }
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64() || value.is_i64(),
            Some("boolean") => value.is_boolean(),
            other => anyhow::bail!("a schema of {other:?}"),
        };
        ensure!(fits, "{value} is no {}", schema["type"]);
        for name in schema["required"].as_array().into_iter().flatten() {
            ensure!(value.get(name.as_str().unwrap_or_default()).is_some(), "{name} is missing");
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            self.fits(
                schema["properties"].get(name).with_context(|| format!("`{name}` is not in the file"))?,
                value,
            )?;
        }
        Ok(())
    }
}
