//! `holdpoint holds` and `holdpoint effects`: what waits, what is in doubt, and what a person says of it.

use crate::{
    cli::{
        EffectsCommand, HoldsCommand, JournalArgs, ListEffectsArgs, ListHoldsArgs, ResolveArgs,
        ResolveEffectArgs,
    },
    clock, configuration,
    data::DataFolder,
    journals::{self, OpenJournal},
    print::{self, Table},
};
use anyhow::{Context as _, Result, bail};
use holdpoint_config::AuditSettings;
use holdpoint_core::{
    EffectRun, EffectState, Event, Facts, HeldCall, HoldState, Journal, Liveness, Moved, PolicyRevision,
    Recorder as _, Resolution, Resolver, Secrets, Step, What,
};
use serde_json::{Value, json};
use std::{process::ExitCode, sync::Arc};

/// Rows that one listing shows.
const ROWS_MAX: usize = 10_000;

/// The journal that a command looks at, and the log that what a person says goes to.
struct Desk {
    open: OpenJournal,
    journal: Arc<dyn Journal>,
    data: DataFolder,
}

impl Desk {
    async fn open(args: &JournalArgs) -> Result<Self> {
        let data = DataFolder::open(&args.data.data)?;
        let settings = match &args.config {
            Some(path) => configuration::load_to_look(path)?.journal,
            None => None,
        };
        let open = OpenJournal::open(settings.as_ref(), &data, journals::owner()?).await?;
        Ok(Self { journal: open.port(), open, data })
    }

    /// Written down before it counts: an outcome that nobody can trace back to a person is worth nothing.
    async fn record(
        &self,
        facts: &Facts,
        thread: Option<&holdpoint_core::ThreadId>,
        resolution: Resolution,
    ) -> Result<()> {
        let audit =
            crate::wiring::open_audit(&self.data, AuditSettings::default(), journals::owner()?).await?;
        let person = print::user_name();
        let what = What::Resolved { thread, resolution, by: Resolver::Person(&person) };
        let recorded = audit.record(Event { at: clock::now(), facts, what }).await;
        audit.close().await;
        recorded.context("the audit log cannot be written, so nothing was changed")
    }

    async fn close(self) {
        self.open.close().await;
    }
}

pub(crate) async fn holds(command: HoldsCommand) -> Result<ExitCode> {
    match command {
        HoldsCommand::List(args) => list_holds(&args).await,
        HoldsCommand::Resolve(args) => resolve_hold(&args).await,
    }
}

pub(crate) async fn effects(command: EffectsCommand) -> Result<ExitCode> {
    match command {
        EffectsCommand::List(args) => list_effects(&args).await,
        EffectsCommand::Resolve(args) => resolve_effect(&args).await,
    }
}

async fn list_holds(args: &ListHoldsArgs) -> Result<ExitCode> {
    let desk = Desk::open(&args.journal).await?;
    let holds = desk.journal.live(ROWS_MAX).await?;
    let mut rows = Vec::new();
    for held in &holds {
        rows.push((held, state_of(&*desk.journal, held).await?));
    }
    if args.json.json {
        let rows: Vec<Value> = rows.iter().map(|(held, _)| hold_json(held)).collect();
        print::json(&rows)?;
    } else if rows.is_empty() {
        print::note("no call waits");
    } else {
        let mut table = Table::new(["THREAD", "STATE", "SINCE", "SERVER", "TOOL"]);
        for (held, state) in rows {
            table.row([
                held.hold.thread.to_string(),
                state.to_owned(),
                print::age(held.opened_at, clock::now()),
                held.identity.server.to_string(),
                held.identity.tool.to_string(),
            ]);
        }
        print::text(&table.to_string())?;
        if holds.iter().any(|held| matches!(held.state, HoldState::Unknown | HoldState::Dispatched)) {
            print::note(
                "after checking what happened: `holdpoint holds resolve THREAD --ran` or `--did-not-run`",
            );
        }
    }
    desk.close().await;
    Ok(ExitCode::SUCCESS)
}

