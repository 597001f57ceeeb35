//! `holdpoint request`: one decision for a shell or a CI job, and a command that runs only on a yes.
//!
//! Exit codes: 0 yes, 10 no, 11 nobody has decided yet, 12 Gate or the journal cannot be used, 2 the command line is wrong. With
//! `--run`, after a yes, that of the command.

mod call;
mod ci;
mod execute;
mod github;

use crate::{
    cli::RequestArgs,
    configuration,
    data::DataFolder,
    hints, print,
    proxy::LOCAL,
    wiring::{GateAddress, Wiring},
};
use anyhow::Result;
use call::Asked;
use github::Outputs;
use holdpoint_bridge::CHECKS;
use holdpoint_core::{
    Admission, Caller, Completion, Grounds, Hold, Interest, Onlooker, Outcome, Principal, Rejection, Retry,
    StoredResult,
};
use serde_json::{Map, Value, json};
use std::{process::ExitCode, sync::Arc, time::Duration};
use tokio::sync::watch;

const YES: u8 = 0;
const USAGE: u8 = 2;
const NO: u8 = 10;
const NOT_YET: u8 = 11;
const UNAVAILABLE: u8 = 12;
/// So that the log of a job that waits does not look dead.
const REMIND_EVERY: Duration = Duration::from_mins(2);

/// What it came to, for scripts.
struct Verdict {
    code: u8,
    members: Map<String, Value>,
}

pub(crate) async fn run(args: &RequestArgs) -> Result<ExitCode> {
    let Prepared { asked, outputs, wiring } = match prepare(args).await {
        Ok(prepared) => prepared,
        Err((code, error)) => {
            eprintln!("{}", hints::render(&error));
            return Ok(ExitCode::from(code));
        }
    };
    let verdict = Box::pin(ask(args, asked, &wiring)).await;
    wiring.close().await;
    let Verdict { code, members } = verdict;
    if let Some(outputs) = outputs {
        outputs.write(&members)?;
    }
    if args.json.json {
        print::json(&Value::Object(members))?;
    }
    Ok(ExitCode::from(code))
}

struct Prepared {
    asked: Asked,
    outputs: Option<Outputs>,
    wiring: Wiring,
}

/// Nothing was asked yet: what is wrong is the command line, or the way to Gate.
async fn prepare(args: &RequestArgs) -> Result<Prepared, (u8, anyhow::Error)> {
    let usage = |error| (USAGE, error);
    let asked = Asked::read(args).map_err(usage)?;
    let outputs = args.github_output.then(Outputs::find).transpose().map_err(usage)?;
    let config = args.config.as_deref().map(configuration::load).transpose();
    let config = config.map_err(usage)?;
    let address =
        GateAddress::find(config.as_ref().and_then(|config| config.gate.as_ref())).map_err(usage)?;
    let data = DataFolder::open(&args.data.data).map_err(|error| (UNAVAILABLE, error))?;
    let wiring = match &config {
        Some(config) => Wiring::configured(config, &data, address).await,
        None => Wiring::everything_gated(CHECKS, &data, address).await,
    };
    let wiring = wiring.map_err(|error| (UNAVAILABLE, error))?;
    Ok(Prepared { asked, outputs, wiring })
}

async fn ask(args: &RequestArgs, asked: Asked, wiring: &Wiring) -> Verdict {
    let (waits, mut waited) = watch::channel(None);
    let caller = Caller {
        patience: args.wait,
        at_most: Some(args.wait),
        interest: Interest::always(),
        definitions: None,
        onlooker: Some(Arc::new(Waits(waits))),
        standing: None,
        probe: None,
    };
    let mut stopped = std::pin::pin!(crate::stop::requested());
    let call = asked.call(Principal::new(LOCAL));
    let mut deciding = std::pin::pin!(wiring.gate().admit_for(call, caller));
    let mut reminding = std::pin::pin!(remind(&mut waited));
    let (decided, last) = loop {
        tokio::select! {
            decided = &mut deciding => break (decided, Last::GoesOn),
            () = &mut reminding => {}
            () = &mut stopped => {
                // The review stays; the same request joins it.
                wiring.stop();
                break (deciding.await, Last::Ends);
            }
        }
    };
    match (decided, last) {
        (Ok(Admission::Run(permitted)), Last::GoesOn) => {
            let (_call, receipt, completion) = permitted.into_parts();
            let members = yes(&receipt.grounds);
            match asked.command {
                None => handed_over(members, completion).await,
                Some(command) => execute::run(&command, members, completion, stopped).await,
            }
        }
        (Ok(Admission::Run(permitted)), Last::Ends) => {
            let (_call, receipt, completion) = permitted.into_parts();
            completion.unsent(StoredResult::new(execute::NOT_STARTED)).await;
            let mut members = yes(&receipt.grounds);
            members.extend([("decision".into(), json!("pending")), ("status".into(), json!("stopped"))]);
            print::note("approved while this was told to end: nothing ran, and the same request asks anew");
            Verdict { code: NOT_YET, members }
        }
        (Ok(Admission::Replay(result, delivery)), _) => {
            delivery.delivered().await;
            match asked.command {
                None => used_up(),
                Some(_) => execute::ran_before(&result),
            }
        }
        (Err(rejection), _) => no(&rejection),
    }
}

/// Whether this process was told to end before it heard the decision. A job that was cancelled begins nothing.
enum Last {
    GoesOn,
    Ends,
}

/// Exit code 0 is the yes, and uses it up.
async fn handed_over(members: Map<String, Value>, completion: Completion) -> Verdict {
    let excerpt = Some("the approval was handed to a script".to_owned());
    let outcome = Outcome::succeeded(b"0".as_slice()).with_excerpt(excerpt);
    completion.finish(outcome).await.delivered().await;
    print::note("approved");
    Verdict { code: YES, members }
}

/// Somebody else who asked the same got the one yes. A second one would be a second run of whatever the script does.
fn used_up() -> Verdict {
    let message = "an identical request was approved, and its approval was used";
    print::note(message);
    let members = [("decision", "deny"), ("status", "already_done"), ("message", message)];
    let members = members.into_iter().map(|(name, text)| (name.to_owned(), json!(text)));
    Verdict { code: NO, members: members.collect() }
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
