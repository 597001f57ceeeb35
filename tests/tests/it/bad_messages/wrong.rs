//! Every way in which a message can be wrong, and what it is answered with.

use crate::told::{decision, refund, text};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

pub(super) const PARSE_ERROR: i64 = -32700;
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const INVALID_PARAMS: i64 = -32602;

/// What a wrong message is answered with.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// A JSON-RPC error, under the message's id if it has one.
    Error(i64, Whose),
    /// A tool result that the model can learn from.
    Decision(&'static str),
}

/// Whose error it is.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    Bad,
    Nobody,
}

pub(super) struct Wrong {
    pub(super) name: &'static str,
    pub(super) message: Vec<u8>,
    pub(super) told: Told,
}

pub(super) fn wrong(name: &'static str, message: impl Into<Vec<u8>>, told: Told) -> Wrong {
    Wrong { name, message: message.into(), told }
}

pub(super) fn call(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"bad","method":"tools/call","params":{{"name":"refund","arguments":{arguments}}}}}"#
    )
}

pub(super) fn all_wrong() -> Vec<Wrong> {
    [no_messages(), no_calls(), no_arguments()].into_iter().flatten().collect()
}

fn envelope(members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"bad",{members}}}"#)
}

/// What nobody can read, or two readers read differently.
fn no_messages() -> Vec<Wrong> {
    use Told::Error;
    use Whose::{Bad, Nobody};
    let good = refund("1", 40).to_string();
    let params = format!(r#""params":{{"name":"refund","arguments":{good}}}"#);
    vec![
        wrong("not JSON", "one refund, please", Error(PARSE_ERROR, Nobody)),
        wrong(
            "cut off",
            r#"{"jsonrpc":"2.0","id":"bad","method":"tools/call","params":{"#,
            Error(PARSE_ERROR, Nobody),
        ),
        wrong(
            "not UTF-8",
            [&call(&good).as_bytes()[..20], b"\xff", &call(&good).as_bytes()[20..]].concat(),
            Error(PARSE_ERROR, Nobody),
        ),
        wrong("a number", "42", Error(INVALID_REQUEST, Nobody)),
        wrong("a byte order mark", format!("\u{feff}{}", call(&good)), Error(PARSE_ERROR, Nobody)),
        wrong(
            "nested without end",
            format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000)),
            Error(INVALID_REQUEST, Nobody),
        ),
        wrong(
            "two methods",
            envelope(&format!(r#""method":"ping","method":"tools/call",{params}"#)),
            Error(INVALID_REQUEST, Nobody),
        ),
        wrong(
            "a method in another case",
            envelope(&format!(r#""Method":"tools/call","method":"ping",{params}"#)),
            Error(INVALID_REQUEST, Nobody),
        ),
        wrong(
            "a method in another spelling",
            envelope(&format!(r#""method":"Tools/Call",{params}"#)),
            Error(INVALID_REQUEST, Bad),
        ),
    ]
}

/// What is no call of a tool that is there.
fn no_calls() -> Vec<Wrong> {
    use Told::Error;
    use Whose::{Bad, Nobody};
    let good = refund("1", 40).to_string();
    let params = format!(r#""params":{{"name":"refund","arguments":{good}}}"#);
    vec![
        wrong(
            "no id",
            format!(r#"{{"jsonrpc":"2.0","method":"tools/call",{params}}}"#),
            Error(INVALID_REQUEST, Nobody),
        ),
        wrong(
            "no name",
            envelope(r#""method":"tools/call","params":{"arguments":{}}"#),
            Error(INVALID_PARAMS, Bad),
        ),
        wrong(
            "two names",
            envelope(&format!(
                r#""method":"tools/call","params":{{"name":"append","name":"refund","arguments":{good}}}"#
            )),
            Error(INVALID_PARAMS, Bad),
        ),
        wrong(
            "an unknown tool",
            envelope(r#""method":"tools/call","params":{"name":"refunds","arguments":{}}"#),
            Error(INVALID_PARAMS, Bad),
        ),
        wrong("a batch with a call", format!("[{}]", call(&good)), Error(INVALID_REQUEST, Bad)),
    ]
}

/// What the tool could not be called with.
fn no_arguments() -> Vec<Wrong> {
    use Told::Decision;
    vec![
        wrong(
            "arguments nested without end",
            call(&format!(r#"{{"order_id":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000))),
            Decision("invalid_arguments"),
        ),
        wrong(
            "equal keys",
            call(r#"{"order_id":"1","amount":40,"amount":4000}"#),
            Decision("invalid_arguments"),
        ),
        wrong(
            "keys that differ in case",
            call(r#"{"order_id":"1","amount":40,"Amount":4000}"#),
            Decision("invalid_arguments"),
        ),
        wrong("a missing argument", call(r#"{"order_id":"1"}"#), Decision("invalid_arguments")),
        wrong(
            "an argument of another type",
            call(r#"{"order_id":"1","amount":"all of it"}"#),
            Decision("invalid_arguments"),
        ),
        wrong(
            "a fraction where the schema has none",
            call(r#"{"order_id":"1","amount":0.5}"#),
            Decision("invalid_arguments"),
        ),
    ]
}

/// The right words, in the right place, for the right message.
pub(super) fn told(wrong: &Wrong, answer: &Value) -> Result<()> {
    match wrong.told {
        Told::Error(code, whose) => {
            let error = if answer.is_array() { &answer[0] } else { answer };
            ensure!(error["error"]["code"] == code, "not {code}: {answer}");
            let id = match whose {
                Whose::Bad => json!("bad"),
                Whose::Nobody => Value::Null,
            };
            ensure!(error["id"] == id, "not to {id}: {answer}");
            ensure!(
                error["error"]["message"].as_str().is_some_and(|text| text.len() > 10),
                "no words: {answer}"
            );
        }
        Told::Decision(status) => {
            ensure!(
                answer["id"] == "bad" && decision(answer)["status"] == status,
                "not `{status}`: {answer}"
            );
            ensure!(answer["result"]["isError"] == true, "no error: {answer}");
            ensure!(text(answer).contains("did not run"), "not said: {answer}");
        }
    }
    Ok(())
}
