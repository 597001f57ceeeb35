//! Gate's webhooks ring and prove nothing: a real one saves waiting, a forged one changes nothing.

use crate::fake_gate::FakeGate;
use crate::setup::{call, text};
use crate::told::{ran, refused};
use anyhow::{Context as _, Result, ensure};
use holdpoint_api::webhook::WebhookSecret;
use holdpoint_e2e::{Answer, House, Link, Request, Route, Till, TillServer, nobody};
use holdpoint_testkit::{Decision, Endpoint};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Gate says to come back after a minute: whoever is told sooner was rung up.
const AT_ONCE: Duration = Duration::from_secs(20);
/// Long enough for a ring to be answered, had it been one.
const A_WHILE: Duration = Duration::from_millis(700);

struct Door {
    house: House,
    gate: FakeGate,
    till: Till,
    _served: Option<TillServer>,
    link: Link,
    url: String,
    secret: Option<WebhookSecret>,
}

impl Door {
    fn open(route: Route, secret: Option<&[u8; 32]>) -> Result<Self> {
        let (mut house, till) = (House::new()?, Till::new()?);
        let gate = FakeGate::unhurried(&mut house)?;
        let served = (route == Route::Http).then(|| till.serve()).transpose()?;
        let entry = match &served {
            Some(served) => json!({ "url": served.url() }),
            None => json!({ "command": till.command() }),
        };
        // `up` has a listener anyway; `proxy` needs one.
        let listen = nobody()?.trim_start_matches("http://").to_owned();
        let mut webhook = match route {
            Route::Stdio => json!({ "listen": listen }),
            Route::Http => json!({}),
        };
        let secret = secret.map(WebhookSecret::generate);
        if let Some(secret) = &secret {
            house.set_env("HOLDPOINT_WEBHOOK_SECRET", &secret.expose());
            webhook["secret"] = json!("${HOLDPOINT_WEBHOOK_SECRET}");
        }
        house.configure(&json!({
            "gate": {
                "url": "${STACKSONA_GATE_URL}", "api_key": "${STACKSONA_API_KEY}", "webhook": webhook,
            },
            "servers": { "till": entry },
            "hold": { "patience": "90s" },
        }))?;
        let link = Link::open(&house, route)?;
        let base = match &link {
            Link::Stdio(_) => format!("http://{listen}"),
            Link::Http(up, ..) => {
                let url = up.mcp_url("till")?;
                url[..url.find("/servers").context("no server")?].to_owned()
            }
        };
        let url = format!("{base}/webhooks/gate");
        Ok(Self { house, gate, till, _served: served, link, url, secret })
    }

    /// Holds a call, until Gate has been asked once how it stands.
    fn hold(&mut self, order: &str) -> Result<String> {
        let opened = self.gate.threads().len();
        let polled = self.gate.count(Endpoint::Decisions);
        self.link.start(order, &call("job", "gated", &json!({ "order_id": order })))?;
        let thread = self.gate.thread(opened + 1);
        self.gate.until_count(Endpoint::Decisions, polled + 1);
        Ok(thread)
    }

    fn ring(&self, thread: &str, decision: &str, id: &str, sign: Sign) -> Result<Answer> {
        let body = json!({
            "thread_id": thread, "task_id": "job", "decision": decision, "message": "", "tenant_id": "t",
            "workflow_name": "w", "task_label": "l",
        })
        .to_string();
        let seconds = now()? - if sign == Sign::LongAgo { 3600 } else { 0 };
        let forger = WebhookSecret::generate(&[9; 32]);
        let signer = match sign {
            Sign::Not => None,
            Sign::Wrongly => Some(&forger),
            Sign::Rightly | Sign::LongAgo => self.secret.as_ref(),
        };
        let mut request = Request::post(&self.url, "application/json", body.clone()).header("webhook-id", id);
        if let Some(signer) = signer {
            request = request
                .header("webhook-timestamp", &seconds.to_string())
                .header("webhook-signature", &signer.sign(id, seconds, body.as_bytes()));
        }
        request.send()
    }

