//! What an operator declares of a Gate: `gate.yaml`. Read by the configuration crate, applied by the server.

mod duration;
mod rule;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::duration::HumaneDuration;
pub use self::rule::{OnMismatch, RuleDeclaration, RuleTest};

/// Everything a Gate is told: agents, tools with their rules, users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateDeclaration {
    /// Who may ask.
    #[serde(default)]
    pub agents: Vec<AgentDeclaration>,
    /// What they may ask for, and what Gate decides by itself.
    #[serde(default)]
    pub tools: Vec<ToolDeclaration>,
    /// What happens to a request for a tool that is not declared.
    #[serde(default)]
    pub unregistered: Unregistered,
    /// How long an approval token works after it was first handed out.
    #[serde(default = "default_token_ttl")]
    pub token_ttl: HumaneDuration,
    /// How soon agents are told to ask again.
    #[serde(default = "default_poll_after")]
    pub poll_after: HumaneDuration,
    /// How long a thread waits for a person before it expires; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_ttl: Option<HumaneDuration>,
    /// Who may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserDeclaration>,
}

impl Default for GateDeclaration {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            tools: Vec::new(),
            unregistered: Unregistered::default(),
            token_ttl: default_token_ttl(),
            poll_after: default_poll_after(),
            review_ttl: None,
            users: Vec::new(),
        }
    }
}

/// An agent that may ask this Gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDeclaration {
    /// Its name, once per Gate.
    pub name: String,
    /// Whether an approval comes with a one-time token that must be validated.
    #[serde(default = "yes")]
    pub signed_tokens: bool,
    /// Whether it is refused for now.
    #[serde(default)]
    pub paused: bool,
    /// Overrides the Gate's `token_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ttl: Option<HumaneDuration>,
}

/// A tool and the rules for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolDeclaration {
    /// Exact name, as agents send it.
    pub name: String,
    /// What happens when no rule matches.
    #[serde(default)]
    pub default_action: Action,
    /// All are evaluated; the most severe match wins.
    #[serde(default)]
    pub rules: Vec<RuleDeclaration>,
}

/// What Gate does with a request, from mild to severe.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Let it run.
    Allow,
    /// Ask a person.
    #[default]
    Review,
    /// Ask a person, on top of the list.
    Escalate,
    /// Refuse it.
    Reject,
}

impl Action {
    /// The word in configuration and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Review => "review",
            Self::Escalate => "escalate",
            Self::Reject => "reject",
        }
    }
}

/// What happens to a request for an undeclared tool. It is never allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unregistered {
    /// Ask a person.
    #[default]
    Review,
    /// Refuse it.
    Reject,
}

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserDeclaration {
    /// The name to sign in with.
    pub name: String,
    /// What they may do.
    #[serde(default)]
    pub role: Role,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decide threads, and change agents, tools and users.
    Admin,
    /// Decide threads.
    #[default]
    Reviewer,
}

impl Role {
    /// The word in configuration and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Reviewer => "reviewer",
        }
    }
}

/// Something a declaration gets wrong although every field has the right type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a JSON Pointer into the declaration.
    pub at: String,
    /// What is wrong.
    pub message: String,
}

impl GateDeclaration {
    /// Everything wrong that needs more than one field to see. Patterns are compiled by whoever evaluates them.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        check_names(&mut mistakes, "agents", self.agents.iter().map(|agent| agent.name.as_str()));
        check_names(&mut mistakes, "tools", self.tools.iter().map(|tool| tool.name.as_str()));
        check_names(&mut mistakes, "users", self.users.iter().map(|user| user.name.as_str()));
        for (tool_at, tool) in self.tools.iter().enumerate() {
            for (rule_at, rule) in tool.rules.iter().enumerate() {
                if let Some((field, message)) = rule.mistake() {
                    mistakes
                        .push(Mistake { at: format!("/tools/{tool_at}/rules/{rule_at}/{field}"), message });
                }
            }
        }
        mistakes
    }
}

fn check_names<'name>(mistakes: &mut Vec<Mistake>, list: &str, names: impl Iterator<Item = &'name str>) {
    let mut seen = HashSet::new();
    for (index, name) in names.enumerate() {
        let at = format!("/{list}/{index}/name");
        if name.trim().is_empty() {
            mistakes.push(Mistake { at, message: "a name cannot be empty".to_owned() });
        } else if !seen.insert(name) {
            mistakes.push(Mistake { at, message: format!("`{name}` is declared twice") });
        }
    }
}

fn yes() -> bool {
    true
}

fn default_token_ttl() -> HumaneDuration {
    HumaneDuration::from_seconds(600)
}

fn default_poll_after() -> HumaneDuration {
    HumaneDuration::from_seconds(5)
}
