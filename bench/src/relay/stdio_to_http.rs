//! stdio to HTTP: each line is a POST, on a task of its own; each answer is a line.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::stdio::{QUEUE_MAX, write};
use super::{Gate, HttpClient, client, gate, option};

#[derive(Clone)]
struct Relay {
    client: HttpClient,
    upstream: Uri,
    gate: Option<Gate>,
}

/// `relay-stdio-http --upstream URL [--gate URL]`
pub(crate) async fn pump(arguments: &[String]) -> Result<()> {
    let upstream = option(arguments, "--upstream").context("--upstream URL")?;
    let relay = Relay {
        client: client(),
        upstream: upstream.parse().context("bad upstream address")?,
        gate: gate(arguments)?,
    };
    let client_out =
        pipe::OpenOptions::new().open_sender("/dev/stdout").context("standard output is no pipe")?;
    let client_in =
        pipe::OpenOptions::new().open_receiver("/dev/stdin").context("standard input is no pipe")?;
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let writer = tokio::spawn(write(client_out, receiver));
    let mut reader = BufReader::new(client_in);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await.context("cannot read")? == 0 {
            break;
        }
        let (relay, sender) = (relay.clone(), sender.clone());
        tokio::spawn(async move {
            match relay.forward(line).await {
                Ok(answer) if answer.is_empty() => {}
                Ok(answer) => {
                    let _gone = sender.send(answer).await;
                }
                // Nothing was forwarded, or nothing came back: the client hears nothing.
                Err(error) => eprintln!("error: {error:#}"),
            }
        });
    }
    drop(sender);
    writer.await.context("the writer failed")?
}

impl Relay {
    /// The answer as a line; empty for a notification.
    async fn forward(&self, mut line: Vec<u8>) -> Result<Vec<u8>> {
        line.pop();
        if let Some(gate) = &self.gate
            && !gate.permits(&line).await?
        {
            return Ok(Vec::new());
        }
        let request = Request::post(self.upstream.clone())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18")
            .body(Full::new(Bytes::from(line)))?;
        let response = self.client.request(request).await.context("the tool does not answer")?;
        let answer = response.into_body().collect().await.context("half an answer")?.to_bytes();
        let mut answer = Vec::from(answer);
        if !answer.is_empty() {
            answer.push(b'\n');
        }
        Ok(answer)
    }
}
