//! The policy in force: which entry a call falls under, and what comes of it.

use crate::{
    effect::EffectMapping,
    explain::Explanation,
    glob::{Glob, fold, is_folded},
    mapping::{Asking, Mapping, Payload, Said},
    secret::FingerprintKey,
    settings::{ServerCompat, WaitSettings},
    template::{Engine, Lines, Scope},
    terms::Terms,
};
use holdpoint_core::{EntryName, Plan, PlanError, Policy, PolicyRevision, Tokens, ToolCall, ToolWarning};
use minijinja::Environment;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

/// Who the reviewer sees asking where nothing else is said.
pub(crate) const WORKFLOW_NAME: &str = "Holdpoint";

/// A policy made from configuration. Look-ups are exact names in a hash map, then globs from the most specific down;
/// nothing is compiled here.
pub struct PolicySet {
    table: Arc<Table>,
    key: FingerprintKey,
}

/// What is to be done with calls to a tool, whatever their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They run without being asked about.
    Pass,
    /// The same, unless the tool's definition warns of it: it is only matched by a glob.
    PassUnlessWarned,
    /// The same, each effect at most once.
    Once,
    /// They never run.
    Deny,
    /// Gate is asked, or the call is refused because the entry does not fit it.
    Gate,
}

/// Every entry, ready to be looked up.
pub(crate) struct Table {
    pub(crate) servers: HashMap<Box<str>, ServerTable>,
    pub(crate) unmatched: Entry,
    /// What holds where an entry says nothing.
    pub(crate) defaults: Terms,
    /// How calls wait whose entry does not say.
    pub(crate) waits: ServerWaits,
    /// Methods beside `tools/call` that are refused, by server; folded.
    pub(crate) denied_methods: HashMap<Box<str>, Vec<Glob>>,
    /// Servers whose lists of tools are written for Copilot Studio. Decides about no call.
    pub(crate) for_copilot_studio: HashSet<Box<str>>,
    pub(crate) engine: Environment<'static>,
    pub(crate) revision: PolicyRevision,
}

/// How the calls to each server wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerWaits {
    /// Of those that say something of their own.
    pub(crate) servers: HashMap<Box<str>, WaitSettings>,
    pub(crate) others: WaitSettings,
}

impl ServerWaits {
    fn of(&self, server: &str) -> WaitSettings {
        self.servers.get(server).copied().unwrap_or_default().over(self.others)
    }
}

/// The entries for one server.
#[derive(Debug, Default)]
pub(crate) struct ServerTable {
    exact: HashMap<Box<str>, Arc<Entry>>,
    /// Exact names that fold to this one.
    folded: HashMap<Box<str>, Arc<Entry>>,
    /// Most specific first.
    globs: Vec<GlobEntry>,
    /// Whether any name has upper-case letters.
    mixed_case: bool,
}

#[derive(Debug)]
struct GlobEntry {
    glob: Glob,
    folded: Glob,
    entry: Arc<Entry>,
}

/// One entry of a tools file, or what stands for it where there is none.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: EntryName,
    /// The tool's name, or a glob.
    pub(crate) pattern: Box<str>,
    pub(crate) action: EntryAction,
    /// What it says by itself.
    pub(crate) terms: Terms,
    /// Where it is written.
    pub(crate) place: Option<EntryPlace>,
}

/// A place in a tools file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for EntryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

#[derive(Debug)]
pub(crate) enum EntryAction {
    Pass,
    PassOnce(Box<EffectMapping>),
    Deny,
    Gate(Box<Mapping>),
}

impl EntryAction {
    /// Whether calls run without being asked about.
    const fn passes(&self) -> bool {
        match self {
            Self::Pass | Self::PassOnce(_) => true,
            Self::Deny | Self::Gate(_) => false,
        }
    }

    pub(crate) fn effect(&self) -> Option<&EffectMapping> {
        match self {
            Self::PassOnce(effect) => Some(effect),
            Self::Gate(mapping) => mapping.effect.as_ref(),
            Self::Pass | Self::Deny => None,
        }
    }
}

