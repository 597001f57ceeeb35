//! `holdpoint proxy`: one tool server behind the gate, over stdio.

use crate::{
    cli::ProxyArgs,
    configuration,
    data::DataFolder,
    print, reload, webhooks,
    wiring::{GateAddress, Wiring, child_command, process_task, server_address, server_era},
};
use anyhow::{Result, bail};
use holdpoint_config::{Config, ServerEra, ServerSettings};
use holdpoint_core::Principal;
use holdpoint_mcp::{
    Era, Guard, ServerAddress,
    stdio::{self, ChildCommand, ExitReason, StdioError, StdioOptions},
};
use std::{path::PathBuf, process::ExitCode};

/// Whoever may start this process: the operating system has authenticated them.
pub(crate) const LOCAL: &str = "local";

pub(crate) async fn run(args: &ProxyArgs) -> Result<ExitCode> {
    let Prepared { guard, behind, wiring, config } = prepare(args).await?;
    let mut options = StdioOptions::new(guard, Principal::new(LOCAL), process_task(&args.server)?);
    options.calls_max = wiring.calls_max();
    let stop = options.stop.clone();
    let stopped = crate::stop::requested();
    let settings = config.as_ref().and_then(|(_, config)| config.gate.as_ref()?.webhook.as_ref());
    webhooks::listen(settings, &wiring, &stop).await?;
    let following = config.map(|(path, config)| tokio::spawn(reload::follow(path, config, wiring.clone())));
    let mut relaying = std::pin::pin!(relay(options, behind));
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
        Err(error @ StdioError::Address(_)) => {
            Err(anyhow::Error::new(error)
                .context(format!("the tool server `{}` cannot be used", args.server)))
        }
        Err(error @ StdioError::Start { .. }) => {
            let hint = "is the program installed, and on the PATH of the client that starts this proxy?";
            Err(anyhow::Error::new(error)
                .context(format!("the tool server `{}` did not start\n  hint: {hint}", args.server)))
        }
    }
}

async fn relay(options: StdioOptions, behind: Behind) -> Result<ExitReason, StdioError> {
    let (client_in, client_out) = stdio::process_io();
    match behind {
        Behind::Command(command) => stdio::run(options, &command, client_in, client_out).await,
        Behind::Address(address, era) => stdio::run_at(options, address, era, client_in, client_out).await,
    }
}

/// The tool server.
enum Behind {
    /// We start it.
    Command(ChildCommand),
    /// It runs somewhere, or is translated for.
    Address(ServerAddress, Era),
}

impl Behind {
    fn of(name: &str, settings: &ServerSettings) -> Result<Self> {
        Ok(match (settings, server_era(settings)) {
            (ServerSettings::Stdio { .. }, Era::Auto) => Self::Command(child_command(name, settings)?),
            (ServerSettings::Stdio { .. } | ServerSettings::Http { .. }, era) => {
                Self::Address(server_address(name, settings)?, era)
            }
        })
    }
}

/// What a run needs, and where its configuration is, if it has one.
struct Prepared {
    guard: Guard,
    behind: Behind,
    wiring: Wiring,
    config: Option<(PathBuf, Config)>,
}

/// A server that the command line names. A configuration says who is asked; what it says of the tools of a server of this
/// name counts here as well.
async fn prepare_command(args: &ProxyArgs, data: &DataFolder, settings: ServerSettings) -> Result<Prepared> {
    let mut command = child_command(&args.server, &settings)?;
    command.environment =
        args.env.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
    let behind = Behind::Command(command);
    let Some(path) = &args.config else {
        let wiring = Wiring::everything_gated(&args.server, data, GateAddress::find(None)?).await?;
        let guard = wiring.guard(&args.server, &settings);
        return Ok(Prepared { guard, behind, wiring, config: None });
    };
    let config = configuration::load(path)?;
    let wiring = Wiring::configured(&config, data, GateAddress::find(config.gate.as_ref())?).await?;
    let guard = wiring.guard(&args.server, &settings);
    Ok(Prepared { guard, behind, wiring, config: Some((path.clone(), config)) })
}

async fn prepare(args: &ProxyArgs) -> Result<Prepared> {
    let data = DataFolder::open(&args.data.data)?;
    if let Some((program, arguments)) = args.command.split_first() {
        let settings = ServerSettings::Stdio {
            program: program.clone(),
            arguments: arguments.to_vec(),
            env: Vec::new(),
            cwd: None,
            era: ServerEra::Auto,
        };
        return prepare_command(args, &data, settings).await;
    }
    let Some(path) = &args.config else {
        bail!(
            "neither --config nor a COMMAND was given\n  hint: holdpoint proxy --server NAME -- COMMAND ARGS…"
        );
    };
    let config = configuration::load(path)?;
    let settings = configuration::server(&config, &args.server)?;
    let behind = Behind::of(&args.server, settings)?;
    let wiring = Wiring::configured(&config, &data, GateAddress::find(config.gate.as_ref())?).await?;
    let guard = wiring.guard(&args.server, settings);
    Ok(Prepared { guard, behind, wiring, config: Some((path.clone(), config)) })
}
