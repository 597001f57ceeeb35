//! From the entries of tools files to the table that calls are looked up in.

mod effect;
mod entry;
mod reconcile;

pub(crate) use entry::plain_line;

use crate::{
    glob::{Glob, is_glob},
    load::Located,
    mistake::{Finding, Findings},
    policy::{Entry, ServerTable, ServerWaits, Table, WORKFLOW_NAME, unmatched_deny, unmatched_gate},
    settings::{Declined, WaitMode, WaitSettings},
    source::{Sources, Span},
    template::Engine,
    terms::{Terms, text_into, waits},
    written::{self, OwnHold, TokenRule, ToolsFile, Unmatched},
};
use holdpoint_api::declare::HumaneDuration;
use holdpoint_core::{PolicyRevision, Tokens};
use reconcile::Stated;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

/// What holds where an entry says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(crate) workflow_name: String,
    pub(crate) tokens: Tokens,
    pub(crate) waits: WaitSettings,
    /// The same, of servers that say something of their own.
    pub(crate) servers: HashMap<Box<str>, WaitSettings>,
    /// Methods that are refused, by server.
    pub(crate) denied_methods: HashMap<Box<str>, Vec<Glob>>,
    /// Servers whose lists of tools are written for Copilot Studio.
    pub(crate) for_copilot_studio: HashSet<Box<str>>,
    pub(crate) unmatched: Unmatched,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            workflow_name: WORKFLOW_NAME.to_owned(),
            tokens: Tokens::Required,
            waits: WaitSettings::default(),
            servers: HashMap::new(),
            denied_methods: HashMap::new(),
            for_copilot_studio: HashSet::new(),
            unmatched: Unmatched::Gate,
        }
    }
}

pub(crate) const fn tokens(rule: TokenRule) -> Tokens {
    match rule {
        TokenRule::Required => Tokens::Required,
        TokenRule::Optional => Tokens::Optional,
        TokenRule::Off => Tokens::Off,
    }
}

/// What a server or an entry says by itself.
pub(crate) fn own_hold(written: Option<&OwnHold>) -> WaitSettings {
    let Some(OwnHold { mode, patience, leg, declined }) = written else {
        return WaitSettings::default();
    };
    WaitSettings {
        mode: mode.map(wait_mode),
        patience: patience.as_ref().map(|patience| patience.value.get()),
        leg: leg.map(HumaneDuration::get),
        declined: declined.map(self::declined),
    }
}

pub(crate) const fn wait_mode(mode: written::WaitMode) -> WaitMode {
    match mode {
        written::WaitMode::Auto => WaitMode::Auto,
        written::WaitMode::Hold => WaitMode::Hold,
        written::WaitMode::Legs => WaitMode::Legs,
        written::WaitMode::Task => WaitMode::Task,
        written::WaitMode::Bounded => WaitMode::Bounded,
    }
}

pub(crate) const fn declined(declined: written::Declined) -> Declined {
    match declined {
        written::Declined::Withdraw => Declined::Withdraw,
        written::Declined::Leave => Declined::Leave,
    }
}

/// Compiles one tools file after the other.
pub(crate) struct Compiler {
    defaults: Defaults,
    engine: Engine,
    servers: HashMap<Box<str>, Entries>,
}

/// What the files say of one server.
#[derive(Default)]
struct Entries {
    named: Vec<Named>,
    /// Those with mistakes as well.
    stated: Vec<Stated>,
}

/// An entry and where its name is written.
struct Named {
    entry: Arc<Entry>,
    span: Span,
    glob: Option<Glob>,
}

impl Compiler {
    pub(crate) fn new(defaults: Defaults) -> Self {
        Self { defaults, engine: Engine::default(), servers: HashMap::new() }
    }

    /// `folder` is what the file's own paths are relative to.
    pub(crate) fn add(
        &mut self,
        file: &ToolsFile,
        folder: &Path,
        sources: &mut Sources,
        findings: &mut Findings,
        notes: &mut Findings,
    ) {
        let server = file.server.value.as_str();
        let mut named = Vec::new();
        let stated: Vec<Stated> = file.tools.iter().map(|written| Stated::of(&written.value)).collect();
        for written in &file.tools {
            let glob = pattern(&written.value.name, findings);
            let mut reading = entry::Reading {
                server,
                folder,
                defaults: &self.defaults,
                engine: &mut self.engine,
                sources,
                findings,
                notes,
            };
            let entry = reading.entry(written);
            if let (Some(entry), Ok(glob)) = (entry, glob) {
                named.push(Named { entry: Arc::new(entry), span: written.value.name.span, glob });
            }
        }
        let entries = self.servers.entry(server.into()).or_default();
        entries.named.extend(named);
        entries.stated.extend(stated);
    }

    /// Everything that was added, ready for look-ups.
    pub(crate) fn finish(mut self, findings: &mut Findings) -> Table {
        let unmatched = match self.defaults.unmatched {
            Unmatched::Deny => unmatched_deny(),
            Unmatched::Gate => {
                let Defaults { workflow_name, tokens, .. } = &self.defaults;
                unmatched_gate(&mut self.engine, workflow_name, *tokens)
            }
        };
        let mut servers = HashMap::new();
        for (server, Entries { named: entries, stated }) in self.servers {
            check_ties(&entries, findings);
            reconcile::check(&stated, findings);
            let mut table = ServerTable::default();
            for Named { entry, glob, .. } in entries {
                match glob {
                    None => table.insert_exact(entry),
                    Some(glob) => table.insert_glob(glob, entry),
                }
            }
            servers.insert(server, table);
        }
        let defaults = self.defaults.terms();
        let revision = revision(&defaults, &servers, &self.defaults.denied_methods);
        let Defaults { waits, servers: waits_of_servers, denied_methods, for_copilot_studio, .. } =
            self.defaults;
        let waits = ServerWaits { servers: waits_of_servers, others: waits };
        let engine = self.engine.finish();
        Table { servers, unmatched, defaults, waits, denied_methods, for_copilot_studio, engine, revision }
    }
}

