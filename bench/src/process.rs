//! Children, and what the kernel says about a process.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

pub(crate) use tree::{Memory, Tree};

mod tree;

/// `CLK_TCK` on every Linux that Rust supports.
const TICKS_PER_S: u64 = 100;
const READY_MAX: Duration = Duration::from_secs(20);
/// How often a port is tried until somebody listens on it.
const READY_EVERY: Duration = Duration::from_millis(5);

/// A time that two processes on one machine agree on.
#[expect(clippy::disallowed_methods, reason = "two processes compare it; nothing is decided by it")]
pub(crate) fn wall_clock_ns() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// A server of ours or under test. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    ready: Value,
    ready_after: Duration,
}

impl Server {
    /// Starts it and waits for its one line.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = format!("{command:?}");
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, lines) = sync_channel(1);
        // Keeps reading, so that a chatty server never blocks.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _only_the_first_is_wanted = sender.try_send(line);
            }
        });
        let mut server = Self { child, ready: Value::Null, ready_after: Duration::ZERO };
        let Ok(line) = lines.recv_timeout(READY_MAX) else {
            bail!("{name} did not get ready");
        };
        server.ready_after = start.elapsed();
        server.ready = serde_json::from_str(&line).with_context(|| format!("{name} printed {line}"))?;
        Ok(server)
    }

    /// Starts one that says nothing we could wait for: it is ready when it listens.
    pub(crate) fn start_on_port(command: &mut Command, port: u16) -> Result<Self> {
        let name = role_of(command);
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut server = Self { child, ready: Value::Null, ready_after: Duration::ZERO };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait().context("cannot wait")? {
                bail!("{name} ended: {status}");
            }
            if start.elapsed() > READY_MAX {
                bail!("{name} did not get ready");
            }
            std::thread::sleep(READY_EVERY);
        }
        server.ready_after = start.elapsed();
        Ok(server)
    }

    /// The line that it printed.
    pub(crate) fn ready(&self) -> &Value {
        &self.ready
    }

    /// The field `url` of that line.
    pub(crate) fn url(&self) -> Result<&str> {
        self.ready.get("url").and_then(Value::as_str).context("a ready line without `url`")
    }

    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A client that goes on for a while, and says line by line what it heard. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Client {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Kills and reaps.
pub(crate) fn end(child: &mut Child) {
    // Already gone is as good as killed.
    let _killed = child.kill();
    let _reaped = child.wait();
}

/// Runs a load client to its end and reads the one line that it prints.
pub(crate) fn measure(command: &mut Command, at_most: Duration) -> Result<Value> {
    let name = role_of(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let deadline = Instant::now() + at_most;
    // One short line fits into the pipe, so it can be read after the end.
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait")? {
            break status;
        }
        if Instant::now() > deadline {
            end(&mut child);
            bail!("{name} did not end in {at_most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut line = String::new();
    let stdout = child.stdout.take().context("no standard output")?;
    BufReader::new(stdout).read_line(&mut line).context("cannot read")?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    serde_json::from_str(&line).with_context(|| format!("{name} printed `{line}`"))
}

/// Program and first argument: the rest may be long.
fn role_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let first = command.get_args().next().unwrap_or_default().to_string_lossy();
    let first = first.rsplit('/').next().unwrap_or_default();
    format!("`{program} {first}`")
}

/// Processor time that a process has used so far, its children's not included.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name, in brackets, may hold anything; the fields after it do not.
    let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc/PID/stat")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// Memory in KiB by its name in `/proc/PID/status`: `VmRSS` now, `VmHWM` at most so far.
pub(crate) fn memory_kib(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().trim_end_matches(" kB").parse().ok())
        .with_context(|| format!("no {name}"))
}

/// What the machine's processors did so far: (busy, all), in ticks.
pub(crate) fn machine_ticks() -> Result<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// Ticks that this process and the children it has reaped used so far.
pub(crate) fn own_ticks() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("unreadable /proc/self/stat")?;
    Ok(fields.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}
