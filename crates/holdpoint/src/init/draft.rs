//! A tools file and its cases, drawn from what a server says of its tools.

use holdpoint_config::printable;
use holdpoint_mcp::{StatedTool, Survey};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Parts of names whose values should not leave.
const SECRET: [&str; 15] = [
    "apikey",
    "authorization",
    "card",
    "credential",
    "cvc",
    "cvv",
    "iban",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pin",
    "privatekey",
    "secret",
    "token",
];
/// Points in a summary.
const POINTS_MAX: usize = 6;
const COMMENT_CHARS: usize = 110;
const SCHEMA_DEPTH_MAX: usize = 16;

/// Two files.
pub(super) struct Draft {
    pub(super) tools: String,
    pub(super) cases: String,
}

/// How many tools pass, and how many do not.
pub(super) struct Tally {
    pub(super) pass: usize,
    pub(super) gated: usize,
}

pub(super) fn tally(survey: &Survey) -> Tally {
    let pass = survey.tools.iter().filter(|tool| only_reads(tool)).count();
    Tally { pass, gated: survey.tools.len() - pass }
}

/// `is_new`: the configuration is written beside it, so it is known what becomes of tools without an entry.
pub(super) fn draft(server: &str, survey: &Survey, is_new: bool) -> Draft {
    let server = quoted(server);
    let mut tools = format!(
        "# What is to be done with calls to `{server}`: gate (a person or a rule decides), pass, or deny. Made by `holdpoint init` from\n\
         # what the server says of its tools, which nobody vouches for: read each entry. Then tell reviewers more, in your words.\n\
         server: {server}\ntools:\n"
    );
    let mut cases = format!(
        "# What the entries make of calls; `holdpoint check` runs these. Put in calls that matter to you, and what reviewers should\n\
         # see of them, under `request:`.\nserver: {server}\ncases:\n"
    );
    let (reading, other): (Vec<&StatedTool>, Vec<&StatedTool>) =
        survey.tools.iter().partition(|tool| only_reads(tool));
    let mut any = false;
    for (head, listed) in [("They say that they only read.", &reading), ("All others.", &other)] {
        let writable: Vec<_> = listed.iter().filter(|tool| !is_glob(&tool.name)).collect();
        if !writable.is_empty() {
            let _infallible = writeln!(tools, "\n  # {head}");
        }
        for tool in writable {
            any = true;
            tools.push_str(&entry(tool));
            cases.push_str(&case(tool));
        }
    }
    for tool in survey.tools.iter().filter(|tool| is_glob(&tool.name)) {
        let name = printable(&tool.name);
        let _infallible =
            writeln!(tools, "\n  # `{name}` reads like a pattern, so it has no entry of its own.");
    }
    if !any {
        tools = tools.replace("\ntools:\n", "\ntools: []\n");
    }
    if is_new {
        cases.push_str(
            "\n  - name: a tool that the server gets later is asked about\n    tool: not_there_yet\n    plan: gate\n",
        );
    } else if !any {
        cases = cases.replace("\ncases:\n", "\ncases: []\n");
    }
    Draft { tools, cases }
}

/// `readOnlyHint` is all that lets a tool pass here, and only where nothing is said against it.
fn only_reads(tool: &StatedTool) -> bool {
    let no = |name| matches!(hint(tool, name), None | Some(Value::Null | Value::Bool(false)));
    hint(tool, "readOnlyHint") == Some(&Value::Bool(true)) && no("destructiveHint") && no("openWorldHint")
}

fn hint<'t>(tool: &'t StatedTool, name: &str) -> Option<&'t Value> {
    tool.definition.get("annotations")?.get(name)
}

