//! Runs what was permitted at its target, once, and says what came of it.

use crate::{
    answer::{Answer, Happened, Word},
    content::Mode,
    outgoing::{Connection, NoResponse},
    target::{Target, TargetTool},
};
use base64::Engine as _;
use bytes::Bytes;
use holdpoint_core::{Completion, Grounds, OperationId, Outcome, PermittedCall, StoredResult, ToolCall};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// So that a target can tell a call that it has seen before.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A call on its way to its target.
pub(crate) struct Run<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tool: &'a TargetTool,
    pub(crate) id: &'a OperationId,
}

/// What the target said.
struct Said {
    status: StatusCode,
    result: Value,
}

impl Run<'_> {
    /// The request, and a connection for it. The error says why nothing can be sent.
    pub(crate) async fn prepare(
        &self,
        outgoing: &crate::outgoing::Outgoing,
        call: &ToolCall,
    ) -> Result<(Request<Full<Bytes>>, Connection), Answer> {
        let not_run =
            |detail: String| Answer::denied("unavailable", &detail, "ask_again").happened(Happened::No);
        let mut request = self
            .target
            .request(self.tool, &call.arguments)
            .map_err(|problem| not_run(format!("The call cannot be sent: {problem}. It did not run.")))?;
        if let Ok(id) = HeaderValue::try_from(self.id.as_str()) {
            request.headers_mut().entry(IDEMPOTENCY_KEY).or_insert(id);
        }
        let connection = outgoing.connect(request.uri()).await.map_err(|error| {
            tracing::warn!(tool = %call.tool, server = %call.server, %error, cause = ?error, "a target cannot be reached");
            not_run("The target cannot be reached. The call did not run.".to_owned())
        })?;
        Ok((request, connection))
    }

    /// Sends a permitted call. Whatever it comes to is recorded when this returns.
    pub(crate) async fn send(
        &self,
        permitted: PermittedCall,
        request: Request<Full<Bytes>>,
        connection: Connection,
    ) -> Answer {
        let (call, receipt, completion) = permitted.into_parts();
        match tokio::time::timeout(self.target.timeout, self.exchange(&call, request, connection)).await {
            Ok(Ok(said)) => finish(&receipt.grounds, said, completion).await,
            Ok(Err(error)) => {
                tracing::warn!(tool = %call.tool, server = %call.server, %error, "the answer of a target is lost");
                lose(completion).await
            }
            Err(_elapsed) => {
                tracing::warn!(tool = %call.tool, server = %call.server, "a target did not answer in time");
                lose(completion).await
            }
        }
    }

    async fn exchange(
        &self,
        call: &ToolCall,
        request: Request<Full<Bytes>>,
        connection: Connection,
    ) -> Result<Said, NoResponse> {
        let response = connection.send(request).await?;
        let status = response.status();
        let result = self.result(call, response).await;
        Ok(Said { status, result })
    }

    /// A body that is too long, or breaks off, or has the target's credentials in it, is left out: the head says already that
    /// the call arrived.
    async fn result(&self, call: &ToolCall, response: Response<Incoming>) -> Value {
        let (head, body) = response.into_parts();
        let mut result = Map::from_iter([("status".to_owned(), json!(head.status.as_u16()))]);
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if let Some(kind) = kind {
            result.insert("content_type".to_owned(), json!(kind));
        }
        let body = Limited::new(body, self.target.response_bytes_max).collect().await;
        let (name, value) = match body.map(Collected::to_bytes) {
            Ok(body) if self.target.credential_in(&body) => {
                tracing::warn!(tool = %call.tool, server = %call.server, "a target's answer repeats its credential; it is withheld");
                ("withheld", json!(true))
            }
            Ok(body) => encoded(kind.unwrap_or_default(), &body),
            Err(_) => ("truncated", json!(true)),
        };
        result.insert(name.to_owned(), value);
        Value::Object(result)
    }
}

/// Tells those who wait for the same call that nothing was sent.
pub(crate) async fn unsent(permitted: PermittedCall, told: &Answer) {
    let (_call, _receipt, completion) = permitted.into_parts();
    completion.unsent(StoredResult::new(packed(told))).await;
}

/// A yes whose caller runs the tool: handing it out is the run.
pub(crate) async fn hand_out(permitted: PermittedCall) -> Answer {
    let (_call, receipt, completion) = permitted.into_parts();
    let answer = Answer::allowed(&receipt.grounds);
    if completion.is_recorded() {
        let outcome = Outcome::succeeded(packed(&answer));
        let excerpt = Some("the approval was handed to the caller, who runs it".to_owned());
        // Not delivered: whoever asks the same again gets the same, for as long as results are kept.
        drop(completion.finish(outcome.with_excerpt(excerpt)).await);
    }
    answer
}

async fn finish(grounds: &Grounds, said: Said, completion: Completion) -> Answer {
    let Said { status, result } = said;
    let yes = Answer::allowed(grounds);
    let answer = Answer {
        word: Word::Allow,
        detail: format!("It was allowed, and ran. The target answered {}.", status.as_u16()),
        happened: Some(Happened::Yes),
        result: Some(result),
        ..yes
    };
    let packed = packed(&answer);
    let outcome = if status.is_success() { Outcome::succeeded(packed) } else { Outcome::failed(packed) };
    let excerpt = Some(format!("HTTP {}", status.as_u16()));
    drop(completion.finish(outcome.with_excerpt(excerpt)).await);
    answer
}

async fn lose(completion: Completion) -> Answer {
    let answer = Answer::refused(&completion.outcome_unknown()).happened(Happened::Unknown);
    completion.lose().await;
    answer
}

/// An answer in the encoding in which the journal keeps results.
fn packed(answer: &Answer) -> Arc<[u8]> {
    // Texts, and JSON that was read before: nothing that could not be written.
    serde_json::to_vec(answer).unwrap_or_default().into()
}

/// The answer that the journal kept.
pub(crate) fn unpacked(result: &StoredResult) -> Option<Answer> {
    serde_json::from_slice(result.as_bytes()).ok()
}

fn encoded(kind: &str, body: &[u8]) -> (&'static str, Value) {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    match std::str::from_utf8(body) {
        Ok(text) if is_json => ("body", serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
        Ok(text) => ("body", Value::from(text)),
        Err(_) => ("body_base64", Value::from(base64::prelude::BASE64_STANDARD.encode(body))),
    }
}

/// What refusals say of whether anything happened, where the bridge would have run it.
pub(crate) fn refused_in(mode: Mode<'_>, answer: Answer) -> Answer {
    match mode {
        Mode::Check => answer,
        Mode::Execute(_) if answer.status == "outcome_unknown" => answer.happened(Happened::Unknown),
        Mode::Execute(_) => answer.happened(Happened::No),
    }
}