/// Which entry a call falls under.
pub(crate) enum Found<'t> {
    Exact(&'t Entry),
    Glob(&'t Entry),
    Unmatched(&'t Entry),
    /// A reader that ignores case would take another entry, so neither is used.
    Lookalike(&'t Entry),
}

impl ServerTable {
    pub(crate) fn insert_exact(&mut self, entry: Arc<Entry>) {
        self.mixed_case |= !is_folded(&entry.pattern);
        self.folded.entry(fold(&entry.pattern).into()).or_insert_with(|| Arc::clone(&entry));
        self.exact.insert(entry.pattern.clone(), entry);
    }

    pub(crate) fn insert_glob(&mut self, glob: Glob, entry: Arc<Entry>) {
        self.mixed_case |= !is_folded(&entry.pattern);
        let at = self.globs.partition_point(|other| other.glob.specificity() >= glob.specificity());
        self.globs.insert(at, GlobEntry { folded: glob.folded(), glob, entry });
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.exact.values().chain(self.globs.iter().map(|glob| &glob.entry)).map(|entry| &**entry)
    }

    fn find<'t>(&'t self, tool: &str, warning: ToolWarning, unmatched: &'t Entry) -> Found<'t> {
        if let Some(entry) = self.exact.get(tool) {
            return Found::Exact(entry);
        }
        // Whoever wrote a glob has not seen each tool that it matches.
        let covered = |entry: &&GlobEntry| match warning {
            ToolWarning::None => true,
            ToolWarning::Destructive => !entry.entry.action.passes(),
        };
        let globs = || self.globs.iter().filter(covered);
        let glob = globs().find(|entry| entry.glob.matches(tool));
        if self.mixed_case || !is_folded(tool) {
            let folded = fold(tool);
            let glob_folded = || globs().find(|entry| entry.folded.matches(&folded));
            let other = self.folded.get(&*folded).or_else(|| glob_folded().map(|entry| &entry.entry));
            let same = |other: &Arc<Entry>| glob.is_some_and(|entry| Arc::ptr_eq(&entry.entry, other));
            if let Some(other) = other.filter(|other| !same(other)) {
                return Found::Lookalike(other);
            }
        }
        glob.map_or(Found::Unmatched(unmatched), |entry| Found::Glob(&entry.entry))
    }
}

impl Table {
    pub(crate) fn find(&self, server: &str, tool: &str, warning: ToolWarning) -> Found<'_> {
        match self.servers.get(server) {
            Some(table) => table.find(tool, warning, &self.unmatched),
            None => Found::Unmatched(&self.unmatched),
        }
    }

    /// Every entry that is written, server by server.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.servers.values().flat_map(ServerTable::entries)
    }

    pub(crate) fn revision(&self) -> PolicyRevision {
        self.revision.clone()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl PolicySet {
    pub(crate) fn new(table: Arc<Table>, key: FingerprintKey) -> Self {
        Self { table, key }
    }

    /// For a server without any configuration: Gate is asked about every call, showing all arguments.
    #[must_use]
    pub fn gate_everything(server: &str, key: FingerprintKey) -> Self {
        let mut engine = Engine::default();
        let unmatched = unmatched_gate(&mut engine, WORKFLOW_NAME, Tokens::Required);
        let table = Table {
            servers: HashMap::from([(server.into(), ServerTable::default())]),
            unmatched,
            defaults: Terms::default(),
            waits: ServerWaits::default(),
            denied_methods: HashMap::new(),
            for_copilot_studio: HashSet::new(),
            engine: engine.finish(),
            revision: PolicyRevision::new("gate-everything"),
        };
        Self::new(Arc::new(table), key)
    }

    /// What is to be done with calls to `tool`, without looking at their arguments.
    #[must_use]
    pub fn action_of(&self, server: &str, tool: &str) -> Action {
        match self.table.find(server, tool, ToolWarning::None) {
            Found::Glob(entry) if matches!(entry.action, EntryAction::Pass) => Action::PassUnlessWarned,
            Found::Exact(entry) | Found::Glob(entry) | Found::Unmatched(entry) => match entry.action {
                EntryAction::Pass => Action::Pass,
                EntryAction::PassOnce(_) => Action::Once,
                EntryAction::Deny => Action::Deny,
                EntryAction::Gate(_) => Action::Gate,
            },
            Found::Lookalike(_) => Action::Deny,
        }
    }

    /// How calls to `tool` wait.
    #[must_use]
    pub fn waits_of(&self, server: &str, tool: &str) -> WaitSettings {
        match self.table.find(server, tool, ToolWarning::None) {
            Found::Exact(Entry { action: EntryAction::Gate(mapping), .. })
            | Found::Glob(Entry { action: EntryAction::Gate(mapping), .. }) => mapping.waits,
            Found::Exact(_) | Found::Glob(_) | Found::Unmatched(_) | Found::Lookalike(_) => {
                self.table.waits.of(server)
            }
        }
    }

    /// Whether requests and notifications of `method`, other than calls of tools, are refused. A server that reads names
    /// leniently must not be reached by another spelling, so case does not count.
    #[must_use]
    pub fn denies_method(&self, server: &str, method: &str) -> bool {
        self.table.denied_methods.get(server).is_some_and(|denied| {
            let method = fold(method);
            denied.iter().any(|glob| glob.matches(&method))
        })
    }

    /// Which clients the list of tools of `server` is written for. `None`: it passes as the server says it.
    #[must_use]
    pub fn compat_of(&self, server: &str) -> Option<ServerCompat> {
        self.table.for_copilot_studio.contains(server).then_some(ServerCompat::CopilotStudio)
    }

    /// What would be done with `call`, and why.
    #[must_use]
    pub fn explain(&self, call: &ToolCall) -> Explanation {
        let found = self.table.find(call.server.as_str(), call.tool.as_str(), call.warning);
        Explanation::new(call, &found, self.plan(call))
    }
}

impl Policy for PolicySet {
    fn plan(&self, call: &ToolCall) -> Result<Plan, PlanError> {
        let found = self.table.find(call.server.as_str(), call.tool.as_str(), call.warning);
        let is_matched = !matches!(found, Found::Unmatched(_));
        let entry = match found {
            Found::Exact(entry) | Found::Glob(entry) | Found::Unmatched(entry) => entry,
            Found::Lookalike(entry) => {
                let problem = "the tool's name differs from it only in case".to_owned();
                return Err(PlanError { entry: entry.name.clone(), problem });
            }
        };
        match &entry.action {
            EntryAction::Pass => Ok(Plan::Pass(entry.name.clone())),
            EntryAction::PassOnce(effect) => {
                let scope = Scope::of(call, &|_| None);
                let effect = effect.of(&scope, &self.table.engine, &self.key);
                match effect {
                    Ok(effect) => Ok(Plan::PassOnce(entry.name.clone(), effect)),
                    Err(problem) => Err(PlanError { entry: entry.name.clone(), problem }),
                }
            }
            EntryAction::Deny => Ok(Plan::Deny(entry.name.clone())),
            EntryAction::Gate(mapping) => {
                let (engine, key) = (&self.table.engine, &self.key);
                let asking = Asking { entry: &entry.name, mapping, engine, key };
                let mut ask = asking.ask(call)?;
                if !is_matched {
                    // One entry stands for all servers here.
                    ask.patience = self.table.waits.of(call.server.as_str()).patience;
                }
                Ok(Plan::Gate(Box::new(ask)))
            }
        }
    }

    fn revision(&self) -> PolicyRevision {
        self.table.revision()
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet").field("revision", &self.table.revision).finish_non_exhaustive()
    }
}

/// What stands for an entry where none matches and Gate is to be asked.
pub(crate) fn unmatched_gate(engine: &mut Engine, workflow_name: &str, tokens: Tokens) -> Entry {
    let mapping = generic(engine, workflow_name).map(|mapping| Mapping { tokens, ..mapping });
    let action = mapping.map_or(EntryAction::Deny, |mapping| EntryAction::Gate(Box::new(mapping)));
    unmatched(action)
}

/// What stands for an entry where none matches and the call is to be refused.
pub(crate) fn unmatched_deny() -> Entry {
    unmatched(EntryAction::Deny)
}

/// What it says is what holds where nothing is said.
fn unmatched(action: EntryAction) -> Entry {
    let name = EntryName::new("unmatched");
    Entry { name, pattern: "*".into(), action, terms: Terms::default(), place: None }
}

/// What is said of a tool about which nothing is written. The templates are constants; `None` if they did not compile.
pub(crate) fn generic(engine: &mut Engine, workflow_name: &str) -> Option<Mapping> {
    Some(Mapping {
        workflow_name: workflow_name.into(),
        task_label: engine.compile("{{ tool }} on {{ server }}", Lines::One).ok()?.0,
        subject: engine.compile("Run {{ tool }} on {{ server }}", Lines::One).ok()?.0,
        preview: None,
        risk_level: None,
        summary: Vec::new(),
        payload: Payload::Arguments,
        schema: None,
        tokens: Tokens::Required,
        waits: WaitSettings::default(),
        effect: None,
        said: Said::default(),
    })
}