impl Defaults {
    /// How calls to `server` wait whose entry does not say.
    pub(crate) fn waits_of(&self, server: &str) -> WaitSettings {
        self.servers.get(server).copied().unwrap_or_default().over(self.waits)
    }

    fn terms(&self) -> Terms {
        let unmatched = match self.unmatched {
            Unmatched::Gate => "gate",
            Unmatched::Deny => "deny",
        };
        Terms::new([
            ("workflow_name", Some(self.workflow_name.clone())),
            ("gate.tokens", Some(self.tokens.as_str().to_owned())),
        ])
        .and(waits(self.waits))
        .and([("unmatched", Some(unmatched.to_owned()))])
    }
}

/// A short digest of everything that decides, whatever the order and the files it is written in.
fn revision(
    defaults: &Terms,
    servers: &HashMap<Box<str>, ServerTable>,
    denied_methods: &HashMap<Box<str>, Vec<Glob>>,
) -> PolicyRevision {
    let mut hash = Sha256::new();
    text_into("holdpoint/policy/v1", &mut hash);
    defaults.hash_into(&mut hash);
    let mut entries: Vec<(&str, &str, &Entry)> = servers
        .iter()
        .flat_map(|(server, table)| table.entries().map(|entry| (&**server, &*entry.pattern, entry)))
        .collect();
    entries.sort_unstable_by_key(|(server, pattern, _)| (*server, *pattern));
    for (server, pattern, entry) in entries {
        text_into(server, &mut hash);
        text_into(pattern, &mut hash);
        entry.terms.hash_into(&mut hash);
    }
    let mut denied: Vec<(&str, &str)> = denied_methods
        .iter()
        .flat_map(|(server, globs)| globs.iter().map(|glob| (&**server, glob.as_str())))
        .collect();
    denied.sort_unstable();
    for (server, method) in denied {
        text_into(server, &mut hash);
        text_into(method, &mut hash);
    }
    let digest = hash.finalize();
    let shown = digest.iter().take(8).fold(0_u64, |shown, byte| (shown << 8) | u64::from(*byte));
    PolicyRevision::new(format!("{shown:016x}"))
}

/// The glob that a name is; `None` if it is an exact name.
fn pattern(name: &Located<String>, findings: &mut Findings) -> Result<Option<Glob>, ()> {
    if name.value.trim().is_empty() {
        let finding = Finding::at(name.span, "a tool's name cannot be empty");
        findings.push(finding.hint("write the tool's exact name, or a glob"));
        return Err(());
    }
    let looks_like_pattern = is_glob(&name.value) || name.value.contains(['[', ']', '{', '}', '\\']);
    if !looks_like_pattern {
        return Ok(None);
    }
    Glob::parse(&name.value).map(Some).map_err(|why| {
        let hint = "write one entry per kind of name; `*` is any text, `?` any one character";
        findings.push(Finding::at(name.span, format!("`{}` is no pattern: {why}", name.value)).hint(hint));
    })
}

/// The methods that one server's clients may not use.
pub(crate) fn denied_methods(written: &[Located<String>], findings: &mut Findings) -> Vec<Glob> {
    let read = |method: &Located<String>| {
        let glob = match Glob::parse(method.value.trim()) {
            Ok(_) if method.value.trim().is_empty() => Err("a method's name cannot be empty".to_owned()),
            Ok(glob) if glob.folded().matches("tools/call") => {
                Err(format!("`{}` covers `tools/call`, which tools files decide about", method.value))
            }
            Ok(glob) if glob.folded().matches("notifications/cancelled") => Err(format!(
                "`{}` covers `notifications/cancelled`, by which callers withdraw what waits",
                method.value
            )),
            Ok(glob) => Ok(glob.folded()),
            Err(why) => Err(format!("`{}` is no pattern: {why}", method.value)),
        };
        glob.map_err(|problem| {
            let hint = "name MCP methods such as `resources/read`, or `prompts/*`; a tool is refused by `action: deny`";
            findings.push(Finding::at(method.span, problem).hint(hint));
        })
    };
    written.iter().map(read).filter_map(Result::ok).collect()
}

/// Two entries of the same rank for the same tool: neither may win.
fn check_ties(entries: &[Named], findings: &mut Findings) {
    for (at, later) in entries.iter().enumerate() {
        let clash = entries.iter().take(at).find(|earlier| match (&earlier.glob, &later.glob) {
            (None, None) => earlier.entry.pattern == later.entry.pattern,
            (Some(a), Some(b)) => a.specificity() == b.specificity() && a.overlaps(b),
            (None, Some(_)) | (Some(_), None) => false,
        });
        let Some(earlier) = clash else { continue };
        let (pattern, other) = (&later.entry.pattern, &earlier.entry.pattern);
        let finding = if pattern == other {
            Finding::at(later.span, format!("there is an entry for `{pattern}` already"))
                .hint("keep one of them")
                .related(earlier.span, "first written here")
        } else {
            Finding::at(
                later.span,
                format!("`{pattern}` and `{other}` can match the same tool, and neither is more specific"),
            )
            .hint("name the tools that both match, or make one of the globs longer")
            .related(earlier.span, "the other one")
        };
        findings.push(finding);
    }
}
