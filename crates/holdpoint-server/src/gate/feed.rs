//! The feed of decisions: one poll that waits for all threads of an agent.

use std::time::Duration;

use holdpoint_api::{DecisionChanges, Limits};
use holdpoint_store::{Agent, Ear, LogSeq, News};
use tokio::time::Instant;

use super::poll::{Heard, READ_AGAIN_AFTER};
use super::{GateServer, Refusal};

/// Lines of the log that one answer covers.
const LINES_MAX: u32 = 1000;
const _: () = assert!(LINES_MAX as usize <= Limits::FEED_THREADS);

/// How a cursor of this version starts.
const VERSION: &str = "1";

impl GateServer {
    /// What happened to the agent's threads after `after`, as soon as there is something, or nothing after `wait`.
    pub(crate) async fn await_changes(
        &self,
        agent: &Agent,
        after: Option<&str>,
        wait: Duration,
    ) -> Result<DecisionChanges, Refusal> {
        // Listen first, then read: what happens in between is heard.
        let mut ear = self.store().bell().listen_to_agent(agent.id);
        let end = self.store().log_end().await?;
        let Some(after) = after.and_then(|cursor| parse(agent, cursor)).filter(|after| *after <= end) else {
            return Ok(DecisionChanges { cursor: cursor(agent, end), threads: Vec::new(), resync: true });
        };
        let mut news = self.news(agent, after).await?;
        if let Ok(_permit) = self.feeds.try_acquire() {
            let deadline = Instant::now() + wait;
            while news.threads.is_empty() && Instant::now() < deadline {
                let heard = self.next_news(&mut ear, deadline).await;
                news = self.news(agent, news.up_to).await?;
                if matches!(heard, Heard::Shutdown) {
                    break;
                }
            }
        }
        let threads = news.threads.into_iter().map(|thread| thread.as_str().to_owned()).collect();
        Ok(DecisionChanges { cursor: cursor(agent, news.up_to), threads, resync: false })
    }

    async fn news(&self, agent: &Agent, after: LogSeq) -> Result<News, Refusal> {
        Ok(self.store().news(agent.id, after, LINES_MAX).await?)
    }

    async fn next_news(&self, ear: &mut Ear, deadline: Instant) -> Heard {
        let pause = READ_AGAIN_AFTER.min(deadline.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = ear.rung() => Heard::Something,
            () = tokio::time::sleep(pause) => Heard::Something,
            () = self.shutdown.cancelled() => Heard::Shutdown,
        }
    }
}

/// A place in the log, bound to the agent. The instant the agent was made tells databases apart, of which one may have
/// been put in the place of the other.
fn cursor(agent: &Agent, at: LogSeq) -> String {
    format!("{VERSION}-{}-{:x}-{}", agent.id.0, agent.created_at.as_microsecond(), at.0)
}

/// `None`: not ours, or not this agent's.
fn parse(agent: &Agent, text: &str) -> Option<LogSeq> {
    let (_, at) = text.rsplit_once('-')?;
    let at = LogSeq(at.parse().ok()?);
    (cursor(agent, at) == text).then_some(at)
}
