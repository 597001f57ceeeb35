//! stdio: starts the process under test itself and keeps a number of calls outstanding.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{
    Calls, EDGE_BYTES, Echo, INITIALIZE, INITIALIZED, LIST, LOST_AFTER, Sample, Shape, WARM_UP_CALLS,
    WARM_UP_MAX, Window, contains, id_of, print,
};
use crate::process::{Tree, end};

/// More than are ever in flight with a payload.
const QUEUE_MAX: usize = 256;
/// Messages that answer nothing, in a row.
const SKIPPED_MAX: usize = 1_000;

/// The order for one sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) command: Vec<String>,
    pub(crate) env: HashMap<String, String>,
    /// As the process under test calls it.
    pub(crate) tool: String,
    pub(crate) shape: Shape,
    pub(crate) window_ms: u64,
    /// Where it runs: some write where they are.
    pub(crate) folder: Option<PathBuf>,
    /// Whether what it writes to standard error is of no interest.
    pub(crate) quiet: bool,
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
    if !contains(&session.line, order.tool.as_bytes()) {
        bail!("no `{}` among the tools: {}", order.tool, String::from_utf8_lossy(&session.line));
    }
    let idle = Tree::of(session.child.id())?.memory()?;
    let sample = session.run(&order)?;
    print(&Sample { ready_us: ready.as_secs_f64() * 1e6, idle, ..sample })
}

struct Session {
    child: Child,
    pen: Pen,
    stdout: BufReader<ChildStdout>,
    calls: Calls,
    line: Vec<u8>,
    next: u64,
    sent: HashMap<u64, Instant>,
    alive: Arc<AtomicU64>,
    /// Whether an answer that was not expected was shown: one will do.
    shown: bool,
}

