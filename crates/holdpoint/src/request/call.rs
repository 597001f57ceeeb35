//! From the command line to the call that Gate is asked about.

use super::ci;
use crate::{cli::RequestArgs, random};
use anyhow::{Context as _, Result, bail};
use holdpoint_api::TaskId as ApiTaskId;
use holdpoint_bridge::CHECKS;
use holdpoint_core::{
    Arguments, CallerWords, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning, check_unambiguous,
};
use serde_json::{Map, Value, json};

/// A payload may be this long.
const PAYLOAD_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What is asked, and what is to run.
#[derive(Debug)]
pub(super) struct Asked {
    tool: String,
    task: TaskId,
    arguments: Arguments,
    words: CallerWords,
    pub(super) command: Option<Vec<String>>,
}

impl Asked {
    pub(super) fn read(args: &RequestArgs) -> Result<Self> {
        let command = (!args.command.is_empty()).then(|| args.command.clone());
        if command.is_some() && !args.run {
            bail!("what is to be done with the command after `--`?\n  hint: write `--run -- COMMAND ARGS…`");
        }
        if args.run && command.is_none() {
            bail!("`--run` needs a command\n  hint: write `--run -- COMMAND ARGS…`");
        }
        let mut payload = payload(args.payload.as_deref())?;
        for field in &args.field {
            let Some((name, value)) = field.split_once('=') else {
                bail!("`--field {field}` has no value\n  hint: write `--field name=value`");
            };
            set(&mut payload, name, json!(value))?;
        }
        // The very command and its folder are what is approved.
        if let Some(command) = &command {
            set(&mut payload, "command", json!(command))?;
            let folder = std::env::current_dir().context("the current folder cannot be told")?;
            let Some(folder) = folder.to_str() else {
                bail!(
                    "the name of the current folder is not UTF-8: a reviewer could not tell it from another\n  \
                     hint: run it from a folder whose name is"
                );
            };
            set(&mut payload, "folder", json!(folder))?;
        }
        let text = Value::Object(payload).to_string();
        let arguments = Arguments::parse(text).map_err(|error| {
            anyhow::anyhow!("the payload cannot be used: {error}\n  hint: each name once, whatever its case")
        })?;
        Ok(Self {
            tool: args.tool.clone(),
            task: task(args.task.as_deref())?,
            arguments,
            words: CallerWords {
                workflow_name: args.workflow.clone().or_else(ci::workflow),
                task_label: args.task_label.clone(),
                subject: Some(args.subject.clone()),
                preview: args.preview.clone(),
                risk_level: args.risk.map(Into::into),
                summary: args.summary.iter().cloned().chain(ci::summary()).collect(),
                images: Vec::new(),
            },
            command,
        })
    }

    pub(super) fn call(&self, principal: Principal) -> ToolCall {
        let mut extra = Map::new();
        self.words.clone().add_to(&mut extra);
        ToolCall {
            principal,
            server: ServerName::new(CHECKS),
            tool: ToolName::new(self.tool.as_str()),
            arguments: self.arguments.clone(),
            extra,
            definition: None,
            warning: ToolWarning::None,
            task: self.task.clone(),
        }
    }
}

fn set(payload: &mut Map<String, Value>, name: &str, value: Value) -> Result<()> {
    if payload.insert(name.to_owned(), value).is_some() {
        bail!("the payload has `{name}` twice\n  hint: `command` and `folder` are those of `--run`");
    }
    Ok(())
}

fn payload(given: Option<&str>) -> Result<Map<String, Value>> {
    let text = match given.and_then(|given| given.strip_prefix('@')) {
        None => given.unwrap_or("{}").to_owned(),
        Some(path) => {
            let size = std::fs::metadata(path).with_context(|| format!("`{path}` cannot be read"))?.len();
            if size > PAYLOAD_BYTES_MAX {
                bail!("`{path}` is too large for a payload\n  hint: at most {PAYLOAD_BYTES_MAX} bytes");
            }
            std::fs::read_to_string(path).with_context(|| format!("`{path}` cannot be read"))?
        }
    };
    match check_unambiguous(text.trim()) {
        Ok(Value::Object(payload)) => Ok(payload),
        Ok(_) => bail!(
            "the payload is not a JSON object\n  hint: --payload '{{\"amount\": 5}}', or --field amount=5"
        ),
        Err(error) => {
            bail!("the payload has no single reading: {error}\n  hint: --payload '{{\"amount\": 5}}'")
        }
    }
}

/// As given, or as the CI system has it, or one of its own.
fn task(given: Option<&str>) -> Result<TaskId> {
    let text = match given.map(str::to_owned).or_else(ci::task) {
        Some(text) => text,
        None => format!("request-{}", random::hex::<8>()?),
    };
    let task = ApiTaskId::parse(text).map_err(|error| anyhow::anyhow!("--task cannot be used: {error}"))?;
    Ok(TaskId::new(task.as_str()))
}
