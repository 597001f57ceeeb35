use std::collections::{HashMap, HashSet};

use holdpoint_api::ApiKey;
use holdpoint_api::declare::{AgentDeclaration, GateDeclaration, Mistake, ToolDeclaration, UserDeclaration};
use holdpoint_store::{
    Agent, AgentChange, AgentSettings, AgentState, ApplyOutcome, CreateAgent, CreateUser, NewAgent, NewUser,
    StoreError,
};

use super::{GateError, GateServer, OPERATOR};
use crate::random::{self, NoRandomness};
use crate::rules::RuleBook;
use crate::visible::visible;

/// What applying a declaration changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Which declaration is in force now; counts from 1.
    pub revision: i64,
    /// What changed, in words; empty when all was so already.
    pub changes: Vec<String>,
    /// The keys of agents that were made. This is the only time they can be seen.
    pub keys: Vec<NewKey>,
}

/// The key of an agent that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose.
    pub agent: String,
    /// Shown once.
    pub key: ApiKey,
}

/// Why a declaration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is wrong; nothing was changed.
    #[error("the declaration has mistakes")]
    Mistakes(Vec<Mistake>),
    /// The Gate failed; what was changed before stays, and applying again completes it.
    #[error(transparent)]
    Gate(#[from] GateError),
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Gate(error.into())
    }
}

impl From<NoRandomness> for ApplyError {
    fn from(error: NoRandomness) -> Self {
        Self::Gate(error.into())
    }
}

const NAME_BYTES_MAX: usize = 256;

impl GateServer {
    /// Makes a declaration so. Applying the same again changes nothing.
    ///
    /// Agents that were declared before and are not any more are paused; agents made by hand are left alone.
    pub async fn apply(&self, declaration: &GateDeclaration, by: &str) -> Result<Applied, ApplyError> {
        check(declaration)?;
        let _one_at_a_time = self.applying.lock().await;
        let before = self.setup().await.map_err(GateError::from)?;
        let mut report = Report::default();
        self.apply_agents(&before.declaration, declaration, by, &mut report).await?;
        self.apply_users(&before.declaration, declaration, &mut report).await?;
        report.changes.extend(tool_changes(&before.declaration, declaration));
        report.changes.extend(setting_changes(&before.declaration, declaration));
        // Last, so that an apply that fails half-way is still seen as undone by the next one.
        let revision = match self.store().apply_declaration(declaration, by, self.now()).await? {
            ApplyOutcome::Applied(revision) | ApplyOutcome::Unchanged(revision) => revision,
        };
        Ok(Applied { revision, changes: report.changes, keys: report.keys })
    }

    /// Makes an agent, with its key.
    pub async fn create_agent(&self, name: &str, signed_tokens: bool, by: &str) -> Result<ApiKey, GateError> {
        check_name(name)?;
        self.make_agent(name, AgentSettings { signed_tokens, token_ttl: None }, by).await
    }

    /// Gives an agent another key; the old one stops working at once.
    pub async fn regenerate_key(&self, name: &str, by: &str) -> Result<ApiKey, GateError> {
        let key = ApiKey::generate(&random::bytes()?);
        match self.store().regenerate_key(name, key.hash(), key.hint(), by, self.now()).await? {
            AgentChange::Changed(_) => Ok(key),
            AgentChange::Unchanged(_) | AgentChange::NotFound => Err(GateError::NoSuchAgent(name.to_owned())),
        }
    }

    /// Pauses, resumes or revokes an agent.
    pub async fn set_agent_state(&self, name: &str, state: AgentState, by: &str) -> Result<Agent, GateError> {
        match self.store().set_agent_state(name, state, by, self.now()).await? {
            AgentChange::Changed(agent) | AgentChange::Unchanged(agent) => Ok(agent),
            AgentChange::NotFound => Err(GateError::NoSuchAgent(name.to_owned())),
        }
    }

    /// All agents, revoked ones too.
    pub async fn agents(&self) -> Result<Vec<Agent>, GateError> {
        Ok(self.store().agents().await?)
    }

