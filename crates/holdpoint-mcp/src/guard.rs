//! What both routes do with a tool call before the kernel sees it.

use crate::{
    actions::{Action, ToolActions},
    catalog::{Catalog, ListError, NoTool, Schemas, Tool, ToolSource},
    compat::Compat,
    message::{
        CallFrame, CallMessage, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, IdKey, METHOD_NOT_FOUND,
        Single, TOOLS_CALL, bare,
    },
    pins::Pins,
    reply::{self, Ended},
    waiting::{Client, Comeback, Declined, Later, StateKey, StillWaits, Turn, WaitMode, Waiting, choose},
};
use bytes::Bytes;
use holdpoint_core::{
    Arguments, Gate, HeldCall, OWN_PREFIX, Principal, Question, ServerName, TaskId, ToolCall, ToolName,
    ToolWarning, Withdrawal,
};
use serde_json::{Map, Value};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// The member of [`ToolCall::extra`] that says which server of the name it is. No client may send one.
const PLACE_KEY: &str = "dev.holdpoint/place";

/// Which server it is, of those that have its name: in another configuration, or in this one before it was edited. The same
/// call of another server is another call, so an approval that waits for the one never runs at the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Arc<str>);

impl Place {
    /// Takes a text that is the same as long as the server is. It is digested, and shown to nobody.
    pub fn new(place: impl Into<Arc<str>>) -> Self {
        Self(place.into())
    }
}

/// What clients are told that they may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Tasks,
    Nothing,
}

/// Who decides about the calls to one tool server.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The server's name in our configuration.
    pub server: ServerName,
    /// Which server that is.
    pub place: Place,
    /// The kernel.
    pub gate: Arc<Gate>,
    /// Which calls are worth reading.
    pub actions: Arc<dyn ToolActions>,
    /// Which tool definitions were accepted.
    pub pins: Arc<dyn Pins>,
    /// Seals what clients carry while their calls wait.
    pub states: StateKey,
}

