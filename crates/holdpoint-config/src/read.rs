//! From a path to a configuration: which files there are, what they say, and whether it fits together.

mod bridge;
mod callers;
mod gate;
mod servers;
mod shared;

pub use servers::is_credential;

use crate::{
    compile::{Compiler, Defaults, declined, denied_methods, own_hold, plain_line, tokens, wait_mode},
    env::{Env, Substitution},
    glob::is_glob,
    load::{Located, Node, decode, parse},
    mistake::{Finding, Findings, Mistakes, meant},
    settings::{
        AuditSettings, BridgeSettings, CallerSettings, Config, GateSettings, HoldSettings, JournalSettings,
        ServerSettings, TimelineSettings, WaitSettings,
    },
    source::{FileId, Sources, check_folder},
    watch::{ENDINGS, config_files},
    written::{Hold, HoldpointFile, ServerCompat, ToolsFile},
};
use holdpoint_api::declare::{GateDeclaration, HumaneDuration};
use holdpoint_core::ServerName;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

/// Reads `holdpoint.yaml`, or the one in the folder `path`, and all that belongs to it.
///
/// # Errors
/// Every mistake in every file.
pub fn load(path: &Path, env: &dyn Env) -> Result<Config, Mistakes> {
    let mut reader = Reader::new(env);
    let config = reader.config(path);
    reader.findings.finish(config.map(|read| read.config), &reader.sources)
}

/// Reads `gate.yaml` alone.
///
/// # Errors
/// Every mistake in it.
pub fn load_gate(path: &Path) -> Result<GateDeclaration, Mistakes> {
    let env = BTreeMap::new();
    let mut reader = Reader::new(&env);
    let declaration = reader.declaration(path);
    reader.findings.finish(declaration, &reader.sources)
}

/// The tools of each target of the bridge.
type Targets = BTreeMap<String, Vec<String>>;

/// Reads files and collects what is wrong with them.
pub(crate) struct Reader<'e> {
    pub(crate) sources: Sources,
    pub(crate) findings: Findings,
    /// What may be meant, and may not.
    pub(crate) notes: Findings,
    env: &'e dyn Env,
}

/// What was read.
pub(crate) struct Read {
    pub(crate) config: Config,
    /// The folder of the tools files.
    pub(crate) tools: Option<PathBuf>,
    /// The servers that may be named, if that is known.
    pub(crate) servers: Option<Vec<String>>,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(env: &'e dyn Env) -> Self {
        Self { sources: Sources::default(), findings: Findings::default(), notes: Findings::default(), env }
    }

    /// The configuration with what is wrong left out.
    pub(crate) fn config(&mut self, path: &Path) -> Option<Read> {
        let path = self.main_file(path)?;
        let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        self.check_folder(&folder);
        let (_, root) = self.open(&path)?;
        servers::hide_secrets(&root, &mut self.sources);
        let written: HoldpointFile = decode(&root, &mut self.findings)?;

        let substitution = Substitution { env: self.env, base: &folder, sources: &self.sources };
        let gate = servers::gate(written.gate.as_ref(), &substitution, &mut self.findings, &mut self.notes);
        let servers = servers::all(&written.servers, &substitution, &mut self.findings);
        let names: Vec<&str> = written.servers.0.iter().map(|(name, _)| name.value.as_str()).collect();
        let bridge = written.bridge.as_ref();
        let bridge = bridge.and_then(|it| bridge::bridge(it, &names, &substitution, &mut self.findings));
        let settings = Settings {
            bridge,
            gate,
            servers,
            callers: callers::callers(&written.callers, &substitution, &mut self.findings),
            hold: hold(&written.hold, &mut self.findings),
            journal: shared::journal(written.journal.as_ref(), &substitution, &mut self.findings),
            audit: shared::audit(written.audit.as_ref(), &mut self.findings),
            timeline: shared::timeline(&written.timeline),
            declaration: self.beside(&folder, "gate").and_then(|path| self.declaration(&path)),
        };
        let defaults = self.defaults(&written);

        let tools = self.tools_folder(&folder, written.tools.as_ref());
        let mut compiler = Compiler::new(defaults);
        let targets: Targets = written
            .bridge
            .iter()
            .flat_map(|bridge| &bridge.targets.0)
            .map(|(name, target)| {
                let tools = target.value.tools.0.iter().map(|(tool, _)| tool.value.clone());
                (name.value.clone(), tools.collect())
            })
            .collect();
        let mut known: Vec<&str> = names.into_iter().chain(targets.keys().map(String::as_str)).collect();
        // Whatever is said of the bridge: `holdpoint bridge` needs nothing to be said.
        known.push(bridge::CHECKS);
        for path in tools.as_ref().map(|tools| self.tools_files(tools)).unwrap_or_default() {
            self.tools_file(&path, Some(&known), &targets, &mut compiler);
        }
        let known = known.into_iter().map(ToOwned::to_owned).collect();
        let config = self.finish(compiler, settings);
        Some(Read { config, tools, servers: Some(known) })
    }