/// In words that say what to do.
async fn state_of(journal: &dyn Journal, held: &HeldCall) -> Result<&'static str> {
    Ok(match (held.state, &held.claim) {
        (HoldState::Dispatched, Some((owner, _))) => match journal.liveness(owner).await? {
            Liveness::Alive => "dispatched (running)",
            Liveness::Gone => "dispatched (outcome unknown: its process ended)",
        },
        (HoldState::Unknown, _) => "unknown (its answer was lost)",
        (HoldState::Done, _) => "done (result not collected)",
        (state, _) => state.as_str(),
    })
}

fn hold_json(held: &HeldCall) -> Value {
    json!({
        "thread_id": held.hold.thread.as_str(),
        "task_id": held.hold.task.as_str(),
        "revision": held.hold.revision,
        "state": held.state.as_str(),
        "server": held.identity.server.as_str(),
        "tool": held.identity.tool.as_str(),
        "principal": held.identity.principal.as_str(),
        "digest": held.identity.digest.to_string(),
        "effect": held.effect.as_ref().map(holdpoint_core::EffectKey::as_str),
        "opened_at": held.opened_at,
    })
}

async fn resolve_hold(args: &ResolveArgs) -> Result<ExitCode> {
    let desk = Desk::open(&args.journal).await?;
    let holds = desk.journal.live(ROWS_MAX).await?;
    let mut named = holds.iter().filter(|held| held.hold.thread.as_str() == args.thread);
    let Some(held) = named.next() else {
        bail!(
            "no live call has the review `{}`\n  hint: `holdpoint holds list` shows those that have one",
            args.thread
        );
    };
    if let Some(other) = named.next() {
        // Two Gates, or two agents of one, may use one name.
        bail!(
            "two live calls have a review `{}`: `{}` of task `{}` and `{}` of task `{}`\n  hint: proxies that share a \
             journal must ask the same Gate as the same agent; resolve it in the database",
            args.thread,
            held.identity.tool,
            held.hold.task,
            other.identity.tool,
            other.hold.task,
        );
    }
    refuse_unless_in_doubt(&desk, held).await?;
    let resolution = args.outcome.resolution();
    desk.record(&facts_of_hold(held), Some(&held.hold.thread), resolution).await?;
    let moved = desk.journal.advance(held.id, Step::Resolve(resolution), clock::now()).await?;
    desk.close().await;
    if moved == Moved::No {
        bail!(
            "somebody else resolved the call of review `{}` in this moment\n  hint: `holdpoint audit show {}` says how",
            args.thread,
            args.thread,
        );
    }
    print::note(match resolution {
        Resolution::Ran => "recorded that it ran; the same call is a new call from now on",
        Resolution::DidNotRun => "recorded that it did not run; the same call is asked about anew",
    });
    Ok(ExitCode::SUCCESS)
}

/// Before anything is put on record: what was not sent yet may be approved and run while a person says that it did not,
/// and a call that is running has an outcome in a moment.
async fn refuse_unless_in_doubt(desk: &Desk, held: &HeldCall) -> Result<()> {
    let thread = &held.hold.thread;
    match (held.state, &held.claim) {
        (HoldState::Unknown | HoldState::Dispatched, None) | (HoldState::Unknown, Some(_)) => Ok(()),
        (HoldState::Dispatched, Some((owner, _))) => match desk.journal.liveness(owner).await? {
            Liveness::Gone => Ok(()),
            Liveness::Alive => bail!(
                "the call of review `{thread}` is running right now\n  hint: wait for its answer, or stop the proxy that \
                 runs it"
            ),
        },
        (
            HoldState::Pending
            | HoldState::Approved
            | HoldState::Done
            | HoldState::Rejected
            | HoldState::Expired
            | HoldState::Cancelled
            | HoldState::ChangesRequested
            | HoldState::Void,
            _,
        ) => bail!(
            "the call of review `{thread}` is {}: only one that was sent to its tool can be resolved",
            held.state.as_str(),
        ),
    }
}

