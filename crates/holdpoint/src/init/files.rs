//! Where the files go, and how a server is added to a configuration without touching the rest of it.

use super::draft::{Draft, quoted};
use crate::{cli::InitArgs, configuration::LookingEnv};
use anyhow::{Context as _, Result, bail};
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// The files of one server in one folder.
pub(super) struct Files {
    main: PathBuf,
    tools: PathBuf,
    cases: PathBuf,
}

/// What was written.
pub(super) struct Written {
    pub(super) placed: Placed,
    pub(super) paths: Vec<PathBuf>,
}

/// Whether the configuration names the server now.
pub(super) enum Placed {
    Done,
    /// These lines are for a person to add.
    ByHand(String),
}

impl Files {
    pub(super) fn of(out: &Path, server: &str) -> Result<Self> {
        if out.join("holdpoint.json").exists() {
            bail!(
                "`{}` holds a holdpoint.json, to which nothing can be added here\n  hint: write to another folder with --out DIR, \
                 and take over what you need",
                out.display()
            );
        }
        let main = out.join("holdpoint.yaml");
        let folder = match read_if_there(&main)? {
            Some(text) => out.join(tools_folder(&text).unwrap_or("tools")),
            None => out.join("tools"),
        };
        let tools = folder.join(format!("{server}.yaml"));
        let cases = folder.join(format!("{server}.cases.yaml"));
        Ok(Self { main, tools, cases })
    }

    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    pub(super) fn main_is_there(&self) -> bool {
        self.main.exists()
    }

    /// Which of the server's own files are there.
    pub(super) fn there(&self) -> Vec<String> {
        let own = [&self.tools, &self.cases];
        own.into_iter().filter(|path| path.exists()).map(|path| format!("`{}`", path.display())).collect()
    }

    /// Writes them, and takes everything back if the whole does not pass the check.
    pub(super) fn write(&self, draft: &Draft, entry: Option<&str>) -> Result<Written> {
        let before = read_if_there(&self.main)?;
        let (main, placed) = match (&before, entry) {
            (_, None) => (None, Placed::Done),
            (None, Some(entry)) => (Some(new_main(entry)), Placed::Done),
            (Some(text), Some(entry)) => match added(text, entry) {
                Some(text) => (Some(text), Placed::Done),
                None => (None, Placed::ByHand(entry.to_owned())),
            },
        };
        let mut files = vec![(&self.tools, draft.tools.clone()), (&self.cases, draft.cases.clone())];
        files.extend(main.map(|text| (&self.main, text)));
        let kept: Vec<_> =
            files.iter().map(|(path, _)| Ok((*path, read_if_there(path)?))).collect::<Result<_>>()?;
        let written = files.iter().try_for_each(|(path, text)| write(path, text));
        // Without the server in the configuration, its tools file is looked at alone.
        let checked = if matches!(placed, Placed::Done) { &self.main } else { &self.tools };
        let report = written.map(|()| holdpoint_config::check(checked, &LookingEnv::default()));
        match report {
            Ok(report) if report.is_clean() => {
                Ok(Written { placed, paths: files.iter().map(|(path, _)| (*path).clone()).collect() })
            }
            outcome => {
                for (path, text) in kept {
                    let undone = text.map_or_else(|| fs::remove_file(path), |text| fs::write(path, text));
                    undone.or_else(absent_is_fine).with_context(|| cannot_write(path))?;
                }
                let report = outcome?;
                bail!("what would be written does not pass the check, so nothing was changed\n\n{report}")
            }
        }
    }
}

/// The entry under `servers:`, indented by two.
pub(super) fn server_entry(args: &InitArgs) -> String {
    let mut entry = format!("  {}:\n", quoted(&args.server));
    if let Some(url) = &args.url {
        let _infallible = writeln!(entry, "    url: {}", literal(url));
        if !args.header.is_empty() {
            entry.push_str("    headers:\n");
        }
        for (name, text) in args.header.iter().filter_map(|header| header_parts(header).ok()) {
            let _infallible = writeln!(entry, "      {}: {}", quoted(name), always_quoted(text));
        }
    } else {
        let words: Vec<String> = args.command.iter().map(|word| literal(word)).collect();
        let _infallible = writeln!(entry, "    command: [{}]", words.join(", "));
        if !args.env.is_empty() {
            entry.push_str("    env:\n");
        }
        for variable in &args.env {
            let value = always_quoted(&format!("${{{variable}}}"));
            let _infallible = writeln!(entry, "      {}: {value}", quoted(variable));
        }
    }
    entry
}

pub(super) fn header_parts(header: &str) -> Result<(&str, &str)> {
    header
        .split_once('=')
        .context("--header is not NAME=TEXT\n  hint: --header 'authorization=Bearer ${TOKEN}'")
}

fn always_quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text that is no reference to the environment.
fn literal(text: &str) -> String {
    always_quoted(&text.replace("${", "$${"))
}

fn new_main(entry: &str) -> String {
    format!(
        "# Which tool servers are behind the gate. Made by `holdpoint init`; check it with `holdpoint check`.\n\
         # Without `gate`, `holdpoint up` brings a Gate along, and `holdpoint proxy` asks the one in STACKSONA_GATE_URL.\n\n\
         servers:\n{entry}\n\
         tools: tools/ # one file per server, beside it its cases\n\n\
         unmatched: gate # a tool that no file mentions is asked about\n"
    )
}

/// The text with the entry as the first one under `servers:`; `None` where that is not a block mapping, indented as usual.
fn added(text: &str, entry: &str) -> Option<String> {
    let mut at = 0;
    let mut lines = text.split_inclusive('\n');
    for line in lines.by_ref() {
        at += line.len();
        let bare = line.split(" #").next().unwrap_or(line).trim_end();
        if bare == "servers:" && line.ends_with('\n') {
            let first = lines.find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
            let usual = first.starts_with("  ") && !first.starts_with("   ");
            let (head, tail) = text.split_at_checked(at)?;
            return usual.then(|| format!("{head}{entry}{tail}"));
        }
    }
    None
}

/// What `tools:` says, if it is said plainly.
fn tools_folder(main: &str) -> Option<&str> {
    let line = main.lines().find_map(|line| line.strip_prefix("tools:"))?;
    let value = line.split(" #").next()?.trim().trim_matches(['"', '\'']).trim_end_matches('/');
    (!value.is_empty()).then_some(value)
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, text)).with_context(|| cannot_write(path))
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
