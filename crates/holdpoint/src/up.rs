//! `holdpoint up` and `holdpoint serve`: everything in one process, or Gate alone.

mod addresses;

use crate::{
    bridge::{BridgeFront, Front},
    cli::UpArgs,
    configuration,
    data::DataFolder,
    door::{self, Door},
    embedded::{EmbeddedGate, Flood},
    listen::{self, CONNECTIONS_MAX, Proxies, Site},
    print, reload,
    webhooks::{self, Doorbells},
    wiring::{GateAddress, Wiring, process_task, server_address, server_era},
};
use anyhow::{Context, Result, bail};
use axum::body::Body;
use holdpoint_api::declare::GateDeclaration;
use holdpoint_config::Config;
use holdpoint_core::ServerName;
use holdpoint_mcp::http::{HttpOptions, HttpProxy};
use http::{Request, Response};
use hyper::body::Incoming;
use std::{collections::HashMap, net::SocketAddr, process::ExitCode, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use addresses::Addresses;

/// The agent that the proxies of this process are, at the Gate of this process.
const AGENT: &str = "default";

/// How long calls that run may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The proxies of all servers, behind their door. Without a door, there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpProxies {
    by_name: HashMap<ServerName, HttpProxy>,
    door: Option<Door>,
    bridge: Option<BridgeFront>,
}

impl HttpProxies {
    /// Waits until no call is under way any more.
    async fn drain(&self) {
        for proxy in self.by_name.values() {
            proxy.drain().await;
        }
        if let Some(bridge) = &self.bridge {
            bridge.drain().await;
        }
    }

    /// Ends the servers that we started.
    async fn stop(&self) {
        let mut stopping = tokio::task::JoinSet::new();
        for proxy in self.by_name.values() {
            let proxy = proxy.clone();
            stopping.spawn(async move { proxy.stop().await });
        }
        while stopping.join_next().await.is_some() {}
    }
}

impl Proxies for HttpProxies {
    async fn serve(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Request<Incoming>> {
        let name = ServerName::new(name);
        let (Some(proxy), Some(door)) = (self.by_name.get(&name), &self.door) else {
            return Err(request);
        };
        match door.admit(&name, request.headers()).await {
            Ok(caller) => Ok(proxy.serve(request, caller).await.map(Body::new)),
            Err(refused) => Ok(refused),
        }
    }

    fn describe(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let described = self.door.as_ref()?.metadata(request.method(), request.uri().path())?;
        let refused = self.by_name.values().next().and_then(|proxy| proxy.refuse_stranger(request));
        Some(refused.map_or(described, |refused| refused.map(Body::new)))
    }

    fn bridge(&self) -> Option<&BridgeFront> {
        self.bridge.as_ref()
    }
}

/// `holdpoint serve`: Gate alone.
pub(crate) async fn serve(args: &UpArgs) -> Result<ExitCode> {
    let declaration = match &args.config {
        Some(path) => Some(configuration::declaration(path)?),
        None => None,
    };
    let data = DataFolder::open(&args.data.data)?;
    let running = Running::start(args, &data, declaration.as_ref()).await?;
    let stopped = crate::stop::requested();
    running.ready(args.json.json, &Addresses::default())?;
    running.until_stopped(None, stopped).await
}

/// The proxies' half of a running process.
struct Tools {
    wiring: Wiring,
    proxies: HttpProxies,
    doorbells: Option<Doorbells>,
    stop: CancellationToken,
    following: JoinHandle<()>,
}

impl Tools {
    async fn start(
        args: &UpArgs,
        config: Config,
        data: &DataFolder,
        address: GateAddress,
        public_url: &str,
    ) -> Result<Self> {
        let wiring = Wiring::configured(&config, data, address).await?;
        let door = Door::new(&config.callers, config.servers.keys(), data, public_url)?;
        let hosts = hosts(args.public_url.as_deref())?;
        let mut proxies = http_proxies(&config, &wiring, &hosts, door.clone())?;
        if let Some(settings) = &config.bridge {
            let front = Front { wiring: &wiring, door, hosts, public_url: args.public_url.as_deref() };
            // Beside a Gate of our own, recipes reach that one.
            proxies.bridge = Some(front.open(settings, config.gate.is_some())?);
        }
        let stop = CancellationToken::new();
        let settings = config.gate.as_ref().and_then(|gate| gate.webhook.as_ref());
        webhooks::listen(settings, &wiring, &stop).await?;
        let doorbells = settings
            .filter(|settings| settings.listen.is_none())
            .map(|settings| Doorbells::new(settings, &wiring));
        let path = args.config.clone().context("a configuration")?;
        let following = tokio::spawn(reload::follow(path, config, wiring.clone()));
        Ok(Self { wiring, proxies, doorbells, stop, following })
    }

