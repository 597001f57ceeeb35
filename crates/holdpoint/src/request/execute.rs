//! The command that was approved: started once, without a shell, and its end recorded.

use super::{UNAVAILABLE, Verdict};
use crate::print;
use holdpoint_core::{Completion, Outcome, StoredResult};
use serde_json::{Map, Value, json};
use std::{pin::Pin, process::ExitStatus, sync::Arc};
use tokio::process::Command;

/// What those who asked the same are told when it did not start; a command that ended leaves its exit code.
pub(super) const NOT_STARTED: &[u8] = b"not started";
/// What a shell makes of a command that a signal ended.
const SIGNALLED: i32 = 128;

/// Runs it to its end. When this process is told to end, so is the command: what came of it has to be recorded.
pub(super) async fn run(
    command: &[String],
    mut members: Map<String, Value>,
    completion: Completion,
    mut stopped: Pin<&mut impl Future<Output = ()>>,
) -> Verdict {
    let Some((program, arguments)) = command.split_first() else {
        completion.unsent(StoredResult::new(NOT_STARTED)).await;
        return Verdict { code: UNAVAILABLE, members };
    };
    print::note(&format!("approved; running {}", holdpoint_config::printable(program)));
    // The key to Gate is not the command's.
    let spawned = Command::new(program).args(arguments).env_remove("STACKSONA_API_KEY").spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            completion.unsent(StoredResult::new(NOT_STARTED)).await;
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

/// An identical request had it run, or tried to: its exit code is the answer to this one too.
pub(super) fn ran_before(result: &StoredResult) -> Verdict {
    let code = std::str::from_utf8(result.as_bytes()).ok().and_then(|code| code.parse::<u8>().ok());
    let mut members = Map::from_iter([("decision".to_owned(), json!("allow"))]);
    members.insert("status".into(), json!("approved"));
    members.insert("ran".into(), json!(code.is_some()));
    let Some(code) = code else {
        print::note("an identical request was approved, but its command was not started");
        return Verdict { code: UNAVAILABLE, members };
    };
    print::note("an identical request was approved, and its command ran; it does not run again");
    members.insert("exit_code".into(), json!(code));
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
