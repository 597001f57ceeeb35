//! Many sessions open at once, as many clients have them: a connection of its own each, few calls at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::http::{Connection, Question, Target};
use super::{Calls, Sample, Window, cpu_of, memory_of, print};
use crate::process::Tree;

/// Calls under way at a time, whatever the number of sessions.
const IN_FLIGHT: usize = 16;

/// The order for one sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) tool: String,
    pub(crate) sessions: u64,
    pub(crate) window_ms: u64,
    /// The process under test.
    pub(crate) pid: u32,
}

/// `load-sessions ORDER`, an order as JSON.
pub(crate) async fn main(arguments: &[String]) -> Result<()> {
    let order = arguments.first().context("load-sessions ORDER")?;
    let order: Order = serde_json::from_str(order).context("bad order")?;
    let idle = memory_of(Some(&Tree::of(order.pid)?))?;
    let mut crews: Vec<Vec<Session>> = std::iter::repeat_with(Vec::new).take(IN_FLIGHT).collect();
    let share = usize::try_from(order.sessions)?.div_ceil(IN_FLIGHT);
    let opening: Vec<_> = crews.drain(..).map(|_| tokio::spawn(open(order.clone(), share))).collect();
    for crew in opening {
        crews.push(crew.await.context("a load task failed")??);
    }

    let tree = Tree::of(order.pid)?;
    let cpu = cpu_of(Some(&tree))?;
    let start = Instant::now();
    let until = start + Duration::from_millis(order.window_ms);
    let working: Vec<_> = crews.drain(..).map(|crew| tokio::spawn(work(crew, until))).collect();
    let mut window = Window::default();
    for crew in working {
        let (crew, part) = crew.await.context("a load task failed")??;
        crews.push(crew);
        window.latencies.extend(part.latencies);
        window.errors += part.errors;
        window.stripped += part.stripped;
        window.lost += part.lost;
    }
    window.elapsed = start.elapsed();
    window.cpu = cpu_of(Some(&tree))?.saturating_sub(cpu);
    window.loaded = memory_of(Some(&tree))?;
    for session in crews.iter().flatten() {
        session.target.leave().await;
    }
    print(&Sample { idle, ..window.sample() })
}

struct Session {
    target: Arc<Target>,
    connection: Connection,
}

async fn open(order: Order, count: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for n in 0..count {
        let calls = Calls::new(&order.tool, 0)?;
        let target = Arc::new(Target::new(&order.url, Question::ToolCall, calls, None)?);
        let mut connection = target.connect().await?;
        target.handshake_on(&mut connection).await.with_context(|| format!("session {n} of {count}"))?;
        sessions.push(Session { target, connection });
    }
    Ok(sessions)
}

/// One call after the other, each in the next session.
async fn work(mut crew: Vec<Session>, until: Instant) -> Result<(Vec<Session>, Window)> {
    let mut window = Window::default();
    // Each session is used at least once, however short the window.
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        rounds += 1;
        for session in &mut crew {
            session.target.ask_into(&mut session.connection, &mut window).await?;
        }
    }
    Ok((crew, window))
}