    async fn make_agent(&self, name: &str, settings: AgentSettings, by: &str) -> Result<ApiKey, GateError> {
        let key = ApiKey::generate(&random::bytes()?);
        let agent = NewAgent {
            name: name.to_owned(),
            key_hash: key.hash(),
            key_hint: key.hint().to_owned(),
            settings,
            by: by.to_owned(),
            now: self.now(),
        };
        match self.store().create_agent(agent).await? {
            CreateAgent::Created(_) => Ok(key),
            CreateAgent::NameTaken => Err(GateError::AgentExists(name.to_owned())),
        }
    }

    async fn apply_agents(
        &self,
        before: &GateDeclaration,
        declaration: &GateDeclaration,
        by: &str,
        report: &mut Report,
    ) -> Result<(), GateError> {
        let known: HashMap<String, Agent> =
            self.store().agents().await?.into_iter().map(|agent| (agent.name.clone(), agent)).collect();
        for declared in &declaration.agents {
            match known.get(&declared.name) {
                None => self.apply_new_agent(declared, by, report).await?,
                Some(agent) => self.apply_known_agent(agent, declared, by, report).await?,
            }
        }
        let declared: HashSet<&str> = declaration.agents.iter().map(|agent| agent.name.as_str()).collect();
        for gone in before.agents.iter().filter(|agent| !declared.contains(agent.name.as_str())) {
            if known.get(&gone.name).is_some_and(|agent| agent.state == AgentState::Active) {
                self.set_agent_state(&gone.name, AgentState::Paused, by).await?;
                report
                    .say(format!("agent `{}`: paused, since it is no longer declared", visible(&gone.name)));
            }
        }
        Ok(())
    }

    async fn apply_new_agent(
        &self,
        declared: &AgentDeclaration,
        by: &str,
        report: &mut Report,
    ) -> Result<(), GateError> {
        let key = self.make_agent(&declared.name, settings_of(declared), by).await?;
        let paused = if declared.paused { ", paused" } else { "" };
        report.say(format!("agent `{}`: created{paused}", visible(&declared.name)));
        // The key is handed over whatever comes now: nobody can see it again.
        report.keys.push(NewKey { agent: declared.name.clone(), key });
        if declared.paused {
            self.set_agent_state(&declared.name, AgentState::Paused, by).await?;
        }
        Ok(())
    }

    async fn apply_known_agent(
        &self,
        agent: &Agent,
        declared: &AgentDeclaration,
        by: &str,
        report: &mut Report,
    ) -> Result<(), GateError> {
        let name = visible(&declared.name);
        let settings = settings_of(declared);
        if agent.settings != settings {
            let changed = settings.clone();
            self.store().set_agent_settings(&declared.name, changed, by, self.now()).await?;
            if agent.settings.signed_tokens != settings.signed_tokens {
                let tokens = if settings.signed_tokens { "on" } else { "off" };
                report.say(format!("agent `{name}`: signed tokens {tokens}"));
            }
            if agent.settings.token_ttl != settings.token_ttl {
                report.say(format!("agent `{name}`: tokens work for another time"));
            }
        }
        match (agent.state, declared.paused) {
            (AgentState::Active, true) => {
                self.set_agent_state(&declared.name, AgentState::Paused, by).await?;
                report.say(format!("agent `{name}`: paused"));
            }
            (AgentState::Paused, false) => {
                self.set_agent_state(&declared.name, AgentState::Active, by).await?;
                report.say(format!("agent `{name}`: resumed"));
            }
            (AgentState::Revoked, _) => {
                report.say(format!("agent `{name}`: is revoked and stays so; declare it under another name"));
            }
            (AgentState::Active, false) | (AgentState::Paused, true) => {}
        }
        Ok(())
    }