impl Session {
    fn start(order: &Order) -> Result<Self> {
        let program = order.command.first().context("an order without command")?;
        let mut command = Command::new(program);
        if let Some(folder) = &order.folder {
            command.current_dir(folder);
        }
        let mut child = command
            .args(order.command.iter().skip(1))
            .envs(&order.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if order.quiet { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = BufWriter::new(child.stdin.take().context("no standard input")?);
        let pen = if order.shape.payload_bytes == 0 { Pen::Here(stdin) } else { Pen::there(stdin) };
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        // Samples follow each other; none repeats the arguments of another.
        let next = u64::try_from(crate::process::wall_clock_ns() / 1000 % 1_000_000_000_000)?;
        let calls = Calls::new(&order.tool, order.shape.payload_bytes)?;
        let alive = Arc::new(AtomicU64::new(0));
        watch(child.id(), Arc::clone(&alive));
        Ok(Self {
            child,
            pen,
            stdout,
            calls,
            line: Vec::new(),
            next,
            sent: HashMap::new(),
            alive,
            shown: false,
        })
    }

    fn write(&mut self, message: &str) -> Result<()> {
        self.pen.write(message)
    }

    /// The next answer. What is no answer, a log line say, is passed over.
    fn read(&mut self) -> Result<()> {
        for _ in 0..SKIPPED_MAX {
            self.line.clear();
            let read = self.stdout.read_until(b'\n', &mut self.line).context("cannot read")?;
            if read == 0 {
                bail!("the process ended, or was silent for {LOST_AFTER:?}");
            }
            self.alive.fetch_add(1, Ordering::Relaxed);
            let head = self.line.get(..EDGE_BYTES).unwrap_or(&self.line);
            if !contains(head, br#""method":"#) {
                return Ok(());
            }
        }
        bail!("{SKIPPED_MAX} messages and no answer among them")
    }

    fn ask(&mut self, message: &str) -> Result<()> {
        self.write(message)?;
        self.pen.flush()?;
        self.read()
    }

    fn send_call(&mut self) -> Result<()> {
        self.next += 1;
        let message = self.calls.call(self.next);
        self.write(&message)?;
        self.sent.insert(self.next, Instant::now());
        Ok(())
    }

    fn run(&mut self, order: &Order) -> Result<Sample> {
        for _ in 0..order.shape.in_flight {
            self.send_call()?;
        }
        self.pen.flush()?;
        let (mut warm_up, warm_until) = (0, Instant::now() + WARM_UP_MAX);
        // Until those that were sent at once at the start are through: what they wait for is connections, and each is made once.
        let warm_up_calls = WARM_UP_CALLS.max(2 * order.shape.in_flight);
        while warm_up < warm_up_calls && Instant::now() < warm_until {
            self.take_answer()?;
            warm_up += 1;
            self.send_call()?;
            self.flush_when_read()?;
        }

        let tree = Tree::of(self.child.id())?;
        let cpu = tree.processor_time()?;
        let start = Instant::now();
        let deadline = start + Duration::from_millis(order.window_ms);
        let mut window = Window::default();
        while Instant::now() < deadline {
            match self.take_answer() {
                Ok(Answer::Good(latency)) => window.latencies.push(latency),
                Ok(Answer::Stripped(latency)) => {
                    window.latencies.push(latency);
                    window.stripped += 1;
                }
                Ok(Answer::Bad) => window.errors += 1,
                Err(error) => {
                    eprintln!("lost calls: {error:#}");
                    window.lost = self.sent.len() as u64;
                    break;
                }
            }
            self.send_call()?;
            self.flush_when_read()?;
        }
        window.elapsed = start.elapsed();
        if window.lost == 0 {
            window.cpu = tree.processor_time()?.saturating_sub(cpu);
            window.loaded = tree.memory()?;
        }
        Ok(window.sample())
    }

    /// How long the call took that the next line answers.
    fn take_answer(&mut self) -> Result<Answer> {
        self.read()?;
        let head = self.line.get(..EDGE_BYTES).unwrap_or(&self.line);
        let id = id_of(head).or_else(|| id_of(&self.line)).context("an answer without id")?;
        let sent = self.sent.remove(&id).context("an answer to no call")?;
        match self.calls.echo(&self.line) {
            Echo::Whole => return Ok(Answer::Good(sent.elapsed())),
            Echo::Stripped => return Ok(Answer::Stripped(sent.elapsed())),
            Echo::None => {}
        }
        if !self.shown {
            self.shown = true;
            eprintln!("not the tool's answer: {}", String::from_utf8_lossy(head));
        }
        Ok(Answer::Bad)
    }

    fn flush_when_read(&mut self) -> Result<()> {
        if !self.stdout.buffer().contains(&b'\n') {
            self.pen.flush()?;
        }
        Ok(())
    }
}

/// Who writes to the process.
enum Pen {
    /// Whoever reads: the least work, as long as all that is outstanding fits into the pipes.
    Here(BufWriter<ChildStdin>),
    /// A thread, so that a process that writes a large answer before it reads on is read meanwhile.
    There(SyncSender<String>),
}

impl Pen {
    fn there(mut stdin: BufWriter<ChildStdin>) -> Self {
        let (sender, lines) = sync_channel::<String>(QUEUE_MAX);
        std::thread::spawn(move || {
            for line in lines {
                // A process that is gone is noticed by whoever reads.
                if writeln!(stdin, "{line}").and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        });
        Self::There(sender)
    }

    fn write(&mut self, message: &str) -> Result<()> {
        match self {
            Self::Here(stdin) => writeln!(stdin, "{message}").context("the process reads no more"),
            Self::There(sender) => sender.send(message.to_owned()).context("the process reads no more"),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Self::Here(stdin) => stdin.flush().context("the process reads no more"),
            Self::There(_) => Ok(()),
        }
    }
}

enum Answer {
    Good(Duration),
    Stripped(Duration),
    Bad,
}

/// Ends a process that says nothing for too long, which ends the read that waits for it.
fn watch(pid: u32, alive: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut seen = None;
        loop {
            let now = alive.load(Ordering::Relaxed);
            if seen == Some(now) {
                let _gone = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
                return;
            }
            seen = Some(now);
            std::thread::sleep(LOST_AFTER);
        }
    });
}

impl Drop for Session {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
