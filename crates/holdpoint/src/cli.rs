//! The command line. Names and exit codes here are what scripts rely on.

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdpoint_api::declare::HumaneDuration;
use holdpoint_core::{Resolution, RiskLevel};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What is logged where nobody says otherwise.
pub(crate) const LOG: &str = "warn";

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
    #[arg(long, global = true, env = "HOLDPOINT_LOG", default_value = LOG, value_name = "FILTER")]
    pub(crate) log: String,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run Gate, its inbox and the proxies of the configured servers in one process
    Up(UpArgs),
    /// Play four calls through a real gate, and let you approve one
    ///
    /// `holdpoint demo failures` plays what goes wrong elsewhere, and shows it stopped.
    Demo(DemoArgs),
    /// Put one tool server behind the gate, over stdio, for an MCP client to start
    ///
    /// A configured server that has a `url` is reached there; one that has a `command` is started. Gate is found in the
    /// configuration, or in `STACKSONA_GATE_URL` and `STACKSONA_API_KEY`.
    Proxy(ProxyArgs),
    /// Run the bridge alone: decisions over one HTTP call, for platforms that cannot wait
    ///
    /// Dify, Copilot Studio, Power Automate, n8n, scripts: whoever can send one HTTP request can ask, wait, and be told `allow`,
    /// `deny` or `pending`. Recipes for Gate's own agent API point here instead, and wait. Gate is found in the configuration, or in
    /// `STACKSONA_GATE_URL` and `STACKSONA_API_KEY`.
    Bridge(BridgeArgs),
    /// Put the proxy in front of every server that an MCP client starts
    ///
    /// Edits the client's configuration in place, after copying it; `holdpoint unwrap` takes the proxy out again.
    Wrap(WrapArgs),
    /// Take the proxy out of an MCP client's configuration
    Unwrap(UnwrapArgs),
    /// Run Gate alone: agent API, rules, tokens and inbox
    Serve(UpArgs),
    /// Ask a server for its tools, and write a configuration for them to review
    ///
    /// Tools that only read, by their own word, pass; all others are gated. Nothing that is there is overwritten.
    Init(InitArgs),
    /// Check configuration files and run their cases; exit code 1 if anything is wrong
    Check(CheckArgs),
    /// Ask for one decision, wait for it, and run a command only on a yes
    ///
    /// Exit codes: 0 yes, 10 no, 11 nobody has decided yet, 12 Gate or the journal cannot be used, or the command cannot be started,
    /// 2 the command line is wrong. With --run, after a yes, the exit code is the command's; `--json` has it as `exit_code`.
    ///
    /// The same request again, on the same data folder and for the same task, joins the review that is open; one yes is one exit code 0,
    /// or one run. What is approved is the very command line and the folder that it runs in. Gate is found in the configuration, or in
    /// `STACKSONA_GATE_URL` and `STACKSONA_API_KEY`; the command does not get the key. Told to end (SIGTERM, Ctrl-C), it leaves the
    /// review open, and ends the command if that runs already.
    Request(RequestArgs),
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
    /// The callers of the servers over HTTP, and their keys
    #[command(subcommand)]
    Callers(CallersCommand),
    /// The calls that wait, and those whose outcome is unknown
    #[command(subcommand)]
    Holds(HoldsCommand),
    /// What calls did in the world, by the names that the configuration gives it
    #[command(subcommand)]
    Effects(EffectsCommand),
    /// The log of what was asked, decided and run
    #[command(subcommand)]
    Audit(AuditCommand),
    /// The pinned definitions of the servers' tools
    #[command(subcommand)]
    Tools(ToolsCommand),
    /// Run the bundled demonstration tool server over stdio
    #[command(hide = true)]
    DemoServer(DemoServerArgs),
    /// Run the tool server of `demo failures` over stdio
    #[command(hide = true)]
    DemoLedger(DemoServerArgs),
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
    /// Reviews that one agent may open at once, before it is slowed down
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) reviews_burst: u32,
    /// Reviews that one agent may open per minute after that
    #[arg(long, value_name = "N", default_value_t = 120)]
    pub(crate) reviews_per_minute: u32,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// How much is at stake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Risk {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Risk> for RiskLevel {
    fn from(risk: Risk) -> Self {
        match risk {
            Risk::Low => Self::Low,
            Risk::Medium => Self::Medium,
            Risk::High => Self::High,
            Risk::Critical => Self::Critical,
        }
    }
}