    /// A tools file by itself, with the defaults for the rest.
    pub(crate) fn tools_alone(&mut self, path: &Path) -> Read {
        let mut compiler = Compiler::new(Defaults::default());
        self.tools_file(path, None, &Targets::new(), &mut compiler);
        let config = self.finish(compiler, Settings::default());
        Read { config, tools: path.parent().map(Path::to_owned), servers: None }
    }

    /// `gate.yaml` by itself.
    pub(crate) fn gate_alone(&mut self, path: &Path) {
        self.declaration(path);
    }

    /// Whether the file has the shape of a tools file, mistakes aside.
    pub(crate) fn is_tools_file(path: &Path) -> bool {
        let Ok(text) = Sources::default().read(path) else { return false };
        let root = parse(FileId(u32::MAX), &text, &mut Findings::default());
        let by_folder = path.parent().is_some_and(|folder| folder.ends_with("tools"));
        root.map_or(by_folder, |root| root.get("server").is_some() && root.get("servers").is_none())
    }

    fn finish(&mut self, compiler: Compiler, settings: Settings) -> Config {
        let Settings { bridge, gate, servers, callers, hold, journal, audit, timeline, declaration } =
            settings;
        let table = Arc::new(compiler.finish(&mut self.findings));
        let sources = self.sources.looked_at();
        Config { gate, servers, callers, bridge, hold, journal, audit, timeline, declaration, sources, table }
    }

    /// The file and its tree.
    pub(crate) fn open(&mut self, path: &Path) -> Option<(FileId, Rc<Node>)> {
        let text = self.findings.note(self.sources.read(path))?;
        let file = self.sources.add(path.to_owned(), text);
        let root = parse(file, self.sources.text(file), &mut self.findings)?;
        Some((file, root))
    }

    fn main_file(&mut self, path: &Path) -> Option<PathBuf> {
        if !path.is_dir() {
            return Some(path.to_owned());
        }
        let found = self.beside(path, "holdpoint");
        if found.is_none() {
            let hint = "name the file, or make one with `holdpoint init`";
            self.findings.push(Finding::file(path, "there is no holdpoint.yaml in this folder").hint(hint));
        }
        found
    }

    /// The file `STEM.yaml` in `folder`, or one of its other endings; two of them are a mistake.
    fn beside(&mut self, folder: &Path, stem: &str) -> Option<PathBuf> {
        let candidates = ENDINGS.iter().map(|ending| folder.join(format!("{stem}.{ending}")));
        let (found, missing): (Vec<_>, Vec<_>) = candidates.partition(|path| path.exists());
        for path in &missing {
            self.sources.note(|looked| looked.note_missing(path));
        }
        let mut found = found.into_iter();
        let first = found.next()?;
        if let Some(second) = found.next() {
            let message = format!("there is `{}` as well, and only one can count", first.display());
            self.findings.push(Finding::file(&second, &message).hint("remove one of the two files"));
        }
        Some(first)
    }