fn entry(tool: &StatedTool) -> String {
    let mut text = String::from("\n");
    for comment in comments(tool) {
        let _infallible = writeln!(text, "  # {comment}");
    }
    let name = quoted(&tool.name);
    if only_reads(tool) {
        let _infallible = writeln!(text, "  - name: {name}\n    action: pass");
        return text;
    }
    let arguments = arguments(tool);
    let shown: Vec<&Argument<'_>> = arguments
        .iter()
        .filter(|argument| argument.required && !argument.secret && argument.scalar)
        .collect();
    let _infallible = writeln!(text, "  - name: {name}\n    action: gate");
    let subject = match shown.first() {
        Some(first) => format!("{}: {}", title(tool), first.template(100)),
        None => title(tool),
    };
    let _infallible = writeln!(text, "    subject: {}", Value::from(subject));
    let _infallible = writeln!(text, "    risk_level: {}", risk(tool));
    if !shown.is_empty() {
        text.push_str("    summary:\n");
    }
    for argument in shown.iter().take(POINTS_MAX) {
        let point = format!("{}: {}", argument.name, argument.template(300));
        let _infallible = writeln!(text, "      - {}", Value::from(point));
    }
    if arguments.iter().any(|argument| argument.secret) {
        text.push_str("    # An argument that is not listed here is not shown to reviewers.\n    payload:\n");
        for argument in &arguments {
            let _infallible = writeln!(text, "      {}", argument.field());
        }
    }
    text
}

fn comments(tool: &StatedTool) -> Vec<String> {
    let mut comments = Vec::new();
    let description = tool.definition.get("description").and_then(Value::as_str).unwrap_or_default();
    if let Some(line) = description.lines().map(str::trim).find(|line| !line.is_empty()) {
        let line = printable(line);
        let cut: String = line.chars().take(COMMENT_CHARS).collect();
        comments.push(if cut.len() < line.len() { format!("{cut}…") } else { cut });
    }
    let says = |name, yes: &str, no: &str| match hint(tool, name) {
        Some(Value::Bool(true)) => Some(yes.to_owned()),
        Some(Value::Bool(false)) => Some(no.to_owned()),
        _ => None,
    };
    let said: Vec<String> = [
        says("readOnlyHint", "only reads", "changes things"),
        says("destructiveHint", "may destroy", "destroys nothing"),
        says("idempotentHint", "harmless to repeat", "not to be repeated"),
        says("openWorldHint", "reaches out", "stays inside"),
    ]
    .into_iter()
    .flatten()
    .collect();
    comments.push(if said.is_empty() {
        "It says nothing of its effect.".to_owned()
    } else {
        format!("By its own word: {}.", said.join(", "))
    });
    comments
}

fn risk(tool: &StatedTool) -> &'static str {
    match (hint(tool, "destructiveHint"), hint(tool, "readOnlyHint")) {
        (None | Some(Value::Null | Value::Bool(false)), Some(Value::Bool(true))) => "low",
        (None | Some(Value::Null | Value::Bool(false)), _) => "medium",
        (Some(_), _) => "high",
    }
}

/// Words that cannot be taken for a template.
fn title(tool: &StatedTool) -> String {
    let annotated = hint(tool, "title").and_then(Value::as_str);
    let stated = tool.definition.get("title").and_then(Value::as_str).or(annotated).unwrap_or(&tool.name);
    let words: String =
        stated.chars().map(|char| if char.is_alphanumeric() { char } else { ' ' }).take(60).collect();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = words.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => "Run it".to_owned(),
    }
}

struct Argument<'t> {
    name: &'t str,
    schema: &'t Value,
    required: bool,
    secret: bool,
    /// Whether it fits into a line of text, under a name that a template can have.
    scalar: bool,
}

impl Argument<'_> {
    fn template(&self, chars: usize) -> String {
        let clip = if types(self.schema) == ["string"] { format!(" | clip({chars})") } else { String::new() };
        format!("{{{{ args.{}{clip} }}}}", self.name)
    }

    fn field(&self) -> String {
        let pointer = format!("/{}", self.name.replace('~', "~0").replace('/', "~1"));
        let secret = if self.secret { ", secret: true" } else { "" };
        let optional = if self.required { "" } else { ", optional: true" };
        format!("{}: {{ at: {}{secret}{optional} }}", quoted(self.name), Value::from(pointer))
    }
}

fn arguments(tool: &StatedTool) -> Vec<Argument<'_>> {
    let schema = tool.definition.get("inputSchema");
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let scalars = ["string", "integer", "number", "boolean"];
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let types = types(schema);
            let plain = !types.is_empty() && types.iter().all(|kind| scalars.contains(kind));
            Argument {
                name,
                schema,
                required: required.contains(&name.as_str()),
                secret: is_secret(name, schema, 0),
                scalar: plain && is_identifier(name),
            }
        })
        .collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// By its name, or that of something in it.