    fn nothing_ran(&self) -> Result<()> {
        ensure!(self.till.runs()?.is_empty(), "it ran");
        ensure!(self.gate.count(Endpoint::Validate) == 0, "a token was spent");
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is signed has to be fresh by the clock of another process"
)]
fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Rightly,
    Wrongly,
    LongAgo,
    Not,
}

fn rings(route: Route) -> Result<()> {
    let mut door = Door::open(route, Some(&[7; 32]))?;
    let thread = door.hold("1")?;

    // Nobody decided: whatever is said, Gate knows better. And who does not sign is not even heard.
    let polls = door.gate.count(Endpoint::Decisions);
    for (id, sign) in [("forged", Sign::Wrongly), ("unsigned", Sign::Not), ("old", Sign::LongAgo)] {
        ensure!(door.ring(&thread, "approved", id, sign)?.status == 401, "{id} was taken");
    }
    std::thread::sleep(A_WHILE);
    ensure!(door.gate.count(Endpoint::Decisions) == polls, "somebody unknown had Gate asked");
    ensure!(door.ring(&thread, "approved", "early", Sign::Rightly)?.status == 204, "not taken");
    door.gate.until_count(Endpoint::Decisions, polls + 1);
    std::thread::sleep(A_WHILE);
    door.nothing_ran()?;

    // The same again rings nothing, and neither does one about somebody else's thread.
    let polls = door.gate.count(Endpoint::Decisions);
    ensure!(door.ring(&thread, "approved", "early", Sign::Rightly)?.status == 204, "not taken");
    ensure!(door.ring("THR-FFFFFFFF", "approved", "else", Sign::Rightly)?.status == 204, "not taken");
    std::thread::sleep(A_WHILE);
    ensure!(door.gate.count(Endpoint::Decisions) == polls, "a replay had Gate asked");
    door.nothing_ran()?;

    let asked = Instant::now();
    door.gate.decide(&thread, Decision::Approve);
    // Out of order, the last one says the opposite: Gate is asked all the same.
    ensure!(door.ring(&thread, "rejected", "late", Sign::Rightly)?.status == 204, "not taken");
    ran(&door.link.answer("1")?, "did 1")?;
    ensure!(asked.elapsed() < AT_ONCE, "told after {:?}", asked.elapsed());
    assert_eq!(door.till.runs()?.len(), 1);

    // After the run, ringing runs nothing.
    ensure!(door.ring(&thread, "approved", "after", Sign::Rightly)?.status == 204, "not taken");
    std::thread::sleep(A_WHILE);
    assert_eq!(door.till.runs()?.len(), 1);

    let thread = door.hold("2")?;
    let asked = Instant::now();
    door.gate.decide(&thread, Decision::Reject("no".to_owned()));
    ensure!(door.ring(&thread, "approved", "lie", Sign::Rightly)?.status == 204, "not taken");
    refused(&door.link.answer("2")?, "rejected")?;
    ensure!(asked.elapsed() < AT_ONCE, "told after {:?}", asked.elapsed());
    assert_eq!(door.till.runs()?.len(), 1);
    assert_eq!(door.house.holds()?, [] as [Value; 0]);
    door.link.close()
}

#[test]
fn at_a_stdio_proxy() -> Result<()> {
    rings(Route::Stdio)
}

#[test]
fn at_up() -> Result<()> {
    rings(Route::Http)
}

/// Without a secret anybody may ring, and nobody can do more.
#[test]
fn without_a_secret() -> Result<()> {
    let mut door = Door::open(Route::Stdio, None)?;
    let thread = door.hold("1")?;
    for number in 0..20 {
        door.ring(&thread, "approved", &format!("lie-{number}"), Sign::Not)?;
    }
    std::thread::sleep(A_WHILE);
    door.nothing_ran()?;
    door.gate.decide(&thread, Decision::Approve);
    let asked = Instant::now();
    let answer = door.ring(&thread, "approved", "truth", Sign::Not)?;
    ensure!(answer.status == 204 && text(&json!(answer.text)).is_empty(), "{answer:?}");
    ran(&door.link.answer("1")?, "did 1")?;
    ensure!(asked.elapsed() < AT_ONCE, "told after {:?}", asked.elapsed());
    assert_eq!(door.till.runs()?.len(), 1);
    door.link.close()
}