impl Guard {
    /// What a client is told whose message the configuration denies: the method. `None`: it passes.
    pub(crate) fn denied<'m>(&self, messages: &'m [Single<'_>]) -> Option<Denied<'m>> {
        let (method, id) = messages.iter().find_map(|message| match message {
            Single::Other { method, id, .. } => {
                self.actions.denies(&self.server, bare(method)).then_some((&**method, *id))
            }
            Single::Call(_) | Single::Answer => None,
        })?;
        Some(if messages.len() == 1 { Denied::One(method, id) } else { Denied::AmongOthers(method) })
    }

    /// The lists of tools that are asked for, where they are written for clients that read only a part of what servers say.
    pub(crate) fn rewritten_lists(&self, messages: &[Single<'_>]) -> Vec<IdKey> {
        match self.actions.compat(&self.server) {
            Compat::AsStated => Vec::new(),
            Compat::CopilotStudio => messages.iter().filter_map(list_asked_for).collect(),
        }
    }

    pub(crate) fn catalog(&self, schemas: &Arc<Schemas>) -> Catalog {
        Catalog::new(self.server.clone(), Arc::clone(&self.pins), Arc::clone(schemas))
    }

    /// In which way a call of `tool` waits, should a person have to decide about it.
    pub(crate) fn waiting(&self, tool: &ToolName, client: &Client, frame: &CallFrame) -> Waiting {
        let waits = self.actions.waits(&self.server, tool.as_str());
        let progress = frame.progress_token.is_some();
        choose(&waits, client, progress)
    }

    /// Whether calls may wait as tasks here, so that clients may be told so.
    pub(crate) fn offers_tasks(&self) -> Offer {
        match self.actions.waits(&self.server, "").mode {
            WaitMode::Auto | WaitMode::Task => Offer::Tasks,
            WaitMode::Hold | WaitMode::Bounded | WaitMode::Legs => Offer::Nothing,
        }
    }

    /// On what terms one request of a call waits. The error is the answer to it.
    pub(crate) async fn terms(
        &self,
        call: &ToolCall,
        client: &Client,
        comeback: Option<&StillWaits>,
        frame: &CallFrame,
    ) -> Result<Terms, Vec<u8>> {
        let waiting = self.waiting(&call.tool, client, frame);
        let declined = self.actions.waits(&self.server, call.tool.as_str()).declined;
        let turn = Later::of(&waiting, comeback, declined, call, (&self.states, &self.gate));
        let turn =
            turn.map_err(|unsealed| reply::error(Some(&frame.id_raw), INVALID_PARAMS, &unsealed.to_string()));
        let (patience, at_most) = waiting.patience();
        match turn? {
            Turn::Waits(later) => Ok(Terms { waiting, patience, at_most, later }),
            Turn::Declined(declined) => {
                let withdrawal = match declined {
                    Declined::Withdraw => Box::pin(self.gate.withdraw(call.clone())).await,
                    Declined::Leave => Withdrawal::StaysOpen,
                };
                Err(reply::ended(frame, &Ended::LinkDeclined(withdrawal)))
            }
        }
    }

    /// The call of `message` as it was when `held` was opened. Whether it still is that is the kernel's to find out. `None`:
    /// it cannot be read any more.
    pub(crate) fn call_again(&self, message: &CallMessage<'_>, held: &HeldCall) -> Option<ToolCall> {
        let arguments = message.arguments.map_or(Ok(Arguments::absent()), Arguments::parse).ok()?;
        let tool = ToolName::new(&*message.name);
        let call = self.call(&held.identity.principal, held.hold.task.clone(), tool);
        let mut call = ToolCall { arguments, definition: held.definition, ..call };
        call.extra.extend(message.extra().ok()?);
        Some(call)
    }

    fn call(&self, principal: &Principal, task: TaskId, tool: ToolName) -> ToolCall {
        ToolCall {
            principal: principal.clone(),
            server: self.server.clone(),
            tool,
            arguments: Arguments::absent(),
            extra: Map::from_iter([(PLACE_KEY.to_owned(), Value::from(&*self.place.0))]),
            definition: None,
            warning: ToolWarning::None,
            task,
        }
    }

    /// A call of a tool that passes and is known, or of one that is denied: everything is at hand. With the tool, if it is
    /// known. `None`: it is not at hand.
    pub(crate) fn at_once(
        &self,
        message: &CallMessage<'_>,
        catalog: &Catalog,
        principal: &Principal,
        task: &TaskId,
    ) -> Option<(ToolCall, Option<Arc<Tool>>)> {
        if message.comeback.is_some() {
            return None;
        }
        let action = self.actions.action(&self.server, &message.name);
        let (tool, name, definition, warning) = match action {
            Action::Gate | Action::Once => return None,
            Action::Deny => {
                let name = ToolName::new(&*message.name);
                (catalog.at_hand(&message.name), name, None, ToolWarning::None)
            }
            Action::Pass | Action::PassUnlessWarned => {
                let tool = catalog.at_hand(&message.name)?;
                if settled(action, tool.warning) == Action::Gate {
                    return None;
                }
                let (name, definition, warning) = (tool.name.clone(), Some(tool.digest), tool.warning);
                (Some(tool), name, definition, warning)
            }
        };
        let arguments = message.arguments.map_or_else(Arguments::absent, Arguments::unread);
        let call = ToolCall { arguments, definition, warning, ..self.call(principal, task.clone(), name) };
        Some((call, tool))
    }
}

/// The id of a request for a list of tools; `None`: it is none.
fn list_asked_for(message: &Single<'_>) -> Option<IdKey> {
    match message {
        Single::Other { method, id: Some(id), .. } if method == "tools/list" => IdKey::read(id),
        Single::Other { .. } | Single::Call(_) | Single::Answer => None,
    }
}

/// A message that the configuration denies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denied<'m> {
    /// By itself; with the raw id, if it is a request.
    One(&'m str, Option<&'m str>),
    /// In a batch, nothing of which goes anywhere.
    AmongOthers(&'m str),
}

impl Denied<'_> {
    /// The answer; `None`: none is owed.
    pub(crate) fn answer(self) -> Option<Vec<u8>> {
        let shown = |method: &str| method.chars().take(80).flat_map(char::escape_default).collect::<String>();
        match self {
            Self::One(_, None) => None,
            Self::One(method, id) => {
                let problem = format!("`{}` is denied by the configuration", shown(method));
                Some(reply::error(id, METHOD_NOT_FOUND, &problem))
            }
            Self::AmongOthers(method) => {
                let method = shown(method);
                let problem = format!("`{method}`, which is in the batch, is denied by the configuration");
                Some(reply::error(None, INVALID_REQUEST, &problem))
            }
        }
    }
}

/// On what terms one request of a call waits.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) waiting: Waiting,
    pub(crate) patience: Duration,
    pub(crate) at_most: Option<Duration>,
    /// What is said where it would be told to come back; `None`: just that.
    pub(crate) later: Option<Arc<Later>>,
}

