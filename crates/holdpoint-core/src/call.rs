use crate::{
    AmbiguousJson, CallDigest, DefinitionDigest, Principal, ServerName, TaskId, ToolName, check_unambiguous,
    digest::{CallParts, call_digest},
};
use serde_json::{Map, Value};
use std::{fmt, sync::Arc};

/// Tool arguments that have one reading, with the bytes they came in.
#[derive(Clone, PartialEq)]
pub struct Arguments(Given);

#[derive(Clone, PartialEq)]
enum Given {
    Nothing,
    Unread(Arc<str>),
    /// The value is an object.
    Read {
        raw: Arc<str>,
        value: Arc<Value>,
    },
}

/// Why arguments cannot be put before a reviewer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Two readers could read them differently.
    #[error("the arguments have no single reading: {0}")]
    Ambiguous(#[from] AmbiguousJson),
    /// MCP: `arguments` is an object.
    #[error("the arguments are not a JSON object")]
    NotAnObject,
}

impl Arguments {
    /// A call without arguments. Not the same as `{}`: what runs is what was sent.
    #[must_use]
    pub fn absent() -> Self {
        Self(Given::Nothing)
    }

    /// Arguments that nobody looks at, for a call of a tool that is known to pass: reading them costs more than the
    /// rest of such a call. [`crate::Gate`] refuses to ask about them.
    #[must_use]
    pub fn unread(raw: impl Into<Arc<str>>) -> Self {
        Self(Given::Unread(raw.into()))
    }

    /// Whether they came through [`Self::unread`], so that nothing is known of them.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        matches!(self.0, Given::Unread(_))
    }

    /// Reads the raw JSON text of an object and keeps it for the run.
    ///
    /// # Errors
    /// Says which key or place is ambiguous.
    pub fn parse(raw: impl Into<Arc<str>>) -> Result<Self, ArgumentError> {
        let raw = raw.into();
        let value = check_unambiguous(&raw)?;
        if !value.is_object() {
            return Err(ArgumentError::NotAnObject);
        }
        Ok(Self(Given::Read { raw, value: Arc::new(value) }))
    }

    /// The bytes as they were sent; `None` where there were none.
    #[must_use]
    pub fn raw(&self) -> Option<&Arc<str>> {
        match &self.0 {
            Given::Nothing => None,
            Given::Unread(raw) | Given::Read { raw, .. } => Some(raw),
        }
    }

    /// The arguments by name; `None` where there were none or nobody read them.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map<String, Value>> {
        self.as_value()?.as_object()
    }

    /// The same as one value, an object.
    #[must_use]
    pub fn as_value(&self) -> Option<&Value> {
        match &self.0 {
            Given::Nothing | Given::Unread(_) => None,
            Given::Read { value, .. } => Some(value),
        }
    }
}

impl fmt::Debug for Arguments {
    /// How many, never what: arguments may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Given::Nothing => f.write_str("Arguments(absent)"),
            Given::Unread(_) => f.write_str("Arguments(unread)"),
            Given::Read { value, .. } => {
                write!(f, "Arguments({} keys)", value.as_object().map_or(0, Map::len))
            }
        }
    }
}

/// What a tool's own definition warns of. Nobody vouches for what a server says of its tools, so it is heeded only where it
/// makes a decision stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolWarning {
    /// Nothing; or there is no definition.
    #[default]
    None,
    /// The tool may destroy something (MCP: `annotations.destructiveHint` is `true`).
    Destructive,
}

/// One call to one tool, exactly as it will run.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// Who calls.
    pub principal: Principal,
    /// Whose tool it is.
    pub server: ServerName,
    /// Which tool.
    pub tool: ToolName,
    /// With what.
    pub arguments: Arguments,
    /// Every further parameter that could change the effect (for MCP: all members of `params` but `name`, `arguments`
    /// and `_meta`).
    pub extra: Map<String, Value>,
    /// The tool's definition as its server states it now; `None` where tools have no definitions.
    pub definition: Option<DefinitionDigest>,
    /// What that definition warns of.
    pub warning: ToolWarning,
    /// The job that this call belongs to.
    pub task: TaskId,
}

impl ToolCall {
    /// What an approval of this call is about.
    #[must_use]
    pub fn digest(&self) -> CallDigest {
        call_digest(&CallParts {
            principal: self.principal.as_str(),
            server: self.server.as_str(),
            tool: self.tool.as_str(),
            arguments: self.arguments.as_map(),
            extra: &self.extra,
        })
    }
}