    async fn apply_users(
        &self,
        before: &GateDeclaration,
        declaration: &GateDeclaration,
        report: &mut Report,
    ) -> Result<(), GateError> {
        for UserDeclaration { name, role } in &declaration.users {
            let new = NewUser { name: name.clone(), password_hash: None, role: *role, now: self.now() };
            match self.store().create_user(new).await? {
                CreateUser::Created(_) => {
                    report.say(format!("user `{}`: created, {}", visible(name), role.as_str()));
                }
                CreateUser::NameTaken(user) if user.role != *role => {
                    self.store().change_user(user.id, *role, None, self.now()).await?;
                    report.say(format!("user `{}`: now {}", visible(name), role.as_str()));
                }
                CreateUser::NameTaken(_) => {}
            }
        }
        for gone in before.users.iter().filter(|user| user.name != OPERATOR) {
            if !declaration.users.iter().any(|user| user.name == gone.name)
                && let Some(user) = self.store().user_by_name(&gone.name).await?
            {
                // Their sessions end with the change; without a declaration they cannot start another.
                self.store().change_user(user.id, user.role, None, self.now()).await?;
                report.say(format!(
                    "user `{}`: signed out, since they are no longer declared",
                    visible(&gone.name)
                ));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Report {
    changes: Vec<String>,
    keys: Vec<NewKey>,
}

impl Report {
    fn say(&mut self, change: String) {
        self.changes.push(change);
    }
}

fn check(declaration: &GateDeclaration) -> Result<(), ApplyError> {
    let mut mistakes = declaration.mistakes();
    for (at, agent) in declaration.agents.iter().enumerate() {
        if let Err(error) = check_name(&agent.name)
            && !agent.name.trim().is_empty()
        {
            mistakes.push(Mistake { at: format!("/agents/{at}/name"), message: error.to_string() });
        }
    }
    if let Err(more) = RuleBook::compile(declaration) {
        mistakes.extend(more);
    }
    if mistakes.is_empty() { Ok(()) } else { Err(ApplyError::Mistakes(mistakes)) }
}

fn check_name(name: &str) -> Result<(), GateError> {
    let usable =
        !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if usable { Ok(()) } else { Err(GateError::AgentName) }
}

fn settings_of(declared: &AgentDeclaration) -> AgentSettings {
    AgentSettings {
        signed_tokens: declared.signed_tokens,
        token_ttl: declared.token_ttl.map(holdpoint_api::declare::HumaneDuration::get),
    }
}

fn tool_changes(before: &GateDeclaration, after: &GateDeclaration) -> Vec<String> {
    let known: HashMap<&str, &ToolDeclaration> =
        before.tools.iter().map(|tool| (tool.name.as_str(), tool)).collect();
    let declared: HashSet<&str> = after.tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut changes = Vec::new();
    for tool in &after.tools {
        let name = visible(&tool.name);
        let action = tool.default_action.as_str();
        match known.get(tool.name.as_str()) {
            None => changes.push(format!("tool `{name}`: added, {action} by default, {}", rules(tool))),
            Some(old) => {
                if old.default_action != tool.default_action {
                    let old = old.default_action.as_str();
                    changes.push(format!("tool `{name}`: {action} by default, was {old}"));
                }
                if old.rules != tool.rules {
                    changes.push(format!("tool `{name}`: {} in place of {}", rules(tool), rules(old)));
                }
            }
        }
    }
    for gone in before.tools.iter().filter(|tool| !declared.contains(tool.name.as_str())) {
        changes
            .push(format!("tool `{}`: removed; what comes for it is unregistered now", visible(&gone.name)));
    }
    changes
}

fn rules(tool: &ToolDeclaration) -> String {
    match tool.rules.len() {
        0 => "no rules".to_owned(),
        1 => "1 rule".to_owned(),
        many => format!("{many} rules"),
    }
}

fn setting_changes(before: &GateDeclaration, after: &GateDeclaration) -> Vec<String> {
    let mut changes = Vec::new();
    if before.unregistered != after.unregistered {
        changes.push(format!("unregistered tools: {:?} now", after.unregistered).to_lowercase());
    }
    if before.token_ttl != after.token_ttl {
        changes.push(format!("tokens work for {}, was {}", after.token_ttl, before.token_ttl));
    }
    if before.poll_after != after.poll_after {
        changes.push(format!("agents poll after {}, was {}", after.poll_after, before.poll_after));
    }
    if before.review_ttl != after.review_ttl {
        changes.push(match after.review_ttl {
            Some(ttl) => format!("reviews expire after {ttl}"),
            None => "reviews no longer expire".to_owned(),
        });
    }
    changes
}