/// What is to be done with calls of a tool, now that its definition is known.
const fn settled(action: Action, warning: ToolWarning) -> Action {
    match (action, warning) {
        // What comes of it says the policy, and it wants the arguments for that.
        (Action::PassUnlessWarned, ToolWarning::Destructive) => Action::Gate,
        (Action::PassUnlessWarned, ToolWarning::None) => Action::Pass,
        (Action::Pass | Action::Once | Action::Deny | Action::Gate, _) => action,
    }
}

/// What a tool is called with: its arguments, and what else could change the effect.
type Parameters = (Arguments, Map<String, Value>);

/// A call that has been read as far as its tool needs it, on its own feet.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) frame: Arc<CallFrame>,
    /// Members of `_meta` that a request of our own in its name must have, as raw JSON.
    pub(crate) protocol: String,
    pub(crate) client: Client,
    pub(crate) comeback: Option<Comeback>,
    name: Box<str>,
    action: Action,
    unread: Arguments,
    /// `None`: nobody will look at them. An error is the answer to a call of which somebody has to.
    read: Option<Result<Parameters, Vec<u8>>>,
    task: TaskId,
}

impl Reading {
    /// Reads a call. The error is the answer to it.
    pub(crate) fn of(
        guard: &Guard,
        message: &CallMessage<'_>,
        bytes: Bytes,
        task: TaskId,
        client: Client,
    ) -> Result<Self, Vec<u8>> {
        let frame = Arc::new(message.frame(bytes));
        let action = guard.actions.action(&guard.server, &message.name);
        let unread = message.arguments.map_or_else(Arguments::absent, Arguments::unread);
        let read = match action {
            Action::PassUnlessWarned if message.comeback.is_none() => Some(read(message, &frame)),
            // What it came with is sealed over its arguments.
            Action::Pass | Action::Deny if message.comeback.is_none() => None,
            Action::Pass | Action::PassUnlessWarned | Action::Deny | Action::Gate | Action::Once => {
                Some(Ok(read(message, &frame)?))
            }
        };
        let (protocol, comeback) = (protocol(message), message.comeback.clone());
        let name = (&*message.name).into();
        Ok(Self { frame, protocol, client, comeback, name, action, unread, read, task })
    }

    /// Whether the arguments may be shown to a person: the tool exists, is the accepted one, and they fit it. With the tool,
    /// unless the call is denied. The error is the answer to the call.
    pub(crate) async fn into_call(
        self,
        guard: &Guard,
        catalog: &Catalog,
        source: &dyn ToolSource,
        principal: &Principal,
    ) -> Result<(ToolCall, Option<Arc<Tool>>), Answer> {
        let Self { frame, comeback, name, action, unread, read, task, .. } = self;
        let tool = match action {
            // The kernel says no whatever the tool is like.
            Action::Deny => return Ok((guard.call(principal, task, ToolName::new(name)), None)),
            Action::Pass | Action::PassUnlessWarned | Action::Once | Action::Gate => {
                catalog.accepted(source, &name).await
            }
        };
        let tool = tool.map_err(|why| no_tool(&frame, &name, why))?;
        let (arguments, extra) = match settled(action, tool.warning) {
            Action::Gate | Action::Once => {
                let (arguments, extra) = read.transpose()?.unwrap_or_else(|| (unread, Map::new()));
                let fits = catalog.validate(&tool, arguments.as_value());
                fits.map_err(|ended| reply::ended(&frame, &ended))?;
                (arguments, extra)
            }
            Action::Pass | Action::PassUnlessWarned | Action::Deny if comeback.is_some() => {
                read.transpose()?.unwrap_or_else(|| (unread, Map::new()))
            }
            Action::Pass | Action::PassUnlessWarned | Action::Deny => (unread, Map::new()),
        };
        let (name, definition, warning) = (tool.name.clone(), Some(tool.digest), tool.warning);
        let mut call = ToolCall { arguments, definition, warning, ..guard.call(principal, task, name) };
        call.extra.extend(extra);
        Ok((call, Some(tool)))
    }
}

