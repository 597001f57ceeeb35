//! `holdpoint request`: one decision for a shell or a CI job, and a command that runs only on a yes.
//!
//! Exit codes: 0 yes, 10 no, 11 nobody has decided yet, 12 Gate or the journal cannot be used, 2 the command line is wrong. With
//! `--run`, after a yes, that of the command.

mod call;
mod ci;

use crate::{
    cli::RequestArgs,
    configuration,
    data::DataFolder,
    hints, print,
    proxy::LOCAL,
    wiring::{GateAddress, Wiring},
};
use anyhow::{Context as _, Result, bail};
use call::Asked;
use holdpoint_bridge::CHECKS;
use holdpoint_core::{
    Admission, Caller, Completion, Grounds, Hold, Interest, Onlooker, Outcome, Principal, Rejection, Retry,
    StoredResult,
};
use serde_json::{Map, Value, json};
use std::{
    io::Write as _,
    process::{ExitCode, ExitStatus},
    sync::Arc,
    time::Duration,
};
use tokio::{process::Command, sync::watch};

const YES: u8 = 0;
const USAGE: u8 = 2;
const NO: u8 = 10;
const NOT_YET: u8 = 11;
const UNAVAILABLE: u8 = 12;
/// So that the log of a job that waits does not look dead.
const REMIND_EVERY: Duration = Duration::from_mins(2);
/// What a shell makes of a command that a signal ended.
const SIGNALLED: i32 = 128;

/// What it came to, for scripts.
struct Verdict {
    code: u8,
    members: Map<String, Value>,
}

pub(crate) async fn run(args: &RequestArgs) -> Result<ExitCode> {
    let (asked, wiring) = match prepare(args).await {
        Ok(prepared) => prepared,
        Err((code, error)) => {
            eprintln!("{}", hints::render(&error));
            return Ok(ExitCode::from(code));
        }
    };
    let verdict = Box::pin(ask(args, asked, &wiring)).await;
    wiring.close().await;
    let Verdict { code, members } = verdict;
    if args.github_output {
        github_output(&members)?;
    }
    if args.json.json {
        print::json(&Value::Object(members))?;
    }
    Ok(ExitCode::from(code))
}

/// Nothing was asked yet: what is wrong is the command line, or the way to Gate.
async fn prepare(args: &RequestArgs) -> Result<(Asked, Wiring), (u8, anyhow::Error)> {
    let usage = |error| (USAGE, error);
    let asked = Asked::read(args).map_err(usage)?;
    let config = args.config.as_deref().map(configuration::load).transpose();
    let config = config.map_err(usage)?;
    let address =
        GateAddress::find(config.as_ref().and_then(|config| config.gate.as_ref())).map_err(usage)?;
    let data = DataFolder::open(&args.data.data).map_err(|error| (UNAVAILABLE, error))?;
    let wiring = match &config {
        Some(config) => Wiring::configured(config, &data, address).await,
        None => Wiring::everything_gated(CHECKS, &data, address).await,
    };
    Ok((asked, wiring.map_err(|error| (UNAVAILABLE, error))?))
}

async fn ask(args: &RequestArgs, asked: Asked, wiring: &Wiring) -> Verdict {
    let (waits, mut waited) = watch::channel(None);
    let caller = Caller {
        patience: args.wait.get(),
        at_most: Some(args.wait.get()),
        interest: Interest::always(),
        definitions: None,
        onlooker: Some(Arc::new(Waits(waits))),
        standing: None,
        probe: None,
    };
    let stopped = crate::stop::requested();
    let call = asked.call(Principal::new(LOCAL));
    let mut deciding = std::pin::pin!(wiring.gate().admit_for(call, caller));
    let decided = {
        let mut reminding = std::pin::pin!(remind(&mut waited));
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                decided = &mut deciding => break decided,
                () = &mut reminding => {}
                () = &mut stopped => {
                    // The review stays; the same request joins it.
                    wiring.stop();
                    break deciding.await;
                }
            }
        }
    };
    match decided {
        Ok(Admission::Run(permitted)) => {
            let (_call, receipt, completion) = permitted.into_parts();
            let members = yes(&receipt.grounds);
            match asked.command {
                None => {
                    let excerpt = Some("the approval was handed to a script".to_owned());
                    let outcome = Outcome::succeeded(b"0".as_slice()).with_excerpt(excerpt);
                    completion.finish(outcome).await.delivered().await;
                    print::note("approved");
                    Verdict { code: YES, members }
                }
                Some(command) => execute(&command, members, completion).await,
            }
        }
        Ok(Admission::Replay(result, delivery)) => {
            delivery.delivered().await;
            let code = std::str::from_utf8(result.as_bytes()).ok().and_then(|code| code.parse().ok());
            print::note("this very request was approved, and ran; it does not run again");
            let mut members = Map::from_iter([("decision".to_owned(), json!("allow"))]);
            members.insert("status".into(), json!("approved"));
            members.insert("ran".into(), json!(asked.command.is_some()));
            Verdict { code: code.unwrap_or(UNAVAILABLE), members }
        }
        Err(rejection) => no(&rejection),
    }
}

fn yes(grounds: &Grounds) -> Map<String, Value> {
    let (status, thread) = match grounds {
        Grounds::Passed(_) => ("passed", None),
        Grounds::Allowed(_) => ("allowed", None),
        Grounds::Approved(thread) | Grounds::ApprovedWithoutToken(thread) => ("approved", Some(thread)),
    };
    let mut members = Map::from_iter([("decision".to_owned(), json!("allow"))]);
    members.insert("status".into(), json!(status));
    if let Some(thread) = thread {
        members.insert("thread_id".into(), json!(thread.as_str()));
    }
    members
}