async fn list_effects(args: &ListEffectsArgs) -> Result<ExitCode> {
    let desk = Desk::open(&args.journal).await?;
    let runs = desk.journal.effects(ROWS_MAX).await?;
    let runs: Vec<&EffectRun> =
        runs.iter().filter(|run| args.all || run.state != EffectState::Done).collect();
    if args.json.json {
        let rows: Vec<Value> = runs.iter().map(|run| effect_json(run)).collect();
        print::json(&rows)?;
    } else if runs.is_empty() {
        print::note(if args.all {
            "no effect was had yet"
        } else {
            "no effect is in doubt; `--all` lists those that were had"
        });
    } else {
        let mut table = Table::new(["EFFECT", "STATE", "SINCE", "SERVER", "TOOL", "REVIEW"]);
        for run in &runs {
            table.row([
                run.key.to_string(),
                run.state.as_str().to_owned(),
                print::age(run.changed_at, clock::now()),
                run.server.to_string(),
                run.tool.to_string(),
                run.thread.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            ]);
        }
        print::text(&table.to_string())?;
        if runs.iter().any(|run| run.state != EffectState::Done) {
            print::note(
                "after checking what happened: `holdpoint effects resolve --server SERVER EFFECT --ran` or `--did-not-run`",
            );
        }
    }
    desk.close().await;
    Ok(ExitCode::SUCCESS)
}

fn effect_json(run: &EffectRun) -> Value {
    json!({
        "effect": run.key.as_str(),
        "state": run.state.as_str(),
        "server": run.server.as_str(),
        "tool": run.tool.as_str(),
        "principal": run.principal.as_str(),
        "task_id": run.task.as_str(),
        "thread_id": run.thread.as_ref().map(holdpoint_core::ThreadId::as_str),
        "taken_at": run.taken_at,
        "changed_at": run.changed_at,
    })
}

async fn resolve_effect(args: &ResolveEffectArgs) -> Result<ExitCode> {
    let desk = Desk::open(&args.journal).await?;
    let server = holdpoint_core::ServerName::new(args.server.as_str());
    let key = holdpoint_core::EffectKey::new(args.effect.as_str());
    let Some(run) = desk.journal.effect(&server, &key).await? else {
        bail!(
            "no call of server `{server}` has had the effect `{key}`\n  hint: `holdpoint effects list --all` shows those \
             that were had"
        );
    };
    if run.state == EffectState::Taken && desk.journal.liveness(&run.owner).await? == Liveness::Alive {
        bail!("a call with the effect `{key}` is running right now\n  hint: wait for its answer");
    }
    if run.state == EffectState::Done {
        bail!("the effect `{key}` is done; only one in doubt can be resolved");
    }
    let resolution = args.outcome.resolution();
    desk.record(&facts_of_effect(&run), run.thread.as_ref(), resolution).await?;
    let moved = desk.journal.settle(run.id, resolution.into(), clock::now()).await?;
    desk.close().await;
    if moved == Moved::No {
        bail!(
            "somebody else resolved the effect `{key}` in this moment\n  hint: `holdpoint effects list --all` shows how"
        );
    }
    print::note(match resolution {
        Resolution::Ran => "recorded that it happened; no call has this effect again",
        Resolution::DidNotRun => {
            "recorded that it did not happen; the next call with this effect may have it"
        }
    });
    Ok(ExitCode::SUCCESS)
}

fn facts_of_hold(held: &HeldCall) -> Facts {
    Facts {
        principal: held.identity.principal.clone(),
        server: held.identity.server.clone(),
        tool: held.identity.tool.clone(),
        task: held.hold.task.clone(),
        digest: held.identity.digest,
        definition: held.definition,
        policy: held.policy.clone(),
        effect: held.effect.clone(),
        secrets: Secrets::default(),
    }
}

fn facts_of_effect(run: &EffectRun) -> Facts {
    Facts {
        principal: run.principal.clone(),
        server: run.server.clone(),
        tool: run.tool.clone(),
        task: run.task.clone(),
        digest: run.digest,
        definition: None,
        policy: PolicyRevision::new(""),
        effect: Some(run.key.clone()),
        secrets: Secrets::default(),
    }
}
