//! Asks a server once for all its tools, in a session of our own, and takes the definitions exactly as they are stated:
//! what is pinned here is what [`crate::Pins`] compares with later.

mod pipe;
mod web;

use crate::{
    catalog::{self, ListError, ToolSource},
    guard::list_request,
    message::Object,
    protocol::{CAPABILITIES_KEY, CLIENT_KEY, FIRST_STATELESS, LAST_WITH_SESSIONS, VERSION_KEY},
    random, reply,
    stdio::{ChildCommand, StdioError},
    upstream::{ServerAddress, ServerAddressError},
};
use async_trait::async_trait;
use holdpoint_core::{DefinitionDigest, Question};
use serde_json::{Value, value::RawValue};
use std::{fmt, time::Duration};

/// A command such as `npx` may have to fetch the server first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_mins(2);
/// One answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What a server's own words may take in an error.
const WORDS_CHARS_MAX: usize = 300;

/// What a server offers.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Its tools, by name.
    pub tools: Vec<StatedTool>,
    /// The names of those that cannot be called through us, and why.
    pub unusable: Vec<(String, &'static str)>,
}

/// A tool as its server states it.
#[derive(Clone, Debug)]
pub struct StatedTool {
    /// Its name.
    pub name: String,
    /// The whole definition.
    pub definition: Value,
    /// What that comes to.
    pub digest: DefinitionDigest,
}

/// The server's tools could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Its command cannot be started.
    #[error(transparent)]
    Start(#[from] StdioError),
    /// It cannot be reached at its URL.
    #[error("the server's URL cannot be used")]
    Address(#[from] ServerAddressError),
    /// It did not say hello in time.
    #[error("the server did not complete the handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())]
    TooSlow,
    /// It said no.
    #[error("the server refused{}: {words}", at(*.status))]
    Refused {
        /// The HTTP status, where there is one.
        status: Option<u16>,
        /// What it said, escaped and cut.
        words: String,
    },
    /// Its list does not come, or cannot be read.
    #[error("{0}")]
    Unlisted(String),
}

fn at(status: Option<u16>) -> String {
    status.map(|status| format!(" with HTTP status {status}")).unwrap_or_default()
}

/// Starts a server, lists its tools, and ends it.
///
/// # Errors
/// It does not start, or does not list them.
pub async fn survey_command(command: &ChildCommand) -> Result<Survey, SurveyError> {
    let pipe = pipe::Pipe::start(command)?;
    let survey = survey(&pipe).await;
    pipe.end().await;
    survey
}

/// Lists the tools of a server at an address.
///
/// # Errors
/// It cannot be reached, or does not list them.
pub async fn survey_address(address: ServerAddress) -> Result<Survey, SurveyError> {
    let web = web::Web::new(address)?;
    let survey = survey(&web).await;
    web.end().await;
    survey
}

/// A way to the server.
#[async_trait]
trait Wire: fmt::Debug + Send + Sync {
    /// The answer to `request`, whose id is `id`.
    async fn ask(&self, method: &'static str, id: &str, request: Vec<u8>) -> Result<String, ListError>;

    /// Says something that needs no answer.
    async fn tell(&self, message: Vec<u8>) -> Result<(), ListError>;

    /// From now on this revision is spoken.
    fn speak(&self, revision: &str);
}

async fn survey(wire: &dyn Wire) -> Result<Survey, SurveyError> {
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(wire)).await;
    let protocol = shaken.map_err(|_| SurveyError::TooSlow)?.map_err(told)?;
    let lister = Lister { wire, protocol };
    let found = catalog::read_all(&lister, None).await.map_err(told)?;
    let mut survey = Survey::default();
    for (name, listed) in found {
        match listed {
            catalog::Listed::Tool(tool) => {
                let (definition, digest) = (tool.definition().clone(), tool.digest);
                survey.tools.push(StatedTool { name: name.into(), definition, digest });
            }
            catalog::Listed::Unusable(why) => survey.unusable.push((name.into(), why)),
        }
    }
    survey.tools.sort_by(|a, b| a.name.cmp(&b.name));
    survey.unusable.sort_unstable();
    Ok(survey)
}

/// The members of `_meta` that every request needs from now on; none in a session.
async fn shake_hands(wire: &dyn Wire) -> Result<String, ListError> {
    let client = format!(r#"{{"name":"holdpoint","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    let id = new_id();
    let hello = format!(
        r#"{{"jsonrpc":"2.0","id":"{id}","method":"initialize","params":{{"protocolVersion":"{LAST_WITH_SESSIONS}","capabilities":{{}},"clientInfo":{client}}}}}"#
    );
    let refused = match wire.ask("initialize", &id, hello.into_bytes()).await {
        Ok(answer) => match revision_of(&answer) {
            Some(revision) => {
                wire.speak(&revision);
                let ready = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec();
                wire.tell(ready).await?;
                return Ok(String::new());
            }
            None => ListError::Refused { status: None, error: reply::fragment_from(&answer) },
        },
        Err(error) => error,
    };
    match refused {
        // It may know no sessions.
        ListError::Refused { .. } => {
            wire.speak(FIRST_STATELESS);
            Ok(format!(
                r#""{VERSION_KEY}":"{FIRST_STATELESS}","{CAPABILITIES_KEY}":{{}},"{CLIENT_KEY}":{client}"#
            ))
        }
        ListError::Unreachable | ListError::TooSlow | ListError::Unreadable | ListError::TooMany => {
            Err(refused)
        }
    }
}

fn revision_of(answer: &str) -> Option<String> {
    let object = Object::read(answer).ok()?;
    let result: &RawValue = object.get("result")?;
    let result = Object::read(result.get()).ok()?;
    serde_json::from_str(result.get("protocolVersion")?.get()).ok()
}

fn new_id() -> String {
    format!("holdpoint-{}", random::token())
}

#[derive(Debug)]
struct Lister<'w> {
    wire: &'w dyn Wire,
    protocol: String,
}

#[async_trait]
impl ToolSource for Lister<'_> {
    async fn page(&self, cursor: Option<&str>) -> Result<String, ListError> {
        let id = new_id();
        self.wire.ask("tools/list", &id, list_request(&id, cursor, &self.protocol)).await
    }

    /// No tool is called here.
    async fn probe(&self, _: &Question) -> Result<String, ListError> {
        Err(ListError::Unreachable)
    }
}

fn told(error: ListError) -> SurveyError {
    match error {
        ListError::Refused { status, error } => {
            let words = error.as_deref().and_then(|error| serde_json::from_slice::<Value>(error).ok());
            let words = words.as_ref().and_then(|error| {
                let error = error.get("error").unwrap_or(error);
                error.get("message").and_then(Value::as_str)
            });
            let words = words.unwrap_or("it gave no reason");
            let words = words.chars().take(WORDS_CHARS_MAX).flat_map(char::escape_debug).collect();
            SurveyError::Refused { status, words }
        }
        ListError::Unreachable | ListError::TooSlow | ListError::Unreadable | ListError::TooMany => {
            SurveyError::Unlisted(error.to_string())
        }
    }
}
