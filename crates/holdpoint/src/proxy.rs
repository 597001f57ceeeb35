//! `holdpoint proxy`: one tool server behind the gate, over stdio.

use crate::{
    cli::ProxyArgs,
    configuration,
    data::DataFolder,
    print, reload, webhooks,
    wiring::{GateAddress, Wiring, child_command, process_task},
};
use anyhow::{Result, bail};
use holdpoint_config::{Config, ServerSettings};
use holdpoint_core::Principal;
use holdpoint_mcp::{
    Guard,
    stdio::{self, ChildCommand, ExitReason, StdioOptions},
};
use std::{path::PathBuf, process::ExitCode};

/// Whoever may start this process: the operating system has authenticated them.
pub(crate) const LOCAL: &str = "local";

pub(crate) async fn run(args: &ProxyArgs) -> Result<ExitCode> {
    let Prepared { guard, command, wiring, config } = prepare(args).await?;
    let mut options = StdioOptions::new(guard, Principal::new(LOCAL), process_task(&args.server)?);
    options.calls_max = wiring.calls_max();
    let stop = options.stop.clone();
    let stopped = crate::stop::requested();
    let settings = config.as_ref().and_then(|(_, config)| config.gate.as_ref()?.webhook.as_ref());
    webhooks::listen(settings, &wiring, &stop).await?;
    let following = config.map(|(path, config)| tokio::spawn(reload::follow(path, config, wiring.clone())));
    let (client_in, client_out) = stdio::process_io();
    let mut relaying = std::pin::pin!(stdio::run(options, &command, client_in, client_out));
    let reason = tokio::select! {
        reason = &mut relaying => reason,
        () = stopped => {
            wiring.stop();
            stop.cancel();
            relaying.await
        }
    };
    if let Some(following) = following {
        following.abort();
    }
    wiring.close().await;
    match reason {
        Ok(ExitReason::ClientClosed | ExitReason::Stopped) => Ok(ExitCode::SUCCESS),
        Ok(ExitReason::ServerEnded { status }) => {
            let how = status.map_or_else(|| "closed its output".to_owned(), |status| status.to_string());
            print::note(&format!("the tool server `{}` ended: {how}", args.server));
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            let hint = "is the program installed, and on the PATH of the client that starts this proxy?";
            Err(anyhow::Error::new(error)
                .context(format!("the tool server `{}` did not start\n  hint: {hint}", args.server)))
        }
    }
}

/// What a run needs, and where its configuration is, if it has one.
struct Prepared {
    guard: Guard,
    command: ChildCommand,
    wiring: Wiring,
    config: Option<(PathBuf, Config)>,
}

async fn prepare(args: &ProxyArgs) -> Result<Prepared> {
    let data = DataFolder::open(&args.data.data)?;
    if let Some((program, arguments)) = args.command.split_first() {
        if args.config.is_some() {
            bail!(
                "--config and a COMMAND were given\n  hint: put the command under `servers:` in the configuration"
            );
        }
        let address = GateAddress::find(None)?;
        let wiring = Wiring::everything_gated(&args.server, &data, address).await?;
        let settings = ServerSettings::Stdio {
            program: program.clone(),
            arguments: arguments.to_vec(),
            env: Vec::new(),
            cwd: None,
        };
        let guard = wiring.guard(&args.server, &settings);
        let command = child_command(&args.server, &settings)?;
        return Ok(Prepared { guard, command, wiring, config: None });
    }
    let Some(path) = &args.config else {
        bail!(
            "neither --config nor a COMMAND was given\n  hint: holdpoint proxy --server NAME -- COMMAND ARGS…"
        );
    };
    let config = configuration::load(path)?;
    let settings = configuration::server(&config, &args.server)?;
    let command = child_command(&args.server, settings)?;
    let wiring = Wiring::configured(&config, &data, GateAddress::find(config.gate.as_ref())?).await?;
    let guard = wiring.guard(&args.server, settings);
    Ok(Prepared { guard, command, wiring, config: Some((path.clone(), config)) })
}
