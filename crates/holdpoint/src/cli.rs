//! The command line. Names and exit codes here are what scripts rely on.

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// An approval gate in front of the tools that AI agents use.
///
/// Holdpoint sits between an agent and its tool servers. It asks Gate about each tool call, holds the call until a
/// person approved it, runs exactly what was approved, once, and hands refusals back to the agent as tool errors.
#[derive(Debug, Parser)]
#[command(
    name = "holdpoint",
    version,
    max_term_width = 100,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log to stderr: error, warn, info, debug or trace, or a filter like `holdpoint=debug`
    #[arg(long, global = true, env = "HOLDPOINT_LOG", default_value = "warn", value_name = "FILTER")]
    pub(crate) log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run Gate, its inbox and the proxies of the configured servers in one process
    Up(UpArgs),
    /// Play four calls through a real gate, and let you approve one
    Demo(DemoArgs),
    /// Put one tool server behind the gate, over stdio, for an MCP client to start
    ///
    /// Gate is found in the configuration, or in `STACKSONA_GATE_URL` and `STACKSONA_API_KEY`.
    Proxy(ProxyArgs),
    /// Run Gate alone: agent API, rules, tokens and inbox
    Serve(UpArgs),
    /// Check configuration files and run their cases; exit code 1 if anything is wrong
    Check(CheckArgs),
    /// Say what would be asked for a call, and why
    Explain(ExplainArgs),
    /// List the reviews that wait for a decision
    Inbox(InboxArgs),
    /// Approve a review; exit code 3 if somebody decided before
    Approve(DecideArgs),
    /// Reject a review; exit code 3 if somebody decided before
    Reject(DecideArgs),
    /// Print a fresh one-time link that signs somebody in to the inbox of the Gate that runs
    SignIn(SignInArgs),
    /// Gate's own configuration
    #[command(subcommand)]
    Gate(GateCommand),
    /// The agents that may ask Gate
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// The calls that wait, and those whose outcome is unknown
    #[command(subcommand)]
    Holds(HoldsCommand),
    /// The pinned definitions of the servers' tools
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// Run the bundled demonstration tool server over stdio
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    /// Print a generated file: a JSON Schema of the configuration, or the command-line reference
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// Folder with Gate's database, the journal and the keys of this installation
    #[arg(long, env = "HOLDPOINT_DATA", value_name = "DIR", default_value_os_t = crate::data::default_folder())]
    pub(crate) data: PathBuf,
}

/// How to print.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct JsonArgs {
    /// Print JSON to stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// The configuration, or the folder that holds it; `serve` works without one
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7878")]
    pub(crate) listen: SocketAddr,
    /// The address that people and agents use, where a reverse proxy stands in front
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Approve by itself, for scripts
    #[arg(long)]
    pub(crate) yes: bool,
    /// Use the bundled tool server even where Node is installed
    #[arg(long)]
    pub(crate) bundled: bool,
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
}

#[derive(Args, Debug)]
pub(crate) struct ProxyArgs {
    /// The configuration, or the folder that holds it
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    /// Which of the configured servers; with a COMMAND, the name that it gets
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// The tool server's command, to gate everything it offers without a configuration file
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// A configuration, a folder that holds one, or one file of tools
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The configuration, or the folder that holds it
    #[arg(long, value_name = "PATH")]
    pub(crate) config: PathBuf,
    /// The tool's server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    /// The tool
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: String,
    /// The arguments of the call, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) args: String,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InboxArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SignInArgs {
    /// Whom; without a name, the operator
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DecideArgs {
    /// The review, as `holdpoint inbox` lists it
    #[arg(value_name = "THREAD")]
    pub(crate) thread: String,
    /// Words for the agent and the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateCommand {
    /// Make Gate's agents, tools, rules and users what gate.yaml says; prints what changed
    Apply(ApplyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// gate.yaml, the configuration beside it, or the folder that holds both
    #[arg(long, value_name = "PATH")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// Register an agent and print its key, once
    Create(CreateAgentArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateAgentArgs {
    /// The agent's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldsCommand {
    /// List them
    List(InboxArgs),
    /// Say what happened to a call whose outcome is unknown
    Resolve(ResolveArgs),
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("outcome").required(true))]
pub(crate) struct ResolveArgs {
    /// The review of the call
    #[arg(value_name = "THREAD")]
    pub(crate) thread: String,
    /// The tool ran: the same call is a new call from now on
    #[arg(long, group = "outcome")]
    pub(crate) ran: bool,
    /// The tool did not run: the same call is asked about anew
    #[arg(long, group = "outcome")]
    pub(crate) did_not_run: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// List the pinned tools, and those whose definition changed
    List(InboxArgs),
    /// Accept the changed definition of a tool, or of all tools of a server
    Accept(AcceptArgs),
}

#[derive(Args, Debug)]
pub(crate) struct AcceptArgs {
    /// The tool's server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    /// The tool; without it, every changed tool of the server
    pub(crate) tool: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DemoServerArgs {
    /// Folder that the tools work in
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArgs {
    /// Which file, by its path in the repository; without it, the list of them
    pub(crate) file: Option<String>,
}
