//! A desk, a till, and a house between them, for tests that play one story at a time.

use anyhow::{Result, bail, ensure};
use holdpoint_e2e::{Desk, House, Link, Route, Till, TillServer};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longer than anything takes that has nothing to wait for.
const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Setup {
    pub(crate) desk: Desk,
    pub(crate) till: Till,
    pub(crate) house: House,
    pub(crate) route: Route,
    pub(crate) served: Option<TillServer>,
}

impl Setup {
    /// `tools` as in a tools file.
    pub(crate) fn new(route: Route, tools: &Value) -> Result<Self> {
        let (desk, till, mut house) = (Desk::open(&json!([]))?, Till::new()?, House::new()?);
        desk.employ(&mut house, "tester")?;
        let served = (route == Route::Http).then(|| till.serve()).transpose()?;
        let setup = Self { desk, till, house, route, served };
        setup.house.configure(&setup.config())?;
        setup.house.tools("till", tools)?;
        Ok(setup)
    }

    pub(crate) fn config(&self) -> Value {
        let server = match &self.served {
            Some(served) => json!({ "url": served.url() }),
            None => json!({ "command": self.till.command() }),
        };
        json!({
            "gate": { "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}" },
            "servers": { "till": server },
            "hold": { "patience": "30s" },
        })
    }

    pub(crate) fn link(&self) -> Result<Link> {
        Link::open(&self.house, self.route)
    }

    /// Starts a call and waits until its review is there: the thread.
    pub(crate) fn hold(&self, link: &mut Link, id: &str, params: &Value) -> Result<Value> {
        let order = params["arguments"]["order_id"].as_str().unwrap_or_default();
        let before = self.desk.threads(order).len();
        link.start(id, params)?;
        let thread = self.desk.thread(order, before + 1)?;
        self.is_held(text(&thread["thread_id"]))?;
        Ok(thread)
    }

    /// Waits until the journal has the hold.
    pub(crate) fn is_held(&self, thread: &str) -> Result<()> {
        until("it is held", || Ok(self.house.holds()?.iter().any(|hold| hold["thread_id"] == thread)))
    }

    /// The events that agents told about a thread.
    pub(crate) fn events(&self, thread: &str) -> Result<Vec<Value>> {
        let report = self.desk.admin.thread(thread)?;
        let lines = report["timeline"].as_array().cloned().unwrap_or_default();
        Ok(lines.into_iter().filter(|line| line.to_string().contains("event_type")).collect())
    }

    /// Waits for an event on a thread.
    pub(crate) fn event(&self, thread: &str, event_type: &str) -> Result<Value> {
        let deadline = Instant::now() + SOON;
        loop {
            let events = self.events(thread)?;
            if let Some(event) = events.iter().find(|event| event.to_string().contains(event_type)) {
                return Ok(event.clone());
            }
            if Instant::now() > deadline {
                bail!("no `{event_type}`: {events:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn approve(&self, thread: &Value) -> Result<()> {
        self.desk.admin.approve(text(&thread["thread_id"]))
    }
}

/// A call of a job.
pub(crate) fn call(task: &str, tool: &str, arguments: &Value) -> Value {
    json!({ "name": tool, "arguments": arguments, "_meta": { "dev.holdpoint/task": task } })
}

/// A string, or nothing.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