    /// Tells those that wait, and lets those that run come to their end.
    async fn stop(&self) {
        self.following.abort();
        self.wiring.stop();
        if let Some(bridge) = &self.proxies.bridge {
            bridge.stop();
        }
        if tokio::time::timeout(DRAIN, self.proxies.drain()).await.is_err() {
            tracing::warn!(
                "some calls were still running; their outcome is unknown if nobody gets their answer"
            );
        }
        self.proxies.stop().await;
        self.stop.cancel();
    }
}

/// `holdpoint up`: Gate, inbox and proxies; without Gate where the configuration names another one.
pub(crate) async fn up(args: &UpArgs) -> Result<ExitCode> {
    let Some(path) = &args.config else {
        bail!("which configuration?\n  hint: holdpoint up --config PATH; `holdpoint serve` needs none");
    };
    let config = configuration::load(path)?;
    refuse_open_doors(args, &config)?;
    let data = DataFolder::open(&args.data.data)?;
    if let Some(settings) = &config.gate {
        let address = GateAddress::find(Some(settings))?;
        return up_with_other_gate(args, &data, config, address).await;
    }
    let running = Running::start(args, &data, config.declaration.as_ref()).await?;
    let agent = config.declaration.as_ref().and_then(|declaration| declaration.agents.first());
    let agent = agent.map_or(AGENT, |agent| agent.name.as_str());
    let gate = &running.gate.server;
    if !gate.agents().await?.iter().any(|known| known.name == agent) {
        // Nobody else needs its key: this process asks by one of its own.
        let _key = gate.create_agent(agent, true, "configuration").await?;
    }
    let address = GateAddress { url: running.local_url(), key: gate.ephemeral_key(agent).await? };
    let addresses = Addresses::of(&config, &running.public_url);
    let tools = Tools::start(args, config, &data, address, &running.public_url).await?;
    let stopped = crate::stop::requested();
    running.ready(args.json.json, &addresses)?;
    running.until_stopped(Some(tools), stopped).await
}

/// Where there are no servers, there is nothing to call.
fn refuse_open_doors(args: &UpArgs, config: &Config) -> Result<()> {
    if config.servers.is_empty() && config.bridge.is_none() {
        Ok(())
    } else {
        door::refuse_open_doors(&config.callers, args.listen, args.public_url.as_deref())
    }
}

async fn up_with_other_gate(
    args: &UpArgs,
    data: &DataFolder,
    config: Config,
    address: GateAddress,
) -> Result<ExitCode> {
    let (listener, bound) = listen::bind(args.listen).await?;
    let public_url = public_url(args, bound);
    let gate_url = address.url.clone();
    let addresses = Addresses::of(&config, &public_url);
    let mut tools = Tools::start(args, config, data, address, &public_url).await?;
    let stopped = crate::stop::requested();
    if args.json.json {
        print::json(&addresses.ready(&gate_url, None))?;
    } else {
        print::text(&format!("Gate       {gate_url} (named by the configuration)"))?;
        addresses.print()?;
    }
    let stop = CancellationToken::new();
    let site = Site {
        connections_max: CONNECTIONS_MAX,
        proxies: tools.proxies.clone(),
        gate: None,
        doorbells: tools.doorbells.take(),
    };
    let serving = tokio::spawn(listen::serve(listener, site, stop.clone()));
    stopped.await;
    tools.stop().await;
    stop.cancel();
    serving.await.context("the listener ended badly")?;
    tools.wiring.close().await;
    Ok(ExitCode::SUCCESS)
}

/// A Gate of ours that has its address.
struct Running {
    gate: EmbeddedGate,
    listener: tokio::net::TcpListener,
    bound: SocketAddr,
    public_url: String,
    stop: CancellationToken,
    sign_in_url: String,
}

impl Running {
    async fn start(args: &UpArgs, data: &DataFolder, declaration: Option<&GateDeclaration>) -> Result<Self> {
        let lock = data.own_gate_alone()?;
        let (listener, bound) = listen::bind(args.listen).await?;
        let public_url = public_url(args, bound);
        let stop = CancellationToken::new();
        let flood = Flood { burst: args.reviews_burst, per_minute: args.reviews_per_minute };
        let gate = EmbeddedGate::open(data, lock, &public_url, Some(flood), stop.clone()).await?;
        apply(&gate, declaration).await?;
        let sign_in_url = gate.server.sign_in_link(None).await?.url;
        gate.announce(data, &format!("http://{}", local(bound)))?;
        Ok(Self { gate, listener, bound, public_url, stop, sign_in_url })
    }

