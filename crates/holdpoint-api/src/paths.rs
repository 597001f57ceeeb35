//! Paths of the agent API, as route templates and as the paths a client sends.

/// Route template of the events endpoint.
pub const EVENTS: &str = "/api/agent/tasks/{task_id}/events";
/// Route template of the requests endpoint.
pub const REQUESTS: &str = "/api/agent/tasks/{task_id}/requests";
/// Path of the decisions endpoint.
pub const DECISIONS: &str = "/api/agent/decisions";
/// Path of the feed that says which threads have news.
pub const DECISION_CHANGES: &str = "/api/agent/decisions/changes";
/// Path of the validation endpoint.
pub const VALIDATE: &str = "/api/agent/approvals/validate";

use crate::TaskId;

/// The path to log an event under `task`, percent-encoded.
#[must_use]
pub fn events(task: &TaskId) -> String {
    format!("/api/agent/tasks/{}/events", escape(task.as_str()))
}

/// The path to ask for a decision under `task`, percent-encoded.
#[must_use]
pub fn requests(task: &TaskId) -> String {
    format!("/api/agent/tasks/{}/requests", escape(task.as_str()))
}

/// The path and query to poll one thread. `wait_seconds` only where Gate announced long polls.
#[must_use]
pub fn decision_of_thread(thread_id: &str, wait_seconds: Option<u64>) -> String {
    with_wait(format!("{DECISIONS}?thread_id={}", escape(thread_id)), wait_seconds)
}

/// The path and query to find the latest thread of a task.
#[must_use]
pub fn decision_of_task(task: &TaskId) -> String {
    format!("{DECISIONS}?task_id={}", escape(task.as_str()))
}

/// The path and query to read the feed: what changed after the cursor of the answer before, `None` at the start. Only
/// where Gate announced the feed.
#[must_use]
pub fn decision_changes(after: Option<&str>, wait_seconds: u64) -> String {
    let path = format!("{DECISION_CHANGES}?wait={wait_seconds}");
    match after {
        Some(cursor) => format!("{path}&after={}", escape(cursor)),
        None => path,
    }
}

fn with_wait(path: String, wait_seconds: Option<u64>) -> String {
    match wait_seconds {
        Some(seconds) => format!("{path}&wait={seconds}"),
        None => path,
    }
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, so that an id cannot add a segment or a
/// query of its own.
#[must_use]
pub fn escape(text: &str) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.extend(HEX.get(usize::from(byte >> 4)));
            escaped.extend(HEX.get(usize::from(byte & 15)));
        }
    }
    escaped
}
