//! What the targets share: a relay whose kernel refuses every call, and readers more lenient than any server should be.

use holdpoint_core::{
    Gate, GateParts, HoldLimits, NoRecord, Owner, Plan, PlanError, Policy, PolicyRevision, Principal,
    ServerName, TaskId, ToolCall,
};
use holdpoint_mcp::{
    Action, Guard, MemoryPins, Place, StateKey, ToolActions,
    stdio::{StdioOptions, relay},
};
use holdpoint_testkit::{ManualClock, MemoryJournal, ScriptedApprover};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

/// Longer lines are dropped, which the targets leave alone.
pub const LINE_BYTES_MAX: usize = 1 << 16;
const PIPE_BYTES: usize = 1 << 20;

/// Denies everything.
#[derive(Debug)]
struct Never;

impl Policy for Never {
    fn plan(&self, _: &ToolCall) -> Result<Plan, PlanError> {
        Ok(Plan::Deny(holdpoint_core::EntryName::new("never")))
    }

    fn revision(&self) -> PolicyRevision {
        PolicyRevision::new("1")
    }
}

impl ToolActions for Never {
    fn action(&self, _: &ServerName, _: &str) -> Action {
        Action::Deny
    }
}

fn options() -> StdioOptions {
    let gate = Gate::new(GateParts {
        policy: Arc::new(Never),
        approver: Arc::new(ScriptedApprover::default()),
        journal: Arc::new(MemoryJournal::default()),
        recorder: Arc::new(NoRecord),
        clock: Arc::new(ManualClock::default()),
        owner: Owner("fuzz".into()),
        limits: HoldLimits {
            patience: Duration::ZERO,
            held_max: 8,
            result_bytes_max: 1,
            result_kept: Duration::ZERO,
        },
    });
    let guard = Guard {
        server: ServerName::new("s"),
        place: Place::new("p"),
        gate: Arc::new(gate),
        actions: Arc::new(Never),
        pins: Arc::new(MemoryPins::new()),
        states: StateKey::new([7; 32]),
    };
    let mut options = StdioOptions::new(guard, Principal::new("p"), TaskId::new("t"));
    options.line_bytes_max = LINE_BYTES_MAX;
    options.grace = Duration::from_millis(1);
    options.drain = Duration::from_millis(1);
    options
}

/// What the other side gets.
pub struct Heard {
    pub client: Vec<u8>,
    pub server: Vec<u8>,
}

/// Lets both sides say what they have to say, and hang up.
pub fn relayed(from_client: &[u8], from_server: &[u8]) -> Heard {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (mut client, client_in) = duplex(PIPE_BYTES);
        let (client_out, mut to_client) = duplex(PIPE_BYTES);
        let (server_in, mut to_server) = duplex(PIPE_BYTES);
        let (mut server, server_out) = duplex(PIPE_BYTES);
        client.write_all(from_client).await.expect("room");
        server.write_all(from_server).await.expect("room");
        if from_server.is_empty() {
            client.shutdown().await.expect("closed");
        } else {
            server.shutdown().await.expect("closed");
        }
        relay(options(), (client_in, client_out), (server_out, server_in)).await;
        drop((client, server));
        let mut heard = Heard { client: Vec::new(), server: Vec::new() };
        to_client.read_to_end(&mut heard.client).await.expect("read");
        to_server.read_to_end(&mut heard.server).await.expect("read");
        heard
    })
}

/// Whether some reader could take `text` for a tool call: one that ignores case and white space around names, ends them at a
/// NUL, takes the first or the last of equal keys, looks into batches, or ends lines at carriage returns.
pub fn some_reader_sees_a_call(text: &[u8]) -> bool {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_start_matches('\u{feff}');
        serde_json::from_str::<Members>(text).is_ok_and(|Members(found)| found)
            || serde_json::from_str::<Vec<Members>>(text)
                .is_ok_and(|all| all.iter().any(|Members(found)| *found))
    })
}

/// As Java, JavaScript and C see it.
fn bare(name: &str) -> &str {
    let trimmed = name.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}');
    trimmed.split('\0').next().unwrap_or_default()
}

/// Whether any member, whatever its place, is the method of a tool call.
struct Members(bool);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = bool;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
                let mut found = false;
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    let is = |text: &str, word: &str| bare(text).to_lowercase() == word;
                    found |=
                        is(&key, "method") && value.as_str().is_some_and(|method| is(method, "tools/call"));
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
    }
}
