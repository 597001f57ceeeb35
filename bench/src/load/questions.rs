//! Questions to a bridge that wait for a person, whose callers ask again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Calls;
use super::http::{Question, Target};

/// Questions that are sent but not yet held.
const STARTING_MAX: usize = 64;
/// Until the bridge has had time to ask Gate about a question that was sent.
const SENT_FOR: Duration = Duration::from_millis(20);
/// How often to say how many asked again.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// The order for `hold-bridge`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) count: u64,
    /// How long each request lets itself be held before the same is asked again.
    pub(crate) wait_s: u64,
}

/// `hold-bridge ORDER`: prints `{"n":…,"word":…}` for each question that was answered, and now and then `{"again":…}`,
/// how often any of them was asked again.
pub(crate) async fn main(arguments: &[String]) -> Result<()> {
    let order = arguments.first().context("hold-bridge ORDER")?;
    let order: Order = serde_json::from_str(order).context("bad order")?;
    let target = Arc::new(Target::new(&order.url, Question::Verdict, Calls::new("echo", 0)?, None)?);
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let again = Arc::new(AtomicU64::new(0));
    let said = Arc::clone(&again);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(SAID_EVERY).await;
            println!(r#"{{"again":{}}}"#, said.load(Ordering::Relaxed));
        }
    });
    let mut questions = tokio::task::JoinSet::new();
    for n in 0..order.count {
        let place = Arc::clone(&starting).acquire_owned().await.context("closed")?;
        let (target, again, wait_s) = (Arc::clone(&target), Arc::clone(&again), order.wait_s);
        tokio::spawn(async move {
            tokio::time::sleep(SENT_FOR).await;
            drop(place);
        });
        questions.spawn(async move {
            let word = until_answered(&target, n, wait_s, &again).await?;
            println!("{}", serde_json::json!({ "n": n, "word": word }));
            anyhow::Ok(())
        });
    }
    while let Some(ended) = questions.join_next().await {
        ended.context("a question failed")??;
    }
    Ok(())
}

/// Asks by the same name for as long as the answer is `pending`, on one connection.
async fn until_answered(target: &Target, n: u64, wait_s: u64, again: &AtomicU64) -> Result<String> {
    let mut connection = target.connect().await?;
    loop {
        connection.ready().await.context("the connection was closed")?;
        let mut request = target.verdict(n)?;
        request.headers_mut().insert("prefer", format!("wait={wait_s}").parse().context("an odd wait")?);
        let response = connection.send_request(request).await.context("no answer")?;
        let status = response.status();
        let word = response.headers().get("holdpoint-decision").and_then(|word| word.to_str().ok());
        let word = word.unwrap_or_default().to_owned();
        let body = response.into_body().collect().await.context("half an answer")?.to_bytes();
        match status {
            StatusCode::OK => return Ok(word),
            StatusCode::ACCEPTED => {
                again.fetch_add(1, Ordering::Relaxed);
            }
            _ => bail!("{status} to question {n}: {}", String::from_utf8_lossy(&body)),
        }
    }
}
