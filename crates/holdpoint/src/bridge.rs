//! The bridge on a listener: alone (`holdpoint bridge`), or beside the proxies of `up`.

use crate::{
    cli::BridgeArgs,
    configuration,
    data::DataFolder,
    door::{self, Door},
    listen::{self, CONNECTIONS_MAX, Proxies, Site},
    print, reload, up, webhooks,
    wiring::{GateAddress, Wiring},
};
use anyhow::{Context as _, Result};
use async_trait::async_trait;
use axum::body::Body;
use holdpoint_bridge::{
    Bridge, BridgeCaller, BridgeOptions, CHECKS, CallbackOptions, DenyStatus, PathPart, PrivateAddresses,
    Target, TargetBody, TargetTool, ValueSource,
};
use holdpoint_config::{
    BridgeSettings, CallbackSettings, CallerSettings, TargetContent, TargetPath, TargetSettings,
    TargetSource, TargetToolSettings,
};
use holdpoint_core::{Principal, ServerName, Standing, StillThere, ToolName};
use holdpoint_mcp::http::StrangerCheck;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use serde_json::json;
use std::{collections::HashMap, process::ExitCode, sync::Arc, time::Duration};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

/// For platforms that have a field for the name of a header, and none for what comes before a key in it.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const DECISION: HeaderName = HeaderName::from_static("holdpoint-decision");
/// Whoever presents the agent's own key is the agent.
const AGENT: &str = "agent";
const AGENT_API: &str = "/api/agent/";
/// How long calls to targets may take to end after the signal to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// The bridge behind its door.
#[derive(Clone, Debug)]
pub(crate) struct BridgeFront {
    bridge: Bridge,
    door: Door,
    strangers: StrangerCheck,
    /// `Bearer` and the agent's own key, where the agent API is served.
    agent: Option<Arc<[u8]>>,
}

/// What a bridge stands behind.
pub(crate) struct Front<'a> {
    pub(crate) wiring: &'a Wiring,
    pub(crate) door: Door,
    pub(crate) hosts: Vec<String>,
    pub(crate) public_url: Option<&'a str>,
}

impl Front<'_> {
    /// Opens it, and goes on with what processes left that have ended.
    pub(crate) fn open(self, settings: &BridgeSettings, serves_agent_api: bool) -> Result<BridgeFront> {
        let Self { wiring, door, hosts, public_url } = self;
        let mut options = options(settings)?;
        options.public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        options.hosts.clone_from(&hosts);
        let standing: Arc<dyn Standing> =
            if serves_agent_api { Arc::new(AgentStands(door.standing())) } else { door.standing() };
        let bridge = wiring.bridge(options, standing, serves_agent_api);
        let going_on = bridge.clone();
        tokio::spawn(async move { going_on.run().await });
        let agent = serves_agent_api.then(|| format!("Bearer {}", wiring.agent_key().expose()));
        let agent = agent.map(|agent| agent.into_bytes().into());
        Ok(BridgeFront { bridge, door, strangers: StrangerCheck::new(&hosts), agent })
    }
}

/// The agent stands as long as this process is it; of others, the door knows.
#[derive(Debug)]
struct AgentStands(Arc<dyn Standing>);

#[async_trait]
impl Standing for AgentStands {
    async fn is_still(&self, principal: &Principal) -> StillThere {
        if principal.as_str() == AGENT { StillThere::Yes } else { self.0.is_still(principal).await }
    }
}

impl BridgeFront {
    /// Whether a request is the bridge's.
    pub(crate) fn serves(&self, request: &Request<Incoming>) -> bool {
        self.bridge.serves(request.uri().path())
    }