fn is_secret(name: &str, schema: &Value, depth: usize) -> bool {
    let words = words(name);
    let joined = words.concat();
    let named = SECRET.iter().any(|secret| {
        // Short ones only as a word of their own: `pin` is not in `mapping`.
        if secret.len() <= 4 { words.iter().any(|word| word == secret) } else { joined.contains(secret) }
    });
    // `max_tokens` is a number of tokens.
    let counts = types(schema).iter().any(|kind| matches!(*kind, "integer" | "number" | "boolean"));
    if named && !(counts && joined.contains("token")) {
        return true;
    }
    let inner = [schema.get("properties"), schema.get("items").and_then(|items| items.get("properties"))];
    depth < SCHEMA_DEPTH_MAX
        && inner
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flatten()
            .any(|(name, schema)| is_secret(name, schema, depth + 1))
}

/// `cardNumber`, `card_number` and `card-number` are two words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for char in name.chars() {
        if !char.is_alphanumeric() || (char.is_uppercase() && before_is_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
        before_is_lower = char.is_lowercase();
    }
    words
}

fn case(tool: &StatedTool) -> String {
    let (plan, what) = if only_reads(tool) { ("pass", "passes") } else { ("gate", "is asked about") };
    let mut sample = Map::new();
    for argument in arguments(tool).iter().filter(|argument| argument.required) {
        sample.insert(argument.name.to_owned(), example(argument.schema, 0));
    }
    let case_name = Value::from(format!("{} {what}", printable(&tool.name)));
    format!(
        "\n  - name: {case_name}\n    tool: {}\n    arguments: {}\n    plan: {plan}\n",
        quoted(&tool.name),
        Value::Object(sample)
    )
}

fn example(schema: &Value, depth: usize) -> Value {
    let first =
        |list: &str| schema.get(list).and_then(Value::as_array).and_then(|list| list.first()).cloned();
    let given = schema.get("const").cloned().or_else(|| schema.get("default").cloned());
    if let Some(given) = given.or_else(|| first("enum")).or_else(|| first("examples")) {
        return given;
    }
    match types(schema).first() {
        Some(&"integer" | &"number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some(&"boolean") => json!(true),
        Some(&"array") => json!([]),
        Some(&"object") if depth < SCHEMA_DEPTH_MAX => json!({}),
        _ => json!("example"),
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        // Words of the template language.
        && !["and", "or", "not", "in", "is", "if", "else", "true", "false", "none"].contains(&name)
}

fn is_glob(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// A text as YAML writes it: bare where nothing else could be meant.
pub(super) fn quoted(text: &str) -> String {
    let bare = text.len() > 1
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if bare { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::{is_secret, quoted};
    use serde_json::json;

    #[test]
    fn secrets_are_known_by_their_names() {
        let text = json!({ "type": "string" });
        for name in [
            "password",
            "userPassword",
            "api_key",
            "apiKey",
            "API_KEY",
            "access-token",
            "accessToken",
            "card",
            "cardNumber",
            "pin",
            "card_pin",
            "client_secret",
            "iban",
            "privateKey",
        ] {
            assert!(is_secret(name, &text, 0), "{name}");
        }
        for name in ["mapping", "pinned", "discarded", "keyword", "path", "spinner", "tokyo", "opinion"] {
            assert!(!is_secret(name, &text, 0), "{name}");
        }
        assert!(!is_secret("max_tokens", &json!({ "type": "integer" }), 0));
        let nested =
            json!({ "type": "object", "properties": { "a": { "items": { "properties": { "cvv": {} } } } } });
        assert!(is_secret("payment", &nested, 0));
    }

    #[test]
    fn what_yaml_would_read_as_something_else_is_quoted() {
        for bare in ["files", "get_order", "a-b", "A1"] {
            assert_eq!(quoted(bare), bare);
        }
        for text in ["", "y", "No", "true", "12", "1e3", "-a", "a: b", "a #b", "*x", "a.b", "null", "~"] {
            assert_eq!(quoted(text), format!("\"{text}\""));
        }
    }
}
