//! Thousands of calls that wait for a person at once: what each costs in memory, what all cost while nothing happens,
//! and how long an approval takes to its run.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::click::Reviewer;
use super::ours::{Action, Setup};
use super::role;
use super::subjects::mcp_url;
use crate::load::held::Order;
use crate::load::{Calls, INITIALIZE, INITIALIZED, LIST};
use crate::process::{Client, Server, end, memory_kib, processor_time, wall_clock_ns};

/// Held at once.
pub(crate) const HELD: u64 = 10_000;
/// Approved one by one, at a pace that no crowd of reviewers reaches.
const TIMED: usize = 1_000;
const PACE: Duration = Duration::from_millis(10);
const IDLE_FOR: Duration = Duration::from_secs(20);
const HOLDING_MAX: Duration = Duration::from_mins(4);
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// Until what a burst of calls left to do is done.
const SETTLED_AFTER: Duration = Duration::from_secs(15);
/// Calls over stdio that are sent without a pause.
const BURST: u64 = 50;
const BURST_PAUSE: Duration = Duration::from_millis(60);
/// Connections that approve the rest.
const REVIEWERS: usize = 8;

/// One run with [`HELD`] calls.
pub(crate) struct Measured {
    pub(crate) kib_per_call: f64,
    pub(crate) idle_percent: f64,
    /// From the first byte of an approval to the call's arrival at the tool, in milliseconds, sorted.
    pub(crate) approval_to_run: Vec<f64>,
    /// The rest, approved as fast as they could be.
    pub(crate) rest_per_s: f64,
    pub(crate) ran: usize,
}

/// Holds, waits, approves, and counts the runs.
pub(crate) fn measure(program: &Path) -> Result<Measured> {
    let tool = Server::start(&mut role(&["tool-http"])?)?;
    let setup = Setup::new(program, &json!({ "url": tool.url()? }), Action::Gate, None, false)?;
    let server = setup.up()?;
    let url = mcp_url(server.ready())?.to_owned();
    let reviewer = Reviewer::of(&setup)?;
    let before_kib = memory_kib(server.pid(), "VmRSS")?;
    let mut crowd = Crowd::start(&url)?;
    let threads = reviewer.threads_of(HELD, HOLDING_MAX)?;
    let held_kib = memory_kib(server.pid(), "VmRSS")?;
    let idle_percent = idle_percent(server.pid())?;
    let mut clicked = HashMap::new();
    let (timed, rest) = threads.split_at(TIMED.min(threads.len()));
    for (n, thread) in timed {
        let due = Instant::now() + PACE;
        let connection = reviewer.connect()?;
        clicked.insert(*n, wall_clock_ns());
        reviewer.approve(connection, thread)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let mut received = crowd.answers(timed.len())?;
    let start = Instant::now();
    approve_all(&reviewer, rest)?;
    let received_rest = crowd.answers(rest.len())?;
    let elapsed = start.elapsed();
    received.extend(received_rest.iter());
    let ran = received.len();
    let mut approval_to_run: Vec<f64> = clicked
        .iter()
        .filter_map(|(n, at)| Some(milliseconds(received.get(n)?.saturating_sub(*at))))
        .collect();
    approval_to_run.sort_by(f64::total_cmp);
    Ok(Measured {
        kib_per_call: per_call(held_kib.saturating_sub(before_kib)),
        idle_percent,
        approval_to_run,
        rest_per_s: rate(rest.len(), elapsed),
        ran,
    })
}

/// The proxy over stdio, with Gate in a process of its own.
pub(crate) struct OverStdio {
    pub(crate) kib_per_call: f64,
    pub(crate) idle_percent: f64,
}

/// Holds as many on one pipe, and waits.
pub(crate) fn measure_stdio(program: &Path) -> Result<OverStdio> {
    let tool = json!({ "command": [super::this()?, "tool-stdio"] });
    let setup = Setup::new(program, &tool, Action::Gate, None, false)?;
    let gate = setup.serve()?;
    let mut command = setup.command();
    command.args(setup.proxy().iter().skip(1)).envs(gate.env());
    let mut proxy = OnAPipe::start(&mut command)?;
    for line in [INITIALIZE, INITIALIZED, LIST] {
        proxy.say(line)?;
    }
    std::thread::sleep(SETTLED_AFTER / 10);
    let pid = proxy.0.id();
    let before_kib = memory_kib(pid, "VmRSS")?;
    let calls = Calls::new("echo", 0)?;
    for n in 0..HELD {
        proxy.say(&calls.call(n))?;
        if n % BURST == 0 {
            std::thread::sleep(BURST_PAUSE);
        }
    }
    Reviewer::of(&setup)?.threads_of(HELD, HOLDING_MAX)?;
    std::thread::sleep(SETTLED_AFTER);
    let held_kib = memory_kib(pid, "VmRSS")?;
    Ok(OverStdio {
        kib_per_call: per_call(held_kib.saturating_sub(before_kib)),
        idle_percent: idle_percent(pid)?,
    })
}

/// A process that is spoken to line by line, and whose answers nobody wants.
struct OnAPipe(Child);

impl OnAPipe {
    fn start(command: &mut std::process::Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start")?;
        let stdout = child.stdout.take().context("no standard output")?;
        std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).for_each(drop));
        Ok(Self(child))
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.0.stdin.as_mut().context("no standard input")?, "{line}").context("the process is gone")
    }
}