    /// Answers a request that is the bridge's.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if let Some(refused) = self.strangers.refuse(&request) {
            return denied(refused.map(Body::new));
        }
        if let Some(document) = self.bridge.document(request.method(), request.uri().path()) {
            return document.map(Body::new);
        }
        // In boxes: thousands may be here at once, while a person decides.
        let request = Box::new(request);
        match Box::pin(self.caller(&request)).await {
            Ok(caller) => Box::pin(self.bridge.serve(*request, caller)).await.map(Body::new),
            Err(refused) => denied(refused),
        }
    }

    async fn caller(&self, request: &Request<Incoming>) -> Result<BridgeCaller, Response<Body>> {
        let headers = request.headers();
        if request.uri().path().starts_with(AGENT_API) && self.is_agent(headers) {
            return Ok(BridgeCaller::standing(Principal::new(AGENT)));
        }
        if headers.contains_key(header::AUTHORIZATION) || !headers.contains_key(API_KEY) {
            return self.door.admit_to_bridge(headers).await;
        }
        // All of them, as what they are: two are one too many.
        let mut bearer = HeaderMap::new();
        for key in headers.get_all(API_KEY) {
            // A key that cannot be in a header is none.
            let value = HeaderValue::from_bytes(&[b"Bearer ", key.as_bytes()].concat());
            bearer.append(header::AUTHORIZATION, value.unwrap_or(HeaderValue::from_static("Bearer")));
        }
        self.door.admit_to_bridge(&bearer).await
    }

    fn is_agent(&self, headers: &HeaderMap) -> bool {
        let mut presented = headers.get_all(header::AUTHORIZATION).iter();
        match (&self.agent, presented.next(), presented.next()) {
            (Some(agent), Some(presented), None) => agent.ct_eq(presented.as_bytes()).into(),
            _ => false,
        }
    }

    pub(crate) fn stop(&self) {
        self.bridge.stop();
    }

    /// Waits until nothing is under way any more.
    pub(crate) async fn drain(&self) {
        self.bridge.drain().await;
    }
}

/// Whoever is not let in is told no where callers look for it, too.
fn denied(mut refused: Response<Body>) -> Response<Body> {
    refused.headers_mut().insert(DECISION, HeaderValue::from_static("deny"));
    refused
}

/// A bridge alone.
#[derive(Debug)]
struct Alone(BridgeFront);

impl Proxies for Alone {
    async fn serve(&self, _: &str, request: Request<Incoming>) -> Result<Response<Body>, Request<Incoming>> {
        Err(request)
    }

    fn describe(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let described = self.0.door.metadata(request.method(), request.uri().path())?;
        let refused = self.0.strangers.refuse(request);
        Some(refused.map_or(described, |refused| refused.map(Body::new)))
    }

    fn bridge(&self) -> Option<&BridgeFront> {
        Some(&self.0)
    }
}

/// `holdpoint bridge`.
pub(crate) async fn run(args: &BridgeArgs) -> Result<ExitCode> {
    let config = args.config.as_deref().map(configuration::load).transpose()?;
    let nobody = CallerSettings::default();
    let callers = config.as_ref().map_or(&nobody, |config| &config.callers);
    door::refuse_open_doors(callers, args.listen, args.public_url.as_deref())?;
    let data = DataFolder::open(&args.data.data)?;
    let address = GateAddress::find(config.as_ref().and_then(|config| config.gate.as_ref()))?;
    let gate_url = address.url.clone();
    let wiring = match &config {
        Some(config) => Wiring::configured(config, &data, address).await?,
        None => Wiring::everything_gated(CHECKS, &data, address).await?,
    };
    let (listener, bound) = listen::bind(args.listen).await?;
    let here = format!("http://{}", up::local(bound));
    let public_url = args.public_url.as_deref().map_or(&*here, |url| url.trim_end_matches('/'));
    let door = Door::new(callers, std::iter::empty(), &data, public_url)?;
    let hosts = up::hosts(args.public_url.as_deref())?;
    let front = Front { wiring: &wiring, door, hosts, public_url: args.public_url.as_deref() };
    let nothing_said = BridgeSettings::default();
    let settings = config.as_ref().and_then(|config| config.bridge.as_ref()).unwrap_or(&nothing_said);
    let front = front.open(settings, true)?;
    let stop = CancellationToken::new();
    let webhook = config.as_ref().and_then(|config| config.gate.as_ref()?.webhook.as_ref());
    webhooks::listen(webhook, &wiring, &stop).await?;
    let doorbells = webhook.filter(|webhook| webhook.listen.is_none());
    let doorbells = doorbells.map(|webhook| webhooks::Doorbells::new(webhook, &wiring));
    let following = args.config.clone().zip(config);
    let following =
        following.map(|(path, config)| tokio::spawn(reload::follow(path, config, wiring.clone())));
    let stopped = crate::stop::requested();
    if args.json.json {
        print::json(&json!({ "event": "ready", "bridge_url": public_url, "gate_url": gate_url }))?;
    } else {
        print::text(&format!("Bridge     {public_url}/v1/decisions"))?;
        print::text(&format!("Recipes    {public_url}{AGENT_API}…"))?;
        print::text(&format!("Gate       {gate_url}"))?;
    }
    let site =
        Site { connections_max: CONNECTIONS_MAX, proxies: Alone(front.clone()), gate: None, doorbells };
    let serving = tokio::spawn(listen::serve(listener, site, stop.clone()));
    stopped.await;
    if let Some(following) = following {
        following.abort();
    }
    wiring.stop();
    front.stop();
    if tokio::time::timeout(DRAIN, front.drain()).await.is_err() {
        tracing::warn!("some calls to targets were still running; their outcome is unknown");
    }
    stop.cancel();
    serving.await.context("the listener ended badly")?;
    wiring.close().await;
    Ok(ExitCode::SUCCESS)
}

