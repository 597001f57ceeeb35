//! One client of one proxy, either way, for tests that kill one of them.

use std::os::unix::process::ExitStatusExt as _;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{House, Pipe, Request, Server};

/// How a client reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// `holdpoint proxy`.
    Stdio,
    /// `holdpoint up`.
    Http,
}

impl Route {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdio, Self::Http];
}

/// A client and its proxy.
#[derive(Debug)]
pub enum Link {
    /// Both ends of a pipe.
    Stdio(Pipe),
    /// A session, and the proxy's process.
    Http(Server, HttpClient, Vec<UnderWay>),
}

/// A call whose answer was not waited for, by its id.
type UnderWay = (String, JoinHandle<Result<Value>>);

/// A session of the handshake era, by hand.
#[derive(Clone, Debug)]
pub struct HttpClient {
    url: String,
    session: String,
}

const REVISION: &str = "2025-11-25";
const STATELESS: &str = "2026-07-28";

impl Link {
    /// Starts the proxy of the server `till`, and shakes hands with it.
    pub fn open(house: &House, route: Route) -> Result<Self> {
        match route {
            Route::Stdio => {
                let mut pipe = house.pipe(&house.proxy("till"))?;
                pipe.initialize(REVISION)?;
                Ok(Self::Stdio(pipe))
            }
            Route::Http => {
                let up = house.up()?;
                let client = HttpClient::connect(up.mcp_url("till")?)?;
                Ok(Self::Http(up, client, Vec::new()))
            }
        }
    }

    /// The same for a client of the stateless era, which has nothing to shake hands about.
    pub fn open_stateless(house: &House, route: Route) -> Result<Self> {
        match route {
            Route::Stdio => Ok(Self::Stdio(house.pipe(&house.proxy("till"))?)),
            Route::Http => {
                let up = house.up()?;
                let client = HttpClient { url: up.mcp_url("till")?.to_owned(), session: String::new() };
                Ok(Self::Http(up, client, Vec::new()))
            }
        }
    }

    /// The answer to a request of the stateless era, the whole message; `name`: whom it is about. An error where the proxy
    /// went away.
    pub fn request(&mut self, id: &str, method: &str, name: &str, params: &Value) -> Result<Value> {
        let mut params = params.clone();
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = STATELESS.into();
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "e2e", "version": "1" });
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answer = match self {
            Self::Stdio(pipe) => {
                pipe.say(&message)?;
                pipe.answer_to(&json!(id))?
            }
            Self::Http(_, client, _) => {
                let request = Request::mcp(&client.url, message.to_string());
                let request = request.header("mcp-protocol-version", STATELESS).header("mcp-method", method);
                request.header("mcp-name", name).send()?.json()
            }
        };
        ensure!(answer["id"] == *id, "not an answer: {answer}");
        Ok(answer)
    }

    /// The proxy.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match self {
            Self::Stdio(pipe) => pipe.pid(),
            Self::Http(up, ..) => up.pid(),
        }
    }

    /// The result of a call; an error where the proxy went away.
    pub fn call(&mut self, id: &str, params: &Value) -> Result<Value> {
        let message = match self {
            Self::Stdio(pipe) => {
                pipe.say(&call(id, params))?;
                pipe.answer_to(&json!(id))?
            }
            Self::Http(_, client, _) => client.call(id, params)?,
        };
        ensure!(message["result"].is_object(), "not a result: {message}");
        Ok(message["result"].clone())
    }

    /// Sends a call without waiting for its answer.
    pub fn start(&mut self, id: &str, params: &Value) -> Result<()> {
        match self {
            Self::Stdio(pipe) => pipe.say(&call(id, params)),
            Self::Http(_, client, under_way) => {
                let (client, own, params) = (client.clone(), id.to_owned(), params.clone());
                let answer = std::thread::spawn(move || client.call(&own, &params));
                under_way.push((id.to_owned(), answer));
                Ok(())
            }
        }
    }

    /// The result of a call that was started.
    pub fn answer(&mut self, id: &str) -> Result<Value> {
        let message = match self {
            Self::Stdio(pipe) => pipe.answer_to(&json!(id))?,
            Self::Http(_, _, under_way) => {
                let at = under_way.iter().position(|(own, _)| own == id).context("no such call")?;
                let (_, answer) = under_way.swap_remove(at);
                answer.join().map_err(|_| anyhow::anyhow!("the client panicked"))??
            }
        };
        ensure!(message["result"].is_object(), "not a result: {message}");
        Ok(message["result"].clone())
    }

    /// The results of several calls that were started, whichever is answered first.
    pub fn answers(&mut self, ids: &[&str]) -> Result<Vec<Value>> {
        match self {
            Self::Stdio(pipe) => {
                Ok(pipe.answers_to(ids)?.into_iter().map(|message| message["result"].clone()).collect())
            }
            Self::Http(..) => ids.iter().map(|id| self.answer(id)).collect(),
        }
    }

    /// Withdraws a call.
    pub fn cancel(&mut self, id: &str) -> Result<()> {
        let cancelled = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id },
        });
        match self {
            Self::Stdio(pipe) => pipe.say(&cancelled),
            Self::Http(_, client, _) => client.post(&cancelled).map(drop),
        }
    }

    /// Whether the proxy was killed, by whomever, within `patience`.
    pub fn killed_within(&mut self, patience: Duration) -> Result<bool> {
        let status = match self {
            Self::Stdio(pipe) => pipe.ended_within(patience)?,
            Self::Http(up, ..) => up.ended_within(patience)?,
        };
        Ok(status.is_some_and(|status| status.signal() == Some(9)))
    }

    /// Ends the proxy in order.
    pub fn close(self) -> Result<()> {
        let status = match self {
            Self::Stdio(pipe) => pipe.close()?,
            Self::Http(up, ..) => up.stop()?,
        };
        ensure!(status.success(), "the proxy ended with {status}");
        Ok(())
    }
}

impl HttpClient {
    /// Shakes hands.
    pub fn connect(url: &str) -> Result<Self> {
        let hello = json!({
            "jsonrpc": "2.0", "id": "initialize", "method": "initialize",
            "params": {
                "protocolVersion": REVISION, "capabilities": {},
                "clientInfo": { "name": "holdpoint-e2e", "version": "1" },
            },
        });
        let answer = Request::mcp(url, hello.to_string()).send()?;
        let session = answer.header("mcp-session-id").with_context(|| format!("no session: {answer:?}"))?;
        let client = Self { url: url.to_owned(), session: session.to_owned() };
        client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
        Ok(client)
    }

    /// The answer to a tool call, the whole message.
    pub fn call(&self, id: &str, params: &Value) -> Result<Value> {
        let answer = self.post(&call(id, params))?;
        ensure!(answer["id"] == *id, "not an answer: {answer}");
        Ok(answer)
    }

    fn post(&self, message: &Value) -> Result<Value> {
        let request = Request::mcp(&self.url, message.to_string());
        let request = request.header("mcp-session-id", &self.session);
        Ok(request.header("mcp-protocol-version", REVISION).send()?.json())
    }
}

fn call(id: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}