impl Drop for OnAPipe {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process")]
fn per_call(kib: u64) -> f64 {
    kib as f64 / HELD as f64
}

#[expect(clippy::cast_precision_loss, reason = "a count of calls")]
fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "a wait of minutes at most")]
fn milliseconds(nanoseconds: u128) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Of one core, while all calls are held and nobody decides.
fn idle_percent(pid: u32) -> Result<f64> {
    let before = processor_time(pid)?;
    std::thread::sleep(IDLE_FOR);
    let used = processor_time(pid)?.saturating_sub(before);
    Ok(used.as_secs_f64() / IDLE_FOR.as_secs_f64() * 100.0)
}

/// As fast as several reviewers can.
pub(crate) fn approve_all(reviewer: &Reviewer, threads: &[(u64, String)]) -> Result<()> {
    let share = threads.len().div_ceil(REVIEWERS).max(1);
    std::thread::scope(|scope| {
        let crews: Vec<_> = threads
            .chunks(share)
            .map(|threads| {
                scope.spawn(move || {
                    threads.iter().try_for_each(|(_, thread)| reviewer.approve(reviewer.connect()?, thread))
                })
            })
            .collect();
        crews.into_iter().try_for_each(|crew| crew.join().ok().context("a reviewer failed")?)
    })
}

/// The process with all the clients.
struct Crowd(Client);

impl Crowd {
    fn start(url: &str) -> Result<Self> {
        let order = serde_json::to_string(&Order { url: url.to_owned(), count: HELD })?;
        let mut command = role(&["hold-http", &order])?;
        Ok(Self(Client::start(&mut command)?))
    }

    /// When the next `count` calls that are answered had arrived at the tool, by their number.
    fn answers(&mut self, count: usize) -> Result<HashMap<u64, u128>> {
        let mut received = HashMap::new();
        while received.len() < count {
            let line = self.0.lines.recv_timeout(ANSWER_MAX).with_context(|| {
                format!("{} of {count} calls were answered, and no other for {ANSWER_MAX:?}", received.len())
            })?;
            let answer: Value = serde_json::from_str(&line).context("not JSON")?;
            let n = answer.get("n").and_then(Value::as_u64).context("no number")?;
            let at = answer.get("received_ns").and_then(Value::as_str).and_then(|text| text.parse().ok());
            let at = at.with_context(|| format!("not run: {line}"))?;
            if received.insert(n, at).is_some() {
                bail!("call {n} was answered twice");
            }
        }
        Ok(received)
    }
}

impl Reviewer {
    /// All open threads, once there are `count`: the number in each call's subject, and the thread.
    pub(crate) fn threads_of(&self, count: u64, within: Duration) -> Result<Vec<(u64, String)>> {
        let deadline = Instant::now() + within;
        loop {
            let threads = self.threads()?;
            if threads.len() as u64 >= count {
                return Ok(threads);
            }
            if Instant::now() > deadline {
                bail!("{} of {count} calls are held after {within:?}", threads.len());
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn threads(&self) -> Result<Vec<(u64, String)>> {
        let mut stream: TcpStream = self.connect()?;
        let (address, token) = (&self.address, &self.token);
        write!(
            stream,
            "GET /api/admin/threads HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        )
        .context("cannot list")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("cannot read the answer")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let start = body.find('[').context("no list")?;
        let end = body.rfind(']').context("no list")?;
        let list: Vec<Value> = serde_json::from_str(body.get(start..=end).context("no list")?)?;
        list.iter()
            .map(|thread| {
                let field = |name: &str| thread.get(name).and_then(Value::as_str).context("not a thread");
                let n = field("subject")?.rsplit(' ').next().and_then(|n| n.parse().ok());
                Ok((n.context("a subject without number")?, field("thread_id")?.to_owned()))
            })
            .collect()
    }
}
