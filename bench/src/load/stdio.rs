//! stdio: starts the process under test itself and keeps a number of calls outstanding.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{INITIALIZE, INITIALIZED, LIST, Sample, Window, call, cpu_of, is_echo, print};
use crate::process::{end, memory_kib};

const WARM_UP_CALLS: u64 = 300;

/// The order for one sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) command: Vec<String>,
    pub(crate) env: HashMap<String, String>,
    pub(crate) in_flight: u64,
    pub(crate) window_ms: u64,
}

/// `load-stdio ORDER`, an order as JSON.
pub(crate) fn main(arguments: &[String]) -> Result<()> {
    let order = arguments.first().context("load-stdio ORDER")?;
    let order: Order = serde_json::from_str(order).context("bad order")?;
    let start = Instant::now();
    let mut session = Session::start(&order)?;
    session.ask(INITIALIZE)?;
    let ready = start.elapsed();
    session.write(INITIALIZED)?;
    session.ask(LIST)?;
    let idle_kib = memory_kib(session.pid(), "VmRSS")?;
    let sample = session.run(&order)?;
    print(&Sample { ready_us: ready.as_secs_f64() * 1e6, idle_kib, ..sample })
}

struct Session {
    child: Child,
    stdin: BufWriter<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    line: Vec<u8>,
    next: u64,
    sent: HashMap<u64, Instant>,
}

impl Session {
    fn start(order: &Order) -> Result<Self> {
        let program = order.command.first().context("an order without command")?;
        let mut child = Command::new(program)
            .args(order.command.iter().skip(1))
            .envs(&order.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = BufWriter::new(child.stdin.take().context("no standard input")?);
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        // Samples follow each other; none repeats the arguments of another.
        let next = u64::try_from(crate::process::wall_clock_ns() / 1000 % 1_000_000_000_000)?;
        Ok(Self { child, stdin, stdout, line: Vec::new(), next, sent: HashMap::new() })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn write(&mut self, message: &str) -> Result<()> {
        writeln!(self.stdin, "{message}").context("the process reads no more")
    }

    fn read(&mut self) -> Result<()> {
        self.line.clear();
        let read = self.stdout.read_until(b'\n', &mut self.line).context("cannot read")?;
        if read == 0 {
            bail!("the process ended");
        }
        Ok(())
    }

    fn ask(&mut self, message: &str) -> Result<()> {
        self.write(message)?;
        self.stdin.flush().context("the process reads no more")?;
        self.read()
    }

    fn send_call(&mut self) -> Result<()> {
        self.next += 1;
        let message = call(self.next);
        self.write(&message)?;
        self.sent.insert(self.next, Instant::now());
        Ok(())
    }

    fn run(&mut self, order: &Order) -> Result<Sample> {
        for _ in 0..order.in_flight {
            self.send_call()?;
        }
        self.stdin.flush().context("the process reads no more")?;
        let mut warm_up = 0;
        while warm_up < WARM_UP_CALLS {
            self.take_answer()?;
            warm_up += 1;
            self.send_call()?;
            self.flush_when_read()?;
        }

        let pid = Some(self.pid());
        let cpu = cpu_of(pid)?;
        let start = Instant::now();
        let deadline = start + Duration::from_millis(order.window_ms);
        let mut latencies = Vec::new();
        while Instant::now() < deadline {
            latencies.push(self.take_answer()?);
            self.send_call()?;
            self.flush_when_read()?;
        }
        let window =
            Window { latencies, errors: 0, elapsed: start.elapsed(), cpu: cpu_of(pid)?.saturating_sub(cpu) };
        window.sample(pid)
    }

    /// How long the call took that the next line answers.
    fn take_answer(&mut self) -> Result<Duration> {
        self.read()?;
        if !is_echo(&self.line) {
            bail!("not the tool's answer: {}", String::from_utf8_lossy(&self.line));
        }
        let id = id_of(&self.line).context("an answer without id")?;
        let sent = self.sent.remove(&id).context("an answer to no call")?;
        Ok(sent.elapsed())
    }

    fn flush_when_read(&mut self) -> Result<()> {
        if !self.stdout.buffer().contains(&b'\n') {
            self.stdin.flush().context("the process reads no more")?;
        }
        Ok(())
    }
}

/// The first number after `"id":`.
fn id_of(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let (_, rest) = text.split_once("\"id\":")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

impl Drop for Session {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[test]
fn the_id_is_found_wherever_it_stands() {
    assert_eq!(id_of(br#"{"jsonrpc":"2.0","id":17,"result":{}}"#), Some(17));
    assert_eq!(id_of(br#"{"result":{},"id":9}"#), Some(9));
    assert_eq!(id_of(br#"{"jsonrpc":"2.0","method":"notifications/progress"}"#), None);
}