/// Reads what a person may have to see. The error is the answer to the call.
fn read(message: &CallMessage<'_>, frame: &CallFrame) -> Result<Parameters, Vec<u8>> {
    let arguments = message.arguments.map_or(Ok(Arguments::absent()), Arguments::parse);
    let arguments =
        arguments.map_err(|error| reply::ended(frame, &Ended::InvalidArguments(error.to_string())))?;
    let refuse = |problem: String| reply::error(Some(&frame.id_raw), INVALID_PARAMS, &problem);
    let extra = message.extra().map_err(refuse)?;
    if let Some(own) = extra.keys().find(|key| key.starts_with(OWN_PREFIX)) {
        return Err(refuse(format!("`params.{own}` is not for clients")));
    }
    Ok((arguments, extra))
}

/// An answer to a call that goes no further.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status, where the server itself named one.
    pub(crate) status: Option<u16>,
    pub(crate) message: Vec<u8>,
}

impl From<Vec<u8>> for Answer {
    fn from(message: Vec<u8>) -> Self {
        Self { status: None, message }
    }
}

fn no_tool(frame: &CallFrame, name: &str, why: NoTool) -> Answer {
    let id = Some(&*frame.id_raw);
    match why {
        NoTool::Unknown => {
            let name: String = name.chars().take(80).flat_map(char::escape_default).collect();
            reply::error(id, INVALID_PARAMS, &format!("unknown tool: {name}")).into()
        }
        // What the server owes to its own question it owes to this call: that the session has ended, say.
        NoTool::Unlisted(ListError::Refused { status, error: Some(error) }) => {
            Answer { status, message: reply::answer(&frame.id_raw, &error) }
        }
        NoTool::Unlisted(error) => {
            let message = reply::error(id, INTERNAL_ERROR, &error.to_string());
            let status = if let ListError::Refused { status, .. } = error { status } else { None };
            Answer { status, message }
        }
        NoTool::Ended(ended) => reply::ended(frame, &ended).into(),
    }
}

/// Members of `_meta` that a request of our own in the name of `message` must have, as raw JSON.
pub(crate) fn protocol(message: &CallMessage<'_>) -> String {
    let mut members = String::new();
    for (key, value) in &message.meta.protocol {
        let separator = if members.is_empty() { "" } else { "," };
        let _infallible = write!(members, "{separator}{}:{}", Value::from(&**key), value.get());
    }
    members
}

/// Our own `tools/list` request.
pub(crate) fn list_request(id: &str, cursor: Option<&str>, protocol: &str) -> Vec<u8> {
    let cursor = cursor.map(|cursor| format!(r#""cursor":{}"#, Value::from(cursor)));
    own_request(id, "tools/list", cursor.into_iter().collect(), protocol)
}

/// Our own call of a read-only tool.
pub(crate) fn probe_request(id: &str, question: &Question, protocol: &str) -> Vec<u8> {
    let name = format!(r#""name":{}"#, Value::from(question.tool.as_str()));
    // On one line: inside strings JSON has no line ends.
    let arguments = question.arguments.get().replace(['\n', '\r'], " ");
    let arguments = format!(r#""arguments":{arguments}"#);
    own_request(id, TOOLS_CALL, vec![name, arguments], protocol)
}

fn own_request(id: &str, method: &str, mut params: Vec<String>, protocol: &str) -> Vec<u8> {
    if !protocol.is_empty() {
        params.push(format!(r#""_meta":{{{protocol}}}"#));
    }
    let params =
        if params.is_empty() { String::new() } else { format!(r#","params":{{{}}}"#, params.join(",")) };
    format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}"{params}}}"#).into_bytes()
}