    /// Where this process reaches itself.
    fn local_url(&self) -> String {
        format!("http://{}", local(self.bound))
    }

    /// The one line that scripts wait for, or the same for a person.
    fn ready(&self, as_json: bool, addresses: &Addresses) -> Result<()> {
        let inbox_url = self.gate.server.inbox_url();
        if as_json {
            let inbox = Some((&*inbox_url, &*self.sign_in_url));
            return print::json(&addresses.ready(&self.public_url, inbox));
        }
        print::text(&format!("Gate       {}", self.public_url))?;
        print::text(&format!("Inbox      {inbox_url}"))?;
        print::text(&format!("Sign in    {}", self.sign_in_url))?;
        print::note("           (works once, for 15 minutes; `holdpoint sign-in` makes another)");
        addresses.print()
    }

    async fn until_stopped(
        self,
        mut tools: Option<Tools>,
        stopped: impl Future<Output = ()>,
    ) -> Result<ExitCode> {
        let proxies = tools.as_ref().map(|tools| tools.proxies.clone()).unwrap_or_default();
        let doorbells = tools.as_mut().and_then(|tools| tools.doorbells.take());
        let site =
            Site { connections_max: CONNECTIONS_MAX, proxies, gate: Some(self.gate.router()), doorbells };
        let serving = tokio::spawn(listen::serve(self.listener, site, self.stop.clone()));
        let server = std::sync::Arc::clone(&self.gate.server);
        let sweeping = tokio::spawn(async move { server.run_sweeps().await });
        stopped.await;
        if let Some(tools) = tools {
            tools.stop().await;
            // Its last words go to the Gate of this process.
            tools.wiring.close().await;
        }
        self.stop.cancel();
        serving.await.context("the listener ended badly")?;
        sweeping.await.context("the sweeper ended badly")?;
        self.gate.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes Gate what it is declared to be. Keys of agents that this makes cannot be shown in a log: `agents create` or
/// `gate apply` make agents whose keys somebody needs.
async fn apply(gate: &EmbeddedGate, declaration: Option<&GateDeclaration>) -> Result<()> {
    let default;
    let declaration = if let Some(declaration) = declaration {
        declaration
    } else {
        if !gate.server.agents().await?.is_empty() {
            return Ok(());
        }
        default = serde_json::from_value(serde_json::json!({ "agents": [{ "name": AGENT }] }))
            .context("the default declaration")?;
        &default
    };
    let applied = gate.server.apply(declaration, "configuration").await?;
    for change in &applied.changes {
        tracing::info!("{change}");
    }
    Ok(())
}

fn http_proxies(config: &Config, wiring: &Wiring, hosts: &Vec<String>, door: Door) -> Result<HttpProxies> {
    let mut by_name = HashMap::new();
    for (name, settings) in &config.servers {
        let name_text = name.as_str();
        let server = server_address(name_text, settings)?;
        let task = process_task(name_text)?;
        let mut options = HttpOptions::new(wiring.guard(name_text, settings), server, task);
        options.era = server_era(settings);
        options.hosts.clone_from(hosts);
        options.calls_max = wiring.calls_max();
        options.standing = Some(door.standing());
        by_name.insert(name.clone(), HttpProxy::new(options)?);
    }
    Ok(HttpProxies { by_name, door: Some(door), bridge: None })
}

fn public_url(args: &UpArgs, bound: SocketAddr) -> String {
    let given = args.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    given.unwrap_or_else(|| format!("http://{}", local(bound)))
}

/// The names beside the loopback ones by which clients may call the proxies.
pub(crate) fn hosts(public_url: Option<&str>) -> Result<Vec<String>> {
    let Some(url) = public_url else {
        return Ok(Vec::new());
    };
    let url: http::Uri = url.parse().with_context(|| format!("--public-url `{url}` is not a URL"))?;
    // Without the port: what stands in front of us may have another one.
    Ok(url.host().map(str::to_owned).into_iter().collect())
}

/// An address that this machine can connect to: "all addresses" is not one.
pub(crate) fn local(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if bound.ip().is_unspecified() {
        address.set_ip(match bound {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
