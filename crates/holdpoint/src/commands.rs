//! The commands that look and decide: each is one question to Gate, the journal or the configuration.

pub(crate) mod audit;
pub(crate) mod callers;
pub(crate) mod holds;
pub(crate) mod tools;
mod waits;

use crate::{
    admin::{Admin, Refused},
    cli::{
        AgentsCommand, ApplyArgs, CheckArgs, CreateAgentArgs, DecideArgs, ExplainArgs, GateCommand,
        InboxArgs, SignInArgs,
    },
    clock,
    configuration::{self, LookingEnv},
    data::DataFolder,
    print::{self, Table},
};
use anyhow::{Context, Result, bail};
use holdpoint_config::{CaseResult, FingerprintKey, Mistake, Outcome, Report};
use holdpoint_core::{Arguments, Principal, ServerName, TaskId, ToolCall, ToolName, ToolWarning};
use holdpoint_server::wire::{AppliedReport, CreatedAgent, Decided, OpenThread, SignInLinkReport};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Somebody decided before.
const ALREADY_DECIDED: u8 = 3;

pub(crate) fn check(args: &CheckArgs) -> Result<ExitCode> {
    let env = LookingEnv::default();
    let report = holdpoint_config::check(&args.path, &env);
    env.note_unset();
    if args.json.json {
        print::json(&report_json(&report))?;
    } else {
        print::text(&report.to_string())?;
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report_json(report: &Report) -> Value {
    let mistake = |mistake: &Mistake| {
        json!({
            "file": mistake.path.display().to_string(),
            "line": mistake.place.as_ref().map(|place| place.line),
            "column": mistake.place.as_ref().map(|place| place.column),
            "message": mistake.message,
            "hint": mistake.hint,
        })
    };
    let case = |case: &CaseResult| {
        json!({
            "name": case.name,
            "file": case.path.display().to_string(),
            "line": case.line,
            "failures": case.failures.iter().map(mistake).collect::<Vec<_>>(),
        })
    };
    json!({
        "ok": report.is_clean(),
        "files": report.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "mistakes": report.mistakes.iter().map(mistake).collect::<Vec<_>>(),
        "notes": report.notes.iter().map(|note| mistake(&note.0)).collect::<Vec<_>>(),
        "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

pub(crate) fn explain(args: &ExplainArgs) -> Result<ExitCode> {
    let config = configuration::load_to_look(&args.config)?;
    let arguments = Arguments::parse(args.args.as_str()).context(
        "--args is not usable\n  hint: pass one JSON object, quoted for your shell, such as --args '{\"amount\": 5}'",
    )?;
    configuration::server(&config, &args.server)?;
    let call = ToolCall {
        principal: Principal::new("explain"),
        server: ServerName::new(args.server.as_str()),
        tool: ToolName::new(args.tool.as_str()),
        arguments,
        extra: serde_json::Map::new(),
        definition: None,
        warning: ToolWarning::None,
        task: TaskId::new("explain"),
    };
    // The installation's key stays where it is: these fingerprints are for looking at only.
    let policy = config.policy(FingerprintKey::new([0; 32]));
    let explanation = policy.explain(&call);
    let ways = match &explanation.outcome {
        Outcome::Gate(ask) => {
            let settings = policy.waits_of(&args.server, &args.tool);
            waits::of(crate::wiring::waits(settings), ask.patience)
        }
        Outcome::Pass | Outcome::PassOnce(_) | Outcome::Deny | Outcome::DoesNotFit(_) => Vec::new(),
    };
    if args.json.json {
        let mut json = explanation.to_json();
        if let (false, Some(members)) = (ways.is_empty(), json.as_object_mut()) {
            members.insert("waits".to_owned(), waits::json(&ways));
        }
        print::json(&json)?;
    } else {
        print::text(&format!("{explanation}{}", waits::text(&ways)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn inbox(args: &InboxArgs) -> Result<ExitCode> {
    let admin = Admin::open(&DataFolder::open(&args.data.data)?).await?;
    let threads: Vec<OpenThread> = admin.call(Method::GET, "/api/admin/threads", &Value::Null).await?;
    admin.close().await;
    if args.json.json {
        print::json(&threads)?;
        return Ok(ExitCode::SUCCESS);
    }
    if threads.is_empty() {
        print::note("nothing waits for a decision");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["THREAD", "RISK", "WAITS", "TOOL", "SUBJECT"]);
    for thread in &threads {
        let risk = thread.risk_level.map_or("-", holdpoint_api::RiskLevel::as_str);
        let state = if thread.state == "escalated" { " (escalated)" } else { "" };
        table.row([
            thread.thread_id.clone(),
            format!("{risk}{state}"),
            print::age(thread.created_at, clock::now()),
            thread.tool_name.clone(),
            thread.subject.clone(),
        ]);
    }
    print::text(&table.to_string())?;
    print::note(
        "decide with `holdpoint approve THREAD --note TEXT` or `holdpoint reject THREAD --note TEXT`",
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn decide(args: &DecideArgs, word: &str) -> Result<ExitCode> {
    let admin = Admin::open(&DataFolder::open(&args.data.data)?).await?;
    let thread = holdpoint_api::paths::escape(&args.thread);
    let body = json!({ "note": args.note, "by": print::user_name() });
    let path = format!("/api/admin/threads/{thread}/{word}");
    let decided: Result<Decided> = admin.call(Method::POST, &path, &body).await;
    admin.close().await;
    match decided {
        Ok(decided) if args.json.json => print::json(&decided)?,
        Ok(decided) => print::text(&format!("{} {}", decided.thread_id, decided.state))?,
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::CONFLICT => {
                if args.json.json {
                    print::json(&refused.problem)?;
                }
                eprintln!("{}", crate::hints::render(&error));
                return Ok(ExitCode::from(ALREADY_DECIDED));
            }
            Some(_) | None => return Err(error),
        },
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn gate(command: GateCommand) -> Result<ExitCode> {
    let GateCommand::Apply(ApplyArgs { config, data, json }) = command;
    let declaration = configuration::declaration(&config)?;
    let admin = Admin::open(&DataFolder::open(&data.data)?).await?;
    let body = json!({ "declaration": declaration, "by": print::user_name() });
    let applied: Result<AppliedReport> = admin.call(Method::PUT, "/api/admin/declaration", &body).await;
    admin.close().await;
    let applied = applied?;
    if json.json {
        print::json(&applied)?;
        return Ok(ExitCode::SUCCESS);
    }
    for change in &applied.changes {
        print::text(change)?;
    }
    if applied.changes.is_empty() {
        print::note("nothing to change");
    }
    for agent in &applied.agents {
        print::text(&format!("key of agent {}: {}", agent.name, agent.key))?;
    }
    if !applied.agents.is_empty() {
        print::note("keys are shown this once; keep them where only the agent can read them");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn agents(command: AgentsCommand) -> Result<ExitCode> {
    let AgentsCommand::Create(CreateAgentArgs { name, data, json }) = command;
    let admin = Admin::open(&DataFolder::open(&data.data)?).await?;
    let body = json!({ "name": name });
    let created: Result<CreatedAgent> = admin.call(Method::POST, "/api/admin/agents", &body).await;
    admin.close().await;
    let created = created?;
    if json.json {
        print::json(&created)?;
    } else {
        print::text(&created.key)?;
        print::note("this is the agent's key, shown this once; hand it over as STACKSONA_API_KEY");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn sign_in(args: &SignInArgs) -> Result<ExitCode> {
    let data = DataFolder::open(&args.data.data)?;
    let admin = Admin::open(&data).await?;
    if matches!(admin, Admin::Here(_)) {
        admin.close().await;
        bail!("no Gate runs on this data folder\n  hint: start it with `holdpoint serve` or `holdpoint up`");
    }
    let body = args.user.as_ref().map_or_else(|| json!({}), |user| json!({ "user": user }));
    let link: SignInLinkReport = admin.call(Method::POST, "/api/admin/sign-in-links", &body).await?;
    if args.json.json {
        print::json(&link)?;
    } else {
        print::text(&link.url)?;
        print::note(&format!("signs in {} once, until {}", link.user, link.expires_at));
    }
    Ok(ExitCode::SUCCESS)
}