fn no(rejection: &Rejection) -> Verdict {
    let code = match rejection {
        Rejection::Pending { .. } | Rejection::Busy { .. } => NOT_YET,
        Rejection::Unavailable { .. } | Rejection::TokenInvalid { .. } | Rejection::OutcomeUnknown { .. } => {
            UNAVAILABLE
        }
        Rejection::DeniedByConfig { .. }
        | Rejection::Rejected { .. }
        | Rejection::Expired { .. }
        | Rejection::ChangesRequested { .. }
        | Rejection::Mismatch { .. }
        | Rejection::Cancelled { .. }
        | Rejection::AlreadyDone { .. } => NO,
    };
    let decision = if code == NOT_YET { "pending" } else { "deny" };
    let mut members = Map::from_iter([("decision".to_owned(), json!(decision))]);
    members.insert("status".into(), json!(rejection.status()));
    let texts = [
        ("reason", rejection.reason()),
        ("thread_id", rejection.thread().map(holdpoint_core::ThreadId::as_str)),
        ("message", rejection.message()),
        ("review_url", rejection.review_url()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            members.insert(name.into(), json!(text));
        }
    }
    if rejection.retry() != Retry::No {
        members.insert("retry".into(), json!(rejection.retry().as_str()));
    }
    let told = match rejection {
        Rejection::Pending { thread, .. } => {
            format!("nobody has decided yet about {thread}; the same request joins the review")
        }
        rejection => rejection.to_string(),
    };
    print::note(&holdpoint_config::printable_lines(&told));
    Verdict { code, members }
}

/// Runs the command that was approved, and records what came of it.
async fn execute(command: &[String], mut members: Map<String, Value>, completion: Completion) -> Verdict {
    let Some((program, arguments)) = command.split_first() else {
        completion.unsent(StoredResult::new(b"12".as_slice())).await;
        return Verdict { code: UNAVAILABLE, members };
    };
    print::note(&format!("approved; running {}", holdpoint_config::printable(program)));
    // The key to Gate is not the command's.
    let spawned = Command::new(program).args(arguments).env_remove("STACKSONA_API_KEY").spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            completion.unsent(StoredResult::new(b"12".as_slice())).await;
            let program = holdpoint_config::printable(program);
            eprintln!(
                "error: `{program}` cannot be started: {error}\n  hint: nothing ran; the next request asks anew"
            );
            members.insert("ran".into(), json!(false));
            return Verdict { code: UNAVAILABLE, members };
        }
    };
    let pid = child.id();
    let status = {
        let mut waiting = std::pin::pin!(child.wait());
        let mut stopped = std::pin::pin!(crate::stop::requested());
        let mut is_told = false;
        loop {
            tokio::select! {
                status = &mut waiting => break status,
                () = &mut stopped, if !is_told => {
                    is_told = true;
                    terminate(pid);
                }
            }
        }
    };
    members.insert("ran".into(), json!(true));
    let Ok(status) = status else {
        completion.lose().await;
        eprintln!("error: what came of the command cannot be told");
        return Verdict { code: UNAVAILABLE, members };
    };
    let code = code_of(status);
    members.insert("exit_code".into(), json!(code));
    let kept: Arc<[u8]> = code.to_string().into_bytes().into();
    let outcome = if status.success() { Outcome::succeeded(kept) } else { Outcome::failed(kept) };
    let outcome = outcome.with_excerpt(Some(format!("exit code {code}")));
    completion.finish(outcome).await.delivered().await;
    Verdict { code, members }
}

#[cfg(unix)]
fn terminate(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in between.
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_: Option<u32>) {}

fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or(signal.map(|signal| SIGNALLED.saturating_add(signal)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Says what is waited for, and again every now and then.
async fn remind(waited: &mut watch::Receiver<Option<Hold>>) {
    let Ok(hold) = waited.wait_for(Option::is_some).await.map(|hold| hold.clone()) else {
        return std::future::pending().await;
    };
    if let Some(Hold { thread, review_url, .. }) = hold {
        let at = review_url.map(|url| format!(" at {url}")).unwrap_or_default();
        let text = format!("waiting for somebody to decide about {thread}{at}");
        loop {
            print::note(&holdpoint_config::printable(&text));
            tokio::time::sleep(REMIND_EVERY).await;
        }
    }
}

#[derive(Debug)]
struct Waits(watch::Sender<Option<Hold>>);

impl Onlooker for Waits {
    fn waits_for(&self, hold: &Hold) {
        self.0.send_replace(Some(hold.clone()));
    }
}

/// One line for each output of a GitHub Actions step. A value of more than plain words is left out: it could be read as another
/// line.
fn github_output(members: &Map<String, Value>) -> Result<()> {
    let Some(path) = std::env::var_os("GITHUB_OUTPUT") else {
        bail!("GITHUB_OUTPUT is not set\n  hint: --github-output is for steps of GitHub Actions");
    };
    let mut lines = String::new();
    for (member, output) in [("decision", "decision"), ("status", "status"), ("thread_id", "thread-id")] {
        let value = members.get(member).and_then(Value::as_str).unwrap_or_default();
        let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        if value.chars().all(is_plain) {
            lines.extend([output, "=", value, "\n"]);
        }
    }
    let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.to_string_lossy()))
}
