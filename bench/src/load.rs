//! Load clients: one process per sample, one line of JSON as the result.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::process::{memory_kib, processor_time};

pub(crate) mod held;
pub(crate) mod http;
pub(crate) mod stdio;

/// One sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Calls answered within the window.
    pub(crate) calls: u64,
    /// Answers that were not what an echo gives.
    pub(crate) errors: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of the process under test, if one was named.
    pub(crate) cpu_us_per_call: f64,
    pub(crate) peak_kib: u64,
    /// From start to the first answer, where the load client starts the process itself.
    pub(crate) ready_us: f64,
    pub(crate) idle_kib: u64,
}

/// Latencies of one window, and what the process under test used meanwhile.
struct Window {
    latencies: Vec<Duration>,
    errors: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    fn sample(mut self, pid: Option<u32>) -> Result<Sample> {
        self.latencies.sort_unstable();
        let calls = self.latencies.len() as u64;
        Ok(Sample {
            calls,
            errors: self.errors,
            calls_per_s: calls as f64 / self.elapsed.as_secs_f64(),
            p50_us: percentile(&self.latencies, 50),
            p99_us: percentile(&self.latencies, 99),
            cpu_us_per_call: self.cpu.as_secs_f64() * 1e6 / (calls.max(1) as f64),
            peak_kib: pid.map_or(Ok(0), |pid| memory_kib(pid, "VmHWM"))?,
            ready_us: 0.0,
            idle_kib: 0,
        })
    }
}

/// In microseconds, from sorted latencies.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

fn cpu_of(pid: Option<u32>) -> Result<Duration> {
    pid.map_or(Ok(Duration::ZERO), processor_time)
}

fn print(sample: &Sample) -> Result<()> {
    println!("{}", serde_json::to_string(sample).context("a sample is JSON")?);
    Ok(())
}

/// A call with arguments that no other call has: equal calls may share one hold.
pub(crate) fn call(n: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"a message of ordinary length, as an agent sends it","n":{n}}}}}}}"#
    )
}

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
pub(crate) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

/// Whether an answer carries what the tool said.
fn is_echo(answer: &[u8]) -> bool {
    contains(answer, b"\"received_ns\"")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