/// What Gate gets to say what was decided already, where nobody wants to wait.
const ASKING_ONCE: Duration = Duration::from_secs(3);

/// None at all is a length of time to wait as well.
fn patience(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(ASKING_ONCE),
        text => HumaneDuration::parse(text).map(HumaneDuration::get).map_err(|error| error.to_string()),
    }
}

#[derive(Args, Debug)]
pub(crate) struct RequestArgs {
    /// The tool, by the name that Gate's rules know
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: String,
    /// One line: what is about to happen
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: String,
    /// Short text for the list of reviews
    #[arg(long, value_name = "TEXT")]
    pub(crate) preview: Option<String>,
    /// A point for the reviewer; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: Vec<String>,
    /// How much is at stake
    #[arg(long)]
    pub(crate) risk: Option<Risk>,
    /// Parameters that rules and reviewers see: a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: Option<String>,
    /// One parameter, a text; may be given several times
    #[arg(long, value_name = "NAME=TEXT")]
    pub(crate) field: Vec<String>,
    /// Name of the workflow that asks; in GitHub Actions, the workflow's
    #[arg(long, value_name = "TEXT")]
    pub(crate) workflow: Option<String>,
    /// Short label of the job
    #[arg(long, value_name = "TEXT")]
    pub(crate) task_label: Option<String>,
    /// The job that this belongs to; in GitHub Actions, the job of this attempt
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<String>,
    /// How long to wait for somebody to decide, such as 10m; 0 looks once, within three seconds
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = patience)]
    pub(crate) wait: Duration,
    /// Run the command after `--` on a yes
    #[arg(long)]
    pub(crate) run: bool,
    /// The configuration, or the folder that holds it; without one, Gate is asked about everything
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Write the outputs of a GitHub Actions step: decision, status, thread-id
    #[arg(long)]
    pub(crate) github_output: bool,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
    /// The command; no shell looks at it
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct BridgeArgs {
    /// The configuration, or the folder that holds it; without one, Gate is asked about everything
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7879")]
    pub(crate) listen: SocketAddr,
    /// The address that callers use, where a reverse proxy stands in front
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    /// Which demonstration
    #[command(subcommand)]
    pub(crate) other: Option<OtherDemo>,
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

#[derive(Debug, Subcommand)]
pub(crate) enum OtherDemo {
    /// Play what goes wrong elsewhere, and show it stopped; takes seconds and needs no network
    Failures(FailuresArgs),
}

#[derive(Args, Debug)]
pub(crate) struct FailuresArgs {
    #[command(flatten)]
    pub(crate) json: JsonArgs,
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
    /// A variable of our environment that COMMAND gets as well; may be given several times
    #[arg(long, value_name = "NAME", requires = "command")]
    pub(crate) env: Vec<String>,
    /// The tool server's command, for a server that no configuration names
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// An MCP client whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientName {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
    Codex,
}

/// Which entries of which client.
#[derive(Args, Debug)]
pub(crate) struct WrapTarget {
    /// The client
    #[arg(value_name = "CLIENT")]
    pub(crate) client: ClientName,
    /// Its configuration, where it is not at its usual place
    #[arg(long, value_name = "PATH")]
    pub(crate) config_file: Option<PathBuf>,
    /// Only this server; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Vec<String>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct WrapArgs {
    #[command(flatten)]
    pub(crate) target: WrapTarget,
    /// The configuration in which the proxies find Gate and the rules
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct UnwrapArgs {
    #[command(flatten)]
    pub(crate) target: WrapTarget,
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
pub(crate) enum CallersCommand {
    /// Make a caller and print its key, once; a running `up` knows it within a second
    Create(CreateCallerArgs),
    /// List those that have a key
    List(InboxArgs),
    /// Take a caller's key back; what waits for it does not run any more
    Revoke(RevokeCallerArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CreateCallerArgs {
    /// The caller's name
    pub(crate) name: String,
    /// A server that it may call, by its name in the configuration; may be repeated. Without it, all of them
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Vec<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RevokeCallerArgs {
    /// The caller's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

/// Which journal.
#[derive(Args, Clone, Debug)]
pub(crate) struct JournalArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// The configuration, where it names a journal that several proxies share
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldsCommand {
    /// List them
    List(ListHoldsArgs),
    /// Say what happened to a call whose outcome is unknown
    Resolve(ResolveArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListHoldsArgs {
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResolveArgs {
    /// The review of the call
    #[arg(value_name = "THREAD")]
    pub(crate) thread: String,
    #[command(flatten)]
    pub(crate) outcome: OutcomeArgs,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
}

/// What a person found out.
#[derive(Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct OutcomeArgs {
    /// The tool ran
    #[arg(long)]
    pub(crate) ran: bool,
    /// The tool did not run: the same call may be sent again, and is asked about anew
    #[arg(long)]
    pub(crate) did_not_run: bool,
}

impl OutcomeArgs {
    pub(crate) const fn resolution(self) -> Resolution {
        if self.ran { Resolution::Ran } else { Resolution::DidNotRun }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum EffectsCommand {
    /// List those in doubt
    List(ListEffectsArgs),
    /// Say whether an effect in doubt happened
    Resolve(ResolveEffectArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListEffectsArgs {
    /// Those that were had, too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResolveEffectArgs {
    /// The tool's server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    /// The effect's name, such as `refund:4711`
    #[arg(value_name = "EFFECT")]
    pub(crate) effect: String,
    #[command(flatten)]
    pub(crate) outcome: OutcomeArgs,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check the whole log offline; exit code 1 and the first bad line if anything was changed
    Verify(VerifyArgs),
    /// Tell one call's story, from the question to the outcome
    Show(ShowArgs),
    /// Print a signed head of the log, to be kept elsewhere: `verify --checkpoint` then finds even a replaced log
    Checkpoint(CheckpointArgs),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The log's folder; without it, that of the data folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere: the log must go on from it
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The public key that checkpoints must be signed with; without it, the one beside the log
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The review
    #[arg(value_name = "THREAD")]
    pub(crate) thread: String,
    /// The log's folder; without it, that of the data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// List the pinned tools, and those whose definition changed
    List(InboxArgs),
    /// Ask the configured servers for their tools, and pin those that are new
    Pin(PinArgs),
    /// Show what is not as it was accepted; exit code 1 if anything is
    Diff(DiffArgs),
    /// Accept what `holdpoint tools diff` showed, and nothing else
    Accept(AcceptArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PinArgs {
    /// The configuration, or the folder that holds it
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) config: PathBuf,
    /// Only this server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The configuration whose servers are asked now; without it, what was seen last is shown
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    /// Only this server
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,
    /// Only this tool
    pub(crate) tool: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["tool", "all"])))]
pub(crate) struct AcceptArgs {
    /// The tool's server; with --all, only this one
    #[arg(long, value_name = "NAME", required_unless_present = "all")]
    pub(crate) server: Option<String>,
    /// The tool
    pub(crate) tool: Option<String>,
    /// Every tool that was shown
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) json: JsonArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The name that the server gets, or has in the configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) server: String,
    /// Where the server is, if it is reached over HTTP
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    pub(crate) url: Option<String>,
    /// A header for it, with its secret from the environment: 'authorization=Bearer ${TOKEN}'
    #[arg(long, value_name = "NAME=TEXT", requires = "url")]
    pub(crate) header: Vec<String>,
    /// A variable of our environment that COMMAND gets as well; may be given several times
    #[arg(long, value_name = "NAME", requires = "command")]
    pub(crate) env: Vec<String>,
    /// Folder to write to; a configuration in it gets the server added
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Replace the server's files if they are there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// The server's command, if it is started
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
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
