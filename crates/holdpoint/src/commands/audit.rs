//! `holdpoint audit`: is the log what was written, and what does it say of a call?

use crate::{
    cli::{AuditCommand, CheckpointArgs, DataArgs, ShowArgs, VerifyArgs},
    data::DataFolder,
    hints::Hinted as _,
    journals, print, wiring,
};
use anyhow::{Context as _, Result, bail};
use holdpoint_audit::{FileError, PublicKey, Report, SignedHead, Trust};
use holdpoint_config::AuditSettings;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

pub(crate) async fn run(command: AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::Verify(args) => verify(&args),
        AuditCommand::Show(args) => show(&args),
        AuditCommand::Checkpoint(args) => checkpoint(&args).await,
    }
}

fn folder(named: Option<&PathBuf>, data: &DataArgs) -> Result<PathBuf> {
    let folder = named.cloned().unwrap_or_else(|| wiring::audit_folder(&data.data));
    if !folder.is_dir() {
        let hint = "name the folder with the log, or the data folder with --data DIR; a log is begun with the first proxy";
        bail!("there is no audit log in `{}`\n  hint: {hint}", folder.display());
    }
    Ok(folder)
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let folder = folder(args.folder.as_ref(), &args.data)?;
    let trust = Trust { keys: trusted(args, &folder)?, kept: kept(args.checkpoint.as_deref())? };
    let report = holdpoint_audit::verify(&folder, &trust).hinted(FileError::hint)?;
    if args.json.json {
        print::json(&report_json(&report))?;
    } else {
        print::text(&report_text(&report))?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The key that was named, else the one that lies beside the log.
fn trusted(args: &VerifyArgs, folder: &Path) -> Result<Vec<PublicKey>> {
    let beside = folder.join("public-key.pem");
    let path = match &args.key {
        Some(path) => path,
        // Whether it is missing, and whether it is the signer's, is for the check itself to say.
        None if !beside.exists() => return Ok(Vec::new()),
        None => &beside,
    };
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the key `{}`", path.display()))?;
    match (text.parse().or_else(|_| text.trim().parse()), &args.key) {
        (Ok(key), _) => Ok(vec![key]),
        (Err(_), None) => Ok(Vec::new()),
        (Err(error), Some(_)) => {
            bail!(
                "`{}` is {error}\n  hint: name the public-key.pem of the log, or a copy of it",
                path.display()
            )
        }
    }
}

fn kept(path: Option<&Path>) -> Result<Option<SignedHead>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the checkpoint `{}`", path.display()))?;
    let head = text.trim().parse().with_context(|| {
        let hint = "it is one line that `holdpoint audit checkpoint` printed";
        format!("`{}` cannot be used\n  hint: {hint}", path.display())
    })?;
    Ok(Some(head))
}

fn report_json(report: &Report) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| json!({ "file": finding.file, "line": finding.line, "message": finding.flaw.to_string() }))
        .collect();
    json!({
        "ok": report.is_sound(),
        "records": report.records,
        "files": report.files,
        "calls": report.calls,
        "runs": report.runs,
        "open_runs": report.open_runs,
        "checkpoints": report.checkpoints,
        "unsigned_tail": report.unsigned_tail,
        "lost": report.lost,
        "signers": report.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "head": report.head.as_ref().map(ToString::to_string),
        "findings": findings,
    })
}

fn report_text(report: &Report) -> String {
    let Report { records, files, calls, runs, open_runs, checkpoints, unsigned_tail, lost, .. } = report;
    let (verdict, which) = if report.is_sound() {
        ("the log is sound", "")
    } else {
        ("the log is NOT what was written", " before the first that is wrong")
    };
    let mut lines = vec![verdict.to_owned()];
    lines.extend(report.findings.iter().map(|finding| format!("  {finding}")));
    lines.push(format!("  {records} records in {files} files{which}"));
    lines.push(format!("  {checkpoints} signed checkpoints, {unsigned_tail} records behind the last"));
    lines.push(format!(
        "  {calls} calls, {runs} sent to their tools, {open_runs} of those without a known outcome"
    ));
    if *lost > 0 {
        lines.push(format!("  {lost} records could not be written at their time, by the log's own account"));
    }
    lines.extend(report.signers.iter().map(|signer| format!("  signed with {signer}")));
    lines.join("\n")
}

fn show(args: &ShowArgs) -> Result<ExitCode> {
    let folder = folder(args.folder.as_ref(), &args.data)?;
    let entries = holdpoint_audit::story(&folder, &args.thread).hinted(FileError::hint)?;
    if entries.is_empty() {
        bail!(
            "the log in `{}` says nothing of the review `{}`\n  hint: `holdpoint holds list` and the inbox name reviews",
            folder.display(),
            args.thread,
        );
    }
    if args.json.json {
        let lines = entries.iter().map(|entry| serde_json::from_str(&entry.text));
        print::json(&lines.collect::<serde_json::Result<Vec<Value>>>()?)?;
    } else {
        print::text(&holdpoint_audit::render(&entries))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn checkpoint(args: &CheckpointArgs) -> Result<ExitCode> {
    let audit =
        wiring::open_audit(&DataFolder::open(&args.data.data)?, AuditSettings::default(), journals::owner()?)
            .await?;
    let head = audit.checkpoint().await;
    audit.close().await;
    print::text(&head?.to_string())?;
    print::note(
        "keep this line where nobody who can write to the log can; `audit verify --checkpoint FILE` checks against it",
    );
    Ok(ExitCode::SUCCESS)
}