fn options(settings: &BridgeSettings) -> Result<BridgeOptions> {
    let targets = settings.targets.iter().map(|(name, target)| {
        let made = target_of(target).with_context(|| format!("the target `{name}` cannot be used"))?;
        Ok((name.clone(), Arc::new(made)))
    });
    Ok(BridgeOptions {
        wait: settings.wait,
        wait_max: settings.wait_max,
        expires: settings.expires,
        kept: settings.kept,
        replays_max: settings.replays_max,
        open_max: settings.open_max.try_into()?,
        deny_status: if settings.denies_with_403 { DenyStatus::Forbidden } else { DenyStatus::Ok },
        callbacks: settings.callbacks.as_ref().map(callbacks).unwrap_or_default(),
        targets: targets.collect::<Result<HashMap<ServerName, _>>>()?,
        ..BridgeOptions::default()
    })
}

fn callbacks(settings: &CallbackSettings) -> CallbackOptions {
    let private_addresses =
        if settings.private_addresses { PrivateAddresses::Allowed } else { PrivateAddresses::Refused };
    CallbackOptions { hosts: settings.hosts.clone(), secret: settings.secret.clone(), private_addresses }
}

fn target_of(settings: &TargetSettings) -> Result<Target> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let mut value = HeaderValue::from_str(value.expose())?;
        value.set_sensitive(holdpoint_config::is_credential(name));
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    let tools = settings
        .tools
        .iter()
        .map(|(name, tool)| Ok((ToolName::new(name.as_str()), tool_of(settings, tool)?)));
    Ok(Target {
        url: settings.url.as_str().parse()?,
        headers,
        timeout: settings.timeout,
        response_bytes_max: usize::try_from(settings.response_bytes_max)?,
        tools: tools.collect::<Result<_>>()?,
    })
}

fn tool_of(target: &TargetSettings, tool: &TargetToolSettings) -> Result<TargetTool> {
    let headers = tool
        .headers
        .iter()
        .map(|(name, source)| Ok((HeaderName::from_bytes(name.as_bytes())?, source_of(source))));
    let path = tool.path.iter().map(|part| match part {
        TargetPath::Text(text) => PathPart::Text(text.clone()),
        TargetPath::Argument(pointer) => PathPart::Argument(pointer.clone()),
    });
    Ok(TargetTool {
        method: tool.method.parse()?,
        path: path.collect(),
        query: sources_of(&tool.query),
        headers: headers.collect::<Result<_>>()?,
        body: match &tool.body {
            TargetContent::None => TargetBody::None,
            TargetContent::Arguments => TargetBody::Arguments,
            TargetContent::Json(members) => TargetBody::Json(sources_of(members)),
            TargetContent::Form(fields) => TargetBody::Form(sources_of(fields)),
        },
        place: target.place(tool),
    })
}

fn sources_of(sources: &[(String, TargetSource)]) -> Vec<(String, ValueSource)> {
    sources.iter().map(|(name, source)| (name.clone(), source_of(source))).collect()
}

fn source_of(source: &TargetSource) -> ValueSource {
    match source {
        TargetSource::At { pointer, optional } => {
            ValueSource::At { pointer: pointer.clone(), optional: *optional }
        }
        TargetSource::Value(value) => ValueSource::Value(value.clone()),
    }
}