    fn check_folder(&mut self, folder: &Path) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Err(finding) = check_folder(folder) {
            self.findings.push(finding);
        }
    }

    fn defaults(&mut self, written: &HoldpointFile) -> Defaults {
        let workflow = written.workflow_name.as_ref();
        let workflow = workflow.and_then(|name| plain_line(name, "workflow_name", &mut self.findings));
        let otherwise = Defaults::default();
        Defaults {
            workflow_name: workflow.unwrap_or(otherwise.workflow_name),
            tokens: written.gate.as_ref().map_or(otherwise.tokens, |gate| tokens(gate.tokens)),
            waits: global_waits(&written.hold),
            servers: written
                .servers
                .0
                .iter()
                .filter_map(|(name, server)| {
                    let hold = server.value.hold.as_ref()?;
                    Some((name.value.as_str().into(), own_hold(Some(hold))))
                })
                .collect(),
            denied_methods: written
                .servers
                .0
                .iter()
                .map(|(name, server)| {
                    let denied = denied_methods(&server.value.methods.deny, &mut self.findings);
                    (name.value.as_str().into(), denied)
                })
                .collect(),
            for_copilot_studio: written
                .servers
                .0
                .iter()
                .filter_map(|(name, server)| match server.value.compat.as_ref()?.value {
                    ServerCompat::CopilotStudio => Some(name.value.as_str().into()),
                })
                .collect(),
            unmatched: written.unmatched,
        }
    }

    fn tools_folder(&mut self, folder: &Path, written: Option<&Located<String>>) -> Option<PathBuf> {
        let Some(written) = written else {
            let usual = folder.join("tools");
            let is_there = usual.is_dir();
            if !is_there {
                self.sources.note(|looked| looked.note_missing(&usual));
            }
            return is_there.then_some(usual);
        };
        let tools = folder.join(&written.value);
        if tools.is_dir() {
            return Some(tools);
        }
        let message = format!("there is no folder `{}`", tools.display());
        self.findings.push(
            Finding::at(written.span, message)
                .hint("make it, or remove the key; it is relative to this file"),
        );
        None
    }

    /// In the order of their names, without the cases.
    fn tools_files(&mut self, folder: &Path) -> Vec<PathBuf> {
        self.check_folder(folder);
        let mut files = self.list(folder);
        files.retain(|path| !is_cases(path));
        files
    }

    pub(crate) fn list(&mut self, folder: &Path) -> Vec<PathBuf> {
        match config_files(folder) {
            Ok(files) => {
                self.sources.note(|looked| looked.note_folder(folder, &files));
                files
            }
            Err(error) => {
                let finding = Finding::file(folder, &format!("this folder cannot be read: {error}"));
                self.findings
                    .push(finding.hint("give the user that runs holdpoint the permission to read it"));
                Vec::new()
            }
        }
    }

    fn tools_file(
        &mut self,
        path: &Path,
        known: Option<&[&str]>,
        targets: &Targets,
        compiler: &mut Compiler,
    ) {
        let Some((_, root)) = self.open(path) else { return };
        let Some(file) = decode::<ToolsFile>(&root, &mut self.findings) else { return };
        self.check_server(&file.server, known);
        self.check_target(&file, targets);
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        compiler.add(&file, &folder, &mut self.sources, &mut self.findings, &mut self.notes);
    }

    /// `known`: the servers of `holdpoint.yaml`, if it was read.
    pub(crate) fn check_server(&mut self, server: &Located<String>, known: Option<&[&str]>) {
        let Some(known) = known.filter(|known| !known.contains(&server.value.as_str())) else { return };
        let finding = Finding::at(server.span, format!("holdpoint.yaml has no server `{}`", server.value));
        let hint = meant(&server.value, known).unwrap_or_else(|| "add it under `servers:` there".to_owned());
        self.findings.push(finding.hint(&hint));
    }

    /// An entry for a tool that the target does not have guards nothing: another one was meant.
    fn check_target(&mut self, file: &ToolsFile, targets: &Targets) {
        let Some(tools) = targets.get(&file.server.value) else { return };
        for entry in &file.tools {
            let name = &entry.value.name;
            if !is_glob(&name.value) && !tools.contains(&name.value) {
                let message = format!("the target `{}` has no tool `{}`", file.server.value, name.value);
                let known: Vec<&str> = tools.iter().map(String::as_str).collect();
                let hint = meant(&name.value, &known);
                let hint =
                    hint.unwrap_or_else(|| "add it under `bridge.targets` in holdpoint.yaml".to_owned());
                self.findings.push(Finding::at(name.span, message).hint(&hint));
            }
        }
    }

    fn declaration(&mut self, path: &Path) -> Option<GateDeclaration> {
        let (_, root) = self.open(path)?;
        gate::declaration(&root, &mut self.findings)
    }
}

/// What the main file and `gate.yaml` come to.
#[derive(Default)]
struct Settings {
    bridge: Option<BridgeSettings>,
    gate: Option<GateSettings>,
    servers: BTreeMap<ServerName, ServerSettings>,
    callers: CallerSettings,
    hold: HoldSettings,
    journal: Option<JournalSettings>,
    audit: AuditSettings,
    timeline: TimelineSettings,
    declaration: Option<GateDeclaration>,
}

fn global_waits(written: &Hold) -> WaitSettings {
    WaitSettings {
        mode: written.mode.map(wait_mode),
        patience: written.patience.map(HumaneDuration::get),
        leg: written.leg.map(HumaneDuration::get),
        declined: written.declined.map(declined),
    }
}

fn hold(written: &Hold, findings: &mut Findings) -> HoldSettings {
    if let Some(held_max) = written.held_max.as_ref().filter(|held_max| held_max.value == 0) {
        let finding =
            Finding::at(held_max.span, "with `held_max: 0`, no call could ever wait for a decision");
        findings.push(finding.hint("write how many calls may wait at once, such as 256"));
    }
    HoldSettings {
        waits: global_waits(written),
        held_max: written.held_max.as_ref().map(|held_max| held_max.value),
        result_bytes_max: written.result_bytes_max,
        result_kept: written.result_kept.map(HumaneDuration::get),
    }
}

/// Whether a file of the tools folder holds cases.
pub(crate) fn is_cases(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    stem.is_some_and(|stem| stem.ends_with(".cases"))
}
