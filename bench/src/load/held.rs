//! Calls that wait for a person, each on a connection of its own, as clients hold them.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::http::Target;

/// Calls that are sent but not yet held: a client that floods its server measures only its own queue.
const STARTING_MAX: usize = 64;
/// Until the server has had time to ask Gate about a call that was sent.
const SENT_FOR: std::time::Duration = std::time::Duration::from_millis(20);

/// The order for `hold-http`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) url: String,
    pub(crate) count: u64,
}

/// `hold-http ORDER`: prints one line `{"n":…,"received_ns":…}` for each call that ran, as it is answered.
pub(crate) async fn main(arguments: &[String]) -> Result<()> {
    let order = arguments.first().context("hold-http ORDER")?;
    let order: Order = serde_json::from_str(order).context("bad order")?;
    let target = Arc::new(Target::of_calls(&order.url)?);
    target.handshake().await?;
    let starting = Arc::new(Semaphore::new(STARTING_MAX));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..order.count {
        let place = Arc::clone(&starting).acquire_owned().await.context("closed")?;
        let target = Arc::clone(&target);
        calls.spawn(async move {
            let mut connection = target.connect().await?;
            connection.ready().await.context("the connection was closed")?;
            let answer = connection.send_request(target.request_for(n)?);
            tokio::spawn(async move {
                tokio::time::sleep(SENT_FOR).await;
                drop(place);
            });
            let body = answer.await.context("no answer")?.into_body().collect().await?.to_bytes();
            println!("{}", line(n, &String::from_utf8_lossy(&body)));
            anyhow::Ok(())
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.context("a call failed")??;
    }
    Ok(())
}

fn line(n: u64, answer: &str) -> String {
    let received = answer
        .split_once("\"received_ns\":\"")
        .and_then(|(_, rest)| rest.split('"').next())
        .and_then(|digits| digits.parse::<u128>().ok());
    match received {
        Some(received_ns) => format!(r#"{{"n":{n},"received_ns":"{received_ns}"}}"#),
        None => format!(r#"{{"n":{n},"refused":{}}}"#, serde_json::Value::from(answer)),
    }
}
