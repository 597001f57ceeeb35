//! Load clients: one process per sample, one line of JSON as the result.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::process::{Memory, Tree};

pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod questions;
pub(crate) mod sessions;
pub(crate) mod stdio;

/// A call that is not answered within this is lost.
const LOST_AFTER: Duration = Duration::from_secs(20);
/// Before the window begins, at most.
const WARM_UP_CALLS: u64 = 300;
const WARM_UP_MAX: Duration = Duration::from_secs(2);
/// What stands at the edge of an answer, where its id and its marker are found first.
const EDGE_BYTES: usize = 512;

/// How much is asked at a time, and how large each call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Bytes of text in each call beside what every call has; the tool sends them back.
    pub(crate) payload_bytes: u64,
    pub(crate) in_flight: u64,
}

impl Shape {
    /// Calls of ordinary length.
    pub(crate) const fn ordinary(in_flight: u64) -> Self {
        Self { payload_bytes: 0, in_flight }
    }
}

/// One sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Calls answered within the window.
    pub(crate) calls: u64,
    /// Answers that were not what an echo gives.
    pub(crate) errors: u64,
    /// Answers that lost a part on their way. They count as calls.
    pub(crate) stripped: u64,
    /// Calls that nobody answered.
    pub(crate) lost: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// User and system time of the process under test.
    pub(crate) cpu_us_per_call: f64,
    /// After the handshake, before the first call.
    pub(crate) idle: Memory,
    /// At the end of the window, while the client is still connected.
    pub(crate) loaded: Memory,
    /// From start to the first answer.
    pub(crate) ready_us: f64,
}

/// Latencies of one window, and what the process under test used meanwhile.
#[derive(Default)]
struct Window {
    latencies: Vec<Duration>,
    errors: u64,
    stripped: u64,
    lost: u64,
    elapsed: Duration,
    cpu: Duration,
    loaded: Memory,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    fn sample(mut self) -> Sample {
        self.latencies.sort_unstable();
        let calls = self.latencies.len() as u64;
        Sample {
            calls,
            errors: self.errors,
            stripped: self.stripped,
            lost: self.lost,
            calls_per_s: calls as f64 / self.elapsed.as_secs_f64(),
            p50_us: percentile(&self.latencies, 50),
            p99_us: percentile(&self.latencies, 99),
            cpu_us_per_call: self.cpu.as_secs_f64() * 1e6 / (calls.max(1) as f64),
            loaded: self.loaded,
            ..Sample::default()
        }
    }
}

/// In microseconds, from sorted latencies.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

/// The process under test, if one was named, so far.
fn cpu_of(tree: Option<&Tree>) -> Result<Duration> {
    tree.map_or(Ok(Duration::ZERO), Tree::processor_time)
}

fn memory_of(tree: Option<&Tree>) -> Result<Memory> {
    tree.map_or(Ok(Memory::default()), Tree::memory)
}

fn print(sample: &Sample) -> Result<()> {
    println!("{}", serde_json::to_string(sample).context("a sample is JSON")?);
    Ok(())
}

/// What every call of one client has in common.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    tool: String,
    padding: String,
}

impl Calls {
    pub(crate) fn new(tool: &str, payload_bytes: u64) -> Result<Self> {
        let length = usize::try_from(payload_bytes).context("a payload that fits into memory")?;
        Ok(Self { tool: tool.to_owned(), padding: "0123456789abcdef".chars().cycle().take(length).collect() })
    }

    /// A call with arguments that no other call has: equal calls may share one hold.
    pub(crate) fn call(&self, n: u64) -> String {
        let Self { tool, padding } = self;
        format!(
            r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"message":"a message of ordinary length, as an agent sends it{padding}","n":{n}}}}}}}"#
        )
    }

    /// What became of the tool's answer on its way.
    fn echo(&self, answer: &[u8]) -> Echo {
        if answer.len() > self.padding.len() && contains_at_edge(answer, b"received_ns") {
            Echo::Whole
        } else if contains_at_edge(answer, b"\"ok\"") && !contains_at_edge(answer, b"\"isError\":true") {
            Echo::Stripped
        } else {
            Echo::None
        }
    }
}

/// What an answer has of what the tool said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Echo {
    Whole,
    /// The text without the structured content, which some proxies do not know.
    Stripped,
    None,
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

/// Looks at both ends first: a search through a megabyte would be paid by everybody on the machine.
fn contains_at_edge(text: &[u8], part: &[u8]) -> bool {
    let edge = EDGE_BYTES.min(text.len());
    let (head, tail) = (text.get(..edge).unwrap_or(text), text.get(text.len() - edge..).unwrap_or(text));
    contains(tail, part) || contains(head, part) || contains(text, part)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The first number after `"id":`.
fn id_of(text: &[u8]) -> Option<u64> {
    let name = br#""id":"#;
    let at = text.windows(name.len()).position(|window| window == name)?;
    let rest = text.get(at + name.len()..)?;
    let digits: Vec<u8> =
        rest.iter().copied().skip_while(u8::is_ascii_whitespace).take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[test]
fn the_id_is_found_wherever_it_stands() {
    assert_eq!(id_of(br#"{"jsonrpc":"2.0","id":17,"result":{}}"#), Some(17));
    assert_eq!(id_of(br#"{"result":{},"id": 9}"#), Some(9));
    assert_eq!(id_of(br#"{"jsonrpc":"2.0","method":"notifications/progress"}"#), None);
}

#[test]
fn an_echo_that_lost_its_payload_is_noticed() {
    let calls = Calls::new("echo", 4096).unwrap();
    let text = r#"{"id":1,"result":{"content":[{"type":"text","text":"ok"}]}}"#;
    assert_eq!(calls.echo(text.as_bytes()), Echo::Stripped);
    assert_eq!(calls.echo(text.replace("ok", "no").as_bytes()), Echo::None);
    assert_eq!(calls.echo(br#"{"id":1,"result":{"received_ns":"1"}}"#), Echo::None);
    assert_eq!(calls.echo(format!("{}received_ns", calls.call(1)).as_bytes()), Echo::Whole);
}
