//! `holdpoint callers`: who may call the servers over HTTP.

use crate::{
    cli::{CallersCommand, CreateCallerArgs, InboxArgs, RevokeCallerArgs},
    clock,
    data::DataFolder,
    hints::Hinted as _,
    journals,
    print::{self, Table},
    random, wiring,
};
use anyhow::{Context as _, Result};
use holdpoint_audit::KeyChange;
use holdpoint_callers::{Caller, KeyRing, KeyRingError};
use holdpoint_config::AuditSettings;
use holdpoint_core::ServerName;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn run(command: CallersCommand) -> Result<ExitCode> {
    match command {
        CallersCommand::Create(args) => create(&args).await,
        CallersCommand::List(args) => list(&args),
        CallersCommand::Revoke(args) => revoke(&args).await,
    }
}

/// Who gave a key to whom belongs to the evidence as much as what was done with it.
async fn record(data: &DataFolder, change: KeyChange, caller: &Caller) -> Result<()> {
    let audit = wiring::open_audit(data, AuditSettings::default(), journals::owner()?).await?;
    let recorded = audit.key_changed(clock::now(), change, &caller.principal(), &print::user_name()).await;
    audit.close().await;
    recorded.map_err(Into::into)
}

async fn create(args: &CreateCallerArgs) -> Result<ExitCode> {
    let data = DataFolder::open(&args.data.data)?;
    let keys = KeyRing::new(data.path());
    let servers: Vec<ServerName> = args.server.iter().map(|name| ServerName::new(name.as_str())).collect();
    let servers = (!servers.is_empty()).then_some(servers);
    let (key, caller) =
        keys.create(&args.name, servers, &random::bytes()?, clock::now()).hinted(KeyRingError::hint)?;
    if let Err(error) = record(&data, KeyChange::Created, &caller).await {
        // Nobody has seen it yet.
        keys.revoke(&args.name).hinted(KeyRingError::hint)?;
        return Err(error.context("the audit log cannot be written, so no key was made"));
    }
    if args.json.json {
        let mut created = caller_json(&caller);
        if let Some(created) = created.as_object_mut() {
            created.insert("key".to_owned(), key.expose().into());
        }
        print::json(&created)?;
    } else {
        print::text(key.expose())?;
        print::note("this is the caller's key, shown this once; it is sent as `Authorization: Bearer KEY`");
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &InboxArgs) -> Result<ExitCode> {
    let callers =
        KeyRing::new(DataFolder::open(&args.data.data)?.path()).list().hinted(KeyRingError::hint)?;
    if args.json.json {
        let rows: Vec<Value> = callers.iter().map(caller_json).collect();
        print::json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    if callers.is_empty() {
        print::note("no caller has a key; `holdpoint callers create NAME` makes one");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["CALLER", "KEY", "SINCE", "SERVERS"]);
    for caller in &callers {
        let servers = caller
            .servers
            .as_ref()
            .map(|servers| servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
        table.row([
            caller.name.clone(),
            format!("…{}", caller.hint),
            print::age(caller.created_at, clock::now()),
            servers.unwrap_or_else(|| "all".to_owned()),
        ]);
    }
    print::text(&table.to_string())?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(args: &RevokeCallerArgs) -> Result<ExitCode> {
    let data = DataFolder::open(&args.data.data)?;
    let keys = KeyRing::new(data.path());
    let revoked = keys.revoke(&args.name).hinted(KeyRingError::hint)?;
    let recorded = record(&data, KeyChange::Revoked, &revoked).await;
    recorded.context("the key is revoked, but the audit log cannot be written")?;
    if args.json.json {
        print::json(&caller_json(&revoked))?;
    } else {
        print::note("revoked: what waits for it does not run any more, even if it is approved");
    }
    Ok(ExitCode::SUCCESS)
}

fn caller_json(caller: &Caller) -> Value {
    json!({
        "name": caller.name,
        "principal": caller.principal().as_str(),
        "servers": caller.servers.as_ref().map(|servers| {
            servers.iter().map(ServerName::as_str).collect::<Vec<_>>()
        }),
        "created_at": caller.created_at,
        "key_hint": caller.hint,
    })
}
