//! The binary: the only place where the parts are wired.
//!
//! Exit codes: 0 done, 1 failed (the reason is on stderr), 2 the command line is wrong, 3 somebody decided before. `request` has
//! its own.

mod admin;
mod bridge;
mod cli;
mod clock;
mod commands;
mod configuration;
mod data;
mod demo;
mod door;
mod embedded;
#[cfg(debug_assertions)]
mod failpoints;
mod generate;
mod hints;
mod init;
mod journals;
mod listen;
mod pins;
mod print;
mod proxy;
mod random;
mod reload;
mod request;
mod stop;
mod up;
mod webhooks;
mod wiring;
mod wrap;

use anyhow::{Context, Result};
use clap::Parser as _;
use cli::{Cli, Command};
use std::{io::IsTerminal as _, num::NonZero, process::ExitCode};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What goes wrong in a demonstration is what it shows.
    let log = match (&cli.command, &*cli.log) {
        (Command::Demo(_), cli::LOG) => "error",
        // What tool servers write to their standard error is often the only word on why one does not start.
        (_, cli::LOG) => "warn,holdpoint::server=info",
        (_, log) => log,
    };
    match log_to_stderr(log).and_then(|()| dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", hints::render(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check(args) => commands::check(&args),
        Command::Explain(args) => commands::explain(&args),
        Command::Wrap(args) => wrap::wrap(&args),
        Command::Unwrap(args) => wrap::unwrap(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Request(args) => block_on(Threads::One, request::run(&args)),
        Command::Bridge(args) => block_on(Threads::Several, bridge::run(&args)),
        Command::Proxy(args) => block_on(Threads::One, proxy::run(&args)),
        Command::Inbox(args) => block_on(Threads::One, commands::inbox(&args)),
        Command::Approve(args) => block_on(Threads::One, commands::decide(&args, "approve")),
        Command::Reject(args) => block_on(Threads::One, commands::decide(&args, "reject")),
        Command::SignIn(args) => block_on(Threads::One, commands::sign_in(&args)),
        Command::Tools(command) => block_on(Threads::One, commands::tools::run(command)),
        Command::Init(args) => block_on(Threads::One, init::run(&args)),
        Command::Gate(command) => block_on(Threads::One, commands::gate(command)),
        Command::Callers(command) => block_on(Threads::One, commands::callers::run(command)),
        Command::Agents(command) => block_on(Threads::One, commands::agents(command)),
        Command::Holds(command) => block_on(Threads::One, commands::holds::holds(command)),
        Command::Effects(command) => block_on(Threads::One, commands::holds::effects(command)),
        Command::Audit(command) => block_on(Threads::One, commands::audit::run(command)),
        Command::Up(args) => block_on(Threads::Several, up::up(&args)),
        Command::Serve(args) => block_on(Threads::Several, up::serve(&args)),
        Command::Demo(args) => block_on(Threads::Several, demo::run(&args)),
        Command::DemoLedger(args) => demo::ledger::serve(&args.folder).map(|()| ExitCode::SUCCESS),
        Command::DemoServer(args) => block_on(Threads::One, demo::serve(&args)),
    }
}

#[derive(Clone, Copy)]
enum Threads {
    /// One client, one server: a second thread would only be woken for nothing.
    One,
    Several,
}

/// So many tasks run before one that another thread has woken.
const THREADS_HEARD_EVERY: u32 = 4;

impl Threads {
    fn count(self) -> usize {
        match self {
            Self::One => 1,
            // Agents and tool servers are on the same machine and want the rest.
            Self::Several => std::thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2),
        }
    }
}

fn block_on(threads: Threads, work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let mut builder = match threads.count() {
        1 => tokio::runtime::Builder::new_current_thread(),
        several => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(several);
            builder
        }
    };
    // What journal and audit log answer comes from threads of their own. Looked at as seldom as is usual, calls that wait for it are
    // overtaken for half a second by those that do not, as long as there are enough of these.
    builder.global_queue_interval(THREADS_HEARD_EVERY);
    let runtime = builder.enable_all().build().context("cannot start the runtime")?;
    let code = runtime.block_on(work);
    // A read of stdin cannot be taken back; it must not keep the process alive.
    runtime.shutdown_background();
    code
}

fn log_to_stderr(filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("`{filter}` is no log filter\n  hint: use a level such as info, or holdpoint=debug")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
