use crate::{Compat, Waits};
use holdpoint_core::ServerName;
use std::fmt;

/// What our configuration says of a tool, whatever the arguments. Only decides how much of a call is read: the kernel
/// asks its policy about every call again, and refuses to ask Gate about arguments that nobody read, or to name an effect
/// by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs without being asked about.
    Pass,
    /// The same, unless the tool's definition warns of it.
    PassUnlessWarned,
    /// Runs without being asked about, at most once for its effect.
    Once,
    /// Never runs.
    Deny,
    /// Gate is asked.
    Gate,
}

/// The look-up of [`Action`]s; on the way of every call, so it must be cheap.
pub trait ToolActions: fmt::Debug + Send + Sync {
    /// What is to be done with calls of `tool`.
    fn action(&self, server: &ServerName, tool: &str) -> Action;

    /// How calls of `tool` wait that Gate is asked about.
    fn waits(&self, _server: &ServerName, _tool: &str) -> Waits {
        Waits::default()
    }

    /// Whether what is said by `method` is refused: any but `tools/call`.
    fn denies(&self, _server: &ServerName, _method: &str) -> bool {
        false
    }

    /// Which clients the list of tools of `server` is written for.
    fn compat(&self, _server: &ServerName) -> Compat {
        Compat::AsStated
    }
}

/// Gate is asked about every tool.
#[derive(Clone, Copy, Debug)]
pub struct GateEverything;

impl ToolActions for GateEverything {
    fn action(&self, _server: &ServerName, _tool: &str) -> Action {
        Action::Gate
    }
}
