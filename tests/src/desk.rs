//! A Gate of its own process, and a reviewer who does at once what each call says should be done with it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::lines::PATIENCE;
use crate::{House, Request, Server};

/// Between two looks into the inbox.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Gate, by its admin API and its inbox.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    token: String,
    session: Arc<Mutex<Option<String>>>,
}

impl Admin {
    /// Of the Gate that runs on a house's data.
    pub fn of(house: &House) -> Result<Self> {
        let text = std::fs::read_to_string(house.data().join("server.json")).context("no Gate runs")?;
        let running: Value = serde_json::from_str(&text)?;
        let field = |name: &str| running[name].as_str().map(str::to_owned).context("no such field");
        Ok(Self { url: field("url")?, token: field("admin_token")?, session: Arc::default() })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The open threads.
    pub fn open(&self) -> Result<Vec<Value>> {
        let answer = self.sent(Request::get(&self.path("threads")))?;
        answer.as_array().cloned().context("not a list")
    }

    /// A thread, its decision, and the timeline of its task.
    pub fn thread(&self, thread: &str) -> Result<Value> {
        self.sent(Request::get(&self.path(&format!("threads/{thread}"))))
    }

    /// The key of a new agent.
    pub fn agent(&self, name: &str) -> Result<String> {
        let made = self.post("agents", &json!({ "name": name }))?;
        made["key"].as_str().map(str::to_owned).context("no key")
    }

    /// Approves a thread, as the first to decide.
    pub fn approve(&self, thread: &str) -> Result<()> {
        self.post(&format!("threads/{thread}/approve"), &json!({})).map(drop)
    }

    /// Rejects a thread, as the first to decide.
    pub fn reject(&self, thread: &str, note: &str) -> Result<()> {
        self.post(&format!("threads/{thread}/reject"), &json!({ "note": note })).map(drop)
    }

    /// Asks for changes of the revision that is up, in the inbox.
    pub fn ask_for_changes(&self, thread: &Value, words: &str) -> Result<()> {
        let id = thread["thread_id"].as_str().context("no thread")?;
        let revision = thread["revision_id"].as_str().context("no revision")?;
        let form = format!("verdict=changes&revision={}&note={}", escaped(revision), escaped(words));
        let url = format!("{}/threads/{id}/decision", self.url);
        let answer =
            self.signed_in(Request::post(&url, "application/x-www-form-urlencoded", form))?.send()?;
        ensure!(answer.status == 303, "not asked for changes: {answer:?}");
        Ok(())
    }

    /// A page of the inbox.
    pub fn page(&self, path: &str) -> Result<String> {
        let answer = self.signed_in(Request::get(&format!("{}{path}", self.url)))?.send()?;
        ensure!(answer.status == 200, "no page: {answer:?}");
        Ok(answer.text)
    }

    fn signed_in(&self, request: Request) -> Result<Request> {
        let mut session = lock(&self.session);
        if session.is_none() {
            let link = self.post("sign-in-links", &json!({}))?;
            let link = link["url"].as_str().context("no link")?.to_owned();
            let (page, token) = link.split_once("?token=").context("no token")?;
            let form = format!("token={token}");
            let entered = Request::post(page, "application/x-www-form-urlencoded", form).send()?;
            let cookie = entered.header("set-cookie").context("not signed in")?;
            *session = cookie.split(';').next().map(str::to_owned);
        }
        Ok(request.header("cookie", session.as_deref().unwrap_or_default()))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.sent(Request::post(&self.path(path), "application/json", body.to_string()))
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/admin/{path}", self.url)
    }

    fn sent(&self, request: Request) -> Result<Value> {
        let answer = request.header("authorization", &format!("Bearer {}", self.token)).send()?;
        ensure!((200..300).contains(&answer.status), "Gate refused: {answer:?}");
        Ok(answer.json())
    }
}

/// Everything but letters and digits.
fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            let _infallible = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// Gate with its reviewer, who looks at the argument `review` of each call: `approve`, `reject`, `changes`, or anything
/// else to leave it alone.
#[derive(Debug)]
pub struct Desk {
    /// Gate.
    pub admin: Admin,
    house: House,
    /// Only kept: several threads look at the desk, and its output is for one.
    _gate: Mutex<Server>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reviewer: Option<JoinHandle<()>>,
}

/// What the reviewer saw.
#[derive(Debug, Default)]
struct Seen {
    /// The threads of each order.
    threads: HashMap<String, Vec<String>>,
    /// Proposals that were decided.
    decided: HashSet<(String, String)>,
    /// Orders that are approved by now, whatever their calls say.
    approved: HashSet<String>,
}

impl Desk {
    /// Gate on free ports, and the reviewer at work. `tools` are Gate's own rules, as in `gate.yaml`.
    pub fn open(tools: &Value) -> Result<Self> {
        let mut house = House::new()?;
        house.declare(&json!({ "agents": [{ "name": "somebody" }], "tools": tools }))?;
        house.set_env("STACKSONA_API_KEY", "sg_not_used_here");
        let gate = house.serve()?;
        let admin = Admin::of(&house)?;
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicBool::new(false)));
        let reviewer = std::thread::spawn({
            let (admin, seen, stop) = (admin.clone(), Arc::clone(&seen), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::SeqCst) {
                    if let Err(error) = look(&admin, &seen) {
                        eprintln!("the reviewer: {error:#}");
                    }
                    std::thread::sleep(LOOK_EVERY);
                }
            }
        });
        Ok(Self { admin, house, _gate: Mutex::new(gate), seen, stop, reviewer: Some(reviewer) })
    }

    /// Gate's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.house.data()
    }

    /// Waits until an order has `count` threads, and returns the latest.
    pub fn thread(&self, order: &str, count: usize) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let threads = self.threads(order);
            if threads.len() >= count
                && let Some(id) = threads.last()
            {
                return Ok(self.admin.thread(id)?["thread"].clone());
            }
            ensure!(Instant::now() < deadline, "order `{order}` has {} threads", threads.len());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Where Gate listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let address = self.admin.url().strip_prefix("http://").context("not an http URL")?;
        address.parse().context("no address")
    }

    /// Tells a house where Gate is, and makes an agent for it.
    pub fn employ(&self, house: &mut House, agent: &str) -> Result<()> {
        house.set_env("STACKSONA_GATE_URL", self.admin.url());
        house.set_env("STACKSONA_API_KEY", &self.admin.agent(agent)?);
        Ok(())
    }

    /// The threads that were seen of an order.
    #[must_use]
    pub fn threads(&self, order: &str) -> Vec<String> {
        lock(&self.seen).threads.get(order).cloned().unwrap_or_default()
    }

    /// Approves all threads of an order that are open, or will be.
    pub fn approve_from_now_on(&self, order: &str) {
        lock(&self.seen).approved.insert(order.to_owned());
    }

    /// How many times Gate approved an order.
    pub fn approvals(&self, order: &str) -> Result<usize> {
        let mut approvals = 0;
        for thread in self.threads(order) {
            approvals += usize::from(self.admin.thread(&thread)?["decision"]["state"] == "approved");
        }
        Ok(approvals)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(reviewer) = self.reviewer.take() {
            let _ended = reviewer.join();
        }
    }
}

fn look(admin: &Admin, seen: &Mutex<Seen>) -> Result<()> {
    for thread in admin.open()? {
        let text = |name: &str| thread[name].as_str().unwrap_or_default().to_owned();
        let (id, payload) = (text("thread_id"), &thread["payload"]);
        let order = payload["order_id"].as_str().unwrap_or_default().to_owned();
        let (is_new, is_approved) = {
            let mut seen = lock(seen);
            let threads = seen.threads.entry(order.clone()).or_default();
            if !threads.contains(&id) {
                threads.push(id.clone());
            }
            let is_approved = seen.approved.contains(&order);
            let says = payload["review"].as_str();
            let is_decided = is_approved || matches!(says, Some("approve" | "reject" | "changes"));
            (is_decided && seen.decided.insert((id.clone(), text("revision_id"))), is_approved)
        };
        if !is_new {
            continue;
        }
        match payload["review"].as_str().unwrap_or_default() {
            _ if is_approved => admin.approve(&id)?,
            "approve" => admin.approve(&id)?,
            "reject" => admin.reject(&id, "not today")?,
            "changes" => admin.ask_for_changes(&thread, "write approve")?,
            _ => {}
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
